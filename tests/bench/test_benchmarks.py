"""The benchmarks: that the harness, the overhead of calls and its chart measure what they say; never how long."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from contract import in_process, usage_body
from paths import BENCHMARKS

import openai_meter

OURS = ["bare, again", "no-op wrapper", "idle", "metered", "everything on"]


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of the benchmarks, as one that runs there would."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def run(*arguments: object) -> str:
    """What a benchmark prints."""
    environment = {**os.environ, "PYTHONPATH": str(Path(openai_meter.__file__).parent.parent)}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the harness ------------------------------------------------------------------------------------------------------


def test_spread_is_the_median_between_its_quartiles(benchmark):
    """Of five figures the middle counts, however far away the last one is; of two, both are shown."""
    harness = benchmark("harness")
    assert harness.spread([5.0, 1.0, 3.0, 2.0, 1000.0]) == (1.5, 3.0, 502.5)
    assert harness.spread([4.0, 2.0]) == (2.0, 3.0, 4.0)
    assert harness.spread([7.0]) == (7.0, 7.0, 7.0)


def test_ways_alternate_and_the_first_round_is_dropped(benchmark):
    """No way has its rounds one after the other, and the warm-up is not among the figures."""
    seen = []

    def way(name):
        def turn():
            seen.append(name)
            return len(seen)

        return turn

    found = benchmark("harness").alternate({"a": way("a"), "b": way("b")}, 2)
    assert seen == ["a", "b"] * 3
    assert found == {"a": [3, 5], "b": [4, 6]}


def test_report_is_json_with_named_quartiles(benchmark, capsys):
    """A reader need not know which of three numbers is the median."""
    harness = benchmark("harness")
    report = harness.Report("t", ("what", "us"), about="here", notes=["n"])
    report.add("x", harness.Spread(1.0, 2.0, 3.0))
    report.show(as_json=True)
    rows = [{"what": "x", "us": {"low": 1.0, "median": 2.0, "high": 3.0}}]
    assert json.loads(capsys.readouterr().out) == {"title": "t", "about": "here", "rows": rows, "notes": ["n"]}


def test_unknown_name_exits_with_the_known_ones(benchmark):
    """A name that is not there ends the benchmark with a sentence."""
    with pytest.raises(SystemExit, match="there is no scenario chap; there are chat, raw"):
        benchmark("harness").named(["chap"], ["chat", "raw"], "scenario")


# --- turns ------------------------------------------------------------------------------------------------------------


def test_each_step_of_a_stream_counts_where_it_was_undisturbed(benchmark):
    """Two streams, each disturbed at another event, give the figures of an undisturbed one."""
    assert benchmark("turns").undisturbed([[0.0, 1.0, 9.0], [10.0, 16.0, 18.0]]) == 3.0
    calls = [[0.0, float(taken)] for taken in range(100)]
    assert benchmark("turns").undisturbed(calls) == 10.0, "the tenth that is faster is luck"


def test_patches_can_be_removed_and_restored(benchmark):
    """Removed, the SDK has its own functions and nothing is counted; restored, the identical patches count."""
    swaps = benchmark("swaps")
    from openai._base_client import SyncAPIClient

    client = in_process(lambda _: http_response())
    client.chat.completions.create(model="m", messages=[])
    plain = vars(SyncAPIClient)["request"]
    before = swaps.Snapshot()
    meter = openai_meter.install()
    SyncAPIClient.added_by_a_test = 1
    try:
        patches = before.changes()
        patched = vars(SyncAPIClient)["request"]
        patched_names = {patch.name for patch in patches if patch.place is SyncAPIClient}
        # _process_response is patched once a gateway has been called, in a test before this one perhaps.
        assert patched_names - {"_process_response"} == {"request", "_sleep_for_retry", "added_by_a_test"}
        patches.swap(out=True)
        assert vars(SyncAPIClient)["request"] is plain
        assert "added_by_a_test" not in vars(SyncAPIClient)
        client.chat.completions.create(model="m", messages=[])
        assert meter.totals.calls == 0
        patches.swap(out=False)
        assert vars(SyncAPIClient)["request"] is patched
        assert SyncAPIClient.added_by_a_test == 1
        client.chat.completions.create(model="m", messages=[])
        assert meter.totals.calls == 1
    finally:
        del SyncAPIClient.added_by_a_test


def http_response():
    from contract import http_library

    return http_library().Response(200, json=usage_body())


class Unswappable:
    """Records where no patch is: what it does cannot be swapped out."""

    def client(self, plain):
        return plain

    def seen(self):
        return [(1, 1)] * 2

    def forget(self):
        pass

    def flush(self):
        pass


def test_way_that_cannot_be_removed_is_not_measured(benchmark):
    """A way that records bare calls too has nothing to be compared with, which is reported."""
    scenes = benchmark("scenes").SCENES
    with asyncio.Runner() as runner:
        stage = benchmark("turns").Stage({"chat": scenes["chat"]}, Unswappable, runner.get_loop())
        with pytest.raises(RuntimeError, match="still records when its patches are out"):
            stage.open("chat")


def test_way_that_cannot_start_returns_its_error(benchmark, monkeypatch):
    """Its worker ends, and does not hang."""
    monkeypatch.setenv("PYTHONPATH", str(Path(openai_meter.__file__).parent.parent))
    worker = benchmark("turns").Worker(sys.executable, "no such way", ["chat"])
    try:
        worker.begun()
        assert worker.error == "KeyError: 'no such way'"
        assert worker.open("chat") is None
        assert worker.round() is None
        assert worker.error == "KeyError: 'no such way'"
    finally:
        worker.close()


def test_no_way_reaches_the_network(benchmark):
    """The stand-in for the network in a worker refuses connections."""
    with pytest.raises(ConnectionRefusedError, match="no network in benchmarks"):
        benchmark("turns").refuse("example.com", 443)


def test_ratio_to_a_noop_within_the_noise_is_unknown(benchmark):
    """A ratio to what may be nothing is unknown."""
    overhead, spread = benchmark("overhead"), benchmark("harness").Spread
    assert overhead.ratio(spread(5.0, 6.0, 7.0), spread(1.0, 2.0, 3.0)) == 3.0
    assert overhead.ratio(spread(5.0, 6.0, 7.0), spread(-0.1, 2.0, 3.0)) is None
    assert overhead.ratio(spread(5.0, 6.0, 7.0), None) is None


# --- overhead and its chart -------------------------------------------------------------------------------------------


def test_overhead_has_a_row_for_each_way_in_each_scene():
    """All ways are measured in both scenes, and record the expected calls."""
    pytest.importorskip("sqlalchemy", reason="everything on needs the ledger, and is NOT tested")
    pytest.importorskip("opentelemetry.sdk", reason="everything on needs OpenTelemetry, and is NOT tested")
    found = json.loads(run("overhead.py", "--rounds", 2, "--json", "--scenario", "chat", "chat-stream-async"))
    assert [(row["scenario"], row["way"]) for row in found["rows"]] == [
        (scene, way) for scene in ("chat", "chat-stream-async") for way in OURS
    ]
    for row in found["rows"]:
        assert row["error"] is None
        figures = [*row["added us"].values(), *row["bare us"].values(), row["cpu us"]]
        assert all(math.isfinite(figure) for figure in figures)
        assert row["records"] == (1 if row["way"] in {"metered", "everything on"} else 0)
        assert row["per"] == ("call" if row["scenario"] == "chat" else "event")
    assert found["notes"] == []


def rows_of(scene, per):
    added = {"low": 1.0, "median": 2.0, "high": 3.0}
    common = {"scenario": scene, "per": per, "cpu us": 1.0, "bare us": added, "records": 1.0, "error": None}
    quiet = {**common, "way": "bare, again", "added us": {"low": -0.2, "median": 0.1, "high": 0.3}, "records": 0.0}
    blind = {**common, "way": "blind", "added us": {"low": 80.0, "median": 90.0, "high": 95.0}, "records": 0.0}
    broken = {**common, "way": "<a & b>", "added us": "broken", "error": "TypeError: no"}
    return [quiet, {**common, "way": "metered", "added us": added}, blind, broken]


def test_chart_is_well_formed_and_names_every_way(benchmark):
    """Each way of each scene has its name in the picture; broken, blind and noisy ones are marked."""
    found = {"title": "Added", "about": "here", "rows": rows_of("chat", "call") + rows_of("stream", "event")}
    root = ET.fromstring(benchmark("chart").chart(found))
    name = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{name}text")]
    for row in found["rows"]:
        assert texts.count(row["way"]) == 2
    assert texts.count("broken") == 2
    assert texts.count("90, no record") == 2
    assert texts.count("noise: ±0.3") == 2
    assert len(list(root.iter(f"{name}rect"))) == 4
    assert root.find(f"{name}title").text == "Added"
    assert "chat, metered: 2.0" in root.find(f"{name}desc").text


def test_bar_length_is_proportional_to_time(benchmark):
    """Twice the time is twice the bar."""
    scale = benchmark("chart").Scale([50.0, 400.0])
    start = scale(0)
    assert scale(400.0) - start == pytest.approx(2 * (scale(200.0) - start))
    assert scale.ticks() == [0, 100, 200, 300, 400]
