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


def test_drain_without_a_thread_does_the_jobs_in_order(idle):
    """The caller that waits does the jobs."""
    done = []
    for number in range(3):
        assert idle.submit(lambda number=number: done.append((number, threading.current_thread())))
    assert done == []
    assert idle.drain()
    assert done == [(number, threading.current_thread()) for number in range(3)]


def test_job_for_a_full_queue_is_refused(idle):
    """Beyond its limit a job is not taken; the others are done."""
    done = []
    assert [idle.submit(lambda: done.append(1)) for _ in range(7)] == [True] * 5 + [False] * 2
    idle.drain()
    assert len(done) == 5


def test_thread_does_the_waiting_jobs_and_ends(idle):
    """It ends when there is no more work; the next start makes another."""
    for _ in range(3):
        done = threading.Event()
        idle.submit(done.set)
        idle.start()
        assert done.wait(60)
        assert idle._thread.join(60)
    assert idle.drain()


def test_start_without_work_starts_no_thread(idle):
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


def test_drain_waits_for_the_running_job(idle):
    """Up to its timeout."""
    begun, go_on = threading.Event(), threading.Event()
    idle.submit(lambda: (begun.set(), go_on.wait(60)))
    idle.start()
    assert begun.wait(60)
    assert not idle.drain(patience=0.01)
    go_on.set()
    assert idle.drain()


def test_drain_does_not_wait_for_later_jobs(idle):
    """What comes in while the queue is drained is not waited for."""
    done = []

    def again():
        done.append(1)
        if len(done) < 1_000:
            idle.submit(again)

    idle.submit(again)
    assert idle.drain()
    assert len(done) < 10


def test_failed_job_is_counted_and_the_next_is_done(idle, monkeypatch):
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
def test_forked_child_starts_with_an_empty_queue(idle):
    """Queued jobs belong to the parent, also if its thread is in the middle of one."""
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


def test_submit_does_not_wait_for_a_running_job(idle):
    """A job is put into the queue while another is being done."""
    begun, go_on = threading.Event(), threading.Event()
    idle.submit(lambda: (begun.set(), go_on.wait(60)))
    idle.start()
    assert begun.wait(60)
    assert idle.submit(lambda: None)
    go_on.set()  # a submit that waited for the job would not come here
    assert idle.drain()
