"""Queries over the recent calls of a meter: sums over a period, and pages of calls. Functions without state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core import dimensions
from openai_meter.core.totals import NOTHING, Sum
from openai_meter.reports.model_stats import undated
from openai_meter.server.time_windows import label

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["TIMES", "Cursor", "Filters", "TimeRange", "cursor_of", "microseconds", "newest", "page_of", "sum_calls"]

TIMES = frozenset({"minute", "hour", "day", "week", "month"})
"""The units of time that reports group by, besides dimensions."""

Filters = Mapping[str, Any]
"""Filters in the form that ``Ledger.report`` takes: values by dimension; tags as a mapping of names to values."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class TimeRange(NamedTuple):
    """A period from ``since`` up to, not including, ``until``; ``None`` is open. ``zone``: the timezone of its days."""

    since: datetime | None = None
    until: datetime | None = None
    zone: tzinfo = UTC


class Cursor(NamedTuple):
    """The position where a page ends. Calls are sorted by the time when they started, then by id."""

    started_at: int
    """Microseconds since 1970."""
    id: str


def cursor_of(call: Call) -> Cursor:
    """The position of a call."""
    return Cursor(microseconds(call.started_at), call.id)


def microseconds(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def newest(calls: Iterable[Call], limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
    """The newest calls of a period, the newest first."""
    inside = [call for call in calls if _is_inside(call.started_at, time_range) and _matches(call, filters)]
    return sorted(inside, key=cursor_of, reverse=True)[:limit]


def _is_inside(at: datetime, time_range: TimeRange) -> bool:
    return (time_range.since is None or at >= time_range.since) and (time_range.until is None or at < time_range.until)


def sum_calls(
    calls: Iterable[Call], by: tuple[str, ...], time_range: TimeRange, filters: Filters
) -> dict[tuple[str, ...], Sum]:
    """The sums over the calls of a period, by units of time and dimensions.

    Raises:
        ConfigurationError: there is no such dimension.
    """
    namers = [_namer(name, time_range.zone) for name in by]
    sums: dict[tuple[str, ...], Sum] = {}
    for call in calls:
        if _is_inside(call.started_at, time_range) and _matches(call, filters):
            key = tuple([namer(call) for namer in namers])
            sums[key] = sums.get(key, NOTHING).plus(call)
    return sums


def page_of(
    calls: Iterable[Call], limit: int, before: Cursor | None, filters: Filters, statuses: Collection[str]
) -> tuple[list[Call], Cursor | None]:
    """The newest calls before a position, and the position of the next page, if there is one."""
    newest = sorted(((cursor_of(call), call) for call in calls), key=lambda pair: pair[0], reverse=True)
    page: list[Call] = []
    last = before
    for at, call in newest:
        if (before is not None and at >= before) or (statuses and call.status not in statuses):
            continue
        if _matches(call, filters):
            if len(page) == limit:
                return page, last
            page.append(call)
            last = at
    return page, None


def _namer(name: str, zone: tzinfo) -> Callable[[Call], str]:
    if name in TIMES:
        return partial(_time, name, zone)
    (of_key,) = dimensions.checked((name,))
    return lambda call: of_key(dimensions.combination(call))


def _time(name: str, zone: tzinfo, call: Call) -> str:
    return label(name, call.started_at, zone)


def _matches(call: Call, filters: Filters) -> bool:
    """Whether a call passes the filters. As in the reports of a ledger, a model includes its dated snapshots."""
    for name, wanted in filters.items():
        if name == "tag":
            if not all((call.tags.get(tag) or None) in values for tag, values in wanted.items()):
                return False
        else:
            value = getattr(call, name) or None
            if value not in wanted and not (name == "model" and value and undated(value) in wanted):
                return False
    return True
