"""What the headers of a response say about its price. No other header is read or kept.

===================== =================================================================================================
``provider_cost``     US dollars that a proxy states, as LiteLLM does in ``x-litellm-response-cost``
``gateway_cache_hit`` ``True`` if a gateway has answered from a cache of its own, without asking the model: Cloudflare's
                      ``cf-aig-cache-status: HIT``, Helicone's ``helicone-cache: HIT``, Kong's ``x-cache-status: Hit``
===================== =================================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["header_facts"]

_COST = b"-response-cost"
_is_cache = re.compile(rb"(?:[a-z0-9-]+-)?cache(?:-status|-hit)?").fullmatch
_LONGEST = 40
"""Characters of a number: a longer one is not a price."""


def header_facts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The price facts in the headers of a response; raises nothing for values that are malformed."""
    facts: dict[str, Any] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if name.endswith(_COST):
            if (cost := _dollars(value)) is not None:
                facts["provider_cost"] = cost
        elif b"cache" in name and _is_cache(name) and b"prompt" not in name and _is_hit(name, value):
            facts["gateway_cache_hit"] = True
    return facts


def _is_hit(name: bytes, value: bytes) -> bool:
    words = value.strip().lower().split()
    return bool(words) and (words[0].rstrip(b",;") == b"hit" or (name.endswith(b"-hit") and words[0] == b"true"))


def _dollars(value: bytes) -> Decimal | None:
    text = value.strip()
    if not text or len(text) > _LONGEST:
        return None
    try:
        number = Decimal(text.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None
    return number if number.is_finite() and number >= 0 else None
