"""Alerts when parts of a budget are spent, once for the whole fleet, and thresholds that count the whole fleet."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from receivers import Receiver

import openai_meter
from openai_meter import Budget, BudgetExceededError, ConfigurationError, Meter, Price, Threshold
from openai_meter.actions import SHOW_API_STATS
from openai_meter.budgets.stores import StoreUnavailableError
from openai_meter.budgets.stores.memory import MemoryStore
from openai_meter.testing import fake_client, fixed_clock

PRICES = {"gpt-5-mini": Price(input=1, output=10)}
COST = Decimal("0.001")
"""Of a call."""


class Broken:
    """A store whose connection can be cut."""

    def __init__(self, store):
        self._store = store
        self.cut = None

    def __getattr__(self, name):
        if self.cut:
            raise StoreUnavailableError("cut")
        return getattr(self._store, name)


class Program:
    """A process of a fleet: a meter, its client and the alerts that it has raised."""

    def __init__(self, **settings):
        self.alerts = []
        self.meter = Meter(**{"on_alert": self.alerts.append, "prices": PRICES, "thresholds": False, **settings})
        self.client = openai_meter.wrap(fake_client(input_tokens=100, output_tokens=90), self.meter)

    def ask(self, times=1, **attribution):
        with openai_meter.tag(**attribution):
            for _ in range(times):
                self.client.responses.create(model="gpt-5-mini", input="hi", max_output_tokens=100)

    def found(self):
        assert self.meter.flush()
        return self.alerts


@pytest.fixture
def name():
    return f"stages {uuid.uuid4()}"


def test_each_part_of_a_budget_is_announced_once(name, caplog):
    """At 50, 80 and 100 %, or the parts that are set; a call that passes several announces the last. The log too."""
    budgets = [Budget(name, calls=10), Budget("usd", usd=COST * 4, alert_at=(0.1, 0.2, 0.6), when_spent="warn")]
    program = Program(budgets=[*budgets, Budget("quiet", calls=2, when_spent="warn", alert_at=())])
    program.ask(times=10)
    found = [(alert.budget, alert.stage, alert.value, alert.limit, alert.refused) for alert in program.found()]
    assert sorted(found) == sorted([
        (name, 0.5, 5, 10, False),
        (name, 0.8, 8, 10, False),
        (name, 1.0, 10, 10, False),
        ("usd", 0.2, COST, COST * 4, False),
        ("usd", 0.6, COST * 3, COST * 4, False),
    ])  # fmt: skip
    assert sum("Alert: Budget" in record.getMessage() for record in caplog.records) == 5
    assert {(alert.budget, alert.stage) for alert in program.meter.alerts} == {(name, 1.0), ("usd", 0.6)}
    assert program.meter.alerts[-1].id in {alert.id for alert in program.alerts}


def test_first_refusal_of_a_window_is_an_alert(name):
    """It is raised once for each key, also where less was spent than the first part."""
    program = Program(budgets=[Budget(name, usd="0.0015", per="user", every="day")])
    for user in ("a", "a", "a", "b", "b"):
        try:
            program.ask(user=user)
        except BudgetExceededError:
            continue
    refusals = [(alert.key, alert.refused, alert.stage) for alert in program.found() if alert.refused]
    assert refusals == [("a", True, None), ("b", True, None)]


def test_message_and_json_of_a_stage_have_its_figures(name):
    """In English and French: the budget, its key, what is spent of which limit, and when."""
    program = Program(budgets=[Budget("per team", usd=COST * 2, per="tag:team", every="month", alert_at=[0.5])])
    program.ask(team="forms")
    with pytest.raises(BudgetExceededError):
        program.ask(times=2, team="forms")
    half, refused = program.found()
    assert half.message("en") == "💰 Alert: Budget per team, forms: $0.001 of $0.002 spent this month (50%)"
    assert refused.message("en") == (
        "⛔ Alert: Budget per team, forms refuses calls: $0.001 of $0.002 spent this month (50%)"
    )
    assert half.message("fr").replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ") == (
        "💰 Alerte : Budget per team, forms : 0,001 $ sur 0,002 $ dépensés ce mois-ci (50 %)"
    )
    plain = json.loads(json.dumps(half.to_dict("en")))
    assert (plain["budget"], plain["stage"], plain["refused"], plain["kind"]) == ("per team", 0.5, False, "cost")
    assert (plain["per"], plain["key"], plain["window"], plain["value"]) == ("tag:team", "forms", "month", "0.001")


def test_message_has_the_exact_amounts():
    """A limit of a fraction of a cent is not rounded up."""
    program = Program(budgets=[Budget("small", usd="0.0018", when_spent="warn", alert_at=(0.1,))])
    program.ask()
    assert program.found()[0].message("en") == "💰 Alert: Budget small: $0.001 of $0.0018 spent (56%)"
    assert repr(program.meter.budgets["small"]) == "<BudgetView 'small': 0.001 of 0.0018 usd spent>"


def test_stages_go_to_webhooks_and_the_chat_action(name):
    """A webhook is posted an event of its own type; the chat action writes the alert with the figures of the budget."""
    with Receiver() as receiver:
        program = Program(budgets=[Budget("prod", calls=2, alert_at=(0.5,))], webhook=receiver.url)
        program.ask()
        program.found()
        (event,) = (request.json for request in receiver.requests)
    assert event["type"] == "openai_meter.budget"
    assert (event["data"]["budget"], event["data"]["stage"], event["data"]["value"]) == ("prod", 0.5, 1)
    text = SHOW_API_STATS.handle(meter=program.meter, lang="en")
    assert "Alert: Budget prod: 1 of 2 calls spent (50%)" in text


@pytest.mark.parametrize("limit", [{"calls": 40}, {"usd": COST * 40}])
def test_fleet_announces_each_stage_once(store, name, limit):
    """Four processes, each with threads: each stage of each key is an alert of one of them."""
    budget = Budget(name, **limit, per="user", alert_at=(0.25, 0.5, 0.75, 1.0), when_spent="warn")
    fleet = [Program(budgets=[budget], budget_store=store) for _ in range(4)]

    def work(n):
        for step in range(11):
            fleet[n % 4].ask(user="ab"[step % 2])
            if step % 3 == 0:
                fleet[n % 4].meter._budgets.desk.report()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    for program in fleet:
        program.meter._budgets.desk.report()
    for program in fleet:
        program.meter.budgets[name].all()
        program.found()
    found = sorted((alert.key, alert.stage) for program in fleet for alert in program.alerts if not alert.refused)
    assert len(found) == len(set(found))
    assert {one for one in found if one[1] == 1.0} == {("a", 1.0), ("b", 1.0)}
    for program in fleet:
        assert {(alert.key, alert.stage) for alert in program.meter.alerts} == {("a", 1.0), ("b", 1.0)}
        program.meter._budgets.desk.close()


def test_stage_is_announced_once_in_each_window(store, name):
    """The window is stored with it: tomorrow there is another alert, a restart today raises none."""
    now = datetime.now(UTC).replace(hour=12)
    budget = Budget(name, calls=16, every="day", alert_at=(0.5,), when_spent="warn")
    found = []
    with fixed_clock(now) as clock:
        for move in (0, 60, 86_400):
            clock.move(move)
            program = Program(budgets=[budget], budget_store=store)
            program.ask(times=9)
            found.append(len(program.found()))
            program.meter._budgets.desk.report(all_idle=True)
    assert found == [1, 0, 1]


def test_stage_is_announced_when_its_store_is_back(name):
    """It is announced once."""
    broken = Broken(MemoryStore())
    program = Program(budgets=[Budget(name, calls=320, alert_at=(0.01,))], budget_store=broken)
    program.ask(times=2)
    broken.cut = "before"
    program.ask(times=2)
    assert not program.meter.flush()
    assert program.alerts == []
    broken.cut = None
    assert [alert.value for alert in program.found()] == [4]
    assert len(program.found()) == 1


def test_stage_passed_in_the_ledger_is_not_announced_again(tmp_path, name):
    """A restarted program whose ledger has passed a stage announces the next one only."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    budget = Budget(name, calls=4, every="month", alert_at=(0.5, 1.0))
    for expected in ([0.5], [1.0]):
        program = Program(budgets=[budget])
        openai_meter.install(meter=program.meter, ledger=url)
        program.ask(times=2)
        assert [alert.stage for alert in program.found()] == expected
        assert [alert.stage for alert in program.meter.alerts] == expected
        openai_meter.uninstall()


@pytest.mark.parametrize("parts", ["0.5", (0,), (50,), (True,), 0.5, {"a": 1}, [None]])
def test_wrong_part_of_a_limit_raises(parts):
    """What is not a part of the limit is an error with the remedy."""
    with pytest.raises(ConfigurationError, match="alert_at"):
        Budget("a", usd=1, alert_at=parts)


def test_budget_of_nothing_has_no_stages():
    """A budget of 0 refuses everything, and raises no alert of a part."""
    assert Budget("a", calls=0).stages == ()


def test_run_budget_with_parts_raises_alerts():
    """``budget()`` raises none by default; its alerts go to the places of the meter's."""
    program = Program()
    for parts, expected in (((), 0), ((0.5,), 1)):
        settings = {"alert_at": parts} if parts else {}
        with openai_meter.budget(calls=2, meter=program.meter, **settings):
            program.ask(times=2)
        assert len(program.found()) == expected


# --- thresholds of a fleet --------------------------------------------------------------------------------------------


def test_threshold_of_a_fleet_counts_all_processes(store):
    """Its alert comes once, from the process that passes the limit; nothing is held, and nothing refused."""
    team = f"team {uuid.uuid4()}"
    limits = [
        Threshold("cost", COST * 5, per="tag:team", window="month", fleet=True),
        Threshold("calls", 3, per="tag:team", fleet=True),
        Threshold("calls", 100),
    ]
    fleet = [Program(thresholds=limits, budget_store=store) for _ in range(3)]
    for _ in range(2):
        for program in fleet:
            program.ask(team=team)
            program.ask()
            for one in fleet:
                assert one.meter._budgets.desk.report()
                # Its thread may be late, and another process announces the limit then, with a higher value.
                assert one.meter._budgets.desk.announce_now()
    found = [(alert.kind, alert.key, alert.value, alert.budget) for one in fleet for alert in one.found()]
    assert sorted(found) == [("calls", team, 4, None), ("cost", team, COST * 6, None)]
    for program in fleet:
        program.meter._budgets.desk._turn = 11  # a report with every row
        assert program.meter._budgets.desk.report()
        usage = {(str(one.threshold.metric), one.threshold.fleet): one for one in program.meter.threshold_usage}
        assert (usage["cost", True].used, usage["cost", True].passed, usage["cost", True].key) == (COST * 6, True, team)
        assert usage["calls", True].used == 6
        assert usage["calls", False].used == 4
        assert {alert.kind for alert in program.meter.alerts} == {"cost", "calls"}
        assert program.meter.budgets == {}
        program.meter._budgets.desk.close()


def test_threshold_of_a_fleet_uses_the_database_of_the_ledger(tmp_path):
    """Without a store of its own, the ledger has the counters, and what it has counts from the start."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    limit = [Threshold("calls", 3, window="month", fleet=True)]
    before = Program()
    openai_meter.install(meter=before.meter, ledger=url)
    before.ask(times=2)
    before.found()
    openai_meter.uninstall()
    found = []
    for _ in range(2):
        program = Program(thresholds=limit, budgets=[Budget("own", calls=5, alert_at=())])
        openai_meter.install(meter=program.meter, ledger=url)
        program.ask()
        assert program.meter._budgets.desks[0].report()
        found += [alert.value for alert in program.found()]
        (usage,) = program.meter.threshold_usage
        openai_meter.uninstall()
    assert found == [4]
    assert usage.used == 4
    assert program.meter.budgets["own"].spent == 4  # by the ledger; that of a process has no store


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"metric": "errors", "limit": 5}, "not on errors"),
        ({"metric": "calls", "limit": 5, "window": 60}, "by the calendar"),
        ({"metric": "calls", "limit": 5, "fleet": 1}, "neither True nor False"),
        ({"metric": "calls", "limit": 5, "per": "tag:"}, "nothing to limit by"),
        ({"metric": "calls", "limit": 5, "per": "weather"}, "nothing to limit by"),
    ],
)
def test_uncountable_threshold_of_a_fleet_raises(settings, why):
    """What cannot be counted is an error with the remedy."""
    with pytest.raises(ConfigurationError, match=why):
        Threshold(**{"fleet": True, **settings})


def test_block_has_no_threshold_of_a_fleet():
    """A block is a part of one program."""
    with pytest.raises(ConfigurationError, match="block"):
        openai_meter.track("a", thresholds=[Threshold("calls", 1, fleet=True)])


@pytest.mark.parametrize("per", ["operation", "endpoint", "provider", "block", "tag", "tag:team", "session"])
def test_threshold_is_per_any_dimension(per):
    """Each value has the limit for itself; calls without one are not limited."""
    program = Program(thresholds=[Threshold("calls", 1, per=per)])
    with openai_meter.track("part"):
        program.ask(times=2, team="a", session="s", operation="o")
    (alert,) = program.meter.alerts
    assert alert.value == 2
    assert alert.message("en").startswith("⚠️ Alert: 2 API calls ")


def test_alert_and_threshold_are_copied_and_pickled(name):
    """The new fields survive; a state without them has their defaults."""
    import copy
    import pickle

    limit = Threshold("calls", 5, fleet=True)
    assert pickle.loads(pickle.dumps(limit)) == copy.deepcopy(limit) == limit
    program = Program(budgets=[Budget(name, calls=1)])
    program.ask()
    (alert,) = program.found()
    assert pickle.loads(pickle.dumps(alert)) == alert
    assert alert.at - datetime.now(UTC) < timedelta(minutes=1)
