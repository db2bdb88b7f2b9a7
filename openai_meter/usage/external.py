"""Reads answers that a program hands over, whatever they are: of any SDK version, raw, as dicts, or look-alikes.

What the seam sees comes with its request; these come alone, so that what they are is told by what they look like.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from openai_meter.core import faults
from openai_meter.core.usage import Usage, fields_of
from openai_meter.usage.endpoints import ENDPOINTS, Endpoint
from openai_meter.usage.responses import ResponseState, read_object

__all__ = ["MANUAL", "Handed", "read_handed"]

MANUAL = "manual"
"""The endpoint of calls that the program tells of, and that do not say what they are."""

_OTHER = Endpoint(MANUAL, "", "", read_object)
_ROWS = {row.name: row for row in reversed(ENDPOINTS)}  # of the rows of one name, the first is the one that answers
_OBJECTS = {
    "chat.completion": "chat.completions",
    "chat.completion.chunk": "chat.completions",
    "text_completion": "completions",
    "response": "responses",
    "realtime.response": "responses",
    "response.compaction": "responses.compact",
    "batch": "batches",
    "thread.run": "threads.runs",
    "video": "videos",
}
"""The endpoint of an answer that says what it is, by its field ``object``."""
_SIGNS = {"choices": "chat.completions", "output": "responses", "results": "moderations"}
"""The endpoint of one that does not, by a field that is a list. Further lists are told apart by :func:`_row`."""

_NAMES = ("id", "object", "created", "created_at", "model", "service_tier", "status", "usage", "choices", "output")
"""What is asked of an object that keeps its fields elsewhere than in its ``__dict__``."""
_COUNTS = (
    "input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens", "seconds",
    "input_tokens_details", "output_tokens_details", "prompt_tokens_details", "completion_tokens_details",
)  # fmt: skip


class Handed(NamedTuple):
    """What is known of an answer that was handed over."""

    endpoint: str
    created: int | float | None
    """When the API says that it made the answer, in Unix seconds."""
    response: ResponseState
    usage: Usage | None


def read_handed(answer: object) -> Handed:
    """What an answer says, which may be nothing. Never raises, and leaves what is still to come over the network."""
    said: Mapping[str, Any] = {}
    row = _OTHER
    response = ResponseState()
    try:
        said = _said(answer)
        row = _row(said)
        row.read(response, said)
        usage = response.total()
    except Exception as error:
        faults.caught(error, "reading a response that was handed over")
        response, usage = ResponseState(), None
    created = said.get("created") or said.get("created_at")
    return Handed(row.name, created if isinstance(created, int | float) else None, response, usage)


def _said(answer: object) -> Mapping[str, Any]:
    """The fields of an answer."""
    answer = _parsed(answer)
    said = dict(answer) if isinstance(answer, Mapping) else fields_of(answer)
    inner = said.get("response")
    if inner is not None and isinstance(kind := said.get("type"), str) and kind.startswith("response."):
        said = fields_of(inner)  # the event that ends a stream carries the whole response
    elif not isinstance(answer, Mapping) and "usage" not in said:
        said = {**_asked(answer, _NAMES), **said}
    usage = said.get("usage")
    if usage is not None and not isinstance(usage, Mapping) and fields_of(usage).keys().isdisjoint(_COUNTS):
        said = {**said, "usage": _asked(usage, _COUNTS)}
    return said


def _asked(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Some attributes of an object; one that cannot be read is not there."""
    found: dict[str, Any] = {}
    for name in names:
        with suppress(Exception):  # a property of somebody's class may raise anything
            found[name] = getattr(value, name)
    return found


def _parsed(answer: object) -> object:
    """What a raw answer holds, if its body has been read; anything else is itself."""
    known = fields_of(answer)
    if (http := known.get("http_response")) is not None:
        with suppress(Exception):  # a body that is still to be read is the program's to read; or it is no JSON
            body = json.loads(http.content)
            return body if isinstance(body, dict) else answer
        return {}
    if not isinstance(answer, Mapping) and known.keys().isdisjoint(_NAMES):
        parse = getattr(type(answer), "parse", None)
        if callable(parse):
            with suppress(Exception):
                parsed = parse(answer)
                if not inspect.iscoroutine(parsed):
                    return parsed
                parsed.close()  # nobody can wait for it here
    return answer


def _row(said: Mapping[str, Any]) -> Endpoint:
    """The row of the table by which an answer is read."""
    kind = said.get("object")
    name = _OBJECTS.get(kind) if isinstance(kind, str) else None
    if name is None:
        name = next((sign for field, sign in _SIGNS.items() if isinstance(said.get(field), list)), None)
    if name is None and isinstance(data := said.get("data"), list):
        if kind == "list" or (data and "embedding" in fields_of(data[0])):
            name = "embeddings"  # of all lists, the only one that says what it has used
        elif "created" in said:
            name = "images.generate"
    if name is None and isinstance(said.get("text"), str):
        name = "audio.transcriptions"
    return _OTHER if name is None else _ROWS[name]
