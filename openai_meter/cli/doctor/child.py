"""Starts the process that tries the shapes of call, and reads its results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NamedTuple

from openai_meter.cli.doctor.diagnosis import Finding, Trial
from openai_meter.cli.doctor.patchers import Patch
from openai_meter.cli.doctor.trials import read_trial

__all__ = ["Progress", "TrialResults", "try_in_child"]

Progress = Callable[[int, int], None]
"""Receives the number of steps that are done, and of all steps."""

_SILENCE = 20.0
"""Seconds without a line of the process, at least, after which a call is taken to hang."""

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
    """Tries all shapes of call. Raises nothing but what ``on_progress`` does.

    The process is ended when it has used ``patience`` seconds of the processor, which a busy machine does not shorten,
    or has written nothing for a long time because a call hangs. What it has tried by then is in the results.

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
        watch = _Watch(process, patience)
        try:
            for kind, value, used in _lines(process.stdout):
                watch.note(used)
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
            watch.end()
            if not ended:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        findings = () if ended else (_failure(errors, patience, late=watch.late, tried=len(trials)),)
    return TrialResults(tuple(trials), tuple(patches), findings)


class _Watch:
    """Ends the other process when its time is over. Has a thread of its own."""

    def __init__(self, process: subprocess.Popen[bytes], patience: float) -> None:
        self.late = False
        """Whether it has ended the process."""
        self._process = process
        self._patience = patience
        self._silence = max(2 * patience, _SILENCE)
        self._used, self._noted = 0.0, time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="openai-meter-doctor", daemon=True)
        self._thread.start()

    def note(self, used: float) -> None:
        """Notes a line of the process, and the processor time that it has used so far."""
        self._used, self._noted = used, time.monotonic()
        if used > self._patience:
            self._end_process()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            if time.monotonic() - self._noted > self._silence:
                self._end_process()

    def _end_process(self) -> None:
        self.late = True
        self._process.kill()

    def end(self) -> None:
        """Ends the watching."""
        self._over.set()
        self._thread.join()


def _lines(stream: IO[bytes] | None) -> Iterator[tuple[str, Any, float]]:
    """The lines of the other process; other libraries may print in between."""
    for line in stream or ():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, Mapping) and "doctor" in message:
            yield message["doctor"], message["value"], float(message.get("used", 0.0))


def _failure(errors: IO[bytes], patience: float, *, late: bool, tried: int) -> Finding:
    if late:
        return Finding("trials", "late", "problem", {"n": round(patience), "tried": tried})
    errors.seek(0)
    lines = errors.read()[-4000:].decode(errors="replace").strip().splitlines()
    return Finding("trials", "crashed", "problem", {"error": lines[-1][:200] if lines else "?"})
