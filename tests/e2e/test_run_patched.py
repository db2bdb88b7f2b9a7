"""``openai-meter run`` with a ledger on programs that replace sockets, threads and locks on their first line."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

pytestmark = pytest.mark.e2e

PROGRAM = """
{patch}
import {library}
from openai_meter.testing import fake_client
client = fake_client()
def ask():
    client.chat.completions.create(model="gpt-5-mini", messages=[{{"role": "user", "content": "Hello"}}])
threads = [{library}.spawn(ask) for _ in range(8)]
for thread in threads:
    thread.{wait}()
print("answers")
"""


@pytest.mark.parametrize(
    ("library", "patch", "wait"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()", "join"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()", "wait"),
    ],
    ids=["gevent", "eventlet"],
)
def test_patched_program_runs_to_its_end(library, patch, wait, tmp_path):
    """The program ends as it does without the meter, and all of its calls are in the ledger."""
    for module in (library, "sqlalchemy"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is missing: a program under {library} is NOT tested; pip install {module}")
    program, usage = tmp_path / "program.py", tmp_path / "usage.db"
    program.write_text(PROGRAM.format(patch=patch, library=library, wait=wait), encoding="utf-8")
    command = [sys.executable, "-m", "openai_meter", "run", "--ledger", f"sqlite:///{usage}", str(program)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_METER")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=kept, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (0, "answers\n"), done.stderr
    with closing(sqlite3.connect(usage)) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (8,)


MIXED = """
from gevent import monkey; monkey.patch_all()
import gevent, httpx, openai_meter, requests
from openai import OpenAI
from openai_meter.testing.fake_api.server import DemoServer
server = DemoServer().start()
meter = openai_meter.install(meter=openai_meter.Meter(), hosts={"127.0.0.1": "openai"}, http=True, thresholds=False)
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
given = {"url": server.base_url + "/chat/completions", "headers": {"authorization": "Bearer demo"}, "timeout": 300}
client = OpenAI(base_url=server.base_url, api_key="demo", timeout=300)
ways = [
    lambda: client.chat.completions.create(**body),
    lambda: requests.post(json=body, **given),
    lambda: httpx.post(json=body, verify=False, **given),
    lambda: list(requests.post(json={**body, "stream": True}, stream=True, **given).iter_lines()),
]
gevent.joinall([gevent.spawn(way) for way in ways * 3], raise_error=True)
meter.settle()
print(len(meter.calls), {call.status for call in meter.calls}, meter.internal_errors)
"""


def test_calls_of_greenlets_are_counted_once_with_http_libraries_watched(tmp_path):
    """The mark of one greenlet does not hide the calls of another."""
    for module in ("gevent", "requests", "httpx"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is missing: HTTP libraries under gevent are NOT tested; pip install {module}")
    program = tmp_path / "program.py"
    program.write_text(MIXED, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_METER")}
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300, env=kept, check=False
    )
    assert (done.returncode, done.stdout) == (0, "12 {'ok'} 0\n"), done.stderr
