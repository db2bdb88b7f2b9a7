"""Whether there is any budget in this process. In a module of its own: every call looks at it, and nothing else loads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Budgeting"]


class Budgeting:
    """What calls do about budgets. Both are ``None`` without a budget: then a call pays for two looks at this."""

    gate: Callable[..., Any] | None = None
    """Has a request admitted before it is sent; set by :mod:`openai_meter.instrumentation.budget_gate`."""
    charge: Callable[..., None] | None = None
    """Counts a record that was not admitted; set with it."""
