"""What the command line says at the end of a program that it has metered: the summary, and the report in a file."""

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

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["Ending", "Look", "Summary", "dimensions_of", "form_of", "ledger_of", "report_file", "write_to_stderr"]


class Summary(NamedTuple):
    """How a summary looks."""

    format: str | None = "table"
    """A form of report; ``None`` is one line for a log."""
    by: tuple[str, ...] = ("model",)
    """What the report groups by."""
    lang: str = "en"

    def write(self, meter: Meter, file: TextIO, process: int | None = None) -> None:
        """Writes what a meter has counted; ``process`` is the process id where this is a forked child.

        Where nothing was metered, a sentence says so; but JSON and CSV are for programs, and stay what they are.
        """
        m = language(self.lang)
        something = meter.totals.calls or meter.pending or meter.internal_errors
        if self.format == "json":
            from openai_meter.reports import exports  # noqa: PLC0415 - not needed before the end

            about: dict[str, Any] = {} if process is None else {"process": process}
            file.write(exports.as_json(about | meter.to_dict(self.by), file.encoding or "utf-8") + "\n")
        elif self.format == "csv":
            meter.print_summary(file, by=self.by, format="csv")
        elif self.format is None or not something:
            line = meter.summary(lang=self.lang) if something else m("cli.nothing")
            _say(file, f"{_child(process, m)}{line}")
        else:
            if process is not None:
                _say(file, _child(process, m).rstrip())
            meter.print_summary(file, by=self.by, format=self.format, lang=self.lang)


def _child(process: int | None, m: Messages) -> str:
    return "" if process is None else f"{m('cli.forked', process=process)} "


def _say(file: TextIO, line: str) -> None:
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not needed before the end

    file.write(f"openai-meter: {fitting(line, file.encoding)}\n")


class Look(NamedTuple):
    """How a summary is to look, as the command line says it; ``None`` is what is usual."""

    as_json: bool = False
    quiet: bool = False
    form: str | None = None
    by: str | None = None
    lang: str | None = None

    def summary(self) -> Summary:
        """The same, ready to be written.

        Raises:
            ConfigurationError: there is no such form, dimension or language.
        """
        form = "json" if self.as_json else None if self.quiet else form_of(self.form)
        return Summary(form, dimensions_of(self.by), language(self.lang).code)


def form_of(form: str | None) -> str:
    """The form of a report that the command line asks for.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if form is None:
        return "table"
    from openai_meter.reports import renderers  # noqa: PLC0415 - not for a plain `run`

    renderers.check(form)
    return form


def dimensions_of(by: str | None) -> tuple[str, ...]:
    """The dimensions that the command line asks for.

    Raises:
        ConfigurationError: there are none of that name.
    """
    if by is None:
        return ("model",)
    from openai_meter.core import dimensions  # noqa: PLC0415 - not for a plain `run`
    from openai_meter.reports import report as values  # noqa: PLC0415

    names = values.dimensions(by)
    dimensions.checked(names)
    return names


def report_file(path: str | None) -> Path | None:
    """The file for a report that the command line asks for.

    Raises:
        ConfigurationError: it is a folder, or says no form of a report.
    """
    if path is None:
        return None
    from openai_meter.reports import saving  # noqa: PLC0415 - not for a plain `run`

    return saving.checked(path)


def ledger_of(url: str | None) -> Ledger | None:
    """The ledger that the command line asks for. Does not connect.

    Raises:
        ConfigurationError: that is no URL of one.
        MissingExtraError: a package is missing.
    """
    if url is None:
        return None
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - not for a plain `run`

    return Ledger(url)


class _Page(io.StringIO):
    """Collects what is printed, and looks to a renderer like the stream that it will go to."""

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


class Ending:
    """Starts the meter, and says at the end of the process what was metered.

    Args:
        summary: how the summary looks.
        output: the file for the summary; standard error by default.
        report: a file for a report beside the summary; its suffix says its form.
        ledger: where the calls are kept for ever.
        serve: the port of the API and the dashboard, if the program is to be watched.
        says: when the summary is said: ``always``, where there were ``calls``, or ``never``; the last two also say
            nothing of a meter that could not start, and save no report of nothing.
        settings: more settings of the meter.

    A forked child that has made calls speaks for itself, and adds its process id to the names of the files.
    """

    arranged = False
    """Whether one is arranged in this process."""

    def __init__(
        self,
        summary: Summary,
        output: Path | None = None,
        report: Path | None = None,
        ledger: Ledger | None = None,
        serve: int | None = None,
        *,
        says: Literal["always", "calls", "never"] = "always",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._summary = summary
        self._says = says
        self._settings = {"ledger": ledger, **(settings or {})}
        self._output = output and output.absolute()
        self._report = report and report.absolute()
        self._serve = serve
        self._process = os.getpid()
        self._meter: Meter | None = None
        self.fault = ""
        """Why the meter could not start."""

    def _start(self) -> None:
        try:
            import openai_meter  # noqa: PLC0415 - a broken installation of a dependency must not stop the program

            self._meter = openai_meter.install(**self._settings)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
        if self._serve is not None and self._meter is not None:
            from openai_meter.cli import serve as serving  # noqa: PLC0415 - not for a plain `run`

            write_to_stderr(f"openai-meter: {serving.beside(self._meter, self._serve, self._summary.lang)}\n")

    def arrange(self, *, at_exit: bool = True) -> None:
        """Starts the meter, and sees to it that the summary comes last: handlers run in the reverse order.

        ``at_exit``: whether to register :meth:`finish`; who has registered something earlier calls it himself.
        """
        Ending.arranged = True
        self._start()
        if at_exit:
            atexit.register(self.finish)
        # Not in the main thread, or not a signal of this system: then the summary at exit has to do.
        with contextlib.suppress(ValueError, AttributeError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._on_sigterm)
                fork_safety.on_fork("exit summary", after_in_child=self._in_child)

    def _in_child(self, _: object) -> None:
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def finish(self) -> None:
        """Says what was metered; to be called when all else is over."""
        # A second Ctrl-C, or a stream that the program has closed or that nobody reads: then there is no more to say.
        with contextlib.suppress(Exception, KeyboardInterrupt):
            for stream in (sys.stdout, sys.__stderr__):  # the interpreter flushes them a moment later: after our words
                with contextlib.suppress(Exception):
                    stream.flush()  # type: ignore[union-attr]
            self._speak()

    def _on_sigterm(self, number: int, _: FrameType | None) -> None:
        if signal.getsignal(number) != self._on_sigterm:
            return  # called by a handler of the program that calls the one before it: SIG_DFL could not be called
        signal.signal(number, signal.SIG_DFL)
        # The signal may have stopped the main thread anywhere, with any lock in its hands; it ends the process anyhow.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(_kill_later, (os.getpid(), number))
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self._speak()
            if self._meter is not None:
                self._meter.flush(1.0)
        os.kill(os.getpid(), number)

    def _speak(self) -> None:
        process = os.getpid() if os.getpid() != self._process else None
        speaks_always = process is None and self._says == "always"
        if not speaks_always and (self._meter is None or not self._meter.totals.calls):
            return
        if self._report is not None and self._meter is not None:
            self._save(self._meter, _named(self._report, process))
        if self._says == "never":
            return
        if self._output is None:
            write_to_stderr(self._text(sys.__stderr__, process))
            return
        path = _named(self._output, process)
        try:
            path.write_text(self._text(None, process), encoding="utf-8")
        except OSError as error:
            self._complain("cli.not_written", path, error.strerror)

    def _save(self, meter: Meter, path: Path) -> None:
        try:
            meter.save_report(path, by=self._summary.by, lang=self._summary.lang)
        except OSError as error:
            self._complain("cli.not_saved", path, os.strerror(error.errno) if error.errno else str(error))
        except Exception as error:  # for one, the program has a rich.py of its own
            self._complain("cli.not_saved", path, f"{type(error).__name__}: {error}")

    def _complain(self, key: str, path: Path, error: str | None) -> None:
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


def _named(path: Path, process: int | None) -> Path:
    return path if process is None else path.with_name(f"{path.stem}.{process}{path.suffix}")


def _kill_later(process: int, number: int) -> None:
    time.sleep(3)  # a limit, not a wait: the process is usually gone long before
    os.kill(process, number)


def write_to_stderr(text: str) -> None:
    """Writes past all buffers: what a broken pipe left in one would make the interpreter exit with code 120."""
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
    """Keeps a program that takes SIGPIPE as Unix does from dying of it while we write."""
    number = getattr(signal, "SIGPIPE", None)
    if number is None or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)
