"""The highest rates that may apply to a call, compiled once for each plan and kind of request."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from openai_meter.pricing.plan import Plan

__all__ = ["Kind", "Rates", "rates_of"]


class Kind(NamedTuple):
    """The properties of a request that decide which rates may apply."""

    long: bool
    """Whether the input may be long."""
    half_day: bool
    """Whether what is written to the cache lives for 12 hours."""
    images: bool
    """Whether the input has images."""
    audio: bool
    """Whether the input has audio."""
    drawn: bool
    """Whether the output is images."""
    spoken: bool
    """Whether the output may be audio."""


class Rates(NamedTuple):
    """Rates in whole pico-dollars, every factor in them, rounded up."""

    input: int
    output: int
    call: int
    slots: Mapping[str, Any]
    """The exact rates without factors, for other units than tokens."""
    factor: Fraction
    priced: bool
    """Whether tokens have a price."""


def rates_of(plan: Plan, kind: Kind) -> Rates:
    """The rates of a plan for a kind of request. Thread-safe: all threads compile the same."""
    found: Rates | None = plan.bound_rates.get(kind)
    if found is None:
        found = plan.bound_rates[kind] = _compile(plan, kind)
    return found


def _compile(plan: Plan, kind: Kind) -> Rates:
    rates: Mapping[str, Any] = plan.short
    if kind.long and plan.long is not None:
        rates = {slot: max(rate, plan.long.get(slot, 0)) for slot, rate in plan.short.items()}
    factor = plan.discount
    for adjustment in plan.adjustments:
        factor *= adjustment.factor
    wanted = {"cache_write_12h": kind.half_day, "input_image": kind.images, "input_audio": kind.audio}
    slots_in = ("input", "cache_write", *(slot for slot, has in wanted.items() if has))
    slots_out = ("output_image" if kind.drawn else "output", *(("output_audio",) if kind.spoken else ()))
    rate_in = max(rates.get(slot, 0) for slot in slots_in)
    rate_out = max(rates.get(slot, 0) for slot in slots_out)
    return Rates(
        ceil(rate_in * factor),
        ceil(rate_out * factor),
        ceil(rates.get("call", 0) * factor),
        rates,
        Fraction(factor),
        bool(rate_in or rate_out),
    )
