"""Reports on one line, for logs, prompts, status bars and chats."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from openai_meter.core.locale import Messages
from openai_meter.reports import words
from openai_meter.reports.data import ReportData
from openai_meter.reports.text import shown

__all__ = ["compact", "session"]


def compact(report: ReportData, m: Messages, money: Callable[[Decimal], str] | None = None) -> str:
    """``8 calls | 5,137 tokens | $0.00162 | 1 error``: zeros are left out, except in the first three."""
    totals = report.totals
    parts = [
        m("calls", n=totals.calls),
        words.phrase(totals.usage.total_tokens, totals, m),
        words.cost(totals, money or words.money(m)),
    ]
    if totals.errors:
        parts.append(m("errors", n=totals.errors))
    if totals.unmeasured_calls:
        parts.append(m("line.unmeasured", n=totals.unmeasured_calls))
    if report.pending:
        parts.append(m("line.pending", n=report.pending))
    return " | ".join(parts)


def session(report: ReportData, m: Messages) -> str:
    """``💡 Session: 8 calls | 5,137 tokens | $0.0016``: four decimals, to be put below an answer in a chat."""
    plain = m.plain()  # a layout of the guides
    line = compact(report, plain, words.decimals(4))
    if report.name is None:
        return plain("line.session", line=line)
    return plain("line.named", name=shown(report.name), line=line)  # a block, or a span of a ledger: not a session
