"""The causes of a reconciliation with what shows them: the parts of one cause together, and their evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.ledger.billing.bill import Bill
from openai_meter.ledger.billing.causes import CAUSES, Comparison, Part, Side
from openai_meter.ledger.billing.edges import Move
from openai_meter.ledger.billing.metered import Group, Requests
from openai_meter.ledger.billing.names import Names
from openai_meter.ledger.billing.prices import Prices
from openai_meter.ledger.billing.proposals import Proposal, propose, propose_fee
from openai_meter.ledger.billing.reconciliation import Cause, dollars

__all__ = ["gather"]


class _Known(NamedTuple):
    """What evidence is made of."""

    bill: Bill
    names: Names
    side: Side
    moves: list[Move]


def gather(
    parts: list[Part],
    *,
    bill: Bill,
    names: Names,
    comparison: Comparison,
    prices: Prices,
    side: Side,
    moves: list[Move],
    today: date,
) -> tuple[Cause, ...]:
    """The causes of parts, the largest amounts first.

    Args:
        parts: the parts of the days that are compared.
        bill: the rows of the bill, for the requests of other keys and projects.
        names: the names of models.
        comparison: the differences of all days, for proposals.
        prices: our prices.
        side: the requests of both sides.
        moves: calls that the bill has on another day.
        today: the day that proposals state as that of their check.
    """
    known = _Known(bill, names, side, moves)
    grouped: dict[tuple[Any, ...], list[Part]] = defaultdict(list)
    for part in parts:
        grouped[part.cause, *_GROUPS[part.cause](part)].append(part)
    proposals = propose(comparison, prices, today)
    causes = [_cause(some, known, proposals, today) for some in grouped.values()]
    kept = [cause for cause in causes if cause.amount or cause.kind in {"time_zone", "tier", "cache_write_ttl"}]
    return tuple(sorted(kept, key=lambda cause: (-abs(cause.amount), CAUSES.index(cause.kind), repr(cause))))


_GROUPS: Mapping[str, Callable[[Part], tuple[Any, ...]]] = {
    "another_project": lambda part: (part.cell.project,),
    "another_key": lambda part: (part.cell.project, part.key),
    "another_program": lambda part: (part.cell.project, part.cell.model),
    "tier": lambda part: (part.cell.project, part.cell.model, *_fact(part, "metered_as", "billed_as")),
    "cache_write_ttl": lambda part: (part.cell.project, part.cell.model, *_fact(part, "metered_as", "billed_as")),
    "tool_fee": lambda part: (part.cell.project, part.cell.slot),
    "storage": lambda part: (part.cell.project,),
    "price": lambda part: (part.cell.model, part.cell.tier),
    "not_counted": lambda part: (part.cell.project, part.cell.model, part.cell.model is None and part.cell.slot),
    "estimated": lambda part: (part.cell.project, part.cell.model),
    "time_zone": lambda part: (part.cell.project, part.cell.model),
    "not_billed": lambda part: (part.cell.project, part.cell.model),
    "unexplained": lambda part: (part.cell.project, part.cell.model),
    "open_day": lambda part: (part.cell.day,),
}
"""What the parts of one cause have in common, for each kind."""


def _fact(part: Part, *names: str) -> tuple[Any, ...]:
    facts = dict(part.facts)
    return tuple(facts.get(name) for name in names)


def _cause(parts: list[Part], known: _Known, proposals: tuple[Proposal, ...], today: date) -> Cause:
    first = parts[0]
    kind, cell = first.cause, first.cell
    projects, models = {part.cell.project for part in parts}, {part.cell.model for part in parts}
    days = tuple(sorted({part.cell.day for part in parts}))
    proposal = None
    if kind == "price":
        rows = [row.toml for row in proposals if (row.model, row.tier) == (cell.model, cell.tier)]
        proposal = "\n".join(rows) or None
    elif kind == "tool_fee":
        proposal = propose_fee(parts, today)
    return Cause(
        kind,
        dollars(sum((part.amount for part in parts), Fraction(0))),
        cell.project if len(projects) == 1 else None,
        cell.model if len(models) == 1 else None,
        days,
        _evidence(kind, parts, known),
        proposal,
    )


def _evidence(kind: str, parts: list[Part], known: _Known) -> dict[str, Any]:
    first, days = parts[0], {part.cell.day for part in parts}
    if kind in {"another_project", "another_key"}:
        rows = [
            row
            for row in known.bill.usage
            if row.project == first.cell.project
            and row.day in days
            and (kind == "another_project" or row.key == first.key)
        ]
        keys = sorted({str(part.key) for part in parts if part.key is not None})
        return {"requests": sum(row.requests or 0 for row in rows), "keys": keys, **_amounts(parts)}
    if kind in {"tier", "cache_write_ttl"}:
        metered_as, billed_as = _fact(first, "metered_as", "billed_as")
        return {"metered_as": metered_as, "billed_as": billed_as, "quantity": _whole(_gained(parts))}
    if kind == "price":
        return {"tier": first.cell.tier, "unit_prices": [price for part in _by_slot(parts) for price in [_unit(part)]]}
    if kind == "tool_fee":
        billed = sum(
            known.side.billed[part.cell].quantity for part in _by_cell(parts) if part.cell in known.side.billed
        )
        ours = sum(
            known.side.metered[part.cell].quantity for part in _by_cell(parts) if part.cell in known.side.metered
        )
        units = [_unit(part) for part in _by_slot(parts) if dict(part.facts).get("billed_unit_price") is not None]
        return {
            "fee": first.cell.slot,
            "billed_uses": _whole(billed),
            "metered_uses": _whole(ours),
            "unit_prices": units,
        }
    if kind == "time_zone":
        place = first.cell.project, first.cell.model
        moved = [move for move in known.moves if (move.call.group.project, move.call.group.model) == place]
        moved = [move for move in moved if {move.day, move.call.group.day} & days]
        return {"calls": len(moved), "started_at": [move.call.started.isoformat() for move in moved[:10]]}
    if kind in {"storage", "open_day"}:
        return _amounts(parts)
    return {**_counted(parts, known.side), **_amounts(parts)}


def _amounts(parts: list[Part]) -> dict[str, Any]:
    """The quantities by slot."""
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for part in parts:
        sums[part.cell.slot] += part.quantity
    return {"quantities": {slot: _whole(number) for slot, number in sorted(sums.items()) if number}}


def _counted(parts: list[Part], side: Side) -> dict[str, Any]:
    """The requests of the bill and the calls of the ledger, on the days of the parts."""
    groups = {Group(part.cell.day, part.cell.project, part.cell.model) for part in parts}
    calls = [side.calls.get(group, Requests()) for group in groups]
    requests = [side.requests[group] for group in groups if group in side.requests]
    found: dict[str, Any] = {
        "billed_requests": sum(number or 0 for number in requests) if requests else None,
        "metered_calls": sum(one.calls for one in calls),
    }
    unknown, estimated = sum(one.unknown for one in calls), sum(one.estimated for one in calls)
    if unknown:
        found["calls_without_usage"] = unknown
    if estimated:
        found["estimated_calls"] = estimated
    return found


def _gained(parts: list[Part]) -> Fraction:
    return sum((part.quantity for part in parts if part.quantity > 0), Fraction(0))


def _by_slot(parts: list[Part]) -> list[Part]:
    """One part for each slot, length and pair of prices."""
    return list({(part.cell.bracket, part.cell.slot, part.facts): part for part in parts}.values())


def _by_cell(parts: list[Part]) -> list[Part]:
    return list({part.cell: part for part in parts}.values())


def _unit(part: Part) -> dict[str, Any]:
    """The unit prices of a part in US dollars: of a token per million."""
    facts = dict(part.facts)
    ours, theirs = facts.get("metered_unit_price"), facts["billed_unit_price"]
    return {
        "slot": part.cell.slot,
        "bracket": part.cell.bracket,
        "billed": f"{dollars(theirs):f}",
        "metered": None if ours is None else f"{dollars(ours):f}",
    }


def _whole(number: Fraction | int) -> int | float:
    return int(number) if number == int(number) else float(number)
