"""Prometheus: what it is shown, how counters go on, and that a real Prometheus reads it and can be asked."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from datetime import UTC, datetime
from decimal import Decimal

import contract
import pytest
from contract import MODEL, chat
from prometheus_text import call, samples, shown

import openai_meter
from openai_meter import ConfigurationError, Meter, Price, Usage
from openai_meter.core.locale import languages
from openai_meter.exporters import grafana

client = pytest.importorskip("prometheus_client", reason="without the extra [prometheus], its metrics are NOT tested")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics  # noqa: E402

from openai_meter.exporters.prometheus.sources import SERIES  # noqa: E402
from openai_meter.prometheus import COUNTERS, Collector, exposition  # noqa: E402

OPENMETRICS = "application/openmetrics-text; version=1.0.0; q=0.5, text/plain; version=0.0.4; q=0.1"


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_counters_equal_the_totals(meter):
    """Each counter is the meter's total, in parts that no call's amount is in twice."""
    meter._take(call())
    meter._take(call(status="error", usage=Usage(), usage_source="none", cost_pico=0, cost_status="free"))
    meter._take(call(usage=Usage(7, 3, 10), usage_source="chars", cost_pico=50_000_000, cost_estimated=True))
    meter._take(call(model=None, requested_model=None, usage=Usage(1, 1, 2), cost_pico=None, cost_status="unpriced"))
    assert shown(meter, "calls_total", labels=("model",)) == {("gpt-5-mini",): 3, ("(unknown model)",): 1}
    assert shown(meter, "errors_total", labels=()) == {(): 1}
    assert shown(meter, "tokens_total", labels=()) == {("input",): 108, ("output",): 24}
    assert shown(meter, "token_parts_total", labels=()) == {("cached_input",): 40, ("reasoning",): 5}
    assert shown(meter, "cost_usd_total", labels=()) == {("measured",): 0.00025, ("estimated",): 0.00005}
    assert shown(meter, "estimated_calls_total", labels=()) == {(): 1}
    assert shown(meter, "unmeasured_calls_total", labels=()) == {(): 0}
    assert shown(meter, "unpriced_calls", labels=("model",)) == {("gpt-5-mini",): 0, ("(unknown model)",): 1}
    assert shown(meter, "last_call_timestamp_seconds") == {(): datetime(2026, 3, 1, tzinfo=UTC).timestamp()}
    assert shown(meter, "faults_total") == {(): 0}
    ((version, one),) = shown(meter, "build_info").items()
    assert openai_meter.__version__ in version
    assert one == 1


def test_unknown_cost_has_no_sample(meter):
    """Where nothing has a price, there is no cost sample; without a call there is none either."""
    meter._take(call(cost_pico=None, cost_status="unpriced"))
    assert shown(meter, "cost_usd_total") == {}
    meter._take(call())
    assert sum(shown(meter, "cost_usd_total").values()) == 0.00025


def test_media_and_tool_counts_have_counters(meter):
    """Seconds, characters, images and the fees of tools have counters of their own, once there are any."""
    empty = samples(exposition(meter)[0])
    assert not [name for name, _ in empty if name.startswith(("media", "speech", "images", "tool"))]
    meter._take(call(usage=Usage(seconds=2.5, characters=7, images=1, web_searches=2, container_sessions=1)))
    assert shown(meter, "media_seconds_total", labels=()) == {(): 2.5}
    assert shown(meter, "speech_characters_total", labels=()) == {(): 7}
    assert shown(meter, "images_total", labels=()) == {(): 1}
    assert shown(meter, "tool_uses_total", labels=()) == {("web_search",): 2, ("container",): 1}


def test_labels_follow_the_setting(meter):
    """Any dimension can be a label, tags too; whatever a value contains."""
    odd = 'a"b\\c\nd'
    meter._take(call(agent=odd, tags={"team-x": "forms"}))
    found = samples(exposition(meter, labels=("agent", "tag:team-x"))[0])
    assert found["calls_total", (("agent", odd), ("tag_team_x", "forms"))] == 1
    for wrong in (("nobody",), ("tag:a-b", "tag:a_b"), ("model", "model")):
        with pytest.raises(ConfigurationError):
            Collector(meter, labels=wrong)
    with pytest.raises(ConfigurationError, match="namespace"):
        Collector(meter, namespace="no spaces")
    with pytest.raises(ConfigurationError, match="has no totals"):
        Collector(object())  # type: ignore[arg-type]


def test_exposition_answers_in_both_formats(meter):
    """The Accept header chooses: OpenMetrics where it is asked for, else the text format."""
    meter._take(call())
    body, kind = exposition(meter, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in read_openmetrics(body.decode())} >= {
        "openai_meter_calls",
        "openai_meter_cost_usd",
    }
    for accept in (None, "", "text/html", "text/plain"):
        body, kind = exposition(meter, accept)
        assert kind.startswith("text/plain; version=0.0.4")
        assert samples(body)


def test_block_exposes_its_own_calls(api, meter):
    """A block is a source like a meter."""
    with contract.sync_client(api) as one, openai_meter.track("part") as block:
        chat(one)
    assert sum(shown(block, "calls_total").values()) == 1
    assert "threshold_use_ratio" not in dict(samples(exposition(block)[0]))


def test_calls_in_flight_and_limits_are_gauges(api):
    """Streams that are being read are shown, and how much of each limit is used up."""
    meter = openai_meter.install(
        thresholds=[openai_meter.Threshold("calls", 4), openai_meter.Threshold("calls", 1, per="model", window=60)]
    )
    with contract.sync_client(api) as one:
        stream = one.chat.completions.create(model=MODEL, messages=contract.HELLO, stream=True)
        assert shown(meter, "open_calls") == {("answer",): 1, ("work",): 0}
        stream.close()
        chat(one)
    assert shown(meter, "open_calls") == {("answer",): 0, ("work",): 0}
    assert shown(meter, "threshold_use_ratio") == {("calls", "total"): 0.5}
    assert shown(meter, "thresholds_passed") == {("calls", "model", "60s"): 1}


def test_rolling_window_limit_decreases_with_time(meter):
    """The use of a rolling limit is that of its window, which has passed over old calls."""
    meter._configure(thresholds=[openai_meter.Threshold("cost", 1, window=3600)])
    meter._take(call(started_at=datetime.now(UTC)))
    assert shown(meter, "threshold_use_ratio") == {("cost", "3600s"): 0.00025}
    watch = meter._store.dispatcher.watch  # type: ignore[union-attr]
    watch._clock = lambda: time.time() + 7200
    assert shown(meter, "threshold_use_ratio") == {("cost", "3600s"): 0}


# --- counters never go down -------------------------------------------------------------------------------------------


def test_counters_continue_after_a_reset(meter):
    """meter.reset() does not reset the counters of Prometheus; gauges follow it."""
    assert shown(meter, "calls_total") == {}
    for round_ in range(1, 4):
        meter._take(call())
        meter._take(call(model="gpt-4o", cost_pico=None, cost_status="unpriced"))
        assert shown(meter, "calls_total", labels=("model",)) == {("gpt-5-mini",): round_, ("gpt-4o",): round_}
        assert sum(shown(meter, "unpriced_calls", labels=("model",)).values()) == 1
        meter.reset()
        assert meter.totals.calls == 0
        assert shown(meter, "calls_total", labels=("model",)) == {("gpt-5-mini",): round_, ("gpt-4o",): round_}
        assert shown(meter, "unpriced_calls", labels=("model",)) == {}
    # Other labels, first asked for now: what was forgotten before is not known.
    assert shown(meter, "calls_total", labels=("agent",)) == {}
    assert shown(meter, "tokens_total", labels=("model",))["gpt-5-mini", "input"] == 300


def test_counter_stays_when_a_price_goes_down(meter):
    """A call with a partial price that gets a lower one leaves the cost unchanged: a drop would look like a restart."""
    meter._take(call(model="mine", requested_model="mine", cost_pico=5 * 10**12, cost_status="partial"))
    assert sum(shown(meter, "cost_usd_total").values()) == 5
    meter.prices.set("mine", Price(input=1, output=1))
    meter.reprice()
    assert meter.cost is not None
    assert meter.cost < 5
    assert sum(shown(meter, "cost_usd_total").values()) == 5
    assert sum(shown(meter, "unpriced_calls").values()) == 0
    meter._take(call(model="mine", cost_pico=6 * 10**12))
    assert Decimal(str(sum(shown(meter, "cost_usd_total").values()))) == meter.cost


def test_series_beyond_the_limit_share_a_row(meter):
    """Endless values share a series; known ones keep theirs, whatever is reset."""
    assert shown(meter, "calls_total", labels=("model", "user")) == {}
    for round_ in range(3):
        for n in range(900):
            meter._take(call(user=f"{round_}-{n}"))
        found = shown(meter, "calls_total", labels=("model", "user"))
        assert sum(found.values()) == (round_ + 1) * 900
        assert len(found) <= SERIES + 1
        meter.reset()
        assert shown(meter, "calls_total", labels=("model", "user")) == found
    assert shown(meter, "calls_total", labels=("model", "user"))["(other models)", "(other users)"] == 700
    meter._take(call(user="0-1"))
    assert shown(meter, "calls_total", labels=("model", "user"))["gpt-5-mini", "0-1"] == 2


def test_concurrent_resets_and_scrapes_lose_no_call(meter):
    """Threads call, reset and scrape at once: no scrape goes down, and at the end every call is there."""
    seen: list[float] = []
    done = threading.Event()

    def work(n: int) -> None:
        if n < 4:
            for _ in range(500):
                meter._take(call())
        elif n == 4:
            while not done.is_set():
                meter.reset()
        else:
            while not done.is_set():
                seen.append(sum(shown(meter, "calls_total").values()))

    shown(meter, "calls_total")
    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for one in workers:
        one.start()
    for one in workers[:4]:
        one.join()
    done.set()
    for one in workers[4:]:
        one.join()
    assert seen == sorted(seen)
    assert shown(meter, "calls_total", labels=("model", "endpoint", "provider")) == {
        ("responses", "gpt-5-mini", "openai"): 2000
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here: a child's counters are NOT tested")
def test_forked_child_exposes_its_own_calls_only():
    """Inherited calls belong to the parent, and the locks are usable, whatever thread held them."""
    code, output, errors = contract.python(
        textwrap.dedent("""
        import os, threading
        import openai_meter
        from openai_meter.prometheus import Collector, exposition
        from openai_meter.exporters.prometheus import sources
        from prometheus_text import call, shown
        meter = openai_meter.Meter()
        for _ in range(3):
            meter._take(call())
        assert sum(shown(meter, "calls_total").values()) == 3
        reader, = sources._readers[meter].values()
        held, go_on = threading.Event(), threading.Event()
        def hold():
            with reader.lock:
                held.set()
                go_on.wait(60)
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(60)
        child = os.fork()
        if not child:
            meter._take(call())
            print(shown(meter, "calls_total"), flush=True)
            os._exit(0)
        go_on.set()
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
        print(shown(meter, "calls_total"))
    """)
    )
    row = ("responses", "gpt-5-mini", "openai")
    assert (code, output.splitlines()) == (0, [str({row: 1.0}), str({row: 3.0})]), errors


def test_exposition_does_not_keep_its_source_alive(meter):
    """A source that was exposed can be collected; a collector keeps its own."""
    short = Meter()
    exposition(short)
    gone = weakref.ref(short)
    del short
    gc.collect()
    assert gone() is None
    kept = Collector(Meter())
    gc.collect()
    assert next(family for family in kept.collect() if family.name == "openai_meter_open_calls").samples


# --- registries -------------------------------------------------------------------------------------------------------


def test_registry_refuses_a_second_collector_of_the_same_names(meter):
    """The default registry takes a collector, refuses a second of the same names, and takes one of others."""
    registry = client.CollectorRegistry(auto_describe=True)
    meter._take(call())
    collector = Collector(meter)
    registry.register(collector)
    with pytest.raises(ValueError, match="Duplicate"):
        registry.register(Collector(Meter()))
    registry.register(Collector(Meter(), namespace="another"))
    labels = {"model": "gpt-5-mini", "endpoint": "responses", "provider": "openai"}
    assert registry.get_sample_value("openai_meter_calls_total", labels) == 1
    assert b"another_faults_total" in client.generate_latest(registry)
    described, collected = (
        {family.name for family in families} for families in (collector.describe(), collector.collect())
    )
    assert described <= collected
    assert {f"openai_meter_{counter.name}" for counter in COUNTERS} <= described


def test_collector_fault_leaves_the_other_metrics_of_a_scrape(meter, monkeypatch):
    """If totals cannot be made into metrics, only these are missing."""
    openai_meter.core.faults.reraise = False
    registry = client.CollectorRegistry()
    registry.register(Collector(meter))
    client.Counter("of_the_program", "One of its own.", registry=registry)
    monkeypatch.setattr(meter, "_since_first_read", lambda past: 1 / 0)
    assert b"of_the_program_total 0.0" in client.generate_latest(registry)
    assert openai_meter.core.faults.kinds() == {"making metrics for Prometheus: ZeroDivisionError": 1}


def test_prometheus_without_its_client_names_the_extra():
    """The error has the command that installs it; the package itself does not need it."""
    code, output, _ = contract.python(
        textwrap.dedent("""
        import importlib.util
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *more: None if name == "prometheus_client" else find(name, *more)
        import openai_meter
        try:
            import openai_meter.prometheus
        except openai_meter.MissingExtraError as error:
            print(error)
    """)
    )
    assert (code, 'pip install "openai-meter[prometheus]"' in output) == (0, True)


# --- ledgers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path):
    ledgers = pytest.importorskip("openai_meter.ledger", reason="no SQLAlchemy: metrics of a ledger are NOT tested")
    made = ledgers.Ledger(f"sqlite:///{tmp_path / 'usage.db'}", flush_interval=0.02)
    yield made
    made.close()


def test_ledger_exposes_the_totals_of_all_processes(ledger, tmp_path):
    """The totals of all processes, ended ones included; read again after some seconds only."""
    from openai_meter.ledger import Ledger

    other = Ledger(ledger.url)
    ledger.add(call())
    other.add(call(model="gpt-4o"))
    other.flush()
    assert shown(ledger, "calls_total", labels=("model",)) == {("gpt-5-mini",): 1, ("gpt-4o",): 1}
    assert shown(ledger, "ledger_calls_total") == {
        ("written",): 1, ("spooled",): 0, ("replayed",): 0, ("dropped",): 0, ("refused",): 0, ("damaged",): 0,
    }  # fmt: skip
    other.add(call())
    other.flush()
    assert sum(shown(ledger, "calls_total", labels=("model",), cache=3600).values()) == 2
    assert sum(shown(ledger, "calls_total", labels=("model",), cache=0).values()) == 3
    assert shown(ledger, "ledger_reached") == {(): 1}
    assert "faults_total" not in dict(samples(exposition(ledger)[0]))
    for name in ("session", "tag", "tag:env"):
        with pytest.raises(ConfigurationError, match="roll-ups"):
            Collector(ledger, labels=(name,))
    other.close()


def test_unreachable_ledger_exposes_its_last_totals(ledger, monkeypatch):
    """While the database cannot be read, its last totals are shown, and a gauge reports the outage."""
    ledger.add(call())
    assert sum(shown(ledger, "calls_total", cache=0).values()) == 1

    def away() -> None:
        raise openai_meter.LedgerUnavailableError("no")

    monkeypatch.setattr(ledger, "prepare", away)
    assert sum(shown(ledger, "calls_total", cache=0).values()) == 1
    assert shown(ledger, "ledger_reached", cache=0) == {(): 0}


def test_meter_exposes_the_counts_of_its_ledger(ledger, meter):
    """The counts of stored, spooled and dropped calls are exposed with the calls of the meter."""
    meter._keep(ledger)
    meter._take(call())
    assert meter.flush()
    assert shown(meter, "ledger_calls_total")["written",] == 1
    assert shown(meter, "ledger_waiting_calls") == {(): 0}
    assert shown(meter, "ledger_away") == {(): 0}


# --- dashboards and rules ---------------------------------------------------------------------------------------------


def names_in(text: str) -> set[str]:
    return set(re.findall(r"openai_meter_[a-z_]+", text))


def known_names(meter: Meter) -> set[str]:
    found = set()
    for family in Collector(meter).describe():
        found.add(family.name + "_total" * (family.type == "counter") + "_info" * (family.type == "info"))
    others = {
        "open_calls",
        "faults_total",
        "threshold_use_ratio",
        "thresholds_passed",
        "ledger_calls_total",
        "ledger_away",
    }
    return found | {f"openai_meter_{name}" for name in others}


@pytest.mark.parametrize("lang", languages())
def test_dashboard_and_rules_use_existing_metrics(meter, lang):
    """Every metric in a query exists; panels do not overlap, and have titles in each language."""
    board = grafana.grafana(lang)
    assert json.loads(json.dumps(board)) == board
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) >= len(grafana.PANELS)
    assert names_in(" ".join([*queries, grafana.rules(lang)])) <= known_names(meter)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len({*cells})
    assert all(x < 24 for x, _ in cells)
    titles = [panel["title"] for panel in board["panels"]]
    assert len({*titles}) == len(titles)
    renamed = json.dumps(grafana.grafana(lang, namespace="mine")["panels"])
    assert "mine_cost_usd_total" in renamed
    assert not names_in(renamed)


def export(*args: str, lang: str = "en") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "openai_meter", "export", *args],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "OPENAI_METER_LANG": lang},
        encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_export_command_writes_dashboard_and_rules(tmp_path):
    """``openai-meter export grafana`` and ``prometheus-rules`` need no ledger; another name is an error."""
    assert json.loads(export("grafana")[1]) == grafana.grafana("en")
    assert export("prometheus-rules", "--lang", "fr")[1] == grafana.rules("fr")
    file = tmp_path / "rules.yml"
    assert export("prometheus-rules", "-o", str(file))[0] == 0
    assert file.read_text(encoding="utf-8") == grafana.rules("en")
    code, _, errors = export("nonsense")
    assert code == 2
    assert "calls, focus, grafana, prometheus-rules" in errors
    assert export("grafana", "-o", str(tmp_path))[0] == 2
    assert export("grafana", "-o", str(tmp_path / "no" / "file"))[0] == 1
    assert export("grafana", "--lang", "xx")[0] == 2
