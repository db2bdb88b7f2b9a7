"""What is written when a metered program ends: the summary of its calls, and a report in a file."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TextIO

from openai_meter.core import fork_safety
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = [
    "ExitSummary",
    "Summary",
    "SummaryOptions",
    "checked_format",
    "ledger_from_url",
    "parsed_dimensions",
    "report_file",
    "summary_language",
    "write_to_stderr",
]


class Summary(NamedTuple):
    """The form, the grouping and the language of a summary."""

    format: str | None = "table"
    """A form of report; ``None`` is one line for a log."""
    by: tuple[str, ...] = ("model",)
    """The dimensions that the report groups by."""
    lang: str = "en"

    def write(self, meter: Meter, file: TextIO, process: int | None = None) -> None:
        """Writes what a meter has counted; ``process`` is the process id where this is a forked child.

        Where nothing was metered, that is one sentence. JSON and CSV are read by programs, and keep their form.
        """
        m = language(self.lang)
        metered = meter.totals.calls or meter.pending or meter.internal_errors
        if self.format == "json":
            from openai_meter.reports import exports  # noqa: PLC0415 - not needed before the end

            about: dict[str, Any] = {} if process is None else {"process": process}
            file.write(exports.as_json(about | meter.to_dict(self.by), file.encoding or "utf-8") + "\n")
        elif self.format == "csv":
            meter.print_summary(file, by=self.by, format="csv")
        elif self.format is None or not metered:
            line = meter.summary(lang=self.lang) if metered else m("cli.nothing")
            _write_line(file, f"{_process_prefix(process, m)}{line}")
        else:
            if process is not None:
                _write_line(file, _process_prefix(process, m).rstrip())
            meter.print_summary(file, by=self.by, format=self.format, lang=self.lang)


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


class _Page(io.StringIO):
    """Collects text; to a renderer it has the encoding and the terminal of the stream that the text is for."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        with contextlib.suppress(Exception):
            self._terminal = stream is not None and stream.isatty()
            self._stream_encoding = stream.encoding if stream is not None else "utf-8"

    _terminal = False
    _stream_encoding = "utf-8"

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream_encoding


class ExitSummary:
    """Starts the meter, and writes at the end of the process what was metered.

    Args:
        summary: the form of the summary.
        output: the file for the summary; standard error by default.
        report: a file for a report as well; its suffix is that of its form.
        ledger: the ledger that keeps the calls.
        serve: the port of the API and the dashboard, if there is to be one.
        when: when the summary is written: ``always``, if there were ``calls``, or ``never``. With the last two, nothing
            is written about a meter that could not start, and no report without calls.
        settings: more settings of the meter.

    A forked child that has made calls writes a summary of its own, and adds its process id to the names of the files.
    """

    registered = False
    """Whether there is one in this process."""

    def __init__(
        self,
        summary: Summary,
        output: Path | None = None,
        report: Path | None = None,
        ledger: Ledger | None = None,
        serve: int | None = None,
        *,
        when: Literal["always", "calls", "never"] = "always",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._summary = summary
        self._when = when
        self._settings = {"ledger": ledger, **(settings or {})}
        self._output = output and output.absolute()
        self._report = report and report.absolute()
        self._serve = serve
        self._process = os.getpid()
        self._meter: Meter | None = None
        self.fault = ""
        """Why the meter could not start."""

    def _start_meter(self) -> None:
        try:
            import openai_meter  # noqa: PLC0415 - a broken installation of a dependency must not stop the program

            self._meter = openai_meter.install(**self._settings)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
        if self._serve is not None and self._meter is not None:
            from openai_meter.cli.dashboard import start_dashboard  # noqa: PLC0415 - not for a plain `run`

            write_to_stderr(f"openai-meter: {start_dashboard(self._meter, self._serve, self._summary.lang)}\n")

    def start(self, *, at_exit: bool = True) -> None:
        """Starts the meter, and registers the summary to be written last: exit handlers run in the reverse order.

        ``at_exit``: whether to register :meth:`finish`; else the caller calls it.
        """
        ExitSummary.registered = True
        self._start_meter()
        if at_exit:
            atexit.register(self.finish)
        # Not in the main thread, or not a signal of this system: then only the summary at exit is written.
        with contextlib.suppress(ValueError, AttributeError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._on_sigterm)
                fork_safety.on_fork("exit summary", after_in_child=self._in_child)

    def _in_child(self, _: object) -> None:
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def finish(self) -> None:
        """Writes what was metered. To be called after everything else."""
        # A second Ctrl-C, or a stream that is closed or not read: no summary, and no error.
        with contextlib.suppress(Exception, KeyboardInterrupt):
            for stream in (sys.stdout, sys.__stderr__):  # the interpreter would flush them after our text
                with contextlib.suppress(Exception):
                    stream.flush()  # type: ignore[union-attr]
            self._write()

    def _on_sigterm(self, number: int, _: FrameType | None) -> None:
        if signal.getsignal(number) != self._on_sigterm:
            return  # a handler of the program calls the previous one, which was ours: SIG_DFL is not callable
        signal.signal(number, signal.SIG_DFL)
        # The signal may have interrupted the main thread while it held any lock. The process ends in any case.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(_kill_later, (os.getpid(), number))
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self._write()
            if self._meter is not None:
                self._meter.flush(1.0)
        os.kill(os.getpid(), number)

    def _write(self) -> None:
        process = os.getpid() if os.getpid() != self._process else None
        always = process is None and self._when == "always"
        if not always and (self._meter is None or not self._meter.totals.calls):
            return
        if self._report is not None and self._meter is not None:
            self._save(self._meter, _path_of_process(self._report, process))
        if self._when == "never":
            return
        if self._output is None:
            write_to_stderr(self._text(sys.__stderr__, process))
            return
        path = _path_of_process(self._output, process)
        try:
            path.write_text(self._text(None, process), encoding="utf-8")
        except OSError as error:
            self._write_problem("cli.not_written", path, error.strerror)

    def _save(self, meter: Meter, path: Path) -> None:
        try:
            meter.save_report(path, by=self._summary.by, lang=self._summary.lang)
        except OSError as error:
            self._write_problem("cli.not_saved", path, os.strerror(error.errno) if error.errno else str(error))
        except Exception as error:  # such as: the program has a rich.py of its own
            self._write_problem("cli.not_saved", path, f"{type(error).__name__}: {error}")

    def _write_problem(self, key: str, path: Path, error: str | None) -> None:
        write_to_stderr(f"openai-meter: {language(self._summary.lang)(key, path=path, error=error)}\n")

    def _text(self, stream: TextIO | None, process: int | None) -> str:
        m = language(self._summary.lang)
        if self._meter is None:
            return f"openai-meter: {m('cli.not_started', error=self.fault)}\n"
        page = _Page(stream)
        try:
            self._summary.write(self._meter, page, process)
            return page.getvalue()
        except Exception as error:
            line = self._meter.summary(lang=self._summary.lang)
            return f"openai-meter: {line}\n{m('cli.not_full', error=f'{type(error).__name__}: {error}')}\n"


def _path_of_process(path: Path, process: int | None) -> Path:
    return path if process is None else path.with_name(f"{path.stem}.{process}{path.suffix}")


def _kill_later(process: int, number: int) -> None:
    time.sleep(3)  # a limit: the process has usually ended long before
    os.kill(process, number)


def write_to_stderr(text: str) -> None:
    """Writes without a buffer: text that a broken pipe leaves in one makes the interpreter exit with code 120."""
    stream = sys.__stderr__
    if stream is None or stream.closed:
        return
    raw: Any = getattr(stream.buffer, "raw", stream.buffer)
    rest = text.encode(stream.encoding, "backslashreplace")
    with _broken_pipe_is_an_error(), contextlib.suppress(OSError, ValueError):
        while rest:
            rest = rest[raw.write(rest) or len(rest) :]


@contextlib.contextmanager
def _broken_pipe_is_an_error() -> Iterator[None]:
    """Makes a broken pipe an exception, also in a program with the default action of SIGPIPE, which would end it."""
    number = getattr(signal, "SIGPIPE", None)
    if number is None or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)
