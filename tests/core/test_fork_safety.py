"""Forks: hooks run in their order, any number of threads fork at once, and the parent goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from paths import PACKAGE

import openai_meter
from openai_meter.core import faults, fork_safety
from openai_meter.core.fork_safety import Order

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

FORKS = """
import json, os, subprocess, sys, threading, time, multiprocessing, warnings
warnings.simplefilter("ignore")
import openai_meter
from openai_meter.testing import fake_client
meter = openai_meter.install(ledger=sys.argv[1], thresholds=False)
client = fake_client()
def call():
    client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
def plain():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
def process():
    started = multiprocessing.get_context("fork").Process(target=int)
    started.start()
    started.join(60)
def prepared():
    subprocess.run([sys.executable, "-S", "-c", ""], preexec_fn=int, check=True)
start = dict(plain=plain, process=process, prepared=prepared)[sys.argv[2]]
call()
meter.flush()
longest, counting = [0.0] * 4, threading.Event()
def fork(place):
    for _ in range(10):
        at = time.thread_time()
        start()
        longest[place] = max(longest[place], time.thread_time() - at)
def keep_calling():
    while not counting.is_set():
        call()
        counting.wait(0.002)
caller = threading.Thread(target=keep_calling)
caller.start()
threads = [threading.Thread(target=fork, args=(place,), daemon=True) for place in range(4)]
begun = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join(120)
took = time.monotonic() - begun
counting.set()
caller.join()
call()
stored = meter.flush(60)
stats = meter.ledger.stats
print(json.dumps({
    "late": sum(thread.is_alive() for thread in threads), "stored": stored, "waiting": stats.waiting,
    "all written": stats.written == meter.totals.calls, "faults": meter.internal_errors,
}))
os._exit(0)
"""


@pytest.fixture
def hooks(monkeypatch):
    """The registry without the hooks of the package, and what the hooks of a test have done."""
    monkeypatch.setattr(fork_safety, "_hooks", ())
    monkeypatch.setattr(fork_safety, "_notes", {})
    return []


@pytest.mark.parametrize("way", ["plain", "process", "prepared"])
def test_concurrent_forks_end_and_the_ledger_continues(way, tmp_path):
    """Four threads start children while a fifth makes calls."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is missing: forks beside a ledger are NOT tested")
    environment = os.environ | {"PYTHONPATH": str(Path(openai_meter.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", FORKS, f"sqlite:///{tmp_path / 'usage.db'}", way],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"late": 0, "stored": True, "waiting": 0, "all written": True, "faults": 0}


def test_fork_hooks_run_in_their_order(hooks):
    """The first lock that is held is released last; hooks without an order run as they were added."""

    def hook(name):
        return {
            "before": lambda: hooks.append(f"before {name}") or name,
            "after_in_parent": lambda note: hooks.append(f"after {note}"),
        }

    fork_safety.on_fork("late", **hook("late"))
    fork_safety.on_fork("ledger", order=Order.LEDGER, **hook("ledger"))
    fork_safety.on_fork("prices", order=Order.PRICES, **hook("prices"))
    fork_safety.on_fork("later", **hook("later"))
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert hooks == [
        "before prices", "before ledger", "before late", "before later",
        "after late", "after later", "after ledger", "after prices",
    ]  # fmt: skip
    assert fork_safety._notes == {}


def test_result_of_the_step_before_a_fork_reaches_the_steps_after_it(hooks):
    """In the parent and in the child."""
    seen = []
    fork_safety.on_fork(
        "test", before=lambda: "note", after_in_parent=seen.append, after_in_child=lambda note: os._exit(len(note))
    )
    child = os.fork()
    _, status = os.waitpid(child, 0)
    assert (os.waitstatus_to_exitcode(status), seen) == (4, ["note"])


def test_results_of_concurrent_forks_are_kept_apart(hooks):
    """A thread between the steps of its fork has its own results, whatever another thread does meanwhile."""
    inside, go_on, got = threading.Event(), threading.Event(), {}
    names = iter(("first", "second"))

    def before():
        name = next(names)
        if name == "first":
            inside.set()
            go_on.wait(60)
        return name

    fork_safety.on_fork("test", before=before, after_in_parent=lambda note: got.update({threading.get_ident(): note}))

    def fork():
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    first = threading.Thread(target=fork)
    first.start()
    assert inside.wait(60)
    fork()
    go_on.set()
    first.join(60)
    assert got == {threading.get_ident(): "second", first.ident: "first"}


def test_failed_fork_hook_does_not_stop_the_others(hooks, monkeypatch):
    """A fault in a hook is counted; the hooks after it run, and so does the fork."""
    monkeypatch.setattr(faults, "reraise", False)
    fork_safety.on_fork("bad", order=1, before=lambda: 1 / 0, after_in_parent=lambda note: hooks.append(note))
    fork_safety.on_fork("good", order=2, before=lambda: 2, after_in_parent=lambda note: hooks.append(note))
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert hooks == [2, None]
    assert faults.count() == 1
    faults.forget()


def test_fork_hooks_are_registered_in_one_module():
    """Only this registry asks Python for hooks around a fork, so that they have an order."""
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "os.register_at_fork" in path.read_text(encoding="utf-8")
    ]
    assert found == ["core/fork_safety.py"]
