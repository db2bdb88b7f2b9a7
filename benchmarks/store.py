"""What threads do to each other at one meter: 1 to 32 of them add calls, while another reads the totals.

    python benchmarks/store.py [--rounds 5] [--calls 40000] [--threads 1 2 4 8 16 32] [--json]

All threads together add so many finished calls as fast as they can; one more asks for the totals by model and agent
a hundred times a second, as dashboards do. After each round the totals are compared with what was added: they have to
be exact. Told are the calls per second until all are counted, which the interpreter's lock bounds however many threads
there are, and a busy machine the more so; the time of the processor for each call, that of the reader included; and, of
as many rounds that are not timed, how many calls in 100 were left to another thread that was counting already, and how
often a thread that adds had to wait.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

from harness import Report, alternate, arguments, spread

from openai_meter import Call, Meter, Usage
from openai_meter.core.call import new_call_id


class Door:
    """The lock of a store, which counts how often who adds a call found it open, and how often they waited for it."""

    def __init__(self, lock: Any, readers: tuple[threading.Thread, ...]) -> None:
        self.lock = lock
        self.readers = readers
        self.open = self.waits = 0
        self._is_owned, self.release = lock._is_owned, lock.release

    def __enter__(self) -> None:
        self.lock.acquire()
        self.waits += threading.current_thread() not in self.readers

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def acquire(self, blocking: bool) -> bool:
        found = self.lock.acquire(blocking)
        self.open += found  # nobody else is in here, if it is
        return found


def make(n: int) -> Call:
    return Call(
        id=new_call_id(), started_at=datetime.now(UTC), duration=0.5, endpoint="responses", provider="openai",
        model=f"gpt-5-mini-{n % 5}", requested_model="gpt-5-mini", status="ok", usage=Usage(n, 20, n + 20),
        usage_source="api", cost_pico=250_000_000 + n, cost_status="priced", agent=f"agent {n % 20}",
    )  # fmt: skip


def add(calls: list[Call], threads: int, *, watched: bool = False) -> tuple[float, float, int, int]:
    """Lets threads add the calls: calls per second, microseconds of CPU for each, calls at an open door, waits."""
    meter, done, together = Meter(), threading.Event(), threading.Barrier(threads + 1)

    def work(mine: list[Call]) -> None:
        together.wait()
        for call in mine:
            meter._take(call)

    def read() -> None:
        while not done.wait(0.01):
            meter.by("model", "agent")

    workers = [threading.Thread(target=work, args=(calls[place::threads],)) for place in range(threads)]
    reader = threading.Thread(target=read)
    if watched:
        door = meter._store._lock = Door(meter._store._lock, (reader, threading.current_thread()))
    for thread in (*workers, reader):
        thread.start()
    together.wait()
    start, worked = time.perf_counter(), time.process_time()
    for thread in workers:
        thread.join()
    meter.totals  # noqa: B018 - what was left to others has to be counted too
    took, worked = time.perf_counter() - start, time.process_time() - worked
    done.set()
    reader.join()
    seen = (door.open, door.waits) if watched else (0, 0)
    snapshot = meter.snapshot()
    totals, rows = snapshot.totals, snapshot.by("model", "agent")
    assert totals.calls == len(calls) == sum(row.calls for row in rows.values())
    assert totals.input_tokens == sum(range(len(calls)))
    assert totals.cost_pico == sum(call.cost_pico for call in calls)
    return len(calls) / took, worked / len(calls) * 1e6, *seen


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=5)
    parser.add_argument("--calls", type=int, default=40_000, help="how many all threads add (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    options = parser.parse_args()
    calls = [make(n) for n in range(options.calls)]
    report = Report("Threads at one meter", ("threads", "calls/s", "CPU, us each", "left to another, %", "waits"))
    report.notes = ["The totals were exact after every round."]
    worked: dict[int, list[float]] = {number: [] for number in options.threads}

    def measured(number: int) -> float:
        rate, cpu, *_ = add(calls, number)
        worked[number].append(cpu)
        return rate

    found = alternate({str(number): partial(measured, number) for number in options.threads}, options.rounds)
    for number in options.threads:
        seen = [add(calls, number, watched=True) for _ in range(options.rounds)]
        left = spread([max(0.0, 100 * (1 - opened / len(calls))) for *_, opened, _ in seen])
        cpu = spread(worked[number])
        report.add(number, spread(found[str(number)]), cpu, left, sum(waits for *_, waits in seen))
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
