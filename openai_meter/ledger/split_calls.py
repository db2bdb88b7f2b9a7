"""A step of ``migrations.py``: divides ``calls`` into rows and kinds, and makes a view of that name.

It moves every call, a page at a time: about half a minute for a million. It has its own lists of columns, as a step
does not change with the schema.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

__all__ = ["split_calls"]

_PAGE = 5_000
_COUNTS = (
    "cached_input_tokens", "cache_write_tokens", "cache_write_12h_tokens", "reasoning_tokens", "input_audio_tokens",
    "output_audio_tokens", "input_image_tokens", "output_image_tokens", "cached_audio_tokens", "cached_image_tokens",
    "accepted_prediction_tokens", "rejected_prediction_tokens", "characters", "images", "web_searches",
    "file_searches", "container_sessions",
)  # fmt: skip
_OF_KINDS = {
    "endpoint": "TEXT NOT NULL", "provider": "TEXT NOT NULL", "host": "TEXT", "model": "TEXT",
    "requested_model": "TEXT", "service_tier": "TEXT", "stream": "BOOLEAN NOT NULL", "status": "TEXT NOT NULL",
    "error_type": "TEXT", "usage_source": "TEXT NOT NULL", "usage_unknown": "TEXT", "inconsistent": "BOOLEAN NOT NULL",
    "cost_status": "TEXT NOT NULL", "cost_reason": "TEXT", "cost_estimated": "BOOLEAN NOT NULL",
    "price_source": "TEXT", "usage_rule": "TEXT", "attempts": "BIGINT", "organization": "TEXT", "project": "TEXT",
}  # fmt: skip
_SHARED = {"agent": "TEXT", "operation": "TEXT", "block": "TEXT", "tags": "TEXT", "bill": "TEXT"}
_OF_ROWS = {
    "id": "TEXT NOT NULL PRIMARY KEY", "started_at": "BIGINT NOT NULL", "duration": "DOUBLE PRECISION NOT NULL",
    "time_to_first_token": "DOUBLE PRECISION", "response_id": "TEXT", "input_tokens": "BIGINT",
    "output_tokens": "BIGINT", "total_tokens": "BIGINT", **dict.fromkeys(_COUNTS, "BIGINT NOT NULL"),
    "seconds": "DOUBLE PRECISION NOT NULL", "cost_pico": "BIGINT", "cost_rest": "BIGINT", "cost_exact": "TEXT",
    "price_facts": "TEXT", "user": "TEXT", "session": "TEXT", "request_id": "TEXT", "processing_ms": "BIGINT",
    "remaining_requests": "BIGINT", "remaining_tokens": "BIGINT", "sections": "TEXT",
}  # fmt: skip
_NEW = frozenset(
    {"organization", "project", "bill", "request_id", "processing_ms", "remaining_requests", "remaining_tokens",
     "sections"}
)  # fmt: skip
"""Columns that earlier versions did not have."""
_NOT_PRICED = frozenset({"unpriced", "partial"})


def split_calls(connection: Connection) -> None:
    """Makes ``call_rows``, ``call_kinds`` and the view ``calls``, and the key of the ledger's fingerprints."""
    postgresql = connection.dialect.name == "postgresql"
    connection.exec_driver_sql("ALTER TABLE calls RENAME TO old_calls")
    for index in ("calls_started_at", "calls_not_priced"):
        connection.exec_driver_sql(f"DROP INDEX {index}")
    number = "BIGINT NOT NULL PRIMARY KEY" if postgresql else "INTEGER NOT NULL PRIMARY KEY"
    _create(connection, "call_kinds", {"kind": number, **_OF_KINDS, **_SHARED})
    last = {"kind": "BIGINT NOT NULL", "not_priced": "BOOLEAN NOT NULL"}
    _create(connection, "call_rows", {**_OF_ROWS, **_SHARED, **last})
    _move(connection, postgresql=postgresql)
    connection.exec_driver_sql("DROP TABLE old_calls")
    connection.exec_driver_sql("CREATE INDEX calls_started_at ON call_rows (started_at)")
    connection.exec_driver_sql("CREATE INDEX calls_not_priced ON call_rows (started_at) WHERE not_priced")
    own = [f'r."{name}"' for name in (*_OF_ROWS, "not_priced")]
    own += [f'k."{name}"' for name in _OF_KINDS]
    own += [f'coalesce(r."{name}", k."{name}") AS "{name}"' for name in _SHARED]
    # SQLite reads the tables of a CROSS JOIN in their order: first the rows, by their indexes.
    join = "JOIN" if postgresql else "CROSS JOIN"
    connection.exec_driver_sql(
        f"CREATE VIEW calls AS SELECT {', '.join(own)} FROM call_rows r {join} call_kinds k ON k.kind = r.kind"  # noqa: S608 - our names
    )
    for name in ("organization", "project"):
        connection.exec_driver_sql(f"ALTER TABLE daily_totals ADD COLUMN {name} TEXT")
    connection.exec_driver_sql("CREATE TABLE ledger_secrets (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
    key = secrets.token_hex(32)
    connection.exec_driver_sql(f"INSERT INTO ledger_secrets VALUES ('fingerprints', '{key}')")  # noqa: S608


def _create(connection: Connection, table: str, columns: dict[str, str]) -> None:
    written = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    connection.exec_driver_sql(f"CREATE TABLE {table} ({written})")


def _move(connection: Connection, *, postgresql: bool) -> None:
    """Moves all calls. What an earlier version has stored of a bill is its sum alone."""
    mark = "%s" if postgresql else "?"
    kinds: dict[tuple[Any, ...], int] = {}
    common = [name for name in (*_OF_KINDS, *_SHARED) if name not in _NEW and name != "tags"]
    own = [name for name in _OF_ROWS if name not in _NEW]
    of_kinds, of_rows = ["kind", *common], [*own, "tags", "kind", "not_priced"]
    status = common.index("cost_status")
    for page in _pages(connection, [*own, "tags", *common]):
        fresh, rows = [], []
        for row in page:
            values = row[len(own) + 1 :]
            kind = kinds.get(values)
            if kind is None:
                kind = kinds[values] = _number_of(values)
                fresh.append((kind, *values))
            rows.append((*row[: len(own) + 1], kind, values[status] in _NOT_PRICED))
        for table, names, found in (("call_kinds", of_kinds, fresh), ("call_rows", of_rows, rows)):
            columns = ", ".join(f'"{name}"' for name in names)
            marks = ", ".join([mark] * len(names))
            if found:
                connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", found)  # noqa: S608


def _number_of(values: tuple[Any, ...]) -> int:
    digest = hashlib.blake2b(json.dumps(["migrated", *values]).encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _pages(connection: Connection, names: list[str]) -> Iterator[list[tuple[Any, ...]]]:
    """The old calls in the order of their ids."""
    columns = ", ".join(f'"{name}"' for name in names)
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    last = ""
    while True:
        found = connection.exec_driver_sql(
            f"SELECT {columns} FROM old_calls WHERE id > {mark} ORDER BY id LIMIT {_PAGE}",  # noqa: S608
            (last,),
        ).all()
        if not found:
            return
        yield [tuple(row) for row in found]
        last = found[-1][0]
