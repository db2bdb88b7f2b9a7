"""The result of an estimate."""

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
    """Token counts of one call that were computed here, not reported by the API."""

    usage: Usage
    """``input_tokens`` and ``output_tokens`` may each be ``None``: it cannot be counted."""
    source: Source
    """``tiktoken``: the text was counted with the model's vocabulary. ``chars``: from the number of characters."""
    unknown: tuple[str, ...] = ()
    """Sorted names of what could not be counted: ``audio``, ``file``, ``reasoning``, ``previous response``, ..."""
    sampled: bool = False
    """Whether something was too large to be counted whole, and was counted by samples."""
    rule: str | None = None
    """The vocabulary (``o200k_base``, ``cl100k_base``), or ``script`` or ``plain`` for a count by characters."""

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
        """Whether there are more tokens than were counted."""
        return bool(self.unknown)

    def complete(self, reported: Usage | None, times: float = 1.0) -> Usage:
        """The usage of the call: what the API reported, and the estimate of the rest. The total is the sum.

        Args:
            reported: the usage that the API reported, which may lack its input, its output, or both.
            times: how many times larger the output was than what was kept of it, from 1 up.
        """
        tokens_in, tokens_out = self.usage.input_tokens, self.usage.output_tokens
        if tokens_out is not None and times > 1:
            tokens_out = round(tokens_out * times)
        if reported is None or not reported.total_tokens:
            usage = self.usage if reported is None else replace(self.usage, inconsistent=reported.inconsistent)
        elif reported.input_tokens is None and reported.output_tokens is None:
            # The total is known: the estimates share it.
            usage = reported
            if tokens_in is not None:
                tokens_in = min(tokens_in, reported.total_tokens)
                tokens_out = reported.total_tokens - tokens_in
        else:
            usage = reported
            tokens_in = tokens_in if reported.input_tokens is None else reported.input_tokens
            tokens_out = tokens_out if reported.output_tokens is None else reported.output_tokens
        total = None if tokens_in is None and tokens_out is None else (tokens_in or 0) + (tokens_out or 0)
        return replace(usage, input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=total)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON."""
        return {
            "usage": self.usage.to_dict(),
            "source": self.source,
            "unknown": list(self.unknown),
            "sampled": self.sampled,
            "rule": self.rule,
        }
