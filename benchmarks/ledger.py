"""What a ledger costs, and how fast it answers: a call's put, calls per second into the database, their size, reports.

    python benchmarks/ledger.py [--rows 1000000] [--calls 100000] [--users 20000] [--rounds 3] [--json]
    python benchmarks/ledger.py --url postgresql+psycopg://user@host/database

The calls are generated: a year of them, 8 models, 20 agents, as many users as --users, sessions of 8 calls, tags. Some
are put as a meter does, in blocks, while the thread that stores is held (a put) and while it is waited for (stored).
The others are imported, until there are so many rows. Then each report is asked for in turn: from the sums that are
kept as calls are stored, from those that are made in the background, or from the calls. The
routes are those of the HTTP API, with nothing in their cache. With a million rows it takes some minutes.

By default it is a file of SQLite, deleted afterwards. A PostgreSQL has to be empty, and the calls stay there.
"""

from __future__ import annotations

import gc
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from harness import Report, alternate, arguments, machine, spread

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger

DAYS = 365
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
END = START + timedelta(days=DAYS)
MONTH = {"since": END - timedelta(days=30), "until": END}
BLOCK = 20_000


def generated(number: int, users: int) -> Iterator[Call]:
    """Calls over a year, in the order of time: 200 sessions at once, each of about 8 calls of one user."""
    chance = random.Random(1)
    sessions: list[tuple[str, str, str]] = []
    for place in range(number):
        if len(sessions) < 200:
            user, agent = f"user-{chance.randrange(users)}", f"agent-{chance.randrange(20)}"
            sessions.append((f"session-{place}", user, agent))
        which = chance.randrange(len(sessions))
        session, user, agent = sessions[which]
        if chance.randrange(8) == 0:
            sessions[which] = sessions[-1]
            sessions.pop()
        at = START + timedelta(seconds=place * DAYS * 86_400 / number)
        tokens, answer = chance.randrange(50, 5_000), chance.randrange(10, 900)
        yield Call(
            new_call_id(at.timestamp()), at, 0.9, "responses", "openai", f"gpt-{chance.randrange(8)}", "gpt", "ok",
            Usage(tokens, answer, tokens + answer, cached_input_tokens=tokens // 3), "api", host="api.openai.com",
            response_id=f"resp_{place:050}", service_tier="default", price_source="overlay",
            cost_pico=tokens * 150_000 + answer * 600_000, cost_status="priced", operation="step",
            agent=agent, user=user, session=session, tags={"env": chance.choice(("prod", "dev"))},
        )  # fmt: skip


def put(ledger: Ledger, calls: list[Call]) -> tuple[float, float]:
    """Seconds in which calls are put, and in which they are stored then."""
    gc.collect()
    with ledger._writer._doing:  # the thread that stores waits: what is measured is the put alone
        start = time.perf_counter()
        for call in calls:
            ledger.put(call)
        between = time.perf_counter()
    assert ledger.flush(600)
    return between - start, time.perf_counter() - between


def reports(ledger: Ledger) -> dict[str, Callable[[], object]]:
    """The reports by what they are, and where they come from."""
    paris = {"timezone": "Europe/Paris"}
    return {
        "day, 30 days, UTC (roll-ups)": lambda: ledger.report("day", **MONTH),
        "day, a year, UTC (roll-ups)": lambda: ledger.report("day"),
        "day,model, a year, UTC (roll-ups)": lambda: ledger.report("day,model"),
        "user, a year (roll-ups)": lambda: ledger.report("user"),
        "user, 30 days (roll-ups)": lambda: ledger.report("user", **MONTH),
        "month,user, a year (roll-ups)": lambda: ledger.report("month,user"),
        "totals of an agent, a year (roll-ups)": lambda: ledger.totals(agent="agent-3"),
        "forecast of the month (roll-ups)": lambda: ledger.forecast("month"),
        "day, a year, Europe/Paris (roll-ups)": lambda: ledger.report("day", **paris),
        "session, 30 days (roll-ups)": lambda: ledger.report("session", **MONTH),
        "session, a year (roll-ups)": lambda: ledger.report("session"),
        "tag:env, a year (roll-ups)": lambda: ledger.report("tag:env"),
        "user,session, 30 days (calls)": lambda: ledger.report("user,session", **MONTH),
        "calls of 30 days, one by one": lambda: sum(1 for _ in ledger.calls(**MONTH)),
    }


def routes(ledger: Ledger) -> dict[str, Callable[[], object]]:
    """The routes that monitoring and the dashboard read all the time; none without the extra ``[server]``."""
    if find_spec("starlette") is None or find_spec("jinja2") is None:
        return {}
    from starlette.testclient import TestClient  # noqa: PLC0415 - an extra

    from openai_meter.server import create_app  # noqa: PLC0415

    client = TestClient(create_app(ledger=ledger, max_age=0), base_url="http://localhost", client=("127.0.0.1", 50_000))
    paths = ("/metrics", "/api/stats", "/api/overview", "/api/overview?period=all&timezone=Europe/Paris")
    return {path: partial(client.get, path) for path in paths}


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=3)
    parser.add_argument("--calls", type=int, default=100_000, help="how many are put (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many there are for reports (%(default)s)")
    parser.add_argument("--users", type=int, default=20_000, help="how many users there are (%(default)s)")
    parser.add_argument("--url", help="another database than a file of SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(options.url or f"sqlite:///{folder}/usage.db", spool=Path(folder) / "spool")
        ledger.prepare()
        report = Report("Ledger", ("what", "figure", "unit"), machine("sqlalchemy"))
        report.notes = [f"{ledger.url.partition(':')[0]}, reports over {max(options.rows, options.calls):,} rows"]
        calls = generated(max(options.rows, options.calls), options.users)
        puts, stores = [], []
        for start in range(0, options.calls, BLOCK):
            block = list(islice(calls, min(BLOCK, options.calls - start)))
            putting, storing = put(ledger, block)
            puts.append(putting / len(block) * 1e6)
            stores.append(len(block) / storing)
        report.add("put", spread(puts), "us per call")
        report.add("stored", spread(stores), "calls/s")
        assert ledger.stats.written == options.calls, ledger.stats
        if options.rows > options.calls:
            start = time.perf_counter()
            ledger.import_calls(calls)
            took = time.perf_counter() - start
            report.add("imported (and generated)", (options.rows - options.calls) / took, "calls/s")
        start = time.perf_counter()
        ledger.roll_up()
        report.add("rolled up at the end", time.perf_counter() - start, "s")
        if options.url is None:
            ledger.engine.dispose()  # the log of SQLite goes into the file
            size = sum(file.stat().st_size for file in Path(folder).glob("usage.db*"))
            report.add("on the disk", size / max(options.rows, options.calls), "bytes per call")
        works = reports(ledger) | routes(ledger)
        found = alternate({name: partial(milliseconds, work) for name, work in works.items()}, options.rounds)
        for name, taken in found.items():
            report.add(name, spread(taken), "ms")
        ledger.close()
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
