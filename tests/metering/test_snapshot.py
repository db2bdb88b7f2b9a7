"""Figures of one moment agree with each other, also while calls are recorded."""

from __future__ import annotations

import json
import pickle
import sys
import threading
from contextlib import contextmanager

import pytest

import openai_meter
from openai_meter import Meter, ModelStats, Price
from openai_meter.metering.pulse import of_meter
from openai_meter.reports.breakdowns import fold_snapshots

MINE = {"mine": Price(input=1, output=2)}


@pytest.fixture
def racing():
    """A meter in which two calls are recorded after every single look at its figures, one of them without a price."""
    meter = Meter(prices=MINE, thresholds={"calls": 1_000_000})
    for _ in range(2):
        meter.track_call("mine", 10, 5)
        meter.track_call("unknown", 10, 5)
    assert meter.totals.unpriced_calls == 2
    store = meter._store
    looking = threading.local()
    for name in ("read", "totals", "by", "calls", "overflow_calls"):
        look = getattr(store, name)

        def looked(*args, look=look):
            found = look(*args)
            if not getattr(looking, "now", False):
                looking.now = True
                try:
                    for call in store.calls()[:2]:
                        store.add(call)
                finally:
                    looking.now = False
            return found

        setattr(store, name, looked)
    return meter


def agrees(report):
    """Whether the parts of a report are of one moment."""
    rows = sum(row.totals.calls for row in report.rows)
    return rows == report.totals.calls and sum(one.calls for one in report.unpriced) == report.totals.unpriced_calls


def test_parts_of_a_snapshot_are_of_one_moment(racing):
    """Totals, groups, calls, calls without a price and the use of thresholds are of the same moment, and stay so."""
    snapshot = racing.snapshot()
    (usage,) = [one for one in snapshot.threshold_usage if one.threshold.metric == "calls"]
    calls = snapshot.totals.calls
    assert calls == len(snapshot.calls) == usage.used == sum(one.calls for one in snapshot.by("model").values())
    assert sum(one.calls for one in snapshot.unpriced) == snapshot.totals.unpriced_calls == calls // 2
    assert racing.totals.calls > calls == snapshot.totals.calls


def test_parts_of_a_report_are_of_one_moment(racing):
    """Rows, totals and calls without a price are of the same moment, by whatever the report groups."""
    for by in ("model", "agent,model", "user"):
        assert agrees(racing.report(by))


def test_parts_of_a_pulse_are_of_one_moment(racing):
    """The live figures have calls, totals and thresholds of one moment: no call looks like a forgotten one."""
    pulse = of_meter(racing, window=3600)
    assert pulse.recent.calls == pulse.totals.calls == pulse.today.calls
    assert not pulse.partial


def test_parts_of_an_answer_of_the_server_are_of_one_moment(racing):
    """The stats of all models sum up to the totals in the same answer."""
    testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed: this is NOT tested")
    from openai_meter.server import create_app

    app = create_app(racing, token=False, allowed_hosts=["*"], max_age=0)
    with testclient.TestClient(app, base_url="http://localhost") as web:
        for query in ("", "?fold_snapshots=true"):
            answer = web.get(f"/api/stats{query}").json()
            assert sum(one["totalCalls"] for one in answer["stats"].values()) == answer["totals"]["calls"]


def figures_of(overview):
    """The numbers of calls of all parts of an overview that are about the same calls."""
    return {
        *(overview["cards"][card]["calls"] for card in ("today", "month", "period")),
        sum(row["calls"] for row in overview["rows"]),
        sum(sum(group["calls"]) for group in overview["series"]["groups"]),
        sum(row["calls"] for row in overview["latency"]),
    }


def overview_of(*source):
    """An overview of the last seven days, always made anew."""
    testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed: this is NOT tested")
    from openai_meter.server import create_app

    app = create_app(*source, token=False, allowed_hosts=["*"], max_age=0)
    with testclient.TestClient(app, base_url="http://localhost") as web:
        return web.get("/api/overview?period=7d&group=model").json()


def test_parts_of_an_overview_of_a_meter_are_of_one_moment(racing):
    """Cards, rows, chart and latency of the dashboard are of one moment, and so are its alerts."""
    racing._configure(thresholds={"calls": 3})
    for call in racing._store.calls()[:2] * 2:
        racing._store.add(call)
    overview = overview_of(racing)
    (calls,) = figures_of(overview)
    assert [alert["value"] for alert in overview["alerts"]] == [calls - 4]  # the limit counts since it was set


def test_parts_of_an_overview_of_a_ledger_are_of_one_moment(tmp_path, monkeypatch):
    """All parts are read in one transaction, whatever is stored between two of its queries."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    from openai_meter.ledger import Ledger
    from openai_meter.ledger.reader import _OneMoment

    ledger, meter = Ledger(f"sqlite:///{tmp_path / 'usage.db'}"), Meter(prices=MINE, thresholds=False)
    stored = 0

    def store():
        nonlocal stored
        meter.track_call("mine", 10, 5)
        ledger.add(meter.calls[-1])
        assert ledger.flush(60)
        stored += 1

    snapshot = _OneMoment._snapshot

    @contextmanager
    def read_and_store(self):
        with snapshot(self) as connection:
            yield connection
        store()

    store()
    monkeypatch.setattr(_OneMoment, "_snapshot", read_and_store)
    assert figures_of(overview_of(None, ledger)) == {1}
    assert stored > 4
    ledger.close()


def test_reports_under_load_are_each_of_one_moment():
    """None of 1,000 reports has parts of different moments while threads record."""
    meter, stop = Meter(prices=MINE, thresholds=False, recent=100), threading.Event()

    def record():
        while not stop.is_set():
            meter.track_call("mine", 10, 5)
            meter.track_call("unknown", 10, 5)

    meter.track_call("mine", 10, 5)
    assert meter.totals.calls == 1
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=record) for _ in range(2)]
    try:
        [thread.start() for thread in threads]
        assert all(agrees(meter.report()) for _ in range(1_000))
    finally:
        stop.set()
        [thread.join() for thread in threads]
        sys.setswitchinterval(before)


# --- stats per model --------------------------------------------------------------------------------------------------


def test_stats_are_plain_data_and_attributes():
    """The stats of all models go through ``json.dumps`` as they are, and have the exact values as attributes."""
    meter = Meter(prices=MINE, thresholds=False)
    meter.track_call("mine", 1_000, 100)
    stats = meter.get_all_stats()
    assert json.loads(json.dumps(stats))["mine"]["totalTokens"] == 1_100
    assert stats["mine"]["estimatedCost"] == 0.0012
    assert (stats["mine"].total_calls, stats["mine"].estimated_cost) == (1, meter.cost)
    assert stats["mine"] == meter.get_model_stats("mine") == pickle.loads(pickle.dumps(stats["mine"]))
    assert json.loads(json.dumps(pickle.loads(pickle.dumps(stats))))["mine"] == stats["mine"].to_dict()
    assert ModelStats() != stats["mine"]


def test_stats_fold_snapshots_into_their_model_on_request():
    """Calls under the name of the model and those that the API answered with a snapshot are one row."""
    meter = Meter(thresholds=False)
    meter.track_call("gpt-4o-mini", 10, 5)
    meter.track_call("gpt-4o-mini-2024-07-18", 10, 5)
    meter.track_call("gpt-4o", 10, 5)
    assert set(meter.get_all_stats()) == {"gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o"}
    folded = meter.get_all_stats(fold_snapshots=True)
    assert {model: one.total_calls for model, one in folded.items()} == {"gpt-4o-mini": 2, "gpt-4o": 1}
    assert folded == meter.stats(fold_snapshots=True)
    report = meter.report("model", fold_snapshots=True)
    assert {row.key[0]: row.totals.calls for row in report.rows} == {"gpt-4o-mini": 2, "gpt-4o": 1}
    assert report.totals == meter.totals
    assert "2024-07-18" not in meter.generate_report(fold_snapshots=True)
    assert "2024-07-18" in meter.generate_report()
    folded_later = fold_snapshots(meter.report("endpoint,model"))
    assert {row.key[1]: row.totals for row in folded_later.rows} == {row.key[0]: row.totals for row in report.rows}
    assert openai_meter.ModelStats is ModelStats


# --- as text ----------------------------------------------------------------------------------------------------------


def test_text_of_a_meter_a_block_or_totals_is_one_line():
    """``str()`` of each has calls, tokens and dollars; that of a block begins with its name."""
    meter = Meter(prices=MINE, thresholds=False)
    assert str(meter.totals) == "0 calls, 0 tokens, $0.00"
    with openai_meter.track("nightly", meter=meter) as run:
        meter.track_call("mine", 1_000, 100)
        meter.track_error("mine", ValueError)
    assert str(meter) == meter.summary(lang="en")
    assert str(run) == f"nightly: {meter.summary(lang='en')}"
    assert str(meter.totals) == "2 calls, 1,100 tokens, $0.00120, 1 error"
    meter.track_call("unknown", None, None)
    assert str(meter.totals) == ("3 calls, 1,100 tokens, $0.00120, 1 error, 1 of unknown size, 1 without a full price")
