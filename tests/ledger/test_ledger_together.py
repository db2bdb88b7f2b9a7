"""A ledger that several processes and tasks use at once, and one that cannot be written: each call is there once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from ledgers import START, Database, call, together, waiting
from sqlalchemy import event

from openai_meter.ledger import database as databases
from openai_meter.ledger.rows import encode_line, to_row
from openai_meter.ledger.spool import Spool

ADOPTS = """
import sys
from openai_meter.ledger import Ledger
from openai_meter.ledger import database as databases
databases._WAIT = databases._STATEMENT = 300
ledger = Ledger(sys.argv[1], spool=sys.argv[2])
sys.exit(0 if ledger.flush(300) and not ledger.stats.away else 1)
"""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.thorough)])
def test_spool_adopted_by_six_processes_at_once_is_stored_once(kind: str, request: pytest.FixtureRequest) -> None:
    """Segments that a dead process has left are each stored by one of the processes that find them."""
    database: Database = request.getfixturevalue(kind)
    spool = Spool(database.spool, 10**9)
    given = [call(n) for n in range(600)]
    for start in range(0, 600, 50):
        assert spool.append([encode_line(to_row(one)) for one in given[start : start + 50]])
        spool.seal_and_release()
    assert together(ADOPTS, [(database.url, database.spool)] * 6) == [0] * 6
    assert database.ids() == sorted(one.id for one in given)
    assert not [*database.spool.glob("*.jsonl")]
    database.check_sums()


def test_concurrent_prune_reprice_import_and_write_leave_correct_sums(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are written, imported, repriced and pruned at once; in the end calls and sums are those of each alone."""
    monkeypatch.setattr(databases, "_WAIT", 300)
    monkeypatch.setattr(databases, "_STATEMENT", 300)
    old = [call(n, id=f"old-{n}", started_at=START - timedelta(days=400)) for n in range(100)]
    unpriced = [waiting(n, id=f"unpriced-{n}", started_at=START, model="gpt-4o-mini") for n in range(60)]
    imported = [call(n, id=f"imported-{n}", started_at=START) for n in range(120)]
    written = [call(n, id=f"written-{n}", started_at=START) for n in range(180)]
    first = database.ledger()
    assert first.import_calls([*old, *unpriced]) == 160
    ledgers = [database.ledger(spool=database.spool / str(number)) for number in range(3)]
    done: dict[str, int] = {}

    def write() -> None:
        for start in range(0, 180, 30):
            for one in written[start : start + 30]:
                first.add(one)
            assert first.flush(300)
        done["write"] = 180

    def import_parts() -> None:
        done["import"] = sum(ledgers[0].import_calls(imported[start : start + 30]) for start in range(0, 120, 30))

    def reprice() -> None:
        done["reprice"] = ledgers[1].reprice()

    def prune() -> None:
        done["prune"] = ledgers[2].prune(START - timedelta(days=300))

    threads = [threading.Thread(target=work) for work in (write, import_parts, reprice, prune)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == {"write": 180, "import": 120, "reprice": 60, "prune": 100}
    assert database.ids() == sorted(one.id for one in (*unpriced, *imported, *written))
    totals = first.totals()
    assert (totals.calls, totals.unpriced_calls) == (100 + 60 + 120 + 180, 0)
    for ledger in (first, *ledgers):
        ledger.close()


def test_calls_wait_while_the_database_is_read_only(sqlite: Database) -> None:
    """A file that cannot be written now keeps calls in the spool; they are stored when it can."""
    ledger = sqlite.ledger()
    read_only = True

    @event.listens_for(ledger.engine, "checkout")
    def mark(connection, *_):
        connection.execute(f"PRAGMA query_only = {int(read_only)}")

    for number in range(30):
        ledger.add(call(number, id=f"id-{number:02}"))
    assert ledger.flush(300)
    assert (ledger.stats.away, ledger.stats.written, ledger.stats.dropped) == (True, 0, 0)
    read_only = False
    ledger._writer._retry_at = 0.0
    assert ledger.flush(300)
    assert (ledger.stats.away, sqlite.ids()) == (False, [f"id-{number:02}" for number in range(30)])
    sqlite.check_sums()
    ledger.close()
