"""Delivers alerts to webhooks in the background: one thread for each webhook, in order, with retries.

Counting a call puts an alert into the queue of its target and never waits. The thread sends one alert after the other.
While the target does not accept the first, the others wait. The thread starts for work and ends when there is none. A
queue is bounded: when it is full, the oldest alert is dropped.

An attempt has failed if there is no answer, or an answer that may differ later. That is every answer but 2xx, 410 (the
target is gone: nothing is sent to it any more), and the other 4xx, which mean that the request is wrong. Retries follow
with exponential backoff and full jitter, or when the target asks for them, until the alert is older than ``retry_for``.

A forked child begins with empty queues. At the end of the process, all that waits is tried once more.
"""

from __future__ import annotations

import atexit
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from weakref import WeakValueDictionary

from openai_meter.alerts import Alert
from openai_meter.alerts.webhook.config import Webhook, WebhookStats, shown
from openai_meter.alerts.webhook.http import Answer, NotPostedError, post, prepare
from openai_meter.alerts.webhook.payloads import Message, OutgoingAlert, write
from openai_meter.core import faults, fork_safety
from openai_meter.core.background import IDLE, IdleThread
from openai_meter.core.native import Empty, Lock, RLock, SimpleQueue, get

__all__ = ["LIMIT", "Target", "Timing", "finish", "flush", "targets_for"]

logger = logging.getLogger("openai_meter")

LIMIT = 1_000
"""How many alerts wait for one target at most."""
_SOONEST, _LATEST = 1.0, 300.0
"""Seconds until a retry at most: for the first one, and for all later ones. The time doubles with each attempt."""
_LONGEST_REQUESTED = 3_600.0
"""Seconds of pause that a target can request at most."""
_AT_EXIT = 5.0
"""Seconds that the end of the process waits for all targets together at most."""
_LATER = frozenset({408, 409, 425, 429})
"""The 4xx after which a retry makes sense."""
_GONE = 410


def _dice() -> float:
    return secrets.randbelow(1 << 32) / (1 << 32)


def _wait(kicks: SimpleQueue[None], seconds: float) -> bool:
    try:
        get(kicks, seconds)
    except Empty:
        return False
    return True


class Timing(NamedTuple):
    """Clock and random numbers of a target; tests replace them."""

    clock: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = _dice
    """From 0 up to 1."""
    wait: Callable[[SimpleQueue[None], float], bool] = _wait
    """Waits; returns whether it was interrupted."""


class _QueuedAlert:
    """An alert in the queue."""

    __slots__ = ("letter", "message", "tries", "until")

    def __init__(self, letter: OutgoingAlert, until: float) -> None:
        self.letter = letter
        self.until = until
        self.message: Message | None = None
        self.tries = 0


class _Pause(NamedTuple):
    """A pause before the next attempt."""

    until: float
    requested: bool
    """Whether the target has requested it. Then it is not cut short."""


class Target:
    """The queue and the thread of one webhook. Thread-safe; :meth:`put` may be called from anywhere.

    Args:
        webhook: where alerts go.
        timing: clock and random numbers.
    """

    def __init__(self, webhook: Webhook, timing: Timing | None = None) -> None:
        self.webhook = webhook
        self._timing = timing or Timing()
        self._disabled = False
        prepare(webhook)
        self._start_over()

    def _start_over(self) -> None:
        self._queue: deque[_QueuedAlert] = deque()
        self._current: _QueuedAlert | None = None
        # Queues that may be put to from a finalizer that interrupts another put.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._kicks: SimpleQueue[None] = SimpleQueue()
        self._listeners: list[SimpleQueue[None]] = []
        self._thread = IdleThread("openai_meter webhook", self._turn, self._pending)
        # Held for no longer than a few additions take; a finalizer may hold it once more.
        self._lock = RLock()
        self._counts = WebhookStats(shown(self.webhook))
        self._attempts = 0
        self._pause: _Pause | None = None
        self._logged_error: str | None = None
        self._drops_logged = False

    # --- called by the program ----------------------------------------------------------------------------------------

    def put(self, alert: Alert, block: str | None = None) -> None:
        """Puts an alert into the queue, if it is of a kind that the webhook wants. Never waits.

        A running thread delivers it; otherwise it waits for :meth:`start`.
        """
        if not self.webhook.wants(alert):
            return
        waiting = _QueuedAlert(OutgoingAlert(alert, block), self._timing.clock() + self.webhook.seconds)
        with self._lock:
            if self._disabled:
                self._count(failed=1)
                return
            if len(self._queue) >= LIMIT:
                self._queue.popleft()
                self._count(dropped=1)
            self._queue.append(waiting)
        self._wake.put(None)

    def start(self) -> None:
        """Starts the thread if alerts wait. Not to be called in a finalizer, which must not start a thread."""
        if self._counts.dropped and not self._drops_logged:
            self._drops_logged = True
            logger.warning("more than %d alerts wait for %s: the oldest are dropped", LIMIT, shown(self.webhook))
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is a thread that delivers."""
        return self._thread.running

    @property
    def waiting(self) -> int:
        """How many alerts are to be delivered, now or later."""
        return len(self._queue) + (self._current is not None)

    def stats(self) -> WebhookStats:
        """The counts of this target."""
        with self._lock:
            return self._counts._replace(waiting=self.waiting, disabled=self._disabled)

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = self._counts._replace(**{name: getattr(self._counts, name) + n for name, n in more.items()})

    # --- called by the thread -----------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        try:
            self._wake.get(timeout=IDLE)
        except Empty:
            return False
        try:
            if (waiting := self._take()) is not None:
                self._deliver(waiting)
        except Exception:  # faults.caught raises in tests only; the thread has to go on
            self._end(failed=1)
        self._notify_listeners()
        return True

    def _pending(self) -> bool:
        return bool(self._queue)

    def _take(self) -> _QueuedAlert | None:
        with self._lock:
            self._current = self._queue.popleft() if self._queue else None
            return self._current

    def _end(self, **counts: int) -> None:
        """Ends the current alert and adds to the counts."""
        with self._lock:
            self._count(**counts)
            self._current = None

    def _deliver(self, waiting: _QueuedAlert) -> None:
        """Sends an alert, with retries, until it is accepted, refused or too old."""
        while not self._try(waiting):
            pause = self._next_pause(waiting)
            if pause is None:
                self._give_up(f"an alert was not accepted in time; {self._counts.last_error}")
                return
            self._pause = pause
            self._notify_listeners()
            while (left := pause.until - self._timing.clock()) > 0:
                if self._timing.wait(self._kicks, left) and not pause.requested:
                    break
            self._pause = None

    def _next_pause(self, waiting: _QueuedAlert) -> _Pause | None:
        """The pause before the next attempt; ``None`` if the time for attempts is over."""
        now = self._timing.clock()
        if now >= waiting.until:
            return None
        # Full jitter: when a target is back, its senders do not all come at the same moment.
        backoff = self._timing.dice() * min(_LATEST, _SOONEST * 2.0 ** min(waiting.tries - 1, 30))
        requested = min(_LONGEST_REQUESTED, self._requested_pause or 0.0)
        return _Pause(min(now + max(backoff, requested), waiting.until), requested > backoff)

    _requested_pause: float | None = None
    """Seconds of pause that the latest answer of the target has requested."""

    def _try(self, waiting: _QueuedAlert, patience: float | None = None) -> bool:
        """Makes one attempt; returns whether the alert is done."""
        try:
            waiting.message = waiting.message or write(self.webhook, waiting.letter)
        except Exception as error:
            self._give_up(f"its body could not be made ({type(error).__name__})")
            return True
        self._requested_pause = None
        if waiting.tries:
            self._count(retried=1)
        waiting.tries += 1
        message = waiting.message
        try:
            answer = post(self.webhook, message.body, message.signed(self.webhook), patience=patience)
        except NotPostedError as error:
            return self._failed(str(error))
        except Exception as error:  # a fault of ours must not stop what comes after
            faults.caught(error, "posting an alert")
            return self._failed(f"a fault inside openai_meter ({type(error).__name__})")
        finally:
            self._attempts += 1
        return self._read_answer(answer)

    def _read_answer(self, answer: Answer) -> bool:
        """Reads the answer to an attempt; returns whether the alert is done."""
        status = answer.status
        if 200 <= status < 300:
            with self._lock:
                self._end(sent=1)
                self._counts = self._counts._replace(last_sent_at=datetime.now(UTC))
            if self._logged_error is not None:
                self._logged_error = None
                logger.info("webhook %s accepts alerts again", shown(self.webhook))
            return True
        if status == _GONE:
            with self._lock:
                self._disabled = True
                self._end(failed=1 + len(self._queue))
                self._queue.clear()
            self._failed("it is gone (410): nothing is sent there any more")
            return True
        if answer.redirect is not None:
            return self._failed(f"it answered {status}, a redirect to {answer.redirect}, which is not followed")
        if 400 <= status < 500 and status not in _LATER:
            self._give_up(f"it refused an alert with {status}")
            return True
        self._requested_pause = answer.retry_after
        return self._failed(f"it answered {status}")

    def _failed(self, reason: str) -> bool:
        """Notes why an attempt failed, and logs it if it differs from the last time."""
        with self._lock:
            self._counts = self._counts._replace(last_error=reason)
        if reason != self._logged_error:
            self._logged_error = reason
            logger.warning("webhook %s: %s", shown(self.webhook), reason)
        return False

    def _give_up(self, reason: str) -> None:
        self._end(failed=1)
        self._failed(reason)

    def _notify_listeners(self) -> None:
        for listener in tuple(self._listeners):
            listener.put(None)

    # --- called by those who wait -------------------------------------------------------------------------------------

    def deliver_now(self, listener: SimpleQueue[None]) -> int:
        """Sends the waiting alerts now, unless the target has requested a pause; each step is put into ``listener``.

        Returns:
            How many attempts were made before.
        """
        before = self._attempts
        self._listeners.append(listener)
        self.start()
        self._kicks.put(None)
        return before

    def remove_listener(self, listener: SimpleQueue[None]) -> None:
        """Puts no further steps into a listener."""
        self._listeners.remove(listener)

    def worth_waiting(self, end: float, before: int) -> bool:
        """Whether an alert may be delivered until a moment; ``before`` is the number of attempts before the flush.

        An alert that was tried since, and is tried again only after that moment, does not count.
        """
        pause = self._pause
        if not self.waiting or not self._thread.running:
            return False
        return pause is None or pause.until <= end or not (pause.requested or self._attempts > before)

    def deliver_here(self, end: float) -> None:
        """Delivers in this thread if no other can be started: one attempt for each alert, until one fails."""
        while not self._thread.running and (left := end - time.monotonic()) > 0:
            waiting = self._take()
            if waiting is None:
                return
            if not self._try(waiting, left):
                with self._lock:
                    self._queue.appendleft(waiting)
                    self._current = None
                return

    def give_up_all(self) -> None:
        """Counts the waiting alerts as failed and logs it. For the end of the process."""
        with self._lock:
            if left := self.waiting:
                self._queue.clear()
                self._end(failed=left)
        if left:
            logger.warning("the program ended before webhook %s accepted %d alerts", shown(self.webhook), left)

    def start_over_in_child(self) -> None:
        """Makes the target of a forked child empty and usable: what waits belongs to its parent."""
        self._start_over()


# All targets of this process: meters that post to the same webhook share its order and its thread.
_targets: WeakValueDictionary[Webhook, Target] = WeakValueDictionary()
_making = Lock()
_exit_until: float | None = None


def targets_for(webhooks: Iterable[Webhook]) -> tuple[Target, ...]:
    """The targets of webhooks; equal webhooks share one. Thread-safe."""
    with _making:
        return tuple([_targets.get(one) or _targets.setdefault(one, Target(one)) for one in webhooks])


def flush(timeout: float) -> bool:
    """Sends all waiting alerts now, and waits until they are delivered.

    Does not wait for a target that has just failed and whose next attempt is later than that.

    Args:
        timeout: how many seconds to wait at most.

    Returns:
        Whether no alert is waiting any more.
    """
    end = time.monotonic() + timeout
    steps: SimpleQueue[None] = SimpleQueue()
    targets = [one for one in list(_targets.values()) if one.waiting]
    before = [one.deliver_now(steps) for one in targets]
    try:
        for one in targets:
            one.deliver_here(end)
        while any(one.worth_waiting(end, made) for one, made in zip(targets, before, strict=True)):
            if not _wait(steps, max(0.0, end - time.monotonic())):
                break
    finally:
        for one in targets:
            one.remove_listener(steps)
    return not any(one.waiting for one in targets)


def finish() -> None:
    """Tries the waiting alerts once more, for some seconds at most; the others count as failed. For the exit."""
    global _exit_until  # noqa: PLW0603 - the end of the process comes in several steps, which share the time
    if _exit_until is None:
        _exit_until = time.monotonic() + _AT_EXIT
    try:
        flush(_exit_until - time.monotonic())
        for one in list(_targets.values()):
            one.give_up_all()
    except Exception as error:
        faults.caught(error, "delivering the last alerts")


def _start_over_in_child(_: object) -> None:
    global _making, _exit_until  # noqa: PLW0603 - the lock may have been held by a thread that is gone
    _making = Lock()
    _exit_until = None
    for one in list(_targets.values()):
        one.start_over_in_child()


atexit.register(finish)
fork_safety.on_fork("webhooks", after_in_child=_start_over_in_child)
