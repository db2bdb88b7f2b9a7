"""Budgets in an SQLite file, for the processes of one machine. May be the file of the ledger."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from openai_meter.budgets.stores.protocol import (
    Order,
    Report,
    Row,
    Stage,
    Stored,
    StoreUnavailableError,
    Taken,
    Unused,
    grant_of,
    returned,
)
from openai_meter.core.native import RLock

__all__ = ["SqliteStore"]

_KEPT = 2 * 86_400
"""Seconds that a row is kept after the end of its window."""
_TABLES = """
create table if not exists openai_meter_budgets (
    key text primary key, spent integer not null, granted integer not null, ends_at real,
    lim integer not null default 0) without rowid;
create table if not exists openai_meter_budget_owners (
    owner text primary key, number integer not null, beat_at real not null) without rowid;
create table if not exists openai_meter_budget_slices (
    owner text not null, key text not null, granted integer not null, primary key (owner, key)) without rowid;
create table if not exists openai_meter_budget_stages (
    key text primary key, lim integer not null, stage integer not null, ends_at real) without rowid;
"""


class SqliteStore:
    """A store in an SQLite file: each step is a transaction that has the write lock from its beginning.

    Args:
        path: the file.
        timeout: seconds that a step waits for another process at most.
    """

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._open()
                connection.execute("begin immediate")
                try:
                    yield connection
                except BaseException:
                    connection.execute("rollback")
                    raise
                connection.execute("commit")
            except sqlite3.Error as error:
                self._drop()
                raise StoreUnavailableError(str(error)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():
            self._connection = connection = sqlite3.connect(
                self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            self._process = os.getpid()
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
            connection.executescript(_TABLES)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.close()

    def take(self, owner: str, orders: Sequence[Order]) -> Taken:
        """Gives slices, or none."""
        with self._transaction() as connection:
            rows = [_row(connection, order.key) for order in orders]
            grants = [grant_of(order, row) for order, row in zip(orders, rows, strict=True)]
            given = [grant for grant in grants if grant is not None]
            if len(given) < len(orders):
                return Taken(None, tuple(rows))
            _beat(connection, owner, 0)
            for order, grant in zip(orders, given, strict=True):
                _change(connection, order.key, 0, grant, order.ends_at)
                connection.execute(
                    "update openai_meter_budgets set lim = ? where key = ? and lim <> ?",
                    (order.limit, order.key, order.limit),
                )
                _add_slice(connection, owner, order.key, grant)
            return Taken(tuple(given), tuple(_row(connection, order.key) for order in orders))

    def report(self, owner: str, number: int, reports: Sequence[Report]) -> tuple[Row, ...]:
        """Counts what was spent."""
        with self._transaction() as connection:
            found = connection.execute("select number from openai_meter_budget_owners where owner = ?", (owner,))
            again = number <= (found.fetchone() or (0,))[0]
            _beat(connection, owner, number)
            for report in reports:
                slices = connection.execute(
                    "select granted from openai_meter_budget_slices where owner = ? and key = ?", (owner, report.key)
                )
                more = report.granted - (slices.fetchone() or (0,))[0]
                _change(connection, report.key, 0 if again else report.spent, more)
                _add_slice(connection, owner, report.key, more)
                _raise(connection, report.key, report.known)
            return tuple(_row(connection, report.key) for report in reports)

    def read(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """The counters."""
        with self._lock:
            try:
                connection = self._open()
                return tuple(_row(connection, key) for key in keys)
            except sqlite3.Error as error:
                self._drop()
                raise StoreUnavailableError(str(error)) from error

    def stored(self) -> tuple[Stored, ...]:
        """All rows."""
        with self._transaction() as connection:
            found = connection.execute(
                "select key, lim, spent, granted, ends_at from openai_meter_budgets order by key"
            ).fetchall()
        return tuple(
            Stored(key, limit, spent, granted, float("inf") if ends_at is None else ends_at)
            for key, limit, spent, granted, ends_at in found
        )

    def raise_to(self, key: str, spent: int, ends_at: float = float("inf")) -> None:
        """Counts at least so much."""
        with self._transaction() as connection:
            _change(connection, key, 0, 0, ends_at)
            _raise(connection, key, spent)

    def announce(self, stage: Stage) -> bool:
        """Whether it is the first time."""
        with self._transaction() as connection:
            changed = connection.execute(
                "insert into openai_meter_budget_stages (key, lim, stage, ends_at) values (?, ?, ?, ?) "
                "on conflict (key) do update set lim = excluded.lim, stage = excluded.stage "
                "where lim <> excluded.lim or stage < excluded.stage",
                (stage.key, stage.limit, stage.stage, _end(stage.ends_at)),
            )
            return changed.rowcount > 0

    def reap(self, seconds: float, unused: Mapping[str, Unused] | None = None) -> tuple[str, ...]:
        """Charges what dead owners have, and removes the rows of windows that are long over."""
        with self._transaction() as connection:
            now = time.time()
            found = connection.execute(
                "select owner from openai_meter_budget_owners where beat_at <= ?", (now - seconds,)
            ).fetchall()
            dead = tuple(owner for (owner,) in found if unused is None or owner in unused)
            for owner in dead:
                slices = connection.execute(
                    "select key, granted from openai_meter_budget_slices where owner = ?", (owner,)
                ).fetchall()
                for key, granted in slices:
                    back = returned(granted, key, None if unused is None else unused[owner])
                    _change(connection, key, max(granted, 0) - back, -granted)
                connection.execute("delete from openai_meter_budget_slices where owner = ?", (owner,))
                connection.execute("delete from openai_meter_budget_owners where owner = ?", (owner,))
            for table in ("openai_meter_budgets", "openai_meter_budget_stages"):
                connection.execute(f"delete from {table} where ends_at < ?", (now - _KEPT,))  # noqa: S608 - two constants
            return dead

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            self._drop()


def _row(connection: sqlite3.Connection, key: str) -> Row:
    found = connection.execute("select spent, granted from openai_meter_budgets where key = ?", (key,)).fetchone()
    return Row(*(found or (0, 0)))


def _change(connection: sqlite3.Connection, key: str, spent: int, granted: int, ends_at: float = float("inf")) -> None:
    connection.execute(
        "insert into openai_meter_budgets (key, spent, granted, ends_at) values (?, ?, ?, ?) "
        "on conflict (key) do update set "
        "spent = spent + excluded.spent, granted = granted + excluded.granted",
        (key, spent, granted, _end(ends_at)),
    )


def _end(ends_at: float) -> float | None:
    return None if ends_at == float("inf") else ends_at


def _add_slice(connection: sqlite3.Connection, owner: str, key: str, granted: int) -> None:
    connection.execute(
        "insert into openai_meter_budget_slices values (?, ?, ?) on conflict (owner, key) do update set "
        "granted = granted + excluded.granted",
        (owner, key, granted),
    )


def _raise(connection: sqlite3.Connection, key: str, spent: int) -> None:
    connection.execute("update openai_meter_budgets set spent = max(spent, ?) where key = ?", (spent, key))


def _beat(connection: sqlite3.Connection, owner: str, number: int) -> None:
    connection.execute(
        "insert into openai_meter_budget_owners values (?, ?, ?) on conflict (owner) do update set "
        "number = max(number, excluded.number), beat_at = excluded.beat_at",
        (owner, number, time.time()),
    )
