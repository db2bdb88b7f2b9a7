"""Advice: each rule speaks with evidence and is silent without it, and its saving is exact."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import Call, Price, PriceBook, Totals, Usage
from openai_meter.core.locale import language, languages
from openai_meter.metering.store import Store
from openai_meter.reports.advice import RULES, Recommendation, recommendations
from openai_meter.reports.advice.families import ENDS, SMALLER, smaller
from openai_meter.reports.advice.rules import _ADVICE
from openai_meter.usage.fingerprint import evidence_of

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook()
RULES_TEXT = "Answer in a word. " * 500  # 9,000 characters


def make(
    count: int = 1,
    *,
    body: Any = None,
    every: float = 5,
    usage: Usage | None = None,
    book: PriceBook = BOOK,
    **more: Any,
) -> list[Call]:
    """Priced calls of 1,000 input and 100 output tokens, one after the other; ``body`` may depend on the number."""
    made = []
    for number in range(count):
        request = body(number) if callable(body) else body
        call = Call(
            id=f"call-{number}",
            started_at=START + timedelta(seconds=every * number),
            duration=1.0,
            endpoint="responses",
            provider="openai",
            model="gpt-5.4",
            requested_model=None,
            status="ok",
            usage=usage or Usage(1_000, 100, 1_100),
            usage_source="api",
        )
        call = replace(call, **more)
        cost = book.cost(book.billable_of(call))
        evidence = None if request is None else evidence_of(call.endpoint, request)
        call = replace(
            call, cost_pico=cost.amount_pico, cost_status=cost.status, price_book=book.view(), evidence=evidence
        )
        made.append(call)
    return made


def totals_of(calls: Iterable[Call]) -> Totals:
    store = Store(0)
    for call in calls:
        store.add(call)
    return store.totals()


def advise(calls: Sequence[Call], *, book: PriceBook = BOOK, now: datetime = START) -> dict[str, Recommendation]:
    """The advice by its kind; there is one of each at most."""
    found = recommendations(calls, totals_of(calls), book, now=now)
    kinds = {one.kind: one for one in found}
    assert len(kinds) == len(found)
    for one in found:
        assert json.loads(json.dumps(one.to_dict("fr")))["saving"] == (
            None if one.saving is None else f"{one.saving:f}"
        )
        for lang in languages():
            assert "{" not in one.message(lang)
    return kinds


def other(number: int) -> dict[str, Any]:
    """A request unlike all others."""
    return {"input": f"question {number}"}


# --- long calls -------------------------------------------------------------------------------------------------------


def test_long_prompts_with_a_common_beginning_are_advised() -> None:
    """Calls above 2,000 tokens on average: the advice has the common part, and the cost of a hundred tokens of it."""
    calls = make(6, body=lambda n: {"instructions": RULES_TEXT, "input": str(n)}, usage=Usage(3_000, 10, 3_010))
    found = advise(calls)["long_prompts"]
    assert found.saving is None
    assert found.facts == {"tokens": 3_010, "times": 6, "chars": 9_000, "hundred": Decimal("0.0015")}  # 600 at 2.50
    assert found.message("en").startswith("Long prompts on model gpt-5.4: 3,010 tokens per call on average (6 calls)")
    assert "6 calls began with the same 9,000 characters. Every 100 tokens less in them would have saved $0.0015." in (
        found.message("en")
    )
    assert found.call_ids == ("call-0", "call-1", "call-2", "call-3", "call-4")


def test_cached_beginning_saves_less() -> None:
    """A hundred tokens from the cache cost a tenth."""
    usage = Usage(3_000, 10, 3_010, cached_input_tokens=2_000)
    calls = make(6, body=lambda n: {"instructions": RULES_TEXT, "input": str(n)}, usage=usage)
    assert advise(calls)["long_prompts"].facts["hundred"] == Decimal("0.00015")


def test_long_prompts_without_a_common_beginning_are_advised() -> None:
    """By their average alone."""
    for body in (None, other):
        found = advise(make(6, body=body, usage=Usage(2_000, 1, 2_001)))["long_prompts"]
        assert (found.facts, found.parts, found.calls) == ({"tokens": 2_001}, ("long_prompts",), 6)


def test_long_answers_are_advised_with_missing_limits() -> None:
    """Where most of the tokens are output, the answers are long."""
    calls = make(
        5, body=lambda n: {"input": str(n), **({"max_output_tokens": 9} if n else {})}, usage=Usage(9, 4_000, 4_009)
    )
    found = advise(calls)["long_answers"]
    assert found.facts == {"tokens": 4_009, "unlimited": 1}
    assert "max_output_tokens" in found.message("fr")
    assert "unlimited" not in str(advise(make(5, usage=Usage(9, 4_000, 4_009)))["long_answers"].parts)


@pytest.mark.parametrize(
    "calls",
    [
        make(6, usage=Usage(1_900, 100, 2_000)),
        make(4, usage=Usage(9_000, 1, 9_001)),
        make(6, usage=Usage()),
        make(6, usage=Usage(9_000, 0, 9_000), endpoint="embeddings", model="text-embedding-3-small"),
    ],
    ids=["not above 2,000", "too few", "unknown", "no answers"],
)
def test_short_calls_give_no_advice(calls: list[Call]) -> None:
    """Without evidence there is no advice."""
    assert not advise(calls).keys() & {"long_prompts", "long_answers"}


# --- a cheaper model --------------------------------------------------------------------------------------------------


def test_cheaper_model_is_advised_for_short_answers() -> None:
    """20 calls at 2.50 and 15 dollars per million cost $0.08; at 0.75 and 4.50 they cost $0.024."""
    found = advise(make(20, body=other, agent="triage"))["cheaper_model"]
    assert found.saving == Decimal("0.056")
    assert found.facts == {
        "smaller": "gpt-5.4-mini", "output": 100, "cost": Decimal("0.08"), "cost_then": Decimal("0.024"), "ends": None,
    }  # fmt: skip
    assert found.message("en") == (
        "Short answers on model gpt-5.4 by agent triage: 20 calls with 100 tokens of answer on average and no "
        "reasoning. The same tokens cost $0.0240 instead of $0.0800 with gpt-5.4-mini: try it on some of them, and "
        "compare the answers. That would have saved $0.0560."
    )
    assert "Économie possible sur ces appels\xa0: 0,0560\xa0$." in found.message("fr")


def test_cheaper_model_is_priced_in_the_served_tier() -> None:
    """In the flex tier both cost half; dated snapshots are of the same family."""
    assert advise(make(20, service_tier="flex"))["cheaper_model"].saving == Decimal("0.028")
    assert advise(make(20, model="gpt-5.4-2026-03-05"))["cheaper_model"].saving == Decimal("0.056")


def test_cached_tokens_stay_cached_with_the_cheaper_model() -> None:
    """The same usage is priced, cached part and all: (500 x 2.25 + 500 x 0.175 ...) with real prices."""
    usage = Usage(1_000, 100, 1_100, cached_input_tokens=500)
    # 500 x 2.50 + 500 x 0.25 + 100 x 15 = 2,875; 500 x 0.75 + 500 x 0.075 + 100 x 4.50 = 862.5 millionths of a dollar
    assert advise(make(10, usage=usage))["cheaper_model"].saving == Decimal("0.020125")


def test_advice_names_the_shutdown_of_a_cheaper_model() -> None:
    """A model that has been shut down is not recommended."""
    calls = make(10, model="gpt-4.1")
    found = advise(calls)["cheaper_model"]
    assert found.facts["ends"] == "2027-01-14"
    assert "gpt-4.1-mini is announced to shut down on 2027-01-14." in found.message("en")
    assert "cheaper_model" not in advise(calls, now=datetime(2027, 1, 14, tzinfo=UTC))
    assert smaller("gpt-5", date(2026, 12, 10)) == "gpt-5-mini"
    assert smaller("gpt-5", date(2026, 12, 11)) == "gpt-5.4-mini"


@pytest.mark.parametrize(
    "calls",
    [
        make(9),
        make(20, usage=Usage(1_000, 201, 1_201)),
        make(20, usage=Usage(1_000, 100, 1_100, reasoning_tokens=1)),
        make(20, usage=Usage(1_000, 100, 1_100, web_searches=1)),
        make(20, usage=Usage(1_000, 100, 1_100, input_audio_tokens=10)),
        make(20, usage=Usage(250_000, 100, 250_100)),
        make(20, status="incomplete"),
        make(20, model="gpt-5.4-nano"),
        make(20, model="gpt-6-luna"),
        make(20, model="no-such-model"),
        make(20, model=None),
        make(20, provider="openrouter.ai"),
        make(20, service_tier="ultrafast"),
        make(20, endpoint="embeddings"),
        make(20, usage=Usage()),
        [*make(79), *make(21, usage=Usage(1_000, 500, 1_500))],
    ],
    ids=[
        "few", "long", "reasoning", "search", "audio", "long prompts", "cut", "smallest", "smallest of 6", "unknown",
        "no name", "elsewhere", "no such tier", "embeddings", "no usage", "many long",
    ],
)  # fmt: skip
def test_cheaper_model_without_evidence_or_price_is_not_advised(calls: list[Call]) -> None:
    """Without evidence, or without a price, there is no advice."""
    assert "cheaper_model" not in advise(calls)


def test_advice_uses_own_prices() -> None:
    """Also for calls that were priced before."""
    book = PriceBook()
    calls = make(10, book=book)
    book.set("gpt-5.4-mini", Price(input=0, output=0))
    assert advise(calls, book=book)["cheaper_model"].saving == Decimal("0.04")
    book.set("gpt-5.4", Price(input=0, output=0))
    assert "cheaper_model" not in advise(calls, book=book)


def test_every_family_is_in_the_price_book() -> None:
    """Each model of the table has a price, its smaller one costs less, and each shutdown date belongs to one
    of these."""
    for model, many in SMALLER.items():
        for small in many:
            day = datetime(2026, 6, 1, tzinfo=UTC) if small in ENDS else START
            usage = Usage(1_000, 100, 1_100)
            large_cost, small_cost = (
                BOOK.cost(BOOK.billable_of(replace(make()[0], model=name, started_at=day, usage=usage))).amount_pico
                for name in (model, small)
            )
            assert large_cost is not None, model
            assert small_cost is not None, small
            assert small_cost < large_cost, (model, small)
    assert ENDS.keys() <= {small for many in SMALLER.values() for small in many}


# --- prompt caching ---------------------------------------------------------------------------------------------------


def alike(number: int) -> dict[str, Any]:
    """Requests that begin with the same 9,000 characters."""
    return {"instructions": RULES_TEXT, "input": f"{number:04d}"}


LONG = Usage(2_300, 10, 2_310)
CACHEABLE = 2_176  # 9,000 characters are at most 2,250 tokens: 17 steps of 128


def test_missed_caching_is_advised_with_its_saving() -> None:
    """Nine calls could have read 2,176 tokens for 0.25 instead of 2.50 dollars per million."""
    found = advise(make(10, body=alike, usage=LONG))["prompt_caching"]
    assert found.saving == Decimal("0.0000025") * 9 * CACHEABLE * Decimal("0.9") == Decimal("0.044064")
    assert (found.calls, found.facts) == (9, {"tokens": CACHEABLE, "percent": 0, "late": 0})
    assert "prompt_cache_key" in found.message("en")
    assert found.call_ids[0] == "call-1"


def test_saving_of_caching_includes_cache_writes() -> None:
    """A model that charges for writing has the first call pay for it: 2.50 instead of 2 dollars; hits cost 0.10."""
    found = advise(make(10, body=alike, usage=LONG, model="gpt-6.2-sol"))["prompt_caching"]
    assert found.saving == (9 * Decimal("1.9") - Decimal("0.5")) * CACHEABLE / 10**6 == Decimal("0.0361216")


def test_repeated_cache_writes_are_a_saving() -> None:
    """Calls that wrote the same text each time would pay only for the part that follows it."""
    usage = Usage(2_300, 10, 2_310, cache_write_tokens=2_300)
    found = advise(make(10, body=alike, usage=usage, model="gpt-6.2-sol"))["prompt_caching"]
    assert found.saving == 9 * Decimal("2.4") * CACHEABLE / 10**6  # 0.10 instead of 2.50


def test_written_part_of_a_prompt_is_subtracted() -> None:
    """Of 4,000 tokens 1,500 were written: with 2,176 read from the cache, none of these is left to write."""
    usage = Usage(4_000, 10, 4_010, cache_write_tokens=1_500)
    calls = make(10, body=alike, usage=usage, model="gpt-6.2-sol")
    # 2,500 x 2 + 1,500 x 2.50 = 8,750; 2,176 x 0.10 + 1,824 x 2 = 3,865.6. The first writes 2,176 instead of 1,500.
    assert advise(calls)["prompt_caching"].saving == (9 * Decimal("4884.4") - 676 * Decimal("0.5")) / 10**6


def test_cached_part_of_a_prompt_is_not_a_saving() -> None:
    """From a half on there is no advice."""
    found = advise(make(10, body=alike, usage=Usage(2_300, 10, 2_310, cached_input_tokens=1_024)))["prompt_caching"]
    assert found.facts["percent"] == 47
    assert found.saving == Decimal("2.25") * 9 * (CACHEABLE - 1_024) / 10**6
    assert "prompt_caching" not in advise(
        make(10, body=alike, usage=Usage(2_300, 10, 2_310, cached_input_tokens=1_152))
    )


def test_caching_advice_respects_the_lifetime_of_a_cache() -> None:
    """A pause of more than ten minutes empties the cache, unless the request asks it to live longer."""
    kept = {"prompt_cache_retention": "24h", "prompt_cache_key": "k"}
    pause = 11 * 60
    assert "prompt_caching" not in advise(make(10, body=alike, usage=LONG, every=pause))
    found = advise(make(10, body=lambda n: alike(n) | kept, usage=LONG, every=pause))["prompt_caching"]
    assert found.parts == ("prompt_caching",)
    later = [replace(call, started_at=call.started_at + timedelta(hours=1)) for call in make(6, body=alike, usage=LONG)]
    found = advise([*make(6, body=alike, usage=LONG), *later])["prompt_caching"]
    assert (found.calls, found.facts["late"]) == (10, 1)
    assert "1 more came too late" in found.message("en")


@pytest.mark.parametrize(
    "calls",
    [
        make(5, body=alike, usage=LONG),
        make(10, usage=LONG),
        make(10, body=lambda n: {"instructions": f"{n}{RULES_TEXT}", "input": "?"}, usage=LONG),
        make(10, body=lambda n: {"instructions": RULES_TEXT[:4_000], "input": str(n)}, usage=LONG),
        make(10, body=alike, usage=Usage(1_000, 10, 1_010)),
        make(10, body=alike, usage=LONG, every=0),
        make(10, body=alike, usage=LONG, model="gpt-5.5-pro"),
        make(10, body=alike, usage=LONG, provider="openrouter.ai"),
        make(10, body=alike, usage=Usage()),
    ],
    ids=["few", "no evidence", "not alike", "short", "few tokens", "at once", "no cache", "elsewhere", "no usage"],
)
def test_caching_without_evidence_is_not_advised(calls: list[Call]) -> None:
    """Without evidence there is no advice."""
    assert "prompt_caching" not in advise(calls)


# --- the same again ---------------------------------------------------------------------------------------------------


def pairs(status: Any, **more: Any) -> list[Call]:
    """Three prompts, each of which ended so at first and well the second time."""
    calls = make(6, body=lambda n: {"input": str(n // 2), "max_output_tokens": 100 * (n % 2 + 1)}, **more)
    return [replace(call, status=status) if number % 2 == 0 else call for number, call in enumerate(calls)]


def test_truncated_answers_are_advised_with_their_cost() -> None:
    """Three answers of $0.004 that were truncated and requested again cost $0.012 for nothing."""
    found = advise(pairs("incomplete"))["truncated_answers"]
    assert (found.saving, found.calls, found.call_ids) == (Decimal("0.012"), 3, ("call-0", "call-2", "call-4"))


def test_repetition_after_errors_is_advised_with_its_cost() -> None:
    """Failed calls have their own cost, mostly nothing."""
    free = [replace(call, cost_pico=0, cost_status="free") if call.failed else call for call in pairs("error")]
    found = advise(free)["repeated_after_error"]
    assert (found.saving, found.calls) == (None, 3)
    assert "max_retries" in found.message("fr")
    assert advise(pairs("failed"))["repeated_after_error"].saving == Decimal("0.012")


@pytest.mark.parametrize("status", ["incomplete", "error"])
def test_no_repetition_gives_no_advice_on_retries(status: str) -> None:
    """Without the same prompt soon after, or without knowing it, there is no advice."""
    kind = "truncated_answers" if status == "incomplete" else "repeated_after_error"
    assert kind in advise(pairs(status))
    assert kind not in advise(pairs(status)[:4])
    assert kind not in advise(pairs(status, every=700))
    assert kind not in advise([replace(call, evidence=None) for call in pairs(status)])
    assert kind not in advise(make(10, body=other, status=status))
    assert kind not in advise(pairs("ok"))


def test_repeated_prompts_are_advised_with_their_saving() -> None:
    """Three prompts, four times each: nine answers of $0.004 could have been kept."""
    found = advise(make(12, body=lambda n: {"input": str(n % 3)}, agent="a"))["repeated_prompts"]
    assert (found.saving, found.calls, found.facts) == (Decimal("0.036"), 9, {"prompts": 3})
    assert (found.model, found.agent, found.parts) == ("gpt-5.4", "a", ("repeated_prompts.answers",))


def test_repeated_embeddings_are_advised_with_their_saving() -> None:
    """Embeddings of the same text are the same, and cost what their input costs: 0.02 dollars per million."""
    calls = make(
        5, body={"input": ["a", "b"]}, endpoint="embeddings", model="text-embedding-3-small",
        usage=Usage(1_000, 0, 1_000),
    )  # fmt: skip
    found = advise(calls)["repeated_prompts"]
    assert found.saving == Decimal("0.00008")
    assert "vectors" in found.message("en")


def test_long_prompts_are_compared_by_samples() -> None:
    """The advice is marked where inputs were too long to be compared completely."""
    found = advise(make(4, body={"input": "x" * 9_000}, usage=Usage(1_500, 10, 1_510)))["repeated_prompts"]
    assert found.parts == ("repeated_prompts.answers", "repeated_prompts.sampled")


@pytest.mark.parametrize(
    "calls",
    [
        make(2, body={"input": "a"}),
        make(10, body=other),
        make(10),
        make(10, body={"input": "a"}, status="error"),
        [replace(call, model=f"m{n}") for n, call in enumerate(make(10, body={"input": "a"}))],
        [replace(call, usage=Usage(n, 1, n + 1)) for n, call in enumerate(make(10, body={"input": "a"}))],
    ],
    ids=["twice", "different", "unknown", "errors", "other models", "other sizes"],
)
def test_different_prompts_give_no_advice_on_repetition(calls: list[Call]) -> None:
    """Without evidence there is no advice."""
    assert "repeated_prompts" not in advise(calls)


# --- work in the background -------------------------------------------------------------------------------------------


def test_steady_calls_are_advised_to_use_batch_or_flex() -> None:
    """60 calls of $0.004 without a pause between them cost half in a batch, and half in the flex tier."""
    found = advise(make(60, body=other, every=1, operation="nightly"))["background_work"]
    assert found.saving == Decimal("0.12")
    assert found.facts == {"batch_saving": Decimal("0.12"), "flex_saving": Decimal("0.12")}
    assert 'With service_tier="flex" it would have been $0.1200' in found.message("en")


def test_batch_saving_of_older_models_has_no_cache() -> None:
    """gpt-4.1: 500 x 2 + 500 x 0.50 + 100 x 8 is 2,050; in a batch, 1,000 x 1 + 100 x 4 is 1,400. No flex tier."""
    usage = Usage(1_000, 100, 1_100, cached_input_tokens=500)
    found = advise(make(60, body=other, every=1, usage=usage, model="gpt-4.1"))["background_work"]
    assert found.facts == {"batch_saving": Decimal("0.039")}
    assert found.saving == Decimal("0.039")


def test_flex_is_advised_for_models_without_batch() -> None:
    """A model that is sold in the flex tier alone is advised for that."""
    book = PriceBook({"m": Price(input=2, output=4, tiers={"flex": Price(input=1, output=2)})})
    found = advise(make(50, body=other, every=1, model="m", book=book), book=book)["background_work"]
    assert (found.saving, found.parts) == (Decimal("0.06"), ("background_work.flex",))


def test_regular_calls_are_background_work() -> None:
    """A call a minute, and a pool of workers."""
    assert "background_work" in advise(make(60, body=other, every=60))
    pool = [replace(call, started_at=START + timedelta(seconds=n // 10)) for n, call in enumerate(make(60, body=other))]
    assert "background_work" in advise(pool)


def test_calls_with_short_pauses_are_background_work() -> None:
    """With a pause of a twentieth of their length; with a half they are not."""
    for pause, steady in ((0.05, True), (0.5, False)):
        dice, at, calls = random.Random(1), 0.0, []
        for call in make(300, body=other):
            length = dice.expovariate(0.1)
            calls.append(replace(call, started_at=START + timedelta(seconds=at), duration=length))
            at += length * (1 + pause)
        assert ("background_work" in advise(calls)) is steady


def visitors() -> list[Call]:
    """Calls that come by chance, one in ten seconds on average."""
    dice, at, calls = random.Random(1), 0.0, []
    for call in make(300, body=other):
        at += dice.expovariate(0.1)
        calls.append(replace(call, started_at=START + timedelta(seconds=at)))
    return calls


@pytest.mark.parametrize(
    "calls",
    [
        make(49, body=other, every=1),
        make(60, body=other, every=1, stream=True),
        make(60, body=other, every=1, user="u"),
        make(60, body=other, every=1, session="s"),
        make(60, body=other, every=1, service_tier="flex"),
        make(60, body=other, every=1, provider="azure"),
        make(60, body=other, every=1, status="incomplete"),
        make(60, body=lambda n: {"input": str(n), "service_tier": "priority"}, every=1),
        make(60, body=lambda n: {"input": [{"role": "user", "content": str(n)}] * 3}, every=1),
        make(60, every=1),
        make(60, body=other, every=1, endpoint="embeddings", model="text-embedding-3-small"),
        make(60, body=other, every=1, model="gpt-3.5-turbo-instruct"),
        visitors(),
    ],
    ids=[
        "few", "streamed", "for a user", "in a session", "flex", "azure", "cut", "asked for priority", "history",
        "no evidence", "embeddings", "no batch", "visitors",
    ],
)  # fmt: skip
def test_irregular_or_streamed_calls_are_not_background_work(calls: list[Call]) -> None:
    """Without evidence there is no advice."""
    assert "background_work" not in advise(calls)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [*_ADVICE, "SomethingElse", None])
def test_five_errors_of_a_kind_give_advice_on_it(error: str | None) -> None:
    """Five errors of a kind are advice on that kind."""
    calls = make(5, body=other, status="error", error_type=error, usage=Usage(), agent="a")
    found = advise(calls)["errors"]
    assert (found.calls, found.saving, found.agent) == (5, None, "a")
    assert found.parts == (f"errors.{_ADVICE.get(error or '', 'other')}",)
    assert found.message("en").startswith(f"{error or '?'} (5 calls) on model gpt-5.4 by agent a: ")
    assert "errors" not in advise(calls[:4])


def test_errors_of_several_kinds_give_one_advice() -> None:
    """Five errors, none five times: that is said."""
    calls = [replace(call, error_type=f"E{n % 3}") for n, call in enumerate(make(6, status="failed"))]
    found = advise(calls)["errors"]
    assert (found.parts, found.facts) == (("errors.several",), {"errors": 6, "kinds": 3})


def test_errors_outside_of_the_ring_give_advice() -> None:
    """Errors that the ring of recent calls has forgotten still count."""
    (found,) = recommendations([], totals_of(make(7, status="error")), BOOK, now=START)
    assert (found.kind, found.calls, found.facts["errors"], found.call_ids) == ("errors", 0, 7, ())
    assert found.message("fr").startswith("7 erreurs")


# --- all together -----------------------------------------------------------------------------------------------------


def test_few_ordinary_calls_give_no_advice() -> None:
    """Without calls, and of a few ordinary ones, there is nothing to say."""
    assert advise([]) == {}
    assert advise(make(9, body=other)) == {}


def test_advice_is_sorted_by_saving() -> None:
    """Then advice without a saving; each agent apart, and at most five of a kind."""
    calls = [call for agent in range(8) for call in make(10 + agent, agent=f"a{agent}")]
    calls += make(6, model="gpt-6-luna", usage=Usage(3_000, 1, 3_001))
    found = recommendations(calls, totals_of(calls), BOOK, now=START.replace(tzinfo=None))
    assert [one.agent for one in found] == ["a7", "a6", "a5", "a4", "a3", None]
    assert [one.kind for one in found] == ["cheaper_model"] * 5 + ["long_prompts"]
    savings = [one.saving for one in found[:-1]]
    assert savings == [Decimal("0.0028") * count for count in (17, 16, 15, 14, 13)]


def test_advice_on_estimated_tokens_is_marked() -> None:
    """Advice that rests on estimated token counts says so."""
    (found,) = advise(make(20, usage_source="tiktoken")).values()
    assert found.estimated
    assert "~$0.0560" in found.message("en")


def test_advice_as_json_has_plain_values() -> None:
    """A recommendation is plain values, with money as text."""
    (found,) = advise(make(20)).values()
    assert found.to_dict("en") == {
        "kind": "cheaper_model",
        "message": found.message("en"),
        "saving": "0.056",
        "calls": 20,
        "call_ids": ["call-0", "call-1", "call-2", "call-3", "call-4"],
        "model": "gpt-5.4",
        "agent": None,
        "facts": {"smaller": "gpt-5.4-mini", "output": 100, "cost": "0.08", "cost_then": "0.024", "ends": None},
        "estimated": False,
    }


def test_names_in_advice_are_escaped() -> None:
    """A name can put neither control characters nor templates into a message."""
    named = make(20, agent="\x1b[31m{calls}" + "x" * 1_000)
    (found,) = recommendations(named, totals_of(named), BOOK, now=START)
    assert " by agent \N{REPLACEMENT CHARACTER}[31m{calls}xxx" in found.message("en")
    assert len(found.message("en")) < 400


def test_every_rule_has_its_sentences() -> None:
    """Each sentence of advice is there in each language, and each rule says in its docstring what its evidence is."""
    for lang in languages():
        m = language(lang)
        assert all(f"advice.errors.{name}" in m for name in {*_ADVICE.values(), "other", "several"})
    assert all("Evidence:" in str(rule.__doc__) for rule in RULES.values())


bodies = st.none() | st.builds(
    lambda prefix, text, more: {"instructions": prefix, "input": text, **more},
    st.sampled_from([None, RULES_TEXT, "short"]),
    st.sampled_from(["a", "b", RULES_TEXT]),
    st.sampled_from([{}, {"max_output_tokens": 5}, {"service_tier": "flex"}, {"prompt_cache_retention": "24h"}]),
)
counts = st.integers(0, 4_000)
calls = st.builds(
    lambda body, tokens, at, more: replace(
        make(body=body, usage=tokens, **more)[0], started_at=START + timedelta(seconds=at)
    ),
    bodies,
    st.just(Usage()) | st.builds(
        lambda i, o, c, w, r: Usage(i, o, i + o, cached_input_tokens=c, cache_write_tokens=w, reasoning_tokens=r),
        counts, counts, counts, counts, counts,
    ),
    st.integers(0, 2_000),
    st.fixed_dictionaries({
        "model": st.sampled_from(["gpt-5.4", "gpt-6.2-sol", "gpt-4.1", "odd", None]),
        "status": st.sampled_from(["ok", "ok", "ok", "error", "incomplete", "aborted", "failed"]),
        "endpoint": st.sampled_from(["responses", "embeddings", "images.generate"]),
        "service_tier": st.sampled_from([None, "default", "flex", "priority", "scale"]),
        "provider": st.sampled_from(["openai", "azure", "host"]),
    }),
)  # fmt: skip


@given(st.lists(calls, max_size=6), st.integers(1, 20))
def test_any_calls_give_valid_advice(some: list[Call], times: int) -> None:
    """Whatever the calls are: no fault, every saving above 0 and below the cost of all, the greatest first."""
    every = some * times
    totals = totals_of(every)
    found = recommendations(every, totals, BOOK, now=START)
    savings = [one.saving for one in found]
    known = [saving for saving in savings if saving is not None]
    assert savings == [*sorted(known, reverse=True), *[None] * (len(savings) - len(known))]
    assert all(0 < saving <= (totals.cost or 0) for saving in known)
    assert all(len(one.call_ids) == min(one.calls, 5) for one in found)
    assert all(one.message(lang) for one in found for lang in languages())
