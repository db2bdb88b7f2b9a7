"""What tests of the ledger share: calls, databases, and what is in them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import create_engine, make_url, text
from warm import AVAILABLE, WARM

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger, roll_ups, split_calls
from openai_meter.ledger.schema import LATER_ROLL_UPS, MIGRATIONS, REST, SUMS
from openai_meter.pricing.loading import WAITING

START = datetime(2026, 3, 31, 23, 59, 50, tzinfo=UTC)


def call(n: int = 0, **more: Any) -> Call:
    """A call like those of a program with some agents and users, over some days."""
    at = more.pop("started_at", START + timedelta(hours=7 * n, microseconds=n))
    values: dict[str, Any] = {
        "id": new_call_id(at.timestamp()), "started_at": at, "duration": 0.25 + n / 1000,
        "endpoint": "responses", "provider": "openai", "model": ("gpt-5-mini", "gpt-4o", None)[n % 3],
        "requested_model": "gpt-5-mini", "status": ("ok", "ok", "ok", "error")[n % 4],
        "usage": Usage(1000 + n, 20, 1020 + n, cached_input_tokens=n), "usage_source": ("api", "tiktoken")[n % 2],
        "cost_pico": 250_000_000 + n, "cost_status": "priced", "cost_estimated": n % 2 == 1,
        "price_source": "genai-prices 0.1", "agent": (None, "writer", "")[n % 3], "user": f"u{n % 7}",
        "session": f"s{n}", "tags": {"env": "prod", "Ä": "ö"} if n % 2 else {}, "host": "api.openai.com",
    }  # fmt: skip
    return Call(**values | more)


def calls(count: int, start: int = 0) -> list[Call]:
    return [call(n) for n in range(start, start + count)]


def waiting(n: int = 0, **more: Any) -> Call:
    """A call that ended while the prices were being read."""
    unpriced = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": WAITING, "price_source": None}
    return call(n, **unpriced | {"cost_estimated": False} | more)


class Database(NamedTuple):
    """A database of a test, with nothing in it."""

    url: str
    spool: Path

    @property
    def postgres(self) -> bool:
        return self.url.startswith("postgresql")

    def ledger(self, **settings: Any) -> Ledger:
        return Ledger(self.url, **{"spool": self.spool, "flush_interval": 0.02} | settings)

    def query(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        engine = create_engine(make_url(self.url))
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(sql), values)]
        finally:
            engine.dispose()

    def run(self, sql: str) -> None:
        engine = create_engine(make_url(self.url))
        try:
            with engine.begin() as connection:
                connection.execute(text(sql))
        finally:
            engine.dispose()

    def ids(self) -> list[str]:
        return [row[0] for row in self.query("SELECT id FROM calls ORDER BY id")]

    def count(self) -> int:
        return self.query("SELECT count(*) FROM calls")[0][0]

    def check_sums(self) -> None:
        """The sums by day are those of the calls, in every column and every group."""
        flags = "cost_status IN ('unpriced', 'partial')"
        estimated = "CASE WHEN cost_estimated THEN {} ELSE 0 END"
        said = {
            "calls": "1", "errors": "CASE WHEN status IN ('error', 'failed') THEN 1 ELSE 0 END",
            "unmeasured_calls": "CASE WHEN total_tokens IS NULL AND seconds = 0 AND characters = 0 AND images = 0 "
            "AND cost_status <> 'free' THEN 1 ELSE 0 END",
            "estimated_calls": "CASE WHEN usage_source IN ('tiktoken', 'chars') THEN 1 ELSE 0 END",
            "unpriced_calls": f"CASE WHEN {flags} THEN 1 ELSE 0 END",
            "costless_calls": "CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END",
            "seconds_us": "round(seconds * 1000000)", "duration_us": "round(duration * 1000000)",
            "estimated_cost_pico": estimated.format("coalesce(cost_pico, 0)"),
            "estimated_cost_rest": estimated.format("coalesce(cost_rest, 0)"),
            "retries": "coalesce(attempts - 1, 0)",
            "tokenless_calls": "CASE WHEN total_tokens IS NULL THEN 1 ELSE 0 END",
        }  # fmt: skip
        dims = "model, agent, operation, endpoint, provider, block, service_tier, organization, project"
        self._check_roll_up("daily_totals", dims, said)

    def make_old(self, version: int) -> None:
        """Makes the tables those of an earlier version, with all sums by user in one table."""
        ledger = self.ledger()
        ledger.prepare()
        roll_ups.roll_up(ledger._writing, until=2**53)
        ledger.close()
        self._join_calls()
        if version >= 7:
            self.run(f"DELETE FROM {MIGRATIONS} WHERE version > {version}")
            return
        dimensions = ("model", "agent", "operation", "user", "endpoint", "provider", "block")
        texts = [f'nullif("{name}", \'\') AS "{name}"' for name in dimensions]
        money = {
            name: f"{name.replace('_pico', '_micro')} * 1000000 + {name} AS {name}"
            for name in ("cost_pico", "estimated_cost_pico")
        }
        sums = ", ".join(money.get(name, name) for name in SUMS)
        key = "cast(row_number() OVER () AS TEXT) AS key"
        columns = ["key TEXT NOT NULL PRIMARY KEY", "day TEXT NOT NULL", *(f'"{name}" TEXT' for name in dimensions)]
        columns += [f"{name} BIGINT NOT NULL" for name in (*SUMS, "first_call_at", "last_call_at")]
        self.run(f"CREATE TABLE daily ({', '.join(columns)})")
        found = f"{key}, day, {', '.join(texts)}, {sums}, first_call_at, last_call_at"
        self.run(f"INSERT INTO daily SELECT {found} FROM daily_users")
        for roll_up in LATER_ROLL_UPS:
            self.run(f"DROP TABLE {roll_up.name}")
        self.run("DROP TABLE roll_up_marks")
        if version < 3:
            self.run("DROP TABLE daily_totals")
        self.run(f"DELETE FROM {MIGRATIONS} WHERE version > {version}")

    def _join_calls(self) -> None:
        """Makes ``calls`` one table, as it was before it was a view."""
        columns = {**split_calls._OF_ROWS, **split_calls._OF_KINDS, **split_calls._SHARED}
        old = {name: kind for name, kind in columns.items() if name not in split_calls._NEW}
        names = ", ".join(f'"{name}"' for name in old)
        written = ", ".join(f'"{name}" {kind}' for name, kind in old.items())
        self.run(f"CREATE TABLE joined_calls ({written})")
        self.run(f"INSERT INTO joined_calls ({names}) SELECT {names} FROM calls")
        self.run("DROP VIEW calls")
        for table in ("call_rows", "call_kinds", "ledger_secrets", "bills"):
            self.run(f"DROP TABLE {table}")
        self.run("ALTER TABLE joined_calls RENAME TO calls")
        self.run("CREATE INDEX calls_started_at ON calls (started_at)")
        flags = "cost_status IN ('unpriced', 'partial')"
        self.run(f"CREATE INDEX calls_not_priced ON calls (started_at) WHERE {flags}")
        for name in ("organization", "project"):
            self.run(f"ALTER TABLE daily_totals DROP COLUMN {name}")

    def _check_roll_up(self, table: str, dims: str, said: dict[str, str]) -> None:
        sums = ", ".join(f"sum({said.get(name, f'coalesce({name}, 0)')})" for name in SUMS)
        divided = "floor(started_at / 86400000000.0)" if self.postgres else "started_at / 86400000000"
        day = "to_char(to_timestamp(0) AT TIME ZONE 'UTC' + {} * interval '1 day', 'YYYY-MM-DD')"
        day = day.format(divided) if self.postgres else f"date('1970-01-01', ({divided}) || ' days')"
        ends = "min(started_at), max(started_at)"
        expected = self.query(f"SELECT {day}, {dims}, {ends}, {sums} FROM calls GROUP BY {day}, {dims}")
        names = [*SUMS, "cost_micro", "estimated_cost_micro"]
        found = self.query(f"SELECT day, {dims}, first_call_at, last_call_at, {', '.join(names)} FROM {table}")
        start = len(found[0]) - len(names) if found else 0
        places = [start + names.index(name) for name in ("cost_pico", "estimated_cost_pico")]
        found = [_with_micros(row, places) for row in found]  # money is in two columns
        found, expected = (sorted(map(_plain, rows), key=repr) for rows in (found, expected))
        assert found == expected, [pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]]


def _with_micros(row: tuple[Any, ...], places: list[int]) -> tuple[Any, ...]:
    *values, micro, estimated_micro = row
    for place, micros in zip(places, (micro, estimated_micro), strict=True):
        values[place] += micros * 1_000_000
    return tuple(values)


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value if value is None or isinstance(value, str) else int(value) for value in row)


def thirds(n: int) -> Fraction:
    return Fraction(random.Random(n).randrange(1, 10**9), (1, 3, 60, 7, REST)[n % 5])


_TOGETHER = """
import json, os, sys
source, arguments = sys.argv[1], json.loads(sys.argv[2])
begin, go = os.pipe()
children = []
for sys.argv[1:] in arguments:
    child = os.fork()
    if not child:
        os.close(go)
        os.read(begin, 1)  # at its end: all are there
        break
    children.append(child)
else:
    os.close(begin), os.close(go)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
    source = ""
exec(compile(source, "<string>", "exec"))
"""


def together(source: str, arguments: Sequence[Sequence[object]]) -> list[int]:
    """Runs a program several times at once, each time with other arguments; returns the exit codes.

    Each runs in a fork of a process that has done nothing yet, and ends as any program does. It must not print.
    """
    given = json.dumps([[*map(str, one)] for one in arguments])
    codes: list[int] = json.loads(program(_TOGETHER, textwrap.dedent(source), given))
    return codes


def program(source: str, *args: object, wait: bool = True, fresh: bool = False, **more: Any) -> Any:
    """Runs a program; returns what it printed, or the process if ``wait`` is false.

    A program that is waited for runs in a fork of the warm interpreter, unless the interpreter has to be ``fresh``.
    """
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here.parents[1], here)))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}
    if wait and AVAILABLE and not fresh:
        done = WARM.run(textwrap.dedent(source), *map(str, args), environment=env)
        assert (done.code, done.errors.decode()) == (0, "")
        return done.output.decode().strip()
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **more)
    if not wait:
        return process
    output, errors = process.communicate(timeout=300)  # a busy machine is not a fault
    assert (process.returncode, errors) == (0, "")
    return output.strip()
