"""Runs the rules, and sorts the recommendations by their saving."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from openai_meter.core.call import Call
from openai_meter.core.totals import Totals
from openai_meter.reports.advice.call_history import CallHistory
from openai_meter.reports.advice.recommendation import Recommendation
from openai_meter.reports.advice.rules import RULES

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["recommendations"]

_MOST = 5
"""Recommendations of one kind: a program with a hundred agents gets the five that matter most."""


def recommendations(
    calls: Iterable[Call], totals: Totals, prices: PriceBook, *, now: datetime | None = None
) -> tuple[Recommendation, ...]:
    """What could be done better, by these calls: the greatest saving first, then what has none to show.

    Reads the price files if that has not been done. Ten thousand calls take about a tenth of a second.

    Args:
        calls: the calls that are known one by one.
        totals: the sums over all calls of the meter or block, older ones included.
        prices: the prices that savings are computed with.
        now: the present moment; without a zone it is UTC. Models that have been shut down by then are not recommended.
    """
    now = now or datetime.now(UTC)
    history = CallHistory(calls, totals, prices, now if now.tzinfo is not None else now.replace(tzinfo=UTC))
    found: list[Recommendation] = []
    for rule in RULES.values():
        found += islice(sorted(rule(history), key=_weight), _MOST)
    return tuple(sorted(found, key=_weight))


def _weight(one: Recommendation) -> tuple[bool, object, int]:
    return one.saving is None, -(one.saving or 0), -one.calls
