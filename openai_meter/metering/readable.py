"""The properties and methods by which programs read figures; meters and blocks share them.

:class:`Readable` has them. :class:`MeterCore` adds the base of a meter: its prices, and the work on the
server that was counted. ``Meter`` and ``Block`` are in ``meter.py``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.deprecation import renamed
from openai_meter.core.formatting import printable
from openai_meter.metering.open_calls import OpenCall, open_calls
from openai_meter.metering.plain_calls import PlainCall
from openai_meter.metering.seen_jobs import SeenJobs
from openai_meter.metering.store import Store, StoreSnapshot, Totals, Unpriced
from openai_meter.pricing.loading import PriceLoader
from openai_meter.reports.mixin import Reporting

if TYPE_CHECKING:
    from openai_meter.alerts import Alert, ThresholdUsage
    from openai_meter.alerts.dispatch import AlertDispatcher
    from openai_meter.alerts.webhook import WebhookStats
    from openai_meter.budgets import Budget, BudgetView
    from openai_meter.budgets.guard import BudgetGuard
    from openai_meter.budgets.stores import BudgetStore
    from openai_meter.core.dimensions import CounterHistory
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.advice import Recommendation

__all__ = ["MeterCore", "Readable", "all_readables"]

_SEARCHED = 1_000
"""How many recent calls are searched for an id of the API: programs ask for it when they have just had the answer."""

_readables: weakref.WeakSet[Readable] = weakref.WeakSet()
"""All meters and blocks of this process, for its end and for forks."""


def all_readables() -> list[Readable]:
    """All meters and blocks of this process."""
    return list(_readables)


class Readable(Reporting):
    """The figures, and the ways to read them: the part that a ``Meter`` and a ``Block`` share.

    Every property is exact at the moment when it is read, and safe to read from any thread. Calls may be recorded
    between two properties; :meth:`snapshot` has several figures of one moment.
    """

    _budgets: BudgetGuard | None = None

    def __init__(self, recent: int, dispatcher: AlertDispatcher | None = None) -> None:
        self._store = Store(recent, dispatcher)
        _readables.add(self)

    @property
    def meter(self) -> MeterCore:
        """The meter that this belongs to."""
        raise NotImplementedError

    # --- one moment ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> StoreSnapshot:
        """All figures of one moment: totals, groups, recent calls, alerts, calls without a price. They agree.

        Alerts and limits of budgets are those of a moment later.
        """
        self.meter.settle()
        found, guard = self._store.read(), self._budgets
        if guard is None:
            return found
        alerts, usage = guard.alerts(), guard.threshold_usage()
        return replace(found, alerts=(*found.alerts, *alerts), threshold_usage=(*found.threshold_usage, *usage))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The most recent calls, oldest first (as many as ``recent`` allows; :attr:`totals` include all calls)."""
        self.meter.settle()
        return self._store.calls()

    @property
    def totals(self) -> Totals:
        """The totals over all calls."""
        self.meter.settle()
        return self._store.totals()

    @overload
    def by(self, dimension: str, /) -> Mapping[str, Totals]: ...
    @overload
    def by(self, *dimensions: str) -> Mapping[tuple[str, ...], Totals]: ...
    def by(self, *dimensions: str) -> Mapping[Any, Totals]:
        """The totals for each value of a dimension, or of several at once; they always sum up to :attr:`totals`.

        Args:
            dimensions: one or more of ``"model"``, ``"agent"``, ``"operation"``, ``"user"``, ``"session"``, ``"tag"``
                (all tags of a call, written ``env=prod, team=forms``), ``"tag:NAME"`` (the values of one tag),
                ``"endpoint"``, ``"provider"``, ``"block"`` (the innermost), ``"organization"`` and ``"project"`` (as
                the headers of answers name them).

        Returns:
            Totals by value, in the order in which the values were first seen; by tuples of values if several
            dimensions are named. Calls without a value are grouped as ``"(unattributed)"``. Values beyond the first
            thousand of a dimension share a row, such as ``"(other sessions)"``: see :attr:`overflow_calls`.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        self.meter.settle()
        rows = self._store.by(*dimensions)
        return rows if len(dimensions) > 1 else {value: totals for (value,), totals in rows.items()}

    @property
    def cost(self) -> Decimal | None:
        """The exact cost in US dollars of all calls whose price is known; ``None`` if there are calls and none is."""
        return self.totals.cost

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.totals}>"

    def __str__(self) -> str:
        """One line: calls, tokens, cost, errors; with the name of a block in front."""
        name = getattr(self, "name", None)
        return self.summary() if name is None else f"{printable(name)}: {self.summary()}"

    @property
    def overflow_calls(self) -> int:
        """How many calls share a row of others in some dimension, because it has too many values to remember.

        They are in all totals; only which of the other users, sessions or tags were theirs is not known.
        """
        return self._store.overflow_calls()

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded now, and then the stages that budgets have reached, in order of time."""
        return self.snapshot().alerts

    @property
    def threshold_usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each threshold is used up now, whether it is exceeded or not."""
        return self.snapshot().threshold_usage

    @property
    def budgets(self) -> Mapping[str, BudgetView]:
        """The budgets by their names, as they are now: ``meter.budgets["prod"].left``."""
        if self._budgets is None:
            return {}
        worker.drain()  # calls whose tokens are being estimated
        return self._budgets.views()

    def _budget_usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each budget is used up, without a trip to a store."""
        return () if self._budgets is None else self._budgets.budget_usage()

    def unpriced(self) -> tuple[Unpriced, ...]:
        """What has no full price, per model and reason."""
        return self.snapshot().unpriced

    def recommendations(self) -> tuple[Recommendation, ...]:
        """Recommendations to save tokens or money, from the recent calls, the largest saving first."""
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - only a program that asks loads it

        found = self.snapshot()
        return recommendations(found.calls, found.totals, self.meter.prices)

    # --- the rest of the surface --------------------------------------------------------------------------------------

    @property
    def started_at(self) -> datetime:
        """Since when calls are counted, in UTC: the making, or the last :meth:`reset`."""
        return self._store.started_at

    @started_at.setter
    def started_at(self, moment: datetime) -> None:
        self._store.started_at = moment

    @property
    def pending(self) -> tuple[OpenCall, ...]:
        """Calls that have begun and not ended: streams being read, answers not yet read, and work on the server."""
        return open_calls(self)

    @property
    def webhooks(self) -> tuple[WebhookStats, ...]:
        """The numbers of alerts that each webhook accepted, has waiting, and has lost, in this process."""
        return () if self._store.dispatcher is None else self._store.dispatcher.webhook_stats()

    def reset(self) -> Totals:
        """Forgets all calls, starts again from zero, and returns the totals up to that moment.

        Calls that are still open are counted when they end. Work on the server that was counted is not counted again
        when it is read again: it was paid for once.
        """
        self.meter.settle()
        return self._store.reset()

    folded = renamed("Meter", "folded", "overflow_calls")
    burn = renamed("Meter", "burn", "threshold_usage")

    def _refused_calls(self) -> Mapping[str, int]:
        """The calls that each budget has refused, over all windows; budgets without any are left out."""
        return {} if self._budgets is None else dict(self._budgets.refusals)

    def _set_budgets(self, budgets: tuple[Budget, ...] | None, store: BudgetStore | None = None) -> None:
        """Takes other budgets from now on, or another store; those that are the same go on counting. ``None``: as now.

        The price files are read now, which takes some tenths of a second: no call is sent before its price is known.
        """
        from openai_meter.budgets.desk import Desk  # noqa: PLC0415 - for programs with budgets only
        from openai_meter.budgets.guard import BudgetGuard  # noqa: PLC0415
        from openai_meter.budgets.quick import quick_hold  # noqa: PLC0415
        from openai_meter.budgets.stages import fleet_thresholds  # noqa: PLC0415

        guard = self._budgets or BudgetGuard(())
        desk = None if store is None else Desk(store)
        dispatcher = self._store.dispatcher
        watched = () if dispatcher is None else fleet_thresholds(dispatcher.watch.thresholds)
        self._budgets = guard.changed(budgets, desk, self._spent_before(), watched, self.meter._announce)  # noqa: SLF001
        if any(budget.unit != "calls" for budget in (*self._budgets.budgets, *watched)):
            self.meter._price_loader.load()
        Budgeting.quick_hold = staticmethod(quick_hold)
        Budgeting.active = True

    def _announce(self, alert: Alert) -> None:
        """Sends the alert of a budget to the log, the callback and the webhooks. Never waits."""
        if (dispatcher := self._store.dispatcher) is not None:
            dispatcher.announce(alert)

    def _spent_before(self) -> Callable[[Any], int] | None:
        """The amount spent in the window of an account before this process; ``None`` where there is no ledger."""
        return None

    # --- for other modules of the package -----------------------------------------------------------------------------

    @property
    def _recent(self) -> int:
        """How many recent calls are kept."""
        return self._store.recent

    def _take(self, call: Call) -> None:
        """Adds a finished call. Never waits."""
        self._store.add(call)

    def _take_plain(self, call: PlainCall) -> None:
        """Adds a plain call. Never waits."""
        self._store.add_plain(call)

    def find(self, response_id: str) -> Call | None:
        """The latest of the recent calls that the API gave this id, or ``None``. Its price may still be missing."""
        worker.drain()  # it may be one whose tokens are being estimated
        latest = islice(reversed(self._store.calls()), _SEARCHED)
        return next((call for call in latest if call.response_id == response_id), None)

    def _since_first_read(
        self, past: CounterHistory
    ) -> tuple[Mapping[tuple[str, ...], Totals], Mapping[tuple[str, ...], Totals]]:
        """The totals by the dimensions of a past, through all resets since it was first read; and those of now."""
        self.meter.settle()
        return self._store.ever(past)

    def _start_over_in_child(self) -> None:
        """Makes this count from zero in a forked child."""
        self._store.start_over_in_child()


class MeterCore(Readable):
    """The base of a meter: its prices, and the work on the server that was counted."""

    def __init__(self, recent: int, dispatcher: AlertDispatcher, price_settings: Mapping[str, Any]) -> None:
        super().__init__(recent, dispatcher)
        self._settings: dict[str, Any] = dict(price_settings)
        self._seen_jobs = SeenJobs()
        self._price_loader = PriceLoader(self._reprice)
        if any(value is not None and value != 0 for value in price_settings.values()):
            self._price_loader.use(**price_settings)

    @property
    def prices(self) -> PriceBook:
        """The prices that calls are priced by; ``meter.prices.set(model, Price(...))`` changes one at any time."""
        return self._price_loader.book

    def reprice(self) -> int:
        """Prices again the calls without a full price (the latest ``recent`` of them), in all totals and blocks too.

        Use it when a price has been set that was missing.

        Returns:
            How many calls of the meter have a price now.
        """
        self._price_loader.load()
        return self._reprice()

    @property
    def internal_errors(self) -> int:
        """How often the meter itself failed in this process; each may have cost a record, none has cost a call."""
        return faults.count()

    faults = renamed("Meter", "faults", "internal_errors")

    def settle(self) -> None:
        """Finishes estimates and reads the price files, so that figures are final. Every property does so first."""
        worker.drain()
        # A signal handler may have interrupted a thread that holds the sums which pricing is waiting for.
        self._price_loader.settle(patient=not any(one._store.held_here() for one in all_readables()))

    def _reprice(self) -> int:
        for readable in all_readables():
            if readable is not self and readable.meter is self:
                readable._store.reprice(self._price_loader.again)
        return self._store.reprice(self._price_loader.again)

    def _start_over_in_child(self) -> None:
        super()._start_over_in_child()
        self._seen_jobs.clear()
        self._price_loader.start_over_in_child()
