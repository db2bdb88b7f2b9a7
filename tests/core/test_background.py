"""Work beside the program: nothing is lost, nobody waits for what is not theirs, and no thread stays for nothing."""

from __future__ import annotations

import os
import threading

import pytest

from openai_meter.core import background, faults
from openai_meter.core.background import Worker


@pytest.fixture
def idle(monkeypatch):
    """A worker whose thread ends soon."""
    monkeypatch.setattr(background, "IDLE", 0.01)
    return Worker("test worker", limit=5)


def test_without_a_thread_whoever_drains_does_the_work(idle):
    """Jobs are done in their order by the one who waits for them."""
    done = []
    for number in range(3):
        assert idle.submit(lambda number=number: done.append((number, threading.current_thread())))
    assert done == []
    assert idle.drain()
    assert done == [(number, threading.current_thread()) for number in range(3)]


def test_a_full_queue_says_so(idle):
    """Beyond its limit a job is not taken; the others are done."""
    done = []
    assert [idle.submit(lambda: done.append(1)) for _ in range(7)] == [True] * 5 + [False] * 2
    idle.drain()
    assert len(done) == 5


def test_a_thread_does_the_work_and_ends(idle):
    """A started thread does what waits, and is gone when there is nothing more; the next start makes another."""
    for _ in range(3):
        done = threading.Event()
        idle.submit(done.set)
        idle.start()
        assert done.wait(60)
        assert idle._thread.join(60)
    assert idle.drain()


def test_no_thread_is_started_for_nothing(idle):
    """Starting without work starts nothing."""
    idle.start()
    assert not idle.running


def test_jobs_from_many_threads_are_all_done_once(idle, monkeypatch):
    """Whatever the order of submitting, starting, ending and draining: each job that was taken is done once."""
    monkeypatch.setattr(background, "IDLE", 0.0005)
    many = Worker("test worker", limit=100_000)
    done: list[int] = []

    def work(place):
        for number in range(300):
            many.submit(lambda name=(place, number): done.append(name))
            many.start()
            if number % 50 == 0:
                many.drain()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert many.drain()
    assert sorted(done) == [(place, number) for place in range(8) for number in range(300)]


def test_draining_waits_for_what_is_being_done(idle):
    """A job that the thread is at is waited for, as long as patience lasts."""
    begun, go_on = threading.Event(), threading.Event()
    idle.submit(lambda: (begun.set(), go_on.wait(60)))
    idle.start()
    assert begun.wait(60)
    assert not idle.drain(patience=0.01)
    go_on.set()
    assert idle.drain()


def test_draining_ends_though_work_keeps_coming(idle):
    """What comes in while the queue is drained is not waited for."""
    done = []

    def again():
        done.append(1)
        if len(done) < 1_000:
            idle.submit(again)

    idle.submit(again)
    assert idle.drain()
    assert len(done) < 10


def test_a_job_that_fails_is_a_fault_and_the_next_is_done(idle, monkeypatch):
    """A fault in a job is counted and keeps nothing from being done."""
    monkeypatch.setattr(faults, "reraise", False)
    done = []
    idle.submit(lambda: 1 / 0)
    idle.submit(lambda: done.append(1))
    assert idle.drain()
    assert done == [1]
    assert faults.count() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_empty(idle):
    """What was queued belongs to the parent, also if its thread is in the middle of a job."""
    begun, go_on = threading.Event(), threading.Event()
    idle.submit(lambda: (begun.set(), go_on.wait(60)))
    idle.submit(lambda: None)
    idle.start()
    assert begun.wait(60)
    child = os.fork()
    if not child:
        idle.start_over_in_child()
        os._exit(0 if idle.drain(patience=1) and idle.submit(lambda: None) and idle.drain(patience=1) else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    assert status == 0
    assert idle.drain()


def test_submitting_does_not_wait(idle):
    """A job is put into the queue while another is being done."""
    begun, go_on = threading.Event(), threading.Event()
    idle.submit(lambda: (begun.set(), go_on.wait(60)))
    idle.start()
    assert begun.wait(60)
    assert idle.submit(lambda: None)
    go_on.set()  # a submit that waited for the job would not come here
    assert idle.drain()
