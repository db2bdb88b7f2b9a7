"""Numbers of a pulse in few characters. The marks are those of the reports: ``?``, ``~`` and ``+``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

from openai_meter.core.dimensions import NO_BLOCK, UNATTRIBUTED, UNKNOWN_MODEL
from openai_meter.core.formatting import NumberStyle, dollars, fixed_dollars, short
from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.metering.pulse import Group, Rates
from openai_meter.reports import words

__all__ = ["bar", "cost_rate", "name_of", "rate_dollars", "spark", "tokens", "tokens_rate"]

_TINY = Decimal("0.0001")
_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-=+*#@"
_EIGHTHS = " ▏▎▍▌▋▊▉"


def tokens(totals: Totals, style: NumberStyle) -> str:
    """All tokens, with their marks."""
    number = totals.usage.total_tokens or 0
    if not number and totals.unmeasured_calls:
        return "?"
    mark = "~" if totals.estimated_calls and number else ""
    return f"{mark}{short(number, style)}{'+' if totals.unmeasured_calls else ''}"


def cost_rate(rates: Rates, totals: Totals, money: Callable[[Decimal], str]) -> str:
    """Dollars per minute, with their marks."""
    if rates.cost is None:
        return "?"
    mark = "~" if totals.estimated_cost_pico else ""
    return f"{mark}{money(rates.cost)}{'+' if totals.unpriced_calls else ''}"


def rate_dollars(style: NumberStyle) -> Callable[[Decimal], str]:
    """Makes a function that writes dollars per minute. A rate is an average: what is tiny is ``<$0.0001``."""

    def write(amount: Decimal) -> str:
        return dollars(amount, style) if amount >= _TINY else fixed_dollars(amount, style, 4)

    return write


def tokens_rate(rates: Rates, totals: Totals, style: NumberStyle) -> str:
    """Tokens per minute, with their marks."""
    if rates.tokens is None:
        return "?"
    mark = "~" if totals.estimated_calls and rates.tokens else ""
    return f"{mark}{short(rates.tokens, style)}{'+' if totals.unmeasured_calls else ''}"


def name_of(group: Group, by: str, m: Messages) -> str:
    """The name of a group, fit to be shown."""
    if group.others:
        return m("live.others", n=group.others)
    no_name = {"model": UNKNOWN_MODEL, "block": NO_BLOCK}.get(by, UNATTRIBUTED)
    return words.label(group.name or no_name, m)


def spark(values: Sequence[float | None], width: int, *, plain: bool = False) -> str:
    """A character for each slice, as high as its part of the largest; zero is the lowest, an unknown value is a ``?``.

    Args:
        values: the slices; where there are more than the width, several are one.
        width: how many characters.
        plain: ASCII only.
    """
    size = -(-len(values) // max(width, 1))
    columns = [_added(values[max(end - size, 0) : end]) for end in range(len(values), 0, -size)][::-1]
    most = max((one for one in columns if one), default=0)
    marks = _PLAIN if plain else _BLOCKS
    top = len(marks) - 1
    return "".join(
        "?" if one is None else marks[min(math.ceil(one / most * top), top)] if one else marks[0] for one in columns
    )


def _added(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) if known else None


def bar(share: float, width: int, *, plain: bool = False) -> str:
    """A bar that is full at 1; at least a sliver for a share above 0."""
    part = min(max(share, 0.0), 1.0)
    if plain:
        full = max(round(part * width), int(share > 0))
        return "#" * full + "." * (width - full)
    eighths = max(round(part * width * 8), int(share > 0))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)
