"""The quick way through the stream of a chat: a chunk is looked at once, in the order of what is likely.

Almost every chunk brings a piece of text and nothing else. This runs for each on the consumer's path, so it is written
out, with one exit to :func:`~answers.fold_choices`, which reads all the others.
"""

from __future__ import annotations

from typing import Any

from openai_meter.answers import Reading, fold_choices

__all__ = ["fold_deltas"]


def fold_deltas(reading: Reading, chunk: Any) -> None:
    """Reads a chunk of a chat completion: the quick way for those that bring a piece of text and nothing else."""
    try:
        said = chunk.__dict__
        [choice] = said["choices"]
        one = choice.__dict__
        index, delta = one["index"], one["delta"]
        words = delta.__dict__
        text, tier, extra = words["content"], said["service_tier"], chunk.__pydantic_extra__
        plain = (
            text
            and type(text) is str
            and type(index) is int
            and said["usage"] is None
            and one["finish_reason"] is None
            and not words["tool_calls"]
            and not words["refusal"]
            and words["function_call"] is None
            and not delta.__pydantic_extra__
            and (tier is None or tier == reading.service_tier)
            and not (extra and "x_groq" in extra)
            and reading.model is not None
            and reading.response_id is not None
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # no object of the SDK's, or not one choice
        plain = False
    if plain:
        (reading.heard_or_none or reading.heard).say(index, text)
    else:
        fold_choices(reading, chunk)
