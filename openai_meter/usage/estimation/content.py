"""The content of messages (text, images, what cannot be counted), and tool calls in the form that all endpoints use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.families import Traits
from openai_meter.usage.estimation.images import image_size, image_tokens
from openai_meter.usage.estimation.request_values import compact, fields, is_iterator, listed, plain, text_of

__all__ = ["Content", "arguments_of", "called", "calls_tokens", "read_content", "results_tokens"]

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal", "summary_text": "text"}
_IMAGES = frozenset({"image_url", "input_image", "image"})
_AUDIO = frozenset({"input_audio", "audio"})
_LONGEST = 200_000
"""Characters of arguments beyond which they are counted as they are, not as compact JSON."""


class Content:
    """The content of a message: runs of text (an image ends a run), and the tokens of its images."""

    __slots__ = ("images", "runs")

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.images = 0

    @property
    def text(self) -> str:
        """All text, joined."""
        return "".join(self.runs)

    def tokens(self, counter: Counter) -> int:
        """The tokens of text and images."""
        return sum(map(counter.tok, self.runs)) + self.images


def read_content(content: object, model: Traits, counter: Counter) -> Content:
    """Reads the content of a message: a string, or a list of parts. What cannot be counted is noted in the counter."""
    read = Content()
    if isinstance(content, str):
        read.runs.append(text_of(content))
        return read
    if is_iterator(content) and not (single := fields(content)).get("type"):
        counter.unknown.add("unreadable input")
        return read
    parts = listed(content) or ([single] if is_iterator(content) else ())
    run: list[str] = []
    for part in parts:
        if isinstance(part, str):
            run.append(text_of(part))
            continue
        part_fields = fields(part)
        kind = part_fields.get("type")
        kind = kind if isinstance(kind, str) else ""
        if (field := _TEXTS.get(kind)) is not None:
            run.append(text_of(part_fields.get(field)))
        elif kind in _IMAGES:
            read.runs.append("".join(run))
            run.clear()
            read.images += _image(part_fields, model, counter)
        else:
            counter.unknown.add("audio" if kind in _AUDIO else "file" if "file" in kind else "unreadable input")
    read.runs.append("".join(run))
    return read


def _image(part: Mapping[str, Any], model: Traits, counter: Counter) -> int:
    image = part.get("image_url")
    inner = fields(image)
    url = text_of(image) or text_of(inner.get("url"))
    detail = part.get("detail") or inner.get("detail")
    size = image_size(url)
    if size is None and not (detail == "low" and hasattr(model.images, "base")):
        counter.unknown.add("image size")
    return image_tokens(model.images, size, detail)


def called(call: object) -> tuple[str, object]:
    """Name and arguments of a tool call, or of a legacy function call."""
    call_fields = fields(call)
    inner = fields(call_fields.get("function")) or fields(call_fields.get("custom")) or call_fields
    arguments = inner.get("arguments")
    return text_of(inner.get("name")), inner.get("input") if arguments is None else arguments


def arguments_of(arguments: object) -> str:
    """Arguments as compact JSON; as they are if they are not JSON."""
    if isinstance(arguments, str):
        text = text_of(arguments)
        if len(text) > _LONGEST:
            return text
        try:
            return compact(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return "" if arguments is None else compact(plain(arguments)[0])


def calls_tokens(calls: Sequence[tuple[str, object]], counter: Counter) -> int:
    """The tokens of several calls in one message, as the server wraps them."""
    uses = (
        f'{{"recipient_name":"functions.{name}","parameters":{arguments_of(arguments)}}}' for name, arguments in calls
    )
    return counter.tok(f'{{"tool_uses":[{",".join(uses)}]}}')


def results_tokens(results: Sequence[str], counter: Counter) -> int:
    """The tokens of the results of calls that one message made: the server shows them as one list.

    It is written as Python's ``json.dumps`` writes it: results that are JSON are parsed and written again.
    """
    return counter.tok(f"[{', '.join(map(_rewritten, results))}]") + 4 if results else 0


def _rewritten(result: str) -> str:
    if len(result) <= _LONGEST:
        try:
            return json.dumps(json.loads(result))
        except (ValueError, RecursionError):
            pass
    return json.dumps(result, ensure_ascii=False)
