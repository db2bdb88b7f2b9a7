"""The files in which the processes below a run write their calls: what is collected is what was written."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from openai_meter import Call, Meter, Usage
from openai_meter.cli import children
from openai_meter.core.call import new_call_id

CALL = Call(
    "", datetime(2026, 10, 1, tzinfo=UTC), 0.5, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok",
    Usage(100, 50, 150), "api", cost_pico=10**9, cost_status="priced",
)  # fmt: skip


def call(**changes: object) -> Call:
    return replace(CALL, id=new_call_id(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("lines", [5_000, 7, 1])
def test_file_of_sums_has_the_totals_of_its_calls(lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often sums have replaced the lines, the totals by all dimensions are those of all calls."""
    monkeypatch.setattr(children, "_LINES", lines)
    file = children.CallFile(tmp_path)
    expected = Meter()
    for number in range(40):
        one = call(agent=f"agent-{number % 3}", tags={"n": str(number % 2)}, cost_pico=Fraction(10**9, 3))
        two = call(model="unknown", cost_pico=None, cost_status="unpriced", cost_reason="unknown model")
        for each in (one, two):
            file.put(each)
            expected._take(each)
    meter = Meter()
    meter._take(own := call(user="u"))
    expected._take(own)
    assert children.collect(tmp_path, meter) == (1, 0)
    for by in (("model",), ("agent", "tag:n"), ("user",), ("tag",)):
        assert dict(meter.by(*by)) == dict(expected.by(*by))
    assert set(meter.unpriced()) == set(expected.unpriced())
    assert not tmp_path.exists()


def test_forked_child_writes_its_own_file(tmp_path: Path) -> None:
    """The file has only the calls of the child."""
    file = children.CallFile(tmp_path)
    file.put(call())
    child = os.fork()
    if not child:
        file.put(call())
        file.put(call())
        os._exit(0)
    os.waitpid(child, 0)
    file.put(call())
    meter = Meter()
    assert children.collect(tmp_path, meter) == (2, 0)
    assert meter.totals.calls == 4


def test_truncated_last_line_is_ignored(tmp_path: Path) -> None:
    """The last line of a process that was killed while it wrote is skipped."""
    children.CallFile(tmp_path).put(call())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b'{"id": "half')
    meter = Meter()
    assert children.collect(tmp_path, meter) == (1, 0)
    assert meter.totals.calls == 1


def test_calls_of_other_processes_raise_no_alert(tmp_path: Path) -> None:
    """The process that made the calls has raised its alerts; reading its calls raises none."""
    file = children.CallFile(tmp_path)
    for _ in range(5):
        file.put(call())
    meter = Meter(thresholds={"calls": 2})
    children.collect(tmp_path, meter)
    assert meter.totals.calls == 5
    assert meter.alerts == ()


def test_child_that_outlives_the_run_gets_no_error(tmp_path: Path) -> None:
    """Its folder is deleted, and it goes on."""
    file = children.CallFile(tmp_path / "gone")
    file.put(call())
    assert not file.is_collected
