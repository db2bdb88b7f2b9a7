"""``install(threads=True)``: attribution and blocks follow into pools and threads, and nothing else changes."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

import contract
import pytest

import openai_meter
from openai_meter import ConfigurationError, track
from openai_meter.metering.attribution import OUTERMOST, current_attribution, surroundings, tag
from openai_meter.metering.thread_context import threads

SUBMIT = vars(ThreadPoolExecutor)["submit"]
START = vars(threading.Thread)["start"]


@pytest.fixture(autouse=True)
def functions_again():
    """Every test leaves the identical functions."""
    assert unpatched()
    yield
    openai_meter.uninstall()
    assert unpatched()
    assert surroundings.get() is OUTERMOST


@pytest.fixture
def followed():
    openai_meter.install(threads=True)


def unpatched():
    return vars(ThreadPoolExecutor)["submit"] is SUBMIT and vars(threading.Thread)["start"] is START


def said():
    return current_attribution().agent, [block.name for block in surroundings.get().blocks]


def in_thread(make):
    """What is said in a thread that ``make`` makes for a function."""
    heard = []
    thread = make(lambda: heard.append(said()))
    thread.start()
    thread.join(60)
    assert "run" not in vars(thread)
    return heard


class Overrides(threading.Thread):
    """A thread with a ``run`` of its own, which does not call its parent's."""

    def __init__(self, work):
        super().__init__()
        self.work = work

    def run(self):
        self.work()


THREADS = {
    "target": lambda work: threading.Thread(target=work),
    "run": Overrides,
    "timer": lambda work: threading.Timer(0, work),
}


# --- pools ------------------------------------------------------------------------------------------------------------


def test_jobs_of_a_pool_follow_and_its_threads_do_not(followed):
    """Each job has what is around its submit; a pool's thread keeps nothing of the job that it was started for."""
    with ThreadPoolExecutor(1) as pool:
        with tag(agent="a"), track("block"):
            assert pool.submit(said).result() == ("a", ["block"])
            assert said() == ("a", ["block"])
        assert pool.submit(said).result() == (None, [])
        with tag(agent="b"):
            assert list(pool.map(lambda _: said(), range(3))) == [("b", [])] * 3
        assert pool.submit(said).result() == (None, [])


def test_pools_and_threads_from_before_follow_too():
    """A pool that worked before ``install()``, and a thread that was made before it, are followed."""
    made = Overrides(lambda: heard.append(said()))
    heard = []
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(said).result() == (None, [])
        openai_meter.install(threads=True)
        with tag(agent="a"):
            assert pool.submit(said).result() == ("a", [])
            made.start()
    made.join()
    assert heard == [("a", [])]


def test_jobs_of_the_event_loop_follow(followed):
    """``run_in_executor`` and ``asyncio.to_thread`` follow, on the loop's own pool and on another."""

    async def main():
        loop = asyncio.get_running_loop()
        with tag(agent="a"), ThreadPoolExecutor(1) as pool:
            assert await loop.run_in_executor(None, said) == ("a", [])
            assert await loop.run_in_executor(pool, said) == ("a", [])
            assert await asyncio.to_thread(said) == ("a", [])
        assert await loop.run_in_executor(None, said) == (None, [])

    asyncio.run(main())


def test_submit_is_what_it_was(followed):
    """Signature, arguments, results and errors of ``submit`` are its own."""
    assert inspect.signature(ThreadPoolExecutor.submit) == inspect.signature(SUBMIT)
    pool = ThreadPoolExecutor(1)
    with tag(agent="a"):
        assert pool.submit(lambda *args, **kwargs: (args, kwargs), 1, there=2, function=3, fn=4).result() == (
            (1,),
            {"there": 2, "function": 3, "fn": 4},
        )
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
        assert isinstance(pool.submit(3).exception(), TypeError)
        with pytest.raises(TypeError, match="fn"):
            pool.submit()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(said)
        assert said() == ("a", [])


def test_odd_executors_follow_or_are_left_alone(followed):
    """An executor that runs its job at once, calls its parent's submit, or knows no threads, does what it did."""

    class Inline(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return fn(*args, **kwargs)

    class Counting(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            submitted.append(fn)
            return super().submit(fn, *args, **kwargs)

    submitted = []
    with tag(agent="a"), Counting(1) as counting, Inline(1) as inline:
        assert counting.submit(said).result() == inline.submit(said) == ("a", [])
    assert submitted == [said]


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", THREADS.values(), ids=THREADS)
def test_threads_follow(followed, make):
    """A thread has what is around its start, whatever its class; one that is started outside has nothing."""
    with tag(agent="a"), track("block"):
        assert in_thread(make) == [("a", ["block"])]
    assert in_thread(make) == [(None, [])]


@pytest.mark.parametrize("make", THREADS.values(), ids=THREADS)
def test_threads_are_left_alone_by_default(make):
    """Without ``threads=True`` nothing is patched, and nothing follows."""
    openai_meter.install()
    assert unpatched()
    with tag(agent="a"):
        assert in_thread(make) == [(None, [])]


def test_a_thread_that_cannot_start_is_as_it_was(followed, monkeypatch):
    """A thread that is started twice, or cannot be started, raises its own error, and has its own ``run`` again."""
    thread = threading.Thread(target=lambda: None)
    with tag(agent="a"):
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="once"):
            thread.start()
        other = threading.Thread(target=lambda: None)
        other.run = own = lambda: None

        def no_more(*_, **__):
            raise RuntimeError("can't start new thread")

        for name in ("_start_new_thread", "_start_joinable_thread"):
            if hasattr(threading, name):
                monkeypatch.setattr(threading, name, no_more)
        with pytest.raises(RuntimeError, match="new thread"):
            other.start()
    assert "run" not in vars(thread)
    assert vars(other)["run"] is own


def test_a_run_of_the_threads_own_is_called(followed):
    """A thread whose ``run`` was set on the object itself runs that, and has it again."""
    heard = []
    thread = threading.Thread()
    thread.run = own = lambda: heard.append(said())
    with tag(agent="a"):
        thread.start()
    thread.join()
    assert heard == [("a", [])]
    assert vars(thread)["run"] is own


@pytest.mark.parametrize("first", [True, False])
def test_others_who_wrap_run_at_the_start(first, monkeypatch):
    """A library that puts its own ``run`` onto each thread as it starts, above or below ours, goes on working."""
    heard = []

    def patch():
        start = threading.Thread.start

        @wraps(start)
        def patched(self):
            run = getattr(self.run, "__func__", self.run)

            @wraps(run)
            def wrapper(*args):
                heard.append("theirs")
                return run(self, *args)

            self.run = wrapper
            return start(self)

        monkeypatch.setattr(threading.Thread, "start", patched)

    if first:
        patch()
    openai_meter.install(threads=True)
    if not first:
        patch()
    thread = threading.Thread(target=lambda: heard.append(said()))
    with tag(agent="a"):
        thread.start()
    thread.join()
    assert heard == ["theirs", ("a", [])]
    openai_meter.uninstall()
    monkeypatch.undo()
    if not first:
        openai_meter.install(threads=True)  # finds what it left below the other's wrapper
    openai_meter.uninstall()


def test_an_error_in_a_thread_is_the_programs(followed):
    """What a thread raises reaches the program's own hook, as it was."""
    raised = []
    hook, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_value)
    error = ValueError("mine")

    def work():
        raise error

    try:
        with tag(agent="a"):
            thread = threading.Thread(target=work)
            thread.start()
        thread.join()
    finally:
        threading.excepthook = hook
    assert raised == [error]


def test_nobody_elses_context_is_taken_along(followed):
    """Other context variables do not follow into a pool or a thread, and are not written to."""
    theirs = contextvars.ContextVar("theirs", default="untouched")
    theirs.set("here")
    heard = []

    def work():
        heard.append((theirs.get(), current_attribution().agent))
        theirs.set("there")

    with tag(agent="a"), ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert heard == [("untouched", "a")] * 2
    assert theirs.get() == "here"


# --- on and off -------------------------------------------------------------------------------------------------------


def test_on_and_off():
    """Threads are followed from ``threads=True`` until ``threads=False`` or ``uninstall()``; others leave it."""
    for end in (lambda: openai_meter.install(threads=False), openai_meter.uninstall):
        openai_meter.install(threads=True)
        openai_meter.install(threads=True)
        openai_meter.install()
        assert threads.followed
        assert not unpatched()
        end()
        assert not threads.followed
        assert unpatched()
    with pytest.raises(ConfigurationError, match="threads='yes' is neither"):
        openai_meter.install(threads="yes")


def test_what_stays_under_somebody_elses_patch_does_nothing(followed, monkeypatch):
    """Where somebody has patched on top, our wrapper stays below after ``uninstall()``, and lets all through."""
    submit = ThreadPoolExecutor.submit

    def theirs(self, fn, /, *args, **kwargs):
        return submit(self, fn, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", theirs)
    openai_meter.uninstall()
    assert vars(ThreadPoolExecutor)["submit"] is theirs
    with tag(agent="a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(said).result() == (None, [])
    monkeypatch.undo()
    openai_meter.uninstall()


def test_calls_in_threads_count_for_their_block(followed):
    """Calls that are made in a pool and in threads at once count each for the block and agent of their submitter."""

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client, ThreadPoolExecutor(4) as pool:

        def work(place):
            with track(f"block {place}", agent=f"agent {place}") as block:
                jobs = [pool.submit(contract.chat, client) for _ in range(5)]
                thread = threading.Thread(target=contract.chat, args=(client,))
                thread.start()
                thread.join()
                [job.result() for job in jobs]
            assert block.totals.calls == 6
            assert {(call.block, call.agent) for call in block.calls} == {(f"block {place}", f"agent {place}")}

        assert contract.threads(4, work) == []
    meter = openai_meter.get_meter()
    assert {row: one.calls for row, one in meter.by("agent", "block").items()} == {
        (f"agent {place}", f"block {place}"): 6 for place in range(4)
    }


def test_a_forked_child_follows_too(followed):
    """The code that runs here holds no lock and no thread: what was followed before a fork is followed after it."""
    out = contract.python("""
import os, threading
from concurrent.futures import ThreadPoolExecutor
import openai_meter
from openai_meter.metering.attribution import current_attribution, tag
openai_meter.install(threads=True)
with tag(agent="a"):
    child = os.fork() if hasattr(os, "fork") else 0
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(lambda: current_attribution().agent).result()
        os.write(1, said.encode() + bytes([10]))  # in one piece: two processes write here
    if child:
        os.waitpid(child, 0)
    else:
        os._exit(0)
""")[1]
    assert out.split() == ["a", "a"]
