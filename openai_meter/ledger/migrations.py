"""Brings the tables of a database up to date: an append-only list of steps, each applied once.

A step is a function of a connection. Each runs in a transaction of its own and is recorded in the same
one, in the table ``openai_meter_migrations``. Any number of processes may start at once: the first
one does the work, the others wait and find it done.

A schema change is one function appended to :data:`MIGRATIONS`, and the same change in ``schema.py``; a test compares
the two. A released step is never changed: it has been applied somewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, inspect

from openai_meter.errors import LedgerError
from openai_meter.ledger import schema
from openai_meter.ledger.database import writing
from openai_meter.ledger.inserting import group_key
from openai_meter.ledger.roll_ups import OLD_DAILY
from openai_meter.ledger.split_calls import split_calls

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


_COUNTS = (
    "cached_input_tokens", "cache_write_tokens", "cache_write_12h_tokens", "reasoning_tokens", "input_audio_tokens",
    "output_audio_tokens", "input_image_tokens", "output_image_tokens", "cached_audio_tokens", "cached_image_tokens",
    "characters", "images", "web_searches", "file_searches", "container_sessions",
)  # fmt: skip


def _add_daily_totals(connection: Connection) -> None:
    """Makes ``daily_totals``: from the calls, and for days whose calls were pruned from ``daily``, without a tier."""
    plain = (
        "calls", "errors", "unmeasured_calls", "estimated_calls", "unpriced_calls", "costless_calls", "input_tokens",
        "output_tokens", "total_tokens", *_COUNTS, "seconds_us", "duration_us",
    )  # fmt: skip
    sums = (
        *plain, "cost_micro", "cost_pico", "cost_rest", "estimated_cost_micro", "estimated_cost_pico",
        "estimated_cost_rest", "first_call_at", "last_call_at",
    )  # fmt: skip
    dimensions = "model, agent, operation, endpoint, provider, block"
    columns = [
        "key TEXT NOT NULL PRIMARY KEY", "day TEXT NOT NULL", "model TEXT", "agent TEXT", "operation TEXT",
        "endpoint TEXT", "provider TEXT", "block TEXT", "service_tier TEXT",
        *(f"{name} BIGINT NOT NULL" for name in sums),
    ]  # fmt: skip
    connection.exec_driver_sql(f"CREATE TABLE daily_totals ({', '.join(columns)})")
    connection.exec_driver_sql("CREATE INDEX daily_totals_day ON daily_totals (day)")
    # All names in these statements are our own.
    kept = dict(_pairs(connection, f"SELECT started_at / {_DAY_US}, count(*) FROM calls GROUP BY 1"))  # noqa: S608
    counted = {
        date.fromisoformat(day).toordinal() - _EPOCH_DAY: int(calls)
        for day, calls in _pairs(connection, "SELECT day, sum(calls) FROM daily GROUP BY day")
    }
    for number, calls in sorted(counted.items()):
        day = date.fromordinal(number + _EPOCH_DAY).isoformat()
        if kept.get(number) == calls:
            since = number * _DAY_US
            where = f"started_at >= {since} AND started_at < {since + _DAY_US}"
            groups = "GROUP BY 1, 2, 3, 4, 5, 6, 7"
            sql = f"SELECT {dimensions}, service_tier, {_SUMS_OF_CALLS} FROM calls WHERE {where} {groups}"  # noqa: S608
        else:
            of_days = ", ".join(f"sum({name})" for name in plain)
            halves = [
                part
                for name in ("cost", "estimated_cost")
                for part in (f"sum({name}_pico / 1000000)", f"sum({name}_pico % 1000000)", f"sum({name}_rest)")
            ]
            of_days = ", ".join([of_days, *halves, "min(first_call_at)", "max(last_call_at)"])
            where = f"day = '{day}' GROUP BY 1, 2, 3, 4, 5, 6"
            sql = f"SELECT {dimensions}, NULL, {of_days} FROM daily WHERE {where}"  # noqa: S608
        _insert_totals(connection, number, day, sql, len(sums))


def _insert_totals(connection: Connection, number: int, day: str, sql: str, sums: int) -> None:
    found = connection.exec_driver_sql(sql.replace("%", "%%") if connection.dialect.name == "postgresql" else sql).all()
    rows = [(group_key((number, *row[:7])), day, *row[:7], *(int(value or 0) for value in row[7:])) for row in found]
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    values = ", ".join([mark] * (9 + sums))
    if rows:
        connection.exec_driver_sql(f"INSERT INTO daily_totals VALUES ({values})", rows)  # noqa: S608


def _pairs(connection: Connection, sql: str) -> list[tuple[Any, Any]]:
    return [(row[0], row[1]) for row in connection.exec_driver_sql(sql)]


_DAY_US = 86_400_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_IF_ESTIMATED = "CASE WHEN cost_estimated THEN coalesce({}, 0) ELSE 0 END"
_UNMEASURED = "total_tokens IS NULL AND seconds = 0 AND characters = 0 AND images = 0 AND cost_status <> 'free'"
_SUMS_OF_CALLS = ", ".join(
    [
        "count(*)",
        "sum(CASE WHEN status IN ('error', 'failed') THEN 1 ELSE 0 END)",
        f"sum(CASE WHEN {_UNMEASURED} THEN 1 ELSE 0 END)",
        "sum(CASE WHEN usage_source IN ('tiktoken', 'chars') THEN 1 ELSE 0 END)",
        "sum(CASE WHEN cost_status IN ('unpriced', 'partial') THEN 1 ELSE 0 END)",
        "sum(CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END)",
        "sum(coalesce(input_tokens, 0))",
        "sum(coalesce(output_tokens, 0))",
        "sum(coalesce(total_tokens, 0))",
        *(f"sum({name})" for name in _COUNTS),
        "sum(CAST(round(seconds * 1000000) AS BIGINT))",
        "sum(CAST(round(duration * 1000000) AS BIGINT))",
        "sum(cost_pico / 1000000)",
        "sum(cost_pico % 1000000)",
        "sum(cost_rest)",
        f"sum({_IF_ESTIMATED.format('cost_pico / 1000000')})",
        f"sum({_IF_ESTIMATED.format('cost_pico % 1000000')})",
        f"sum({_IF_ESTIMATED.format('cost_rest')})",
        "min(started_at)",
        "max(started_at)",
    ]
)


def _refuse_overflow(connection: Connection, tables: tuple[str, ...] = ("daily", "daily_totals")) -> None:
    """Makes SQLite refuse a sum beyond 64 bits, as PostgreSQL does; by itself it would store a rounded number."""
    if connection.dialect.name == "postgresql":
        return
    for table in tables:
        names = [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})") if row[2] == "BIGINT"]
        wrong = " OR ".join(f"typeof(NEW.{name}) <> 'integer'" for name in names)
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_overflow BEFORE UPDATE ON {table} WHEN {wrong} "
            "BEGIN SELECT RAISE(ABORT, 'a sum is larger than a column can hold'); END"
        )


def _add_prediction_tokens(connection: Connection) -> None:
    """Adds the counts of predicted outputs, and has SQLite check their sums as those of all others."""
    for table in ("calls", "daily", "daily_totals"):
        known = {column["name"] for column in inspect(connection).get_columns(table)}
        for column in ("accepted_prediction_tokens", "rejected_prediction_tokens"):
            if column not in known:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column} BIGINT NOT NULL DEFAULT 0")
    if connection.dialect.name != "postgresql":
        for table in ("daily", "daily_totals"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_overflow")
    _refuse_overflow(connection)


_DIMENSIONS = {
    "daily": 'model, agent, operation, "user", endpoint, provider, block',
    "daily_totals": "model, agent, operation, endpoint, provider, block, service_tier",
}


def _add_rule_and_attempts(connection: Connection) -> None:
    """Adds how usage was estimated and how often a request was sent; and to the sums, retries and calls without tokens.

    Of older calls, the rule and the attempts are unknown.
    """
    sums = dict.fromkeys(("retries", "tokenless_calls"), "BIGINT NOT NULL DEFAULT 0")
    columns = {"calls": {"usage_rule": "TEXT", "attempts": "BIGINT"}, "daily": sums, "daily_totals": sums}
    for table, added in columns.items():
        known = {column["name"] for column in inspect(connection).get_columns(table)}
        for name, kind in added.items():
            if name not in known:
                connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    for table, dimensions in _DIMENSIONS.items():
        # For days whose calls were pruned, there is nothing else.
        connection.exec_driver_sql(f"UPDATE {table} SET tokenless_calls = unmeasured_calls WHERE unmeasured_calls <> 0")  # noqa: S608 - our names
        numbers = ", ".join(map(str, range(1, dimensions.count(",") + 3)))
        found = connection.exec_driver_sql(
            f"SELECT started_at / {_DAY_US}, {dimensions}, count(*) FROM calls "  # noqa: S608
            f"WHERE total_tokens IS NULL GROUP BY {numbers}"
        ).all()
        mark = "%s" if connection.dialect.name == "postgresql" else "?"
        update = f"UPDATE {table} SET tokenless_calls = {mark} WHERE key = {mark} AND tokenless_calls < {mark}"  # noqa: S608
        if rows := [(row[-1], group_key((int(row[0]), *row[1:-1])), row[-1]) for row in found]:
            connection.exec_driver_sql(update, rows)
    if connection.dialect.name != "postgresql":
        for table in ("daily", "daily_totals"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_overflow")
    _refuse_overflow(connection)


_USER_COLUMNS = ("user", "model", "agent", "operation", "endpoint", "provider", "block")
_ROLL_UPS = (
    ("half_hourly_models", "half_hour", ("model", "endpoint", "provider", "service_tier")),
    ("half_hourly_agents", "half_hour", ("agent",)),
    ("daily_users", "day", _USER_COLUMNS),
    ("monthly_users", "month", ("user",)),
    ("daily_sessions", "day", ("session",)),
    ("monthly_sessions", "month", ("session",)),
    ("daily_tags", "day", ("tags", "model")),
)  # fmt: skip


def _add_roll_ups(connection: Connection) -> None:
    """Makes the roll-ups that are filled in the background, and keeps what ``daily`` alone knows: pruned calls."""
    found = [column["name"] for column in inspect(connection).get_columns("daily_totals")]
    sums = [name for name in found[found.index("service_tier") + 1 :] if name not in {"first_call_at", "last_call_at"}]
    for table, period, dimensions in _ROLL_UPS:
        _create_roll_up(connection, table, period, dimensions, sums)
    connection.exec_driver_sql("CREATE TABLE roll_up_marks (name TEXT NOT NULL PRIMARY KEY, at BIGINT NOT NULL)")
    if days := _pruned_days(connection):
        _keep_pruned(connection, days, sums)
        end = (max(days) + 1) * _DAY_US
        for name in ("totals", "sessions", "tags"):
            connection.exec_driver_sql(f"INSERT INTO roll_up_marks VALUES ('{name}', {end})")  # noqa: S608
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP TABLE daily")
    else:  # SQLite would visit each page of it: roll_ups.py empties it in steps
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS daily_overflow")
        connection.exec_driver_sql(f"ALTER TABLE daily RENAME TO {OLD_DAILY}")


def _create_roll_up(
    connection: Connection, table: str, period: str, dimensions: tuple[str, ...], sums: list[str]
) -> None:
    names = [f'"{name}"' for name in dimensions]
    columns = [
        f"{period} {'BIGINT' if period == 'half_hour' else 'TEXT'} NOT NULL",
        *(f"{name} TEXT NOT NULL" for name in names),
        *(f"{name} BIGINT NOT NULL" for name in (*sums, "first_call_at", "last_call_at")),
    ]
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"CREATE TABLE {table} ({', '.join(columns)})")
        # A hash stands for the texts: an index entry has a limited length.
        texts = names[0] if len(names) == 1 else " || ".join(f"md5({name})" for name in names)
        connection.exec_driver_sql(f"CREATE UNIQUE INDEX {table}_key ON {table} ({period}, (md5({texts})::uuid))")
    else:
        key = ", ".join([period, *names])
        connection.exec_driver_sql(f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY ({key})) WITHOUT ROWID")
        _refuse_overflow(connection, (table,))


def _pruned_days(connection: Connection) -> list[int]:
    """The days, as numbers from 1970, whose sums have more calls than ``calls`` has."""
    kept = dict(_pairs(connection, f"SELECT started_at / {_DAY_US}, count(*) FROM calls GROUP BY 1"))  # noqa: S608
    counted = _pairs(connection, "SELECT day, sum(calls) FROM daily_totals GROUP BY day")
    days = [(date.fromisoformat(day).toordinal() - _EPOCH_DAY, int(calls)) for day, calls in counted]
    return [day for day, calls in days if calls > kept.get(day, 0)]


def _keep_pruned(connection: Connection, days: list[int], sums: list[str]) -> None:
    """Moves the sums of pruned calls by user, without the calls of these days that are still there: steps add those."""
    money = {
        part: f"{name} {sign} 1000000"
        for name in ("cost_pico", "estimated_cost_pico")
        for part, sign in ((name.replace("_pico", "_micro"), "/"), (name, "%"))
    }
    if connection.dialect.name == "postgresql":
        money = {name: sql.replace("%", "%%") for name, sql in money.items()}
    dimensions = [f"coalesce({name}, '')" for name in ('"user"', *_USER_COLUMNS[1:])]
    groups = ", ".join(map(str, range(1, len(dimensions) + 2)))
    of_days = [f"sum({money.get(name, name)})" for name in sums]
    calls = {
        "calls": "1", "errors": "CASE WHEN status IN ('error', 'failed') THEN 1 ELSE 0 END",
        "unmeasured_calls": f"CASE WHEN {_UNMEASURED} THEN 1 ELSE 0 END",
        "estimated_calls": "CASE WHEN usage_source IN ('tiktoken', 'chars') THEN 1 ELSE 0 END",
        "unpriced_calls": "CASE WHEN cost_status IN ('unpriced', 'partial') THEN 1 ELSE 0 END",
        "costless_calls": "CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END",
        "tokenless_calls": "CASE WHEN total_tokens IS NULL THEN 1 ELSE 0 END",
        "retries": "coalesce(attempts - 1, 0)",
        "seconds_us": "CAST(round(seconds * 1000000) AS BIGINT)",
        "duration_us": "CAST(round(duration * 1000000) AS BIGINT)",
        "estimated_cost_rest": _IF_ESTIMATED.format("cost_rest"),
        **{name: sql if name.startswith("cost") else _IF_ESTIMATED.format(sql.removeprefix("estimated_"))
           for name, sql in money.items()},
    }  # fmt: skip
    of_calls = [f"-coalesce(sum({calls.get(name, name)}), 0)" for name in sums]
    for number in days:
        day, since = date.fromordinal(number + _EPOCH_DAY).isoformat(), number * _DAY_US
        columns = ", ".join(["day", *dimensions, *of_days, "min(first_call_at)", "max(last_call_at)"])
        connection.exec_driver_sql(
            f"INSERT INTO daily_users SELECT {columns} FROM daily WHERE day = '{day}' GROUP BY {groups}"  # noqa: S608
        )
        columns = ", ".join([f"'{day}'", *dimensions, *of_calls, "min(started_at)", "max(started_at)"])
        where = f"started_at >= {since} AND started_at < {since + _DAY_US}"
        changes = ", ".join(f"{name} = daily_users.{name} + excluded.{name}" for name in sums)
        key = ", ".join(["day", *(f'"{name}"' for name in _USER_COLUMNS)])
        if connection.dialect.name == "postgresql":
            texts = " || ".join(f'md5("{name}")' for name in _USER_COLUMNS)
            key = f"day, (md5({texts})::uuid)"
        connection.exec_driver_sql(
            f"INSERT INTO daily_users SELECT {columns} FROM calls WHERE {where} GROUP BY {groups} "  # noqa: S608
            f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
        )
    of_months = ["substr(day, 1, 7) || '-01'", '"user"', *(f"sum({name})" for name in sums)]
    columns = ", ".join([*of_months, "min(first_call_at)", "max(last_call_at)"])
    connection.exec_driver_sql(f"INSERT INTO monthly_users SELECT {columns} FROM daily_users GROUP BY 1, 2")  # noqa: S608


def _add_bills(connection: Connection) -> None:
    columns = "kind TEXT NOT NULL, name TEXT NOT NULL, made_at BIGINT NOT NULL, content TEXT NOT NULL"
    connection.exec_driver_sql(f"CREATE TABLE bills ({columns}, PRIMARY KEY (kind, name))")


MIGRATIONS: list[Callable[[Connection], None]] = [
    _create_calls_and_daily,
    _rename_status_cut_to_aborted,
    _add_daily_totals,
    _refuse_overflow,
    _add_prediction_tokens,
    _add_rule_and_attempts,
    _add_roll_ups,
    split_calls,
    _add_bills,
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
    """The number of steps that have been applied, up to the first one that is missing."""
    there = inspect(connection).get_table_names()
    if schema.MIGRATIONS not in there:
        foreign = {schema.calls.name, schema.daily_totals.name}.intersection(there)
        if foreign:
            raise LedgerError(
                f"the database has a table {min(foreign)!r} that openai_meter has not made; "
                "name another database, or in PostgreSQL another schema (?options=-csearch_path=NAME)"
            )
        return 0
    applied = {int(row[0]) for row in connection.exec_driver_sql(f"SELECT version FROM {schema.MIGRATIONS}")}  # noqa: S608
    if (version := max(applied, default=0)) > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger was written by a newer openai_meter (its schema is {version}, the newest known here "
            f"{len(MIGRATIONS)}); update with: pip install -U openai-meter"
        )
    return next(number for number in range(len(MIGRATIONS) + 1) if number + 1 not in applied)


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
