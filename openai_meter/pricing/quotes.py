"""The cost of a text or a request before it is sent: the public functions for estimates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from openai_meter.core.money import Cost
from openai_meter.core.public import public
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.estimation import encodings
from openai_meter.usage.estimation.calls import INPUTS, estimate_call
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.estimate import Estimate, Source
from openai_meter.usage.estimation.families import traits
from openai_meter.usage.estimation.request_values import fields, text_of

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["Quote", "estimate", "load_encodings"]

_NO_MODEL = "no model was named"


@public
@dataclass(frozen=True, slots=True)
class Quote:
    """What the input of a call is estimated to cost; its output is not known before it is sent."""

    estimate: Estimate
    model: str | None
    endpoint: str | None
    """The endpoint of the request, or ``None`` for a text by itself."""
    price: Cost
    """The cost of the input tokens at today's prices, or why it is not known."""

    def __str__(self) -> str:
        """The quote as a person reads it: ``2 input tokens (tiktoken), $0.0000003 (gpt-4o-mini)``."""
        cost = f"${self.cost:f}" if self.cost is not None else f"cost unknown: {self.price.reason}"
        return f"{self.estimate}, {cost}{f' ({self.model})' if self.model else ''}"

    @property
    def tokens(self) -> int | None:
        """Input tokens; ``None`` if they cannot be counted."""
        return self.estimate.usage.input_tokens

    @property
    def cost(self) -> Decimal | None:
        """US dollars for the input, exact for these tokens; ``None``: unknown."""
        return self.price.usd

    @property
    def cost_status(self) -> str:
        """``priced``, ``partial``, ``unpriced`` or ``free``."""
        return self.price.status

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; the cost is a string of digits."""
        return {
            "model": self.model,
            "endpoint": self.endpoint,
            "input_tokens": self.tokens,
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
    prices: PriceBook | None = None,
) -> Quote:
    """Estimates the input tokens and the cost of a text, or of a whole request.

    Waits for the vocabulary and the prices to be loaded, once. Sends nothing. Thread-safe.

    Args:
        what: a text, which is counted by itself; or the body of a request, as a dict or (with ``endpoint``) as JSON.
        model: the model that the text is for, or instead of the one in the request.
        endpoint: what the request is for: ``chat.completions``, ``responses``, ``embeddings``, ``completions``. Without
            it, the fields of the request decide.
        prices: prices other than today's published ones.

    Raises:
        ConfigurationError: it is neither, or cannot be read; the message names the remedy.
    """
    if isinstance(what, str) and endpoint is None:
        return _quote(_estimate_text(text_of(what), model), model, None, {}, prices)
    body = _body(what)
    name = _guess(body, model) if endpoint is None else _checked(endpoint)
    name_of_model = model or text_of(body.get("model")) or None
    return _quote(estimate_call(name, body, None, name_of_model, wait=True), name_of_model, name, body, prices)


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


def _quote(
    found: Estimate, model: str | None, endpoint: str | None, body: Mapping[str, Any], prices: PriceBook | None
) -> Quote:
    return Quote(found, model, endpoint, _price(found, model, endpoint, body, prices))


def _price(
    found: Estimate, model: str | None, endpoint: str | None, body: Mapping[str, Any], prices: PriceBook | None
) -> Cost:
    from openai_meter.pricing import Billable  # noqa: PLC0415 - not before something is to be priced

    tokens = found.usage.input_tokens
    if tokens is None:
        return Cost(None, "unpriced", "the input cannot be counted")
    if model is None:
        return Cost(None, "unpriced", _NO_MODEL)
    tier = text_of(body.get("service_tier"))
    cost = (prices or _published()).cost(
        Billable(
            Usage(tokens, 0, tokens),
            model,
            endpoint=endpoint or "responses",
            host="api.openai.com",
            service_tier=None if tier == "auto" else tier or None,
        )
    )
    return cost._replace(estimated=True)


@lru_cache(maxsize=1)
def _published() -> PriceBook:
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

    return PriceBook()
