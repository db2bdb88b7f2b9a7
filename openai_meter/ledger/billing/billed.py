"""The rows of a bill as cells: each line per day, project, key, model, tier and slot, with its share of the costs.

A line of the costs may stand for several tiers, keys or cache lifetimes, as its name need not state them. Then the
usage states how many tokens each of them has, and the amount is shared in proportion to what these cost at our prices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from openai_meter.ledger.billing.bill import Bill, CostRow, UsageRow
from openai_meter.ledger.billing.line_items import FEES, OTHER, LineItem, base_units, parse_line_item
from openai_meter.ledger.billing.metered import Amounts, Cell, Group, Metered
from openai_meter.ledger.billing.names import Names
from openai_meter.ledger.billing.owners import Owner
from openai_meter.ledger.billing.prices import Prices, same_amount

__all__ = ["Billed", "Share", "bill_cells", "own_cells"]

_FAMILIES = {"cache_write": ("cache_write", "cache_write_12h")}
"""The slots that a line may stand for besides its own."""


class Share(NamedTuple):
    """The part of a cell that was used with one key."""

    cell: Cell
    key: str | None


@dataclass
class Billed:
    """What the bill has."""

    shares: defaultdict[Share, Amounts] = field(default_factory=lambda: defaultdict(Amounts))
    names: dict[Cell, str] = field(default_factory=dict)
    """How the bill calls a cell."""
    long_named: bool = False
    """Whether lines state that requests were long. If not, the cells of the ledger must not do so either."""


class _Used(NamedTuple):
    key: str | None
    tier: str
    slot: str


def bill_cells(
    bill: Bill, metered: Metered, names: Names, prices: Prices, foreign: frozenset[Owner] = frozenset()
) -> Billed:
    """The cells of a bill.

    Args:
        bill: the bill.
        metered: what the ledger has.
        names: the names of models.
        prices: our prices.
        foreign: the keys that are not ours.
    """
    return _Sharing(bill, metered, names, prices, foreign).billed()


class _Sharing:
    def __init__(self, bill: Bill, metered: Metered, names: Names, prices: Prices, foreign: frozenset[Owner]) -> None:
        self._names, self._prices, self._foreign, self._blocks = names, prices, foreign, metered.blocks
        self._rows = [(row, parse_line_item(row.line_item, row.unit)) for row in bill.costs]
        self._keys_named = any(row.key for row in bill.costs)
        self._tiers: dict[tuple[date, str | None, str | None], set[str]] = defaultdict(set)
        for row, item in self._rows:
            if item.tier is not None:
                self._tiers[self._place(row, item)].add(item.tier)
        self._long_lived = {
            (self._place(row, item), item.tier) for row, item in self._rows if item.slot == "cache_write_12h"
        }
        """The lines of tokens that are written for 12 hours."""
        self._all_tiers = {item.tier for _, item in self._rows} - {None}
        self._long_named = any(item.bracket for _, item in self._rows)
        self._used: dict[tuple[date, str | None, str | None], dict[_Used, Fraction]] = defaultdict(
            lambda: defaultdict(Fraction)
        )
        for used in bill.usage:
            self._add(used)
        self._metered: dict[tuple[date, str | None, str | None], set[tuple[str, str]]] = defaultdict(set)
        for cell in metered.cells:
            self._metered[cell.day, cell.project, cell.model].add((cell.slot, cell.tier))

    def _add(self, row: UsageRow) -> None:
        model = None if row.kind.endswith("_calls") or row.kind == "code_interpreter_sessions" else row.model
        if row.kind == "vector_stores":
            return  # bytes: the costs are by gibibytes and hours
        place = self._used[row.day, row.project, self._names.model(model)]
        for slot, number in row.counts.items():
            place[_Used(row.key, row.tier, slot)] += number

    def _place(self, row: CostRow, item: LineItem) -> tuple[date, str | None, str | None]:
        return row.day, row.project, self._names.model(item.model)

    def billed(self) -> Billed:
        billed = Billed(long_named=self._long_named)
        sums: dict[tuple[date, str | None, str | None, LineItem], list[Fraction | None]] = {}
        for row, item in self._rows:
            quantity = None if row.quantity is None else base_units(row.quantity, row.unit)
            total = sums.setdefault((row.day, row.project, row.key, item), [Fraction(0), Fraction(0)])
            total[0] = (total[0] or Fraction(0)) + row.amount
            total[1] = None if total[1] is None or quantity is None else total[1] + quantity
        for (day, project, key, item), (amount, quantity) in sums.items():
            place = day, project, self._names.model(item.model)
            parts = self._parts(place, self._known(place, item), key, quantity)
            if quantity is None:
                parts = self._with_block(place, parts, amount or Fraction(0))
            for share, number, part in _shared(parts, amount or Fraction(0), self._prices):
                billed.shares[share].add(number, part)
                billed.names.setdefault(share.cell, item.name)
        return billed

    def _known(self, place: tuple[date, str | None, str | None], item: LineItem) -> LineItem:
        """The item with the slot that it must have, where its name states none and only one is possible."""
        if item.slot != OTHER or item.model is None:
            return item
        slots = {used.slot for used in self._used.get(place, ())} or {slot for slot, _ in self._metered.get(place, ())}
        return item._replace(slot=slots.pop()) if len(slots) == 1 else item

    def _parts(
        self, place: tuple[date, str | None, str | None], item: LineItem, key: str | None, quantity: Fraction | None
    ) -> list[tuple[Share, Fraction]]:
        """The shares that a line stands for, each with its quantity."""
        day, project, model = place
        stated = self._tiers.get(place, set())
        alone = (place, item.tier) in self._long_lived
        slots = (item.slot,) if alone else _FAMILIES.get(item.slot, (item.slot,))
        found = {
            used: number
            for used, number in self._used.get(place, {}).items()
            if used.slot in slots
            and (not self._keys_named or used.key == key or item.slot == "container")
            and (used.tier == item.tier if item.tier is not None else self._unstated(used.tier, stated))
        }
        total = sum(found.values(), Fraction(0))
        if not total:
            tier = item.tier or self._only_tier(place, item.slot)
            cell = Cell(day, project, model, tier, item.bracket, item.slot)
            return [(Share(cell, key), quantity or Fraction(0))]
        parts = [
            (
                Share(
                    Cell(day, project, model, "default" if used.slot in FEES else used.tier, item.bracket, used.slot),
                    key if self._keys_named else used.key,
                ),
                number,
            )
            for used, number in found.items()
        ]
        if quantity is None:
            return parts
        ours = min(Fraction(self._blocks.get(Group(*place), 0)), quantity - total)
        if ours > 0:
            parts = self._more(parts, ours)
            return self._more(parts, quantity - total - ours, of_others=True)
        # Several brackets of one line have the usage together.
        return [(share, number * quantity / total) for share, number in parts]

    def _more(
        self, parts: list[tuple[Share, Fraction]], tokens: Fraction, *, of_others: bool = False
    ) -> list[tuple[Share, Fraction]]:
        """Adds tokens that the usage does not have to the largest part with a key of ours, or of others."""
        some = [part for part in parts if ((part[0].cell.project, part[0].key) in self._foreign) == of_others] or parts
        best = max(some, key=lambda part: (part[0].cell.tier == "default", part[1]))
        return [(share, number + tokens if share == best[0] else number) for share, number in parts]

    def _with_block(
        self, place: tuple[date, str | None, str | None], parts: list[tuple[Share, Fraction]], amount: Fraction
    ) -> list[tuple[Share, Fraction]]:
        """The parts of a line without a quantity: with the tokens of web searches, if the amount is with these."""
        tokens = Fraction(self._blocks.get(Group(*place), 0))
        if not tokens or any(share.cell.slot != "input" for share, _ in parts):
            return parts
        more = self._more(parts, tokens)
        worth = sum(((self._prices.price(share.cell) or 0) * number for share, number in more), Fraction(0))
        return more if same_amount(amount, worth) else parts

    def _unstated(self, tier: str, stated: set[str]) -> bool:
        """Whether a line without a tier may stand for a tier."""
        return tier == "default" or (tier not in stated and tier not in self._all_tiers)

    def _only_tier(self, place: tuple[date, str | None, str | None], slot: str) -> str:
        """The tier of a line without usage: that of the ledger, if it has one only."""
        tiers = {tier for metered_slot, tier in self._metered.get(place, ()) if metered_slot == slot}
        return tiers.pop() if len(tiers) == 1 and not self._all_tiers else "default"


def _shared(
    parts: list[tuple[Share, Fraction]], amount: Fraction, prices: Prices
) -> Iterator[tuple[Share, Fraction, Fraction]]:
    """The amount of a line, shared among its parts."""
    if len(parts) == 1:
        yield (*parts[0], amount)
        return
    weights = [prices.price(share.cell) for share, _ in parts]
    known = [weight for weight in weights if weight]
    if len(known) < len(parts):
        weights = [Fraction(1)] * len(parts)
    worth = [number * (weight or Fraction(1)) for (_, number), weight in zip(parts, weights, strict=True)]
    total = sum(worth, Fraction(0))
    for (share, number), value in zip(parts, worth, strict=True):
        yield share, number, amount * value / total if total else amount / len(parts)


def own_cells(billed: Billed, foreign: frozenset[Owner], projects: set[str | None]) -> defaultdict[Cell, Amounts]:
    """The cells without the keys and projects that are not ours."""
    cells: defaultdict[Cell, Amounts] = defaultdict(Amounts)
    for (cell, key), amounts in billed.shares.items():
        if cell.project in projects and (cell.project, key) not in foreign:
            cells[cell].add(amounts.quantity, amounts.amount)
    return cells
