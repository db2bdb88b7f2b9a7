"""The rare facts that a price can depend on besides the usage: ``Billable.details``, read from request and answer.

========================= ============================ =================================================================
key                       stated by                    what it is
========================= ============================ =================================================================
``web_search_tool``       request, answer              the type of the search tool: ``web_search...`` is charged unlike
                                                       ``web_search_preview...``
``container_memory``      request, answer              ``1g`` (if nothing is stated), ``4g``, ``16g``, ``64g``
``cache_ttl``             request                      ``12h`` if written tokens live so long: absent in chats
``image_model``           request, answer              the model of the image tool
``image_usage``           answer                       what the image tool used, as a ``Usage``
``svg_usage``             answer                       what authors of SVGs used: pairs of model and ``Usage``
``unreported_images``     answer                       images of the image tool, where the answer has no usage for them
``size``                  answer, request              the size of a video
``window``                request                      the completion window of a background response
``status``                answer                       ``failed`` makes a video free, ``error`` and ``unsent`` a call
                                                       without usage
``provider_cost``         answer                       US dollars, where a host other than OpenAI states its price
``gateway_cache_hit``     header, answer               whether a gateway answered from a cache of its own
``azure_type``            the caller                   the deployment type, where the price book does not map it
========================= ============================ =================================================================

The readers never raise, and skip values that they cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from openai_meter.core.money import stated_dollars
from openai_meter.core.usage import Usage, count, fields_of
from openai_meter.core.usage_objects import read_usage

__all__ = [
    "NOT_CHARGED", "RARE_KEYS", "answer_facts", "completion_window", "host_facts", "is_gateway_cache_hit",
    "provider_cost", "request_facts",
]  # fmt: skip

NOT_CHARGED: Mapping[str | None, str] = {
    "error": "HTTP errors are not charged",
    "unsent": "the request was not sent",
}
"""The values of ``status`` that make a call without usage free, and why."""
RARE_KEYS = frozenset({"tools", "prompt_cache_options", "size", "background", "background_options"})
"""The keys of a request that its price may depend on, or the way that it ends."""
_TICKS_PER_USD = 10**10
"""x.ai counts in ticks of 1e-10 USD: 4,666 fresh and 192 cached input and 113 output tokens of grok-4.3 at 1.25, 0.20
and 2.50 USD per million are 0.0061534 USD and come as 61,534,000 ticks."""


def request_facts(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a request's body states and its answer does not, or may not, repeat."""
    facts = _tool_facts(body.get("tools"))
    ttl = fields_of(body.get("prompt_cache_options")).get("ttl")
    if isinstance(ttl, str) and ttl != "30m":
        facts["cache_ttl"] = ttl
    if isinstance(size := body.get("size"), str):
        facts["size"] = size
    if (window := completion_window(body)) is not None:
        facts["window"] = window
    return facts


def completion_window(body: Mapping[str, Any]) -> str | None:
    """The completion window that a request asks for: :attr:`Billable.window`."""
    window = fields_of(body.get("background_options")).get("completion_window")
    return window if isinstance(window, str) else None


def answer_facts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer states besides its usage. It takes precedence over the request."""
    facts = _tool_facts(answer.get("tools"))
    if isinstance(size := answer.get("size"), str):
        facts["size"] = size
    if answer.get("status") == "failed":
        facts["status"] = "failed"
    image = fields_of(fields_of(answer.get("tool_usage")).get("image_gen"))
    if image and (usage := _image_usage(image)) is not None and usage.total_tokens:
        facts["image_usage"] = usage
    if authors := tuple(_svg_usages(answer)):
        facts["svg_usage"] = authors
    if (cost := provider_cost(answer.get("usage"))) is not None:
        facts["provider_cost"] = cost
    return facts


def provider_cost(usage: object) -> Decimal | None:
    """US dollars that a host states in its usage object: ``cost`` (OpenRouter), ``cost_in_usd_ticks`` (x.ai).

    Zero ticks for a call with tokens means that the host has not computed its price yet, not that it is free.
    """
    fields = fields_of(usage)
    if ticks := count(fields.get("cost_in_usd_ticks")):
        return Decimal(ticks) / _TICKS_PER_USD
    cost = fields.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    dollars = _dollars(cost)
    if dollars is not None and fields.get("is_byok") is True:
        # The caller uses its own key at the model's provider: that provider's charge is added to the host's fee.
        dollars += _dollars(fields_of(fields.get("cost_details")).get("upstream_inference_cost")) or 0
    return dollars


_STATES_NO_COST = frozenset({"openai", "azure"})


def host_facts(usage: object, provider: str) -> dict[str, Any]:
    """What a host other than OpenAI's own states in its usage: its price, and whether its own cache has answered."""
    facts: dict[str, Any] = {}
    if provider not in _STATES_NO_COST and (stated := provider_cost(usage)) is not None:
        facts["provider_cost"] = stated
    if is_gateway_cache_hit(usage):
        facts["gateway_cache_hit"] = True
    return facts


def is_gateway_cache_hit(usage: object) -> bool:
    """Whether a usage object states that a gateway answered from a cache of its own: ``cache_hit: true`` or ``"HIT"``.

    Cached tokens of a prompt are numbers, and are charged.
    """
    return any(
        (value is True or (isinstance(value, str) and value.lower() == "hit"))
        and "cache" in name
        and "prompt" not in name
        for name, value in fields_of(usage).items()
    )


def _dollars(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    return stated_dollars(str(value))


def _tool_facts(tools: object) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for tool in tools if isinstance(tools, list | tuple) else ():
        fields = fields_of(tool)
        kind = fields.get("type")
        if not isinstance(kind, str):
            continue
        if kind.startswith("web_search"):
            # With both types, the answer does not tell which one searched: the one that is not a preview counts.
            if "web_search_tool" not in facts or not kind.startswith("web_search_preview"):
                facts["web_search_tool"] = kind
        elif kind == "image_generation" and isinstance(fields.get("model"), str):
            facts["image_model"] = fields["model"]
        elif kind in {"code_interpreter", "shell"}:
            place = fields.get("container") or fields.get("environment")
            memory = fields_of(place).get("memory_limit")
            if isinstance(memory, str):
                facts["container_memory"] = memory
    return facts


def _image_usage(usage: Mapping[str, Any]) -> Usage | None:
    """The image tool's usage, whose cached tokens are outside the details of the input."""
    inputs = dict(fields_of(usage.get("input_tokens_details")))
    if (cached := usage.get("cached_tokens")) is not None:
        inputs["cached_tokens"] = cached
    if (parts := usage.get("cached_tokens_details")) is not None:
        inputs["cached_tokens_details"] = parts
    return read_usage({**usage, "input_tokens_details": inputs})


def _svg_usages(answer: Mapping[str, Any]) -> Iterator[tuple[str, Usage]]:
    output = answer.get("output")
    for item in (answer, *(output if isinstance(output, list) else ())):
        svg = fields_of(fields_of(item).get("svg_usage"))
        model = svg.get("model")
        if isinstance(model, str) and (usage := read_usage(svg)) is not None:
            yield model, usage
