"""The rare facts that prices depend on, read from requests and answers."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from openai_meter.core.usage import Usage
from openai_meter.usage.billing_details import answer_facts, completion_window, provider_cost, request_facts

SVG = {"model": "m", "input_tokens": 1, "output_tokens": 2, "reasoning_tokens": 1, "total_tokens": 3}


@pytest.mark.parametrize(
    ("body", "facts"),
    [
        ({}, {}),
        ({"tools": "odd", "prompt_cache_options": 3, "size": 7}, {}),
        ({"tools": [None, 3, {}, {"type": 3}, {"type": "function"}]}, {}),
        ({"tools": [{"type": "web_search"}]}, {"web_search_tool": "web_search"}),
        (
            {"tools": [{"type": "web_search_preview"}, {"type": "web_search_2025_08_26"}]},
            {"web_search_tool": "web_search_2025_08_26"},
        ),
        ({"tools": [{"type": "web_search"}, {"type": "web_search_preview"}]}, {"web_search_tool": "web_search"}),
        ({"tools": [{"type": "image_generation", "model": "gpt-image-2"}]}, {"image_model": "gpt-image-2"}),
        ({"tools": [{"type": "image_generation"}]}, {}),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]},
            {"container_memory": "4g"},
        ),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, {}),
        ({"tools": [{"type": "shell", "environment": {"memory_limit": "16g"}}]}, {"container_memory": "16g"}),
        ({"prompt_cache_options": {"ttl": "12h"}}, {"cache_ttl": "12h"}),
        ({"prompt_cache_options": {"ttl": "30m"}}, {}),
        ({"size": "720x1280"}, {"size": "720x1280"}),
    ],
)
def test_price_facts_of_a_request_are_read(body: dict, facts: dict) -> None:
    """A request's tools, cache lifetime and size are read; odd values are ignored."""
    assert request_facts(body) == facts


def test_tools_of_a_request_may_be_objects() -> None:
    """Tools may be objects as well as dicts."""
    assert request_facts({"tools": [SimpleNamespace(type="web_search")]}) == {"web_search_tool": "web_search"}


@pytest.mark.parametrize(
    ("body", "window"),
    [
        ({}, None),
        ({"background_options": None}, None),
        ({"background_options": {"completion_window": "2h"}}, "2h"),
        ({"background_options": {"completion_window": 2}}, None),
    ],
)
def test_completion_window_is_read_from_the_request(body: dict, window: str | None) -> None:
    """The completion window stands in the request."""
    assert completion_window(body) == window


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ({}, {}),
        ({"tool_usage": 3, "output": 3, "usage": 3, "svg_usage": 3}, {}),
        ({"tool_usage": {"image_gen": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}}, {}),
        ({"status": "failed"}, {"status": "failed"}),
        ({"status": "completed", "size": "1x1"}, {"size": "1x1"}),
        ({"svg_usage": SVG}, {"svg_usage": (("m", Usage(1, 2, 3)),)}),
        ({"output": [{"svg_usage": SVG}, {"svg_usage": None}, None]}, {"svg_usage": (("m", Usage(1, 2, 3)),)}),
    ],
)
def test_price_facts_of_an_answer_are_read(answer: dict, facts: dict) -> None:
    """An answer's tools, SVG authors and status are read; odd values are ignored."""
    found = answer_facts(answer)
    if "svg_usage" in found:
        found["svg_usage"] = tuple(
            (model, Usage(*(u.input_tokens, u.output_tokens, u.total_tokens))) for model, u in found["svg_usage"]
        )
    assert found == facts


def test_cached_tokens_of_the_image_tool_are_read_by_modality() -> None:
    """The image tool's cached tokens are read with their modality."""
    usage_of_tool = {
        "input_tokens": 300,
        "input_tokens_details": {"text_tokens": 100, "image_tokens": 200},
        "output_tokens": 10,
        "total_tokens": 310,
        "cached_tokens": 150,
        "cached_tokens_details": {"cached_text_tokens": 50, "cached_image_tokens": 100},
    }
    usage = answer_facts({"tool_usage": {"image_gen": usage_of_tool}})["image_usage"]
    assert usage == Usage(300, 10, 310, cached_input_tokens=150, input_image_tokens=200, cached_image_tokens=100)


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (None, None),
        ({}, None),
        ({"cost": 9.83e-05}, "0.0000983"),
        ({"cost": 0}, "0"),
        ({"cost": -1}, None),
        ({"cost": "free"}, None),
        ({"cost": "0.00042"}, "0.00042"),
        ({"cost": 1e300}, None),
        ({"cost": True}, None),
        ({"cost": float("nan")}, None),
        ({"cost": {"total_cost": 0.005}}, "0.005"),
        ({"cost": {}}, None),
        ({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, "0.021"),
        ({"cost": 0.001, "is_byok": True}, "0.001"),
        # 4,666 x 1.25 + 192 x 0.20 + 113 x 2.50 dollars per million, as a recorded answer of x.ai says it.
        ({"cost_in_usd_ticks": 61_534_000}, "0.0061534"),
        ({"cost_in_usd_ticks": 0}, None),
    ],
)
def test_cost_reported_by_a_host_is_exact(usage: object, dollars: str | None) -> None:
    """It is exact dollars, or nothing."""
    assert provider_cost(usage) == (None if dollars is None else Decimal(dollars))
