"""Reports as tables for the terminal, by rich: in colour on a terminal, plain in a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from openai_meter.reports.lines import plural
from openai_meter.reports.values import Report
from openai_meter.store import Totals

__all__ = ["COLUMNS", "print_table"]

NONE, UNKNOWN = "-", "?"


class Column(NamedTuple):
    """One column of numbers.

    ``rank`` says what goes first where there is little room: the highest; 0 always stays. From 2 up, a column in which
    there is nothing at all is left out everywhere.
    """

    header: str
    number: Callable[[Totals], int]
    rank: int
    of_tokens: bool = True


COLUMNS: tuple[Column, ...] = (
    Column("Calls", lambda totals: totals.calls, 0, of_tokens=False),
    Column("Input", lambda totals: totals.usage.input_tokens or 0, 1),
    Column("Cached", lambda totals: totals.usage.cached_input_tokens, 3),
    Column("Output", lambda totals: totals.usage.output_tokens or 0, 1),
    Column("Reasoning", lambda totals: totals.usage.reasoning_tokens, 4),
    Column("Total", lambda totals: totals.usage.total_tokens or 0, 0),
    Column("Errors", lambda totals: totals.errors, 2, of_tokens=False),
)
"""The columns of numbers, from left to right. To add one, add a row."""


def print_table(report: Report, file: TextIO | None = None) -> None:
    """Prints a report. Never wider than the terminal; in a pipe, as wide as it has to be.

    Args:
        report: what is to be shown.
        file: where to; standard output by default.
    """
    console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False)
    columns = [column for column in COLUMNS if column.rank < 2 or column.number(report.totals)]
    table = _table(report, console, columns)
    if not console.is_terminal:
        console.width = max(console.width, _measured(table, console).maximum)
    while _measured(table, console).minimum > console.width and max(column.rank for column in columns):
        columns.remove(max(columns, key=lambda column: column.rank))
        table = _table(report, console, columns)
    console.print(Group(table, *_notes(report)))


def _measured(table: Table, console: Console) -> Measurement:
    return Measurement.get(console, console.options.update(max_width=10_000), table)


def _table(report: Report, console: Console, columns: list[Column]) -> Table:
    table = Table(
        title=Text(_safe(report.title, console), style="bold"),
        title_justify="left",
        box=box.SIMPLE,
        show_footer=True,
        padding=(0, 1),
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("Model", "Total", overflow="fold", ratio=None, footer_style="bold", min_width=8)
    for column in columns:
        footer = _number(column, report.totals)
        table.add_column(column.header, footer, justify="right", no_wrap=True, footer_style="bold")
    for label, totals in report.rows:
        # A name is data, wherever it comes from: as Text it cannot be markup, and control characters are shown.
        name = Text(_safe(label, console), style="red" if totals.errors == totals.calls else "cyan")
        table.add_row(name, *(Text(_number(column, totals), style=_style(column, totals)) for column in columns))
    return table


def _number(column: Column, totals: Totals) -> str:
    """A number with its thousands; ``-`` is none, ``?`` is unknown, ``+`` says that there are unknown ones beside."""
    number = column.number(totals)
    if column.of_tokens and totals.unmeasured_calls:
        return f"{number:,}+" if number else UNKNOWN
    return f"{number:,}" if number else NONE


def _style(column: Column, totals: Totals) -> str:
    return "red" if column.header == "Errors" and totals.errors else ""


def _safe(name: str, console: Console) -> str:
    """A name without control characters, and with nothing that the output's encoding lacks."""
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return visible.encode(console.encoding, errors="replace").decode(console.encoding)


def _notes(report: Report) -> list[Text]:
    """What the numbers need said beside them: one line each, dim, and none where all is plain."""
    totals = report.totals
    notes = []
    parts = []
    if totals.usage.cached_input_tokens:
        parts.append("Cached is part of Input")
    if totals.usage.reasoning_tokens:
        parts.append("Reasoning is part of Output")
    if parts:
        notes.append("; ".join(parts) + ".")
    if totals.unmeasured_calls:
        calls = plural(totals.unmeasured_calls, "call")
        notes.append(f"{calls} of unknown size (? and +): the API did not say what was used.")
    if report.pending:
        notes.append(f"{plural(report.pending, 'call')} not finished yet.")
    if report.faults:
        notes.append(f"{plural(report.faults, 'fault')} inside openai_meter: see the log; some calls may be missing.")
    return [Text(note, style="dim") for note in notes]
