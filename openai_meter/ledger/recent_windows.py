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

__all__ = ["Window", "WindowSums", "count_before", "read_window"]

_OF_CALLS = schema.calls.c


class Window(NamedTuple):
    """A period of time, cut into equal slices."""

    since: datetime
    until: datetime
    slices: int
    late: timedelta
    """How far the clock of another machine may be ahead: what ends after the window counts in its last slice."""


class WindowSums(NamedTuple):
    """The sums of one window, and since some moments, of one state of the ledger."""

    slices: dict[str, dict[int, Sum]]
    """By the name of a row: the calls that ended in each slice of the window, by its number from the oldest."""
    sums: tuple[Sum, ...]
    """The sums of the calls that began since some moments, until now."""


def read_window(reader: Reader, by: str, window: Window, moments: Sequence[datetime], zone: tzinfo) -> WindowSums:
    """The slices of a window by a dimension, and the sums since some moments, all of one state of the ledger.

    Calls that took more than an hour are not in the window: rows are found by the index on the time when they began.

    Raises:
        ConfigurationError: there is no such dimension.
        LedgerError: the ledger cannot be read.
    """
    (label,) = dimensions.checked((by,))
    with reader._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        slices = _slices(connection, by, label, window)
        found = tuple(_since(connection, at, zone) for at in moments)
    return WindowSums(slices, found)


def _since(connection: Connection, at: datetime, zone: tzinfo) -> Sum:
    return queries.run_query(connection, queries.Query((), Span(at, None), zone)).get((), NOTHING)


def _slices(connection: Connection, by: str, label: dimensions.Label, window: Window) -> dict[str, dict[int, Sum]]:
    start, end = micros(window.since), micros(window.until)
    name = "tag" if by.startswith("tag:") else by
    column = _OF_CALLS["tags" if name == "tag" else name]
    ended = _OF_CALLS.started_at + cast(func.round(_OF_CALLS.duration * 1_000_000), BigInteger)
    width = max((end - start) // window.slices, 1)
    place = ((ended - literal(start, BigInteger)) // literal(width, BigInteger)).label("place")
    statement = (
        select(place, column, *SUMS_OF_CALLS)
        .where(
            _OF_CALLS.started_at >= start - HOUR_US,
            ended >= start,
            ended < end + window.late // timedelta(microseconds=1),
        )
        .group_by(place, column)
    )
    found: dict[str, dict[int, Sum]] = {}
    for number, value, *row in connection.execute(statement):
        slices = found.setdefault(label(_key(name, value)), {})
        at = min(int(number), window.slices - 1)
        total = read_sum(row)
        slices[at] = summed((slices[at], total)) if at in slices else total
    return found


def _key(name: str, value: Any) -> dimensions.Key:
    """The key of a row of which only one dimension is known."""
    if name == "tag":
        value = tuple(sorted(json.loads(value).items())) if value else None
    return tuple(value if dimension == name else None for dimension in dimensions.DIMENSIONS)


def count_before(reader: Reader, moment: datetime) -> int:
    """The number of calls that began before a moment and whose details are kept.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    statement = select(func.count()).select_from(schema.calls).where(_OF_CALLS.started_at < micros(moment))
    with reader._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        return int(connection.execute(statement).scalar_one())
