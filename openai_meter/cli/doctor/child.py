"""Starts the process that tries the shapes of call, and reads its results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NamedTuple

from openai_meter.cli.doctor.diagnosis import Finding, Trial
from openai_meter.cli.doctor.patchers import Patch
from openai_meter.cli.doctor.trials import read_trial

__all__ = ["Progress", "TrialResults", "try_in_child"]

Progress = Callable[[int, int], None]
"""Receives the number of steps that are done, and of all steps."""

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from openai_meter.cli.doctor.trials import main
main()
"""


class TrialResults(NamedTuple):
    """What the other process wrote."""

    trials: tuple[Trial, ...]
    patches: tuple[Patch, ...]
    findings: tuple[Finding, ...]
    """What went wrong with the trying itself."""


def try_in_child(patience: float, on_progress: Progress | None = None) -> TrialResults:
    """Tries all shapes of call; never longer than ``patience`` seconds. Raises nothing but what ``on_progress`` does.

    The process has the environment of this one, so that what patches the SDK by a variable or a file of the
    interpreter's does so there too; but none of OpenAI's and our own variables.
    """
    if not sys.executable:
        return TrialResults((), (), (Finding("trials", "no_python", "warning"),))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = [sys.executable, "-W", "ignore", "-c", _START, json.dumps(sys.path)]
    trials: list[Trial] = []
    patches: list[Patch] = []
    done, total, ended = 0, 0, False
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            command, env={**environment, "PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        late = threading.Event()
        timer = threading.Timer(patience, _stop, (process, late))
        timer.start()
        try:
            for kind, value in _lines(process.stdout):
                if kind == "patches":
                    patches = [Patch(**one) for one in value]
                elif kind == "total":
                    total = value
                elif kind == "trial":
                    done += 1
                    trials += [] if value is None else [read_trial(value)]
                elif kind == "done":
                    ended = True
                if on_progress is not None and total:
                    on_progress(min(done, total), total)
        finally:
            timer.cancel()
            if not ended:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        findings = () if ended else (_failure(errors, patience, late=late.is_set(), tried=len(trials)),)
    return TrialResults(tuple(trials), tuple(patches), findings)


def _stop(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _lines(stream: IO[bytes] | None) -> Iterator[tuple[str, Any]]:
    """The lines of the other process; other libraries may print in between."""
    for line in stream or ():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, Mapping) and "doctor" in message:
            yield message["doctor"], message["value"]


def _failure(errors: IO[bytes], patience: float, *, late: bool, tried: int) -> Finding:
    if late:
        return Finding("trials", "late", "problem", {"n": round(patience), "tried": tried})
    errors.seek(0)
    lines = errors.read()[-4000:].decode(errors="replace").strip().splitlines()
    return Finding("trials", "crashed", "problem", {"error": lines[-1][:200] if lines else "?"})
