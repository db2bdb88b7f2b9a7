"""Puts a bill next to the calls of a ledger; see the package for the steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from openai_meter.core.call import Call
from openai_meter.ledger.billing.bill import Bill
from openai_meter.ledger.billing.billed import Billed, bill_cells, own_cells
from openai_meter.ledger.billing.causes import Comparison, Part, Side, explain, foreign_parts
from openai_meter.ledger.billing.edges import Move, find_moves
from openai_meter.ledger.billing.evidence import gather
from openai_meter.ledger.billing.line_items import line_item_name, parse_line_item
from openai_meter.ledger.billing.metered import (
    Amounts,
    Cell,
    CellPart,
    Group,
    Metered,
    Rename,
    Requests,
    cell_parts,
    group_of,
    is_billed,
    meter_calls,
    regrouped,
)
from openai_meter.ledger.billing.names import Names
from openai_meter.ledger.billing.owners import Owner, foreign_keys, projects_without_name
from openai_meter.ledger.billing.prices import Prices
from openai_meter.ledger.billing.reconciliation import Line, Reconciliation
from openai_meter.ledger.billing.tiers import settle_tiers
from openai_meter.ledger.billing.token_coverage import token_coverage
from openai_meter.pricing import PriceBook

__all__ = ["MARGIN", "compare_bill"]

MARGIN = timedelta(days=1)
"""What is read before and after the days that are compared: calls near midnight may be billed there."""


Calls = Callable[[date, date], Iterable[Call]]
"""The calls from a day until before another one, in UTC."""


def compare_bill(
    calls: Calls, bill: Bill, since: date, until: date, *, book: PriceBook, now: datetime
) -> Reconciliation:
    """Compares the days from ``since`` until before ``until`` (UTC).

    Args:
        calls: gives the calls of some days. It is called for these days with one before and after them, and again for
            single days.
        bill: the usage and the costs of the same days.
        since: the first day.
        until: the day after the last one.
        book: the prices of calls that were read without their bill.
        now: days that have not ended then are open.
    """
    metered = meter_calls(calls(since - MARGIN, until + MARGIN), book)
    names, prices = Names(metered.models), Prices(book)
    bill, rename = _named_projects(bill, metered, names)
    metered = metered.renamed(rename)
    foreign = foreign_keys(bill, metered, names)
    billed = bill_cells(bill, metered, names, prices, foreign)
    if not billed.long_named:
        rename = _without_bracket(rename)
        metered = metered.renamed(rename)
    own = own_cells(billed, foreign, metered.projects)
    opened = frozenset(cell.day for cell in (*billed.names, *metered.cells) if _is_open(cell.day, now))
    moves = find_moves(billed=own, bill=bill, metered=metered, names=names, foreign=foreign, is_open=opened)
    side = _side(own, metered, moves)
    _count_requests(side, bill, names, foreign)
    settled = settle_tiers(side, prices, _CallsOfDay(calls, book, rename, moves))
    comparison = explain(side, metered, prices)
    others = list(foreign_parts(billed, foreign, metered.projects))
    parts = [*others, *_moved_parts(moves), *settled, *comparison.parts]
    view = _View(since, until, opened, parts, others, billed, comparison, metered)
    lines = view.lines()
    return Reconciliation(
        since=since,
        until=until - timedelta(days=1),
        made_at=now.isoformat(timespec="seconds"),
        lines=lines,
        causes=gather(
            view.parts_in_span(),
            bill=bill,
            names=names,
            comparison=comparison,
            prices=prices,
            side=side,
            moves=moves,
            today=now.date(),
        ),
        open_days=tuple(sorted(day for day in opened if since <= day < until)),
        notes=bill.notes,
        token_coverage=token_coverage(line for line in lines if not line.is_open),
        has_usage=bill.has_usage,
    )


def _is_open(day: date, now: datetime) -> bool:
    """Whether a day has not ended."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) > now


def _named_projects(bill: Bill, metered: Metered, names: Names) -> tuple[Bill, Rename]:
    """The bill, and what renames the cells of the ledger, so that both have the same projects.

    The ledger may have calls without a project.
    """
    found = projects_without_name(bill, metered, names)
    if len(found) == 1:
        (project,) = found
        return bill, lambda cell: cell._replace(project=project) if cell.project is None else cell
    usage = tuple(row._replace(project=None) if row.project in found else row for row in bill.usage)
    costs = tuple(row._replace(project=None) if row.project in found else row for row in bill.costs)
    return bill._replace(usage=usage, costs=costs), lambda cell: cell


def _without_bracket(rename: Rename) -> Rename:
    return lambda cell: rename(cell)._replace(bracket=None)


class _CallsOfDay:
    """The calls of a group as cells, on the days of the bill. Reads a day once."""

    def __init__(self, calls: Calls, book: PriceBook, rename: Rename, moves: list[Move]) -> None:
        self._calls, self._book, self._rename = calls, book, rename
        self._moves = moves
        self._day: date | None = None
        self._groups: dict[Group, list[tuple[CellPart, ...]]] = {}

    def __call__(self, group: Group) -> list[tuple[CellPart, ...]]:
        """The cells of each call."""
        if self._day != group.day:
            self._day, self._groups = group.day, self._read(group.day)
        return self._groups.get(group, [])

    def _read(self, day: date) -> dict[Group, list[tuple[CellPart, ...]]]:
        found: dict[Group, list[tuple[CellPart, ...]]] = defaultdict(list)
        gone = {(move.call.group, move.call.started) for move in self._moves}
        for call in filter(is_billed, self._calls(day, day + timedelta(days=1))):
            group = regrouped(group_of(call), self._rename)
            if (group, call.started_at) not in gone:
                found[group].append(tuple(_renamed(cell_parts(call, self._book), self._rename)))
        for move in self._moves:
            if move.day == day:
                found[move.call.group._replace(day=day)].append(
                    tuple(part._replace(cell=part.cell._replace(day=day)) for part in move.call.parts)
                )
        return found


def _renamed(parts: Iterable[CellPart], rename: Rename) -> Iterator[CellPart]:
    return (part._replace(cell=rename(part.cell)) for part in parts)


def _side(own: dict[Cell, Amounts], metered: Metered, moves: list[Move]) -> Side:
    """Both sides of the ledger's own keys, with calls near midnight on the days of the bill."""
    cells: defaultdict[Cell, Amounts] = defaultdict(Amounts)
    for cell, amounts in metered.cells.items():
        cells[cell].add(amounts.quantity, amounts.amount, amounts.unpriced)
    calls: defaultdict[Group, Requests] = defaultdict(Requests)
    for group, requests in metered.requests.items():
        calls[group].add(requests)
    for move in moves:
        for cell, quantity, amount, unpriced in move.call.parts:
            cells[cell].add(-quantity, -amount, -unpriced)
            cells[cell._replace(day=move.day)].add(quantity, amount, unpriced)
        calls[move.call.group].calls -= 1
        calls[move.call.group._replace(day=move.day)].calls += 1
    kept = {cell: amounts for cell, amounts in cells.items() if amounts.quantity or amounts.amount}
    return Side(own, kept, {}, dict(calls), {})


def _count_requests(side: Side, bill: Bill, names: Names, foreign: frozenset[Owner]) -> None:
    """Adds the requests of the bill with the ledger's own keys."""
    for row in bill.usage:
        if (row.project, row.key) not in foreign and not row.kind.endswith("_calls"):
            group = Group(row.day, row.project, names.model(row.model))
            side.requests[group] = side.requests.get(group, 0) + (row.requests or 0)
            side.kinds.setdefault((group.project, group.model), set()).add(row.kind)


def _moved_parts(moves: list[Move]) -> list[Part]:
    """The differences on both days of calls near midnight."""
    parts = []
    for move in moves:
        for cell, quantity, amount, _ in move.call.parts:
            parts.append(Part("time_zone", cell, -amount, -quantity))
            parts.append(Part("time_zone", cell._replace(day=move.day), amount, quantity))
    return parts


class _View(NamedTuple):
    """The days that are asked for."""

    since: date
    until: date
    opened: frozenset[date]
    parts: list[Part]
    others: list[Part]
    """Those of the parts that are of other projects and keys."""
    billed: Billed
    comparison: Comparison
    metered: Metered

    def parts_in_span(self) -> list[Part]:
        """The parts of the days that are compared. Those of an open day are one cause."""
        return [
            part._replace(cause="open_day", facts=()) if part.cell.day in self.opened else part
            for part in self.parts
            if self.since <= part.cell.day < self.until
        ]

    def lines(self) -> tuple[Line, ...]:
        """A line for each day, project and line item."""
        theirs: defaultdict[Cell, Amounts] = defaultdict(Amounts)
        for cell, amounts in self.comparison.billed.items():
            theirs[cell].add(amounts.quantity, amounts.amount)
        for part in self.others:
            theirs[part.cell].add(part.quantity, part.amount)
        naming = _Naming(self.billed)
        merged: dict[tuple[date, str | None, str], list[Cell]] = defaultdict(list)
        for cell in sorted({*theirs, *self.metered.cells}, key=repr):
            if self.since <= cell.day < self.until:
                merged[cell.day, cell.project, naming.name(cell)].append(cell)
        causes: dict[Cell, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        for part in self.parts_in_span():
            causes[part.cell][part.cause] += part.amount
        return tuple(
            self._line(place, cells, theirs, causes)
            for place, cells in sorted(merged.items(), key=lambda pair: tuple(map(str, pair[0])))
        )

    def _line(
        self,
        place: tuple[date, str | None, str],
        cells: list[Cell],
        theirs: dict[Cell, Amounts],
        causes: dict[Cell, dict[str, Fraction]],
    ) -> Line:
        day, project, name = place
        billed, metered = Amounts(), Amounts()
        reasons: dict[str, Fraction] = defaultdict(Fraction)
        for cell in cells:
            for total, found in ((billed, theirs.get(cell)), (metered, self.metered.cells.get(cell))):
                if found is not None:
                    total.add(found.quantity, found.amount, found.unpriced)
            for cause, amount in causes.get(cell, {}).items():
                reasons[cause] += amount
        unknown = metered.quantity > 0 and metered.unpriced == metered.quantity
        return Line(
            day, project, name, cells[0].model, cells[0].slot, billed.amount, None if unknown else metered.amount,
            billed.quantity, metered.quantity, dict(reasons), day in self.opened,
        )  # fmt: skip


class _Naming:
    """The names of the lines of cells: as the bill has them, on that day or on another one."""

    def __init__(self, billed: Billed) -> None:
        self._exact = billed.names
        self._any_day: dict[tuple[object, ...], str] = {}
        for cell, name in billed.names.items():
            self._any_day.setdefault(cell[2:], name)
            if parse_line_item(name).tier is None:
                self._any_day.setdefault((cell.model, None, cell.bracket, cell.slot), name)

    def name(self, cell: Cell) -> str:
        """The name of the line of a cell."""
        if (name := self._exact.get(cell)) is not None:
            return name
        for key in (tuple(cell[2:]), (cell.model, None, cell.bracket, cell.slot)):
            if (name := self._any_day.get(key)) is not None and self._fits(name, cell):
                return name
        return line_item_name(cell.model, cell.slot, cell.tier, cell.bracket)

    @staticmethod
    def _fits(name: str, cell: Cell) -> bool:
        """Whether a line that states a tier states that of the cell."""
        tier = parse_line_item(name).tier
        return tier is None or tier == cell.tier
