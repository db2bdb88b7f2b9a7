"""The part of the billed tokens that a ledger has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from openai_meter.ledger.billing.reconciliation import Line, ratio
from openai_meter.pricing.types import SLOTS

__all__ = ["token_coverage"]


def token_coverage(lines: Iterable[Line]) -> Decimal | None:
    """The part of the billed tokens that the ledger has too, per day, project, model and kind.

    Tiers and cache lifetimes are not told apart: a token at another price is a token.
    """
    sums: dict[tuple[object, ...], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for line in lines:
        if SLOTS.get(line.slot, ("", 1))[0] == "token":
            slot = "cache_write" if line.slot == "cache_write_12h" else line.slot
            total = sums[line.day, line.project, line.model, slot]
            total[0] += line.billed_quantity
            total[1] += line.metered_quantity
    both = sum((min(billed, metered) for billed, metered in sums.values()), Fraction(0))
    return ratio(both, sum((billed for billed, _ in sums.values()), Fraction(0)))
