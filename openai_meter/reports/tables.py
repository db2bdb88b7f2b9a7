"""Reports as tables for the terminal, by rich: in colour on a terminal, plain in a pipe or a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TextIO

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from openai_meter.reports.lines import cost, plural
from openai_meter.reports.values import Report
from openai_meter.store import Totals

__all__ = ["COLUMNS", "print_table"]

NONE, UNKNOWN = "-", "?"
_NAME, _LEAST = 24, 8
"""How much room a name gets before details do, and before the plain counts do."""
_SHOWN = 8
"""How many models without a price are named below the table."""


class Column(NamedTuple):
    """One column of numbers.

    ``rank`` says what goes first where there is little room: the highest; 0 always stays. From 3 up, a column in which
    there is nothing at all is left out everywhere.
    """

    header: str
    number: Callable[[Totals], int]
    rank: int
    text: Callable[[int, Totals], str]


def _count(number: int, _: Totals) -> str:
    return f"{number:,}" if number else NONE


def _tokens(number: int, totals: Totals) -> str:
    """Tokens; ``-`` is none, ``?`` is unknown, ``+`` says that there are calls of unknown size beside."""
    if totals.unmeasured_calls:
        return f"{number:,}+" if number else UNKNOWN
    return _count(number, totals)


def _cost(number: int, totals: Totals) -> str:
    return cost(totals) if number and totals.cost != 0 else NONE


COLUMNS: tuple[Column, ...] = (
    Column("Calls", lambda totals: totals.calls, 0, _count),
    Column("Input", lambda totals: totals.usage.input_tokens or 0, 2, _tokens),
    Column("Cached", lambda totals: totals.usage.cached_input_tokens, 4, _tokens),
    Column("Output", lambda totals: totals.usage.output_tokens or 0, 2, _tokens),
    Column("Reasoning", lambda totals: totals.usage.reasoning_tokens, 5, _tokens),
    Column("Total", lambda totals: totals.usage.total_tokens or 0, 1, _tokens),
    Column("Errors", lambda totals: totals.errors, 3, _count),
    Column("Cost", lambda totals: totals.calls, 0, _cost),
)
"""The columns of numbers, from left to right. To add one, add a row."""


def print_table(report: Report, file: TextIO | None = None) -> None:
    """Prints a report. Never wider than the terminal; in a pipe, as wide as it has to be.

    Args:
        report: what is to be shown.
        file: where to; standard output by default.
    """
    console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False)
    columns = [column for column in COLUMNS if column.rank < 3 or column.number(report.totals)]
    if console.is_terminal:
        # First the details make room for whole names, then names are folded, and last the plain counts go.
        for room, rank in ((_NAME, 3), (_LEAST, 1)):
            short = replace(report, rows=tuple(row._replace(label=row.label[:room]) for row in report.rows))
            while _natural(_table(short, console, columns), console) > console.width:
                last = max(columns, key=lambda column: column.rank)
                if last.rank < rank:
                    break
                columns.remove(last)
    else:
        console.width = max(console.width, _natural(_table(report, console, columns), console))
    console.print(Group(_table(report, console, columns), *_notes(report, console, columns)))


def _natural(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


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
    return column.text(column.number(totals), totals)


def _style(column: Column, totals: Totals) -> str:
    return "red" if column.header == "Errors" and totals.errors else ""


def _safe(name: str, console: Console) -> str:
    """A name without control characters, and with nothing that the output's encoding lacks."""
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return visible.encode(console.encoding, errors="replace").decode(console.encoding)


_PARTS = {"Cached": "Input", "Reasoning": "Output"}


def _notes(report: Report, console: Console, columns: list[Column]) -> list[Text]:
    """What the numbers need said beside them: one line each, dim, and none where all is plain."""
    totals = report.totals
    notes = []
    shown = {column.header for column in columns}
    parts = [f"{part} is part of {whole}" for part, whole in _PARTS.items() if part in shown]
    if parts:
        notes.append("; ".join(parts) + ".")
    if totals.errors and "Errors" not in shown:
        notes.append(f"{plural(totals.errors, 'error')}.")
    if totals.unmeasured_calls:
        calls = plural(totals.unmeasured_calls, "call")
        notes.append(f"{calls} of unknown size (? and +): the API did not say what was used.")
    for one in report.unpriced[:_SHOWN]:
        tokens = plural(one.tokens, "token")
        notes.append(f"No price for {one.model}: {plural(one.calls, 'call')}, {tokens} ({one.reason}).")
    if len(report.unpriced) > _SHOWN:
        notes.append(f"No price for {len(report.unpriced) - _SHOWN:,} more; the JSON report has them all.")
    if report.pending:
        notes.append(f"{plural(report.pending, 'call')} not finished yet.")
    if report.faults:
        notes.append(f"{plural(report.faults, 'fault')} inside openai_meter: see the log; some calls may be missing.")
    return [Text(_safe(note, console), style="dim") for note in notes]
