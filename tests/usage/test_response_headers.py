"""The headers of a response that a price depends on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from openai_meter.usage.response_headers import header_facts

HIT = {"gateway_cache_hit": True}


@pytest.mark.parametrize(
    ("name", "value", "facts"),
    [
        ("x-litellm-response-cost", "0.00123", {"provider_cost": Decimal("0.00123")}),
        ("X-LiteLLM-Response-Cost", " 1.5e-05 ", {"provider_cost": Decimal("0.000015")}),
        ("x-litellm-response-cost", "0", {"provider_cost": Decimal(0)}),
        ("x-litellm-response-cost", "None", {}),
        ("x-litellm-response-cost", "", {}),
        ("x-litellm-response-cost", "-1", {}),
        ("x-litellm-response-cost", "nan", {}),
        ("x-litellm-response-cost", "Infinity", {}),
        ("x-litellm-response-cost", "9" * 100, {}),
        ("x-litellm-response-cost", "1\xe9", {}),
        ("cf-aig-cache-status", "HIT", HIT),
        ("helicone-cache", "hit", HIT),
        ("X-Cache-Status", "Hit", HIT),
        ("x-cache", "HIT from a gateway", HIT),
        ("x-gateway-cache-hit", "true", HIT),
        ("x-gateway-cache-hit", "false", {}),
        ("cf-cache-status", "MISS", {}),
        ("cf-cache-status", "DYNAMIC", {}),
        ("cache-control", "no-cache", {}),
        ("x-cache-key", "hit", {}),
        ("x-prompt-cache-hit", "true", {}),
        ("x-request-id", "hit", {}),
    ],
)
def test_header_gives_its_fact_or_nothing(name: str, value: str, facts: dict[str, Any]) -> None:
    """A cost in a header is exact dollars; a hit is one of a gateway's cache, not of the model's prompt cache."""
    assert header_facts([(b"content-type", b"application/json"), (name.encode(), value.encode("latin-1"))]) == facts
