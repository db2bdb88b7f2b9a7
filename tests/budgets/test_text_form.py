"""Budgets as texts, on a command line and in settings."""

from __future__ import annotations

from decimal import Decimal

import pytest

import openai_meter
from openai_meter import Budget, ConfigurationError, Meter
from openai_meter.budgets.text_form import budgets_of_settings, parsed_budgets
from openai_meter.core import settings


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("7/day", Budget("7usd/day", usd=7, every="day")),
        ("250.50/month", Budget("250.5usd/month", usd=Decimal("250.5"), every="month")),
        (".05 usd / hour", Budget("0.05usd/hour", usd=Decimal("0.05"), every="hour")),
        ("300calls/minute", Budget("300calls/minute", calls=300, every="minute")),
        ("40000tokens/week/tag:team", Budget("40000tokens/week/tag:team", tokens=40_000, every="week", per="tag:team")),
        ("100/total/user", Budget("100usd/total/user", usd=100, per="user")),
        ("0calls/day", Budget("0calls/day", calls=0, every="day")),
    ],
)
def test_text_is_the_budget_that_it_names(text, budget):
    """Amount, unit, period and dimension are read; the name is the text with its unit."""
    assert parsed_budgets([text]) == (budget,)
    assert parsed_budgets([budget.name]) == (budget,)


@pytest.mark.parametrize(
    "text", ["", "7", "7/", "/day", "-7/day", "7/fortnight", "7euros/day", "7/day/", "7/day/planet", "1.5calls/day",
             "1e3/day", "\N{ARABIC-INDIC DIGIT SEVEN}/day", "7/day/user/agent", "9000000/day"]
)  # fmt: skip
def test_wrong_text_is_an_error_with_the_form(text):
    """What cannot be used is shown, with what to write instead."""
    with pytest.raises(ConfigurationError) as error:
        parsed_budgets([text])
    assert repr(text) in str(error.value)
    assert "AMOUNT[usd|tokens|calls]/PERIOD[/PER]" in str(error.value)


def test_same_budget_twice_is_one():
    """Two texts of one budget are not two budgets of one name."""
    assert [budget.name for budget in parsed_budgets(["7/day", "7.00usd/day", "7/week"])] == ["7usd/day", "7usd/week"]


def test_variable_gives_the_budgets_of_a_meter_without_its_own(monkeypatch):
    """``install()`` uses the variable where neither the program nor the meter has budgets."""
    monkeypatch.setenv("OPENAI_METER_BUDGET", "7/day, 300calls/hour")
    try:
        assert list(openai_meter.install(meter=Meter()).budgets) == ["7usd/day", "300calls/hour"]
        assert list(openai_meter.install(meter=Meter(), budgets=[Budget("own", usd=1)]).budgets) == ["own"]
        assert not openai_meter.install(meter=Meter(), budgets=[]).budgets
    finally:
        openai_meter.uninstall()


@pytest.mark.parametrize(("text", "budgets"), [("off", ()), ("none", ()), ("", None)])
def test_variable_may_be_off_or_empty(text, budgets, monkeypatch):
    """``off`` is none, also where a file has budgets; an empty variable is not set."""
    monkeypatch.setenv("OPENAI_METER_BUDGET", text)
    assert budgets_of_settings() == budgets


def test_wrong_variable_is_named(monkeypatch):
    """The error has the name of the variable, and the form."""
    monkeypatch.setenv("OPENAI_METER_BUDGET", "7/day,much/day")
    with pytest.raises(ConfigurationError, match=r"OPENAI_METER_BUDGET: 'much/day' is not a budget; write AMOUNT"):
        budgets_of_settings()


@pytest.mark.parametrize("value", ['"7/day,300calls/hour"', '["7/day", "300calls/hour"]'])
def test_file_has_budgets_as_text_or_list(value, tmp_path):
    """``budget`` in ``[tool.openai_meter]`` is one text or a list."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.openai_meter]\nbudget = {value}\n", encoding="utf-8")
    try:
        settings.read_project(str(tmp_path))
        assert [budget.name for budget in budgets_of_settings() or ()] == ["7usd/day", "300calls/hour"]
    finally:
        settings.read_project(str(tmp_path / "none"))
