"""The quick path leaves the records that the other way leaves, and takes the calls that it is for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import os
import struct
import weakref
from dataclasses import fields
from typing import Any, NamedTuple

import contract
import openai
import pytest
import routed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from replay import load

import openai_meter
from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.core.call import Call
from openai_meter.instrumentation.listening import registry
from openai_meter.metering import container_sessions, quick_path
from openai_meter.metering.attribution import current_surroundings
from openai_meter.metering.plain_calls import PlainCall

RECORDINGS = os.environ.get("OPENAI_METER_RECORDINGS", "")
METHODS = {
    "/chat/completions": "chat.completions", "/responses": "responses", "/embeddings": "embeddings",
}  # fmt: skip
COMPARED = [field.name for field in fields(Call) if field.name not in {"id", "started_at", "duration"}]
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paper forms."}}],
    "usage": {
        "prompt_tokens": 1200, "completion_tokens": 80, "total_tokens": 1280,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 16, "audio_tokens": 0},
    },
}  # fmt: skip
PRICE = openai_meter.Price(input=1, output=2)
ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How do we get rid of the paper forms?"}]}


class Transport:
    """Answers from memory, to a client of OpenAI's own address, whatever was last put there."""

    def __init__(self) -> None:
        library = contract.http_library()
        self.answer: Any = CHAT
        self.status = 200
        self.failures = 0

        def answer_to(_: Any) -> Any:
            if self.failures:
                self.failures -= 1
                return library.Response(500, json={"error": {"message": "trouble"}}, headers={"retry-after-ms": "1"})
            content = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
            return library.Response(self.status, content=content, headers={"content-type": "application/json"})

        self.transport = library.MockTransport(answer_to)
        self.client = OpenAI(api_key="none", http_client=library.Client(transport=self.transport), max_retries=2)
        self.library = library


@pytest.fixture(autouse=True)
def without_budgets(monkeypatch):
    """An earlier test may have set a budget."""
    monkeypatch.setattr(Budgeting, "active", False)


@pytest.fixture(scope="module")
def transport():
    """A transport, and its client."""
    made = Transport()
    with made.client:
        yield made


def call(client: Any, endpoint: str, body: dict[str, Any]) -> None:
    """Makes a call; what the SDK raises for an answer is passed over."""
    with contextlib.suppress(openai.OpenAIError):
        client.post(endpoint, cast_to=TYPES[endpoint], body=body)


TYPES = {
    "/chat/completions": openai.types.chat.ChatCompletion,
    "/responses": openai.types.responses.Response,
    "/embeddings": openai.types.CreateEmbeddingResponse,
}


class BothWays(NamedTuple):
    """A meter for each way. Their prices have been read."""

    transport: Transport
    quick: openai_meter.Meter
    other: openai_meter.Meter

    def records(self, endpoint: str, body: dict[str, Any]) -> tuple[list[Call], list[Call], int]:
        """The records of both ways of a call that is made twice, and how many of the first were plain."""
        plain: list[PlainCall] = []
        take = openai_meter.Meter._take_plain

        def noting(meter, one):
            plain.append(one)
            take(meter, one)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openai_meter.Meter, "_take_plain", noting)
            quick = self._twice(self.quick, endpoint, body)
            patch.setattr(quick_path, "begin", lambda *_: None)
            return quick, self._twice(self.other, endpoint, body), len(plain)

    def _twice(self, meter, endpoint, body):
        container_sessions._started.clear()
        openai_meter.install(meter=meter)
        meter.reset()
        for _ in range(2):  # a kind of calls has a price that is known from the second one on
            call(self.transport.client, endpoint, body)
        meter.settle()
        openai_meter.uninstall()
        return list(meter.calls)


@pytest.fixture(scope="module")
def ways(transport):
    """A meter for each way."""
    meters = [openai_meter.Meter(thresholds=False) for _ in range(2)]
    for meter in meters:
        meter._price_loader.load()
    return BothWays(transport, *meters)


def assert_equal(quick: list[Call], other: list[Call]) -> None:
    """Each field that does not depend on the time is equal, the bill included."""
    assert len(quick) == len(other)
    for one, two in zip(quick, other, strict=True):
        for name in COMPARED:
            if name != "price_book":
                assert getattr(one, name) == getattr(two, name), name
        assert one.cost_lines == two.cost_lines


def test_plain_call_takes_the_quick_path(transport, ways) -> None:
    """Most chat completions, responses and embeddings are plain from the second call of a kind on."""
    response = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None, "tools": [],
        "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "parallel_tool_calls": True,
        "tool_choice": "auto",
        "output": [
            {"id": "m", "type": "message", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "Paper.", "annotations": []}]},
        ],
        "usage": {
            "input_tokens": 30, "output_tokens": 8, "total_tokens": 38,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
        },
    }  # fmt: skip
    embedding = {
        "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    }  # fmt: skip
    for endpoint, answer, body in (
        ("/chat/completions", CHAT, ASKED),
        ("/responses", response, {"model": "gpt-4o-mini", "input": "Hello", "instructions": "Be brief."}),
        ("/embeddings", embedding, {"model": "text-embedding-3-small", "input": ["Hello", "you"]}),
    ):
        transport.answer = answer
        quick, other, plain = ways.records(endpoint, body)
        assert_equal(quick, other)
        assert (plain, len(quick)) in {(1, 2), (2, 2)}
        assert quick[1].cost is not None


EMBEDDED = {
    "object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8},
    "data": [{"object": "embedding", "index": 0, "embedding": base64.b64encode(struct.pack("2f", 0.5, 2)).decode()}],
}  # fmt: skip


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}], ids=["by default", "as numbers"])
def test_embeddings_that_the_sdk_decodes_take_the_quick_path(transport, form) -> None:
    """The parser that ``embeddings.create`` gives to the SDK runs as without the meter, and the call is plain."""
    numbers = {"object": "embedding", "index": 0, "embedding": [0.5, 2.0]}
    transport.answer = {**EMBEDDED, "data": [numbers]} if form else EMBEDDED
    meter = openai_meter.install(meter=routed.ready_meter())
    with routed.plain_calls() as taken:
        for _ in range(3):
            made = transport.client.embeddings.create(model="text-embedding-3-small", input="How?", **form)
            assert made.data[0].embedding == [0.5, 2.0]
    assert len(taken) >= 2
    assert [(call.usage.input_tokens, call.cost is not None) for call in meter.calls] == [(8, True)] * 3


@pytest.mark.parametrize(
    "data", [[], [{"object": "embedding", "index": 0, "embedding": "AAA"}]], ids=["none", "broken"]
)
def test_embeddings_that_the_sdk_cannot_decode_are_recorded_with_their_usage(transport, data) -> None:
    """The answer was paid for: the error reaches the program, and the record has usage and error by both ways."""
    meter = openai_meter.install(meter=routed.ready_meter())
    transport.answer = EMBEDDED
    transport.client.embeddings.create(model="text-embedding-3-small", input="How?")
    transport.answer = {**EMBEDDED, "data": data}
    with pytest.raises(ValueError) as raised:
        transport.client.embeddings.create(model="text-embedding-3-small", input="How?")
    with routed.no_quick_path(), pytest.raises(ValueError):
        transport.client.embeddings.create(model="text-embedding-3-small", input="How?")
    assert_equal([meter.calls[1]], [meter.calls[2]])
    assert (meter.calls[1].usage.input_tokens, meter.calls[1].error_type) == (8, type(raised.value).__name__)


def test_plain_call_under_budgets_takes_the_quick_path(transport) -> None:
    """The budgets count what the meter records, hold nothing afterwards, and refuse the call that does not fit."""
    budgets = [openai_meter.Budget("calls", calls=4), openai_meter.Budget("usd", usd=1)]
    meter = openai_meter.Meter(thresholds=False, budgets=[*budgets, openai_meter.Budget("tokens", tokens=10**6)])
    meter._price_loader.load()
    transport.answer = CHAT
    plain: list[PlainCall] = []
    take = meter._take_plain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "_take_plain", lambda one: plain.append(one) or take(one))
        openai_meter.install(meter=meter)
        for _ in range(4):
            call(transport.client, "/chat/completions", ASKED)
        with pytest.raises(openai_meter.BudgetExceededError):
            transport.client.post("/chat/completions", cast_to=TYPES["/chat/completions"], body=ASKED)
        openai_meter.uninstall()
    assert len(plain) >= 3
    assert meter.totals.calls == 4
    found = {name: (view.spent, view.held) for name, view in meter.budgets.items()}
    assert found == {"calls": (4, 0), "usd": (meter.cost, 0), "tokens": (meter.totals.total_tokens, 0)}


def test_async_plain_call_takes_the_quick_path(transport) -> None:
    """The async client's calls are plain too, and an error of theirs is one record."""
    meter = openai_meter.install(meter=openai_meter.Meter(thresholds=False))
    meter._price_loader.load()
    library = transport.library

    async def run() -> None:
        transport.answer = CHAT
        http = library.AsyncClient(transport=transport.transport)
        async with AsyncOpenAI(api_key="none", http_client=http, max_retries=0) as client:
            for _ in range(3):
                await client.chat.completions.create(**ASKED)
            transport.status = 400
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(**ASKED)

    try:
        asyncio.run(run())
    finally:
        transport.status = 200
    assert [one.status for one in meter.calls] == ["ok", "ok", "ok", "error"]
    assert [one.input_tokens for one in meter.by("model").values() if one.input_tokens] == [3 * 1200]
    assert meter.internal_errors == 0


def test_errors_and_retries_are_recorded_from_the_moment_of_the_request(transport) -> None:
    """A call that fails, and one that is sent again, are one record each, as by the other way."""
    transport.answer = CHAT
    meter = openai_meter.install(meter=openai_meter.Meter(thresholds=False))
    meter._price_loader.load()
    for _ in range(2):
        call(transport.client, "/chat/completions", ASKED)
    transport.failures = 1
    call(transport.client, "/chat/completions", ASKED)
    transport.failures = 3
    call(transport.client, "/chat/completions", ASKED)
    call(transport.client, "/chat/completions", ASKED)
    assert [(one.status, one.attempts) for one in meter.calls] == [
        ("ok", 1), ("ok", 1), ("ok", 2), ("error", 3), ("ok", 1),
    ]  # fmt: skip
    assert meter.calls[3].error_type == "InternalServerError"
    assert meter.calls[2].duration > 0


def test_attribution_blocks_and_prices_are_those_of_the_call(transport) -> None:
    """Plain calls have the attribution and the price of their own time, whatever is set before they are read."""
    transport.answer = CHAT
    meter = openai_meter.install(meter=openai_meter.Meter(thresholds=False))
    meter._price_loader.load()
    for price in (1, 2):
        meter.prices.set("gpt-4o-mini", openai_meter.Price(input=price, output=price))
        for user in ("ada", "ada", "ida"):
            with openai_meter.tag(user=user):
                for _ in range(2):
                    call(transport.client, "/chat/completions", ASKED)
    assert [one.user for one in meter.calls] == ["ada", "ada", "ada", "ada", "ida", "ida"] * 2
    costs = [float(one.cost) for one in meter.calls]
    assert costs == [pytest.approx(1280e-6)] * 6 + [pytest.approx(2 * 1280e-6)] * 6
    with openai_meter.track("nightly") as block:
        call(transport.client, "/chat/completions", ASKED)
        assert block.totals.calls == 1
        assert block.cost == meter.calls[-1].cost
    assert meter.calls[-1].block == "nightly"


class Lazy:
    """An answer of the program's own class, whose attributes cannot be read."""

    def __init__(self, **_: Any) -> None:
        pass

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("read me later")


def test_answer_whose_attributes_raise_is_returned_to_the_program(transport) -> None:
    """Whatever reading an answer raises, the quick path declines it, and the program gets the answer."""
    transport.answer = CHAT
    meter = openai_meter.install(meter=routed.ready_meter())
    for _ in range(2):
        call(transport.client, "/chat/completions", ASKED)
    request = quick_path.begin(
        transport.client, {"url": "/chat/completions", "method": "post", "json_data": ASKED, "extra_json": None},
        (meter,), current_surroundings(),
    )  # fmt: skip
    assert request is not None
    assert quick_path.record(request, Lazy()) is False
    assert meter.internal_errors == 0
    assert meter.totals.calls == 2


def test_price_books_of_meters_that_are_gone_are_not_kept(transport) -> None:
    """A program that makes a meter for each task keeps the prices of the last few only, whatever calls were plain."""
    transport.answer = CHAT
    views = []
    for _ in range(20):
        meter = openai_meter.install(meter=openai_meter.Meter(thresholds=False, prices={"gpt-4o-mini": PRICE}))
        meter._price_loader.load()
        with routed.plain_calls() as taken:
            for _ in range(2):
                call(transport.client, "/chat/completions", ASKED)
        assert taken
        views.append(weakref.ref(meter.prices.view()))
        openai_meter.uninstall()
    del meter, taken
    registry.meter = None
    gc.collect()
    assert sum(view() is not None for view in views) <= quick_path._STATES


odd = st.sampled_from([None, 0, 1, 5, 7, 1200, -1, "3", "", True, 2**60, 1.5, {}, []])
details = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "image_tokens", "text_tokens", "cache_write_tokens",
                     "reasoning_tokens", "rejected_prediction_tokens", "cache_read_tokens"]),
    odd, max_size=4,
)  # fmt: skip
usages = st.none() | st.fixed_dictionaries(
    {"prompt_tokens": odd, "completion_tokens": odd, "total_tokens": odd},
    optional={"prompt_tokens_details": details, "completion_tokens_details": details, "cached_tokens": odd,
              "input_tokens": odd},
)  # fmt: skip
consistent = st.builds(
    lambda given, made, cached, reasoning, written: {
        "prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": min(cached, given), "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": min(reasoning, made)},
    },
    *[st.integers(0, 300_000)] * 4, st.sampled_from([0, 0, 0, 3, None]),
)  # fmt: skip
choice = st.fixed_dictionaries(
    {
        "index": st.just(0),
        "finish_reason": st.sampled_from(["stop", "stop", "length", "tool_calls", "content_filter", None, ""]),
        "message": st.just({"role": "assistant", "content": "Paper."}),
    },
    optional={"usage": usages, "content_filter_results": st.just({})},
)
answers = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["chatcmpl-1", "chatcmpl-1", None, "", 5]),
        "model": st.sampled_from(["gpt-4o-mini-2024-07-18", "gpt-5", "never-heard-of", None, ""]),
        "choices": st.lists(choice, min_size=1, max_size=1) | st.lists(choice, max_size=2) | st.none(),
        "usage": consistent | usages,
    },
    optional={
        "service_tier": st.sampled_from(["default", "flex", "priority", None, "", 3]),
        "x_groq": st.just({"usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}}),
        "error": st.just({"code": "no", "message": "no"}),
        "prompt_filter_results": st.just([]),
    },
)
bodies = st.fixed_dictionaries(
    {"messages": st.just(ASKED["messages"])},
    optional={
        "model": st.sampled_from(["gpt-4o-mini", "", None]),
        "temperature": st.just(0.5),
        "tools": st.just([]),
        "service_tier": st.just("flex"),
        "max_completion_tokens": st.just(100),
        "n": st.just(2),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=answers, body=bodies)
def test_generated_chats_have_equal_records_by_both_paths(transport, ways, answer, body) -> None:
    """Whatever a chat's answer and request hold, both ways leave the same record."""
    transport.answer = answer
    quick, other, _ = ways.records("/chat/completions", body)
    assert_equal(quick, other)
    assert faults.kinds() == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not RECORDINGS, reason="OPENAI_METER_RECORDINGS names no directory with recordings.jsonl")
@pytest.mark.parametrize("endpoint", METHODS)
@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.thorough)], ids=["sample", "all"])
def test_recorded_answers_have_equal_records_by_both_paths(transport, ways, endpoint, every) -> None:
    """Recorded answers leave the same record by both ways, and many of them are plain."""
    lines = [
        line for line in load(RECORDINGS)
        if line.endpoint == endpoint and line.method == "POST" and not line.stream and line.response_json is not None
        and line.status < 400
    ]  # fmt: skip
    taken = 0
    assert lines
    for line in lines[::every]:
        transport.answer = line.response_json
        quick, other, plain = ways.records(endpoint, line.request or {})
        assert_equal(quick, other)
        taken += plain
    assert taken > len(lines[::every]) / 4
