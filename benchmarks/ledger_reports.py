"""How long reports from a ledger take, from roll-ups and from the calls; and what a call takes on the disk.

    python benchmarks/ledger_reports.py                          # 1,000,000 calls in SQLite
    python benchmarks/ledger_reports.py 10000000
    python benchmarks/ledger_reports.py 1000000 postgresql+psycopg://user@host/database

The calls are generated: a year, 8 models, 20 agents, 50 users, 20,000 sessions, tags; the database has to be empty.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openai_meter import Call, Usage
from openai_meter.ledger import Ledger

DAYS = 365
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
MODELS = [f"gpt-{number}" for number in range(8)]
AGENTS = [f"agent-{number}" for number in range(20)]
USERS = [f"user-{number}" for number in range(50)]


def generated(number: int) -> Iterator[Call]:
    """Calls over a year, in the order of time: who works on a day is a few agents for a few users."""
    chance = random.Random(1)
    step = DAYS * 86_400 / number
    for place in range(number):
        at = START + timedelta(seconds=place * step)
        tokens, answer = chance.randrange(50, 5_000), chance.randrange(10, 900)
        team = at.toordinal() % 5
        yield Call(
            f"{place:032x}", at, 0.9, "chat.completions", "openai", chance.choice(MODELS), "gpt", "ok",
            Usage(tokens, answer, tokens + answer, cached_input_tokens=tokens // 3), "api", host="api.openai.com",
            cost_pico=tokens * 150_000 + answer * 600_000, cost_status="priced", price_source="overlay",
            agent=AGENTS[team * 4 + chance.randrange(4)], user=USERS[team * 10 + chance.randrange(10)],
            operation="step", session=f"session-{chance.randrange(20_000)}",
            tags={"env": chance.choice(("prod", "dev"))},
        )  # fmt: skip


def timed(what: str, do: Callable[[], object], times: int = 3) -> None:
    """Prints the best of some times."""
    best = min(_once(do) for _ in range(times))
    print(f"{what:<58} {best * 1000:>10,.1f} ms")


def _once(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def main(number: int, url: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(url or f"sqlite:///{folder}/usage.db", spool=Path(folder) / "spool")
        begin = time.perf_counter()
        ledger.import_calls(generated(number))
        took = time.perf_counter() - begin
        print(f"{number:,} calls stored in {took:,.1f} s: {number / took:,.0f} calls/s (made in the same time)")
        if url is None:
            ledger.engine.dispose()  # the log of SQLite goes into the file
            size = sum(file.stat().st_size for file in Path(folder).glob("usage.db*"))
            print(f"{size / 1e6:,.0f} MB, {size / number:,.0f} bytes per call")
        last = START + timedelta(days=DAYS)
        month = {"since": last - timedelta(days=30), "until": last}
        timed("day, 30 days, UTC (roll-ups)", lambda: ledger.report("day", **month))
        timed("day, a year, UTC (roll-ups)", lambda: ledger.report("day"))
        timed("day,model, a year, UTC (roll-ups)", lambda: ledger.report("day,model"))
        timed("month,agent,user, a year, UTC (roll-ups)", lambda: ledger.report("month,agent,user"))
        timed("totals of an agent, a year (roll-ups)", lambda: ledger.totals(agent="agent-3"))
        timed("day, 30 days, Europe/Paris (calls)", lambda: ledger.report("day", timezone="Europe/Paris", **month))
        timed("day, a year, Europe/Paris (calls)", lambda: ledger.report("day", timezone="Europe/Paris"), 1)
        timed("session, 30 days (calls)", lambda: ledger.report("session", **month))
        timed("session, a year (calls)", lambda: ledger.report("session"), 1)
        timed("tag:env, a year (calls)", lambda: ledger.report("tag:env"), 1)
        timed("forecast of the month (roll-ups)", lambda: ledger.forecast("month"))
        timed("all calls of 30 days, one by one", lambda: sum(1 for _ in ledger.calls(**month)), 1)
        ledger.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2] if len(sys.argv) > 2 else None)
