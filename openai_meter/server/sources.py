"""The sources of figures: a meter of this process, a ledger that many processes write to, or both.

Each answer of the server is made of the figures of one moment: see ``figures.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from openai_meter.budgets.stored import budget_reader
from openai_meter.core.call import StoredBill
from openai_meter.metering import pulse
from openai_meter.server.advice import Advice
from openai_meter.server.figures import Figures, LedgerFigures, MeterFigures, Scope
from openai_meter.server.limits import LedgerLimits

if TYPE_CHECKING:
    from openai_meter.alerts import Alert
    from openai_meter.core.call import Call
    from openai_meter.core.totals import Totals
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.report import Report

__all__ = ["LedgerSource", "MeterSource", "Moment", "Source"]

_FLUSH_TIMEOUT = 2.0
"""Seconds that an answer waits for pending writes to the ledger."""


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

    def figures(self) -> AbstractContextManager[Figures]:
        """The figures of one moment, for one answer; for the thread that has called it, until the end of the block."""

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the price book that explains its cost."""

    @property
    def limits(self) -> LedgerLimits:
        """The limits on the calls of the ledger."""

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures as JSON values."""

    def reset(self) -> Totals | None:
        """Resets to zero and returns the totals before; ``None`` if the source cannot be reset."""


class LedgerSource:
    """A ledger: the history of all processes that write to it. It cannot be reset."""

    scope: Scope = "fleet"
    meter: Meter | None = None

    def __init__(self, ledger: Ledger, prices: PriceBook | None = None, limits: LedgerLimits | None = None) -> None:
        self._ledger = ledger
        self._prices = prices
        self._budgets = budget_reader()
        self.limits = limits or LedgerLimits()

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self._ledger

    @property
    def since(self) -> datetime | None:
        """``None``: the reports of a ledger have the time of its first call."""
        return None

    def moment(self, lang: str) -> Moment:  # noqa: ARG002 - the report of a ledger has no alerts to translate
        """The report by model on the whole ledger, the limits that are exceeded, and recommendations."""
        with self._ledger.at_one_moment() as reader:
            alerts = LedgerFigures(reader, self._book, None, self.limits).alerts
            return Moment(reader.report("model"), alerts, self._advice)

    def _advice(self) -> Advice:
        with self.figures() as figures:
            return figures.advice()

    @contextmanager
    def figures(self) -> Iterator[Figures]:
        """The history of all processes that write to the ledger, as it is now."""
        with self._ledger.at_one_moment() as reader:
            yield LedgerFigures(reader, self._book, None, self.limits)

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

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures of all processes, with the budgets of the store that the environment names."""
        budgets = () if self._budgets is None else self._budgets.usage()
        with self._ledger.at_one_moment() as reader:
            return pulse.of_ledger(
                reader, group, window=window, thresholds=self.limits.thresholds, budgets=budgets
            ).to_dict()

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
        self.limits = limits or LedgerLimits()

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
        figures = MeterFigures(self.meter)
        alerts = (*figures.alerts, *self.limits.alerts(self.limits.usage(self.ledger)))
        return Moment(figures.whole(("model",), lang), alerts, figures.advice)

    @contextmanager
    def figures(self) -> Iterator[Figures]:
        """The figures of the meter as they are now; if there is a ledger, those of the ledger."""
        meter, ledger = self.meter, self.ledger
        if ledger is None:
            yield MeterFigures(meter)
            return
        meter.flush(_FLUSH_TIMEOUT)
        with ledger.at_one_moment() as reader:
            yield LedgerFigures(reader, lambda: meter.prices, MeterFigures(meter), self.limits)

    def find(self, call_id: str) -> tuple[Call, PriceBook] | None:
        """A call, and the price book that it was priced with."""
        meter = self.meter
        call = next((call for call in meter.calls if call.id == call_id), None)
        if call is not None:
            unpickled = isinstance(call.price_book, StoredBill)
            return call, cast("PriceBook", (None if unpickled else call.price_book) or meter.prices)
        ledger = self.ledger
        if ledger is None:
            return None
        meter.flush(_FLUSH_TIMEOUT)
        return LedgerSource(ledger, meter.prices).find(call_id)

    def live(self, group: str, window: float) -> dict[str, Any]:
        """The live figures of this process, with the limits of the ledger."""
        figures = pulse.of_meter(self.meter, group, window=window)
        usages = self.limits.usage(self.ledger)
        passed = figures.alerts + sum(usage.passed for usage in usages)
        return replace(figures, thresholds=(*figures.thresholds, *usages), alerts=passed).to_dict()

    def reset(self) -> Totals | None:
        """Resets the meter to zero; its ledger is unchanged."""
        return self.meter.reset()
