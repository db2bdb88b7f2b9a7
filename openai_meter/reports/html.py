"""Reports as HTML tables, for notebooks: no script, no style sheet, no colours but the page's own."""

from __future__ import annotations

from html import escape

from openai_meter.core.locale import Messages
from openai_meter.reports import words
from openai_meter.reports.data import ReportData
from openai_meter.reports.tables import COLUMNS, cells_of
from openai_meter.reports.text import shown

__all__ = ["as_html"]

_SHOWN_ALWAYS = 2
"""Columns up to this rank are always shown, the others where they have a value."""
_SENTENCE = 2_000
_LEFT, _RIGHT = ' style="text-align: left"', ' style="text-align: right"'
_BOLD = ' style="font-weight: bold; border-top: 1px solid"'


def as_html(report: ReportData, m: Messages) -> str:
    """The report as a table with its alerts and notes. Everything in it is escaped, names above all."""
    columns = [one for one in COLUMNS if one.rank <= _SHOWN_ALWAYS or one.number(report.totals)]

    cells = [cells_of(column, report, m) for column in columns]

    def numbers(place: int) -> list[str]:
        return [texts[place] for texts in cells]

    def row(tag: str, names: list[str], cells: list[str], style: str = "") -> str:
        left = "".join(f"<{tag}{_LEFT}>{escape(name)}</{tag}>" for name in names)
        right = "".join(f"<{tag}{_RIGHT}>{escape(cell)}</{tag}>" for cell in cells)
        return f"<tr{style}>{left}{right}</tr>"

    head = [words.heading(dimension, m) for dimension in report.dimensions]
    rows = [
        row("td", [words.label(name, m) for name in key], numbers(place)) for place, (key, _) in enumerate(report.rows)
    ]
    foot = [m("table.total"), *[""] * (len(report.dimensions) - 1)]
    title = m("table.title") if report.name is None else m("table.title_of", name=shown(report.name))
    alerts = [shown(alert, _SENTENCE) for alert in report.alerts]
    notes = words.notes(report, m, words.money(m), errors=True)
    return "\n".join([
        '<table class="openai-meter">',
        f'<caption style="text-align: left; font-weight: bold">{escape(title)}</caption>',
        f"<thead>{row('th', head, [m(f'column.{one.name}') for one in columns])}</thead>",
        f"<tbody>{''.join(rows)}</tbody>",
        f"<tfoot>{row('td', foot, numbers(-1), _BOLD)}</tfoot>",
        "</table>",
        *(f"<div><strong>{escape(alert)}</strong></div>" for alert in alerts),
        *(f'<div style="opacity: 0.7">{escape(note)}</div>' for note in notes),
    ])  # fmt: skip
