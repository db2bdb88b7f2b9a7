"""What one call consumed: the ``Usage`` value, and the reader that understands every usage object of the API.

The API has many usage objects (``prompt_tokens`` or ``input_tokens``, ``input_tokens_details`` or
``input_token_details``, tokens or seconds), but their words never contradict each other, so one tolerant reader
serves all endpoints. It never raises: a field it does not know is passed over, a value that is no count is unknown.

To read a new field, add it to :class:`Usage` and to :func:`read_usage`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from openai_meter.core.fast_init import maker
from openai_meter.core.public import get_state, public, set_state

__all__ = ["COUNTS", "Usage", "count", "fields_of", "read_usage"]

_NOTHING: Mapping[str, Any] = {}


@public
@dataclass(frozen=True, slots=True)
class Usage:
    """What one call, or a sum of calls, consumed.

    ``None`` means unknown: the API did not say. The other counts are 0 where the API mentions none. Those below
    ``total_tokens`` are *parts* of the input or output tokens (or counts in other units) and are never added to them.
    ``Usage`` values can be added; a sum with an unknown count is the sum of what is known.
    """

    input_tokens: int | None = None
    """Tokens of the request, cached and written ones included."""
    output_tokens: int | None = None
    """Tokens of the answer, reasoning included."""
    total_tokens: int | None = None
    """The total that the API states, or else the sum of input and output."""

    cached_input_tokens: int = 0
    """Part of the input that was read from the prompt cache."""
    cache_write_tokens: int = 0
    """Part of the input that was written to the prompt cache."""
    cache_write_12h_tokens: int = 0
    """Part of ``cache_write_tokens`` that was written for 12 hours."""
    reasoning_tokens: int = 0
    """Part of the output that the model spent on reasoning."""
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    cached_audio_tokens: int = 0
    cached_image_tokens: int = 0

    seconds: float = 0
    """Seconds of audio or video that the API bills by time."""
    characters: int = 0
    """Characters of text that the API bills by length (speech)."""
    images: int = 0
    """Images made."""
    web_searches: int = 0
    file_searches: int = 0
    container_sessions: int = 0

    inconsistent: bool = False
    """Whether the API's own figures contradict each other (a part larger than its whole, a total that is no sum)."""

    def __add__(self, other: Usage) -> Usage:
        """Adds count by count; unknown plus known is what is known."""
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            input_tokens=_plus(self.input_tokens, other.input_tokens),
            output_tokens=_plus(self.output_tokens, other.output_tokens),
            total_tokens=_plus(self.total_tokens, other.total_tokens),
            inconsistent=self.inconsistent or other.inconsistent,
            **{name: getattr(self, name) + getattr(other, name) for name in COUNTS},
        )

    @property
    def known(self) -> bool:
        """Whether any token count is known."""
        return self.total_tokens is not None

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self)

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, _FIRST_FIELDS)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON: the three totals (``None`` if unknown) and every part that is not zero."""
        data: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
        }
        data.update((name, value) for name in COUNTS if (value := getattr(self, name)))
        if self.inconsistent:
            data["inconsistent"] = True
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Usage:
        """The inverse of :meth:`to_dict`; keys that this version does not know are passed over."""
        return cls(**{name: data[name] for name in _NAMES if name in data})


_FIRST_FIELDS = (
    "input_tokens", "output_tokens", "total_tokens", "cached_input_tokens", "cache_write_tokens",
    "cache_write_12h_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "input_image_tokens",
    "output_image_tokens", "cached_audio_tokens", "cached_image_tokens", "seconds", "characters", "images",
    "web_searches", "file_searches", "container_sessions", "inconsistent",
)  # fmt: skip
"""The fields of version 0.1, in their order: its pickles have no names."""
_make = maker(Usage)
_NAMES = tuple(field.name for field in fields(Usage))
COUNTS: tuple[str, ...] = tuple(
    name for name in _NAMES if name not in {"input_tokens", "output_tokens", "total_tokens", "inconsistent"}
)
"""The names of the counts that are 0, not unknown, where the API is silent."""


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None else one + other


def fields_of(value: object) -> Mapping[str, Any]:
    """The fields of an SDK object or of a dict, without going through pydantic.

    ``getattr`` on a field that a pydantic model lacks costs microseconds, and an SDK older than the API keeps new
    fields apart as extras; reading both dicts costs a tenth of a microsecond and misses neither.
    """
    if isinstance(value, dict):
        return value
    known: Mapping[str, Any] = getattr(value, "__dict__", _NOTHING)
    extra = getattr(value, "__pydantic_extra__", None)
    return {**known, **extra} if extra else known


def count(value: object) -> int | None:
    """A count as a whole number from 0 up, or ``None`` if the value is none (null, text, negative, NaN, a truth)."""
    if type(value) is int:
        return value if value >= 0 else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if number >= 0 and (isinstance(value, str) or number == value) else None


def seconds(value: object) -> float:
    """A duration in seconds from a number or from text; 0 if there is none in it."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except ValueError:
        return 0
    return number if 0 <= number < float("inf") else 0


# Where the parts stand: chat, responses and images, realtime and transcriptions, assistants' runs.
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details")
_OUTPUT_DETAILS = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
    "completion_token_details",
)
# What the details of the input and the output say, and the part of Usage that it is. To read another, add a row.
_INPUT_PARTS = {
    "cached_tokens": "cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
}
_OUTPUT_PARTS = {
    "reasoning_tokens": "reasoning_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
_CACHED_PARTS = {
    "audio_tokens": "cached_audio_tokens",
    "image_tokens": "cached_image_tokens",
    "cached_image_tokens": "cached_image_tokens",
}
_WRITTEN_PARTS = {"ttl_12h_tokens": "cache_write_12h_tokens"}
# Some hosts say these beside the totals, without details.
_TOP_PARTS = {
    "cached_tokens": "cached_input_tokens",
    "prompt_cache_hit_tokens": "cached_input_tokens",
    "reasoning_tokens": "reasoning_tokens",
}


_NAMED_ON_TOP = frozenset(_TOP_PARTS)
_CHAT = {"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}
_RESPONSE = {"input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"}
_ANYWHERE = frozenset({*_CHAT, *_RESPONSE, *_INPUT_DETAILS, *_OUTPUT_DETAILS, *_TOP_PARTS, "seconds"})
_BESIDE_CHAT, _BESIDE_RESPONSE = _ANYWHERE - _CHAT, _ANYWHERE - _RESPONSE
"""What can change what a chat or a response says with its own words, where it stands beside them."""


def _add_parts(parts: dict[str, Any], said: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for name, value in said.items():
        # Most are 0 or null: what is false is neither looked up nor counted.
        if value and (part := names.get(name)) is not None:
            if type(value) is int and value > 0:
                parts[part] = value
            elif number := count(value):
                parts[part] = number


def _details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if (value := usage.get(name)) is not None:
            return fields_of(value)
    return _NOTHING


def _first(value: object, other: object) -> int | None:
    if value is None or (number := count(value)) is None:
        number = other if type(other) is int and other >= 0 else count(other)
    return number


def read_usage(raw: Any) -> Usage | None:  # noqa: C901 - in one frame: every call comes here
    """What a usage object of any endpoint says, or ``None`` if it holds no count at all.

    ``raw`` is an SDK object or a dict. Figures are taken as they are stated, even where they contradict each other
    (then :attr:`Usage.inconsistent` is set). A missing output count follows from the total (embeddings have no
    output), a missing total is the sum.
    """
    # The quick way for what almost every call says: text tokens in figures that agree. All else is for the tables.
    # What is written out three times here is fields_of(), which costs more than all the rest when it is called.
    usage: Mapping[str, Any]
    said: Mapping[str, Any]
    try:
        usage = raw.__dict__ if type(raw) is not dict and not raw.__pydantic_extra__ else fields_of(raw)
        if "prompt_tokens" in usage:
            tokens_in, total = usage["prompt_tokens"], usage["total_tokens"]
            if len(usage) == 2:  # as embeddings have
                if type(tokens_in) is type(total) is int and 0 <= tokens_in <= total:
                    return _make(tokens_in, total - tokens_in, total)
                return _read_any(usage)
            tokens_out = usage["completion_tokens"]
            inputs, outputs = usage["prompt_tokens_details"], usage["completion_tokens_details"]
            beside = _BESIDE_CHAT
        else:
            tokens_in, tokens_out, total = usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]
            inputs, outputs = usage["input_tokens_details"], usage["output_tokens_details"]
            beside = _BESIDE_RESPONSE
        # Five are those that were found.
        if len(usage) != 5 and not beside.isdisjoint(usage):
            return _read_any(usage)
        cached = written = reasoning = 0
        if inputs is not None:
            said = inputs.__dict__ if type(inputs) is not dict and not inputs.__pydantic_extra__ else fields_of(inputs)
            cached, written = said.get("cached_tokens") or 0, said.get("cache_write_tokens") or 0
            if (
                said.get("audio_tokens")
                or said.get("image_tokens")
                or "cached_tokens_details" in said
                or said.get("cache_write_tokens_details") is not None
            ):
                return _read_any(usage)
        if outputs is not None:
            said = (
                outputs.__dict__ if type(outputs) is not dict and not outputs.__pydantic_extra__ else fields_of(outputs)
            )
            reasoning = said.get("reasoning_tokens") or 0
            if said.get("audio_tokens") or said.get("image_tokens"):
                return _read_any(usage)
    except (AttributeError, KeyError, TypeError):
        return _read_any(fields_of(raw))
    if (
        type(tokens_in) is type(tokens_out) is type(total) is type(cached) is type(written) is type(reasoning) is int
        and tokens_in + tokens_out == total
        and 0 <= cached <= tokens_in
        and 0 <= reasoning <= tokens_out
        and written >= 0
    ):
        return _make(tokens_in, tokens_out, total, cached, written, 0, reasoning)
    return _read_any(usage)


def _read_any(usage: Mapping[str, Any]) -> Usage | None:
    """Reads a usage by the tables."""
    get = usage.get
    if type(tokens_in := get("input_tokens")) is not int or tokens_in < 0:
        tokens_in = _first(tokens_in, get("prompt_tokens"))
    if type(tokens_out := get("output_tokens")) is not int or tokens_out < 0:
        tokens_out = _first(tokens_out, get("completion_tokens"))
    if type(total := get("total_tokens")) is not int or total < 0:
        total = count(total)
    parts: dict[str, Any] = {}
    if (length := get("seconds")) is not None and (duration := seconds(length)):
        parts["seconds"] = duration
    if tokens_in is None and tokens_out is None and total is None:
        return _make(**parts) if parts else None
    if total is None:
        total = (tokens_in or 0) + (tokens_out or 0)
    elif tokens_in is not None and tokens_out is None:
        tokens_out = max(total - tokens_in, 0)

    _read_parts(parts, usage)
    if _contradicts(tokens_in, tokens_out, total, parts):
        parts["inconsistent"] = True
    return _make(tokens_in, tokens_out, total, **parts)


def _read_parts(parts: dict[str, Any], usage: Mapping[str, Any]) -> None:
    if not _NAMED_ON_TOP.isdisjoint(usage):
        _add_parts(parts, usage, _TOP_PARTS)
    if inputs := _details(usage, _INPUT_DETAILS):
        _add_parts(parts, inputs, _INPUT_PARTS)
        if (cached := inputs.get("cached_tokens_details")) is not None:
            _add_parts(parts, fields_of(cached), _CACHED_PARTS)
        if (written := inputs.get("cache_write_tokens_details")) is not None:
            _add_parts(parts, fields_of(written), _WRITTEN_PARTS)
    if outputs := _details(usage, _OUTPUT_DETAILS):
        _add_parts(parts, outputs, _OUTPUT_PARTS)


def _contradicts(tokens_in: int | None, tokens_out: int | None, total: int, parts: Mapping[str, Any]) -> bool:
    return (
        (tokens_in is not None and parts.get("cached_input_tokens", 0) > tokens_in)
        or (tokens_out is not None and parts.get("reasoning_tokens", 0) > tokens_out)
        or (tokens_in is not None and tokens_out is not None and tokens_in + tokens_out != total)
    )
