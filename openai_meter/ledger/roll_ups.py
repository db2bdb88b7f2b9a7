"""Fills the roll-ups by user, session, tag and half hour, in the background, in steps of some thousand calls.

Storing a call writes none of them, so it stays fast. A step adds the next calls, in the order in which they began, and
moves the mark ``until``; both in one transaction. Calls after the mark are read one by one. A call that is stored
later than the mark has passed it is added at once. So every call is in each sum exactly once, or after the mark.

A step that finds almost as many groups as calls saves nothing: the family's own mark moves behind these calls, and
reports on them read the calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Text, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from openai_meter.ledger import schema
from openai_meter.ledger.aggregates import PER_CALL
from openai_meter.ledger.schema import LATER_ROLL_UPS, RollUp

__all__ = ["STEP", "Marks", "add_late", "key_parts", "lock", "read_marks", "roll_up", "set_mark", "take_step"]

STEP = 20_000
"""Calls of one step at most, and those after the mark for which no step is made."""
_LATENCY = 60_000_000
"""Microseconds before now up to which the mark goes: a call is stored when it ends, after others that began later."""
_LEAST_SAVING = 0.9
"""Groups per call from which on a roll-up saves nothing."""
_LEFT_OUT = frozenset({"sessions", "tags"})
"""The families to which that applies. The sums of users stay when calls are pruned, so they are always kept."""
_LOCK = 0x6F61_6D52
"""The first number of the advisory lock in PostgreSQL; the second one is that of the schema."""
_UNTIL = "until"
_OF_CALLS = schema.calls.c
_HALF_HOUR = 1_800_000_000

Transaction = Callable[[], AbstractContextManager[Connection]]


class Marks(NamedTuple):
    """How far the roll-ups are, in microseconds since 1970."""

    until: int
    """Calls that began before it are in the roll-ups."""
    since: Mapping[str, int]
    """From when on the sums of a family are complete."""


def read_marks(connection: Connection) -> Marks:
    """The marks, as the connection's transaction sees them."""
    found = {name: int(at) for name, at in connection.exec_driver_sql("SELECT name, at FROM roll_up_marks")}
    return Marks(found.pop(_UNTIL, 0), found)


def lock(connection: Connection, *, alone: bool) -> None:
    """Keeps the mark where it is until the end of a transaction that stores calls, or (``alone``) changes it.

    SQLite has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        shared = "" if alone else "_shared"
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{shared}({_LOCK}, hashtext(current_schema()))")


def add_late(connection: Connection, ids: Collection[str], marks: Marks, sign: int = 1) -> None:
    """Adds stored calls to the roll-ups that began before the mark; ``sign=-1`` takes them out.

    Args:
        connection: one in which a transaction has begun that writes and holds the lock.
        ids: the ids of the calls; those that began after the mark are left out.
        marks: the marks.
        sign: -1 for calls that are about to be changed.
    """
    late = [_OF_CALLS.id.in_(sorted(ids)), _OF_CALLS.started_at < marks.until]
    for roll_up in LATER_ROLL_UPS:
        _add(connection, roll_up, [*late, _OF_CALLS.started_at >= marks.since.get(roll_up.family, 0)], sign)


def take_step(connection: Connection, *, least: int, until: int = 0) -> int:
    """Adds the next calls to the roll-ups, if there are more than ``least``; returns how many, or 0.

    Args:
        connection: one in which a transaction has begun that writes.
        least: how many calls may stay after the mark.
        until: a moment up to which the mark may go in any case, in microseconds since 1970.
    """
    lock(connection, alone=True)
    marks = read_marks(connection)
    newest = max(time.time_ns() // 1_000 - _LATENCY, until)
    ahead = [_OF_CALLS.started_at >= marks.until, _OF_CALLS.started_at < newest]
    after = select(_OF_CALLS.started_at).where(*ahead).order_by(_OF_CALLS.started_at)
    if connection.execute(after.offset(least).limit(1)).first() is None:
        return 0
    place = connection.execute(after.offset(STEP).limit(1)).scalar()
    # Calls that began in the same microsecond are added together.
    end = newest if place is None else max(int(place), marks.until + 1)
    page = [_OF_CALLS.started_at >= marks.until, _OF_CALLS.started_at < end]
    number = int(connection.execute(select(func.count()).select_from(schema.calls).where(*page)).scalar_one())
    moved = {_UNTIL: end}
    for family in dict.fromkeys(one.family for one in LATER_ROLL_UPS):
        tables = [one for one in LATER_ROLL_UPS if one.family == family]
        if family in _LEFT_OUT and number >= STEP and _groups(connection, tables[-1], page) > number * _LEAST_SAVING:
            moved[family] = end
        else:
            for table in tables:
                _add(connection, table, page, 1)
    for name, at in moved.items():
        set_mark(connection, name, at)
    return number


def set_mark(connection: Connection, name: str, at: int) -> None:
    """Moves a mark."""
    statement = text(
        "INSERT INTO roll_up_marks (name, at) VALUES (:name, :at) ON CONFLICT (name) DO UPDATE SET at = excluded.at"
    )
    connection.execute(statement, {"name": name, "at": at})


def roll_up(
    writing: Transaction,
    progress: Callable[[int], object] | None = None,
    *,
    until: int = 0,
    seconds: float | None = None,
) -> int:
    """Makes steps until the roll-ups are up to date; each is a transaction of its own. Returns how many calls.

    Args:
        writing: opens a transaction that writes.
        progress: is called after each step with the number of calls so far.
        until: goes on until no call before this moment is left, in microseconds since 1970.
        seconds: after how many seconds no further step is begun.
    """
    done = 0
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        with writing() as connection:
            added = take_step(connection, least=0, until=until) if until else take_step(connection, least=STEP)
        if not added:
            return done
        done += added
        if progress is not None:
            progress(done)
    return done


# --- one roll-up ------------------------------------------------------------------------------------------------------


def _groups(connection: Connection, roll_up: RollUp, where: list[ColumnElement[bool]]) -> int:
    groups = select(*_columns(connection.dialect.name, roll_up)).where(*where).distinct().subquery()
    return int(connection.execute(select(func.count()).select_from(groups)).scalar_one())


def _columns(dialect: str, roll_up: RollUp) -> list[Any]:
    return [
        # The labels differ from the names of columns: GROUP BY in PostgreSQL prefers the column.
        _period(dialect, roll_up.period).label("of_period"),
        *(func.coalesce(_OF_CALLS[name], "").label(f"of_{name}") for name in roll_up.dimensions),
    ]


def _period(dialect: str, name: str) -> ColumnElement[Any]:
    if name == "half_hour":
        return _OF_CALLS.started_at - _OF_CALLS.started_at % _HALF_HOUR
    form = {"day": ("%Y-%m-%d", "YYYY-MM-DD"), "month": ("%Y-%m-01", "YYYY-MM-01")}[name]
    seconds = _OF_CALLS.started_at // 1_000_000
    if dialect == "postgresql":
        return func.to_char(func.timezone("UTC", func.to_timestamp(seconds)), form[1])
    return func.strftime(form[0], seconds, "unixepoch", type_=Text)


def _add(connection: Connection, roll_up: RollUp, where: list[ColumnElement[bool]], sign: int) -> None:
    dialect = connection.dialect.name
    columns = _columns(dialect, roll_up)
    sums = [func.coalesce(func.sum(_per_call(name)), 0) * sign for name in schema.TOTAL_SUMS]
    ends = func.min(_OF_CALLS.started_at), func.max(_OF_CALLS.started_at)
    # In the order of the keys: transactions with the same ones cannot deadlock.
    groups = select(*columns, *sums, *ends).where(*where).group_by(*columns).order_by(*columns)
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    names = [column.name for column in roll_up.table.columns]
    statement = insert(roll_up.table).from_select(names, groups)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[text(part) for part in key_parts(dialect, roll_up)],
            set_=_assignments(dialect, roll_up.name),
        )
    )


def _assignments(dialect: str, table: str) -> dict[str, Any]:
    least, greatest = ("least", "greatest") if dialect == "postgresql" else ("min", "max")
    return {
        **{name: text(f"{table}.{name} + excluded.{name}") for name in schema.TOTAL_SUMS},
        "first_call_at": text(f"{least}({table}.first_call_at, excluded.first_call_at)"),
        "last_call_at": text(f"{greatest}({table}.last_call_at, excluded.last_call_at)"),
    }


def key_parts(dialect: str, roll_up: RollUp) -> list[str]:
    """What makes a row unique. In PostgreSQL a hash stands for the texts: an index entry there has a limited length."""
    names = [f'"{name}"' for name in roll_up.dimensions]
    if dialect != "postgresql":
        return [roll_up.period, *names]
    texts = names[0] if len(names) == 1 else " || ".join(f"md5({name})" for name in names)
    return [roll_up.period, f"(md5({texts})::uuid)"]


@cache
def _per_call(name: str) -> ColumnElement[Any]:
    """What a call adds to a sum."""
    for money in ("cost_pico", "estimated_cost_pico"):
        micro, pico = schema.halves(PER_CALL[money])
        if name == money:
            return pico
        if name == money.replace("_pico", "_micro"):
            return micro
    return PER_CALL[name]
