"""Calls that end while the price files are read: they survive a kill, and are stored once, at their price."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from ledgers import Database, call, program, waiting
from test_ledger_spool import NoLocks

from openai_meter import Call, Meter, Price
from openai_meter.core import faults
from openai_meter.ledger import spool as spools
from openai_meter.ledger.rows import encode_line, to_row
from openai_meter.pricing import PriceBook
from openai_meter.pricing.loading import UNREADABLE, WAITING

FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def spool_lines(database: Database) -> list[bytes]:
    """The lines of all segments."""
    return [line for path in sorted(database.spool.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def until(holds: Callable[[], object]) -> None:
    """Waits until something holds."""
    end = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def leave_segments(database: Database, *segments: list[Call]) -> None:
    """Writes segments as processes that are gone have left them."""
    database.spool.mkdir()
    for number, found in enumerate(segments, 1):
        lines = b"".join(encode_line(to_row(one)) for one in found)
        (database.spool / f"{number:020d}-999999999-aa.jsonl").write_bytes(lines)


def adopt(database: Database, meter: Meter | None = None) -> list[tuple[Any, ...]]:
    """What is stored once a ledger has taken the spool: id, cost, status and reason; nothing stays in the folder."""
    ledger = database.ledger()
    if meter is not None:
        meter._keep(ledger)
    assert ledger.flush(300)
    stats = ledger.stats
    ledger.close()
    assert (stats.replayed, stats.waiting, stats.refused) == (stats.written, 0, 0)
    assert list(database.spool.iterdir()) == []
    database.check_sums()
    return database.query("SELECT id, cost_pico, cost_status, cost_reason FROM calls ORDER BY id")


@contextmanager
def parked_prices(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No price file is read before the event is set."""
    go_on, warm = threading.Event(), PriceBook.warm

    def parked(book: PriceBook) -> None:
        assert go_on.wait(300)
        warm(book)

    monkeypatch.setattr(PriceBook, "warm", parked)
    try:
        yield go_on
    finally:
        go_on.set()


KILLED = """
import os, signal, sys, threading, time
import openai_meter
from openai_meter.ledger import Ledger
from openai_meter.pricing import PriceBook

PriceBook.warm = lambda book: threading.Event().wait()
ledger = Ledger(sys.argv[1], spool=sys.argv[2])
meter = openai_meter.install(ledger=ledger)
meter.track_call("gpt-4o-mini", 1_000, 100)
while not any(path.read_bytes().endswith(b"\\n") for path in ledger.spool.glob("*.jsonl")):
    time.sleep(0.005)
{end}
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_call_of_a_process_killed_while_it_reads_prices_is_stored_with_its_price(sqlite: Database, end: str) -> None:
    """The next process with the ledger prices the call, and stores it once."""
    process = program(KILLED.format(end=end), sqlite.url, sqlite.spool, wait=False)
    assert process.communicate(timeout=300) == ("", "")
    assert len(spool_lines(sqlite)) == 1
    ((_, *found),) = adopt(sqlite)
    assert found == [210_000_000, "priced", None]


def test_held_calls_are_priced_at_the_prices_of_their_day(database: Database) -> None:
    """A price that changed after the call does not change its cost."""
    days = [datetime(2025, 6, day, 12, tzinfo=UTC) for day in (9, 11)]
    held = [waiting(started_at=day, model="o3-2025-04-16", requested_model="o3") for day in days]
    leave_segments(database, held)
    book = PriceBook()
    costs = [book.cost(book.billable_of(one)).amount_pico for one in held]
    assert [row[1] for row in adopt(database)] == costs
    assert costs[0] != costs[1]


def test_ordinary_end_stores_a_held_call_once_and_leaves_no_file(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line without a price is in the spool while the prices are read, and is removed when the call is stored."""
    meter, ledger = Meter(thresholds=False), sqlite.ledger()
    meter._keep(ledger)
    with parked_prices(monkeypatch):
        made = meter.track_call("gpt-4o-mini", 1_000, 100)
        assert made.cost_reason is WAITING
        until(lambda: spool_lines(sqlite))
        assert ledger.stats.waiting == 1
    assert meter.flush(300)
    stats = ledger.stats
    assert (stats.written, stats.replayed, stats.spooled, stats.waiting, stats.waiting_since) == (1, 0, 0, 0, None)
    assert list(sqlite.spool.iterdir()) == []
    meter.remove_sink(ledger)
    ledger.close()
    assert sqlite.query("SELECT id, cost_pico, cost_status FROM calls") == [(made.id, 210_000_000, "priced")]
    sqlite.check_sums()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("held_first", [True, False])
def test_priced_line_wins_over_the_held_line_of_a_call(sqlite: Database, held_first: bool, together: bool) -> None:
    """Whichever of the two lines is older, and in whatever segments: the call is stored once, at the stated price."""
    held = waiting()
    pair = [held, replace(held, cost_pico=123, cost_status="priced", cost_reason=None)]
    pair = pair if held_first else pair[::-1]
    leave_segments(sqlite, *([pair] if together else [[one] for one in pair]))
    assert adopt(sqlite) == [(held.id, 123, "priced", None)]


def test_held_line_of_a_stored_call_changes_nothing(sqlite: Database) -> None:
    """A call that is in the database keeps its price there."""
    held = waiting()
    ledger = sqlite.ledger()
    ledger.import_calls([replace(held, cost_pico=123, cost_status="priced", cost_reason=None)])
    ledger.close()
    leave_segments(sqlite, [held])
    assert adopt(sqlite) == [(held.id, 123, "priced", None)]


def test_held_call_stays_in_the_spool_when_a_batch_is_stored(sqlite: Database) -> None:
    """A batch that was spooled after the held call, and is stored, does not remove the held call."""
    ledger, held = sqlite.ledger(), waiting()
    ledger.hold(held)
    for n in range(3):
        ledger.add(call(n + 1))
        assert ledger.flush(300)
        assert spool_lines(sqlite) == [encode_line(to_row(held)).rstrip()]
        assert (sqlite.count(), ledger.stats.waiting) == (n + 1, 1)
    ledger.add(replace(held, cost_pico=123, cost_status="priced", cost_reason=None))
    assert ledger.flush(300)
    assert (sqlite.count(), ledger.stats.waiting) == (4, 0)
    assert list(sqlite.spool.iterdir()) == []
    ledger.close()


def test_call_that_comes_with_its_price_at_once_is_not_held(sqlite: Database) -> None:
    """Both are taken from the queue together: nothing is left of the first."""
    ledger, held = sqlite.ledger(), waiting()
    with ledger._writer.intake.lock:
        ledger.hold(held)
        ledger.add(replace(held, cost_pico=123, cost_status="priced", cost_reason=None))
    assert ledger.flush(300)
    ledger.close()
    assert (sqlite.count(), list(sqlite.spool.iterdir())) == (1, [])


def test_held_line_stays_until_its_call_is_safe_elsewhere(sqlite: Database) -> None:
    """Where the spool is full, the line without a price is kept until the call is in the database."""
    ledger, held = sqlite.ledger(), waiting()
    ledger.hold(held)
    intake = ledger._writer.intake
    intake.drain()
    ledger._writer.spool._limit = 0
    intake.put(replace(held, cost_pico=123, cost_status="priced", cost_reason=None))
    intake.drain()
    assert (intake.loose, intake.waiting, len(spool_lines(sqlite))) == (1, 1, 1)
    assert ledger.flush(300)
    assert (sqlite.count(), ledger.stats.waiting, list(sqlite.spool.iterdir())) == (1, 0, [])
    ledger.close()


def test_ledger_closed_while_it_holds_a_call_leaves_it_to_be_adopted(sqlite: Database) -> None:
    """What never came with a price is priced by the next ledger."""
    ledger, held = sqlite.ledger(), waiting(model="gpt-4o-mini")
    ledger.hold(held)
    ledger.close()
    assert (sqlite.spool.is_dir(), len(spool_lines(sqlite)), ledger.stats.waiting) == (True, 1, 0)
    assert [(row[0], row[2]) for row in adopt(sqlite)] == [(held.id, "priced")]


def test_held_call_without_readable_prices_is_stored_with_the_reason(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is counted without a price, and priced later by a repricing."""
    monkeypatch.setattr(faults, "reraise", False)
    held = waiting(model="gpt-4o-mini")
    leave_segments(sqlite, [held])
    with monkeypatch.context() as broken:
        broken.setattr(PriceBook, "warm", lambda _: 1 / 0)
        assert adopt(sqlite) == [(held.id, None, "unpriced", UNREADABLE)]
    assert faults.kinds() == {"reading the prices: ZeroDivisionError": 1}
    ledger = sqlite.ledger()
    assert ledger.reprice() == 1
    ledger.close()


def test_held_call_is_priced_by_the_prices_of_the_meter_that_adopts_it(sqlite: Database) -> None:
    """Programs with prices of their own find calls of an earlier start at these prices."""
    held = waiting(model="mine", requested_model="mine")
    leave_segments(sqlite, [held])
    meter = Meter(prices={"mine": Price(input=1, output=2)}, thresholds=False)
    assert adopt(sqlite, meter) == [(held.id, 1_040_000_000, "priced", None)]


def test_own_held_line_is_not_adopted_without_locks(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked, a process does not replay the line of a call that it still holds."""
    monkeypatch.setattr(spools, "fcntl", NoLocks)
    ledger, held = sqlite.ledger(), waiting()
    ledger.hold(held)
    ledger._writer.intake.drain()
    assert list(ledger._writer.spool.take()) == []
    ledger.add(call(1, id="other"))
    assert ledger.flush(300)
    assert (sqlite.ids(), len(spool_lines(sqlite))) == (["other"], 1)
    ledger.add(replace(held, cost_pico=123, cost_status="priced", cost_reason=None))
    ledger.close()
    assert (sqlite.count(), list(sqlite.spool.iterdir())) == (2, [])


@FORK
def test_forked_child_leaves_held_calls_to_its_parent(sqlite: Database) -> None:
    """The child stores its own calls only; what its parent held is adopted when the parent is gone."""
    source = """
    import os, signal, sys
    from ledgers import call, waiting
    from openai_meter.ledger import Ledger
    ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=0.02)
    ledger.hold(waiting(id="parent", model="gpt-4o-mini"))
    assert ledger.flush(300)
    child = os.fork()
    if not child:
        ledger.add(call(1, id="child"))
        done = ledger.flush(300) and ledger.stats.written == 1 and ledger.stats.waiting == 0
        ledger.close()
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0
    os.kill(os.getpid(), signal.SIGKILL)
    """
    process = program(source, sqlite.url, sqlite.spool, wait=False)
    assert process.communicate(timeout=300) == ("", "")
    assert (sqlite.ids(), len(spool_lines(sqlite))) == (["child"], 1)
    assert [(row[0], row[2]) for row in adopt(sqlite)] == [("child", "priced"), ("parent", "priced")]


def test_durable_ledger_holds_no_calls(sqlite: Database) -> None:
    """It reads the prices before the first call, so that each call is on the disk with its price."""
    ledger = sqlite.ledger(durable=True)
    ledger.hold(waiting())
    assert ledger.flush(300)
    ledger.close()
    assert (ledger.stats.waiting, spool_lines(sqlite)) == (0, [])


@pytest.mark.parametrize("held", [True, False])
def test_calls_on_their_way_into_the_spool_are_counted_as_waiting(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """A call that is neither in the queue nor in a batch for a moment is counted by a reader of that moment."""
    ledger, parked, goes_on = sqlite.ledger(flush_interval=600), threading.Event(), threading.Event()
    append = spools.Spool.append

    def park(*args: Any, **kwargs: Any) -> bool:
        parked.set()
        assert goes_on.wait(300)
        return append(*args, **kwargs)

    monkeypatch.setattr(spools.Spool, "append", park)
    monkeypatch.setattr("openai_meter.ledger.intake._HELP", 300.0)
    for n in range(3):
        ledger.hold(waiting(id=f"call-{n}")) if held else ledger.add(call(n))
    mover = threading.Thread(target=ledger._writer.intake.drain)
    mover.start()
    assert parked.wait(300)
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(ledger.stats.waiting))
    reader.start()
    reader.join(0.05)  # without the lock it reads now, and finds nothing
    goes_on.set()
    mover.join()
    reader.join()
    ledger.close()
    assert found == [3]


def test_batch_that_is_being_stored_is_counted_as_waiting_once(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of a transaction are waiting until it is done, and none of them twice."""
    ledger, found = sqlite.ledger(flush_interval=600), []
    store = ledger._writer._store
    monkeypatch.setattr(ledger._writer, "_store", lambda rows: (found.append(ledger.stats.waiting), store(rows))[1])
    for n in range(3):
        ledger.add(call(n))
    assert ledger.flush(300)
    assert (found, ledger.stats.waiting) == ([3], 0)
    ledger.close()
