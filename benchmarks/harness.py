"""What the benchmarks share: alternating rounds, their spread, a table, JSON, and what it was measured on.

A benchmark says what is measured; here is how. Ways of doing the same work take turns, round by round, so that what
else runs on the machine meets them all. Of each round the best of a few short batches counts; of the rounds, the
median, with the quartiles beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, NamedTuple, TypeVar

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

T = TypeVar("T")
BATCHES = 5
"""The batches of a round, of which the best counts."""


class Spread(NamedTuple):
    """The median of some rounds between their quartiles."""

    low: float
    median: float
    high: float


def spread(taken: Sequence[float]) -> Spread:
    """The quartiles of some figures; of fewer than three, their ends."""
    if len(taken) < 3:
        return Spread(min(taken), statistics.median(taken), max(taken))
    return Spread(*statistics.quantiles(taken, n=4))


def timed(work: Callable[[], object], times: int, batches: int = BATCHES) -> float:
    """Microseconds per turn, in the best of a few batches."""
    best = float("inf")
    for _ in range(batches):
        start = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, time.perf_counter() - start)
    return best / times * 1e6


def alternate(ways: Mapping[str, Callable[[], T]], rounds: int, about: str = "") -> dict[str, list[T]]:
    """What each way gives in each round; they take turns, and one more round before the others warms up."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    for turn in track(range(rounds + 1), about or "measuring", console=Console(stderr=True), transient=True):
        for name, way in ways.items():
            taken = way()
            if turn:
                found[name].append(taken)
    return found


def machine(*packages: str) -> str:
    """The versions and the machine that figures belong to."""
    named = [f"{name} {metadata.version(name)}" for name in packages]
    return ", ".join([*named, f"Python {platform.python_version()}", f"{platform.system()} {platform.machine()}"])


@dataclass
class Report:
    """What a benchmark found: rows of the same columns, with a heading. Shown as a table, or as JSON."""

    title: str
    columns: Sequence[str]
    """The keys of the rows, and the heads of the table's columns."""
    about: str = field(default_factory=machine)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *values: Any) -> None:
        """Adds a row, in the order of the columns."""
        self.rows.append(dict(zip(self.columns, values, strict=True)))

    def show(self, *, as_json: bool) -> None:
        """Prints it."""
        if as_json:
            rows = [
                {name: value._asdict() if isinstance(value, Spread) else value for name, value in row.items()}
                for row in self.rows
            ]
            print(json.dumps({"title": self.title, "about": self.about, "rows": rows, "notes": self.notes}, indent=2))
            return
        table = Table(title=self.title, caption="\n".join([self.about, *self.notes]), box=box.SIMPLE_HEAD)
        for place, name in enumerate(self.columns):
            table.add_column(name, justify="left" if place == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*(shown(row[name]) for name in self.columns))
        Console().print(table)


def shown(value: object) -> str:
    """A value as a cell of a table: three figures that mean something, a spread as its quartiles."""
    if value is None:
        return "?"
    if isinstance(value, Spread):
        return f"{shown(value.median)} ({shown(value.low)} to {shown(value.high)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def arguments(about: str | None, rounds: int | None = 30) -> argparse.ArgumentParser:
    """The arguments that all benchmarks have; ``--rounds`` only those that have rounds."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="how many rounds count (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def named(wanted: Iterable[str], there: Iterable[str], what: str) -> list[str]:
    """The names that were asked for, all of them known; leaves with a sentence if one is not."""
    known = list(there)
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"there is no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return list(wanted)
