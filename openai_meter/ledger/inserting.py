"""Inserts rows: each id once, and adds them to the roll-ups of their day in the same transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from operator import add, itemgetter, neg
from typing import Any

from sqlalchemy import Boolean, Connection, Double, Table, Text

from openai_meter.core.sections import with_key
from openai_meter.core.totals import counted
from openai_meter.core.usage import COUNTS
from openai_meter.ledger import roll_ups, schema
from openai_meter.ledger.kinds import split_rows
from openai_meter.ledger.rows import COLUMNS, Row
from openai_meter.ledger.schema import SUMS, TOTAL_DIMENSIONS, TOTAL_SUMS

__all__ = ["Group", "Sums", "add_kinds", "add_to_totals", "group_key", "rolled", "split_money", "store"]

_DAY = 86_400 * 1_000_000
"""Microseconds of a day."""
_EPOCH = date(1970, 1, 1)
_CHUNK = 1_000
"""Rows of one statement."""

Group = tuple[Any, ...]
"""A day (its number since 1970), and the values of ``TOTAL_DIMENSIONS``."""
Sums = tuple[int, ...]
"""The sums of a group in the order of ``SUMS``, and then when its first and its last call began."""


def store(connection: Connection, rows: Mapping[str, Row]) -> int:
    """Stores rows by id; those that are there already are left as they are, and not added to any sum.

    Args:
        connection: one in which a transaction has begun that writes.
        rows: the rows of calls (:func:`rows.to_row`), by their ids.

    Returns:
        How many were stored.
    """
    roll_ups.lock(connection, alone=False)
    marks = roll_ups.read_marks(connection)
    # Always in the same order, over the whole transaction: two transactions with the same keys cannot deadlock.
    ids = sorted(rows)
    fresh: list[Row] = []
    for start in range(0, len(ids), _CHUNK):
        fresh += _insert(connection, [rows[call_id] for call_id in ids[start : start + _CHUNK]])
    add_to_totals(connection, rolled(fresh))
    late = [row[0] for row in fresh if row[_AT] < marks.until]
    if late:
        roll_ups.add_late(connection, late, marks)
    return len(fresh)


def _insert(connection: Connection, rows: list[Row]) -> list[Row]:
    """Inserts the rows that are not there, and returns those."""
    if connection.dialect.name == "postgresql":
        sql = f"{_insertion(schema.call_rows, arrays=True)} ON CONFLICT (id) DO NOTHING RETURNING id"
        own = _insert_kinds(connection, rows)
        inserted = {row[0] for row in connection.exec_driver_sql(sql, _by_column(own))}
        return [row for row in rows if row[0] in inserted]
    # SQLite has one writer at a time: nothing that is read here changes until the end of the transaction.
    ids = json.dumps([row[0] for row in rows])
    known = {
        row[0]
        for row in connection.exec_driver_sql(
            "SELECT id FROM call_rows WHERE id IN (SELECT value FROM json_each(?))", (ids,)
        )
    }
    fresh = [row for row in rows if row[0] not in known]
    if fresh:
        own = _insert_kinds(connection, fresh)
        connection.exec_driver_sql(_insertion(schema.call_rows, arrays=False), own)
    return fresh


def _insert_kinds(connection: Connection, rows: list[Row]) -> list[Row]:
    """Inserts the kinds of calls that are not there; returns the rows of ``call_rows``."""
    own, kinds = split_rows(_with_key(connection, rows))
    add_kinds(connection, kinds)
    return own


def add_kinds(connection: Connection, kinds: Mapping[int, Row]) -> None:
    """Inserts kinds by number, in order: two transactions with the same ones cannot deadlock."""
    arrays = connection.dialect.name == "postgresql"
    sql = f"{_insertion(schema.call_kinds, arrays=arrays)} ON CONFLICT (kind) DO NOTHING"
    ordered: list[Any] = [kinds[number] for number in sorted(kinds)]
    connection.exec_driver_sql(sql, _by_column(ordered) if arrays else ordered)


def _with_key(connection: Connection, rows: list[Row]) -> list[Row]:
    """The rows with the fingerprints of their sections by the key of the ledger."""
    if not any(row[_SECTIONS] for row in rows):
        return rows
    found = connection.exec_driver_sql("SELECT value FROM ledger_secrets WHERE name = 'fingerprints'").scalar()
    key = bytes.fromhex(str(found))
    return [
        (*row[:_SECTIONS], with_key(row[_SECTIONS], key), *row[_SECTIONS + 1 :]) if row[_SECTIONS] else row
        for row in rows
    ]


# --- the sums of a day ------------------------------------------------------------------------------------------------

_AT, _SECTIONS = COLUMNS.index("started_at"), COLUMNS.index("sections")
_dimensions = itemgetter(*map(COLUMNS.index, TOTAL_DIMENSIONS))
_counts = itemgetter(*(COLUMNS.index(name) for name in COUNTS if name != "seconds"))
_rest = itemgetter(*map(COLUMNS.index, (
    "input_tokens", "output_tokens", "total_tokens", "status", "usage_source", "cost_status", "cost_pico", "cost_rest",
    "cost_estimated", "seconds", "duration", "characters", "images", "attempts",
)))  # fmt: skip


def rolled(rows: Iterable[Row], sign: int = 1) -> dict[Group, Sums]:
    """The sums of rows of ``calls`` by day and dimensions, as they are added to the roll-ups.

    Args:
        rows: the rows.
        sign: -1 for sums that take the rows out again.
    """
    groups: dict[Group, Sums] = {}
    for row in rows:
        at = row[_AT]
        group = (at // _DAY, *_dimensions(row))
        summands = _summands(row)
        before = groups.get(group)
        if before is not None:
            *sums, first, last = before
            groups[group] = (*map(add, sums, summands), min(first, at), max(last, at))
        else:
            groups[group] = (*summands, at, at)
    if sign == -1:
        return {group: (*map(neg, sums[:-2]), *sums[-2:]) for group, sums in groups.items()}
    return groups


def _summands(row: Row) -> tuple[int, ...]:
    """The amounts that a call adds to each of ``SUMS``."""
    (
        tokens_in, tokens_out, total, status, source, cost_status, pico, rest, estimated, seconds, duration,
        characters, images, attempts,
    ) = _rest(row)  # fmt: skip
    return (
        1,
        *counted(status, source, cost_status, pico, total, seconds or characters or images),
        tokens_in or 0,
        tokens_out or 0,
        total or 0,
        *_counts(row),
        round(seconds * 1_000_000),
        round(duration * 1_000_000),
        pico or 0,
        rest or 0,
        pico or 0 if estimated else 0,
        rest or 0 if estimated else 0,
        attempts - 1 if attempts else 0,
        total is None,
    )


def add_to_totals(connection: Connection, groups: Mapping[Group, Sums]) -> None:
    """Adds sums (:func:`rolled`) to those of their days.

    Args:
        connection: one in which a transaction has begun that writes.
        groups: the sums by day and dimensions.
    """
    # Sorted by key, for the same reason as the ids of calls.
    rows = sorted(
        (group_key(group), (_EPOCH + timedelta(days=group[0])).isoformat(), *group[1:], *map(int, split_money(sums)))
        for group, sums in groups.items()
    )
    if not rows:
        return
    arrays = connection.dialect.name == "postgresql"
    table = schema.daily_totals
    sql = f"{_insertion(table, arrays=arrays)} ON CONFLICT (key) DO UPDATE SET {_additions(table.name, arrays)}"
    for start in range(0, len(rows), _CHUNK):
        chunk: list[Any] = rows[start : start + _CHUNK]
        connection.exec_driver_sql(sql, _by_column(chunk) if arrays else chunk)


_COST, _ESTIMATED_COST = SUMS.index("cost_pico"), SUMS.index("estimated_cost_pico")


def split_money(sums: Sums) -> Sums:
    """Sums in the order of ``SUMS`` as those of ``TOTAL_SUMS``."""
    return (
        *sums[:_COST],
        *divmod(sums[_COST], schema.MICRO),
        *sums[_COST + 1 : _ESTIMATED_COST],
        *divmod(sums[_ESTIMATED_COST], schema.MICRO),
        *sums[_ESTIMATED_COST + 1 :],
    )


def group_key(group: Group) -> str:
    """The key of a row in a roll-up: a hash of the day and the dimensions.

    Those that were added last are left out where they are unknown: so rows of earlier versions keep their keys.
    """
    while len(group) > _FIRST_DIMENSIONS and group[-1] is None:
        group = group[:-1]
    return hashlib.sha256(json.dumps(group).encode("ascii")).hexdigest()[:32]


_FIRST_DIMENSIONS = 1 + TOTAL_DIMENSIONS.index("organization")
"""The values of a group as it was before the organization and the project."""


@cache
def _additions(table: str, postgresql: bool) -> str:
    """The assignments of an upsert that adds sums to those of a row in a roll-up."""
    least, greatest = ("least", "greatest") if postgresql else ("min", "max")
    sums = [f"{name} = {table}.{name} + excluded.{name}" for name in TOTAL_SUMS]
    first = f"first_call_at = {least}({table}.first_call_at, excluded.first_call_at)"
    last = f"last_call_at = {greatest}({table}.last_call_at, excluded.last_call_at)"
    return ", ".join([*sums, first, last])


# --- statements that take many rows at once ---------------------------------------------------------------------------


@cache
def _insertion(table: Table, *, arrays: bool) -> str:
    """An INSERT as plain SQL: building SQLAlchemy statement objects would take longer than storing.

    For PostgreSQL each column is one array, so that a thousand rows are one statement with as many values as columns.
    """
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    if arrays:
        kinds = ", ".join(f"%s::{_kind(column.type)}[]" for column in table.columns)
        return f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({kinds})'  # noqa: S608 - our own names
    marks = ", ".join("?" * len(table.columns))
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608


def _kind(kind: object) -> str:
    return (
        "text"
        if isinstance(kind, Text)
        else "boolean"
        if isinstance(kind, Boolean)
        else "float8"
        if isinstance(kind, Double)
        else "bigint"
    )


def _by_column(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
