"""Price rows that a bill suggests, in the form of ``overlay.toml``: ``install(prices="prices.toml")`` takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from openai_meter.core.money import usd
from openai_meter.ledger.billing.causes import Comparison, Part
from openai_meter.ledger.billing.line_items import FEES
from openai_meter.ledger.billing.prices import Prices
from openai_meter.pricing.types import LONG_CONTEXT, SLOTS

__all__ = ["Proposal", "propose", "propose_fee"]

_SOURCE = '"the costs of the organization"'

_Slot = tuple[str | None, str]
"""The bracket and the slot of a price."""
_Changes = Mapping[_Slot, Fraction]


class Proposal(NamedTuple):
    """A price row."""

    model: str
    tier: str
    since: date
    until: date | None
    """The first day on which the row does not hold; ``None``: it holds on."""
    toml: str


def propose(comparison: Comparison, prices: Prices, checked: date) -> tuple[Proposal, ...]:
    """The rows that make our prices those of the bill, for each model and tier with a difference of prices.

    Args:
        comparison: the differences.
        prices: our prices.
        checked: the day of today, which the rows state.
    """
    found: dict[tuple[str, str], dict[date, dict[_Slot, Fraction]]] = defaultdict(lambda: defaultdict(dict))
    for part in comparison.parts:
        cell, price = part.cell, dict(part.facts).get("billed_unit_price")
        if part.cause == "price" and price is not None and cell.model is not None and cell.slot in SLOTS:
            found[cell.model, cell.tier][cell.day][cell.bracket, cell.slot] = price
    agreed: dict[tuple[str | None, str], dict[_Slot, set[date]]] = defaultdict(lambda: defaultdict(set))
    for cell in comparison.agreed:
        agreed[cell.model, cell.tier][cell.bracket, cell.slot].add(cell.day)
    rows: list[Proposal] = []
    # A row of the default tier ends the use of the catalog for all tiers, so it stands first, with rows for the others.
    for (model, tier), days in sorted(
        found.items(), key=lambda pair: (pair[0][0], pair[0][1] != "default", pair[0][1])
    ):
        for since, until, changes in _spans(days, agreed[model, tier]):
            rates = prices.rates(model, since)
            others = {name for name, _ in rates if name != tier} if tier == "default" else set()
            tables = [_table(model, tier, (since, until), rates, changes, checked=checked)]
            tables += [_table(model, other, (since, until), rates, {}, checked=checked) for other in sorted(others)]
            rows.append(Proposal(model, tier, since, until, "\n".join(tables)))
    return tuple(rows)


def _spans(
    days: Mapping[date, _Changes], agreed: Mapping[_Slot, set[date]]
) -> list[tuple[date, date | None, _Changes]]:
    """Spans of days with the same prices. A day on which the prices agree ends a span; one without traffic does not."""
    spans: list[tuple[date, date | None, dict[_Slot, Fraction]]] = []
    last = min(days)
    for day, changes in sorted(days.items()):
        if spans and spans[-1][1] is None:
            since, _, before = spans[-1]
            same = all(before.get(key, price) == price for key, price in changes.items())
            if same and _first_agreed(before, agreed, last, day) is None:
                spans[-1] = since, None, {**before, **changes}
                last = day
                continue
            spans[-1] = since, _first_agreed(before, agreed, last, day) or day, before
        spans.append((day, None, dict(changes)))
        last = day
    since, _, changes = spans[-1]
    spans[-1] = since, _first_agreed(changes, agreed, last, date.max), changes
    return list(spans)


def _first_agreed(changes: _Changes, agreed: Mapping[_Slot, set[date]], after: date, before: date) -> date | None:
    """The first day between two others on which a price of a span is not different."""
    return min((day for key in changes for day in agreed.get(key, ()) if after < day < before), default=None)


def _table(
    model: str,
    tier: str,
    span: tuple[date, date | None],
    rates: Mapping[tuple[str, str | None], Mapping[str, Fraction]],
    changes: _Changes,
    *,
    checked: date,
) -> str:
    """A row is a whole price list: what the bill does not have stays as it is."""
    since, until = span
    short, long = (
        {**rates.get((tier, bracket), {}), **{slot: price for (one, slot), price in changes.items() if one == bracket}}
        for bracket in (None, "long")
    )
    lines = ["[[price]]", f"models = [{_quoted(model)}]"]
    lines += [f"tier = {_quoted(tier)}"] if tier != "default" else []
    lines += [f"from = {since.isoformat()}"]
    lines += [f"until = {until.isoformat()}"] if until is not None else []
    lines += [f"{slot} = {_dollars(slot, price)}" for slot, price in short.items() if slot in SLOTS]
    if long:
        inner = ", ".join(f"{slot} = {_dollars(slot, price)}" for slot, price in long.items() if slot in SLOTS)
        lines += [f"long_from = {LONG_CONTEXT}", f"long = {{ {inner} }}"]
    lines += [f"source = {_SOURCE}", f"checked = {checked.isoformat()}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text of TOML."""
    escaped = "".join(f"\\u{ord(one):04x}" if one in '"\\' or ord(one) < 32 else one for one in text)
    return f'"{escaped}"'


def _dollars(slot: str, price: Fraction) -> str:
    """Dollars for as many units as the slot is priced by, at twelve digits after the point at most."""
    return f"{round(usd(price * SLOTS[slot][1]), 12).normalize():f}"


def propose_fee(parts: Iterable[Part], checked: date) -> str | None:
    """A row for the fee of a tool, if the bill has another price for the same number of uses."""
    for part in parts:
        slot, price = part.cell.slot, dict(part.facts).get("billed_unit_price")
        if part.cause == "tool_fee" and slot in FEES and price is not None:
            return "\n".join([
                "[[fee]]", f"names = [{_quoted(_FEE_NAMES.get(slot, slot))}]", f"usd = {usd(price):f}",
                f"source = {_SOURCE}", f"checked = {checked.isoformat()}", "",
            ])  # fmt: skip
    return None


_FEE_NAMES = {"container": "container_1g"}
