"""The current agent of the openai-agents package, for calls for which the program itself names no agent.

That package runs each agent in a span of its tracing, also where tracing is off, and holds the current span in a
context variable. It is only read where the program has imported that package, and never imported here.
"""

from __future__ import annotations

import sys
from typing import Any

from openai_meter.core import faults

__all__ = ["MODULE", "current_agent"]

MODULE = "agents.tracing.scope"
"""The module that holds the current span; where it is not loaded, no such agent is running."""

_SPANS = 20
"""How many outer spans are searched for an agent: the span of an answer is inside a turn, a turn inside its agent."""


def current_agent() -> str | None:
    """The name of the agent that runs in this context, or ``None``. Never raises."""
    try:
        # Programs may have a package of their own called agents: every attribute may be missing.
        current_span = getattr(getattr(sys.modules.get(MODULE), "Scope", None), "get_current_span", None)
        span = current_span() if callable(current_span) else None
        for _ in range(_SPANS):
            data = getattr(span, "span_data", None)
            if getattr(data, "type", None) == "agent":
                name = getattr(data, "name", None)
                return name if isinstance(name, str) and name else None
            span = _outer(span)
            if span is None:
                return None
    except Exception as error:
        faults.caught(error, "reading the agent of openai-agents")
    return None


def _outer(span: Any) -> Any:
    """The span that was current before this one. A span has only the id of its parent, but the token to restore it."""
    return getattr(getattr(span, "_prev_span_token", None), "old_value", None)
