"""Reports on one line, for logs, prompts and status bars."""

from __future__ import annotations

from decimal import Decimal

from openai_meter.reports.values import Report
from openai_meter.store import Totals

__all__ = ["compact", "cost", "dollars", "plural"]


def plural(number: int, thing: str) -> str:
    """A number and what it counts: ``1 call``, ``1,024 calls``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _tokens(totals: Totals) -> str:
    tokens = totals.usage.total_tokens or 0
    if not totals.unmeasured_calls:
        return plural(tokens, "token")
    return f"{tokens:,}+ tokens" if tokens else "? tokens"


def dollars(amount: Decimal) -> str:
    """An amount of US dollars: two decimals from one dollar up, below that three digits that mean something."""
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    return f"${amount:.{2 - amount.adjusted()}f}"


def cost(totals: Totals) -> str:
    """The cost of some calls: ``?`` is unknown, ``+`` says that there are calls without a full price beside."""
    if totals.cost is None:
        return "?"
    return f"{dollars(totals.cost)}{'+' if totals.unpriced_calls else ''}"


def compact(report: Report) -> str:
    """``8 calls | 5,137 tokens | $0.00162 | 1 error``: what is zero is left out, but for the first three."""
    totals = report.totals
    parts = [plural(totals.calls, "call"), _tokens(totals), cost(totals)]
    if totals.errors:
        parts.append(plural(totals.errors, "error"))
    if totals.unmeasured_calls:
        parts.append(f"{plural(totals.unmeasured_calls, 'call')} of unknown size")
    if report.pending:
        parts.append(f"{report.pending:,} open")
    return " | ".join(parts)
