"""The cost of an answer that a program has, without a meter: :func:`cost`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_meter.core.money import Bill, Cost, line_values
from openai_meter.core.public import public
from openai_meter.core.usage import Usage, fields_of
from openai_meter.errors import ConfigurationError
from openai_meter.usage.billing_details import answer_facts, host_facts, request_facts
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.external import ExternalAnswer, read_external
from openai_meter.usage.providers import provider_of_host

if TYPE_CHECKING:
    from openai_meter.pricing import Price, PriceBook
    from openai_meter.pricing.types import Billable

    Prices = PriceBook | Mapping[str, Price] | str | Path | None

__all__ = ["CallCost", "PricedValue", "cost", "price_book", "remedy_of"]

_OPENAI = "api.openai.com"
_USAGE_NAMES = frozenset({"input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens"})
_WHAT = "an answer of the API (an object of the SDK, a dict or JSON), its usage, or a Usage"


class PricedValue:
    """A value that has a price: its cost in dollars, and how far it is known."""

    __slots__ = ()
    price: Cost

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact. ``None``: unknown, which is not 0."""
        return self.price.usd

    @property
    def cost_status(self) -> str:
        """``priced``, ``partial``, ``unpriced`` or ``free``."""
        return self.price.status

    @property
    def cost_reason(self) -> str | None:
        """Why the cost is not, or not wholly, known; or why the price is approximate."""
        return self.price.reason


@public
@dataclass(frozen=True, slots=True)
class CallCost(PricedValue):
    """What a call cost: the exact amount, its lines, and how far it is known. The names are those of :class:`Call`."""

    model: str | None
    endpoint: str
    """``manual`` where nothing in the answer shows its endpoint."""
    usage: Usage
    service_tier: str | None
    price: Cost
    cost_lines: Bill
    """Quantities at prices, fees and adjustments, which sum up exactly to :attr:`cost`."""

    @property
    def remedy(self) -> str | None:
        """What to do where the cost is not wholly known; ``None`` where it is."""
        return remedy_of(self.price, self.model)

    def __str__(self) -> str:
        """The cost as a person reads it: ``gpt-4o-mini, 5,137 tokens, $0.00162195 (genai-prices 0.2.3)``."""
        total = self.usage.total_tokens
        tokens = "tokens unknown" if total is None else f"{total:,} tokens"
        text = f"{self.model or 'unknown model'}, {tokens}, {self.price}"
        return text if self.remedy is None else f"{text}; {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; amounts are strings of digits."""
        return {
            "model": self.model,
            "endpoint": self.endpoint,
            "service_tier": self.service_tier,
            "usage": self.usage.to_dict(),
            "cost": None if self.cost is None else f"{self.cost:f}",
            "cost_status": self.cost_status,
            "cost_reason": self.cost_reason,
            "cost_estimated": self.price.estimated,
            "price_source": self.price.source,
            "remedy": self.remedy,
            "cost_lines": [line_values(line) for line in self.cost_lines],
        }


def cost(
    answer: object,
    *,
    request: Mapping[str, Any] | None = None,
    model: str | None = None,
    endpoint: str | None = None,
    service_tier: str | None = None,
    batch: bool = False,
    host: str = _OPENAI,
    at: datetime | None = None,
    prices: Prices = None,
) -> CallCost:
    """The exact cost of an answer, without a meter. Nothing is counted, and nothing is sent. Thread-safe.

    Waits for the prices to be loaded, once.

    Args:
        answer: a chat completion, a response, embeddings, images and so on: an object of any version of the SDK, a
            parsed or a raw answer, a dict, or JSON. Of a stream: its last chunk or event with the usage, or the final
            completion or response. Also a line of a batch output, a usage object by itself, or a ``Usage``.
        request: the body of the request, where the price depends on it: answers with images and speech do not name
            their model.
        model: the model, where neither names it, or instead of it.
        endpoint: the endpoint, such as ``audio.speech``, where the answer does not show it.
        service_tier: the tier that served the call, instead of the one in the answer.
        batch: whether the call was a line of a batch. A line of a batch output is recognised.
        host: the host that answered.
        at: the day whose prices hold; by default when the API made the answer, else today. Without a timezone, in UTC.
        prices: a ``PriceBook``, prices by model, or the path of a price file; by default the published ones.

    Returns:
        The cost, with its lines and status. What has no price is ``unpriced``, never 0; ``remedy`` names what to do.

    Raises:
        ConfigurationError: it is not an answer, there is no such endpoint, or the prices cannot be used.
    """
    if endpoint is not None and endpoint not in (known := {row.name for row in ENDPOINTS}):
        raise ConfigurationError(f"endpoint={endpoint!r} is not an endpoint; use one of {', '.join(sorted(known))}")
    content, in_batch = _content(answer)
    if isinstance(content, Usage):
        found = ExternalAnswer.of_usage(content, endpoint)
    else:
        found = read_external(content, endpoint, request)
    body = fields_of(request)
    state = found.response
    named = body.get("model")
    model = model or state.model or (named if isinstance(named, str) and named else None)
    provider = provider_of_host(host)
    tier = service_tier or state.service_tier
    facts = {**request_facts(body), **_facts_of(content), **state.facts, **host_facts(state.usage, provider)}
    billable = _billable(found, model, provider, host, tier)._replace(
        at=at or _made_at(found.created),
        batch=batch or in_batch,
        window=facts.get("window"),
        details=facts,
    )
    book = price_book(prices)
    price = book.cost(billable)
    if model is None and price.usd is None and found.usage is not None:
        price = price._replace(reason="no model was named")
    return CallCost(model, found.endpoint, found.usage or Usage(), tier, price, Bill(book.lines(billable)))


def _billable(found: ExternalAnswer, model: str | None, provider: str, host: str, tier: str | None) -> Billable:
    from openai_meter.pricing.types import Billable  # noqa: PLC0415 - not before something is to be priced

    return Billable(found.usage, model, None, found.endpoint, provider, host, tier)


_FIRST, _LAST = 1_590_000_000, 32_503_680_000
"""Unix seconds between which an answer was made: the API began in 2020. Stand-ins write 0 or 1."""


def _made_at(created: float | None) -> datetime | None:
    """When the API made an answer, if its field ``created`` is a time."""
    if created is None or not _FIRST <= created <= _LAST:
        return None
    return datetime.fromtimestamp(created, UTC)


def _facts_of(content: object) -> dict[str, Any]:
    fields = fields_of(content)
    facts = answer_facts(fields)
    if fields.keys() == {"error"}:  # the body of an HTTP error
        facts["status"] = "error"
    return facts


def _content(answer: object) -> tuple[object, bool]:
    """The answer itself, and whether it is that of a line of a batch output."""
    if isinstance(answer, str | bytes | bytearray):
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"the answer is not JSON: {error}; pass {_WHAT}") from None
    if answer is None or isinstance(answer, bool | int | float | list | tuple | set):
        raise ConfigurationError(f"cost() was given {str(answer)[:60]!r}, which is not an answer; pass {_WHAT}")
    if isinstance(answer, Usage):
        return answer, False
    fields = fields_of(answer)
    if "custom_id" in fields and isinstance(body := fields_of(fields.get("response")).get("body"), Mapping):
        return body, True
    if "usage" not in fields and not fields.keys().isdisjoint(_USAGE_NAMES):
        return {"usage": answer}, False
    return answer, False


def remedy_of(price: Cost, model: str | None) -> str | None:
    """What a program can do where a cost is not wholly known."""
    if price.status not in {"unpriced", "partial"}:
        return None
    if price.reason == "usage unknown":
        return (
            'the answer has no usage: of a stream, ask for it with stream_options={"include_usage": True}, and pass '
            "the last chunk or the final answer"
        )
    if (price.reason or "").startswith("usage"):
        return "the answer does not report all that was used; compare with the bill of the provider"
    if model is None:
        return "pass model=..., the name of the model that answered"
    return f"pass prices={{{model!r}: openai_meter.Price(input=..., output=...)}}, in US dollars per million tokens"


def price_book(prices: Prices) -> PriceBook:
    """The price book that a caller names; by default that of the published prices, which is made once.

    Raises:
        ConfigurationError: the prices cannot be used.
    """
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

    if prices is None:
        return _published()
    return prices if isinstance(prices, PriceBook) else PriceBook(prices)


@lru_cache(maxsize=1)
def _published() -> PriceBook:
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

    return PriceBook()
