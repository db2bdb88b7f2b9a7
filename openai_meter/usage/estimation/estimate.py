"""The result of an estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from openai_meter.core.usage import Usage

__all__ = ["Estimate", "Source"]

Source = Literal["tiktoken", "chars"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Token counts of one call that were computed here, not reported by the API."""

    usage: Usage
    """``input_tokens`` and ``output_tokens`` may each be ``None``: it cannot be counted."""
    source: Source
    """``tiktoken``: the text was counted with the model's vocabulary. ``chars``: from the number of characters."""
    unknown: tuple[str, ...] = ()
    """Sorted names of what could not be counted: ``audio``, ``file``, ``reasoning``, ``previous response``, ..."""
    sampled: bool = False
    """Whether something was too large to be counted whole, and was counted by samples."""

    @property
    def lower_bound(self) -> bool:
        """Whether there are more tokens than were counted."""
        return bool(self.unknown)

    def enlarged(self, times: float) -> Usage:
        """The usage, if the output was ``times`` as large as what was kept of it; the total is what is known of both.

        Args:
            times: how much larger the output was, from 1 up.
        """
        usage, output = self.usage, self.usage.output_tokens
        if output is not None and times > 1:
            output = round(output * times)
        total = None if usage.input_tokens is None and output is None else (usage.input_tokens or 0) + (output or 0)
        return replace(usage, output_tokens=output, total_tokens=total)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON."""
        return {
            "usage": self.usage.to_dict(),
            "source": self.source,
            "unknown": list(self.unknown),
            "sampled": self.sampled,
        }
