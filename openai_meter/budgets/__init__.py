"""Budgets: caps on dollars, tokens and calls that stop a call before it is sent.

::

    budget     Budget: one cap, with its window, its keys and what happens when it is spent
    text_form  budgets as texts: 5/day, 1000calls/hour/user
    sizes      how many tokens a request's body can be at most
    rates      the highest rates that may apply
    bound      the most that a call can cost: tokens and pico-dollars
    account    the counters of one budget, key and window
    call_hold  the hold of one call
    admission  the way of a call through its budgets
    desk       the slices of this process from a shared store; stores/ has the stores
    history    the spent amount before this process, by the ledger
    quick      the same for plain calls, in memory, at once
    journal    what is free of the slices of this process, in a file that outlives it
    stored     the rows of a store, read by the command line and by live figures
    stages     alerts when parts of a budget are spent, and thresholds that count all processes
    guard      the budgets of one meter or block: which a call falls under, admission, settling
    status     the figures of a budget: limit, spent, held, left

A call is admitted before it is sent: each budget that it falls under holds the most that the call can cost, all of them
or none. When the call ends, the hold is settled with its cost.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_meter.budgets.budget import Budget
    from openai_meter.budgets.status import BudgetStatus, BudgetView

__all__ = ["Budget", "BudgetStatus", "BudgetView"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'budget' if name == 'Budget' else 'status'}"), name)
