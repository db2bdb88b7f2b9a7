"""The figures of one moment, which one answer is made of: they agree, whatever is recorded meanwhile.

Those of a meter are read under one lock, those of a ledger in one transaction. A meter without a ledger has totals
since it started, and a limited number of recent calls. Figures of a later period are summed over the recent calls; if
calls of the period are no longer among them, the figures are marked ``partial``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from openai_meter.core.totals import NOTHING, Totals, summed
from openai_meter.server import recent_calls
from openai_meter.server.advice import Advice
from openai_meter.server.limits import LedgerLimits
from openai_meter.server.recent_calls import Cursor, Filters, TimeRange, microseconds
from openai_meter.server.time_windows import Step

if TYPE_CHECKING:
    from openai_meter.alerts import Alert, ThresholdUsage
    from openai_meter.core.call import Call
    from openai_meter.ledger.reader import Reader
    from openai_meter.metering.meter import Meter
    from openai_meter.metering.store import StoreSnapshot
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.report import Report

__all__ = ["Figures", "LedgerFigures", "MeterFigures", "Page", "PeriodTotals", "Scope"]

Scope = Literal["process", "fleet"]
_SHOWN = {"max_rows": 500}
"""How many users or sessions the dashboard lists; the others are together in one row."""
_ADVICE_CALLS = 2_000
"""Recommendations about a ledger are made from so many of its newest calls."""


class PeriodTotals(NamedTuple):
    """The totals of a period."""

    totals: Totals
    rows: Mapping[str, Totals]
    """The totals by the values of a dimension, the highest cost first."""
    partial: bool = False
    """Whether calls of the period are missing, because they are no longer among the recent calls."""


class Page(NamedTuple):
    """A page of calls, the newest first."""

    calls: list[Call]
    next: Cursor | None
    """The position of the next page; ``None`` if there is none."""


class Figures(Protocol):
    """What an answer is made of. Its methods may block; they belong to the thread that has requested them."""

    @property
    def scope(self) -> Scope:
        """``process``: the calls of this process; ``fleet``: those of all processes that write to the ledger."""

    @property
    def since(self) -> datetime | None:
        """When counting started; ``None`` for a ledger, whose reports have it."""

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds and limits that are exceeded."""

    @property
    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each threshold and limit is used."""

    def report(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, lang: str) -> Report:
        """A report for a period."""

    def totals(self, group: str, time_range: TimeRange, filters: Filters) -> PeriodTotals:
        """The totals of a period by a dimension."""

    def series(
        self, group: str, step: Step, time_range: TimeRange, filters: Filters
    ) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and by a dimension."""

    def newest(self, limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
        """The newest calls of a period."""

    def page(self, limit: int, before: Cursor | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The newest calls before a position."""

    def partial(self, time_range: TimeRange) -> bool:
        """Whether calls of a period are missing, because they are no longer among the recent calls."""

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """The forecast for the current month; ``None`` if there is none."""

    def advice(self) -> Advice:
        """Recommendations to save tokens or money."""


class MeterFigures:
    """A meter of this process, as it was at one moment.

    Args:
        meter: the meter.
        snapshot: its figures of the moment; those of now by default.
    """

    scope: Scope = "process"

    def __init__(self, meter: Meter, snapshot: StoreSnapshot | None = None) -> None:
        self._meter = meter
        self._snapshot = meter.snapshot() if snapshot is None else snapshot

    @property
    def since(self) -> datetime:
        """When the meter started, or was reset."""
        return self._snapshot.started_at

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded."""
        return self._snapshot.alerts

    @property
    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each threshold is used."""
        return self._snapshot.threshold_usage

    def whole(self, by: tuple[str, ...], lang: str) -> Report:
        """The report on all calls since the meter started."""
        from openai_meter.reports import report as reports  # noqa: PLC0415 - loaded with the first report

        return reports.of_snapshot(self._meter, self._snapshot, by, lang)

    def report(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, lang: str) -> Report:
        """A report for a period; without a period and filters, on all calls since the meter started."""
        if not filters and time_range[:2] == (None, None) and recent_calls.TIMES.isdisjoint(by):
            return self.whole(by, lang)
        return self._summed(by, time_range, filters)

    def _summed(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters) -> Report:
        """A report over the recent calls."""
        from openai_meter.reports import report as reports  # noqa: PLC0415 - loaded with the first report

        sums = recent_calls.sum_calls(self._snapshot.calls, by, time_range, filters)
        return reports.Report(
            dimensions=by,
            rows=reports.arranged({key: summed_up.totals() for key, summed_up in sums.items()}, by),
            totals=summed(sums.values()).totals(),
            since=time_range.since or self.since,
            until=time_range.until or datetime.now(UTC),
        )

    def totals(self, group: str, time_range: TimeRange, filters: Filters) -> PeriodTotals:
        """The totals of a period by a dimension."""
        first = self._snapshot.totals.first_call_at
        whole = time_range.until is None and (time_range.since is None or first is None or first >= time_range.since)
        if whole and not filters:
            report, partial = self.whole((group,), "en"), False
        else:
            report, partial = self._summed((group,), time_range, filters), self.partial(time_range)
        return PeriodTotals(report.totals, {row.key[0]: row.totals for row in report.rows}, partial)

    def series(
        self, group: str, step: Step, time_range: TimeRange, filters: Filters
    ) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and by a dimension, over the recent calls."""
        sums = recent_calls.sum_calls(self._snapshot.calls, (step, group), time_range, filters)
        return {(key[0], key[1]): summed_up.totals() for key, summed_up in sums.items()}

    def newest(self, limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
        """The newest calls of a period."""
        return recent_calls.newest(self._snapshot.calls, limit, time_range, filters)

    def page(self, limit: int, before: Cursor | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The newest of the recent calls before a position."""
        return Page(*recent_calls.page_of(self._snapshot.calls, limit, before, filters, frozenset(statuses)))

    def partial(self, time_range: TimeRange) -> bool:
        """Whether calls of a period are no longer among the recent calls."""
        calls = self._snapshot.calls
        if len(calls) >= self._snapshot.totals.calls:
            return False
        # Calls leave the ring in the order of their ends: all that left ended before the oldest of the ring.
        return (
            not calls
            or time_range.since is None
            or calls[0].started_at + timedelta(seconds=calls[0].duration) > time_range.since
        )

    def forecast(self, zone: tzinfo) -> None:  # noqa: ARG002
        """``None``: only a ledger has the history for it."""
        return

    def advice(self) -> Advice:
        """Recommendations from the recent calls."""
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - loaded with the first advice

        found = self._snapshot
        return Advice.on(recommendations(found.calls, found.totals, self._meter.prices), found.calls)


class LedgerFigures:
    """A ledger, as it was at one moment: the history of all processes that write to it.

    Args:
        reader: reads the ledger; see ``Reader.at_one_moment``.
        prices: returns the prices that recommendations are made with.
        process: the figures of the meter of this process, if there is one: recommendations are its own.
        limits: the limits on the calls of the ledger.
    """

    scope: Scope = "fleet"
    since: datetime | None = None

    def __init__(
        self, reader: Reader, prices: Callable[[], PriceBook], process: MeterFigures | None, limits: LedgerLimits
    ) -> None:
        self._reader = reader
        self._prices = prices
        self._process = process
        self._limits = limits

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds of this process, and the limits of the ledger, that are exceeded."""
        own = () if self._process is None else self._process.alerts
        return (*own, *self._limits.alerts(self._limits.usage(self._reader)))

    @property
    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each threshold of this process, and of each limit of the ledger, is used."""
        own = () if self._process is None else self._process.limits
        return (*own, *self._limits.usage(self._reader))

    def report(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, lang: str) -> Report:  # noqa: ARG002 - a ledger has no alerts to translate
        """A report for a period."""
        return self._report(by, time_range, filters, {})

    def _report(
        self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, settings: Mapping[str, int]
    ) -> Report:
        since, until, zone = time_range
        return self._reader.report(by, since=since, until=until, timezone=zone, **settings, **filters)

    def totals(self, group: str, time_range: TimeRange, filters: Filters) -> PeriodTotals:
        """The totals of a period by a dimension."""
        report = self._report((group,), time_range, filters, _SHOWN)
        return PeriodTotals(report.totals, {row.key[0]: row.totals for row in report.rows})

    def series(
        self, group: str, step: Step, time_range: TimeRange, filters: Filters
    ) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and by a dimension."""
        report = self._report((step, group), time_range, filters, _SHOWN)
        return {(row.key[0], row.key[1]): row.totals for row in report.rows}

    def newest(self, limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
        """The newest calls of a period."""
        before = None if time_range.until is None else Cursor(microseconds(time_range.until), "")
        calls = self.page(limit, before, filters, ()).calls
        return [call for call in calls if time_range.since is None or call.started_at >= time_range.since]

    def page(self, limit: int, before: Cursor | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The newest calls before a position."""
        from openai_meter.ledger.filters import make_filters  # noqa: PLC0415 - an extra
        from openai_meter.ledger.recent_calls import latest  # noqa: PLC0415

        calls, next_position = latest(self._reader, limit, before, make_filters(filters), statuses)
        return Page(calls, None if next_position is None else Cursor(*next_position))

    def partial(self, time_range: TimeRange) -> bool:  # noqa: ARG002
        """``False``: a ledger keeps all sums; a report that needs pruned details raises an error."""
        return False

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """The forecast for the current month."""
        forecast = self._reader.forecast("month", timezone=zone).to_dict()
        return None if forecast["expected"] is None else {**forecast, "cost": forecast["expected"]}

    def advice(self) -> Advice:
        """Recommendations from the recent calls of this process, else from the newest calls of the ledger."""
        if self._process is not None:
            return self._process.advice()
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - loaded with the first advice

        calls = self.page(_ADVICE_CALLS, None, {}, ()).calls[::-1]
        total = NOTHING
        for call in calls:
            total = total.plus(call)
        return Advice.on(recommendations(calls, total.totals(), self._prices()), calls)
