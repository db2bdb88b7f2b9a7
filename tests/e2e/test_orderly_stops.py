"""Servers and workers that are stopped: every call that was answered is in the ledger, whoever ends the process how.

Such processes often end by a signal or by ``os._exit``, without Python's own clean-up. Their last calls are in the
spool, which the next process with this ledger stores.
"""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from ledgers import Database
from ports import free_port
from servers import PATIENCE, answered, celery_worker, check_all_are_stored, program_of, running, safe_calls, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return program_of(tmp_path)


SERVERS = {
    "uvicorn": ("uvicorn", "program:asgi", "--port", "{port}"),
    "uvicorn, 2 workers": ("uvicorn", "program:asgi", "--port", "{port}", "--workers", "2"),
    "hypercorn": ("hypercorn", "program:asgi", "--bind", "127.0.0.1:{port}"),
    "gunicorn": ("gunicorn", "program:wsgi", "--bind", "127.0.0.1:{port}", "--workers", "2"),
    "gunicorn, threads": ("gunicorn", "program:wsgi", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread"),
    "gunicorn, preload": ("gunicorn", "program:wsgi", "--bind", "127.0.0.1:{port}", "--workers", "2", "--preload"),
}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", SERVERS)
def test_stopped_server_keeps_every_answered_call(
    name: str, end: signal.Signals, database: Database, tmp_path: Path
) -> None:
    """Each answer of a server is one call in the ledger, however the server and its workers are stopped."""
    if find_spec(SERVERS[name][0]) is None:
        pytest.skip(f"{SERVERS[name][0]} is not installed: this is NOT tested")
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[name]]
    with running(database, tmp_path, *command) as process:
        number = 0

        def first() -> bool:
            nonlocal number
            number += answered(port)
            return number > 0

        until(first, process)
        for _ in range(14):
            number += answered(port)
        assert number == 15
        until(lambda: safe_calls(database) == number, process)
        os.killpg(process.pid, end) if end == signal.SIGKILL else process.send_signal(end)
        process.wait(PATIENCE)
    check_all_are_stored(database, number)


@pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed: this is NOT tested")
def test_celery_with_short_lived_children_keeps_every_task(database: Database, tmp_path: Path) -> None:
    """Children of Celery end by os._exit after two tasks each; no call of theirs is lost."""
    with celery_worker(database, tmp_path, 20) as tasks:
        tasks.wait_for(20)
        tasks.stop()
    check_all_are_stored(database, 20)


POOL = """
import multiprocessing, os, sys, time
import program
from pathlib import Path

def work(number):
    program.work()
    return number

def safe():
    spool = Path(os.environ["SPOOL"])
    return sum(path.read_bytes().count(b"\\n") for path in spool.glob("*.jsonl"))

if __name__ == "__main__":
    program.meter.ledger.close()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert sorted(pool.imap_unordered(work, range(18))) == list(range(18))
        while program.meter.ledger.totals().calls + safe() < 18:
            time.sleep(0.05)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_that_is_terminated_keeps_every_call(method: str, database: Database, tmp_path: Path) -> None:
    """The workers of a pool are terminated at the end of its block; no call of theirs is lost."""
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    with running(database, tmp_path, "pool", method, SPOOL=str(database.spool)) as process:
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    check_all_are_stored(database, 18)
