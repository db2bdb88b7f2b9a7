"""Calls near midnight that the bill has on the day before or after.

OpenAI bills by the days of UTC, and a call by the moment when it has counted it. The ledger has the moment when it
began. A call is moved only if the sums of both days fit better with it: more of them are equal, and no more is missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import NamedTuple

from openai_meter.ledger.billing.bill import Bill
from openai_meter.ledger.billing.metered import EDGE, Amounts, Cell, Metered, NearCall
from openai_meter.ledger.billing.names import Names
from openai_meter.ledger.billing.owners import Owner

__all__ = ["Move", "find_moves"]

_MOST = 200
"""Calls of one edge that are tried at most."""
_DAY = timedelta(days=1)


class Move(NamedTuple):
    """A call that is billed on another day."""

    call: NearCall
    day: date
    """The day of the bill."""


class _Sides(NamedTuple):
    """What the bill and the ledger have of each day of one project and model, by slot."""

    billed: defaultdict[date, Counter[str]]
    metered: defaultdict[date, Counter[str]]


def find_moves(
    *,
    billed: dict[Cell, Amounts],
    bill: Bill,
    metered: Metered,
    names: Names,
    foreign: frozenset[Owner],
    is_open: frozenset[date],
) -> list[Move]:
    """The calls that the bill has on another day than the ledger."""
    sides: defaultdict[tuple[str | None, str | None], _Sides] = defaultdict(
        lambda: _Sides(defaultdict(Counter), defaultdict(Counter))
    )
    for cell, amounts in billed.items():
        sides[cell.project, cell.model].billed[cell.day][_merged(cell.slot)] += amounts.quantity  # type: ignore[assignment]
    for cell, amounts in metered.cells.items():
        sides[cell.project, cell.model].metered[cell.day][_merged(cell.slot)] += amounts.quantity  # type: ignore[assignment]
    for row in bill.usage:
        if (row.project, row.key) not in foreign and not row.kind.endswith("_calls"):
            sides[row.project, names.model(row.model)].billed[row.day]["requests"] += row.requests or 0
    for group, requests in metered.requests.items():
        if bill.has_usage:
            sides[group.project, group.model].metered[group.day]["requests"] += requests.calls
    near: dict[tuple[str | None, str | None], list[NearCall]] = defaultdict(list)
    for call in metered.near:
        near[call.group.project, call.group.model].append(call)
    moves: list[Move] = []
    for place, calls in near.items():
        for day in sorted({call.group.day for call in calls} | {call.group.day - _DAY for call in calls}):
            moves += _across(sides[place], calls, day, is_open, has_requests=bill.has_usage)
    return moves


def _merged(slot: str) -> str:
    return "cache_write" if slot == "cache_write_12h" else slot


def _across(
    sides: _Sides, calls: list[NearCall], day: date, is_open: frozenset[date], *, has_requests: bool
) -> list[Move]:
    """The calls that have to be moved over the midnight at the end of a day."""
    midnight = datetime.combine(day + _DAY, time(), UTC)
    before = [call for call in calls if call.group.day == day and call.ended >= midnight - EDGE]
    after = [call for call in calls if call.group.day == day + _DAY and call.started <= midnight + EDGE]
    days = [one for one in (day, day + _DAY) if one not in is_open]
    moves: list[Move] = []
    for some, to, sign in ((before, day + _DAY, 1), (after, day, -1)):
        for call in _best(sides, some, day, days, sign, has_requests=has_requests):
            _move(sides, call, day, sign, has_requests=has_requests)
            moves.append(Move(call, to))
    return moves


def _best(
    sides: _Sides, calls: list[NearCall], day: date, days: list[date], sign: int, *, has_requests: bool
) -> Sequence[NearCall]:
    """The calls next to midnight, in the order of their ends or their starts, with which the days fit best."""
    best: Sequence[NearCall] = ()
    least = _misfit(sides, days)
    for key in (_ended, _started):
        ordered = sorted(calls, key=key, reverse=sign > 0)[:_MOST]
        for number, call in enumerate(ordered, 1):
            _move(sides, call, day, sign, has_requests=has_requests)
            found = _misfit(sides, days)
            if found[0] < least[0] and found[1] <= least[1]:
                best, least = ordered[:number], found
        for call in ordered:
            _move(sides, call, day, -sign, has_requests=has_requests)
    return best


def _ended(call: NearCall) -> datetime:
    return call.ended


def _started(call: NearCall) -> datetime:
    return call.started


def _move(sides: _Sides, call: NearCall, day: date, sign: int, *, has_requests: bool) -> None:
    """Moves what the ledger has of a call from a day to the next, or back."""
    for cell, quantity, _, _ in call.parts:
        if cell.model == call.group.model:
            for at, change in ((day, -quantity * sign), (day + _DAY, quantity * sign)):
                sides.metered[at][_merged(cell.slot)] += change  # type: ignore[assignment]
    if has_requests:
        sides.metered[day]["requests"] -= sign
        sides.metered[day + _DAY]["requests"] += sign


def _misfit(sides: _Sides, days: list[date]) -> tuple[int, Fraction]:
    """How many sums are not equal, and by how much of the larger one they differ together."""
    unequal, total = 0, Fraction(0)
    for day in days:
        billed, metered = sides.billed[day], sides.metered[day]
        for slot in billed.keys() | metered.keys():
            more = Fraction(billed[slot]) - Fraction(metered[slot])
            if more:
                unequal += 1
                total += abs(more)
    return unequal, total
