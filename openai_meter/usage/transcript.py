"""Hears what a stream says, for the case that it ends without its usage: only then are its tokens counted from it.

The pieces are gathered on the consumer's path, where every tenth of a microsecond counts, and nothing else is done
there. They are bounded, whatever the stream, and forgotten with the call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from openai_meter.core.usage import fields_of
from openai_meter.usage.output import Output, output_item

__all__ = ["TOGETHER", "Transcript"]

TOGETHER = 4_096
"""How many characters of a text are gathered, and handed on together: each call takes its time."""
_ROOM = 262_144
"""How many characters are kept of one answer; of the rest, only their number is."""
_PIECES = 4_096
"""Pieces of a text are put together now and then: a short string takes more room than its characters."""
_PARTS = 1_000
"""How many choices, items and tool calls of one answer are told apart."""
_NOTHING: Mapping[str, Any] = {}


class Transcript:
    """The pieces of one answer. Kept by index (a choice, an output item), by kind and, for tool calls, by number."""

    __slots__ = ("_answered", "_items", "_kinds", "_lost", "_names", "_pieces", "_raw", "_stopped", "size")

    def __init__(self) -> None:
        self._answered = False
        self.size = 0
        """The characters kept so far."""
        self._lost = 0
        self._pieces: dict[Any, list[str]] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._stopped: dict[int, str] = {}
        self._kinds: dict[int, object] = {}
        self._items: dict[int, object] = {}
        self._raw: list[bytes] = []

    # --- on the consumer's path ---------------------------------------------------------------------------------------

    def add(self, key: Any, piece: object) -> None:
        """Keeps a piece of text. ``key`` is an index for plain text, else ``(index, kind)`` or ``(index, kind, n)``."""
        if type(piece) is not str:
            return
        size = self.size + len(piece)
        if size > _ROOM:
            self._lost += len(piece)
            return
        self.size = size
        pieces = self._pieces.get(key)
        if pieces is None:
            if len(self._pieces) < _PARTS:
                self._pieces[key] = [piece]
            return
        pieces.append(piece)
        if len(pieces) > _PIECES:
            pieces[:] = ["".join(pieces)]

    def add_all(self, key: int, pieces: list[str]) -> None:
        """Keeps pieces of a text that came after each other."""
        text = "".join(pieces)
        if self.size + len(text) <= _ROOM:
            self.add(key, text)
        else:  # as many of them as there is room for
            for piece in pieces:
                self.add(key, piece)

    def choice(self, choice: Mapping[str, Any]) -> None:
        """Hears one choice of a chunk of a chat completion or a completion."""
        if not choice:
            return
        self._answered = True
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        if (reason := choice.get("finish_reason")) is not None and len(self._stopped) < _PARTS:
            self._stopped[index] = reason if type(reason) is str else ""
        delta = choice.get("delta")
        if delta is None:
            self.add(index, choice.get("text"))
            return
        words = delta if type(delta) is dict else getattr(delta, "__dict__", _NOTHING)
        if content := words.get("content"):
            self.add(index, content)
        if calls := words.get("tool_calls"):
            self._hear_calls(index, calls)
        if refusal := words.get("refusal"):
            self.add((index, "refusal"), refusal)
        if (call := words.get("function_call")) is not None:
            self._hear_call(index, 0, call)
        extra = words if type(delta) is dict else getattr(delta, "__pydantic_extra__", None)
        if extra:
            self._hear_extra(index, extra)

    def _hear_extra(self, index: int, extra: Mapping[str, Any]) -> None:
        # What other hosts' models think aloud, under the two names that are in use, and what spoken audio says.
        self.add((index, "reasoning"), extra.get("reasoning_content") or extra.get("reasoning"))
        if (audio := extra.get("audio")) is not None:
            self.add(index, fields_of(audio).get("transcript"))

    def _hear_calls(self, index: int, calls: object) -> None:
        for call in calls if isinstance(calls, list) else ():
            said = fields_of(call)
            number = said.get("index")
            function = said.get("function") or said.get("custom")
            self._hear_call(index, number if type(number) is int else 0, function)

    def _hear_call(self, index: int, number: int, function: object) -> None:
        said = fields_of(function)
        name = said.get("name")
        if type(name) is str and name and len(self._names) < _PARTS:
            self._names[index, number] = name
        self.add((index, "call", number), said.get("arguments") or said.get("input") or "")

    def item(self, index: object, item: object) -> None:
        """Hears a whole item of a response's output: what came of it in pieces is not needed any more."""
        self._answered = True
        if type(index) is int and item is not None and len(self._items) < _PARTS:
            self._items[index] = item
            for key in [key for key in self._pieces if key == index or (type(key) is tuple and key[0] == index)]:
                self.size -= sum(map(len, self._pieces.pop(key)))

    def begun(self, index: object, item: object) -> None:
        """Hears that an item of a response's output begins: a tool call says its name here."""
        self._answered = True
        said = fields_of(item)
        if type(index) is int and len(self._kinds) < _PARTS:
            self._kinds[index] = said.get("type")
            if type(name := said.get("name")) is str:
                self._names[index, 0] = name

    def raw(self, event: bytes) -> None:
        """Keeps an event of a stream that the program reads as bytes; it is parsed only if that is needed."""
        self._answered = True
        if self.size + len(event) > _ROOM:
            self._lost += len(event)
            return
        self.size += len(event)
        self._raw.append(event)

    # --- when the answer has ended ------------------------------------------------------------------------------------

    @property
    def anything(self) -> bool:
        """Whether there was an answer at all."""
        return bool(self._answered or self._pieces or self._lost)

    @property
    def whole(self) -> float:
        """How many times more was said than was kept: 1 unless an answer was too large to be kept."""
        return 1 + self._lost / self.size if self.size else 1.0

    def events(self) -> Iterable[dict[str, Any]]:
        """The events that were kept as bytes, parsed; what is no JSON object is passed over."""
        for event in self._raw:
            try:
                parsed = json.loads(event)
            except ValueError:
                continue
            if isinstance(parsed, dict):
                yield parsed

    def spoken(self) -> tuple[Output, ...]:
        """What was said, by choice or item."""
        indexes = {key[0] if type(key) is tuple else key for key in self._pieces}
        indexes |= {index for index, _ in self._names} | self._stopped.keys() | self._items.keys() | self._kinds.keys()
        return tuple(self._one(index) for index in sorted(indexes))

    def _one(self, index: int) -> Output:
        if index in self._items:
            return output_item(self._items[index])
        numbers = {number for one, number in self._names if one == index}
        numbers |= {key[2] for key in self._pieces if type(key) is tuple and len(key) == 3 and key[0] == index}
        stopped = self._stopped.get(index)
        return Output(
            text=self._joined(index),
            refusal=self._joined((index, "refusal")),
            reasoning=self._joined((index, "reasoning")),
            calls=tuple(
                (self._names.get((index, number), ""), self._joined((index, "call", number)))
                for number in sorted(numbers)
            ),
            done=stopped is not None,
            stopped=stopped or None,
            reasoned=self._kinds[index] == "reasoning" if index in self._kinds else None,
        )

    def _joined(self, key: Any) -> str:
        return "".join(self._pieces.get(key, ()))
