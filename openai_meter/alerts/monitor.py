"""The running state of thresholds: sums by key and window, and which limits they have passed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from heapq import nlargest
from typing import NamedTuple

from openai_meter.alerts.alert import Alert
from openai_meter.alerts.threshold import DEFAULTS, METRICS, Per, Threshold, ThresholdUsage
from openai_meter.alerts.windows import Parts, parts_of
from openai_meter.core import faults
from openai_meter.core.call import Call, new_call_id
from openai_meter.core.dimensions import value_of
from openai_meter.core.money import Amount, exact, pico, simplest, to_float, usd
from openai_meter.core.totals import NOT_PRICED, Sum, counted

__all__ = ["NO_LIMITS", "NO_ROOM", "BatchStep", "ThresholdMonitor", "usage_of"]

_KEYS = 1_000
"""The agents, users, ... that a threshold keeps: at least so many of the most recent ones, at most twice as many."""
_CANDIDATES = 20
"""The number of keys of a window whose use is computed exactly: sixty sums are added up for each."""

NO_ROOM: tuple[Amount, Amount] = (-1, -1)
"""The room of calls that have to be counted one by one; see :meth:`ThresholdMonitor.room`."""
_UNLIMITED: tuple[Amount, Amount] = (1 << 62, 1 << 124)


class BatchStep(NamedTuple):
    """What counts a batch of calls: ``step.tally.sums = step.sums``, which no signal handler can interrupt."""

    tally: _Tally
    sums: _Sums


class ThresholdMonitor:
    """Counts each recorded call once, and returns the alerts of the limits that it passes.

    Since the start, a limit is passed once, until :meth:`reset`. In a window it can be passed again after the value
    fell below nine tenths of it, so that a value that moves around it is not an alert each time. A window by the
    calendar begins at zero, and a call is in the window in which it ended.
    Memory is bounded: each ``per`` follows the thousand agents, users, ... that were seen last (two thousand at most),
    each window is sixty sums.

    :meth:`record` and :meth:`repriced` are for one thread at a time; the others are safe from any thread.

    Args:
        thresholds: the limits.
        clock: seconds since 1970; what :meth:`current` takes for now.
    """

    def __init__(self, thresholds: Sequence[Threshold] = DEFAULTS, *, clock: Callable[[], float] = time.time) -> None:
        self.thresholds = tuple(thresholds)
        self._clock = clock
        self._groups = self._make()

    def _make(self) -> tuple[_SumGroup, ...]:
        places: dict[tuple[Per | None, object, str | None], list[Threshold]] = {}
        for one in self.thresholds:
            if one.fleet:  # counted with the budgets, over all processes
                continue
            places.setdefault((one.per, one.window, one.timezone), []).append(one)
        return tuple(_SumGroup(many) for many in places.values())

    def record(self, call: Call) -> Sequence[Alert]:
        """Counts a call; the alerts are those of the limits that it passes. Never raises."""
        alerts: tuple[Alert, ...] = ()
        try:
            for watch in self._groups:
                if found := watch.record(call):
                    alerts += found
        except Exception as error:
            faults.caught(error, "checking thresholds")
        return alerts

    def with_batch(self, calls: int, tokens: int, cost: Amount, largest: int) -> BatchStep | None:
        """The sums with some calls more, if they are sure to pass no limit. Nothing is changed.

        Args:
            calls: how many they are. All ended well, and their tokens and prices are known.
            tokens: their tokens together.
            cost: their cost together, in pico-dollars.
            largest: the most tokens that one of them has.

        Returns:
            The step that counts them, or ``None``: then each has to go through :meth:`record`.
        """
        if not self._groups:
            return BatchStep(_Tally(()), _Sums())
        return self._groups[0].with_batch(calls, tokens, cost, largest) if len(self._groups) == 1 else None

    def room(self, calls: int) -> tuple[Amount, Amount]:
        """How many tokens, and what cost in pico-dollars, each of some calls may have so that no limit is passed.

        The calls are such as :meth:`with_batch` takes. Negative: not even the next call is sure to pass none.
        """
        if not self._groups:
            return _UNLIMITED
        return self._groups[0].room(calls) if len(self._groups) == 1 else NO_ROOM

    def repriced(self, before: Call, after: Call) -> Sequence[Alert]:
        """Counts the new price of a call that was counted before. Never raises."""
        alerts: tuple[Alert, ...] = ()
        try:
            for watch in self._groups:
                alerts += watch.repriced(before, after)
        except Exception as error:
            faults.caught(error, "checking thresholds")
        return alerts

    def current(self) -> tuple[Alert, ...]:
        """The limits that are exceeded now, with their current values, in the order in which they were passed."""
        now = self._clock()
        found = [alert for watch in self._groups for alert in watch.current(now)]
        return tuple(sorted(found, key=lambda alert: alert.at))

    def usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each limit is used up now, in their order; a limit per agent, user, ... without any is left out.

        Of a limit per agent, user, ... it is the one that has used the most of it; in a window, among the twenty that
        had used the most when they last had a call.
        """
        now = self._clock()
        found = {usage.threshold: usage for watch in self._groups for usage in watch.usage(now)}
        return tuple(found[one] for one in self.thresholds if one in found)

    def reset(self) -> None:
        """Starts again from zero; every limit can be passed again."""
        self._groups = self._make()


class _Sums:
    """The sums that limits are compared with."""

    __slots__ = ("calls", "cost", "errors", "measured", "tokens", "unmeasured", "unpriced")

    def __init__(self) -> None:
        self.calls = self.errors = self.tokens = self.measured = self.unmeasured = self.unpriced = 0
        self.cost: Amount = 0

    def add(self, call: Call) -> None:
        usage, cost = call.usage, call.cost_pico
        tokens = usage.total_tokens
        self.calls += 1
        # counted() adds nothing for almost every call: test_totals holds both equal.
        if cost is None or tokens is None or call.status != "ok" or call.cost_status != "priced":
            failed, unmeasured, _, unpriced, _ = counted(
                call.status, call.usage_source, call.cost_status, cost, tokens,
                tokens is None and (usage.seconds or usage.characters or usage.images),
            )  # fmt: skip
            self.errors += failed
            self.unmeasured += unmeasured
            self.unpriced += unpriced
        if tokens is not None:
            self.tokens += tokens
            self.measured += 1
        if cost:
            self.cost += cost

    def reprice(self, before: Call, after: Call) -> None:
        self.cost += (after.cost_pico or 0) - (before.cost_pico or 0)
        self.unpriced += (after.cost_status in NOT_PRICED) - (before.cost_status in NOT_PRICED)

    def plus(self, calls: int, tokens: int, cost: Amount) -> _Sums:
        """New sums: these, and those of further calls whose tokens and prices are known."""
        sums = _Sums()
        sums.errors, sums.unmeasured, sums.unpriced = self.errors, self.unmeasured, self.unpriced
        sums.calls, sums.measured = self.calls + calls, self.measured + calls
        sums.tokens, sums.cost = self.tokens + tokens, self.cost + cost
        return sums

    def add_sums(self, other: _Sums, sign: int = 1) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + sign * getattr(other, name))


def usage_of(
    threshold: Threshold, total: Sum, key: str | None = None, resets_at: datetime | None = None
) -> ThresholdUsage:
    """How far a sum of calls uses a limit up.

    Args:
        threshold: the limit.
        total: the sum of the calls that count.
        key: of a limit per agent, user, ...: whose calls they are.
        resets_at: when the next window begins.
    """
    sums = _Sums()
    sums.calls, sums.errors, sums.tokens, sums.cost = total.calls, total.errors, total.total, total.cost
    sums.unmeasured, sums.unpriced = total.unmeasured, total.unpriced
    sums.measured = total.calls - total.tokenless
    return _Rule(threshold).usage(sums, key, resets_at)


class _Rule:
    """A threshold with the values that comparisons need."""

    __slots__ = ("amount", "average", "limit", "low", "metric", "over", "threshold")

    def __init__(self, threshold: Threshold) -> None:
        self.threshold = threshold
        self.metric = METRICS[threshold.metric]
        self.amount, self.over, self.average = self.metric[:3]
        limit = exact(threshold.limit, "limit")
        self.limit = simplest(pico(limit) if self.metric.money else Fraction(limit))
        self.low = simplest(Fraction(self.limit) * 9 / 10)

    def below(self, sums: _Sums) -> bool:
        """Whether the value is so low that passing the limit again is a new alert."""
        if self.average and not sums.measured:
            return True
        return bool(self.amount(sums) < (self.low * sums.measured if self.average else self.low))

    def alert(self, sums: _Sums, key: str | None, at: datetime) -> Alert:
        return Alert(new_call_id(), self.threshold, self.value(sums), at, key, self.metric.unknown(sums) > 0)

    def share(self, sums: _Sums) -> Fraction:
        """The part of the limit that is used."""
        calls = sums.measured if self.average else 1
        return Fraction(self.amount(sums)) / (self.limit * calls) if calls else Fraction(0)

    def usage(self, sums: _Sums, key: str | None, resets_at: datetime | None = None) -> ThresholdUsage:
        passed, unknown = self.over(sums, self.limit), self.metric.unknown(sums) > 0
        share = to_float(self.share(sums))
        return ThresholdUsage(self.threshold, self.value(sums), share, passed, key, unknown, resets_at)

    def value(self, sums: _Sums) -> int | Decimal:
        amount = self.amount(sums)
        if self.metric.money:
            return usd(amount)
        if self.average:
            tenths = math.ceil(Fraction(amount * 10, sums.measured)) if sums.measured else 0
            return tenths // 10 if tenths % 10 == 0 else Decimal(f"{tenths // 10}.{tenths % 10}")
        return int(amount)


class _Tally:
    """The sums of one key, and which limits they have passed."""

    __slots__ = ("buckets", "passed", "sums", "waiting")

    def __init__(self, rules: tuple[_Rule, ...]) -> None:
        self.sums = _Sums()
        self.buckets: deque[tuple[int, _Sums]] = deque()
        """The sums of a window by the parts of it that have any, oldest first."""
        self.waiting = rules
        """The limits that can be passed."""
        self.passed: dict[_Rule, Alert] = {}

    def move_to(self, place: int, oldest: int) -> _Sums:
        """Removes the parts that have left the window; returns the sums of the part at ``place``."""
        buckets = self.buckets
        while buckets and buckets[0][0] < oldest:
            self.sums.add_sums(buckets.popleft()[1], -1)
        self.rearm()
        if not buckets or buckets[-1][0] != place:
            buckets.append((place, _Sums()))
        return buckets[-1][1]

    def rearm(self) -> None:
        for rule in [rule for rule in self.passed if rule.below(self.sums)]:
            del self.passed[rule]
            self.waiting += (rule,)

    def check(self, call: Call, key: str | None) -> tuple[Alert, ...]:
        """The alerts of the limits that are passed now and were not before."""
        alerts: tuple[Alert, ...] = ()
        for rule in self.waiting:
            if rule.over(self.sums, rule.limit):
                at = call.started_at + timedelta(seconds=call.duration)
                alert = rule.alert(self.sums, key, at.astimezone(UTC))
                self.passed[rule] = alert
                alerts += (alert,)
        if alerts:
            self.waiting = tuple([rule for rule in self.waiting if rule not in self.passed])
        return alerts

    def sums_from(self, oldest: int) -> _Sums:
        """The sums of a window as they are at a later time; changes nothing."""
        sums = _Sums()
        for at, some in list(self.buckets):
            if at >= oldest:
                sums.add_sums(some)
        return sums


def _ended(call: Call) -> float:
    """When a call ended, in seconds since 1970."""
    return call.started_at.timestamp() + call.duration


class _SumGroup:
    """The thresholds with one ``per`` and one window: they share their sums."""

    __slots__ = ("_latest", "_old", "_parts", "_per", "_rules", "_young")

    def __init__(self, thresholds: Sequence[Threshold]) -> None:
        self._per = thresholds[0].per
        self._parts = parts_of(thresholds[0])
        self._rules = tuple([_Rule(one) for one in thresholds])
        # Two generations: a used key is moved to the young one; when that is full, the old one is dropped.
        self._young: dict[str | None, _Tally] = {}
        self._old: dict[str | None, _Tally] = {}
        self._latest = 0

    def record(self, call: Call) -> tuple[Alert, ...]:
        key: str | None = None
        if self._per is not None and (key := value_of(call, self._per)) is None:
            return ()
        tally = self._young.get(key)
        if tally is None:
            tally = self._tally_of(key)
        parts = self._parts
        if parts is not None:
            # Calls come in the order of their ends: none is added to an earlier part of the window.
            self._latest = max(self._latest, parts.place(_ended(call)))
            tally.move_to(self._latest, parts.oldest(self._latest)).add(call)
        tally.sums.add(call)
        if parts is not None and tally.passed:
            tally.rearm()  # a short call lowers an average
        return tally.check(call, key) if tally.waiting else ()

    def with_batch(self, calls: int, tokens: int, cost: Amount, largest: int) -> BatchStep | None:
        if self._per is not None or self._parts is not None:
            return None
        tally = self._young.get(None) or self._tally_of(None)
        sums = tally.sums.plus(calls, tokens, cost)
        for rule in tally.waiting:
            # An average can be exceeded by the first calls and not by all of them; every other amount only grows.
            if rule.over(sums, rule.limit) or (rule.average and largest > rule.limit):
                return None
        return BatchStep(tally, sums)

    def room(self, calls: int) -> tuple[Amount, Amount]:
        if self._per is not None or self._parts is not None:
            return NO_ROOM
        tally = self._young.get(None) or self._tally_of(None)
        sums = tally.sums
        tokens, cost = _UNLIMITED
        for rule in tally.waiting:
            name, limit = rule.threshold.metric, rule.limit
            if name == "calls":
                if sums.calls + calls > limit:
                    return NO_ROOM
            elif name == "tokens":
                tokens = min(tokens, (limit - sums.tokens) // calls)
            elif name == "tokens_per_call":
                tokens = min(tokens, limit)
            elif name == "cost":
                cost = min(cost, (limit - sums.cost) // calls)
            elif name != "errors":
                return NO_ROOM
        return tokens, cost

    def repriced(self, before: Call, after: Call) -> tuple[Alert, ...]:
        key = None if self._per is None else value_of(before, self._per)
        tally = self._young.get(key) or self._old.get(key)
        if tally is None:
            return ()
        if self._parts is not None:
            place = self._parts.place(_ended(before))
            bucket = next((sums for at, sums in tally.buckets if at >= place), None)
            if bucket is None or place < self._parts.oldest(self._latest):
                return ()
            bucket.reprice(before, after)
        tally.sums.reprice(before, after)
        return tally.check(after, key)

    def _sums_at(self, tally: _Tally, now: float) -> _Sums:
        return tally.sums if self._parts is None else tally.sums_from(self._oldest(self._parts, now))

    def _oldest(self, parts: Parts, now: float) -> int:
        """The first part of the window that counts now."""
        return parts.oldest(max(self._latest, parts.place(now)))

    def current(self, now: float) -> list[Alert]:
        found = []
        for tally in {**self._old, **self._young}.values():
            if tally.passed:
                sums = self._sums_at(tally, now)
                for rule, alert in list(tally.passed.items()):
                    if rule.over(sums, rule.limit):
                        found.append(replace(alert, value=rule.value(sums), at_least=rule.metric.unknown(sums) > 0))
        return found

    def usage(self, now: float) -> list[ThresholdUsage]:
        resets_at = None if self._parts is None else self._parts.resets_at(now)
        tallies = {**self._old, **self._young} or ({None: _Tally(())} if self._per is None else {})
        found = []
        for rule in self._rules:
            some = nlargest(_CANDIDATES, tallies.items(), key=lambda pair: rule.share(pair[1].sums))
            sums = [(key, self._sums_at(one, now)) for key, one in some]
            most = nlargest(1, sums, key=lambda pair: rule.share(pair[1]))
            found += [rule.usage(used, key, resets_at) for key, used in most]
        return found

    def _tally_of(self, key: str | None) -> _Tally:
        """The tally of a key that is not in the young generation: an old one, or a new one."""
        if len(self._young) >= _KEYS:
            self._old = self._young
            self._young = {}
        # Readers read both generations, the young one last, so they always find it.
        tally = self._young[key] = self._old.get(key) or _Tally(self._rules)
        self._old.pop(key, None)
        return tally


NO_LIMITS = ThresholdMonitor(())
"""The monitor where there are no limits. It counts nothing."""
