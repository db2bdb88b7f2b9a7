"""The roll-ups that are filled in the background: every call is in each of them once, or is read by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from ledger_calls import call
from ledgers import Database
from sqlalchemy import event

from openai_meter import Call, Usage
from openai_meter.cli import ledger as cli_ledger
from openai_meter.core.totals import summed
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import Ledger, corrections, largest_rows, plans, queries, roll_ups
from openai_meter.ledger.filters import make_filters
from openai_meter.ledger.periods import Span
from openai_meter.pricing import Price, PriceBook

START = datetime(2026, 3, 27, 22, 17, tzinfo=UTC)  # the clocks of Europe are put forward two days later


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of few calls, so that a small ledger needs many."""
    monkeypatch.setattr(roll_ups, "STEP", 20)


@pytest.fixture
def ledger(database: Database, small_steps: None) -> Iterator[Ledger]:
    ledger = database.ledger()
    ledger.prepare()
    yield ledger
    ledger.close()


def some(number: int, seed: int = 1) -> list[Call]:
    """Calls of some weeks, in no order."""
    chance = random.Random(seed)
    return [
        call(
            START + timedelta(minutes=chance.randrange(50 * 24 * 60), seconds=n),
            model=f"gpt-{n % 3}", agent=f"a{n % 2}", user=chance.choice(("ann", "bob", "", None)),
            session=f"s{n // 9}" if n % 5 else None, tags={"env": "prod", "n": f"{n % 4}"} if n % 3 else {},
            cost_pico=chance.randrange(10**12), usage=Usage(n, 1, n + 1, seconds=n / 8),
        )
        for n in range(number)
    ]  # fmt: skip


BY = (
    ("model",), ("user",), ("session",), ("tag:env",), ("tag",), ("day",), ("hour",), ("week", "agent"),
    ("month", "user"), ("month", "session"), ("user", "model"), ("day", "tag:env"), ("session", "user"),
)  # fmt: skip
SPANS = (
    Span(None, None),
    Span(datetime(2026, 4, 2, 3, 17, tzinfo=UTC), datetime(2026, 5, 3, 5, 45, 7, tzinfo=UTC)),
    Span(datetime(2026, 4, 1, tzinfo=UTC), None),
)
ZONES = (UTC, ZoneInfo("Europe/Paris"), ZoneInfo("Asia/Kathmandu"))
FILTERS: tuple[dict[str, Any], ...] = ({}, {"user": ("ann", None)}, {"tag": {"env": "prod"}}, {"model": "gpt-1"})


def answers(ledger: Ledger) -> dict[Any, Any]:
    """The sums of many queries."""
    found = {}
    with ledger._reading() as connection:
        for by, span, zone, filters in product(BY, SPANS, ZONES, FILTERS):
            query = queries.Query(by, span, zone, make_filters(filters))
            found[by, span, zone, str(filters)] = queries.run_query(connection, query)
    return found


def test_roll_ups_give_the_same_sums_as_the_calls(ledger, monkeypatch):
    """For every query the sums equal those of a read of each call, also with calls that came late."""
    given = some(150)
    ledger.import_calls(given[:100])
    assert ledger.roll_up() == 0  # the import has done it
    ledger.import_calls(given[100:])
    with ledger._reading() as connection:
        assert roll_ups.read_marks(connection).until > roll_ups.DAY_US
    found = answers(ledger)
    monkeypatch.setattr(plans, "_LEVELS", ())
    assert found == answers(ledger)


@pytest.mark.parametrize("by", ["user", "session", "tag:env", "month,session"])
def test_report_by_user_session_or_tag_reads_few_calls(ledger, by):
    """A report on all of the time reads the calls after the mark only."""
    ledger.import_calls(some(150))
    ledger.roll_up()
    with ledger._reading() as connection:
        mark = roll_ups.read_marks(connection).until
        plan = queries.plan(connection, queries.Query(tuple(by.split(","))), (queries.Segment(None, 0),))
    assert [piece.since for piece in plan if piece.level is None] == [mark]


def test_repriced_call_has_its_new_price_in_the_roll_ups(ledger, monkeypatch):
    """A call that is priced again has its new price in every sum."""
    unknown = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "unknown model"}
    ledger.import_calls([replace(one, model="mine", **unknown) if n % 2 else one for n, one in enumerate(some(60))])
    assert ledger.reprice(PriceBook(prices={"mine": Price(input=1, output=2)})) == 30
    found = answers(ledger)
    monkeypatch.setattr(plans, "_LEVELS", ())
    assert found == answers(ledger)


def test_pruned_days_keep_their_sums_by_user(ledger):
    """After a prune, users have their sums; sessions and tags of the pruned days are gone, also from the disk."""
    given = some(100)
    ledger.import_calls(given)
    before = {row.key: row.totals for row in ledger.report("user,model").rows}
    months = {row.key: row.totals for row in ledger.report("month,user").rows}
    assert ledger.prune("2026-04-20") > 0
    assert {row.key: row.totals for row in ledger.report("user,model").rows} == before
    assert {row.key: row.totals for row in ledger.report("month,user").rows} == months
    assert ledger.report("session").rows[0].key == ("(pruned)",)
    with ledger._reading() as connection:
        oldest = {
            one.name: connection.exec_driver_sql(f"SELECT min({one.period}) FROM {one.name}").scalar()
            for one in roll_ups.LATER_ROLL_UPS
        }
    assert (oldest["daily_sessions"], oldest["daily_tags"], oldest["daily_users"]) >= (
        "2026-04-20", "2026-04-20", "2026-03-27",
    )  # fmt: skip
    assert oldest["half_hourly_models"] >= datetime(2026, 4, 20, tzinfo=UTC).timestamp() * 1e6


def test_call_stored_after_its_day_was_pruned_counts_once(ledger):
    """It is in the sums of its day, and not counted again as a call."""
    given = some(60)
    ledger.import_calls(given)
    ledger.prune("2026-05-01")
    ledger.import_calls([call(datetime(2026, 4, 3, 12, tzinfo=UTC), session="late")])
    for by in ("session", "user", "model", "session,user"):
        assert ledger.report(by).totals.calls == 61, by


def test_roll_up_with_as_many_rows_as_calls_is_not_kept(ledger):
    """Where nearly each call has its own session, there are no sums by session, and reports stay exact."""
    given = [replace(one, session=f"own-{n}") for n, one in enumerate(some(100))]
    ledger.import_calls(given)
    with ledger._reading() as connection:
        assert "sessions" in roll_ups.read_marks(connection).since
        assert connection.exec_driver_sql("SELECT count(*) FROM monthly_sessions").scalar() == 0
    assert ledger.report("session").totals.calls == 100
    assert len(ledger.report("session").rows) == 100


def test_failed_step_changes_nothing(ledger, monkeypatch):
    """A step is one transaction: a failure in its middle leaves neither sums nor a mark, and the step is repeated
    later.
    """
    monkeypatch.setattr(corrections.roll_ups, "roll_up", lambda *_, **__: 0)
    ledger.import_calls(some(100))
    monkeypatch.undo()
    monkeypatch.setattr(roll_ups, "STEP", 20)
    real = roll_ups.set_mark

    def broken(*_: Any) -> None:
        raise RuntimeError("the process ends here")

    monkeypatch.setattr(roll_ups, "set_mark", broken)
    with pytest.raises(RuntimeError):
        ledger.roll_up()
    with ledger._reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM monthly_users").scalar() == 0
    monkeypatch.setattr(roll_ups, "set_mark", real)
    seen: list[int] = []
    assert ledger.roll_up(seen.append) == 80
    assert seen == [20, 40, 60, 80]
    assert ledger.report("user").totals.calls == 100


def test_writer_fills_the_roll_ups_in_the_background(database, small_steps):
    """A program that only adds calls has its roll-ups filled."""
    ledger = database.ledger()
    made: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *args: made.append(args[2]))
    for one in some(100):
        ledger.add(one)
    assert ledger.flush()
    with ledger._writer._doing:  # the round of the flush has ended, its step included
        pass
    ledger.close()
    assert any("INSERT INTO monthly_sessions" in statement for statement in made)


def test_failed_step_does_not_stop_the_writer(sqlite, small_steps, caplog):
    """A roll-up that cannot be written stays behind; calls are stored as before."""
    ledger = sqlite.ledger()
    ledger.prepare()
    sqlite.run("DROP TABLE daily_tags")
    for one in some(50):
        ledger.add(one)
    assert ledger.flush()
    ledger.close()
    assert (sqlite.count(), ledger.stats.away, ledger.stats.written) == (50, False, 50)


# --- many users -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_rows_beyond_the_limit_are_summed_in_one_row(ledger, limit):
    """The rows with the highest cost are exact; the others add up to the totals, in one row of others."""
    ledger.import_calls(some(100))
    for by, zone, filters in product(
        (("user",), ("session",), ("month", "session"), ("session", "model")), ZONES, FILTERS
    ):
        query = queries.Query(by, Span(None, None), zone, make_filters(filters))
        with ledger._reading() as connection:
            whole = queries.run_query(connection, query)
            found = largest_rows.run_limited(connection, query, limit)
        shown = {key: total for key, total in found.items() if not any(name.startswith("(other ") for name in key)}
        assert summed(found.values()) == summed(whole.values())
        assert shown.items() <= whole.items()
        if by == ("session",):
            dearest = sorted(whole.values(), key=lambda total: -total.cost)[:limit]
            assert sorted(total.cost for total in shown.values()) == sorted(total.cost for total in dearest)


def test_report_has_a_row_of_other_sessions(ledger):
    """A report by session lists those with the highest cost, and has a row for the others."""
    ledger.import_calls(some(100))
    report = ledger.report("session", max_rows=2)
    assert len(report.rows) == 3
    assert ("(other sessions)",) in {row.key for row in report.rows}
    assert report.totals.calls == 100


# --- ledgers of an earlier version ------------------------------------------------------------------------------------


def test_older_ledger_is_rolled_up_in_steps(database, small_steps):
    """A ledger of an earlier version answers at once; the new sums are made step by step, and the old table
    is removed."""
    ledger = database.ledger()
    ledger.import_calls(some(100))
    expected = {by: ledger.report(by).rows for by in ("user", "session", "tag:env", "user,model")}
    ledger.close()
    database.make_old(6)
    ledger = database.ledger()
    ledger.prepare()
    assert {by: ledger.report(by).rows for by in expected} == expected
    while ledger.roll_up():
        pass
    assert {by: ledger.report(by).rows for by in expected} == expected
    names = {row[0] for row in database.query(
        "SELECT table_name FROM information_schema.tables" if database.postgres else "SELECT name FROM sqlite_master"
    )}  # fmt: skip
    assert not {"daily", "daily_old"} & names or database.postgres
    ledger.close()


def test_older_ledger_keeps_pruned_sums_by_user(database, small_steps):
    """Days that were pruned before have their sums by user, calls that were stored later included."""
    ledger = database.ledger()
    ledger.import_calls(some(100))
    ledger.prune("2026-04-20")
    ledger.import_calls([call(datetime(2026, 4, 3, 12, tzinfo=UTC), user="late")])
    expected = {by: ledger.report(by).rows for by in ("user", "user,model", "month,user", "day")}
    ledger.close()
    database.make_old(6)
    ledger = database.ledger()
    ledger.roll_up()
    assert {by: ledger.report(by).rows for by in expected} == expected
    with pytest.raises(ConfigurationError, match="were pruned"):
        ledger.report("day", session="s1")
    ledger.close()


def test_report_command_shows_the_progress_of_roll_ups(sqlite, small_steps, monkeypatch, capsys):
    """On a terminal, the command shows what takes its time after an update, and removes the line at the end."""
    ledger = sqlite.ledger()
    ledger.import_calls(some(60))
    ledger.close()
    sqlite.make_old(6)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    ledger = sqlite.ledger()
    cli_ledger.roll_up(ledger, "en")
    cli_ledger.roll_up(ledger, "en")  # nothing is left to do, nor to say
    ledger.close()
    lines = capsys.readouterr().err.split("\r")
    assert lines == ["", *(f"summing up {n} calls, once after an update ..." for n in (20, 40)), "\x1b[K"]
