"""The randomised trials of budgets, in small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "budgets.py"

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("unit", ["calls", "tokens"])
def test_randomised_trials_pass_no_limit(unit):
    """Threads and tasks of four processes over SQLite: no call too many, nothing held, nearly all used."""
    options = ["--stores", "sqlite", "--trials", "1500", "--calls", "300", "--unit", unit, "--refusals", "3", "--json"]
    done = subprocess.run([sys.executable, PROGRAM, *options], check=True, capture_output=True, timeout=300)
    rows = [row for row in json.loads(done.stdout) if row["way"] != "look"]
    assert rows
    assert [(row["over"], row["held"]) for row in rows] == [(0, 0)] * len(rows)
    assert all(row["used"] >= 0.97 for row in rows)
