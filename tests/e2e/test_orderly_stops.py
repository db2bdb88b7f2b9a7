"""Servers and workers that are stopped: every call that was answered is in the ledger, whoever ends the process how.

Such processes often end by a signal or by ``os._exit``, without Python's own clean-up. Their last calls are in the
spool, which the next process with this ledger stores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from ledgers import Database
from ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")]

PATIENCE = 180.0
"""Seconds that a busy machine may take for anything here."""

PROGRAM = """
import os
import openai_meter

meter = openai_meter.install(ledger=os.environ["LEDGER"])


def work():
    meter.track_call("gpt-4o-mini", 1000, 100)


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    work()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ, start_response):
    work()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

CELERY = """
import os
from pathlib import Path
from celery import Celery

broker = os.environ["BROKER"]
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": broker, "data_folder_out": broker, "control_folder": broker},
    worker_max_tasks_per_child=2, worker_concurrency=2, worker_hijack_root_logger=False, task_ignore_result=True,
    worker_pool="prefork", broker_connection_retry_on_startup=True,
)


@app.task(name="work")
def work(number):
    import program
    program.work()
    Path(os.environ["DONE"], str(number)).touch()
"""


def until(holds: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it took too long"
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.05)


def answered(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture
def database(tmp_path: Path) -> Database:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "tasks.py").write_text(textwrap.dedent(CELERY), encoding="utf-8")
    return Database(f"sqlite:///{tmp_path / 'usage.db'}", tmp_path / "usage.db.spool")


@contextmanager
def running(database: Database, tmp_path: Path, *command: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "LEDGER": database.url, "PYTHONPATH": str(tmp_path), **more}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def safe_calls(database: Database) -> int:
    """Calls that are in the ledger or in the spool."""
    lines = 0
    for path in database.spool.glob("*.jsonl"):
        try:
            lines += path.read_bytes().count(b"\n")
        except FileNotFoundError:  # it was stored meanwhile
            continue
    try:
        return lines + database.count()
    except Exception:  # the tables are not there yet
        return lines


def check_all_are_stored(database: Database, number: int) -> None:
    """The next processes with this ledger find all calls, each once, as soon as the stopped ones have ended."""

    def stored() -> int:
        ledger = database.ledger()
        try:
            assert ledger.flush(PATIENCE)
            return ledger.totals().calls
        finally:
            ledger.close()

    until(lambda: stored() >= number)
    assert stored() == number
    assert list(database.spool.glob("*.jsonl")) == []
    database.check_sums()


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
    broker, done = tmp_path / "broker", tmp_path / "done"
    broker.mkdir()
    done.mkdir()
    names = {"BROKER": str(broker), "DONE": str(done)}
    source = "from tasks import work; [work.delay(number) for number in range(20)]"
    env = {**os.environ, **names, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", source], env=env, cwd=tmp_path, check=True, timeout=PATIENCE)
    with running(database, tmp_path, "celery", "-A", "tasks", "worker", "--loglevel", "WARNING", **names) as process:
        until(lambda: len([*done.iterdir()]) == 20, process)
        until(lambda: safe_calls(database) == 20, process)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
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
