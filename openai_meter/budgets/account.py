"""The counters of one budget, key and window, and the hold that a call has in some of them.

All counters of a process are changed under one lock, so that a call is admitted by all its budgets or by none. A call
may end anywhere, in a finalizer too: its cost is put into a queue, and counted by the thread that has the lock.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.budgets.stores.protocol import Row
from openai_meter.core import fork_safety
from openai_meter.core.native import RLock

if TYPE_CHECKING:
    from openai_meter.budgets.budget import Budget

__all__ = ["REFUSED", "Account", "Entry", "Reached", "Settlement", "catch_up", "charge", "count_before", "end_outage",
           "grant", "hold", "hold_at_once", "note_refused", "note_row", "queue", "settle", "take_report"]  # fmt: skip

_NEVER = 1 << 63
"""More than any limit."""
REFUSED = float("inf")
"""Stands for a stage: the first call in a window was refused."""

Reached = Callable[["Account", float], None]
"""Is called with an account and the part of its limit that was reached. It must not wait; counters are locked."""


class Account:
    """The counters of one budget, key and window: pico-dollars, tokens or calls. They are changed under one lock."""

    __slots__ = ("_stages", "alert", "budget", "emergency", "end", "ends_at", "free", "held", "idle", "key", "mark",
                 "on_stage", "ready", "refusals", "refused", "refused_amount", "reported", "row", "shared",
                 "spent", "stage_at", "start", "uncertain", "unit", "unreported")  # fmt: skip

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        budget: Budget,
        key: str | None,
        start: datetime,
        end: datetime | None,
        refusals: Counter[str],
        on_stage: Reached | None = None,
    ) -> None:
        self.budget = budget
        self.unit = budget.unit
        self.key = key
        self.start = start
        self.end = end
        self.ends_at = float("inf") if end is None else end.timestamp()
        self.free = budget.limit
        """The amount that is left for further calls; below 0 if calls have cost more than they held."""
        self.held = 0
        self.spent = 0
        self.uncertain = 0
        """The part of :attr:`spent` that is the whole hold of calls whose cost is not known."""
        self.refusals = refusals
        """Refused calls by the name of the budget, over all windows; shared by the accounts of a guard."""
        self.refused = 0
        """Calls that were refused, or would have been under ``when_spent="warn"``."""
        self.refused_amount = 0
        self.ready = False
        """Whether the spent amount of the ledger is counted."""
        self.shared = False
        """Whether it has only a slice of the budget, from a store."""
        self.unreported = 0
        """The spent amount since the last report to the store."""
        self.idle = True
        """Whether no call was admitted since the last report."""
        self.emergency = 0
        """The emergency share that was taken in this outage of the store."""
        self.reported: int | None = 0
        """The rest of the slice in the last report to the store; ``None``: the store has given more since."""
        self.row = Row()
        """The counters over all processes, as the store last showed them."""
        self.mark: memoryview | None = None
        """Where :attr:`free` is written, without the emergency share, for the case that this process is killed."""
        self.on_stage = on_stage
        self._stages = list(reversed(budget.stages))
        self.stage_at = self._stages[-1][0] if self._stages else _NEVER
        """The value of :attr:`spent` from which the next stage is reached."""
        self.alert: Any = None
        """The alert of the last stage that was reached."""

    def take_row(self, row: Row) -> None:
        """Sets the counters of all processes. The caller has the lock."""
        self.row = row
        if self._stages:
            self.stage_at = self._stages[-1][0] - (row.spent + self.unreported - self.spent)
            if self.spent >= self.stage_at:
                self.reach_stages()

    def reach_stages(self, *, quietly: bool = False) -> None:
        """Passes the stages that are reached, and reports the last one. The caller has the lock.

        Args:
            quietly: whether they were reached before this process, so that there is nothing to report.
        """
        total, stages, reached = self.total_spent, self._stages, None
        while stages and stages[-1][0] <= total:
            reached = stages.pop()[1]
        self.stage_at = stages[-1][0] - (total - self.spent) if stages else _NEVER
        if reached is not None and not quietly and self.on_stage is not None:
            self.on_stage(self, reached)

    @property
    def stage(self) -> float | None:
        """The last stage that was reached; ``None``: none yet."""
        reached = self.budget.stages[: len(self.budget.stages) - len(self._stages)]
        return reached[-1][1] if reached else None

    @property
    def is_over(self) -> bool:
        """Whether the window has ended."""
        return time.time() >= self.ends_at

    @property
    def total_spent(self) -> int:
        """The spent amount of all processes, as this one has read it."""
        return self.row.spent + self.unreported if self.shared else self.spent

    @property
    def total_held(self) -> int:
        """The amount held by calls of all processes, with the slices of other processes."""
        return max(self.row.granted - self.unreported - self.free, self.held) if self.shared else self.held


class Entry(NamedTuple):
    """The hold of a call in one account."""

    account: Account
    amount: int
    meter: object
    """The meter by whose prices it is settled."""


Settlement = tuple[Account, int, int, bool]
"""An account, what was held in it, what was spent, and whether that is uncertain."""


_lock = RLock()
queue: deque[Settlement] = deque()
"""What calls that have ended have cost, until it is counted; :func:`settle` does that."""


class _Changing:
    """Holds the lock while counters are changed. Re-entrant for readers: a signal handler never waits for its thread.

    Raises:
        RuntimeError: this thread is changing counters already, and a signal handler in the middle of it makes a call.
    """

    busy: Any = False  # not bool: another thread changes it between two looks

    def __enter__(self) -> None:
        _lock.acquire()
        if _Changing.busy:
            _lock.release()
            raise RuntimeError("a signal handler makes a call while its thread admits one")
        _Changing.busy = True

    def __exit__(self, *_: object) -> None:
        _Changing.busy = False
        _lock.release()


_changing = _Changing()


def hold(entries: list[Entry], *, final: bool) -> tuple[bool, list[Entry]]:
    """Takes the most that a call can cost from all accounts, or from none.

    Args:
        entries: the accounts and amounts.
        final: whether stores have been asked. Before, a budget that refuses nothing may have more in its store.

    Returns:
        Whether it was taken, and the entries that do not fit. Those of budgets that refuse nothing do not prevent it.
    """
    with _changing:
        if queue:
            _count()
        short = [entry for entry in entries if entry.account.free < entry.amount]
        if short:
            short = [entry for entry in short if not entry.account.budget.only_watches]
            if any(not entry.account.budget.shadow or (entry.account.shared and not final) for entry in short):
                return False, short
        for account, amount, _ in entries:
            account.free -= amount
            account.held += amount
            account.idle = False
            if account.mark is not None:
                account.mark[0] = account.free - account.emergency
        return True, short


def hold_at_once(entries: list[Entry]) -> bool:
    """Takes what a call can cost from all accounts, if it fits into each of them. Else nothing is taken."""
    _lock.acquire()
    if _Changing.busy:  # a signal handler makes a call while its thread admits one
        _lock.release()
        return False
    _Changing.busy = True
    try:
        if queue:
            _count()
        for account, amount, _ in entries:
            if account.free < amount and not account.budget.only_watches:
                return False
        for account, amount, _ in entries:
            account.free -= amount
            account.held += amount
            account.idle = False
            if account.mark is not None:
                account.mark[0] = account.free - account.emergency
        return True
    finally:
        _Changing.busy = False
        _lock.release()


def note_refused(entries: list[Entry]) -> None:
    """Counts a call that was refused by some accounts, or would have been."""
    with _changing:
        for account, amount, _ in entries:
            account.refused += 1
            account.refused_amount += amount
            if not account.budget.shadow:
                account.refusals[account.budget.name] += 1
                if amount and account.refused == 1 and account.on_stage is not None and account.budget.stages:
                    account.on_stage(account, REFUSED)


def grant(account: Account, amount: int, row: Row, *, emergency: bool = False) -> None:
    """Adds a slice that the store has given, or an emergency share without the store."""
    with _changing:
        _count()
        account.free += amount
        if emergency:
            account.emergency = amount
        if account.mark is not None:
            account.mark[0] = account.free - account.emergency
        # A store that has lost data gets the spent amount with the next report.
        account.take_row(row._replace(spent=max(row.spent, account.row.spent)))
        account.reported = None


def note_row(account: Account, row: Row) -> None:
    """Sets the counters of all processes, as the store has them."""
    with _lock:
        if _Changing.busy:  # a signal handler reads, in the middle of a change
            account.row = row
            return
        with _changing:
            account.take_row(row)


def end_outage(account: Account) -> None:
    """Notes that the store has everything that is held here, the emergency share included."""
    if account.emergency:
        with _changing:
            account.emergency = 0
            if account.mark is not None:
                account.mark[0] = account.free


def count_before(account: Account, spent: int) -> None:
    """Adds the spent amount before this process, once."""
    with _changing:
        if not account.ready:
            account.ready = True
            account.spent += spent
            account.free -= spent
            if account.spent >= account.stage_at:
                account.reach_stages(quietly=True)


def take_report(account: Account, *, all_idle: bool) -> tuple[int, int]:
    """The spent amount since the last report, and the rest of the slice; both are then reported.

    A slice that no call was admitted from since the last report goes back.
    """
    with _changing:
        _count()
        spent, account.unreported = account.unreported, 0
        if account.budget.only_watches or (account.free > 0 and (all_idle or account.idle or account.is_over)):
            account.free = 0
            if account.mark is not None:
                account.mark[0] = 0
        account.idle = True
        return spent, account.free + account.held


def charge(account: Account, amount: int) -> None:
    """Counts an amount that was spent without a hold."""
    queue.append((account, 0, amount, False))
    settle()


def catch_up() -> None:
    """Counts the costs in the queue of ended calls; not in the middle of a change by this thread."""
    with _lock:
        if not _Changing.busy:
            with _changing:
                _count()


def settle() -> None:
    """Counts what is in the queue. Never waits, and may be called from anywhere, a finalizer included."""
    # Again after the release: a cost that came in at the very end of the loop inside would stay uncounted.
    while queue and not _Changing.busy and _lock.acquire(False):
        if _Changing.busy:
            _lock.release()
            return
        _Changing.busy = True
        try:
            _count()
        finally:
            _Changing.busy = False
            _lock.release()


def _count() -> None:
    while queue:
        try:
            account, held, spent, uncertain = queue.popleft()
        except IndexError:
            return
        account.held -= held
        account.free += held - spent
        account.spent += spent
        account.unreported += spent
        if uncertain:
            account.uncertain += spent
        if account.mark is not None:
            account.mark[0] = account.free - account.emergency
        if account.spent >= account.stage_at:
            account.reach_stages()


def _start_over_in_child() -> None:
    global _lock  # noqa: PLW0603 - it may have been held by a thread that the child does not have
    _lock = RLock()
    queue.clear()
    _Changing.busy = False


fork_safety.on_fork("budgets", after_in_child=lambda _: _start_over_in_child())
