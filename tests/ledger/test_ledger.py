"""The ledger: what is put in is there, once, and the sums by day are its sums; over SQLite and PostgreSQL alike."""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import contract
import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from hypothesis import given
from hypothesis import strategies as st
from ledgers import START, call, calls, program, thirds, together
from sqlalchemy import func, inspect, select

import openai_meter
from openai_meter import ConfigurationError, Usage
from openai_meter.core import faults
from openai_meter.errors import LedgerError, LedgerUnavailableError
from openai_meter.ledger import Ledger, migrations, rows, schema
from openai_meter.ledger import database as databases
from openai_meter.ledger.database import writing
from openai_meter.ledger.filters import make_filters
from openai_meter.ledger.inserting import add_to_totals, rolled
from openai_meter.ledger.recent_calls import latest
from openai_meter.metering.store import Store


def read(database):
    ledger = database.ledger()
    with ledger.engine.connect() as connection:
        found = [rows.from_row(row._mapping) for row in connection.execute(schema.calls.select().order_by("id"))]
    ledger.close()
    return found


# --- what is put in ---------------------------------------------------------------------------------------------------


def test_stored_calls_equal_the_added_calls(database):
    """Every call comes back as it was put in, and the sums by day are those of the calls."""
    ledger = database.ledger()
    given = [*calls(50), call(51, usage=Usage(), usage_source="none", cost_pico=None, cost_status="unpriced")]
    for one in given:
        ledger.add(one)
    assert ledger.flush()
    assert ledger.stats.written == 51
    ledger.close()
    assert read(database) == sorted(given, key=lambda one: one.id)
    database.check_sums()


def test_call_with_all_fields_is_stored_completely(database):
    """All stored fields are read back, with the facts that its price depends on; fields that are kept in memory only
    are not.
    """
    facts = {
        "web_search_tool": "web_search", "image_usage": Usage(1, 2, 3), "provider_cost": Decimal("0.10"),
        "svg_usage": (("m", Usage(4, 5, 9)),), "size": "x" * 1000,
    }  # fmt: skip
    whole = call(
        1, usage=Usage(*range(1, 14), 1.234567891, 15, 16, 17, 18, 19, inconsistent=True), time_to_first_token=0.1,
        usage_unknown=("reasoning", "file"), response_id="resp_1", service_tier="flex", stream=True,
        error_type="Oops", cost_reason="why", operation="op", block="b", price_facts=facts,
    )  # fmt: skip
    ledger = database.ledger()
    ledger.add(whole)
    ledger.close()
    (found,) = read(database)
    assert found == whole
    assert found.price_facts == {name: value for name, value in facts.items() if name != "size"}
    assert (found.evidence, found.price_book) == (None, None)


def test_money_is_exact(database):
    """Whole pico-dollars and fractions of them come back exactly, and their sums are exact to a part of REST."""
    given = [call(n, cost_pico=thirds(n), started_at=datetime(2026, 1, 1, tzinfo=UTC)) for n in range(40)]
    ledger = database.ledger()
    for one in given:
        ledger.add(one)
    ledger.close()
    assert [one.cost_pico for one in read(database)] == [one.cost_pico for one in sorted(given, key=lambda one: one.id)]
    ((pico, rest),) = database.query(
        "SELECT sum(cost_micro) * 1000000 + sum(cost_pico), sum(cost_rest) FROM daily_totals"
    )
    exact = sum(one.cost_pico for one in given)
    assert abs(schema.money(pico, rest) - exact) <= Fraction(40, 2 * schema.REST)
    decimal = [one for n, one in enumerate(given) if n % 5 != 3]  # sevenths are no whole number of parts
    assert all(rows.to_row(one)[rows.COLUMNS.index("cost_exact")] is None for one in decimal)
    database.check_sums()


@given(
    st.lists(
        st.fractions(min_value=0, max_value=10**15, max_denominator=60) | st.integers(0, 10**15),
        min_size=1,
        max_size=20,
    )
)
def test_money_split_into_columns_is_exact(amounts):
    """Any amount is the same after it was split into columns; sums of columns are sums of amounts."""
    one = call()
    split = [rows.to_row(replace(one, cost_pico=amount)) for amount in amounts]
    at = rows.COLUMNS.index("cost_pico")
    assert [rows.from_row(dict(zip(rows.COLUMNS, row, strict=True))).cost_pico for row in split] == amounts
    whole = schema.money(sum(row[at] for row in split), sum(row[at + 1] for row in split))
    assert abs(whole - sum(amounts)) <= Fraction(len(amounts), schema.REST)


def test_sum_beyond_64_bits_is_exact_on_sqlite(sqlite):
    """A sum beyond 64 bits can be read from SQLite."""
    ledger = sqlite.ledger()
    for n in range(4):
        ledger.add(call(n, cost_pico=4 * 10**18))
    ledger.close()
    high, low = schema.halves(schema.calls.c.cost_pico)
    ledger = sqlite.ledger()
    with ledger.engine.connect() as connection:
        ((whole, rest),) = connection.execute(select(func.sum(high), func.sum(low)))
    ledger.close()
    assert whole * 1_000_000 + rest == 16 * 10**18


def test_repeated_id_is_stored_once(database):
    """A call that is added again, alone or with new ones, changes neither the calls nor the sums."""
    ledger = database.ledger()
    given = calls(10)
    for one in (*given, *given):
        ledger.add(one)
    assert ledger.flush()
    for one in (*given[:5], *calls(5, start=20)):
        ledger.add(one)
    ledger.close()
    assert database.count() == ledger.stats.written == 15
    database.check_sums()


def test_roll_up_sums_equal_the_totals_of_a_meter(database):
    """The sums by day add up to what a meter's memory says of the same calls."""
    given = [*calls(60), *(call(n, usage=Usage(seconds=1.5), usage_source="none") for n in range(3))]
    store = Store()
    ledger = database.ledger()
    for one in given:
        store.add(one)
        ledger.add(one)
    ledger.close()
    totals = store.totals()
    names = "calls", "errors", "unmeasured_calls", "estimated_calls", "unpriced_calls"
    counts = "input_tokens", "output_tokens", "total_tokens", "cached_input_tokens"
    money = [f"sum({name}_micro) * 1000000 + sum({name}_pico)" for name in ("cost", "estimated_cost")]
    sums = ", ".join([*(f"sum({name})" for name in (*names, *counts)), *money, "sum(seconds_us)"])
    (found,) = database.query(f"SELECT {sums} FROM daily_totals")
    assert found == (
        *(getattr(totals, name) for name in (*names, *counts)),
        totals.cost_pico, totals.estimated_cost_pico, totals.seconds * 1_000_000,
    )  # fmt: skip


def test_roll_up_with_a_minus_restores_the_sums(database):
    """Calls that are added and then subtracted leave the sums as they were; repricing relies on this."""
    ledger = database.ledger()
    before = call(1, cost_pico=None, cost_status="unpriced")
    ledger.add(before)
    ledger.flush()
    after = replace(before, cost_pico=7, cost_status="priced")
    with writing(ledger.engine) as connection:
        add_to_totals(connection, rolled([rows.to_row(before)], -1))
        add_to_totals(connection, rolled([rows.to_row(after)]))
    ledger.close()
    assert database.query("SELECT calls, cost_pico, unpriced_calls, costless_calls FROM daily_totals") == [(1, 7, 0, 0)]


def test_text_that_databases_refuse_is_cleaned(database):
    """Texts that a database would refuse are stored without what it refuses; the others as they are."""
    values = {"agent": "nul\0here", "user": "half \ud800 pair", "operation": "'; DROP TABLE calls; --"}
    odd = call(1, session="", model="日本", **values)
    ledger = database.ledger()
    ledger.add(odd)
    ledger.add(call(2, agent="x" * 100_000, tags={"a\0": "b\udfff", "%s": "%(x)s"}))
    ledger.close()
    one, other = sorted(read(database), key=lambda found: found.started_at)
    assert (one.agent, one.user, one.session, one.operation, one.model) == (
        "nulhere", "half ? pair", "", "'; DROP TABLE calls; --", "日本",
    )  # fmt: skip
    assert (len(other.agent), other.tags) == (100_000, {"a": "b?", "%s": "%(x)s"})
    database.check_sums()


@pytest.mark.parametrize(
    "more",
    [{"cost_pico": 2**63}, {"usage": Usage(2**64, 0, 0)}, {"id": "x" * 201}, {"duration": math.nan}],
    ids=lambda more: next(iter(more)),
)
def test_call_that_no_column_holds_is_refused(database, more, caplog):
    """A call that cannot be stored is counted and logged, and the others are stored."""
    ledger = database.ledger()
    for one in (call(1), call(2, **more), call(3)):
        ledger.add(one)
    ledger.close()
    assert (ledger.stats.written, ledger.stats.refused, database.count()) == (2, 1, 2)
    assert "cannot be kept" in caplog.text


# --- schema and migrations --------------------------------------------------------------------------------------------


def test_migrations_produce_the_schema(database):
    """The tables that the migrations make are those of schema.py: columns, types, keys, indexes."""
    ledger = database.ledger()
    ledger.prepare()
    looking = inspect(ledger.engine)
    for table in schema.metadata.sorted_tables:
        found = {one["name"]: (str(one["type"]), one["nullable"]) for one in looking.get_columns(table.name)}
        values = {one.name: (one.type.compile(ledger.engine.dialect), one.nullable) for one in table.columns}
        assert found == values or {**found, **values} == values
        roll_up = next((one for one in schema.LATER_ROLL_UPS if one.table is table), None)
        key = looking.get_pk_constraint(table.name)["constrained_columns"]
        if roll_up is not None:  # the key of these is an index over a hash in PostgreSQL, which SQLAlchemy cannot read
            assert key == ([] if database.postgres else [roll_up.period, *roll_up.dimensions])
            continue
        assert key == [one.name for one in table.primary_key]
        indexes = {one["name"]: one["column_names"] for one in looking.get_indexes(table.name)}
        assert indexes == {one.name: [column.name for column in one.columns] for one in table.indexes}
    ledger.close()


def test_migrations_are_applied_once(database):
    """Each step is recorded, and a second opening changes nothing."""
    for _ in range(2):
        ledger = database.ledger()
        ledger.prepare()
        ledger.close()
    assert database.query(f"SELECT version, name FROM {schema.MIGRATIONS}") == [
        (number, step.__name__.lstrip("_")) for number, step in enumerate(migrations.MIGRATIONS, 1)
    ]


def test_calls_with_an_old_status_get_the_new_one(database):
    """Rows, spool lines and filters with the status ``cut`` of an earlier version are read as ``aborted``."""
    ledger = database.ledger()
    given = [call(0), call(1, status="aborted"), call(2, status="aborted")]
    ledger.add(given[0])
    ledger.add(given[1])
    ledger.close()
    database.make_old(1)
    database.run("UPDATE calls SET status = 'cut' WHERE status = 'aborted'")
    line = rows.encode_line(rows.to_row(given[2])).replace(b'"aborted"', b'"cut"')
    database.spool.mkdir(exist_ok=True)
    (database.spool / "00000000000000000001-1-aa.jsonl").write_bytes(line)
    ledger = database.ledger()
    ledger.prepare()
    assert ledger.flush()
    assert database.query("SELECT status, count(*) FROM calls GROUP BY status ORDER BY status") == [
        ("aborted", 2), ("ok", 1),
    ]  # fmt: skip
    with pytest.warns(DeprecationWarning, match="aborted"):
        found, _ = latest(ledger, 10, None, make_filters({}), ["cut"])
    assert {one.id for one in found} == {one.id for one in given[1:]}
    ledger.close()


def test_older_ledger_gets_its_daily_totals(database):
    """A ledger of an earlier version is brought up to date: its sums by day are made from its calls."""
    ledger = database.ledger()
    for one in [*calls(40), call(3, service_tier="flex", cost_pico=Fraction(10**7, 3))]:
        ledger.add(one)
    ledger.close()
    database.make_old(2)
    ledger = database.ledger()
    ledger.prepare()
    database.check_sums()
    ledger.add(call(41))
    assert ledger.flush()
    database.check_sums()
    ledger.close()


def test_older_ledger_counts_calls_without_tokens(database):
    """What an earlier version stored is complete in the new columns, and its rules and attempts are unknown."""
    ledger = database.ledger()
    spoken = {"usage": Usage(seconds=30.0), "usage_source": "none", "endpoint": "audio.transcriptions"}
    for one in [*calls(20), *(call(n, **spoken, attempts=3, usage_rule="plain") for n in (1, 2, 3))]:
        ledger.add(one)
    ledger.close()
    database.make_old(5)
    database.run("UPDATE calls SET attempts = NULL, usage_rule = NULL")
    for table in ("daily", "daily_totals"):
        database.run(f"UPDATE {table} SET tokenless_calls = 0, retries = 0")
    ledger = database.ledger()
    ledger.prepare()
    database.check_sums()
    assert {(one.attempts, one.usage_rule) for one in ledger.calls()} == {(None, None)}
    assert ledger.report("day").totals.retries == 0
    ledger.close()


def test_retries_and_rules_are_stored(database):
    """How often a call was sent, and how its usage was estimated, is read back, and summed up by day."""
    ledger = database.ledger()
    given = [call(1, attempts=3), call(1, attempts=1), call(2, attempts=None), call(2, attempts=2, usage_rule="script")]
    for one in given:
        ledger.add(one)
    assert ledger.flush()
    assert {one.id: (one.attempts, one.usage_rule) for one in ledger.calls()} == {
        one.id: (one.attempts, one.usage_rule) for one in given
    }
    assert ledger.report("day").totals.retries == ledger.report("session").totals.retries == 3
    database.check_sums()
    ledger.close()


def test_older_ledger_keeps_the_sums_of_pruned_days(database):
    """Days whose calls were pruned before have their sums in the new roll-up too."""
    ledger = database.ledger()
    ledger.import_calls(calls(40))
    before = ledger.report("day,model")
    ledger.prune("2026-04-05")
    ledger.close()
    database.make_old(2)
    ledger = database.ledger()
    assert ledger.report("day,model").rows == before.rows
    ledger.close()


def test_sum_beyond_a_column_is_refused(database):
    """A call that would make a sum larger than its column is set aside; the sum stays exact."""
    ledger = database.ledger()
    ledger.add(call(1, started_at=START))
    assert ledger.flush()
    database.run(f"UPDATE daily_totals SET input_tokens = {2**63 - 1_000}")
    for one in (call(4, started_at=START), call(3, started_at=START)):  # the second one has another model
        ledger.add(one)
    assert ledger.flush()
    assert (ledger.stats.written, ledger.stats.refused, ledger.stats.away) == (2, 1, False)
    assert database.query("SELECT max(input_tokens), count(*) FROM daily_totals") == [(2**63 - 1_000, 2)]
    ledger.close()


def test_failed_migration_is_rolled_back(database, monkeypatch):
    """A migration that fails is undone as a whole, and its error is raised; the next one can try again."""

    def broken(connection):
        connection.exec_driver_sql("CREATE TABLE half (n INTEGER)")
        raise LedgerError("no")

    ledger = database.ledger()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, broken])
        with pytest.raises(LedgerError, match="no"):
            ledger.prepare()
    assert "half" not in inspect(ledger.engine).get_table_names()
    ledger.prepare()
    assert database.query(f"SELECT max(version) FROM {schema.MIGRATIONS}") == [(len(migrations.MIGRATIONS),)]
    ledger.close()


def test_concurrent_migrations_apply_each_step_once(database):
    """Ten processes that start together on an empty database all come up, and each step is applied once."""
    source = """
    import sys
    from openai_meter.ledger import Ledger
    ledger = Ledger(sys.argv[1], spool=sys.argv[2])
    ledger.prepare()
    ledger.close()
    """
    assert together(source, [(database.url, database.spool)] * 10) == [0] * 10
    assert database.query(f"SELECT count(*) FROM {schema.MIGRATIONS}") == [(len(migrations.MIGRATIONS),)]


def test_newer_schema_is_refused(database):
    """A ledger of a newer version is not touched, and the error says what to do."""
    ledger = database.ledger()
    ledger.prepare()
    database.run(f"INSERT INTO {schema.MIGRATIONS} VALUES (99, 'of_tomorrow', 0)")
    newer = database.ledger()
    with pytest.raises(
        LedgerError,
        match=rf"newer openai_meter \(its schema is 99, the newest known here {len(migrations.MIGRATIONS)}\); update",
    ):
        newer.prepare()
    with pytest.raises(LedgerError, match="newer"):
        openai_meter.install(ledger=newer, ledger_required=True)
    ledger.close()


def test_foreign_table_is_refused(database):
    """A database where another program has a table of our name is not changed."""
    database.run("CREATE TABLE calls (n INTEGER)")
    with pytest.raises(LedgerError, match="table 'calls' that openai_meter has not made"):
        database.ledger().prepare()


# --- connections ------------------------------------------------------------------------------------------------------


def driver_connection(connection):
    return connection.connection.driver_connection


def is_closed(connection):
    """Whether a connection of a driver is closed."""
    try:
        connection.execute("SELECT 1")
    except Exception as error:
        return "closed" in str(error)
    return False


def test_connection_returned_while_the_pool_is_disposed_is_closed(database, monkeypatch):
    """A connection that comes back at the moment at which another thread closes all connections is closed too."""
    engine = databases.open_engine(databases.checked_url(database.url))
    connection = engine.connect()
    used, idle = driver_connection(connection), engine.pool._pool
    put = idle.put

    def dispose_before_put(record, block):
        monkeypatch.undo()
        engine.dispose()
        put(record, block)

    monkeypatch.setattr(idle, "put", dispose_before_put)
    connection.close()
    assert is_closed(used)
    engine.dispose()


def test_collected_ledger_leaves_no_connection_open(database):
    """A ledger that is read and then garbage-collected without being closed closes its connections."""
    ledger = database.ledger()
    ledger.prepare()
    with ledger.engine.connect() as connection:
        used = driver_connection(connection)
    assert not is_closed(used)
    used.rollback()
    del ledger, connection
    gc.collect()
    assert is_closed(used)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("usage.db", "write 'sqlite:///usage.db'"),
        ("", "cannot be read"),
        (7, "is not a URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////no/such/folder/usage.db", "does not exist; make it first"),
        ("mysql://localhost/x", "cannot be kept in 'mysql'"),
        ("postgresql+asyncpg://localhost/x", "cannot be kept in"),
    ],
)
def test_wrong_url_raises(url, message):
    """A wrong URL raises, and the message has a URL that can be used."""
    with pytest.raises(ConfigurationError, match=message):
        Ledger(url)


@pytest.mark.parametrize(
    "settings", [{"flush_interval": 0}, {"flush_interval": "1"}, {"durable": 1}, {"spool": __file__}]
)
def test_wrong_setting_raises(sqlite, settings):
    """A wrong setting is refused."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        sqlite.ledger(**settings)


def test_message_about_an_unreachable_server_has_no_password(tmp_path, caplog):
    """The password of a URL is in no message, and a server that cannot be reached is reported as away."""
    ledger = Ledger("postgresql://me:s3cret@127.0.0.1:9/x", spool=tmp_path)
    with pytest.raises(LedgerUnavailableError) as error:
        ledger.prepare()
    openai_meter.install(ledger=ledger)
    ledger.add(call())
    ledger.close()
    assert "s3cret" not in f"{error.value} {ledger!r} {ledger.url} {caplog.text}"
    assert "me:***@127.0.0.1:9/x" in str(error.value)
    assert ledger.stats.spooled == 1


def test_file_that_is_not_a_database_raises(tmp_path):
    """A file that is not a database is refused by name."""
    path = tmp_path / "notes.txt"
    path.write_text("no database at all, but long enough to be looked at " * 40)
    with pytest.raises(LedgerError, match=r"notes\.txt.* cannot be used: file is not a database; name another file"):
        Ledger(f"sqlite:///{path}").prepare()


def test_missing_database_on_the_server_raises(postgres):
    """A database that does not exist is an error of the URL, not an outage."""
    url = databases.make_url(postgres.url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(LedgerError, match=r'cannot be used: .*"nowhere" does not exist; check its URL'):
        Ledger(url).prepare()


@pytest.mark.parametrize(("missing", "extra"), [("sqlalchemy", "ledger"), ("psycopg", "postgres")])
def test_missing_extra_raises_with_the_install_line(missing, extra):
    """Without the extra the error has the command that installs it."""
    out = program(
        """
        import importlib.util, sys
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == sys.argv[1] else find(name, *rest)
        import openai_meter
        try:
            openai_meter.install(ledger="postgresql://localhost/x")
        except openai_meter.MeterError as error:
            print(type(error).__name__, error)
        """,
        missing,
    )
    assert out.startswith("MissingExtraError ")
    assert out.endswith(f'install it with: pip install "openai-meter[{extra}]"')


# --- the meter's way to it --------------------------------------------------------------------------------------------


def test_first_calls_of_an_idle_program_are_stored(sqlite):
    """Calls that waited for the price files are stored, and their alert is sent, while the program does nothing."""
    out = program(
        """
        import sys, threading, time, openai_meter
        from openai_meter.ledger import Ledger
        alerted = threading.Event()
        ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=0.01)
        meter = openai_meter.install(ledger=ledger, thresholds={"calls": 2}, on_alert=lambda alert: alerted.set())
        with meter._price_loader._reading:  # the files are read only when all calls have ended
            for n in range(3):
                meter.track_call("gpt-4o", 1000, 10)
            assert ledger.stats.written == 0
        end = time.monotonic() + 30
        while ledger.stats.written < 3 and time.monotonic() < end:
            time.sleep(0.005)
        print(ledger.stats.written, alerted.wait(60))
        """,
        sqlite.url,
        sqlite.spool,
    )
    assert out == "3 True"
    assert {one.cost_status for one in read(sqlite)} == {"priced"}


def test_calls_wait_for_the_prices(sqlite):
    """Calls that end while the price files are being read wait, and are then in the ledger with their price."""
    out = program(
        """
        import sys, time, openai_meter
        from openai_meter.ledger import Ledger
        ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=0.001)
        meter = openai_meter.install(ledger=ledger)
        assert openai_meter.install(ledger=sys.argv[1]).ledger is ledger
        meter._price_loader._reading.acquire()  # nobody gets at the files
        for n in range(20):
            meter.track_call("gpt-4o", 1000, 10)
        end = time.monotonic() + 60
        while ledger.stats.waiting != 20 and time.monotonic() < end:
            time.sleep(0.01)
        waited = ledger.stats.written, ledger.stats.waiting
        meter._price_loader._reading.release()
        assert meter.flush()
        print(waited, ledger.stats.written, meter.cost)
        """,
        sqlite.url,
        sqlite.spool,
    )
    assert out == "(0, 20) 20 0.052"
    assert sqlite.query("SELECT count(*), sum(cost_pico), min(cost_status) FROM calls") == [
        (20, 52_000_000_000, "priced")
    ]
    sqlite.check_sums()


def test_calls_at_the_end_of_a_program_are_stored(database):
    """A program that ends at once, or by an exception, leaves all of its calls, priced; so does each child."""
    source = """
    import multiprocessing, os, sys, openai_meter
    def work():
        openai_meter.get_meter().track_call("gpt-4o", 1000, 10)
    if __name__ == "__main__":
        os.environ["OPENAI_METER_LEDGER"] = sys.argv[1]
        meter = openai_meter.install()
        work()
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        work()
        sys.exit(0)
    """
    program(source, database.url)
    assert database.query("SELECT count(*), sum(cost_pico) FROM calls") == [(3, 7_800_000_000)]
    database.check_sums()


def test_replacing_the_ledger_sends_later_calls_to_the_new_one(sqlite, tmp_path):
    """A ledger that takes the place of another gets the later calls; a durable one waits for no price."""
    one, other = sqlite.ledger(), Ledger(f"sqlite:///{tmp_path / 'other.db'}", durable=True)
    meter = openai_meter.install(ledger=one)
    meter.track_call("gpt-4o", 1000, 10)
    openai_meter.install(ledger=other)
    assert not meter._price_loader.reading
    meter.track_call("gpt-4o", 1000, 10)
    assert (other.stats.waiting, meter.flush(), one.flush()) == (1, True, True)
    for ledger in (one, other):
        assert ledger.stats.written == 1
        ledger.close()


def test_calls_are_stored_without_readable_prices(sqlite, monkeypatch):
    """Without prices the calls are kept without them."""
    monkeypatch.setattr(faults, "reraise", False)
    meter = openai_meter.install(ledger=sqlite.ledger())
    monkeypatch.setattr(meter._price_loader, "load", lambda: 1 / 0)
    meter.track_call("gpt-4o", 1000, 10)
    assert meter.flush()
    meter.ledger.close()
    assert sqlite.query("SELECT cost_pico, cost_status FROM calls") == [(None, "unpriced")]


def test_environment_variable_sets_the_ledger(sqlite, monkeypatch):
    """OPENAI_METER_LEDGER is used where no ledger is named."""
    monkeypatch.setenv("OPENAI_METER_LEDGER", sqlite.url)
    meter = openai_meter.install()
    meter.track_call("gpt-4o", 1, 1)
    assert meter.flush()
    assert (meter.ledger.url, sqlite.count()) == (sqlite.url, 1)
    assert openai_meter.install().ledger is meter.ledger
    meter.ledger.close()


@pytest.mark.parametrize("ledger", [7, "usage.db", True])
def test_install_with_a_wrong_ledger_raises(ledger):
    """The message of ``install()`` names what can be a ledger."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///usage\.db"):
        openai_meter.install(ledger=ledger)


def test_prompt_answer_and_key_are_not_stored(sqlite):
    """The file contains neither the prompt nor the answer nor the key."""
    meter = openai_meter.install(ledger=sqlite.ledger())
    with contract.Api() as api, contract.sync_client(api) as client:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "the secret question"}])
    assert meter.flush()
    meter.ledger.close()
    files = list(sqlite.spool.parent.rglob("usage.db*"))
    assert sqlite.count() == 1
    assert not any(b"secret question" in path.read_bytes() or b"sk-" in path.read_bytes() for path in files)


def test_ledger_package_is_not_loaded_without_a_ledger():
    """Without a ledger, no module of the ledger is loaded."""
    out = program(
        """
        import sys, openai_meter
        meter = openai_meter.install()
        meter.track_call("gpt-4o", 1, 1)
        print(meter.ledger, meter.flush(), "sqlalchemy" in sys.modules, "openai_meter.ledger" in sys.modules)
        """,
        fresh=True,
    )
    assert out == "None True False False"


def test_run_and_demo_store_calls(sqlite, tmp_path):
    """The calls of a program and of the demo are stored in the ledger of ``--ledger``."""
    (tmp_path / "works.py").write_text(
        "import openai_meter\nopenai_meter.get_meter().track_call('gpt-4o', 1000, 10)\n", encoding="utf-8"
    )
    command = "import sys; sys.argv[0] = 'openai-meter'; from openai_meter.cli.app import main; main()"
    program(command, "run", "--ledger", sqlite.url, "-o", tmp_path / "said", tmp_path / "works.py")
    assert sqlite.query("SELECT count(*), sum(cost_pico) FROM calls") == [(1, 2_600_000_000)]
    program(command, "demo", "-q", "--ledger", sqlite.url)
    assert sqlite.count() > 5
    assert sqlite.query("SELECT count(*) FROM calls WHERE cost_reason LIKE '%being read%'") == [(0,)]
    sqlite.check_sums()


def test_run_with_a_wrong_ledger_url_exits_2():
    """A wrong URL is an error of the arguments."""
    command = "import sys; sys.argv[0] = 'openai-meter'; from openai_meter.cli.app import main; main()"
    process = program(command, "run", "--ledger", "usage.db", __file__, wait=False)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "write 'sqlite:///usage.db'" in errors
