"""The form of a summary, and the options that choose it: on the command line, in the environment, in pyproject.toml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from openai_meter.core.formatting import printable
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = [
    "Run",
    "Summary",
    "SummaryOptions",
    "checked_format",
    "ledger_from_url",
    "parsed_dimensions",
    "report_file",
    "summary_language",
]


class Summary(NamedTuple):
    """The form, the grouping and the language of a summary."""

    format: str | None = "table"
    """A form of report; ``None`` is one line for a log."""
    by: tuple[str, ...] = ("model",)
    """The dimensions that the report groups by."""
    lang: str = "en"

    def write(self, meter: Meter, file: TextIO, process: int | None = None, run: Run | None = None) -> None:
        """Writes what a meter has counted; ``process`` is the process id where this is a forked child.

        Without metered calls, it is one sentence. JSON and CSV are read by programs, and keep their form.
        """
        m = language(self.lang)
        refused = Counter(meter._refused_calls()) + Counter({} if run is None else run.refused)
        metered = meter.totals.calls or meter.pending or meter.internal_errors
        if self.format == "json":
            from openai_meter.reports import exports  # noqa: PLC0415 - not needed before the end

            about: dict[str, Any] = {} if process is None else {"process": process}
            about |= {} if run is None else {"processes": run.processes, "unmetered_processes": run.unmetered}
            about |= {"refused": dict(refused)} if refused else {}
            file.write(exports.as_json(about | meter.to_dict(self.by), file.encoding or "utf-8") + "\n")
        elif self.format == "csv":
            meter.print_summary(file, by=self.by, format="csv")
        elif self.format is None or not metered:
            nothing = "cli.nothing" if run is not None else "cli.nothing_here"
            line = meter.summary(lang=self.lang) if metered else m(nothing)
            _write_line(file, f"{_process_prefix(process, m)}{line}")
            _write_refusals(file, refused, m)
            _write_processes(file, run, m)
        else:
            if process is not None:
                _write_line(file, _process_prefix(process, m).rstrip())
            meter.print_summary(file, by=self.by, format=self.format, lang=self.lang)
            _write_refusals(file, refused, m)
            _write_processes(file, run, m)


class Run(NamedTuple):
    """The processes of a metered program."""

    processes: int
    """The processes that made calls, the first one included."""
    unmetered: int
    """The Python processes that could not be metered."""
    refused: Mapping[str, int] = {}
    """The calls of the other processes that budgets have refused, by the name of the budget."""


def _write_refusals(file: TextIO, refused: Mapping[str, int], m: Messages) -> None:
    """Writes how many calls each budget has refused."""
    for name, calls in refused.items():
        _write_line(file, m("cli.refused", budget=printable(name, 100), calls=m("calls", n=calls)))


def _write_processes(file: TextIO, run: Run | None, m: Messages) -> None:
    """Writes how many processes the figures are of, if that is not one."""
    if run is not None and run.processes > 1:
        _write_line(file, m("cli.processes", n=run.processes))
    if run is not None and run.unmetered:
        _write_line(file, m("cli.unmetered_processes", n=run.unmetered))


def _process_prefix(process: int | None, m: Messages) -> str:
    return "" if process is None else f"{m('cli.forked', process=process)} "


def _write_line(file: TextIO, line: str) -> None:
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not needed before the end

    file.write(f"openai-meter: {fitting(line, file.encoding)}\n")


class SummaryOptions(NamedTuple):
    """The options of a summary as the command line or the environment has them; ``None`` is the default."""

    as_json: bool = False
    quiet: bool = False
    format: str | None = None
    by: str | None = None
    lang: str | None = None

    def summary(self) -> Summary:
        """The summary with these options.

        Raises:
            ConfigurationError: there is no such form, dimension or language.
        """
        form = "json" if self.as_json else None if self.quiet else checked_format(self.format)
        return Summary(form, parsed_dimensions(self.by), language(self.lang).code)


def checked_format(name: str | None) -> str:
    """The name of a form of report; ``table`` by default.

    Raises:
        ConfigurationError: there is no form of that name.
    """
    if name is None:
        return "table"
    from openai_meter.reports import renderers  # noqa: PLC0415 - not for a plain `run`

    renderers.check(name)
    return name


def parsed_dimensions(by: str | None) -> tuple[str, ...]:
    """The dimensions in a text such as ``agent,model``; ``model`` by default.

    Raises:
        ConfigurationError: there is no dimension of that name.
    """
    if by is None:
        return ("model",)
    from openai_meter.core import dimensions  # noqa: PLC0415 - not for a plain `run`
    from openai_meter.reports import report as values  # noqa: PLC0415

    names = values.dimensions(by)
    dimensions.checked(names)
    return names


def report_file(path: str | None) -> Path | None:
    """The absolute path of the file for a report.

    Raises:
        ConfigurationError: the path is a folder, or its suffix is not that of a form of report.
    """
    if path is None:
        return None
    from openai_meter.reports import saving  # noqa: PLC0415 - not for a plain `run`

    return saving.checked(path)


def summary_language(lang: str | None) -> str:
    """The language of a program's summary. An unknown one in the environment is English: the program must run.

    Raises:
        ConfigurationError: ``lang`` is given, and there is no such language.
    """
    try:
        return language(lang).code
    except ConfigurationError:
        if lang is not None:
            raise
        return "en"


def ledger_from_url(url: str | None) -> Ledger | None:
    """The ledger of a URL. Does not connect.

    Raises:
        ConfigurationError: it is not the URL of a ledger.
        MissingExtraError: a package is missing.
    """
    if url is None:
        return None
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - not for a plain `run`

    return Ledger(url)
