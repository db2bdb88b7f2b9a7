"""The fingerprint of a request, for advice: counts, settings and salted keys, never text.

Equal keys mean that two requests of this process have the same input, or begin with the same text. A key is a 64-bit
hash with the process's own salts (Python's for strings, and one of ours for programs that switch that off): it cannot
be compared between processes, and no text can be recovered from it. It is kept in memory, and never written or sent.

This runs in every call, so all of it is bounded: long texts and long histories are compared by samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from openai_meter.core import faults
from openai_meter.core.evidence import Evidence
from openai_meter.core.sections import SectionSettings
from openai_meter.core.usage import fields_of
from openai_meter.usage.sections import sections_of

__all__ = ["UNCOMMON_KEYS", "Evidence", "evidence_of", "evidence_of_input"]

_SALT = int.from_bytes(os.urandom(7), "big")

_WHOLE = 4_096
"""Characters up to which a text is hashed whole (a third of a nanosecond each, and once per string object)."""
_LEAD = 6_144
"""Characters of a template's fixed part: enough for the 1,024 tokens from which prompts are cached."""
_END = 1_024
_SLICES = 8
_SLICE = 128
_ALL = 32
"""Messages up to which all are read."""
_FIRST, _LAST = 8, 24
"""Of more, this many at the beginning and at the end."""
_NODES = 512
_DEPTH = 12


_INPUTS = {"chat.completions": "messages", "responses": "input", "completions": "prompt", "embeddings": "input"}
"""The endpoints that advice covers, and the key of their input."""
_LIMITS = frozenset({"max_completion_tokens", "max_output_tokens", "max_tokens"})
_SERVER_SIDE = ("previous_response_id", "conversation", "prompt")
_SHAPING = frozenset({*_SERVER_SIDE, "functions", "response_format", "text", "tools"})
"""Keys of a request, besides its input, that change the request."""
_SETTINGS = _LIMITS | {"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier"}
_TEXTS = frozenset({"arguments", "content", "input_text", "output", "output_text", "refusal", "text"})
"""Keys of a message that hold text, as opposed to pictures, recordings, ids and types."""
UNCOMMON_KEYS = _SHAPING | _SETTINGS | {"instructions"}
"""Keys of a request that need more than its input."""
_NUMBERS = frozenset({int, float, bool})
_new = tuple.__new__


def evidence_of(endpoint: str, body: Mapping[str, Any]) -> Evidence | None:
    """The evidence in a request's body, or ``None`` for endpoints that advice does not cover. Never raises.

    Takes one or two microseconds for an ordinary chat, and tens at most. What cannot be read (iterators, which
    belong to the program, or unknown objects) is not touched; the input then has no key.

    Args:
        endpoint: the name of a row of ``endpoints.ENDPOINTS``.
        body: the request's JSON body; nothing of it is kept.
    """
    name = _INPUTS.get(endpoint)
    if name is None:
        return None
    try:
        if UNCOMMON_KEYS.isdisjoint(body) and (plain := evidence_of_input(body.get(name))) is not None:
            return plain
        found = _read(body, name)
        return found._replace(sections=sections_of(body, name)) if SectionSettings.wanted else found
    except Exception as error:
        faults.caught(error, "reading the fingerprint of a request")
        return None


def evidence_of_input(value: object) -> Evidence | None:
    """The quick way for most requests: one text, or a short history of ``{"role": ..., "content": ...}``.

    Args:
        value: the input of a request that has none of :data:`UNCOMMON_KEYS`.

    Returns:
        What :func:`evidence_of` returns for such a request; ``None`` where only that can find it.
    """
    if type(value) is str:
        length = len(value)
        if not 0 < length <= _WHOLE:
            return None
        key, whole = hash((_SALT, None, value)), hash((_SALT, value))
        return _new(Evidence, (whole, key, length, length, 1, False, False, False, None, None, _sections(value)))
    if type(value) is not list or not 0 < len(value) <= _ALL:
        return None
    keys: list[object] = [_SALT]
    chars = 0
    for message in value:
        if type(message) is not dict or len(message) != 2:
            return None
        text, role = message.get("content"), message.get("role")
        if type(text) is not str or type(role) is not str or (length := len(text)) > _WHOLE:
            return None
        chars += length
        keys += role, text
    if not (beginning := value[0]["content"]):
        return None
    key = hash((_SALT, None, beginning))
    return _new(Evidence, (
        hash(tuple(keys)), key, len(beginning), chars, len(value), False, False, False, None, None, _sections(value),
    ))  # fmt: skip


def _sections(value: object) -> bytes:
    return sections_of({"input": value}, "input") if SectionSettings.wanted else b""


def _read(body: Mapping[str, Any], name: str) -> Evidence:
    value = body.get(name)
    hasher = _Hasher()
    keys: list[object] = [_SALT]
    tools: object = None
    if not _SHAPING.isdisjoint(body):
        tools = _tools(body.get("tools") or body.get("functions"))
        keys += (tools, hasher.shape(body, name))
    beginning, count = None, 0
    if type(value) is list and value and "instructions" not in body:
        # The most frequent case: a history of {"role": ..., "content": ...}.
        texts: list[object] = []
        chars = 0
        shown = value if len(value) <= _ALL else _both_ends(value)
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
            beginning, count = value[0], len(value)
            if shown is not value:
                keys.append(count)
                chars = chars * count // len(shown)
                hasher.sampled = True
            hasher.chars = chars
    if not count:
        beginning, count = hasher.add_input(body, name, keys)
    prefix_key, prefix_chars = _prefix(beginning, tools, alone=count == 1)
    retention = tier = None
    cache_key_set = max_tokens_set = False
    if not _SETTINGS.isdisjoint(body):
        retention = _retention(body)
        tier = body.get("service_tier")
        cache_key_set = body.get("prompt_cache_key") is not None
        max_tokens_set = not _LIMITS.isdisjoint(body)
    return _new(Evidence, (
        hash(tuple(keys)) if count and not hasher.unreadable else None,
        prefix_key,
        prefix_chars,
        hasher.chars,
        count,
        hasher.sampled,
        cache_key_set,
        max_tokens_set,
        tier if type(tier) is str else None,
        retention,
        b"",
    ))  # fmt: skip


def _prefix(beginning: object, tools: object, *, alone: bool) -> tuple[int | None, int]:
    """The key and the length of the text that a request begins with.

    Tools come before all text, so other tools make another beginning. Where the whole prompt is one text, a template's
    fixed part comes first: only the beginning counts.
    """
    text = beginning
    if type(text) is dict:
        text = text.get("content")
    if type(text) is not str:
        hasher = _Hasher()
        key = hasher.key(text, text=True)
        return (None, 0) if hasher.unreadable or not hasher.chars else (hash((_SALT, tools, key)), hasher.chars)
    length = len(text)
    if length <= _WHOLE:
        return (hash((_SALT, tools, text)), length) if length else (None, 0)
    if alone:
        return hash((_SALT, tools, text[:_LEAD])), min(length, _LEAD)
    return hash((_SALT, tools, _sample(text))), length


def _retention(body: Mapping[str, Any]) -> str | None:
    return _string(fields_of(body.get("prompt_cache_options")).get("ttl") or body.get("prompt_cache_retention"))


def _string(value: object) -> str | None:
    return value if type(value) is str else None


def _tools(tools: object) -> object:
    """The key of a set of tools: their number, and the names of the first and the last."""
    return (len(tools), _name_of(tools[0]), _name_of(tools[-1])) if type(tools) is list and tools else None


def _name_of(tool: object) -> str | None:
    fields = fields_of(tool)
    return _string(fields.get("name") or fields_of(fields.get("function")).get("name") or fields.get("type"))


def _both_ends(many: Sequence[Any]) -> list[Any]:
    return [*many[:_FIRST], *many[-_LAST:]]


def _sample(text: str) -> tuple[object, ...]:
    """Parts of a long text that distinguish it from others: both ends, and slices in between."""
    step = (len(text) - 2 * _END) // _SLICES
    between = [text[at : at + _SLICE] for at in range(_END, _END + _SLICES * step, step)]
    return (len(text), text[:_END], text[-_END:], *between)


class _Hasher:
    """Turns values into hashable ones, within bounds, and notes what was left out."""

    __slots__ = ("chars", "left", "sampled", "unreadable")

    def __init__(self) -> None:
        self.unreadable = False
        """Whether a value could not be read."""
        self.chars = 0
        self.left = _NODES
        self.sampled = False

    def add_input(self, body: Mapping[str, Any], name: str, keys: list[object]) -> tuple[object, int]:
        """Adds the keys of any input; returns what it begins with, and the number of its messages."""
        count = 0
        beginning = body.get("instructions")
        if beginning is not None:
            count = 1
            keys.append(self.key(beginning, text=True))
        value = body.get(name)
        if type(value) is list and value and name != "prompt" and type(value[0]) is not int:
            first, many = value[0], len(value)
            self._messages(value, keys)
        else:
            first, many = value, int(value is not None)
            keys.append(self.key(value, text=True))
        return first if beginning is None else beginning, count + many

    def _messages(self, messages: list[Any], keys: list[object]) -> None:
        """Adds the keys of a history, or of a list of texts."""
        shown = messages
        if len(messages) > _ALL:
            shown = _both_ends(messages)
            keys.append(len(messages))
            self.sampled = True
        before = self.chars
        keys += [self.key(message, text=True) for message in shown]
        if shown is not messages:
            self.chars = before + (self.chars - before) * len(messages) // len(shown)

    def shape(self, body: Mapping[str, Any], name: str) -> object:
        """The other parts that determine the request: the history on the server, the form of the answer."""
        given = [(key, value) for key in _SERVER_SIDE if key != name and (value := body.get(key)) is not None]
        found: list[object] = [(key, self.key(value)) for key, value in given]
        for key in ("response_format", "text"):
            if (form := body.get(key)) is not None:
                fields = fields_of(form)
                fields = fields_of(fields.get("format")) or fields
                found.append((_string(fields.get("type")), _name_of(fields.get("json_schema") or fields)))
        return tuple(found)

    def key(self, value: Any, depth: int = 0, *, text: bool = False) -> object:
        """The hashable form of a value. ``text``: count its characters."""
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
                shown = _both_ends(value)
                self.sampled = True
            return len(value), tuple([self.key(item, depth + 1, text=text) for item in shown])
        if isinstance(value, str):
            return self.key(
                str.__getitem__(value, slice(None)), depth + 1, text=text
            )  # without the methods that its class overrides
        return self._object(value, depth)

    def _object(self, value: object, depth: int) -> object:
        fields: Mapping[Any, Any] | None = value if type(value) is dict else _fields(value)
        if fields is None or len(fields) > _ALL:
            self.unreadable = True
            return None
        found: list[object] = []
        for name, inner in fields.items():
            if type(inner) is str and len(inner) <= _WHOLE:
                if name in _TEXTS:
                    self.chars += len(inner)
                found.append(inner)
            else:
                found.append(self.key(inner, depth + 1, text=name in _TEXTS))
        return tuple(fields), tuple(found)


def _fields(value: object) -> dict[Any, Any] | None:
    """The fields of a pydantic model or of a dict subclass; ``None`` for anything else, which is not touched."""
    if isinstance(value, dict):
        return dict(dict.items(value))
    kind = type(value)
    return dict(fields_of(value)) if hasattr(kind, "model_fields") or hasattr(kind, "__fields__") else None
