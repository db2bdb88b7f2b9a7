"""Reports as Markdown: a table as GitHub, GitLab and most other renderers show it, with alerts and notes around it."""

from __future__ import annotations

from openai_meter.core.locale import Messages
from openai_meter.reports import words
from openai_meter.reports.data import ReportData
from openai_meter.reports.escaping import escaped
from openai_meter.reports.tables import COLUMNS, cells_of
from openai_meter.reports.text import shown

__all__ = ["markdown"]

_SHOWN_ALWAYS = 2
"""Columns up to this rank are always shown, the others where they have a value."""
_SENTENCE = 2_000


def markdown(report: ReportData, m: Messages) -> str:
    """The report as a Markdown table with a row of totals. Names are escaped, so that they cannot be Markdown."""
    columns = [one for one in COLUMNS if one.rank <= _SHOWN_ALWAYS or one.number(report.totals)]
    numbers = [cells_of(column, report, m) for column in columns]
    names = [[_cell(words.label(name, m)) for name in row.key] for row in report.rows]
    total = [f"**{_cell(m('table.total'))}**", *[""] * (len(report.dimensions) - 1)]
    heads = [
        *(_cell(words.heading(dimension, m)) for dimension in report.dimensions),
        *(m(f"column.{column.name}") for column in columns),
    ]
    rules = [*["---"] * len(report.dimensions), *["---:"] * len(columns)]
    rows = [
        [*row, *(_cell(texts[place]) for texts in numbers)] for place, row in enumerate([*names, total])
    ]  # the last cell of each column is the total
    title = m("table.title") if report.name is None else m("table.title_of", name=shown(report.name))
    parts = [
        f"**{escaped(title)}**",
        *(escaped(shown(alert, _SENTENCE)) for alert in report.alerts),
        "\n".join(_line(row) for row in (heads, rules, *rows)),
    ]
    if notes := words.notes(report, m, words.money(m), errors=False):
        parts.append("\n".join(f"- {escaped(note)}" for note in notes))
    if report.recommendations:
        advice = [f"- {escaped(shown(one, _SENTENCE))}" for one in report.recommendations]
        parts.append("\n".join([m("chat.recommendations"), "", *advice]))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return escaped(text.strip())


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
