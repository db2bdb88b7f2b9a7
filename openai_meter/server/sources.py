"""Where the figures come from: a meter of this process, a ledger that many processes write to, or both.

A meter without a ledger knows its totals since it began, and its most recent calls: what it is asked of a period that
began later is summed over those. Where some are forgotten by now, the answer is marked as ``partial``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from openai_meter.core.totals import NOTHING, Totals, summed
from openai_meter.metering import pulse
from openai_meter.reports.model_stats import ModelStats
from openai_meter.server import recent_calls
from openai_meter.server.recent_calls import Asked, Filters, Place
from openai_meter.server.time_windows import Step

if TYPE_CHECKING:
    from openai_meter.alerts import Alert
    from openai_meter.core.call import Call
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.advice import Recommendation
    from openai_meter.reports.report import Report

__all__ = ["LedgerSource", "MeterSource", "Page", "Source", "Sums"]

Scope = Literal["process", "fleet"]
_PATIENCE = 2.0
"""Seconds that an answer waits for calls on their way into the ledger; then it goes without them."""
_ADVISED = 2_000
"""How many of the latest calls of a ledger advice is made from."""


class Sums(NamedTuple):
    """The totals of a period."""

    totals: Totals
    rows: Mapping[str, Totals]
    """By the values of a dimension, what costs most first."""
    partial: bool = False
    """Whether calls are missing that the meter has forgotten."""


class Page(NamedTuple):
    """Some calls, the latest first."""

    calls: list[Call]
    next: Place | None
    """Where the next page goes on; ``None`` if there is none."""


class Source(Protocol):
    """What the routes read. Every method may block, and may be called in any thread."""

    scope: Scope
    """Whether the totals are those of this process or of all that write to a ledger."""

    @property
    def meter(self) -> Meter | None:
        """The meter, if there is one."""

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, if there is one."""

    @property
    def since(self) -> datetime | None:
        """Since when is counted; ``None`` if that is not said."""

    def stats(self) -> Mapping[str, ModelStats]:
        """The stats of every model, as far back as it counts."""

    def whole(self, lang: str) -> Report:
        """The report by model on all that :meth:`stats` counts."""

    def report(self, by: tuple[str, ...], asked: Asked, filters: Filters, lang: str) -> Report:
        """A report on a period."""

    def sums(self, group: str, asked: Asked) -> Sums:
        """The totals of a period by a dimension."""

    def series(self, group: str, step: Step, asked: Asked) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and a dimension."""

    def page(self, limit: int, before: Place | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The latest calls before a place."""

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the prices that it is to be explained by."""

    def partial(self, asked: Asked) -> bool:
        """Whether a series or a page lacks calls of a period, because they are forgotten."""

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """What the month will cost; ``None`` if nobody can tell."""

    def live(self, group: str, window: float) -> dict[str, Any]:
        """What happens now, as the JSON values of a pulse."""

    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded now."""

    def recommendations(self) -> tuple[Recommendation, ...]:
        """What would save tokens or money."""

    def reset(self) -> Totals | None:
        """Starts again from zero; ``None`` if that cannot be done."""


class LedgerSource:
    """The history of all processes. Cannot be reset, and has no thresholds of its own."""

    scope: Scope = "fleet"
    meter: Meter | None = None

    def __init__(self, ledger: Ledger, prices: PriceBook | None = None) -> None:
        self._ledger = ledger
        self._prices = prices

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self._ledger

    @property
    def since(self) -> datetime | None:
        """The ledger's first call says it; its reports tell."""
        return None

    def stats(self) -> Mapping[str, ModelStats]:
        """The stats of every model, over all that the ledger holds."""
        return self._ledger.model_stats()

    def whole(self, lang: str) -> Report:
        """The report by model on all that the ledger holds."""
        return self.report(("model",), Asked(), {}, lang)

    def report(self, by: tuple[str, ...], asked: Asked, filters: Filters, lang: str) -> Report:  # noqa: ARG002 - it has no alerts
        """A report on a period."""
        return self._ledger.report(by, since=asked.since, until=asked.until, timezone=asked.zone, **filters)

    def sums(self, group: str, asked: Asked) -> Sums:
        """The totals of a period by a dimension."""
        report = self.report((group,), asked, {}, "en")
        return Sums(report.totals, {row.key[0]: row.totals for row in report.rows})

    def series(self, group: str, step: Step, asked: Asked) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and a dimension."""
        report = self.report((step, group), asked, {}, "en")
        return {(row.key[0], row.key[1]): row.totals for row in report.rows}

    def partial(self, asked: Asked) -> bool:  # noqa: ARG002
        """Nothing is forgotten; what was pruned is said by the reports that need it."""
        return False

    def page(self, limit: int, before: Place | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The latest calls before a place."""
        from openai_meter.ledger.filters import make_filters  # noqa: PLC0415 - an extra
        from openai_meter.ledger.recent_calls import latest  # noqa: PLC0415

        calls, after = latest(self._ledger, limit, before, make_filters(filters), statuses)
        return Page(calls, None if after is None else Place(*after))

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the prices that it is to be explained by: those of its day."""
        from openai_meter.ledger.recent_calls import find  # noqa: PLC0415 - an extra

        call = find(self._ledger, call_id)
        return None if call is None else (call, self._book())

    def _book(self) -> PriceBook:
        if self._prices is None:
            from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be explained

            self._prices = PriceBook()
        return self._prices

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """What the month will cost."""
        found = self._ledger.forecast("month", timezone=zone).to_dict()
        return None if found["expected"] is None else {**found, "cost": found["expected"]}

    def live(self, group: str, window: float) -> dict[str, Any]:
        """What happens now in all processes."""
        return pulse.of_ledger(self._ledger, group, window=window).to_dict()

    def alerts(self) -> tuple[Alert, ...]:
        """None: nobody has set limits."""
        return ()

    def recommendations(self) -> tuple[Recommendation, ...]:
        """What the latest calls show."""
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - only who asks for advice pays for it

        calls = self.page(_ADVISED, None, {}, ()).calls[::-1]
        whole = NOTHING
        for call in calls:
            whole = whole.plus(call)
        return recommendations(calls, whole.totals(), self._book())

    def reset(self) -> Totals | None:
        """History is not to be forgotten."""
        return None


class MeterSource:
    """A meter of this process; history is that of its ledger, if it has one.

    Args:
        meter: gives the meter: which one is the process-wide may change.
        ledger: another ledger than the meter's own.
    """

    scope: Scope = "process"

    def __init__(self, meter: Callable[[], Meter], ledger: Ledger | None = None) -> None:
        self._meter = meter
        self._given = ledger

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
        """When the meter began, or was reset."""
        return self.meter.started_at

    def stats(self) -> Mapping[str, ModelStats]:
        """The stats of every model since the meter began."""
        return self.meter.get_all_stats()

    def whole(self, lang: str) -> Report:
        """The report by model on all since the meter began."""
        return self.meter.report("model", lang=lang)

    def _history(self) -> LedgerSource | None:
        ledger = self.ledger
        if ledger is None:
            return None
        self.meter.flush(_PATIENCE)
        return LedgerSource(ledger, self.meter.prices)

    def report(self, by: tuple[str, ...], asked: Asked, filters: Filters, lang: str) -> Report:
        """A report on a period; on all that the meter knows, if nothing narrows it down."""
        if history := self._history():
            return history.report(by, asked, filters, lang)
        if not filters and asked[:2] == (None, None) and recent_calls.TIMES.isdisjoint(by):
            return self.meter.report(by, lang=lang)
        from openai_meter.reports import report as values  # noqa: PLC0415 - not before a report is asked for

        sums = recent_calls.sums(self.meter.calls, by, asked, filters)
        return values.Report(
            dimensions=by,
            rows=values.arranged({key: one.totals() for key, one in sums.items()}, by),
            totals=summed(sums.values()).totals(),
            since=asked.since or self.meter.started_at,
            until=asked.until or datetime.now(UTC),
        )

    def sums(self, group: str, asked: Asked) -> Sums:
        """The totals of a period by a dimension."""
        if history := self._history():
            return history.sums(group, asked)
        report = self.meter.report(group, lang="en")
        first = report.totals.first_call_at
        if asked.until is None and (asked.since is None or first is None or first >= asked.since):
            return Sums(report.totals, {row.key[0]: row.totals for row in report.rows})
        from openai_meter.reports import report as values  # noqa: PLC0415 - not before a report is asked for

        calls = self.meter.calls
        sums = recent_calls.sums(calls, (group,), asked, {})
        ordered = values.arranged({key: one.totals() for key, one in sums.items()}, (group,))
        whole = summed(sums.values()).totals()
        return Sums(whole, {row.key[0]: row.totals for row in ordered}, self._forgot(calls, asked))

    def series(self, group: str, step: Step, asked: Asked) -> Mapping[tuple[str, str], Totals]:
        """The totals of a period by the names of its steps and a dimension; without what the meter has forgotten."""
        if history := self._history():
            return history.series(group, step, asked)
        sums = recent_calls.sums(self.meter.calls, (step, group), asked, {})
        return {(key[0], key[1]): one.totals() for key, one in sums.items()}

    def partial(self, asked: Asked) -> bool:
        """Whether calls of a period are no longer among the recent ones."""
        return self.ledger is None and self._forgot(self.meter.calls, asked)

    def _forgot(self, calls: tuple[Call, ...], asked: Asked) -> bool:
        if len(calls) >= self.meter.totals.calls:
            return False
        # What is forgotten ended before the oldest that is known did.
        return (
            not calls or asked.since is None or calls[0].started_at + timedelta(seconds=calls[0].duration) > asked.since
        )

    def page(self, limit: int, before: Place | None, filters: Filters, statuses: Iterable[str]) -> Page:
        """The latest calls before a place: of the ledger, else of the recent ones."""
        if history := self._history():
            return history.page(limit, before, filters, statuses)
        return Page(*recent_calls.page(self.meter.calls, limit, before, filters, frozenset(statuses)))

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the prices that it was priced by."""
        meter = self.meter
        call = next((call for call in meter.calls if call.id == call_id), None)
        if call is not None:
            return call, cast("PriceBook", call.price_book or meter.prices)
        history = self._history()
        return None if history is None else history.find(call_id)

    def forecast(self, zone: tzinfo) -> Mapping[str, Any] | None:
        """What the month will cost; a meter alone cannot tell."""
        history = self._history()
        return None if history is None else history.forecast(zone)

    def live(self, group: str, window: float) -> dict[str, Any]:
        """What happens now in this process."""
        return pulse.of_meter(self.meter, group, window=window).to_dict()

    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded now."""
        return self.meter.alerts

    def recommendations(self) -> tuple[Recommendation, ...]:
        """What the recent calls show."""
        return self.meter.recommendations()

    def reset(self) -> Totals | None:
        """Starts again from zero; the ledger stays as it is."""
        return self.meter.reset()
