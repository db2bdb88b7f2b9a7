"""Reports from a ledger: the same sums as a meter's, from roll-ups and from calls, in SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
import sqlalchemy
from ledger_calls import BASE, NOON, call, days
from ledgers import Database

import openai_meter
from openai_meter import Call, ConfigurationError, Meter, Usage
from openai_meter.core import dimensions
from openai_meter.core.totals import NOTHING
from openai_meter.errors import LedgerError
from openai_meter.ledger import Ledger, queries, rows, schema
from openai_meter.ledger.periods import PERIODS, Span
from openai_meter.pricing import Price, PriceBook

Fill = Callable[..., Ledger]


@pytest.fixture
def fill(database: Database) -> Iterator[Fill]:
    """Makes the ledger, with calls in it."""
    with contextlib.ExitStack() as stack:

        def make(*calls: Call) -> Ledger:
            ledger = database.ledger()
            stack.callback(ledger.close)
            ledger.import_calls(calls)
            return ledger

        yield make


CHOICES: dict[str, tuple[Any, ...]] = {
    "model": ("gpt-4o", "gpt-4o-2024-08-06", "o3", "", None),
    "agent": ("a", "(odd), 'name';--", "é\u2028", None),
    "operation": ("plan", None),
    "user": ("ann", "bob%", None),
    "session": ("s1", "s2", None),
    "endpoint": ("chat.completions", "images.generate"),
    "provider": ("openai", "azure"),
    "block": ("nightly", None),
    "tags": ({"env": "prod"}, {"env": "dev", "team": 'x"y_é'}, {"team": "prod"}, {}),
    "status": ("ok", "error", "failed", "aborted"),
    "usage": (
        Usage(10, 5, 15, cached_input_tokens=4), Usage(1000, None, 1000), Usage(), Usage(seconds=2.5), Usage(images=1),
        Usage(3_000_000_000, 1, 3_000_000_001, reasoning_tokens=1),
    ),
    "usage_source": ("api", "tiktoken", "none"),
}  # fmt: skip
COSTS = (
    {"cost_pico": 123_456, "cost_status": "priced"},
    {"cost_pico": 9 * 10**18, "cost_status": "priced"},
    {"cost_pico": Fraction(10**7, 3), "cost_status": "priced", "cost_estimated": True},
    {"cost_pico": 77, "cost_status": "partial", "cost_reason": "price: images"},
    {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown model"},
    {"cost_pico": 0, "cost_status": "free"},
)


def mixed(number: int, seed: int = 1) -> list[Call]:
    """Calls of every kind, over some days."""
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        values = {name: chance.choice(values) for name, values in CHOICES.items()}
        at = NOON + timedelta(microseconds=chance.randrange(6 * 86_400 * 10**6))
        made.append(call(at, **values, **chance.choice(COSTS)))
    return made


def expected(calls: list[Call], by: tuple[str, ...], zone: Any = UTC) -> dict[tuple[str, ...], Any]:
    """The totals per row as a meter counts them, with periods by the calendar."""
    sums: dict[tuple[str, ...], Any] = {}
    for one in calls:
        local = one.started_at.astimezone(zone)
        iso = local.isocalendar()
        ahead = "" if not local.utcoffset() else f"{local:%z}"
        periods = {
            "hour": f"{local:%Y-%m-%d %H}:00{ahead}",
            "day": f"{local:%Y-%m-%d}",
            "week": f"{iso.year}-W{iso.week:02}",
            "month": f"{local:%Y-%m}",
        }
        key = tuple(
            periods[name] if name in PERIODS else dimensions.checked((name,))[0](dimensions.combination(one))
            for name in by
        )
        sums[key] = sums.get(key, NOTHING).plus(one)
    return {key: one.totals() for key, one in sums.items()}


def found(ledger: Ledger, by: tuple[str, ...], **how: Any) -> dict[tuple[str, ...], Any]:
    return {row.key: row.totals for row in ledger.report(by, **how).rows}


GROUPINGS = [
    *((name,) for name in (*dimensions.DIMENSIONS, *PERIODS)),
    ("tag:env",),
    ("day", "model"),
    ("month", "agent", "user"),
    ("hour", "session"),
    ("week", "tag:team", "block"),
]


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_report_equals_the_totals_of_a_meter(fill: Fill, zone: str | None) -> None:
    """By whatever the rows are, in any timezone, each has the exact totals that a meter would have counted."""
    calls = mixed(300)
    ledger = fill(*calls)
    for by in GROUPINGS:
        report = ledger.report(by, timezone=zone)
        assert {row.key: row.totals for row in report.rows} == expected(calls, by, ZoneInfo(zone) if zone else UTC), by
        assert report.totals == expected(calls, ())[()]


def test_sums_beyond_64_bits_are_exact(fill: Fill) -> None:
    """Sums beyond 64 bits are exact; thirds of a pico-dollar add up to whole ones."""
    much = [replace(one, cost_pico=2**63 - 1) for one in days(5)]
    thirds = [call(cost_pico=Fraction(1, 3), agent="t") for _ in range(3)]
    ledger = fill(*much, *thirds)
    assert ledger.totals().cost_pico == 5 * (2**63 - 1) + 1
    assert found(ledger, ("session",))["(unattributed)",].cost_pico == 5 * (2**63 - 1) + 1
    assert ledger.totals(agent="t").cost_pico == 1


SPANS = [
    ("2026-03-05", "2026-03-07"),
    ("2026-03-05T06:00", "2026-03-05T18:00"),
    ("2026-03-05T06:00", "2026-03-07T18:00"),
    ("2026-03-05", None),
    (None, "2026-03-06T01:30"),
    ("2027-01-01", None),
]


@pytest.mark.parametrize(("since", "until"), SPANS)
def test_report_covers_exactly_its_span(fill: Fill, since: str | None, until: str | None) -> None:
    """From the first moment until before the last one, in days from roll-ups and their ends from calls."""
    calls = mixed(200)
    ledger = fill(*calls)
    for zone in (UTC, ZoneInfo("Asia/Kathmandu")):
        from openai_meter.ledger.periods import span_of

        span = span_of(since, until, zone)
        inside = [
            one for one in calls
            if (span.since is None or one.started_at >= span.since)
            and (span.until is None or one.started_at < span.until)
        ]  # fmt: skip
        for by in (("model",), ("day", "agent"), ("session",)):
            assert found(ledger, by, since=since, until=until, timezone=zone) == expected(inside, by, zone)
        assert [one.id for one in ledger.calls(since=since, until=until, timezone=zone)] == [
            one.id for one in sorted(inside, key=lambda one: (one.started_at, one.id))
        ]


FILTERS: list[tuple[dict[str, Any], Callable[[Call], bool]]] = [
    ({"agent": "a"}, lambda one: one.agent == "a"),
    ({"agent": ("a", None)}, lambda one: one.agent in {"a", None}),
    ({"agent": "(unattributed)"}, lambda one: one.agent is None),
    ({"agent": CHOICES["agent"][1]}, lambda one: one.agent == CHOICES["agent"][1]),
    ({"user": "bob%"}, lambda one: one.user == "bob%"),
    ({"user": "BOB%"}, lambda one: False),
    ({"model": "gpt-4o"}, lambda one: (one.model or "").startswith("gpt-4o")),
    ({"model": "gpt-4o-2024-08-06"}, lambda one: one.model == "gpt-4o-2024-08-06"),
    ({"model": (None,)}, lambda one: not one.model),
    ({"session": "s1", "provider": "azure"}, lambda one: (one.session, one.provider) == ("s1", "azure")),
    ({"tag": {"env": "prod"}}, lambda one: one.tags.get("env") == "prod"),
    ({"tag": {"team": 'x"y_é'}}, lambda one: one.tags.get("team") == 'x"y_é'),
    ({"tag": {"env": ("prod", None)}}, lambda one: one.tags.get("env") in {"prod", None}),
    ({"tag": {"env": "dev", "team": "prod"}}, lambda one: False),
    ({"block": "nightly", "operation": "plan", "endpoint": "images.generate"},
     lambda one: (one.block, one.operation, one.endpoint) == ("nightly", "plan", "images.generate")),
    ({"agent": None}, lambda one: True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "counts"), FILTERS, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_filter_keeps_exactly_the_named_calls(
    fill: Fill, filters: dict[str, Any], counts: Callable[[Call], bool]
) -> None:
    """A filter selects exactly the calls that match, in sums and in the calls themselves."""
    calls = mixed(250)
    kept = [one for one in calls if counts(one)]
    ledger = fill(*calls)
    for by in (("model",), ("day", "session"), ("tag:env",)):
        assert found(ledger, by, **filters) == expected(kept, by)
    assert {one.id for one in ledger.calls(**filters)} == {one.id for one in kept}
    assert sum(one.calls for one in ledger.report("day", **filters).unpriced) == sum(
        one.cost_status in {"unpriced", "partial"} for one in kept
    )


def test_whole_days_are_read_from_roll_ups(fill: Fill) -> None:
    """Days in UTC are read from the roll-ups: their sums are there even where the calls were deleted."""
    ledger = fill(*days(3, agent="a"), *days(2))
    with ledger.engine.begin() as connection:
        connection.execute(sqlalchemy.delete(schema.call_rows))
    assert [row.totals.calls for row in ledger.report("day").rows] == [2, 2, 1]
    assert ledger.report("day,model", agent="a", since="2026-03-05").totals.calls == 2
    assert ledger.report("month", timezone="Etc/UTC").totals.calls == 5
    assert ledger.report("model", since="2026-03-05T00:00", until="2026-03-06T00:00").totals.calls == 2


def test_rows_are_ordered_by_time_then_cost(fill: Fill) -> None:
    """Periods stand in the order of time, everything else by cost; what belongs together stays together."""
    cheap, dear = {"cost_pico": 1, "model": "x"}, {"cost_pico": 5, "model": "y"}
    ledger = fill(*days(2, **cheap), *days(1, **dear), *days(2, NOON - timedelta(days=1), **dear))
    assert [row.key for row in ledger.report("day,model").rows] == [
        ("2026-03-03", "y"), ("2026-03-04", "y"), ("2026-03-04", "x"), ("2026-03-05", "x"),
    ]  # fmt: skip
    assert next(row.key for row in ledger.report("model,day").rows) == ("y", "2026-03-03")


def test_report_renders_in_every_format(fill: Fill) -> None:
    """A report from history is one like any other: it is shown in all forms, and goes through JSON and back."""
    report = fill(*mixed(40)).report("day,tag", since="2026-03-01", until="2026-03-31")
    assert openai_meter.Report.from_dict(json.loads(report.render("json"))) == report
    for form in ("table", "tree", "markdown", "line", "csv"):
        assert report.render(form)
    assert report.render("table", lang="fr").splitlines()[1].startswith("Jour")
    assert (report.since, report.until) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


def test_empty_ledger_reports_zero(fill: Fill) -> None:
    """The report has no row, and zero calls cost nothing."""
    ledger = fill()
    report = ledger.report("hour", timezone="Europe/Paris")
    assert (report.rows, report.totals.calls, report.totals.cost) == ((), 0, 0)
    assert (list(ledger.calls()), ledger.prune("today"), ledger.reprice(), ledger.model_stats()) == ([], 0, 0, {})
    assert ledger.forecast().expected is None
    assert ledger.compare("2026-01", "2026-02").difference == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"by": "hours"}, r"no totals by 'hours'; .*by hour, day, week, month"),
        ({"by": ""}, "names no dimension"),
        ({"since": "soon"}, "since='soon' is not a time"),
        ({"timezone": "Mars"}, "timezone='Mars' is not known"),
        ({"agents": "a"}, "there is no filter 'agents'; filter by one of model, agent"),
        ({"agent": 3}, "agent=3 is not a filter"),
        ({"agent": ()}, "is not a filter"),
        ({"tag": "env=prod"}, "is not a mapping; pass a mapping"),
        ({"since": "2026-02", "until": "2026-01"}, "is not after"),
    ],
)
def test_wrong_query_raises(fill: Fill, how: dict[str, Any], why: str) -> None:
    """The error of a query that cannot be understood has the values that can be used."""
    with pytest.raises(ConfigurationError, match=why):
        fill().report(**how)


def test_calls_are_read_page_by_page_unchanged(fill: Fill) -> None:
    """Calls are read a page at a time, in the order in which they began, and are what was stored."""
    calls = [one for one in mixed(2_600) if (one.cost_pico or 0) < 10**18]  # a day holds 9.2 million dollars
    same = [replace(one, id=f"{number:05}", started_at=NOON) for number, one in enumerate(calls)]
    assert len(same) > 2_000
    ledger = fill(*same)
    assert list(ledger.calls()) == same
    some = ledger.calls()
    assert [one.id for one in itertools.islice(some, 2)] == ["00000", "00001"]
    assert ledger.import_calls(same) == 0


# --- pruning ----------------------------------------------------------------------------------------------------------


def test_prune_keeps_the_sums(fill: Fill) -> None:
    """Details before a day are deleted, all sums stay; sums that need the details are in one row."""
    calls = mixed(300)
    ledger = fill(*calls)
    old = [one for one in calls if one.started_at < datetime(2026, 3, 7, tzinfo=UTC)]
    new = [one for one in calls if one not in old]
    assert ledger.prune("2026-03-07T13:00") == len(old)
    assert ledger.prune("2026-03-07") == 0
    assert {one.id for one in ledger.calls()} == {one.id for one in new}
    for by in (("day", "model"), ("agent", "user"), ("month",), ("block",)):
        assert found(ledger, by) == expected(calls, by)
    sessions = found(ledger, ("session",))
    assert sessions.pop(("(pruned)",)) == expected(old, ())[()]
    assert sessions == expected(new, ("session",))
    days_of_tags = found(ledger, ("day", "tag:env"))
    assert days_of_tags["2026-03-05", "(pruned)"].calls == expected(old, ("day",))["2026-03-05",].calls
    hours = found(ledger, ("hour", "model"), timezone="Europe/Paris")
    assert hours["(pruned)", "o3"] == expected(old, ("model",))["o3",]
    assert ledger.report("session").totals == expected(calls, ())[()]


def test_query_into_pruned_details_raises(fill: Fill) -> None:
    """The error has the first day for which the query can be answered."""
    ledger = fill(*days(5, session="s"))
    ledger.prune("2026-03-06")
    for how in ({"session": "s"}, {"tag": {"env": "x"}}, {"since": "2026-03-05T06:00"}, {"until": "2026-03-05T18:00"}):
        with pytest.raises(ConfigurationError, match=r"before 2026-03-06 were pruned.*use since='2026-03-06'"):
            ledger.report("day", **how)
    assert ledger.report("day", session="s", since="2026-03-06").totals.calls == 3
    assert ledger.report("session", since="2026-03-05", until="2026-03-05").rows[0].key == ("(pruned)",)


# --- prices again -----------------------------------------------------------------------------------------------------


def test_reprice_prices_unpriced_calls_only(fill: Fill) -> None:
    """A call without a price gets that of its day, in the calls and in the sums; no other call is changed."""
    unknown = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown model", "price_source": None}
    mine = [call(model="mine", requested_model="mine", agent=name, **unknown) for name in ("a", "b", None)]
    lost = call(model="lost", requested_model="lost", **unknown)
    ledger = fill(*mine, lost, *days(3))
    assert ledger.totals().unpriced_calls == 4
    book = PriceBook(prices={"mine": Price(input=1, output=2)})
    assert ledger.reprice(book, since="2026-03-05") == 0
    assert ledger.reprice(book) == 3
    assert ledger.reprice(book) == 0
    after = list(ledger.calls())
    assert {one.cost_pico for one in after if one.model == "mine"} == {200_000_000}
    assert {one.price_source for one in after if one.model == "mine"} == {"override"}
    for by in (("day", "model", "agent"), ("session",)):
        assert found(ledger, by) == expected(after, by)
    assert [one[:3] for one in ledger.report().unpriced] == [("lost", "unknown model", 1)]


def test_concurrent_reprice_counts_once(fill: Fill) -> None:
    """A call that another process has priced meanwhile is skipped: no sum has it twice."""
    from openai_meter.ledger import corrections

    one = call(model="mine", cost_pico=None, cost_status="unpriced", cost_reason="unknown model")
    ledger = fill(one)
    after = replace(one, cost_pico=5, cost_status="priced", cost_reason=None)
    for done in (1, 0):
        with ledger._writing() as connection:
            assert corrections._replace(connection, [(one, after)]) == done
    assert ledger.totals() == expected([after], ())[()]


# --- forecasts, comparisons, stats ------------------------------------------------------------------------------------


def test_month_forecast_continues_daily_cost(fill: Fill) -> None:
    """A dollar a day at noon: what was spent, and a dollar for each day to come."""
    now = NOON + timedelta(days=11)  # the 15th, at noon: today's call has not begun
    ledger = fill(*days(30, NOON - timedelta(days=19), cost_pico=10**12))
    forecast = ledger._forecast("month", UTC, queries.Filters(), now)
    assert (forecast.since, forecast.until) == (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    assert (forecast.spent, forecast.expected, forecast.days) == (14, 14 + 16.5, 30)
    assert forecast.low == forecast.high == forecast.expected
    assert forecast.to_dict()["expected"] == "30.500000"
    week = ledger._forecast("week", ZoneInfo("Europe/Paris"), queries.Filters(), now)
    assert week.since == datetime(2026, 3, 8, 23, tzinfo=UTC)
    with pytest.raises(ConfigurationError, match="use day, week or month"):
        ledger.forecast("year")


def test_compare_takes_every_form_of_part(fill: Fill) -> None:
    """Periods, blocks and versions of a prompt are compared; the causes sum up to the difference."""
    v1 = [call(tags={"prompt": "v1"}, block="x") for _ in range(4)]
    v2 = [
        call(NOON + timedelta(days=1), tags={"prompt": "v2"}, usage=Usage(150, 75, 225), cost_pico=67_500_000)
        for _ in range(4)
    ]
    ledger = fill(*v1, *v2)
    parts: list[tuple[Any, Any]] = [
        ("2026-03-04", "2026-03-05"),
        ("tag:prompt=v1", "tag:prompt=v2"),
        ({"tag": {"prompt": "v1"}}, {"tag": {"prompt": "v2"}, "since": "2026-03"}),
        (("2026-03-01", "2026-03-04"), ("2026-03-05", None)),
        ("2026-03-01..2026-03-04", "2026-03-05.."),
        ("block=x", "block=(no block)"),
    ]
    for a, b in parts:
        compared = ledger.compare(a, b)
        assert compared.causes == (0, 0, 90_000_000, 0)
        assert compared.b.per_call("total_tokens") == 225
        assert json.loads(json.dumps(compared.to_dict()))["difference"] == "0.00009"
    assert ledger.compare("2026-03-04", "7d").b.totals.calls == 0
    for wrong in ("", 3, "x=y", "soon", ("a",)):
        with pytest.raises(ConfigurationError):
            ledger.compare(wrong, "2026-03-05")


def test_model_stats_cover_the_whole_ledger(fill: Fill) -> None:
    """The stats per model, and the summary, are those of everything in the ledger."""
    ledger = fill(*days(2), call(model="o3", status="error", usage=Usage(), cost_pico=0, cost_status="free"))
    stats = ledger.model_stats()
    assert {model: (one.total_calls, one.error_count) for model, one in stats.items()} == {
        "gpt-4o-mini-2024-07-18": (2, 0), "o3": (1, 1),
    }  # fmt: skip
    assert ledger.summary() == "3 calls | 300 tokens | $0.0000900 | 1 error"


def test_meter_stats_of_fleet_read_the_ledger(database: Database) -> None:
    """The stats of a meter are its own, or those of all that is in its ledger, its own last calls included."""
    before = database.ledger()
    before.import_calls(days(3))
    before.close()
    meter = Meter()
    with pytest.raises(ConfigurationError, match="needs a ledger"):
        meter.stats(scope="fleet")
    meter._keep(database.ledger(flush_interval=60))
    assert meter.ledger is not None
    meter._take(call(model="o3"))
    assert {model: one.total_calls for model, one in meter.stats().items()} == {"o3": 1}
    fleet = meter.stats(scope="fleet")
    assert {model: one.total_calls for model, one in fleet.items()} == {"gpt-4o-mini-2024-07-18": 3, "o3": 1}
    with pytest.raises(ConfigurationError, match="scope='world' is not known"):
        meter.stats(scope="world")
    meter.ledger.close()


def test_report_includes_calls_just_added(database: Database) -> None:
    """Reading waits for what this process has added."""
    ledger = database.ledger(flush_interval=60)
    try:
        ledger.add(call())
        assert ledger.report().totals.calls == 1
    finally:
        ledger.close()


def test_unreachable_database_raises_without_password(tmp_path: Path) -> None:
    """Reading raises with a sentence that has no password."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: this is NOT tested")
    ledger = Ledger("postgresql://me:secret@127.0.0.1:1/none", spool=tmp_path / "spool")
    with pytest.raises(LedgerError) as error:
        ledger.report()
    assert "secret" not in str(error.value)


def test_unpriced_calls_are_found_by_index(sqlite: Database) -> None:
    """Calls without a price are found by an index, not by a scan of all calls. Of SQLite alone: PostgreSQL scans
    a small table, whatever indexes it has.
    """
    statement = sqlalchemy.select(schema.calls).where(queries.WITHOUT_PRICE, *queries.within(Span(NOON, None)))
    with contextlib.closing(sqlite.ledger()) as ledger:
        ledger.import_calls(days(3))
        with ledger._reading() as connection:
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement.compile(connection, compile_kwargs={'literal_binds': True})}"
            ).all()
    assert "calls_not_priced" in str(plan)


def test_sample_call_survives_a_round_trip() -> None:
    """The calls of these tests can be stored as they are."""
    assert rows.from_row(dict(zip(rows.COLUMNS, rows.to_row(BASE), strict=True))) == BASE
