"""How far limits are used up by the calls of a ledger, read from its sums per day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from openai_meter.alerts import Threshold, ThresholdUsage, parsed_limits, usage_of
from openai_meter.core.calendar_windows import calendar_window, zone_of
from openai_meter.core.dimensions import UNATTRIBUTED, UNKNOWN_MODEL
from openai_meter.core.totals import NOTHING, Sum
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import queries
from openai_meter.ledger.periods import Span

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from openai_meter.ledger.reader import Reader

__all__ = ["limit_usage"]

_DAY = timedelta(days=1)
_WITHOUT_VALUE = frozenset({UNATTRIBUTED, UNKNOWN_MODEL})


def limit_usage(
    reader: Reader, limits: Iterable[Threshold | str], *, timezone: str | None = None, now: datetime | None = None
) -> tuple[ThresholdUsage, ...]:
    """How far each limit is used up now, all of one state of the ledger; in the order of the limits.

    A call counts in the window in which it began, as in reports. Of a limit per agent, user or model it is the one
    that has used the most; a limit that none has a call for is left out.

    Args:
        reader: the ledger.
        limits: texts such as ``cost=50/month``, or thresholds.
        timezone: whose days, weeks and months the texts mean; by default UTC.
        now: the moment; that of the call by default.

    Raises:
        ConfigurationError: a limit cannot be used.
        LedgerError: the ledger cannot be read.
    """
    thresholds = parsed_limits(limits, timezone)
    if not thresholds:
        return ()
    moment = now or datetime.now(UTC)
    read: dict[tuple[str | None, datetime | None], tuple[dict[str | None, Sum], bool]] = {}
    found = []
    with reader._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        for threshold in thresholds:
            since, resets_at = _window(threshold, moment)
            key = (threshold.per, since)
            if key not in read:
                read[key] = _sums(connection, threshold.per, since)
            sums, whole = read[key]
            usages = [usage_of(threshold, total, name, resets_at) for name, total in sums.items()]
            if usages:
                most = max(usages, key=lambda usage: usage.share)
                found.append(most if whole else replace(most, at_least=True))
    return tuple(found)


def _window(threshold: Threshold, now: datetime) -> tuple[datetime | None, datetime | None]:
    """When the window of a limit began, and when the next one begins; ``None`` is open."""
    if isinstance(threshold.window, str):
        window = calendar_window(threshold.window, zone_of(threshold.timezone), now)
        return window.start, window.end
    return (now - threshold.window if isinstance(threshold.window, timedelta) else None), None


def _sums(connection: Connection, per: str | None, since: datetime | None) -> tuple[dict[str | None, Sum], bool]:
    """The sums of the calls since a moment, and whether they are of all of them.

    Where the details of the first day were pruned, they begin with the day after it.
    """
    by = () if per is None else (per,)
    try:
        rows, whole = queries.run_query(connection, queries.Query(by, Span(since, None))), True
    except ConfigurationError:
        if since is None:
            raise
        start = (since + _DAY).replace(hour=0, minute=0, second=0, microsecond=0)
        rows, whole = queries.run_query(connection, queries.Query(by, Span(start, None))), False
    if per is None:
        return {None: rows.get((), NOTHING)}, whole
    return {name: total for (name,), total in rows.items() if name not in _WITHOUT_VALUE}, whole
