"""Compiled rates: what a token costs in whole pico-dollars, so that a call is priced by a few multiplications.

A price list is compiled once per model, tier and day: every slot that usage can fill has its rate, every factor (a
region, a window, a discount) is multiplied in. Should a rate be no integer then (a discount of one third), all of them
are held in a smaller unit, ``1/den`` of a pico-dollar, and the sum is a fraction: nothing is ever rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import lcm

from openai_meter.money import Amount, simplest
from openai_meter.prices.values import Sheet
from openai_meter.usage import Usage

__all__ = ["Fast", "brackets", "fill", "split"]

_NEVER = 1 << 62
"""A threshold that no request reaches."""


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


class Fast:
    """The rates of plain text calls with every factor in them: the way that almost every call takes."""

    __slots__ = ("den", "has_output", "long", "short", "threshold")

    def __init__(
        self,
        short: Mapping[str, Amount],
        long: Mapping[str, Amount] | None,
        threshold: int | None,
        factor: Fraction,
    ) -> None:
        self.threshold = _NEVER if threshold is None else threshold
        self.has_output = "output" in short
        rows = [short] if long is None else [short, long]
        exact = [[row.get(slot, 0) * factor for slot in _TEXT] for row in rows]
        self.den = lcm(*(rate.denominator for row in exact for rate in row))
        compiled = [tuple(int(rate * self.den) for rate in row) for row in exact]
        self.short = compiled[0]
        self.long = compiled[1] if long is not None else None

    def price(self, usage: Usage) -> Amount | None:
        """Pico-dollars for the text tokens of a call, or ``None`` if its figures take a closer look."""
        if (
            usage.input_audio_tokens
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
        tokens_in = usage.input_tokens
        tokens_out = usage.output_tokens
        if tokens_in is None or tokens_out is None or (tokens_out and not self.has_output):
            return None
        rates = self.short if tokens_in <= self.threshold else self.long
        if rates is None:
            return None
        rate, rate_cached, rate_write, rate_write_12h, rate_out = rates
        total = tokens_in * rate + tokens_out * rate_out
        if (cached := usage.cached_input_tokens) or usage.cache_write_tokens:
            written = usage.cache_write_tokens
            long_lived = usage.cache_write_12h_tokens
            if cached + written > tokens_in or long_lived > written:
                return None
            total += (
                cached * (rate_cached - rate)
                + written * (rate_write - rate)
                + long_lived * (rate_write_12h - rate_write)
            )
        return total if self.den == 1 else simplest(Fraction(total, self.den))


def split(usage: Usage, write_12h: bool, images_out: bool) -> tuple[dict[str, int], bool]:
    """The tokens of a call as disjoint counts by slot, and whether its figures had to be cut to fit.

    Cached and written tokens are parts of the input, audio and image tokens are parts of input, cached input and
    output, reasoning is part of the output. No part becomes negative: a part larger than its whole is cut.

    Args:
        usage: what the API says.
        write_12h: whether written tokens live for 12 hours where the usage does not say (a chat's request does).
        images_out: whether the output is made of images unless it says otherwise.
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
    """What is left of a whole after its parts are taken."""

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
