"""The reader for the usage objects of all endpoints and hosts.

There are many usage objects (``prompt_tokens`` or ``input_tokens``, ``input_tokens_details`` or
``input_token_details``, tokens or seconds), but no name has two meanings, so one tolerant reader serves all of them. It
never raises: an unknown field is skipped, and a value that is not a count is unknown.

A count has a row in one of the tables of names (``_INPUT_PARTS``, ``_OUTPUT_PARTS``, ``_TOP_PARTS``, ...). To read it
under another host's name, add a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from openai_meter.core.usage import LARGEST, Usage, count, fields_of, new_usage, seconds

__all__ = ["merge_usage", "plain_counts", "read_usage"]

_NOTHING: Mapping[str, Any] = {}

# Where the parts are: chat, responses and images, realtime and transcriptions, assistants' runs.
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details")
_OUTPUT_DETAILS = (
    "completion_tokens_details",
    "output_tokens_details",
    "output_token_details",
    "completion_token_details",
)
_INPUTS, _OUTPUTS = ("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")
# Names in the details of the input and the output, and the part of Usage that each is. To read another, add a row.
_INPUT_PARTS = {
    "cached_tokens": "cached_input_tokens",
    "cache_read_tokens": "cached_input_tokens",
    "cache_read_input_tokens": "cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_creation_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
}
_OUTPUT_PARTS = {
    "reasoning_tokens": "reasoning_tokens",
    "accepted_prediction_tokens": "accepted_prediction_tokens",
    "rejected_prediction_tokens": "rejected_prediction_tokens",
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
_CACHED_PARTS = {
    "audio_tokens": "cached_audio_tokens",
    "image_tokens": "cached_image_tokens",
    "cached_image_tokens": "cached_image_tokens",
}
_WRITTEN_PARTS = {"ttl_12h_tokens": "cache_write_12h_tokens"}
# Some hosts have these next to the totals, without details: Moonshot, DeepSeek, Mistral and vLLM, gateways in front of
# Anthropic's models (its names and those of Bedrock) and of Gemini.
_TOP_PARTS = {
    "cached_tokens": "cached_input_tokens",
    "prompt_cache_hit_tokens": "cached_input_tokens",
    "num_cached_tokens": "cached_input_tokens",
    "cached_input_tokens": "cached_input_tokens",
    "cached_prompt_tokens": "cached_input_tokens",
    "cache_read_input_tokens": "cached_input_tokens",
    "cache_read_tokens": "cached_input_tokens",
    "cacheReadInputTokens": "cached_input_tokens",
    "cached_content_token_count": "cached_input_tokens",
    "cachedContentTokenCount": "cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_creation_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "cacheWriteInputTokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "thoughts_token_count": "reasoning_tokens",
    "thoughtsTokenCount": "reasoning_tokens",
}


_TOP_NAMES = frozenset(_TOP_PARTS)
_SEPARATE_NAMES = frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"})
"""Anthropic's own usage has these next to an input that excludes them. Gateways in front of it include them."""
_CHAT = {"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}
_RESPONSE = {"input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details"}
_ANYWHERE = frozenset({*_CHAT, *_RESPONSE, *_INPUT_DETAILS, *_OUTPUT_DETAILS, *_TOP_PARTS, "seconds"})
_FOREIGN_TO_CHAT, _FOREIGN_TO_RESPONSE = _ANYWHERE - _CHAT, _ANYWHERE - _RESPONSE
"""Names that, next to those of a chat or a response, can change what its usage means."""
_RARE_DETAILS = frozenset({"cached_tokens_details", *_INPUT_PARTS}) - {
    "cached_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "image_tokens",
}


def read_usage(raw: Any) -> Usage | None:
    """The usage in a usage object of any endpoint, or ``None`` if it has no count at all.

    ``raw`` is an SDK object or a dict. Where figures disagree, those that agree with the total are taken: of two
    families of names, with reasoning or cached tokens counted next to the totals or in them. A placeholder (null, 0, an
    empty object) never replaces a figure that is given elsewhere. A missing count follows from the total (embeddings
    have no output), a missing total is the sum. What cannot be reconciled is taken as it is, and
    :attr:`Usage.inconsistent` is set.
    """
    plain = plain_counts(raw)
    if plain is None:
        return _read_any(fields_of(raw))
    tokens_in, tokens_out, total, cached, written, reasoning = plain
    return new_usage(tokens_in, tokens_out, total, cached, written, 0, reasoning)


def plain_counts(raw: Any) -> tuple[int, int, int, int, int, int] | None:  # noqa: C901 - in one frame: every call comes here
    """The counts of a usage object with text tokens in figures that agree, as almost every call has one.

    Returns:
        Input, output, total, cached, written and reasoning tokens; ``None`` if the tables are needed.
    """
    # fields_of() is written out three times here: calling it costs more than all the rest.
    usage: Mapping[str, Any]
    details: Mapping[str, Any]
    try:
        usage = raw.__dict__ if type(raw) is not dict and not raw.__pydantic_extra__ else fields_of(raw)
        if "prompt_tokens" in usage:
            tokens_in, total = usage["prompt_tokens"], usage["total_tokens"]
            if len(usage) == 2:  # as embeddings have
                if type(tokens_in) is type(total) is int and 0 < tokens_in <= total <= LARGEST:
                    return tokens_in, total - tokens_in, total, 0, 0, 0
                return None
            tokens_out = usage["completion_tokens"]
            inputs, outputs = usage["prompt_tokens_details"], usage["completion_tokens_details"]
            foreign = _FOREIGN_TO_CHAT
        else:
            tokens_in, tokens_out, total = usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]
            inputs, outputs = usage["input_tokens_details"], usage["output_tokens_details"]
            foreign = _FOREIGN_TO_RESPONSE
        # If there are exactly five fields, they are those that were read above.
        if len(usage) != 5 and not foreign.isdisjoint(usage):
            return None
        cached = written = reasoning = 0
        if inputs is not None:
            details = (
                inputs.__dict__ if type(inputs) is not dict and not inputs.__pydantic_extra__ else fields_of(inputs)
            )
            cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
            if (
                details.get("audio_tokens")
                or details.get("image_tokens")
                or details.get("cache_write_tokens_details") is not None
                or not _RARE_DETAILS.isdisjoint(details)
            ):
                return None
        if outputs is not None:
            details = (
                outputs.__dict__ if type(outputs) is not dict and not outputs.__pydantic_extra__ else fields_of(outputs)
            )
            reasoning = details.get("reasoning_tokens") or 0
            if (
                details.get("audio_tokens")
                or details.get("image_tokens")
                or details.get("accepted_prediction_tokens")
                or details.get("rejected_prediction_tokens")
            ):
                return None
    except (AttributeError, KeyError, TypeError):
        return None
    if (
        type(tokens_in) is type(tokens_out) is type(total) is type(cached) is type(written) is type(reasoning) is int
        and tokens_in + tokens_out == total <= LARGEST
        and cached >= 0
        and written >= 0
        and cached + written <= tokens_in
        and 0 <= reasoning <= tokens_out
    ):
        return tokens_in, tokens_out, total, cached, written, reasoning
    return None


def _read_any(usage: Mapping[str, Any]) -> Usage | None:
    """Reads a usage by the tables."""
    parts: dict[str, Any] = {}
    if (length := usage.get("seconds")) is not None and (duration := seconds(length)):
        parts["seconds"] = duration
    inputs, outputs = _figures(usage, _INPUTS), _figures(usage, _OUTPUTS)
    total = count(usage.get("total_tokens"))
    if not inputs and not outputs and total is None:
        return new_usage(**parts) if parts else None
    agree = _read_parts(parts, usage)
    separate = not _SEPARATE_NAMES.isdisjoint(usage)
    tokens_in, tokens_out, total, reconciled = _reconcile(inputs, outputs, total, parts, separate=separate)
    possible = not any(_impossible(usage.get(name)) for name in (*_INPUTS, *_OUTPUTS, "total_tokens"))
    if not possible:  # a zero that follows from such a figure is not a count
        tokens_in, tokens_out = tokens_in or None, tokens_out or None
    if not (agree and possible and reconciled) or _contradicts(tokens_in, tokens_out, parts):
        parts["inconsistent"] = True
    return new_usage(tokens_in, tokens_out, total, **parts)


def _figures(usage: Mapping[str, Any], names: tuple[str, ...]) -> list[int]:
    """The different counts under some names: figures first, then a zero."""
    found = dict.fromkeys(number for name in names if (number := count(usage.get(name))) is not None)
    return sorted(found, key=lambda number: number == 0)


def _impossible(value: object) -> bool:
    """Whether a value is a number that is not a count: negative, too large, not whole."""
    return isinstance(value, int | float) and not isinstance(value, bool) and count(value) is None


def _reconcile(
    inputs: list[int], outputs: list[int], total: int | None, parts: Mapping[str, Any], *, separate: bool
) -> tuple[int | None, int | None, int, bool]:
    """Input, output and total out of the figures that are given, and whether they agree.

    Args:
        inputs: the different counts of the input, figures before a zero.
        outputs: the same for the output.
        total: the total that is stated.
        parts: the parts of input and output: some hosts count them in the total only.
        separate: whether the cached tokens have a name that can mean that they are not in the input.
    """
    tokens_in, tokens_out = next(iter(inputs), None), next(iter(outputs), None)
    cached = parts.get("cached_input_tokens", 0) + parts.get("cache_write_tokens", 0)
    reasoning = parts.get("reasoning_tokens", 0)
    if total == 0 and not tokens_in and not tokens_out:
        return tokens_in, tokens_out if tokens_in is None else tokens_out or 0, 0, True
    if not total:  # a total of 0 next to figures is a placeholder
        if tokens_in is not None and cached > tokens_in and separate:
            tokens_in += cached
        agree = sum(map(bool, inputs)) < 2 and sum(map(bool, outputs)) < 2
        return tokens_in, tokens_out, (tokens_in or 0) + (tokens_out or 0), agree
    if (found := _agreeing(inputs, outputs, total, cached, reasoning)) is not None:
        tokens_in, tokens_out = found
        if separate and cached > tokens_in:  # neither the input nor the total has them
            return tokens_in + cached, tokens_out, total + cached, False
        return tokens_in, tokens_out, total, True
    # Now a zero is a placeholder, and what is missing follows from the total.
    tokens_in, tokens_out = tokens_in or None, tokens_out or None
    agree = max(tokens_in or 0, tokens_out or 0) <= total
    if tokens_in is None and tokens_out is None:
        agree = not (inputs or outputs)
    elif tokens_out is None and tokens_in is not None:
        tokens_out = total - tokens_in if agree else None
    elif tokens_in is None and tokens_out is not None:
        tokens_in = total - tokens_out if agree else None
    else:
        agree = False
    return tokens_in, tokens_out, total, agree


def _agreeing(inputs: list[int], outputs: list[int], total: int, cached: int, reasoning: int) -> tuple[int, int] | None:
    """The input and the output that make the total, with cached and reasoning tokens in them or next to them."""
    for more_in, more_out in dict.fromkeys(((0, 0), (0, reasoning), (cached, 0), (cached, reasoning))):
        for one_in, one_out in product(inputs, outputs):
            if one_in + more_in + one_out + more_out == total:
                return one_in + more_in, one_out + more_out
    return None


def _read_parts(parts: dict[str, Any], usage: Mapping[str, Any]) -> bool:
    """Adds the parts; returns whether no two places contradict each other."""
    agree = True
    for name in _INPUT_DETAILS:
        if (inputs := usage.get(name)) is not None:
            details = fields_of(inputs)
            agree &= _add_parts(parts, details, _INPUT_PARTS)
            if (cached := details.get("cached_tokens_details")) is not None:
                agree &= _add_parts(parts, fields_of(cached), _CACHED_PARTS)
            if (written := details.get("cache_write_tokens_details")) is not None:
                agree &= _add_parts(parts, fields_of(written), _WRITTEN_PARTS)
    for name in _OUTPUT_DETAILS:
        if (outputs := usage.get(name)) is not None:
            agree &= _add_parts(parts, fields_of(outputs), _OUTPUT_PARTS)
    if not _TOP_NAMES.isdisjoint(usage):
        agree &= _add_parts(parts, usage, _TOP_PARTS)
    return agree


def _add_parts(parts: dict[str, Any], details: Mapping[str, Any], names: Mapping[str, str]) -> bool:
    agree = True
    for name, value in details.items():
        # Most are 0 or null, which are placeholders where the figure is given elsewhere.
        if value and (part := names.get(name)) is not None:
            if (number := count(value)) is None:
                agree = agree and not _impossible(value)
            elif number and parts.setdefault(part, number) != number:
                agree = False
    return agree


def _contradicts(tokens_in: int | None, tokens_out: int | None, parts: Mapping[str, Any]) -> bool:
    cached = parts.get("cached_input_tokens", 0) + parts.get("cache_write_tokens", 0)
    return (tokens_in is not None and cached > tokens_in) or (
        tokens_out is not None and parts.get("reasoning_tokens", 0) > tokens_out
    )


def merge_usage(earlier: Any, later: Any) -> Any:
    """The usage object to keep of two that one answer brought: the later one, unless it has placeholders for figures.

    Some streams repeat the usage on every event, growing; some end with zeros; some report the input first and the
    output last. Each figure is then the last one that is not a placeholder.
    """
    if earlier is None:
        return later
    new = fields_of(later)
    get = new.get
    if (count(get("prompt_tokens")) and count(get("completion_tokens"))) or (
        count(get("input_tokens")) and count(get("output_tokens"))
    ):
        return later
    old = fields_of(earlier)
    kept = {name: value for name, value in old.items() if _has_figure(value) and not _has_figure(new.get(name))}
    if not kept:
        return later
    merged = {**new, **kept}
    if not kept.keys() - {"total_tokens"} or not any(_has_figure(new.get(name)) for name in (*_INPUTS, *_OUTPUTS)):
        return merged
    return {**merged, "total_tokens": None}  # neither total is that of figures out of two objects


def _has_figure(value: object) -> bool:
    """Whether a value is, or contains, a number that is not 0."""
    if isinstance(value, int | float | str):
        return bool(value)
    return any(_has_figure(inner) for inner in fields_of(value).values())
