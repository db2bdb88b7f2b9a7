"""What a served dashboard costs the calls that are metered beside it: 32 threads meter, with and without who asks.

    python benchmarks/server.py [--seconds 6] [--rate 200] [--rounds 3] [--json]

Without, with 200 requests a second on ``/api/stats``, and with a listener on ``/api/events`` besides; in turns. Whoever
asks is another process, as a browser or a monitor is. Each thread records 50 calls a second, as threads that wait for
an API do. Told is the time that recording a call takes: of half of the calls at most (the median), and of 99 in 100;
how many requests were answered in a second, and the slowest answer.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

from harness import Report, arguments, machine

from openai_meter import Call, Meter, Usage
from openai_meter.core.call import new_call_id
from openai_meter.server import start

THREADS = 32
PACE = 0.02
"""Seconds between two calls of a thread: 1,600 calls a second in all."""
WAYS = ("nobody asks", "requests", "requests and a listener")
ASKING = """
import http.client, sys, time
host, rate, seconds, follow = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), "listener" in sys.argv[4]
if follow:
    listener = http.client.HTTPConnection(host)
    listener.request("GET", "/api/events")
    listener.getresponse()
connection = http.client.HTTPConnection(host)
began, done, slowest = time.perf_counter(), 0, 0.0
while (now := time.perf_counter()) - began < seconds:
    time.sleep(max(began + done / rate - now, 0))
    asked = time.perf_counter()
    connection.request("GET", "/api/stats")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    slowest = max(slowest, time.perf_counter() - asked)
    done += 1
    if done == 1:
        print("asking", flush=True)
print(done / seconds, slowest * 1e3)
"""


def make(n: int) -> Call:
    return Call(
        id=new_call_id(), started_at=datetime.now(UTC), duration=0.5, endpoint="responses", provider="openai",
        model=f"gpt-5-mini-{n % 5}", requested_model="gpt-5-mini", status="ok", usage=Usage(1000, 20, 1020),
        usage_source="api", cost_pico=250_000_000 + n, cost_status="priced", agent=f"agent {n % 20}",
        user=f"u{n % 100}",
    )  # fmt: skip


def meter_for(meter: Meter, seconds: float) -> list[float]:
    """The microseconds that each recording took, over all threads."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        number = place
        while time.perf_counter() < end:
            call = make(number)
            began = time.perf_counter()
            meter._take(call)
            took.append((time.perf_counter() - began) * 1e6)
            number += THREADS
            time.sleep(PACE)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of metering, each way (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second (%(default)s)")
    options = parser.parse_args()
    seconds = options.seconds / options.rounds
    meter = Meter(thresholds=False)
    for n in range(10_000):
        meter._take(make(n))
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    served: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    with start(meter, port=0) as server:
        asking = [sys.executable, "-c", ASKING, server.url.removeprefix("http://"), str(options.rate), str(seconds)]
        for way in WAYS * options.rounds:
            if way == WAYS[0]:
                took[way] += meter_for(meter, seconds)
                continue
            with subprocess.Popen([*asking, way], stdout=subprocess.PIPE, text=True) as process:
                process.stdout.readline()  # it has begun to ask
                took[way] += meter_for(meter, seconds)
                served[way].append([float(figure) for figure in process.stdout.read().split()])
    columns = ("way", "calls", "median, us", "99 in 100, us", "answers/s", "slowest, ms")
    report = Report("Metering beside a served dashboard", columns, machine("starlette", "uvicorn"))
    for way, times in took.items():
        answers = statistics.mean(done for done, _ in served[way]) if served[way] else 0.0
        slowest = max((slow for _, slow in served[way]), default=0.0)
        high = statistics.quantiles(times, n=100)[98]
        report.add(way, len(times), statistics.median(times), high, answers, slowest)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
