"""What we lean on in genai-prices: if a release moves it, this tells before a user's costs do."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from openai_meter.pricing.catalog import _KEYS, PASSED_OVER, Catalog, _spelled_out
from openai_meter.pricing.types import SLOTS

TODAY = date(2026, 11, 22)
CATALOG = Catalog()


@pytest.fixture(scope="module")
def models() -> list:
    from genai_prices.data_snapshot import get_snapshot

    (provider,) = [one for one in get_snapshot().providers if one.id == "openai"]
    return provider.models


def test_catalog_has_the_used_fields(models) -> None:
    """A model has an id, a match clause, prices by time, and variants with conditions and constraints."""
    for model in models:
        assert isinstance(model.id, str)
        assert all(isinstance(name, str) for name in _spelled_out(model.match))
        model.get_prices(datetime(2026, 11, 22, 12, tzinfo=UTC))
        for variant in model.price_variants or ():
            assert set(variant.when) <= {"service_tier", "processing"}
            assert len(variant.when) == 1
            assert variant.constraint is None or isinstance(variant.constraint.start_date, date)
            vars(variant.prices)


def test_prices_hold_for_whole_days(models) -> None:
    """No price of OpenAI's depends on the time of day: rates are kept by the day."""
    for model in models:
        for price in model.prices if isinstance(model.prices, list) else ():
            assert price.constraint is None or type(price.constraint).__name__ == "StartDateConstraint"


def test_every_price_key_is_known(models) -> None:
    """Every key under which OpenAI's models have a price is one that we price by, or pass over on purpose."""
    found = set()
    for model in models:
        prices = model.prices if isinstance(model.prices, list) else None
        lists = [one.prices for one in prices] if prices is not None else [model.prices]
        lists += [variant.prices for variant in model.price_variants or ()]
        for one in lists:
            found |= {key for key, value in vars(one).items() if value is not None}
    assert found <= set(_KEYS) | PASSED_OVER
    assert {slot for slot, _ in _KEYS.values()} <= set(SLOTS)


def test_every_model_can_be_read(models) -> None:
    """Every model that has a price gives a price list in whole pico-dollars per token."""
    for name in CATALOG.names():
        sheet = CATALOG.sheet(name, "default", TODAY)
        if sheet is None:
            assert "moderation" in name
            continue
        for slot, price in sheet.prices.items():
            assert SLOTS[slot][0] == "second" or Fraction(price).denominator == 1


def test_long_prices_are_read_with_their_threshold() -> None:
    """A tiered price is the price of a bracket."""
    sheet = CATALOG.sheet("gpt-5.4", "default", TODAY)
    assert sheet is not None
    assert (sheet.threshold, sheet.prices["output"], sheet.long["output"]) == (272_000, 15_000_000, 22_500_000)
    fast = CATALOG.sheet("gpt-5.4", "priority", TODAY)
    assert fast is not None
    assert (fast.threshold, fast.long) == (272_000, None)


@pytest.mark.parametrize("name", ["gpt-5-nano-turbo", "gpt-4.5-preview-x", "ft:gpt-4o-2024-08-06", "o3-pro-max"])
def test_catalog_matches_by_prefix_are_not_used(name: str, models) -> None:
    """A model that the catalog would match by its beginning only is not priced."""
    assert not CATALOG.knows(name)


def test_price_history_of_the_catalog_is_read_by_day() -> None:
    """The price of a day is that of the catalog's history."""
    before = CATALOG.sheet("gpt-5.6-sol", "default", date(2026, 8, 20))
    after = CATALOG.sheet("gpt-5.6-sol", "default", date(2026, 8, 21))
    assert before is not None
    assert after is not None
    assert (before.prices["input"], after.prices["input"]) == (5_000_000, 4_000_000)


def test_catalog_prices_are_decimals(models) -> None:
    """Figures come as Decimals, never as floats."""
    model = next(one for one in models if one.id == "gpt-5.4-mini")
    assert isinstance(vars(model.get_prices(datetime(2026, 11, 22, tzinfo=UTC)))["input_mtok"], Decimal)


def test_updater_fetches_on_request_only() -> None:
    """The updater that ``update()`` uses can be made without a request."""
    from genai_prices.update_prices import UpdatePrices

    assert callable(UpdatePrices().fetch)


def test_nothing_is_read_before_the_first_cost() -> None:
    """Making a price book imports neither genai-prices nor pydantic; the first cost does."""
    program = """
import sys
from openai_meter.pricing import PriceBook, Price, Billable
from openai_meter.core.usage import Usage
book = PriceBook({"m": Price(input=1)}, models={"a": "b"}, discount=0.1)
assert not {"genai_prices", "pydantic", "tomllib.x"} & set(sys.modules)
book.cost(Billable(Usage(1, 1, 2), "gpt-5.4"))
assert "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
