"""Whether budgets hold: random calls of many processes, threads and tasks, with and without faults, over four stores.

    python benchmarks/budgets.py [--trials 250000] [--calls 1000] [--stores memory sqlite postgres redis] [--faults]
    python benchmarks/budgets.py --unit calls

A trial is one call that asks a budget for its bound, and costs something up to that; with ``--unit calls``, it is one
call of so many. Four processes with 16 threads
each (or 200 asyncio tasks, every second round) ask until they are refused. What is admitted and what it has cost is
written to a file of each process, outside of all stores: the sums of these files are the truth. ``over`` is by how many
calls a limit was passed; ``used`` the part of the budget that was spent, or held for calls that were going on, at the
first refusal; ``held`` what is held when all is done. ``look`` is the usual way beside it, in the same run: it looks at
what is spent, and then calls.

With ``--faults``, processes are killed and replaced, clocks are up to a minute off, and servers are killed and started
again. A killed process costs its slices, so that less is used; more than the limit never is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
PROCESSES, THREADS, TASKS = 4, 16, 200
BOUNDS = (300, 1_500)
"""Tokens that a call asks for."""


class Row(NamedTuple):
    store: str
    way: str
    faults: bool
    trials: int
    admitted: int
    over: int
    used: float
    held: int
    trips: int


# --- one process ------------------------------------------------------------------------------------------------------


class Worker:
    """One process: a meter with a budget, and a file of what it did."""

    def __init__(self, plan: dict[str, Any]) -> None:
        from openai_meter import Budget, Meter  # noqa: PLC0415 - in a worker only
        from openai_meter.budgets import admission, desk, guard, quick  # noqa: PLC0415 - in a worker only
        from openai_meter.usage.endpoints import ENDPOINTS  # noqa: PLC0415 - in a worker only

        desk._DEAD = plan["dead"]
        self.plan = plan
        self.row = next(row for row in ENDPOINTS if row.name == "responses")
        limit = {plan["unit"]: plan["limit"]}
        budget = Budget(plan["name"], every=plan["every"], on_outage=plan["share"] or "refuse", alert_at=(), **limit)
        self.meter = Meter(budgets=[budget], budget_store=plan["url"])
        self.guard = self.meter._budgets
        self.desk = self.guard.desk
        self.trips = 0
        if self.desk is not None:
            self.desk._interval = 0.5
            take = self.desk.store.take
            self.desk.store.take = lambda *args: self._counted(take, args)
        self.admit, self.quick_hold = admission.admit, quick.quick_hold
        skew = plan["skew"]
        clock = SimpleNamespace(time=lambda: time.time() + skew)
        admission.time = guard.time = clock
        self.file = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.who = SimpleNamespace(agent=None, operation=None, user=None, session=None, tags={})
        self.trials = 0

    def _counted(self, take: Any, args: Any) -> Any:
        self.trips += 1
        return take(*args)

    def write(self, *fields: object) -> None:
        os.write(self.file, (" ".join(map(str, fields)) + "\n").encode())

    def call(self, chance: random.Random) -> Any:
        """One trial: a call that was admitted, with what it will cost; ``None``: refused."""
        bound = chance.randrange(*BOUNDS)
        call = SimpleNamespace(
            hold=None, started=time.time(), row=self.row, listeners=(self.meter,), provider="openai",
            host="api.openai.com", requested_model="gpt-5-mini", block=None, _attribution=self.who,
        )  # fmt: skip
        body, refusal = {"input": "", "max_output_tokens": bound}, None
        call.hold = self.quick_hold(
            self.guard, self.meter, self.row, call.provider, call.host, call.requested_model, self.who, None, body
        )
        steps = iter(()) if call.hold else self.admit(call, body)
        while True:
            try:
                next(steps).run()
            except StopIteration as end:
                refusal = end.value
                break
        self.trials += 1
        if refusal is not None:
            self.write("refused", refusal.reason, time.monotonic_ns())
            return None
        ((account, amount, _),) = call.hold._entries
        key = account.start.isoformat()
        identity = uuid.uuid4().hex
        self.write("held", identity, key, amount, time.monotonic_ns())
        return call, identity, key, max(chance.randrange(amount // 2, amount + 1), 1)

    def settle(self, done: Any) -> None:
        call, identity, key, cost = done
        self.write("spent", identity, key, cost, time.monotonic_ns())
        usage = SimpleNamespace(total_tokens=cost)
        call.hold.add(self.meter, SimpleNamespace(cost_pico=0, usage=usage, cost_status="free", usage_unknown=()))
        call.hold.settle()

    def thread(self, seed: int) -> None:
        chance, refusals = random.Random(seed), 0
        while refusals < self.plan["refusals"] and time.time() < self.plan["until"]:
            done = self.call(chance)
            if done is None:
                refusals += 1
                time.sleep(0.001)
            else:
                if chance.random() < 0.2:
                    time.sleep(chance.random() * 0.002)
                self.settle(done)

    async def task(self, seed: int) -> None:
        chance, refusals = random.Random(seed), 0
        while refusals < self.plan["refusals"] and time.time() < self.plan["until"]:
            done = self.call(chance)
            await asyncio.sleep(0 if done else 0.001)
            if done is None:
                refusals += 1
            else:
                self.settle(done)

    def run(self) -> None:
        seed = self.plan["seed"]
        if self.plan["tasks"]:

            async def main() -> None:
                await asyncio.gather(*(self.task(seed + n) for n in range(TASKS)))

            asyncio.run(main())
        else:
            threads = [threading.Thread(target=self.thread, args=(seed + n,)) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self.desk is not None:
            self.desk.close()
        held = sum(view.all()[0].held for view in self.meter.budgets.values()) if self.desk is None else 0
        self.write("end", self.trials, self.trips, int(held))


# --- a round ----------------------------------------------------------------------------------------------------------


class Truth:
    """What the files of all processes have."""

    def __init__(self, folder: Path) -> None:
        held: dict[str, tuple[str, int]] = {}
        admitted_at: dict[str, int] = {}
        costs: dict[str, tuple[int, int]] = {}
        bounds: dict[str, int] = {}
        first_refusal = sys.maxsize
        self.by_key: dict[str, int] = defaultdict(int)
        self.admitted = self.trials = self.trips = self.held = 0
        for file in folder.glob("*.log"):
            for line in file.read_text().splitlines():
                kind, *fields = line.split()
                if kind == "held" and len(fields) == 4:
                    held[fields[0]] = (fields[1], int(fields[2]))
                    admitted_at[fields[0]], bounds[fields[0]] = int(fields[3]), int(fields[2])
                    self.admitted += 1
                elif kind == "spent" and len(fields) == 4:
                    held.pop(fields[0], None)
                    self.by_key[fields[1]] += int(fields[2])
                    costs[fields[0]] = (int(fields[2]), int(fields[3]))
                elif kind == "refused" and len(fields) == 2:
                    self.trials += 1
                    first_refusal = min(first_refusal, int(fields[1]))
                elif kind == "end":
                    self.trips, self.held = self.trips + int(fields[1]), self.held + int(fields[2])
        self.trials += self.admitted
        for key, amount in held.values():  # of killed processes: they may have been billed in full
            self.by_key[key] += amount
        self.before_refusal = sum(
            costs[name][0] if costs.get(name, (0, sys.maxsize))[1] < first_refusal else bounds[name]
            for name, at in admitted_at.items()
            if at < first_refusal
        )
        """What was spent, and held for calls that were going on, at the moment of the first refusal."""


def start(plan: dict[str, Any], folder: Path, number: int) -> subprocess.Popen[bytes]:
    plan = {**plan, "log": str(folder / f"{number}.log"), "seed": number * 1_000}
    if plan["faults"]:
        plan["skew"] = random.Random(number).uniform(-60, 60)
    return subprocess.Popen([sys.executable, __file__, "--worker", json.dumps(plan)], start_new_session=True)


def play(
    store: str, url: str | None, server: Any, *, faults: bool, tasks: bool, refusals: int, calls: int, unit: str
) -> Row:
    """One budget, until all processes are refused."""
    mean = 1 if unit == "calls" else sum(BOUNDS) // 2 + 70
    limit = calls if unit == "calls" else calls * mean * 3 // 4
    plan = {
        "name": f"benchmark {uuid.uuid4()}", "limit": limit, "unit": unit, "url": url, "tasks": tasks,
        "faults": faults, "skew": 0.0, "every": "minute" if faults else "total", "refusals": refusals,
        "dead": 3.0 if faults else 60.0, "share": 0, "until": time.time() + (25 if faults else 120),
    }  # fmt: skip
    processes = 1 if url is None else PROCESSES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = {number: start(plan, folder, number) for number in range(processes)}
        number, chance = processes, random.Random(1)
        while any(process.poll() is None for process in running.values()):
            time.sleep(0.1)
            if faults and time.time() < plan["until"] - 8 and chance.random() < 0.15:
                victim = chance.choice([process for process in running.values() if process.poll() is None] or [None])
                if victim is not None and url is not None:
                    victim.kill()
                    running[number] = start(plan, folder, number)
                    number += 1
                if server is not None and chance.random() < 0.3:
                    server.stop()
                    time.sleep(0.3)
                    server.start()
        if not faults and any(process.returncode for process in running.values()):
            raise SystemExit("a worker has failed: see above")
        truth = Truth(folder)
        over = sum(max(0, spent - plan["limit"]) for spent in truth.by_key.values())
        return Row(
            store, "tasks" if tasks else "threads", faults, truth.trials, truth.admitted, -(-over // mean),
            truth.before_refusal / plan["limit"], truth.held, truth.trips,
        )  # fmt: skip


def look(url: str | None) -> Row:
    """The usual way: look at what is spent, call, and add the cost."""
    from openai_meter.budgets.stores import Report, open_store  # noqa: PLC0415 - in a worker only
    from openai_meter.budgets.stores.memory import MemoryStore  # noqa: PLC0415 - in a worker only

    store = MemoryStore() if url is None else open_store(url)
    mean, key, lock = sum(BOUNDS) // 2 + 70, f"look {uuid.uuid4()}", threading.Lock()
    limit, spent, admitted, number = 50 * mean, [0], [0], [0]

    def work(seed: int) -> None:
        chance, owner = random.Random(seed), f"{key} {seed}"
        own = 0
        while store.read([key])[0].spent < limit:
            cost = chance.randrange(*BOUNDS)
            time.sleep(0.002)  # the model answers
            own += 1
            store.report(owner, own, [Report(key, cost, 0)])
            with lock:
                spent[0] += cost
                admitted[0] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    over = max(0, spent[0] - limit)
    return Row(
        "memory" if url is None else url.partition(":")[0].partition("+")[0], "look", False, admitted[0] + THREADS,
        admitted[0], -(-over // mean), spent[0] / limit, 0, number[0],
    )  # fmt: skip


def servers(kind: str, folder: Path) -> tuple[str | None, Any]:
    if kind == "memory":
        return None, None
    if kind == "sqlite":
        return f"sqlite:///{folder / 'budgets.db'}", None
    sys.path.insert(0, str(SUPPORT))
    if kind == "postgres":
        from postgres import Postgres  # noqa: PLC0415 - in a worker only

        made: Any = Postgres()
    else:
        from redis_server import RedisServer  # noqa: PLC0415 - in a worker only

        made = RedisServer()
    return made.url, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=250_000, help="of each store")
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "postgres", "redis"])
    parser.add_argument("--calls", type=int, default=1_000, help="that the budget of a round is enough for")
    parser.add_argument("--unit", choices=("tokens", "calls"), default="tokens", help="what the budget limits")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--refusals", type=int, default=20, help="that end a thread or a task")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker")
    options = parser.parse_args()
    if options.worker:
        Worker(json.loads(options.worker)).run()
        return
    rows: list[Row] = []
    for kind in options.stores:
        with tempfile.TemporaryDirectory() as name:
            url, server = servers(kind, Path(name))
            try:
                rows.append(look(url))
                trials, rounds = 0, 0
                while trials < options.trials:
                    row = play(
                        kind,
                        url,
                        server,
                        faults=options.faults,
                        tasks=bool(rounds % 2),
                        refusals=options.refusals,
                        calls=options.calls,
                        unit=options.unit,
                    )
                    rows.append(row)
                    trials, rounds = trials + row.trials, rounds + 1
            finally:
                if server is not None:
                    server.end()
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=1))
        return
    print(
        f"{'store':9} {'way':8} {'faults':6} {'rounds':>6} {'trials':>9} {'admitted':>9} {'over':>5} {'used':>14} {'trips':>7} held"  # noqa: E501
    )
    groups: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.store, row.way, row.faults].append(row)
    for (store, way, faults), some in groups.items():
        used = sorted(row.used for row in some)
        print(
            f"{store:9} {way:8} {'yes' if faults else 'no':6} {len(some):6} {sum(row.trials for row in some):9,} "
            f"{sum(row.admitted for row in some):9,} {sum(row.over for row in some):5} "
            f"{used[0]:6.1%}-{used[-1]:6.1%} {sum(row.trips for row in some):7,} {sum(row.held for row in some)}"
        )


if __name__ == "__main__":
    main()
