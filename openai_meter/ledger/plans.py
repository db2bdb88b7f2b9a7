"""Chooses the tables for a query: the coarsest roll-ups for the middle of a span, finer ones for its ends, then calls.

The roll-ups that are filled in the background reach to a mark (``roll_ups.py``). What began after it, and the parts of
a span that no whole period covers, are read from the calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from openai_meter.ledger import schema
from openai_meter.ledger.periods import DAY_US, Segment
from openai_meter.ledger.roll_ups import Marks
from openai_meter.ledger.rows import from_micros, micros

__all__ = ["HALF_HOUR", "Level", "Piece", "day_name", "day_number", "levels", "pieces"]

HALF_HOUR = 1_800_000_000
"""Microseconds of the shortest period that is summed up."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Level(NamedTuple):
    """A roll-up, as queries use it."""

    table: Any
    period: str
    dimensions: frozenset[str]
    family: str | None
    """``None`` for ``daily_totals``, which is written with the calls and has no mark."""


class Piece(NamedTuple):
    """A part of a span, in microseconds since 1970, and the table that it is read from."""

    level: Level | None
    """``None``: the calls."""
    since: int | None
    until: int | None
    unsplit: bool = False
    """Whether a part of the calls whose details were pruned may be answered from ``daily_totals``."""


_TOTALS = Level(schema.daily_totals, "day", frozenset(schema.TOTAL_DIMENSIONS), None)
_LEVELS = (
    *(Level(one.table, one.period, frozenset(one.dimensions), one.family) for one in schema.LATER_ROLL_UPS),
    _TOTALS,
)
_ORDER = {"month": 0, "day": 1, "half_hour": 2}


def levels(needed: frozenset[str], periods: frozenset[str], zone: tuple[Segment, ...]) -> list[Level]:
    """The roll-ups that have some dimensions, the coarsest first.

    Args:
        needed: the columns that a query groups and filters by.
        periods: the periods that it groups by.
        zone: the offsets of its timezone.
    """
    utc = all(not one.offset for one in zone)
    halves = all(not one.offset % HALF_HOUR and not (one.until or 0) % HALF_HOUR for one in zone)
    fitting = {
        "month": not periods or (utc and periods == {"month"}),
        "day": not periods or (utc and "hour" not in periods),
        "half_hour": halves,
    }
    found = [one for one in _LEVELS if needed <= one.dimensions and fitting[one.period]]
    # Of two tables of one period, the smaller one: that of all calls has no users and no tags.
    by_period: dict[str, Level] = {}
    for one in found:
        if one.period not in by_period or one is _TOTALS:
            by_period[one.period] = one
    return sorted(by_period.values(), key=lambda one: _ORDER[one.period])


def pieces(found: list[Level], since: int | None, until: int | None, marks: Marks) -> Iterator[Piece]:
    """The parts of a span, each with the table that it is read from.

    Args:
        found: the roll-ups that may be used, the coarsest first.
        since: the start of the span, in microseconds since 1970; ``None`` is open.
        until: its end.
        marks: how far the roll-ups are.
    """
    if not found:
        yield Piece(None, since, until, unsplit=True)
        return
    begin = max((marks.since.get(one.family, 0) for one in found if one.family is not None), default=0)
    if begin and found[0].family is not None and (since is None or since < begin):
        # Before it, calls were pruned, or there were as many groups as calls.
        if until is not None and until <= begin:
            yield Piece(None, since, until, unsplit=True)
            return
        yield Piece(None, since, begin, unsplit=True)
        since = begin
    yield from _divided(found, since, until, marks)


def _divided(found: list[Level], since: int | None, until: int | None, marks: Marks) -> Iterator[Piece]:
    if since is not None and until is not None and since >= until:
        return
    if not found:
        yield Piece(None, since, until)
        return
    level, *finer = found
    if level.family is not None and marks.until <= marks.since.get(level.family, 0):
        yield from _divided(finer, since, until, marks)  # it has no sums yet
        return
    first = None if since is None else _ceil(level.period, max(since, marks.since.get(level.family or "", 0)))
    if level.family is None or (until is not None and until < marks.until):
        end = None if until is None else _floor(level.period, until)
    else:
        end = marks.until  # the last period is not over: its sums have only calls that began before the mark
    if end is not None and end <= (first or 0):
        yield from _divided(finer, since, until, marks)
        return
    yield Piece(level, first, end)
    if since is not None and first is not None and since < first:
        yield from _divided(finer, since, first, marks)
    if end is not None and (until is None or end < until):
        yield from _divided(finer, end, until, marks)


def _floor(period: str, at: int) -> int:
    if period == "half_hour":
        return at - at % HALF_HOUR
    if period == "day":
        return at - at % DAY_US
    return micros(_month(at))


def _ceil(period: str, at: int) -> int:
    start = _floor(period, at)
    if start == at:
        return at
    if period == "half_hour":
        return start + HALF_HOUR
    if period == "day":
        return start + DAY_US
    return micros(_month(micros(_month(at) + timedelta(days=31))))


def _month(at: int) -> datetime:
    return from_micros(at).astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def bounds(piece: Piece) -> list[Any]:
    """The conditions on the period of a roll-up."""
    level = piece.level
    assert level is not None
    column = level.table.c[level.period]
    first, end = (None if at is None else _ceil(level.period, at) for at in (piece.since, piece.until))
    low, high = (at if at is None or level.period == "half_hour" else day_name(at // DAY_US) for at in (first, end))
    return [*([] if low is None else [column >= low]), *([] if high is None else [column < high])]


def day_name(number: int) -> str:
    """The date of a day, by its number since 1970."""
    return date.fromordinal(_EPOCH_DAY + number).isoformat()


def day_number(name: str) -> int:
    """The number of a day since 1970."""
    return date.fromisoformat(name).toordinal() - _EPOCH_DAY
