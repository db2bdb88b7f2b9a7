"""What advice needs to know of a request, taken when it leaves: counts, settings and salted keys, never text.

A key says whether two requests of this process began or read the same, and nothing else: it is a 64-bit hash with
the process's own salts (Python's for strings, and one of ours for programs that switch that one off), so it cannot be
compared between processes, and no text can be got out of it. It is kept in memory, and never written or sent.

This runs on the way of every call, so all of it is bounded: long texts and long histories are compared by samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.core import faults
from openai_meter.core.evidence import Evidence
from openai_meter.core.usage import fields_of

__all__ = ["Evidence", "evidence_of"]

_SALT = int.from_bytes(os.urandom(7), "big")

_WHOLE = 4_096
"""Characters up to which a text is hashed whole (a third of a nanosecond each, and once per string object)."""
_LEAD = 6_144
"""Characters of a template's fixed part: enough for the 1,024 tokens from which prompts are cached."""
_END = 1_024
_SLICES = 8
_SLICE = 128
_ALL = 32
"""Messages up to which all are looked at."""
_FIRST, _LAST = 8, 24
"""Of more, this many at the beginning and at the end."""
_NODES = 512
_DEPTH = 12


_INPUTS = {"chat.completions": "messages", "responses": "input", "completions": "prompt", "embeddings": "input"}
"""The endpoints that advice is given on, and the key of their input."""
_LIMITS = frozenset({"max_completion_tokens", "max_output_tokens", "max_tokens"})
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_SHAPING = frozenset({*_ELSEWHERE, "functions", "response_format", "text", "tools"})
"""Keys of a request besides its input that make it another question."""
_SETTINGS = _LIMITS | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier"}
_TEXTS = frozenset({"arguments", "content", "input_text", "output", "output_text", "refusal", "text"})
"""Keys under which a message has text, as opposed to pictures, recordings, ids and types."""
_UNCOMMON = _SHAPING | _SETTINGS | {"instructions"}
"""Keys of a request whose input does not say all."""
_NUMBERS = frozenset({int, float, bool})
_new = tuple.__new__


def evidence_of(endpoint: str, body: Mapping[str, Any]) -> Evidence | None:
    """The evidence in a request's body, or ``None`` for endpoints that no advice is given on. Never raises.

    Takes one or two microseconds for an ordinary chat, and tens at most. What cannot be read (iterators, which
    belong to the program, or objects unknown here) is not touched; the input then has no key.

    Args:
        endpoint: the name of a row of ``endpoints.ENDPOINTS``.
        body: the request's JSON body; nothing of it is kept.
    """
    name = _INPUTS.get(endpoint)
    if name is None:
        return None
    try:
        if _UNCOMMON.isdisjoint(body) and (plain := _read_plain(body.get(name))) is not None:
            return plain
        return _read(body, name)
    except Exception as error:
        faults.caught(error, "looking at a request")
        return None


def _read_plain(said: object) -> Evidence | None:
    """The quick way for what most requests are: one text, or a short history of ``{"role": ..., "content": ...}``.

    Comes to what :func:`_read` says of them; ``None`` for everything else.
    """
    if type(said) is str:
        length = len(said)
        if not 0 < length <= _WHOLE:
            return None
        key = hash((_SALT, None, said))
        return _new(Evidence, (hash((_SALT, said)), key, length, length, 1, False, False, False, None, None))
    if type(said) is not list or not 0 < len(said) <= _ALL:
        return None
    keys: list[object] = [_SALT]
    chars = 0
    for message in said:
        if type(message) is not dict or len(message) != 2:
            return None
        text, role = message.get("content"), message.get("role")
        if type(text) is not str or type(role) is not str or len(text) > _WHOLE:
            return None
        chars += len(text)
        keys += role, text
    if not (beginning := said[0]["content"]):
        return None
    key = hash((_SALT, None, beginning))
    return _new(Evidence, (hash(tuple(keys)), key, len(beginning), chars, len(said), False, False, False, None, None))


def _read(body: Mapping[str, Any], name: str) -> Evidence:
    said = body.get(name)
    sight = _Sight()
    keys: list[object] = [_SALT]
    tools: object = None
    if not _SHAPING.isdisjoint(body):
        tools = _tools(body.get("tools") or body.get("functions"))
        keys += (tools, sight.shape(body, name))
    beginning, count = None, 0
    if type(said) is list and said and "instructions" not in body:
        # Most are this: a history of {"role": ..., "content": ...}.
        texts: list[object] = []
        chars = 0
        shown = said if len(said) <= _ALL else _ends(said)
        for message in shown:
            if type(message) is not dict or len(message) != 2:
                break
            text = message.get("content")
            if type(text) is not str or len(text) > _WHOLE or type(role := message.get("role")) is not str:
                break
            chars += len(text)
            texts.append(role)
            texts.append(text)
        else:
            keys += texts
            beginning, count = said[0], len(said)
            if shown is not said:
                keys.append(count)
                chars = chars * count // len(shown)
                sight.sampled = True
            sight.chars = chars
    if not count:
        beginning, count = sight.whole(body, name, keys)
    prefix_key, prefix_chars = _prefix(beginning, tools, alone=count == 1)
    retention = tier = None
    cache_key_set = max_tokens_set = False
    if not _SETTINGS.isdisjoint(body):
        retention = _retention(body)
        tier = body.get("service_tier")
        cache_key_set = body.get("prompt_cache_key") is not None
        max_tokens_set = not _LIMITS.isdisjoint(body)
    return _new(Evidence, (
        hash(tuple(keys)) if count and not sight.blind else None,
        prefix_key,
        prefix_chars,
        sight.chars,
        count,
        sight.sampled,
        cache_key_set,
        max_tokens_set,
        tier if type(tier) is str else None,
        retention,
    ))  # fmt: skip


def _prefix(beginning: object, tools: object, *, alone: bool) -> tuple[int | None, int]:
    """The key and the length of what a request begins with.

    Tools go before all text, so other tools are another beginning. Where the whole prompt is one text, templates put
    their fixed part first: only its beginning counts.
    """
    text = beginning
    if type(text) is dict:
        text = text.get("content")
    if type(text) is not str:
        sight = _Sight()
        key = sight.key(text, text=True)
        return (None, 0) if sight.blind or not sight.chars else (hash((_SALT, tools, key)), sight.chars)
    length = len(text)
    if length <= _WHOLE:
        return (hash((_SALT, tools, text)), length) if length else (None, 0)
    if alone:
        return hash((_SALT, tools, text[:_LEAD])), min(length, _LEAD)
    return hash((_SALT, tools, _sample(text))), length


def _retention(body: Mapping[str, Any]) -> str | None:
    said = fields_of(body.get("prompt_cache_options")).get("ttl") or body.get("prompt_cache_retention")
    return _word(said)


def _word(value: object) -> str | None:
    return value if type(value) is str else None


def _tools(tools: object) -> object:
    """What tells sets of tools apart: their number, and the names at both ends."""
    return (len(tools), _named(tools[0]), _named(tools[-1])) if type(tools) is list and tools else None


def _named(tool: object) -> str | None:
    said = fields_of(tool)
    return _word(said.get("name") or fields_of(said.get("function")).get("name") or said.get("type"))


def _ends(many: Sequence[Any]) -> list[Any]:
    return [*many[:_FIRST], *many[-_LAST:]]


def _sample(text: str) -> tuple[object, ...]:
    """Parts of a long text that tell it from others: both ends, and slices in between."""
    step = (len(text) - 2 * _END) // _SLICES
    between = [text[at : at + _SLICE] for at in range(_END, _END + _SLICES * step, step)]
    return (len(text), text[:_END], text[-_END:], *between)


class _Sight:
    """Turns values into what can be hashed, within bounds, and notes what that costs in certainty."""

    __slots__ = ("blind", "chars", "left", "sampled")

    def __init__(self) -> None:
        self.blind = False
        """Whether there was something that cannot be read."""
        self.chars = 0
        self.left = _NODES
        self.sampled = False

    def whole(self, body: Mapping[str, Any], name: str, keys: list[object]) -> tuple[object, int]:
        """Looks at any input: adds its keys, and says what it begins with, and the number of its messages."""
        count = 0
        beginning = body.get("instructions")
        if beginning is not None:
            count = 1
            keys.append(self.key(beginning, text=True))
        said = body.get(name)
        if type(said) is list and said and name != "prompt" and type(said[0]) is not int:
            first, many = said[0], len(said)
            self._messages(said, keys)
        else:
            first, many = said, int(said is not None)
            keys.append(self.key(said, text=True))
        return first if beginning is None else beginning, count + many

    def _messages(self, said: list[Any], keys: list[object]) -> None:
        """Adds the keys of a history, or of a list of texts."""
        shown = said
        if len(said) > _ALL:
            shown = _ends(said)
            keys.append(len(said))
            self.sampled = True
        before = self.chars
        keys += [self.key(message, text=True) for message in shown]
        if shown is not said:
            self.chars = before + (self.chars - before) * len(said) // len(shown)

    def shape(self, body: Mapping[str, Any], name: str) -> object:
        """What else makes a request the question that it is: its history on the server, the form of the answer."""
        given = [(key, value) for key in _ELSEWHERE if key != name and (value := body.get(key)) is not None]
        found: list[object] = [(key, self.key(value)) for key, value in given]
        for key in ("response_format", "text"):
            if (form := body.get(key)) is not None:
                said = fields_of(form)
                said = fields_of(said.get("format")) or said
                found.append((_word(said.get("type")), _named(said.get("json_schema") or said)))
        return tuple(found)

    def key(self, value: Any, depth: int = 0, *, text: bool = False) -> object:
        """What stands for a value in a hash; ``text`` says whether its characters count."""
        kind = type(value)
        if kind is str:
            if text:
                self.chars += len(value)
            if len(value) <= _WHOLE:
                return value
            self.sampled = True
            return _sample(value)
        if value is None or kind in _NUMBERS:
            return kind, value
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            self.sampled = True
            return None
        if kind is list or kind is tuple:
            shown: Sequence[Any] = value
            if len(value) > _ALL:
                shown = _ends(value)
                self.sampled = True
            return len(value), tuple([self.key(one, depth + 1, text=text) for one in shown])
        if isinstance(value, str):
            return self.key(str.__getitem__(value, slice(None)), depth + 1, text=text)  # whatever its class says
        return self._object(value, depth)

    def _object(self, value: object, depth: int) -> object:
        fields: Mapping[Any, Any] | None = value if type(value) is dict else _fields(value)
        if fields is None or len(fields) > _ALL:
            self.blind = True
            return None
        found: list[object] = []
        for name, one in fields.items():
            if type(one) is str and len(one) <= _WHOLE:
                if name in _TEXTS:
                    self.chars += len(one)
                found.append(one)
            else:
                found.append(self.key(one, depth + 1, text=name in _TEXTS))
        return tuple(fields), tuple(found)


def _fields(value: object) -> dict[Any, Any] | None:
    """The fields of a model of pydantic or of a kind of dict; ``None`` for anything else, which is not touched."""
    if isinstance(value, dict):
        return dict(dict.items(value))
    kind = type(value)
    return dict(fields_of(value)) if hasattr(kind, "model_fields") or hasattr(kind, "__fields__") else None
