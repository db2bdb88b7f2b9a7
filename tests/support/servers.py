"""Servers and workers that tests start and stop, and what has to be in the ledger afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ledgers import Database

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
from celery.signals import task_postrun
import program

broker = os.environ["BROKER"]
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": broker, "data_folder_out": broker, "control_folder": broker},
    worker_max_tasks_per_child=2, worker_concurrency=2, worker_hijack_root_logger=False, task_ignore_result=True,
    worker_pool="prefork", broker_connection_retry_on_startup=True,
)


@app.task(name="work")
def work(number):
    Path(os.environ["BEGUN"], str(number)).touch()
    program.work()


@task_postrun.connect
def done(args, **_):
    Path(os.environ["DONE"], str(args[0])).touch()
"""
"""Its children do two tasks each. A task is done when Celery reports its end."""


class Tasks(NamedTuple):
    """A worker of Celery that is running, and what it has done."""

    process: subprocess.Popen[bytes]
    begun_folder: Path
    done_folder: Path

    def begun(self) -> int:
        return len([*self.begun_folder.iterdir()])

    def done(self) -> int:
        return len([*self.done_folder.iterdir()])

    def wait_for(self, number: int) -> None:
        until(lambda: self.done() >= number, self.process)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@contextmanager
def celery_worker(database: Database, tmp_path: Path, number: int) -> Iterator[Tasks]:
    """A worker of Celery that has a number of tasks to do."""
    folders = {name: str(tmp_path / name.lower()) for name in ("BROKER", "BEGUN", "DONE")}
    for folder in folders.values():
        Path(folder).mkdir()
    source = f"from tasks import work; [work.delay(number) for number in range({number})]"
    env = {**os.environ, **folders, "PYTHONPATH": str(tmp_path), "LEDGER": f"sqlite:///{tmp_path / 'client.db'}"}
    subprocess.run([sys.executable, "-c", source], env=env, cwd=tmp_path, check=True, timeout=PATIENCE)
    command = ("celery", "-A", "tasks", "worker", "--loglevel", "WARNING")
    with running(database, tmp_path, *command, **folders) as process:
        yield Tasks(process, Path(folders["BEGUN"]), Path(folders["DONE"]))


def program_of(folder: Path) -> Database:
    """Writes the programs into a folder; returns the database that they use."""
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    (folder / "tasks.py").write_text(CELERY, encoding="utf-8")
    return Database(f"sqlite:///{folder / 'usage.db'}", folder / "usage.db.spool")


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


def stored_calls(database: Database) -> int:
    """Calls in the ledger, after another process with it has taken what is in the spool."""
    ledger = database.ledger()
    try:
        assert ledger.flush(PATIENCE)
        return ledger.totals().calls
    finally:
        ledger.close()


def check_all_are_stored(database: Database, number: int, at_most: int | None = None) -> int:
    """The next processes with this ledger find all calls, each once, as soon as the stopped ones have ended.

    Args:
        database: where the ledger is.
        number: how many calls there have to be.
        at_most: how many there may be, where that is not certain.

    Returns:
        How many there are.
    """
    until(lambda: stored_calls(database) >= number and not list(database.spool.glob("*.jsonl")))
    found = stored_calls(database)
    assert number <= found <= (number if at_most is None else at_most)
    database.check_sums()
    return found
