"""What a served dashboard costs the calls that are metered: 32 threads meter, with and without somebody who asks.

    python benchmarks/server.py [--seconds 5] [--rate 200] [--json]

Without, with 200 requests a second on ``/api/stats``, and with a listener on ``/api/events`` besides; in turns, so that
a busy machine is busy for all. Whoever asks is another process, as a browser or a monitor is.

Each thread records calls at a steady pace, as calls that wait for an API do. What is told is the time that recording
takes, in microseconds: of half of the calls at most (the median), and of 99 in 100.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from openai_meter import Call, Meter, Usage
from openai_meter.call import new_call_id
from openai_meter.server import start

THREADS = 32
PACE = 0.02
"""Seconds between two calls of a thread: 1,600 calls a second in all."""
ROUNDS = 3

ASKING = """
import http.client, sys, time
host, rate, seconds, follow = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "follow"
if follow:
    listener = http.client.HTTPConnection(host)
    listener.request("GET", "/api/events")
    listener.getresponse()
connection = http.client.HTTPConnection(host)
began, done, slowest = time.perf_counter(), 0, 0.0
while (now := time.perf_counter()) - began < seconds:
    due = began + done / rate
    if now < due:
        time.sleep(due - now)
    asked = time.perf_counter()
    connection.request("GET", "/api/stats")
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read()
    slowest = max(slowest, time.perf_counter() - asked)
    done += 1
print(done / seconds, slowest)
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
    took: list[list[float]] = [[] for _ in range(THREADS)]
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        number = place
        while time.perf_counter() < end:
            call = make(number)
            began = time.perf_counter()
            meter.take(call)
            took[place].append((time.perf_counter() - began) * 1e6)
            number += THREADS
            time.sleep(PACE)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [one for many in took for one in many]


def asked_by(url: str, rate: float, seconds: float, how: str) -> Callable[[], tuple[float, float]]:
    command = [sys.executable, "-c", ASKING, url.removeprefix("http://"), str(rate), str(seconds), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def result() -> tuple[float, float]:
        output, _ = process.communicate()
        done, slowest = output.split()
        return float(done), float(slowest) * 1e3

    return result


def main(seconds: float, rate: float) -> dict[str, Any]:
    meter = Meter(thresholds=False)
    for n in range(10_000):
        meter.take(make(n))
    took: dict[str, list[float]] = {"nobody asks": [], "requests": [], "requests and a listener": []}
    served: dict[str, list[tuple[float, float]]] = {name: [] for name in took}
    with start(meter, port=0) as server:
        for _ in range(ROUNDS):
            for name in took:
                how = "follow" if "listener" in name else "ask"
                result = None if name == "nobody asks" else asked_by(server.url, rate, seconds / ROUNDS, how)
                if result is not None:
                    time.sleep(0.2)  # until it has started to ask
                took[name] += meter_for(meter, seconds / ROUNDS)
                if result is not None:
                    served[name].append(result())
    return {
        name: {
            "calls": len(times),
            "median_us": round(statistics.median(times), 2),
            "p99_us": round(statistics.quantiles(times, n=100)[98], 1),
            "requests_per_second": round(statistics.mean(done for done, _ in served[name])) if served[name] else 0,
            "slowest_answer_ms": round(max(slow for _, slow in served[name]), 1) if served[name] else None,
        }
        for name, times in took.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of metering, each way")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = main(arguments.seconds, arguments.rate)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{'':24} {'calls':>8} {'median us':>10} {'p99 us':>8} {'asked/s':>8} {'slowest ms':>11}")
        for name, one in found.items():
            slowest = "" if one["slowest_answer_ms"] is None else one["slowest_answer_ms"]
            print(
                f"{name:24} {one['calls']:>8,} {one['median_us']:>10} {one['p99_us']:>8} "
                f"{one['requests_per_second']:>8} {slowest:>11}"
            )
