"""Under gunicorn, each kind of worker answers, and every answered call is in the ledger after an orderly stop."""

from __future__ import annotations

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

import openai_meter

pytestmark = pytest.mark.e2e

APP = """
import os
import openai_meter
from openai_meter.testing import fake_client
meter = openai_meter.install(ledger=os.environ["USAGE"], thresholds={"calls": 2})
client = fake_client()
def app(environ, start_response):
    client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answer"]
"""
ANSWERS = 12


def ask(port, patience):
    """One answer of the server; waits for it to start, as long as patience lasts."""
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=180) as answer:
                return answer.read()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_every_answer_is_in_the_ledger(worker, preload, tmp_path):
    """Two workers answer, and after an orderly stop the ledger has as many rows as there were answers."""
    for module in ("gunicorn", "sqlalchemy", *(["gevent"] if worker == "gevent" else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is missing: gunicorn's {worker} worker is NOT tested; pip install {module}")
    (tmp_path / "metered.py").write_text(APP, encoding="utf-8")
    port = free_port()
    threads = ["--threads", "2"] if worker == "gthread" else []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_METER")}
    roots = os.pathsep.join([str(tmp_path), str(Path(openai_meter.__file__).parents[1])])
    server = subprocess.Popen(
        [
            sys.executable, "-W", "ignore", "-m", "gunicorn", "-k", worker, *threads, "-w", "2", "--timeout", "120",
            "-b", f"127.0.0.1:{port}", "--chdir", str(tmp_path), *(["--preload"] if preload else []), "metered:app",
        ],
        env=kept | {"PYTHONPATH": roots, "USAGE": f"sqlite:///{tmp_path / 'usage.db'}", "NO_PROXY": "*"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        answers = [ask(port, 120 if number == 0 else 0) for number in range(ANSWERS)]
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=180)
    finally:
        server.kill()
    assert answers == [b"answer"] * ANSWERS
    assert server.returncode == 0, output
    with sqlite3.connect(tmp_path / "usage.db") as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (ANSWERS,)
