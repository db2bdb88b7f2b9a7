"""The price of one token of each kind at a time, which separates a change of price from a change of the mix.

A price list is linear below its threshold for long requests: the price of one token of a kind is the difference that a
thousand of them make to the bill of a made-up call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from openai_meter.core.totals import Sum
from openai_meter.core.usage import COUNTS, Usage

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["UnitPrices", "standard_cost"]

_PROBE = 1_000
_OF_INPUT = frozenset(name for name in COUNTS if name.startswith(("cached_", "cache_", "input_")))
_OF_OUTPUT = frozenset(name for name in COUNTS if name.startswith(("output_", "reasoning_")))


class UnitPrices:
    """The unit prices of a model at a time.

    Args:
        book: the prices.
        model: the model.
        provider: whose API answered.
        tier: the service tier.
        at: the time.
    """

    def __init__(
        self, book: PriceBook, model: str | None, provider: str, tier: str | None, at: datetime | None
    ) -> None:
        self._book = book
        self._key = model, provider, tier, at
        self._known: dict[str, Fraction | None] = {}

    def cost(self, total: Sum) -> Fraction | None:
        """The cost of the tokens of a sum at these prices, in pico-dollars; ``None`` where a price is unknown."""
        amount = Fraction(0)
        for name, number in _counts(total).items():
            if number:
                price = self._price(name)
                if price is None:
                    return None
                amount += price * Fraction(number)
        return amount

    def _price(self, name: str) -> Fraction | None:
        if name not in self._known:
            if name in _OF_INPUT:
                without: Usage | None = Usage(_PROBE, 0, _PROBE)
                with_it = _with(Usage(_PROBE, 0, _PROBE), name)
            elif name in _OF_OUTPUT:
                without = Usage(0, _PROBE, _PROBE)
                with_it = _with(Usage(0, _PROBE, _PROBE), name)
            elif name in {"input_tokens", "output_tokens"}:
                tokens = (_PROBE, 0) if name == "input_tokens" else (0, _PROBE)
                with_it, without = Usage(*tokens, _PROBE), None
            else:
                with_it, without = _with(Usage(0, 0, 0), name), None
            more, less = self._amount(with_it), Fraction(0) if without is None else self._amount(without)
            self._known[name] = None if more is None or less is None else (more - less) / _PROBE
        return self._known[name]

    def _amount(self, usage: Usage) -> Fraction | None:
        from openai_meter.pricing.types import Billable  # noqa: PLC0415 - not before something is to be priced

        model, provider, tier, at = self._key
        cost = self._book.cost(Billable(usage, model, model, "responses", provider, None, tier, at))
        return (
            Fraction(cost.amount_pico) if cost.status in {"priced", "free"} and cost.amount_pico is not None else None
        )


def _with(usage: Usage, name: str) -> Usage:
    changes: dict[str, Any] = {name: _PROBE}
    return replace(usage, **changes)


def _counts(total: Sum) -> Mapping[str, float]:
    """The counts of a sum by name. Reasoning tokens cost what output tokens cost."""
    counts = dict(zip(COUNTS, total.counts, strict=True))
    counts.pop("reasoning_tokens", None)
    return {"input_tokens": total.input, "output_tokens": total.output, **counts}


def standard_cost(prices: PriceBook | None) -> Callable[[Any, Sum, Sum], Fraction | None]:
    """A function that computes the cost of the tokens of a sum at the prices that a group had when another sum began.

    Args:
        prices: the price list; the one that comes with openai_meter by default.
    """
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

    book = prices or PriceBook()
    lists: dict[tuple[Any, datetime | None], UnitPrices] = {}

    def cost(group: Any, before: Sum, total: Sum) -> Fraction | None:
        key = group, before.first
        if key not in lists:
            model, provider, tier = group
            lists[key] = UnitPrices(book, model, provider, tier or None, before.first)
        return lists[key].cost(total)

    return cost
