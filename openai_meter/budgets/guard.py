"""The budgets of one meter or block: which of them a call falls under, and the counters of their windows."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from openai_meter.budgets.account import Account, catch_up, count_before
from openai_meter.budgets.budget import Budget, amount_in
from openai_meter.budgets.desk import Desk, store_key
from openai_meter.budgets.status import BudgetStatus, BudgetView
from openai_meter.core import faults, fork_safety
from openai_meter.core.calendar_windows import calendar_window
from openai_meter.core.dimensions import UNATTRIBUTED
from openai_meter.core.native import RLock
from openai_meter.reports.model_stats import undated

__all__ = ["BudgetGuard", "Subject"]

Before = Callable[[Account], int]

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

    __slots__ = ("accounts", "budget", "end", "ends_at", "refusals", "start")

    def __init__(self, budget: Budget, now: float, refusals: Counter[str]) -> None:
        window = calendar_window(budget.every, budget.zone, datetime.fromtimestamp(now, UTC))
        self.budget = budget
        self.refusals = refusals
        self.start, self.end = window.start, window.end
        self.ends_at = float("inf") if window.end is None else window.end.timestamp()
        self.accounts: dict[str | None, Account] = {}

    def account(self, key: str | None) -> Account:
        """The counters of a key; all threads get the same."""
        found = self.accounts.get(key)
        if found is None:
            if len(self.accounts) >= _KEYS:
                key = OTHERS
            found = self.accounts.setdefault(key, Account(self.budget, key, self.start, self.end, self.refusals))
        return found


class BudgetGuard:
    """The budgets of a meter or a block, and what they have used. Thread-safe.

    Args:
        budgets: the budgets.
        desk: the slices of this process, where budgets are shared by a store.
        before: what was spent before, in the window of an account: the sum of the ledger; ``None`` without a ledger.
    """

    def __init__(self, budgets: tuple[Budget, ...], desk: Desk | None = None, before: Before | None = None) -> None:
        self.budgets = budgets
        self.desk = desk
        self.before = before
        self.refusals: Counter[str] = Counter()
        """Refused calls by the name of the budget, over all windows; those that ``warn`` lets pass are not counted."""
        self._windows: dict[str, _Window] = {}
        self._turning = RLock()
        _guards.add(self)

    def changed(self, budgets: tuple[Budget, ...] | None, desk: Desk | None, before: Before | None) -> BudgetGuard:
        """A guard with other settings. Budgets that are the same go on counting, unless they get another store.

        Args:
            budgets: the budgets; ``None``: these.
            desk: another store; ``None``: this one.
            before: what was spent before, by the ledger.
        """
        budgets = self.budgets if budgets is None else budgets
        new = BudgetGuard(budgets, desk or self.desk, before)
        new.refusals = self.refusals
        if desk is not None:
            return new
        old = {budget.name: budget for budget in self.budgets}
        for budget in budgets:
            window = self._windows.get(budget.name)
            if window is not None and old.get(budget.name) == budget:
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
            yield self._account(budget, key, now)

    def _account(self, budget: Budget, key: str | None, now: float) -> Account:
        account = self._window(budget, now).account(key)
        if self.desk is not None and not account.shared:
            with self._turning:
                if not account.shared:
                    self.desk.opened(account)
        return account

    def prepare(self, account: Account) -> None:
        """Counts what was spent before, by the ledger. A trip to a database; once for each account."""
        spent = 0
        try:
            spent = 0 if self.before is None else self.before(account)
        except Exception as error:  # it counts from what the store has, or from zero
            faults.caught(error, "reading what was spent before")
        if self.desk is not None and spent:
            self.desk.store.raise_to(store_key(account), spent, account.ends_at)
        count_before(account, 0 if self.desk is not None else spent)

    def _window(self, budget: Budget, now: float) -> _Window:
        window = self._windows.get(budget.name)
        if window is not None and now < window.ends_at:
            return window
        with self._turning:
            window = self._windows.get(budget.name)
            if window is None or now >= window.ends_at:
                window = self._windows[budget.name] = _Window(budget, now, self.refusals)
            return window

    def any_account(self, budget: Budget) -> Account:
        """The account of a budget for a call whose dimensions are not known."""
        return self._account(budget, None if budget.per is None else UNATTRIBUTED, time.time())

    # --- reading ------------------------------------------------------------------------------------------------------

    def views(self) -> Mapping[str, BudgetView]:
        """Each budget by its name, as it is now."""
        catch_up()
        return {budget.name: self._view(budget) for budget in self.budgets}

    def _view(self, budget: Budget) -> BudgetView:
        window = self._window(budget, time.time())
        keys = () if budget.per is None else tuple(key for key in window.accounts.copy() if key is not None)
        return BudgetView(budget, keys, lambda key: self._status(window, key))

    def _status(self, window: _Window, key: str | None) -> BudgetStatus:
        account = window.accounts.get(key) or Account(window.budget, key, window.start, window.end, window.refusals)
        if self.desk is not None and (rows := self.desk.rows([store_key(account)])) is not None:
            account.shared, account.row = True, rows[0]
        return _status_of(account)

    def start_over_in_child(self) -> None:
        """Drops the holds in a forked child: those calls are its parent's. What was spent stays spent."""
        self._turning = RLock()
        self.refusals.clear()
        if self.desk is not None:
            self._windows.clear()
        for window in self._windows.values():
            window.accounts = {key: _without_holds(account) for key, account in window.accounts.items()}


_guards: weakref.WeakSet[BudgetGuard] = weakref.WeakSet()


def _without_holds(before: Account) -> Account:
    account = Account(before.budget, before.key, before.start, before.end, before.refusals)
    account.spent, account.uncertain = before.spent, before.uncertain
    account.free -= before.spent
    account.ready = before.ready
    return account


def _status_of(account: Account) -> BudgetStatus:
    shown: Callable[[Any], Any] = lambda amount: amount_in(account.budget.unit, amount)  # noqa: E731
    return BudgetStatus(
        budget=account.budget,
        key=account.key,
        spent=shown(account.total_spent),
        held=shown(account.total_held),
        uncertain=shown(account.uncertain),
        refused=account.refused,
        refused_amount=shown(account.refused_amount),
        starts_at=account.start,
        resets_at=account.end,
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
