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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TextIO

from openai_meter.cli.summary import Run, Summary
from openai_meter.core import fork_safety
from openai_meter.core.locale import language

if TYPE_CHECKING:
    from openai_meter.cli.children import CallFile
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["ExitSummary", "write_to_stderr"]


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
        follow_children: whether the Python processes that this one starts are metered too (see ``cli.children``). The
            summary is of all of them.
        run: the folder of the run that has started this process. Its calls are written there, and no summary.
        continues: the folder of the run that this process continues, after an exec.
        variables: variables of the environment for the processes below this one, if they are followed.

    If children are not followed, or still run when their parent has ended, a forked child that has made calls writes a
    summary of its own, and adds its process id to the names of the files.
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
        follow_children: bool = False,
        run: Path | None = None,
        continues: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._summary = summary
        self._when = when
        self._settings = {"ledger": ledger, **(settings or {})}
        self._output = output and output.absolute()
        self._report = report and report.absolute()
        self._serve = serve
        self._process = os.getpid()
        self._follows = follow_children
        self._variables = variables or {}
        self._is_child = run is not None
        self._folder = run or continues
        self._calls: CallFile | None = None
        self._run: Run | None = None
        self._meter: Meter | None = None
        self.fault = ""
        """Why the meter could not start."""

    def _start_meter(self) -> None:
        try:
            import openai_meter  # noqa: PLC0415 - a broken installation of a dependency must not stop the program

            self._meter = openai_meter.install(**self._settings)
            if self._follows or self._is_child:
                self._follow_children(self._meter)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
        if self._serve is not None and self._meter is not None:
            from openai_meter.cli.dashboard import start_dashboard  # noqa: PLC0415 - not for a plain `run`

            write_to_stderr(f"openai-meter: {start_dashboard(self._meter, self._serve, self._summary.lang)}\n")

    def _follow_children(self, meter: Meter) -> None:
        """Meters the processes below this one, if their folder can be made."""
        from openai_meter.cli.children import CallFile, follow_multiprocessing, prepare  # noqa: PLC0415
        from openai_meter.cli.exec_handover import watch_exec  # noqa: PLC0415
        from openai_meter.core.fork_safety import on_fork  # noqa: PLC0415

        if self._folder is None:
            try:
                self._folder = prepare(meter.ledger, self._variables)
            except OSError:
                return
        self._calls = CallFile(self._folder, but=None if self._is_child else self._process)
        meter.add_sink(self._calls)
        on_fork("children of a run", before=follow_multiprocessing(self.finish))
        if not self._is_child:
            watch_exec(self._before_exec)

    def _before_exec(self, path: str, args: Sequence[Any], environment: Mapping[Any, Any]) -> Callable[[], None]:
        """Lets the program that replaces this one continue the run, or writes the summary if it cannot."""
        if os.getpid() != self._process or self._folder is None or self._meter is None:
            return lambda: None
        from openai_meter.cli.exec_handover import hand_over, is_metered_python  # noqa: PLC0415

        if not is_metered_python(path, args, environment):
            self._write()
            return lambda: None
        options = {
            "summary": self._summary, "output": self._output and str(self._output),
            "report": self._report and str(self._report), "serve": self._serve,
        }  # fmt: skip
        return hand_over(self._folder, self._meter, options)

    @classmethod
    def continued(cls, settings: Mapping[str, Any]) -> ExitSummary | None:
        """The end of the run that this process continues after an exec; ``None`` if it continues none."""
        from openai_meter.cli.exec_handover import continues_here  # noqa: PLC0415

        found = continues_here()
        if found is None:
            return None
        folder, options = found
        form, by, lang = options["summary"]
        output, report = (options[name] and Path(options[name]) for name in ("output", "report"))
        summary = Summary(form, tuple(by), lang)
        return cls(
            summary, output, report, serve=options["serve"], settings=settings, follow_children=True, continues=folder
        )

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
        interrupted = _ended_by_interrupt()
        # A second Ctrl-C, or a stream that is closed or not read: no summary, and no error.
        with contextlib.suppress(Exception, KeyboardInterrupt):
            for stream in (sys.stdout, sys.__stderr__):  # the interpreter would flush them after our text
                with contextlib.suppress(Exception):
                    stream.flush()  # type: ignore[union-attr]
            self._write()
        if interrupted:
            # A program that Ctrl-C has ended dies of SIGINT, if the interpreter's flag for that is still set. Python
            # resets it whenever it runs the text of a program, as imports above have done. This sets it again.
            with contextlib.suppress(KeyboardInterrupt):
                exec("raise KeyboardInterrupt")  # noqa: S102

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
        if self._calls is not None and (process is not None or self._is_child):
            self._calls.finish()
            if self._meter is not None and self._folder is not None:
                from openai_meter.cli.children import write_refusals  # noqa: PLC0415 - loaded with the call file

                write_refusals(self._folder, self._meter._refused_calls(), str(os.getpid()))
            if self._is_child or self._calls.is_collected:
                return
        self._collect()
        always = process is None and self._when == "always"
        if not always and (self._meter is None or not (self._meter.totals.calls or self._meter._refused_calls())):
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

    def _collect(self) -> None:
        """Adds the calls of the processes below this one."""
        if self._folder is None or self._meter is None or os.getpid() != self._process:
            return
        from openai_meter.cli.children import collect, read_refusals  # noqa: PLC0415 - only with children

        refused = read_refusals(self._folder)
        made = self._meter.totals.calls > 0
        found = collect(self._folder, self._meter, self._process if made else None)
        self._folder, self._run = None, Run(found.processes, found.unmetered, refused)

    def _save(self, meter: Meter, path: Path) -> None:
        try:
            meter.save_report(path, by=self._summary.by, lang=self._summary.lang)
        except OSError as error:
            self._write_problem("cli.not_saved", path, os.strerror(error.errno) if error.errno else str(error))
        except Exception as error:  # for example, the program has its own rich.py
            self._write_problem("cli.not_saved", path, f"{type(error).__name__}: {error}")

    def _write_problem(self, key: str, path: Path, error: str | None) -> None:
        write_to_stderr(f"openai-meter: {language(self._summary.lang)(key, path=path, error=error)}\n")

    def _text(self, stream: TextIO | None, process: int | None) -> str:
        m = language(self._summary.lang)
        if self._meter is None:
            return f"openai-meter: {m('cli.not_started', error=self.fault)}\n"
        page = _Page(stream)
        try:
            self._summary.write(self._meter, page, process, self._run)
            return page.getvalue()
        except Exception as error:
            line = self._meter.summary(lang=self._summary.lang)
            return f"openai-meter: {line}\n{m('cli.not_full', error=f'{type(error).__name__}: {error}')}\n"


def _ended_by_interrupt() -> bool:
    """Whether a KeyboardInterrupt has left the main program, and the interpreter is about to end because of it."""
    traceback = getattr(sys, "last_traceback", None)
    if traceback is None or traceback.tb_frame.f_code.co_name not in _MAIN:
        return False  # shown by a shell such as IPython, which goes on
    interactive = hasattr(sys, "ps1") or sys.flags.interactive
    return not interactive and getattr(sys, "last_type", None) is KeyboardInterrupt


_MAIN = frozenset({"<module>", "_run_module_as_main"})
"""The first frame of a program: a script, or a module of ``python -m``."""


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
