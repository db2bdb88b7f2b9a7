"""The value ``Usage`` and the reader of every usage object."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.core import usage as usage_module
from openai_meter.core.usage import COUNTS, Usage, count, fields_of, read_usage, seconds

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
    ("raw", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4, 7)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4, 7)),
        ({"prompt_tokens": 31, "total_tokens": 31}, Usage(31, 0, 31)),
        ({"prompt_tokens": "3", "completion_tokens": 4.0, "total_tokens": 7}, Usage(3, 4, 7)),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": None}, Usage(3, None, 3)),
        ({"prompt_tokens": None, "input_tokens": 3, "output_tokens": 1, "total_tokens": 4}, Usage(3, 1, 4)),
        ({"prompt_tokens": 10**30, "completion_tokens": 0}, Usage(10**30, 0, 10**30)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        ({"total_tokens": 5}, Usage(None, None, 5)),
        ({"type": "duration", "seconds": 7}, Usage(seconds=7)),
        ({"seconds": "2.5"}, Usage(seconds=2.5)),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9},
            Usage(3, 4, 9, inconsistent=True),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 5}},
            Usage(3, 1, 4, cached_input_tokens=5, inconsistent=True),
        ),
        (
            {"input_tokens": 3, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 8}},
            Usage(3, 1, 4, reasoning_tokens=8, inconsistent=True),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_token_details": {"cached_tokens": 8}},
            Usage(10, 1, 11, cached_input_tokens=8),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "prompt_cache_hit_tokens": 4},
            Usage(9, 1, 10, cached_input_tokens=4),
        ),
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "total_tokens": 150,
                "input_token_details": {
                    "text_tokens": 40,
                    "audio_tokens": 50,
                    "image_tokens": 10,
                    "cached_tokens": 30,
                    "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 15, "image_tokens": 5},
                },
                "output_token_details": {"text_tokens": 20, "audio_tokens": 30},
            },
            Usage(
                100,
                50,
                150,
                cached_input_tokens=30,
                input_audio_tokens=50,
                input_image_tokens=10,
                output_audio_tokens=30,
                cached_audio_tokens=15,
                cached_image_tokens=5,
            ),
        ),
    ],
)
def test_every_shape_is_read(raw: dict[str, Any], expected: Usage) -> None:
    """Whatever its words, a usage object is read to what it says, as a dict and as an object."""
    assert read_usage(raw) == expected
    assert read_usage(SimpleNamespace(**raw)) == expected


@pytest.mark.parametrize(
    "raw", [None, {}, [], "12", 5, {"prompt_tokens": None}, {"tokens": 3}, {"prompt_tokens": -1}, {"total_tokens": "x"}]
)
def test_no_count_is_no_usage(raw: object) -> None:
    """Where there is no count, the usage is unknown, and never zero."""
    assert read_usage(raw) is None


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "prompt_tokens",
                "completion_tokens",
                "total_tokens",
                "input_tokens_details",
                "prompt_tokens_details",
                "seconds",
                "x",
            ]
        ),
        st.one_of(
            odd := st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            st.lists(odd, max_size=2),
            st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens", "cached_tokens_details"]), odd),
        ),
    )
)
def test_the_reader_never_raises(raw: dict[str, Any]) -> None:
    """Whatever a host sends as usage, reading it raises nothing and yields no negative count."""
    usage = read_usage(raw)
    if usage is not None:
        assert all((getattr(usage, name) or 0) >= 0 for name in ("input_tokens", "output_tokens", *COUNTS))


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
    ],
)
def test_counts_are_whole_and_not_negative(value: object, expected: int | None) -> None:
    """A count is a whole number from 0 up; everything else is unknown."""
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(2, 2), ("12.5", 12.5), (None, 0), ("x", 0), (-3, 0), (float("nan"), 0), (True, 0)]
)
def test_seconds_are_read_from_numbers_and_text(value: object, expected: float) -> None:
    """A duration may come as text; what is none is zero."""
    assert seconds(value) == expected


@given(usages, usages, usages)
def test_adding_is_associative_and_commutative(one: Usage, two: Usage, three: Usage) -> None:
    """A sum does not depend on how it is split, and every count is the sum of the counts."""
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert all(getattr(one + two, name) == getattr(one, name) + getattr(two, name) for name in COUNTS)


def test_unknown_plus_known_is_what_is_known() -> None:
    """An unknown count adds nothing, and stays unknown where nothing is known."""
    assert Usage() + Usage(1, 2, 3) == Usage(1, 2, 3)
    assert (Usage() + Usage()).input_tokens is None
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]


@given(usages)
def test_a_usage_survives_json(usage: Usage) -> None:
    """A usage written as a dict is the same when it is read back."""
    assert Usage.from_dict(usage.to_dict()) == usage


def test_fields_that_an_old_sdk_does_not_know_are_found() -> None:
    """An SDK keeps fields newer than itself as extras; they are read like any other."""
    thing = SimpleNamespace(model="m")
    assert fields_of(thing) == {"model": "m"}
    with_extra = type("Model", (), {"__pydantic_extra__": {"usage": 1}})()
    with_extra.model = "m"
    assert fields_of(with_extra) == {"model": "m", "usage": 1}
    assert fields_of(None) == {}


class Model:
    """As much of a pydantic model as is read: declared fields, and apart from them what it did not know."""

    __slots__ = ("__dict__", "__pydantic_extra__")


def model_of(raw: dict[str, Any], extra: set[str]) -> Model:
    """What an SDK makes of a dict, if it does not know the fields ``extra``."""
    model = Model()
    made = {name: model_of(value, extra) if type(value) is dict else value for name, value in raw.items()}
    model.__dict__.update((name, value) for name, value in made.items() if name not in extra)
    model.__pydantic_extra__ = {name: value for name, value in made.items() if name in extra}
    return model


COUNTS_SAID = st.sampled_from([None, 0, 0, 1, 2, 3, 5, -1, True, 2.0, "4", "x"])
DETAILS_SAID = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens", "image_tokens"]),
    COUNTS_SAID,
)


@given(
    st.sampled_from([("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([0, 0, 0, 1]),
    DETAILS_SAID,
    DETAILS_SAID,
    st.dictionaries(
        st.sampled_from(
            [
                "seconds",
                "cached_tokens",
                "input_tokens",
                "prompt_tokens",
                "input_tokens_details",
                "cost",
                "prompt_token_details",
                "output_token_details",
            ]
        ),
        COUNTS_SAID | DETAILS_SAID,
        max_size=1,
    ),
    st.sets(st.sampled_from(["prompt_tokens", "total_tokens", "cached_tokens", "audio_tokens", "cost"])),
    st.sampled_from([None, "prompt_tokens_details", "completion_tokens", "output_tokens_details", "total_tokens"]),
)
def test_the_quick_way_reads_what_the_tables_read(
    names: tuple[str, str],
    tokens_in: int,
    tokens_out: int,
    off: int,
    inputs: dict[str, object] | None,
    outputs: dict[str, object] | None,
    more: dict[str, object],
    extra: set[str],
    left_out: str | None,
) -> None:
    """Plain figures are read in one go, and come out as the way for all others would have them, in whatever object."""
    raw = {
        names[0]: tokens_in,
        names[1]: tokens_out,
        "total_tokens": tokens_in + tokens_out + off,
        f"{names[0]}_details": inputs,
        f"{names[1]}_details": outputs,
        **more,
    }
    raw.pop(left_out, None)
    expected = usage_module._read_any(raw)
    assert read_usage(raw) == read_usage(SimpleNamespace(**raw)) == expected
    assert read_usage(model_of(raw, extra)) == expected


@given(COUNTS_SAID, COUNTS_SAID, st.dictionaries(st.sampled_from(["seconds", "cost", "input_tokens"]), COUNTS_SAID))
def test_embeddings_are_read_as_the_tables_read_them(tokens_in: object, total: object, more: dict[str, object]) -> None:
    """Two figures, as embeddings have them, come out as the way for all others would have them."""
    raw = {"prompt_tokens": tokens_in, "total_tokens": total, **more}
    expected = usage_module._read_any(raw)
    assert read_usage(raw) == read_usage(SimpleNamespace(**raw)) == read_usage(model_of(raw, {"cost"})) == expected


@pytest.mark.parametrize("made", [dict, lambda raw: model_of(raw, set()), lambda raw: model_of(raw, {"cost"})])
def test_plain_figures_take_the_quick_way(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of an ordinary chat, response or embedding need no table."""
    monkeypatch.setattr(usage_module, "_read_any", None)
    chat = {
        "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": None}, "cost": 0.1,
    }  # fmt: skip
    response = {
        "input_tokens": 9, "output_tokens": 4, "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens_details": None},
        "output_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    expected = Usage(9, 4, 13, cached_input_tokens=5, reasoning_tokens=2)
    assert read_usage(made(chat)) == read_usage(made(response)) == expected
    bare = {**chat, "prompt_tokens_details": None, "completion_tokens_details": None}
    assert read_usage(made(bare)) == Usage(9, 4, 13)
    assert read_usage(made({"prompt_tokens": 9, "total_tokens": 9})) == Usage(9, 0, 9)
