"""Costs of answers without a meter: ``openai_meter.cost`` and ``openai_meter.quote``."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from openai import OpenAI, _base_client
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

import openai_meter
from openai_meter import ConfigurationError, Price, PriceBook, Usage

httpx = getattr(_base_client, "httpx2", None) or _base_client.httpx

CHAT: dict[str, Any] = {
    "id": "chatcmpl-7", "object": "chat.completion", "created": 1_790_000_000, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Oui."}}],
    "usage": {"prompt_tokens": 812, "completion_tokens": 95, "total_tokens": 907,
              "prompt_tokens_details": {"cached_tokens": 512}},
}  # fmt: skip
CHAT_COST = Decimal("0.0001404")  # 300 x 0.15 + 512 x 0.075 + 95 x 0.60, per million
BATCH_COST = Decimal("0.0000894")  # input and output at half; cached tokens have no discount
RESPONSE: dict[str, Any] = {
    "id": "resp_3", "object": "response", "created_at": 1_790_000_000, "model": "gpt-4o-mini", "status": "completed",
    "output": [{"type": "web_search_call", "id": "ws_1", "status": "completed",
                "action": {"type": "search", "query": "x"}}],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [{"type": "web_search_preview"}],
    "usage": {"input_tokens": 812, "output_tokens": 95, "total_tokens": 907,
              "input_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 0},
              "output_tokens_details": {"reasoning_tokens": 0}},
}  # fmt: skip
CHUNK: dict[str, Any] = {
    "id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-4o-mini",
    "choices": [], "usage": CHAT["usage"],
}  # fmt: skip


def raw_answer() -> Any:
    """A raw answer of the SDK, as ``with_raw_response`` gives it."""
    http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=CHAT)))
    with OpenAI(api_key="demo", http_client=http, base_url="http://localhost") as client:
        return client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=[])


SHAPES = {
    "dict": lambda: CHAT,
    "SDK object": lambda: ChatCompletion.model_validate(CHAT),
    "JSON text": lambda: json.dumps(CHAT),
    "JSON bytes": lambda: json.dumps(CHAT).encode(),
    "raw answer": raw_answer,
    "last chunk of a stream": lambda: ChatCompletionChunk.model_validate(CHUNK),
    "last chunk as a dict": lambda: CHUNK,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_cost_of_an_answer_in_any_shape_is_the_same(shape: str) -> None:
    """An answer costs the same as an object, a dict, JSON, a raw answer, or as the last chunk of its stream."""
    priced = openai_meter.cost(SHAPES[shape]())
    assert (priced.model, priced.endpoint, priced.cost) == ("gpt-4o-mini", "chat.completions", CHAT_COST)
    assert (priced.cost_status, priced.cost_reason, priced.remedy) == ("priced", None, None)
    assert [(line.item, line.quantity) for line in priced.cost_lines] == [
        ("input", 300), ("cached_input", 512), ("output", 95)
    ]  # fmt: skip
    assert sum((Fraction(line.amount_pico) for line in priced.cost_lines), Fraction(0)) == priced.price.amount_pico


@pytest.mark.parametrize("form", [
    {"prompt_tokens": 300, "completion_tokens": 95}, {"input_tokens": 300, "output_tokens": 95}, Usage(300, 95, 395)
], ids=["of a chat", "of a response", "Usage"])  # fmt: skip
def test_cost_of_a_usage_by_itself_needs_the_model(form: Any) -> None:
    """A usage object is priced with a model that is named; without one its cost is unknown, and the remedy is named."""
    assert openai_meter.cost(form, model="gpt-4o-mini").cost == Decimal("0.000102")
    unknown = openai_meter.cost(form)
    assert (unknown.cost, unknown.cost_status, unknown.cost_reason) == (None, "unpriced", "no model was named")
    assert "model=..." in str(unknown.remedy)


def test_cost_of_a_response_has_the_fees_of_its_tools() -> None:
    """The search of a response is a line of its cost, from the object, the dict, and the event that ends a stream."""
    event = {"type": "response.completed", "sequence_number": 9, "response": RESPONSE}
    found = [openai_meter.cost(one) for one in (RESPONSE, Response.model_validate(RESPONSE), event)]
    assert len({one.cost for one in found}) == 1
    assert found[0].endpoint == "responses"
    assert found[0].cost > CHAT_COST
    assert "web_search" in {line.item for line in found[0].cost_lines}


def test_cost_equals_that_of_a_metered_call() -> None:
    """A meter gives a call the same cost and the same lines."""
    http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=CHAT)))
    with OpenAI(api_key="demo", http_client=http) as client, openai_meter.track("run") as run:
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=[])
    (call,) = run.calls
    priced = openai_meter.cost(answer)
    assert (priced.cost, priced.cost_lines, priced.usage) == (call.cost, call.cost_lines, call.usage)


def test_cost_of_answers_that_do_not_name_their_model_takes_it_from_the_request() -> None:
    """Images and embeddings are priced; images name no model, so the request or ``model`` does."""
    image = {"created": 1_790_000_000, "data": [{"b64_json": ""}], "size": "1024x1024", "quality": "medium",
             "usage": {"input_tokens": 40, "output_tokens": 1056, "total_tokens": 1096,
                       "input_tokens_details": {"text_tokens": 40, "image_tokens": 0}}}  # fmt: skip
    by_request = openai_meter.cost(ImagesResponse.model_validate(image), request={"model": "gpt-image-1", "prompt": ""})
    assert by_request.cost == openai_meter.cost(image, model="gpt-image-1").cost == Decimal("0.04244")
    assert openai_meter.cost(image).cost is None
    vectors = {"object": "list", "model": "text-embedding-3-small", "data": [{"object": "embedding", "index": 0,
               "embedding": [0.1]}], "usage": {"prompt_tokens": 31, "total_tokens": 31}}  # fmt: skip
    priced = openai_meter.cost(CreateEmbeddingResponse.model_validate(vectors))
    assert (priced.endpoint, priced.cost) == ("embeddings", Decimal("0.00000062"))


def test_cost_of_speech_is_that_of_the_characters_of_its_request() -> None:
    """Speech has no usage: the request's characters are priced."""
    priced = openai_meter.cost({}, request={"model": "tts-1", "input": "a" * 2_000}, endpoint="audio.speech")
    assert priced.cost == Decimal("0.03")


def test_cost_of_a_line_of_a_batch_output_has_the_prices_of_batches() -> None:
    """A line of a batch output has the prices of batches, as an answer has with ``batch=True``."""
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": CHAT}, "error": None}
    assert openai_meter.cost(line).cost == openai_meter.cost(CHAT, batch=True).cost == BATCH_COST
    assert openai_meter.cost(CHAT, service_tier="batch").cost == BATCH_COST


def test_cost_is_at_the_prices_of_the_day_when_the_answer_was_made() -> None:
    """Dated prices are those of the answer's day; ``at`` names another. A stand-in's time of 1 is not a day."""
    days = []

    class Watching(PriceBook):
        def cost(self, billable: Any) -> Any:
            days.append(billable.at)
            return super().cost(billable)

    for answer, at in ((CHAT, None), (CHAT, datetime(2026, 5, 1, tzinfo=UTC)), (CHAT | {"created": 1}, None)):
        openai_meter.cost(answer, at=at, prices=Watching())
    assert days == [datetime.fromtimestamp(1_790_000_000, UTC), datetime(2026, 5, 1, tzinfo=UTC), None]


def test_cost_of_an_unpriced_model_names_the_remedy() -> None:
    """A model without a price has no cost, which is not 0; with the prices that the remedy names, it has one."""
    answer = CHAT | {"model": "house-model-7b"}
    unknown = openai_meter.cost(answer)
    assert (unknown.cost, unknown.cost_status, unknown.cost_reason) == (None, "unpriced", "unknown model")
    assert unknown.remedy == (
        "pass prices={'house-model-7b': openai_meter.Price(input=..., output=...)}, in US dollars per million tokens"
    )
    assert "cost unknown (unknown model); pass prices=" in str(unknown)
    priced = openai_meter.cost(answer, prices={"house-model-7b": Price(input=1, output=2)})
    assert (priced.cost, priced.price.source) == (Decimal("0.001002"), "override")


def test_cost_of_an_answer_without_usage_is_unknown() -> None:
    """A chunk without usage has no cost; the remedy is the option of streams. An HTTP error is free."""
    nothing = openai_meter.cost(CHUNK | {"usage": None})
    assert (nothing.cost, nothing.cost_status, nothing.cost_reason) == (None, "unpriced", "usage unknown")
    assert "include_usage" in str(nothing.remedy)
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": ""}
    partial = openai_meter.cost(RESPONSE | {"output": [image], "tools": [{"type": "image_generation"}]})
    assert (partial.cost_status, partial.cost_reason) == ("partial", "usage: image tool")
    assert "does not report all that was used" in str(partial.remedy)
    refused = openai_meter.cost({"error": {"message": "no", "code": "rate_limit_exceeded"}}, model="gpt-4o-mini")
    assert (refused.cost, refused.cost_status) == (0, "free")


@pytest.mark.parametrize(("answer", "options", "message"), [
    (None, {}, "cost() was given 'None', which is not an answer"),
    ([CHAT], {}, "which is not an answer"),
    ("{", {}, "the answer is not JSON"),
    (CHAT, {"endpoint": "chat"}, "endpoint='chat' is not an endpoint; use one of"),
    (CHAT, {"prices": {"x": 3}}, "prices['x'] is 3"),
])  # fmt: skip
def test_cost_of_an_unreadable_answer_raises_with_the_remedy(answer: Any, options: Any, message: str) -> None:
    """What cannot be read is an error that carries the value, and what to pass."""
    with pytest.raises(ConfigurationError) as error:
        openai_meter.cost(answer, **options)
    assert message in str(error.value)


def test_cost_as_json_has_strings_for_amounts() -> None:
    """The dict of a cost is plain JSON, with every amount exact; a cost can be pickled."""
    priced = openai_meter.cost(CHAT)
    data = json.loads(json.dumps(priced.to_dict()))
    assert data["cost"] == "0.0001404"
    assert [line["usd"] for line in data["cost_lines"]] == ["0.000045", "0.0000384", "0.000057"]
    assert pickle.loads(pickle.dumps(priced)) == priced


# --- before a request -------------------------------------------------------------------------------------------------

REQUEST: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Bonjour à tous"}]}


def test_quote_is_the_input_and_the_expected_output() -> None:
    """A quote adds the output to the estimate of the input, at the prices of the tier or of batches."""
    tokens = openai_meter.estimate(REQUEST).tokens
    quoted = openai_meter.quote(REQUEST, output_tokens=400)
    exact = tokens * Decimal("0.00000015") + 400 * Decimal("0.0000006")
    assert (quoted.tokens, quoted.output_tokens, quoted.cost, quoted.cost_status) == (tokens, 400, exact, "priced")
    assert [(line.item, line.quantity) for line in quoted.cost_lines] == [("input", tokens), ("output", 400)]
    assert openai_meter.quote(REQUEST, output_tokens=400, batch=True).cost == exact / 2
    cached = openai_meter.quote(REQUEST, output_tokens=400, cached_input_tokens=4)
    assert cached.cost == exact - 4 * Decimal("0.000000075")


def test_quote_without_an_output_takes_the_limit_of_the_request() -> None:
    """The limit of a request, for each choice, is its output; without a limit the quote is partial."""
    assert openai_meter.quote(REQUEST | {"max_completion_tokens": 50, "n": 3}).output_tokens == 150
    assert openai_meter.quote({"model": "gpt-4o-mini", "input": "x", "max_output_tokens": 70}).output_tokens == 70
    partial = openai_meter.quote(REQUEST)
    assert (partial.cost_status, partial.cost_reason) == ("partial", "the output is not known")
    assert partial.cost == openai_meter.estimate(REQUEST).cost
    assert "output_tokens=..." in str(partial.remedy)
    embedding = openai_meter.quote({"model": "text-embedding-3-small", "input": "x"})
    assert (embedding.output_tokens, embedding.cost_status) == (0, "priced")


def test_quote_of_a_text_or_an_unknown_model() -> None:
    """A text is quoted for a model; a model without a price has no cost, and the remedy is named."""
    quoted = openai_meter.quote("Bonjour", model="gpt-4o-mini", output_tokens=10)
    assert quoted.cost == quoted.tokens * Decimal("0.00000015") + 10 * Decimal("0.0000006")
    unknown = openai_meter.quote("Bonjour", model="house-model-7b", output_tokens=10)
    assert (unknown.cost, unknown.cost_status) == (None, "unpriced")
    assert "prices={'house-model-7b'" in str(unknown.remedy)
    own = openai_meter.quote("Bonjour", model="house", output_tokens=10, prices={"house": Price(input=0, output=1)})
    assert own.cost == Decimal("0.00001")


@pytest.mark.parametrize(("options", "message"), [
    ({"output_tokens": -1}, "output_tokens=-1 is not a number of tokens"),
    ({"output_tokens": 1.5}, "output_tokens=1.5 is not a number of tokens"),
    ({"cached_input_tokens": 9_999}, "cached_input_tokens=9999 is a part of the input"),
])  # fmt: skip
def test_quote_with_a_count_that_is_not_one_is_an_error(options: Any, message: str) -> None:
    """A count that cannot be is an error that carries the value."""
    with pytest.raises(ConfigurationError) as error:
        openai_meter.quote(REQUEST, **options)
    assert message in str(error.value)
