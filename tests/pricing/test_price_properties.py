"""What holds of every cost: it adds up, it is never negative, it grows with what was used, and its lines are it."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openai_meter.core.usage import COUNTS, Usage
from openai_meter.pricing import Billable, PriceBook
from openai_meter.pricing.rates import split

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook()
CHEAPER = PriceBook(discount="0.07")
BOOK.warm()
CHEAPER.warm()

# Each has text, audio and images at prices of their own, or cache writes, or long prices, or none of them.
MODELS = [
    "gpt-realtime-2.1",
    "gpt-6-sol",
    "gpt-6.2-sol",
    "gpt-5.4",
    "gpt-4o",
    "gpt-image-1.5",
    "gpt-5.5-pro",
    "gpt-6.2-astra",
]
COUNT = st.integers(0, 400_000)
SMALL = st.integers(0, 3)

# Every count is made of disjoint parts, so that the parts fit into their wholes.
NAMES = (
    "fresh", "cached", "written", "written_12h", "audio", "cached_audio", "image", "cached_image",
    "out", "reasoning", "out_audio", "out_image",
)  # fmt: skip
PARTS = st.fixed_dictionaries(dict.fromkeys(NAMES, COUNT))
FEES = st.fixed_dictionaries({"web_searches": SMALL, "file_searches": SMALL, "container_sessions": SMALL})


def usage_of(parts: dict[str, int], fees: dict[str, int] | None = None) -> Usage:
    tokens_in = sum(parts[name] for name in NAMES[:8])
    tokens_out = sum(parts[name] for name in NAMES[8:])
    return Usage(
        tokens_in,
        tokens_out,
        tokens_in + tokens_out,
        cached_input_tokens=parts["cached"] + parts["cached_audio"] + parts["cached_image"],
        cache_write_tokens=parts["written"] + parts["written_12h"],
        cache_write_12h_tokens=parts["written_12h"],
        reasoning_tokens=parts["reasoning"],
        input_audio_tokens=parts["audio"] + parts["cached_audio"],
        input_image_tokens=parts["image"] + parts["cached_image"],
        cached_audio_tokens=parts["cached_audio"],
        cached_image_tokens=parts["cached_image"],
        output_audio_tokens=parts["out_audio"],
        output_image_tokens=parts["out_image"],
        **(fees or {}),
    )


def call_of(**fields: Any) -> Billable:
    return Billable(**fields)  # st.builds() would make up the fields of a named tuple that are left out


CALLS = st.builds(
    call_of,
    usage=st.builds(usage_of, PARTS, FEES),
    model=st.sampled_from(MODELS),
    host=st.sampled_from(["api.openai.com", "eu.api.openai.com", None]),
    service_tier=st.sampled_from([None, "default", "flex", "priority", "ultrafast"]),
    at=st.just(NOW),
    batch=st.booleans(),
    window=st.sampled_from([None, None, "2h", "8h"]),
)
ODD = st.builds(
    Usage,
    st.none() | COUNT,
    st.none() | COUNT,
    st.none() | COUNT,
    **dict.fromkeys(
        (name for name in COUNTS if name.endswith("_tokens") and name != "reasoning_tokens"),
        COUNT,
    ),
    seconds=st.floats(0, 1e6),
)


@settings(deadline=None)
@given(CALLS, st.sampled_from([BOOK, CHEAPER]))
def test_lines_of_a_bill_sum_up_to_the_cost(call: Billable, book: PriceBook) -> None:
    """The lines of a bill sum up to the cost, to the last digit."""
    assert sum(line.amount_pico for line in book.lines(call)) == (book.cost(call).amount_pico or 0)


@settings(deadline=None)
@given(CALLS.map(lambda call: call._replace(batch=False, window=None)), st.sampled_from([BOOK, CHEAPER]))
def test_quick_pricing_equals_full_pricing(call: Billable, book: PriceBook) -> None:
    """Both entrances give the same."""
    quick = book.cost_of(call.usage, call.model, call.provider, call.host, call.service_tier, call.at)
    assert quick == book.cost(call)


@settings(deadline=None)
@given(st.builds(call_of, usage=ODD, model=st.sampled_from([*MODELS, "whisper-1", "sora-2"]), at=st.just(NOW)))
def test_cost_is_never_negative(call: Billable) -> None:
    """Whatever an answer contains, neither the cost nor a quantity on the bill is negative, and nothing raises."""
    cost = BOOK.cost(call)
    assert cost.amount_pico is None or cost.amount_pico >= 0
    assert all(line.quantity is None or line.quantity >= 0 for line in BOOK.lines(call))
    assert (cost.amount_pico is None) == (cost.status == "unpriced")


@settings(deadline=None)
@given(PARTS, PARTS, st.sampled_from(MODELS))
def test_two_short_calls_cost_as_much_as_one_of_both(one: dict[str, int], other: dict[str, int], model: str) -> None:
    """As long as that one is short as well."""

    def cost(parts: dict[str, int]) -> int | Fraction | None:
        small = {name: number // 20 for name, number in parts.items()}
        return BOOK.cost(Billable(usage_of(small), model, at=NOW)).amount_pico

    one = {name: number // 20 * 20 for name, number in one.items()}
    other = {name: number // 20 * 20 for name, number in other.items()}
    both = {name: one[name] + other[name] for name in one}
    if sum(both.values()) // 20 <= 272_000:
        assert cost(both) == (cost(one) or 0) + (cost(other) or 0)


@settings(deadline=None)
@given(PARTS, st.data())
def test_more_tokens_never_cost_less(parts: dict[str, int], data: st.DataObject) -> None:
    """More of any part, and so of its whole, never costs less, also at the step to the long prices."""
    model = data.draw(st.sampled_from(MODELS[:-1]))
    more = {**parts}
    more[data.draw(st.sampled_from(sorted(parts)))] += data.draw(st.integers(1, 100_000))
    before = BOOK.cost(Billable(usage_of(parts), model, at=NOW))
    after = BOOK.cost(Billable(usage_of(more), model, at=NOW))
    assert (before.amount_pico or 0) <= (after.amount_pico or 0)


@settings(deadline=None)
@given(PARTS)
def test_split_of_a_usage_returns_its_parts(parts: dict[str, int]) -> None:
    """Disjoint parts that were put into a usage come out of it again."""
    counts, cut = split(usage_of(parts), write_12h=False, images_out=False)
    assert not cut
    assert counts == {
        "input": parts["fresh"],
        "cached_input": parts["cached"],
        "cache_write": parts["written"],
        "cache_write_12h": parts["written_12h"],
        "input_audio": parts["audio"],
        "cached_audio": parts["cached_audio"],
        "input_image": parts["image"],
        "cached_image": parts["cached_image"],
        "output": parts["out"] + parts["reasoning"],
        "output_audio": parts["out_audio"],
        "output_image": parts["out_image"],
    }


@settings(deadline=None)
@given(ODD, st.booleans(), st.booleans())
def test_split_of_a_usage_sums_up_to_its_totals(usage: Usage, write_12h: bool, images_out: bool) -> None:
    """However odd the figures are, the parts sum up to the totals and none is negative."""
    counts, _ = split(usage, write_12h=write_12h, images_out=images_out)
    assert min(counts.values()) >= 0
    out = sum(counts[name] for name in ("output", "output_audio", "output_image"))
    assert out == (usage.output_tokens or 0)
    assert sum(counts.values()) - out == (usage.input_tokens or 0)
