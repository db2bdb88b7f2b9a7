"""Sessions that are billed by the second: what they grow by is claimed bit by bit, each second once in a process.

The API says all seconds so far, again and again, and says them to every connection that hears of a session. A session
may go on for hours: it is recorded in stretches, and what is left when it ends.
"""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from openai_meter.core import fork_safety
from openai_meter.core.bounded import Bounded
from openai_meter.core.call import Status, UsageSource
from openai_meter.core.native import RLock
from openai_meter.core.usage import Usage
from openai_meter.instrumentation.websockets.turn import TRANSLATION, Turn
from openai_meter.metering.meter import Meter, Readable
from openai_meter.usage.endpoints import Endpoint

__all__ = ["Stretches"]

_STRETCH = 60.0
"""Seconds that make a stretch: alerts and totals lag behind no longer."""
_NEAR = 512
"""How far both ends of an event are searched for the time that has passed."""
_find_elapsed = re.compile(rb'"elapsed_ms": ?([0-9]{1,12})').search

_claimed: weakref.WeakKeyDictionary[Meter, Bounded[str, float]] = weakref.WeakKeyDictionary()
"""How many seconds of a session a meter has counted. The meter's own memory would do, were it not for its reset."""
_claiming = RLock()  # a finalizer may come in the middle


def _claim(session: str, meter: Meter, total: float, unheard: float) -> float | None:
    """The seconds that are the caller's to count; ``None`` if it is the first to ask, and there are none yet."""
    with _claiming:
        counted = _claimed.get(meter)
        if counted is None:
            counted = _claimed[meter] = Bounded(10_000)
        before = counted.get(session)
        if before is not None and total <= before:
            return 0.0
        counted.put(session, total)
    grown = round(total - max(before or 0.0, unheard), 6)
    return None if before is None and grown <= 0 else max(grown, 0.0)


def _open_in_child(_: object) -> None:
    global _claiming  # noqa: PLW0603 - who held it may be gone
    _claiming = RLock()


fork_safety.on_fork("timed sessions", after_in_child=_open_in_child)


class _Stretch(Turn):
    """A stretch of a session."""

    __slots__ = ()

    def counted(self) -> bool:
        """Whether others have counted the session's seconds, and this has none of them."""
        counted = _claimed.get(self.listeners[0].meter)
        return not self.response.extra and counted is not None and counted.get(self.response.response_id or "") != 0

    def _write(
        self,
        end: Any,
        split: Iterable[tuple[str | None, Usage | None]],
        source: UsageSource = "api",
        unknown: tuple[str, ...] = (),
        rule: str | None = None,
    ) -> None:
        # Translations do not report what is billed.
        super()._write(end, split, "elapsed" if self.row is TRANSLATION else source, unknown, rule)


class Stretches:
    """The stretches of the session on one connection.

    Args:
        row: the endpoint.
        listen: who listens at the moment.
        provider: who answers: ``openai``, ``azure`` or a host.
        host: the host that answers.
    """

    def __init__(self, row: Endpoint, listen: Callable[[], tuple[Readable, ...]], provider: str, host: str) -> None:
        self._row = row
        self._listen = listen
        self._provider = provider
        self._host = host
        self._session: str | None = None
        self._model: str | None = None
        self._now: _Stretch | None = None
        self._since = (time.time(), time.perf_counter())
        self._elapsed = 0
        self._unheard = 0.0

    def begin(self, session: str | None, model: str | None) -> None:
        """Hears which session it is, and of which model; again and again."""
        self._session = session or self._session
        self._model = model or self._model
        if self._now is None:
            self.grow(0.0)

    def grow(self, total: float) -> None:
        """Counts what the session has grown by, if it has ``total`` seconds by now."""
        listeners = self._listen()
        if not listeners or self._session is None:
            self._unheard = max(self._unheard, total)
            return
        grown = _claim(self._session, listeners[0].meter, total, self._unheard)
        if grown == 0:
            return
        now = self._now
        if now is not None and (now.finished or now.listeners != listeners):
            self._finish("ok")
            now = None
        if now is None:
            now = self._now = _Stretch(self._row, listeners, self._provider, self._host, {"model": self._model})
            now.since(*self._since)
            now.response.response_id = self._session
            now.open()
        now.response.model = self._model
        if grown:
            said = round(now.response.extra.get("seconds", 0.0) + grown, 6)
            now.response.extra = {"seconds": said}
            if said >= _STRETCH:
                self._finish("ok")

    def passed(self, message: bytes) -> None:
        """Sees a piece of a translation, which says how far into the session it is."""
        found = _find_elapsed(message, max(len(message) - _NEAR, 0)) or _find_elapsed(message, 0, _NEAR)
        if found is not None and (now := int(found[1])) > self._elapsed:
            before, self._elapsed = self._elapsed, now
            if now // 1000 > before // 1000:
                self.grow(now / 1000)

    def end(self, state: Status | None) -> None:
        """Ends the session; ``None``: nobody knows whether it has ended, only that nothing more will be heard."""
        if self._elapsed:
            self.grow(self._elapsed / 1000)
        self._finish(state)

    def collected(self) -> None:
        """Hears that the connection is being collected: nothing may be begun any more."""
        self._elapsed = 0
        if self._now is not None:
            self._now.collected = True

    def _finish(self, state: Status | None) -> None:
        self._since = (time.time(), time.perf_counter())
        now, self._now = self._now, None
        if now is not None:
            now.response.state = state
            now.finish(whole=state is not None)
