"""A second opinion: the figures of openai-cost-calculator, for every model that both know."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from openai_meter.pricing import PriceBook

SPEC = find_spec("openai_cost_calculator")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SLOTS = {
    "input": "input",
    "cached_input": "cached_input",
    "cache_write": "cache_write",
    "output": "output",
    "input_audio": "input_audio",
    "cached_input_audio": "cached_audio",
    "output_audio": "output_audio",
    "input_image": "input_image",
    "output_image": "output_image",
}

# Where the two differ, and who is right.
KNOWN: dict[tuple[str, str], str] = {
    # Both say that it costs nothing; here that is no price of 0 but a model that is free.
    ("omni-moderation-latest", "default"): "not ours",
}


def their_rates() -> list[tuple[str, str, str | None, dict[str, str]]]:
    """One row per model, tier and bracket: their figures in USD per million tokens."""
    if SPEC is None or SPEC.origin is None:
        return []
    path = Path(SPEC.origin).parent / "data" / "pricing" / "openai.json"
    found = []
    for model in json.loads(path.read_text(encoding="utf-8"))["models"]:
        for price in model["prices"]:
            tier = price.get("conditions", {}).get("service_tier", "default")
            bracket = "long" if "min_input_tokens" in price else None
            names = (model["id"], *model.get("aliases", ()))
            found += [(name, tier, bracket, price["rates"]) for name in names]
    return found


@pytest.mark.skipif(SPEC is None, reason="openai-cost-calculator is not installed: prices are NOT compared with it")
def test_prices_agree_with_an_independent_price_list() -> None:
    """Every figure that both have is the same, except those whose difference is explained."""
    book = PriceBook()
    differ, compared = {}, 0
    for name, tier, bracket, rates in their_rates():
        ours = {(row.tier, row.bracket): row.prices for row in book.current(name, NOW)}.get((tier, bracket))
        if ours is None:
            differ[name, f"{tier} {bracket or ''}".strip()] = "not ours"
            continue
        for slot, figure in rates.items():
            mine = ours.get(SLOTS[slot])
            if mine is not None:
                compared += 1
                if mine != Decimal(figure):
                    differ[name, f"{tier} {slot}"] = f"{mine} here, {figure} there"
    assert compared > 300
    assert differ == KNOWN
