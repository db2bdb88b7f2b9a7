"""The budgets of one meter or block: which of them a call falls under, and the counters of their windows."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from openai_meter.budgets.account import Account, catch_up
from openai_meter.budgets.budget import Budget, amount_in
from openai_meter.budgets.status import BudgetStatus, BudgetView
from openai_meter.core import fork_safety
from openai_meter.core.calendar_windows import calendar_window
from openai_meter.core.dimensions import UNATTRIBUTED
from openai_meter.core.native import RLock
from openai_meter.reports.model_stats import undated

__all__ = ["BudgetGuard", "Subject"]

_KEYS = 100_000
"""The keys of one budget in one window that have counters of their own; later ones share :data:`OTHERS`."""
OTHERS = "(others)"


class Subject(NamedTuple):
    """The dimensions of a call, for ``per`` and ``match``."""

    model: str | None
    agent: str | None
    operation: str | None
    user: str | None
    session: str | None
    tags: Mapping[str, str]
    endpoint: str
    provider: str
    block: str | None

    def value(self, dimension: str) -> str | None:
        """The value of a dimension; ``None`` if the call has none."""
        if dimension.startswith("tag:"):
            return self.tags.get(dimension[4:])
        if dimension == "tag":
            return ", ".join(f"{name}={value}" for name, value in sorted(self.tags.items())) or None
        found: str | None = getattr(self, dimension)
        return found


class _Window:
    """The accounts of one budget in the window of now. They are replaced together when the window turns."""

    __slots__ = ("accounts", "budget", "end", "ends_at", "start")

    def __init__(self, budget: Budget, now: float) -> None:
        window = calendar_window(budget.every, budget.zone, datetime.fromtimestamp(now, UTC))
        self.budget = budget
        self.start, self.end = window.start, window.end
        self.ends_at = float("inf") if window.end is None else window.end.timestamp()
        self.accounts: dict[str | None, Account] = {}

    def account(self, key: str | None) -> Account:
        """The counters of a key; all threads get the same."""
        found = self.accounts.get(key)
        if found is None:
            if len(self.accounts) >= _KEYS:
                key = OTHERS
            found = self.accounts.setdefault(key, Account(self.budget, key, self.start, self.end))
        return found


class BudgetGuard:
    """The budgets of a meter or a block, and what they have used in this process. Thread-safe.

    Args:
        budgets: the budgets.
    """

    def __init__(self, budgets: tuple[Budget, ...]) -> None:
        self.budgets = budgets
        self._windows: dict[str, _Window] = {}
        self._turning = RLock()
        _guards.add(self)

    def changed(self, budgets: tuple[Budget, ...]) -> BudgetGuard:
        """A guard of other budgets. Budgets that are the same go on counting."""
        new = BudgetGuard(budgets)
        before = {budget.name: budget for budget in self.budgets}
        for budget in budgets:
            window = self._windows.get(budget.name)
            if window is not None and before.get(budget.name) == budget:
                new._windows[budget.name] = window
        return new

    def accounts(self, subject: Subject, now: float) -> Iterator[Account]:
        """The account of each budget that a call falls under.

        Args:
            subject: the dimensions of the call.
            now: seconds since 1970.
        """
        for budget in self.budgets:
            if budget.match and not _matches(budget.match, subject):
                continue
            key = None if budget.per is None else subject.value(budget.per) or UNATTRIBUTED
            yield self._window(budget, now).account(key)

    def _window(self, budget: Budget, now: float) -> _Window:
        window = self._windows.get(budget.name)
        if window is not None and now < window.ends_at:
            return window
        with self._turning:
            window = self._windows.get(budget.name)
            if window is None or now >= window.ends_at:
                window = self._windows[budget.name] = _Window(budget, now)
            return window

    def any_account(self, budget: Budget) -> Account:
        """The account of a budget for a call whose dimensions are not known."""
        return self._window(budget, time.time()).account(None if budget.per is None else UNATTRIBUTED)

    # --- reading ------------------------------------------------------------------------------------------------------

    def views(self) -> Mapping[str, BudgetView]:
        """Each budget by its name, as it is now."""
        catch_up()
        return {budget.name: self._view(budget) for budget in self.budgets}

    def _view(self, budget: Budget) -> BudgetView:
        window = self._window(budget, time.time())
        keys = () if budget.per is None else tuple(key for key in window.accounts.copy() if key is not None)
        return BudgetView(budget, keys, lambda key: _status(window, key))

    def start_over_in_child(self) -> None:
        """Drops the holds in a forked child: those calls are its parent's. What was spent stays spent."""
        self._turning = RLock()
        for window in self._windows.values():
            window.accounts = {key: _without_holds(account) for key, account in window.accounts.items()}


_guards: weakref.WeakSet[BudgetGuard] = weakref.WeakSet()


def _without_holds(before: Account) -> Account:
    account = Account(before.budget, before.key, before.start, before.end)
    account.spent, account.uncertain = before.spent, before.uncertain
    account.free -= before.spent
    return account


def _status(window: _Window, key: str | None) -> BudgetStatus:
    account = window.accounts.get(key) or Account(window.budget, key, window.start, window.end)
    shown: Callable[[Any], Any] = lambda amount: amount_in(window.budget.unit, amount)  # noqa: E731
    return BudgetStatus(
        budget=window.budget,
        key=key,
        spent=shown(account.spent),
        held=shown(account.held),
        uncertain=shown(account.uncertain),
        refused=account.refused,
        refused_amount=shown(account.refused_amount),
        starts_at=window.start,
        resets_at=window.end,
    )


def _matches(match: Mapping[str, frozenset[str]], subject: Subject) -> bool:
    for dimension, wanted in match.items():
        value = subject.value(dimension)
        if value not in wanted and not (dimension == "model" and value is not None and undated(value) in wanted):
            return False
    return True


def _start_over_in_child() -> None:
    for guard in list(_guards):
        guard.start_over_in_child()


fork_safety.on_fork("budget counters", after_in_child=lambda _: _start_over_in_child())
