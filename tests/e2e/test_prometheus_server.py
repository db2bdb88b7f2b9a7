"""The real Prometheus and its promtool: they accept the metrics and the rules, and queries have the right values."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import contract
import pytest
from contract import MODEL, chat
from ports import free_port
from prometheus_text import call, tool

import openai_meter
from openai_meter import Meter, Usage
from openai_meter.core.locale import languages
from openai_meter.exporters import grafana
from openai_meter.prometheus import Collector, exposition

client = pytest.importorskip("prometheus_client", reason="without the extra [prometheus], its metrics are NOT tested")
pytestmark = pytest.mark.e2e


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


@pytest.fixture
def ledger(tmp_path):
    ledgers = pytest.importorskip("openai_meter.ledger", reason="no SQLAlchemy: metrics of a ledger are NOT tested")
    made = ledgers.Ledger(f"sqlite:///{tmp_path / 'usage.db'}", flush_interval=0.02)
    yield made
    made.close()


@pytest.mark.parametrize("lang", languages())
def test_promtool_accepts_the_rules(tmp_path, lang):
    """Prometheus' own tool finds no error in the rules."""
    file = tmp_path / "rules.yml"
    file.write_text(grafana.rules(lang), encoding="utf-8")
    done = subprocess.run([tool("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(grafana.ALERTS)} rules found" in done.stdout


def test_promtool_accepts_the_metrics(ledger, meter):
    """Prometheus' own tool finds no error in names, types and style."""
    meter._keep(ledger)
    meter._take(call(usage=Usage(1, 2, 3, 1, seconds=1, images=1, characters=1, web_searches=1)))
    for source in (meter, ledger):
        body = exposition(source)[0]
        done = subprocess.run([tool("promtool"), "check", "metrics"], input=body, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- a real Prometheus ------------------------------------------------------------------------------------------------

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Prometheus:
    """A server that scrapes one address, with a folder of its own."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port = free_port()
        (folder / "rules.yml").write_text(grafana.rules("en"), encoding="utf-8")
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"
            "rule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: program, static_configs: [{{targets: ['{target}']}}]}}]\n",
            encoding="utf-8",
        )
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log, stderr=subprocess.STDOUT, cwd=folder,
            )  # fmt: skip

    def get(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with OPENER.open(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def ask(self, query: str) -> dict[str, float]:
        """The values of an expression now, by the values of its labels."""
        found = self.get("query", query=query)["result"]
        return {",".join(row["metric"].values()): float(row["value"][1]) for row in found}

    def until(self, query: str, expected: dict[str, float]) -> None:
        """Waits until an expression has these values."""
        end, found = time.monotonic() + 60, None
        while time.monotonic() < end:
            assert self.process.poll() is None
            try:
                if (found := self.ask(query)) == expected:
                    return
            except OSError:  # it has still to begin, or to read what it has
                pass
            time.sleep(0.05)
        pytest.fail(f"{query} is {found}, not {expected}")

    def panel(self, key: str, window: str = "5m") -> dict[str, float]:
        """The values of a panel of the dashboard now."""
        (panel,) = (panel for panel in grafana.PANELS if panel.key == key)
        query = panel.queries[0][0].replace("M_", "openai_meter_")
        for variable, value in (("$__rate_interval", window), ("$__range", window), ("$job", "program")):
            query = query.replace(variable, value)
        return self.ask(query)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def test_real_prometheus_reads_totals_and_fires_alerts(api, tmp_path):
    """Prometheus scrapes a program over HTTP; its values are the meter's totals, also after a reset."""
    meter = openai_meter.install(thresholds={"calls": 2, "tokens_per_call": None}, hosts={"127.0.0.1": "openai"})
    registry = client.CollectorRegistry()
    registry.register(Collector(meter))
    server, thread = client.start_http_server(0, addr="127.0.0.1", registry=registry)
    prometheus = Prometheus(tmp_path, f"127.0.0.1:{server.server_port}")
    try:
        with contract.sync_client(api) as one:
            for _ in range(3):
                chat(one)
            prometheus.until("sum by (model) (openai_meter_calls_total)", {MODEL: 3})
            answer = meter.totals
            prometheus.until(
                "sum by (type) (openai_meter_tokens_total)",
                {"input": answer.usage.input_tokens or 0, "output": answer.usage.output_tokens or 0},
            )
            prometheus.until("sum(openai_meter_cost_usd_total)", {"": float(answer.cost or 0)})
            firing = 'ALERTS{alertname="OpenaiMeterThresholdPassed", alertstate="firing"}'
            prometheus.until(f"count({firing})", {"": 1})
            meter.reset()
            chat(one)
            prometheus.until("sum(openai_meter_calls_total)", {"": 4})
            prometheus.until("sum(resets(openai_meter_calls_total[5m]))", {"": 0})
        groups = prometheus.get("rules")["groups"]
        assert [rule["health"] for group in groups for rule in group["rules"]] == ["ok"] * len(grafana.ALERTS)
        for panel in grafana.grafana("en")["panels"]:
            for target in panel["targets"]:
                query = (
                    target["expr"]
                    .replace("$__rate_interval", "1m")
                    .replace("$__range", "1h")
                    .replace("$job", "program")
                )
                prometheus.get("query", query=query)  # an expression that is wrong is an error of HTTP
        assert prometheus.get("targets")["activeTargets"][0]["health"] == "up"
    finally:
        prometheus.end()
        server.shutdown()
        server.server_close()
        thread.join(60)


class Scraped:
    """A program that Prometheus scrapes; it can be started again under the same address."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.server: Any = None
        self.prometheus = Prometheus(folder, f"127.0.0.1:{self.port}")

    def start(self, meter: Meter) -> None:
        """Starts the program with a meter, and waits until Prometheus has scraped it."""
        registry = client.CollectorRegistry()
        registry.register(Collector(meter))
        self.server = client.start_http_server(self.port, addr="127.0.0.1", registry=registry)
        self.prometheus.until("up", {f"up,127.0.0.1:{self.port},program": 1})

    def stop(self) -> None:
        """Stops the program, and waits until Prometheus has noticed."""
        server, thread = self.server
        server.shutdown()
        server.server_close()
        thread.join(60)
        self.server = None
        self.prometheus.until("up", {f"up,127.0.0.1:{self.port},program": 0})

    def calls(self, number: float) -> None:
        """Waits until Prometheus has scraped so many calls."""
        self.prometheus.until("sum(openai_meter_calls_total)", {"": number})


@pytest.fixture
def scraped(tmp_path):
    made = Scraped(tmp_path)
    try:
        yield made
    finally:
        if made.server is not None:
            made.stop()
        made.prometheus.end()


def million(meter: Meter, model: str, dollars: int) -> None:
    """A call that costs so many dollars."""
    meter._take(call(model=model, cost_pico=dollars * 10**12, usage=Usage(1_000_000, 500_000, 1_500_000)))


def test_panels_have_the_first_call_of_every_series(scraped) -> None:
    """A series that starts with its value counts from the first scrape on, as does each later call."""
    meter, prometheus = Meter(thresholds=False), scraped.prometheus
    scraped.start(meter)
    million(meter, "one", 20)
    scraped.calls(1)
    assert prometheus.panel("cost") == {"": 20}
    assert prometheus.panel("calls") == {"": 1}
    assert prometheus.panel("tokens") == {"": 1_500_000}
    assert prometheus.panel("errors") == {"": 0}
    million(meter, "one", 10)
    million(meter, "two", 7)
    meter._take(call(model="two", status="error", usage=Usage(), usage_source="none", cost_pico=0, cost_status="free"))
    scraped.calls(4)
    assert prometheus.panel("cost") == {"": 37}
    assert prometheus.panel("calls") == {"": 4}
    assert prometheus.panel("errors") == {"": 0.25}
    assert prometheus.panel("cost_by_model") == pytest.approx({"one": 30 * 12, "two": 7 * 12}, rel=0.01)
    assert prometheus.panel("calls_by_model") == pytest.approx({"one": 2 / 5, "two": 2 / 5}, rel=0.01)
    assert prometheus.panel("errors_by_model") == {"one": 0, "two": 0.5}
    assert prometheus.panel("tokens_by_type") == pytest.approx({"input": 600_000, "output": 300_000}, rel=0.01)


def test_panels_are_right_after_a_reset_and_a_restart(scraped) -> None:
    """A reset of the meter and a new process under the same address neither hide calls nor show them twice."""
    meter, prometheus = Meter(thresholds=False), scraped.prometheus
    scraped.start(meter)
    million(meter, "one", 20)
    scraped.calls(1)
    meter.reset()
    million(meter, "one", 20)
    scraped.calls(2)
    assert prometheus.panel("cost") == {"": 40}
    scraped.stop()
    scraped.start(again := Meter(thresholds=False))
    million(again, "one", 6)
    scraped.calls(1)
    million(again, "two", 5)
    scraped.calls(2)
    assert prometheus.panel("cost") == {"": 51}
    assert prometheus.panel("cost_by_model") == pytest.approx({"one": 46 * 12, "two": 5 * 12}, rel=0.01)


def test_panels_leave_out_calls_before_the_first_scrape(scraped) -> None:
    """What a program that has run for long had counted before its first scrape is not of the last minutes."""
    meter = Meter(thresholds=False)
    meter.started_at -= timedelta(days=3)
    meter._take(call(started_at=datetime.now(UTC) - timedelta(days=2), cost_pico=20 * 10**12))
    scraped.start(meter)
    scraped.calls(1)
    million(meter, "new", 3)
    scraped.calls(2)
    time.sleep(0.5)
    assert scraped.prometheus.panel("cost") == {"": 3}
    assert scraped.prometheus.panel("calls_by_model") == pytest.approx({"gpt-5-mini": 0, "new": 1 / 5}, rel=0.01)


def test_cost_alert_fires_at_the_first_expensive_call(scraped) -> None:
    """One call beyond the limit of an hour is enough, though its series has just one value."""
    meter = Meter(thresholds=False)
    scraped.start(meter)
    million(meter, "one", 12)
    firing = 'ALERTS{alertname="OpenaiMeterCostPerHour", alertstate="firing"}'
    scraped.prometheus.until(f"count({firing})", {"": 1})
