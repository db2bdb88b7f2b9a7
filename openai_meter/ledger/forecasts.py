"""Forecasts the cost of a month: a line through the last days, the pattern of the week, and a range. Pure arithmetic.

The method:

1. The costs of up to 56 whole days before today are taken, days without a call as 0.
2. From 14 days on, each weekday has a factor: its mean over the mean of all days.
3. A straight line is laid through the last 28 days, each divided by its factor (least squares); with less than 7 days
   it is level.
4. A day to come costs the value of the line times its factor, never below 0; of today, the part that is left.
5. The range holds the totals of 4 of 5 such months, if days differ from the line by chance and independently. It
   includes the scatter of the days and the uncertainty of the line. Changes with a cause are not forecast.

A forecast is computed in floats and rounded to a millionth of a dollar. What was spent is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = ["HISTORY", "Forecast", "Projection", "project"]

HISTORY = 56
"""The number of past days that are used at most."""
_LINE = 28
_ENOUGH_FOR_WEEKDAYS = 14
_ENOUGH_FOR_TREND = 7
_ENOUGH_FOR_RANGE = 3
_FOUR_OF_FIVE = 1.2816
"""Standard deviations to either side that hold 80% of a normal distribution."""
_MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a period will have cost at its end, in US dollars. Immutable."""

    period: str
    """``day``, ``week`` or ``month``."""
    since: datetime
    until: datetime
    """The period is from ``since`` until before ``until`` (UTC)."""
    made_at: datetime
    spent: Decimal | None
    """The exact cost until now of the calls that have a price; ``None`` if there are calls and none has."""
    expected: Decimal | None
    """The cost at the end; ``None`` if there is no whole day to judge from."""
    low: Decimal | None
    high: Decimal | None
    """Four of five such periods end between ``low`` and ``high``; ``None`` with less than three days."""
    days: int
    """How many whole days the forecast is based on."""
    unpriced_calls: int
    """Calls, in the period and in those days, whose cost is unknown or known only in part: it will be more."""

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain JSON values: money as decimal strings, times in ISO 8601."""
        return {
            "period": self.period,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "made_at": self.made_at.isoformat(),
            **{name: _text(getattr(self, name)) for name in ("spent", "expected", "low", "high")},
            "days": self.days,
            "unpriced_calls": self.unpriced_calls,
        }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


class Projection(NamedTuple):
    """The cost that is still to come, in US dollars."""

    expected: Decimal | None
    low: Decimal | None
    high: Decimal | None
    days: int


def project(costs: Mapping[date, float], today: date, left_of_today: float, until: date) -> Projection:
    """Forecasts the cost from now until before a day.

    Args:
        costs: the cost of each whole day that there were calls on.
        today: the day that it is.
        left_of_today: the part of today that is still to come, from 0 to 1.
        until: the day after the last one of the period.
    """
    past = sorted(day for day in costs if today - timedelta(days=HISTORY) <= day < today)
    if not past:
        return Projection(None, None, None, 0)
    known = [past[0] + timedelta(days=number) for number in range((today - past[0]).days)]
    values = [costs.get(day, 0.0) for day in known]
    factors = _weekdays(known, values)
    recent = known[-_LINE:]
    # A weekday without any cost is not a point of the line.
    points = [
        ((day - today).days, costs.get(day, 0.0) / factors[day.weekday()]) for day in recent if factors[day.weekday()]
    ]
    line = _fit(points)
    coming = [(0, left_of_today * factors[today.weekday()])] + [
        (number, factors[(today + timedelta(days=number)).weekday()]) for number in range(1, (until - today).days)
    ]
    expected = sum(max(line.at(x), 0.0) * weight for x, weight in coming)
    if len(known) < _ENOUGH_FOR_RANGE:
        return Projection(_money(expected), None, None, len(known))
    around = _FOUR_OF_FIVE * math.sqrt(line.variance(coming))
    return Projection(_money(expected), _money(max(expected - around, 0.0)), _money(expected + around), len(known))


def _money(amount: float) -> Decimal:
    return Decimal(amount).quantize(_MILLIONTH)


def _weekdays(days: Sequence[date], values: Sequence[float]) -> list[float]:
    """The factor of each day of the week, from Monday."""
    mean = sum(values) / len(values)
    if len(days) < _ENOUGH_FOR_WEEKDAYS or not mean:
        return [1.0] * 7
    found = []
    for weekday in range(7):
        own = [value for day, value in zip(days, values, strict=True) if day.weekday() == weekday]
        found.append(sum(own) / len(own) / mean)
    return found


class _Line(NamedTuple):
    level: float
    slope: float
    middle: float
    """The mean of the days that the line goes through."""
    points: int
    spread: float
    """The sum of their squared distances from the middle."""
    scatter: float
    """The variance of the days around it."""

    def at(self, x: float) -> float:
        return self.level + self.slope * (x - self.middle)

    def variance(self, coming: Sequence[tuple[int, float]]) -> float:
        """The variance of the sum of some days: of each day, and of the line, whose error is common to all days."""
        own = sum(weight**2 for _, weight in coming)
        together = sum(weight for _, weight in coming) ** 2 / self.points
        lever = sum(weight * (x - self.middle) for x, weight in coming) ** 2 / self.spread if self.spread else 0.0
        return self.scatter * (own + together + lever)


def _fit(points: Sequence[tuple[int, float]]) -> _Line:
    count = len(points)
    if not count:
        return _Line(0.0, 0.0, 0.0, 1, 0.0, 0.0)
    middle = sum(x for x, _ in points) / count
    level = sum(y for _, y in points) / count
    spread = sum((x - middle) ** 2 for x, _ in points) if count >= _ENOUGH_FOR_TREND else 0.0
    slope = sum((x - middle) * (y - level) for x, y in points) / spread if spread else 0.0
    free = count - (2 if spread else 1)
    off = sum((y - level - slope * (x - middle)) ** 2 for x, y in points)
    return _Line(level, slope, middle, count, spread, off / free if free > 0 else 0.0)
