"""Which projects and keys of an organization the calls of a ledger were made with.

A ledger has the project of a call where the API named it, and never a key. Which keys are ours is found by the sums:
calls of the ledger have to be somewhere in the usage of these keys, so a key that can be left out without a shortage
is not ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

from openai_meter.ledger.billing.bill import Bill, UsageRow
from openai_meter.ledger.billing.line_items import base_units, parse_line_item
from openai_meter.ledger.billing.metered import Metered
from openai_meter.ledger.billing.names import Names

__all__ = ["Owner", "foreign_keys", "projects_without_name"]

Owner = tuple[str | None, str | None]
"""A project and a key."""

_Sums = Mapping[tuple[str | None, str], Fraction]
"""Quantities by model and slot."""

_EXHAUSTIVE = 10
"""Up to so many keys every choice is tried; of more, one key after the other is left out."""
_SHORTAGE = 20
"""How much worse it is that calls of the ledger are missing in the bill than that the bill has others too."""
_TOLERATED = Fraction(1, 50)
"""The part of a sum that may be missing: estimates, and calls at the ends of the time."""
_MERGED = {"cache_write_12h": "cache_write"}


def foreign_keys(bill: Bill, metered: Metered, names: Names) -> frozenset[Owner]:
    """The keys, with their projects, that have traffic of which the ledger has none."""
    used, ours = _used(bill, names), _metered(metered)
    foreign: set[Owner] = set()
    for project in {project for project, _ in used}:
        keys = {owner: sums for owner, sums in used.items() if owner[0] == project}
        if project in ours and len(keys) > 1:
            own = _best(ours[project], keys)
            foreign |= keys.keys() - own
    return frozenset(foreign)


def projects_without_name(bill: Bill, metered: Metered, names: Names) -> frozenset[str | None]:
    """The projects of the bill that calls without a project were made in. Earlier versions did not record it."""
    ours = _metered(metered)
    by_project: dict[str | None, dict[tuple[str | None, str], Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for (project, _), sums in _used(bill, names).items():
        for key, number in sums.items():
            by_project[project][key] += number
    if None not in ours or None in by_project:
        return frozenset()
    candidates: dict[Owner, _Sums] = {
        (project, None): sums for project, sums in by_project.items() if project not in metered.projects
    }
    return frozenset(project for project, _ in _best(ours[None], candidates)) if candidates else frozenset()


def _used(bill: Bill, names: Names) -> dict[Owner, dict[tuple[str | None, str], Fraction]]:
    """The quantities of each key. Costs stand for them where there is no usage."""
    sums: dict[Owner, dict[tuple[str | None, str], Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for row in bill.usage:
        _add_usage(sums[row.project, row.key], row, names)
    known = set(sums)
    for cost in bill.costs:
        if not bill.usage or (cost.key is not None and (cost.project, cost.key) not in known):
            item = parse_line_item(cost.line_item, cost.unit)
            key = names.model(item.model), _MERGED.get(item.slot, item.slot)
            sums[cost.project, cost.key][key] += base_units(cost.quantity or Fraction(0), cost.unit)
    return sums


def _add_usage(sums: dict[tuple[str | None, str], Fraction], row: UsageRow, names: Names) -> None:
    if row.kind in {"vector_stores", "code_interpreter_sessions"}:
        return  # these have no key
    model = names.model(row.model)
    for slot, number in row.counts.items():
        sums[None if row.kind.endswith("_calls") else model, _MERGED.get(slot, slot)] += number
    if row.requests and not row.kind.endswith("_calls"):
        sums[model, "requests"] += row.requests


def _metered(metered: Metered) -> dict[str | None, dict[tuple[str | None, str], Fraction]]:
    sums: dict[str | None, dict[tuple[str | None, str], Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for cell, amounts in metered.cells.items():
        sums[cell.project][cell.model, _MERGED.get(cell.slot, cell.slot)] += amounts.quantity
    for group, requests in metered.requests.items():
        if not requests.sums:
            sums[group.project][group.model, "requests"] += requests.calls
    return sums


def _best(ours: _Sums, keys: Mapping[Owner, _Sums]) -> set[Owner]:
    """The keys that fit best; of those that fit alike, the fewest. At least one."""
    owners = sorted(keys, key=repr)
    overlapping = [owner for owner in owners if any(keys[owner].get(key) for key, number in ours.items() if number)]
    if len(overlapping) <= _EXHAUSTIVE:
        choices: Iterable[Sequence[Owner]] = (
            choice for size in range(1, len(overlapping) + 1) for choice in combinations(overlapping, size)
        )
        best = min(choices, key=lambda choice: (_misfit(ours, keys, choice), len(choice)), default=tuple(owners[:1]))
        return set(best)
    chosen = list(overlapping)
    while len(chosen) > 1:
        without = [[one for one in chosen if one != owner] for owner in chosen]
        candidate = min(without, key=lambda choice: _misfit(ours, keys, choice))
        if _misfit(ours, keys, candidate) > _misfit(ours, keys, chosen):
            break
        chosen = candidate
    return set(chosen)


def _misfit(ours: _Sums, keys: Mapping[Owner, _Sums], choice: Sequence[Owner]) -> Fraction:
    """How badly the sums of some keys fit to those of the ledger; only what the ledger has is compared."""
    total = Fraction(0)
    for key, number in ours.items():
        if number:
            ratio = sum((keys[owner].get(key, Fraction(0)) for owner in choice), Fraction(0)) / number - 1
            total += min(ratio, Fraction(1)) if ratio >= 0 else max(-ratio - _TOLERATED, Fraction(0)) * _SHORTAGE
    return total
