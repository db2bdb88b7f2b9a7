"""What an estimate says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from openai_meter.core.public import public
from openai_meter.core.usage import Usage

__all__ = ["Estimate", "Source"]

Source = Literal["tiktoken", "chars"]


@public
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

    def __str__(self) -> str:
        """The estimate as a person reads it: ``at least 1,024 input tokens (tiktoken; not counted: file)``."""
        usage = self.usage
        counts = ((usage.input_tokens, "input"), (usage.output_tokens, "output"))
        tokens = [f"{count:,} {kind} token{'s' * (count != 1)}" for count, kind in counts if count is not None]
        notes = [self.source, *([f"not counted: {', '.join(self.unknown)}"] if self.unknown else [])]
        notes += ["sampled"] if self.sampled else []
        return f"{'at least ' * self.lower_bound}{', '.join(tokens) or 'unknown tokens'} ({'; '.join(notes)})"

    @property
    def lower_bound(self) -> bool:
        """Whether there is more than was counted: something could not be."""
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
