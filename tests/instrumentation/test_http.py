"""The wrapper of ``request``: its copy of the options, and what it reads of a response."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import contract
import openai
import pytest
from openai import OpenAI
from openai._compat import model_copy
from openai._models import FinalRequestOptions

import openai_meter
from openai_meter.instrumentation import http, sdk
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request
from openai_meter.usage.billing_details import is_gateway_cache_hit


def copied(options: Any, parser: Any) -> Any:
    """The copy that the seam makes."""
    return sdk.copier(FinalRequestOptions, model_copy)(options, parser)


@pytest.mark.parametrize(
    "fields",
    [{}, {"json_data": {"model": "m"}, "headers": {"x": "1"}, "extra_json": {"a": 1}}, {"post_parser": print}],
    ids=["bare", "full", "with a parser"],
)
def test_copied_options_equal_the_copy_of_the_sdk_with_another_parser(fields: dict[str, Any]) -> None:
    """All fields equal those of the SDK's own copy, the set ones are marked as set, and the original is unchanged."""
    options = FinalRequestOptions.construct(method="post", url="/chat/completions", **fields)
    before = (dict(vars(options)), set(options.__pydantic_fields_set__))
    pending = SimpleNamespace(host="api.openai.com")
    parser = http.RequestContext(None, pending, None)  # type: ignore[arg-type]
    expected = model_copy(options)
    expected.post_parser = parser
    found = copied(options, parser)
    assert type(found) is FinalRequestOptions
    assert vars(found) == vars(expected)
    assert found.__pydantic_fields_set__ == expected.__pydantic_fields_set__
    assert found == expected
    found.url = "/responses"
    assert (vars(options), options.__pydantic_fields_set__) == before


def test_options_of_another_class_are_copied_by_the_sdk() -> None:
    """A class that is derived from the SDK's may have more than fields: its own method of copying is used."""
    made: list[object] = []

    class Options(FinalRequestOptions):  # type: ignore[misc]
        def model_copy(self, **_: Any) -> Any:
            made.append(self)
            return super().model_copy()

    options = Options.construct(method="post", url="/chat/completions")
    found = sdk.copier(FinalRequestOptions, lambda one: one.model_copy())(options, print)  # type: ignore[arg-type]
    assert (made, type(found), found.post_parser) == ([options], Options, print)


# --- what only the response has ---------------------------------------------------------------------------------------

COST = {"x-litellm-response-cost": "0.00125"}
HIT = {"helicone-cache": "HIT"}
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": contract.MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}  # fmt: skip
DELTA = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}
CHUNKS = [
    {**ANSWER, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    for choices, usage in (([DELTA], None), ([], ANSWER["usage"]))
]


class Gateway(LoopbackServer):
    """A host with headers of its own, whose first answers are errors that the SDK retries."""

    def __init__(self, headers: dict[str, str], errors: int = 0) -> None:
        super().__init__(self._answer_to)
        self._headers = headers
        self._errors = errors
        self.base_url = ""

    def _answer_to(self, request: Request) -> Answer:
        if self._errors:
            self._errors -= 1
            return json_answer({"error": {"message": "again"}}, 500)._replace(headers={"retry-after-ms": "1"})
        streamed = request.json().get("stream")
        answer = event_answer(data_frames(CHUNKS)) if streamed else json_answer(ANSWER)
        return answer._replace(headers={**answer.headers, **self._headers})


async def ask(server: Gateway, way: str, *, is_async: bool) -> None:
    """One call of one kind, read to its end."""
    server.base_url = f"{server.url}/v1"
    if is_async:
        async with contract.async_client(server) as client:
            completions = client.with_options(max_retries=3).chat.completions
            body: Any = {"model": contract.MODEL, "messages": contract.HELLO}
            if way == "stream":
                assert [chunk async for chunk in await completions.create(**body, stream=True)]
            elif way == "raw":
                (await completions.with_raw_response.create(**body)).parse()
            else:
                await completions.create(**body)
        return
    with contract.sync_client(server) as client:
        completions = client.with_options(max_retries=3).chat.completions
        body = {"model": contract.MODEL, "messages": contract.HELLO}
        if way == "stream":
            assert list(completions.create(**body, stream=True))
        elif way == "raw":
            completions.with_raw_response.create(**body).parse()
        else:
            completions.create(**body)


WAYS = pytest.mark.parametrize("way", ["plain", "raw", "stream"])
KINDS = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@WAYS
@KINDS
def test_cost_in_a_header_of_a_proxy_is_recorded(meter: openai_meter.Meter, way: str, is_async: bool) -> None:
    """The cost of the proxy is used where no provider is named for the host; no other header is kept."""
    with Gateway({**COST, "x-secret": "do not keep"}) as server:
        asyncio.run(ask(server, way, is_async=is_async))
    (call,) = meter.calls
    assert (call.cost, call.cost_status) == (Decimal("0.00125"), "priced")
    assert call.price_facts == {"provider_cost": Decimal("0.00125")}
    assert "do not keep" not in repr(call)


def test_cost_in_a_header_does_not_replace_prices_of_openai() -> None:
    """Where the program names OpenAI as the provider of a host, OpenAI's prices are used."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
    with Gateway(COST) as server:
        asyncio.run(ask(server, "plain", is_async=False))
    (call,) = meter.calls
    assert call.cost not in (None, Decimal("0.00125"))


@WAYS
@pytest.mark.parametrize("hosts", [{}, {"127.0.0.1": "openai"}], ids=["other", "openai"])
def test_answer_from_the_cache_of_a_gateway_is_free(way: str, hosts: dict[str, str]) -> None:
    """No model was called: the tokens are counted, and cost nothing."""
    meter = openai_meter.install(hosts=hosts)
    with Gateway(HIT) as server:
        asyncio.run(ask(server, way, is_async=False))
    (call,) = meter.calls
    assert (call.cost, call.usage.total_tokens) == (0, 11)
    assert call.cost_status in ("priced", "free")


@WAYS
@KINDS
@pytest.mark.parametrize("stated", [{"cache_hit": True}, {"response_cache_status": "HIT"}], ids=["flag", "word"])
def test_answer_whose_usage_names_the_cache_of_a_gateway_is_free(
    way: str, is_async: bool, stated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway may report it in the usage and not in a header."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
    monkeypatch.setitem(ANSWER, "usage", {**ANSWER["usage"], **stated})
    monkeypatch.setitem(CHUNKS[1], "usage", ANSWER["usage"])
    with Gateway({}) as server:
        asyncio.run(ask(server, way, is_async=is_async))
    (call,) = meter.calls
    assert (call.cost, call.usage.total_tokens) == (0, 11)


def test_cached_tokens_of_a_prompt_are_not_the_cache_of_a_gateway() -> None:
    """A prompt cache makes tokens cheaper, but not free."""
    for usage in ({"prompt_cache_hit": True}, {"cache_hit": False}, {"cached_tokens": 5}, {"cache_hit": "miss"}, None):
        assert not is_gateway_cache_hit(usage)


@pytest.mark.parametrize("way", ["track", "wrap", "install"])
def test_hosts_of_the_environment_are_used_by_blocks_and_wrapped_clients(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block or a wrapped client alone has the prices of the provider that the environment names for a host."""
    monkeypatch.setenv("OPENAI_METER_HOSTS", "127.0.0.1=openai")
    meter = openai_meter.install() if way == "install" else openai_meter.get_meter()
    with Gateway({}) as server:
        server.base_url = f"{server.url}/v1"
        with contract.sync_client(server) as client:
            if way == "wrap":
                openai_meter.wrap(client)
            with openai_meter.track("work") if way == "track" else contextlib.nullcontext(meter) as counted:
                client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
    (call,) = counted.calls
    assert (call.provider, call.cost_status) == ("openai", "priced")


@WAYS
@KINDS
def test_record_has_the_number_of_attempts_of_the_sdk(meter: openai_meter.Meter, way: str, is_async: bool) -> None:
    """A call that the SDK has sent three times is one record with three attempts."""
    with Gateway({}, errors=2) as server:
        asyncio.run(ask(server, way, is_async=is_async))
    (call,) = meter.calls
    assert (call.attempts, meter.totals.retries) == (3, 2)
    with Gateway({}) as server:
        asyncio.run(ask(server, way, is_async=is_async))
    assert (meter.calls[-1].attempts, meter.totals.retries) == (1, 2)


@WAYS
@KINDS
def test_record_of_a_failed_call_has_its_attempts(meter: openai_meter.Meter, way: str, is_async: bool) -> None:
    """A call with three retries, which all failed, has four attempts."""
    with Gateway({}, errors=9) as server, pytest.raises(openai.InternalServerError):
        asyncio.run(ask(server, way, is_async=is_async))
    (call,) = meter.calls
    assert (call.status, call.attempts, meter.totals.retries) == ("error", 4, 3)


def test_retries_of_an_unmetered_request_count_for_no_call(meter: openai_meter.Meter) -> None:
    """The retries of a request that is not billed are not added to the next call."""
    with Gateway({}, errors=2) as server:
        server.base_url = f"{server.url}/v1"
        with contract.sync_client(server) as client:
            client.with_options(max_retries=3).post("/vector_stores", body={"name": "v"}, cast_to=object)
            client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
    (call,) = meter.calls
    assert call.attempts == 1


def test_request_inside_a_request_has_its_own_headers(meter: openai_meter.Meter) -> None:
    """A client that calls another one while it prepares a request does not mix up their answers."""
    with Gateway(COST) as inner, Gateway({}, errors=1) as outer:
        inner.base_url, outer.base_url = f"{inner.url}/v1", f"{outer.url}/v1"

        class Nesting(OpenAI):
            def _prepare_options(self, options: Any) -> Any:
                if meter.totals.calls == 0:
                    asyncio.run(ask(inner, "plain", is_async=False))
                return super()._prepare_options(options)

        http = openai.DefaultHttpxClient(trust_env=False)
        with Nesting(api_key="k", base_url=outer.base_url, http_client=http) as client:
            client.chat.completions.create(model=contract.MODEL, messages=contract.HELLO)
    first, second = meter.calls
    assert first.price_facts == {"provider_cost": Decimal("0.00125")}
    assert (first.attempts, second.attempts, second.price_facts) == (1, 2, {})


def test_client_of_the_module_has_the_host_that_the_program_has_set_last(
    meter: openai_meter.Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``openai.base_url`` may be set at any moment; the host and the provider of a call are those that it went to."""
    http_client = openai.DefaultHttpxClient(trust_env=False)
    for name, value in {"api_key": "a key", "base_url": None, "http_client": http_client, "_client": None}.items():
        monkeypatch.setattr(openai, name, value)
    with Gateway({}) as server, http_client:
        create = openai.chat.completions.create  # the client is made here, for the host of OpenAI
        for host in ("127.0.0.1", "localhost", "127.0.0.1"):
            monkeypatch.setattr(openai, "base_url", server.url.replace("127.0.0.1", host) + "/v1/")
            create(model=contract.MODEL, messages=contract.HELLO)
    assert [(call.host, call.provider) for call in meter.calls] == [
        ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")
    ]  # fmt: skip
