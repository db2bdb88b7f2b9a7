"""Compiled rates: what a token costs in whole pico-dollars, so that a call is priced by a few multiplications.

A price list is compiled once per model, tier and day: every slot that usage can fill has its rate, every factor (a
region, a window, a discount) is multiplied in. If a rate is not an integer then (a discount of one third), all of them
are held in a smaller unit, ``1/den`` of a pico-dollar, and the sum is a fraction: nothing is ever rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm

from openai_meter.core.money import Amount, Cost, simplest
from openai_meter.core.usage import Usage
from openai_meter.pricing.types import Sheet

__all__ = ["Fast", "TextAmount", "brackets", "fast_way", "fill", "split", "text_amount"]

_NEVER = 1 << 62
"""A threshold that no request reaches."""
# Half the time of Cost(...), whose arguments pass through a function in Python.
_new = tuple.__new__


def fill(prices: Mapping[str, Fraction], write_12h: Fraction) -> dict[str, Amount]:
    """A price list with the prices that follow from others filled in.

    Cached and written tokens without a price of their own are ordinary input (OpenAI charges for cache writes only
    where it lists a price), images are text unless there is a price for them. Audio never is: a model without a price
    for audio is unpriced for it.
    """
    rates = dict(prices)
    if (per_minute := rates.pop("minute", None)) is not None:
        rates.setdefault("second", per_minute)
    if (text := rates.get("input")) is not None:
        rates.setdefault("cached_input", text)
        if "cache_write" in rates:
            rates.setdefault("cache_write_12h", rates["cache_write"] * write_12h)
        rates.setdefault("cache_write", text)
        rates.setdefault("cache_write_12h", rates["cache_write"])
        if "input_image" in rates:
            rates.setdefault("cached_image", rates["input_image"])
        rates.setdefault("cached_image", rates["cached_input"])
        rates.setdefault("input_image", text)
    if "input_audio" in rates:
        rates.setdefault("cached_audio", rates["input_audio"])
    if "output" in rates:
        rates.setdefault("output_image", rates["output"])
    return {slot: simplest(rate) for slot, rate in rates.items()}


def brackets(sheet: Sheet, write_12h: Fraction) -> tuple[dict[str, Amount], dict[str, Amount] | None]:
    """The filled price lists for ordinary and for long requests."""
    return fill(sheet.prices, write_12h), None if sheet.long is None else fill(sheet.long, write_12h)


_TEXT = ("input", "cached_input", "cache_write", "cache_write_12h", "output")
Fast = Callable[[Usage], Cost | None]
"""The cost of the text tokens of a call, or ``None`` if it needs the full rules. Almost every call has it."""
TextAmount = Callable[[int, int, int, int, int], Amount | None]
"""The amount of text tokens in pico-dollars, from input, output, cached, written and long-lived written tokens; or
``None`` if they need the full rules."""


def text_amount(
    short: Mapping[str, Amount], long: Mapping[str, Amount] | None, threshold: int | None, factor: Fraction
) -> TextAmount:
    """Compiles the rates of plain text calls, with every factor in them.

    Args:
        short: the filled price list.
        long: the same for long requests, if that is known.
        threshold: input tokens above which a request is long, or ``None`` if the length does not matter.
        factor: what all prices are multiplied with.
    """
    highest = _NEVER if threshold is None else threshold
    has_output = "output" in short
    rows = [short] if long is None else [short, long]
    exact = [[row.get(slot, 0) * factor for slot in _TEXT] for row in rows]
    den = lcm(*(rate.denominator for row in exact for rate in row))
    compiled = [_differences(*(int(rate * den) for rate in row)) for row in exact]
    short_rates = compiled[0]
    long_rates = compiled[1] if long is not None else None

    def amount(tokens_in: int, tokens_out: int, cached: int, written: int, long_lived: int) -> Amount | None:
        rates = short_rates if tokens_in <= highest else long_rates
        if rates is None or (tokens_out and not has_output):
            return None
        rate, more_cached, more_written, more_written_12h, rate_out = rates
        total = tokens_in * rate + tokens_out * rate_out
        if written:
            if cached + written > tokens_in or long_lived > written:
                return None
            total += cached * more_cached + written * more_written + long_lived * more_written_12h
        elif cached:
            if cached > tokens_in or long_lived:
                return None
            total += cached * more_cached
        return total if den == 1 else simplest(Fraction(total, den))

    return amount


def fast_way(amount: TextAmount, *, reason: str | None, source: str | None, approximate: bool) -> Fast:
    """Prices almost every call: text tokens at compiled rates.

    Args:
        amount: the compiled rates.
        reason: a field of every :class:`Cost`, as are the next two.
        source: whose prices these are.
        approximate: whether they are those of a near relative.
    """

    def cost(usage: Usage) -> Cost | None:
        tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
        if (
            tokens_in is None
            or tokens_out is None
            or usage.input_audio_tokens
            or usage.output_audio_tokens
            or usage.input_image_tokens
            or usage.output_image_tokens
            or usage.seconds
            or usage.web_searches
            or usage.file_searches
            or usage.container_sessions
            or usage.images
            or usage.characters
            or usage.inconsistent
        ):
            return None
        cached, written = usage.cached_input_tokens, usage.cache_write_tokens
        found = amount(tokens_in, tokens_out, cached, written, usage.cache_write_12h_tokens)
        return None if found is None else _new(Cost, (found, "priced", reason, source, approximate, False))

    return cost


def _differences(rate: int, cached: int, written: int, written_12h: int, rate_out: int) -> tuple[int, ...]:
    """Rates for counts that are parts of each other: the difference of each part to the price of its whole."""
    return rate, cached - rate, written - rate, written_12h - written, rate_out


def split(usage: Usage, write_12h: bool, images_out: bool) -> tuple[dict[str, int], bool]:
    """The tokens of a call as disjoint counts by slot, and whether its figures had to be cut to fit.

    Cached and written tokens are parts of the input, audio and image tokens are parts of input, cached input and
    output, reasoning is part of the output. No part becomes negative: a part larger than its whole is cut.

    Args:
        usage: the usage that the API reported.
        write_12h: whether written tokens live for 12 hours if the usage does not have it (a chat's request has it).
        images_out: whether output tokens are image tokens unless the usage says otherwise.
    """
    left = _Rest(usage.input_tokens or 0)
    out = _Rest(usage.output_tokens or 0)
    audio, image = left.take(usage.input_audio_tokens), left.take(usage.input_image_tokens)
    cached_audio, cached_image = _Rest(audio), _Rest(image)
    split_audio = cached_audio.take(usage.cached_audio_tokens)
    split_image = cached_image.take(usage.cached_image_tokens)
    # What the usage does not attribute is text first, then whatever else there was.
    cached = max(usage.cached_input_tokens - split_audio - split_image, 0)
    text_cached = min(cached, left.rest)
    left.rest -= text_cached
    cached -= text_cached
    more_audio = cached_audio.take(min(cached, cached_audio.rest))
    more_image = cached_image.take(min(cached - more_audio, cached_image.rest))
    written = left.take(usage.cache_write_tokens)
    long_lived = written if write_12h else min(usage.cache_write_12h_tokens, written)
    out_audio = out.take(usage.output_audio_tokens)
    out_image = out.take(usage.output_image_tokens)
    if images_out and not out_image:
        out_image = out.take(out.rest)
    tokens = {
        "input": left.rest,
        "cached_input": text_cached,
        "cache_write": written - long_lived,
        "cache_write_12h": long_lived,
        "input_audio": cached_audio.rest,
        "cached_audio": split_audio + more_audio,
        "input_image": cached_image.rest,
        "cached_image": split_image + more_image,
        "output": out.rest,
        "output_audio": out_audio,
        "output_image": out_image,
    }
    cut = cached > more_audio + more_image or any(one.cut for one in (left, out, cached_audio, cached_image))
    return tokens, cut


class _Rest:
    """The rest of a whole without its parts."""

    __slots__ = ("cut", "rest")

    def __init__(self, whole: int) -> None:
        self.rest = whole
        self.cut = False

    def take(self, part: int) -> int:
        if part > self.rest:
            self.cut = True
            part = self.rest
        self.rest -= part
        return part
