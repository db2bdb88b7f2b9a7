"""Compares two parts of history: tokens and cost per call in each, and the causes of the difference in cost.

The difference is the exact sum of four causes, computed one after the other for each model and service tier:

``volume``
    There were more calls, or fewer, of the same kind.
``mix``
    They went to other models or tiers: each at what a call of it cost in the first (in the second, if it is new there).
``tokens``
    A call took more tokens of a kind (input, cached, output, ...), or fewer, at what a token of that kind cost in the
    first. Where the prices of the first are unknown, all tokens count as one kind.
``price``
    A token of the same kind cost something else. Where no price has changed, this is exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.dimensions import UNKNOWN_MODEL
from openai_meter.core.money import Amount, usd
from openai_meter.core.totals import Sum, Totals, summed

__all__ = ["Causes", "Comparison", "Side", "compare"]


@dataclass(frozen=True, slots=True)
class Side:
    """The figures of one of the two sides. Immutable."""

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
    """The causes of a difference, in exact pico-dollars; the four sum up to it."""

    volume: Amount
    mix: Amount
    tokens: Amount
    price: Amount

    def to_dict(self) -> dict[str, str]:
        """The causes in US dollars, as decimal strings."""
        return {name: f"{_dollars(value):f}" for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides, and the causes of their difference in cost. Immutable."""

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


Group = str | tuple[str | None, ...]
"""A model, or a tuple that begins with one: calls within a group have the same prices at any one time."""

StandardCost = Callable[[Group, Sum, Sum], Fraction | None]
"""What the tokens of the third argument cost at the prices of a group in the second; ``None`` if unknown."""


class _Part(NamedTuple):
    calls: int
    tokens: int
    cost: Fraction
    total: Sum


def compare(
    name_a: str,
    a: Mapping[Any, Sum],
    name_b: str,
    b: Mapping[Any, Sum],
    standard_cost: StandardCost = lambda *_: None,
) -> Comparison:
    """Compares two sides by what each group of calls took in them.

    Args:
        name_a: the name of the first side.
        a: its sums by group; see :data:`Group`.
        name_b: the name of the second side.
        b: its sums by group.
        standard_cost: what tokens cost at the prices of the first side.
    """
    parts_a, parts_b = _parts(a), _parts(b)
    groups = [*parts_b, *(group for group in parts_a if group not in parts_b)]
    calls_a, calls_b = (sum(part.calls for part in parts.values()) for parts in (parts_a, parts_b))
    growth = Fraction(calls_b, calls_a) if calls_a else None
    by_model: dict[str, Causes] = {}
    for group in groups:
        causes = _causes(group, parts_a.get(group), parts_b.get(group), growth, standard_cost)
        model = (group if isinstance(group, str) else group[0]) or UNKNOWN_MODEL
        by_model[model] = _added([by_model[model], causes]) if model in by_model else causes
    return Comparison(_side(name_a, a), _side(name_b, b), _added([*by_model.values()]), by_model)


_NONE = Causes(0, 0, 0, 0)


def _added(causes: list[Causes]) -> Causes:
    return Causes(*(_exact(sum(column)) for column in zip(*causes, strict=True))) if causes else _NONE


def _side(name: str, groups: Mapping[Any, Sum]) -> Side:
    whole = summed(groups.values())
    return Side(name, whole.totals(), whole.calls - whole.unknown)


def _parts(groups: Mapping[Any, Sum]) -> dict[Any, _Part]:
    """What has a price, by group."""
    return {
        group: _Part(total.calls - total.unknown, total.total, Fraction(total.cost), total)
        for group, total in groups.items()
        if total.calls > total.unknown
    }


def _causes(
    group: Group, a: _Part | None, b: _Part | None, growth: Fraction | None, standard_cost: StandardCost
) -> Causes:
    """The causes for one group; ``growth`` is what all calls of the first are multiplied by, if there were any."""
    before, after = a.cost if a else Fraction(0), b.cost if b else Fraction(0)
    if growth is None:
        return Causes(_exact(after), 0, 0, 0)
    volume = before * (growth - 1)
    if a is None or b is None:
        return Causes(_exact(volume), _exact(after - before - volume), 0, 0)
    each = before / a.calls
    mix = (b.calls - a.calls * growth) * each
    # What the calls of the second would have cost at the prices of the first.
    at_old_prices = _at_old_prices(group, a, b, standard_cost)
    if at_old_prices is None:
        tokens = Fraction(0)
        if a.tokens and b.tokens:
            tokens = (Fraction(b.tokens, b.calls) - Fraction(a.tokens, a.calls)) * b.calls * a.cost / a.tokens
        at_old_prices = b.calls * each + tokens
    return Causes(*map(_exact, (volume, mix, at_old_prices - b.calls * each, after - at_old_prices)))


def _at_old_prices(group: Group, a: _Part, b: _Part, standard_cost: StandardCost) -> Fraction | None:
    of_a, of_b = standard_cost(group, a.total, a.total), standard_cost(group, a.total, b.total)
    if not of_a or of_b is None:
        return None
    # Discounts, regions and long requests make the true cost differ from that of the list, in proportion.
    return of_b * a.cost / of_a


def _exact(amount: Amount) -> Amount:
    return amount.numerator if isinstance(amount, Fraction) and amount.denominator == 1 else amount
