"""The headers of a response that a price depends on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from openai_meter.usage.response_headers import (
    NO_HEADERS,
    ResponseHeaders,
    header_facts,
    name_in,
    number_in,
    raw_headers,
    read_headers,
)

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
        ("x-litellm-response-cost", "1e300", {}),
        ("x-litellm-response-cost", "1000001", {}),
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


class Headers:
    """Headers as httpx holds them."""

    def __init__(self, *pairs: tuple[bytes, bytes]) -> None:
        self.raw = list(pairs)
        self._list = [(name, name.lower(), value) for name, value in pairs]


class OtherHeaders:
    """Headers of a library that holds them in another way."""

    def __init__(self, *pairs: tuple[bytes, bytes]) -> None:
        self.raw = list(pairs)


SENT = (
    (b"content-type", b"application/json"), (b"OpenAI-Organization", b"org-1"), (b"openai-project", b"proj_1"),
    (b"x-ratelimit-remaining-requests", b"4999"), (b"x-ratelimit-remaining-tokens", b"123456"),
    (b"openai-processing-ms", b"412"), (b"set-cookie", b"secret=1"), (b"x-request-id", b"req_1"),
)  # fmt: skip
READ = ResponseHeaders("org-1", "proj_1", "req_1", 412, 4999, 123456)


@pytest.mark.parametrize("kind", [Headers, OtherHeaders])
def test_six_headers_are_read_in_any_order(kind: type[Any]) -> None:
    """Capital letters do not matter; what is sent in the same number but in another order is found as well."""
    for sent in (SENT, SENT, SENT[::-1], SENT[3:] + SENT[:3]):
        assert read_headers(raw_headers(kind(*sent))) == READ
    without = [pair for pair in SENT if pair[0] != b"openai-project"]
    expected = READ._replace(project=None)
    assert read_headers(raw_headers(kind(*without, (b"via", b"x")))) == expected
    assert read_headers(raw_headers(kind())) == NO_HEADERS


@pytest.mark.parametrize(
    ("value", "name", "number"),
    [
        (b"12", "12", 12), (b" 7 ", "7", 7), (b"3.5", "3.5", 3), (b"-1", "-1", None), (b"", None, None),
        (b"caf\xe9", None, None), (b"a\x00b", None, None), (b"9" * 39, "9" * 39, None), (b"x" * 300, None, None),
        (b"nan", "nan", None), (None, None, None),
    ],
)  # fmt: skip
def test_malformed_header_is_unknown(value: bytes | None, name: str | None, number: int | None) -> None:
    """A name is short and printable; a number is whole and not below 0."""
    assert (name_in(value), number_in(value)) == (name, number)
