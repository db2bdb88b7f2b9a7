"""Exact totals for ever, and the most recent calls: the memory of a meter or of a block.

Adding a call never waits. A call is put into an inbox (an atomic operation of the interpreter) and whoever holds the
lock empties it; readers hold the lock, so what they see is always exact. This also keeps finalizers and signal
handlers out of trouble, which run in the middle of whatever their thread is doing: a stream that is collected while
its thread adds a call can add its own, and a handler that prints a summary finds no closed door.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

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


class _Sum:
    """Totals in the making. Not thread-safe: the store's lock guards it."""

    __slots__ = ("calls", "counts", "errors", "first", "input", "last", "output", "total", "unmeasured")

    def __init__(self) -> None:
        self.calls = self.errors = self.unmeasured = self.input = self.output = self.total = 0
        self.counts: dict[str, Any] = {}
        self.first: datetime | None = None
        self.last: datetime | None = None

    def add(self, call: Call, counts: Iterable[tuple[str, Any]], *, measured: bool) -> None:
        self.calls += 1
        if call.failed:
            self.errors += 1
        if not measured:
            self.unmeasured += 1
        usage = call.usage
        self.input += usage.input_tokens or 0
        self.output += usage.output_tokens or 0
        self.total += usage.total_tokens or 0
        for name, number in counts:
            self.counts[name] = self.counts.get(name, 0) + number
        at = call.started_at
        # Calls arrive as they end: the first to begin need not be the first to arrive.
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at

    def snapshot(self) -> Totals:
        usage = Usage(self.input, self.output, self.total, **self.counts)
        return Totals(self.calls, self.errors, self.unmeasured, usage, self.first, self.last)


class Store:
    """The memory of a meter: totals overall and per model, and a ring of recent calls. Thread-safe.

    Args:
        recent: how many calls the ring holds; the totals go on for ever.
    """

    def __init__(self, recent: int = 10_000) -> None:
        self._inbox: deque[Call] = deque()
        self._lock = threading.RLock()
        self._emptying = False
        self._ring: deque[Call] = deque(maxlen=recent)
        self._clear()

    def _clear(self) -> None:
        self._ring.clear()
        self._all = _Sum()
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
                self._count(self._inbox.popleft())
        finally:
            self._emptying = False

    def _count(self, call: Call) -> None:
        usage = call.usage
        counts = [(name, number) for name in COUNTS if (number := getattr(usage, name))]
        measured = usage.total_tokens is not None or bool(counts) or call.endpoint in _FREE or call.status == "error"
        self._ring.append(call)
        self._all.add(call, counts, measured=measured)
        model = call.model or UNKNOWN_MODEL
        per_model = self._models.get(model)
        if per_model is None:
            if len(self._models) >= _MODELS:
                model = OTHER_MODELS
            per_model = self._models.setdefault(model, _Sum())
        per_model.add(call, counts, measured=measured)

    def totals(self) -> Totals:
        """The totals over all calls so far."""
        with self._lock:
            self._empty_inbox()
            return self._all.snapshot()

    def by_model(self) -> Mapping[str, Totals]:
        """The totals per model, in the order in which the models were first seen."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[Totals, Mapping[str, Totals]]:
        """The overall totals and those per model, of the same moment: the second always sum up to the first."""
        with self._lock:
            self._empty_inbox()
            models = {model: one.snapshot() for model, one in self._models.items()}
            return self._all.snapshot(), MappingProxyType(models)

    def calls(self) -> tuple[Call, ...]:
        """The most recent calls, oldest first."""
        with self._lock:
            self._empty_inbox()
            return tuple(self._ring)

    def reset(self) -> Totals:
        """Forgets everything, and returns the totals up to that moment."""
        with self._lock:
            self._empty_inbox()
            before = self._all.snapshot()
            self._clear()
            return before

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
        self._clear()
