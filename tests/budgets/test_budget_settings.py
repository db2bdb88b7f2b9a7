"""``Budget``: what can be set, and what is said where it cannot."""

from __future__ import annotations

from decimal import Decimal

import pytest

import openai_meter
from openai_meter import Budget, ConfigurationError
from openai_meter.budgets.budget import read_budgets


def test_limit_is_stored_exactly():
    """Dollars are whole pico-dollars, however they are written."""
    assert Budget("a", usd="0.000000000001").limit == 1
    assert Budget("a", usd=0.1).limit == 100_000_000_000
    assert Budget("a", usd=Decimal("2.50")).limit == 2_500_000_000_000
    assert Budget("a", tokens=5).limit == 5
    assert Budget("a", calls=0).limit == 0


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({}, "exactly one of usd, tokens and calls, and was given none"),
        ({"usd": 1, "calls": 2}, "was given usd and calls"),
        ({"usd": -1}, "below 0"),
        ({"usd": "much"}, "no number"),
        ({"usd": 5_000_000}, "too large"),
        ({"calls": 1.5}, "whole number"),
        ({"calls": True}, "whole number"),
        ({"tokens": -1}, "whole number"),
        ({"usd": 1, "every": "fortnight"}, "minute"),
        ({"usd": 1, "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"usd": 1, "per": "planet"}, "planet"),
        ({"usd": 1, "match": {"planet": "x"}}, "planet"),
        ({"usd": 1, "match": {"agent": 3}}, "text or a list of texts"),
        ({"usd": 1, "match": "nightly"}, "dict"),
        ({"usd": 1, "when_spent": "shrug"}, "use one of raise"),
        ({"usd": 1, "unpriced": "maybe"}, "refuse, allow"),
        ({"usd": 1, "on_fault": "maybe"}, "allow, refuse"),
        ({"usd": 1, "strict": "yes"}, "True or False"),
    ],
)
def test_wrong_setting_raises_with_the_budget_and_the_remedy(settings, part):
    """A setting that cannot be used raises when the budget is made, with the name of the budget."""
    with pytest.raises(ConfigurationError) as error:
        Budget("prod", **settings)
    assert part in str(error.value)
    assert "prod" in str(error.value)


def test_budget_without_a_name_raises():
    """A budget without a name is an error."""
    for name in ("", "  ", None, 3):
        with pytest.raises(ConfigurationError, match="needs a name"):
            Budget(name, usd=1)


def test_install_takes_one_budget_or_a_list_of_distinct_ones():
    """A budget, a list, or none; two of one name are an error."""
    one, two = Budget("one", usd=1), Budget("two", calls=1)
    assert read_budgets(one) == (one,)
    assert read_budgets([one, two]) == (one, two)
    assert read_budgets(False) == read_budgets([]) == ()
    with pytest.raises(ConfigurationError, match="two budgets of the name 'one'"):
        read_budgets([one, Budget("one", calls=2)])
    with pytest.raises(ConfigurationError, match="not a Budget"):
        read_budgets([5])
    with pytest.raises(ConfigurationError, match="pass a list"):
        read_budgets(5)


def test_equal_budgets_installed_again_keep_their_sums():
    """Installing the same budgets again forgets nothing; one with another limit starts from zero."""
    meter = openai_meter.install(budgets=[Budget("same", calls=5), Budget("changed", calls=5)])
    meter.track_call("gpt-5-mini", 10, 5)
    openai_meter.install(budgets=[Budget("same", calls=5), Budget("changed", calls=6)])
    assert meter.budgets["same"].spent == 1
    assert meter.budgets["changed"].spent == 0
    openai_meter.install(budgets=False)
    assert dict(meter.budgets) == {}


def test_run_budget_with_a_window_raises():
    """``budget()`` is for one run: a window is an error, and so is a function for a name."""
    with pytest.raises(ConfigurationError, match="no setting 'every'"):
        openai_meter.budget(usd=1, every="day")
    with pytest.raises(ConfigurationError, match="needs a limit, not a function"):
        openai_meter.budget(lambda: None)
    with pytest.raises(ConfigurationError, match="exactly one"):
        openai_meter.budget()
