"""Stores the calls that wait in the spool: of this process, and of processes that have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from openai_meter.ledger.holding import LatePrices
from openai_meter.ledger.intake import Intake, read_batches
from openai_meter.ledger.rows import Row
from openai_meter.ledger.spool import Segment, Spool
from openai_meter.ledger.stats import Counts

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["replay"]

Store = Callable[[Mapping[str, Row]], int]
"""Stores rows, and returns how many of them are new."""


def replay(
    spool: Spool, intake: Intake, counts: Counts, store: Store, find_prices: Callable[[], PriceBook | None]
) -> None:
    """Stores what is in the spool, oldest first. Calls without a price come last: another segment may have the price.

    A segment is deleted when all of its calls are stored. If ``store`` raises, the segments that are left stay in the
    spool. To be called by the thread that writes only.

    Raises:
        Exception: whatever ``store`` raises.
    """
    intake.left_behind = False
    segments: list[Segment] = []
    try:
        for segment in spool.take():
            segments.append(segment)
            if not _replay_priced(segment, intake, counts, store):
                spool.delete(segments.pop())
        prices = LatePrices(find_prices)
        while segments:
            for lines in read_batches(segments[0]):
                counts.add("replayed", store(prices.price(lines.waiting)))
            spool.delete(segments.pop(0))
    finally:
        for segment in segments:
            spool.release(segment)
        intake.left_behind |= bool(segments)


def _replay_priced(segment: Segment, intake: Intake, counts: Counts, store: Store) -> bool:
    """Stores the calls of a segment that have their price; returns whether it has others."""
    damaged: list[bytes] = []
    number = waiting = 0
    for lines in read_batches(segment):
        store(lines.rows)
        number += len(lines.rows)
        waiting += len(lines.waiting)
        damaged += lines.damaged
    counts.add("replayed", number)
    intake.damaged(damaged)
    return waiting > 0
