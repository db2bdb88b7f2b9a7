"""Recorded calls beside their estimates, in cells of what makes them alike: what ``estimate.py`` compares.

A recording is a line of JSON: ``endpoint``, ``host_kind``, ``status``, ``request``, ``stream``, ``response_json`` or
``response_sse``, ``usage``.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from openai_meter.core.usage import Usage
from openai_meter.core.usage_objects import read_usage
from openai_meter.usage.endpoints import find
from openai_meter.usage.estimation import Output, estimate_call
from openai_meter.usage.estimation.images import image_size
from openai_meter.usage.responses import ResponseState
from openai_meter.usage.transcript import output_of_answer

ENDPOINTS = {
    "/chat/completions": "chat.completions",
    "/completions": "completions",
    "/responses": "responses",
    "/embeddings": "embeddings",
}


class Line(NamedTuple):
    """One recorded call that tells its usage."""

    id: str
    endpoint: str
    request: dict[str, Any]
    model: str | None
    stream: bool
    usage: Usage
    spoken: tuple[Output, ...]


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


def assemble(row: dict[str, Any]) -> tuple[dict[str, Any], tuple[Output, ...]]:
    """The last answer of a recording (model, usage) and what it says."""
    endpoint = ENDPOINTS[row["endpoint"]]
    if not row["stream"]:
        answer = row["response_json"] if isinstance(row["response_json"], dict) else {}
        return answer, output_of_answer(endpoint, answer)
    reading = ResponseState()
    row_of = find("POST", row["endpoint"])
    for event in events_of(row["response_sse"] or ""):
        row_of.fold(reading, event)
    return {"model": reading.model, "usage": reading.usage}, reading.transcript.outputs()


def events_of(sse: str) -> Iterator[dict[str, Any]]:
    for line in sse.replace("\r\n", "\n").split("\n"):
        if line.startswith("data:") and (text := line[5:].strip()) != "[DONE]":
            try:
                event = json.loads(text)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


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
