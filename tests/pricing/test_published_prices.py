"""The published price table: every model and tier of it is what the price book charges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from openai_meter.core.usage import Usage
from openai_meter.pricing import Billable, PriceBook

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook()

# USD per million tokens: default input/cached/written/output, the same for long requests, then batch, flex and fast
# input/cached/output. "-" is a dash on the page (no such price), an empty cell is a model that is not in that table.
# From OpenAI's pricing page, September 2026.
PUBLISHED = """
gpt-6-astra | 10/1/12.5/50 | 20/2/25/75 | 5/0.5/25 | 5/0.5/25 | 20/2/100
gpt-6-sol | 2/0.2/2.5/10 | 4/0.4/5/15 | 1/0.1/5 |  |
gpt-6-luna | 0.1/0.01/0.125/0.5 | 0.2/0.02/0.25/0.75 | 0.05/0.005/0.25 |  |
gpt-5.6-sol | 4/0.4/5/20 | 8/0.8/10/30 | 2/0.2/10 | 2/0.2/10 | 8/0.8/40
gpt-5.6-terra | 2/0.2/2.5/12 | 4/0.4/5/18 | 1/0.1/6 | 1/0.1/6 | 4/0.4/24
gpt-5.6-luna | 0.2/0.02/0.25/1.2 | 0.4/0.04/0.5/1.8 | 0.1/0.01/0.6 | 0.1/0.01/0.6 | 0.4/0.04/2.4
gpt-5.5 | 5/0.5/-/30 | 10/1/-/45 | 2.5/0.25/15 | 2.5/0.25/15 | 12.5/1.25/75
gpt-5.5-pro | 30/-/-/180 | 60/-/-/270 | 15/-/90 | 15/-/90 |
gpt-5.4 | 2.5/0.25/-/15 | 5/0.5/-/22.5 | 1.25/0.13/7.5 | 1.25/0.13/7.5 | 5/0.5/30
gpt-5.4-mini | 0.75/0.075/-/4.5 |  | 0.375/0.0375/2.25 | 0.375/0.0375/2.25 | 1.5/0.15/9
gpt-5.4-nano | 0.2/0.02/-/1.25 |  | 0.1/0.01/0.625 | 0.1/0.01/0.625 |
gpt-5.4-pro | 30/-/-/180 | 60/-/-/270 | 15/-/90 | 15/-/90 |
gpt-5.2 | 1.75/0.175/-/14 |  | 0.875/0.0875/7 | 0.875/0.0875/7 | 3.5/0.35/28
gpt-5.2-pro | 21/-/-/168 |  | 10.5/-/84 |  |
gpt-5.1 | 1.25/0.125/-/10 |  | 0.625/0.0625/5 | 0.625/0.0625/5 | 2.5/0.25/20
gpt-5 | 1.25/0.125/-/10 |  | 0.625/0.0625/5 | 0.625/0.0625/5 | 2.5/0.25/20
gpt-5-mini | 0.25/0.025/-/2 |  | 0.125/0.0125/1 | 0.125/0.0125/1 | 0.45/0.045/3.6
gpt-5-nano | 0.05/0.005/-/0.4 |  | 0.025/0.0025/0.2 | 0.025/0.0025/0.2 |
gpt-5-pro | 15/-/-/120 |  | 7.5/-/60 |  |
gpt-4.1 | 2/0.5/-/8 |  | 1/-/4 |  | 3.5/0.875/14
gpt-4.1-mini | 0.4/0.1/-/1.6 |  | 0.2/-/0.8 |  | 0.7/0.175/2.8
gpt-4.1-nano | 0.1/0.025/-/0.4 |  | 0.05/-/0.2 |  | 0.2/0.05/0.8
gpt-4o | 2.5/1.25/-/10 |  | 1.25/-/5 |  | 4.25/2.125/17
gpt-4o-2024-05-13 | 5/-/-/15 |  | 2.5/-/7.5 |  | 8.75/-/26.25
gpt-4o-mini | 0.15/0.075/-/0.6 |  | 0.075/-/0.3 |  | 0.25/0.125/1
o1 | 15/7.5/-/60 |  | 7.5/-/30 |  |
o1-pro | 150/-/-/600 |  | 75/-/300 |  |
o3-pro | 20/-/-/80 |  | 10/-/40 |  |
o3 | 2/0.5/-/8 |  | 1/-/4 | 1/0.25/4 | 3.5/0.875/14
o4-mini | 1.1/0.275/-/4.4 |  | 0.55/-/2.2 | 0.55/0.138/2.2 | 2/0.5/8
o3-mini | 1.1/0.55/-/4.4 |  | 0.55/-/2.2 |  |
gpt-4-turbo-2024-04-09 | 10/-/-/30 |  | 5/-/15 |  |
gpt-4-0613 | 30/-/-/60 |  | 15/-/30 |  |
gpt-3.5-turbo | 0.5/-/-/1.5 |  |  |  |
gpt-3.5-turbo-0125 | 0.5/-/-/1.5 |  | 0.25/-/0.75 |  |
gpt-3.5-turbo-1106 | 1/-/-/2 |  | 1/-/2 |  |
gpt-3.5-turbo-instruct | 1.5/-/-/2 |  |  |  |
davinci-002 | 2/-/-/2 |  | 1/-/1 |  |
babbage-002 | 0.4/-/-/0.4 |  | 0.2/-/0.2 |  |
chat-latest | 5/0.5/-/30 |  |  |  |
gpt-5.3-codex | 1.75/0.175/-/14 |  |  |  | 3.5/0.35/28
gpt-rosalind-research | 5/0.5/-/25 |  |  |  |
gpt-5-search-api | 1.25/0.125/-/10 |  |  |  |
gpt-5.6-cyber | 12.5/1.25/15.625/75 |  |  |  |
gpt-5.5-cyber | 12.5/1.25/-/75 |  |  |  |
"""

# The same of models that came later, from their own pages (October and November 2026) and from genai-prices.
LATER = """
gpt-6.1-sol   | 2/0.10/2.50/10    | 4/0.20/5/15      | 1/0.05/5       | 1/0.05/5      | 4/0.20/20
gpt-6.1-terra | 1/0.05/1.25/5     | 2/0.10/2.50/7.5  | 0.5/0.025/2.5  | 0.5/0.025/2.5 | 2/0.10/10
gpt-6.2-sol   | 2/0.10/2.50/10    | 4/0.20/5/15      | 1/0.05/5       |               | 4/0.20/20
gpt-6.2-astra | 8/0.40/10/40      |                  |                |               |
gpt-6-sol     | 2/0.2/2.5/10      | 4/0.4/5/15       | 1/0.1/5        | 1/0.10/5      | 4/0.40/20
gpt-6-luna    | 0.1/0.01/0.125/0.5 | 0.2/0.02/0.25/0.75 | 0.05/0.005/0.25 | 0.05/0.005/0.25 | 0.20/0.02/1
text-embedding-3-small | 0.02/-/-/-  |               | 0.01/-/-       |               |
text-embedding-3-large | 0.13/-/-/-  |               | 0.065/-/-      |               |
text-embedding-ada-002 | 0.10/-/-/-  |               | 0.05/-/-       |               |
ft:gpt-4.1-2025-04-14:acme::1      | 3/0.75/-/12     | | 1.5/0.50/6     | |
ft:gpt-4.1-mini-2025-04-14:acme::1 | 0.80/0.20/-/3.20 | | 0.40/0.10/1.60 | |
ft:gpt-4.1-nano-2025-04-14:acme::1 | 0.20/0.05/-/0.80 | | 0.10/0.025/0.40 | |
ft:gpt-4o-2024-08-06:acme::1       | 3.75/1.875/-/15 | | 2.225/0.90/12.50 | |
ft:gpt-4o-mini-2024-07-18:acme::1  | 0.30/0.15/-/1.20 | | 0.15/0.075/0.60 | |
ft:o4-mini-2025-04-16:acme::1      | 4/1/-/16        | | 2/0.50/8       | |
ft:gpt-3.5-turbo-0125:acme::1      | 3/-/-/6         | | 1.5/-/3        | |
ft:davinci-002:acme::1             | 12/-/-/12       | | 6/-/6          | |
ft:babbage-002:acme::1             | 1.60/-/-/1.60   | | 0.80/-/0.80    | |
"""

TIERS = (("default", False), ("default", True), ("batch", False), ("flex", False), ("priority", False))
SHORT, LONG = 200_000, 1_000_000


def rows(table: str) -> list[tuple[str, str, bool, list[str]]]:
    """One row per model and tier of a table: name, tier, whether long, figures."""
    found = []
    for line in filter(None, table.splitlines()):
        name, *cells = (cell.strip() for cell in line.split("|"))
        for (tier, long), cell in zip(TIERS, cells, strict=True):
            if cell:
                figures = cell.split("/")
                if len(figures) == 3:
                    figures.insert(2, "-")
                found.append((name, tier, long, figures))
    return found


def price(name: str, tier: str, usage: Usage) -> Decimal | None:
    batch = tier == "batch"
    cost = BOOK.cost(Billable(usage, name, service_tier="default" if batch else tier, batch=batch, at=AT)).usd
    # This model searches before every answer, at a fee that is not in the table.
    return cost - Decimal("0.01") if cost is not None and name == "gpt-5-search-api" else cost


def as_id(value: object) -> str:
    return "/".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("name", "tier", "long", "figures"), rows(PUBLISHED) + rows(LATER), ids=as_id)
def test_model_and_tier_cost_the_published_price(name: str, tier: str, long: bool, figures: list[str]) -> None:
    """A million tokens of each kind cost the figure in the table."""
    whole = LONG if long else SHORT
    fresh, cached, written, out = (None if one == "-" else Decimal(one) for one in figures)
    share = Decimal(whole) / 1_000_000
    assert price(name, tier, Usage(whole, 0, whole)) == fresh * share
    assert (
        price(name, tier, Usage(whole, 0, whole, cached_input_tokens=whole))
        == (fresh if cached is None else cached) * share
    )
    if written is not None or tier == "default":
        assert (
            price(name, tier, Usage(whole, 0, whole, cache_write_tokens=whole))
            == (fresh if written is None else written) * share
        )
    if out is not None:
        assert price(name, tier, Usage(whole, 1_000_000, whole + 1_000_000)) == fresh * share + out


def test_published_table_has_every_model_of_the_page() -> None:
    """The table holds every model of the page."""
    assert len(PUBLISHED.strip().splitlines()) == 45
    assert len(rows(PUBLISHED)) == 129


@pytest.mark.parametrize(
    "name",
    sorted(
        {name for name, *_ in rows(PUBLISHED)} - {name for name, tier, *_ in rows(PUBLISHED + LATER) if tier == "flex"}
    ),
)
def test_model_without_a_flex_price_is_unpriced_in_flex(name: str) -> None:
    """A model that is not in the flex table has no price there."""
    cost = BOOK.cost(Billable(Usage(1000, 10, 1010), name, service_tier="flex", at=AT))
    fee = 10**10 if name == "gpt-5-search-api" else None
    assert (cost.amount_pico, cost.reason) == (fee, "tier: flex")
    assert cost.status == ("partial" if fee else "unpriced")


@pytest.mark.parametrize(
    "name",
    sorted(
        {name for name, *_ in rows(PUBLISHED)}
        - {name for name, tier, *_ in rows(PUBLISHED + LATER) if tier == "priority"}
    ),
)
def test_model_without_a_fast_price_is_unpriced_in_fast(name: str) -> None:
    """A model that is not in the fast table has no price there."""
    cost = BOOK.cost(Billable(Usage(1000, 10, 1010), name, service_tier="priority", at=AT))
    fee = 10**10 if name == "gpt-5-search-api" else None
    assert (cost.amount_pico, cost.reason) == (fee, "tier: priority")
    assert cost.status == ("partial" if fee else "unpriced")
