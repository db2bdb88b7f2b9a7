"""What one call consumed: the ``Usage`` value, and how counts are read from what APIs send.

A count is one field of :class:`Usage` and its row in ``usage_objects.py``, which reads the usage objects of all
endpoints and hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from openai_meter.core.fast_init import maker
from openai_meter.core.public import get_state, public, set_state
from openai_meter.core.short_repr import short_repr

__all__ = ["COUNTS", "LARGEST", "Usage", "count", "fields_of", "new_usage", "seconds"]

_NOTHING: Mapping[str, Any] = {}
LARGEST = 2**53
"""The largest count that is accepted. No request comes near it, and JSON readers of all languages read it exactly."""


@public
@dataclass(frozen=True, slots=True)
class Usage:
    """What one call, or a sum of calls, consumed.

    ``None`` means unknown: the API did not report it. The other counts are 0 where the API reports none. Those below
    ``total_tokens`` are *parts* of the input or output tokens (or counts in other units) and are never added to them.
    ``Usage`` values can be added; a sum with an unknown count is the sum of the known ones.
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
    """Whether the API's own figures contradict each other: a part larger than its whole, a total that is not the sum, a
    count that is negative or larger than any request (2**53). What it costs is then an estimate."""

    accepted_prediction_tokens: int = 0
    """Part of the output that was taken from a predicted output."""
    rejected_prediction_tokens: int = 0
    """Part of the output that was predicted and rejected: billed as output."""

    __repr__ = short_repr

    def __add__(self, other: Usage) -> Usage:
        """Adds count by count; an unknown count plus a known one is the known one."""
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

    @property
    def usable(self) -> bool:
        """Whether the API reported any tokens, and no figure that cannot be one (a negative count)."""
        return bool(self.total_tokens) and not (self.inconsistent and None in (self.input_tokens, self.output_tokens))

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
        """The inverse of :meth:`to_dict`; keys that this version does not know are skipped."""
        return cls(**{name: data[name] for name in _NAMES if name in data})


_FIRST_FIELDS = (
    "input_tokens", "output_tokens", "total_tokens", "cached_input_tokens", "cache_write_tokens",
    "cache_write_12h_tokens", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens", "input_image_tokens",
    "output_image_tokens", "cached_audio_tokens", "cached_image_tokens", "seconds", "characters", "images",
    "web_searches", "file_searches", "container_sessions", "inconsistent",
)  # fmt: skip
"""The fields of version 0.1, in their order: its pickles have no names."""
new_usage = maker(Usage)
"""``Usage(...)``, faster."""
_NAMES = tuple(field.name for field in fields(Usage))
COUNTS: tuple[str, ...] = tuple(
    name for name in _NAMES if name not in {"input_tokens", "output_tokens", "total_tokens", "inconsistent"}
)
"""The names of the counts that are 0, not unknown, where the API reports none."""


def _plus(first: int | None, second: int | None) -> int | None:
    if first is None:
        return second
    return first if second is None else first + second


def fields_of(value: object) -> Mapping[str, Any]:
    """The fields of an SDK object or of a dict, without going through pydantic.

    ``getattr`` on a field that a pydantic model lacks costs microseconds, and an SDK older than the API keeps new
    fields apart as extras. Reading both dicts costs a tenth of a microsecond and finds all fields.
    """
    if isinstance(value, dict):
        return value
    known: Mapping[str, Any] = getattr(value, "__dict__", _NOTHING)
    extra = getattr(value, "__pydantic_extra__", None)
    return {**known, **extra} if extra else known


def count(value: object) -> int | None:
    """A count as a whole number from 0 to 2**53, or ``None`` if it is not one (null, text, negative, NaN, a bool)."""
    if type(value) is int:
        return value if 0 <= value <= LARGEST else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= LARGEST and (isinstance(value, str) or number == value) else None


def seconds(value: object) -> float:
    """A duration in seconds from a number or a text; 0 if the value is not a duration."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = float(value)
    except ValueError:
        return 0
    return number if 0 <= number < float("inf") else 0
