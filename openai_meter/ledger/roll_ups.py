"""Fills the roll-ups by user, session, tag and half hour, in the background, in steps of some thousand calls.

Storing a call writes none of them, so it stays fast. A step adds the next calls, in the order in which they began, and
moves the mark ``until``; both in one transaction. Calls after the mark are read one by one. A call that is stored
later than the mark has passed it is added at once. So every call is in each sum exactly once, or after the mark.

A roll-up with almost as many groups as calls saves nothing: then the mark of its family moves behind these calls, and
reports on them read the calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Text, delete, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from openai_meter.ledger import schema
from openai_meter.ledger.aggregates import PER_CALL
from openai_meter.ledger.periods import DAY_US
from openai_meter.ledger.schema import LATER_ROLL_UPS, RollUp

__all__ = [
    "OLD_DAILY", "STEP", "Marks", "add_late", "are_behind", "forget", "key_parts", "lock", "read_marks",
    "roll_up", "set_mark", "take_step",
]  # fmt: skip

STEP = 10_000
"""Calls of one step at most, and those after the mark for which no step is made."""
OLD_DAILY = "daily_old"
"""A table of earlier versions, in SQLite: it is not read any more, and deleted in steps."""
_LATENCY = 60_000_000
"""Microseconds before now up to which the mark goes: a call is stored when it ends, after others that began later."""
_LEAST_SAVING = 0.9
"""Groups per call from which on a roll-up saves nothing."""
_LEFT_OUT = frozenset({"sessions", "tags"})
"""The families to which that applies. The sums of users stay when calls are pruned, so they are always kept."""
_DETAILS = frozenset({"totals", "sessions", "tags"})
"""The families whose sums are deleted with the calls."""
_EPOCH_DAY = date(1970, 1, 1).toordinal()
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


def are_behind(connection: Connection, least: int | None = None, until: int = 0) -> bool:
    """Whether there is a step to make; the arguments are those of :func:`take_step`."""
    if _has_old(connection):
        return True
    number = STEP if least is None else least
    return _after(connection, read_marks(connection).until, _newest(until), number) is not None


def _has_old(connection: Connection) -> bool:
    if connection.dialect.name == "postgresql":
        return False
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = ?", (OLD_DAILY,))
    return names.first() is not None


def _shrink_old(connection: Connection) -> None:
    if not _has_old(connection):
        return
    some = f"SELECT rowid FROM {OLD_DAILY} LIMIT {STEP}"  # noqa: S608 - our own name
    gone = connection.exec_driver_sql(f"DELETE FROM {OLD_DAILY} WHERE rowid IN ({some})").rowcount  # noqa: S608
    if gone < STEP:
        connection.exec_driver_sql(f"DROP TABLE {OLD_DAILY}")


def _newest(until: int) -> int:
    return max(time.time_ns() // 1_000 - _LATENCY, until)


def _after(connection: Connection, since: int, until: int, number: int) -> int | None:
    """The start of the call after a number of others in a span; ``None`` if there are not so many."""
    span = _OF_CALLS.started_at >= since, _OF_CALLS.started_at < until
    calls = select(_OF_CALLS.started_at).where(*span).order_by(_OF_CALLS.started_at)
    found = connection.execute(calls.offset(number).limit(1)).scalar()
    return None if found is None else int(found)


def take_step(connection: Connection, *, least: int | None = None, until: int = 0) -> int:
    """Adds the next calls to the roll-ups, if there are more than ``least``; returns how many, or 0 if all is done.

    Args:
        connection: one in which a transaction has begun that writes.
        least: how many calls may stay after the mark; those of one step by default.
        until: a moment up to which the mark may go in any case, in microseconds since 1970.
    """
    lock(connection, alone=True)
    marks = read_marks(connection)
    newest = _newest(until)
    _shrink_old(connection)
    if not are_behind(connection, least, until):
        return 0
    place = _after(connection, marks.until, newest, STEP)
    # Calls that began in the same microsecond are added together.
    end = newest if place is None else max(place, marks.until + 1)
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
    return number or int(_has_old(connection))


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
            added = take_step(connection, least=0 if until else None, until=until)
        if not added:
            return done
        done += added
        if progress is not None:
            progress(done)
    return done


def forget(writing: Transaction, before: int) -> None:
    """Deletes the sums by half hour, session and tag of all days before one (its number since 1970), day by day."""
    at = before * DAY_US
    with writing() as connection:
        lock(connection, alone=True)
        since = read_marks(connection).since
        for family in _DETAILS:
            if since.get(family, 0) < at:
                set_mark(connection, family, at)
    day = date.fromordinal(_EPOCH_DAY + before)
    ends: dict[str, Any] = {"half_hour": at, "day": day.isoformat(), "month": day.replace(day=1).isoformat()}
    for roll_up in LATER_ROLL_UPS:
        column = roll_up.table.c[roll_up.period]
        end = ends[roll_up.period]
        while roll_up.family in _DETAILS:
            with writing() as connection:
                first = connection.execute(select(func.min(column)).where(column < end)).scalar()
                if first is None:
                    break
                last = first if isinstance(first, str) else min(first + DAY_US, end) - 1
                connection.execute(delete(roll_up.table).where(column >= first, column <= last))


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
    sums = [func.coalesce(func.sum(_PER_CALL[name]), 0) * sign for name in schema.TOTAL_SUMS]
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
    """The columns that make a row unique. In PostgreSQL a hash replaces the texts: index entries are limited."""
    names = [f'"{name}"' for name in roll_up.dimensions]
    if dialect != "postgresql":
        return [roll_up.period, *names]
    texts = names[0] if len(names) == 1 else " || ".join(f"md5({name})" for name in names)
    return [roll_up.period, f"(md5({texts})::uuid)"]


def _per_call() -> dict[str, ColumnElement[Any]]:
    """The amounts that a call adds to each of ``TOTAL_SUMS``."""
    found = dict(PER_CALL)
    for name in ("cost_pico", "estimated_cost_pico"):
        found[name.replace("_pico", "_micro")], found[name] = schema.halves(PER_CALL[name])
    return found


_PER_CALL = _per_call()
