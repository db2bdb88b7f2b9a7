"""How many instructions metering takes, beside the bare SDK: a guard against growth that no clock would notice.

    python benchmarks/instructions.py             # counts, and shows
    python benchmarks/instructions.py --check     # fails where something takes 10% more than instructions.json has
    python benchmarks/instructions.py --write     # records what was counted as what is to be held
    python benchmarks/instructions.py --cache-sim # counts the misses of simulated caches too; takes some minutes

Needs ``valgrind``, whose callgrind counts. All is counted after a process has warmed up: what lies between two marks,
of a fixed number of turns. The network is cut out below ``request``, the price files are read before, and the garbage
collector is off. Whole calls of the SDK are counted in a process of their own, with a transport in memory. What counts
is what metering adds, as the ratio to a loop of plain Python that is counted in the same run, so that it matters little
how the interpreter was built. There is a record for each minor version of Python and each generation of openai.

The floor is a minimal wrapper that does by hand what the meter does for a plain chat call: it reads the usage, prices
it, finds the attribution, adds to a sum under a lock and keeps one record. It handles no other case.
"""

from __future__ import annotations

import argparse
import contextvars
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.10
CHUNKS = 200
_WARM = 120
_STREAMS = 6
"""Turns of a stream that are counted. More are run before: what is run once per stream has to warm up too."""
_WARM_STREAMS = 20
_ROUNDS = 3
"""How often a stream is counted."""
_LAPS = 1_000
_MARK = "getppid"
"""The function of the C library that callgrind writes a part at: nothing else calls it."""

# --- what is counted --------------------------------------------------------------------------------------------------

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
QUESTION = "How does one greet in French?"
BODY: dict[str, Any] = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": QUESTION}]}
RESPONSE_BODY = {"model": "gpt-5.4-mini", "input": QUESTION}
RESPONSE = {
    "id": "resp_0", "object": "response", "created_at": 1, "status": "completed", "error": None,
    "model": HEAD["model"], "service_tier": "default", "tools": [], "tool_choice": "auto", "background": False,
    "output": [
        {"id": "rs_0", "type": "reasoning", "summary": []},
        {
            "id": "msg_0", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Bonjour.", "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 1200, "output_tokens": 340, "total_tokens": 1540,
        "input_tokens_details": {"cached_tokens": 1024}, "output_tokens_details": {"reasoning_tokens": 256},
    },
}  # fmt: skip
RESPONSE_DELTA = {
    "type": "response.output_text.delta", "delta": "Bon", "output_index": 1, "content_index": 0, "item_id": "msg_0",
    "logprobs": [], "sequence_number": 4,
}  # fmt: skip
EMBEDDING_BODY = {"model": "text-embedding-3-small", "input": QUESTION}
EMBEDDING = {
    "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8},
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1] * 8}],
}  # fmt: skip


class _Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def plus(self, other: int) -> int:
        return self.x + other


def reference() -> None:
    """The unit: calls, attributes, dicts and integers of plain Python. To be left as it is, or all records are void."""
    found: dict[str, int] = {}
    for number in range(_LAPS):
        point = _Point(number)
        key = "even" if number % 2 == 0 else "odd"
        found[key] = point.plus(found.get(key, 0))


class Scenes(NamedTuple):
    """What is counted, bare and metered."""

    call: Callable[[], Any]
    response: Callable[[], Any]
    embedding: Callable[[], Any]
    async_call: Callable[[], Any]
    stream: Callable[[], Any]
    response_stream: Callable[[], Any]
    async_stream: Callable[[], Any]
    limited_call: Callable[[], Any]
    """A call with a limit of its output, whose bound is small."""
    other: Any
    """Another client than theirs."""


def _answers() -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The answer and the events of each path, as objects of the SDK."""
    from openai._models import construct_type  # noqa: PLC0415 - who only compares needs none of it
    from openai.types import CreateEmbeddingResponse, responses  # noqa: PLC0415
    from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: PLC0415

    def made(kind: Any, value: Any) -> Any:
        return construct_type(type_=kind, value=value)

    chunk = made(ChatCompletionChunk, {**HEAD, "choices": [DELTA], "usage": None})
    last = made(ChatCompletionChunk, {**HEAD, "choices": [], "usage": USAGE})
    delta = made(responses.ResponseTextDeltaEvent, RESPONSE_DELTA)
    done = made(responses.ResponseCompletedEvent, {"type": "response.completed", "response": RESPONSE})
    answers = {
        "/chat/completions": made(ChatCompletion, {**HEAD, "choices": [MESSAGE], "usage": USAGE}),
        "/responses": made(responses.Response, RESPONSE),
        "/embeddings": made(CreateEmbeddingResponse, EMBEDDING),
    }
    events = {
        "/chat/completions": [chunk] * (CHUNKS - 1) + [last],
        "/responses": [delta] * (CHUNKS - 1) + [done],
    }
    return answers, events


def _answer_here() -> None:
    """Replaces ``request`` of the SDK by functions that ask no network."""
    import openai  # noqa: PLC0415
    from openai._base_client import AsyncAPIClient, SyncAPIClient  # noqa: PLC0415

    answers, events = _answers()
    asked = 0

    class Response:
        stream = None

    class Stream(openai.Stream[Any]):
        def __init__(self, url: str) -> None:
            self.response = Response()  # type: ignore[assignment]
            self._iterator = iter(events[url])

    async def as_async(url: str) -> Any:
        for event in events[url]:
            yield event

    class AsyncStream(openai.AsyncStream[Any]):
        def __init__(self, url: str) -> None:
            self.response = Response()  # type: ignore[assignment]
            self._iterator = as_async(url)

    def answer_of(options: Any, stream: bool, kind: Any = Stream) -> Any:
        nonlocal asked
        asked += 1
        answer = kind(options.url) if stream else answers[options.url]
        if "id" in answer.__dict__:
            answer.__dict__["id"] = f"chatcmpl-{asked}"
        return options.post_parser(answer) if callable(options.post_parser) else answer

    def request(_self: Any, _to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG001
        return answer_of(options, stream)

    async def async_request(_self: Any, _to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG001
        return answer_of(options, stream, AsyncStream)

    # They stand for the SDK's own, which are known by the file that they come from.
    for owner, function in ((SyncAPIClient, request), (AsyncAPIClient, async_request)):
        function.__code__ = function.__code__.replace(co_filename=owner.request.__code__.co_filename)
        owner.request = function  # type: ignore[method-assign, assignment, attr-defined]


def scenes() -> Scenes:
    """The scenes below ``request``; from here on, openai asks no network."""
    _answer_here()
    import openai  # noqa: PLC0415
    from openai._models import FinalRequestOptions  # noqa: PLC0415

    client, other = openai.OpenAI(api_key="none"), openai.OpenAI(api_key="none")
    async_client = openai.AsyncOpenAI(api_key="none")

    def options(url: str, body: Mapping[str, Any]) -> Any:
        return FinalRequestOptions.construct(method="post", url=url, json_data=body)

    chat, response = options("/chat/completions", BODY), options("/responses", RESPONSE_BODY)
    limited = options("/chat/completions", {**BODY, "max_completion_tokens": 400})
    include = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    streamed, streamed_response = options("/chat/completions", include), options("/responses", RESPONSE_BODY)

    def async_call() -> None:
        try:
            async_client.request(object, chat).send(None)
        except StopIteration:
            return
        raise AssertionError("the coroutine has not ended")

    def async_stream() -> None:
        async def read() -> None:
            async for _ in await async_client.request(object, streamed, stream=True, stream_cls=openai.AsyncStream):
                pass

        try:
            read().send(None)
        except StopIteration:
            return
        raise AssertionError("the coroutine has not ended")

    def stream(asked: Any) -> None:
        for _ in client.request(object, asked, stream=True, stream_cls=openai.Stream):
            pass

    return Scenes(
        lambda: client.request(object, chat),
        lambda: client.request(object, response),
        lambda: client.embeddings.create(**EMBEDDING_BODY),  # it gives a parser of its own
        async_call,
        lambda: stream(streamed),
        lambda: stream(streamed_response),
        async_stream,
        lambda: client.request(object, limited),
        other,
    )


class _Record(NamedTuple):
    """One record of the floor."""

    started: float
    duration: float
    model: str
    tier: str | None
    response_id: str
    tokens: tuple[int, ...]
    cost: int
    user: str | None


def floor() -> Callable[[], None]:
    """Patches ``request`` with the minimal wrapper; returns what takes it away."""
    import wrapt  # noqa: PLC0415
    from openai._base_client import SyncAPIClient  # noqa: PLC0415

    bare = vars(SyncAPIClient)["request"]
    user: contextvars.ContextVar[str | None] = contextvars.ContextVar("user", default=None)
    prices = {HEAD["model"]: (750, 75, 4_500)}
    records: deque[_Record] = deque(maxlen=10_000)
    sums: dict[tuple[str | None, ...], tuple[int, int, int, int, int]] = {}
    lock = threading.Lock()

    def request(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        started, clock = time.time(), time.perf_counter()
        answer = wrapped(*args, **kwargs)
        duration = time.perf_counter() - clock
        fields = answer.__dict__
        usage = fields["usage"].__dict__
        given, made = usage["prompt_tokens"], usage["completion_tokens"]
        cached = usage["prompt_tokens_details"].__dict__["cached_tokens"]
        reasoning = usage["completion_tokens_details"].__dict__["reasoning_tokens"]
        model, tier, who = fields["model"], fields["service_tier"], user.get()
        rate, cached_rate, out_rate = prices[model]
        cost = (given - cached) * rate + cached * cached_rate + made * out_rate
        record = _Record(started, duration, model, tier, fields["id"], (given, cached, made, reasoning), cost, who)
        key = (model, who)
        with lock:
            before = sums.get(key, (0, 0, 0, 0, 0))
            sums[key] = before[0] + 1, before[1] + given, before[2] + cached, before[3] + made, before[4] + cost
            records.append(record)
        return answer

    wrapt.wrap_function_wrapper(SyncAPIClient, "request", request)

    def remove() -> None:
        SyncAPIClient.request = bare  # type: ignore[method-assign]

    return remove


def sdk_call() -> Callable[[], Any]:
    """A chat call of the real SDK, with a transport that answers from memory."""
    import openai  # noqa: PLC0415
    from openai import _base_client  # noqa: PLC0415

    http: Any = getattr(_base_client, "httpx2", None) or vars(_base_client)["httpx"]
    body = json.dumps({**HEAD, "object": "chat.completion", "choices": [MESSAGE], "usage": USAGE}).encode()

    def answer(_: Any) -> Any:
        return http.Response(200, headers={"content-type": "application/json"}, content=body)

    client = openai.OpenAI(api_key="none", http_client=http.Client(transport=http.MockTransport(answer)))
    return lambda: client.chat.completions.create(**BODY)


def turns(name: str, work: Callable[[], Any], number: int, warm: int = _WARM) -> None:
    """Lets some work be counted: the part that ends at the second mark is its own."""
    for _ in range(warm):
        work()
    os.getppid()
    for _ in range(number):
        work()
    os.getppid()
    print(json.dumps([name, number]), flush=True)


def stream_turns(name: str, work: Callable[[], Any]) -> None:
    """Lets a stream be counted several times, of which the smallest count is taken.

    Two names that meet in the method cache of the interpreter cost up to 2,000 instructions a chunk. Where they lie
    differs from process to process. So the classes of the events get another place each time.
    """
    from openai.types import chat, responses  # noqa: PLC0415

    for number in range(_ROUNDS):
        for kind in (chat.ChatCompletionChunk, chat.chat_completion_chunk.Choice, responses.ResponseTextDeltaEvent):
            type.__setattr__(kind, "__round__", number)
        turns(name, work, _STREAMS, _WARM_STREAMS)


def count_here() -> None:
    """Counts the scenes below ``request``, under callgrind; ends without what interpreters do at their end."""
    import openai_meter  # noqa: PLC0415

    scene = scenes()
    plain = {
        "call": scene.call,
        "response": scene.response,
        "embedding": scene.embedding,
        "async call": scene.async_call,
    }
    streams = {
        "stream": scene.stream,
        "response stream": scene.response_stream,
        "async stream": scene.async_stream,
    }
    gc.collect()
    gc.disable()
    turns("reference", reference, 20, 3)
    for name, work in plain.items():
        turns(f"bare {name}", work, 200)
    for name, work in streams.items():
        stream_turns(f"bare {name}", work)
    remove = floor()
    turns("floor call", scene.call, 200)
    remove()
    openai_meter.wrap(scene.other)
    turns("idle call", scene.call, 200)
    openai_meter.uninstall()
    never = dict.fromkeys(("calls", "cost", "tokens_per_call", "errors"), 10**9)
    meter = openai_meter.install(thresholds=never)
    scene.call()
    while meter.totals.unpriced_calls:
        meter.settle()
    for name, work in plain.items():
        turns(f"metered {name}", work, 200)
    for name, work in streams.items():
        stream_turns(f"metered {name}", work)
    usage, day = meter.calls[-1].usage, datetime.now(UTC)
    book = meter.prices
    turns("pricing", lambda: book.cost_of(usage, HEAD["model"], "openai", "api.openai.com", "default", day), 200)
    assert meter.totals.calls == 1 + len(plain) * (_WARM + 200) + len(streams) * _ROUNDS * (_WARM_STREAMS + _STREAMS)
    assert not meter.totals.unpriced_calls
    _count_budgets(scene, never)
    assert not meter.internal_errors
    os._exit(0)


def _count_budgets(scene: Scenes, never: Any) -> None:
    """Calls that budgets admit, from what this process has of them."""
    import openai_meter  # noqa: PLC0415

    kinds: dict[str, dict[str, Any]] = {"calls": {"calls": 10**12}, "dollars": {"usd": 10**6}}
    meter = openai_meter.install(meter=openai_meter.Meter(thresholds=never))
    scene.limited_call()
    meter.settle()
    turns("limited call", scene.limited_call, 100)
    openai_meter.uninstall()
    with tempfile.TemporaryDirectory() as folder:
        for shared in (False, True):
            for unit, limit in kinds.items():
                budget = openai_meter.Budget(unit, **limit)
                store = f"sqlite:///{folder}/{unit}.db" if shared else None
                meter = openai_meter.Meter(thresholds=never, budgets=[budget], budget_store=store)
                openai_meter.install(meter=meter)
                scene.limited_call()
                meter.settle()  # the prices are read
                turns(f"call under a {'shared ' * shared}budget of {unit}", scene.limited_call, 100)
                assert meter.budgets[unit].held == 0
                openai_meter.uninstall()


def count_sdk_here() -> None:
    """Counts whole calls of the SDK, under callgrind."""
    import openai_meter  # noqa: PLC0415

    call = sdk_call()
    for _ in range(_WARM):
        call()
    gc.collect()
    gc.disable()
    turns("bare SDK call", call, 100)
    meter = openai_meter.install()
    call()
    while meter.totals.unpriced_calls:
        meter.settle()
    turns("metered SDK call", call, 100)
    assert meter.totals.calls == 1 + _WARM + 100
    assert not meter.internal_errors
    os._exit(0)


# --- counting ---------------------------------------------------------------------------------------------------------

_PARTS = ("below", "sdk")
"""The processes that count, by the value of ``--here``."""
_MISSES = {"L1": ("I1mr", "D1mr", "D1mw"), "L2": ("ILmr", "DLmr", "DLmw")}
"""The events of callgrind's simulated caches: the first level, and the last."""


def counted(*, caches: bool = False) -> dict[str, dict[str, float]]:
    """Per turn of everything, by name: instructions (``Ir``), and the events of the caches where they are simulated."""
    found: dict[str, dict[str, float]] = {}
    for part in _PARTS:
        found |= _counted_in(part, caches=caches)
    return found


def _counted_in(part: str, *, caches: bool) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={folder}/out",
             f"--cache-sim={'yes' if caches else 'no'}",
             sys.executable, str(Path(__file__).resolve()), "--here", part],
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENAI_METER_LEDGER": "", "OPENAI_METER_WEBHOOK": ""},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        names = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        totals = [_totals(Path(folder, f"out.{number}")) for number in range(1, 2 * len(names) + 1)]
    if done.returncode or not names:
        raise SystemExit(f"callgrind could not count:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found: dict[str, dict[str, float]] = {}
    for place, (name, number) in enumerate(names):
        events = {event: total / number for event, total in totals[2 * place + 1].items()}
        if name not in found or events["Ir"] < found[name]["Ir"]:  # what is counted several times: the smallest count
            found[name] = events
    return found


def _totals(part: Path) -> dict[str, int]:
    text = part.read_text()
    events = re.search(r"^events: (.+)$", text, re.MULTILINE)
    found = re.search(r"^(?:summary|totals): ([\d ]+)$", text, re.MULTILINE)
    assert events is not None, part
    assert found is not None, part
    return dict(zip(events[1].split(), map(int, found[1].split()), strict=False))


_ADDED = {
    "metered call": ("metered call", "bare call", 1),
    "metered response": ("metered response", "bare response", 1),
    "metered embedding": ("metered embedding", "bare embedding", 1),
    "metered async call": ("metered async call", "bare async call", 1),
    "metered SDK call": ("metered SDK call", "bare SDK call", 1),
    "idle call": ("idle call", "bare call", 1),
    "floor": ("floor call", "bare call", 1),
    "chunk of a stream": ("metered stream", "bare stream", CHUNKS),
    "event of a response": ("metered response stream", "bare response stream", CHUNKS),
    "chunk of an async stream": ("metered async stream", "bare async stream", CHUNKS),
    "pricing": ("pricing", None, 1),
    "budget of calls": ("call under a budget of calls", "limited call", 1),
    "budget of dollars": ("call under a budget of dollars", "limited call", 1),
    "shared budget of calls": ("call under a shared budget of calls", "limited call", 1),
    "shared budget of dollars": ("call under a shared budget of dollars", "limited call", 1),
}
"""What is shown: a scene, what is taken off, and how many parts it has."""


def added(per_turn: Mapping[str, float]) -> dict[str, float]:
    """What metering adds, in instructions, of the scenes that were counted."""
    return {
        name: (per_turn[scene] - (0 if bare is None else per_turn[bare])) / parts
        for name, (scene, bare, parts) in _ADDED.items()
        if scene in per_turn
    }


# --- comparing --------------------------------------------------------------------------------------------------------

_NOT_HELD = frozenset({"metered SDK call", "shared budget of calls", "shared budget of dollars"})
"""Shown, and not compared: the thread of a shared budget may report in between, and a whole SDK call takes so many
instructions that their own variation is some thousands.

52,263 to 70,329 were counted where the scenes below ``request`` did not change by 0.1%.
"""


def compared(now: Mapping[str, float], recorded: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """What is to be said of figures beside those that were recorded: faults, and hints."""
    faults: list[str] = []
    hints: list[str] = []
    for name in sorted({*now, *recorded} - _NOT_HELD):
        if name not in now or name not in recorded:
            where = "recorded but not counted" if name in recorded else "counted but not recorded"
            faults.append(f"{name}: {where}; renew the record with --write")
            continue
        change = now[name] / recorded[name] - 1
        told = f"{name}: {now[name]:.3f} where {recorded[name]:.3f} is recorded ({change:+.1%})"
        if change > TOLERANCE:
            faults.append(f"{told}; make it as quick as it was, or say why not and renew the record with --write")
        elif change < -TOLERANCE:
            hints.append(f"{told}; renew the record with --write, so that this is held")
    return faults, hints


def verdict(now: Mapping[str, float], records: Mapping[str, Mapping[str, float]], about: str) -> tuple[int, list[str]]:
    """The exit code, and what is said."""
    if about not in records:
        there = ", ".join(sorted(records)) or "none"
        return 0, [f"NOTHING WAS COMPARED: there is no record for {about} (there are: {there}); make one with --write"]
    faults, hints = compared(now, records[about])
    said = [f"FAILS: {fault}" for fault in faults] + [f"LESS: {hint}" for hint in hints]
    return int(bool(faults)), said or [f"all within {TOLERANCE:.0%} of what is recorded for {about}"]


def versions() -> str:
    """What the figures depend on."""
    generation = version("openai").partition(".")[0]
    return f"Python {'.'.join(platform.python_version_tuple()[:2])}, openai {generation}"


def _show(about: str, lap: float, instructions: Mapping[str, float], ratios: Mapping[str, float]) -> None:
    print(f"{about}: instructions added; in brackets, the ratio to a lap of {lap:,.0f}")
    for name, ratio in ratios.items():
        print(f"  {name:24} {instructions[name]:10,.0f} ({ratio:.2f})")
    print(f"  a metered call takes {instructions['metered call'] / instructions['floor']:.2f} times the floor")


def _show_misses(counts: Mapping[str, Mapping[str, float]]) -> None:
    print("misses of simulated caches added: first level, last level")
    levels = [
        added({name: sum(events[event] for event in some) for name, events in counts.items()})
        for some in _MISSES.values()
    ]
    for name in levels[0]:
        print(f"  {name:24} {levels[0][name]:10,.0f} {levels[1][name]:10,.0f}")


def main() -> int:
    """Counts, and shows, compares or records."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare with what is recorded")
    arguments.add_argument("--write", action="store_true", help="record what was counted")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--cache-sim", action="store_true", help="count the misses of simulated caches too")
    arguments.add_argument("--here", choices=_PARTS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.here:
        (count_here if options.here == "below" else count_sdk_here)()
    counts = counted(caches=options.cache_sim)
    per_turn = {name: events["Ir"] for name, events in counts.items()}
    about, instructions = versions(), added(per_turn)
    lap = per_turn["reference"] / _LAPS
    ratios = {name: round(one / lap, 3) for name, one in instructions.items()}
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if options.json:
        unit = "instructions added; ratio: to a lap of the reference loop"
        rows = [{"what": name, "instructions": instructions[name], "ratio": ratios[name]} for name in ratios]
        print(json.dumps({"about": about, "unit": unit, "lap": lap, "rows": rows}, indent=2))
    else:
        _show(about, lap, instructions, ratios)
        if options.cache_sim:
            _show_misses(counts)
    if options.write:
        RECORD.write_text(json.dumps({**records, about: ratios}, indent=2, sort_keys=True) + "\n")
    if options.check:
        code, said = verdict(ratios, records, about)
        print("\n".join(said), file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
