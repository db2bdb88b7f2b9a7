"""The forms of a report: one row each in ``RENDERERS``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple, TextIO

from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError
from openai_meter.reports import exports, lines, trees
from openai_meter.reports.data import ReportData
from openai_meter.reports.text import fitting

__all__ = ["RENDERERS", "Renderer", "check", "print_report", "render"]


class Renderer(NamedTuple):
    """One form of a report."""

    render: Callable[[ReportData, Messages], str]
    """Makes the text, without a line break at its end."""
    suffixes: tuple[str, ...] = ()
    """The suffixes of files that hold this form."""
    print: Callable[[ReportData, Messages, TextIO], None] | None = None
    """Prints it, if the form depends on the place: a terminal's width and colours, an encoding."""


def _table(report: ReportData, m: Messages) -> str:
    from openai_meter.reports import tables  # noqa: PLC0415 - rich is only loaded for tables

    return tables.table_text(report, m)


def _markdown(report: ReportData, m: Messages) -> str:
    from openai_meter.reports import markdown  # noqa: PLC0415 - as for tables

    return markdown.markdown(report, m)


def _print_table(report: ReportData, m: Messages, file: TextIO) -> None:
    from openai_meter.reports import tables  # noqa: PLC0415

    tables.print_table(report, m, file)


def _print_json(report: ReportData, _: Messages, file: TextIO) -> None:
    file.write(exports.as_json(report.to_dict(), getattr(file, "encoding", None) or "utf-8") + "\n")


RENDERERS: Mapping[str, Renderer] = {
    "table": Renderer(_table, (".txt",), _print_table),
    "tree": Renderer(trees.tree),
    "markdown": Renderer(_markdown, (".md", ".markdown")),
    "chat": Renderer(trees.chat),
    "line": Renderer(lines.session),
    "json": Renderer(exports.json_text, (".json",), _print_json),
    "csv": Renderer(exports.csv_text, (".csv",)),
}
"""All forms of a report, by name. To add one, add a row."""


def check(name: str, *, excel: bool = False) -> Renderer:
    """The renderer of that name; with ``excel``, that of CSV for Excel.

    Raises:
        ConfigurationError: there is no form of that name, or only CSV can be for Excel.
    """
    if excel and name != "csv":
        raise ConfigurationError(f'excel=True is for CSV, and the form is {name!r}; use format="csv" or a .csv file')
    if not isinstance(name, str) or name not in RENDERERS:
        raise ConfigurationError(f"format={name!r} is not a form of report; use one of {', '.join(RENDERERS)}")
    return Renderer(exports.excel_text) if excel else RENDERERS[name]


def render(report: ReportData, name: str, lang: str | None) -> str:
    """A report as text; see :meth:`Report.render`."""
    return check(name).render(report, language(lang))


def print_report(report: ReportData, file: TextIO | None, name: str, lang: str | None, *, excel: bool = False) -> None:
    """Prints a report; see :meth:`Report.print`."""
    renderer, m = check(name, excel=excel), language(lang)
    if file is None:
        if sys.stdout is None:  # a program without a console
            return
        file = sys.stdout
    if renderer.print is not None:
        renderer.print(report, m, file)
    else:
        file.write(fitting(renderer.render(report, m), getattr(file, "encoding", None)) + "\n")
