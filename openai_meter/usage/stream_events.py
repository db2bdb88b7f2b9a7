"""Folders of stream events: each reads one event of a stream (the SDK's object, or a dict) into a ``ResponseState``.

Which of them serves which endpoint stands in ``endpoints.py``. They run once per event on the consumer's path, and read
``__dict__`` alone: asking a pydantic model for a field that it lacks costs more than everything else here together.
``text_deltas.py`` has the quick ways in front of two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai_meter.core.usage import fields_of
from openai_meter.core.usage_objects import merge_usage
from openai_meter.usage.responses import (
    RESPONSE_STATES,
    Fields,
    ResponseState,
    read_common,
    read_each_choice,
    read_error,
    read_item,
    read_nested_usage,
    read_response,
    read_run,
    read_session,
    text_or_none,
)

__all__ = [
    "RESPONSE_PIECES",
    "fold_choices",
    "fold_image",
    "fold_response",
    "fold_run",
    "fold_session",
    "fold_speech",
    "fold_transcript",
]

_NOTHING: Fields = {}


def fold_choices(response: ResponseState, chunk: Any) -> None:
    """Reads a chunk of a chat completion or a completion.

    Usage may come on a chunk of its own, on the one with the finish reason, on every chunk (growing), or followed by
    more content: the last figures count. Azure's first chunk has neither model nor choices.
    """
    fields = chunk if type(chunk) is dict else getattr(chunk, "__dict__", _NOTHING)
    usage = fields.get("usage")
    if usage is not None:
        response.usage = usage if response.usage is None else merge_usage(response.usage, usage)
    choices = fields.get("choices")
    if choices and type(choices) is list:
        ended = None
        for choice in choices:
            choice_fields = choice if type(choice) is dict else getattr(choice, "__dict__", _NOTHING)
            response.transcript.add_choice(choice_fields)
            ended = ended or choice_fields.get("finish_reason")
        if ended is not None:
            read_each_choice(response, choices)
    elif type(chunk) is dict and chunk.get("error") is not None:
        read_error(response, chunk["error"])  # the SDK raises an error for it instead of making a chunk
    if response.model is None or response.response_id is None:
        read_common(response, fields_of(chunk))
    tier = fields.get("service_tier")
    if tier is not None:
        response.service_tier = text_or_none(tier) or response.service_tier
    extra = fields if type(chunk) is dict else getattr(chunk, "__pydantic_extra__", None)
    if extra and (groq := extra.get("x_groq")) is not None and (usage := fields_of(groq).get("usage")) is not None:
        read_nested_usage(response, usage)


_BEGINNINGS = frozenset({"response.created", "response.queued", "response.in_progress"})
_RESPONSE_EVENTS = _BEGINNINGS | {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}


RESPONSE_PIECES = {
    "response.output_text.delta": None,
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
    "response.mcp_call_arguments.delta": "call",
    "response.code_interpreter_call_code.delta": "call",
}
"""The part of an output item that an event has a piece of, by the event's type; ``None`` is its text."""


def fold_response(response: ResponseState, event: Any) -> None:
    """Reads an event of a response: those that carry the response itself, pieces of it, and the error that ends it."""
    fields = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    kind = fields.get("type")
    if type(kind) is not str:
        return
    if kind in RESPONSE_PIECES:
        part, index = RESPONSE_PIECES[kind], fields.get("output_index")
        key = index if part is None else (index, part, 0) if part == "call" else (index, part)
        if type(index) is int:
            response.transcript.add(key, fields.get("delta"))
    elif kind in _RESPONSE_EVENTS:
        _read_whole(response, kind, fields_of(fields_of(event).get("response")))
    elif kind == "response.output_item.done":
        response.transcript.add_item(fields.get("output_index"), fields.get("item"))
        read_item(response, fields.get("item"))
    elif kind == "response.output_item.added":
        response.transcript.begin_item(fields.get("output_index"), fields.get("item"))
    elif kind == "error":
        read_error(response, fields_of(event))
    elif kind.endswith(".delta") and fields.get("delta"):
        response.token_arrived = True  # audio, a summary of reasoning


def _read_whole(response: ResponseState, kind: str, answer: Fields) -> None:
    """Reads the response in an event of the type ``kind``."""
    if kind in _BEGINNINGS:
        tier = response.service_tier
        read_common(response, answer)
        if tier is not None or response.service_tier == "auto":
            response.service_tier = tier  # "auto" is what was requested; the last event has the tier that served
        response.background = response.background or answer.get("background") is True
        return
    read_response(response, answer)
    if "status" not in answer:
        response.state = RESPONSE_STATES.get(kind.partition(".")[2], "ok")


def fold_run(response: ResponseState, event: Any) -> None:
    """Reads an event of an assistant's run; the events of its steps repeat parts of the run's usage and are skipped."""
    fields = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    kind = fields.get("event")
    if isinstance(kind, str) and kind.startswith("thread.run.") and not kind.startswith("thread.run.step."):
        read_run(response, fields_of(fields.get("data")))
    elif isinstance(kind, str) and kind.endswith(".delta"):
        response.token_arrived = True


def fold_session(response: ResponseState, event: Any) -> None:
    """Reads an event of an agent session: those that carry the session itself."""
    fields = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    if (session := fields.get("session")) is not None:
        read_session(response, fields_of(session))
    elif fields.get("delta"):
        response.token_arrived = True


def _folder_of_last(*kinds: str) -> Callable[[ResponseState, Any], None]:
    """A folder for streams whose last event (of one of these types) carries the usage."""
    last = frozenset(kinds)

    def fold(response: ResponseState, event: Any) -> None:
        fields = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
        kind = fields.get("type")
        if type(kind) is not str:
            return
        if kind in last:
            read_common(response, {"usage": fields_of(event).get("usage")})
            response.state = "ok"
            if kind.startswith("image"):
                response.extra = {**response.extra, "images": response.extra.get("images", 0) + 1}
        elif kind == "error":
            read_error(response, fields_of(event).get("error") or fields_of(event))
        else:  # a piece of the transcript or of the speech, or a partial image
            response.token_arrived = True

    return fold


fold_image = _folder_of_last("image_generation.completed", "image_edit.completed")
fold_transcript = _folder_of_last("transcript.text.done")
fold_speech = _folder_of_last("speech.audio.done")
