"""What a metered call costs: microseconds added per call and per chunk, beside a wrapper that does nothing.

    python benchmarks/overhead.py [--rounds 30] [--json]

The network is cut out below ``request``: what is measured is the way from the SDK's method to its answer, on the same
parsed answer in alternating rounds. Of each round the best of a few short batches counts, so that what else runs on
the machine does not; of the rounds, the median. The noise is the spread of the bare rounds; figures below it mean
nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import wrapt
from openai._base_client import SyncAPIClient
from openai._models import FinalRequestOptions, construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from rich.console import Console
from rich.table import Table

import openai_meter

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 340,
    "total_tokens": 1540,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 256, "audio_tokens": 0},
}
HEAD = {"id": "chatcmpl-0", "created": 1, "model": "gpt-5.4-mini-2026-03-17", "service_tier": "default"}
MESSAGE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Bonjour."}}
DELTA = {"index": 0, "finish_reason": None, "delta": {"content": "Bon"}}
ANSWER: Any = construct_type(type_=ChatCompletion, value={**HEAD, "choices": [MESSAGE], "usage": USAGE})
# More than a meter remembers: what is remembered has to be forgotten as well.
IDS = itertools.cycle([f"chatcmpl-{number}" for number in range(12_000)])
CHUNK: Any = construct_type(type_=ChatCompletionChunk, value={**HEAD, "choices": [DELTA], "usage": None})
LAST: Any = construct_type(type_=ChatCompletionChunk, value={**HEAD, "choices": [], "usage": USAGE})
CHUNKS = 200


class FakeResponse:
    """As much of an HTTP response as watching a stream needs."""

    stream = None


class FakeStream(openai.Stream[Any]):
    """A stream whose chunks are there already."""

    def __init__(self) -> None:
        self.response = FakeResponse()  # type: ignore[assignment]
        self._iterator: Iterator[Any] = iter([CHUNK] * (CHUNKS - 1) + [LAST])


def request(self: Any, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG001
    """Answers at once, through the parser as the SDK does."""
    ANSWER.__dict__["id"] = next(IDS)
    answer = FakeStream() if stream else ANSWER
    return options.post_parser(answer) if callable(options.post_parser) else answer


SyncAPIClient.request = request  # type: ignore[method-assign, assignment]
CLIENT = openai.OpenAI(api_key="none")
OTHER_CLIENT = openai.OpenAI(api_key="none")
BATCHES = 5
BODY = {
    "model": "gpt-5.4-mini",
    "messages": [
        {"role": "system", "content": "You answer in one word."},
        {"role": "user", "content": "How does one greet in French?"},
    ],
}
OPTIONS = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=BODY)


def call() -> None:
    """One plain call."""
    CLIENT.request(ChatCompletion, OPTIONS)


def stream() -> None:
    """One stream, read to its end."""
    for _ in CLIENT.request(ChatCompletionChunk, OPTIONS, stream=True, stream_cls=FakeStream):
        pass


def nothing(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """A wrapper that does nothing."""
    return wrapped(*args, **kwargs)


class Wrapper:
    """The same patch as the meter's, doing nothing."""

    def __enter__(self) -> None:
        wrapt.wrap_function_wrapper(SyncAPIClient, "request", nothing)

    def __exit__(self, *_: object) -> None:
        SyncAPIClient.request = request  # type: ignore[method-assign, assignment]


class Installed:
    """The meter."""

    def __enter__(self) -> None:
        openai_meter.install().settle()  # the price files are read once in a process, beside it

    def __exit__(self, *_: object) -> None:
        openai_meter.uninstall()


class Idle:
    """The meter's patch with nobody listening."""

    def __enter__(self) -> None:
        openai_meter.wrap(OTHER_CLIENT)

    def __exit__(self, *_: object) -> None:
        openai_meter.uninstall()


class Bare:
    """The SDK alone."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def timed(work: Callable[[], None], times: int) -> float:
    """Microseconds per turn, in the best of a few batches."""
    taken = []
    for _ in range(BATCHES):
        start = time.perf_counter()
        for _ in range(times):
            work()
        taken.append(time.perf_counter() - start)
    return min(taken) / times * 1e6


def measure(work: Callable[[], None], times: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds per turn in each way, in alternating rounds."""
    ways = {"bare": Bare(), "no-op wrapper": Wrapper(), "idle": Idle(), "metered": Installed()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            with way:
                taken = timed(work, times)
            if turn:  # the first round warms up
                found[name].append(taken)
    return found


def main() -> None:
    """Measures, and prints a table or JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=30)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    rows = []
    for scenario, work, times, per in (("call", call, 200, 1), ("chunk of a stream of 200", stream, 5, CHUNKS)):
        found = measure(work, times, options.rounds)
        bare = statistics.median(found["bare"])
        for name, taken in found.items():
            low, middle, high = ((one - bare) / per for one in statistics.quantiles(taken, n=4))
            rows.append({"scenario": scenario, "way": name, "low": low, "median": middle, "high": high})
    about = f"openai {openai.__version__}, Python {platform.python_version()}, {platform.machine()}"
    if options.json:
        print(json.dumps({"about": about, "unit": "microseconds added", "rows": rows}, indent=2))
        return
    table = Table("what", "way", "added, median (us)", "quartiles", title=f"Added by metering: {about}")
    for row in rows:
        table.add_row(row["scenario"], row["way"], f"{row['median']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
