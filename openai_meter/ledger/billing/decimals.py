"""Amounts as decimal numbers of a file."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

from openai_meter.core.money import Amount

__all__ = ["to_decimal"]

# Of our own: the host program may have set the global one to few digits.
_CONTEXT = Context(prec=60)
_ATTO = Decimal("1e-18")


def to_decimal(amount: Amount, per: int = 1) -> Decimal:
    """An amount as a decimal number with 18 places at most; exact wherever it has so few."""
    value = Fraction(amount) / per
    number = _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))
    rounded = number.quantize(_ATTO, context=_CONTEXT).normalize(_CONTEXT)
    return _CONTEXT.add(rounded, Decimal(0))  # no negative zero
