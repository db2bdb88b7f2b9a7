"""A cause in one sentence, in the language of the user."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from openai_meter.core.formatting import exact_dollars, printable
from openai_meter.core.locale import Messages
from openai_meter.ledger.billing.reconciliation import Cause

__all__ = ["about", "name", "place", "why"]

_SHOWN = 3
"""Unit prices, keys in a sentence at most."""


def name(kind: str, m: Messages) -> str:
    """The name of a cause."""
    return m(f"reconcile.cause.{kind}")


def place(cause: Cause) -> str:
    """The project and the model, as far as there is one."""
    return ", ".join(printable(text) for text in (cause.project, cause.model) if text is not None)


def about(cause: Cause, m: Messages) -> str:
    """The place and the evidence in one sentence."""
    where, evidence = place(cause), why(cause, m)
    return m("reconcile.at", where=where, why=evidence) if where else evidence


def why(cause: Cause, m: Messages) -> str:
    """What shows the cause."""
    found, key = cause.evidence, f"reconcile.why.{cause.kind}"
    if cause.kind in {"another_project", "another_key"}:
        keys = ", ".join(printable(one) for one in found["keys"][:_SHOWN]) or "?"
        return m(key, n=found["requests"], text=keys)
    if cause.kind in {"tier", "cache_write_ttl"}:
        return m(key, metered=printable(found["metered_as"]), billed=printable(found["billed_as"]))
    if cause.kind == "tool_fee":
        fee = m(f"page.item.{found['fee']}") if f"page.item.{found['fee']}" in m else found["fee"].replace("_", " ")
        return m(key, fee=fee, billed=found["billed_uses"], metered=found["metered_uses"])
    if cause.kind == "price":
        return m(key, prices="; ".join(_price(one, m) for one in found["unit_prices"][:_SHOWN]))
    if cause.kind == "time_zone":
        return m(key, n=found["calls"])
    if cause.kind in {"storage", "open_day"}:
        return m(key)
    if found.get("calls_without_usage") and cause.kind == "not_counted":
        return m("reconcile.why.without_usage", n=found["calls_without_usage"])
    if cause.kind == "estimated":
        return m(key, n=found.get("estimated_calls", 0))
    if found.get("billed_requests") is None:
        return m("reconcile.why.no_requests")
    return m(key, billed=found["billed_requests"], metered=found["metered_calls"])


def _price(unit: dict[str, Any], m: Messages) -> str:
    """Both unit prices of a slot, per million."""

    def million(text: str) -> str:
        return exact_dollars(Decimal(text) * 1_000_000, m.numbers)

    item = f"page.item.{unit['slot']}"
    slot = m(item) if item in m else str(unit["slot"]).replace("_", " ")
    if unit["metered"] is None:
        return m("reconcile.why.unpriced_of", slot=slot, billed=million(unit["billed"]))
    return m("reconcile.why.price_of", slot=slot, billed=million(unit["billed"]), metered=million(unit["metered"]))
