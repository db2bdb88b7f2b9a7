"""Programs that replace themselves by ``os.exec*`` under ``openai-meter run``: the run goes on in the new program.

``os.exec*`` ends a process without an end of the interpreter. So ``os.execv`` and ``os.execve``, which all of them
call, are wrapped in the process of the run. Before the exec, its calls are written to the folder of the run, next to
those of its children (see ``children.py``), with the options of the summary. The new program has the same process id:
if it is this Python, ``openai_meter.auto`` finds the folder and continues the run. If it is not, the summary is written
before the exec, because afterwards none of our code runs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_meter.cli.children import write_refusals
from openai_meter.core import settings

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter

__all__ = ["continues_here", "hand_over", "is_metered_python", "watch_exec"]

_OPTIONS = "run.json"
_NO_SITE = frozenset("EIS")
"""Flags of python with which no ``sitecustomize`` is imported from PYTHONPATH."""

Undo = Callable[[], None]
BeforeExec = Callable[[str, Sequence[Any], Mapping[Any, Any]], Undo]


def watch_exec(before: BeforeExec) -> None:
    """Calls a function before each exec of this process, and what it returns if the exec has failed.

    Args:
        before: gets the path of the new program, its arguments and its environment. Its errors are ignored.
    """
    if not hasattr(os, "execve"):
        return

    def wrapped(execute: Callable[..., Any], *, with_environment: bool) -> Callable[..., Any]:
        @functools.wraps(execute)
        def run(path: Any, args: Any, *environment: Any) -> Any:
            undo: Undo = lambda: None  # noqa: E731
            with contextlib.suppress(Exception):
                name = os.fsdecode(path)
                if os.path.isfile(name) and os.access(name, os.X_OK):  # execvp tries each folder of PATH
                    undo = before(name, args, environment[0] if with_environment else os.environ)
            try:
                return execute(path, args, *environment)
            except BaseException:
                undo()
                raise

        return run

    os.execv = wrapped(os.execv, with_environment=False)
    os.execve = wrapped(os.execve, with_environment=True)


def is_metered_python(path: str, args: Sequence[Any], environment: Mapping[Any, Any]) -> bool:
    """Whether a program is this Python, or a script for it, and finds the run in its environment."""
    for name in (settings.variable("run"), "PYTHONPATH"):
        if _value(environment, name) != os.environ.get(name):
            return False
    interpreter, flags = path, [os.fsdecode(arg) for arg in args[1:]]
    if not _is_python(path):
        with open(path, "rb") as file:
            first = os.fsdecode(file.readline(512))
        words = first.removeprefix("#!").split() if first.startswith("#!") else []
        if words and os.path.basename(words[0]) == "env":
            words = [shutil.which(words[1]) or "", *words[2:]] if len(words) > 1 else []
        interpreter, flags = (words[0], words[1:]) if words else ("", [])
    if not interpreter or not _is_python(interpreter):
        return False
    for flag in flags:
        if not flag.startswith("-") or flag in {"-", "-c", "-m"}:
            break
        if not flag.startswith("--") and _NO_SITE & set(flag[1:].partition("X")[0]):
            return False
    return True


def _value(environment: Mapping[Any, Any], name: str) -> str | None:
    found = environment.get(name, environment.get(name.encode()) if environment is not os.environ else None)
    return None if found is None else os.fsdecode(found)


def _is_python(path: str) -> bool:
    """Whether a path is the interpreter of this process, by one of its names in the same folder."""
    if not os.path.basename(path).startswith("python"):
        return False
    with contextlib.suppress(OSError):
        return os.path.samefile(os.path.dirname(path), os.path.dirname(sys.executable))
    return False


def hand_over(folder: Path, meter: Meter, options: Mapping[str, Any]) -> Undo:
    """Writes the calls of this process and the options of the run to its folder; returns what takes that back.

    Raises:
        OSError: they cannot be written.
    """
    meter.flush(2.0)
    number = len(list(folder.glob(f"{os.getpid()}.*.jsonl")))
    sums = folder / f"{os.getpid()}.{number}-0.jsonl"
    sums.write_text(json.dumps(meter._store.to_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    refused = write_refusals(folder, meter._refused_calls(), f"{os.getpid()}.{number}")
    state = folder / _OPTIONS
    state.write_text(json.dumps(dict(options)), encoding="utf-8")

    def undo() -> None:
        sums.unlink(missing_ok=True)
        if refused is not None:
            refused.unlink(missing_ok=True)
        state.unlink(missing_ok=True)

    return undo


def continues_here() -> tuple[Path, dict[str, Any]] | None:
    """The folder and the options of a run that this process continues after an exec; ``None`` if there is none."""
    process, _, name = (settings.get("run") or "").partition(":")
    if not name or process != str(os.getpid()):
        return None
    path = Path(name) / _OPTIONS
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
    except (OSError, ValueError):
        return None
    return Path(name), options
