"""The sources of figures: a meter of this process, a ledger that many processes write to, or both.

A meter without a ledger has totals since it started, and a limited number of recent calls. Figures of a later period
are summed over the recent calls. If calls of the period are no longer among them, they are marked ``partial``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from openai_meter.core.call import StoredBill
from openai_meter.core.totals import NOTHING, Totals, summed
from openai_meter.metering import pulse
from openai_meter.server import recent_calls
from openai_meter.server.advice import Advice
from openai_meter.server.limits import LedgerLimits
from openai_meter.server.recent_calls import Cursor, Filters, TimeRange, microseconds
from openai_meter.server.time_windows import Step

if TYPE_CHECKING:
    from openai_meter.alerts import Alert, Threshold, ThresholdUsage
    from openai_meter.core.call import Call
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter
    from openai_meter.metering.store import StoreSnapshot
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.report import Report

__all__ = ["LedgerSource", "MeterSource", "Moment", "Page", "PeriodTotals", "Source"]

Scope = Literal["process", "fleet"]
_FLUSH_TIMEOUT = 2.0
"""Seconds that an answer waits for pending writes to the ledger."""
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


class Moment(NamedTuple):
    """Figures of one moment: they agree with each other."""

    report: Report
    """The report by model on all calls since counting started."""
    alerts: tuple[Alert, ...]
    """The thresholds that are exceeded."""
    advice: Callable[[], Advice]
    """Makes the recommendations on the calls of the moment."""


class Source(Protocol):
    """What the handlers read from. Methods may block, and may be called from any thread."""

    scope: Scope
    """``process``: the totals of this process; ``fleet``: those of all processes that write to the ledger."""

    @property
    def meter(self) -> Meter | None:
        """The meter, if there is one."""

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, if there is one."""

    @property
    def since(self) -> datetime | None:
        """When counting started; ``None`` for a ledger, whose reports have it."""

    def moment(self, lang: str) -> Moment:
        """Report, alerts and recommendations of one moment, over all calls since counting started."""

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

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the price book that explains its cost."""

    def partial(self, time_range: TimeRange) -> bool:
        """Whether calls of a period are missing, because they are no longer among the recent calls."""

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """The forecast for the current month; ``None`` if there is none."""

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures as JSON values."""

    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded now."""

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The limits of the ledger."""

    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each limit of the ledger is used; the thresholds of the meter are in the live figures."""

    def advice(self) -> Advice:
        """Recommendations to save tokens or money."""

    def reset(self) -> Totals | None:
        """Resets to zero and returns the totals before; ``None`` if the source cannot be reset."""


def _advice_on(meter: Meter, snapshot: StoreSnapshot) -> Advice:
    from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - loaded with the first advice

    return Advice.on(recommendations(snapshot.calls, snapshot.totals, meter.prices), snapshot.calls)


class LedgerSource:
    """A ledger: the history of all processes that write to it. It cannot be reset."""

    scope: Scope = "fleet"
    meter: Meter | None = None

    def __init__(self, ledger: Ledger, prices: PriceBook | None = None, limits: LedgerLimits | None = None) -> None:
        self._ledger = ledger
        self._prices = prices
        self._limits = limits or LedgerLimits()

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self._ledger

    @property
    def since(self) -> datetime | None:
        """``None``: the reports of a ledger have the time of its first call."""
        return None

    def moment(self, lang: str) -> Moment:
        """The report by model on the whole ledger, the limits that are exceeded, and recommendations."""
        return Moment(self.report(("model",), TimeRange(), {}, lang), self.alerts(), self.advice)

    def report(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, lang: str) -> Report:  # noqa: ARG002 - a ledger has no alerts to translate
        """A report for a period."""
        return self._ledger.report(
            by, since=time_range.since, until=time_range.until, timezone=time_range.zone, **filters
        )

    def totals(self, group: str, time_range: TimeRange, filters: Filters) -> PeriodTotals:
        """The totals of a period by a dimension."""
        report = self.report((group,), time_range, filters, "en")
        return PeriodTotals(report.totals, {row.key[0]: row.totals for row in report.rows})

    def series(
        self, group: str, step: Step, time_range: TimeRange, filters: Filters
    ) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and by a dimension."""
        report = self.report((step, group), time_range, filters, "en")
        return {(row.key[0], row.key[1]): row.totals for row in report.rows}

    def newest(self, limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
        """The newest calls of a period."""
        before = None if time_range.until is None else Cursor(microseconds(time_range.until), "")
        calls = self.page(limit, before, filters, ()).calls
        return [call for call in calls if time_range.since is None or call.started_at >= time_range.since]

    def partial(self, time_range: TimeRange) -> bool:  # noqa: ARG002
        """``False``: a ledger keeps all sums; a report that needs pruned details raises an error."""
        return False

    def page(self, limit: int, before: Cursor | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The newest calls before a position."""
        from openai_meter.ledger.filters import make_filters  # noqa: PLC0415 - an extra
        from openai_meter.ledger.recent_calls import latest  # noqa: PLC0415

        calls, next_position = latest(self._ledger, limit, before, make_filters(filters), statuses)
        return Page(calls, None if next_position is None else Cursor(*next_position))

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the price book, which has the prices of its day."""
        from openai_meter.ledger.recent_calls import find  # noqa: PLC0415 - an extra

        call = find(self._ledger, call_id)
        return None if call is None else (call, self._book())

    def _book(self) -> PriceBook:
        if self._prices is None:
            from openai_meter.pricing import PriceBook  # noqa: PLC0415 - loaded with the first bill

            self._prices = PriceBook()
        return self._prices

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """The forecast for the current month."""
        forecast = self._ledger.forecast("month", timezone=zone).to_dict()
        return None if forecast["expected"] is None else {**forecast, "cost": forecast["expected"]}

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures of all processes."""
        return pulse.of_ledger(self._ledger, group, window=window).to_dict()

    def alerts(self) -> tuple[Alert, ...]:
        """The limits that are exceeded now."""
        return self._limits.alerts(self.limits())

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The limits of the ledger."""
        return self._limits.thresholds

    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each limit of the ledger is used."""
        return self._limits.usage(self._ledger)

    def advice(self) -> Advice:
        """Recommendations from the newest calls."""
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - loaded with the first advice

        calls = self.page(_ADVICE_CALLS, None, {}, ()).calls[::-1]
        total = NOTHING
        for call in calls:
            total = total.plus(call)
        return Advice.on(recommendations(calls, total.totals(), self._book()), calls)

    def reset(self) -> Totals | None:
        """``None``: a ledger cannot be reset."""
        return None


class MeterSource:
    """A meter of this process. If it has a ledger, figures of periods come from the ledger.

    Args:
        meter: returns the meter. A function, because the process-wide meter may be replaced.
        ledger: a ledger to read in place of the meter's own.
        limits: limits on the calls of the ledger.
    """

    scope: Scope = "process"

    def __init__(
        self, meter: Callable[[], Meter], ledger: Ledger | None = None, limits: LedgerLimits | None = None
    ) -> None:
        self._meter = meter
        self._given = ledger
        self._limits = limits or LedgerLimits()

    @property
    def meter(self) -> Meter:
        """The meter."""
        return self._meter()

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, if there is one."""
        return self._given or self.meter.ledger

    @property
    def since(self) -> datetime | None:
        """When the meter started, or was reset."""
        return self.meter.started_at

    def moment(self, lang: str) -> Moment:
        """Report, alerts and recommendations of one moment, over all calls since the meter started."""
        from openai_meter.reports import report as reports  # noqa: PLC0415 - loaded with the first report

        meter = self.meter
        snapshot = meter.snapshot()
        report = reports.of_snapshot(meter, snapshot, ("model",), lang)
        alerts = (*snapshot.alerts, *self._limits.alerts(self.limits()))
        return Moment(report, alerts, partial(_advice_on, meter, snapshot))

    def _history(self) -> LedgerSource | None:
        ledger = self.ledger
        if ledger is None:
            return None
        self.meter.flush(_FLUSH_TIMEOUT)
        return LedgerSource(ledger, self.meter.prices)

    def report(self, by: tuple[str, ...], time_range: TimeRange, filters: Filters, lang: str) -> Report:
        """A report for a period; without a period and filters, on all calls since the meter started."""
        if history := self._history():
            return history.report(by, time_range, filters, lang)
        if not filters and time_range[:2] == (None, None) and recent_calls.TIMES.isdisjoint(by):
            return self.meter.report(by, lang=lang)
        from openai_meter.reports import report as reports  # noqa: PLC0415 - loaded with the first report

        sums = recent_calls.sum_calls(self.meter.calls, by, time_range, filters)
        return reports.Report(
            dimensions=by,
            rows=reports.arranged({key: summed_up.totals() for key, summed_up in sums.items()}, by),
            totals=summed(sums.values()).totals(),
            since=time_range.since or self.meter.started_at,
            until=time_range.until or datetime.now(UTC),
        )

    def totals(self, group: str, time_range: TimeRange, filters: Filters) -> PeriodTotals:
        """The totals of a period by a dimension."""
        if history := self._history():
            return history.totals(group, time_range, filters)
        report = self.meter.report(group, lang="en")
        first = report.totals.first_call_at
        whole = time_range.until is None and (time_range.since is None or first is None or first >= time_range.since)
        if whole and not filters:
            return PeriodTotals(report.totals, {row.key[0]: row.totals for row in report.rows})
        from openai_meter.reports import report as reports  # noqa: PLC0415 - loaded with the first report

        calls = self.meter.calls
        sums = recent_calls.sum_calls(calls, (group,), time_range, filters)
        ordered = reports.arranged({key: summed_up.totals() for key, summed_up in sums.items()}, (group,))
        total = summed(sums.values()).totals()
        return PeriodTotals(total, {row.key[0]: row.totals for row in ordered}, self._has_dropped(calls, time_range))

    def series(
        self, group: str, step: Step, time_range: TimeRange, filters: Filters
    ) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and by a dimension, over the recent calls."""
        if history := self._history():
            return history.series(group, step, time_range, filters)
        sums = recent_calls.sum_calls(self.meter.calls, (step, group), time_range, filters)
        return {(key[0], key[1]): summed_up.totals() for key, summed_up in sums.items()}

    def newest(self, limit: int, time_range: TimeRange, filters: Filters) -> list[Call]:
        """The newest calls of a period."""
        if history := self._history():
            return history.newest(limit, time_range, filters)
        return recent_calls.newest(self.meter.calls, limit, time_range, filters)

    def partial(self, time_range: TimeRange) -> bool:
        """Whether calls of a period are no longer among the recent calls."""
        return self.ledger is None and self._has_dropped(self.meter.calls, time_range)

    def _has_dropped(self, calls: tuple[Call, ...], time_range: TimeRange) -> bool:
        if len(calls) >= self.meter.totals.calls:
            return False
        # Calls leave the ring in the order of their ends: all that left ended before the oldest of the ring.
        return (
            not calls
            or time_range.since is None
            or calls[0].started_at + timedelta(seconds=calls[0].duration) > time_range.since
        )

    def page(self, limit: int, before: Cursor | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The newest calls before a position: of the ledger, else of the recent calls."""
        if history := self._history():
            return history.page(limit, before, filters, statuses)
        return Page(*recent_calls.page_of(self.meter.calls, limit, before, filters, frozenset(statuses)))

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the price book that it was priced with."""
        meter = self.meter
        call = next((call for call in meter.calls if call.id == call_id), None)
        if call is not None:
            unpickled = isinstance(call.price_book, StoredBill)
            return call, cast("PriceBook", (None if unpickled else call.price_book) or meter.prices)
        history = self._history()
        return None if history is None else history.find(call_id)

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """The forecast for the current month; ``None`` without a ledger."""
        history = self._history()
        return None if history is None else history.forecast(zone)

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures of this process."""
        return pulse.of_meter(self.meter, group, window=window).to_dict()

    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds of the meter, and the limits of the ledger, that are exceeded now."""
        return (*self.meter.alerts, *self._limits.alerts(self.limits()))

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The limits of the ledger."""
        return self._limits.thresholds

    def limits(self) -> tuple[ThresholdUsage, ...]:
        """How much of each limit of the ledger is used."""
        return self._limits.usage(self.ledger)

    def advice(self) -> Advice:
        """Recommendations from the recent calls."""
        return _advice_on(self.meter, self.meter.snapshot())

    def reset(self) -> Totals | None:
        """Resets the meter to zero; its ledger is unchanged."""
        return self.meter.reset()
