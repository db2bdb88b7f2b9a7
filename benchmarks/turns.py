"""Bare and instrumented in turns, in one process; processes of several environments in turns, round by round.

Every way of instrumenting the SDK works in a process of its own, as two would meet in one; ``python turns.py WAY
SCENE...`` is such a process, which `Worker` starts. In it the patches of the way are swapped out and in, so that each
round measures the bare SDK beside the way, in the same process and within some hundred milliseconds.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rivals import Recorder
from swaps import Snapshot

PATIENCE = 120
"""The seconds that an answer of a worker may take."""


# --- in a worker ------------------------------------------------------------------------------------------------------


class Side(NamedTuple):
    """The microseconds per call or event of one side in one round."""

    wall: float
    """Until the program has its answer: as `undisturbed` says."""
    cpu: float
    """Of the processor, in all threads, until nothing is put off any more; the mean of all calls."""


def undisturbed(turns: Sequence[Sequence[float]]) -> float:
    """The seconds that a turn takes when nothing comes between: for each of its steps, the fastest decile of all turns.

    A stream that takes tens of milliseconds is always disturbed somewhere where others use the machine; its steps are
    not. A tenth of less than ten turns is the fastest of them.
    """
    steps = [[after - before for before, after in itertools.pairwise(turn)] for turn in turns]
    return sum(sorted(step)[len(step) // 10] for step in zip(*steps, strict=True))


class Stage:
    """Scenes, bare and in one way; ``begin`` instruments the SDK, and is called once."""

    def __init__(
        self, scenes: Mapping[str, Any], begin: Callable[[], Recorder], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._scenes = scenes
        self._loop = loop
        for scene in scenes.values():
            scene.turns(scene.client(), self._loop)(1)  # imports all that it needs
        self._before = Snapshot()
        self._recorder = begin()
        self.patches = self._before.changes()
        self._in = True
        self._turn = 0

    def open(self, name: str, warm: int = 40) -> float:
        """Begins a scene: how many records a call makes.

        Raises:
            Exception: the way breaks the scene, in whatever way it does.
        """
        scene = self._scene = self._scenes[name]
        self._swap(out=False)
        self._instrumented = scene.turns(self._recorder.client(scene.client()), self._loop)
        self.patches = self._before.changes()
        self._instrumented(max(2, warm // scene.per))
        records = self._counted(self._instrumented, scene.times) / scene.times
        self._swap(out=True)
        self._bare = scene.turns(scene.client(), self._loop)
        if self._counted(self._bare, 2):
            raise RuntimeError("it still records when its patches are out, so there is nothing to compare it with")
        return records

    def round(self) -> tuple[Side, Side]:
        """Bare and instrumented, one after the other; who is first changes from round to round."""
        self._turn += 1
        order = (True, False) if self._turn % 2 else (False, True)
        sides = {out: self._side(out=out) for out in order}
        return sides[True], sides[False]

    def _side(self, *, out: bool) -> Side:
        turns = self._bare if out else self._instrumented
        self._swap(out=out)
        self._recorder.forget()
        times, per = self._scene.times, self._scene.per
        turns(max(1, times // 20))  # the interpreter has to learn again what was swapped
        self._recorder.flush()
        worked = time.process_time()
        taken = turns(times)
        self._recorder.flush()
        worked = time.process_time() - worked
        return Side(undisturbed(taken) / per * 1e6, worked / times / per * 1e6)

    def _swap(self, *, out: bool) -> None:
        if self._in is out:
            self.patches.swap(out=out)
        self._in = not out

    def _counted(self, turns: Callable[[int], object], times: int) -> int:
        self._recorder.flush()
        self._recorder.forget()
        turns(times)
        self._recorder.flush()
        return len(self._recorder.seen())


def begin_of(way: str) -> Callable[[], Recorder]:
    """What begins a way: one of ours (``ours.py``), or a rival (``rivals.py``)."""
    module = importlib.import_module("rivals" if way.startswith("rival:") else "ours")
    return module.RIVALS[way.removeprefix("rival:")].begin if way.startswith("rival:") else module.OURS[way]


def refuse(*where: object) -> None:
    """Stands for the network: what a way would send has nobody to go to."""
    raise ConnectionRefusedError(f"no network in benchmarks: {where}")


def work(way: str, *names: str) -> None:
    """Answers each line that comes in, ``open SCENE`` or ``round``, with one of JSON; first says that it has begun."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the SDK's guests print is no answer

    def say(does: Callable[[], dict[str, Any]]) -> None:
        try:
            said = does()
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(said) + "\n")

    stage: Any = None

    def begin() -> dict[str, Any]:
        nonlocal stage
        socket.getaddrinfo = socket.socket.connect = refuse
        scenes = importlib.import_module("scenes").SCENES
        stage = Stage({name: scenes[name] for name in names}, begin_of(way), asyncio.new_event_loop())
        return {}

    say(begin)
    for line in sys.stdin if stage else ():
        what, _, name = line.strip().partition(" ")
        say(lambda: {"records": stage.open(name)} if what == "open" else {"sides": stage.round()})  # noqa: B023
    os._exit(0)  # whatever its threads still want to send


# --- outside of it ----------------------------------------------------------------------------------------------------


class Worker:
    """A process for one way. What fails stands in ``error``, until another scene is opened."""

    def __init__(self, python: str | Path, way: str, scenes: Sequence[str]) -> None:
        self.error: str | None = None
        self.ended: str | None = None
        """Why there is no process any more."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it lasts as long as the worker
        self._folder = tempfile.TemporaryDirectory(prefix="openai_meter_benchmark_")
        own = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder.name)  # it leaves nothing behind
        self._process = subprocess.Popen(
            [python, __file__, way, *scenes], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            text=True, env={**os.environ, **own, "PYTHONHASHSEED": "0"},
        )  # fmt: skip

    def begun(self) -> None:
        """Waits until the way has begun."""
        self._hear()
        self.ended = self.error

    def open(self, scene: str) -> float | None:
        """Goes on to a scene: how many records a call makes; ``None`` if it breaks."""
        self.error = self.ended
        return self._ask(f"open {scene}").get("records")

    def round(self) -> tuple[Side, Side] | None:
        """One round; ``None`` if it breaks, or the scene is broken already."""
        sides = self._ask("round").get("sides")
        return None if sides is None else (Side(*sides[0]), Side(*sides[1]))

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._said.close()
        self._folder.cleanup()

    def _ask(self, what: str) -> dict[str, Any]:
        if self.error is not None:
            return {}
        try:
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended, which is heard now
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        too_long = threading.Timer(PATIENCE, self._process.kill)
        too_long.start()
        line = self._process.stdout.readline()
        too_long.cancel()
        if not line:
            self.ended = self.error = f"its process ended; {self._last()}"
            return {}
        said = json.loads(line)
        self.error = said.get("error")
        return {} if self.error else said

    def _last(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


if __name__ == "__main__":
    work(*sys.argv[1:])
