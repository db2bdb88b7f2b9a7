"""The rare facts that a price can depend on besides the usage: ``Billable.details``, read from request and answer.

========================= ============================ =================================================================
key                       said by                      what it is
========================= ============================ =================================================================
``web_search_tool``       request, answer              the type of the search tool: ``web_search...`` is charged unlike
                                                       ``web_search_preview...``
``container_memory``      request, answer              ``1g`` (if nothing is said), ``4g``, ``16g``, ``64g``
``cache_ttl``             request                      ``12h`` if written tokens live so long: chats do not say
``image_model``           request, answer              the model of the image tool
``image_usage``           answer                       what the image tool used, as a ``Usage``
``svg_usage``             answer                       what authors of SVGs used: pairs of model and ``Usage``
``size``                  answer, request              the size of a video
``window``                request                      the completion window of a background response
``status``                answer                       ``failed`` makes a video free, ``error`` and ``unsent`` a call
                                                       without usage
``provider_cost``         answer                       US dollars, where a host other than OpenAI states its price
``azure_type``            the caller                   the deployment type, where the price book does not map it
========================= ============================ =================================================================

The readers never raise, and find nothing in what they do not understand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from openai_meter.core.usage import Usage, count, fields_of, read_usage

__all__ = ["NOT_CHARGED", "answer_facts", "completion_window", "provider_cost", "request_facts"]

NOT_CHARGED: Mapping[str | None, str] = {
    "error": "HTTP errors are not charged",
    "unsent": "the request was not sent",
}
"""The values of ``status`` that make a call without usage free, and why."""
_TICKS_PER_USD = 10**10
"""x.ai counts in ticks of 1e-10 USD: 4,666 fresh and 192 cached input and 113 output tokens of grok-4.3 at 1.25, 0.20
and 2.50 USD per million are 0.0061534 USD and come as 61,534,000 ticks."""


def request_facts(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a request's body says that its answer does not repeat, or may not."""
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
    """What an answer says besides its usage; it goes before what the request says."""
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

    No ticks at all beside tokens is a host that has not worked out its price yet, not a gift.
    """
    said = fields_of(usage)
    if ticks := count(said.get("cost_in_usd_ticks")):
        return Decimal(ticks) / _TICKS_PER_USD
    cost = said.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    dollars = _dollars(cost)
    if dollars is not None and said.get("is_byok") is True:
        # The caller's own key at the model's maker: what that one charges comes on top of the host's fee.
        dollars += _dollars(fields_of(said.get("cost_details")).get("upstream_inference_cost")) or 0
    return dollars


def _dollars(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() and number >= 0 else None


def _tool_facts(tools: object) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for tool in tools if isinstance(tools, list | tuple) else ():
        said = fields_of(tool)
        kind = said.get("type")
        if not isinstance(kind, str):
            continue
        if kind.startswith("web_search"):
            # Of both types together nobody says which one searched: the one that is not a preview.
            if "web_search_tool" not in facts or not kind.startswith("web_search_preview"):
                facts["web_search_tool"] = kind
        elif kind == "image_generation" and isinstance(said.get("model"), str):
            facts["image_model"] = said["model"]
        elif kind in {"code_interpreter", "shell"}:
            place = said.get("container") or said.get("environment")
            memory = fields_of(place).get("memory_limit")
            if isinstance(memory, str):
                facts["container_memory"] = memory
    return facts


def _image_usage(said: Mapping[str, Any]) -> Usage | None:
    """The image tool's usage, whose cached tokens stand beside the details of the input instead of in them."""
    inputs = dict(fields_of(said.get("input_tokens_details")))
    if (cached := said.get("cached_tokens")) is not None:
        inputs["cached_tokens"] = cached
    if (parts := said.get("cached_tokens_details")) is not None:
        inputs["cached_tokens_details"] = parts
    return read_usage({**said, "input_tokens_details": inputs})


def _svg_usages(answer: Mapping[str, Any]) -> Iterator[tuple[str, Usage]]:
    output = answer.get("output")
    for item in (answer, *(output if isinstance(output, list) else ())):
        said = fields_of(fields_of(item).get("svg_usage"))
        model = said.get("model")
        if isinstance(model, str) and (usage := read_usage(said)) is not None:
            yield model, usage
