"""Reports with many users or sessions: the rows with the highest cost, and one row for all others.

The database ranks the rows by their cost alone, which needs three columns. The sums are read for the largest rows only;
those of the others are the rest of the totals. So neither time nor memory grows with the number of rows.
"""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, Double, cast, func, literal_column, select, union_all

from openai_meter.core import dimensions
from openai_meter.core.money import simplest
from openai_meter.core.totals import Sum, summed
from openai_meter.ledger import schema
from openai_meter.ledger.periods import PERIODS
from openai_meter.ledger.queries import Query, conditions, plan, run_query, sum_pieces, zone_segments
from openai_meter.ledger.rows import from_micros

__all__ = ["run_limited"]

_LEAST = 100
"""Users or sessions that are kept apart where each has a row in many periods."""
_MANY = ("user", "session")
_OF_CALLS = schema.calls.c


def run_limited(connection: Connection, query: Query, limit: int) -> dict[tuple[str, ...], Sum]:
    """As :func:`queries.run_query`; users and sessions beyond a number of rows are in rows such as ``(other users)``.

    When the first and the last call of such a row were made is unknown, unless no other row has earlier or later ones.

    Raises:
        ConfigurationError: as for :func:`queries.run_query`.
    """
    many = [name for name in query.by if name in _MANY]
    if not many:
        return run_query(connection, query)
    kept = _largest(connection, query, many, limit)
    if kept is None:
        return run_query(connection, query)
    values = tuple((name, frozenset(row[place] for row in kept)) for place, name in enumerate(many))
    sums = sum_pieces(connection, query, values)
    places = [place for place, name in enumerate(query.by) if name not in many]
    shown: dict[tuple[str, ...], list[Sum]] = {}
    for key, one in sums.items():
        shown.setdefault(tuple(key[place] for place in places), []).append(one)
    whole = run_query(connection, query._replace(by=tuple(query.by[place] for place in places)))
    for key, total in whole.items():
        rest = _minus(total, summed(shown.get(key, [])))
        if rest.calls:
            named = iter(key)
            sums[tuple(_other(name) if name in many else next(named) for name in query.by)] = rest
    return sums


def _largest(connection: Connection, query: Query, many: list[str], limit: int) -> list[tuple[str, ...]] | None:
    """The users or sessions that cost most; ``None`` if there are not more than the limit."""
    number = max(limit // _periods(connection, query), min(limit, _LEAST))
    parts = []
    for piece in plan(connection, query, zone_segments(connection, query)):
        columns = _OF_CALLS if piece.level is None else piece.level.table.c
        pico = cast(columns.cost_pico, Double)
        cost = pico if piece.level is None else columns.cost_micro * 1e6 + pico
        calls: Any = literal_column("1") if piece.level is None else columns.calls
        keys = [func.coalesce(columns[name], "").label(f"of_{name}") for name in many]
        part = select(*keys, func.coalesce(cost, 0.0).label("cost"), calls.label("calls"))
        parts.append(part.where(*conditions(piece, query.filters, columns)))
    every = union_all(*parts).subquery()
    names = [every.c[f"of_{name}"] for name in many]
    order = func.sum(every.c.cost).desc(), func.sum(every.c.calls).desc(), *names
    found = connection.execute(select(*names).group_by(*names).order_by(*order).limit(number + 1)).all()
    return None if len(found) <= number else [tuple(row) for row in found[:number]]


def _periods(connection: Connection, query: Query) -> int:
    """In about how many periods a user can have a row."""
    if not query.periods:
        return 1
    since, until = query.span
    first, last = connection.execute(
        select(func.min(schema.daily_totals.c.first_call_at), func.max(schema.daily_totals.c.last_call_at))
    ).one()
    since, until = max(since or from_micros(first or 0), from_micros(first or 0)), until or from_micros(last or 0)
    unit = min(PERIODS[name].unit for name in query.periods)
    days = {"week": 7, "month": 28}.get(min(query.periods, key=lambda name: PERIODS[name].unit), 1)
    return max(int((min(until, from_micros((last or 0) + 1)) - since) / timedelta(microseconds=unit * days)) + 1, 1)


def _other(name: str) -> str:
    (label,) = dimensions.checked((name,))
    return label(dimensions.read_key([True] * len(dimensions.DIMENSIONS)))


def _minus(total: Sum, part: Sum) -> Sum:
    """A total without a part. Its first and last call are unknown where they may be those of the part."""
    if not part.calls:
        return total
    counts = tuple(round(whole - some, 6) for whole, some in zip(total.counts, part.counts, strict=True))
    return total._replace(
        **{name: getattr(total, name) - getattr(part, name) for name in _NUMBERS},
        counts=counts,
        cost=simplest(Fraction(total.cost - part.cost)),
        estimated=simplest(Fraction(total.estimated - part.estimated)),
        first=None if total.first == part.first else total.first,
        last=None if total.last == part.last else total.last,
    )


_NUMBERS = ("calls", "errors", "unmeasured", "guessed", "input", "output", "total", "unpriced", "unknown")
