"""Work in the background: a thread that exists only while there is work, and a queue of jobs for one.

Jobs are taken under a lock, so whichever thread drains the queue finds all that has not been done: a reader who wants
final figures, or the end of the program. Without the thread nothing is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from weakref import WeakMethod

from openai_meter.core import faults, fork_safety
from openai_meter.core.native import Empty, Lock, RLock, SimpleQueue, Thread, acquire

__all__ = ["IDLE", "IdleThread", "Worker", "worker"]

Job = Callable[[], object]

_LIMIT = 1_000
"""How many jobs wait at most: each may hold a request."""
IDLE = 2.0
"""Seconds without work after which a thread ends. A process with one thread can be forked safely."""


class IdleThread:
    """A daemon thread that is started for work, and ends when there has been none for a while. Thread-safe.

    It is a thread of the operating system under gevent and eventlet too (see :mod:`openai_meter.core.native`).

    Args:
        name: the name of the thread.
        turn: a method that does one piece of work, and waits for it at most some seconds; returns ``False`` if there
            was none. What it raises is dropped, and the thread goes on: ``turn`` reports its own faults.
        pending: a method that returns whether there is work.
        leave: a method that runs at the end of the thread.

    The methods are referred to weakly, so that their owner is freed as soon as neither the program nor the thread uses
    it.
    """

    __slots__ = ("_leave", "_name", "_pending", "_starting", "_thread", "_turn")

    def __init__(
        self,
        name: str,
        turn: Callable[[], bool],
        pending: Callable[[], object],
        leave: Callable[[], object] | None = None,
    ) -> None:
        self._name = name
        self._turn = WeakMethod(turn)
        self._pending = WeakMethod(pending)
        self._leave = None if leave is None else WeakMethod(leave)
        self._thread: Thread | None = None
        self._starting = Lock()

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread is not None

    def start(self) -> None:
        """Starts the thread, if there is work and no thread. Waits for nothing; may be called in a finalizer."""
        if self._thread is not None:
            return
        pending, turn = self._pending(), self._turn()
        if pending is None or turn is None:  # their owner is being freed
            return
        if pending() and self._starting.acquire(blocking=False):
            try:
                if self._thread is None:  # the thread that held the lock may have started one
                    self._thread = Thread(partial(self._run, turn), self._name)
                    self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is about to end
                self._thread = None
            finally:
                self._starting.release()

    def join(self, timeout: float) -> bool:
        """Waits until the thread has ended, at most ``timeout`` seconds. Returns whether there is none."""
        thread = self._thread
        return thread is None or thread.join(timeout)

    def _run(self, turn: Callable[[], bool]) -> None:
        going_on = True
        while going_on:
            with suppress(BaseException):  # SystemExit of a callback, and faults that tests raise
                going_on = turn()
        if self._leave is not None and (leave := self._leave()) is not None:
            with suppress(BaseException):
                leave()
        self._thread = None
        self.start()  # work may have come in meanwhile, from a thread that saw this one running


class Worker:
    """A queue of jobs, and a thread that does them one after the other.

    Thread-safe, and usable in finalizers and signal handlers.

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
        # Its put() may interrupt another put() of the same thread, in a finalizer. That of queue.Queue must not.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._doing = RLock()
        self._at_work = 0
        """How many jobs are being done: more than one if a signal handler has interrupted a job to do the rest."""
        self._thread = IdleThread(self._name, self._turn, self._pending)

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread.running

    def start(self) -> None:
        """Starts the thread if there are jobs. Never waits."""
        if self._jobs:  # every call comes here
            self._thread.start()

    def submit(self, job: Job) -> bool:
        """Puts a job at the end of the queue, without waiting.

        The thread does it if it is running; else :meth:`start` or :meth:`drain` has to be called.

        Returns:
            ``False`` if the queue is full, and the job was not taken.
        """
        if len(self._jobs) >= self._limit:
            return False
        self._jobs.append(job)
        self._wake.put(None)
        return True

    def drain(self, patience: float = 10.0) -> bool:
        """Does the jobs that are in the queue now, and waits for the one that is being done.

        Jobs that come in meanwhile are left.

        Args:
            patience: how many seconds to wait for a job that another thread does.

        Returns:
            Whether everything was done.
        """
        left = len(self._jobs)
        if not left and not self._at_work:  # in this order: a job that has left the queue is being done
            return True
        while acquire(self._doing, patience):
            try:
                if left <= 0 or not self._jobs:
                    return True
                self._do_next()
                left -= 1
            finally:
                self._doing.release()
        return False

    def _do_next(self) -> None:
        self._at_work += 1
        try:
            job = self._next()
            if job is not None:
                job()
        except Exception as error:
            faults.caught(error, "work in the background")
        finally:
            self._at_work -= 1

    def _next(self) -> Job | None:
        try:
            return self._jobs.popleft()
        except IndexError:  # another thread has done it
            return None

    def _turn(self) -> bool:
        try:
            self._wake.get(timeout=IDLE)
        except Empty:
            return False
        with self._doing:
            self._do_next()
        return True

    def _pending(self) -> bool:
        return bool(self._jobs)

    def start_over_in_child(self) -> None:
        """Makes the worker of a forked child empty and usable: what was queued belongs to its parent."""
        self._start_over()


worker = Worker("openai_meter worker")
"""The worker of this process."""

fork_safety.on_fork("worker", after_in_child=lambda _: worker.start_over_in_child())
