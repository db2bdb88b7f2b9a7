"""Our own price of one unit of a cell, and prices that a bill states."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction

from openai_meter.core.money import pico
from openai_meter.ledger.billing.metered import Amounts, Cell
from openai_meter.pricing import PriceBook
from openai_meter.pricing.types import SLOTS

__all__ = ["Prices", "same_amount", "unit_price"]

_NANO = Fraction(1_000)
"""Pico-dollars of a billionth of a dollar: amounts that differ by less are the same. The API states floats."""
_PART = Fraction(1, 10**12)
_FALLBACK = {
    "cached_input": ("input", Fraction(1)),
    "cache_write": ("input", Fraction(1)),
    "cache_write_12h": ("cache_write", Fraction(2)),
    "input_image": ("input", Fraction(1)),
}


def same_amount(a: Fraction, b: Fraction) -> bool:
    """Whether two amounts in pico-dollars are the same but for the rounding of floats."""
    return abs(a - b) <= max(_NANO, abs(b) * _PART)


class Prices:
    """The unit prices of a book by day, in pico-dollars."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._known: dict[tuple[str, date], dict[tuple[str, str | None], dict[str, Fraction]]] = {}

    def price(self, cell: Cell) -> Fraction | None:
        """Our price of one unit; ``None`` if there is none."""
        if cell.model is None:
            return None
        rates = self.rates(cell.model, cell.day).get((cell.tier, cell.bracket), {})
        if (price := rates.get(cell.slot)) is not None:
            return price
        slot, times = _FALLBACK.get(cell.slot, ("", Fraction(1)))
        again, more = _FALLBACK.get(slot, ("", Fraction(1)))
        found = rates.get(slot)
        return found * times if found is not None else rates[again] * more * times if again in rates else None

    def rates(self, model: str, day: date) -> dict[tuple[str, str | None], dict[str, Fraction]]:
        """The price lists of a model on a day, by tier and bracket."""
        if (model, day) not in self._known:
            at = datetime.combine(day, time(12), UTC)
            self._known[model, day] = {
                (rate.tier, rate.bracket): {
                    slot: pico(price, SLOTS[slot][1] if slot in SLOTS else 1) for slot, price in rate.prices.items()
                }
                for rate in self._book.current(model, at)
            }
        return self._known[model, day]


def unit_price(billed: Amounts, expected: Fraction | None) -> Fraction | None:
    """What one unit costs in the bill: amount by quantity, without the rounding of the API's floats.

    Args:
        billed: what the bill has.
        expected: our price of one unit, which is the answer where the bill agrees with it.
    """
    if not billed.quantity:
        return None
    if expected is not None and same_amount(billed.amount, expected * billed.quantity):
        return expected
    exact = billed.amount / billed.quantity
    for digits in range(3, 13):
        short = Fraction(Decimal(f"{float(exact):.{digits - 1}e}"))
        if abs(billed.amount - short * billed.quantity) <= abs(billed.amount) * _PART:
            return short
    return exact
