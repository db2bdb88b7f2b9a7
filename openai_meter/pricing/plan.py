"""The part of a price that does not depend on the usage: the price list and its factors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import Amount
from openai_meter.pricing.lookup import Books, Found
from openai_meter.pricing.rates import Fast, TextAmount, brackets, fast_way, text_amount
from openai_meter.pricing.types import TIERS, Deployment, Price, Sheet

__all__ = ["Adjustment", "Key", "Plan", "Settings", "make_plan"]


class Key(NamedTuple):
    """Everything that a plan depends on; calls with the same key share it."""

    model: str | None
    provider: str
    host: str | None
    service_tier: str | None
    day: int
    """The UTC day as an ordinal number."""
    requested_model: str | None = None
    batch: bool = False
    window: str | None = None
    azure_type: str | None = None


@dataclass(frozen=True)
class Settings:
    """The settings of a price book. They are replaced as a whole, so a call sees one state of them."""

    revision: int
    books: Books
    own: Books
    """The caller's price files alone: models of other hosts may be priced by them."""
    prices: Mapping[str, Price]
    models: Mapping[str, Deployment]
    discount: Fraction


class Adjustment(NamedTuple):
    """A factor on token prices."""

    item: str
    factor: Fraction
    source: str
    checked: date | None


@dataclass
class Plan:
    """How calls with one key are priced."""

    model: str | None
    tier: str
    provider: str
    sheet: Sheet | None = None
    reason: str | None = None
    """Why there is no price list, or why it is approximate."""
    short: Mapping[str, Amount] = field(default_factory=dict)
    long: Mapping[str, Amount] | None = None
    adjustments: tuple[Adjustment, ...] = ()
    discount: Fraction = Fraction(1)
    """What the whole cost is multiplied with in the end."""
    azure: Fraction = Fraction(1)
    facts: Mapping[str, Any] = field(default_factory=dict)
    approximate: bool = False
    estimated: bool = False
    """Whether it is not certain that this price list is that of the call."""
    fast: Fast | None = None
    text_amount: TextAmount | None = None
    """The compiled rates of ``fast``; set if, and only if, that is set."""
    source: str | None = None
    """Whose prices these are."""
    bound_rates: dict[Any, Any] = field(default_factory=dict)
    """The highest rates by kind of request, compiled by budgets."""

    @property
    def overridden(self) -> bool:
        """Whether the price is the caller's, to which nothing is added."""
        return self.sheet is not None and self.sheet.source == "override"


_AZURE_TYPES = {
    "global": "global",
    "globalstandard": "global",
    "globalbatch": "global",
    "datazone": "data_zone",
    "datazonestandard": "data_zone",
    "datazonebatch": "data_zone",
    "regional": "regional",
    "regionalstandard": "regional",
    "standard": "regional",
}


def azure_type(name: str) -> str | None:
    """Our name of an Azure deployment type, or ``None`` if it is not charged by the token (provisioned throughput)."""
    return _AZURE_TYPES.get("".join(letter for letter in name.lower() if letter.isalpha()))


_TIERS_OF_OPENAI = frozenset({"openai", "azure"})
"""The providers with the tier names of OpenAI's price lists. Another host may give its ordinary tier any name."""


_REQUESTED_ONLY = "auto"


def _tier(key: Key) -> tuple[str | None, str]:
    """The tier of the price list (``None``: it has no such tier), and its name for a reason."""
    name = key.service_tier
    tier = TIERS.get(name and name.lower())
    if tier is None and key.provider not in _TIERS_OF_OPENAI:
        tier = "default"
    if not key.batch:
        return tier, str(name)
    # A line of a batch has the tier "default"; any other tier in it contradicts the batch.
    return ("batch", "batch") if tier in {"default", "batch"} else (None, f"batch+{name}")


def make_plan(key: Key, settings: Settings) -> Plan:
    """Looks up all that does not depend on the usage. Never raises because of a call's values."""
    deployment = settings.models.get(key.requested_model or "") or settings.models.get(key.model or "")
    target = deployment.model if deployment is not None else key.model or key.requested_model
    tier, name = _tier(key)
    own = _own_prices(key, target, settings)
    if tier is None and own is not None and not key.batch:
        tier = "default"  # the caller has named a price for the model, whatever the host calls its tier
    plan = Plan(target, tier or name, key.provider)
    if tier is None and name.lower() == _REQUESTED_ONLY:
        # What was requested, and not what served: the ordinary tier, unless it was another one.
        plan.tier = tier = "batch" if key.batch else "default"
        plan.estimated = True
    if tier is None:
        plan.reason = f"tier: {name}"
    elif target is None:
        plan.reason = "model not stated"
    elif own is not None:
        plan.sheet = own.get(tier) or (None if key.provider in _TIERS_OF_OPENAI else own["default"])
        plan.reason = None if plan.sheet else f"tier: {tier}"
    else:
        _find(plan, key, settings, deployment, tier)
    if target is not None:
        plan.facts = settings.books.facts(target)
    if plan.sheet is not None:
        _adjust(plan, key, settings, deployment)
    if plan.sheet is not None:
        _compile(plan, settings)
    return plan


def _own_prices(key: Key, target: str | None, settings: Settings) -> Mapping[str, Sheet] | None:
    """The caller's own price lists of the model, by tier."""
    for name in (key.model, key.requested_model, target):
        if name is not None and (price := settings.prices.get(name)) is not None:
            return price.sheets(name)
    return None


_AZURE_FINE_TUNED = re.compile(r"(?P<base>.+)\.ft-[^/]+", re.DOTALL)
"""Azure's name of a fine-tuned model: ``gpt-4o-mini-2024-07-18.ft-ID`` (its answers to calls of such a deployment)."""


def _base_on_azure(model: str) -> str:
    """The model by whose tokens Azure charges: fine-tuned models as their base, and their hosting by the hour."""
    if model.startswith("ft:"):
        return model.split(":", 2)[1]
    fine_tuned = _AZURE_FINE_TUNED.fullmatch(model)
    base = model if fine_tuned is None else fine_tuned["base"]
    return f"gpt-3.5-{base[7:]}" if base.startswith("gpt-35-") else base  # Azure allowed no dot in names


def _find(plan: Plan, key: Key, settings: Settings, deployment: Deployment | None, tier: str) -> None:
    target = plan.model or ""
    day = date.fromordinal(key.day)
    if deployment is not None:  # a price for the name itself has precedence over the model behind it
        for name in (key.model, key.requested_model):
            if name is not None and (own := settings.own.find(name, tier, day)).sheet is not None:
                plan.sheet, plan.reason = own
                return
    if key.provider == "azure":
        target = _base_on_azure(target)
    if key.provider in {"openai", "azure"} or deployment is not None:
        found = settings.books.find(target, tier, day)
    else:
        found = settings.own.find(target, tier, day)
        if found.sheet is None:
            found = Found(None, f"provider: {key.provider}")
    plan.sheet, plan.reason = found
    if plan.sheet is not None and plan.sheet.approximate:
        plan.approximate = True
        plan.reason = f"prices of {plan.sheet.model}"
    elif plan.estimated:
        plan.reason = plan.reason or f"tier: {_REQUESTED_ONLY}"


def _adjust(plan: Plan, key: Key, settings: Settings, deployment: Deployment | None) -> None:
    """Finds the factors; a call whose factor is unknown loses its price list."""
    if plan.overridden:
        return
    found = []
    if key.window is not None:
        window = settings.books.factor("window", key.window)
        if window is None or (plan.tier != "default" and window.times != 1):
            also = "" if window is None else f"+{plan.tier}"
            plan.sheet, plan.reason = None, f"window: {key.window}{also}"
            return
        found.append(Adjustment(f"window {key.window}", window.times, window.origin, window.checked))
    if key.host is not None and (region := settings.books.factor("host", key.host)) is not None:
        released = settings.books.released(plan.model or "")
        if released is None:
            plan.approximate, plan.reason = True, "regional uplift: release date unknown"
        elif region.released_from is None or released >= region.released_from:
            found.append(Adjustment("regional", region.times, region.origin, region.checked))
    if key.provider == "azure":
        stated = key.azure_type or (deployment and deployment.type)
        kind = azure_type(stated) if stated else "global"
        factor = settings.books.factor("azure", kind) if kind else None
        if factor is None:
            plan.sheet, plan.reason = None, f"azure deployment type: {stated}"
            return
        if not stated or factor.approximate:
            plan.approximate = True
            plan.reason = f"azure deployment type: {stated or 'unknown'}"
        plan.azure = factor.times
        found.append(Adjustment(f"azure {kind}", factor.times, factor.origin, factor.checked))
    plan.adjustments = tuple(one for one in found if one.factor != 1)
    plan.discount = 1 - settings.discount


def _compile(plan: Plan, settings: Settings) -> None:
    sheet = plan.sheet
    assert sheet is not None
    plan.source = sheet.source
    lifetime = settings.books.factor("cache_write", "12h")
    plan.short, plan.long = brackets(sheet, lifetime.times if lifetime else Fraction(1))
    # The fast path has no charges by the call.
    if "input" in plan.short and not (plan.estimated or "call" in plan.short or "search_each_call" in plan.facts):
        factor = plan.discount
        for one in plan.adjustments:
            factor *= one.factor
        plan.text_amount = text_amount(plan.short, plan.long, sheet.threshold, factor)
        plan.fast = fast_way(plan.text_amount, reason=plan.reason, source=plan.source, approximate=plan.approximate)
