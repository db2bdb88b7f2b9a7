"""Compares two parts of history: tokens and cost per call in each, and the causes of the difference in cost.

The difference is the exact sum of four causes, taken one after the other, model by model:

``volume``
    There were more calls, or fewer, of the same kind.
``mix``
    They went to other models: each at what a call of it cost in the first (in the second, if it is new there).
``tokens``
    A call of the same model took more tokens, or fewer, at what a token cost in the first.
``price``
    A token cost something else: another price or tier, more of it cached, more output beside the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import Amount, usd
from openai_meter.core.totals import Sum, Totals, summed

__all__ = ["Causes", "Comparison", "Side", "compare"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what was counted in it. Immutable."""

    name: str
    totals: Totals
    priced_calls: int
    """Calls whose cost is known, at least in part."""

    @property
    def cost_per_call(self) -> Decimal | None:
        """US dollars per call, over the calls whose cost is known; ``None`` if there are none."""
        amount = self.totals.cost_pico
        return None if amount is None or not self.priced_calls else usd(Fraction(amount) / self.priced_calls)

    def per_call(self, name: str) -> float | None:
        """How many of a count of ``Usage`` a call took, over the calls whose tokens are known."""
        measured = self.totals.calls - self.totals.unmeasured_calls
        return (getattr(self.totals.usage, name) or 0) / measured if measured else None

    def to_dict(self) -> dict[str, Any]:
        """The side as plain JSON values."""
        each = self.cost_per_call
        return {
            "name": self.name,
            "totals": self.totals.to_dict(),
            "priced_calls": self.priced_calls,
            "cost_per_call": None if each is None else f"{each:f}",
            **{f"{name}_per_call": self.per_call(name) for name in _COUNTS},
        }


_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "total_tokens")


class Causes(NamedTuple):
    """Where a difference comes from, in exact pico-dollars; the four sum up to it."""

    volume: Amount
    mix: Amount
    tokens: Amount
    price: Amount

    def to_dict(self) -> dict[str, str]:
        """The causes in US dollars, as decimal strings."""
        return {name: f"{_dollars(value):f}" for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and what makes the second cost more or less than the first. Immutable."""

    a: Side
    b: Side
    causes: Causes
    """Over the calls that have a price: how many have none is in each side's totals."""
    by_model: Mapping[str, Causes]
    """The same for each model; they sum up to ``causes``."""

    @property
    def difference(self) -> Decimal:
        """What the second costs more than the first, in US dollars; below 0 if it costs less."""
        return _dollars(sum(self.causes))

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values: money in US dollars, as decimal strings."""
        return {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "difference": f"{self.difference:f}",
            "causes": self.causes.to_dict(),
            "by_model": {model: causes.to_dict() for model, causes in self.by_model.items()},
        }


def _dollars(amount: Amount) -> Decimal:
    return -usd(-amount) if amount < 0 else usd(amount)


class _Part(NamedTuple):
    calls: int
    tokens: int
    cost: Fraction


def compare(name_a: str, a: Mapping[str, Sum], name_b: str, b: Mapping[str, Sum]) -> Comparison:
    """Compares two sides by what each model took in them."""
    ours, theirs = _parts(a), _parts(b)
    names = [*theirs, *(name for name in ours if name not in theirs)]
    calls_a, calls_b = (sum(part.calls for part in parts.values()) for parts in (ours, theirs))
    growth = Fraction(calls_b, calls_a) if calls_a else None
    causes = {name: _causes(ours.get(name), theirs.get(name), growth) for name in names}
    total = Causes(*(_exact(sum(column)) for column in zip(*causes.values(), strict=True))) if causes else _NONE
    return Comparison(_side(name_a, a), _side(name_b, b), total, causes)


_NONE = Causes(0, 0, 0, 0)


def _side(name: str, models: Mapping[str, Sum]) -> Side:
    whole = summed(models.values())
    return Side(name, whole.totals(), whole.calls - whole.unknown)


def _parts(models: Mapping[str, Sum]) -> dict[str, _Part]:
    """What has a price, by model."""
    return {
        name: _Part(one.calls - one.unknown, one.total, Fraction(one.cost))
        for name, one in models.items()
        if one.calls > one.unknown
    }


def _causes(a: _Part | None, b: _Part | None, growth: Fraction | None) -> Causes:
    """The causes for one model; ``growth`` is what all calls of the first are multiplied by, if there were any."""
    before, after = a.cost if a else Fraction(0), b.cost if b else Fraction(0)
    if growth is None:
        return Causes(_exact(after), 0, 0, 0)
    volume = before * (growth - 1)
    if a is None or b is None:
        return Causes(_exact(volume), _exact(after - before - volume), 0, 0)
    each = before / a.calls
    mix = (b.calls - a.calls * growth) * each
    rest = after - b.calls * each
    tokens = Fraction(0)
    if a.tokens and b.tokens:
        tokens = (Fraction(b.tokens, b.calls) - Fraction(a.tokens, a.calls)) * b.calls * a.cost / a.tokens
    return Causes(*map(_exact, (volume, mix, tokens, rest - tokens)))


def _exact(amount: Amount) -> Amount:
    return amount.numerator if isinstance(amount, Fraction) and amount.denominator == 1 else amount
