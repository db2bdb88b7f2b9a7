"""What a program tells the meter itself, and the short ways to what the meter knows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

import openai_meter
from openai_meter import Call, ConfigurationError, Meter, Price, Usage
from openai_meter.core import faults
from openai_meter.metering.manual import ModelStats, undated
from openai_meter.testing.fake_api.server import DemoServer

MESSAGES: Any = [{"role": "user", "content": "Bonjour"}]


@pytest.fixture
def own() -> Meter:
    """A meter with one price of its own, which nothing but the test tells anything."""
    return Meter(prices={"m": Price(input=1, cached_input="0.1", output=2)})


@pytest.fixture
def client() -> Iterator[OpenAI]:
    with DemoServer() as server, OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        yield client


COUNTING = Meter(prices={"m": Price(input="0.05", output="0.4")})


# --- track_call -------------------------------------------------------------------------------------------------------


def test_manual_call_has_its_exact_cost() -> None:
    """3,245 and 1,892 tokens of gpt-4o-mini cost $0.00162195 by the price list, not $0.001254."""
    meter = Meter()
    meter.track_call("gpt-4o-mini", 3_245, 1_892)
    call = meter.calls[0]
    assert (call.cost, call.cost_status, call.cost_estimated) == (Decimal("0.00162195"), "priced", False)
    assert (call.model, call.requested_model, call.endpoint, call.provider) == (
        "gpt-4o-mini", "gpt-4o-mini", "manual", "openai",
    )  # fmt: skip
    assert call.usage == Usage(3_245, 1_892, 5_137)
    assert (call.usage_source, call.status, call.duration) == ("api", "ok", 0.0)
    assert meter.get_all_stats()["gpt-4o-mini"].to_dict()["estimatedCost"] == 0.00162195


def test_cached_tokens_are_part_of_the_prompt(own: Meter) -> None:
    """Cached tokens cost what cached input costs, and are not added to the prompt."""
    own.track_call("m", 1_000, 10, cached_tokens=400, reasoning_tokens=4, duration=1.5)
    call = own.calls[0]
    assert call.usage == Usage(1_000, 10, 1_010, cached_input_tokens=400, reasoning_tokens=4)
    assert call.cost == Decimal("0.000660")  # 600 at 1, 400 at 0.1, 10 at 2 per million
    assert call.duration == 1.5


def test_manual_call_has_the_attribution_of_its_scope(own: Meter) -> None:
    """Agent, user and tags come from the blocks around, unless the call names others; the block counts it too."""
    other = Meter()
    with (
        openai_meter.track("elsewhere", meter=other) as elsewhere,
        openai_meter.track("night", meter=own, agent="a", user="u", team="x") as block,
    ):
        own.track_call("m", 1, 1)
        own.track_call("m", 1, 1, agent="b", operation="o", place="p")
    one, two = own.calls
    assert (one.agent, one.operation, one.user, one.tags) == ("a", None, "u", {"team": "x"})
    assert (two.agent, two.operation, two.user, two.tags) == ("b", "o", "u", {"team": "x", "place": "p"})
    assert block.calls == own.calls
    assert elsewhere.totals.calls == other.totals.calls == 0  # that block belongs to another meter


def test_unknown_tokens_are_unmeasured_and_not_zero(own: Meter) -> None:
    """A call without known tokens is unmeasured and has no cost."""
    own.track_call("m", None, None)
    own.track_call("m", 7, None)
    one, two = own.calls
    assert (one.usage, one.usage_source, one.cost) == (Usage(), "none", None)
    assert (two.usage.input_tokens, two.usage.output_tokens, two.usage.total_tokens) == (7, None, 7)
    assert own.totals.unmeasured_calls == 1


@pytest.mark.parametrize(
    ("given_values", "says"),
    [
        (("", 1, 1), "model"),
        ((None, 1, 1), "model"),
        (("m", -1, 1), "prompt_tokens"),
        (("m", 1.5, 1), "prompt_tokens"),
        (("m", True, 1), "prompt_tokens"),
        (("m", "1", 1), "prompt_tokens"),
        (("m", 1, -1), "completion_tokens"),
        (("m", 1, 1, {"cached_tokens": 2}), "cached_tokens"),
        (("m", 1, 1, {"cached_tokens": "many"}), "cached_tokens"),
        (("m", None, 1, {"cached_tokens": 1}), "cached_tokens"),
        (("m", 1, 1, {"reasoning_tokens": 2}), "reasoning_tokens"),
        (("m", 1, 1, {"duration": -1}), "duration"),
        (("m", 1, 1, {"duration": float("nan")}), "duration"),
        (("m", 1, 1, {"duration": 1e300}), "duration"),
        (("m", 1, 1, {"service_tier": 5}), "service_tier"),
    ],
)
def test_unusable_value_raises_and_counts_nothing(own: Meter, given_values: Any, says: str) -> None:
    """The message names the argument, and the meter is unchanged."""
    *positional, named = given_values if isinstance(given_values[-1], dict) else (*given_values, {})
    with pytest.raises(ConfigurationError, match=says):
        own.track_call(*positional, **named)
    assert own.totals.calls == 0


@pytest.mark.parametrize("ready", [True, False])
def test_manual_call_is_priced_by_its_tier(ready: bool) -> None:
    """The tier of a recorded call decides its price, whether the prices were read before or after."""
    meter = Meter()
    if ready:
        meter.reprice()
    for tier in ("default", "flex"):
        meter.track_call("gpt-5.4-mini", 1_000_000, 0, service_tier=tier)
    default, flex = (call.cost for call in meter.calls)
    assert default is not None
    assert flex == default / 2


def test_first_manual_call_does_not_wait_for_the_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is recorded while the price files are read is counted at once, and priced at the next read."""
    meter = Meter()
    reading, go_on = threading.Event(), threading.Event()
    load = meter._price_loader.load

    def slow() -> None:
        reading.set()
        go_on.wait(60)
        load()

    monkeypatch.setattr(meter._price_loader, "load", slow)
    call = meter.track_call("gpt-4o-mini", 3_245, 1_892)
    assert reading.wait(60)
    assert (call.cost, meter._store.totals().calls) == (None, 1)
    go_on.set()
    assert meter.cost == Decimal("0.00162195")


def test_manual_calls_of_many_threads_are_all_counted(own: Meter) -> None:
    """No call is lost between threads, and the sum is exact."""
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda number: own.track_call("m", number, 1), range(400)):
            pass
    assert own.totals.calls == 400
    assert own.totals.input_tokens == sum(range(400))
    assert own.cost == Decimal(sum(range(400)) + 2 * 400) / 10**6


# --- track_generation and track_error ---------------------------------------------------------------------------------


@pytest.mark.parametrize("actual", [{"prompt": 12, "completion": 34}, (12, 34), [12, 34]])
def test_generation_with_actual_tokens_is_measured(own: Meter, actual: Any) -> None:
    """Reported tokens are used in place of the texts."""
    own.track_generation("m", "a prompt", "an answer", actual, agent="a")
    call = own.calls[0]
    assert call.usage == Usage(12, 34, 46)
    assert (call.usage_source, call.cost_estimated, call.agent) == ("api", False, "a")


def test_generation_without_actual_tokens_is_an_estimate(own: Meter) -> None:
    """The texts are measured by the rule, the call is marked, and no text is kept."""
    own.reprice()  # reads the price files
    own.track_generation("m", "0123456789", "un été à Nîmes")
    call = own.calls[-1]
    assert call.usage == Usage(3, 5, 8)  # 10 / 4 and 14 / 3, rounded up
    assert (call.usage_source, call.cost_estimated, call.cost) == ("chars", True, Decimal("0.000013"))
    assert own.totals.estimated_cost == Decimal("0.000013")
    assert "0123456789" not in str(call.to_dict())
    assert "Nîmes" not in str(call.to_dict())


def test_generation_with_one_reported_count_estimates_the_other(own: Meter) -> None:
    """Where only one count is passed, the other one is estimated, and the call is marked."""
    own.track_generation("m", "0123456789", "01234567", {"prompt": 100})
    assert own.calls[0].usage == Usage(100, 2, 102)
    assert own.calls[0].usage_source == "chars"


@pytest.mark.parametrize("actual", [{"input": 1}, (1,), (1, 2, 3), "12", 12, {"prompt": -1}, {"prompt": "x"}])
def test_unreadable_actual_tokens_raise(own: Meter, actual: Any) -> None:
    """The message names what to pass."""
    with pytest.raises(ConfigurationError, match="actual_tokens"):
        own.track_generation("m", "prompt", "answer", actual)
    assert own.totals.calls == 0


def test_generation_with_a_list_of_messages_raises(own: Meter) -> None:
    """A prompt that is a list is refused, and not measured by its number of messages."""
    with pytest.raises(ConfigurationError, match="list"):
        own.track_generation("m", MESSAGES, "answer")
    assert own.totals.calls == 0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("été", 1), ("ÉTÉS", 2), ("cœur", 2), ("CŒUR!!!", 3), ("naïf", 2)],
)
def test_estimate_tokens_counts_by_characters(own: Meter, text: str, tokens: int) -> None:
    """A text with a French letter has a token for each 3 characters, any other for each 4, rounded up."""
    assert own.estimate_tokens(text) == tokens


@pytest.mark.parametrize("ready", [True, False])
def test_recorded_error_keeps_its_class_only(own: Meter, ready: bool) -> None:
    """The message of an error may quote the prompt, so no record has it; errors cost nothing and have no tokens."""
    if ready:
        own.reprice()
    own.track_error("m", ValueError("my secret prompt"))
    own.track_error("m", KeyError)
    own.track_error("m", "my secret prompt")
    own.track_error(None, TimeoutError())
    assert [call.error_type for call in own.calls] == ["ValueError", "KeyError", "unknown_error", "TimeoutError"]
    assert {call.status for call in own.calls} == {"error"}
    assert {(call.cost, call.cost_status, call.usage) for call in own.calls} == {(Decimal(0), "free", Usage())}
    assert "secret" not in repr([call.to_dict() for call in own.calls])
    assert own.get_model_stats("m").error_count == 3
    assert own.totals.errors == 4


# --- record -----------------------------------------------------------------------------------------------------------


def test_record_with_a_price_keeps_it(own: Meter) -> None:
    """A call that was read back, or counted by another meter, keeps its cost; one without gets a price."""
    call = own.track_call("m", 1_000_000, 0)
    assert own.cost == Decimal(1)
    other = Meter(prices={"m": Price(input=5, output=5)})
    assert other._record(own.calls[0]) == own.calls[0]
    assert other.cost == Decimal(1)
    other._record(replace(call, cost_pico=None, cost_status="unpriced"))
    assert other.cost == Decimal(6)


def test_fault_in_pricing_loses_no_call(own: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """If pricing fails, the call is counted without a price, and nothing is raised."""
    assert own.track_call("m", 1, 1).id
    assert own.cost is not None
    faults.reraise = False

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr("openai_meter.pricing.PriceBook.cost", broken)
    call = own.track_call("m", 1, 1)
    assert (call.cost, own.totals.calls) == (None, 2)
    assert faults.count() == 1


# --- stats ------------------------------------------------------------------------------------------------------------


def test_stats_equal_the_json_of_the_guide() -> None:
    """The names, their order and their types are those of the guide, with the time in whole milliseconds."""
    meter = Meter(prices={"gpt-4o-mini": Price(input="0.15", output="0.60")})
    meter.track_call("gpt-4o-mini", 3_245, 1_892)
    at = datetime(2024, 10, 30, 18, 33, 54, 567_891, tzinfo=UTC)
    stats = replace(meter.get_all_stats()["gpt-4o-mini"], last_call_timestamp=at)
    assert json.dumps(stats.to_dict()) == (
        '{"totalCalls": 1, "totalPromptTokens": 3245, "totalCompletionTokens": 1892, "totalTokens": 5137, '
        '"estimatedCost": 0.00162195, "lastCallTimestamp": 1730313234567, "errorCount": 0}'
    )


def test_stats_add_counts_of_unknown_calls(own: Meter) -> None:
    """Unknown cost is null, and the calls without tokens or price are counted in fields of their own."""
    own.track_call("no-such-model", None, None)
    own.track_call("m", 1, 1)
    stats = own.get_all_stats()
    assert stats["no-such-model"].estimated_cost is None
    assert stats["no-such-model"].to_dict() | {"lastCallTimestamp": 0} == {
        "totalCalls": 1,
        "totalPromptTokens": 0,
        "totalCompletionTokens": 0,
        "totalTokens": 0,
        "estimatedCost": None,
        "lastCallTimestamp": 0,
        "errorCount": 0,
        "unmeasuredCalls": 1,
        "unpricedCalls": 1,
    }
    assert len(stats["m"].to_dict()) == 7


def test_stats_of_a_model_without_calls_are_zero(own: Meter) -> None:
    """It is known that nothing was used of a model that was not called."""
    assert own.get_model_stats("never") == ModelStats()
    assert own.get_model_stats("never").to_dict() == {
        "totalCalls": 0,
        "totalPromptTokens": 0,
        "totalCompletionTokens": 0,
        "totalTokens": 0,
        "estimatedCost": 0.0,
        "lastCallTimestamp": None,
        "errorCount": 0,
    }
    assert own.get_all_stats() == {}


def test_stats_of_a_model_include_its_snapshots(own: Meter) -> None:
    """The plain name has the calls of its snapshots, which the API answers with; a snapshot has its own calls only."""
    own.track_call("gpt-4o-mini-2024-07-18", 10, 1)
    own.track_call("gpt-4o-mini", 5, 1)
    own.track_call("gpt-4o", 1_000, 1)
    assert own.get_model_stats("gpt-4o-mini").total_prompt_tokens == 15
    assert own.get_model_stats("gpt-4o-mini-2024-07-18").total_prompt_tokens == 10
    assert own.get_model_stats("gpt-4o").total_prompt_tokens == 1_000
    assert list(own.get_all_stats()) == ["gpt-4o-mini-2024-07-18", "gpt-4o-mini", "gpt-4o"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4o", "gpt-4o"),
        ("gpt-5.4-mini", "gpt-5.4-mini"),
        ("text-embedding-3-small", "text-embedding-3-small"),
        ("text-embedding-ada-002", "text-embedding-ada-002"),
    ],
)
def test_model_name_loses_only_a_date_at_its_end(name: str, plain: str) -> None:
    """Only a date at the end is a snapshot's."""
    assert undated(name) == plain


@given(st.lists(st.tuples(st.sampled_from(["m", "n"]), st.none() | st.integers(0, 10**9), st.integers(0, 10**9))))
def test_stats_of_all_models_sum_up_to_the_totals(told: list[tuple[str, int | None, int]]) -> None:
    """Whatever is recorded, the stats of all models together are the totals of the meter."""
    meter = COUNTING
    meter.reset()
    for model, tokens_in, tokens_out in told:
        meter.track_call(model, tokens_in, tokens_out)
    stats, totals = meter.get_all_stats().values(), meter.totals
    assert sum(one.total_calls for one in stats) == totals.calls == len(told)
    assert sum(one.total_prompt_tokens for one in stats) == totals.input_tokens
    assert sum(one.total_completion_tokens for one in stats) == totals.output_tokens
    assert sum(one.unpriced_calls for one in stats) == totals.unpriced_calls
    assert sum(one.estimated_cost or 0 for one in stats) == (totals.cost or 0)


def test_stats_include_metered_and_manual_calls(client: OpenAI, meter: Meter) -> None:
    """What the seam counts and what the program tells are one store."""
    client.chat.completions.create(model="gpt-5.4-mini", messages=MESSAGES)
    meter.track_call("gpt-5.4-mini", 1, 1)
    assert meter.get_model_stats("gpt-5.4-mini").total_calls == 2


# --- report, summary, thresholds, recommendations ---------------------------------------------------------------------


def eight_calls() -> Meter:
    """The document's session: 8 calls of gpt-4o-mini with 3,245 and 1,892 tokens."""
    meter = Meter()
    for _ in range(7):
        meter.track_call("gpt-4o-mini", 405, 236)
    meter.track_call("gpt-4o-mini", 3_245 - 7 * 405, 1_892 - 7 * 236)
    return meter


def test_chat_report_equals_that_of_the_guide() -> None:
    """In both languages, with the cost by the price list for the tokens of the guide."""
    meter = eight_calls()
    meter.started_at = datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    lines = [line.rstrip() for line in meter.generate_report("fr").splitlines()]
    assert lines == [
        "📊 **Statistiques d'utilisation OpenAI**",
        "",
        "⏱️ Durée : 15 minutes",
        "",
        "**gpt-4o-mini**",
        "├─ Appels : 8",
        "├─ Tokens : 5,137",
        "└─ Coût : $0.001622",
        "",
        "**📈 Totaux**",
        "└─ Coût total : $0.001622",
    ]
    assert "OpenAI" in meter.generate_report("en")
    assert "Durée" not in meter.generate_report("en")
    with pytest.raises(ConfigurationError, match="tlh"):
        meter.generate_report("tlh")


def test_compact_summary_can_follow_a_message() -> None:
    """It follows a text as it is, below a rule that Markdown does not read as the underline of a heading."""
    meter = eight_calls()
    portfolio = "📊 Your Portfolio..."
    if summary := meter.generate_compact_summary("en"):
        portfolio += summary
    assert portfolio == "📊 Your Portfolio...\n\n---\n💡 Session: 8 calls | 5,137 tokens | $0.0016"
    assert "8 appels" in meter.generate_compact_summary("fr")


def test_compact_summary_without_calls_is_empty(own: Meter) -> None:
    """Nothing is added while nothing was counted; an unknown language is refused even then."""
    assert own.generate_compact_summary() == ""
    with pytest.raises(ConfigurationError, match="tlh"):
        own.generate_compact_summary("tlh")


class Said:
    """An alert or a recommendation."""

    def __init__(self, text: str, kind: str = "") -> None:
        self.text = text
        self.kind = kind

    def message(self, lang: str | None = None) -> str:
        return f"{self.text} in {lang}"


def test_check_thresholds_returns_the_most_urgent_alert(own: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is exceeded there is no alert; calls come before cost, and cost before the others."""
    rest, errors, cost, calls = (Said(kind, kind) for kind in ("tokens_per_call", "errors", "cost", "calls"))
    for alerts, first in (
        ((), None),
        ((rest, errors), rest),
        ((rest, errors, cost), cost),
        ((rest, errors, cost, calls), calls),
    ):
        monkeypatch.setattr(Meter, "alerts", alerts)
        assert own.check_thresholds() is first


def test_default_thresholds_are_those_of_the_guide(own: Meter) -> None:
    """The 101st call exceeds the limit of 100: the alert is the JSON of the guide, until the stats are reset."""
    for _ in range(100):
        own.track_call("m", 1, 1)
    assert own.check_thresholds() is None
    own.track_call("m", 1, 1)
    alert = own.check_thresholds()
    assert alert is not None
    assert alert.to_dict("fr")["alert"] is True
    assert alert.to_dict("fr")["message"] == alert.message("fr")
    assert alert.message("fr").startswith("⚠️ Alerte : 101 appels API")
    own.reset_stats()
    assert own.check_thresholds() is None
    own.track_call("m", 1_020_000, 0)
    alert = own.check_thresholds()
    assert alert is not None
    assert alert.message("fr").startswith("💰 Alerte : Coût de 1,02\xa0$")


def test_recommendations_are_sentences_in_the_requested_language(own: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come in their order, in the language that is asked for."""
    monkeypatch.setattr(Meter, "recommendations", lambda self: (Said("one"), Said("two")))
    assert own.generate_optimization_recommendations("fr") == ["one in fr", "two in fr"]
    monkeypatch.setattr(Meter, "recommendations", lambda self: ())
    assert own.generate_optimization_recommendations() == []


def test_advice_uses_recorded_errors(own: Meter) -> None:
    """Errors that were told are what the advice rests on."""
    assert own.generate_optimization_recommendations() == []
    for _ in range(5):
        own.track_error("m", type("AuthenticationError", (Exception,), {}))
    (advice,) = own.generate_optimization_recommendations("fr")
    assert "AuthenticationError" in advice
    assert "clé API" in advice


def test_reset_stats_starts_again_from_zero(own: Meter) -> None:
    """After a reset there are no stats, and counting goes on."""
    own.track_call("m", 1, 1)
    before = own.started_at
    assert own.reset_stats() is None
    assert own.get_all_stats() == {}
    assert own.started_at >= before
    own.track_call("m", 1, 1)
    assert own.totals.calls == 1


def test_empty_copy_of_a_meter_has_its_prices_and_no_calls(own: Meter) -> None:
    """It prices as the first meter does, and shares no count with it."""
    own.track_call("m", 1, 1)
    other = own._alike()
    assert (other.totals.calls, other._recent) == (0, own._recent)
    other.track_call("m", 1_000_000, 0)
    assert other.cost == Decimal(1)


def test_call_is_found_by_the_id_of_its_answer(client: OpenAI, meter: Meter) -> None:
    """The record of an answer is found by the id of the answer; no other record is."""
    answer = client.chat.completions.create(model="gpt-5.4-mini", messages=MESSAGES)
    call = meter.find(answer.id)
    assert isinstance(call, Call)
    assert call.response_id == answer.id
    assert meter.find("no-such-id") is None


def test_chat_report_has_no_alerts() -> None:
    """``generate_report`` is the report alone, whatever limit is exceeded; ``check_thresholds`` returns that."""
    meter = Meter()
    meter.track_call("gpt-4o-mini", 3_000, 10)
    alert = meter.check_thresholds()
    assert alert is not None
    assert alert.kind == "tokens_per_call"
    assert alert.message("fr") not in meter.generate_report("fr")
    assert alert.message("fr") in meter.report(lang="fr").render("chat", lang="fr")
