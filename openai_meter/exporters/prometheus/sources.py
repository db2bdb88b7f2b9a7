"""Reads the totals for Prometheus: of a meter or a block of this process, or of a ledger."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from openai_meter.core import faults, fork_safety
from openai_meter.core.dimensions import CounterHistory
from openai_meter.core.native import Lock, RLock
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.exporters.prometheus.bills import bill_families
from openai_meter.exporters.prometheus.budgets import budget_families
from openai_meter.exporters.prometheus.limits import ExtraFamily, threshold_families
from openai_meter.metering.meter import Meter, Readable

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger

    Source = Readable | Ledger

__all__ = ["SERIES", "ExtraFamily", "reader_of"]

SERIES = 2_000
"""The combinations of label values that a collector keeps."""

_Rows = Mapping[tuple[str, ...], Totals]


class _Starts:
    """When each row was first counted, in Unix seconds.

    A row that exists at the first reading started with its first call, but not before the source itself. A later row
    starts with the reading that finds it: a call may reach a source long after it was made.
    """

    def __init__(self) -> None:
        self.source: float | None = None
        """When the source began to count."""
        self.rows: dict[tuple[str, ...], float] = {}

    def note(self, rows: _Rows, source_started: datetime | None = None) -> None:
        """Notes the rows of a reading that are new."""
        now = time.time()
        if self.source is None:
            earliest = 0.0 if source_started is None else source_started.timestamp()
            self.rows = {
                row: now if totals.first_call_at is None else min(max(totals.first_call_at.timestamp(), earliest), now)
                for row, totals in rows.items()
            }
            self.source = earliest or min([now, *self.rows.values()])
        for row in rows:
            self.rows.setdefault(row, now)


class _MeterReader:
    """Reads the totals of a meter or a block, without keeping it alive."""

    def __init__(self, source: Readable, past: CounterHistory) -> None:
        self.past = past
        self.lock = RLock()
        self.starts = _Starts()
        self._source = weakref.ref(source)
        # From now on the sums of a reset are kept.
        self.starts.note(source._since_first_read(past)[0], source.started_at)

    def start_over_in_child(self) -> None:
        """The counters of a forked child start with the child."""
        self.starts = _Starts()
        self.starts.note({}, datetime.now(UTC))

    def read(self) -> tuple[_Rows, _Rows]:
        source = self._source()
        if source is None:
            return {}, {}
        since_start, now = source._since_first_read(self.past)
        self.starts.note(since_start)
        return since_start, now

    def extra_families(self) -> Iterator[ExtraFamily]:
        source = self._source()
        if source is None:
            return
        pending = source.pending
        streams = sum(call.stream for call in pending)
        kinds = [(("answer",), streams), (("work",), len(pending) - streams)]
        yield ExtraFamily(
            "open_calls", "Calls in flight: answers being received, and work on the server.", False, ("kind",), kinds
        )
        yield ExtraFamily(
            "faults", "Internal errors of openai_meter in this process.", True, (), [((), faults.count())]
        )
        yield from threshold_families(source)
        yield from budget_families(source)
        if isinstance(source, Meter) and source.ledger is not None:
            yield from _ledger_families(source.ledger)
            yield from bill_families(source.ledger)


class _LedgerReader:
    """Reads the totals of a ledger, without keeping it alive."""

    def __init__(self, ledger: Ledger, past: CounterHistory) -> None:
        self.past = past
        self.lock = RLock()
        self.starts = _Starts()
        self._ledger = weakref.ref(ledger)
        self._cache = 0.0
        self._read: _Rows = {}
        self._read_at: float | None = None
        self._reached = False

    def with_cache(self, cache: float) -> _LedgerReader:
        self._cache = cache
        return self

    def read(self) -> tuple[_Rows, _Rows]:
        ledger = self._ledger()
        fresh = self._read_at is not None and time.monotonic() - self._read_at < self._cache
        if ledger is not None and not fresh:
            from openai_meter.ledger.queries import Query, run_query  # noqa: PLC0415 - SQLAlchemy, for a ledger only

            self._read_at, self._reached = time.monotonic(), False
            try:
                with ledger._reading() as connection:  # noqa: SLF001 - the sums of a report before rounding
                    sums = run_query(connection, Query(self.past.dimensions))
            except LedgerError:  # the last totals are still shown
                return self._read, self._read
            self._read = {row: total.totals() for row, total in self.past.within(sums.items()).items()}
            self._reached = True
            self.starts.note(self._read)
        return self._read, self._read

    def extra_families(self) -> Iterator[ExtraFamily]:
        reached: list[tuple[tuple[str, ...], float]] = [((), self._reached)]
        yield ExtraFamily(
            "ledger_reached", "1 if the ledger could be read; 0 while its last totals are shown.", False, (), reached
        )
        if (ledger := self._ledger()) is not None:
            yield from _ledger_families(ledger)
            yield from bill_families(ledger)


def _ledger_families(ledger: Ledger) -> Iterator[ExtraFamily]:
    """The counts of the calls that this process has added to a ledger."""
    stats = ledger.stats
    fates = ("written", "spooled", "replayed", "dropped", "refused", "damaged")
    counts = [((fate,), getattr(stats, fate)) for fate in fates]
    yield ExtraFamily(
        "ledger_calls",
        "Calls that this process has added to the ledger, by what happened to them.",
        True,
        ("fate",),
        counts,
    )
    yield ExtraFamily(
        "ledger_waiting_calls", "Calls in memory that are not yet in the ledger.", False, (), [((), stats.waiting)]
    )
    yield ExtraFamily("ledger_away", "1 while the ledger's database cannot be reached.", False, (), [((), stats.away)])


_Reader = _MeterReader | _LedgerReader
_readers: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], _Reader]] = weakref.WeakKeyDictionary()
"""One reader per source and labels, so that two collectors of one source show the same counters."""
_making = Lock()


def _start_over_in_child(_: object) -> None:
    """Replaces the locks in a forked child: threads of the parent may hold them."""
    global _making  # noqa: PLW0603 - replaced in a forked child only
    _making = Lock()
    for readers in list(_readers.values()):
        for reader in readers.values():
            reader.lock = RLock()
            if isinstance(reader, _MeterReader):
                reader.start_over_in_child()


fork_safety.on_fork("prometheus", after_in_child=_start_over_in_child)


def reader_of(source: Any, names: tuple[str, ...], cache: float) -> _Reader:
    """The reader of a source by some dimensions; the same object each time.

    Raises:
        ConfigurationError: the source is not valid, or does not have one of the dimensions.
    """
    ledgers = sys.modules.get("openai_meter.ledger")
    of_ledger = ledgers is not None and isinstance(source, ledgers.Ledger)
    if not of_ledger and not isinstance(source, Readable):
        raise ConfigurationError(f"{source!r} has no totals; pass a meter, a block of track(), or a Ledger")
    if of_ledger and (detail := [name for name in names if name == "session" or name.startswith("tag")]):
        raise ConfigurationError(f"the roll-ups of a ledger do not have {detail[0]!r}; leave that label out")
    with _making:
        readers = _readers.setdefault(source, {})
        if names not in readers:
            past = CounterHistory(names, SERIES)
            readers[names] = _LedgerReader(source, past) if of_ledger else _MeterReader(source, past)
        reader = readers[names]
    return reader.with_cache(cache) if isinstance(reader, _LedgerReader) else reader
