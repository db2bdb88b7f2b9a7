"""Forecasts and comparisons: arithmetic that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from hypothesis import given
from hypothesis import strategies as st
from ledger_calls import call

from openai_meter import Usage
from openai_meter.core.totals import NOTHING, Sum, summed
from openai_meter.ledger.comparisons import compare
from openai_meter.ledger.corrections import price_call
from openai_meter.ledger.forecasts import project
from openai_meter.ledger.unit_prices import standard_cost
from openai_meter.pricing import PriceBook

TODAY = date(2026, 3, 18)  # a Wednesday
END = date(2026, 4, 1)


def past(number: int, cost: float | list[float]) -> dict[date, float]:
    """So many days up to yesterday, each at that cost, or at those for Monday to Sunday."""
    days = [TODAY - timedelta(days=ago) for ago in range(1, number + 1)]
    return {day: cost[day.weekday()] if isinstance(cost, list) else cost for day in days}


def test_forecast_continues_equal_days() -> None:
    """Two dollars a day, and half of today and 13 days are to come: 27 dollars, with a range of nothing."""
    assert project(past(60, 2.0), TODAY, 0.5, END) == (Decimal(27), Decimal(27), Decimal(27), 56)


def test_forecast_continues_a_weekday_pattern() -> None:
    """Work days at 10 and free weekends: 9 whole work days and a quarter of today are to come."""
    found = project(past(56, [10.0] * 5 + [0.0] * 2), TODAY, 0.25, END)
    assert found.expected == found.low == found.high == Decimal("92.5")


def test_forecast_continues_a_trend() -> None:
    """A dollar more each day: yesterday 40, so today 41 and the 13 days after it 42 to 54."""
    costs = {TODAY - timedelta(days=ago): 41.0 - ago for ago in range(1, 11)}
    found = project(costs, TODAY, 1.0, END)
    assert found.expected == found.low == sum(range(41, 55))


def test_forecast_of_a_falling_trend_stops_at_zero() -> None:
    """A falling line ends at nothing, not below."""
    costs = {TODAY - timedelta(days=ago): float(ago) for ago in range(1, 11)}
    assert project(costs, TODAY, 1.0, END).expected == 0


def test_range_grows_with_scatter() -> None:
    """Days that differ by chance give a range around the forecast; twice the scatter gives twice the range."""
    small, large = ({day: 10 + size * (-1) ** day.toordinal() for day in past(10, 0.0)} for size in (1, 2))
    narrow, wide = project(small, TODAY, 1.0, END), project(large, TODAY, 1.0, END)
    assert narrow.low < narrow.expected < narrow.high
    assert abs((wide.high - wide.expected) - 2 * (narrow.high - narrow.expected)) < Decimal("0.001")


def test_short_history_gives_no_range() -> None:
    """Without a whole day there is no forecast; with two there is no range; days without a call count too."""
    assert project({TODAY: 5.0}, TODAY, 0.5, END) == (None, None, None, 0)
    assert project(past(2, 4.0), TODAY, 0.5, END) == (Decimal(54), None, None, 2)
    sparse = project({TODAY - timedelta(days=4): 8.0}, TODAY, 0.0, TODAY + timedelta(days=2))
    assert (sparse.expected, sparse.days) == (Decimal(2), 4)


@given(st.dictionaries(st.integers(1, 80), st.floats(0, 1e6), max_size=80), st.floats(0, 1), st.integers(1, 40))
def test_forecast_lies_within_its_range(costs: dict[int, float], left: float, ahead: int) -> None:
    """Whatever was spent, the expected amount is not below 0 and lies in its range."""
    days = {TODAY - timedelta(days=ago): cost for ago, cost in costs.items()}
    found = project(days, TODAY, left, TODAY + timedelta(days=ahead))
    assert (found.expected is None) == (not found.days)
    if found.low is not None and found.high is not None and found.expected is not None:
        assert 0 <= found.low <= found.expected <= found.high


# --- comparisons ------------------------------------------------------------------------------------------------------

AT = datetime(2026, 1, 1, tzinfo=UTC)


def model(calls: int, tokens: int, cost: int | Fraction, *, unknown: int = 0) -> Sum:
    return Sum(calls=calls, input=tokens, total=tokens, cost=cost, unknown=unknown, unpriced=unknown, first=AT, last=AT)


def test_difference_with_one_cause_is_attributed_to_it_alone() -> None:
    """More calls, another model, more tokens per call, another price: each is reported as that cause alone."""
    before = {"m": model(10, 1_000, 5_000)}
    causes = {
        "volume": compare("a", before, "b", {"m": model(20, 2_000, 10_000)}),
        "mix": compare("a", before, "b", {"n": model(10, 1_000, 7_000)}),
        "tokens": compare("a", before, "b", {"m": model(10, 1_500, 7_500)}),
        "price": compare("a", before, "b", {"m": model(10, 1_000, 7_000)}),
    }
    amounts = {"volume": 5_000, "mix": 2_000, "tokens": 2_500, "price": 2_000}
    for cause, found in causes.items():
        expected = dict.fromkeys(amounts, 0) | {cause: amounts[cause]}
        assert found.causes._asdict() == expected
        assert found.difference == Decimal(amounts[cause]).scaleb(-12)


def test_shift_between_models_is_attributed_to_the_mix() -> None:
    """The same calls on a model that costs more differ by the mix alone, with a part for each model."""
    a = {"cheap": model(90, 900, 90), "dear": model(10, 100, 100)}
    b = {"cheap": model(10, 100, 10), "dear": model(90, 900, 900)}
    found = compare("a", a, "b", b)
    assert found.causes == (0, 720, 0, 0)
    assert {name: part.mix for name, part in found.by_model.items()} == {"cheap": -80, "dear": 800}


def test_unpriced_calls_are_not_in_the_difference() -> None:
    """Calls without a price are on neither side of the difference, and are counted apart."""
    found = compare("a", {"m": model(10, 1_000, 5_000)}, "b", {"m": model(14, 1_000, 5_000, unknown=4)})
    assert (found.difference, found.b.priced_calls, found.b.totals.unpriced_calls) == (0, 10, 4)
    nothing = compare("a", {}, "b", {"m": model(2, 0, 0, unknown=2)})
    assert (nothing.b.cost_per_call, nothing.a.cost_per_call, nothing.causes) == (None, None, (0, 0, 0, 0))


def test_difference_from_an_empty_period_is_volume() -> None:
    """Where one of the two periods is empty, all of the difference is volume."""
    some = {"m": model(10, 1_000, 5_000)}
    assert compare("a", {}, "b", some).causes == (5_000, 0, 0, 0)
    assert compare("a", some, "b", {}).causes == (-5_000, 0, 0, 0)


def test_figures_per_call_leave_out_unknown_calls() -> None:
    """Cost and tokens per call are over the calls of which they are known."""
    one = Sum(calls=5, unmeasured=1, input=400, output=100, total=500, cost=9, unknown=2, unpriced=2, first=AT, last=AT)
    side = compare("a", {"m": one}, "b", {}).a
    assert (side.cost_per_call, side.per_call("total_tokens"), side.per_call("input_tokens")) == (
        Decimal("3e-12"), 125, 100,
    )  # fmt: skip
    assert side.to_dict()["cost_per_call"] == "0.000000000003"


SIDES = st.dictionaries(
    st.sampled_from("mnop"),
    st.builds(model, st.integers(1, 50), st.integers(0, 9_999), st.one_of(st.integers(0, 10**15), st.fractions(0, 9))),
)


@given(SIDES, SIDES)
def test_causes_sum_to_the_difference_exactly(a: dict[str, Sum], b: dict[str, Sum]) -> None:
    """Whatever the sides are, the four causes sum up to the difference, exactly, and so do the models."""
    found = compare("a", a, "b", b)
    assert sum(found.causes) == summed(b.values()).cost - summed(a.values()).cost
    for cause in ("volume", "mix", "tokens", "price"):
        assert sum(getattr(part, cause) for part in found.by_model.values()) == getattr(found.causes, cause)
    assert found.a.totals.usage.total_tokens == sum(one.total for one in a.values())


# --- comparisons at the prices of a list ------------------------------------------------------------------------------

KINDS = [
    # (input, cached, output) of each call in the two parts, with the tier of each part
    ((1000, 0, 100), (100, 0, 1000), (None, None)),
    ((1000, 0, 100), (1000, 900, 100), (None, None)),
    ((1000, 500, 0), (10, 0, 3000), (None, None)),
    ((1000, 0, 100), (1000, 0, 100), (None, "flex")),
    ((1000, 200, 100), (700, 0, 450), ("flex", "priority")),
]


def priced_calls(usages: Sequence[tuple[int, int, int]], tier: str | None, at: datetime, discount: Any = 0) -> Any:
    """The sums of calls of gpt-5 at the prices of the list, by group, as a ledger makes them."""
    book = PriceBook(discount=discount)
    total = NOTHING
    for given_, cached, made in usages:
        usage = Usage(given_, made, given_ + made, cached_input_tokens=cached)
        total = total.plus(price_call(call(at, model="gpt-5", usage=usage, service_tier=tier), book))
    return {("gpt-5", "openai", tier or ""): total}


@pytest.mark.parametrize(("before", "after", "tiers"), KINDS)
@pytest.mark.parametrize("discount", [0, "0.3"])
def test_change_of_mix_at_equal_prices_has_no_price_part(before: Any, after: Any, tiers: Any, discount: Any) -> None:
    """Where only the kinds of tokens, or the tier, changed, no part of the difference is a change of price."""
    a = priced_calls([before] * 10, tiers[0], AT, discount)
    b = priced_calls([after] * 7, tiers[1], AT + timedelta(days=20), discount)
    found = compare("a", a, "b", b, standard_cost(None))
    assert found.causes.price == 0
    assert sum(found.causes) == sum(one.cost for one in b.values()) - sum(one.cost for one in a.values())


def test_changed_price_is_separated_from_a_changed_mix() -> None:
    """Twice the price with another mix of kinds: what the same tokens cost more is the price part, exactly."""
    a = priced_calls([(1000, 0, 100)] * 4, None, AT)
    at_old = priced_calls([(100, 0, 1000)] * 4, None, AT)
    doubled = {group: total._replace(cost=2 * total.cost) for group, total in at_old.items()}
    found = compare("a", a, "b", doubled, standard_cost(None))
    (old,) = at_old.values()
    (was,) = a.values()
    assert found.causes == (0, 0, old.cost - was.cost, old.cost)
