"""Exact totals for ever, and the most recent calls: the memory of a meter or of a block.

Adding a call never waits. A call is put into an inbox (an atomic operation of the interpreter) and the thread that
holds the lock empties it. Readers hold the lock, so that their figures are exact. Finalizers and signal handlers run in
the middle of what their thread is doing: a stream that is collected while its thread adds a call can add its own, and a
handler that prints a summary does not wait for the lock of its own thread.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openai_meter.alerts import Alert, ThresholdUsage
from openai_meter.alerts.dispatch import AlertDispatcher
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
from openai_meter.pricing.loading import WAITING
from openai_meter.reports.model_stats import undated

__all__ = [
    "DIMENSIONS", "OTHER_MODELS", "UNATTRIBUTED", "UNKNOWN_MODEL", "Store", "StoreSnapshot", "Totals", "Unpriced",
]  # fmt: skip

_REASONS = 200
_WAITING = 10_000
"""Calls at most that are kept until the prices have been read, however few the ring holds."""


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """What a meter or a block has counted, as it was at one moment. Immutable; its figures agree with each other."""

    started_at: datetime
    """Since when calls are counted, in UTC."""
    sums: Mapping[Key, Sum]
    """The sum of every combination of dimensions; :meth:`by` groups them."""
    calls: tuple[Call, ...]
    """The most recent calls, oldest first."""
    unpriced: tuple[Unpriced, ...]
    """What has no full price, per model and reason."""
    alerts: tuple[Alert, ...]
    """The thresholds that were exceeded, in the order in which that happened."""
    threshold_usage: tuple[ThresholdUsage, ...]
    """How far each threshold was used up."""

    @property
    def totals(self) -> Totals:
        """The totals over all calls."""
        return summed(self.sums.values()).totals()

    @property
    def overflow_calls(self) -> int:
        """How many calls share a row of others in some dimension."""
        return dimensions.overflow_calls(self.sums)

    def by(self, *names: str, fold_snapshots: bool = False) -> Mapping[tuple[str, ...], Totals]:
        """The totals by tuples of values of some dimensions; they sum up to :attr:`totals`.

        Args:
            names: the dimensions.
            fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        labels = dimensions.checked(names)
        if fold_snapshots:
            labels = tuple(
                _undated_label(label) if name == "model" else label for name, label in zip(names, labels, strict=True)
            )
        return dimensions.breakdown(self.sums, labels)


class Store:
    """The memory of a meter: totals by every dimension and overall, and a ring of recent calls. Thread-safe.

    Args:
        recent: how many calls the ring holds; the totals go on for ever.
        dispatcher: is notified of each call once, in their order.
    """

    def __init__(self, recent: int = 10_000, dispatcher: AlertDispatcher | None = None) -> None:
        self._inbox: deque[Call] = deque()
        self._lock = RLock()
        self._emptying = False
        self._ring: deque[Call] = deque(maxlen=recent)
        self._table = Table()
        self._unpriced: deque[Call] = deque(maxlen=recent)
        self._waiting: deque[Call] = deque(maxlen=_WAITING)
        self._reasons: dict[tuple[str, str], Unpriced] = {}
        self._pasts: weakref.WeakSet[CounterHistory] = weakref.WeakSet()
        self.dispatcher = dispatcher
        self.started_at = datetime.now(UTC)
        """Since when calls are counted: the making, or the last reset."""

    def add(self, call: Call) -> None:
        """Adds a finished call. Never waits, and may be called from anywhere, a finalizer included."""
        inbox = self._inbox
        inbox.append(call)
        # Again after the release: a call that came in at the very end of the loop inside would be left lying.
        while inbox and not self._emptying and self._lock.acquire(False):
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
                    self._count(call)
                except Exception as error:
                    if inbox and inbox[0] is call:
                        inbox.popleft()  # or no call after it would be counted
                    faults.caught(error, "counting a call")
        finally:
            self._emptying = False

    def _count(self, call: Call) -> None:
        """Counts the first call of the inbox.

        The sum is made aside, and put in its place and out of the inbox in two steps between which the interpreter
        handles no signal: an exception that a signal handler raises finds the call in the inbox, or counted.
        """
        table = self._table
        key = dimensions.combination(call)
        before = table.sums.get(key)
        if before is None:  # a new combination, or one that is folded
            key, before = table.find(call)
        counted = (NOTHING if before is None else before).plus(call)
        if table is not self._table:  # a signal handler has reset the store or repriced the store meanwhile
            return
        table.sums[key] = counted
        self._inbox.popleft()
        self._ring.append(call)
        if call.cost_status in NOT_PRICED:
            (self._waiting if call.cost_reason is WAITING else self._unpriced).append(call)
            _note(self._reasons, call, 1)
        if self.dispatcher is not None:
            self.dispatcher.record(call)

    def to_dict(self) -> dict[str, Any]:
        """The sums of all combinations and the reasons of missing prices, as plain JSON values."""
        with self._lock:
            self._empty_inbox()
            sums = [[dimensions.plain_key(key), one.to_list()] for key, one in self._table.sums.items()]
            return {"sums": sums, "unpriced": [list(one) for one in self._reasons.values()]}

    def add_others(self, rows: Iterable[Call | Mapping[str, Any]]) -> int:
        """Adds what other processes have counted: calls, and what :meth:`to_dict` gave. Raises no alert.

        Returns:
            The number of calls.
        """
        added = 0
        with self._lock:
            self._empty_inbox()
            dispatcher, self.dispatcher = self.dispatcher, None
            try:
                for row in rows:
                    if isinstance(row, Call):
                        self.add(row)
                        added += 1
                    else:
                        added += self._add_sums(row)
            finally:
                self.dispatcher = dispatcher
        return added

    def _add_sums(self, data: Mapping[str, Any]) -> int:
        added = 0
        for values, fields in data["sums"]:
            key, one = dimensions.read_key(values), Sum.from_list(fields)
            self._table.sums[key] = summed((self._table.sums.get(key, NOTHING), one))
            added += one.calls
        for model, reason, calls, tokens in data["unpriced"]:
            before = self._reasons.get((model, reason), Unpriced(model, reason, 0, 0))
            self._reasons[model, reason] = before._replace(calls=before.calls + calls, tokens=before.tokens + tokens)
        return added

    def catch_up(self) -> None:
        """Counts what has come in and was not counted yet."""
        with self._lock:
            self._empty_inbox()

    def held_here(self) -> bool:
        """Whether this thread is in the middle of counting or reading, and is interrupted by what asks."""
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
        """All is made aside, and put in its place in steps between which the interpreter handles no signal.

        The table is another one then: a call whose counting a signal handler has interrupted is counted in that.
        """
        table, waiting = self._table, (*self._unpriced, *self._waiting)
        repriced, reasons = table.copy(), self._reasons.copy()
        changed: dict[str, Call] = {}
        left: deque[Call] = deque(maxlen=self._unpriced.maxlen)
        done = 0
        for before in waiting:
            after = price(before)
            if (after.cost_pico, after.cost_status, after.cost_reason) != (
                before.cost_pico, before.cost_status, before.cost_reason,
            ):  # fmt: skip
                changed[before.id] = after
                key, _ = table.find(before)
                repriced.sums[key] = repriced.sums[key].repriced(before, after)
                _note(reasons, before, -1)
                if after.cost_status in NOT_PRICED:
                    _note(reasons, after, 1)
            if after.cost_status in NOT_PRICED:
                left.append(after)
            else:
                done += 1
        ring = deque([changed.get(call.id, call) for call in tuple(self._ring)], maxlen=self._ring.maxlen)
        if table is not self._table:  # a signal handler has reset the store meanwhile
            return 0
        self._table, self._reasons, self._unpriced, self._ring = repriced, reasons, left, ring
        self._waiting = deque(maxlen=_WAITING)
        if self.dispatcher is not None:
            for before in waiting:
                if (again := changed.get(before.id)) is not None:
                    self.dispatcher.repriced(before, again)
        return done

    def read(self) -> StoreSnapshot:
        """Everything that is counted, of one moment: it is read under one lock."""
        with self._lock:
            self._empty_inbox()
            watch = None if self.dispatcher is None else self.dispatcher.watch
            return StoreSnapshot(
                started_at=self.started_at,
                sums=self._table.sums.copy(),
                calls=tuple(self._ring),
                unpriced=tuple(self._reasons.values()),
                alerts=() if watch is None else watch.current(),
                threshold_usage=() if watch is None else watch.usage(),
            )

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
            return tuple(self._ring)

    def reset(self) -> Totals:
        """Forgets everything, and returns the totals up to that moment."""
        with self._lock:
            self._empty_inbox()
            before = self._table
            for past in tuple(self._pasts):
                past.forgot(before.sums)
            self._table = Table()
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
        self._emptying = False
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


def _undated_label(label: dimensions.Label) -> dimensions.Label:
    return lambda key: undated(label(key))


def _read(sums: Mapping[tuple[str, ...], Sum]) -> Mapping[tuple[str, ...], Totals]:
    return {row: one.totals() for row, one in sums.items()}


def _note(reasons: dict[tuple[str, str], Unpriced], call: Call, times: int) -> None:
    """Adds a call without a full price to the reasons, or takes it out."""
    key = (call.model or UNKNOWN_MODEL, call.cost_reason or "no price")
    if key not in reasons and len(reasons) >= _REASONS:
        key = (OTHER_MODELS, "no price")
    found = reasons.get(key, Unpriced(*key, 0, 0))
    left = found._replace(calls=found.calls + times, tokens=found.tokens + times * (call.usage.total_tokens or 0))
    if left.calls > 0:
        reasons[key] = left
    else:
        reasons.pop(key, None)
