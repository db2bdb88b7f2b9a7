"""Which agent of the openai-agents package is at work, for calls of which the program itself names no agent.

That package runs each agent in a span of its tracing, also where tracing is off, and holds the current span in a
context variable. It is only looked at where the program has imported it, and never imported here.
"""

from __future__ import annotations

import sys
from typing import Any

from openai_meter.core import faults

__all__ = ["MODULE", "current_agent"]

MODULE = "agents.tracing.scope"
"""The module that knows the current span; where it is not loaded, no such agent is at work."""

_SPANS = 20
"""How many spans up an agent is looked for: an answer stands in a turn, a turn in its agent."""


def current_agent() -> str | None:
    """The name of the agent that runs in this context, or ``None``. Never raises."""
    try:
        # Programs may have a package of their own called agents: nothing is taken for granted.
        current_span = getattr(getattr(sys.modules.get(MODULE), "Scope", None), "get_current_span", None)
        span = current_span() if callable(current_span) else None
        for _ in range(_SPANS):
            data = getattr(span, "span_data", None)
            if getattr(data, "type", None) == "agent":
                name = getattr(data, "name", None)
                return name if isinstance(name, str) and name else None
            span = _around(span)
            if span is None:
                return None
    except Exception as error:
        faults.caught(error, "asking openai-agents for its agent")
    return None


def _around(span: Any) -> Any:
    """The span that was current before this one. A span knows its parent by id only; but it will put that back."""
    return getattr(getattr(span, "_prev_span_token", None), "old_value", None)
