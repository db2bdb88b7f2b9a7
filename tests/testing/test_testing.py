"""What users get for their own tests: calls that were made, an API without a network, a fixed clock and prices."""

from __future__ import annotations

import asyncio
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import openai
import pytest
from openai import AzureOpenAI

import openai_meter
from openai_meter import Budget, BudgetExceededError, ConfigurationError, Price, testing
from openai_meter.instrumentation.listening import registry
from openai_meter.metering import call_in_flight
from openai_meter.testing import (
    FakeAPI,
    capture,
    fake_async_client,
    fake_client,
    fixed_clock,
    fixed_prices,
)

HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
MODEL = "gpt-4o-mini"
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}


def ask(client, **more):
    return client.chat.completions.create(**{"model": MODEL, "messages": HELLO, **more})


# --- capture ----------------------------------------------------------------------------------------------------------


def test_capture_has_the_calls_made_inside():
    """A block gives the calls that are made in it, and no others, as a sequence with totals."""
    client = fake_client(input_tokens=1_000, output_tokens=200)
    ask(client)
    with capture() as calls:
        assert len(calls) == 0
        assert not calls
        ask(client)
        client.embeddings.create(model="text-embedding-3-small", input="hi")
    ask(client)
    assert [call.endpoint for call in calls] == ["chat.completions", "embeddings"]
    assert (calls[0].usage.input_tokens, calls[0].usage.output_tokens) == (1_000, 200)
    assert [call.endpoint for call in calls[1:]] == ["embeddings"]
    assert calls.totals.calls == 2
    assert calls.totals.total_tokens == 2_200
    assert calls.cost == calls[0].cost + calls[1].cost
    assert set(calls.by("endpoint")) == {"chat.completions", "embeddings"}
    assert "2 calls" in repr(calls)


def test_capture_works_in_async_code():
    """``async with`` counts tasks and threads of the block."""
    client = fake_async_client()

    async def program():
        async with capture() as calls:
            await asyncio.gather(*(ask(client) for _ in range(3)))
            await asyncio.to_thread(ask, fake_client())
        await ask(client)
        return calls

    assert len(asyncio.run(program())) == 4


def test_capture_has_calls_of_threads_started_before():
    """Whatever context they have, as a server under test has threads of its own."""
    go, done = threading.Event(), threading.Event()

    def serve():
        go.wait(60)
        ask(fake_client())
        done.set()

    thread = threading.Thread(target=serve)
    thread.start()
    with capture() as calls:
        go.set()
        assert done.wait(60)
    thread.join()
    assert len(calls) == 1


def test_capture_restores_openai():
    """Without an installed meter, the identical functions of openai are back after the block, also after an error."""
    before = openai._base_client.SyncAPIClient.request
    with pytest.raises(ZeroDivisionError), capture() as calls:
        assert openai._base_client.SyncAPIClient.request is not before
        ask(fake_client())
        raise ZeroDivisionError
    assert openai._base_client.SyncAPIClient.request is before
    assert len(calls) == 1
    assert (registry.installed, registry.captures, registry.global_listeners) == (None, (), ())


def test_capture_and_installed_meter_count_each_call_once(meter):
    """The meter continues after the capture."""
    client = fake_client()
    ask(client)
    with capture() as outer, capture() as inner:
        ask(client)
        with openai_meter.track("block") as block:
            ask(client)
    ask(client)
    assert (len(outer), len(inner), block.totals.calls, meter.totals.calls) == (2, 2, 1, 4)
    assert registry.installed is meter
    assert [call.id for call in outer] == [call.id for call in inner]


def test_capture_continues_when_the_program_uninstalls():
    """A program under test may start and stop the meter itself."""
    client = fake_client()
    with capture() as calls:
        ask(client)
        meter = openai_meter.install()
        ask(client)
        openai_meter.uninstall()
        ask(client)
    assert (len(calls), meter.totals.calls) == (3, 1)


def test_capture_counts_a_wrapped_client_once(meter):
    """A client that is wrapped too is heard once by each."""
    client = openai_meter.wrap(fake_client(), meter)
    with capture() as calls:
        ask(client)
    assert (len(calls), meter.totals.calls) == (1, 1)


def test_stream_read_after_its_capture_counts():
    """A call that began in the block belongs to it."""
    with capture() as calls:
        stream = ask(fake_client(input_tokens=7, output_tokens=2), stream=True)
    assert (len(calls), len(calls.pending)) == (0, 1)
    assert list(stream)
    assert calls.totals.total_tokens == 9


def test_capture_can_be_started_and_stopped_twice():
    """Starting twice and stopping twice are harmless."""
    calls, client = capture(), fake_client()
    calls.start()
    calls.start()
    ask(client)
    calls.stop()
    calls.stop()
    ask(client)
    assert len(calls) == 1
    assert not calls.listening


# --- the API ----------------------------------------------------------------------------------------------------------


def test_fake_answers_have_the_shapes_of_the_api():
    """Chat, responses and embeddings, plain, with tools, structured and streamed; the meter reads them all."""
    client = fake_client()
    with capture() as calls:
        assert ask(client).choices[0].message.content
        assert ask(client, tools=[TOOL]).choices[0].message.tool_calls[0].function.name == "find"
        chunks = list(ask(client, stream=True))
        assert (
            "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ask(client).choices[0].message.content
        )
        chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
        assert chunks[-1].usage.total_tokens == calls[0].usage.total_tokens
        assert client.responses.create(model=MODEL, input="hi").output_text
        events = list(client.responses.create(model=MODEL, input="hi", stream=True))
        assert events[-1].type == "response.completed"
        assert len(client.embeddings.create(model="text-embedding-3-small", input=["a", "b"]).data) == 2
    assert len(calls) == 8
    assert all(call.usage_source == "api" for call in calls)
    assert all(call.provider == "openai" for call in calls)


def test_fake_api_answers_async_clients():
    """An async client gets the same answers, plain and as a stream."""
    client = fake_async_client(text="one two three", input_tokens=5, output_tokens=3)

    async def program():
        plain = await ask(client)
        chunks = [chunk async for chunk in await ask(client, stream=True)]
        return plain.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with capture() as calls:
        assert asyncio.run(program()) == ("one two three", "one two three")
    assert [call.usage.total_tokens for call in calls] == [8, 8]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_text_and_token_counts_of_answers_can_be_set(api, stream):
    """For every answer or for the next ones, plain and streamed."""
    fake = FakeAPI(text="always", input_tokens=10, output_tokens=1)
    fake.answers(
        "next", input_tokens=9_000, cached_input_tokens=4_000, output_tokens=300, reasoning_tokens=200, times=2
    )
    client = fake.client()
    texts = []
    with capture() as calls:
        for _ in range(3):
            if api == "chat":
                answer = client.chat.completions.create(model="gpt-5-mini", messages=HELLO, stream=stream)
                texts.append(
                    "".join(chunk.choices[0].delta.content or "" for chunk in answer)
                    if stream
                    else answer.choices[0].message.content
                )
            else:
                answer = client.responses.create(model="gpt-5-mini", input="hi", stream=stream)
                texts.append(([*answer][-1].response if stream else answer).output_text)
    assert texts == ["next", "next", "always"]
    usage = calls[1].usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        9_000, 4_000, 300, 200,
    )  # fmt: skip
    assert (calls[2].usage.total_tokens, calls[2].usage.reasoning_tokens) == (11, 0)


def test_answers_without_usage_are_estimated():
    """The estimate is marked."""
    client = fake_client(text="four words of text", usage=False)
    with capture() as calls:
        ask(client)
        list(ask(client, stream=True))
        client.responses.create(model=MODEL, input="hi")
        client.embeddings.create(model="text-embedding-3-small", input="hi")
    assert calls.totals.estimated_calls == 4


def test_failures_are_raised_as_by_the_sdk():
    """In their order; the next request is answered again."""
    api = FakeAPI()
    api.fails(429, "Slow down.", code="rate_limit_exceeded", headers={"retry-after": "3"}).fails(500).breaks()
    client = api.client()
    with capture() as calls:
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client)
        with pytest.raises(openai.InternalServerError):
            ask(client)
        with pytest.raises(openai.APIConnectionError):
            ask(client)
        ask(client)
    assert (refused.value.code, refused.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "3")
    assert [call.error_type for call in calls] == ["RateLimitError", "InternalServerError", "APIConnectionError", None]
    assert calls.totals.errors == 3


def test_retried_failure_is_one_call():
    """With retries allowed, a failed attempt and a good one are one call."""
    api = FakeAPI().fails(500)
    with capture() as calls:
        ask(api.client(max_retries=1))
    assert (len(api.requests), len(calls), calls.totals.errors) == (2, 1, 0)


def test_requests_can_be_inspected():
    """What was sent can be asserted on."""
    api = FakeAPI()
    ask(api.client(), temperature=0.5)
    (request,) = api.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json()["temperature"] == 0.5
    assert request.headers["authorization"] == "Bearer demo"


def test_function_of_a_test_can_answer_requests():
    """And leave others to the API."""
    from openai_meter.testing import Answer

    def answer(request):
        return Answer(404, {"content-type": "application/json"}, b"{}") if b"secret" in request.body else None

    client = fake_client(answer)
    ask(client)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=MODEL, input="secret")


def test_any_model_and_azure_are_answered():
    """Models of any name answer; other clients take the API as their HTTP client."""
    api = FakeAPI()
    with capture() as calls:
        api.client().chat.completions.create(model="our-own", messages=HELLO)
        api.client().responses.create(model="our-own", input="hi")
        azure = AzureOpenAI(
            api_key="x", azure_endpoint="https://a.openai.azure.com", api_version="1", http_client=api.http_client()
        )
        azure.chat.completions.create(model="our-deployment", messages=HELLO)
    assert [(call.model, call.provider) for call in calls] == [
        ("our-own", "openai"), ("our-own", "openai"), ("gpt-4o-mini-2024-07-18", "azure"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wanted",
    [
        {"input_tokens": -1},
        {"output_tokens": 1.5},
        {"input_tokens": True},
        {"cached_input_tokens": 5},
        {"input_tokens": 4, "cached_input_tokens": 5},
        {"output_tokens": 4, "reasoning_tokens": 5},
    ],
)
def test_impossible_token_counts_raise(wanted):
    """Counts that no answer can have are refused with a sentence."""
    with pytest.raises(ConfigurationError, match="tokens"):
        FakeAPI(**wanted)
    with pytest.raises(ConfigurationError, match="tokens"):
        FakeAPI().answers(**wanted)


# --- clock and prices -------------------------------------------------------------------------------------------------


def test_fixed_clock_sets_the_times_of_calls():
    """They begin at its time, take as long as it was moved, and have the price of that day."""
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    real = time.time()
    with capture() as calls:
        ask(fake_client())
        assert calls.cost  # the prices have been read: the second call below is metered on the quick path
    with fixed_clock(at) as clock, capture() as calls:
        client = fake_client(lambda request: clock.move(1.5))
        ask(client)
        clock.move(60)
        ask(client)
        assert abs(time.time() - real) < 1_000
        assert clock.now == at + timedelta(seconds=63)
    assert [call.started_at for call in calls] == [at, at + timedelta(seconds=61.5)]
    assert [call.duration for call in calls] == [1.5, 1.5]
    assert calls.started_at == at
    assert call_in_flight.time is time


def test_fixed_clock_without_a_zone_is_in_utc():
    """A time without a zone is UTC; the outer clock is back after the inner block."""
    client = fake_client()
    with capture() as calls, fixed_clock(datetime(2026, 1, 1)):  # noqa: DTZ001
        with fixed_clock(datetime(2025, 1, 1, tzinfo=UTC)):
            ask(client)
        ask(client)
    ask(client)
    assert [call.started_at.year for call in calls] == [2025, 2026]
    assert [call.started_at.tzinfo for call in calls] == [UTC, UTC]
    with pytest.raises(ConfigurationError, match="not a datetime"), fixed_clock("2026-01-01"):
        pass


def test_fixed_clock_moves_the_windows_of_budgets():
    """A budget of a day starts again when the clock is moved into the next day."""
    client = fake_client()
    with fixed_clock(datetime(2026, 3, 1, 23, 59, tzinfo=UTC)) as clock:
        openai_meter.install(meter=openai_meter.Meter(), budgets=[Budget("daily", calls=1, every="day")])
        ask(client)
        with pytest.raises(BudgetExceededError) as refused:
            ask(client)
        assert refused.value.resets_at == datetime(2026, 3, 2, tzinfo=UTC)
        clock.move(120)
        ask(client)


def test_fixed_prices_make_costs_exact():
    """The cost of a call depends on the prices of the block alone; a model without one is unknown, not free."""
    client = fake_client(input_tokens=1_000, output_tokens=200)
    with fixed_prices({MODEL: Price(input=1, output=10)}), capture() as calls:
        ask(client)
        assert calls.cost == Decimal("0.003")
        client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    assert [call.cost for call in calls] == [Decimal("0.003"), None]
    assert calls.totals.unpriced_calls == 1


def test_prices_before_a_block_are_restored(meter):
    """After the block the earlier book prices calls, and prices that were set in the block are gone."""
    client = fake_client(input_tokens=1_000, output_tokens=0)
    meter._configure(prices={MODEL: Price(input=5, output=5)})
    with fixed_prices({MODEL: Price(input=1, output=1)}):
        ask(client)
        meter.prices.set(MODEL, Price(input=2, output=2))
        ask(client)
        openai_meter.install(prices={MODEL: Price(input=3, output=3)})
        ask(client)
    ask(client)
    meter._configure(discount=0)
    ask(client)
    assert [call.cost for call in meter.calls] == [Decimal(one) / 1000 for one in (1, 2, 3, 5, 5)]


def test_leaving_fixed_prices_restores_the_same_book(meter):
    """Also by an error; nested blocks one by one."""
    book = meter.prices
    with fixed_prices({}):
        outer = meter.prices
        with pytest.raises(ZeroDivisionError), fixed_prices({}):
            assert meter.prices not in (book, outer)
            raise ZeroDivisionError
        assert meter.prices is outer
    assert meter.prices is book
    assert meter._price_loader.reading  # the price files were not read for this


def test_example_of_the_docstring_works():
    """The example of the module does what it says."""
    example = textwrap.dedent(testing.__doc__.partition("::\n")[2])
    names = {"Decimal": Decimal, "answer": lambda client, text: ask(client, model="gpt-5-mini")}
    exec(example, names)
    names["test_answers_are_cheap"]()


def test_fixed_prices_apply_to_the_named_meter():
    """Another meter can be named."""
    mine = openai_meter.Meter()
    openai_meter.install()
    client = openai_meter.wrap(fake_client(input_tokens=1_000_000, output_tokens=0), mine)
    with fixed_prices({MODEL: Price(input=7)}, mine):
        ask(client)
    assert mine.cost == 7
    assert openai_meter.get_meter().cost != 7


def test_invalid_fixed_prices_raise():
    """What is no price is refused as everywhere."""
    with pytest.raises(ConfigurationError), fixed_prices({MODEL: 3}):
        pass
