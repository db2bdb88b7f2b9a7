"""Where the totals come from that Prometheus is shown: a meter or a block of this process, or the ledger of many."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core import faults, fork_safety
from openai_meter.core.dimensions import Past
from openai_meter.core.native import Lock, RLock
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.metering.meter import Meter, Readable

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger

    Source = Readable | Ledger

__all__ = ["SERIES", "Other", "face_of"]

SERIES = 2_000
"""The combinations of labels that a collector remembers."""

_Rows = Mapping[tuple[str, ...], Totals]


class Other(NamedTuple):
    """A family beside those of calls."""

    name: str
    help: str
    counter: bool
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]


class _OfReadings:
    """The totals of a meter or a block. Does not keep it alive."""

    def __init__(self, readings: Readable, past: Past) -> None:
        self.past = past
        self.lock = RLock()
        self._readings = weakref.ref(readings)
        readings.ever(past)  # from now on nothing is forgotten

    def read(self) -> tuple[_Rows, _Rows]:
        readings = self._readings()
        return ({}, {}) if readings is None else readings.ever(self.past)

    def others(self) -> Iterator[Other]:
        readings = self._readings()
        if readings is None:
            return
        pending = readings.pending
        streams = sum(call.stream for call in pending)
        kinds = [(("answer",), streams), (("work",), len(pending) - streams)]
        yield Other("open_calls", "Calls that have begun and not ended, and wait for this.", False, ("kind",), kinds)
        yield Other("faults", "Faults of openai_meter itself in this process.", True, (), [((), faults.count())])
        yield from _thresholds(readings)
        if isinstance(readings, Meter) and readings.ledger is not None:
            yield from _writing(readings.ledger)


def _thresholds(readings: Readable) -> Iterator[Other]:
    dispatcher = readings._store.dispatcher  # noqa: SLF001 - alerts alone do not say how near the other limits are
    values = () if dispatcher is None else dispatcher.watch.values()
    uses = [((one.metric, _window(one.window)), float(value) / float(one.limit)) for one, value in values]
    passed: dict[tuple[str, ...], float] = {}
    for alert in readings.alerts:
        key = (alert.kind, alert.threshold.per or "", _window(alert.window))
        passed[key] = passed.get(key, 0) + 1
    yield Other(
        "threshold_use_ratio", "The part of a limit on all calls that is used up.", False, ("metric", "window"), uses
    )
    yield Other(
        "thresholds_passed",
        "Limits that are passed now; of those per agent, user and so on, how many have passed theirs.",
        False,
        ("metric", "per", "window"),
        [*passed.items()],
    )


def _window(window: Any) -> str:
    """``total``, or the seconds of a rolling window."""
    return "total" if window is None else f"{window.total_seconds():g}s"


class _OfLedger:
    """The totals of all processes."""

    def __init__(self, ledger: Ledger, past: Past) -> None:
        self.past = past
        self.lock = RLock()
        self._ledger = weakref.ref(ledger)
        self._cache = 0.0
        self._read: _Rows = {}
        self._read_at: float | None = None
        self._reached = False

    def within(self, cache: float) -> _OfLedger:
        self._cache = cache
        return self

    def read(self) -> tuple[_Rows, _Rows]:
        ledger = self._ledger()
        fresh = self._read_at is not None and time.monotonic() - self._read_at < self._cache
        if ledger is not None and not fresh:
            from openai_meter.ledger.queries import Query, run_query  # noqa: PLC0415 - SQLAlchemy is behind a ledger only

            self._read_at, self._reached = time.monotonic(), False
            try:
                with ledger._reading() as connection:  # noqa: SLF001 - the sums of a report, before they are rounded off
                    sums = run_query(connection, Query(self.past.dimensions))
            except LedgerError:  # what was known goes on being shown
                return self._read, self._read
            self._read = {row: one.totals() for row, one in self.past.within(sums.items()).items()}
            self._reached = True
        return self._read, self._read

    def others(self) -> Iterator[Other]:
        reached: list[tuple[tuple[str, ...], float]] = [((), self._reached)]
        yield Other(
            "ledger_reached", "Whether the ledger could be read; else its last totals are shown.", False, (), reached
        )
        if (ledger := self._ledger()) is not None:
            yield from _writing(ledger)


def _writing(ledger: Ledger) -> Iterator[Other]:
    """What became of the calls that this process gave to its ledger."""
    stats = ledger.stats
    fates = ("written", "spooled", "replayed", "dropped", "refused", "damaged")
    counts = [((fate,), getattr(stats, fate)) for fate in fates]
    yield Other(
        "ledger_calls", "What became of the calls that this process gave to the ledger.", True, ("fate",), counts
    )
    yield Other("ledger_waiting_calls", "Calls in memory, for the ledger.", False, (), [((), stats.waiting)])
    yield Other("ledger_away", "Whether the ledger's database is away.", False, (), [((), stats.away)])


_Face = _OfReadings | _OfLedger
_faces: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], _Face]] = weakref.WeakKeyDictionary()
"""One for each source and its labels: what is exposed twice has the same counters."""
_making = Lock()


def _start_over_in_child(_: object) -> None:
    """A thread of the parent may have held a lock."""
    global _making  # noqa: PLW0603 - a child has one of its own
    _making = Lock()
    for faces in list(_faces.values()):
        for face in faces.values():
            face.lock = RLock()


fork_safety.on_fork("prometheus", after_in_child=_start_over_in_child)


def face_of(source: Any, names: tuple[str, ...], cache: float) -> _Face:
    """What shows the totals of a source by some dimensions; the same one whenever it is asked for.

    Raises:
        ConfigurationError: that is no source, or it does not know one of the dimensions.
    """
    ledgers = sys.modules.get("openai_meter.ledger")
    of_ledger = ledgers is not None and isinstance(source, ledgers.Ledger)
    if not of_ledger and not isinstance(source, Readable):
        raise ConfigurationError(f"{source!r} has no totals; use a meter, a block of track(), or a Ledger")
    if of_ledger and (detail := [name for name in names if name == "session" or name.startswith("tag")]):
        raise ConfigurationError(f"the roll-ups of a ledger know no {detail[0]!r}; leave that label out")
    with _making:
        faces = _faces.setdefault(source, {})
        if names not in faces:
            past = Past(names, SERIES)
            faces[names] = _OfLedger(source, past) if of_ledger else _OfReadings(source, past)
        face = faces[names]
    return face.within(cache) if isinstance(face, _OfLedger) else face
