"""How close the estimates come to what the API has billed: ``python benchmarks/estimate.py [--recordings PATH]``.

Each recorded call of OpenAI and Azure that tells its usage is estimated from its request and its answer's words, with
the usage hidden, and compared. Reasoning that nobody can see is subtracted from the output first. Beside each cell
stand the share of exact counts, the median and the 95th percentile of the error, all in per cent, that earlier rules
reached on a far larger collection ("known": on the calls that they were fitted on / on others of the same projects).

Then the speed, on ordinary and on malicious texts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from openai_meter import vocabulary
from openai_meter.answers import Reading
from openai_meter.endpoints import find
from openai_meter.estimates import Spoken, estimate_call
from openai_meter.estimates.images import image_size
from openai_meter.spoken import spoken_of_answer
from openai_meter.usage import Usage, read_usage

ENDPOINTS = {
    "/chat/completions": "chat.completions",
    "/completions": "completions",
    "/responses": "responses",
    "/embeddings": "embeddings",
}

# Exact %, median and p95 of the absolute error in %: calls that the rules were fitted on, others of the same projects.
KNOWN_INPUT = {
    "ALL / countable": ("80 · 0.0 · 1.7", "90 · 0.0 · 0.3"),
    "ALL / not wholly countable": ("7 · 69.1 · 666.1", "2 · 89.8 · 100.0"),
    "/chat/completions / file": ("0 · 91.3 · 95.2", "0 · 99.8 · 99.8"),
    "/chat/completions / image data": ("100 · 0.0 · 0.0", "51 · 0.0 · 76.9"),
    "/chat/completions / image url/unknown size": ("5 · 190.1 · 1682.8", "32 · 191.0 · 199.7"),
    "/chat/completions / schema": ("33 · 0.5 · 4.0", "36 · 0.6 · 3.0"),
    "/chat/completions / text only": ("98 · 0.0 · 0.0", "95 · 0.0 · 0.0"),
    "/chat/completions / tool history": ("95 · 0.0 · 3.3", "92 · 0.0 · 6.8"),
    "/chat/completions / tools": ("55 · 0.0 · 2.1", "85 · 0.0 · 3.1"),
    "/chat/completions / tools + schema": ("82 · 0.0 · 2.0", "-"),
    "/chat/completions / tools + schema + tool history": ("87 · 0.0 · 1.5", "-"),
    "/chat/completions / tools + tool history": ("56 · 0.0 · 1.3", "69 · 0.0 · 1.0"),
    "/completions / completions": ("85 · 0.0 · 14.4", "24 · 6.1 · 21.6"),
    "/embeddings / embeddings": ("99 · 0.0 · 0.0", "99 · 0.0 · 0.0"),
    "/responses / built-in/custom tools": ("0 · 93.0 · 99.8", "0 · 95.6 · 99.9"),
    "/responses / file": ("0 · 36.8 · 99.8", "0 · 99.8 · 100.0"),
    "/responses / hosted items": ("-", "0 · 20.9 · 25.6"),
    "/responses / image data": ("67 · 0.0 · 0.4", "-"),
    "/responses / image url/unknown size": ("2 · 199.7 · 1602.0", "-"),
    "/responses / reasoning items": ("17 · 56.9 · 88.0", "10 · 5.9 · 93.8"),
    "/responses / schema": ("88 · 0.0 · 1.8", "84 · 0.0 · 73.1"),
    "/responses / server context": ("7 · 55.9 · 99.9", "0 · 79.0 · 99.8"),
    "/responses / text only": ("93 · 0.0 · 41.9", "96 · 0.0 · 0.0"),
    "/responses / tool history": ("41 · 1.7 · 24.3", "-"),
    "/responses / tools": ("85 · 0.0 · 100.0", "74 · 0.0 · 94.8"),
    "/responses / tools + schema": ("87 · 0.0 · 100.0", "-"),
    "/responses / tools + schema + tool history": ("58 · 0.0 · 1.6", "-"),
    "/responses / tools + tool history": ("58 · 0.0 · 8.5", "59 · 0.0 · 4.5"),
}
KNOWN_OUTPUT = {
    "ALL / no reasoning": ("72 · 0.0 · 25.0", "82 · 0.0 · 7.7"),
    "ALL / reasoning": ("57 · 0.0 · 65.0", "34 · 6.4 · 86.4"),
    "/chat/completions / gpt-3.5 / no reasoning": ("86 · 0.0 · 11.1", "95 · 0.0 · 0.0"),
    "/chat/completions / gpt-3.5 / stream, no reasoning": ("41 · 4.7 · 33.3", "81 · 0.0 · 10.0"),
    "/chat/completions / gpt-4 / no reasoning": ("83 · 0.0 · 41.7", "94 · 0.0 · 5.6"),
    "/chat/completions / gpt-4 / stream, no reasoning": ("92 · 0.0 · 40.0", "87 · 0.0 · 7.1"),
    "/chat/completions / gpt-4.1 / no reasoning": ("61 · 0.0 · 14.3", "96 · 0.0 · 0.0"),
    "/chat/completions / gpt-4.1 / stream, no reasoning": ("32 · 5.0 · 41.0", "25 · 3.7 · 12.5"),
    "/chat/completions / gpt-4o / no reasoning": ("83 · 0.0 · 7.1", "78 · 0.0 · 9.5"),
    "/chat/completions / gpt-4o / stream, no reasoning": ("75 · 0.0 · 12.5", "31 · 1.9 · 10.0"),
    "/chat/completions / gpt-5 / no reasoning": ("51 · 0.0 · 85.7", "0 · 20.7 · 25.0"),
    "/chat/completions / gpt-5 / stream, no reasoning": ("4 · 20.0 · 150.0", "11 · 23.1 · 42.9"),
    "/chat/completions / gpt-5 / stream, reasoning": ("64 · 0.0 · 6.7", "48 · 1.2 · 8.3"),
    "/chat/completions / gpt-5 / reasoning": ("71 · 0.0 · 17.4", "81 · 0.0 · 6.0"),
    "/chat/completions / gpt-5-chat / no reasoning": ("-", "77 · 0.0 · 0.7"),
    "/chat/completions / gpt-5.x / no reasoning": ("57 · 0.0 · 60.0", "-"),
    "/chat/completions / gpt-5.x / stream, no reasoning": ("86 · 0.0 · 25.0", "-"),
    "/chat/completions / gpt-5.x / reasoning": ("44 · 2.9 · 37.5", "-"),
    "/chat/completions / o-series / stream, reasoning": ("-", "0 · 30.4 · 47.6"),
    "/chat/completions / o-series / reasoning": ("2 · 5.0 · 37.5", "0 · 12.5 · 47.6"),
    "/completions / base / no reasoning": ("52 · 0.0 · 40.0", "17 · 4.1 · 25.0"),
    "/completions / gpt-3.5 / no reasoning": ("97 · 0.0 · 0.0", "100 · 0.0 · 0.0"),
    "/responses / gpt-4 / no reasoning": ("14 · 2.2 · 11.1", "0 · 9.1 · 10.0"),
    "/responses / gpt-4.1 / no reasoning": ("60 · 0.0 · 25.6", "54 · 0.0 · 25.8"),
    "/responses / gpt-4.1 / stream, no reasoning": ("53 · 0.0 · 68.7", "64 · 0.0 · 56.2"),
    "/responses / gpt-4o / no reasoning": ("70 · 0.0 · 20.0", "80 · 0.0 · 16.7"),
    "/responses / gpt-4o / stream, no reasoning": ("59 · 0.0 · 36.3", "61 · 0.0 · 78.6"),
    "/responses / gpt-5 / no reasoning": ("25 · 11.1 · 78.6", "26 · 22.2 · 74.1"),
    "/responses / gpt-5 / stream, no reasoning": ("27 · 20.0 · 84.8", "17 · 12.5 · 74.4"),
    "/responses / gpt-5 / stream, reasoning": ("46 · 3.3 · 85.1", "28 · 40.5 · 81.8"),
    "/responses / gpt-5 / reasoning": ("44 · 7.9 · 76.2", "24 · 62.1 · 100.0"),
    "/responses / gpt-5.x / no reasoning": ("72 · 0.0 · 40.0", "69 · 0.0 · 100.0"),
    "/responses / gpt-5.x / stream, no reasoning": ("73 · 0.0 · 76.7", "83 · 0.0 · 9.1"),
    "/responses / gpt-5.x / stream, reasoning": ("75 · 0.0 · 74.8", "60 · 0.0 · 9.7"),
    "/responses / gpt-5.x / reasoning": ("42 · 1.4 · 78.0", "25 · 2.7 · 10.9"),
    "/responses / o-series / stream, no reasoning": ("-", "13 · 5.0 · 81.9"),
    "/responses / o-series / stream, reasoning": ("26 · 11.6 · 171.4", "29 · 10.5 · 80.0"),
    "/responses / o-series / reasoning": ("6 · 3.0 · 84.8", "16 · 29.6 · 250.0"),
}


# --- recordings -------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One recorded call that tells its usage."""

    id: str
    endpoint: str
    request: dict[str, Any]
    model: str | None
    stream: bool
    usage: Usage
    spoken: tuple[Spoken, ...]


def read_lines(path: Path) -> Iterator[Line]:
    """The recorded calls that can be compared: OpenAI's and Azure's, answered, with usage."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        with file.open(encoding="utf-8") as rows:
            for row in rows:
                if row.strip() and (line := read_line(json.loads(row))) is not None:
                    yield line


def read_line(row: dict[str, Any]) -> Line | None:
    if row["host_kind"] not in ("openai", "azure") or row["endpoint"] not in ENDPOINTS or row["status"] >= 400:
        return None
    if not isinstance(row["request"], dict) or not isinstance(row["usage"], list):
        return None
    answer, spoken = assemble(row)
    usage = read_usage(answer.get("usage"))
    if usage is None or not usage.total_tokens:
        return None
    return Line(
        row["id"], row["endpoint"], row["request"], answer.get("model") or row["model"], row["stream"], usage, spoken
    )


def assemble(row: dict[str, Any]) -> tuple[dict[str, Any], tuple[Spoken, ...]]:
    """The last answer of a recording (model, usage) and what it says."""
    endpoint = ENDPOINTS[row["endpoint"]]
    if not row["stream"]:
        answer = row["response_json"] if isinstance(row["response_json"], dict) else {}
        return answer, spoken_of_answer(endpoint, answer)
    reading = Reading()
    row_of = find("POST", row["endpoint"])
    for event in events_of(row["response_sse"] or ""):
        row_of.fold(reading, event)
    return {"model": reading.model, "usage": reading.usage}, reading.heard.spoken()


def events_of(sse: str) -> Iterator[dict[str, Any]]:
    for line in sse.replace("\r\n", "\n").split("\n"):
        if line.startswith("data:") and (text := line[5:].strip()) != "[DONE]":
            try:
                event = json.loads(text)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


# --- cells ------------------------------------------------------------------------------------------------------------

UNCOUNTABLE = {
    "audio",
    "file",
    "image url/unknown size",
    "built-in/custom tools",
    "hosted items",
    "reasoning items",
    "server context",
}


def parts_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    items = request.get("messages") or request.get("input")
    found = []
    for item in items if isinstance(items, list) else ():
        content = item.get("content") if isinstance(item, dict) else None
        found += [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return found


def special(line: Line) -> str | None:
    """What makes the input not wholly countable, or an image."""
    request, kinds = line.request, {part.get("type", "") for part in parts_of(line.request)}
    items = request.get("input") if isinstance(request.get("input"), list) else []
    types = {item.get("type") or "message" for item in items if isinstance(item, dict)}
    tools = [tool for tool in request.get("tools") or () if isinstance(tool, dict)]
    elsewhere = any(request.get(key) for key in ("previous_response_id", "conversation", "prompt"))
    if elsewhere and line.endpoint == "/responses":
        return "server context"
    if any(tool.get("type", "function") != "function" for tool in tools) or "web_search_options" in request:
        return "built-in/custom tools"
    if kinds & {"input_audio", "audio"} or "audio" in (request.get("modalities") or ()):
        return "audio"
    if kinds & {"file", "input_file"}:
        return "file"
    if "reasoning" in types:
        return "reasoning items"
    if types - {"message", "function_call", "function_call_output"}:
        return "server context" if "item_reference" in types else "hosted items"
    images = [part for part in parts_of(request) if part.get("type") in ("image_url", "input_image")]
    if images:
        urls = [image.get("image_url") for image in images]
        urls = [(url or {}).get("url") if not isinstance(url, str) else url for url in urls]
        return (
            "image data" if all(isinstance(url, str) and image_size(url) for url in urls) else "image url/unknown size"
        )
    return None


def feature(line: Line) -> str:
    """The group of the input."""
    if line.endpoint in ("/embeddings", "/completions"):
        return line.endpoint[1:]
    if (name := special(line)) is not None:
        return name
    request = line.request
    form = request.get("response_format") or (request.get("text") or {}).get("format") or {}
    items = request.get("messages") or request.get("input")
    history = isinstance(items, list) and any(
        isinstance(item, dict)
        and (item.get("role") in ("tool", "function") or item.get("tool_calls") or item.get("type") == "function_call")
        for item in items
    )
    names = [
        "tools" if request.get("tools") or request.get("functions") else "",
        "schema" if form.get("type") == "json_schema" else "",
        "tool history" if history else "",
    ]
    return " + ".join(filter(None, names)) or "text only"


def group(model: str | None) -> str:
    """The model's group of the output."""
    name = (model or "").lower()
    for start, found in (
        ("gpt-3", "gpt-3.5"), ("gpt-4o", "gpt-4o"), ("gpt-4.1", "gpt-4.1"), ("gpt-4", "gpt-4"),
        ("gpt-5-chat", "gpt-5-chat"), ("gpt-5.", "gpt-5.x"), ("gpt-5", "gpt-5"), ("o", "o-series"),
        ("davinci", "base"), ("babbage", "base"),
    ):  # fmt: skip
        if name.startswith(start):
            return found
    return "other"


class Pair(NamedTuple):
    """An estimate beside what was billed."""

    id: str
    estimated: int | None
    billed: int

    @property
    def error(self) -> float:
        return 100 * abs((self.estimated or 0) - self.billed) / max(self.billed, 1)


def compare(lines: list[Line]) -> tuple[dict[str, list[Pair]], dict[str, list[Pair]]]:
    """Input and output by cell."""
    inputs: dict[str, list[Pair]] = defaultdict(list)
    outputs: dict[str, list[Pair]] = defaultdict(list)
    for line in lines:
        estimate = estimate_call(ENDPOINTS[line.endpoint], line.request, line.spoken, line.model, wait=True)
        if line.usage.input_tokens is not None:
            pair = Pair(line.id, estimate.usage.input_tokens, line.usage.input_tokens)
            name = feature(line)
            inputs[f"ALL / {'not wholly ' if name in UNCOUNTABLE else ''}countable"].append(pair)
            inputs[f"{line.endpoint} / {name}"].append(pair)
            inputs[f"{line.endpoint} / {name} / {group(line.model)}"].append(pair)
        billed = (line.usage.output_tokens or 0) - line.usage.reasoning_tokens
        if line.endpoint == "/embeddings" or billed < 0 or not line.spoken or special(line) == "audio":
            continue
        pair = Pair(line.id, (estimate.usage.output_tokens or 0) - estimate.usage.reasoning_tokens, billed)
        kind = "reasoning" if line.usage.reasoning_tokens else "no reasoning"
        outputs[f"ALL / {kind}"].append(pair)
        outputs[f"{line.endpoint} / {group(line.model)} / {'stream, ' if line.stream else ''}{kind}"].append(pair)
    return inputs, outputs


def figures(pairs: list[Pair]) -> dict[str, float]:
    errors = sorted(pair.error for pair in pairs)
    return {
        "n": len(pairs),
        "exact": round(100 * sum(pair.estimated == pair.billed for pair in pairs) / len(pairs), 1),
        "median": round(statistics.median(errors), 2),
        "p95": round(errors[min(int(0.95 * len(errors)), len(errors) - 1)], 1),
    }


# --- speed ------------------------------------------------------------------------------------------------------------

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it thinks about what it has done. " * 12
TEXTS = {
    "English, 1,000 characters": ENGLISH[:1000],
    "Chinese, 1,000 characters": "今天天气很好我们去公园散步然后喝一杯咖啡再回家看书" * 40,
    "English, 10 MB": ENGLISH * 10_000,
    "Chinese, 10 MB": "今天天气很好我们去公园散步然后喝一杯咖啡" * 500_000,
    "a x 1,000,000": "a" * 1_000_000,
    "blanks x 1,000,000": " " * 1_000_000,
    "^ x 1,000,000": "^" * 1_000_000,
    "line ends x 1,000,000": "\n" * 1_000_000,
    "emoji x 1,000,000": "😀" * 1_000_000,
}


def speeds() -> dict[str, float]:
    """Milliseconds to estimate a chat completion with each text, best of five."""
    found = {}
    for name, text in TEXTS.items():
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
        times = []
        for _ in range(5):
            start = time.perf_counter()
            estimate_call("chat.completions", body, None, None)
            times.append(time.perf_counter() - start)
        found[name] = round(min(times) * 1e3, 3)
    return found


# --- output -----------------------------------------------------------------------------------------------------------


def show(title: str, cells: dict[str, list[Pair]], known: dict[str, tuple[str, str]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table(title=title, title_justify="left")
    table.add_column("Cell", overflow="fold")
    for header in ("n", "exact %", "median %", "p95 %", "known: fitted", "known: others"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, pairs in sorted(cells.items()):
        said = figures(pairs)
        table.add_row(name, *(f"{said[key]:g}" for key in ("n", "exact", "median", "p95")), *known.get(name, ("", "")))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--recordings", default=os.environ.get("OPENAI_METER_RECORDINGS"), metavar="PATH")
    parser.add_argument("--json", action="store_true", help="write everything as JSON")
    parser.add_argument("--misses", metavar="CELL", help="write the misses of one cell instead: id, estimated, billed")
    options = parser.parse_args()
    for row in vocabulary.warm():
        if not row.loaded:
            sys.exit(f'there is no vocabulary {row.name} here: pip install "openai-meter[offline]"')
    if not options.recordings:
        sys.exit("name the recordings: --recordings PATH.jsonl, or OPENAI_METER_RECORDINGS")
    lines = list(read_lines(Path(options.recordings)))
    start = time.perf_counter()
    inputs, outputs = compare(lines)
    took = time.perf_counter() - start
    if options.misses:
        for pair in (inputs | outputs)[options.misses]:
            if pair.estimated != pair.billed:
                print(pair.id, pair.estimated, pair.billed)
    elif options.json:
        cells = {
            key: {name: figures(pairs) for name, pairs in found.items()}
            for key, found in (("input", inputs), ("output", outputs))
        }
        json.dump(cells | {"milliseconds": speeds(), "calls": len(lines)}, sys.stdout, indent=2)
    else:
        show("Input tokens", inputs, KNOWN_INPUT)
        show("Output tokens without reasoning", outputs, KNOWN_OUTPUT)
        print(f"{len(lines)} calls estimated, {took / max(len(lines), 1) * 1e3:.2f} ms each\n")
        for name, milliseconds in speeds().items():
            print(f"{name:<28}{milliseconds:>10.3f} ms")


if __name__ == "__main__":
    main()
