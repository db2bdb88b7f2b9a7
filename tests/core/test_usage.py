"""The value ``Usage``, and counts as they come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.core.usage import COUNTS, Usage, count, fields_of, seconds

tokens = st.none() | st.integers(0, 10**12)
usages = st.builds(
    Usage,
    tokens,
    tokens,
    tokens,
    inconsistent=st.booleans(),
    **{name: st.integers(0, 10**9) for name in COUNTS},
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (5, 5),
        ("12", 12),
        (3.0, 3),
        (3.5, None),
        (True, None),
        (-1, None),
        (None, None),
        ("x", None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        ("9" * 5000, None),
        (2**53, 2**53),
        (2**53 + 1, None),
        (10**400, None),
        (1e300, None),
    ],
)
def test_count_is_whole_not_negative_and_bounded(value: object, expected: int | None) -> None:
    """A count is a whole number from 0 to 2**53; everything else is unknown."""
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2), ("12.5", 12.5), (None, 0), ("x", 0), (-3, 0), (float("nan"), 0), (True, 0)]
)
def test_seconds_are_read_from_numbers_and_texts(value: object, expected: float) -> None:
    """Text that is not a duration is zero."""
    assert seconds(value) == expected


@given(usages, usages, usages)
def test_usage_addition_is_associative_and_commutative(one: Usage, two: Usage, three: Usage) -> None:
    """A sum does not depend on how it is split, and every count is the sum of the counts."""
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert all(getattr(one + two, name) == getattr(one, name) + getattr(two, name) for name in COUNTS)


def test_usage_addition_of_unknown_counts_keeps_the_known() -> None:
    """An unknown count adds nothing, and stays unknown where nothing is known."""
    assert Usage() + Usage(1, 2, 3) == Usage(1, 2, 3)
    assert (Usage() + Usage()).input_tokens is None
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]


@given(usages)
def test_usage_survives_json(usage: Usage) -> None:
    """A usage written as a dict is the same when it is read back."""
    assert Usage.from_dict(usage.to_dict()) == usage


def test_fields_of_finds_fields_unknown_to_an_old_sdk() -> None:
    """An SDK keeps fields newer than itself as extras; they are read like any other."""
    thing = SimpleNamespace(model="m")
    assert fields_of(thing) == {"model": "m"}
    with_extra = type("Model", (), {"__pydantic_extra__": {"usage": 1}})()
    with_extra.model = "m"
    assert fields_of(with_extra) == {"model": "m", "usage": 1}
    assert fields_of(None) == {}
