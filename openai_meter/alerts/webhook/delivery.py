"""Delivers alerts to webhooks beside the program: each in its own thread, in order, again and again until one is taken.

An alert is put into its target's queue by whoever counts the call, which never waits. A thread takes one after the
other; while the target does not take the first, the others wait behind it. The thread is started for work and ends
when there is none. A queue is bounded: when it is full, its oldest alert makes room.

A failure is an unanswered request, or an answer that may be another one later: all but a 2xx, a 410 (the target is
gone: nothing is sent there any more), and the other 4xx that say that the request is wrong. Retries follow with
exponential backoff and full jitter, or when the target asks for them, until the alert is older than ``retry_for``.

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
from openai_meter.alerts.webhook.payloads import Letter, Message, write
from openai_meter.core import faults, fork_safety
from openai_meter.core.background import IDLE, IdleThread
from openai_meter.core.native import Empty, Lock, RLock, SimpleQueue, get

__all__ = ["LIMIT", "Target", "Ways", "finish", "flush", "targets_for"]

logger = logging.getLogger("openai_meter")

LIMIT = 1_000
"""How many alerts wait for one target at most."""
_SOONEST, _LATEST = 1.0, 300.0
"""The first retry comes within a second, later ones within twice as long each, at most five minutes: so soon an alert
arrives when a target is back."""
_LONGEST_ASKED = 3_600.0
"""Seconds that a target can ask us to wait at most."""
_AT_EXIT = 5.0
"""Seconds that the end of the process waits for all targets together at most."""
_LATER = frozenset({408, 409, 425, 429})
"""The 4xx that may be another answer later."""
_GONE = 410


def _dice() -> float:
    return secrets.randbelow(1 << 32) / (1 << 32)


def _wait(kicks: SimpleQueue[None], seconds: float) -> bool:
    try:
        get(kicks, seconds)
    except Empty:
        return False
    return True


class Ways(NamedTuple):
    """How time and chance reach a target."""

    clock: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = _dice
    """From 0 up to 1."""
    wait: Callable[[SimpleQueue[None], float], bool] = _wait
    """Waits, and says whether it was interrupted."""


class _Waiting:
    """A letter in the queue."""

    __slots__ = ("letter", "message", "tries", "until")

    def __init__(self, letter: Letter, until: float) -> None:
        self.letter = letter
        self.until = until
        self.message: Message | None = None
        self.tries = 0


class _Rest(NamedTuple):
    """A pause before the next attempt."""

    until: float
    asked: bool
    """Whether the target has asked for it: then it is not cut short."""


class Target:
    """The queue and the thread of one webhook. Thread-safe; :meth:`put` may be called from anywhere.

    Args:
        webhook: where alerts go.
        ways: clock and chance.
    """

    def __init__(self, webhook: Webhook, ways: Ways | None = None) -> None:
        self.webhook = webhook
        self._ways = ways or Ways()
        self._disabled = False
        prepare(webhook)
        self._start_over()

    def _start_over(self) -> None:
        self._queue: deque[_Waiting] = deque()
        self._current: _Waiting | None = None
        # Queues that may be put to from a finalizer that interrupts another put.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._kicks: SimpleQueue[None] = SimpleQueue()
        self._listeners: list[SimpleQueue[None]] = []
        self._thread = IdleThread("openai_meter webhook", self._turn, self._pending)
        # Held for no longer than a few additions take; a finalizer may hold it once more.
        self._lock = RLock()
        self._counts = WebhookStats(shown(self.webhook))
        self._attempts = 0
        self._rest: _Rest | None = None
        self._said: str | None = None
        self._drops_said = False

    # --- the side of the program --------------------------------------------------------------------------------------

    def put(self, alert: Alert, block: str | None = None) -> None:
        """Puts an alert into the queue, if it is of a kind that the webhook wants. Never waits.

        It is delivered by the thread that is at work, or when somebody calls :meth:`start`.
        """
        if not self.webhook.wants(alert):
            return
        waiting = _Waiting(Letter(alert, block), self._ways.clock() + self.webhook.seconds)
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
        """Makes sure that what waits is delivered. To be called where a thread may be started: not in a finalizer."""
        if self._counts.dropped and not self._drops_said:
            self._drops_said = True
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

    def deliveries(self) -> WebhookStats:
        """What became of the alerts."""
        with self._lock:
            return self._counts._replace(waiting=self.waiting, disabled=self._disabled)

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = self._counts._replace(**{name: getattr(self._counts, name) + n for name, n in more.items()})

    # --- the side of the thread ---------------------------------------------------------------------------------------

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
        self._tell()
        return True

    def _pending(self) -> bool:
        return bool(self._queue)

    def _take(self) -> _Waiting | None:
        with self._lock:
            self._current = self._queue.popleft() if self._queue else None
            return self._current

    def _end(self, **counts: int) -> None:
        """Is done with the current alert."""
        with self._lock:
            self._count(**counts)
            self._current = None

    def _deliver(self, waiting: _Waiting) -> None:
        """Tries until it is done with an alert."""
        while not self._try(waiting):
            rest = self._next_rest(waiting)
            if rest is None:
                self._give_up(f"an alert was not taken in time; {self._counts.last_error}")
                return
            self._rest = rest
            self._tell()
            while (left := rest.until - self._ways.clock()) > 0:
                if self._ways.wait(self._kicks, left) and not rest.asked:
                    break
            self._rest = None

    def _next_rest(self, waiting: _Waiting) -> _Rest | None:
        """The pause before the next attempt; ``None`` if the time for attempts is over."""
        now = self._ways.clock()
        if now >= waiting.until:
            return None
        # Full jitter: targets that were away are not met by everybody at the same moment when they are back.
        backoff = self._ways.dice() * min(_LATEST, _SOONEST * 2.0 ** min(waiting.tries - 1, 30))
        asked = min(_LONGEST_ASKED, self._asked or 0.0)
        return _Rest(min(now + max(backoff, asked), waiting.until), asked > backoff)

    _asked: float | None = None
    """Seconds that the target has asked us to wait, in its latest answer."""

    def _try(self, waiting: _Waiting, patience: float | None = None) -> bool:
        """Makes one attempt; whether that is the end of it."""
        try:
            waiting.message = waiting.message or write(self.webhook, waiting.letter)
        except Exception as error:
            self._give_up(f"its body could not be made ({type(error).__name__})")
            return True
        self._asked = None
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
        return self._judge(answer)

    def _judge(self, answer: Answer) -> bool:
        """Whether an answer is the end of it."""
        status = answer.status
        if 200 <= status < 300:
            with self._lock:
                self._end(sent=1)
                self._counts = self._counts._replace(last_sent_at=datetime.now(UTC))
            if self._said is not None:
                self._said = None
                logger.info("webhook %s takes alerts again", shown(self.webhook))
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
        self._asked = answer.retry_after
        return self._failed(f"it answered {status}")

    def _failed(self, reason: str) -> bool:
        """Notes why an attempt did not succeed; the log hears of it where it is news."""
        with self._lock:
            self._counts = self._counts._replace(last_error=reason)
        if reason != self._said:
            self._said = reason
            logger.warning("webhook %s: %s", shown(self.webhook), reason)
        return False

    def _give_up(self, reason: str) -> None:
        self._end(failed=1)
        self._failed(reason)

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener.put(None)

    # --- the side of those who wait -----------------------------------------------------------------------------------

    def hurry(self, listener: SimpleQueue[None]) -> int:
        """Has what waits tried now, unless the target has asked for a pause; ``listener`` hears of each step.

        Returns:
            How many attempts were made before.
        """
        before = self._attempts
        self._listeners.append(listener)
        self.start()
        self._kicks.put(None)
        return before

    def heard(self, listener: SimpleQueue[None]) -> None:
        """Tells a listener no more."""
        self._listeners.remove(listener)

    def worth_waiting(self, end: float, before: int) -> bool:
        """Whether something may be delivered until a moment, if ``before`` attempts had been made when it was hurried.

        What was tried since, and is only tried again after that moment, is not.
        """
        rest = self._rest
        if not self.waiting or not self._thread.running:
            return False
        return rest is None or rest.until <= end or not (rest.asked or self._attempts > before)

    def hand_over(self, end: float) -> None:
        """Does the thread's work where none can be started: one attempt for each alert, until one fails."""
        while not self._thread.running and (left := end - time.monotonic()) > 0:
            waiting = self._take()
            if waiting is None:
                return
            if not self._try(waiting, left):
                with self._lock:
                    self._queue.appendleft(waiting)
                    self._current = None
                return

    def leave(self) -> None:
        """Counts what waits as failed, and says so: the process ends."""
        with self._lock:
            if left := self.waiting:
                self._queue.clear()
                self._end(failed=left)
        if left:
            logger.warning("the program ended before webhook %s took %d alerts", shown(self.webhook), left)

    def start_over_in_child(self) -> None:
        """Makes the target of a forked child empty and usable: what waits belongs to its parent."""
        self._start_over()


# All targets of this process: two who post to the same webhook share its order and its thread.
_targets: WeakValueDictionary[Webhook, Target] = WeakValueDictionary()
_making = Lock()
_exit_until: float | None = None


def targets_for(webhooks: Iterable[Webhook]) -> tuple[Target, ...]:
    """The targets of webhooks. Thread-safe."""
    with _making:
        return tuple([_targets.get(one) or _targets.setdefault(one, Target(one)) for one in webhooks])


def flush(timeout: float) -> bool:
    """Has everything that waits tried now, and waits until it is delivered.

    Does not wait for a target that has just failed, and is tried again only after that time.

    Args:
        timeout: how many seconds to wait at most.

    Returns:
        Whether everything was delivered, or is out of time.
    """
    end = time.monotonic() + timeout
    told: SimpleQueue[None] = SimpleQueue()
    targets = [one for one in list(_targets.values()) if one.waiting]
    before = [one.hurry(told) for one in targets]
    try:
        for one in targets:
            one.hand_over(end)
        while any(one.worth_waiting(end, made) for one, made in zip(targets, before, strict=True)):
            if not _wait(told, max(0.0, end - time.monotonic())):
                break
    finally:
        for one in targets:
            one.heard(told)
    return not any(one.waiting for one in targets)


def finish() -> None:
    """Tries once more what waits, for some seconds at most; the rest is counted as failed. The process ends."""
    global _exit_until  # noqa: PLW0603 - the end of the process comes in several steps, which share the time
    if _exit_until is None:
        _exit_until = time.monotonic() + _AT_EXIT
    try:
        flush(_exit_until - time.monotonic())
        for one in list(_targets.values()):
            one.leave()
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
