"""What calls cost: exact to the pico-dollar, by dated rules and prices.

::

    types      the input (Price, Billable) and the rows of price lists
    overlay    price files: ours (overlay.toml) and the caller's
    catalog    the only module that imports genai-prices
    lookup     whose price list a model has
    rates      compiled rates, and usage split into disjoint counts
    plan       a price list with its factors, kept per model, tier and day
    bill       the lines of one call, with every rule
    book       PriceBook
    loading    prices calls as they end, with the files read in the background
    contexts   the facts of a call that a price depends on
    answers    cost(): the cost of an answer, without a meter
    quotes     estimate() and quote(): the cost of a request before it is sent

``core/money.py`` has the results (Cost, CostLine), and ``usage/billing_details.py`` the rare facts of request and
answer that a price depends on.
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
