"""Budgets in PostgreSQL, for a fleet. May be the database of the ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import getpid
from typing import TYPE_CHECKING, Any

from openai_meter.budgets.stores.protocol import (
    SHARE,
    Order,
    Report,
    Row,
    Stage,
    Stored,
    StoreUnavailableError,
    Taken,
    Unused,
    returned,
)
from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["PostgresStore"]

_LOCK = 7_313_200_201
"""The advisory lock that one process holds while it makes the tables."""
_TABLES = """
create table if not exists openai_meter_budgets (
    key text primary key, spent bigint not null, granted bigint not null, ends_at double precision,
    lim bigint not null default 0)
    with (fillfactor = 50);
create table if not exists openai_meter_budget_owners (
    owner text primary key, number bigint not null, beat_at timestamptz not null);
create table if not exists openai_meter_budget_slices (
    owner text not null, key text not null, granted bigint not null, primary key (owner, key));
create table if not exists openai_meter_budget_stages (
    key text primary key, lim bigint not null, stage bigint not null, ends_at double precision);
"""
# The rows are locked in the order of their keys, so that two processes never wait for each other.
_TAKE = f"""
with orders (key, lim, want, least, ends_at) as (
    select * from unnest(%(keys)s::text[], %(limits)s::bigint[], %(wants)s::bigint[], %(leasts)s::bigint[],
                         %(ends)s::double precision[])),
locked as (
    select b.key, b.spent, b.granted, o.lim - b.spent - b.granted as free, o.want, o.least, o.lim
    from openai_meter_budgets b join orders o on o.key = b.key order by b.key for update of b),
verdict as (select coalesce(bool_and(free >= least), false) and count(*) = %(count)s as fits from locked),
given as (
    select key, lim, least(want, greatest(least, free / {SHARE})) as amount from locked, verdict
    where verdict.fits),
changed as (
    update openai_meter_budgets b set granted = b.granted + given.amount, lim = given.lim from given
    where b.key = given.key),
owned as (
    insert into openai_meter_budget_slices (owner, key, granted) select %(owner)s, key, amount from given
    on conflict (owner, key) do update set granted = openai_meter_budget_slices.granted + excluded.granted),
beaten as (
    insert into openai_meter_budget_owners (owner, number, beat_at)
    select %(owner)s, 0, clock_timestamp() from verdict where verdict.fits
    on conflict (owner) do update set beat_at = excluded.beat_at)
select locked.key, locked.spent, locked.granted, given.amount from locked left join given using (key)
"""  # noqa: S608 - a constant


class PostgresStore:
    """A store in PostgreSQL. Slices are taken by one statement.

    Args:
        url: a URL of SQLAlchemy's or of libpq's form.

    Raises:
        MissingExtraError: psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra
        except ImportError:
            raise MissingExtraError(
                f"a budget store in PostgreSQL needs psycopg; install it with: {install_command('postgres')}"
            ) from None
        self._psycopg = psycopg
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._idle: deque[tuple[int, Connection[Any]]] = deque()
        self._ready = False

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        """A connection in a transaction of its own: it is used by one thread at a time."""
        connection: Connection[Any] | None = None
        try:
            connection = self._open()
            with connection.transaction():
                yield connection
        except self._psycopg.Error as error:
            self._ready = False
            if connection is not None:
                with suppress(Exception):
                    connection.close()
            raise StoreUnavailableError(type(error).__name__) from error
        self._idle.append((getpid(), connection))

    def _open(self) -> Connection[Any]:
        while self._idle:
            try:
                process, connection = self._idle.pop()
            except IndexError:
                break
            if process == getpid() and not connection.closed:
                return connection
        connection = self._psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        if not self._ready:
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
                connection.execute(_TABLES)
            self._ready = True
        return connection

    def take(self, owner: str, orders: Sequence[Order]) -> Taken:
        """Gives slices, or none."""
        values = {
            "owner": owner,
            "count": len(orders),
            "keys": [order.key for order in orders],
            "limits": [order.limit for order in orders],
            "wants": [order.want for order in orders],
            "leasts": [order.least for order in orders],
            "ends": [order.ends_at for order in orders],
        }
        with self._connection() as connection:
            found = {row[0]: row for row in connection.execute(_TAKE, values).fetchall()}
            if len(found) < len(orders):
                _insert(connection, orders)
                found = {row[0]: row for row in connection.execute(_TAKE, values).fetchall()}
        rows = [found[order.key] for order in orders]
        if any(row[3] is None for row in rows):
            return Taken(None, tuple(Row(row[1], row[2]) for row in rows))
        return Taken(tuple(row[3] for row in rows), tuple(Row(row[1], row[2] + row[3]) for row in rows))

    def report(self, owner: str, number: int, reports: Sequence[Report]) -> tuple[Row, ...]:
        """Counts what was spent."""
        with self._connection() as connection:
            found = connection.execute(
                "select number from openai_meter_budget_owners where owner = %s for update", (owner,)
            ).fetchone()
            again = number <= (found or (0,))[0]
            connection.execute(
                "insert into openai_meter_budget_owners values (%s, %s, clock_timestamp()) on conflict (owner) "
                "do update set number = greatest(openai_meter_budget_owners.number, excluded.number), "
                "beat_at = excluded.beat_at",
                (owner, number),
            )
            _insert(connection, [Order(report.key, 0, 0, 0) for report in reports])
            rows = {}
            for report in sorted(reports):
                slices = connection.execute(
                    "select granted from openai_meter_budget_slices where owner = %s and key = %s", (owner, report.key)
                ).fetchone()
                more = report.granted - (slices or (0,))[0]
                changed = connection.execute(
                    "update openai_meter_budgets set spent = greatest(spent + %s, %s), granted = granted + %s "
                    "where key = %s returning spent, granted",
                    (0 if again else report.spent, report.known, more, report.key),
                ).fetchone()
                rows[report.key] = Row(*(changed or (0, 0)))
                connection.execute(
                    "insert into openai_meter_budget_slices values (%s, %s, %s) on conflict (owner, key) "
                    "do update set granted = excluded.granted",
                    (owner, report.key, report.granted),
                )
            return tuple(rows[report.key] for report in reports)

    def read(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """The counters."""
        with self._connection() as connection:
            found = connection.execute(
                "select key, spent, granted from openai_meter_budgets where key = any(%s)", (list(keys),)
            ).fetchall()
        rows = {key: Row(spent, granted) for key, spent, granted in found}
        return tuple(rows.get(key, Row()) for key in keys)

    def stored(self) -> tuple[Stored, ...]:
        """All rows."""
        with self._connection() as connection:
            found = connection.execute(
                'select key, lim, spent, granted, ends_at from openai_meter_budgets order by key collate "C"'
            ).fetchall()
        return tuple(
            Stored(key, limit, spent, granted, float("inf") if ends_at is None else ends_at)
            for key, limit, spent, granted, ends_at in found
        )

    def raise_to(self, key: str, spent: int, ends_at: float = float("inf")) -> None:
        """Counts at least so much."""
        with self._connection() as connection:
            _insert(connection, [Order(key, 0, 0, 0, ends_at)])
            connection.execute(
                "update openai_meter_budgets set spent = greatest(spent, %s) where key = %s", (spent, key)
            )

    def announce(self, stage: Stage) -> bool:
        """Whether it is the first time."""
        with self._connection() as connection:
            changed = connection.execute(
                "insert into openai_meter_budget_stages as old (key, lim, stage, ends_at) values (%s, %s, %s, %s) "
                "on conflict (key) do update set lim = excluded.lim, stage = excluded.stage "
                "where old.lim <> excluded.lim or old.stage < excluded.stage",
                tuple(stage),
            )
            return changed.rowcount > 0

    def reap(self, seconds: float, unused: Mapping[str, Unused] | None = None) -> tuple[str, ...]:
        """Charges what dead owners have, and removes the rows of windows that are long over."""
        with self._connection() as connection:
            dead = connection.execute(
                "delete from openai_meter_budget_owners where owner in (select owner from openai_meter_budget_owners "
                "where beat_at <= clock_timestamp() - make_interval(secs => %s) "
                "and (%s::text[] is null or owner = any(%s::text[])) order by owner for update skip locked) "
                "returning owner",
                (seconds, *([None if unused is None else list(unused)] * 2)),
            ).fetchall()
            owners = tuple(owner for (owner,) in dead)
            slices = connection.execute(
                "delete from openai_meter_budget_slices where owner = any(%s) returning key, owner, granted",
                (list(owners),),
            ).fetchall()
            for key, owner, granted in sorted(slices):
                back = returned(granted, key, None if unused is None else unused[owner])
                connection.execute(
                    "update openai_meter_budgets set spent = spent + %s, granted = granted - %s where key = %s",
                    (max(granted, 0) - back, granted, key),
                )
            for table in ("openai_meter_budgets", "openai_meter_budget_stages"):
                connection.execute(
                    f"delete from {table} where ends_at < extract(epoch from clock_timestamp()) - 172800"  # noqa: S608
                )
            return owners

    def close(self) -> None:
        """Closes the connections."""
        while self._idle:
            process, connection = self._idle.pop()
            if process == getpid():
                connection.close()


def _insert(connection: Connection[Any], orders: Sequence[Order]) -> None:
    """Makes the rows of keys that have none."""
    connection.execute(
        "insert into openai_meter_budgets (key, spent, granted, ends_at) select key, 0, 0, ends_at "
        "from unnest(%s::text[], %s::double precision[]) as new (key, ends_at) order by key "
        "on conflict (key) do nothing",
        ([order.key for order in orders], [order.ends_at for order in orders]),
    )
