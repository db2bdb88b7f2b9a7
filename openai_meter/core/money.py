"""Exact money: a written price becomes a ``Decimal``, a computed amount is whole pico-dollars or a fraction of them.

One pico-dollar is 1e-12 USD. A price of 0.075 USD per million tokens is 75,000 of them per token, so that every
published token price is a whole number and a cost is a sum of products of integers. Prices that are not whole (0.05 USD
per minute, counted in seconds; a discount of one third) stay exact as a :class:`fractions.Fraction`.
"""

from __future__ import annotations

import math
import sys
from datetime import date
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal, NamedTuple

from openai_meter.core.public import public
from openai_meter.errors import ConfigurationError

__all__ = [
    "PICO", "Amount", "Bill", "Cost", "CostLine", "CostStatus", "Number", "exact", "line_values", "pico", "simplest",
    "stated_dollars", "to_float", "usd",
]  # fmt: skip

PICO = 10**12
Amount = int | Fraction
"""An amount of pico-dollars: an integer wherever it is one."""
Number = int | float | str | Decimal
"""How a price may be written. A float means the decimal number that it is printed as."""
CostStatus = Literal["priced", "partial", "unpriced", "free"]
"""``priced``: wholly. ``partial``: only a part has a price. ``unpriced``: the cost is unknown, which is not 0."""

# A context of our own: the host program may have set the global one to few digits.
_CONTEXT = Context(prec=60)

_LONGEST = 40
"""Characters of a number in an answer: a longer one is not a price."""
_LARGEST_STATED = 1_000_000
"""US dollars of one call: what is larger is not a price, and no sum could hold it."""


def exact(value: object, name: str) -> Decimal:
    """The decimal number that the caller wrote, unrounded.

    Raises:
        ConfigurationError: it is no number, not finite, or below 0; the message starts with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ConfigurationError(f"{name} is {value!r}; a price is a number, a string of digits or a Decimal")
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation:
        raise ConfigurationError(f"{name} is {value!r}, which is no number") from None
    if not number.is_finite() or number < 0:
        raise ConfigurationError(f"{name} is {value!r}; it has to be finite and not below 0")
    return number


def stated_dollars(text: str) -> Decimal | None:
    """US dollars that a host states for one call; ``None`` if the text is not a number from 0 to a million."""
    if len(text) > _LONGEST:
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number <= _LARGEST_STATED else None


def pico(dollars: Decimal, per: int = 1) -> Fraction:
    """Pico-dollars per unit for a price in US dollars per ``per`` units."""
    return Fraction(dollars) * PICO / per


def simplest(amount: Amount) -> Amount:
    """The same amount as an integer, if it is one."""
    if isinstance(amount, Fraction) and amount.denominator == 1:
        return amount.numerator
    return amount


def usd(amount: Amount) -> Decimal:
    """US dollars for an amount of pico-dollars, without trailing zeros.

    Exact wherever a decimal number can be: only a fraction like a third is rounded, after 60 digits.
    """
    if isinstance(amount, Fraction):
        return _CONTEXT.normalize(_CONTEXT.divide(Decimal(amount.numerator), Decimal(amount.denominator * PICO)))
    if amount % PICO == 0:
        return Decimal(amount // PICO)  # normalize() would write 10 as 1E+1
    return _CONTEXT.normalize(_CONTEXT.scaleb(Decimal(amount), -12))


def to_float(number: float | Amount | Decimal) -> float:
    """The nearest float. A number beyond all floats is the largest one: an answer may state any count of tokens."""
    try:
        value = float(number)
    except OverflowError:
        value = math.inf if number > 0 else -math.inf
    return min(max(value, -sys.float_info.max), sys.float_info.max)


class Cost(NamedTuple):
    """What a call cost."""

    amount_pico: Amount | None
    """Exact pico-dollars (1e-12 USD): an integer, or a fraction where the price is one. ``None``: unknown."""
    status: CostStatus
    reason: str | None = None
    """Why the call is not or only partly priced, or why its price is approximate."""
    source: str | None = None
    """Whose prices were used: ``override``, ``overlay``, ``genai-prices VERSION``, ``provider``."""
    approximate: bool = False
    """Whether the prices are those of a near relative: another snapshot, an unknown deployment type."""
    estimated: bool = False
    """Whether a quantity is an estimate: container sessions, the tokens of a search."""

    def __str__(self) -> str:
        """The cost as a person reads it: ``$0.00162195 (genai-prices 0.2.3)``, ``cost unknown (unknown model)``."""
        about = self.reason if self.usd is None or self.status != "priced" else self.source
        amount = "cost unknown" if self.usd is None else f"{'~' * self.estimated}${self.usd:f}"
        more = "+" if self.status == "partial" else ""
        return f"{amount}{more}{f' ({about})' if about else ''}"

    @property
    def usd(self) -> Decimal | None:
        """US dollars: exact, without trailing zeros. ``None``: unknown."""
        return None if self.amount_pico is None else usd(self.amount_pico)


@public
class CostLine(NamedTuple):
    """One line of the bill: a quantity at a price, or an adjustment of the lines above it."""

    item: str
    """A slot (``input``, ``cached_input``, ...), a fee (``web_search``, ...), or an adjustment (``regional``, ...)."""
    amount_pico: Amount
    quantity: Amount | None = None
    unit: str | None = None
    price_pico: Amount | None = None
    """Pico-dollars per unit."""
    model: str | None = None
    tier: str | None = None
    bracket: str | None = None
    """``long`` for the rates of long requests."""
    factor: Fraction | None = None
    """What the lines above are multiplied with, if the line is an adjustment."""
    source: str | None = None
    checked: date | None = None
    estimated: bool = False

    def __str__(self) -> str:
        """The line as a person reads it: ``input: 3,245 tokens at $0.15 per million = $0.00048675``."""
        parts = [f"{self.item}:"]
        if self.quantity is not None:
            parts.append(f"{self.quantity:,} {self.unit or 'unit'}{'s' * (self.quantity != 1)}")
        if self.factor is not None:
            parts.append(f"x {float(self.factor):g}")
        elif self.unit_usd is not None:
            million = self.unit == "token"
            price = (self.unit_usd * (1_000_000 if million else 1)).normalize()
            parts.append(f"at ${price:f}{' per million' if million else ''}")
        return f"{' '.join(parts)} = {'~' if self.estimated else ''}${self.usd:f}"

    @property
    def usd(self) -> Decimal:
        """The amount in US dollars."""
        return usd(self.amount_pico)

    @property
    def unit_usd(self) -> Decimal | None:
        """The price of one unit in US dollars."""
        return None if self.price_pico is None else usd(self.price_pico)


def line_values(line: CostLine) -> dict[str, str | None]:
    """The quantity and the amounts of a line as plain JSON values; numbers are strings of digits."""
    return {
        "item": line.item,
        "quantity": None if line.quantity is None else str(line.quantity),
        "unit": line.unit,
        "unit_usd": None if line.unit_usd is None else f"{line.unit_usd:f}",
        "usd": f"{line.usd:f}",
    }


class Bill(tuple[CostLine, ...]):
    """The lines of a bill. A tuple, which is printed as a bill: a line for each of them, and their total."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Bill: {'; '.join(str(self).splitlines())}>"

    def __str__(self) -> str:
        """The bill as a person reads it; ``no lines`` if the call was free, or has no price."""
        if not self:
            return "no lines"
        estimated = any(line.estimated for line in self)
        total = usd(simplest(sum((line.amount_pico for line in self), Fraction(0))))
        return "\n".join([*map(str, self), f"total: {'~' * estimated}${total:f}"])
