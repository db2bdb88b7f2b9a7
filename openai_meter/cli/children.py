"""The calls of the processes that a metered program starts: forked workers, and new Python interpreters.

``openai-meter run`` makes a folder for the run, and names it in a variable of the environment (the setting ``run``:
``PROCESS:FOLDER``, with the process id of the run itself). Each process below it
writes its calls to a file there, one line for each call, at once: a worker may end by a signal or ``os._exit`` at any
moment. When the program has ended, the files are added to the calls of its own process.

A new interpreter is metered by ``openai_meter.auto``, which a ``sitecustomize`` module in that folder imports. It then
loads the ``sitecustomize`` that would have been loaded without it. A Python without openai_meter cannot be metered; it
leaves a mark in the folder, so that the summary can name the number of such processes.

The file of a process does not grow without end: after some thousand calls their sums replace the lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.cli.run_folder import make_run_folder, remove_run_folder
from openai_meter.core import settings
from openai_meter.core.call import Call
from openai_meter.core.money import simplest
from openai_meter.metering.store import Store
from openai_meter.pricing.loading import WAITING

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["CallFile", "Collected", "collect", "folder_of_run", "follow_multiprocessing", "prepare",
           "read_refusals", "write_refusals"]  # fmt: skip

_LINES = 5_000
"""Calls after which their sums replace the lines of a file: some 4 MB."""

_SITE = '''\
"""Meters this process for the run of openai-meter that has started it; see openai_meter/cli/children.py."""

import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != folder]
ours = sys.modules.pop("sitecustomize", None)
try:
    import openai_meter.auto
except Exception:
    try:
        open(os.path.join(os.path.dirname(folder), "unmetered-%d" % os.getpid()), "w").close()
    except OSError:
        pass
try:
    import sitecustomize
except ImportError as error:
    if error.name != "sitecustomize":
        raise
    sys.modules["sitecustomize"] = ours
'''


def prepare(ledger: Ledger | None, variables: Mapping[str, str] | None = None) -> Path:
    """Makes the folder of a run, for this user only, and sets the variables with which processes below are metered.

    Args:
        ledger: the ledger of the run, which is that of the processes below it too.
        variables: other settings of the run for the processes below it: variables of the environment.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = make_run_folder()
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    os.environ[settings.variable("run")] = f"{os.getpid()}:{folder}"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if ledger is not None:
        os.environ[settings.variable("ledger")] = ledger.engine.url.render_as_string(hide_password=False)
    os.environ.update(variables or {})
    return folder


def folder_of_run() -> Path | None:
    """The folder of the run that has started this process; ``None`` if there is none, or this process is the run."""
    process, _, folder = (settings.get("run") or "").partition(":")
    if not folder or process == str(os.getpid()) or not os.path.isdir(folder):
        return None
    return Path(folder)


class CallFile:
    """A sink that writes the calls of this process to a file in the folder of the run.

    It takes calls at once, without the price that others wait for: the run prices them.

    Writes nothing in the process ``but``: the run itself, which has its calls in memory. In a forked child it begins a
    file of the child's own. Errors of writing are ignored: the folder is deleted when the run has ended.
    """

    at_once = True

    def __init__(self, folder: Path, but: int | None = None) -> None:
        self._folder = folder
        self._but = but
        self._process = 0
        self._file = -1
        self._part = 0
        self._lines = 0
        self._store = Store(0)
        self._unpriced: list[Call] = []
        self._settle: Callable[[], None] = lambda: None

    def put(self, call: Call) -> None:
        """Writes a call."""
        process = os.getpid()
        if process == self._but:
            return
        with contextlib.suppress(OSError):
            if process != self._process:
                self._process, self._part, self._lines, self._store = process, 0, 0, Store(0)
                self._unpriced = []
                self._open()
            os.write(self._file, _line(_data(call)))
        if call.cost_reason == WAITING:
            self._unpriced.append(call)  # the run prices it
        else:
            self._store.add(call)
        self._lines += 1
        if self._lines >= _LINES:
            with contextlib.suppress(OSError):
                self._replace_lines()

    def _open(self) -> None:
        path = self._folder / f"{self._process}-{self._part}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _replace_lines(self) -> None:
        """Begins a new part, whose first line has the sums of all parts before it."""
        before, part = self._file, self._part
        self._part, self._lines = part + 1, 0
        path = self._folder / f"{self._process}-{self._part}.jsonl"
        new = path.with_suffix(".new")
        new.write_bytes(_line(self._store.to_dict()) + b"".join(_line(_data(call)) for call in self._unpriced))
        new.replace(path)  # from here on the part before it is not read any more
        self._open()
        os.close(before)
        (self._folder / f"{self._process}-{part}.jsonl").unlink()

    def before_finish(self, do: Callable[[], None]) -> None:
        """Takes the method that ends estimates which still run."""
        self._settle = do

    @property
    def is_collected(self) -> bool:
        """Whether the run goes on, which collects the files at its end."""
        return self._folder.is_dir()

    def flush(self, timeout: float) -> bool:  # noqa: ARG002 - nothing waits
        """Everything is written at once."""
        return True

    def finish(self) -> None:
        """Writes the calls whose tokens are still being estimated."""
        if os.getpid() != self._but:
            self._settle()


def _data(call: Call) -> dict[str, Any]:
    """A call as plain values, with its exact cost: a third of a cent is not a decimal number."""
    return {**call.to_dict(), "cost_pico": None if call.cost_pico is None else str(call.cost_pico)}


def _line(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def write_refusals(folder: Path, refused: Mapping[str, int], name: str) -> Path | None:
    """Writes to the folder of a run which budgets have refused calls of a process, and how many.

    Args:
        folder: the folder of the run.
        refused: the calls by the name of the budget.
        name: names the process; a file of before is replaced.

    Returns:
        The file, if there is anything in it.
    """
    path = folder / f"refused-{name}.json"
    with contextlib.suppress(OSError):
        if refused:
            path.write_text(json.dumps(dict(refused)), encoding="utf-8")
            return path
    return None


def read_refusals(folder: Path) -> Counter[str]:
    """The refused calls of all processes below a run, by the name of the budget."""
    found: Counter[str] = Counter()
    for path in folder.glob("refused-*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            found.update(json.loads(path.read_text(encoding="utf-8")))
    return found


class Collected(NamedTuple):
    """What the processes below a run have left in its folder."""

    processes: int
    """The processes that made calls."""
    unmetered: int
    """The Python processes that could not be metered."""


def collect(folder: Path, meter: Meter, own: int | None = None) -> Collected:
    """Adds the calls of all processes below a run to those of a meter, and deletes the folder.

    The meter passes them to no sink and raises no alert for them: their own process has done that.

    Args:
        folder: the folder of the run.
        meter: the meter of the run.
        own: the process of the meter, if it has made calls: it counts too, once, also where an exec has replaced it
            and its calls of before are in a file.
    """
    newest: dict[str, tuple[int, Path]] = {}
    for path in folder.glob("*-*.jsonl"):
        process, _, part = path.stem.partition("-")
        newest[process] = max(newest.get(process, (-1, path)), (int(part), path))
    made = set() if own is None else {str(own)}
    for name, (_, path) in newest.items():
        rows = (_priced(row, meter) for row in _read(path))
        if meter._store.add_others(rows):
            made.add(name.partition(".")[0])
    unmetered = len(list(folder.glob("unmetered-*")))
    remove_run_folder(folder)
    return Collected(len(made), unmetered)


def _priced(row: Call | dict[str, Any], meter: Meter) -> Call | dict[str, Any]:
    """A call that was written while its process was reading the prices, with its price."""
    if isinstance(row, Call) and row.cost_reason == WAITING:
        loader = meter._price_loader
        loader.load()
        return loader.again(row)
    return row


def _read(path: Path) -> Iterator[Call | dict[str, Any]]:
    """The calls of a file, and the sums of older ones. A line that the end of its process has cut is left out."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                data = json.loads(line)
                if "sums" in data:
                    yield data
                else:
                    amount = data.pop("cost_pico")
                    call = Call.from_dict(data)
                    yield call if amount is None else replace(call, cost_pico=simplest(Fraction(amount)))


def follow_multiprocessing(finish: Callable[[], None]) -> Callable[[], None]:
    """A function that makes the forked children of ``multiprocessing`` call ``finish`` at their end.

    They end by ``os._exit`` after their own finalizers, without ``atexit``. To be called before each fork.
    """
    registered: list[object] = []

    class Anchor:
        """Is kept alive here: ``multiprocessing`` holds its callbacks by weak references."""

    def before_fork() -> None:
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not registered:
            anchor = Anchor()
            registered.append(anchor)
            util.register_after_fork(anchor, lambda _: util.Finalize(None, finish, exitpriority=0))

    return before_fork
