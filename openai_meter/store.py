"""Exact totals for ever, and the most recent calls: the memory of a meter or of a block.

Adding a call never waits. A call is put into an inbox (an atomic operation of the interpreter) and whoever holds the
lock empties it; readers hold the lock, so what they see is always exact. This also keeps finalizers and signal
handlers out of trouble, which run in the middle of whatever their thread is doing: a stream that is collected while
its thread adds a call can add its own, and a handler that prints a summary finds no closed door.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

from openai_meter import faults
from openai_meter.call import Call
from openai_meter.money import simplest, usd
from openai_meter.usage import COUNTS, Usage

__all__ = ["Store", "Totals", "Unpriced"]

UNKNOWN_MODEL = "(unknown model)"
"""The row of calls whose model neither the request nor the answer names."""

OTHER_MODELS = "(other models)"
"""The row of all models beyond the first thousand: a program that lets its users name models has no end of names."""
_MODELS = 1_000

_NOT_PRICED = frozenset({"unpriced", "partial"})
_REASONS = 200


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
    estimated_calls: int = 0
    """Calls whose token counts are estimates, as the API did not say them."""
    usage: Usage = _NO_USAGE
    cost_pico: int | Fraction | None = 0
    """The sum of all costs that are known, in pico-dollars; ``None`` if there are calls and none has a price."""
    estimated_cost_pico: int | Fraction = 0
    """The part of the cost that rests on estimates."""
    unpriced_calls: int = 0
    """Calls whose cost is unknown, or known only in part."""
    first_call_at: datetime | None = None
    last_call_at: datetime | None = None

    @property
    def cost(self) -> Decimal | None:
        """The exact cost in US dollars of all calls whose price is known; ``None`` if none is known."""
        return None if self.cost_pico is None else usd(self.cost_pico)

    @property
    def estimated_cost(self) -> Decimal:
        """The part of :attr:`cost` that rests on estimates, in US dollars."""
        return usd(self.estimated_cost_pico)

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
            "estimated_calls": self.estimated_calls,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "total_tokens": self.usage.total_tokens,
            **{name: getattr(self.usage, name) for name in COUNTS},
            "cost": None if self.cost is None else str(self.cost),
            "estimated_cost": str(self.estimated_cost),
            "unpriced_calls": self.unpriced_calls,
            "first_call_at": self.first_call_at and self.first_call_at.isoformat(),
            "last_call_at": self.last_call_at and self.last_call_at.isoformat(),
        }


_USAGE_NAMES = frozenset({"input_tokens", "output_tokens", "total_tokens", *COUNTS})


class Unpriced(NamedTuple):
    """Calls of one model that have no full price for one reason."""

    model: str
    reason: str
    calls: int
    tokens: int


class _Sum(NamedTuple):
    """Totals in the making. A new one takes the place of the old in one step, whatever interrupts the adding."""

    calls: int = 0
    errors: int = 0
    unmeasured: int = 0
    input: int = 0
    output: int = 0
    total: int = 0
    counts: Mapping[str, Any] = MappingProxyType({})
    cost: int | Fraction = 0
    estimated: int | Fraction = 0
    unpriced: int = 0
    """Calls without a price, or with half of one."""
    unknown: int = 0
    """Calls without any price."""
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
            self.cost + (call.cost_pico or 0),
            self.estimated + (call.cost_pico or 0 if call.cost_estimated else 0),
            self.unpriced + (call.cost_status in _NOT_PRICED),
            self.unknown + (call.cost_pico is None),
            at if self.first is None or at < self.first else self.first,
            at if self.last is None or at > self.last else self.last,
        )

    def merged(self, other: _Sum) -> _Sum:
        """The sum over both."""
        counts = {**self.counts}
        for name, number in other.counts.items():
            counts[name] = counts.get(name, 0) + number
        return _Sum(
            self.calls + other.calls,
            self.errors + other.errors,
            self.unmeasured + other.unmeasured,
            self.input + other.input,
            self.output + other.output,
            self.total + other.total,
            counts,
            self.cost + other.cost,
            self.estimated + other.estimated,
            self.unpriced + other.unpriced,
            self.unknown + other.unknown,
            min((at for at in (self.first, other.first) if at is not None), default=None),
            max((at for at in (self.last, other.last) if at is not None), default=None),
        )

    def totals(self) -> Totals:
        usage = Usage(self.input, self.output, self.total, **self.counts)
        # Unknown is not 0: only where nothing has a price (what is free aside) is there no sum to show.
        cost = None if self.unknown and not self.cost else simplest(self.cost)
        return Totals(
            self.calls,
            self.errors,
            self.unmeasured,
            usage=usage,
            cost_pico=cost,
            estimated_cost_pico=self.estimated,
            unpriced_calls=self.unpriced,
            first_call_at=self.first,
            last_call_at=self.last,
        )

    def repriced(self, before: Call, after: Call) -> _Sum:
        """The same sum with one call priced anew."""
        return self._replace(
            cost=self.cost + (after.cost_pico or 0) - (before.cost_pico or 0),
            estimated=self.estimated
            + (after.cost_pico or 0 if after.cost_estimated else 0)
            - (before.cost_pico or 0 if before.cost_estimated else 0),
            unpriced=self.unpriced + (after.cost_status in _NOT_PRICED) - (before.cost_status in _NOT_PRICED),
            unknown=self.unknown + (after.cost_pico is None) - (before.cost_pico is None),
        )


def _measured(call: Call) -> bool:
    """Whether it is known what a call used: tokens, or what else it is billed by, or that it was free."""
    usage = call.usage
    known = usage.total_tokens is not None or usage.seconds or usage.characters or usage.images
    return bool(known) or call.cost_status == "free"


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
        self._unpriced: deque[Call] = deque(maxlen=recent)
        self._reasons: dict[tuple[str, str], Unpriced] = {}

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
        if call.cost_status in _NOT_PRICED:
            self._unpriced.append(call)
            self._note(call, 1)

    def _note(self, call: Call, times: int) -> None:
        key = (call.model or UNKNOWN_MODEL, call.cost_reason or "no price")
        if key not in self._reasons and len(self._reasons) >= _REASONS:
            key = (OTHER_MODELS, "no price")
        said = self._reasons.get(key, Unpriced(*key, 0, 0))
        left = said._replace(calls=said.calls + times, tokens=said.tokens + times * (call.usage.total_tokens or 0))
        if left.calls > 0:
            self._reasons[key] = left
        else:
            self._reasons.pop(key, None)

    def unpriced(self) -> tuple[Unpriced, ...]:
        """What has no price, or half of one: per model and reason."""
        with self._lock:
            self._empty_inbox()
            return tuple(self._reasons.values())

    def reprice(self, price: Callable[[Call], Call]) -> int:
        """Prices again the calls that have no full price: the latest of them, as many as the ring holds; in all sums.

        Returns:
            How many have one now.
        """
        with self._lock:
            self._empty_inbox()
            changed: dict[str, Call] = {}
            left: deque[Call] = deque(maxlen=self._unpriced.maxlen)
            for before in self._unpriced:
                after = price(before)
                if (after.cost_pico, after.cost_status, after.cost_reason) != (
                    before.cost_pico, before.cost_status, before.cost_reason,
                ):  # fmt: skip
                    changed[before.id] = after
                    model = before.model or UNKNOWN_MODEL
                    model = model if model in self._models else OTHER_MODELS
                    self._models[model] = self._models[model].repriced(before, after)
                    self._note(before, -1)
                    if after.cost_status in _NOT_PRICED:
                        self._note(after, 1)
                if after.cost_status in _NOT_PRICED:
                    left.append(after)
            done = len(self._unpriced) - len(left)
            self._unpriced = left
            if changed:
                self._ring = deque((changed.get(call.id, call) for call in self._ring), maxlen=self._ring.maxlen)
            return done

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
            self._unpriced.clear()
            self._reasons.clear()
        return _overall(before)

    def resize(self, recent: int) -> None:
        """Changes how many recent calls are kept."""
        with self._lock:
            self._empty_inbox()
            self._ring = deque(self._ring, maxlen=recent)
            self._unpriced = deque(self._unpriced, maxlen=recent)

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
        self._unpriced.clear()
        self._reasons.clear()
        self._models = {}


def _overall(models: Mapping[str, _Sum]) -> Totals:
    overall = _NOTHING
    for one in models.values():
        overall = overall.merged(one)
    return overall.totals()
