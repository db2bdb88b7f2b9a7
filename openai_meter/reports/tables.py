"""Reports as tables, by rich: in colour on a terminal, plain in a pipe or a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TextIO

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from openai_meter.messages import Messages
from openai_meter.reports import words
from openai_meter.reports.text import fitting, shown
from openai_meter.reports.values import Report, Row
from openai_meter.store import Totals

__all__ = ["COLUMNS", "print_table", "table_text"]

NONE = "-"
_NAME, _LEAST = 24, 8
"""How much room a name gets before details do, and before the plain counts do."""


class Column(NamedTuple):
    """One column of numbers; its head is the sentence ``column.NAME``.

    ``rank`` says what goes first where there is little room: the highest; 0 always stays. From 3 up, a column in which
    there is nothing at all is left out everywhere.
    """

    name: str
    number: Callable[[Totals], int]
    rank: int
    text: Callable[[int, Totals], str]


def _count(number: int, _: Totals) -> str:
    return f"{number:,}" if number else NONE


def _part(number: int, totals: Totals) -> str:
    """Tokens of which nobody makes an estimate: ``-`` is none, ``?`` and ``+`` say that the API did not tell all."""
    return words.tokens(number, replace(totals, estimated_calls=0)) if number or totals.unmeasured_calls else NONE


def _tokens(number: int, totals: Totals) -> str:
    return words.tokens(number, totals) if number or totals.unmeasured_calls else NONE


def _cost(number: int, totals: Totals) -> str:
    free = totals.cost == 0 and not totals.unpriced_calls
    return NONE if free or not number else words.cost(totals, words.dollars)


COLUMNS: tuple[Column, ...] = (
    Column("calls", lambda totals: totals.calls, 0, _count),
    Column("input", lambda totals: totals.usage.input_tokens or 0, 2, _tokens),
    Column("cached", lambda totals: totals.usage.cached_input_tokens, 4, _part),
    Column("output", lambda totals: totals.usage.output_tokens or 0, 2, _tokens),
    Column("reasoning", lambda totals: totals.usage.reasoning_tokens, 5, _part),
    Column("total", lambda totals: totals.usage.total_tokens or 0, 1, _tokens),
    Column("errors", lambda totals: totals.errors, 3, _count),
    Column("cost", lambda totals: totals.calls, 0, _cost),
)
"""The columns of numbers, from left to right. To add one, add a row, and its head to the languages."""


def table_text(report: Report, m: Messages) -> str:
    """The table as plain text, as wide as it has to be."""
    file = io.StringIO()
    _print(report, m, Console(file=file, highlight=False, markup=False, emoji=False, force_terminal=False))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def print_table(report: Report, m: Messages, file: TextIO) -> None:
    """Prints a report. Never wider than the terminal; in a pipe, as wide as it has to be."""
    _print(report, m, Console(file=file, highlight=False, markup=False, emoji=False))


def _print(report: Report, m: Messages, console: Console) -> None:
    columns = [column for column in COLUMNS if column.rank < 3 or column.number(report.totals)]
    if console.is_terminal:
        # First the details make room for whole names, then names are folded, and last the plain counts go.
        for room, rank in ((_NAME, 3), (_LEAST, 1)):
            short = [Row(tuple(words.label(value, m)[:room] for value in row.key), row.totals) for row in report.rows]
            narrow = replace(report, rows=tuple(short))
            while _natural(_table(narrow, m, console, columns), console) > console.width:
                last = max(columns, key=lambda column: column.rank)
                if last.rank < rank:
                    break
                columns.remove(last)
    else:
        console.width = max(console.width, _natural(_table(report, m, console, columns), console))
    console.print(Group(_table(report, m, console, columns), *_notes(report, m, console, columns)))


def _natural(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _table(report: Report, m: Messages, console: Console, columns: list[Column]) -> Table:
    name = report.name
    title = m("table.title") if name is None else m("table.title_of", name=shown(name))
    table = Table(
        title=Text(_fitting(title, console), style="bold"),
        title_justify="left",
        box=box.SIMPLE,
        show_footer=True,
        padding=(0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for place, dimension in enumerate(report.dimensions):
        head, foot = words.heading(dimension, m), "" if place else m("table.total")
        table.add_column(
            _fitting(head, console), _fitting(foot, console), overflow="fold", footer_style="bold", min_width=8
        )
    for column in columns:
        head, foot = m(f"column.{column.name}"), _number(column, report.totals)
        table.add_column(_fitting(head, console), foot, justify="right", no_wrap=True, footer_style="bold")
    before: tuple[str, ...] = ()
    for key, totals in report.rows:
        # A name is data, wherever it comes from: as Text it cannot be markup.
        style = "red" if totals.errors == totals.calls else "cyan"
        names = [
            Text("" if before[: place + 1] == key[: place + 1] else _fitting(words.label(value, m), console), style)
            for place, value in enumerate(key)
        ]
        before = key
        table.add_row(*names, *(Text(_number(column, totals), style=_style(column, totals)) for column in columns))
    return table


def _number(column: Column, totals: Totals) -> str:
    return column.text(column.number(totals), totals)


def _style(column: Column, totals: Totals) -> str:
    return "red" if column.name == "errors" and totals.errors else ""


def _fitting(text: str, console: Console) -> str:
    return fitting(text, console.encoding)


_PARTS = {"cached": "input", "reasoning": "output"}


def _notes(report: Report, m: Messages, console: Console, columns: list[Column]) -> list[Text]:
    """What the numbers need said beside them: one line each, dim."""
    names = {column.name for column in columns}
    parts = [
        m("note.part", part=m(f"column.{part}"), whole=m(f"column.{whole}"))
        for part, whole in _PARTS.items()
        if part in names
    ]
    said = ["; ".join(parts) + "."] if parts else []
    said += words.notes(report, m, words.dollars, errors="errors" not in names)
    return [Text(_fitting(note, console), style="dim") for note in said]
