"""Prices calls again that have no full price, and corrects the sums that they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from openai_meter.core.call import Call
from openai_meter.core.dimensions import Table
from openai_meter.core.totals import NOT_PRICED, Unpriced
from openai_meter.metering.unpriced import note_unpriced

__all__ = ["Repriced", "reprice"]


class Repriced(NamedTuple):
    """The memory of a meter after some of its calls were priced again. All of it is new; nothing was changed."""

    table: Table
    reasons: dict[tuple[str, str], Unpriced]
    changed: Mapping[str, Call]
    """The calls whose price changed, by their ids."""
    unpriced: list[Call]
    """The calls that still have no full price, in their order."""


def reprice(
    table: Table, reasons: Mapping[tuple[str, str], Unpriced], calls: Iterable[Call], price: Callable[[Call], Call]
) -> Repriced:
    """Prices calls again that are in a table, and returns the table and the reasons as they are then."""
    new = Repriced(table.copy(), dict(reasons), changed := {}, [])
    for before in calls:
        after = price(before)
        if (after.cost_pico, after.cost_status, after.cost_reason) != (
            before.cost_pico, before.cost_status, before.cost_reason,
        ):  # fmt: skip
            changed[before.id] = after
            key, _ = table.find(before)
            new.table.sums[key] = new.table.sums[key].repriced(before, after)
            note_unpriced(new.reasons, before, -1)
            if after.cost_status in NOT_PRICED:
                note_unpriced(new.reasons, after, 1)
        if after.cost_status in NOT_PRICED:
            new.unpriced.append(after)
    return new
