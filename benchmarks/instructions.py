"""How many instructions metering takes, beside the bare SDK: a guard against growth that no clock would notice.

    python benchmarks/instructions.py            # counts, and shows
    python benchmarks/instructions.py --check    # fails where something takes 10% more than instructions.json has
    python benchmarks/instructions.py --write    # records what was counted as what is to be held

Needs ``valgrind``, whose callgrind counts. All is counted in one process, after it has warmed up: what lies between
two marks, of a fixed number of turns. The network is cut out below ``request``, the price files are read before, and
the garbage collector is off. What counts is what metering adds, as the ratio to a loop of plain Python that is counted
beside it, so that it matters little how the interpreter was built. There is a record for each minor version of Python
and each generation of openai.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.10
CHUNKS = 200
_WARM = 120
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
BODY = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "How does one greet in French?"}]}


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


def scenes() -> tuple[Callable[[], Any], Callable[[], Any], Any]:
    """A call, a stream, and another client than theirs; from here on, openai asks no network."""
    # Not at the top: who only compares needs none of it.
    import openai  # noqa: PLC0415
    from openai._base_client import SyncAPIClient  # noqa: PLC0415
    from openai._models import FinalRequestOptions, construct_type  # noqa: PLC0415
    from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: PLC0415

    message, delta = {**HEAD, "choices": [MESSAGE], "usage": USAGE}, {**HEAD, "choices": [DELTA], "usage": None}
    answer: Any = construct_type(type_=ChatCompletion, value=message)
    chunk: Any = construct_type(type_=ChatCompletionChunk, value=delta)
    last: Any = construct_type(type_=ChatCompletionChunk, value={**HEAD, "choices": [], "usage": USAGE})
    asked = 0

    class Response:
        stream = None

    class Stream(openai.Stream[Any]):
        def __init__(self) -> None:
            self.response = Response()  # type: ignore[assignment]
            self._iterator = iter([chunk] * (CHUNKS - 1) + [last])

    def request(_self: Any, _to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG001
        nonlocal asked
        asked += 1
        answer.__dict__["id"] = f"chatcmpl-{asked}"
        found = Stream() if stream else answer
        return options.post_parser(found) if callable(options.post_parser) else found

    # It stands for the SDK's own, which is known by the file that it comes from.
    request.__code__ = request.__code__.replace(co_filename=SyncAPIClient.request.__code__.co_filename)
    SyncAPIClient.request = request  # type: ignore[method-assign, assignment]
    client, other = openai.OpenAI(api_key="none"), openai.OpenAI(api_key="none")
    include = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    plain = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=BODY)
    streamed = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=include)

    def call() -> None:
        client.request(ChatCompletion, plain)

    def stream() -> None:
        for _ in client.request(ChatCompletionChunk, streamed, stream=True, stream_cls=Stream):
            pass

    return call, stream, other


def turns(name: str, work: Callable[[], Any], number: int, warm: int = _WARM) -> None:
    """Lets some work be counted: the part that ends at the second mark is its own."""
    for _ in range(warm):
        work()
    os.getppid()
    for _ in range(number):
        work()
    os.getppid()
    print(json.dumps([name, number]), flush=True)


def count_here() -> None:
    """Does all that is counted, under callgrind; ends without what interpreters do at their end."""
    import openai_meter  # noqa: PLC0415

    call, stream, other = scenes()
    gc.collect()
    gc.disable()
    turns("reference", reference, 20, 3)
    turns("bare call", call, 200)
    turns("bare stream", stream, 4, 3)
    openai_meter.wrap(other)
    turns("idle call", call, 200)
    openai_meter.uninstall()
    never = dict.fromkeys(("calls", "cost", "tokens_per_call", "errors"), 10**9)
    meter = openai_meter.install(thresholds=never)
    call()
    while meter.totals.unpriced_calls:
        meter.settle()
    turns("metered call", call, 200)
    turns("metered stream", stream, 4, 3)
    usage, day = meter.calls[-1].usage, datetime.now(UTC)
    book = meter.prices
    turns("pricing", lambda: book.cost_of(usage, HEAD["model"], "openai", "api.openai.com", "default", day), 200)
    assert meter.totals.calls == 1 + (_WARM + 200) + (3 + 4)
    assert not meter.totals.unpriced_calls
    assert not meter.internal_errors
    os._exit(0)


# --- counting ---------------------------------------------------------------------------------------------------------


def counted() -> dict[str, float]:
    """Instructions per turn of everything, by name."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={folder}/out",
             sys.executable, str(Path(__file__).resolve()), "--here"],
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENAI_METER_LEDGER": "", "OPENAI_METER_WEBHOOK": ""},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        names = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        parts = [_total(Path(folder, f"out.{part}")) for part in range(1, 2 * len(names) + 1)]
    if done.returncode or not names:
        raise SystemExit(f"callgrind could not count:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return {name: parts[2 * place + 1] / number for place, (name, number) in enumerate(names)}


def _total(part: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)$", part.read_text(), re.MULTILINE)
    assert found is not None, part
    return int(found[1])


def added(per_turn: Mapping[str, float]) -> dict[str, float]:
    """What metering adds, in instructions."""
    streams = per_turn["metered stream"] - per_turn["bare stream"]
    return {
        "metered call": per_turn["metered call"] - per_turn["bare call"],
        "idle call": per_turn["idle call"] - per_turn["bare call"],
        "chunk of a stream": streams / CHUNKS,
        "pricing": per_turn["pricing"],
    }


# --- comparing --------------------------------------------------------------------------------------------------------


def compared(now: Mapping[str, float], recorded: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """What is to be said of figures beside those that were recorded: faults, and hints."""
    faults: list[str] = []
    hints: list[str] = []
    for name in sorted({*now, *recorded}):
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


def main() -> int:
    """Counts, and shows, compares or records."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare with what is recorded")
    arguments.add_argument("--write", action="store_true", help="record what was counted")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.here:
        count_here()
    per_turn = counted()
    about, instructions = versions(), added(per_turn)
    lap = per_turn["reference"] / _LAPS
    ratios = {name: round(one / lap, 3) for name, one in instructions.items()}
    records = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if options.json:
        unit = "instructions added; ratio: to a lap of the reference loop"
        rows = [{"what": name, "instructions": instructions[name], "ratio": ratios[name]} for name in ratios]
        print(json.dumps({"about": about, "unit": unit, "lap": lap, "rows": rows}, indent=2))
    else:
        print(f"{about}: instructions added; in brackets, the ratio to a lap of {lap:,.0f}")
        for name, ratio in ratios.items():
            print(f"  {name:20} {instructions[name]:10,.0f} ({ratio:.2f})")
    if options.write:
        RECORD.write_text(json.dumps({**records, about: ratios}, indent=2, sort_keys=True) + "\n")
    if options.check:
        code, said = verdict(ratios, records, about)
        print("\n".join(said), file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
