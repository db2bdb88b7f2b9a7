"""Which model of the same family is the next smaller one.

A row names a model and the smaller ones to try instead, the best first. To add a model, add a row; to retire one, add
the day on which it stops answering to :data:`ENDS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

__all__ = ["ENDS", "SMALLER", "smaller"]

SMALLER: Mapping[str, tuple[str, ...]] = {
    "gpt-6.2-astra": ("gpt-6.2-sol",),
    "gpt-6.2-sol": ("gpt-6.1-terra",),
    "gpt-6.1-sol": ("gpt-6.1-terra",),
    "gpt-6.1-terra": ("gpt-6-luna",),
    "gpt-6-astra": ("gpt-6-sol",),
    "gpt-6-sol": ("gpt-6-luna",),
    "gpt-5.6-sol": ("gpt-5.6-terra",),
    "gpt-5.6-terra": ("gpt-5.6-luna",),
    "gpt-5.5-pro": ("gpt-5.5",),
    "gpt-5.5": ("gpt-5.4-mini",),
    "gpt-5.4-pro": ("gpt-5.4",),
    "gpt-5.4": ("gpt-5.4-mini",),
    "gpt-5.4-mini": ("gpt-5.4-nano",),
    "gpt-5.2-pro": ("gpt-5.2",),
    "gpt-5.2": ("gpt-5.4-mini",),
    "gpt-5.1": ("gpt-5-mini", "gpt-5.4-mini"),
    "gpt-5-pro": ("gpt-5", "gpt-5.4"),
    "gpt-5": ("gpt-5-mini", "gpt-5.4-mini"),
    "gpt-5-mini": ("gpt-5-nano", "gpt-5.4-nano"),
    "gpt-4.1": ("gpt-4.1-mini",),
    "gpt-4.1-mini": ("gpt-4.1-nano",),
    "gpt-4o": ("gpt-4o-mini",),
    "o3-pro": ("o3",),
    "o3": ("o4-mini",),
    "o1-pro": ("o1",),
    "o1": ("o3-mini",),
}

ENDS: Mapping[str, date] = {
    "gpt-5.4-nano": date(2027, 4, 1),
    "gpt-4.1-mini": date(2027, 1, 14),
    "gpt-4o-mini": date(2027, 1, 14),
    "gpt-5": date(2026, 12, 11),
    "gpt-5-mini": date(2026, 12, 11),
    "gpt-5-nano": date(2026, 12, 11),
    "o3": date(2026, 12, 11),
    "gpt-4.1-nano": date(2026, 10, 23),
    "o1": date(2026, 10, 23),
    "o3-mini": date(2026, 10, 23),
    "o4-mini": date(2026, 10, 23),
}
"""The announced shutdown dates of the smaller ones (SDK 3.54.0, docstring of ``ChatModel``)."""

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def smaller(model: str, today: date) -> str | None:
    """The next smaller model that still answers today, or ``None``. A dated snapshot counts as its model."""
    return next((one for one in SMALLER.get(_DATED.sub("", model), ()) if ENDS.get(one, date.max) > today), None)
