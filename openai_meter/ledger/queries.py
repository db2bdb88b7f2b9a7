"""Sums by period and dimension: from the roll-ups where they suffice, else from the calls.

``plans.py`` names the roll-ups that have the dimensions of a query; the rest is read from the calls. For
days whose calls were pruned before there were roll-ups of users, sessions and tags, only ``daily_totals`` is left. All
sums are exact, from whichever table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, case, func, literal, select, text

from openai_meter.core import dimensions as groups
from openai_meter.core.totals import Sum, Unpriced, summed
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import plans, schema
from openai_meter.ledger.aggregates import SUMS_OF_CALLS, read_sum, sums_of
from openai_meter.ledger.filters import Filters
from openai_meter.ledger.periods import DAY_US, PERIODS, Segment, Span, segments
from openai_meter.ledger.plans import day_name, day_number
from openai_meter.ledger.roll_ups import read_marks
from openai_meter.ledger.rows import from_micros, micros

__all__ = [
    "PRUNED", "TIER", "WITHOUT_PRICE", "Query", "check_dimensions", "conditions", "needs_roll_ups", "plan",
    "pruned_days", "run_query", "sum_pieces", "unpriced", "within", "zone_segments",
]  # fmt: skip

PRUNED = "(pruned)"
"""The name of the row for pruned calls, where the roll-ups lack the dimension that is grouped by."""

WITHOUT_PRICE = text("calls.not_priced")
"""Calls without a full price. The text is that of the partial index."""

TIER = "service_tier"
"""What queries of this package can group by, besides the dimensions of reports."""

_OF_CALLS = schema.calls.c
_OF_TOTALS = schema.daily_totals.c
_COLUMNS = {name: ("tags" if name == "tag" else name) for name in (*groups.DIMENSIONS, "service_tier")}


_PRUNED_LEVELS = tuple(
    plans.Level(schema.metadata.tables[name], "day", frozenset(dimensions), None)
    for name, dimensions in (
        ("daily_totals", schema.TOTAL_DIMENSIONS),
        *((one.name, one.dimensions) for one in schema.LATER_ROLL_UPS if one.name == "daily_users"),
    )
)
"""The tables that have the sums of all pruned days, the smallest first."""


class Query(NamedTuple):
    """A query: the dimensions and periods, and which calls count."""

    by: tuple[str, ...]
    """Periods and dimensions, in the order of the columns."""
    span: Span = Span(None, None)
    zone: tzinfo = UTC
    filters: Filters = Filters()

    @property
    def periods(self) -> tuple[str, ...]:
        """The periods among ``by``."""
        return tuple(name for name in self.by if name in PERIODS)


def check_dimensions(by: tuple[str, ...]) -> None:
    """Checks the names of periods and dimensions.

    Raises:
        ConfigurationError: one is neither a period nor a dimension.
    """
    try:
        if dimensions := tuple(name for name in by if name not in PERIODS and name != TIER):
            groups.checked(dimensions)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; in time, by {', '.join(PERIODS)}") from None


def needs_roll_ups(names: Iterable[str]) -> bool:
    """Whether a report by some dimensions and filters needs more than ``daily_totals``."""
    return any(_dimension(name) in {"user", "session", "tag"} for name in names)


def run_query(connection: Connection, query: Query) -> dict[tuple[str, ...], Sum]:
    """The sums per row, in no order; the connection's transaction has to see one state of the ledger throughout.

    Raises:
        ConfigurationError: there are no such dimensions; or the details that it needs were pruned.
    """
    check_dimensions(query.by)
    return sum_pieces(connection, query, ())


def sum_pieces(
    connection: Connection, query: Query, where: tuple[tuple[str, frozenset[str]], ...]
) -> dict[tuple[str, ...], Sum]:
    """The sums per row; ``where`` names the values that dimensions may have, with the empty text for none."""
    sums = Aggregator(connection, query, where)
    for piece in plan(connection, query, sums.segments):
        if piece.level is None:
            sums.add_calls(_span(piece), split=not piece.unsplit)
        else:
            sums.add_level(piece)
    return sums.sums


def plan(connection: Connection, query: Query, zone: tuple[Segment, ...]) -> list[plans.Piece]:
    """The tables that answer a query, each for a part of its span."""
    needed = frozenset(_COLUMNS[_dimension(name)] for name in (*query.by, *query.filters.names) if name not in PERIODS)
    found = plans.levels(needed, frozenset(query.periods), zone)
    since, until = (None if at is None else micros(at) for at in query.span)
    return [*plans.pieces(found, since, until, read_marks(connection))]


def conditions(piece: plans.Piece, filters: Filters, columns: Any) -> list[ColumnElement[bool]]:
    """The conditions for the rows of a table that a part of a span needs."""
    span = within(_span(piece)) if piece.level is None else plans.bounds(piece)
    return [*span, *filters.of_calls(columns)]


def _span(piece: plans.Piece) -> Span:
    return Span(*(None if at is None else from_micros(at) for at in (piece.since, piece.until)))


# --- pruned days ------------------------------------------------------------------------------------------------------


class _Days(NamedTuple):
    """Whole days in UTC, as numbers from 1970; ``None`` is open."""

    first: int | None
    end: int | None


def _whole_days(span: Span) -> _Days | None:
    """The whole days in a span, if there are any."""
    first = None if span.since is None else -(-micros(span.since) // DAY_US)
    end = None if span.until is None else micros(span.until) // DAY_US
    return None if first is not None and end is not None and end <= first else _Days(first, end)


# --- adding up --------------------------------------------------------------------------------------------------------


class Aggregator:
    """Adds up the results of the several statements of one query."""

    def __init__(
        self, connection: Connection, query: Query, values: tuple[tuple[str, frozenset[str]], ...] = ()
    ) -> None:
        self._values = values
        self.sums: dict[tuple[str, ...], Sum] = {}
        self._connection = connection
        self._query = query
        dimensions = {name: _dimension(name) for name in query.by if name not in PERIODS}
        # SQL groups by all dimensions that rows are named by, and all that are filtered by.
        needed = dict.fromkeys((*dimensions.values(), *query.filters.names))
        self._dimensions = tuple(needed)
        self._labels = {name: groups.checked((name,))[0] for name in dimensions if name != TIER}
        self.segments = zone_segments(connection, query)

    def add_calls(self, span: Span, *, split: bool) -> None:
        """Adds the calls of a span; days that were pruned are added from the roll-ups.

        ``split``: the span is a part of a day, which the roll-ups of a pruned day cannot split.
        """
        pruned = self._add_pruned(span, split=split)
        period = self._period_of(_OF_CALLS.started_at) if self._query.periods else []
        columns = [*period, *(_OF_CALLS[_COLUMNS[name]] for name in self._dimensions)]
        where = [*within(span), *self._query.filters.of_calls(_OF_CALLS), *self._among(_OF_CALLS)]
        # A call that was stored after its day was pruned is in the sums of the day.
        where += [~_OF_CALLS.started_at.between(first * DAY_US, end * DAY_US - 1) for first, end in pruned]
        self._add(columns, SUMS_OF_CALLS, where, len(period))

    def add_level(self, piece: plans.Piece) -> None:
        """Adds the sums of a roll-up."""
        assert piece.level is not None
        table = piece.level.table.c
        where = [*conditions(piece, self._query.filters, table), *self._among(table)]
        if not self._query.periods:
            period = []
        elif piece.level.period == "half_hour":
            period = self._period_of(table.half_hour)
        else:
            period = [_period_of_days(self._query.periods, table[piece.level.period])]
        columns = [*period, *(table[_COLUMNS[name]] for name in self._dimensions)]
        self._add(columns, sums_of(table), where, len(period))

    def _among(self, columns: Any) -> list[ColumnElement[bool]]:
        """The conditions that dimensions have one of some values."""
        return [func.coalesce(columns[name], "").in_(sorted(values)) for name, values in self._values]

    def _add_pruned_days(self, first: int, end: int, *, known: bool) -> None:
        """Adds days of which only sums are left; dimensions that these lack are named :data:`PRUNED`."""
        names = [name for name in self._dimensions if any(name in one.dimensions for one in _PRUNED_LEVELS)]
        if not any(one.dimensions.issuperset(names) for one in _PRUNED_LEVELS):
            names.remove(TIER)
        table = next(one.table for one in _PRUNED_LEVELS if one.dimensions.issuperset(names)).c
        where = [table.day >= day_name(first), table.day < day_name(end), *self._query.filters.of_calls(table)]
        period = [_period_of_days(self._query.periods, table.day)] if self._query.periods and known else []
        columns = [*period, *(table[name] for name in names)]
        self._add(columns, sums_of(table), where, len(period), names, known=known)

    def _add(
        self,
        columns: list[Any],
        sums: tuple[ColumnElement[Any], ...],
        where: list[ColumnElement[bool]],
        periods: int,
        names: Iterable[str] | None = None,
        *,
        known: bool = True,
    ) -> None:
        names = self._dimensions if names is None else tuple(names)
        statement = select(*columns, *sums).where(*where).group_by(*columns)
        parts: dict[tuple[str, ...], list[Sum]] = {}
        for row in self._connection.execution_options(yield_per=1_000).execute(statement):
            values = dict(zip(names, row[periods:], strict=False))
            if "tag" in values:
                values["tag"] = _tags(values["tag"])
            one = read_sum(row[len(columns) :])
            if one.calls and self._query.filters.match(values):
                key = self._key(row[:periods], values, known=known)
                gathered = parts.setdefault(key, [self.sums[key]] if key in self.sums else [])
                gathered.append(one)
                if (
                    len(gathered) > 1_000
                ):  # bounds the memory where many combinations are one row: sessions, tags, days of a month
                    gathered[:] = [summed(gathered)]
        self.sums.update((key, summed(some) if len(some) > 1 else some[0]) for key, some in parts.items())

    def _key(self, period: Any, values: Mapping[str, Any], *, known: bool) -> tuple[str, ...]:
        whole = tuple(values.get(name) for name in groups.DIMENSIONS)
        key = []
        for name in self._query.by:
            if name in PERIODS:
                key.append(self._period(name, period) if known else PRUNED)
            elif _dimension(name) not in values:
                key.append(PRUNED)
            else:
                key.append(values[name] or "" if name == TIER else self._labels[name](whole))
        return tuple(key)

    def _period(self, name: str, period: Any) -> str:
        if len(period) == 1:  # a day of the roll-ups
            return PERIODS[name].label(day_number(period[0]), 0)
        number, offset = int(period[0]), int(period[1])
        hours = "hour" in self._query.periods
        return PERIODS[name].label(number // 24 if hours and name != "hour" else number, offset)

    def _period_of(self, at: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """The number of the local day or hour of a moment, and the offset of its local time."""
        unit = min(PERIODS[name].unit for name in self._query.periods)
        changes = [(at < one.until, literal(one.offset)) for one in self.segments[:-1]]
        last = literal(self.segments[-1].offset, BigInteger)
        offset: ColumnElement[Any] = case(*changes, else_=last) if changes else last
        # Labelled, so that GROUP BY repeats no parameters: PostgreSQL takes repeated ones for different values.
        return [((at + offset) // unit).label("period"), offset.label("ahead")]

    def _add_pruned(self, span: Span, *, split: bool) -> list[tuple[int, int]]:
        """Adds the days of which only the roll-ups are left, and returns them as runs."""
        days = pruned_days(self._connection, span)
        if not days:
            return []
        filters = self._query.filters
        whole = _whole_days(span) or _Days(0, 0)
        inside = [day for day in days if day >= (whole.first or day) and (whole.end is None or day < whole.end)]
        if split or len(inside) < len(days) or not filters.names <= _PRUNED_LEVELS[1].dimensions:
            later = day_name(max(days) + 1)
            raise ConfigurationError(
                f"the details of calls before {later} were pruned, and this report needs them; use since={later!r}, "
                f"or whole days in UTC without sessions and tags"
            )
        in_utc = "hour" not in self._query.periods and all(not one.offset for one in self.segments)
        runs = [*_runs(inside)]
        for first, end in runs:
            self._add_pruned_days(first, end, known=in_utc)
        return runs


def _period_of_days(periods: tuple[str, ...], day: ColumnElement[Any]) -> ColumnElement[Any]:
    """The day; where only months are grouped, the first of the month, so that the database sums the days."""
    return day if {*periods} != {"month"} else (func.substr(day, 1, 7) + "-01").label("of_month")


def _dimension(name: str) -> str:
    return "tag" if name.startswith("tag:") else name


def _tags(text: str | None) -> tuple[tuple[str, str], ...] | None:
    return tuple(sorted(json.loads(text).items())) if text else None


def zone_segments(connection: Connection, query: Query) -> tuple[Segment, ...]:
    """The UTC offsets of the timezone within the span of a query."""
    if not query.periods or query.zone is UTC:
        return (Segment(None, 0),)
    since, until = query.span
    if since is None or until is None:
        first, last = connection.execute(
            select(func.min(_OF_TOTALS.first_call_at), func.max(_OF_TOTALS.last_call_at))
        ).one()
        since = since or from_micros(first or 0)
        until = until or from_micros((last or 0) + 1)
    return segments(query.zone, since, max(since, until))


def within(span: Span) -> list[ColumnElement[bool]]:
    """The conditions for calls of a span."""
    found = [] if span.since is None else [_OF_CALLS.started_at >= micros(span.since)]
    return found if span.until is None else [*found, _OF_CALLS.started_at < micros(span.until)]


def _within_days(days: _Days) -> list[ColumnElement[bool]]:
    found = [] if days.first is None else [_OF_TOTALS.day >= day_name(days.first)]
    return found if days.end is None else [*found, _OF_TOTALS.day < day_name(days.end)]


def _runs(days: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive days: the first day of each, and the day after its last."""
    first = None
    for day in days:
        if first is None:
            first = day
        if day + 1 not in days:
            yield first, day + 1
            first = None


def pruned_days(connection: Connection, span: Span) -> list[int]:
    """The pruned days that a span touches, in order: those with fewer calls than the roll-ups have counted."""
    first = None if span.since is None else micros(span.since) // DAY_US
    end = None if span.until is None else -(-micros(span.until) // DAY_US)
    days = _Days(first, end)
    touched = within(Span(*(None if one is None else from_micros(one * DAY_US) for one in days)))
    rolled = select(func.coalesce(func.sum(_OF_TOTALS.calls), 0)).where(*_within_days(days)).scalar_subquery()
    kept = select(func.count()).select_from(schema.calls).where(*touched).scalar_subquery()
    counted, there = connection.execute(select(rolled, kept)).one()
    if counted == there:
        return []
    number = (_OF_CALLS.started_at // DAY_US).label("number")
    calls = connection.execute(select(number, func.count()).where(*touched).group_by(number))
    left = {int(day): amount for day, amount in calls}
    rows = connection.execute(
        select(_OF_TOTALS.day, func.sum(_OF_TOTALS.calls)).where(*_within_days(days)).group_by(_OF_TOTALS.day)
    )
    return sorted(day_number(day) for day, amount in rows if amount > left.get(day_number(day), 0))


# --- why there is no price --------------------------------------------------------------------------------------------


def unpriced(connection: Connection, span: Span, filters: Filters) -> tuple[Unpriced, ...]:
    """The calls without a full price, per model and reason, the most calls first. Pruned calls are not included."""
    names = tuple(dict.fromkeys(("model", *filters.names)))
    columns = [_OF_CALLS.cost_reason, *(_OF_CALLS[_COLUMNS[name]] for name in names)]
    where = [
        WITHOUT_PRICE,
        *within(span),
        *filters.of_calls(_OF_CALLS),
    ]
    statement = select(func.count(), func.sum(_OF_CALLS.total_tokens), *columns).where(*where).group_by(*columns)
    found: dict[tuple[str, str], Unpriced] = {}
    for calls, tokens, reason, *row in connection.execute(statement):
        values = dict(zip(names, row, strict=True))
        if "tag" in values:
            values["tag"] = _tags(values["tag"])
        if filters.match(values):
            key = (values["model"] or groups.UNKNOWN_MODEL, reason or "no price")
            one = found.get(key, Unpriced(*key, 0, 0))
            found[key] = one._replace(calls=one.calls + calls, tokens=one.tokens + int(tokens or 0))
    return tuple(sorted(found.values(), key=lambda one: (-one.calls, one.model, one.reason)))
