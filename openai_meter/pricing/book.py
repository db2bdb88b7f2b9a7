"""The price book: what calls cost, and what they would cost at today's prices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

from openai_meter.core.call import Call
from openai_meter.core.money import Amount, CostStatus, Number, exact, pico, simplest, usd
from openai_meter.core.native import RLock
from openai_meter.core.public import public
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.pricing.bill import SPECIAL, Bill, make_bill
from openai_meter.pricing.catalog import Catalog
from openai_meter.pricing.lookup import Books
from openai_meter.pricing.overlay import BUNDLED, Overlay, load_overlay
from openai_meter.pricing.plan import Key, Plan, Settings, make_plan
from openai_meter.pricing.types import SLOTS, Billable, Cost, CostLine, CurrentRate, Deployment, Price, Sheet
from openai_meter.usage.billing_details import NOT_CHARGED

__all__ = ["PriceBook"]

_LOG = logging.getLogger("openai_meter")
_PLANS = 1_024
_WARNINGS = 1_024

_RARE = frozenset({"cache_ttl", "image_usage", "svg_usage", "provider_cost", "gateway_cache_hit", "unreported_images"})
"""The details that can change the price of plain text."""
_FREE = Cost(0, "free")
_FREE_ENDPOINTS = frozenset({"moderations"})
_UNPRICED_ENDPOINTS = {"fine_tuning.jobs": "training has no price by inference tokens"}
"""Endpoints whose tokens are not charged at the model's price."""
_UNKNOWN_USAGE = "usage unknown"
_UNKNOWN = Usage()


class BookState:
    """The settings and the plans made from them, replaced together: no plan is used with other prices than its own.

    ``plans`` also has the plans of calls without rare facts under plain tuples, in the order of the first six fields
    of :class:`Key`: a named tuple takes longer to make.
    """

    __slots__ = ("plans", "settings", "view")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.view: PriceBook | None = None
        self.plans: dict[Key | tuple[object, ...], Plan] = {}


@public
class PriceBook:
    """The prices of calls. Thread-safe; a call is priced by one state of the book, even while prices change.

    Args:
        prices: the caller's own prices, by model, or the path of a file in the form of ``overlay.toml``. They have
            precedence over all others, for any host, without surcharges and discounts.
        models: the models behind the caller's own names: Azure deployments, aliases of a proxy.
        discount: the share (0 to 1) that OpenAI deducts for the caller. It does not apply to ``prices``.

    Raises:
        ConfigurationError: a price, the file or the discount cannot be used; the message has the reason.
    """

    def __init__(
        self,
        prices: Mapping[str, Price] | str | Path | None = None,
        models: Mapping[str, str | Deployment] | None = None,
        discount: Number = 0,
    ) -> None:
        files: tuple[Overlay, ...] = ()
        if isinstance(prices, str | Path):
            files = (load_overlay(prices, "override"),)
            prices = None
        off = exact(discount, "discount")
        if off > 1:
            raise ConfigurationError(f"discount is {discount!r}; it has to be from 0 to 1 (0.1 is ten per cent off)")
        own = {name: _checked_price(name, price) for name, price in (prices or {}).items()}
        behind = {name: _checked_model(name, model) for name, model in (models or {}).items()}
        self._files = files
        self._catalog = Catalog()
        # Re-entrant: a finalizer may price its call in the middle of this thread's own work.
        self._lock = RLock()
        self._making = False
        self._warned: set[tuple[str | None, str]] = set()
        nothing = Books(files, None)
        self._state = BookState(Settings(0, nothing, nothing, own, behind, Fraction(off)))

    @classmethod
    def only(cls, prices: Mapping[str, Price]) -> PriceBook:
        """A book of these prices alone. It reads no files, so the cost of a call never changes.

        Raises:
            ConfigurationError: a price cannot be used.
        """
        book = cls(prices)
        book._state = BookState(replace(book._state.settings, books=Books((), Catalog.empty())))
        return book

    def view(self) -> PriceBook:
        """The book as it is now. Later changes of this book do not change it."""
        state = self._state
        if state.view is None:
            fixed = copy(self)
            fixed._state = state  # noqa: SLF001 - its own class
            state.view = fixed
        return state.view

    def lines_of(self, call: Call) -> tuple[CostLine, ...]:
        """The bill of a call."""
        return self.lines(self.billable_of(call))

    @staticmethod
    def billable_of(call: Call) -> Billable:
        """The parts of a call that its price depends on."""
        return Billable(
            None if call.usage == _UNKNOWN else call.usage,
            call.model,
            call.requested_model,
            call.endpoint,
            call.provider,
            call.host,
            call.service_tier,
            call.started_at,
            window=call.price_facts.get("window"),
            details=call.price_facts,
        )

    # --- what it costs ------------------------------------------------------------------------------------------------

    def cost_of(  # noqa: PLR0917 - keywords would cost a tenth of the whole
        self,
        usage: Usage,
        model: str | None,
        provider: str,
        host: str | None,
        service_tier: str | None,
        at: datetime,
        requested_model: str | None = None,
    ) -> Cost:
        """The cost of a chat, completion, response or embedding without rare facts. A fast path of :meth:`cost`.

        At prices that are read already, plain text takes a microsecond.
        """
        if at.tzinfo is not UTC and at.tzinfo is not None:
            at = at.astimezone(UTC)
        state = self._state
        key = (model, provider, host, service_tier, at.toordinal(), requested_model)
        plan = state.plans.get(key)
        if plan is None:
            plan = self._plan(Key(*key), key)
        if plan.fast is not None and (cost := plan.fast(usage)) is not None:
            return cost
        billable = Billable(usage, model, requested_model, "responses", provider, host, service_tier, at)
        return self._cost(billable, plan)

    def cost(self, billable: Billable) -> Cost:
        """The exact cost of a call. Never raises; what has no price is ``unpriced`` or ``partial``, never 0."""
        if (free := self._free(billable)) is not None:
            return free
        if (why := _UNPRICED_ENDPOINTS.get(billable.endpoint)) is not None:
            self._warn(billable.model, why)
            return Cost(None, "unpriced", why)
        plan = self._plan_of(billable)
        if plan.fast is not None and billable.usage is not None and billable.details.keys().isdisjoint(_RARE):
            plain = not billable.endpoint.startswith("images.") and billable.endpoint not in SPECIAL
            if plain and (cost := plan.fast(billable.usage)) is not None:
                return cost
        return self._cost(billable, plan)

    def lines(self, billable: Billable) -> tuple[CostLine, ...]:
        """The bill of a call; its amounts sum up exactly to :meth:`cost`. Empty if the call is free or unpriced."""
        if billable.usage is None or billable.endpoint in _UNPRICED_ENDPOINTS or self._free(billable) is not None:
            return ()
        plan = self._plan_of(billable)
        if (stated := _stated_cost(billable, plan)) is not None:
            return (CostLine("stated by the host", stated, model=plan.model, source="provider"),)
        return self._bill(billable, plan).lines

    def _free(self, billable: Billable) -> Cost | None:
        if billable.endpoint in _FREE_ENDPOINTS:
            return _FREE
        status = billable.details.get("status")
        if (reason := NOT_CHARGED.get(status)) is not None and (billable.usage is None or not billable.usage.known):
            return _FREE._replace(reason=reason)
        if status == "failed" and billable.endpoint == "videos":
            return _FREE._replace(reason="failed videos are not charged")
        return None

    def _cost(self, billable: Billable, plan: Plan) -> Cost:
        if plan.facts.get("free") and not plan.overridden:
            return _FREE
        if billable.usage is None:
            return self._unpriced(plan, _UNKNOWN_USAGE)
        if (stated := _stated_cost(billable, plan)) is not None:
            return Cost(stated, "priced" if stated else "free", None, "provider")
        bill = self._bill(billable, plan)
        if not bill.lines:
            return self._unpriced(plan, bill.missing[0] if bill.missing else _UNKNOWN_USAGE)
        amount = simplest(sum(line.amount_pico for line in bill.lines))
        status: CostStatus = "partial" if bill.missing else "priced"
        if bill.missing:
            self._warn(plan.model, bill.missing[0])
        reason = "; ".join(bill.missing) or plan.reason
        source = plan.source or bill.lines[0].source
        return Cost(
            amount, status, reason, source, plan.approximate or bill.approximate, plan.estimated or bill.estimated
        )

    def _bill(self, billable: Billable, plan: Plan) -> Bill:
        def side_plan(model: str) -> Plan:
            # Other models that work in a call have no tiers; whether it was a batch, and where, holds for them too.
            return self._plan_of(billable._replace(model=model, requested_model=None, service_tier=None, window=None))

        return make_bill(billable, plan, self._state.settings.books, side_plan)

    def _plan_of(self, billable: Billable) -> Plan:
        at = billable.at or datetime.now(UTC)
        if at.tzinfo is not None:
            at = at.astimezone(UTC)
        key = Key(
            billable.model,
            billable.provider,
            billable.host,
            billable.service_tier,
            at.toordinal(),
            billable.requested_model,
            billable.batch or billable.endpoint == "batches",
            billable.window,
            billable.details.get("azure_type"),
        )
        return self._state.plans.get(key) or self._plan(key, key)

    def _plan(self, key: Key, place: Key | tuple[object, ...]) -> Plan:
        """Makes a plan and keeps it; the first one reads the price files."""
        with self._lock:
            nested, self._making = self._making, True
            try:
                state = self._ready()
                plan = make_plan(key, state.settings)
            finally:
                self._making = nested
            if nested:
                return plan  # made while the files were half read: it is used for this one call only
            if len(state.plans) >= _PLANS:
                del state.plans[next(iter(state.plans))]
            state.plans[place] = plan
            return plan

    def _ready(self) -> BookState:
        """The state with all price files read; the caller holds the lock."""
        state = self._state
        if state.settings.books.catalog is None:
            overlay = load_overlay(BUNDLED, "overlay", strict=True)
            books = Books((*self._files, overlay), self._catalog)
            state.settings = replace(state.settings, books=books)
        return state

    def start_over_in_child(self) -> None:
        """Makes the book of a forked child usable: the lock may have been held by a thread that is gone."""
        self._lock = RLock()
        self._making = False
        self._state.view = None

    def _unpriced(self, plan: Plan, reason: str) -> Cost:
        self._warn(plan.model, reason)
        return Cost(None, "unpriced", reason)

    def _warn(self, model: str | None, reason: str) -> None:
        """Logs once per model and reason that a call is not, or not wholly, priced."""
        if reason == _UNKNOWN_USAGE:  # no price is missing in these cases
            return
        if (model, reason) not in self._warned and len(self._warned) < _WARNINGS:
            self._warned.add((model, reason))
            _LOG.warning("openai_meter has no full price for %s: %s", model or "a call", reason)

    # --- its content --------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """A number that changes whenever prices do."""
        return self._state.settings.revision

    def set(self, model: str, price: Price | None) -> None:
        """Sets the price of a model from now on, or with ``None`` takes the caller's own price away.

        Raises:
            ConfigurationError: ``price`` is not a :class:`Price`.
        """
        checked = None if price is None else _checked_price(model, price)
        with self._lock:
            prices = {name: one for name, one in self._state.settings.prices.items() if name != model}
            if checked is not None:
                prices[model] = checked
            self._replace(prices=MappingProxyType(prices))

    def warm(self) -> None:
        """Reads all price files now, instead of at the first cost (some tenths of a second)."""
        with self._lock:
            books = self._ready().settings.books
            if books.catalog is not None:
                books.catalog.names()

    def update(self) -> None:
        """Fetches the newest catalog of genai-prices from the network: only this method does it.

        Raises:
            Exception: the network's or the updater's; the prices stay as they were.
        """
        catalog = Catalog()
        catalog.refresh()
        with self._lock:
            overlays = self._ready().settings.books.overlays
            self._replace(books=Books(overlays, catalog))

    def _replace(self, **changes: object) -> None:
        settings = self._state.settings
        # mypy cannot know the names in changes; the two callers above do.
        self._state = BookState(replace(settings, revision=settings.revision + 1, **changes))  # type: ignore[arg-type]

    def current(self, model: str | None = None, at: datetime | None = None) -> tuple[CurrentRate, ...]:
        """The prices of a model, or of all, on the day of ``at`` (today), one row for each tier and bracket."""
        day = _day(at)
        with self._lock:
            settings = self._ready().settings
        names = [model] if model is not None else sorted({*settings.books.names(), *settings.prices})
        rows: list[CurrentRate] = []
        for name in names:
            for tier in ("default", "flex", "priority", "ultrafast", "batch"):
                rows += _rows(_sheet_of(settings, name, tier, day))
        return tuple(rows)


def _checked_price(name: str, price: object) -> Price:
    if not isinstance(price, Price):
        raise ConfigurationError(f"prices[{name!r}] is {price!r}; it has to be a Price, such as Price(input=0.75)")
    return price


def _checked_model(name: str, model: object) -> Deployment:
    if isinstance(model, str) and model:
        return Deployment(model)
    if not isinstance(model, Deployment):
        raise ConfigurationError(f"models[{name!r}] is {model!r}; it has to be a model's name or a Deployment")
    return model


def _stated_cost(billable: Billable, plan: Plan) -> Amount | None:
    """The cost that the host has stated, unless the caller has set a price."""
    if billable.details.get("gateway_cache_hit"):  # the model was not called, and its provider charges nothing
        return simplest(0)
    if billable.provider in {"openai", "azure"} or plan.overridden:
        return None
    stated = billable.details.get("provider_cost")
    try:
        return None if stated is None else simplest(pico(exact(stated, "provider_cost")))
    except ConfigurationError:
        return None


def _day(at: datetime | None) -> date:
    at = at or datetime.now(UTC)
    return (at.astimezone(UTC) if at.tzinfo is not None else at).date()


def _sheet_of(settings: Settings, name: str, tier: str, day: date) -> Sheet | None:
    if (price := settings.prices.get(name)) is not None:
        return price.sheets(name).get(tier)
    return settings.books.find(name, tier, day).sheet


def _rows(sheet: Sheet | None) -> list[CurrentRate]:
    if sheet is None:
        return []
    found = []
    for bracket, prices in ((None, sheet.prices), ("long", sheet.long)):
        if prices is not None:
            dollars = {slot: usd(price * _per(slot)) for slot, price in prices.items()}
            low, checked = sheet.low, sheet.checked
            found.append(
                CurrentRate(sheet.model, sheet.tier, bracket, dollars, sheet.source, sheet.origin, checked, low)
            )
    return found


def _per(slot: str) -> int:
    return SLOTS[slot][1] if slot in SLOTS else 1
