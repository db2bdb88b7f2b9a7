"""Why the bill and the ledger differ: each difference of a cell is shared among causes, to the last digit.

The difference of a cell is first divided into price and quantity: what both sides have, at the difference of the unit
prices; and what only one side has, at the price of that side. Prices and quantities are so compared apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.ledger.billing.billed import Billed
from openai_meter.ledger.billing.line_items import FEES, OTHER, STORAGE, TRAINING
from openai_meter.ledger.billing.metered import Amounts, Cell, Group, Metered, Requests
from openai_meter.ledger.billing.owners import Owner
from openai_meter.ledger.billing.prices import Prices, unit_price

__all__ = ["CAUSES", "Comparison", "Part", "Side", "explain", "foreign_parts"]

CAUSES = (
    "another_project", "another_key", "another_program", "tier", "cache_write_ttl", "tool_fee", "storage", "price",
    "not_counted", "estimated", "time_zone", "not_billed", "unexplained", "open_day",
)  # fmt: skip
"""The causes, in the order in which they are shown where amounts are equal."""


class Part(NamedTuple):
    """A part of the difference of a cell."""

    cause: str
    cell: Cell
    amount: Fraction
    """Pico-dollars that the bill has more than the ledger."""
    quantity: Fraction = Fraction(0)
    """The quantity that the bill has more than the ledger."""
    key: str | None = None
    facts: tuple[tuple[str, Any], ...] = ()
    """The evidence."""


@dataclass
class Side:
    """What bill and ledger have of the ledger's own projects and keys, on the days of the bill."""

    billed: dict[Cell, Amounts]
    metered: dict[Cell, Amounts]
    requests: dict[Group, int]
    """The requests of the bill, where it has them."""
    calls: dict[Group, Requests]
    kinds: dict[tuple[str | None, str | None], set[str]]
    """The endpoints of the usage API that each project and model is in."""


@dataclass
class Comparison:
    """The parts of all differences, and the amounts of the bill without the rounding of floats."""

    parts: list[Part] = field(default_factory=list)
    billed: defaultdict[Cell, Amounts] = field(default_factory=lambda: defaultdict(Amounts))
    agreed: set[Cell] = field(default_factory=set)
    """The cells whose unit price is the same on both sides."""


class _Difference(NamedTuple):
    """What only one side has of a cell."""

    cell: Cell
    quantity: Fraction
    amount: Fraction
    """At the price of the side that has more."""


def explain(side: Side, metered: Metered, prices: Prices) -> Comparison:
    """Finds the causes for the ledger's own projects and keys."""
    found = Comparison()
    rest: dict[tuple[date, str | None, str | None], list[_Difference]] = defaultdict(list)
    for cell in sorted(side.billed.keys() | side.metered.keys(), key=repr):
        difference = _compare(cell, side, prices, found)
        if difference is not None:
            rest[cell.day, cell.project, cell.model].append(difference)
    models = {(cell.project, cell.model) for cell in metered.cells}
    for (day, project, model), differences in rest.items():
        group = Group(day, project, model)
        for difference in differences:
            cause, facts = _cause(difference, group, side, metered, known=(project, model) in models)
            cell, quantity, amount = difference
            found.parts.append(Part(cause, cell, amount, quantity, facts=tuple(facts.items())))
    return found


def _compare(cell: Cell, side: Side, prices: Prices, found: Comparison) -> _Difference | None:
    """Compares the prices of a cell, and returns what only one side has."""
    billed, metered = side.billed.get(cell, Amounts()), side.metered.get(cell, Amounts())
    ours = metered.amount / metered.quantity if metered.quantity else None
    theirs = unit_price(billed, ours if ours or metered.unpriced == metered.quantity == 0 else prices.price(cell))
    if theirs is None:  # without a quantity there are only dollars to compare
        found.billed[cell].add(billed.quantity, billed.amount)
        more = billed.amount - metered.amount
        return _Difference(cell, -metered.quantity, more) if more or metered.quantity else None
    found.billed[cell].add(billed.quantity, theirs * billed.quantity)
    both = min(billed.quantity, metered.quantity)
    ours = ours or Fraction(0)
    if both and theirs != ours:
        cause = "tool_fee" if cell.slot in FEES else "price"
        facts = {"billed_unit_price": theirs, "metered_unit_price": None if metered.unpriced else ours}
        found.parts.append(Part(cause, cell, both * (theirs - ours), facts=tuple(facts.items())))
    elif both:
        found.agreed.add(cell)
    more = billed.quantity - metered.quantity
    price = theirs if more > 0 else ours
    return _Difference(cell, more, more * price) if more else None


def _cause(
    difference: _Difference, group: Group, side: Side, metered: Metered, *, known: bool
) -> tuple[str, dict[str, Any]]:
    """Why one side has something that the other has not, and the evidence."""
    cell = difference.cell
    if cell.slot == STORAGE:
        return "storage", {"quantity": difference.quantity}
    if cell.slot in FEES:
        return "tool_fee", {"billed_uses": _quantity(side.billed, cell), "metered_uses": _quantity(side.metered, cell)}
    calls = side.calls.get(group, Requests())
    requests = side.requests.get(group)
    facts: dict[str, Any] = {"billed_requests": requests, "metered_calls": calls.calls}
    if difference.quantity < 0 or difference.amount < 0:
        return (
            ("estimated", {**facts, "estimated_calls": calls.estimated}) if calls.estimated else ("not_billed", facts)
        )
    if cell.slot in {OTHER, TRAINING} or not _is_counted(group, cell, side, metered, known=known):
        return "not_counted", facts
    if requests is not None and (requests > calls.calls or _hides_a_move(group, side, metered)):
        return "another_program", facts
    if calls.unknown:
        return "not_counted", {**facts, "calls_without_usage": calls.unknown}
    if calls.estimated:
        return "estimated", {**facts, "estimated_calls": calls.estimated}
    return "unexplained", facts


def _quantity(cells: dict[Cell, Amounts], cell: Cell) -> Fraction:
    return cells[cell].quantity if cell in cells else Fraction(0)


def _hides_a_move(group: Group, side: Side, metered: Metered) -> bool:
    """Whether a call near midnight, billed on the next day, may be why a day has no more requests than the ledger.

    Another program then has more requests than the ledger on both days together.
    """
    places = {call.group for call in metered.near}
    for other in (group._replace(day=group.day - _DAY), group._replace(day=group.day + _DAY)):
        if group in places or other in places:
            both = (group, other)
            billed = sum(side.requests.get(one, 0) for one in both)
            if billed > sum(side.calls.get(one, Requests()).calls for one in both):
                return True
    return False


_DAY = timedelta(days=1)
_SPOKEN = ("realtime", "-live")
"""Parts of the names of models that also work over WebRTC and SIP, which no Python process passes on."""


def _is_counted(group: Group, cell: Cell, side: Side, metered: Metered, *, known: bool) -> bool:
    """Whether the ledger has any call of this shape: else it is one that is not counted here."""
    if known:
        return cell.tier != "batch" or any(batch for _, batch in metered.shapes)
    if group not in side.requests and cell not in side.metered:
        return False  # a line of the costs without requests: videos, and whatever comes next
    if any(part in (cell.model or "") for part in _SPOKEN):
        return False
    kinds = side.kinds.get((group.project, group.model), set())
    return any(metered.shapes.get((kind, cell.tier == "batch")) for kind in kinds)


def foreign_parts(billed: Billed, foreign: frozenset[Owner], projects: Iterable[str | None]) -> Iterator[Part]:
    """The parts of keys and projects that the ledger has never seen."""
    known = set(projects)
    for (cell, key), amounts in billed.shares.items():
        if cell.slot == STORAGE:
            if cell.project not in known or (cell.project, key) in foreign:
                yield Part("storage", cell, amounts.amount, amounts.quantity, key)
        elif cell.project not in known:
            yield Part("another_project", cell, amounts.amount, amounts.quantity, key, (("project", cell.project),))
        elif (cell.project, key) in foreign:
            yield Part("another_key", cell, amounts.amount, amounts.quantity, key, (("key", key),))
