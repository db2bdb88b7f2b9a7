"""The values of pricing: prices of the caller, what is priced, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

from openai_meter.core.money import Cost, CostLine, Number, exact, pico
from openai_meter.core.public import public
from openai_meter.core.short_repr import short_repr
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError

__all__ = [
    "LONG_CONTEXT",
    "SLOTS",
    "TIERS",
    "Billable",
    "Cost",
    "CostLine",
    "CurrentRate",
    "Deployment",
    "Price",
    "Sheet",
]

LONG_CONTEXT = 272_000
"""Input tokens above which a request is charged at long-context rates (OpenAI's pricing page)."""

TIERS: Mapping[str | None, str] = {
    None: "default",
    "": "default",
    "default": "default",
    "standard": "default",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",  # the newer name of the same tier; answers have "priority"
    "ultrafast": "ultrafast",
    "batch": "batch",
}
"""The price list that each served tier is charged by. A tier that is missing here (``scale``) has none.
``auto`` is what was requested: an answer that repeats it is priced as ``default``, and marked as an estimate."""

SLOTS: Mapping[str, tuple[str, int]] = {
    "input": ("token", 1_000_000),
    "cached_input": ("token", 1_000_000),
    "cache_write": ("token", 1_000_000),
    "cache_write_12h": ("token", 1_000_000),
    "output": ("token", 1_000_000),
    "input_audio": ("token", 1_000_000),
    "cached_audio": ("token", 1_000_000),
    "output_audio": ("token", 1_000_000),
    "input_image": ("token", 1_000_000),
    "cached_image": ("token", 1_000_000),
    "output_image": ("token", 1_000_000),
    "characters": ("character", 1_000_000),
    "second": ("second", 1),
    "minute": ("second", 60),
    "minute_estimate": ("second", 60),
    "image": ("image", 1),
    "call": ("call", 1),
}
"""Everything that can have a price: the counted unit, and the number of units that a price in US dollars is for.

``minute`` and ``second`` price the same seconds; ``minute_estimate`` prices them where tokens would be charged but are
not known.
"""


class Sheet(NamedTuple):
    """The price list of one model in one tier on one day."""

    model: str
    tier: str
    prices: Mapping[str, Fraction]
    """Pico-dollars per unit by slot (see :data:`SLOTS`)."""
    long: Mapping[str, Fraction] | None = None
    """The same for long requests, or ``None`` if no such price is known."""
    threshold: int | None = None
    """Input tokens above which a request is long, or ``None`` if the length does not matter."""
    source: str = ""
    """``override``, ``overlay``, or the catalog with its version."""
    origin: str = ""
    """Where the figures were read: a document or a URL."""
    checked: date | None = None
    """When the figures were last compared with their origin."""
    low: bool = False
    """Whether the figures come from a source other than OpenAI's own page."""
    approximate: bool = False


_TOKEN_PRICES = tuple(name for name, (unit, _) in SLOTS.items() if unit in {"token", "character"})
_UNIT_PRICES = ("second", "image", "call")


@public
@dataclass(frozen=True)
class Price:
    """What a model costs, in US dollars per ``per`` tokens (or characters); exact, and checked when it is made.

    A price that is left out is unknown, not zero, with these exceptions: cached and written tokens without a price of
    their own cost what input costs, images what text costs. ``second``, ``image`` and ``call`` are dollars for one.

    Args:
        per: how many tokens or characters the prices are for.
        long: other prices for requests of more than ``long_from`` input tokens.
        tiers: prices by served tier (``flex``, ``priority``, ``ultrafast``, ``batch``); in a tier that is not named
            here the model is unpriced.

    Raises:
        ConfigurationError: a price is no number, not finite or below 0.
    """

    input: Number | None = None
    cached_input: Number | None = None
    cache_write: Number | None = None
    cache_write_12h: Number | None = None
    output: Number | None = None
    input_audio: Number | None = None
    cached_audio: Number | None = None
    output_audio: Number | None = None
    input_image: Number | None = None
    cached_image: Number | None = None
    output_image: Number | None = None
    characters: Number | None = None
    second: Number | None = None
    image: Number | None = None
    call: Number | None = None
    per: int = 1_000_000
    long: Price | None = None
    long_from: int = LONG_CONTEXT
    tiers: Mapping[str, Price] = field(default_factory=dict)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in (*_TOKEN_PRICES, *_UNIT_PRICES):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, exact(value, f"Price({name}=...)"))
        for name in ("per", "long_from"):
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ConfigurationError(f"Price({name}=...) is {value!r}; it has to be a whole number above 0")
        if self.long is not None and not isinstance(self.long, Price):
            raise ConfigurationError(f"Price(long=...) is {self.long!r}; it has to be a Price")
        for tier, price in self.tiers.items():
            if tier not in TIERS or not isinstance(price, Price):
                known = ", ".join(sorted(set(TIERS.values()) - {"default"}))
                raise ConfigurationError(f"Price(tiers=...) has {tier!r}: {price!r}; tiers are {known}, each a Price")
        if not _pico_prices(self):
            raise ConfigurationError("Price() has no price in it; give at least one, such as input=0.75")

    def sheets(self, model: str) -> Mapping[str, Sheet]:
        """The price lists of this price, by tier."""
        made = {"default": _own_sheet(self, model, "default")}
        made.update((TIERS[tier], _own_sheet(price, model, TIERS[tier])) for tier, price in self.tiers.items())
        return made


def _pico_prices(price: Price) -> dict[str, Fraction]:
    per = {**dict.fromkeys(_TOKEN_PRICES, price.per), **dict.fromkeys(_UNIT_PRICES, 1)}
    return {name: pico(value, n) for name, n in per.items() if (value := getattr(price, name)) is not None}


def _own_sheet(price: Price, model: str, tier: str) -> Sheet:
    long = None if price.long is None else _pico_prices(price.long)
    threshold = None if long is None else price.long_from
    return Sheet(model, tier, _pico_prices(price), long, threshold, "override", "the caller")


@public
@dataclass(frozen=True, slots=True)
class Deployment:
    """The model behind a name of the caller's, and how Azure deploys it.

    Args:
        model: OpenAI's name of the model.
        type: the deployment type, which sets Azure's price: ``global``, ``data_zone`` or ``regional``.
    """

    model: str
    type: str | None = None


_NO_DETAILS: Mapping[str, Any] = MappingProxyType({})


class Billable(NamedTuple):
    """What is priced: the usage of one call and everything else that its price depends on.

    ``details`` has the rare facts under the keys that ``usage/billing_details.py`` lists.
    """

    usage: Usage | None
    model: str | None
    """The model as the API answered."""
    requested_model: str | None = None
    endpoint: str = "responses"
    provider: str = "openai"
    """``openai``, ``azure``, or the host."""
    host: str | None = None
    service_tier: str | None = None
    """The tier that served the call; never the requested one."""
    at: datetime | None = None
    """When the request was made; without a zone it is UTC. ``None`` is now."""
    batch: bool = False
    """Whether the call was a line of a batch. The line itself does not have it."""
    window: str | None = None
    """The completion window of a background response. Only its request has it."""
    details: Mapping[str, Any] = _NO_DETAILS


class CurrentRate(NamedTuple):
    """One row of a table of today's prices."""

    model: str
    tier: str
    bracket: str | None
    prices: Mapping[str, Decimal]
    """US dollars by slot, per the number of units in :data:`SLOTS` (a million tokens, one second)."""
    source: str
    origin: str
    checked: date | None
    low: bool
    """Whether the confidence in the figures is low."""
