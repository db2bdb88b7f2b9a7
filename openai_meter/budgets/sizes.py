"""How many tokens a request's body can be at most, counted from its bytes. Nothing of the text is kept.

The vocabularies of OpenAI's models are byte-level: a token is one byte at least, so a text never has more tokens than
bytes. The names and marks of the JSON around it are more bytes than the tokens that the API puts around each message.
What is not text has ceilings of its own: an image by its model, audio by its lowest bit rate. The parts that the server
adds (earlier answers, hosted tools, files) have no ceiling; they are named in :attr:`Size.unbounded`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Size", "measure", "plain_text_size", "text_bytes"]

_IMAGES = frozenset({"image_url", "input_image", "image_file", "computer_screenshot"})
_FILES = frozenset({"file", "input_file"})
_AUDIO_BYTES = 64
"""Characters of base64 for a token of audio at least: 10 tokens a second (ESTIMATION of OpenAI's audio guide) at 5
kilobits a second, below what any codec of the API needs."""
_DEEPEST = 60
_MARGIN = 64
"""Tokens that the API puts around a request (roles, tool headers), beyond the bytes of its JSON."""


class Size:
    """The measured parts of a body. Filled by :func:`measure`."""

    __slots__ = ("audio", "audio_tokens", "images", "tokens", "unbounded")

    def __init__(self) -> None:
        self.tokens = _MARGIN
        """The most tokens that the text of the body can be."""
        self.images = 0
        self.audio_tokens = 0
        self.audio = False
        self.unbounded: str | None = None
        """The part without an upper bound, such as ``file``; ``None`` if there is none."""


def text_bytes(text: str) -> int:
    """The bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def measure(values: Mapping[str, Any], count: Callable[[str], int] = text_bytes) -> Size:
    """Measures the parts of a body that are input. Takes some microseconds; reads no iterator.

    Args:
        values: the fields of the body that the model reads.
        count: how many tokens a text has at most.
    """
    size = Size()
    size.tokens += _walk(values, size, count, 0)
    return size


def plain_text_size(field: str, value: object) -> int | None:
    """What :func:`measure` finds of a body with one field of plain text: a text, or messages whose values are texts.

    ``None`` where the value has anything else in it.
    """
    total = _MARGIN + 6 + len(field)
    if type(value) is str:
        return total + text_bytes(value) + 2
    if type(value) is not list:
        return None
    total += 2
    for message in value:
        if type(message) is not dict or "type" in message:
            return None
        total += 3
        for name, text in message.items():
            if type(text) is not str or text == "tool":
                return None
            if (size := _NAMES.get(name)) is None:
                if type(name) is not str:
                    return None
                size = 6 + text_bytes(name)
            total += size + (len(text) if text.isascii() else text_bytes(text))
    return total


_NAMES = {"role": 10, "content": 13}
"""What the names of almost all fields of messages take."""


def _walk(value: Any, size: Size, count: Callable[[str], int], depth: int) -> int:
    kind = type(value)
    if kind is str:
        return count(value) + 2
    if kind is dict:
        return _walk_dict(value, size, count, depth)
    if kind is list or kind is tuple:
        if depth > _DEEPEST:
            size.unbounded = "a body that is nested too deep"
            return 0
        total = 2
        for item in value:
            total += 1 + _walk(item, size, count, depth + 1)
        return total
    if value is None or kind is bool:
        return 5
    if kind is int or kind is float:
        return len(str(value)) if kind is float or -(1 << 63) < value < 1 << 63 else value.bit_length()
    if isinstance(value, str):
        return count(str.__str__(value)) + 2
    if isinstance(value, Mapping):
        return _walk_dict(value, size, count, depth)
    size.unbounded = f"a value of type {kind.__name__}"
    return 0


def _walk_dict(value: Mapping[Any, Any], size: Size, count: Callable[[str], int], depth: int) -> int:
    if depth > _DEEPEST:
        size.unbounded = "a body that is nested too deep"
        return 0
    kind = value.get("type")
    if type(kind) is str:
        if kind in _IMAGES:
            size.images += 1
            return 16
        if kind in _FILES:
            size.unbounded = "file"
        elif kind == "item_reference":
            size.unbounded = "item_reference"
        elif kind == "input_audio":
            return _walk_audio(value, size)
    if value.get("role") == "tool":
        # The results of several calls at once are written as JSON again, with escapes and spaces.
        outer = count
        count = lambda text: outer(json.dumps(text)) + text.count(",") + text.count(":")  # noqa: E731
    total = 2
    for name, item in value.items():
        total += 4 + len(str(name)) * 4 if type(name) is not str else 4 + count(name)
        total += _walk(item, size, count, depth + 1)
    return total


def _walk_audio(value: Mapping[Any, Any], size: Size) -> int:
    size.audio = True
    audio = value.get("input_audio")
    data = audio.get("data") if isinstance(audio, Mapping) else value.get("data")
    if isinstance(data, str):
        size.audio_tokens += len(data) // _AUDIO_BYTES + 16
    else:
        size.unbounded = "audio"
    return 16
