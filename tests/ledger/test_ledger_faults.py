"""The ledger when things go wrong: what was put in is there in the end, once, or it is counted as lost and said."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import threading
import time
import warnings
from collections import Counter

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from hypothesis import given
from hypothesis import strategies as st
from ledgers import START, Database, call, calls, program, together
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DataError

import openai_meter
from openai_meter.core import faults
from openai_meter.ledger import Ledger, intake, storage, writer
from openai_meter.ledger import database as databases
from openai_meter.ledger import spool as spools
from openai_meter.ledger.rows import decode_line, encode_line, to_row
from openai_meter.ledger.spool import Spool


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    """A lock is waited for a second only."""
    monkeypatch.setattr(databases, "_WAIT", 1)


def add(ledger, given):
    for one in given:
        ledger.add(one)
    assert ledger.flush(300)


def bring_back(ledger):
    """Lets the ledger try its database now, and says whether all is in it."""
    ledger._writer._retry_at = 0.0
    assert ledger.flush(300)
    return not ledger.stats.away


def files(database):
    return sorted(database.spool.glob("*.jsonl"))


def everything_is_there(database, given):
    assert database.ids() == sorted(one.id for one in given)
    database.check_sums()
    assert files(database) == []


# --- the database is away ---------------------------------------------------------------------------------------------


def test_calls_during_a_server_restart_are_stored(server, tmp_path, caplog):
    """Calls that are made while the server is down are stored once when it is up again, and the outage is logged."""
    name = f"away_{os.getpid()}"
    base = Database(server.url, tmp_path / "spool")
    base.run(f"DROP SCHEMA IF EXISTS {name} CASCADE")
    base.run(f"CREATE SCHEMA {name}")
    database = Database(f"{server.url}?options=-csearch_path%3D{name}", tmp_path / "spool")
    ledger = database.ledger()
    given = calls(1500)
    add(ledger, given[:500])
    server.stop()
    try:
        add(ledger, given[500:900])
        assert (ledger.stats.away, ledger.stats.spooled, ledger.stats.written) == (True, 400, 500)
        assert "the ledger is away" in caplog.text
        adding = threading.Thread(target=lambda: [ledger.add(one) for one in given[900:1400]])
        adding.start()  # in mid-load
    finally:
        server.start()
    adding.join()
    assert bring_back(ledger)
    add(ledger, given[1400:])
    stats = ledger.stats
    assert (stats.written, stats.dropped, stats.replayed) == (1500, 0, stats.spooled)
    assert "the ledger is back" in caplog.text
    everything_is_there(database, given)
    ledger.close()
    base.run(f"DROP SCHEMA {name} CASCADE")


class Cut:
    """Stands between the ledger and PostgreSQL, and cuts the connection at the next COMMIT, as often as it is told."""

    def __init__(self, url: str, *, after: bool) -> None:
        self.url = databases.make_url(url)
        self.after = after
        self.times = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((self.url.host, self.url.port))
                cut = threading.Event()
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self.pump, args=(source, target, client, cut), daemon=True).start()

    def pump(self, source: socket.socket, target: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source is client and b"COMMIT" in data and self.times:
                    self.times -= 1
                    if self.after:
                        cut.set()
                        target.sendall(data)
                        continue
                    break
                if cut.is_set():  # the server has said that it is done: nobody hears it
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction ends now, and closes its own


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_connection_lost_at_commit_stores_each_call_once(postgres, after):
    """Whether the server has committed or not before the connection was lost: each call is stored once."""
    between = Cut(postgres.url, after=after)
    url = databases.make_url(postgres.url).set(port=between.port).render_as_string(hide_password=False)
    ledger = Ledger(url, spool=postgres.spool, flush_interval=0.02)
    given = calls(300)
    add(ledger, given[:100])
    between.times = 1
    add(ledger, given[100:200])
    assert (ledger.stats.away, ledger.stats.spooled) == (True, 100)
    assert postgres.count() == (200 if after else 100)
    assert bring_back(ledger)
    add(ledger, given[200:])
    everything_is_there(postgres, given)
    assert ledger.stats.written == (200 if after else 300)
    ledger.close()
    between.listener.close()


def test_locked_table_sends_calls_to_the_spool(database):
    """While another process locks the table, calls go to the spool; afterwards they are in the table."""
    ledger = database.ledger()
    given = calls(60)
    add(ledger, given[:20])
    engine = create_engine(database.url)
    with engine.connect() as other:
        other.execute(text("LOCK TABLE calls IN EXCLUSIVE MODE" if database.postgres else "BEGIN EXCLUSIVE"))
        add(ledger, given[20:40])
        assert (ledger.stats.away, ledger.stats.spooled, ledger.stats.written) == (True, 20, 20)
        other.rollback()
    engine.dispose()
    assert bring_back(ledger)
    add(ledger, given[40:])
    everything_is_there(database, given)
    assert (ledger.stats.written, ledger.stats.replayed) == (60, 20)
    ledger.close()


def test_full_disk_keeps_calls_until_there_is_room(sqlite):
    """Where files cannot grow, calls wait in further files or in memory, and are all stored when there is room."""
    out = program(
        """
        import resource, signal, sys, logging
        from ledgers import calls
        from openai_meter.ledger import Ledger
        logging.disable()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=0.01)
        given = calls(3000)
        for one in given[:100]:
            ledger.add(one)
        assert ledger.flush(300)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        for start in range(100, 3000, 100):
            for one in given[start : start + 100]:
                ledger.add(one)
            ledger._writer._retry_at = 0.0
            ledger.flush(300)
        full = ledger.stats
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        ledger._writer._retry_at = 0.0
        assert ledger.flush(300)
        print(full.away, 100 <= full.written < 3000, full.spooled > 0, ledger.stats.written, ledger.stats.dropped)
        ledger.close()
        """,
        sqlite.url,
        sqlite.spool,
    )
    assert out == "True True True 3000 0"
    everything_is_there(sqlite, calls_like(sqlite, 3000))


def calls_like(database, count):
    """Stands for calls that another process has made: as many as should be there."""
    ids = database.ids()
    assert len(set(ids)) == len(ids) == count
    return [call(id=one) for one in ids]


def test_spool_is_replayed_without_another_call(sqlite):
    """When the database is back, what is in the spool is stored without another call."""
    ledger = sqlite.ledger()
    ledger.prepare()
    given = calls(20)
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        add(ledger, given)
        assert (ledger.stats.away, ledger.stats.spooled) == (True, 20)
        other.rollback()
    engine.dispose()
    pause = threading.Event()
    while ledger.stats.away:
        assert ledger._writer.running
        pause.wait(0.02)
    everything_is_there(sqlite, given)
    ledger.close()


def test_refused_row_is_set_aside(database, monkeypatch, caplog):
    """A call that the database refuses is counted and logged, and the others of its batch are stored."""
    store = storage.store

    def picky(connection, rows):
        if "bad" in rows:
            raise DataError("", {}, Exception("not this one\nDETAIL: secrets"))
        return store(connection, rows)

    monkeypatch.setattr(storage, "store", picky)
    ledger = database.ledger()
    given = calls(10)
    add(ledger, [*given[:5], call(id="bad"), *given[5:]])
    assert (ledger.stats.written, ledger.stats.refused, ledger.stats.away) == (10, 1, False)
    assert "not this one" in caplog.text
    assert "secrets" not in caplog.text
    everything_is_there(database, given)
    ledger.close()


def test_calls_of_a_garbage_collected_ledger_are_stored(sqlite):
    """A ledger without a reference still stores the calls that were added."""
    out = program(
        """
        import gc, sys
        from ledgers import calls
        from openai_meter.ledger import Ledger
        def work():
            ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=3000)
            for one in calls(10):
                ledger.add(one)
        work()
        gc.collect()
        """,
        sqlite.url,
        sqlite.spool,
    )
    assert out == ""
    everything_is_there(sqlite, calls_like(sqlite, 10))


def test_dropped_calls_are_counted_and_logged(sqlite, monkeypatch, caplog):
    """Without a database and without room elsewhere, memory is bounded, and lost calls are counted and logged."""
    monkeypatch.setattr(intake, "LIMIT", 30)
    ledger = sqlite.ledger()
    given = calls(100)
    add(ledger, given[:10])
    ledger._writer.spool._limit = 0
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        for start in range(10, 100, 30):
            for one in given[start : start + 30]:
                ledger.add(one)
            ledger.flush(300)
        stats = ledger.stats
        assert (stats.written, stats.spooled, stats.waiting, stats.dropped) == (10, 0, 30, 60)
        other.rollback()
    engine.dispose()
    assert "calls are not in the ledger" in caplog.text
    assert bring_back(ledger)
    everything_is_there(sqlite, given[:40])
    assert ledger.stats.written + ledger.stats.dropped == 100
    ledger.close()


def test_full_queue_goes_to_the_spool(sqlite, monkeypatch):
    """A burst that fills the queue while the database does not answer is written to the spool; nothing is dropped."""
    monkeypatch.setattr(intake, "LIMIT", 10)
    monkeypatch.setattr(intake, "_TICK", 3600.0)  # the thread of the queue does not help
    ledger = sqlite.ledger()
    ledger.prepare()
    given = calls(2_500)
    with ledger._writer._doing:
        for one in given:
            ledger.put(one)
        assert (ledger.stats.waiting, ledger.stats.dropped) == (2_500, 0)
        assert ledger._writer.intake._queue.qsize() <= 10
    assert ledger.flush(300)
    everything_is_there(sqlite, given)
    ledger.close()


def test_full_queue_with_a_stuck_disk_drops_and_counts(sqlite, monkeypatch, caplog):
    """If the disk does not answer either, adding waits for a moment only; drops are logged once, and flush returns
    False.
    """
    monkeypatch.setattr(intake, "LIMIT", 10)
    ledger = sqlite.ledger()
    ledger.prepare()
    given = calls(40)
    locked, leave = threading.Event(), threading.Event()

    def disk():
        with ledger._writer.intake.lock:
            locked.set()
            assert leave.wait(60)

    stuck = threading.Thread(target=disk)
    stuck.start()
    assert locked.wait(60)
    for one in given:
        ledger.put(one)
    assert (ledger.stats.waiting, ledger.stats.dropped) == (20, 20)
    leave.set()
    stuck.join()
    assert caplog.text.count("are not in the ledger") == 1
    assert not ledger.flush(300)
    assert ledger.flush(300)
    assert (sqlite.count(), ledger.stats.written) == (20, 20)
    ledger.close()


# --- processes --------------------------------------------------------------------------------------------------------

WRITES = """
import os, sys
from ledgers import call
from openai_meter.ledger import Ledger
from openai_meter.ledger import database as databases
url, spool, durable, start, count, interval, patience = [*sys.argv[1:], 300][:7]
databases._WAIT = databases._STATEMENT = float(patience)  # a lock is not waited for in vain on a busy machine
ledger = Ledger(url, spool=spool, durable=durable == "True", flush_interval=float(interval))
for n in range(int(start), int(start) + int(count)):
    ledger.add(call(n, id=f"call-{n:06}"))
"""


def test_killed_process_keeps_calls_older_than_the_interval(database):
    """The calls of a killed process from before its last interval are stored, although it never flushed."""
    source = f"{WRITES}\nprint(flush=True)\nsys.stdin.readline()"
    process = program(source, database.url, database.spool, False, 0, 200, 0.05, wait=False, stdin=subprocess.PIPE)
    process.stdout.readline()
    deadline = threading.Event()
    while (count := len(stored(database))) < 200 and not deadline.wait(0.02):
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert count == 200
    database.check_sums()


def stored(database):
    try:
        return database.ids()
    except Exception:  # the tables are not there yet
        return []


@pytest.mark.parametrize("number", [50, pytest.param(4_000, marks=pytest.mark.thorough)])
def test_durable_calls_survive_kill(database, number):
    """The calls of a killed process are on the disk even if no interval has passed; the next process stores them."""
    source = f"{WRITES}\nprint(flush=True)\nos.kill(os.getpid(), 9)"
    process = program(source, database.url, database.spool, True, 0, number, 3000, wait=False)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert (len(stored(database)), len(files(database))) == (0, 1)
    ledger = database.ledger()
    add(ledger, [call(number, id=f"call-{number:06}")])
    everything_is_there(database, [call(n, id=f"call-{n:06}") for n in range(number + 1)])
    assert (ledger.stats.written, ledger.stats.replayed) == (number + 1, number)
    ledger.close()


def test_durable_calls_leave_the_spool_once_stored(database):
    """A durable call is in the spool when add returns, and is removed from it when it is in the database."""
    ledger = database.ledger(durable=True, flush_interval=3000.0)
    given = calls(5)
    for one in given:
        ledger.add(one)
    (segment,) = files(database)
    assert [decode_line(line)[0] for line in segment.read_bytes().splitlines()] == [one.id for one in given]
    assert ledger.flush(300)
    everything_is_there(database, given)
    assert (ledger.stats.written, ledger.stats.spooled) == (5, 0)
    ledger.close()


def test_durable_calls_stay_in_the_spool_while_the_database_is_away(sqlite):
    """Durable calls that could not be stored stay where they are, and are not written there a second time."""
    ledger = sqlite.ledger(durable=True)
    given = calls(30)
    add(ledger, given[:10])
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        add(ledger, given[10:20])
        lines = [line for path in files(sqlite) for line in path.read_bytes().splitlines()]
        assert [decode_line(line)[0] for line in lines] == [one.id for one in given[10:20]]
        assert (ledger.stats.spooled, ledger.stats.away) == (10, True)
        other.rollback()
    engine.dispose()
    assert bring_back(ledger)
    add(ledger, given[20:])
    everything_is_there(sqlite, given)
    ledger.close()


def test_concurrent_processes_store_each_call_once(database):
    """Several processes that write at once, in part the same calls, leave each of them once."""
    given = [(database.url, database.spool, False, start, 1000, 0.01) for start in (0, 500, 1000)]
    assert together(WRITES, given) == [0, 0, 0]
    ledger = database.ledger()  # a process that had no time left at its end has left calls in the spool
    assert bring_back(ledger)
    ledger.close()
    everything_is_there(database, [call(n, id=f"call-{n:06}") for n in range(2000)])


def test_forks_under_load_store_all_calls(database):
    """Children that are forked while calls come in write their own calls, the parent its own; each is there once."""
    out = program(
        """
        import os, sys, threading, warnings
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        from ledgers import calls
        from openai_meter.ledger import Ledger
        from openai_meter.ledger import database as databases
        databases._WAIT = databases._STATEMENT = 300
        ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=0.001)
        given = calls(2000)
        adding = threading.Thread(target=lambda: [ledger.add(one) for one in given])
        adding.start()
        children = []
        for _ in range(6):
            child = os.fork()
            if not child:
                for one in calls(50):
                    ledger.add(one)
                done = ledger.flush(300)
                ledger.close()
                os._exit(0 if done and ledger.stats.written == 50 else 1)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        adding.join()
        assert ledger.flush(300)
        print(codes, ledger.stats.written, ledger.stats.dropped)
        ledger.close()
        """,
        database.url,
        database.spool,
    )
    assert out == "[0, 0, 0, 0, 0, 0] 2000 0"
    everything_is_there(database, calls_like(database, 2300))


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("sys.exit(3)", 3), ("raise KeyboardInterrupt", -signal.SIGINT), ("1 / 0", 1)],
    ids=["end", "exit", "interrupt", "exception"],
)
def test_every_way_to_end_a_program_flushes(sqlite, ending, code):
    """However a program ends by itself, what it added is stored, long before its interval is over."""
    sqlite.ledger().prepare()  # the end waits for the database for some seconds only
    process = program(f"{WRITES}\n{ending}", sqlite.url, sqlite.spool, False, 0, 20, 3000, wait=False)
    process.communicate(timeout=300)
    assert process.returncode == code
    everything_is_there(sqlite, [call(n, id=f"call-{n:06}") for n in range(20)])


def test_end_of_program_without_the_database_spools(sqlite):
    """A program that ends while the database is locked leaves its calls in the spool; the next one stores them."""
    sqlite.ledger().prepare()
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        process = program(WRITES, sqlite.url, sqlite.spool, False, 0, 20, 0.01, 1, wait=False)
        assert process.communicate(timeout=300)[1] == ""
        other.rollback()
    engine.dispose()
    assert (sqlite.count(), len(files(sqlite))) == (0, 1)
    ledger = sqlite.ledger()
    add(ledger, [call(20, id="call-000020")])
    everything_is_there(sqlite, [call(n, id=f"call-{n:06}") for n in range(21)])
    ledger.close()


def test_end_of_program_with_a_hung_writer_spools(sqlite):
    """The batch of a writer that does not return in time, and all calls behind it, are in the spool."""
    ledger = sqlite.ledger(flush_interval=3000.0)
    ledger.prepare()
    given = calls(30)
    entered, leave = threading.Event(), threading.Event()

    def hang(rows):
        entered.set()
        assert leave.wait(60)
        return False

    ledger._writer._store = hang
    for one in given[:20]:
        ledger.add(one)
    ledger._writer._kick.put(True)
    ledger._writer.start()
    assert entered.wait(60)
    for one in given[20:]:
        ledger.add(one)
    ledger.close(timeout=0.01)
    del ledger._writer._store
    leave.set()
    assert bring_back(ledger)
    everything_is_there(sqlite, given)
    ledger.close()


# --- the spool --------------------------------------------------------------------------------------------------------


def test_damaged_spool_lines_are_set_aside(database, caplog):
    """A spool that ends in the middle of a line is replayed up to there; the rest is set aside, counted and logged."""
    given = calls(10)
    database.spool.mkdir()
    data = b"".join(encode_line(to_row(one)) for one in given)
    (database.spool / "00000000000000000001-1-aa.jsonl").write_bytes(data[:-20])
    (database.spool / "00000000000000000002-1-aa.jsonl").write_bytes(b"\0\xff{\n[1]\n{}\n" + data)
    ledger = database.ledger()
    add(ledger, [call(10)])
    assert (ledger.stats.damaged, ledger.stats.replayed, ledger.stats.written) == (4, 19, 11)
    assert "damaged" in caplog.text
    assert files(database) == []
    database.check_sums()
    ledger.close()


@given(st.integers(0, 4000), st.binary(max_size=10))
def test_truncated_spool_is_read_up_to_its_last_whole_line(cut, rubbish):
    """Wherever a spool ends, and whatever is at its end, the lines before are read unchanged."""
    rows = [to_row(one) for one in GIVEN]
    data = b"".join(map(encode_line, rows))[:cut] + rubbish
    found = []
    for line in data.splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            found.append(decode_line(line))
    whole = data[:cut].count(b"\n") if not rubbish else b"".join(map(encode_line, rows))[:cut].count(b"\n")
    assert found[:whole] == rows[:whole]


GIVEN = calls(6)


def test_locked_segments_are_not_taken(tmp_path):
    """A segment is taken by one process at a time, and not while its process writes to it."""
    one, other = Spool(tmp_path, 10**6), Spool(tmp_path, 10**6)
    assert one.append([b"a\n"])
    assert list(other.take()) == []
    one.seal_and_release()
    (taken,) = other.take()
    assert list(one.take()) == []
    assert list(taken.lines()) == [b"a\n"]
    taken.release()
    (again,) = one.take()
    again.delete()
    assert list(other.take()) == []


def test_spool_stays_within_its_size_limit(tmp_path):
    """All processes together write at most the limit."""
    one, other = Spool(tmp_path, 10), Spool(tmp_path, 10)
    assert one.append([b"12345\n"])
    assert not other.append([b"12345\n"])
    assert other.append([b"123\n"])
    assert not other.append([b"1\n"])
    one.seal_and_release()
    other.seal_and_release()


def test_clock_that_goes_backwards_keeps_the_order_of_calls(sqlite, monkeypatch):
    """Calls are replayed in the order in which they came, and the sums know the first and the last, whatever the clock
    says."""
    times = iter(range(10**18, 0, -(10**15)))
    monkeypatch.setattr(spools.time, "time_ns", lambda: next(times))
    ledger = sqlite.ledger()
    ledger.prepare()
    given = [call(started_at=START.replace(second=59 - n)) for n in range(30)]
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        for start in range(0, 30, 10):
            add(ledger, given[start : start + 10])
            ledger._writer.spool.seal_and_release()
        assert len(files(sqlite)) == 3
        other.rollback()
    engine.dispose()
    assert bring_back(ledger)
    found = [row[0] for row in sqlite.query("SELECT id FROM calls ORDER BY rowid")]
    blocks = [{one.id for one in given[start : start + 10]} for start in range(0, 30, 10)]
    assert [set(found[start : start + 10]) for start in range(0, 30, 10)] == blocks
    database_ends = sqlite.query("SELECT min(first_call_at), max(last_call_at) FROM daily_totals")
    assert database_ends == sqlite.query("SELECT min(started_at), max(started_at) FROM calls")
    ledger.close()


# --- the caller's side ------------------------------------------------------------------------------------------------


def test_call_from_a_finalizer_is_stored_without_another_call(sqlite):
    """A call that a finalizer adds is stored although no other call follows."""
    ledger = sqlite.ledger()

    class Dying:
        def __del__(self):
            ledger.put(call(1))

    Dying()
    gc.collect()
    pause, end = threading.Event(), time.monotonic() + 300
    while not ledger.stats.written and time.monotonic() < end:
        pause.wait(0.02)
    assert sqlite.count() == 1
    ledger.close()


def test_idle_writer_thread_ends(sqlite, monkeypatch):
    """After a while without calls there is no thread and no connection; the next call starts them again."""
    monkeypatch.setattr(writer, "IDLE", 0.01)
    ledger = sqlite.ledger(flush_interval=0.01)
    for n in range(3):
        ledger.add(call(n))
        assert ledger._writer._thread.join(60)
    assert ledger.flush(300)
    assert sqlite.count() == 3
    ledger.close()


def test_internal_error_loses_one_call_at_most(sqlite, monkeypatch):
    """The fault is counted, and the next calls are stored."""
    monkeypatch.setattr(faults, "reraise", False)
    ledger = sqlite.ledger()
    broken = call(1)
    object.__setattr__(broken, "tags", {"a": object()})
    ledger.add(broken)
    add(ledger, [call(2)])
    assert (ledger.stats.written, ledger.stats.refused, faults.count()) == (1, 1, 1)
    ledger.close()


def test_calls_of_many_threads_are_stored(database):
    """The calls of all threads are stored."""
    ledger = database.ledger(flush_interval=0.001)
    given = calls(1600)
    threads = [
        threading.Thread(target=lambda part: [ledger.add(one) for one in part], args=(given[n::16],)) for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    assert Counter(database.ids()) == Counter(one.id for one in given)
    database.check_sums()


# --- servers ----------------------------------------------------------------------------------------------------------


def test_concurrent_batches_over_many_users_do_not_deadlock(postgres, monkeypatch):
    """Transactions with the same users, in any order, wait for each other and never fail."""
    monkeypatch.setattr(databases, "_WAIT", 300)
    monkeypatch.setattr(databases, "_STATEMENT", 300)
    ledger = postgres.ledger()
    ledger.prepare()
    failed = []

    def work(part):
        some = [call(n, id=f"{part}-{n}", user=f"u{n * (7 + part) % 1_250}", started_at=START) for n in range(1_250)]
        try:
            with databases.writing(ledger.engine) as connection:
                storage.store(connection, {one.id: to_row(one) for one in some})
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert postgres.count() == 10_000
    postgres.check_sums()
    ledger.close()


def test_hung_server_delays_neither_install_nor_fork(tmp_path):
    """A server that accepts connections and never answers delays the start of a program and a fork by moments only."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: this is NOT tested")
    accepted = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    accepting = threading.Thread(target=accept)
    accepting.start()
    url = f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/x?connect_timeout=600"
    ledger = Ledger(url, spool=tmp_path)
    began = time.monotonic()
    openai_meter.install(ledger=ledger)
    ledger.add(call(1))
    assert not ledger.flush(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the process has threads
        child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert time.monotonic() - began < 300
    listener.shutdown(socket.SHUT_RDWR)
    accepting.join()
    listener.close()
    for one in accepted:
        one.close()
    assert ledger.flush(300)
    assert (ledger.stats.away, ledger.stats.spooled) == (True, 1)
    ledger.close()


@pytest.mark.parametrize("damage", ["garbage", "newer"])
def test_program_starts_with_a_damaged_ledger(sqlite, damage, caplog):
    """If the ledger cannot be opened, the meter starts, logs it, and keeps the calls until it can be opened."""
    path = sqlite.spool.parent / "usage.db"
    if damage == "garbage":
        path.write_bytes(b"no database at all, but long enough to be looked at " * 40)
    else:
        sqlite.ledger().prepare()
        sqlite.run("INSERT INTO openai_meter_migrations VALUES (99, 'of_tomorrow', 0)")
    ledger = sqlite.ledger()
    meter = openai_meter.install(ledger=ledger)
    assert "the ledger is away" in caplog.text
    ledger.add(call(1))
    assert ledger.flush(300)
    assert (ledger.stats.away, ledger.stats.spooled) == (True, 1)
    if damage == "garbage":
        path.unlink()
    else:
        sqlite.run("DELETE FROM openai_meter_migrations WHERE version = 99")
    assert bring_back(ledger)
    assert meter.ledger is ledger
    assert sqlite.count() == 1
    ledger.close()
    openai_meter.uninstall()
    again = sqlite.ledger()
    path.write_bytes(b"no database at all, but long enough to be looked at " * 40)
    with pytest.raises(openai_meter.errors.LedgerError):
        openai_meter.install(ledger=again, ledger_required=True)
