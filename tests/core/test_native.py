"""Threads, locks and queues of the meter are those of the operating system, whatever has been patched."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paths import PACKAGE

import openai_meter
from openai_meter.core import native
from openai_meter.core.background import IdleThread

PROGRAM = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
library, order, url = sys.argv[1:]
def patch():
    if library == "gevent":
        from gevent import monkey
        monkey.patch_all()
    else:
        import eventlet
        eventlet.monkey_patch()
if order == "before":
    patch()
import openai_meter
from openai_meter.core import native
from openai_meter.core.background import worker
main, alerting = native.get_ident(), []
meter = openai_meter.install(
    ledger=url, thresholds={"calls": 3}, on_alert=lambda alert: alerting.append(native.get_ident())
)
if order == "after":
    patch()
if library == "gevent":
    import gevent
    sleep, spawn, join = gevent.sleep, gevent.spawn, gevent.joinall
else:
    import eventlet
    sleep, spawn, join = eventlet.sleep, eventlet.spawn, lambda greenlets: [one.wait() for one in greenlets]
from openai_meter.testing import fake_client
client = fake_client()
def ask(number):
    with openai_meter.tag(agent=str(number % 3)):
        for _ in range(4):
            for _ in client.chat.completions.create(
                model="gpt-5-mini", messages=[{"role": "user", "content": "Hi"}], stream=True
            ):
                sleep(0.001)
join([spawn(ask, number) for number in range(6)])
stored = meter.flush(60)
worker.submit(list)
worker.start()
ticks, end = 0, time.monotonic() + 60
while worker.running and time.monotonic() < end:
    sleep(0.02)
    ticks += 1
print(json.dumps({
    "calls": meter.totals.calls, "agents": sorted(one.calls for one in meter.by("agent").values()),
    "stored": stored, "written": meter.ledger.stats.written, "waiting": meter.ledger.stats.waiting,
    "alerts": len(alerting), "alert in the main thread": main in alerting, "ticks": ticks, "ended": not worker.running,
    "faults": meter.internal_errors,
}))
"""


def needs(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is missing: greenlets beside our threads are NOT tested; pip install {module}")


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_program_patched_by_gevent_or_eventlet_is_metered(library, order, tmp_path):
    """Patched before or after the import: all is counted and stored, and greenlets run while our threads wait."""
    needs(library, "sqlalchemy")
    environment = os.environ | {"PYTHONPATH": str(Path(openai_meter.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, library, order, f"sqlite:///{tmp_path / 'usage.db'}"],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    ticks = found.pop("ticks")
    assert found == {
        "calls": 24, "agents": [8, 8, 8], "stored": True, "written": 24, "waiting": 0, "alerts": 1,
        "alert in the main thread": False, "ended": True, "faults": 0,
    }  # fmt: skip
    assert ticks >= 5, "the program stood still while a thread of the meter waited"


IMPORTS = """
import sys
from gevent import monkey
import openai_meter
from openai_meter.core import native
meter = openai_meter.install(stream_usage="never")
monkey.patch_all()
class Log:
    names = []
    def find_spec(self, name, path=None, target=None):
        if native.get_ident() in native._ours:
            self.names.append(name)
sys.meta_path.insert(0, Log())
from openai_meter.testing import fake_client
hello = [{"role": "user", "content": "Hi"}]
list(fake_client().chat.completions.create(model="gpt-5-mini", messages=hello, stream=True))
meter.flush(60)
print(meter.calls[0].usage_source, meter.calls[0].cost_status, *Log.names)
"""


def test_threads_of_a_patched_program_import_nothing(tmp_path):
    """Import locks are gevent's there: the modules for prices and estimates are loaded before the threads start."""
    needs("gevent")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(openai_meter.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    source, status, *names = done.stdout.splitlines()[-1].split()
    assert (source, status) == ("tiktoken", "priced")
    assert [name for name in names if name.startswith(("openai_meter", "tiktoken"))] == []


def test_threads_and_locks_come_from_one_module():
    """Only ``core.native`` starts a thread or makes a lock, as a library could replace others by a greenlet's."""
    allowed = {"core/native.py", "server/cache.py", "metering/thread_context.py"}
    own_processes = ("cli/", "testing/", "server/", "docs/", "examples/")
    names = ("threading.Thread(", "threading.Lock(", "threading.RLock(", "threading.Event(", "from queue import")
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in names)
    }
    assert {name for name in found - allowed if not name.startswith(own_processes)} == set()


def test_locks_have_types_that_eventlet_does_not_replace():
    """eventlet replaces every object of the type of ``threading.RLock()`` that it finds."""
    assert type(native.RLock()) is not type(threading.RLock())
    assert type(native.Lock()) is not type(threading.Lock())
    lock = native.RLock()
    assert lock.acquire(blocking=False)
    assert lock._is_owned()
    lock.release()


def test_thread_is_listed_under_its_name_while_it_runs():
    """Afterwards it is not listed, and others can wait for its end."""
    begun, go_on = native.Event(), native.Event()

    def work():
        begun.set()
        go_on.wait(60)

    before = threading.enumerate()
    thread = native.Thread(work, "openai_meter test")
    thread.start()
    assert begun.wait(60)
    assert "openai_meter test" in [one.name for one in threading.enumerate()]
    assert thread.is_alive()
    assert not thread.join(0.01)
    go_on.set()
    assert thread.join(60)
    assert not thread.is_alive()
    assert threading.enumerate() == before


def test_event_wakes_every_waiter():
    """Setting it again changes nothing."""
    event = native.Event()
    assert not event.is_set()
    assert not event.wait(0.001)
    event.set()
    event.set()
    assert event.is_set()
    assert event.wait()
    assert event.wait(0)


def test_waits_let_others_run_where_sleep_is_patched(monkeypatch):
    """Where ``time.sleep`` is patched, a wait for a lock or a queue is made of short sleeps; our own threads
    wait as usual."""
    slept, lock, queue = [], native.Lock(), native.SimpleQueue()
    lock.acquire()

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            lock.release()
        if len(slept) == 6:
            queue.put("item")

    monkeypatch.setattr(time, "sleep", sleep)
    assert native.acquire(lock, 10)
    assert native.get(queue, 10) == "item"
    assert len(slept) == 6
    assert not native.acquire(lock, 0.0)
    with pytest.raises(native.Empty):
        native.get(queue, 0.0)
    ours, main = [], native.get_ident()
    thread = native.Thread(lambda: ours.append(native.acquire(lock, 0.01)), "openai_meter test")
    monkeypatch.setattr(time, "sleep", lambda _: ours.append("slept") if native.get_ident() != main else None)
    thread.start()
    assert thread.join(60)
    assert ours == [False]


def test_idle_thread_survives_system_exit():
    """``SystemExit`` of a callback ends neither the thread nor the next job."""

    class Work:
        def __init__(self):
            self.left, self.done = [SystemExit, KeyboardInterrupt, ValueError, None], native.Event()
            self.thread = IdleThread("openai_meter test", self.turn, self.pending)

        def pending(self):
            return bool(self.left)

        def turn(self):
            if not self.left:
                return False
            if (error := self.left.pop(0)) is not None:
                raise error
            self.done.set()
            return True

    work = Work()
    work.thread.start()
    assert work.done.wait(60)
    assert work.thread.join(60)
    assert not work.thread.running
