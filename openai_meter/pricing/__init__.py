"""What calls cost: exact to the pico-dollar, by dated rules and prices.

::

    values     what goes in (Price, Billable) and what comes out (Cost, CostLine)
    overlay    price files: ours (overlay.toml) and the caller's
    catalog    the only module that imports genai-prices
    lookup     whose price list a model has
    rates      compiled rates, and usage split into disjoint counts
    plan       a price list with its factors, kept per model, tier and day
    bill       the lines of one call, with every rule
    book       PriceBook

Beside it stand ``money.py`` (exact numbers) and ``facts.py`` (rare facts of request and answer that a price depends
on).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_meter.pricing.book import PriceBook
    from openai_meter.pricing.types import Billable, Cost, CostLine, CurrentRate, Deployment, Price

__all__ = ["Billable", "Cost", "CostLine", "CurrentRate", "Deployment", "Price", "PriceBook"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'book' if name == 'PriceBook' else 'types'}"), name)
