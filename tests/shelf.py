"""Calls for ledgers in tests, and a ledger's reading half over any database without the writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy

from openai_meter import Call, Usage
from openai_meter.call import new_call_id
from openai_meter.ledger import rows, schema, storing
from openai_meter.ledger.readings import History

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
BASE = Call(
    "", NOON, 0.5, "chat.completions", "openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini", "ok", Usage(100, 50, 150),
    "api", cost_pico=45_000_000, cost_status="priced", host="api.openai.com", price_source="overlay",
)  # fmt: skip


def call(at: datetime = NOON, **changes: Any) -> Call:
    """A call that began then."""
    return replace(BASE, id=new_call_id(), started_at=at, **changes)


def days(number: int, start: datetime = NOON, **changes: Any) -> list[Call]:
    """A call on each of some days that follow each other."""
    return [call(start + timedelta(days=day), **changes) for day in range(number)]


class Shelf(History):
    """Reads and writes in the caller's thread."""

    def __init__(self, engine: sqlalchemy.Engine, calls: Iterable[Call] = ()) -> None:
        self.engine = engine
        schema.metadata.create_all(engine)
        self.put(calls)

    def put(self, calls: Iterable[Call]) -> int:
        with self._writing() as connection:
            return storing.store(connection, {one.id: rows.to_row(one) for one in calls})

    @contextmanager
    def _reading(self) -> Iterator[sqlalchemy.Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlalchemy.Connection]:
        with self.engine.begin() as connection:
            yield connection
