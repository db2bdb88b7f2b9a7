"""Work that nobody should wait for: estimates and the like, done one after the other beside the program.

Jobs are taken under a lock, so whoever drains the queue finds all that has not been done: readers who want a final
figure, and the end of the program. That also makes the thread a convenience: without it nothing is lost. It is started
for work, and ends when there is none.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from openai_meter.core import faults

__all__ = ["Worker", "worker"]

Job = Callable[[], object]

_LIMIT = 1_000
"""How many jobs wait at most: each may hold a request."""
_IDLE = 2.0
"""Seconds after which a thread without work ends: a process with one thread can be forked without a second thought."""


class Worker:
    """A queue of jobs, and a daemon thread that does them. Thread-safe, and usable in finalizers and signal handlers.

    Args:
        name: the name of the thread.
        limit: how many jobs wait at most.
    """

    def __init__(self, name: str, limit: int = _LIMIT) -> None:
        self._name = name
        self._limit = limit
        self._start_over()

    def _start_over(self) -> None:
        self._jobs: deque[Job] = deque()
        # Of the two, only this one may be put to from a finalizer that interrupts another put.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._doing = threading.RLock()
        self._at_work = 0
        """How many jobs are being done; more than one where a signal handler has interrupted a job to do the rest."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Makes sure that what waits is done. To be called where a thread may be started: not in a finalizer."""
        if self._jobs and self._thread is None and self._starting.acquire(blocking=False):
            try:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is about to end: draining does it
                self._thread = None
            finally:
                self._starting.release()

    def submit(self, job: Job) -> bool:
        """Puts a job at the end of the queue, without waiting; ``False`` if it is full, and the job is not taken.

        It is done when somebody calls :meth:`start` or :meth:`drain`, or by the thread that is at work already.
        """
        if len(self._jobs) >= self._limit:
            return False
        self._jobs.append(job)
        self._wake.put(None)
        return True

    def drain(self, patience: float = 10.0) -> bool:
        """Does what is in the queue by now, and waits for what is being done; what comes in meanwhile it leaves.

        Args:
            patience: how many seconds to wait for a job that somebody else is at.

        Returns:
            Whether everything was done.
        """
        left = len(self._jobs)
        if not left and not self._at_work:  # in this order: a job that has left the queue is at work
            return True
        while self._doing.acquire(timeout=patience):
            try:
                if left <= 0 or not self._jobs:
                    return True
                self._do_one()
                left -= 1
            finally:
                self._doing.release()
        return False

    def _do_one(self) -> None:
        self._at_work += 1
        try:
            job = self._next()
            if job is not None:
                job()
        except Exception as error:
            faults.caught(error, "work beside the program")
        finally:
            self._at_work -= 1

    def _next(self) -> Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:  # somebody else has done it
            return None

    def _run(self) -> None:
        wake, doing = self._wake, self._doing
        while True:
            try:
                wake.get(timeout=_IDLE)
            except Empty:
                self._thread = None
                self.start()  # a job may have come in meanwhile, from somebody who saw a thread here
                return
            with doing, suppress(Exception):  # faults.caught raises in tests only; the thread has to go on
                self._do_one()

    def start_over_in_child(self) -> None:
        """Makes the worker of a forked child empty and usable: what was queued belongs to its parent."""
        self._start_over()


worker = Worker("openai_meter worker")
"""The worker of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=worker.start_over_in_child)
