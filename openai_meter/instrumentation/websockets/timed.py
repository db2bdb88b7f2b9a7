"""Sessions that are billed by the second. Each second is counted once in a process.

The API sends the number of all seconds so far, again and again, to each connection of a session. The growth of
a session since the last time is claimed by one of them. A session may last for hours: each full minute is recorded as a
part of its own, and so is the rest at the end.
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
from openai_meter.metering.meter import MeterCore, Readable
from openai_meter.usage.endpoints import Endpoint

__all__ = ["TimedSessions"]

_PART = 60.0
"""Seconds of a part: alerts and totals are at most that late."""
_NEAR = 512
"""The number of bytes at both ends of an event in which the elapsed time is searched for."""
_find_elapsed = re.compile(rb'"elapsed_ms": ?([0-9]{1,12})').search

_claimed: weakref.WeakKeyDictionary[MeterCore, Bounded[str, float]] = weakref.WeakKeyDictionary()
"""How many seconds of a session a meter has counted. It is kept here, as a meter forgets at its reset."""
_claiming = RLock()  # a finalizer may come in the middle


def _claim(session: str, meter: MeterCore, total: float, uncounted: float) -> float | None:
    """The seconds that the caller has to count; ``None`` if it is the first of the session, and there are none yet."""
    with _claiming:
        counted = _claimed.get(meter)
        if counted is None:
            counted = _claimed[meter] = Bounded(10_000)
        before = counted.get(session)
        if before is not None and total <= before:
            return 0.0
        counted.put(session, total)
    grown = round(total - max(before or 0.0, uncounted), 6)
    return None if before is None and grown <= 0 else max(grown, 0.0)


def _open_in_child(_: object) -> None:
    global _claiming  # noqa: PLW0603 - the thread that held it may be gone
    _claiming = RLock()


fork_safety.on_fork("timed sessions", after_in_child=_open_in_child)


class _Part(Turn):
    """A part of a session."""

    __slots__ = ()

    def counted(self) -> bool:
        """Whether the session's seconds are counted elsewhere, and this part has none of them."""
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
        # Events of translations do not contain what is billed.
        super()._write(end, split, "elapsed" if self.row is TRANSLATION else source, unknown, rule)


class TimedSessions:
    """Records the session of one connection, in parts.

    Args:
        row: the endpoint.
        listen: returns what listens at the moment.
        provider: what answers: ``openai``, ``azure`` or a host.
        host: the host that answers.
    """

    def __init__(self, row: Endpoint, listen: Callable[[], tuple[Readable, ...]], provider: str, host: str) -> None:
        self._row = row
        self._listen = listen
        self._provider = provider
        self._host = host
        self._session: str | None = None
        self._model: str | None = None
        self._part: _Part | None = None
        self._since = (time.time(), time.perf_counter())
        self._elapsed = 0
        self._uncounted = 0.0

    def begin(self, session: str | None, model: str | None) -> None:
        """Sets the session's id and model. It may be called again and again; ``None`` changes nothing."""
        self._session = session or self._session
        self._model = model or self._model
        if self._part is None:
            self.grow(0.0)

    def grow(self, total: float) -> None:
        """Counts the growth of the session; it has ``total`` seconds by now."""
        listeners = self._listen()
        if not listeners or self._session is None:
            self._uncounted = max(self._uncounted, total)
            return
        grown = _claim(self._session, listeners[0].meter, total, self._uncounted)
        if grown == 0:
            return
        part = self._part
        if part is not None and (part.finished or part.listeners != listeners):
            self._finish("ok")
            part = None
        if part is None:
            part = self._part = _Part(self._row, listeners, self._provider, self._host, {"model": self._model})
            part.since(*self._since)
            part.response.response_id = self._session
            part.open()
        part.response.model = self._model
        if grown:
            total = round(part.response.extra.get("seconds", 0.0) + grown, 6)
            part.response.extra = {"seconds": total}
            if total >= _PART:
                self._finish("ok")

    def read_elapsed(self, message: bytes) -> None:
        """Reads an event of a translation, which contains the elapsed time of the session."""
        found = _find_elapsed(message, max(len(message) - _NEAR, 0)) or _find_elapsed(message, 0, _NEAR)
        if found is not None and (elapsed := int(found[1])) > self._elapsed:
            before, self._elapsed = self._elapsed, elapsed
            if elapsed // 1000 > before // 1000:
                self.grow(elapsed / 1000)

    def end(self, state: Status | None) -> None:
        """Ends the session; with ``None`` it may go on elsewhere, but nothing more of it will be received here."""
        if self._elapsed:
            self.grow(self._elapsed / 1000)
        self._finish(state)

    def collected(self) -> None:
        """The connection is being collected: no part may be begun any more."""
        self._elapsed = 0

    def _finish(self, state: Status | None) -> None:
        self._since = (time.time(), time.perf_counter())
        part, self._part = self._part, None
        if part is not None:
            part.response.state = state
            part.finish(whole=state is not None)
