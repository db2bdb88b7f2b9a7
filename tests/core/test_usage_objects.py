"""The reader of usage objects: every shape, figures that disagree, and placeholders."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.core import usage_objects
from openai_meter.core.usage import COUNTS, LARGEST, Usage
from openai_meter.core.usage_objects import merge_usage, read_usage


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}, Usage(3, 4, 7)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4, 7)),
        ({"prompt_tokens": 31, "total_tokens": 31}, Usage(31, 0, 31)),
        ({"prompt_tokens": "3", "completion_tokens": 4.0, "total_tokens": 7}, Usage(3, 4, 7)),
        ({"prompt_tokens": 3, "completion_tokens": None, "total_tokens": None}, Usage(3, None, 3)),
        ({"prompt_tokens": None, "input_tokens": 3, "output_tokens": 1, "total_tokens": 4}, Usage(3, 1, 4)),
        ({"prompt_tokens": 10**30, "completion_tokens": 4}, Usage(None, 4, 4, inconsistent=True)),
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
def test_usage_object_of_every_shape_is_read(raw: dict[str, Any], expected: Usage) -> None:
    """A usage object of any shape is read, as a dict and as an object."""
    assert read_usage(raw) == expected
    assert read_usage(SimpleNamespace(**raw)) == expected


@pytest.mark.parametrize(
    "raw", [None, {}, [], "12", 5, {"prompt_tokens": None}, {"tokens": 3}, {"prompt_tokens": -1}, {"total_tokens": "x"}]
)
def test_object_without_a_count_has_no_usage(raw: object) -> None:
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
def test_reader_never_raises(raw: dict[str, Any]) -> None:
    """Whatever a host sends as usage, reading it raises nothing and yields no negative count."""
    usage = read_usage(raw)
    if usage is not None:
        assert all((getattr(usage, name) or 0) >= 0 for name in ("input_tokens", "output_tokens", *COUNTS))


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


ODD_COUNTS = st.sampled_from([None, 0, 0, 1, 2, 3, 5, -1, True, 2.0, "4", "x"])
ODD_DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens", "image_tokens"]),
    ODD_COUNTS,
)


@given(
    st.sampled_from([("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")]),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([0, 0, 0, 1]),
    ODD_DETAILS,
    ODD_DETAILS,
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
                "num_cached_tokens",
                "cache_read_input_tokens",
            ]
        ),
        ODD_COUNTS | ODD_DETAILS,
        max_size=1,
    ),
    st.sets(st.sampled_from(["prompt_tokens", "total_tokens", "cached_tokens", "audio_tokens", "cost"])),
    st.sampled_from([None, "prompt_tokens_details", "completion_tokens", "output_tokens_details", "total_tokens"]),
)
def test_fast_reading_agrees_with_the_tables(
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
    """Plain figures from objects of all kinds are read as by the tables."""
    raw = {
        names[0]: tokens_in,
        names[1]: tokens_out,
        "total_tokens": tokens_in + tokens_out + off,
        f"{names[0]}_details": inputs,
        f"{names[1]}_details": outputs,
        **more,
    }
    raw.pop(left_out, None)
    expected = usage_objects._read_any(raw)
    assert read_usage(raw) == read_usage(SimpleNamespace(**raw)) == expected
    assert read_usage(model_of(raw, extra)) == expected


@given(ODD_COUNTS, ODD_COUNTS, st.dictionaries(st.sampled_from(["seconds", "cost", "input_tokens"]), ODD_COUNTS))
def test_fast_reading_agrees_with_the_tables_for_embeddings(
    tokens_in: object, total: object, more: dict[str, object]
) -> None:
    """Two figures, as embeddings have them, are read as by the tables."""
    raw = {"prompt_tokens": tokens_in, "total_tokens": total, **more}
    expected = usage_objects._read_any(raw)
    assert read_usage(raw) == read_usage(SimpleNamespace(**raw)) == read_usage(model_of(raw, {"cost"})) == expected


@pytest.mark.parametrize("made", [dict, lambda raw: model_of(raw, set()), lambda raw: model_of(raw, {"cost"})])
def test_plain_figures_take_the_fast_reading(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of an ordinary chat, response or embedding need no table."""
    monkeypatch.setattr(usage_objects, "_read_any", None)
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


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # Two families of names.
        (
            {"prompt_tokens": 800, "completion_tokens": 20, "total_tokens": 820, "input_tokens": 0, "output_tokens": 0},
            Usage(800, 20, 820),
        ),
        (
            {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 800, "output_tokens": 20, "total_tokens": 820},
            Usage(800, 20, 820),
        ),
        ({"prompt_tokens": 800, "completion_tokens": 20, "input_tokens": 0, "output_tokens": 0}, Usage(800, 20, 820)),
        (
            {"prompt_tokens": 7, "completion_tokens": 3, "input_tokens": 9, "output_tokens": 3, "total_tokens": 10},
            Usage(7, 3, 10),
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 3, "input_tokens": 9, "output_tokens": 3},
            Usage(9, 3, 12, inconsistent=True),
        ),
        (
            {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99, "input_tokens_details": {},
             "prompt_tokens_details": {"cached_tokens": 64}, "output_tokens_details": {"reasoning_tokens": 0}},
            Usage(90, 9, 99, cached_input_tokens=64),
        ),
        # Placeholders.
        ({"prompt_tokens": 800, "completion_tokens": 20, "total_tokens": 0}, Usage(800, 20, 820)),
        ({"prompt_tokens": 800, "completion_tokens": 0, "total_tokens": 820}, Usage(800, 20, 820)),
        ({"prompt_tokens": 0, "completion_tokens": 20, "total_tokens": 820}, Usage(800, 20, 820)),
        ({"completion_tokens": 20, "total_tokens": 820}, Usage(800, 20, 820)),
        ({"prompt_tokens": -8, "completion_tokens": 3, "total_tokens": 3}, Usage(None, 3, 3, inconsistent=True)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 820}, Usage(None, None, 820, inconsistent=True)),
        ({"total_tokens": 0}, Usage(None, None, 0)),
        ({"prompt_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        # Parts next to the totals.
        (
            {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 165,
             "completion_tokens_details": {"reasoning_tokens": 45}},
            Usage(100, 65, 165, reasoning_tokens=45),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 0, "total_tokens": 145, "reasoning_tokens": 45},
            Usage(100, 45, 145, reasoning_tokens=45),
        ),
        (
            {"input_tokens": 10, "output_tokens": 20, "total_tokens": 130, "cache_read_input_tokens": 90,
             "cache_creation_input_tokens": 10},
            Usage(110, 20, 130, cached_input_tokens=90, cache_write_tokens=10),
        ),
        (
            {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 90},
            Usage(100, 20, 120, cached_input_tokens=90),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 90,
             "cache_creation_input_tokens": 10},
            Usage(100, 20, 120, cached_input_tokens=90, cache_write_tokens=10),
        ),
        (
            {"prompt_tokens": 70, "completion_tokens": 20, "total_tokens": 90, "cache_read_input_tokens": 600,
             "cache_creation_input_tokens": 30},
            Usage(700, 20, 720, cached_input_tokens=600, cache_write_tokens=30, inconsistent=True),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 170, "cached_tokens": 90,
             "completion_tokens_details": {"reasoning_tokens": 50}},
            Usage(100, 70, 170, cached_input_tokens=90, reasoning_tokens=50),
        ),
        # Other names of cached tokens.
        *(
            ({"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, name: 40}, Usage(50, 5, 55, 40))
            for name in ("num_cached_tokens", "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "num_cached_tokens": 5,
             "prompt_tokens_details": {"cached_tokens": 0}, "prompt_token_details": {"cached_tokens": 5}},
            Usage(9, 1, 10, cached_input_tokens=5),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "num_cached_tokens": 5,
             "prompt_tokens_details": {"cached_tokens": 3}},
            Usage(9, 1, 10, cached_input_tokens=3, inconsistent=True),
        ),
        # Predicted output.
        (
            {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39,
             "completion_tokens_details": {"accepted_prediction_tokens": 12, "rejected_prediction_tokens": 3}},
            Usage(9, 30, 39, accepted_prediction_tokens=12, rejected_prediction_tokens=3),
        ),
        # Impossible counts.
        (
            {"prompt_tokens": 400, "completion_tokens": -12, "total_tokens": 388},
            Usage(400, None, 388, inconsistent=True),
        ),
        ({"prompt_tokens": 400, "completion_tokens": -12, "total_tokens": 420}, Usage(400, 20, 420, inconsistent=True)),
        ({"prompt_tokens": 400, "completion_tokens": 10**400}, Usage(400, None, 400, inconsistent=True)),
        ({"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": -6}, Usage(4, 2, 6, inconsistent=True)),
        (
            {"prompt_tokens": 4, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": -1}},
            Usage(4, 2, 6, inconsistent=True),
        ),
        (
            {"prompt_tokens": 4, "completion_tokens": 2,
             "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 3}},
            Usage(4, 2, 6, cached_input_tokens=3, cache_write_tokens=3, inconsistent=True),
        ),
    ],
)  # fmt: skip
def test_figures_that_disagree_are_reconciled_or_marked(raw: dict[str, Any], expected: Usage) -> None:
    """The figures that agree with the total count, never a placeholder; what cannot be reconciled is inconsistent."""
    assert read_usage(raw) == read_usage(SimpleNamespace(**raw)) == read_usage(model_of(raw, {*raw})) == expected


NAMES = st.sampled_from([("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")])
FIGURES = st.integers(1, 10**6)
PLACEHOLDERS = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens",
         "prompt_tokens_details", "input_tokens_details", "output_tokens_details", "reasoning_tokens"]
    ),
    st.sampled_from([None, 0, {}, {"cached_tokens": 0, "reasoning_tokens": None}]),
)  # fmt: skip


def usage_object(
    names: tuple[str, str], tokens_in: int, tokens_out: int, cached: int, reasoning: int
) -> dict[str, Any]:
    """A usage object whose figures agree, with parts that are no larger than their wholes."""
    details = {"cached_tokens": cached % (tokens_in + 1)}, {"reasoning_tokens": reasoning % (tokens_out + 1)}
    return {
        names[0]: tokens_in,
        names[1]: tokens_out,
        "total_tokens": tokens_in + tokens_out,
        f"{names[0]}_details": details[0],
        f"{names[1]}_details": details[1],
    }


OBJECTS = st.builds(usage_object, NAMES, FIGURES, FIGURES, FIGURES, FIGURES)


@given(OBJECTS, PLACEHOLDERS)
def test_placeholders_next_to_figures_change_nothing(raw: dict[str, Any], placeholders: dict[str, Any]) -> None:
    """Nulls, zeros and empty objects under other names, and in place of the total, leave the reading as it is."""
    expected = read_usage(raw)
    assert expected is not None
    assert not expected.inconsistent
    missing = {name: value for name, value in placeholders.items() if name not in raw}
    assert read_usage({**missing, **raw}) == read_usage({**raw, **missing}) == expected
    assert read_usage({**raw, **missing, "total_tokens": 0}) == expected
    assert read_usage({**raw, **missing, "total_tokens": None}) == expected


@given(OBJECTS, st.lists(PLACEHOLDERS, min_size=1, max_size=2))
def test_placeholders_in_a_stream_change_nothing_in_any_order(raw: dict[str, Any], empty: list[dict[str, Any]]) -> None:
    """Of several usage objects in one stream, those without figures leave the others as they are, first or last."""
    expected = read_usage(raw)
    for order in permutations([raw, *empty]):
        kept = None
        for usage in order:
            kept = merge_usage(kept, usage)
        assert read_usage(kept) == expected


@given(OBJECTS)
def test_figures_in_several_events_are_joined(raw: dict[str, Any]) -> None:
    """Input in the first event and output in the last one are one usage, whichever event has zeros for the other."""
    (name_in, tokens_in), (name_out, tokens_out) = list(raw.items())[:2]
    for filler in (0, None):
        first = {name_in: tokens_in, name_out: filler, "total_tokens": tokens_in}
        last = {name_in: filler, name_out: tokens_out, "total_tokens": tokens_out}
        usage = read_usage(merge_usage(first, last))
        assert usage == Usage(tokens_in, tokens_out, tokens_in + tokens_out)


def test_growing_usage_of_a_stream_is_the_last() -> None:
    """Where each event repeats the usage, the last one counts, and not their sum."""
    kept: Any = None
    for tokens in range(5):
        kept = merge_usage(kept, {"prompt_tokens": 70, "completion_tokens": tokens, "total_tokens": 70 + tokens})
    assert read_usage(kept) == Usage(70, 4, 74)


@given(NAMES, FIGURES, FIGURES, FIGURES, FIGURES)
def test_parts_next_to_the_totals_are_added(
    names: tuple[str, str], tokens_in: int, tokens_out: int, cached: int, reasoning: int
) -> None:
    """Reasoning and cached tokens that only the total includes become parts of output and input."""
    raw = {
        names[0]: tokens_in,
        names[1]: tokens_out,
        "total_tokens": tokens_in + tokens_out + reasoning,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    total = raw["total_tokens"]
    assert read_usage(raw) == Usage(tokens_in, tokens_out + reasoning, total, reasoning_tokens=reasoning)
    raw |= {"total_tokens": total + cached, "cache_read_input_tokens": cached}
    usage = read_usage(raw)
    assert usage is not None
    assert not usage.inconsistent
    assert (usage.total_tokens, usage.cached_input_tokens) == (total + cached, cached)


ANYTHING = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens",
         "cache_read_input_tokens", "cache_creation_input_tokens", "reasoning_tokens", "prompt_tokens_details",
         "output_tokens_details"]
    ),
    (numbers := st.sampled_from([None, 0, 1, 2, 3, 5, 8, -1, 2**53, 2**60, 10**400, 1.5, "4", "x", True]))
    | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "cache_write_tokens"]), numbers),
)  # fmt: skip


@given(ANYTHING)
def test_usage_is_consistent_or_marked(raw: dict[str, Any]) -> None:
    """Whatever is sent, counts are from 0 to 2**53, and either all figures agree or the usage is inconsistent."""
    usage = read_usage(raw)
    if usage is None:
        return
    counts = [getattr(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens", *COUNTS)]
    assert all(0 <= number <= 4 * LARGEST for number in counts if number is not None)
    tokens_in, tokens_out, total = counts[:3]
    if not usage.inconsistent and tokens_in is not None:
        assert usage.cached_input_tokens + usage.cache_write_tokens <= tokens_in
        if tokens_out is not None:
            assert usage.reasoning_tokens <= tokens_out
            assert tokens_in + tokens_out == total
