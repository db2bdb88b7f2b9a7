"""The instruction guard: numbers in, verdict out. The counting itself is a step of the checks."""

from __future__ import annotations

import importlib.util
import json

import pytest
from paths import BENCHMARKS

FILE = BENCHMARKS / "instructions.py"
if not FILE.exists():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)

_spec = importlib.util.spec_from_file_location("instructions", FILE)
instructions = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(instructions)

HERE = "Python 3.11, openai 3"
RECORDS = {HERE: {"metered call": 50.0, "pricing": 3.0}}


def verdict(about=HERE, **now):
    return instructions.verdict({"metered call": 50.0, "pricing": 3.0} | now, RECORDS, about)


def test_equal_figures_pass():
    """The recorded figures, and any within a tenth of them, pass."""
    for pricing in (3.0, 3.29, 2.71):
        assert verdict(pricing=pricing) == (0, [f"all within 10% of what is recorded for {HERE}"])


def test_more_than_a_tenth_above_fails():
    """A figure that has grown by more than a tenth fails, and is named with both numbers."""
    code, said = verdict(pricing=3.31)
    assert code == 1
    assert said == [
        (
            "FAILS: pricing: 3.310 where 3.000 is recorded (+10.3%); "
            "make it as quick as it was, or say why not and renew the record with --write"
        )
    ]


def test_more_than_a_tenth_below_passes_with_a_note():
    """The record is to be renewed."""
    code, said = verdict(pricing=2.0)
    assert code == 0
    assert said == [
        "LESS: pricing: 2.000 where 3.000 is recorded (-33.3%); renew the record with --write, so that this is held"
    ]


def test_gain_of_one_figure_hides_no_loss_of_another():
    """One figure that has grown fails, whatever the others have done."""
    code, said = verdict(**{"metered call": 60.0, "pricing": 1.0})
    assert code == 1
    assert [line.partition(":")[0] for line in said] == ["FAILS", "LESS"]


def test_missing_record_is_reported():
    """Without a record for this Python and openai, nothing fails, and the output shows that nothing was compared."""
    code, said = verdict(about="Python 3.99, openai 9")
    assert code == 0
    assert said == [
        f"NOTHING WAS COMPARED: there is no record for Python 3.99, openai 9 (there are: {HERE}); make one with --write"
    ]


def test_figures_without_a_counterpart_fail():
    """A figure that is counted and not recorded, or recorded and not counted."""
    code, said = instructions.verdict({"pricing": 3.0, "new": 1.0}, RECORDS, HERE)
    assert code == 1
    assert said == [
        "FAILS: metered call: recorded but not counted; renew the record with --write",
        "FAILS: new: counted but not recorded; renew the record with --write",
    ]


def test_added_instructions_are_the_difference_to_the_bare_sdk():
    """That of a stream is divided by its chunks."""
    counts = {
        "bare call": 100, "bare stream": 2_000, "idle call": 110, "metered call": 400,
        "metered stream": 4_000, "pricing": 30, "reference": 1_000, "floor call": 150,
        "bare embedding": 90, "metered embedding": 200,
    }  # fmt: skip
    assert instructions.added(counts) == {
        "metered call": 300, "metered embedding": 110, "idle call": 10, "floor": 50,
        "chunk of a stream": 2_000 / instructions.CHUNKS, "pricing": 30,
    }  # fmt: skip


def test_every_record_has_all_figures():
    """Every record has the figures that are counted."""
    names = {
        "metered call", "metered response", "metered embedding", "metered async call", "metered SDK call", "idle call",
        "floor", "chunk of a stream", "event of a response", "chunk of an async stream", "pricing",
        "budget of calls", "budget of dollars", "shared budget of calls", "shared budget of dollars",
    }  # fmt: skip
    for about, figures in json.loads(instructions.RECORD.read_text()).items():
        assert about.startswith("Python 3.")
        assert set(figures) == names
        assert all(figure > 0 for figure in figures.values())
