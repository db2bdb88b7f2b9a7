"""Exact totals for ever, and the most recent calls: the memory of a meter or of a block.

Adding a call never waits. A call is put into an inbox (an atomic operation of the interpreter) and whoever holds the
lock empties it; readers hold the lock, so what they see is always exact. This also keeps finalizers and signal
handlers out of trouble, which run in the middle of whatever their thread is doing: a stream that is collected while
its thread adds a call can add its own, and a handler that prints a summary finds no closed door.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from openai_meter import faults
from openai_meter.call import Call
from openai_meter.endpoints import ENDPOINTS
from openai_meter.usage import COUNTS, Usage

__all__ = ["Store", "Totals"]

UNKNOWN_MODEL = "(unknown model)"
"""The row of calls whose model neither the request nor the answer names."""

OTHER_MODELS = "(other models)"
"""The row of all models beyond the first thousand: a program that lets its users name models has no end of names."""
_MODELS = 1_000

_FREE = frozenset(row.name for row in ENDPOINTS if row.free)


_NO_USAGE = Usage(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sum over a number of calls, as it was at one moment.

    Token counts are sums over the calls whose usage is known; ``unmeasured_calls`` says for how many it is not.
    """

    calls: int = 0
    errors: int = 0
    """Calls that raised, or that the API answered as failed."""
    unmeasured_calls: int = 0
    """Calls that the API may have billed without saying what they used."""
    usage: Usage = _NO_USAGE
    first_call_at: datetime | None = None
    last_call_at: datetime | None = None

    def __getattr__(self, name: str) -> Any:
        # Every count of Usage is a count of the totals, under the same name: totals.input_tokens.
        if name in _USAGE_NAMES:
            return getattr(self.usage, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __add__(self, other: Totals) -> Totals:
        """The totals over both; times are the first and the last of either."""
        if not isinstance(other, Totals):
            return NotImplemented
        times = [at for at in (self.first_call_at, other.first_call_at) if at is not None]
        later = [at for at in (self.last_call_at, other.last_call_at) if at is not None]
        return Totals(
            self.calls + other.calls,
            self.errors + other.errors,
            self.unmeasured_calls + other.unmeasured_calls,
            self.usage + other.usage,
            min(times, default=None),
            max(later, default=None),
        )

    def to_dict(self) -> dict[str, Any]:
        """The totals as plain JSON values."""
        return {
            "calls": self.calls,
            "errors": self.errors,
            "unmeasured_calls": self.unmeasured_calls,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "total_tokens": self.usage.total_tokens,
            **{name: getattr(self.usage, name) for name in COUNTS},
            "first_call_at": self.first_call_at and self.first_call_at.isoformat(),
            "last_call_at": self.last_call_at and self.last_call_at.isoformat(),
        }


_USAGE_NAMES = frozenset({"input_tokens", "output_tokens", "total_tokens", *COUNTS})


class _Sum(NamedTuple):
    """Totals in the making. A new one takes the place of the old in one step, whatever interrupts the adding."""

    calls: int = 0
    errors: int = 0
    unmeasured: int = 0
    input: int = 0
    output: int = 0
    total: int = 0
    counts: Mapping[str, Any] = MappingProxyType({})
    first: datetime | None = None
    last: datetime | None = None

    def plus(self, call: Call) -> _Sum:
        usage = call.usage
        counts = self.counts
        if more := {name: number for name in COUNTS if (number := getattr(usage, name))}:
            counts = {**counts, **{name: counts.get(name, 0) + number for name, number in more.items()}}
        at = call.started_at
        # Calls arrive as they end: the first to begin need not be the first to arrive.
        return _Sum(
            self.calls + 1,
            self.errors + call.failed,
            self.unmeasured + (not _measured(call)),
            self.input + (usage.input_tokens or 0),
            self.output + (usage.output_tokens or 0),
            self.total + (usage.total_tokens or 0),
            counts,
            at if self.first is None or at < self.first else self.first,
            at if self.last is None or at > self.last else self.last,
        )

    def totals(self) -> Totals:
        usage = Usage(self.input, self.output, self.total, **self.counts)
        return Totals(self.calls, self.errors, self.unmeasured, usage, self.first, self.last)


def _measured(call: Call) -> bool:
    """Whether it is known what a call used: tokens, or what else it is billed by.

    An error before there was any answer has used nothing.
    """
    usage = call.usage
    if usage.total_tokens is not None or usage.seconds or usage.characters or usage.images:
        return True
    return call.endpoint in _FREE or (call.status == "error" and call.time_to_first_token is None)


_NOTHING = _Sum()


class Store:
    """The memory of a meter: totals per model and overall, and a ring of recent calls. Thread-safe.

    Args:
        recent: how many calls the ring holds; the totals go on for ever.
    """

    def __init__(self, recent: int = 10_000) -> None:
        self._inbox: deque[Call] = deque()
        self._lock = threading.RLock()
        self._emptying = False
        self._ring: deque[Call] = deque(maxlen=recent)
        self._models: dict[str, _Sum] = {}

    def add(self, call: Call) -> None:
        """Adds a finished call. Never waits, and may be called from anywhere, a finalizer included."""
        self._inbox.append(call)
        # Again after the release: a call that came in at the very end of the loop inside would be left lying.
        while self._inbox and not self._emptying and self._lock.acquire(blocking=False):
            try:
                self._empty_inbox()
            finally:
                self._lock.release()

    def _empty_inbox(self) -> None:
        if self._emptying:  # the lock is re-entrant: this is a finalizer or a signal handler inside the loop below
            return
        self._emptying = True
        try:
            while self._inbox:
                call = self._inbox[0]
                try:
                    self._count(call)
                except Exception as error:
                    self._inbox.popleft()  # or it would be in everybody's way
                    faults.caught(error, "counting a call")
        finally:
            self._emptying = False

    def _count(self, call: Call) -> None:
        """Counts the first call of the inbox.

        The sum is made aside, and put in its place and out of the inbox in two steps between which the interpreter
        looks at no signal: an exception that a signal handler raises finds the call in the inbox, or counted.
        """
        models = self._models
        model = call.model or UNKNOWN_MODEL
        if model not in models and len(models) >= _MODELS:
            model = OTHER_MODELS
        counted = models.get(model, _NOTHING).plus(call)
        if models is not self._models:  # a signal handler has reset the store meanwhile
            return
        models[model] = counted
        self._inbox.popleft()
        self._ring.append(call)

    def totals(self) -> Totals:
        """The totals over all calls so far."""
        return self.snapshot()[0]

    def by_model(self) -> Mapping[str, Totals]:
        """The totals per model, in the order in which the models were first seen."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[Totals, Mapping[str, Totals]]:
        """The overall totals and those per model, of the same moment: the second always sum up to the first."""
        with self._lock:
            self._empty_inbox()
            models = self._models.copy()
        return _overall(models), MappingProxyType({model: one.totals() for model, one in models.items()})

    def calls(self) -> tuple[Call, ...]:
        """The most recent calls, oldest first."""
        with self._lock:
            self._empty_inbox()
            return tuple(self._ring)

    def reset(self) -> Totals:
        """Forgets everything, and returns the totals up to that moment."""
        with self._lock:
            self._empty_inbox()
            before, self._models = self._models, {}
            self._ring.clear()
        return _overall(before)

    def resize(self, recent: int) -> None:
        """Changes how many recent calls are kept."""
        with self._lock:
            self._empty_inbox()
            self._ring = deque(self._ring, maxlen=recent)

    @property
    def recent(self) -> int:
        """How many recent calls are kept."""
        return self._ring.maxlen or 0

    def start_over_in_child(self) -> None:
        """Makes the store of a forked child empty and usable: the lock may have been held by a thread that is gone."""
        self._lock = threading.RLock()
        self._emptying = False
        self._inbox.clear()
        self._ring.clear()
        self._models = {}


def _overall(models: Mapping[str, _Sum]) -> Totals:
    overall = _NOTHING.totals()
    for one in models.values():
        overall += one.totals()
    return overall
