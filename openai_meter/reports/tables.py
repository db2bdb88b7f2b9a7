"""Reports as tables, by rich: in colour on a terminal, plain in a pipe or a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from openai_meter.core.formatting import NumberStyle, aligned, column_places, fixed_dollars, number
from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.reports import words
from openai_meter.reports.data import ReportData
from openai_meter.reports.text import fitting, shown

__all__ = ["COLUMNS", "Column", "cells_of", "print_table", "table_text"]

NONE = "-"
_ROOM = ((24, 3), (12, 2), (8, 1), (1, 9))
"""How wide a column of names stays at least before the columns of numbers from that rank up go, one after the other."""
_BETWEEN = 3
"""The padding of two columns, and what divides them."""


class Column(NamedTuple):
    """One column of numbers; its head is the sentence ``column.NAME``.

    Where there is little room, the columns of the highest ``rank`` are left out first; those of rank 0 always stay.
    From rank 3 up, an empty column is always left out.
    """

    name: str
    number: Callable[[Totals], int]
    rank: int
    text: Callable[[int, Totals, NumberStyle], str]
    is_money: bool = False
    """Whether all cells have the same number of decimals, so that they can be compared at a glance."""


def _count(count: int, _: Totals, style: NumberStyle) -> str:
    return number(count, style) if count else NONE


def _part(number: int, totals: Totals, style: NumberStyle) -> str:
    """Tokens that are never estimated: ``-`` is none, ``?`` and ``+`` are for figures that the API did not return."""
    return (
        words.tokens(number, replace(totals, estimated_calls=0), style) if number or totals.unmeasured_calls else NONE
    )


def _tokens(number: int, totals: Totals, style: NumberStyle) -> str:
    return words.tokens(number, totals, style) if number or totals.unmeasured_calls else NONE


def _cost(number: int, totals: Totals, style: NumberStyle, places: int = 4) -> str:
    free = totals.cost == 0 and not totals.unpriced_calls
    return NONE if free or not number else words.cost(totals, partial(fixed_dollars, style=style, places=places))


COLUMNS: tuple[Column, ...] = (
    Column("calls", lambda totals: totals.calls, 0, _count),
    Column("input", lambda totals: totals.usage.input_tokens or 0, 2, _tokens),
    Column("cached", lambda totals: totals.usage.cached_input_tokens, 4, _part),
    Column("output", lambda totals: totals.usage.output_tokens or 0, 2, _tokens),
    Column("reasoning", lambda totals: totals.usage.reasoning_tokens, 5, _part),
    Column("total", lambda totals: totals.usage.total_tokens or 0, 1, _tokens),
    Column("errors", lambda totals: totals.errors, 3, _count),
    Column("retries", lambda totals: totals.retries, 6, _count),
    Column("cost", lambda totals: totals.calls, 0, _cost, is_money=True),
)
"""The columns of numbers, from left to right. To add one, add a row, and its head to the languages."""


def cells_of(column: Column, report: ReportData, m: Messages) -> list[str]:
    """The cells of a column: one for each row, and the total. Amounts of money have one number of decimals."""
    rows = [*(row.totals for row in report.rows), report.totals]
    if not column.is_money:
        return [column.text(column.number(totals), totals, m.numbers) for totals in rows]
    places = column_places(totals.cost for totals in rows)
    return [_cost(column.number(totals), totals, m.numbers, places) for totals in rows]


def table_text(report: ReportData, m: Messages) -> str:
    """The table as plain text, as wide as it has to be."""
    file = io.StringIO()
    _print(report, m, _console(file, force_terminal=False))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def print_table(report: ReportData, m: Messages, file: TextIO, *, compact: bool = False) -> None:
    """Prints a report. Never wider than the terminal; in a pipe, as wide as it has to be.

    ``compact``: with the columns only that stay where there is little room.
    """
    _print(report, m, _console(file), compact=compact)


def _console(file: TextIO, **settings: bool) -> Console:
    # In a notebook's kernel rich would write nothing to the file, and show the page itself.
    return Console(file=file, highlight=False, markup=False, emoji=False, force_jupyter=False, **settings)  # type: ignore[arg-type]


def _print(report: ReportData, m: Messages, console: Console, *, compact: bool = False) -> None:
    names = _names(report, m, console)
    widths = [max(map(cell_len, column)) for column in zip(*names, strict=True)]
    most = 1 if compact else 2
    columns = [one for one in COLUMNS if one.rank <= most or (not compact and one.number(report.totals))]
    numbers = {column.name: _column(column, report, m, console) for column in columns}

    def excess() -> int:
        each = [*widths, *(cell_len(numbers[column.name][0]) for column in columns)]
        return sum(each) + _BETWEEN * (len(each) - 1) - console.width

    if not console.is_terminal:
        console.width += max(excess(), 0)
    for room, rank in _ROOM:
        while (over := excess()) > sum(max(width - room, 0) for width in widths):
            last = max(column.rank for column in columns)
            if last < rank:
                break
            columns[:] = [column for column in columns if column.rank < last]
        while over > 0 and (widest := max(widths)) > room:
            widths[widths.index(widest)] -= 1
            over -= 1
    shown_numbers = [numbers[column.name] for column in columns]
    table = _table(report, m, console, columns=columns, numbers=shown_numbers, names=names, widths=widths)
    alerts = [Text(_fitting(shown(alert), console), style="yellow") for alert in report.alerts]
    console.print(Group(table, *alerts, *_notes(report, m, console, columns)))


def _column(column: Column, report: ReportData, m: Messages, console: Console) -> list[str]:
    """A column of numbers from its head to its foot, each text of the same width."""
    cells = [_fitting(cell, console) for cell in cells_of(column, report, m)]
    cells = aligned(cells) if column.is_money else cells
    head = _fitting(m(f"column.{column.name}"), console)
    width = max(map(cell_len, [head, *cells]))
    return [" " * (width - cell_len(text)) + text for text in (head, *cells)]


def _names(report: ReportData, m: Messages, console: Console) -> list[list[str]]:
    """The texts of the columns of names: heads, rows, feet. A name that the row above has too is left out."""
    rows = [[words.heading(dimension, m) for dimension in report.dimensions]]
    before: tuple[str, ...] = ()
    for key, _ in report.rows:
        same = [before[: place + 1] == key[: place + 1] for place in range(len(key))]
        rows.append(["" if known else words.label(value, m) for known, value in zip(same, key, strict=True)])
        before = key
    rows.append([m("table.total"), *[""] * (len(report.dimensions) - 1)])
    return [[_fitting(cell, console) for cell in row] for row in rows]


def _table(
    report: ReportData,
    m: Messages,
    console: Console,
    *,
    columns: list[Column],
    numbers: list[list[str]],
    names: list[list[str]],
    widths: list[int],
) -> Table:
    title = m("table.title") if report.name is None else m("table.title_of", name=shown(report.name))
    table = Table(
        title=Text(_fitting(title, console), style="bold"),
        title_justify="left",
        box=box.SIMPLE,
        show_footer=True,
        padding=(0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for head, foot, width in zip(names[0], names[-1], widths, strict=True):
        table.add_column(Text(head), Text(foot), overflow="fold", footer_style="bold", width=width)
    for texts in numbers:  # they are padded already: rich would strip the space that stands for a "+"
        table.add_column(Text(texts[0]), Text(texts[-1]), no_wrap=True, footer_style="bold")
    for place, (cells, (_, totals)) in enumerate(zip(names[1:-1], report.rows, strict=True), 1):
        # A name is data, wherever it comes from: as Text it cannot be markup.
        style = "red" if totals.errors == totals.calls else "cyan"
        texts_of_row = (
            Text(texts[place], style=_style(column, totals)) for column, texts in zip(columns, numbers, strict=True)
        )
        table.add_row(*(Text(cell, style) for cell in cells), *texts_of_row)
    return table


def _style(column: Column, totals: Totals) -> str:
    return "red" if column.name == "errors" and totals.errors else ""


def _fitting(text: str, console: Console) -> str:
    return fitting(text, console.encoding)


_PARTS = {"cached": "input", "reasoning": "output"}


def _notes(report: ReportData, m: Messages, console: Console, columns: list[Column]) -> list[Text]:
    """The notes below the numbers: one line each, dim."""
    names = {column.name for column in columns}
    parts = [
        m("note.part", part=m(f"column.{part}"), whole=m(f"column.{whole}"))
        for part, whole in _PARTS.items()
        if part in names
    ]
    sentences = [m("separator").join(parts) + "."] if parts else []
    sentences += words.notes(report, m, words.money(m), errors="errors" not in names)
    return [Text(_fitting(note, console), style="dim") for note in sentences]
