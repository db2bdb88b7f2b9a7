"""Calls that are billed in another tier, or with another cache lifetime, than the ledger has.

What one tier has too much and another one too little need not be the same: another program may have used either of
them. If the surplus of a tier is exactly the sum of some calls of the ledger, these calls are meant. If not, only what
is missing in one tier and too much in the other is moved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from openai_meter.ledger.billing.causes import Part, Side
from openai_meter.ledger.billing.line_items import FEES, OTHER, STORAGE
from openai_meter.ledger.billing.metered import Amounts, Cell, CellPart, Group
from openai_meter.ledger.billing.prices import Prices

__all__ = ["CallsOf", "settle_tiers"]

CallsOf = Callable[[Group], Iterable[tuple[CellPart, ...]]]
"""The cells of each call of a group, on the day of the bill."""

_Vector = Mapping[str, Fraction]
_NODES = 20_000
"""Steps of the search for calls at most."""
_WRITES = ("cache_write", "cache_write_12h")


def settle_tiers(side: Side, prices: Prices, calls_of: CallsOf) -> list[Part]:
    """Moves what the ledger has of a tier or lifetime to that of the bill; returns what this explains."""
    groups: dict[Group, set[Cell]] = defaultdict(set)
    for cell in side.billed.keys() | side.metered.keys():
        if cell.model is not None and cell.slot not in FEES | {STORAGE, OTHER}:
            groups[Group(cell.day, cell.project, cell.model)].add(cell)
    parts: list[Part] = []
    for group, cells in sorted(groups.items(), key=repr):
        work = _Group(group, cells, side, prices, calls_of)
        parts += work.lifetimes()
        parts += work.tiers()
    return parts


class _Group:
    """One model of a project on a day."""

    def __init__(self, group: Group, cells: set[Cell], side: Side, prices: Prices, calls_of: CallsOf) -> None:
        self._group, self._cells, self._side, self._prices, self._calls_of = group, cells, side, prices, calls_of
        self._calls: list[tuple[CellPart, ...]] | None = None

    def _more(self, cell: Cell) -> Fraction:
        """What the bill has more of a cell."""
        return _quantity(self._side.billed, cell) - _quantity(self._side.metered, cell)

    def _all_calls(self) -> list[tuple[CellPart, ...]]:
        if self._calls is None:
            self._calls = list(self._calls_of(self._group))
        return self._calls

    def lifetimes(self) -> list[Part]:
        """Moves cache writes between 30 minutes and 12 hours, within a tier."""
        parts: list[Part] = []
        for cell in sorted((cell for cell in self._cells if cell.slot in _WRITES), key=repr):
            surplus = self._more(cell)
            other = cell._replace(slot=_WRITES[cell.slot == _WRITES[0]])
            ours = _quantity(self._side.metered, other)
            if surplus <= 0 or not ours:
                continue
            lacking = -self._more(other)
            number = self._number({cell.slot: surplus}, {cell.slot: lacking}, other, {other.slot: cell.slot})
            parts += self._move(other, cell, min(number.get(cell.slot, Fraction(0)), ours), "cache_write_ttl")
        return parts

    def tiers(self) -> list[Part]:
        """Moves tokens between tiers."""
        parts: list[Part] = []
        tiers = sorted({(cell.tier, cell.bracket) for cell in self._cells}, key=repr)
        for tier in tiers:
            for other in tiers:
                if tier != other:
                    parts += self._between(other, tier)
        return parts

    def _between(self, source: tuple[str, str | None], target: tuple[str, str | None]) -> list[Part]:
        """Moves tokens from a tier that has too little in the bill to one that has too much."""
        day, project, model = self._group
        slots = sorted({cell.slot for cell in self._cells if (cell.tier, cell.bracket) == target})
        pairs = {
            slot: (Cell(day, project, model, *source, slot), Cell(day, project, model, *target, slot)) for slot in slots
        }
        surplus = {slot: more for slot, (_, to) in pairs.items() if (more := self._more(to)) > 0}
        if not surplus or not any(_quantity(self._side.metered, pairs[slot][0]) for slot in surplus):
            return []
        lacking = {slot: -self._more(pairs[slot][0]) for slot in surplus}
        numbers = self._number(surplus, lacking, Cell(day, project, model, *source, ""), {slot: slot for slot in slots})
        parts: list[Part] = []
        for slot, number in numbers.items():
            begin, end = pairs[slot]
            parts += self._move(begin, end, min(number, _quantity(self._side.metered, begin)), "tier")
        return parts

    def _number(self, surplus: _Vector, lacking: _Vector, source: Cell, slots: Mapping[str, str]) -> _Vector:
        """How much is moved of each slot.

        Args:
            surplus: what the target has too much.
            lacking: what the source lacks; below 0 where it has too much itself.
            source: tier and length from which calls may be moved.
            slots: the slots of a call in the source, and what they are in the target.
        """
        if surplus == lacking:
            return surplus
        if not any(lacking.values()):
            return {}  # the source agrees with the bill
        vectors = []
        for call in self._all_calls():
            vector: dict[str, Fraction] = defaultdict(Fraction)
            for part in call:
                if (part.cell.tier, part.cell.bracket) == (source.tier, source.bracket) and part.cell.slot in slots:
                    vector[slots[part.cell.slot]] += part.quantity
            if any(vector.values()):
                vectors.append(vector)
        missing = {slot: number for slot, number in lacking.items() if number > 0}
        for wanted in (surplus, missing):
            if wanted and _is_sum(vectors, wanted):
                return wanted
        return {slot: min(number, surplus[slot]) for slot, number in missing.items()}

    def _move(self, source: Cell, target: Cell, number: Fraction, cause: str) -> list[Part]:
        """Moves some of the ledger's quantity, and returns what that explains, at our own prices."""
        if number <= 0:
            return []
        ours = self._side.metered[source]
        share = number / ours.quantity
        amount, unpriced = ours.amount * share, ours.unpriced * share
        price = self._prices.price(target)
        if price is None:
            billed = self._side.billed[target]
            price = billed.amount / billed.quantity
        self._side.metered[source] = Amounts(ours.quantity - number, ours.amount - amount, ours.unpriced - unpriced)
        there = self._side.metered.setdefault(target, Amounts())
        self._side.metered[target] = Amounts(there.quantity + number, there.amount + number * price, there.unpriced)
        facts: tuple[tuple[str, Any], ...] = (("metered_as", _label(source)), ("billed_as", _label(target)))
        return [
            Part(cause, target, number * price, number, facts=facts),
            Part(cause, source, -amount, -number, facts=facts),
        ]


def _quantity(cells: Mapping[Cell, Amounts], cell: Cell) -> Fraction:
    return cells[cell].quantity if cell in cells else Fraction(0)


def _label(cell: Cell) -> str:
    """What is different of a cell: its tier, its length, its lifetime."""
    words = [cell.tier, *([cell.bracket] if cell.bracket else [])]
    if cell.slot in _WRITES:
        words.append("12h" if cell.slot == _WRITES[1] else "30m")
    return " ".join(words)


def _is_sum(vectors: list[dict[str, Fraction]], wanted: _Vector) -> bool:
    """Whether some of the vectors have exactly the wanted sum. Gives up after a number of steps."""
    slots = sorted(wanted)
    goal = tuple(wanted[slot] for slot in slots)
    rows = [
        tuple(vector.get(slot, Fraction(0)) for slot in slots)
        for vector in vectors
        if not vector.keys() - wanted.keys()
    ]
    rows = sorted((row for row in rows if all(map(_fits, row, goal))), reverse=True)
    rests: list[tuple[Fraction, ...]] = [tuple(Fraction(0) for _ in slots)]
    for row in reversed(rows):
        rests.append(tuple(map(Fraction.__add__, rests[-1], row)))
    rests.reverse()
    steps = 0
    stack = [(0, goal)]
    while stack and steps < _NODES:
        place, left = stack.pop()
        steps += 1
        if not any(left):
            return True
        if place == len(rows) or any(map(Fraction.__gt__, left, rests[place])):
            continue
        stack.append((place + 1, left))
        if all(map(_fits, rows[place], left)):
            stack.append((place + 1, tuple(map(Fraction.__sub__, left, rows[place]))))
    return False


def _fits(number: Fraction, most: Fraction) -> bool:
    return number <= most
