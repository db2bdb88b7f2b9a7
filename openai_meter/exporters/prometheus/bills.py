"""The metric families of the last reconciliation of a ledger with OpenAI's bill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from openai_meter.errors import MeterError
from openai_meter.exporters.prometheus.limits import ExtraFamily

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger

__all__ = ["bill_families"]

_Samples = list[tuple[tuple[str, ...], float]]


def bill_families(ledger: Ledger) -> Iterator[ExtraFamily]:
    """What the last ``reconcile`` has found; nothing if there was none. Nothing is fetched."""
    try:
        found = ledger.last_reconciliation()
    except MeterError:  # the database is away: another metric has that
        return
    if found is None:
        return
    covered: _Samples = [
        ((of,), float(found[name]))
        for of, name in (("dollars", "coverage"), ("tokens", "token_coverage"))
        if found.get(name) is not None
    ]
    text = "The part of OpenAI's bill that the ledger has, at the last reconcile."
    yield ExtraFamily("bill_coverage", text, False, ("of",), covered)
    differences: _Samples = [((cause,), float(amount)) for cause, amount in found["causes"].items()]
    text = "US dollars that OpenAI's bill has more than the ledger, by cause, at the last reconcile."
    yield ExtraFamily("bill_difference_usd", text, False, ("cause",), differences)
