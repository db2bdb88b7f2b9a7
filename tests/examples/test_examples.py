"""The example programs: each runs as its docstring says, and prints what its calls have cost."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

import pytest
from paths import PACKAGE


class Example(NamedTuple):
    """A program, the packages that it needs, and a part of each line that it has to print."""

    name: str
    packages: tuple[str, ...]
    lines: tuple[str, ...]


EXAMPLES = (
    Example("fastapi_users", ("fastapi",), ("claire $0.000", "jean $0.000")),
    Example("celery_worker", ("celery", "sqlalchemy"), ("summarizer   claire       2", "jean         1")),
    Example("langchain_chain", ("langchain_openai",), ("translator   French         1", "German         1")),
    Example("agents_team", ("agents",), ("researcher       1", "writer           1")),
    Example("notebook_cells", ("IPython",), ("In: %%meter", "gpt-6-luna       1")),
    Example("ci_cost_gate", (), ("OpenAI usage: gate", "gpt-6-luna       3", "passed: $0.000")),
)


def run(name: str, *arguments: str) -> tuple[int, str, str]:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "COLUMNS": "100", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-m", f"openai_meter.examples.{name}", *arguments],
        capture_output=True, text=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_every_example_is_tested() -> None:
    """Each program of the folder is in the table."""
    programs = {path.stem for path in (PACKAGE / "examples").glob("*.py")} - {"__init__"}
    assert programs == {one.name for one in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=[one.name for one in EXAMPLES])
def test_example_prints_what_its_calls_cost(example: Example) -> None:
    """An example ends with exit status 0 and prints the rows that its docstring promises."""
    missing = [name for name in example.packages if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: this example is NOT tested")
    code, output, errors = run(example.name)
    assert code == 0, errors
    for line in example.lines:
        assert line in output


def test_cost_gate_fails_above_its_limit() -> None:
    """With a limit that is too low, the cost gate ends with exit status 1 and writes by how much."""
    code, output, _ = run("ci_cost_gate", "0.0001")
    assert code == 1
    assert "is more than $0.0001" in output
