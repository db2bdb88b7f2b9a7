"""The last minutes of a ledger: sums by slice of time and by one dimension, made by the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, cast, func, literal, select

from openai_meter.core import dimensions
from openai_meter.core.totals import NOTHING, Sum, summed
from openai_meter.ledger import queries, schema
from openai_meter.ledger.aggregates import SUMS_OF_CALLS, read_sum
from openai_meter.ledger.periods import HOUR_US, Span
from openai_meter.ledger.reader import Reader
from openai_meter.ledger.rows import micros

__all__ = ["Glance", "Stretch", "begun_before", "look"]

_OF_CALLS = schema.calls.c


class Stretch(NamedTuple):
    """A stretch of time, in equal slices."""

    since: datetime
    until: datetime
    slices: int
    late: timedelta
    """How far the clock of another machine may be ahead: what ends after the stretch counts in its last slice."""


class Glance(NamedTuple):
    """What a ledger holds at one moment."""

    slices: dict[str, dict[int, Sum]]
    """By the name of a row: the calls that ended in each slice of the stretch, by its number from the oldest."""
    sums: tuple[Sum, ...]
    """Of the calls that began since some moments, until now."""


def look(reader: Reader, by: str, stretch: Stretch, moments: Sequence[datetime], zone: tzinfo) -> Glance:
    """The slices of a stretch by a dimension, and the sums since some moments, all of one state of the ledger.

    Calls that took more than an hour are not found in the stretch: the index is that of when they began.

    Raises:
        ConfigurationError: there is no such dimension.
        LedgerError: the ledger cannot be read.
    """
    (label,) = dimensions.checked((by,))
    with reader._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        slices = _slices(connection, by, label, stretch)
        found = tuple(_since(connection, at, zone) for at in moments)
    return Glance(slices, found)


def _since(connection: Connection, at: datetime, zone: tzinfo) -> Sum:
    return queries.ask(connection, queries.Question((), Span(at, None), zone)).get((), NOTHING)


def _slices(connection: Connection, by: str, label: dimensions.Label, stretch: Stretch) -> dict[str, dict[int, Sum]]:
    start, end = micros(stretch.since), micros(stretch.until)
    name = "tag" if by.startswith("tag:") else by
    column = _OF_CALLS["tags" if name == "tag" else name]
    ended = _OF_CALLS.started_at + cast(func.round(_OF_CALLS.duration * 1_000_000), BigInteger)
    width = max((end - start) // stretch.slices, 1)
    place = ((ended - literal(start, BigInteger)) // literal(width, BigInteger)).label("place")
    statement = (
        select(place, column, *SUMS_OF_CALLS)
        .where(
            _OF_CALLS.started_at >= start - HOUR_US,
            ended >= start,
            ended < end + stretch.late // timedelta(microseconds=1),
        )
        .group_by(place, column)
    )
    found: dict[str, dict[int, Sum]] = {}
    for number, value, *row in connection.execute(statement):
        slices = found.setdefault(label(_key(name, value)), {})
        at = min(int(number), stretch.slices - 1)
        one = read_sum(row)
        slices[at] = summed((slices[at], one)) if at in slices else one
    return found


def _key(name: str, value: Any) -> dimensions.Key:
    """A combination of which only one value is known."""
    if name == "tag":
        value = tuple(sorted(json.loads(value).items())) if value else None
    return tuple(value if one == name else None for one in dimensions.DIMENSIONS)


def begun_before(reader: Reader, moment: datetime) -> int:
    """How many calls began before a moment of which the details are kept.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    statement = select(func.count()).select_from(schema.calls).where(_OF_CALLS.started_at < micros(moment))
    with reader._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        return int(connection.execute(statement).scalar_one())
