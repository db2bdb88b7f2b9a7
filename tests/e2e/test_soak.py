"""Servers and workers that are stopped in every orderly way while they work: as many rows in the ledger as answers.

``OPENAI_METER_SOAK=10 pytest tests/e2e/test_soak.py -s`` runs each way ten times, and prints what was counted.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from ports import free_port
from servers import PATIENCE, answered, celery_worker, check_all_are_stored, program_of, running, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")]

ROUNDS = int(os.environ.get("OPENAI_METER_SOAK", "1"))
CLIENTS = 4
BURST = 40
"""Answers between two events."""


class Load:
    """Clients that ask a server without a pause, and count what came of it. Thread-safe."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers = 0
        self.unanswered = 0
        """Requests that were sent, and had no whole answer: the server may have worked for them, or not."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]

    def _work(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError:  # nothing listens now
                self._over.wait(0.02)
                continue
            try:
                connection.request("GET", "/", headers={"Connection": "close"})
                response = connection.getresponse()
                good = response.read() == b"ok" and response.status == 200
            except (OSError, http.client.HTTPException):
                good = False
            finally:
                connection.close()
            with self._lock:
                self.answers += good
                self.unanswered += not good

    def more(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for some more answers."""
        wanted = self.answers + BURST
        until(lambda: self.answers >= wanted, process)

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(PATIENCE)


class Way(NamedTuple):
    """A server, and how it is stopped."""

    name: str
    command: tuple[str, ...]
    signals: tuple[signal.Signals, ...] = ()
    """Sent to the server one after the other, with answers before each; the last one stops it."""


HUP, INT, TERM = (getattr(signal, name, signal.SIGTERM) for name in ("SIGHUP", "SIGINT", "SIGTERM"))
WSGI, ASGI = ("program:wsgi", "--bind", "127.0.0.1:{port}"), ("program:asgi", "--port", "{port}")
WAYS = (
    Way("gunicorn-term", ("gunicorn", *WSGI, "--workers", "2"), (TERM,)),
    Way("gunicorn-threads-int", ("gunicorn", *WSGI, "--worker-class", "gthread", "--threads", "3"), (INT,)),
    Way("gunicorn-hup", ("gunicorn", *WSGI, "--workers", "2"), (HUP, HUP, TERM)),
    Way("gunicorn-preload-hup", ("gunicorn", *WSGI, "--workers", "2", "--preload"), (HUP, TERM)),
    Way("gunicorn-max-requests", ("gunicorn", *WSGI, "--workers", "2", "--max-requests", "15"), (TERM,)),
    Way("uvicorn-term", ("uvicorn", *ASGI), (TERM,)),
    Way("uvicorn-int", ("uvicorn", *ASGI), (INT,)),
    Way("uvicorn-workers-term", ("uvicorn", *ASGI, "--workers", "2"), (TERM,)),
    Way("uvicorn-workers-hup", ("uvicorn", *ASGI, "--workers", "2"), (HUP, INT)),
    Way("uvicorn-max-requests", ("uvicorn", *ASGI, "--limit-max-requests", "60")),
)


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_server_stopped_under_load_keeps_every_answered_call(way: Way, turn: int, tmp_path: Path) -> None:
    """Every answer of a server that is stopped in an orderly way under load is one row of the ledger."""
    if find_spec(way.command[0]) is None:
        pytest.skip(f"{way.command[0]} is not installed: this is NOT tested")
    database, port = program_of(tmp_path), free_port()
    load = Load(port)
    with running(database, tmp_path, *(part.format(port=port) for part in way.command)) as process:
        until(lambda: answered(port), process)
        with load.running():
            for number in way.signals:
                load.more(process)
                process.send_signal(number)
            process.wait(PATIENCE)
    answers = 1 + load.answers  # with the first, that waited for the start
    rows = check_all_are_stored(database, answers, answers + load.unanswered)
    print(f"\n{way.name}: {answers} answers, {load.unanswered} requests without one, {rows} rows")


POOL = """
import multiprocessing, sys
import program

def work(number):
    program.work()
    return number

if __name__ == "__main__":
    program.meter.ledger.close()
    pool = multiprocessing.get_context(sys.argv[1]).Pool(2, maxtasksperchild=3)
    assert sorted(pool.imap_unordered(work, range(30))) == list(range(30))
    pool.close()
    pool.join()
"""


@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool_of_short_lived_children_keeps_every_call(method: str, turn: int, tmp_path: Path) -> None:
    """Children of a pool that end after some tasks each leave every call in the ledger."""
    database = program_of(tmp_path)
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    with running(database, tmp_path, "pool", method) as process:
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    rows = check_all_are_stored(database, 30)
    print(f"\npool {method}: 30 calls, {rows} rows")


TASKS = 40


@pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed: this is NOT tested")
@pytest.mark.parametrize("turn", range(ROUNDS))
@pytest.mark.parametrize("first", [10, TASKS], ids=["at-work", "at-the-end"])
def test_celery_stopped_keeps_every_task_that_is_done(first: int, turn: int, tmp_path: Path) -> None:
    """Each task that is done is one row, though children end after two tasks, and a warm shutdown may kill some."""
    database = program_of(tmp_path)
    with celery_worker(database, tmp_path, TASKS) as tasks:
        tasks.wait_for(first)
        tasks.stop()
        done, begun = tasks.done(), tasks.begun()
    rows = check_all_are_stored(database, done, begun)
    print(f"\ncelery: {begun} tasks begun, {done} done, {rows} rows")
