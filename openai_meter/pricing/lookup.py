"""Finds the price list of a model: the order of the sources, and which names mean the same model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.pricing.catalog import Catalog
from openai_meter.pricing.overlay import Factor, Fee, Overlay
from openai_meter.pricing.types import Sheet

__all__ = ["Books", "Found"]

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_COMPLETIONS_SNAPSHOT = re.compile(r":\d{4}-?\d{2}-?\d{2}-v\d+$")
"""How /completions names its snapshots: ``gpt-3.5-turbo-instruct:20230824-v2``."""
_BASE_MODELS = {"babbage": "babbage-002", "davinci": "davinci-002"}
"""What such a snapshot is listed as, where that is another name."""


class Found(NamedTuple):
    """What a look-up gives: a price list, or the reason why there is none."""

    sheet: Sheet | None
    reason: str | None = None


def names_of(model: str) -> Iterator[tuple[str, bool]]:
    """The names under which a model may be listed, and whether each is only a near relative of it.

    A snapshot is listed under its own name or under its name without the date. There is no matching by prefix:
    gpt-5.4-mini is not gpt-5.4. A fine-tuned model (``ft:BASE:organisation::id``) has rows of its own.
    """
    if model.startswith("ft:"):
        model = "ft:" + model.split(":", 2)[1]
    elif (snapshot := _COMPLETIONS_SNAPSHOT.search(model)) is not None:
        name = model[: snapshot.start()]
        model = _BASE_MODELS.get(name, name)
    yield model, False
    stripped = _DATED.sub("", model)
    if stripped != model:
        yield stripped, True


class Books:
    """Price files in the order of their precedence, above the catalog. Immutable, but the catalog is read late."""

    def __init__(self, overlays: tuple[Overlay, ...], catalog: Catalog | None) -> None:
        self.overlays = overlays
        self.catalog = catalog

    def find(self, model: str, tier: str, day: date) -> Found:
        """The price list of a model in a tier on a day.

        The reason why there is none is ``unknown model``, ``not sold by OpenAI``, or ``tier: NAME``.
        """
        for name, near in names_of(model):
            sold = not self.facts(name).get("unsold")
            default = self._sheet(name, "default", day, sold=sold)
            sheet = default if tier == "default" else self._sheet(name, tier, day, sold=sold)
            if sheet is not None:
                return Found(sheet._replace(approximate=sheet.approximate or near))
            if default is not None or not sold:
                return Found(None, f"tier: {tier}" if sold else "not sold by OpenAI")
        return Found(None, "unknown model")

    def _sheet(self, name: str, tier: str, day: date, *, sold: bool = True) -> Sheet | None:
        for overlay in self.overlays:
            row = overlay.row(name, tier, day)
            if row is not None and row.times is None:
                source, low = overlay.name, row.low
                prices, long, threshold = row.prices, row.long, row.threshold
                return Sheet(name, tier, prices, long, threshold, source, row.origin, row.checked, low)
            if row is not None and row.times is not None and (base := self._sheet(name, "default", day)) is not None:
                return base._replace(
                    tier=tier,
                    prices=_times(base.prices, row.times),
                    long=_times(base.long, row.times) if row.times_long and base.long else None,
                    source=overlay.name,
                    origin=row.origin,
                    checked=row.checked,
                    low=base.low or row.low,
                )
            if tier != "default" and overlay.row(name, "default", day) is not None:
                return None  # the tiers of the layers below belong to another default price
        return None if self.catalog is None or not sold else self.catalog.sheet(name, tier, day)

    def facts(self, model: str) -> Mapping[str, Any]:
        """The facts of a model in the files besides its prices; the nearest name with a value counts."""
        known: dict[str, Any] = {}
        for name, _ in names_of(model):
            for overlay in self.overlays:
                for fact, value in overlay.facts.get(name, {}).items():
                    known.setdefault(fact, value)
        return known

    def released(self, model: str) -> date | None:
        """The release date of a model, if it is known: by a row, by its name, or by the names of its snapshots."""
        if (known := self.facts(model).get("released")) is not None:
            day: date = known
            return day
        for name, _ in names_of(model):
            try:
                return date.fromisoformat(name[-10:])
            except ValueError:
                pass
            if self.catalog is not None and (found := self.catalog.released(name)) is not None:
                return found
        return None

    def factor(self, kind: str, name: str) -> Factor | None:
        """The factor of a window, a host, a deployment type or a cache lifetime."""
        return next((one for layer in self.overlays if (one := layer.factors.get((kind, name))) is not None), None)

    def fee(self, name: str) -> Fee | None:
        """The price of one use of a tool."""
        return next((one for layer in self.overlays if (one := layer.fees.get(name)) is not None), None)

    def names(self) -> list[str]:
        """Every model that has a price, sorted."""
        found = {name for layer in self.overlays for name, _ in layer.rows}
        return sorted(found | set(self.catalog.names() if self.catalog is not None else ()))


def _times(prices: Mapping[str, Fraction], factor: Fraction) -> dict[str, Fraction]:
    return {slot: price * factor for slot, price in prices.items()}
