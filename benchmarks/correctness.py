"""What the meter and its rivals make of each shape of call: a table of ✓ and ✗.

    python benchmarks/correctness.py [--against NAME... | all] [--shape TEXT...] [--why] [--json]

Each shape is played by a sync and an async client, over an API inside the process: first with the bare SDK, then
instrumented, in the same process. ✓ says that the program saw, with both clients, what it sees with the bare SDK, sent
the same requests, and that each billed call left one record with the tokens that the API said. Where the API said none
any number will do, an estimate too, or none where nobody can know. ✗ is anything else; ``--why`` and ``--json`` say
what. A rival is asked for records of calls and their tokens only: also where it does not mean to support a shape, a
call of that shape is not in its sums.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""The seconds that a shape may take, and the start of a process."""
HANGS = "hangs"


# --- the judge --------------------------------------------------------------------------------------------------------


def verdict(bare: Any, found: Any, expected: Sequence[tuple[Any, Any]], seen: Sequence[tuple[Any, Any]]) -> str:
    """What is wrong with a performance (`call_shapes.Performance`) and its records; nothing if all is right."""
    if bare.error is not None:
        return f"cannot be played with the bare SDK: {bare.error}"
    if found.error is not None:
        return f"breaks the program: {found.error}"
    if problem := _unlike(bare.observed, found.observed):
        return problem
    # In any order: calls at the same time may overtake each other.
    if sorted(map(repr, bare.sent)) != sorted(map(repr, found.sent)):
        return f"sends {len(found.sent)} requests, not {len(bare.sent)}" if len(bare.sent) != len(found.sent) else (
            "changes the request"
        )  # fmt: skip
    # More than is expected may be told as long as it is nothing that adds to a sum.
    telling = [record for record in seen if any(record)]
    seen = [*telling, *[record for record in seen if not any(record)][: max(0, len(expected) - len(telling))]]
    if len(seen) != len(expected):
        return f"{len(seen)} records, not {len(expected)}"
    for record, tokens in zip(seen, expected, strict=True):
        if not all(_right(*pair) for pair in zip(record, tokens, strict=True)):
            told = "/".join("?" if count is None else str(count) for count in record)
            return f"tokens {told}, not {'/'.join(map(str, tokens))}"
    return ""


def _unlike(bare: list[Any], found: list[Any]) -> str:
    for number, (one, other) in enumerate(zip(bare, found, strict=False)):
        if one[0][0] not in other[0]:
            return f"the program gets {other[0][0]} for {one[0][0]}"
        if one[1:] != other[1:]:
            parts = [key for key in one[1] if one[1][key] != other[1].get(key)] if isinstance(one[1], dict) else []
            text = f" ({', '.join(parts)})" if parts else f": {str(other[1])[:120]}"
            return f"the program sees another {one[0][0].rpartition('.')[2]} as thing {number + 1}{text}"
    if len(bare) != len(found):
        return f"the program sees {len(found)} things, not {len(bare)}"
    return ""


def _right(count: Any, told: Any) -> bool:
    if told == "any":
        return True
    if told == "some":
        return isinstance(count, int) and count > 0
    return count == told or (told == 0 and count is None)


# --- in the process of a way ------------------------------------------------------------------------------------------


class _Bare:
    """Nothing at all: only what the program sees can be compared."""

    def client(self, plain: Any) -> Any:
        return plain

    def forget(self) -> None:
        pass

    flush = forget
    seen = None


class _Meter:
    """``openai_meter.install()``."""

    def __init__(self) -> None:
        import openai_meter  # noqa: PLC0415 - is not there in the environments of rivals

        self._meter = openai_meter.install()

    def client(self, plain: Any) -> Any:
        return plain

    def seen(self) -> list[tuple[int | None, int | None]]:
        self._meter.settle()
        return [(call.usage.input_tokens, call.usage.output_tokens) for call in self._meter.calls]

    def forget(self) -> None:
        self._meter.reset()

    def flush(self) -> None:
        pass


def begin_of(way: str) -> Callable[[], Any]:
    """What begins a way: ``bare``, ``openai_meter``, a rival, or ``module:function``."""
    if ":" in way:
        module, _, name = way.partition(":")
        return getattr(importlib.import_module(module), name)
    if way in ("bare", "openai_meter"):
        return _Bare if way == "bare" else _Meter
    from rivals import RIVALS  # noqa: PLC0415

    return RIVALS[way].begin


def judged(begin: Callable[[], Any], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Plays these shapes, bare and instrumented; yields each with what is wrong, empty if nothing is."""
    from call_shapes import SHAPES, Player  # noqa: PLC0415

    shapes = [shape for shape in SHAPES if shape.name in names]
    kinds = {shape.name: [kind for kind in ("sync", "async") if shape.kinds in (kind, "both")] for shape in shapes}
    bare = {}
    for shape in shapes:
        for kind in kinds[shape.name]:
            player = Player(shape.name, is_async=kind == "async")
            player.begin()
            bare[shape.name, kind] = player.perform(shape)
    players = {place: Player(place[0], is_async=place[1] == "async") for place in bare}
    recorder = begin()
    for shape in shapes:
        problems = []
        for kind in kinds[shape.name]:
            player = players.pop((shape.name, kind))
            player.begin(recorder.client)
            gc.collect()  # what a shape has abandoned is recorded before the next one begins
            recorder.flush()
            recorder.forget()
            found = player.perform(shape)
            recorder.flush()
            seen = shape.records if recorder.seen is None else recorder.seen()
            if problem := verdict(bare[shape.name, kind], found, shape.records, seen):
                problems.append((kind, problem))
        yield shape.name, _both(problems, kinds[shape.name])


def _both(problems: list[tuple[str, str]], kinds: list[str]) -> str:
    if len(problems) == len(kinds) and len({problem for _, problem in problems}) == 1:
        return problems[0][1]
    return "; ".join(f"{kind}: {problem}" for kind, problem in problems)


def work(way: str, names: Sequence[str]) -> None:
    """Says in lines of JSON what is wrong with each shape."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what guests of the SDK print is no answer
    warnings.simplefilter("ignore")
    from rivals import REACHED, stay_here  # noqa: PLC0415

    stay_here()
    try:
        for name, problem in judged(begin_of(way), names):
            answers.write(json.dumps({"shape": name, "problem": problem}) + "\n")
        answers.write(json.dumps({"reached": sorted(set(REACHED))}) + "\n")
    except Exception as error:
        answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}) + "\n")
    answers.flush()
    os._exit(0)  # whatever its threads still want to send


# --- outside of it ----------------------------------------------------------------------------------------------------


def found_by(way: str, python: str | Path, names: Sequence[str], patience: float = PATIENCE) -> dict[str, str]:
    """What is wrong with each shape in a way; one that hangs or ends the process is left out of the next one."""
    found: dict[str, str] = {}
    while left := [name for name in names if name not in found]:
        before = len(found)
        process = subprocess.Popen(
            [python, __file__, "--work", way, *left], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said: list[str] = []
        drain = threading.Thread(target=lambda p=process, s=said: s.extend(p.stderr))
        drain.start()
        late = threading.Event()
        error = None
        while True:
            timer = threading.Timer(patience if len(found) > before else 3 * patience, _stop, (process, late))
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            told = json.loads(line) if line else {}
            if "shape" not in told:
                error = told.get("error")
                break
            found[told["shape"]] = told["problem"]
        process.kill()
        process.wait()
        drain.join()
        process.stdout.close()
        process.stderr.close()
        left = [name for name in names if name not in found]
        if error is not None or (left and len(found) == before and not late.is_set()):
            return found | dict.fromkeys(left, f"could not be started: {error or _last(said)}")
        if left:
            found[left[0]] = HANGS if late.is_set() else f"ends the process: {_last(said)}"
    return found


def _stop(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


def _last(lines: list[str]) -> str:
    return lines[-1].strip()[:200] if lines else "it said nothing"


def main() -> None:
    """Plays all of it, and prints."""
    from call_shapes import SHAPES  # noqa: PLC0415
    from environments import python_for, versions  # noqa: PLC0415
    from harness import Report, machine, named  # noqa: PLC0415
    from rivals import RIVALS  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", nargs="+", default=[], metavar="NAME", help=f"all, or of {', '.join(RIVALS)}")
    parser.add_argument("--shape", nargs="+", default=[""], metavar="TEXT", help="only shapes with such names")
    parser.add_argument("--why", action="store_true", help="say what is wrong with each ✗")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    names = [shape.name for shape in SHAPES if any(text in shape.name for text in options.shape)]
    ways = ["openai_meter", *(RIVALS if options.against == ["all"] else named(options.against, RIVALS, "rival"))]
    report = Report("What is seen and recorded", ["shape", *ways], machine("openai"))
    found: dict[str, dict[str, str]] = {}
    for way in ways:
        print(f"playing {len(names)} shapes: {way}", file=sys.stderr)
        try:
            python = python_for(way, RIVALS[way].packages) if way in RIVALS else Path(sys.executable)
            found[way] = found_by(way, python, names)
            if way in RIVALS:
                told = versions(python, (RIVALS[way].packages[0], "openai"))
                report.notes.append(f"{way}: {', '.join(f'{name} {version}' for name, version in told.items())}")
        except Exception as error:
            found[way] = dict.fromkeys(names, f"could not be tried: {error}"[:300])
    mark = (
        (lambda problem: f"✗ {problem}" if problem else "✓")
        if options.json
        else (lambda problem: "✗" if problem else "✓")
    )
    for name in names:
        report.add(name, *(mark(found[way][name]) for way in ways))
    report.add("✓ of all", *(sum(not problem for problem in found[way].values()) for way in ways))
    if options.why:
        report.notes += [f"{way}, {name}: {text}" for way in ways for name, text in found[way].items() if text]
    report.show(as_json=options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3:])
    else:
        main()
