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


def scope():
    return current_attribution().agent, [block.name for block in surroundings.get().blocks]


def in_thread(make):
    """What is said in a thread that ``make`` makes for a function."""
    scopes = []
    thread = make(lambda: scopes.append(scope()))
    thread.start()
    thread.join(60)
    assert "run" not in vars(thread)
    return scopes


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


def test_pool_job_has_the_attribution_of_its_submit(followed):
    """Each job has the scope of its submit; a thread of the pool keeps nothing of the job that it was started for."""
    with ThreadPoolExecutor(1) as pool:
        with tag(agent="a"), track("block"):
            assert pool.submit(scope).result() == ("a", ["block"])
            assert scope() == ("a", ["block"])
        assert pool.submit(scope).result() == (None, [])
        with tag(agent="b"):
            assert list(pool.map(lambda _: scope(), range(3))) == [("b", [])] * 3
        assert pool.submit(scope).result() == (None, [])


def test_pools_and_threads_made_before_install_are_followed():
    """A pool that worked before ``install()``, and a thread that was made before it, are followed."""
    made = Overrides(lambda: scopes.append(scope()))
    scopes = []
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(scope).result() == (None, [])
        openai_meter.install(threads=True)
        with tag(agent="a"):
            assert pool.submit(scope).result() == ("a", [])
            made.start()
    made.join()
    assert scopes == [("a", [])]


def test_executor_job_of_an_event_loop_has_the_attribution_of_its_caller(followed):
    """``run_in_executor`` and ``asyncio.to_thread``, on the pool of the loop and on another."""

    async def main():
        loop = asyncio.get_running_loop()
        with tag(agent="a"), ThreadPoolExecutor(1) as pool:
            assert await loop.run_in_executor(None, scope) == ("a", [])
            assert await loop.run_in_executor(pool, scope) == ("a", [])
            assert await asyncio.to_thread(scope) == ("a", [])
        assert await loop.run_in_executor(None, scope) == (None, [])

    asyncio.run(main())


def test_patched_submit_keeps_signature_results_and_errors(followed):
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
            pool.submit(scope)
        assert scope() == ("a", [])


def test_custom_executors_work_as_without_the_meter(followed):
    """An executor that runs its job at once, calls its parent's submit, or has no threads behaves as before."""

    class Inline(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            return fn(*args, **kwargs)

    class Counting(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            submitted.append(fn)
            return super().submit(fn, *args, **kwargs)

    submitted = []
    with tag(agent="a"), Counting(1) as counting, Inline(1) as inline:
        assert counting.submit(scope).result() == inline.submit(scope) == ("a", [])
    assert submitted == [scope]


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", THREADS.values(), ids=THREADS)
def test_thread_has_the_attribution_of_its_start(followed, make):
    """Whatever its class; a thread that is started outside of all scopes has none."""
    with tag(agent="a"), track("block"):
        assert in_thread(make) == [("a", ["block"])]
    assert in_thread(make) == [(None, [])]


@pytest.mark.parametrize("make", THREADS.values(), ids=THREADS)
def test_threads_are_not_patched_by_default(make):
    """Without ``threads=True`` nothing is patched, and no attribution is passed on."""
    openai_meter.install()
    assert unpatched()
    with tag(agent="a"):
        assert in_thread(make) == [(None, [])]


def test_thread_that_cannot_start_is_unchanged(followed, monkeypatch):
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


def test_run_method_set_on_a_thread_object_is_called(followed):
    """A thread whose ``run`` was set on the object itself runs that, and has it again afterwards."""
    scopes = []
    thread = threading.Thread()
    thread.run = own = lambda: scopes.append(scope())
    with tag(agent="a"):
        thread.start()
    thread.join()
    assert scopes == [("a", [])]
    assert vars(thread)["run"] is own


@pytest.mark.parametrize("first", [True, False])
def test_other_library_that_replaces_run_keeps_working(first, monkeypatch):
    """A library that sets its own ``run`` on each thread as it starts, above or below ours, keeps working."""
    scopes = []

    def patch():
        start = threading.Thread.start

        @wraps(start)
        def patched(self):
            run = getattr(self.run, "__func__", self.run)

            @wraps(run)
            def wrapper(*args):
                scopes.append("theirs")
                return run(self, *args)

            self.run = wrapper
            return start(self)

        monkeypatch.setattr(threading.Thread, "start", patched)

    if first:
        patch()
    openai_meter.install(threads=True)
    if not first:
        patch()
    thread = threading.Thread(target=lambda: scopes.append(scope()))
    with tag(agent="a"):
        thread.start()
    thread.join()
    assert scopes == ["theirs", ("a", [])]
    openai_meter.uninstall()
    monkeypatch.undo()
    if not first:
        openai_meter.install(threads=True)  # finds what it left below the other's wrapper
    openai_meter.uninstall()


def test_error_in_a_thread_reaches_the_hook_of_the_program(followed):
    """It is passed on unchanged."""
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


def test_other_context_variables_are_not_passed_on(followed):
    """They do not reach a pool or a thread, and are not written."""
    theirs = contextvars.ContextVar("theirs", default="untouched")
    theirs.set("here")
    scopes = []

    def work():
        scopes.append((theirs.get(), current_attribution().agent))
        theirs.set("there")

    with tag(agent="a"), ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert scopes == [("untouched", "a")] * 2
    assert theirs.get() == "here"


# --- on and off -------------------------------------------------------------------------------------------------------


def test_threads_are_followed_between_on_and_off():
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


def test_wrapper_below_another_patch_does_nothing_after_uninstall(followed, monkeypatch):
    """If another library has patched on top, our wrapper stays below after ``uninstall()``, and passes
    everything on."""
    submit = ThreadPoolExecutor.submit

    def theirs(self, fn, /, *args, **kwargs):
        return submit(self, fn, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", theirs)
    openai_meter.uninstall()
    assert vars(ThreadPoolExecutor)["submit"] is theirs
    with tag(agent="a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(scope).result() == (None, [])
    monkeypatch.undo()
    openai_meter.uninstall()


def test_calls_in_threads_count_for_their_block(followed):
    """Concurrent calls in a pool and in threads count each for the block and agent of their submitter."""

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


def test_threads_of_a_forked_child_are_followed(followed):
    """The code holds no lock and no thread: threads that were followed before a fork are followed after it."""
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
