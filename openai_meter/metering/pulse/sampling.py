"""Makes a pulse, from the recent calls of a meter or from a ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from openai_meter.alerts import Threshold, ThresholdUsage
from openai_meter.core.call import Call
from openai_meter.core.dimensions import NO_BLOCK, UNATTRIBUTED, UNKNOWN_MODEL, checked, combination
from openai_meter.core.money import Amount, to_float, usd
from openai_meter.core.totals import NOTHING, Sum, Totals, summed
from openai_meter.errors import ConfigurationError
from openai_meter.metering.pulse.types import GROUPS, Group, Pulse, Rates, Scope, Spark, tokens_of

if TYPE_CHECKING:
    from openai_meter.ledger.reader import Reader
    from openai_meter.metering.meter import Readable

__all__ = ["LONGEST", "SHORTEST", "SLICES", "checked_window", "of_ledger", "of_meter"]

SLICES = 30
"""Into how many equal parts the window is cut for sparklines."""
SHORTEST, LONGEST = 10.0, 3600.0
"""Seconds that a window can have."""

_LATE = timedelta(minutes=1)
"""How much later than others that ended after it a call may come in, and how far the clock of a machine may be off."""
_NOBODY = frozenset({UNATTRIBUTED, UNKNOWN_MODEL, NO_BLOCK})


def of_meter(
    readable: Readable, by: str = "model", *, window: float = 300.0, zone: tzinfo = UTC, now: datetime | None = None
) -> Pulse:
    """The pulse of a meter or of a block. Safe in any thread; metered calls never wait for it.

    Args:
        readable: the meter, or the block.
        by: a dimension: ``model``, ``agent``, ``operation``, ``user``, ``tag:NAME``, ...
        window: seconds to look back on, from 10 to 3600.
        zone: whose midnight today begins at.
        now: the moment; that of the call by default.

    Raises:
        ConfigurationError: there is no such dimension, or no such window.
    """
    (label,), width = checked((by,)), checked_window(window)
    snapshot = readable.snapshot()
    totals, calls = snapshot.totals, snapshot.calls
    now = now or datetime.now(UTC)
    forgotten = totals.calls > len(calls)
    covered = width
    if forgotten:
        covered = min(width, max((now - _ended(calls[0])).total_seconds(), 0.0)) if calls else 0.0
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    today: Totals | None = None
    if snapshot.started_at >= midnight:
        today = totals
    elif not forgotten or (calls and _ended(calls[0]) < midnight):
        today = _added(_since(calls, midnight)).totals()
    rows: dict[str, dict[int, Sum]] = {}
    start = now - timedelta(seconds=covered)
    for call in _since(calls, start):
        slices = rows.setdefault(label(combination(call)), {})
        # On the scale of the whole window, also where a part of its calls is no longer kept.
        place = int((width - (now - _ended(call)).total_seconds()) / width * SLICES)
        place = min(max(place, 0), SLICES - 1)
        slices[place] = slices.get(place, NOTHING).plus(call)
    frame = _Frame(now, width, covered, "process", by, snapshot.started_at, totals, today)
    usage = (*snapshot.threshold_usage, *readable._budget_usage())  # noqa: SLF001 - not for programs
    return _pulse(rows, frame, usage, len(snapshot.alerts))


def of_ledger(
    ledger: Reader,
    by: str = "model",
    *,
    window: float = 300.0,
    zone: tzinfo = UTC,
    thresholds: Iterable[Threshold] = (),
    budgets: Iterable[ThresholdUsage] = (),
    now: datetime | None = None,
) -> Pulse:
    """The pulse of all processes that write to a ledger. Safe in any thread.

    Calls that took more than an hour are in the totals, but not in the window.

    Args:
        ledger: the ledger.
        by: as for :func:`of_meter`.
        window: as for :func:`of_meter`.
        zone: whose midnight today, and the month, begin at.
        thresholds: limits of the ledger; see :meth:`openai_meter.Ledger.threshold_usage`.
        budgets: how far the budgets of these processes are used up.
        now: the moment; that of the call by default.

    Raises:
        ConfigurationError: there is no such dimension, or no such window.
        LedgerError: the ledger cannot be read.
    """
    from openai_meter.ledger import recent_windows  # noqa: PLC0415 - SQLAlchemy is only loaded behind a ledger
    from openai_meter.ledger.limits import limit_usage  # noqa: PLC0415

    checked((by,))
    width = checked_window(window)
    now = now or datetime.now(UTC)
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = recent_windows.Window(now - timedelta(seconds=width), now, SLICES, _LATE)
    found = recent_windows.read_window(ledger, by, wanted, (midnight, midnight.replace(day=1)), zone)
    today, month = found.sums
    usages = (*limit_usage(ledger, thresholds, now=now), *budgets)
    frame = _Frame(now, width, width, "fleet", by, midnight.replace(day=1), month.totals(), today.totals())
    return _pulse(found.slices, frame, usages, sum(one.passed for one in usages))


def checked_window(window: object) -> float:
    """A window from a setting, in seconds.

    Raises:
        ConfigurationError: it is not a number of seconds from 10 to 3600.
    """
    usable = isinstance(window, int | float) and not isinstance(window, bool)
    if not usable or not SHORTEST <= window <= LONGEST:  # type: ignore[operator]
        raise ConfigurationError(f"window={window!r} cannot be used; pass seconds from {SHORTEST:.0f} to {LONGEST:.0f}")
    return float(window)  # type: ignore[arg-type]


def _ended(call: Call) -> datetime:
    return call.started_at + timedelta(seconds=call.duration)


def _since(calls: Sequence[Call], start: datetime) -> Iterable[Call]:
    """The calls that ended since a moment, the latest first; the given calls are in the order in which they came in."""
    for call in reversed(calls):
        ended = _ended(call)
        if ended >= start:
            yield call
        elif ended < start - _LATE:
            return


def _added(calls: Iterable[Call]) -> Sum:
    added = NOTHING
    for call in calls:
        added = added.plus(call)
    return added


# --- putting it together ----------------------------------------------------------------------------------------------

Slices = Mapping[int, Sum]
"""The sums of one group by the number of the slice, from the oldest; those in which there was nothing are missing."""


@dataclass(frozen=True, slots=True)
class _Frame:
    at: datetime
    window: float
    covered: float
    scope: Scope
    by: str
    since: datetime
    totals: Totals
    today: Totals | None


def _pulse(rows: Mapping[str, Slices], frame: _Frame, usages: tuple[ThresholdUsage, ...], alerts: int) -> Pulse:
    sums = {name: _together(slices.values()) for name, slices in rows.items()}
    whole = summed(sums.values())
    by_cost = bool(whole.cost)
    forgotten = SLICES - math.ceil(frame.covered / frame.window * SLICES)

    def spark(slices: Slices) -> Spark:
        return _spark(slices, forgotten, by_cost=by_cost)

    ranked = sorted(rows, key=lambda name: (-sums[name].cost, -sums[name].total, -sums[name].calls, name))
    kept, rest = ranked[:GROUPS], ranked[GROUPS:]

    def group(name: str | None, total: Sum, slices: Slices, others: int = 0) -> Group:
        part, all_of_it = (total.cost, whole.cost) if by_cost else (total.total, whole.total)
        known = part or total.calls > (total.unknown if by_cost else total.unmeasured)
        share = to_float(Fraction(part) / Fraction(all_of_it)) if all_of_it and known else None
        named = None if name in _NOBODY else name
        return Group(named, total.totals(), _rates(total, frame.covered), share, spark(slices), others)

    groups = [group(name, sums[name], rows[name]) for name in kept]
    if rest:
        total = summed(sums[name] for name in rest)
        groups.append(group(None, total, _columns(rows[name] for name in rest), len(rest)))
    return Pulse(
        at=frame.at,
        window=frame.window,
        covered=frame.covered,
        scope=frame.scope,
        by=frame.by,
        since=frame.since,
        totals=frame.totals,
        today=frame.today,
        recent=whole.totals(),
        minute=_rates(whole, frame.covered),
        spark=spark(_columns(rows.values())),
        spark_of="cost" if by_cost else "tokens",
        groups=tuple(groups),
        thresholds=usages,
        alerts=alerts,
    )


def _together(sums: Iterable[Sum]) -> Sum:
    some = [*sums]
    return some[0] if len(some) == 1 else summed(some)


def _columns(rows: Iterable[Slices]) -> Slices:
    """The sums of several groups together, by slice."""
    found: dict[int, list[Sum]] = {}
    for slices in rows:
        for place, one in slices.items():
            found.setdefault(place, []).append(one)
    return {place: _together(some) for place, some in found.items()}


def _spark(slices: Slices, forgotten: int, *, by_cost: bool) -> Spark:
    def height(one: Sum) -> float | None:
        if by_cost:
            return None if one.unknown and not one.cost else to_float(usd(one.cost))
        return None if one.unmeasured and not one.total else to_float(one.total)

    known = (height(slices.get(place, NOTHING)) for place in range(forgotten, SLICES))
    return (None,) * forgotten + tuple(known)


def _rates(total: Sum, seconds: float) -> Rates:
    """Per minute; unknown where less than a second is known."""
    if seconds < 1:
        return Rates(None, None, None, None)
    minutes = seconds / 60
    totals = total.totals()
    cost, tokens = totals.cost_pico, tokens_of(totals)
    return Rates(
        None if cost is None else _per(cost, Fraction(minutes)),
        None if tokens is None else to_float(Fraction(tokens) / Fraction(minutes)),
        totals.calls / minutes,
        totals.errors / minutes,
    )


def _per(amount: Amount, minutes: Fraction) -> Decimal:
    return usd(round(Fraction(amount) / minutes))
