"""The budgets of one meter or block: which of them a call falls under, and the counters of their windows."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from openai_meter.alerts import Alert, ThresholdUsage
from openai_meter.budgets.account import REFUSED, Account, Reached, catch_up, count_before, note_row
from openai_meter.budgets.budget import Budget, amount_in
from openai_meter.budgets.desk import Desk, store_key
from openai_meter.budgets.stages import FleetThreshold, alert_of, usage_of_account
from openai_meter.budgets.status import BudgetStatus, BudgetView
from openai_meter.core import faults, fork_safety
from openai_meter.core.calendar_windows import calendar_window
from openai_meter.core.dimensions import UNATTRIBUTED, value_of
from openai_meter.core.native import RLock
from openai_meter.reports.model_stats import undated

__all__ = ["BudgetGuard", "Subject"]

Before = Callable[[Account], int]
Notify = Callable[[Alert], object]
_ALERTS = 1_000
"""Alerts of one budget that are shown: of the keys that came first."""

_KEYS = 100_000
"""The keys of one budget in one window that have counters of their own; later ones share :data:`OTHERS`."""
OTHERS = "(others)"


def now() -> float:
    """Seconds since 1970: one clock for both ways of admission."""
    return time.time()


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


class _Window:
    """The accounts of one budget in the current window. They are replaced together when the next window begins."""

    __slots__ = ("accounts", "budget", "end", "ends_at", "on_stage", "refusals", "start")

    def __init__(self, budget: Budget, now: float, refusals: Counter[str], on_stage: Reached | None) -> None:
        window = calendar_window(budget.every, budget.zone, datetime.fromtimestamp(now, UTC))
        self.budget = budget
        self.refusals = refusals
        self.on_stage = on_stage
        self.start, self.end = window.start, window.end
        self.ends_at = float("inf") if window.end is None else window.end.timestamp()
        self.accounts: dict[str | None, Account] = {}

    def account(self, key: str | None) -> Account:
        """The counters of a key; all threads get the same."""
        found = self.accounts.get(key)
        if found is None:
            if len(self.accounts) >= _KEYS:
                key = OTHERS
            made = Account(self.budget, key, self.start, self.end, self.refusals, self.on_stage)
            found = self.accounts.setdefault(key, made)
        return found


class BudgetGuard:
    """The budgets of a meter or a block, and their counters. Thread-safe.

    Args:
        budgets: the budgets.
        desk: the slices of this process, where budgets are shared by a store.
        before: what was spent before, in the window of an account: the sum of the ledger; ``None`` without a ledger.
        watched: the thresholds of a fleet.
        notify: is called with the alert of each stage that is reached; it never waits.
    """

    def __init__(
        self,
        budgets: tuple[Budget, ...],
        desk: Desk | None = None,
        before: Before | None = None,
        watched: tuple[FleetThreshold, ...] = (),
        notify: Notify | None = None,
    ) -> None:
        self.budgets = budgets
        self.watched = watched
        self._all: tuple[Budget, ...] = (*budgets, *watched)
        self.desk = desk
        self.watch_desk: Desk | None = None
        """The counters of the thresholds of a fleet, where the budgets are not shared."""
        self.before = before
        self._notify = notify
        self.refusals: Counter[str] = Counter()
        """Refused calls by the name of the budget, over all windows; those that ``warn`` lets pass are not counted."""
        self._windows: dict[str, _Window] = {}
        self._turning = RLock()
        self.kinds: dict[tuple[Any, ...], Any] = {}
        """What calls of one kind have in common, for the quick way; see ``quick.py``."""
        _guards.add(self)

    def changed(
        self,
        budgets: tuple[Budget, ...] | None,
        desk: Desk | None,
        before: Before | None,
        watched: tuple[FleetThreshold, ...] = (),
        notify: Notify | None = None,
    ) -> BudgetGuard:
        """A guard with other settings. Budgets that are the same go on counting, unless they get another store.

        Args:
            budgets: the budgets; ``None``: these.
            desk: another store; ``None``: this one.
            before: what was spent before, by the ledger.
            watched: the thresholds of a fleet.
            notify: is called with the alert of each stage that is reached.
        """
        budgets = self.budgets if budgets is None else budgets
        new = BudgetGuard(budgets, desk or self.desk, before, watched, notify)
        new.refusals = self.refusals
        if desk is not None:
            return new
        new.watch_desk = self.watch_desk
        old = {budget.name: budget for budget in self._all}
        for budget in new._all:
            window = self._windows.get(budget.name)
            if window is not None and old.get(budget.name) == budget:
                window.on_stage = new._reached
                for account in list(window.accounts.values()):
                    account.on_stage = new._reached
                new._windows[budget.name] = window
        return new

    def accounts(self, subject: Subject, now: float) -> Iterator[Account]:
        """The account of each budget that a call falls under.

        Args:
            subject: the dimensions of the call.
            now: seconds since 1970.
        """
        for budget in self._all:
            if budget.match and not _matches(budget.match, subject):
                continue
            key = None
            if budget.per is not None:
                key = value_of(subject, budget.per) or UNATTRIBUTED
                if key is UNATTRIBUTED and budget.only_watches:
                    continue  # a threshold does not limit calls without a value
            yield self._account(budget, key, now)

    def _account(self, budget: Budget, key: str | None, now: float) -> Account:
        account = self._window(budget, now).account(key)
        if not account.shared and (desk := self._desk_of(budget)) is not None:
            with self._turning:
                if not account.shared:
                    desk.opened(account)
        return account

    def _desk_of(self, budget: Budget) -> Desk | None:
        return self.desk if self.desk is not None or not budget.only_watches else self.watch_desk

    @property
    def desks(self) -> tuple[Desk, ...]:
        """All desks."""
        return tuple(desk for desk in (self.desk, self.watch_desk) if desk is not None)

    def prepare(self, account: Account) -> None:
        """Adds the spent amount of the ledger. A request to a database; once for each account."""
        spent = 0
        try:
            spent = 0 if self.before is None else self.before(account)
        except Exception as error:  # it counts from what the store has, or from zero
            faults.caught(error, "reading what was spent before")
        desk = self._desk_of(account.budget)
        if desk is not None and (spent or account.budget.only_watches):  # that takes no slice, which makes its row
            desk.store.raise_to(store_key(account), spent, account.ends_at)
        count_before(account, 0 if desk is not None else spent)

    def _window(self, budget: Budget, now: float) -> _Window:
        window = self._windows.get(budget.name)
        if window is not None and now < window.ends_at:
            return window
        with self._turning:
            window = self._windows.get(budget.name)
            if window is None or now >= window.ends_at:
                window = self._windows[budget.name] = _Window(budget, now, self.refusals, self._reached)
            return window

    def any_account(self, budget: Budget) -> Account:
        """The account of a budget for a call whose dimensions are not known."""
        return self._account(budget, None if budget.per is None else UNATTRIBUTED, time.time())

    # --- stages -------------------------------------------------------------------------------------------------------

    def _reached(self, account: Account, stage: float) -> None:
        """Raises the alert of a stage; in a shared budget, only the first process that reaches it does.

        Never waits: counters are locked.
        """
        try:
            alert = alert_of(account, stage)
            if stage != REFUSED:
                account.alert = alert
            if self._notify is None:
                return
            if account.shared and (desk := self._desk_of(account.budget)) is not None:
                desk.announce(account, stage, partial(self._notify, alert))
            else:
                self._notify(alert)
        except Exception as error:
            faults.caught(error, "raising the alert of a budget")

    def alerts(self) -> tuple[Alert, ...]:
        """The last stage that each budget and key has reached in the window of now, and thresholds that are passed."""
        catch_up()
        found: list[Alert] = []
        for budget in self._all:
            reached = (one for one in self._accounts_of(budget) if one.stage is not None)
            for account in islice(reached, _ALERTS):
                if account.alert is None:  # it was reached before this process
                    account.alert = alert_of(account, account.stage or 0.0)
                value = amount_in(budget.unit, account.total_spent)
                found.append(replace(account.alert, value=value if budget.unit == "usd" else int(value)))
        return tuple(sorted(found, key=lambda alert: alert.at))

    def threshold_usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each threshold of a fleet is used up: of one per something, the key that has used the most."""
        return self._usage(self.watched)

    def budget_usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each budget is used up, and when it will be reached: of one per something, the highest key.

        Without a trip to a store: what other processes have spent is as of some seconds ago.
        """
        return self._usage(self.budgets)

    def _usage(self, budgets: Sequence[Budget]) -> tuple[ThresholdUsage, ...]:
        catch_up()
        found, moment = [], datetime.fromtimestamp(now(), UTC)
        for budget in budgets:
            accounts = self._accounts_of(budget) or ([self._fresh(budget)] if budget.per is None else [])
            if accounts:
                found.append(usage_of_account(max(accounts, key=lambda account: account.total_spent), moment))
        return tuple(found)

    def _accounts_of(self, budget: Budget) -> list[Account]:
        return list(self._window(budget, time.time()).accounts.copy().values())

    def _fresh(self, budget: Budget) -> Account:
        window = self._window(budget, time.time())
        return Account(budget, None, window.start, window.end, window.refusals)

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
        account = window.accounts.get(key)
        if account is None or (self.desk is not None and not account.shared):  # it has made no call here
            account = Account(window.budget, key, window.start, window.end, window.refusals)
        if self.desk is not None and (rows := self.desk.rows([store_key(account)])) is not None:
            if not account.shared:  # it has no slice
                account.shared, account.free = True, 0
            note_row(account, rows[0])
        return _status_of(account)

    def start_over_in_child(self) -> None:
        """Drops the holds in a forked child: those calls are its parent's. What was spent stays spent."""
        self._turning = RLock()
        self.refusals.clear()
        self.kinds.clear()
        for budget in self._all:
            if self._desk_of(budget) is not None:
                self._windows.pop(budget.name, None)
        for window in self._windows.values():
            window.accounts = {key: _without_holds(account) for key, account in window.accounts.items()}


_guards: weakref.WeakSet[BudgetGuard] = weakref.WeakSet()


def _without_holds(before: Account) -> Account:
    account = Account(before.budget, before.key, before.start, before.end, before.refusals, before.on_stage)
    account.spent, account.uncertain = before.spent, before.uncertain
    account.free -= before.spent
    account.ready = before.ready
    account.reach_stages(quietly=True)
    account.alert = before.alert
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
        value = value_of(subject, dimension)
        if value not in wanted and not (dimension == "model" and value is not None and undated(value) in wanted):
            return False
    return True


def _start_over_in_child() -> None:
    for guard in list(_guards):
        guard.start_over_in_child()


fork_safety.on_fork("budget counters", after_in_child=lambda _: _start_over_in_child())
