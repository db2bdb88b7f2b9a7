"""Reports as trees of lines: the summary in a frame for the terminal, and the answer for a chat, in Markdown."""

from __future__ import annotations

from datetime import datetime

from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.reports import words
from openai_meter.reports.data import ReportData, Row
from openai_meter.reports.escaping import escaped
from openai_meter.reports.text import shown

__all__ = ["chat", "tree"]

_RULE = "=" * 70
_SENTENCE = 2_000
_FOUR, _SIX = words.decimals(4), words.decimals(6)
_BREAK = "  \n"
"""Two spaces: a line break inside a paragraph, also where Markdown would join the lines. Chats do not show them."""


def tree(report: ReportData, messages: Messages) -> str:
    """The summary in a frame, with a branch for each row; times are local, money has four decimals.

    More decimals are shown where a cost would look like nothing.
    """
    m = messages.plain()
    totals, usage = report.totals, report.totals.usage
    lines = [
        _RULE,
        _title("tree", report, m),
        _RULE,
        *(shown(alert, _SENTENCE) for alert in report.alerts),
        m("tree.since" if report.name is None else "tree.since_of", since=_local(report.since)),
        m("tree.calls", calls=f"{totals.calls:,}"),
        m("tree.tokens", tokens=words.tokens(usage.total_tokens, totals)),
        m("tree.input", tokens=words.tokens(usage.input_tokens, totals)),
        m("tree.output", tokens=words.tokens(usage.output_tokens, totals)),
        m("tree.cost", cost=words.cost(totals, _FOUR)),
        *(m("tree.note", note=note) for note in words.notes(report, m, _FOUR, errors=True)),
    ]
    if report.rows:
        by = m("by.and").join(words.heading(name, m, "by") for name in report.dimensions)
        lines += ["", m("tree.details", dimensions=by)]
        for row in report.rows:
            lines += [f"   • {_name(row, m)}:", *(f"     {line}" for line in _branches("branch", row.totals, m))]
    if report.recommendations:
        lines += ["", m("tree.recommendations"), *(f"   • {shown(one, _SENTENCE)}" for one in report.recommendations)]
    return "\n".join([*lines, _RULE])


def chat(report: ReportData, messages: Messages) -> str:
    """The report for a chat: alerts, a part for each row, the totals, and recommendations; money has six decimals.

    More decimals are shown where a cost would look like nothing. Names are escaped, so that they cannot be Markdown.
    """
    m = messages.plain()
    parts = [
        *(escaped(shown(alert, _SENTENCE)) for alert in report.alerts),
        _title("chat", report, m, escape=True),
        m("chat.duration", duration=words.duration((report.until - report.since).total_seconds(), m)),
        *(
            _BREAK.join([f"**{escaped(_name(row, m).strip())}**", *_branches("chat", row.totals, m)])
            for row in report.rows
        ),
        _BREAK.join([m("chat.totals"), *_sums(report, m)]),
    ]
    if notes := words.notes(report, m, _SIX, errors=False):
        parts.append(_BREAK.join(m("tree.note", note=escaped(note)) for note in notes))
    if report.recommendations:
        advice = [f"- {escaped(shown(one, _SENTENCE))}" for one in report.recommendations]
        parts.append("\n".join([m("chat.recommendations"), *advice]))
    return "\n\n".join(parts)


def _branches(area: str, totals: Totals, m: Messages) -> list[str]:
    """The lines of a row: calls, tokens, errors if there are any, and the cost."""
    lines = [
        m(f"{area}.calls", calls=f"{totals.calls:,}"),
        m(f"{area}.tokens", tokens=words.tokens(totals.usage.total_tokens, totals)),
    ]
    if totals.errors:
        lines.append(m(f"{area}.errors", errors=f"{totals.errors:,}"))
    lines.append(m(f"{area}.cost", cost=words.cost(totals, _FOUR if area == "branch" else _SIX)))
    return _tree_of(lines)


def _sums(report: ReportData, m: Messages) -> list[str]:
    """The lines of the totals: only the cost where the report has one row, which has the other lines."""
    total = m("chat.total_cost", cost=words.cost(report.totals, _SIX))
    if len(report.rows) == 1:
        return _tree_of([total])
    return [*_branches("chat", report.totals, m)[:-1], *_tree_of([total])]


def _tree_of(lines: list[str]) -> list[str]:
    return [*(f"├─ {line}" for line in lines[:-1]), f"└─ {lines[-1]}"]


def _title(area: str, report: ReportData, m: Messages, *, escape: bool = False) -> str:
    if report.name is None:
        return m(f"{area}.title")
    name = shown(report.name)
    return m(f"{area}.title_of", name=escaped(name.strip()) if escape else name)


def _name(row: Row, m: Messages) -> str:
    return " / ".join(words.label(value, m) for value in row.key)


def _local(moment: datetime) -> str:
    return moment.astimezone().replace(tzinfo=None).isoformat(timespec="seconds")
