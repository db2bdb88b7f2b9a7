"""The metric families of budgets: limits, what is spent and held, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from openai_meter.core.money import to_float
from openai_meter.exporters.prometheus.limits import ExtraFamily

if TYPE_CHECKING:
    from openai_meter.budgets import BudgetStatus
    from openai_meter.metering.meter import Readable

__all__ = ["budget_families"]

_KEYS = 100
"""Keys of one budget that have series of their own: those that have spent the most."""
_FIGURES = {
    "limit": "What a budget can spend in one window.",
    "spent": "What a budget has spent in its window.",
    "held": "The most that open calls of a budget can cost.",
}


def budget_families(source: Readable) -> Iterator[ExtraFamily]:
    """The budgets of a meter or a block, by name and key; nothing where there are none."""
    found: list[BudgetStatus] = []
    for view in source.budgets.values():
        found += sorted(view.all(), key=lambda status: status.spent, reverse=True)[:_KEYS]
    if not found:
        return
    labels = ("budget", "key")
    for unit in sorted({status.unit for status in found}):
        some = [status for status in found if status.unit == unit]
        for figure, text in _FIGURES.items():
            samples = [(_key(status), to_float(getattr(status, figure))) for status in some]
            yield ExtraFamily(f"budget_{figure}_{unit}", f"{text} In {unit}.", False, labels, samples)
    refused = [(_key(status), float(status.refused)) for status in found]
    yield ExtraFamily("budget_refused", "Calls that a budget has refused in its window.", False, labels, refused)


def _key(status: BudgetStatus) -> tuple[str, str]:
    return status.name, status.key or ""
