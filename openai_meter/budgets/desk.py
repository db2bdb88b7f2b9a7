"""The slices of shared budgets in this process: calls are admitted from them without a request to the store.

A process takes a slice of a budget from the store in one atomic step, and admits calls from it under its own lock. A
slice is at most a sixteenth of what is left, so slices shrink as a budget runs out; near its end each call makes a
request to the store. A thread in the background reports what was spent, and gives idle slices back. It also settles for
processes that have ended: after a minute, for those of this machine, what they had spent or held is charged, and the
rest is free again; after two minutes, all that others had is charged.
"""

from __future__ import annotations

import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

from openai_meter.budgets import account as accounts
from openai_meter.budgets.account import Account, Entry
from openai_meter.budgets.journal import Journal, dead_owners, remove
from openai_meter.budgets.stores.protocol import BudgetStore, Order, Report, Row, Stage, StoreUnavailableError
from openai_meter.core import faults, fork_safety
from openai_meter.core.native import Event, RLock, Thread

__all__ = ["Desk", "StoredBudget", "close_all", "parsed_key", "store_key"]

_CALLS = 256
"""A slice is enough for so many calls like the one that needs it."""
_INTERVAL = 5.0
"""Seconds between two reports."""
_EVERY_ROW = 12
"""Each so many reports, rows of keys are reported that have not changed: the store may have lost them, and shows what
other processes have spent. Rows without a key are few, and are in every report."""
_DEAD = 60.0
"""Seconds without a report after which a process whose file shows that it is gone is settled for."""
_DEAD_ELSEWHERE = 2
"""How many times as long it takes for others: the processes of their own machines come first."""


def store_key(account: Account) -> str:
    """The key of an account in a store: its budget, unit, window and value."""
    budget = account.budget
    value = "" if account.key is None else f"={quote(account.key, safe='')}"
    return f"{quote(budget.name, safe='')}|{budget.unit}|{account.start:%Y-%m-%dT%H:%M:%SZ}|{budget.every}{value}"


class StoredBudget(NamedTuple):
    """The parts of a key of a store."""

    name: str
    unit: str
    start: datetime
    every: str
    key: str | None


def parsed_key(text: str) -> StoredBudget | None:
    """The inverse of :func:`store_key`; ``None`` for what it has not written."""
    try:
        name, unit, start, rest = text.split("|")
        every, has_key, key = rest.partition("=")
        at = datetime.strptime(start, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return StoredBudget(unquote(name), unit, at, every, unquote(key) if has_key else None)


class Desk:
    """The slices of this process from one store. Thread-safe.

    Args:
        store: the store.
        interval: seconds between two reports.
    """

    def __init__(self, store: BudgetStore, interval: float = _INTERVAL) -> None:
        self.store = store
        self._interval = interval
        self._dead = _DEAD
        self.owner = str(uuid.uuid4())
        self._trips = RLock()
        """Held during a request to the store."""
        self._accounts: dict[str, Account] = {}
        self._number = 0
        self._turn = 0
        self._unsent: tuple[int, list[Report]] | None = None
        """A report whose answer did not come: it is repeated as it was, so that nothing counts twice."""
        self._journal = Journal(self.owner)
        self._stages: deque[tuple[Stage, Callable[[], object]]] = deque()
        """Stages that were reached here, and what announces them if no other process has."""
        self._thread: Thread | None = None
        self._stop = False
        self._wake = Event()
        self.available = True
        """Whether the last request reached the store."""
        _desks.add(self)

    def opened(self, account: Account) -> None:
        """Starts to share an account. It has nothing before the first request."""
        key = store_key(account)
        account.shared = True
        account.free = 0
        account.mark = self._journal.mark(key)
        self._accounts[key] = account
        self._begin()

    # --- trips --------------------------------------------------------------------------------------------------------

    def refill(self, entries: Sequence[Entry]) -> bool:
        """Requests from the store the amounts that these accounts lack for a call.

        Returns:
            Whether the call may fit now; ``False`` if the store has not enough, or does not answer and the budgets have
            no emergency share left.
        """
        with self._trips:
            lacking = [entry for entry in entries if entry.account.shared and entry.account.free < entry.amount]
            if not lacking:
                return True
            try:
                granted = self._take([entry for entry in lacking if not entry.account.budget.shadow])
                for entry in lacking:
                    if entry.account.budget.shadow:
                        self._take([entry])
                self.available = True
            except StoreUnavailableError:
                self.available = False
                return self._use_emergency_shares(lacking)
            self._begin()
            return granted

    def _take(self, entries: list[Entry]) -> bool:
        if not entries:
            return True
        keys = [store_key(entry.account) for entry in entries]
        orders = [
            Order(key, account.budget.limit, max(amount * _CALLS, amount - account.free), amount - account.free,
                  account.ends_at)
            for key, (account, amount, _) in zip(keys, entries, strict=True)
        ]  # fmt: skip
        taken = self.store.take(self.owner, orders)
        if any(row.spent < entry.account.row.spent for row, entry in zip(taken.rows, entries, strict=True)):
            self._turn = _EVERY_ROW - 1  # the store has lost data: the next report has every row
        for place, (key, entry) in enumerate(zip(keys, entries, strict=True)):
            if self._accounts.setdefault(key, entry.account).mark is None:
                entry.account.mark = self._journal.mark(key)
            accounts.grant(entry.account, 0 if taken.grants is None else taken.grants[place], taken.rows[place])
        return taken.grants is not None

    def _use_emergency_shares(self, lacking: Sequence[Entry]) -> bool:
        """Gives each budget that allows it a small part of its limit, once in an outage."""
        useful = False
        for entry in lacking:
            account, share = entry.account, entry.account.budget.emergency_share
            if share and not account.emergency:
                accounts.grant(account, share, account.row, emergency=True)
                useful = True
        return useful

    # --- reports ------------------------------------------------------------------------------------------------------

    def report(self, *, all_idle: bool = False) -> bool:
        """Reports the spent amounts, and returns unused slices.

        Args:
            all_idle: whether every slice that no call holds is given back now.

        Returns:
            Whether the store answered.
        """
        with self._trips:
            try:
                if self._unsent is not None:
                    self._send(*self._unsent)
                self._turn += 1
                reports, keys = [], list(self._accounts)
                for key in keys:
                    account = self._accounts[key]
                    spent, granted = accounts.take_report(account, all_idle=all_idle)
                    changed = spent or granted != account.reported
                    if changed or account.key is None or self._turn % _EVERY_ROW == 0:
                        account.reported = granted
                        reports.append(Report(key, spent, granted, account.row.spent + spent))
                    if account.is_over and not account.held:
                        del self._accounts[key]
                        account.mark = None
                        self._journal.forget(key)
                self._number += 1
                self._unsent = (self._number, reports)
                self._send(*self._unsent)
            except StoreUnavailableError:
                self.available = False
                return False
            self.available = True
            for account in list(self._accounts.values()):
                accounts.end_outage(account)
            return True

    def _send(self, number: int, reports: list[Report]) -> None:
        rows = self.store.report(self.owner, number, reports)
        self._unsent = None
        for report, row in zip(reports, rows, strict=True):
            if (account := self._accounts.get(report.key)) is not None:
                accounts.note_row(account, row)

    def rows(self, keys: Sequence[str]) -> tuple[Row, ...] | None:
        """The counters over all processes; ``None`` if the store does not answer."""
        try:
            return self.store.read(keys)
        except StoreUnavailableError:
            self.available = False
            return None

    # --- stages -------------------------------------------------------------------------------------------------------

    def announce(self, account: Account, stage: float, then: Callable[[], object]) -> None:
        """Announces a stage, if this process is the first that reaches it. Never waits.

        Args:
            account: whose stage.
            stage: the part of the limit; infinite: that a call was refused.
            then: announces it; called in the thread of the desk.
        """
        key = store_key(account)
        key, number = (f"{key}|refused", 0) if stage == accounts.REFUSED else (key, round(stage * 10_000))
        self._stages.append((Stage(key, account.budget.limit, number, account.ends_at), then))
        self._begin()
        self._rouse()

    def announce_now(self) -> bool:
        """Announces the waiting stages; returns whether the store answered."""
        with self._trips:
            while self._stages:
                stage, then = self._stages[0]
                try:
                    first = self.store.announce(stage)
                except StoreUnavailableError:
                    self.available = False
                    return False
                self._stages.popleft()
                if first:
                    then()
        return True

    # --- the background -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._stop = False
            self._thread = Thread(self._run, "openai_meter budgets")
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None

    def _run(self) -> None:
        reported_at, settled_at = time.monotonic(), float("-inf")
        while True:
            self._wake.wait(max(reported_at + self._interval - time.monotonic(), 0.0))
            self._wake = Event()  # before the stages are read: what comes later sets the new one
            try:
                with self._trips:
                    if self._stop:  # the store may be closed
                        return
                    self.announce_now()
                    now = time.monotonic()
                    if now < reported_at + self._interval:
                        continue
                    reported_at = now
                    self.report()
                    if now - settled_at >= self._dead / 2:
                        settled_at = now
                        self.settle_for_dead()
            except StoreUnavailableError:
                self.available = False
            except Exception as error:
                faults.caught(error, "reporting to the store of budgets")

    def _rouse(self) -> None:
        with suppress(RuntimeError):  # another thread has set it at the same time
            self._wake.set()

    def settle_for_dead(self) -> None:
        """Charges the spent and held amounts of ended processes, and frees the rest.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        for dead in dead_owners():
            for owner in self.store.reap(self._dead, {dead.owner: dead.unused}):
                remove(owner)
        self.store.reap(self._dead * _DEAD_ELSEWHERE)

    def close(self) -> None:
        """Returns everything that no call holds, and ends the thread."""
        self._stop = True
        self._rouse()
        try:
            with self._trips:
                self.announce_now()
                if self.report(all_idle=True) and not any(account.held for account in self._accounts.values()):
                    for account in self._accounts.values():
                        account.mark = None
                    self._journal.close()
                self.store.close()
        except Exception as error:
            faults.caught(error, "closing the store of budgets")

    def start_over_in_child(self) -> None:
        """Makes the desk of a forked child usable: the slices are its parent's."""
        self.owner = str(uuid.uuid4())
        self._trips = RLock()
        for account in self._accounts.values():
            account.mark = None
        self._journal.leave_to_parent()
        self._journal = Journal(self.owner)
        self._accounts.clear()
        self._stages.clear()
        self._number, self._unsent, self._thread = 0, None, None
        self._stop, self._wake = False, Event()


_desks: weakref.WeakSet[Desk] = weakref.WeakSet()


def close_all() -> None:
    """Returns the slices of this process, at its end."""
    for desk in list(_desks):
        if desk._accounts:  # noqa: SLF001 - its own module
            desk.close()


def _before_fork() -> list[Desk]:
    return [desk for desk in list(_desks) if desk._trips.acquire(timeout=10.0)]  # noqa: SLF001


def _after_fork(held: list[Desk]) -> None:
    for desk in held:
        desk._trips.release()  # noqa: SLF001


def _in_child(_: object) -> None:
    for desk in list(_desks):
        desk.start_over_in_child()


fork_safety.on_fork(
    "slices of budgets",
    order=fork_safety.Order.LEDGER,
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_in_child,
)
