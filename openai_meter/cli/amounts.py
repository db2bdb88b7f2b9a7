"""Amounts in US dollars that can be negative or unknown, for the commands that compare."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["difference", "money"]


def money(amount: Decimal | None) -> str:
    """An amount in dollars; ``?`` if it is unknown."""
    from openai_meter.reports.words import dollars  # noqa: PLC0415 - not for `run`

    return "?" if amount is None else f"-{dollars(-amount)}" if amount < 0 else dollars(amount)


def difference(amount: Decimal) -> str:
    """A difference in dollars, with its sign."""
    return f"+{money(amount)}" if amount > 0 else money(amount)
