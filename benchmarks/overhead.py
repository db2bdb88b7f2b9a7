"""What instrumenting the SDK costs: microseconds added to a call and to each event of a stream, by way and scene.

    python benchmarks/overhead.py [--against NAME... | all] [--scenario NAME...] [--rounds 30] [--json]

Each way of instrumenting has a process of its own, a rival's in an environment of its own. In it the SDK is called over
a transport that answers at once, bare and instrumented in turns, on swapped patches; the processes take turns as well.
``added`` is the difference of the two in the same round, in time by the clock until the program has its answer: of a
stream all of it, from the call to its end, by the number of its events. Of the calls of a round, and of each step of
its streams, counts the one that a tenth are faster than. Shown is the median of the rounds between their quartiles.
``bare`` is what the same call takes without; ``bare, again`` adds nothing: what it shows is the noise.

What is put off is not free: ``cpu`` is the time of the processor that is added in all threads of the process, until all
that was put off is done, after a hundred calls or five streams; exporters keep what they get in memory.
``records`` says how many records a call makes: one that makes none has not done the work.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from harness import Report, Spread, alternate, arguments, machine, named, spread
from ours import NO_OP, OURS
from scenes import SCENES
from turns import Side, Worker

COLUMNS = ("scenario", "way", "per", "added us", "times no-op", "cpu us", "bare us", "records")


def measured(report: Report, scene: str, workers: dict[str, Worker], rounds: int) -> None:
    """Adds the rows of one scene to the report: what each way costs in it."""
    records = {way: worker.open(scene) for way, worker in workers.items()}
    turns: dict[str, Callable[[], tuple[Side, Side] | None]] = {way: workers[way].round for way in workers}
    found = alternate(turns, rounds, scene)
    no_op = None
    for way, worker in workers.items():
        row = dict.fromkeys(COLUMNS) | {"scenario": scene, "way": shown(way), "error": worker.error}
        row["per"] = "call" if SCENES[scene].per == 1 else "event"
        if worker.error is None:
            sides = [pair for pair in found[way] if pair is not None]
            row["added us"] = added = spread([side.wall - bare.wall for bare, side in sides])
            row["cpu us"] = spread([side.cpu - bare.cpu for bare, side in sides]).median
            row["bare us"] = spread([bare.wall for bare, _ in sides])
            row["records"] = records[way]
            no_op = added if way == NO_OP else no_op
            row["times no-op"] = ratio(added, no_op)
        else:
            report.notes.append(f"{shown(way)} broke {scene}: {worker.error}")
        report.rows.append(row)


def shown(way: str) -> str:
    """The name of a way as people know it."""
    return way.removeprefix("rival:")


def ratio(added: Spread, no_op: Spread | None) -> float | None:
    """How often the no-op wrapper goes into it; unknown where that one is lost in the noise."""
    return None if no_op is None or no_op.low <= 0 else added.median / no_op.median


def started(against: list[str], scenes: list[str], report: Report) -> dict[str, Worker]:
    """A worker for each way; a rival that cannot be installed has a row that says so."""
    rivals: dict[str, Any] = {}
    if against:
        from environments import InstallationError, python_for, versions  # noqa: PLC0415 - only this needs them
        from rivals import RIVALS  # noqa: PLC0415

        names = RIVALS if against == ["all"] else named(against, RIVALS, "rival")
        rivals = {name: RIVALS[name].packages for name in names}
    workers = {way: Worker(sys.executable, way, scenes) for way in OURS}
    for name, packages in rivals.items():
        try:
            python = python_for(name, packages)
            there = versions(python, [packages[0], "openai"])
        except (InstallationError, OSError, subprocess.SubprocessError) as error:
            row = {"scenario": "none", "way": name, "added us": "not installed", "error": str(error)}
            report.rows.append(dict.fromkeys(COLUMNS) | row)
            report.notes.append(f"{name} could not be installed: {error}")
        else:
            workers[f"rival:{name}"] = Worker(python, f"rival:{name}", scenes)
            report.notes.append(f"{name}: " + ", ".join(" ".join(pair) for pair in there.items()))
    for worker in workers.values():
        worker.begun()
    return workers


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--against", nargs="+", default=[], metavar="NAME", help="rivals, or all")
    parser.add_argument("--scenario", nargs="+", default=list(SCENES), metavar="NAME", help=", ".join(SCENES))
    options = parser.parse_args()
    scenes = named(options.scenario, SCENES, "scenario")
    report = Report("Added by instrumenting the SDK", COLUMNS, f"{machine('openai', 'wrapt')}, {options.rounds} rounds")
    workers: dict[str, Worker] = {}
    try:
        workers = started(options.against, scenes, report)
        for scene in scenes:
            measured(report, scene, workers, options.rounds)
    finally:
        for worker in workers.values():
            worker.close()
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
