"""Limits of a ledger are read as people write them."""

from __future__ import annotations

import pytest

from openai_meter import ConfigurationError, Threshold
from openai_meter.alerts import parsed_limits


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("cost=50/month", Threshold("cost", 50, window="month")),
        ("cost=0.5", Threshold("cost", "0.5", window="day")),
        ("calls = 1000 / hour", Threshold("calls", 1000, window="hour")),
        ("tokens=2000000/week", Threshold("tokens", 2_000_000, window="week")),
        ("errors=20/minute", Threshold("errors", 20, window="minute")),
        ("tokens_per_call=2000/day", Threshold("tokens_per_call", 2_000, window="day")),
        ("cost=2/day/user", Threshold("cost", 2, per="user", window="day")),
        ("cost=500/total", Threshold("cost", 500)),
        ("cost=500/total/model", Threshold("cost", 500, per="model")),
    ],
)
def test_limit_texts_are_parsed(text: str, threshold: Threshold) -> None:
    """A metric, a number, a period and a dimension; without a period it is a day."""
    assert parsed_limits([text]) == parsed_limits(text) == (threshold,)


def test_timezone_applies_to_all_limit_texts() -> None:
    """Thresholds keep their own."""
    own = Threshold("cost", 1, window="week")
    assert parsed_limits(["cost=5/month", "calls=9/total", own, own], "Europe/Paris") == (
        Threshold("cost", 5, window="month", timezone="Europe/Paris"), Threshold("calls", 9), own,
    )  # fmt: skip
    assert parsed_limits(None) == parsed_limits(()) == ()


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("cost", r"'cost' is not a limit; write METRIC=NUMBER/PERIOD/PER, such as cost=50/month"),
        ("cost=5/year", "'cost=5/year' is not a limit; .*PERIOD: minute, hour, day, week, month or total"),
        ("cost=5/day/session", "PER: agent, user, model"),
        ("cost=5/day/user/x", "is not a limit"),
        ("colour=5", "there is no threshold on 'colour'"),
        ("cost=much", "the limit of cost is 'much'"),
        ("cost=0/day", "has to be above 0"),
        ("", "'' is not a limit"),
        (5, "'?5'? is not a limit"),
        (Threshold("cost", 1, per="session"), "a ledger cannot limit per session; limit per agent, user, model"),
    ],
)
def test_wrong_limits_are_refused(limit: object, message: str) -> None:
    """The error has the value and the form of a limit."""
    with pytest.raises(ConfigurationError, match=message):
        parsed_limits([limit])  # type: ignore[list-item]


def test_wrong_timezone_is_refused() -> None:
    """A timezone that the machine does not know is an error of the setting."""
    with pytest.raises(ConfigurationError, match="timezone='Mars' is not known on this machine"):
        parsed_limits(["cost=5/month"], "Mars")
