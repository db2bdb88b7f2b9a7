"""Questions to the calls that a meter remembers: sums over a period, and pages of calls. Pure."""

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

__all__ = ["TIMES", "Asked", "Filters", "Place", "page", "place", "sums"]

TIMES = frozenset({"minute", "hour", "day", "week", "month"})
"""What reports can group by besides dimensions."""

Filters = Mapping[str, Any]
"""Filters by dimensions, as ``Ledger.report`` takes them: several values, or tags as a mapping of several."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Asked(NamedTuple):
    """A question about a period: from ``since`` until before ``until``; ``None`` is open."""

    since: datetime | None = None
    until: datetime | None = None
    zone: tzinfo = UTC


class Place(NamedTuple):
    """Where a page ends: calls are in the order of the time when they began, and then of their ids."""

    started_at: int
    """In microseconds since 1970."""
    id: str


def place(call: Call) -> Place:
    """The place of a call."""
    return Place((call.started_at - _EPOCH) // _MICROSECOND, call.id)


def sums(calls: Iterable[Call], by: tuple[str, ...], asked: Asked, filters: Filters) -> dict[tuple[str, ...], Sum]:
    """The sums over the calls of a period, by times and dimensions.

    Raises:
        ConfigurationError: there is no such dimension.
    """
    namers = [_namer(name, asked.zone) for name in by]
    found: dict[tuple[str, ...], Sum] = {}
    for call in calls:
        at = call.started_at
        if (asked.since is None or at >= asked.since) and (asked.until is None or at < asked.until):
            if not _matches(call, filters):
                continue
            key = tuple([namer(call) for namer in namers])
            found[key] = found.get(key, NOTHING).plus(call)
    return found


def page(
    calls: Iterable[Call], limit: int, before: Place | None, filters: Filters, statuses: Collection[str]
) -> tuple[list[Call], Place | None]:
    """The latest calls before a place, and where the next page goes on."""
    placed = sorted(((place(call), call) for call in calls), key=lambda pair: pair[0], reverse=True)
    found: list[Call] = []
    last = before
    for at, call in placed:
        if (before is not None and at >= before) or (statuses and call.status not in statuses):
            continue
        if _matches(call, filters):
            if len(found) == limit:
                return found, last
            found.append(call)
            last = at
    return found, None


def _namer(name: str, zone: tzinfo) -> Callable[[Call], str]:
    if name in TIMES:
        return partial(_time, name, zone)
    (of_key,) = dimensions.checked((name,))
    return lambda call: of_key(dimensions.combination(call))


def _time(name: str, zone: tzinfo, call: Call) -> str:
    return label(name, call.started_at, zone)


def _matches(call: Call, filters: Filters) -> bool:
    """Whether a call counts; as in reports from a ledger, a model has its dated snapshots with it."""
    for name, wanted in filters.items():
        if name == "tag":
            if not all((call.tags.get(tag) or None) in values for tag, values in wanted.items()):
                return False
        else:
            value = getattr(call, name) or None
            if value not in wanted and not (name == "model" and value and undated(value) in wanted):
                return False
    return True
