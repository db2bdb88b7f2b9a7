"""What an estimate says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from openai_meter.usage import Usage

__all__ = ["Estimate", "Source"]

Source = Literal["tiktoken", "chars"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Token counts of one call that were computed here, not told by the API."""

    usage: Usage
    """``input_tokens`` and ``output_tokens`` may each be ``None``: nothing can be said of it."""
    source: Source
    """``tiktoken``: the text was counted with the model's vocabulary. ``chars``: from the number of characters."""
    unknown: tuple[str, ...] = ()
    """Sorted words for what could not be counted: ``audio``, ``file``, ``reasoning``, ``previous response``, ..."""
    sampled: bool = False
    """Whether something was too large to be counted whole, and parts of it stand for all."""

    @property
    def lower_bound(self) -> bool:
        """Whether there is more than was counted: something could not be."""
        return bool(self.unknown)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON."""
        return {
            "usage": self.usage.to_dict(),
            "source": self.source,
            "unknown": list(self.unknown),
            "sampled": self.sampled,
        }
