"""Brings the tables of a database up to date: an append-only list of steps, each applied once.

A step is a function that is given a connection. Each runs in a transaction of its own and is recorded in the same
one, in the table ``openai_meter_migrations``. Any number of processes may start at once: the first
one does the work, the others wait and find it done.

A schema change is one function appended to :data:`MIGRATIONS`, and the same change in ``schema.py``; a test compares
the two. A released step is never changed: it has been applied somewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, inspect

from openai_meter.errors import LedgerError
from openai_meter.ledger import schema
from openai_meter.ledger.database import writing

__all__ = ["MIGRATIONS", "migrate"]

_LOCK = 0x6F61_6D65_7465_7231
"""The number of the advisory lock that a migration holds in PostgreSQL."""


def _create_calls_and_daily(connection: Connection) -> None:
    counts = (
        "cached_input_tokens", "cache_write_tokens", "cache_write_12h_tokens", "reasoning_tokens", "input_audio_tokens",
        "output_audio_tokens", "input_image_tokens", "output_image_tokens", "cached_audio_tokens",
        "cached_image_tokens", "characters", "images", "web_searches", "file_searches", "container_sessions",
    )  # fmt: skip
    columns = [
        "id TEXT NOT NULL PRIMARY KEY", "started_at BIGINT NOT NULL", "duration DOUBLE PRECISION NOT NULL",
        "time_to_first_token DOUBLE PRECISION", "endpoint TEXT NOT NULL", "provider TEXT NOT NULL", "host TEXT",
        "model TEXT", "requested_model TEXT", "response_id TEXT", "service_tier TEXT", "stream BOOLEAN NOT NULL",
        "status TEXT NOT NULL", "error_type TEXT", "usage_source TEXT NOT NULL", "usage_unknown TEXT",
        "input_tokens BIGINT", "output_tokens BIGINT", "total_tokens BIGINT",
        *(f"{name} BIGINT NOT NULL" for name in counts),
        "seconds DOUBLE PRECISION NOT NULL", "inconsistent BOOLEAN NOT NULL", "cost_pico BIGINT", "cost_rest BIGINT",
        "cost_exact TEXT", "cost_status TEXT NOT NULL", "cost_reason TEXT", "cost_estimated BOOLEAN NOT NULL",
        "price_source TEXT", "price_facts TEXT", "agent TEXT", "operation TEXT", '"user" TEXT', "session TEXT",
        "block TEXT", "tags TEXT",
    ]  # fmt: skip
    connection.exec_driver_sql(f"CREATE TABLE calls ({', '.join(columns)})")
    connection.exec_driver_sql("CREATE INDEX calls_started_at ON calls (started_at)")
    connection.exec_driver_sql(
        "CREATE INDEX calls_not_priced ON calls (started_at) WHERE cost_status IN ('unpriced', 'partial')"
    )
    sums = (
        "calls", "errors", "unmeasured_calls", "estimated_calls", "unpriced_calls", "costless_calls", "input_tokens",
        "output_tokens", "total_tokens", *counts, "seconds_us", "duration_us", "cost_pico", "cost_rest",
        "estimated_cost_pico", "estimated_cost_rest", "first_call_at", "last_call_at",
    )  # fmt: skip
    columns = [
        "key TEXT NOT NULL PRIMARY KEY", "day TEXT NOT NULL", "model TEXT", "agent TEXT", "operation TEXT",
        '"user" TEXT', "endpoint TEXT", "provider TEXT", "block TEXT", *(f"{name} BIGINT NOT NULL" for name in sums),
    ]  # fmt: skip
    connection.exec_driver_sql(f"CREATE TABLE daily ({', '.join(columns)})")
    connection.exec_driver_sql("CREATE INDEX daily_day ON daily (day)")


def _rename_status_cut_to_aborted(connection: Connection) -> None:
    connection.exec_driver_sql("UPDATE calls SET status = 'aborted' WHERE status = 'cut'")


def _add_prediction_tokens(connection: Connection) -> None:
    for table in ("calls", "daily"):
        for column in ("accepted_prediction_tokens", "rejected_prediction_tokens"):
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} BIGINT NOT NULL DEFAULT 0")


MIGRATIONS: list[Callable[[Connection], None]] = [
    _create_calls_and_daily,
    _rename_status_cut_to_aborted,
    _add_prediction_tokens,
]


def migrate(engine: Engine) -> None:
    """Applies the steps that have not been applied.

    Raises:
        LedgerError: the tables belong to a newer version of openai_meter, or to something else.
        sqlalchemy.exc.DBAPIError: the database cannot be reached, or refuses the statement.
    """
    with engine.connect() as connection:
        if _version(connection) == len(MIGRATIONS):  # nearly always: then no lock is needed
            return
    while True:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            version = _version(connection)
            if version == len(MIGRATIONS):
                return
            _apply(connection, version)


def _version(connection: Connection) -> int:
    """The number of steps that have been applied."""
    there = inspect(connection).get_table_names()
    if schema.MIGRATIONS not in there:
        foreign = {schema.calls.name, schema.daily.name}.intersection(there)
        if foreign:
            raise LedgerError(
                f"the database has a table {min(foreign)!r} that openai_meter has not made; "
                "name another database, or in PostgreSQL another schema (?options=-csearch_path=NAME)"
            )
        return 0
    version = connection.exec_driver_sql(f"SELECT max(version) FROM {schema.MIGRATIONS}").scalar() or 0  # noqa: S608
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger was written by a newer openai_meter (its schema is {version}, the newest known here "
            f"{len(MIGRATIONS)}); update with: pip install -U openai-meter"
        )
    return int(version)


def _apply(connection: Connection, version: int) -> None:
    if version == 0:
        schema.migrations.create(connection, checkfirst=True)
    step = MIGRATIONS[version]
    step(connection)
    connection.execute(
        schema.migrations.insert().values(
            version=version + 1, name=step.__name__.lstrip("_"), applied_at=time.time_ns() // 1000
        )
    )
