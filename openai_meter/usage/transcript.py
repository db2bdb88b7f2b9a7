"""The parts of an answer that cost output tokens: text, refusals, visible reasoning, and tool calls.

It is needed only where the API reports no usage: tokens are then counted from it, and it is dropped with the call. No
text of an answer is stored. :func:`output_of_answer` takes it out of a whole answer. A :class:`Transcript` collects it
from the events of a stream: that runs on the consumer's path, so pieces are only appended there, and their number and
length are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from openai_meter.core.usage import fields_of

__all__ = ["BATCH", "Output", "Transcript", "output_of_answer"]

BATCH = 4_096
"""Characters of a text that are collected before they are added to the transcript: each addition takes its time."""
_MAX_CHARS = 262_144
"""Characters that are kept of one answer. Further characters are only counted."""
_MAX_PIECES = 4_096
"""Pieces of a text before they are joined: a short string takes more memory than its characters."""
_MAX_PARTS = 1_000
"""Choices, items and tool calls of one answer that are kept apart."""
_NOTHING: Mapping[str, Any] = {}


class Output(NamedTuple):
    """One choice of a chat completion or completion, or one item of a response's output."""

    text: str = ""
    """The visible text, joined."""
    refusal: str = ""
    reasoning: str = ""
    """Reasoning that the answer shows (compatible hosts, open models): it is output, and reasoning."""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each tool call, as they came."""
    done: bool = True
    """Whether the choice or item came to its end."""
    stopped: str | None = None
    """Why it ended, if that is known: ``stop``, ``length``, ``tool_calls``, ..."""
    reasoned: bool | None = None
    """Whether it is the model's reasoning, shown or hidden; ``None`` where that is unknown (chat completions)."""
    hosted: bool = False
    """Whether it is a call that the server executed. A model that reasons writes it as a part of its reasoning."""


# --- whole answers ----------------------------------------------------------------------------------------------------


def output_of_answer(endpoint: str, answer: Mapping[str, Any]) -> tuple[Output, ...]:
    """The choices or items of a whole answer; empty where the endpoint's answers have no text.

    ``answer`` are the fields of an SDK object or of a dict (:func:`openai_meter.core.usage.fields_of`). Never raises;
    values of an unexpected shape are skipped.
    """
    if endpoint in {"chat.completions", "completions"}:
        choices = answer.get("choices")
        return tuple(map(_choice_output, choices)) if isinstance(choices, list | tuple) else ()
    items = answer.get("output")
    if endpoint not in {"responses", "responses.compact"} or not isinstance(items, list | tuple):
        return ()
    reason = fields_of(answer.get("incomplete_details")).get("reason")
    stopped = "length" if reason == "max_output_tokens" else _text(reason) or None
    return tuple(_item_output(item, stopped) for item in items)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _list(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else ()


def _choice_output(choice: object) -> Output:
    fields = fields_of(choice)
    stopped = _text(fields.get("finish_reason")) or None
    if "message" not in fields:
        return Output(_text(fields.get("text")), stopped=stopped)
    message = fields_of(fields["message"])
    text = _text(message.get("content")) or _text(fields_of(message.get("audio")).get("transcript"))
    reasoning = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    return Output(text, _text(message.get("refusal")), reasoning, tuple(_message_calls(message)), stopped=stopped)


def _message_calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for call in _list(message.get("tool_calls")):
        fields = fields_of(call)
        yield _name_and_arguments(fields.get("function") or fields.get("custom"))
    if message.get("function_call") is not None:
        yield _name_and_arguments(message["function_call"])


def _name_and_arguments(function: object) -> tuple[str, str]:
    fields = fields_of(function)
    return _text(fields.get("name")), _text(fields.get("arguments")) or _text(fields.get("input"))


# What the model writes to use a tool, by the type of the item: the field with that text. The results that such items
# also carry were not written by the model; searches are not billed as output at all.
_WRITTEN_FIELDS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "tool_search_call": "arguments",
}


def _item_output(item: object, stopped: str | None = None) -> Output:
    """The output in one item of a response; ``stopped`` is why the response ended early, if it did."""
    fields = fields_of(item)
    # A tuple, not a set: the status may be anything, also a value without a hash.
    done = fields.get("status") not in ("incomplete", "in_progress")
    stopped = None if done else stopped
    kind = _text(fields.get("type"))
    if kind == "message":
        parts = [fields_of(part) for part in _list(fields.get("content"))]
        text = "".join(_text(part.get("text")) for part in parts)
        refusal = "".join(_text(part.get("refusal")) for part in parts)
        return Output(text, refusal, done=done, stopped=stopped, reasoned=False)
    if kind == "reasoning":
        # A summary is not what was billed; the reasoning itself is shown only by open models.
        text = "".join(_text(fields_of(part).get("text")) for part in _list(fields.get("content")))
        return Output(reasoning=text, done=done, stopped=stopped, reasoned=True)
    if (field := _WRITTEN_FIELDS.get(kind)) is None:
        return Output(done=done, stopped=stopped, reasoned=False)
    call = _text(fields.get("name")) or kind.removesuffix("_call"), _as_text(fields.get(field))
    hosted = kind == "code_interpreter_call" or (kind == "tool_search_call" and fields.get("execution") != "client")
    return Output(calls=(call,), done=done, stopped=stopped, reasoned=False, hosted=hosted)


def _as_text(value: object) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=fields_of)
    except (TypeError, ValueError, RecursionError):
        return ""


# --- streams ----------------------------------------------------------------------------------------------------------


class Transcript:
    """The pieces of one answer that was streamed. Not thread-safe: a stream has one reader at a time.

    Texts are kept under a key: the index of a choice or an output item for its plain text, else ``(index, kind)``, and
    for tool calls ``(index, "call", number)``.
    """

    __slots__ = (
        "_dropped",
        "_events",
        "_finish",
        "_has_audio",
        "_items",
        "_kinds",
        "_names",
        "_pieces",
        "_started",
        "size",
    )

    def __init__(self) -> None:
        self._started = False
        self.size = 0
        """The characters kept so far."""
        self._dropped = 0
        self._has_audio = False
        self._pieces: dict[Any, list[str]] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._finish: dict[int, str] = {}
        self._kinds: dict[int, object] = {}
        self._items: dict[int, object] = {}
        self._events: list[bytes] = []

    # --- on the consumer's path ---------------------------------------------------------------------------------------

    def add(self, key: Any, piece: object) -> None:
        """Adds a piece of a text."""
        if type(piece) is not str:
            return
        size = self.size + len(piece)
        if size > _MAX_CHARS:
            self._dropped += len(piece)
            return
        self.size = size
        pieces = self._pieces.get(key)
        if pieces is None:
            if len(self._pieces) < _MAX_PARTS:
                self._pieces[key] = [piece]
            return
        pieces.append(piece)
        if len(pieces) > _MAX_PIECES:
            pieces[:] = ["".join(pieces)]

    def add_all(self, key: int, pieces: list[str]) -> None:
        """Adds pieces of one text that followed each other."""
        text = "".join(pieces)
        if self.size + len(text) <= _MAX_CHARS:
            self.add(key, text)
        else:  # only the first of them fit
            for piece in pieces:
                self.add(key, piece)

    def add_choice(self, choice: Mapping[str, Any]) -> None:
        """Adds one choice of a chunk of a chat completion or a completion."""
        if not choice:
            return
        self._started = True
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        if (reason := choice.get("finish_reason")) is not None and len(self._finish) < _MAX_PARTS:
            self._finish[index] = reason if type(reason) is str else ""
        delta = choice.get("delta")
        if delta is None:
            self.add(index, choice.get("text"))
            return
        fields = delta if type(delta) is dict else getattr(delta, "__dict__", _NOTHING)
        if content := fields.get("content"):
            self.add(index, content)
        if calls := fields.get("tool_calls"):
            self._add_calls(index, calls)
        if refusal := fields.get("refusal"):
            self.add((index, "refusal"), refusal)
        if (call := fields.get("function_call")) is not None:
            self._add_call(index, 0, call)
        extra = fields if type(delta) is dict else getattr(delta, "__pydantic_extra__", None)
        if extra:
            self._add_extra(index, extra)

    def _add_extra(self, index: int, extra: Mapping[str, Any]) -> None:
        # Visible reasoning of other hosts' models, under its two names, and the transcript of spoken audio.
        self.add((index, "reasoning"), extra.get("reasoning_content") or extra.get("reasoning"))
        if (audio := extra.get("audio")) is not None:
            fields = fields_of(audio)
            self.add(index, fields.get("transcript"))
            self._has_audio = self._has_audio or bool(fields.get("data"))

    def _add_calls(self, index: int, calls: object) -> None:
        for call in calls if isinstance(calls, list) else ():
            fields = fields_of(call)
            number = fields.get("index")
            function = fields.get("function") or fields.get("custom")
            self._add_call(index, number if type(number) is int else 0, function)

    def _add_call(self, index: int, number: int, function: object) -> None:
        fields = fields_of(function)
        name = fields.get("name")
        if type(name) is str and name and len(self._names) < _MAX_PARTS:
            self._names[index, number] = name
        self.add((index, "call", number), fields.get("arguments") or fields.get("input") or "")

    def add_item(self, index: object, item: object) -> None:
        """Adds a whole item of a response's output, which replaces the pieces of it."""
        self._started = True
        if type(index) is int and item is not None and len(self._items) < _MAX_PARTS:
            self._items[index] = item
            for key in [key for key in self._pieces if key == index or (type(key) is tuple and key[0] == index)]:
                self.size -= sum(map(len, self._pieces.pop(key)))

    def begin_item(self, index: object, item: object) -> None:
        """Begins an item of a response's output: this event has the name of a tool call."""
        self._started = True
        fields = fields_of(item)
        if type(index) is int and len(self._kinds) < _MAX_PARTS:
            self._kinds[index] = fields.get("type")
            if type(name := fields.get("name")) is str:
                self._names[index, 0] = name

    def add_event(self, event: bytes) -> None:
        """Adds an event of a stream that the program reads as bytes; it is parsed only where that is needed."""
        self._started = True
        if self.size + len(event) > _MAX_CHARS:
            self._dropped += len(event)
            return
        self.size += len(event)
        self._events.append(event)

    @property
    def has_token(self) -> bool:
        """Whether there is any output in it; an item of hidden reasoning is not."""
        return bool(
            self.size
            or self._dropped
            or any(index not in self._kinds for index, _ in self._names)  # an item that begins has only its name
            or self._has_audio
            or any(fields_of(item).get("type") != "reasoning" for item in self._items.values())
        )

    # --- when the answer has ended ------------------------------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Whether the model has begun to answer."""
        return bool(self._started or self._pieces or self._dropped)

    @property
    def ratio(self) -> float:
        """How many times larger the answer was than what was kept of it: 1 unless it was too large to be kept."""
        return 1 + self._dropped / self.size if self.size else 1.0

    def events(self) -> Iterable[dict[str, Any]]:
        """The events that were added as bytes, parsed; others than JSON objects are skipped."""
        for event in self._events:
            try:
                parsed = json.loads(event)
            except ValueError:
                continue
            if isinstance(parsed, dict):
                yield parsed

    def outputs(self) -> tuple[Output, ...]:
        """The collected texts, by choice or item."""
        indexes = {key[0] if type(key) is tuple else key for key in self._pieces}
        indexes |= {index for index, _ in self._names} | self._finish.keys() | self._items.keys() | self._kinds.keys()
        return tuple(self._output(index) for index in sorted(indexes))

    def _output(self, index: int) -> Output:
        if index in self._items:
            return _item_output(self._items[index])
        numbers = {number for place, number in self._names if place == index}
        numbers |= {key[2] for key in self._pieces if type(key) is tuple and len(key) == 3 and key[0] == index}
        finish = self._finish.get(index)
        return Output(
            text=self._joined(index),
            refusal=self._joined((index, "refusal")),
            reasoning=self._joined((index, "reasoning")),
            calls=tuple(
                (self._names.get((index, number), ""), self._joined((index, "call", number)))
                for number in sorted(numbers)
            ),
            done=finish is not None,
            stopped=finish or None,
            reasoned=self._kinds[index] == "reasoning" if index in self._kinds else None,
        )

    def _joined(self, key: Any) -> str:
        return "".join(self._pieces.get(key, ()))
