"""Statements: what to charge to a customer, a team or a user for a span of time.

Costs are exact pico-dollars until the end. A charge is the cost, and the share of the cost of calls without a value
(shared cost), times the markup, times the exchange rate. Charges are rounded to the smallest unit of the currency by
largest remainder: the charges of all statements sum up exactly to the rounded whole, and the lines of a statement to
its charge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from openai_meter.core.dimensions import UNATTRIBUTED
from openai_meter.core.money import PICO, Amount
from openai_meter.core.totals import Sum, summed
from openai_meter.ledger.billing.decimals import to_decimal
from openai_meter.ledger.billing.exchange import Rate, places_of

__all__ = ["SPLITS", "Basis", "Statement", "StatementLine", "Statements", "make_statements", "rounded"]

SPLITS = ("none", "cost", "calls", "equal")
"""How shared cost is divided among the values: not at all; by their cost; by their calls; into equal parts."""
Kind = Literal["model", "shared", "markup"]


class Basis(NamedTuple):
    """What all statements of a run have in common."""

    dimension: str
    """``tag:customer``, ``user``, ..."""
    since: datetime
    until: datetime
    timezone: str
    markup: Decimal
    """What costs are multiplied with: 1 for none."""
    split: str
    currency: str
    rate: Rate | None
    """``None`` for US dollars."""
    made_at: datetime

    @property
    def first_day(self) -> date:
        """The first day, in the timezone."""
        return self.since.date()

    @property
    def last_day(self) -> date:
        """The last day, in the timezone."""
        return date.fromordinal(self.until.date().toordinal() - (self.until.time() == datetime.min.time()))

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON."""
        rate = self.rate
        return {
            "for": self.dimension,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "timezone": self.timezone,
            "markup": f"{self.markup:f}",
            "split": self.split,
            "currency": self.currency,
            "rate": rate
            and {
                "day": rate.day.isoformat(),
                "wanted": rate.wanted.isoformat(),
                "euro_in_usd": f"{rate.euro_in_dollars:f}",
                "euro_in_currency": f"{rate.euro_in_currency:f}",
                "file": rate.file,
            },
            "rounding": "largest remainder",
            "made_at": self.made_at.isoformat(),
        }


class StatementLine(NamedTuple):
    """A line of a statement: a model, the share of shared cost, or the markup."""

    kind: Kind
    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal
    """US dollars, exact, without markup. Of the markup: what it adds."""
    amount: Decimal
    """In the currency, rounded so that the lines sum up to the charge."""
    unpriced_calls: int = 0


@dataclass(frozen=True, slots=True)
class Statement:
    """What to charge to one value of a dimension."""

    basis: Basis
    value: str
    lines: tuple[StatementLine, ...]
    total: Decimal
    """The charge, in the currency."""
    totals: Sum
    """The sums of its calls."""

    @property
    def cost(self) -> Decimal:
        """US dollars: the cost of its own calls, exact and without markup."""
        return to_decimal(self.totals.cost, PICO)

    @property
    def shared_cost(self) -> Decimal:
        """US dollars: its share of the cost of calls without a value."""
        return sum((line.cost for line in self.lines if line.kind == "shared"), Decimal(0))

    @property
    def unpriced_calls(self) -> int:
        """Calls whose cost is not, or not wholly, known: it is not in the charge."""
        return self.totals.unpriced

    @property
    def estimated_cost(self) -> Decimal:
        """US dollars: the part of the cost that rests on estimates."""
        return to_decimal(self.totals.estimated, PICO)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; amounts are strings of digits."""
        return {
            **self.basis.to_dict(),
            "value": self.value,
            "calls": self.totals.calls,
            "unpriced_calls": self.unpriced_calls,
            "cost_usd": f"{self.cost:f}",
            "estimated_cost_usd": f"{self.estimated_cost:f}",
            "shared_cost_usd": f"{self.shared_cost:f}",
            "total": f"{self.total:f}",
            "lines": [
                {
                    "kind": line.kind,
                    "name": line.name,
                    "calls": line.calls,
                    "input_tokens": line.input_tokens,
                    "output_tokens": line.output_tokens,
                    "cost_usd": f"{line.cost:f}",
                    "amount": f"{line.amount:f}",
                    "unpriced_calls": line.unpriced_calls,
                }
                for line in self.lines
            ],
        }


@dataclass(frozen=True, slots=True)
class Statements(Sequence[Statement]):
    """The statements of all values of a dimension, the largest charge first; and what is not charged."""

    basis: Basis
    statements: tuple[Statement, ...]
    total: Decimal
    """The sum of all charges, in the currency: exactly the rounded whole."""
    unattributed: Sum
    """The calls without a value. Their cost is in the charges unless ``split`` is ``none``."""

    def __getitem__(self, place: Any) -> Any:
        return self.statements[place]

    def __len__(self) -> int:
        return len(self.statements)

    def __iter__(self) -> Iterator[Statement]:
        return iter(self.statements)

    @property
    def unattributed_cost(self) -> Decimal:
        """US dollars: the cost of calls without a value, exact."""
        return to_decimal(self.unattributed.cost, PICO)

    @property
    def is_shared(self) -> bool:
        """Whether that cost is in the charges."""
        return self.basis.split != "none" and bool(self.statements)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; amounts are strings of digits."""
        return {
            **self.basis.to_dict(),
            "total": f"{self.total:f}",
            "unattributed_cost_usd": f"{self.unattributed_cost:f}",
            "unattributed_calls": self.unattributed.calls,
            "unattributed_is_charged": self.is_shared,
            "statements": [statement.to_dict() for statement in self.statements],
        }


def rounded(amounts: Sequence[Fraction], places: int, total: Decimal | None = None) -> list[Decimal]:
    """Amounts rounded by largest remainder, so that they sum up to the rounded sum (or to ``total``).

    Each is rounded down; the units that are then missing go to those that have lost most, the first ones first.
    """
    unit = 10**places
    scaled = [amount * unit for amount in amounts]
    floors = [amount.numerator // amount.denominator for amount in scaled]
    wanted = _half_up(sum(scaled, Fraction(0))) if total is None else int(total * unit)
    order = sorted(range(len(amounts)), key=lambda place: (floors[place] - scaled[place], place))
    for place in order[: wanted - sum(floors)]:
        floors[place] += 1
    return [Decimal(number).scaleb(-places) for number in floors]


def _half_up(number: Fraction) -> int:
    doubled = 2 * number + 1
    return doubled.numerator // (2 * doubled.denominator)


def make_statements(basis: Basis, sums: Mapping[tuple[str, ...], Sum]) -> Statements:
    """The statements of all values.

    Args:
        basis: what they have in common.
        sums: the sums of calls, by value and model.
    """
    by_value: dict[str, dict[str, Sum]] = {}
    for (value, model), one in sums.items():
        by_value.setdefault(value, {})[model] = one
    unattributed = summed(by_value.pop(UNATTRIBUTED, {}).values())
    wholes = {value: summed(models.values()) for value, models in by_value.items()}
    shares = _shares(basis.split, Fraction(unattributed.cost), wholes)
    factor = _factor(basis)
    values = sorted(wholes, key=lambda value: (-(wholes[value].cost + shares[value]), value))
    exact = [(Fraction(wholes[value].cost) + shares[value]) * Fraction(basis.markup) * factor for value in values]
    charges = rounded(exact, places_of(basis.currency))
    found = tuple(
        Statement(basis, value, _lines(basis, by_value[value], shares[value], charge), charge, wholes[value])
        for value, charge in zip(values, charges, strict=True)
    )
    return Statements(basis, found, sum(charges, Decimal(0).scaleb(-places_of(basis.currency))), unattributed)


def _factor(basis: Basis) -> Fraction:
    """The currency's units for one pico-dollar."""
    per_dollar = Fraction(1) if basis.rate is None else basis.rate.per_dollar
    return per_dollar / PICO


def _shares(split: str, shared: Fraction, wholes: Mapping[str, Sum]) -> dict[str, Fraction]:
    """The share of each value in the shared cost, exactly. Where nothing has a cost or a call, parts are equal."""
    if split == "none" or not wholes:
        return dict.fromkeys(wholes, Fraction(0))
    weights = {value: Fraction({"cost": one.cost, "calls": one.calls}.get(split, 1)) for value, one in wholes.items()}
    whole = sum(weights.values(), Fraction(0))
    if not whole:
        weights, whole = dict.fromkeys(wholes, Fraction(1)), Fraction(len(wholes))
    return {value: shared * weight / whole for value, weight in weights.items()}


def _lines(basis: Basis, models: Mapping[str, Sum], share: Fraction, charge: Decimal) -> tuple[StatementLine, ...]:
    factor = _factor(basis)
    names = sorted(models, key=lambda name: (-models[name].cost, name))
    found: list[tuple[Kind, str, Sum | None, Amount]] = [
        ("model", name, models[name], models[name].cost) for name in names
    ]
    if share:
        found.append(("shared", UNATTRIBUTED, None, share))
    added = sum((Fraction(cost) for *_, cost in found), Fraction(0)) * (Fraction(basis.markup) - 1)
    if basis.markup != 1:
        found.append(("markup", f"{basis.markup:f}", None, added))
    amounts = rounded([Fraction(cost) * factor for *_, cost in found], places_of(basis.currency), charge)
    return tuple(
        StatementLine(
            kind,
            name,
            0 if one is None else one.calls,
            0 if one is None else one.input,
            0 if one is None else one.output,
            to_decimal(cost, PICO),
            amount,
            0 if one is None else one.unpriced,
        )
        for (kind, name, one, cost), amount in zip(found, amounts, strict=True)
    )
