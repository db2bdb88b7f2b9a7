"""Where budgets are shown: the HTTP API, Prometheus, the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

import openai_meter
from openai_meter import Budget, BudgetExceededError, Meter, Price
from openai_meter.alerts import ThresholdUsage
from openai_meter.budgets.stages import full_at
from openai_meter.cli.limits import limit_name, limit_use
from openai_meter.core.locale import language
from openai_meter.metering.pulse import of_meter
from openai_meter.testing import fake_client, fixed_clock


@pytest.fixture
def metered():
    """A meter with two budgets, after two calls of which one was refused."""
    meter = openai_meter.install(
        meter=openai_meter.Meter(),
        prices={"gpt-5-mini": Price(input=1, output=10)},
        budgets=[Budget("prod", usd="0.01", every="month"), Budget("per user", calls=1, per="user")],
    )
    client = fake_client(input_tokens=50, output_tokens=20)
    with openai_meter.tag(user="u-1"):
        client.responses.create(model="gpt-5-mini", input="hi", max_output_tokens=100)
        with pytest.raises(BudgetExceededError):
            client.responses.create(model="gpt-5-mini", input="hi", max_output_tokens=100)
    return meter


def test_budgets_endpoint_returns_each_budget_and_key(metered):
    """``/api/budgets`` has the exact figures; without budgets it is empty."""
    pytest.importorskip("starlette", reason="starlette is not installed: this is NOT tested")
    from starlette.testclient import TestClient

    from openai_meter.server import create_app

    api = TestClient(create_app(metered), base_url="http://127.0.0.1")
    prod, user = api.get("/api/budgets").json()["budgets"]
    assert (prod["name"], prod["unit"], prod["limit"], prod["spent"], prod["held"], prod["left"]) == (
        "prod", "usd", "0.01", "0.00025", "0", "0.00975",
    )  # fmt: skip
    assert (user["name"], user["key"], user["spent"], user["refused"]) == ("per user", "u-1", 1, 1)
    assert prod["resets_at"] > prod["starts_at"]
    empty = TestClient(create_app(openai_meter.Meter()), base_url="http://127.0.0.1")
    assert empty.get("/api/budgets").json() == {"budgets": []}


def test_prometheus_has_limits_spending_holds_and_refusals(metered):
    """One gauge for each figure and unit, with the labels budget and key."""
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: this is NOT tested")
    from openai_meter.exporters.prometheus import exposition

    text = exposition(metered)[0].decode()
    for line in (
        'openai_meter_budget_limit_usd{budget="prod",key=""} 0.01',
        'openai_meter_budget_spent_usd{budget="prod",key=""} 0.00025',
        'openai_meter_budget_held_usd{budget="prod",key=""} 0.0',
        'openai_meter_budget_spent_calls{budget="per user",key="u-1"} 1.0',
        'openai_meter_budget_refused{budget="per user",key="u-1"} 1.0',
    ):
        assert line in text.splitlines()
    assert "openai_meter_budget" not in exposition(openai_meter.Meter())[0].decode()


def test_budget_status_to_dict_is_plain_json(metered):
    """Every figure of a status is in its dict; dollars are strings."""
    status = metered.budgets["prod"].all()[0]
    assert json.loads(json.dumps(status.to_dict()))["spent"] == "0.00025"
    assert metered.budgets["prod"].share == pytest.approx(0.025)
    assert repr(metered.budgets["per user"]) == "<BudgetView 'per user': 1 keys>"


def test_budgets_command_lists_the_budgets_of_a_store(command, tmp_path, monkeypatch):
    """A line for each budget and key of all processes, or JSON; the store may be named by the environment."""
    url = f"sqlite:///{tmp_path / 'budgets.db'}"
    meter = openai_meter.install(
        meter=openai_meter.Meter(),
        prices={"gpt-5-mini": Price(input=1, output=10)},
        budgets=[Budget("prod", usd="0.01", every="month"), Budget("per user", calls=1, per="user")],
        budget_store=url,
    )
    with openai_meter.tag(user="ü|1"):
        fake_client(input_tokens=50, output_tokens=20).responses.create(
            model="gpt-5-mini", input="hi", max_output_tokens=100
        )
    meter._budgets.desk.close()
    lines = command("budgets", "--store", url).splitlines()
    assert lines[0] == "per user, ü|1: 1 call of 1 call (100%), held 0 calls"
    assert lines[1].startswith("prod: $0.00025 of $0.01 (2%), held $0.00; starts again at 20")
    monkeypatch.setenv("OPENAI_METER_BUDGET_STORE", url)
    user, prod = json.loads(command("budgets", "--json"))["budgets"]
    assert (user["key"], user["spent"], prod["spent"], prod["left"]) == ("ü|1", 1, "0.00025", "0.00975")
    assert "sur 1 appel" in command("budgets", "--lang", "fr")


def test_budgets_command_without_a_usable_store_names_the_remedy(command, tmp_path, monkeypatch):
    """There is no store, the URL is not a store, or the store is empty."""
    monkeypatch.delenv("OPENAI_METER_BUDGET_STORE", raising=False)
    assert "--store" in command("budgets", code=2)
    assert "no budget store mysql" in command("budgets", "--store", "mysql://user:secret@host", code=2)
    assert "no budget" in command("budgets", "--store", f"sqlite:///{tmp_path / 'none.db'}")


def test_budget_store_is_read_from_the_environment(tmp_path, monkeypatch):
    """``OPENAI_METER_BUDGET_STORE`` is used where there are budgets."""
    monkeypatch.setenv("OPENAI_METER_BUDGET_STORE", f"sqlite:///{tmp_path / 'budgets.db'}")
    meter = openai_meter.install(meter=openai_meter.Meter(), budgets=[Budget("prod", calls=1)])
    assert meter._budgets.desk is not None
    assert openai_meter.Meter()._budgets is None


def test_budgets_are_among_the_limits_of_live_figures():
    """The live figures have a bar for each budget, by its name, with the moment when it will be reached."""
    now = datetime(2026, 11, 11, tzinfo=UTC)
    with fixed_clock(now) as clock:
        meter = Meter(
            thresholds=False, prices={"gpt-5-mini": Price(input=1, output=10)},
            budgets=[Budget("prod", usd="0.002", every="month"), Budget("users", calls=4, per="user", alert_at=())],
        )  # fmt: skip
        client = openai_meter.wrap(fake_client(input_tokens=100, output_tokens=90), meter)
        with openai_meter.tag(user="u-1"):
            client.responses.create(model="gpt-5-mini", input="hi", max_output_tokens=90)
        clock.move(86_400)
        usage = meter._budget_usage()
    month, users = usage
    assert (month.budget, month.share, month.passed, month.full_at) == (
        "prod", 0.5, False, datetime(2026, 11, 23, tzinfo=UTC)
    )  # fmt: skip
    assert (users.budget, users.key, users.used, users.full_at) == ("users", "u-1", 1, None)
    assert ThresholdUsage.from_dict(json.loads(json.dumps(month.to_dict()))) == month
    m = language("en")
    assert limit_name(month, m) == "budget prod"
    assert limit_name(users, m) == "budget users, u-1"
    assert limit_use(month, m).endswith("; reached on 2026-11-23 00:00 UTC at this rate")
    assert [one.budget for one in of_meter(meter).thresholds] == ["prod", "users"]


@pytest.mark.parametrize(
    ("spent", "days", "expected"), [(0, 10, None), (100, 10, None), (50, 10, 20), (10, 10, None), (50, 0.1, None)]
)
def test_forecast_of_a_budget(spent, days, expected):
    """At the rate of the window so far; none where it is not reached in the window, or too early to tell."""
    start = datetime(2026, 11, 1, tzinfo=UTC)
    found = full_at(100, spent, start, start + timedelta(days=30), start + timedelta(days=days))
    assert found == (None if expected is None else start + timedelta(days=expected))
    assert full_at(100, 50, start, None, start + timedelta(days=days)) is None


def test_budgets_are_metrics_of_opentelemetry():
    """Gauges of the limit, what is spent and what is held, by budget, key and unit."""
    pytest.importorskip("opentelemetry.sdk.metrics", reason="the SDK of OpenTelemetry is not installed: NOT tested")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter = Meter(thresholds=False, budgets=[Budget("tries", calls=4, per="user", alert_at=())])
    openai_meter.otel.attach(meter, provider)
    try:
        client = openai_meter.wrap(fake_client(), meter)
        with openai_meter.tag(user="u-1"):
            client.responses.create(model="gpt-5-mini", input="hi")
        data = reader.get_metrics_data()
        found = {
            metric.name: [(getattr(one, "value", None), dict(one.attributes)) for one in metric.data.data_points]
            for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
        }  # fmt: skip
    finally:
        openai_meter.otel.detach(meter)
        provider.shutdown()
    who = {"openai_meter.budget": "tries", "openai_meter.budget.key": "u-1", "openai_meter.budget.unit": "{call}"}
    for figure, value in (("limit", 4.0), ("spent", 1.0), ("held", 0.0)):
        assert found[f"openai_meter.budget.{figure}"] == [(value, who)]


def test_fake_client_under_a_budget_is_refused():
    """Tests of programs can spend a budget without a network."""
    with openai_meter.budget(calls=1, meter=Meter(thresholds=False)):
        client = fake_client()
        client.responses.create(model="gpt-5-mini", input="hi")
        with pytest.raises(BudgetExceededError):
            client.responses.create(model="gpt-5-mini", input="hi")


@pytest.fixture
def fleet(command, tmp_path, monkeypatch):
    """A ledger and a store of budgets, after two calls of two users; both are named by the environment."""
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: budgets of a ledger are NOT tested")
    ledger, store = f"sqlite:///{tmp_path / 'usage.db'}", f"sqlite:///{tmp_path / 'budgets.db'}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_METER_LEDGER", ledger)
    monkeypatch.setenv("OPENAI_METER_BUDGET_STORE", store)
    meter = openai_meter.install(
        meter=openai_meter.Meter(),
        ledger=ledger,
        prices={"gpt-5-mini": Price(input=1, output=10)},
        budgets=[Budget("prod", usd="0.01", every="month"), Budget("per user", calls=4, per="user")],
        budget_store=store,
    )
    client = fake_client(input_tokens=50, output_tokens=20)
    for user in ("ann", "ann", "bob"):
        with openai_meter.tag(user=user):
            client.responses.create(model="gpt-5-mini", input="hi", max_output_tokens=100)
    meter._budgets.desk.close()
    assert meter.flush()
    meter.ledger.close()
    return ledger


def test_live_figures_of_a_ledger_have_the_budgets_of_the_store(fleet, command):
    """``top`` and the server of a ledger have a bar for each budget of all processes, of each the most used key."""
    shown = json.loads(command("top", "--once", "--json"))["thresholds"]
    assert [(one["budget"], one["key"], one["used"], one["share"]) for one in shown] == [
        ("per user", "ann", 2, 0.5), ("prod", None, "0.00075", 0.075)
    ]  # fmt: skip
    assert "per user, ann" in command("top", "--once")
    pytest.importorskip("starlette", reason="starlette is not installed: the budgets of a server are NOT tested")
    from starlette.testclient import TestClient

    from openai_meter.server import create_app

    app = TestClient(create_app(ledger=fleet), base_url="http://127.0.0.1")
    assert [one["budget"] for one in app.get("/api/live").json()["thresholds"]] == ["per user", "prod"]


def test_status_line_has_the_most_used_budget(fleet, command):
    """It is in the usual line, in a line of one's own and in JSON; without a budget there is a dash."""
    assert "per user (ann) 50%" in command("statusline")
    assert command("statusline", "--format", "{budget}") == "per user (ann) 50%\n"
    assert [one["budget"] for one in json.loads(command("statusline", "--json"))["budgets"]] == ["per user", "prod"]


def test_live_figures_without_a_readable_store_have_no_budgets(fleet, command, monkeypatch, tmp_path):
    """A store that is away or empty is no error of a live view, and no file is made."""
    gone = tmp_path / "gone.db"
    monkeypatch.setenv("OPENAI_METER_BUDGET_STORE", f"sqlite:///{gone}")
    assert json.loads(command("top", "--once", "--json"))["thresholds"] == []
    assert command("statusline", "--format", "{budget}") == "-\n"
    assert not gone.exists()
    gone.write_text("not a database, and long enough to be read as one" * 100)
    assert json.loads(command("top", "--once", "--json"))["thresholds"] == []
