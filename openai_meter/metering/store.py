"""The store of a meter or of a block: exact totals of all calls, and the most recent calls.

Adding a call never waits. A call is put into an inbox (an atomic operation of the interpreter) and the thread that
holds the lock empties it. Readers hold the lock, so that their figures are exact. Finalizers and signal handlers run in
the middle of what their thread is doing: a stream that is collected while its thread adds a call can add its own, and a
handler that prints a summary does not wait for the lock of its own thread.

Plain calls are counted in batches: up to 63 of them wait in the inbox, if none of them can pass a limit. Every reader
counts them first, so no figure that is read lacks one.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from openai_meter.alerts.dispatch import AlertDispatcher
from openai_meter.alerts.monitor import NO_LIMITS, NO_ROOM
from openai_meter.core import dimensions, faults
from openai_meter.core.call import Call
from openai_meter.core.dimensions import (
    DIMENSIONS,
    OTHER_MODELS,
    UNATTRIBUTED,
    UNKNOWN_MODEL,
    CounterHistory,
    Key,
    Table,
)
from openai_meter.core.native import RLock
from openai_meter.core.totals import NOT_PRICED, NOTHING, Sum, Totals, Unpriced, summed
from openai_meter.metering.plain_calls import PlainBatch, PlainCall, call_of
from openai_meter.metering.process_sums import add_sums, write_sums
from openai_meter.metering.repricing import reprice
from openai_meter.metering.snapshot import StoreSnapshot
from openai_meter.metering.unpriced import note_unpriced
from openai_meter.pricing.loading import WAITING

__all__ = [
    "DIMENSIONS", "OTHER_MODELS", "UNATTRIBUTED", "UNKNOWN_MODEL", "Store", "StoreSnapshot", "Totals", "Unpriced",
]  # fmt: skip

BATCH = 64
"""How many plain calls wait until they are counted together."""
_CROWD = 2 * BATCH  # for the limits: some threads add theirs while one begins to count
_WITHOUT_WAITING = (False,)
_WAITING = 10_000
"""Calls at most that are kept until the prices have been read, however few the ring holds."""


class Store:
    """Totals by every dimension and overall, and a ring of recent calls. Thread-safe.

    Args:
        recent: how many calls the ring holds; the totals go on for ever.
        dispatcher: is notified of each call once, in their order.
    """

    def __init__(self, recent: int = 10_000, dispatcher: AlertDispatcher | None = None) -> None:
        self._inbox: list[Call | PlainCall] = []
        self._lock = RLock()
        self._emptying = False
        self._ring: deque[Call | PlainCall] = deque(maxlen=recent)
        self._unread = 0  # how many of the last entries of the ring may be plain calls
        self._table = Table()
        self._unpriced: deque[Call] = deque(maxlen=recent)
        self._waiting: deque[Call] = deque(maxlen=_WAITING)
        self._reasons: dict[tuple[str, str], Unpriced] = {}
        self._pasts: weakref.WeakSet[CounterHistory] = weakref.WeakSet()
        self.dispatcher = dispatcher
        self._room = NO_ROOM  # what tokens and what cost a plain call may have, so that it may wait
        self.started_at = datetime.now(UTC)
        """Since when calls are counted: the making, or the last reset."""

    def add(self, call: Call) -> None:
        """Adds a finished call. Never waits, and may be called from anywhere, a finalizer included."""
        self._inbox.append(call)
        self._try_to_empty()

    def add_plain(self, call: PlainCall) -> None:
        """Adds a plain call. It is counted now if it might pass a limit; else with the next readers, or in a batch."""
        inbox = self._inbox
        inbox.append(call)
        # Read after appending: the room of an earlier time may be larger, and this call might not be looked at.
        tokens, cost = self._room
        # By their places: to read fields by their names takes twice as long.
        if call[7] > tokens or call[11] > cost or len(inbox) >= BATCH:
            self._try_to_empty()
            if inbox:  # another thread holds the lock: the next call tries again
                self._room = NO_ROOM

    def _try_to_empty(self) -> None:
        inbox = self._inbox
        # Again after the release: a call that came in at the very end of the loop inside would stay uncounted.
        while inbox and not self._emptying:
            # A loop of one turn: between its step and `try` the interpreter handles no signal. After a call it does,
            # and an exception that a handler raises there would leave the lock acquired for ever.
            for acquired in map(self._lock.acquire, _WITHOUT_WAITING):
                if not acquired:
                    return
                try:
                    self._empty_inbox()
                finally:
                    self._lock.release()

    def _empty_inbox(self) -> None:
        if self._emptying:  # the lock is re-entrant: this is a finalizer or a signal handler inside the loop below
            return
        self._emptying = True
        inbox = self._inbox
        try:
            while inbox:
                call = inbox[0]
                try:
                    if type(call) is PlainCall:
                        self._count_plain()
                    else:
                        self._count(call)  # type: ignore[arg-type] # mypy does not narrow by type()
                except Exception as error:
                    if inbox and inbox[0] is call:
                        self._set_aside(call)
                    faults.caught(error, "counting a call")
        finally:
            self._emptying = False

    def _set_aside(self, call: Call | PlainCall) -> None:
        """Handles the first call of the inbox where it could not be counted, or no call after it would be counted."""
        if type(call) is PlainCall:
            with suppress(Exception):
                self._inbox[0] = call_of(call)
                return  # it is counted as any other
        del self._inbox[0]

    def _count(self, call: Call) -> None:
        """Counts the first call of the inbox.

        The new sum is made first. Then it is set, and the call removed from the inbox, in two steps between which the
        interpreter handles no signal: an exception that a signal handler raises finds the call in the inbox, or
        counted.
        """
        table = self._table
        key = dimensions.combination(call)
        before = table.sums.get(key)
        if before is None:  # a new combination, or one that is folded
            key, before = table.find(call)
        counted = (NOTHING if before is None else before).plus(call)
        if self._unread:
            self._unread += 1
        self._room = NO_ROOM
        if table is not self._table:  # a signal handler has reset the store or repriced the store meanwhile
            return
        table.sums[key] = counted
        del self._inbox[0]
        self._ring.append(call)
        if call.cost_status in NOT_PRICED:
            self._note_unpriced(call)
        if self.dispatcher is not None:
            self.dispatcher.record(call)

    def _note_unpriced(self, call: Call) -> None:
        (self._waiting if call.cost_reason is WAITING else self._unpriced).append(call)
        note_unpriced(self._reasons, call, 1)

    def _count_plain(self) -> None:
        """Counts the plain calls at the beginning of the inbox, in one step; the calls one by one where that is unsafe.

        As in :meth:`_count`, all values are made first. From ``|=`` to ``extend`` the interpreter handles no signal, so
        that an exception finds all of them in the inbox, or all of them counted.
        """
        table, inbox, dispatcher = self._table, self._inbox, self.dispatcher
        waiting = tuple(inbox)
        calls: list[Any] = [call for call in waiting if type(call) is PlainCall]
        if len(calls) != len(waiting):
            calls = [*takewhile(lambda call: type(call) is PlainCall, waiting)]
        batch = PlainBatch(calls, table.sums)
        watch = NO_LIMITS if dispatcher is None else dispatcher.watch
        step = watch.with_batch(batch.calls, batch.tokens, batch.cost, batch.largest)
        sums = batch.sums
        if sums is None or step is None:  # a new combination, or one of them may pass a limit
            made = [*map(call_of, calls)]
            if table is self._table:
                inbox[: batch.calls] = made
            return
        (tally, counted), self._unread = step, self._unread + batch.calls
        if table is not self._table:  # as in _count()
            return
        table.sums |= sums
        tally.sums = counted
        del inbox[: batch.calls]
        self._ring.extend(calls)
        room = watch.room(_CROWD)
        if self.dispatcher is dispatcher:  # else a signal handler has set other limits meanwhile
            self._room = room  # the loop that called this looks at the inbox once more

    def use(self, dispatcher: AlertDispatcher) -> None:
        """Notifies another dispatcher of the calls from now on."""
        with self._lock:
            self._empty_inbox()
            self.dispatcher = dispatcher
            self._room = NO_ROOM

    def to_dict(self) -> dict[str, Any]:
        """The sums of all combinations and the reasons of missing prices, as plain JSON values."""
        with self._lock:
            self._empty_inbox()
            return write_sums(self._table, self._reasons)

    def add_others(self, rows: Iterable[Call | Mapping[str, Any]]) -> int:
        """Adds the figures of other processes: calls, and results of :meth:`to_dict`. Raises no alert.

        Returns:
            The number of calls.
        """
        added = 0
        with self._lock:
            self._empty_inbox()
            counting, self._emptying = self._emptying, True  # what this process counts meanwhile waits, for its alerts
            try:
                for row in rows:
                    if isinstance(row, Call):
                        self._add_other(row)
                        added += 1
                    else:
                        added += add_sums(self._table, self._reasons, row)
            finally:
                self._emptying = counting
                self._empty_inbox()
        return added

    def _add_other(self, call: Call) -> None:
        key, before = self._table.find(call)
        self._table.sums[key] = (NOTHING if before is None else before).plus(call)
        self._ring.append(call)
        if self._unread:
            self._unread += 1
        if call.cost_status in NOT_PRICED:
            self._note_unpriced(call)

    def catch_up(self) -> None:
        """Counts the calls in the inbox."""
        with self._lock:
            self._empty_inbox()

    def held_here(self) -> bool:
        """Whether this thread is in the middle of counting or reading, and was interrupted."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined] # noqa: SLF001 - as threading.Condition asks

    def reprice(self, price: Callable[[Call], Call]) -> int:
        """Prices again the calls that have no full price: the latest of them, as many as the ring holds; in all sums.

        Returns:
            How many have one now.
        """
        with self._lock:
            self._empty_inbox()
            counting, self._emptying = self._emptying, True  # what comes in meanwhile waits
            try:
                return self._reprice(price)
            finally:
                self._emptying = counting
                self._empty_inbox()

    def _reprice(self, price: Callable[[Call], Call]) -> int:
        """All new values are made first, and then set in steps between which the interpreter handles no signal.

        The table is a new one then, in which an interrupted counting of a call is repeated.
        """
        table, waiting = self._table, (*self._unpriced, *self._waiting)
        new = reprice(table, self._reasons, waiting, price)
        self._room = NO_ROOM
        ring = deque(
            [call if type(call) is PlainCall else new.changed.get(call.id, call) for call in tuple(self._ring)],  # type: ignore[union-attr]
            maxlen=self._ring.maxlen,
        )
        unpriced = deque(new.unpriced, maxlen=self._unpriced.maxlen)
        if table is not self._table:  # a signal handler has reset the store meanwhile
            return 0
        self._table, self._reasons, self._unpriced, self._ring = new.table, new.reasons, unpriced, ring
        self._waiting = deque(maxlen=_WAITING)
        if self.dispatcher is not None:
            for before in waiting:
                if (after := new.changed.get(before.id)) is not None:
                    self.dispatcher.repriced(before, after)
        return len(waiting) - len(new.unpriced)

    def read(self) -> StoreSnapshot:
        """Everything that is counted, of one moment: it is read under one lock."""
        with self._lock:
            self._empty_inbox()
            counting, self._emptying = self._emptying, True  # what comes in meanwhile waits
            try:
                watch = None if self.dispatcher is None else self.dispatcher.watch
                return StoreSnapshot(
                    started_at=self.started_at,
                    sums=self._table.sums.copy(),
                    calls=self._recent_calls(),
                    unpriced=tuple(self._reasons.values()),
                    alerts=() if watch is None else watch.current(),
                    threshold_usage=() if watch is None else watch.usage(),
                )
            finally:
                self._emptying = counting
                self._empty_inbox()

    def totals(self) -> Totals:
        """The totals over all calls so far."""
        return summed(self._sums().values()).totals()

    def by(self, *names: str) -> Mapping[tuple[str, ...], Totals]:
        """The totals per combination of the values of some dimensions, in the order in which they were first seen.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        labels = dimensions.checked(names)
        return dimensions.breakdown(self._sums(), labels)

    def ever(self, past: CounterHistory) -> tuple[Mapping[tuple[str, ...], Totals], Mapping[tuple[str, ...], Totals]]:
        """The totals by the dimensions of a past, through all resets since it was first read; and those of now."""
        with self._lock:
            self._empty_inbox()
            self._pasts.add(past)
            now = past.within(past.rows(self._table.sums))
            ever = past.with_past(now)
        return _read(ever), _read(now)

    def overflow_calls(self) -> int:
        """How many calls are in a row of others, because their dimension has too many values."""
        return dimensions.overflow_calls(self._sums())

    def _sums(self) -> Mapping[Key, Sum]:
        with self._lock:
            self._empty_inbox()
            return self._table.sums.copy()

    def calls(self) -> tuple[Call, ...]:
        """The most recent calls, oldest first."""
        with self._lock:
            self._empty_inbox()
            counting, self._emptying = self._emptying, True  # what comes in meanwhile waits
            try:
                return self._recent_calls()
            finally:
                self._emptying = counting
                self._empty_inbox()

    def _recent_calls(self) -> tuple[Call, ...]:
        """The ring, with a ``Call`` in the place of each plain call: the one that every later reader gets."""
        while self._unread:
            ring = self._ring
            calls = [*ring]
            first = max(len(calls) - self._unread, 0)
            calls[first:] = [call_of(call) if type(call) is PlainCall else call for call in calls[first:]]
            made = deque(calls, maxlen=ring.maxlen)
            if ring is self._ring:  # no signal handler has read or changed it meanwhile
                self._ring = made
                self._unread = 0
        return tuple(self._ring)  # type: ignore[arg-type] # all are calls now

    def reset(self) -> Totals:
        """Clears everything, and returns the totals up to that moment."""
        with self._lock:
            self._empty_inbox()
            before = self._table
            for past in tuple(self._pasts):
                past.forgot(before.sums)
            self._table = Table()
            self._room = NO_ROOM
            self._ring.clear()
            self._unpriced.clear()
            self._waiting.clear()
            self._reasons.clear()
            if self.dispatcher is not None:
                self.dispatcher.watch.reset()
            self.started_at = datetime.now(UTC)
        return summed(before.sums.values()).totals()

    def resize(self, recent: int) -> None:
        """Changes how many recent calls are kept."""
        with self._lock:
            self._empty_inbox()
            self._ring = deque(self._ring, maxlen=recent)
            self._unpriced = deque(self._unpriced, maxlen=recent)

    @property
    def recent(self) -> int:
        """How many recent calls are kept."""
        return self._ring.maxlen or 0

    def start_over_in_child(self) -> None:
        """Makes the store of a forked child empty and usable: the lock may have been held by a thread that is gone."""
        self._lock = RLock()
        self._emptying, self._room = False, NO_ROOM
        self._inbox.clear()
        self._ring.clear()
        self._unpriced.clear()
        self._waiting.clear()
        self._reasons.clear()
        self._table = Table()
        for past in tuple(self._pasts):
            past.start_over()
        if self.dispatcher is not None:
            self.dispatcher.watch.reset()
        self.started_at = datetime.now(UTC)


def _read(sums: Mapping[tuple[str, ...], Sum]) -> Mapping[tuple[str, ...], Totals]:
    return {row: one.totals() for row, one in sums.items()}
