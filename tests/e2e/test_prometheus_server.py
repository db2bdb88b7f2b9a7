"""The real Prometheus and its promtool: they accept the metrics and the rules, and queries have the right values."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import contract
import pytest
from contract import MODEL, chat
from prometheus_text import call, tool

import openai_meter
from openai_meter import Usage
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
    """Prometheus' own tool finds nothing wrong with the rules."""
    file = tmp_path / "rules.yml"
    file.write_text(grafana.rules(lang), encoding="utf-8")
    done = subprocess.run([tool("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(grafana.ALERTS)} rules found" in done.stdout


def test_promtool_accepts_the_metrics(ledger, meter):
    """Prometheus' own tool finds nothing wrong with names and types, not even in style."""
    meter.keep(ledger)
    meter.take(call(usage=Usage(1, 2, 3, 1, seconds=1, images=1, characters=1, web_searches=1)))
    for source in (meter, ledger):
        body = exposition(source)[0]
        done = subprocess.run([tool("promtool"), "check", "metrics"], input=body, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- a real Prometheus ------------------------------------------------------------------------------------------------

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


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

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def test_real_prometheus_reads_totals_and_fires_alerts(api, tmp_path):
    """Prometheus scrapes a program over HTTP; what it answers are the meter's totals, also after a reset."""
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
        thread.join(20)
