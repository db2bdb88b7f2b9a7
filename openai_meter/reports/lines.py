"""Reports on one line, for logs, prompts and status bars."""

from __future__ import annotations

from openai_meter.reports.values import Report
from openai_meter.store import Totals

__all__ = ["compact", "plural"]


def plural(number: int, thing: str) -> str:
    """A number and what it counts: ``1 call``, ``1,024 calls``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _tokens(totals: Totals) -> str:
    tokens = totals.usage.total_tokens or 0
    if not totals.unmeasured_calls:
        return plural(tokens, "token")
    return f"{tokens:,}+ tokens" if tokens else "? tokens"


def compact(report: Report) -> str:
    """``8 calls | 5,137 tokens | 1 error``: what is zero is left out, but for the first two."""
    totals = report.totals
    parts = [plural(totals.calls, "call"), _tokens(totals)]
    if totals.errors:
        parts.append(plural(totals.errors, "error"))
    if totals.unmeasured_calls:
        parts.append(f"{plural(totals.unmeasured_calls, 'call')} of unknown size")
    if report.pending:
        parts.append(f"{report.pending:,} open")
    return " | ".join(parts)
