"""Reads answers that a program passes to the meter: objects of any SDK version, raw answers, dicts, and look-alikes.

They come without their requests, so the endpoint is found by the fields of the answer.
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

__all__ = ["MANUAL", "ExternalAnswer", "read_external"]

MANUAL = "manual"
"""The endpoint of calls that the program records itself, where nothing shows their endpoint."""

_OTHER = Endpoint(MANUAL, "", "", read_object)
_ROWS = {row.name: row for row in reversed(ENDPOINTS)}  # of the rows of one name, the first is that of the call itself
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
"""The endpoint of an answer by its field ``object``."""
_LISTS = {"choices": "chat.completions", "output": "responses", "results": "moderations"}
"""The endpoint of an answer without that field, by a field that is a list. :func:`_row` distinguishes further lists."""

_NAMES = ("id", "object", "created", "created_at", "model", "service_tier", "status", "usage", "choices", "output")
"""The attributes that are read from an object whose fields are not in its ``__dict__``."""
_COUNTS = (
    "input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens", "seconds",
    "input_tokens_details", "output_tokens_details", "prompt_tokens_details", "completion_tokens_details",
)  # fmt: skip


class ExternalAnswer(NamedTuple):
    """The facts of an answer that the program passed to the meter."""

    endpoint: str
    created: int | float | None
    """When the API says that it made the answer, in Unix seconds."""
    response: ResponseState
    usage: Usage | None

    @classmethod
    def of_usage(cls, usage: Usage, endpoint: str | None = None) -> ExternalAnswer:
        """An answer of which only the usage is known."""
        return cls(endpoint or MANUAL, None, ResponseState(), usage if usage.known else None)


def read_external(
    answer: object, endpoint: str | None = None, request: Mapping[str, Any] | None = None
) -> ExternalAnswer:
    """Reads an answer, which may be empty. Never raises, and reads nothing from the network.

    Args:
        answer: the answer.
        endpoint: its endpoint; by default the fields of the answer decide.
        request: the body of the request, for what is not in the answer: characters of speech, the number of images.
    """
    fields: Mapping[str, Any] = {}
    row = _OTHER if endpoint is None else _ROWS.get(endpoint, _OTHER)
    response = ResponseState()
    try:
        fields = _answer_fields(answer)
        row = _row(fields) if endpoint is None else row
        if row.request is not None and request is not None:
            row.request(response, request)
        row.read(response, fields)
        usage = response.total()
    except Exception as error:
        faults.caught(error, "reading an answer that was passed to the meter")
        response, usage = ResponseState(), None
    created = fields.get("created") or fields.get("created_at")
    return ExternalAnswer(row.name, created if isinstance(created, int | float) else None, response, usage)


def _answer_fields(answer: object) -> Mapping[str, Any]:
    """The fields of an answer."""
    answer = _parsed(answer)
    fields = dict(answer) if isinstance(answer, Mapping) else fields_of(answer)
    inner = fields.get("response")
    if inner is not None and isinstance(kind := fields.get("type"), str) and kind.startswith("response."):
        fields = fields_of(inner)  # the event that ends a stream has the whole response
    elif not isinstance(answer, Mapping) and "usage" not in fields:
        fields = {**_attributes(answer, _NAMES), **fields}
    usage = fields.get("usage")
    if usage is not None and not isinstance(usage, Mapping) and fields_of(usage).keys().isdisjoint(_COUNTS):
        fields = {**fields, "usage": _attributes(usage, _COUNTS)}
    return fields


def _attributes(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Some attributes of an object, without those that cannot be read."""
    found: dict[str, Any] = {}
    for name in names:
        with suppress(Exception):  # a property of the program's class may raise anything
            found[name] = getattr(value, name)
    return found


def _parsed(answer: object) -> object:
    """The content of a raw answer, if its body has been read; anything else is returned as it is."""
    fields = fields_of(answer)
    if (http := fields.get("http_response")) is not None:
        with suppress(Exception):  # the body is not read yet, which is for the program to do; or it is not JSON
            body = json.loads(http.content)
            return body if isinstance(body, dict) else answer
        return {}
    if not isinstance(answer, Mapping) and fields.keys().isdisjoint(_NAMES):
        parse = getattr(type(answer), "parse", None)
        if callable(parse):
            with suppress(Exception):
                parsed = parse(answer)
                if not inspect.iscoroutine(parsed):
                    return parsed
                parsed.close()  # it cannot be awaited here
    return answer


def _row(fields: Mapping[str, Any]) -> Endpoint:
    """The row of the table by which an answer is read."""
    kind = fields.get("object")
    name = _OBJECTS.get(kind) if isinstance(kind, str) else None
    if name is None:
        name = next((endpoint for field, endpoint in _LISTS.items() if isinstance(fields.get(field), list)), None)
    if name is None and isinstance(data := fields.get("data"), list):
        if kind == "list" or (data and "embedding" in fields_of(data[0])):
            name = "embeddings"  # the only list that has a usage
        elif "created" in fields:
            name = "images.generate"
    if name is None and isinstance(fields.get("text"), str):
        name = "audio.transcriptions"
    return _OTHER if name is None else _ROWS[name]
