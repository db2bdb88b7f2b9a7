"""The meter: counts calls, prices them, and passes them on. ``Block`` is the same for a part of a program.

The way of a call: a ``CallInFlight`` becomes a :class:`Call`. Every meter and block that listened when the call began
takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from openai_meter.alerts import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher, Hooks, OnAlert, finish_webhooks
from openai_meter.budgets.state import close_all as close_budgets
from openai_meter.core import faults, fork_safety, settings
from openai_meter.core.background import worker
from openai_meter.core.formatting import printable
from openai_meter.core.public import public
from openai_meter.errors import ConfigurationError
from openai_meter.metering.attribution import Attribution, Scope, Surroundings
from openai_meter.metering.ledger_link import LedgerLink
from openai_meter.metering.manual import ManualTracking
from openai_meter.metering.readable import MeterCore, Readable, all_readables

if TYPE_CHECKING:
    from openai_meter.budgets import Budget
    from openai_meter.budgets.stores import BudgetStore
    from openai_meter.core.money import CostLine, Number
    from openai_meter.pricing import Deployment, Price

Limits = Mapping[str, Any] | Sequence[Threshold] | bool | None
Budgets: TypeAlias = "Sequence[Budget] | Budget | bool | None"

__all__ = ["Block", "Budgets", "Limits", "Meter", "MeterCore", "Readable", "finish", "start_over_in_child"]


@public
class Meter(ManualTracking, LedgerLink):
    """Counts calls; ``openai_meter.install()`` lets the process-wide one listen to every openai client.

    Args:
        recent: how many recent calls are kept (from 0 up); totals include all calls, whatever this is.
        prices: your own prices: by model, or the path of a TOML file in the form of ``pricing/overlay.toml``.
        models: the models behind names of your own (Azure deployments, aliases of a proxy): a model's name, or a
            ``Deployment`` with its type.
        discount: the share (0 to 1) that OpenAI deducts for you.
        thresholds: the limits whose passing raises an alert (``alerts.DEFAULTS``): a dict such as
            ``{"cost": 5.0, "calls": None}``, a list of ``Threshold``, or ``False`` for none.
        on_alert: is called with each ``Alert``, in a thread of the meter's own.
        webhook: where alerts are posted: a URL, a ``Webhook``, or several.
        budgets: the caps on its calls: a list of ``Budget``.
        budget_store: where several processes share the budgets: a URL.

    Raises:
        ConfigurationError: a setting cannot be used; the message says why.
    """

    def __init__(
        self,
        *,
        recent: int = 10_000,
        prices: Mapping[str, Price] | str | Path | None = None,
        models: Mapping[str, str | Deployment] | None = None,
        discount: Number = 0,
        thresholds: Limits = None,
        on_alert: OnAlert | None = None,
        webhook: Hooks = None,
        budgets: Budgets = None,
        budget_store: str | BudgetStore | None = None,
    ) -> None:
        limits = _read_budgets(budgets)
        dispatcher = AlertDispatcher(thresholds, on_alert, webhook)
        store = _opened_store(budget_store, wanted=bool(limits) or dispatcher.has_fleet)
        super().__init__(
            _checked_recent(recent), dispatcher, {"prices": prices, "models": models, "discount": discount}
        )
        if limits is not None or store is not None or dispatcher.has_fleet:
            self._set_budgets(limits, store)

    @property
    def meter(self) -> Meter:
        """The meter itself."""
        return self

    def explain(self, call_id: str) -> tuple[CostLine, ...]:
        """The bill of one of the recent calls: a tuple of lines; ``print()`` shows it as a bill.

        Raises:
            LookupError: the call is not among the recent ones.
        """
        calls = self.calls
        for call in calls:
            if call.id == call_id:
                return call.cost_lines
        raise LookupError(f"call {call_id!r} is not among the {len(calls)} recent calls of this meter")

    def _configure(
        self,
        *,
        recent: int | None = None,
        thresholds: Limits = None,
        on_alert: OnAlert | None = None,
        webhook: Hooks = None,
        budgets: Budgets = None,
        budget_store: str | BudgetStore | None = None,
        **prices: Any,
    ) -> None:
        """Changes settings of a meter in use; ``None`` leaves a setting unchanged.

        Prices (``prices``, ``models``, ``discount``) hold for the calls from now on, and for those without a price.
        Thresholds count from zero when they are changed.

        Raises:
            ConfigurationError: a value cannot be used; nothing is changed then.
        """
        checked = None if recent is None else _checked_recent(recent)
        limits = _read_budgets(budgets)
        dispatcher = (self._store.dispatcher or AlertDispatcher(False)).changed(thresholds, on_alert, webhook)
        wanted = bool(limits) or dispatcher.has_fleet
        store = _opened_store(budget_store, wanted=wanted and (self._budgets is None or not self._budgets.desk))
        given = {name: value for name, value in prices.items() if value is not None}
        if given:
            settings = {**self._settings, **given}
            self._price_loader.use(**settings)
            self._settings = settings
        if checked is not None:
            self._store.resize(checked)
        self._store.use(dispatcher)
        if given:
            self.reprice()
        changed = thresholds is not None and (dispatcher.has_fleet or self._budgets is not None)
        if limits is not None or store is not None or changed:
            self._set_budgets(limits, store)

    def _alike(self) -> Meter:
        """An empty meter of its own, with the same prices, models and discount, as many recent calls, and no limits."""
        return Meter(recent=self._recent, thresholds=False, **self._settings)


@public
class Block(Readable, Scope):
    """The calls of a part of a program, with totals of its own; made by ``openai_meter.track()``.

    A context manager (``with`` and ``async with``) and a decorator (of plain functions, coroutine functions,
    generators and async generators). Blocks nest: a call counts for all blocks around it. A stream that is opened in
    a block and read after it still counts for it. Entering a block again goes on counting.
    """

    def __init__(
        self, name: str | None, attribution: Attribution, meter: Meter, dispatcher: AlertDispatcher | None = None
    ) -> None:
        super().__init__(meter._recent, dispatcher)
        self.name = name
        self._meter = meter
        self._attribution = attribution

    @property
    def meter(self) -> Meter:
        """The meter whose settings the block shares."""
        return self._meter

    def around(self, outer: Surroundings) -> Surroundings:
        """The surroundings of code in the block."""
        attribution = self._attribution.within(outer.attribution)
        return Surroundings(attribution, (*outer.blocks, self), self, outer, outer.depth + 1)

    def __repr__(self) -> str:
        return f"<Block {printable(self.name)}: {self.totals}>"


def _read_budgets(setting: object) -> tuple[Budget, ...] | None:
    if setting is None:
        return None
    from openai_meter.budgets.budget import read_budgets  # noqa: PLC0415 - for programs with budgets only

    return read_budgets(setting)


def _opened_store(store: str | BudgetStore | None, *, wanted: bool) -> BudgetStore | None:
    """The store of a setting; ``None`` is ``OPENAI_METER_BUDGET_STORE`` where budgets want one."""
    store = store or (settings.get("budget_store") if wanted else None)
    if store is None:
        return None
    if store is not None and not isinstance(store, str):
        return store
    from openai_meter.budgets.stores import open_store  # noqa: PLC0415 - for programs with shared budgets only

    return open_store(store)


def _checked_recent(recent: object) -> int:
    if isinstance(recent, bool) or not isinstance(recent, int) or recent < 0:
        raise ConfigurationError(f"recent={recent!r} is not a number of calls; pass a whole number from 0 up")
    return recent


def finish() -> None:
    """Delivers calls to sinks and alerts to webhooks, at the end of the process."""
    for readable in all_readables():
        if isinstance(readable, Meter):
            readable._finish_sinks()
    close_budgets()
    worker.drain()  # alerts that were announced at the end
    finish_webhooks()


def start_over_in_child() -> None:
    """Makes everything in a forked child count from zero: the calls so far are its parent's. Runs in the child."""
    for readable in all_readables():
        readable._start_over_in_child()
    faults.forget()


# Here, and not with the calls in flight: a meter may be used without patching.
fork_safety.on_fork("meters", after_in_child=lambda _: start_over_in_child())
