"""The meter: what was counted, and how it is read and shown. ``Block`` is the same for a stretch of a program.

A ``CallInFlight`` becomes a :class:`Call`, which every :class:`Readable` takes that listened when the call began.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from openai_meter.alerts import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher, Hooks, OnAlert, finish_webhooks
from openai_meter.core import faults, fork_safety
from openai_meter.core.background import worker
from openai_meter.core.bounded import Bounded
from openai_meter.core.call import Call
from openai_meter.core.deprecation import renamed
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.metering.attribution import Attribution, Scoped, Surroundings
from openai_meter.metering.ledger_link import Kept
from openai_meter.metering.manual import Services
from openai_meter.metering.open_calls import OpenCall, open_calls
from openai_meter.metering.store import Store, Totals, Unpriced
from openai_meter.pricing.loading import PriceLoader
from openai_meter.reports.mixin import Reporting

if TYPE_CHECKING:
    from openai_meter.alerts import Alert, ThresholdUsage
    from openai_meter.alerts.webhook import WebhookStats
    from openai_meter.core.dimensions import Past
    from openai_meter.core.money import Number
    from openai_meter.pricing import Cost, CostLine, Deployment, Price, PriceBook
    from openai_meter.pricing.loading import PriceContext
    from openai_meter.reports.advice import Recommendation

Limits = Mapping[str, Any] | Sequence[Threshold] | bool | None

__all__ = ["Block", "Limits", "Meter", "Readable", "finish"]

_SEARCHED = 1_000
"""How far back a call is looked for by the API's id: whoever asks has just had the answer."""


class Readable(Reporting):
    """What was counted, as it can be read: the part that a :class:`Meter` and a :class:`Block` share.

    Every reading is a snapshot, exact at its moment, and safe to take from any thread.
    """

    def __init__(self, recent: int, dispatcher: AlertDispatcher | None = None) -> None:
        self._store = Store(recent, dispatcher)
        self.started_at = datetime.now(UTC)
        """Since when is counted, in UTC: the making, or the last :meth:`reset`."""
        _everyone.add(self)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The most recent calls, oldest first (as many as ``recent`` allows; :attr:`totals` know them all)."""
        self.meter.settle()
        return self._store.calls()

    def find(self, response_id: str) -> Call | None:
        """The latest of the recent calls that the API gave this id, or ``None``. Its price may still be missing."""
        worker.drain()  # it may be one whose tokens are being estimated
        latest = islice(reversed(self._store.calls()), _SEARCHED)
        return next((call for call in latest if call.response_id == response_id), None)

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
                ``"endpoint"``, ``"provider"``, ``"block"`` (the innermost).

        Returns:
            Totals by value, in the order in which the values were first seen; by tuples of values if several
            dimensions are named. What was not said is ``"(unattributed)"``. Values beyond the first thousand of a
            dimension share a row, such as ``"(other sessions)"``: see :attr:`overflow_calls`.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        self.meter.settle()
        rows = self._store.by(*dimensions)
        return rows if len(dimensions) > 1 else {value: totals for (value,), totals in rows.items()}

    def take(self, call: Call) -> None:
        """Adds a finished call. Never waits."""
        self._store.add(call)

    def reset(self) -> Totals:
        """Forgets all calls, starts again from zero, and returns the totals up to that moment.

        Calls that are still open are counted when they end. Work on the server that was counted is not counted again
        when it is asked for again: it was paid for once.
        """
        self.meter.settle()
        before = self._store.reset()
        self.started_at = datetime.now(UTC)
        return before

    @overload
    def snapshot(self) -> tuple[Totals, Mapping[str, Totals]]: ...
    @overload
    def snapshot(self, *dimensions: str) -> tuple[Totals, Mapping[tuple[str, ...], Totals]]: ...
    def snapshot(self, *dimensions: str) -> tuple[Totals, Mapping[Any, Totals]]:
        """The overall totals and those by some dimensions (see :meth:`by`), of the same moment.

        Returns:
            The totals, and those by tuples of values, as many as dimensions are named; if none is, by model.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        self.meter.settle()
        totals, rows = self._store.snapshot(*(dimensions or ("model",)))
        return totals, rows if dimensions else {model: one for (model,), one in rows.items()}

    def ever(self, past: Past) -> tuple[Mapping[tuple[str, ...], Totals], Mapping[tuple[str, ...], Totals]]:
        """The totals by the dimensions of a past, through all resets since it was first asked for; and those of now."""
        self.meter.settle()
        return self._store.ever(past)

    @property
    def overflow_calls(self) -> int:
        """How many calls share a row of others in some dimension, because it has too many values to remember.

        They are in all totals; only which of the other users, sessions or tags were theirs is not known.
        """
        return self._store.overflow_calls()

    folded = renamed("Meter", "folded", "overflow_calls")
    burn = renamed("Meter", "burn", "threshold_usage")

    @property
    def cost(self) -> Decimal | None:
        """The exact cost in US dollars of all calls whose price is known; ``None`` if there are calls and none is."""
        return self.totals.cost

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """The thresholds that are exceeded now, in the order in which that happened."""
        self.meter.settle()
        return () if (watch := self._store.watched()) is None else watch.current()

    @property
    def threshold_usage(self) -> tuple[ThresholdUsage, ...]:
        """How far each threshold is used up now, whether it is exceeded or not."""
        self.meter.settle()
        return () if (watch := self._store.watched()) is None else watch.usage()

    @property
    def webhooks(self) -> tuple[WebhookStats, ...]:
        """What became of the alerts for each webhook, in this process."""
        return () if self._store.dispatcher is None else self._store.dispatcher.deliveries()

    def recommendations(self) -> tuple[Recommendation, ...]:
        """What would save tokens or money, as the recent calls show, the largest saving first."""
        from openai_meter.reports.advice import recommendations  # noqa: PLC0415 - only who asks for advice pays for it

        return recommendations(self.calls, self.totals, self.meter.prices)

    def unpriced(self) -> tuple[Unpriced, ...]:
        """What has no full price, per model and reason."""
        self.meter.settle()
        return self._store.unpriced()

    @property
    def recent(self) -> int:
        """How many recent calls are kept."""
        return self._store.recent

    @property
    def meter(self) -> Meter:
        """The meter that this belongs to."""
        raise NotImplementedError

    @property
    def pending(self) -> tuple[OpenCall, ...]:
        """Calls that have begun and not ended: streams being read, answers not yet read, and work on the server."""
        return open_calls(self)

    def start_over_in_child(self) -> None:
        """Makes this count from zero in a forked child."""
        self._store.start_over_in_child()
        self.started_at = datetime.now(UTC)


class Meter(Services, Kept, Readable):
    """Counts calls; ``openai_meter.install()`` lets the process-wide one listen to every openai client.

    Args:
        recent: how many recent calls are kept (from 0 up); totals are kept for ever, whatever this is.
        prices: your own prices: by model, or the path of a TOML file in the form of ``prices/overlay.toml``.
        models: what stands behind names of your own (Azure deployments, aliases of a proxy): a model's name, or a
            ``Deployment`` with its type.
        discount: the part (0 to 1) that OpenAI takes off for you.
        thresholds: the limits whose passing raises an alert (``thresholds.DEFAULTS``): a dict such as
            ``{"cost": 5.0, "calls": None}``, a list of ``Threshold``, or ``False`` for none.
        on_alert: is called with each ``Alert``, in a thread of the meter's own.
        webhook: where alerts are posted: a URL, a ``Webhook``, or several.

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
    ) -> None:
        super().__init__(_checked_recent(recent), AlertDispatcher(thresholds, on_alert, webhook))
        self._counted: Bounded[tuple[str, str], Usage | None] = Bounded(10_000)
        self._settings: dict[str, Any] = {"prices": prices, "models": models, "discount": discount}
        self._price_loader = PriceLoader(self._reprice)
        if prices is not None or models is not None or discount != 0:
            self._price_loader.use(**self._settings)

    @property
    def meter(self) -> Meter:
        """The meter itself."""
        return self

    def configure(
        self,
        *,
        recent: int | None = None,
        thresholds: Limits = None,
        on_alert: OnAlert | None = None,
        webhook: Hooks = None,
        **prices: Any,
    ) -> None:
        """Changes settings of a meter at work; ``None`` leaves a setting as it is.

        Prices (``prices``, ``models``, ``discount``) hold for the calls from now on, and for those without a price.
        ThresholdMonitor count from zero when they are changed.

        Raises:
            ConfigurationError: a value cannot be used; nothing is changed then.
        """
        checked = None if recent is None else _checked_recent(recent)
        dispatcher = (self._store.dispatcher or AlertDispatcher(False)).changed(thresholds, on_alert, webhook)
        given = {name: value for name, value in prices.items() if value is not None}
        if given:
            settings = {**self._settings, **given}
            self._price_loader.use(**settings)
            self._settings = settings
        if checked is not None:
            self._store.resize(checked)
        self._store.dispatcher = dispatcher
        if given:
            self.reprice()

    def take(self, call: Call) -> None:
        """Adds a finished call, and passes it on to the sinks. Never waits."""
        self._store.add(call)
        if self._feed is not None:
            self._feed.record(call)

    def alike(self) -> Meter:
        """An empty meter of its own, with the same prices, models and discount, as many recent calls, and no limits."""
        return Meter(recent=self.recent, thresholds=False, **self._settings)

    @property
    def prices(self) -> PriceBook:
        """The prices that calls are priced by; ``meter.prices.set(model, Price(...))`` changes one at work."""
        return self._price_loader.book

    def price(
        self, usage: Usage | None, model: str | None, call: PriceContext, at: datetime
    ) -> tuple[Cost, PriceBook | None]:
        """The cost of a call that ends now, and the prices it came from. Never raises, never waits."""
        return self._price_loader.price(usage, model, call, at)

    def note_cost(self, cost: Cost) -> None:
        """Hears that a call of this cost was recorded."""
        self._price_loader.note_cost(cost)

    def reprice(self) -> int:
        """Prices again the calls without a full price (the latest ``recent`` of them), in all totals and blocks too.

        Use it when a price has been set that was missing.

        Returns:
            How many calls of the meter have a price now.
        """
        self._price_loader.load()
        return self._reprice()

    def _reprice(self) -> int:
        for readings in list(_everyone):
            if readings is not self and readings.meter is self:
                readings._store.reprice(self._price_loader.again)  # noqa: SLF001 - a block of this meter
        repriced = self._store.reprice(self._price_loader.again)
        if self._feed is not None:
            self._feed.pass_on()
        return repriced

    def explain(self, call_id: str) -> tuple[CostLine, ...]:
        """The bill of one of the recent calls, line by line.

        Raises:
            LookupError: the call is not among the recent ones.
        """
        self.settle()
        for call in self.calls:
            if call.id == call_id:
                return call.cost_lines
        raise LookupError(f"call {call_id!r} is not among the {len(self.calls)} recent calls of this meter")

    def settle(self) -> None:
        """Does what had to wait (estimates, the price files), so that what is read next is final."""
        worker.drain()
        # A signal handler may have interrupted somebody who holds the sums that whoever prices is waiting for.
        self._price_loader.settle(patient=not any(one._store.held_here() for one in list(_everyone)))  # noqa: SLF001

    @property
    def internal_errors(self) -> int:
        """How often the meter itself failed in this process; each may have cost a record, none has cost a call."""
        return faults.count()

    faults = renamed("Meter", "faults", "internal_errors")

    def first_sight(self, key: tuple[str, str], usage: Usage | None) -> bool:
        """Whether finished work on the server (endpoint and id) is seen for the first time; remembers it. Atomic."""
        return self._counted.claim(key, usage)

    def usage_counted(self, key: tuple[str, str]) -> Usage | None:
        """The usage that was last remembered for some work on the server."""
        return self._counted.get(key)

    def forget_sight(self, key: tuple[str, str]) -> None:
        """Forgets some work on the server: it has begun anew under the same id."""
        self._counted.pop(key)

    def start_over_in_child(self) -> None:
        """Makes this count from zero in a forked child."""
        super().start_over_in_child()
        self._counted.clear()
        if self._feed is not None:
            self._feed.start_over_in_child()
        self._price_loader.start_over_in_child()


class Block(Readable, Scoped):
    """The calls of a stretch of a program, with totals of its own; made by ``openai_meter.track()``.

    A context manager (``with`` and ``async with``) and a decorator (of plain functions, coroutine functions,
    generators and async generators). Blocks nest: a call counts for all blocks around it. A stream that is opened in
    a block and read after it still counts for it. Entering a block again goes on counting.
    """

    def __init__(
        self, name: str | None, who: Attribution, meter: Meter, dispatcher: AlertDispatcher | None = None
    ) -> None:
        super().__init__(meter.recent, dispatcher)
        self.name = name
        self._meter = meter
        self._who = who

    @property
    def meter(self) -> Meter:
        """The meter whose settings the block shares."""
        return self._meter

    def around(self, outer: Surroundings) -> Surroundings:
        """The surroundings of code in the block."""
        return Surroundings(self._who.within(outer.who), (*outer.blocks, self), self, outer, outer.depth + 1)

    def __repr__(self) -> str:
        return f"<Block {self.name!r}: {self.totals.calls} calls>"


def _checked_recent(recent: object) -> int:
    if isinstance(recent, bool) or not isinstance(recent, int) or recent < 0:
        raise ConfigurationError(f"recent={recent!r} is no number of calls; pass a whole number from 0 up")
    return recent


# All that counts in this process, for what happens to the whole process.
_everyone: weakref.WeakSet[Readable] = weakref.WeakSet()


def finish() -> None:
    """Brings what was counted to where it goes, and alerts to webhooks, at the end of the process."""
    for readings in list(_everyone):
        if isinstance(readings, Meter) and readings._feed is not None:  # noqa: SLF001 - of this module
            readings._feed.finish()  # noqa: SLF001
    finish_webhooks()


def start_over_in_child() -> None:
    """Makes everything in a forked child count from zero: the calls so far are its parent's. Runs in the child."""
    for readings in list(_everyone):
        readings.start_over_in_child()
    faults.forget()


# Here, and not with the calls in flight: a meter may be used without patching.
fork_safety.on_fork("meters", after_in_child=lambda _: start_over_in_child())
