"""The cost of a text or a request before it is sent: the public functions for estimates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from openai_meter.core.money import Bill, Cost
from openai_meter.core.public import public
from openai_meter.core.usage import Usage, count
from openai_meter.errors import ConfigurationError
from openai_meter.pricing.answers import PricedValue, price_book, remedy_of
from openai_meter.usage.billing_details import request_facts
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.estimation import encodings
from openai_meter.usage.estimation.calls import INPUTS, estimate_call
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.estimate import Estimate, Source
from openai_meter.usage.estimation.families import traits
from openai_meter.usage.estimation.request_values import fields, text_of

if TYPE_CHECKING:
    from openai_meter.pricing.answers import Prices
    from openai_meter.pricing.types import Billable

__all__ = ["Quote", "estimate", "load_encodings", "quote"]

_NO_MODEL = "no model was named"


@public
@dataclass(frozen=True, slots=True)
class Quote(PricedValue):
    """What a call is estimated to cost before it is sent: its input, and with :func:`quote` its expected output."""

    estimate: Estimate
    model: str | None
    endpoint: str | None
    """The endpoint of the request, or ``None`` for a text by itself."""
    price: Cost
    """The cost of the tokens at today's prices, or why it is not known."""
    output_tokens: int | None = None
    """The output that is expected; ``None``: the quote is of the input alone."""
    cost_lines: Bill = field(default_factory=Bill)
    """Quantities at prices, which sum up exactly to :attr:`cost`."""

    def __str__(self) -> str:
        """The quote as a person reads it: ``2 input tokens (tiktoken), $0.0000003 (gpt-4o-mini)``."""
        more = "" if self.output_tokens is None else f", {self.output_tokens:,} output tokens"
        partly = f" and more: {self.price.reason}" if self.cost_status == "partial" else ""
        cost = f"${self.cost:f}{partly}" if self.cost is not None else f"cost unknown: {self.price.reason}"
        return f"{self.estimate}{more}, {cost}{f' ({self.model})' if self.model else ''}"

    @property
    def tokens(self) -> int | None:
        """Input tokens; ``None`` if they cannot be counted."""
        return self.estimate.usage.input_tokens

    @property
    def remedy(self) -> str | None:
        """What to do where the cost is not wholly known; ``None`` where it is."""
        if self.price.reason == _NO_OUTPUT:
            return "pass output_tokens=..., or a request with a limit such as max_output_tokens"
        return None if self.tokens is None else remedy_of(self.price, self.model)

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; the cost is a string of digits."""
        return {
            "model": self.model,
            "endpoint": self.endpoint,
            "input_tokens": self.tokens,
            "output_tokens": self.output_tokens,
            "cost": None if self.cost is None else f"{self.cost:f}",
            "cost_status": self.cost_status,
            "cost_reason": self.price.reason,
            "source": self.estimate.source,
            "unknown": list(self.estimate.unknown),
            "sampled": self.estimate.sampled,
        }


def estimate(
    what: str | Mapping[str, Any],
    *,
    model: str | None = None,
    endpoint: str | None = None,
    prices: Prices = None,
) -> Quote:
    """Estimates the input tokens and the cost of a text, or of a whole request.

    Waits for the vocabulary and the prices to be loaded, once. Sends nothing. Thread-safe.

    Args:
        what: a text, which is counted by itself; or the body of a request, as a dict or (with ``endpoint``) as JSON.
        model: the model that the text is for, or instead of the one in the request.
        endpoint: what the request is for: ``chat.completions``, ``responses``, ``embeddings``, ``completions``. Without
            it, the fields of the request decide.
        prices: a ``PriceBook``, prices by model, or the path of a price file, instead of today's published ones.

    Raises:
        ConfigurationError: it is neither, or cannot be read; the message names the remedy.
    """
    found, model, name, body = _estimated(what, model, endpoint)
    price, lines = _price(found, model, name, body, prices=prices, expected=Usage(output_tokens=0))
    return Quote(found, model, name, price, cost_lines=lines)


def quote(
    request: str | Mapping[str, Any],
    *,
    output_tokens: int | None = None,
    cached_input_tokens: int = 0,
    model: str | None = None,
    endpoint: str | None = None,
    batch: bool = False,
    prices: Prices = None,
) -> Quote:
    """What a request and its expected output would cost today, without a meter. Sends nothing. Thread-safe.

    Waits for the vocabulary and the prices to be loaded, once.

    Args:
        request: the body of a request as a dict, or a prompt as a text; as for :func:`estimate`.
        output_tokens: the output that is expected, reasoning included, of all choices together. By default the limit
            of the request (``max_output_tokens`` and the like): then the call costs at most the quote. If there
            is none, the quote is of the input alone, and ``partial``.
        cached_input_tokens: the part of the input that is expected to be read from the prompt cache.
        model: the model that a text is for, or instead of the one in the request.
        endpoint: what the request is for, as for :func:`estimate`.
        batch: whether the request is sent by the Batch API.
        prices: as for :func:`estimate`.

    Raises:
        ConfigurationError: the request cannot be read, or a count is not one; the message names the remedy.
    """
    found, model, name, body = _estimated(request, model, endpoint)
    tokens = _count("output_tokens", output_tokens)
    cached = _count("cached_input_tokens", cached_input_tokens) or 0
    if cached > (found.usage.input_tokens or 0):
        whole = found.usage.input_tokens
        raise ConfigurationError(f"cached_input_tokens={cached} is a part of the input of {whole} tokens; pass less")
    if tokens is None:
        tokens = 0 if name == "embeddings" else _limit(body)
    expected = Usage(output_tokens=tokens, cached_input_tokens=cached)
    price, lines = _price(found, model, name, body, prices=prices, expected=expected, batch=batch)
    if tokens is None and price.status == "priced":
        price = price._replace(status="partial", reason=_NO_OUTPUT)
    return Quote(found, model, name, price, tokens, lines)


_NO_OUTPUT = "the output is not known"
_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


def _limit(body: Mapping[str, Any]) -> int | None:
    """The most output tokens of all choices of a request; ``None`` if it has no limit."""
    limits = [count(body.get(name)) for name in _LIMITS]
    limit = next((one for one in limits if one is not None), None)
    return None if limit is None else limit * max(count(body.get("n")) or 1, 1)


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}={value!r} is not a number of tokens; pass a whole number from 0 up")
    return value


def _estimated(
    what: str | Mapping[str, Any], model: str | None, endpoint: str | None
) -> tuple[Estimate, str | None, str | None, Mapping[str, Any]]:
    """The estimate of the input, the model, the endpoint, and the body of the request."""
    if isinstance(what, str) and endpoint is None:
        return _estimate_text(text_of(what), model), model, None, {}
    body = _body(what)
    name = _guess(body, model) if endpoint is None else _checked(endpoint)
    model = model or text_of(body.get("model")) or None
    return estimate_call(name, body, None, model, wait=True), model, name, body


def load_encodings(*, allow_download: bool = False) -> tuple[encodings.Status, ...]:
    """Loads the vocabularies now, instead of with the first call that needs one, and returns what was found.

    With ``allow_download``, one that is not on this machine is fetched from OpenAI's server. Waits. Thread-safe.
    """
    return encodings.load_encodings(allow_download=allow_download)


def _estimate_text(text: str, model: str | None) -> Estimate:
    kind = traits(model)
    encoding = encodings.load(kind.encoding)
    counter = Counter(encoding, kind.encoding)
    tokens = counter.tok(text)
    source: Source = "chars" if encoding is None else "tiktoken"
    return Estimate(Usage(input_tokens=tokens), source, (), counter.sampled, counter.rule)


def _body(what: object) -> Mapping[str, Any]:
    if isinstance(what, str):
        try:
            what = json.loads(what)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"the request is not JSON: {error}") from None
    if not isinstance(what, Mapping):
        kind = type(what).__name__
        raise ConfigurationError(f"estimate() was given a {kind}; give it a text, or the body of a request as a dict")
    return fields(what)


def _checked(endpoint: str) -> str:
    if endpoint not in INPUTS:
        known = ", ".join(sorted(INPUTS))
        why = "has no input that can be counted" if endpoint in {row.name for row in ENDPOINTS} else "is none"
        raise ConfigurationError(f"endpoint {endpoint!r} {why}; those that can be estimated are {known}")
    return endpoint


def _guess(body: Mapping[str, Any], model: str | None) -> str:
    if "messages" in body:
        return "chat.completions"
    if isinstance(body.get("prompt"), str | list):
        return "completions"
    if "input" in body and "embed" in (model or text_of(body.get("model"))):
        return "embeddings"
    if any(key in body for key in ("input", "instructions", "prompt", "previous_response_id", "conversation")):
        return "responses"
    raise ConfigurationError("the request has no messages, input or prompt; name its endpoint, such as 'responses'")


def _price(
    found: Estimate,
    model: str | None,
    endpoint: str | None,
    body: Mapping[str, Any],
    *,
    prices: Prices,
    expected: Usage,
    batch: bool = False,
) -> tuple[Cost, Bill]:
    """What the input, and the output that is expected, cost; and the lines of it."""
    tokens = found.usage.input_tokens
    if tokens is None:
        return Cost(None, "unpriced", "the input cannot be counted"), Bill()
    if model is None:
        return Cost(None, "unpriced", _NO_MODEL), Bill()
    output = expected.output_tokens or 0
    usage = replace(expected, input_tokens=tokens, output_tokens=output, total_tokens=tokens + output)
    billable = _billable(usage, model, endpoint, body, batch=batch)
    book = price_book(prices)
    return book.cost(billable)._replace(estimated=True), Bill(book.lines(billable))


def _billable(usage: Usage, model: str, endpoint: str | None, body: Mapping[str, Any], *, batch: bool) -> Billable:
    from openai_meter.pricing.types import Billable  # noqa: PLC0415 - not before something is to be priced

    tier, facts = text_of(body.get("service_tier")), request_facts(body)
    return Billable(
        usage,
        model,
        endpoint=endpoint or "responses",
        host="api.openai.com",
        service_tier=None if tier == "auto" else tier or None,
        batch=batch,
        window=facts.get("window"),
        details=facts,
    )
