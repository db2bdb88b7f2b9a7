"""The ledger that a command works on: which one, which calls of it, and what happens if it cannot be used.

Exit codes of all commands that use it: 1 where the ledger cannot be read or written, 2 where a value cannot be used.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.cli.output import fail
from openai_meter.core import settings
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError, LedgerError, MeterError

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.ledger import Ledger

__all__ = ["LEDGER_VARIABLE", "Selection", "open_ledger", "progress_line", "roll_up", "with_progress"]

LEDGER_VARIABLE = "OPENAI_METER_LEDGER"
_SECONDS = 10
"""Between two lines of progress in a log."""


class Selection(NamedTuple):
    """The calls that a command works on."""

    ledger: str | None
    """The URL of the ledger; ``None`` stands for the variable ``OPENAI_METER_LEDGER``."""
    since: str | None = None
    until: str | None = None
    timezone: str | None = None
    filters: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """Wanted values by dimension, as the methods of a ledger take them."""

    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of the methods of a ledger."""
        return {"since": self.since, "until": self.until, "timezone": self.timezone, **self.filters}


@contextmanager
def open_ledger(url: str | None, *, create: bool = False, lang: str | None = None) -> Iterator[Ledger]:
    """Opens the ledger of a command, and closes it at the end of the block.

    An error inside the block ends the process with one sentence and an exit code.

    Args:
        url: the URL; by default that of ``OPENAI_METER_LEDGER``.
        create: whether a SQLite file that does not exist is made.
        lang: the language of the sentence.
    """
    m = language(lang)
    url = url or settings.get("ledger")
    if not url:
        fail(m("cli.ledger_missing", variable=LEDGER_VARIABLE), 2)
    try:
        from openai_meter.ledger import Ledger  # noqa: PLC0415 - not for `run`

        ledger = Ledger(url)
        file = ledger.engine.url.database if ledger.engine.dialect.name == "sqlite" else None
        if file is not None and not create and not Path(file).exists():
            fail(m("cli.ledger_not_found", file=file, url=ledger.url), 1)
        try:
            yield ledger
        finally:
            ledger.close()
    except ConfigurationError as error:
        fail(str(error), 2)
    except BrokenPipeError:  # the reader of standard output (head, less) has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (MeterError, OSError) as error:
        fail(str(error), 1)


def roll_up(ledger: Ledger, lang: str | None) -> None:
    """Brings the roll-ups of a ledger up to date; meanwhile, on a terminal, the number of calls on standard error.

    A ledger that cannot be written is read as it is.
    """
    if not sys.stderr.isatty():
        return  # a report takes some seconds for it at most
    with progress_line(language(lang), "cli.rolling_up") as show, suppress(LedgerError):
        ledger.roll_up(show)


@contextmanager
def progress_line(m: Messages, message: str) -> Iterator[Callable[[int], None]]:
    """A function that shows a number of calls, as a line on standard error that is gone at the end of the block.

    Where standard error is not a terminal, the line is written once in ten seconds at most, and stays.
    """
    shown = False
    terminal = sys.stderr.isatty()
    last = time.monotonic()

    def show(number: int) -> None:
        nonlocal shown, last
        if terminal:
            sys.stderr.write(f"\r{m(message, n=number)}")
        elif time.monotonic() - last > _SECONDS:
            sys.stderr.write(f"openai-meter: {m(message, n=number)}\n")
            last = time.monotonic()
        shown = terminal
        sys.stderr.flush()

    yield show
    if shown:
        sys.stderr.write("\r\x1b[K")


def with_progress(calls: Iterator[Call], total: int) -> Iterator[Call]:
    """The same calls; meanwhile a progress bar on standard error, if that is a terminal.

    ``total`` is the number of calls; 0 is an unknown number.
    """
    if not sys.stderr.isatty():
        yield from calls
        return
    from rich.console import Console  # noqa: PLC0415 - not for `run`
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total or None)
        for number, call in enumerate(calls, 1):
            yield call
            if number % 500 == 0:
                progress.update(task, completed=number)
