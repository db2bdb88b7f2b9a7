"""The price catalog of the ``genai-prices`` package. No other module imports it.

We use its data, not its arithmetic. Its matching is fuzzy on purpose (``gpt-5-nano-anything`` is ``gpt-5-nano``), so
only names that it spells out are taken over. ``tests/pricing/test_catalog.py`` checks the parts that we use.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from openai_meter.core.money import pico
from openai_meter.pricing.types import Sheet

__all__ = ["Catalog"]

_LOG = logging.getLogger("openai_meter")
_NO_MODELS: Mapping[str, Any] = MappingProxyType({})

_KEYS: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input", 1_000_000),
    "cache_read_mtok": ("cached_input", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "input_audio_mtok": ("input_audio", 1_000_000),
    "cache_audio_read_mtok": ("cached_audio", 1_000_000),
    "output_audio_mtok": ("output_audio", 1_000_000),
    "input_image_mtok": ("input_image", 1_000_000),
    "cache_image_read_mtok": ("cached_image", 1_000_000),
    "output_image_mtok": ("output_image", 1_000_000),
    "input_mchars": ("characters", 1_000_000),
    "audio_hours": ("second", 3_600),
}
"""The catalog's price keys that we price by, and our names of them. Its tool fees are not used: they have neither
the type of the search tool nor its fixed block of tokens."""
PASSED_OVER = frozenset({"web_searches_kcount", "storage_searches_kcount", "input_audio_hours"})

_TIERS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"}, {"service_tier": "fast"}),
    "ultrafast": ({"service_tier": "ultrafast"},),
    "batch": ({"processing": "batch"},),
}


class Catalog:
    """OpenAI's models in ``genai-prices``. Read on first use. Not thread-safe."""

    def __init__(self) -> None:
        self._models: Mapping[str, Any] | None = None
        self._reading = False
        self.source = "genai-prices"

    @classmethod
    def empty(cls) -> Catalog:
        """A catalog without models, which never reads the real one."""
        catalog = cls()
        catalog._models = _NO_MODELS
        return catalog

    def refresh(self) -> None:
        """Fetches the newest catalog from the network, by the package's own updater, for this catalog alone.

        Raises:
            Exception: whatever the network or the updater raises; the prices are then those of before.
        """
        from genai_prices.update_prices import UpdatePrices  # noqa: PLC0415

        snapshot = UpdatePrices().fetch()
        if snapshot is not None:
            self._models = _index(snapshot)
            self.source = f"genai-prices {snapshot.timestamp:%Y-%m-%d}"

    @property
    def models(self) -> Mapping[str, Any]:
        """The catalog's models by every name that it spells out; empty if it cannot be read."""
        if self._models is not None:
            return self._models
        if self._reading:
            return _NO_MODELS  # a finalizer prices its call while its own thread imports the catalog
        self._reading = True
        try:
            self._models, self.source = _read()
        except Exception as error:
            # A changed catalog must not stop the metered program: its models are unpriced.
            _LOG.warning("openai_meter cannot read the price catalog of genai-prices: %r", error)
            self._models = _NO_MODELS
        finally:
            self._reading = False
        return self._models

    def names(self) -> tuple[str, ...]:
        """Every name that the catalog spells out."""
        return tuple(self.models)

    def knows(self, name: str) -> bool:
        """Whether the catalog spells out a name."""
        return name in self.models

    def released(self, name: str) -> date | None:
        """The earliest date in the names of the model's snapshots."""
        model = self.models.get(name)
        return None if model is None else min(_dates(model), default=None)

    def sheet(self, name: str, tier: str, day: date) -> Sheet | None:
        """The price list of a model in a tier on a day, or ``None`` if the catalog has none."""
        model = self.models.get(name)
        if model is None:
            return None
        try:
            return self._sheet(model, name, tier, day)
        except Exception as error:
            _LOG.warning("openai_meter cannot read the price of %s in genai-prices: %r", name, error)
            return None

    def _sheet(self, model: Any, name: str, tier: str, day: date) -> Sheet | None:
        standard = _of_day(model, day)
        prices, long, threshold = _convert(standard)
        origin, approximate = "genai-prices", False
        if tier != "default":
            variant = _variant(model, tier)
            if variant is None:
                return None
            constraint = variant.constraint
            if constraint is not None and not constraint.active(_noon(day)):
                # The catalog dates tiers by the day on which they were added to it, long after they began. A tier is
                # as old as the standard price that it belongs to: it holds as long as that price was the same.
                if _of_day(model, constraint.start_date) != standard:
                    return None
                approximate = True
            # An empty variant means that the tier costs as much as the default one. Any other is a whole price list:
            # a missing cached price means that cached tokens get no discount, not that they cost the standard one.
            if _stated(variant.prices):
                prices, long, own = _convert(variant.prices)
                threshold = own or threshold
        if not prices:
            return None
        return Sheet(name, tier, prices, long, threshold, self.source, origin, None, approximate=approximate)


def _read() -> tuple[Mapping[str, Any], str]:
    from importlib.metadata import version  # noqa: PLC0415

    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    return _index(get_snapshot()), f"genai-prices {version('genai-prices')}"


def _index(snapshot: Any) -> Mapping[str, Any]:
    provider = next(one for one in snapshot.providers if one.id == "openai")
    found: dict[str, Any] = {}
    for model in provider.models:
        for name in (model.id, *_spelled_out(model.match)):
            found.setdefault(name, model)
    return found


def _spelled_out(clause: Any) -> Iterator[str]:
    if (name := getattr(clause, "equals", None)) is not None:
        yield name
    for one in getattr(clause, "or_", ()):
        yield from _spelled_out(one)


def _dates(model: Any) -> Iterator[date]:
    for name in (model.id, *_spelled_out(model.match)):
        try:
            yield date.fromisoformat(name[-10:])
        except ValueError:
            continue


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def _of_day(model: Any, day: date) -> Any:
    return model.get_prices(_noon(day))


def _variant(model: Any, tier: str) -> Any:
    for when in _TIERS.get(tier, ()):
        for variant in model.price_variants or ():
            if dict(variant.when) == when:
                return variant
    return None


def _stated(price: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}


def _convert(price: Any) -> tuple[dict[str, Fraction], dict[str, Fraction] | None, int | None]:
    """Prices, long prices and the threshold of one price list of the catalog."""
    short: dict[str, Fraction] = {}
    long: dict[str, Fraction] = {}
    starts = set()
    for key, value in _stated(price).items():
        if key not in _KEYS:
            continue  # a price for something that usage objects do not report
        slot, per = _KEYS[key]
        base = value if isinstance(value, Decimal) else value.base
        short[slot] = long[slot] = _whole(base, per)
        if base is not value:
            (tier,) = value.tiers
            long[slot] = _whole(tier.price, per)
            starts.add(tier.start)
    if not starts:
        return short, None, None
    (threshold,) = starts
    return short, long, threshold


def _whole(dollars: Decimal, per: int) -> Fraction:
    price = pico(dollars, per)
    if per == 1_000_000 and price.denominator != 1:
        raise ValueError(f"{dollars} USD per million is no whole number of pico-dollars")
    return price
