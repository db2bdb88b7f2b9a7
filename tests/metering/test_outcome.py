"""Calls that raise: what is known to be free is free, and what was sent and never answered is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import contract
import openai
import pytest
from openai import _base_client

import openai_meter
from openai_meter.metering.outcome import outcome_of
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer

httpx = getattr(_base_client, "httpx2", None) or _base_client.httpx
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
HOSTS = {"127.0.0.1": "openai", "host.example": "openai"}


@pytest.fixture
def meter():
    return openai_meter.install(hosts=HOSTS)


def free(meter):
    """Whether the one call is known to have cost nothing."""
    (call,) = meter.calls
    assert meter.totals.unmeasured_calls == meter.totals.unpriced_calls == 0
    return (call.cost, call.cost_status) == (0, "free")


def lower_bound(meter):
    """Whether the one call costs at least its prompt, by an estimate that is marked."""
    (call,) = meter.calls
    assert call.usage.input_tokens
    assert "answer" in call.usage_unknown
    return call.estimated and call.cost_estimated and call.cost > 0 and meter.totals.estimated_calls == 1


def client_with(handler, **settings):
    """A client whose requests are answered by a function."""
    http = httpx.Client(transport=httpx.MockTransport(handler))
    return openai.OpenAI(api_key="k", base_url="http://host.example/v1", max_retries=0, http_client=http, **settings)


def refusal(status, code=None):
    def handler(request):
        return httpx.Response(status, json={"error": {"message": "no", "code": code, "type": "x"}}, request=request)

    return handler


def raising(error):
    def handler(request):
        raise error

    return handler


# --- what the API refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
def test_refused_call_is_free(meter, status):
    """An answer with an error status is not charged."""
    with pytest.raises(openai.APIStatusError):
        client_with(refusal(status)).chat.completions.create(**ASK)
    assert free(meter)


@pytest.mark.parametrize(("status", "code"), [(400, "content_filter"), (408, None), (504, None)])
def test_processed_prompt_is_not_free(meter, status, code):
    """A content filter has read the prompt; where a server stopped waiting, the model may have answered."""
    with pytest.raises(openai.APIStatusError):
        client_with(refusal(status, code)).chat.completions.create(**ASK)
    assert lower_bound(meter)


def test_unreadable_answer_is_not_free(meter):
    """An answer with status 200 was paid for, even if its body is not valid."""
    with pytest.raises(json.JSONDecodeError):
        client_with(
            lambda request: httpx.Response(200, headers={"content-type": "application/json"}, content=b"<html>")
        ).chat.completions.create(**ASK)
    assert lower_bound(meter)


# --- what the network did ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x"), httpx.WriteTimeout("x"),
     httpx.ProxyError("x"), ConnectionRefusedError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_request_that_was_not_sent_is_free(meter, error):
    """Without a connection nothing reaches the API."""
    with pytest.raises((openai.APIConnectionError, OSError)):
        client_with(raising(error)).chat.completions.create(**ASK)
    assert free(meter)
    assert meter.calls[0].cost_reason == "the request was not sent"


@pytest.mark.parametrize(
    "error",
    [httpx.ReadTimeout("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.TimeoutException("x"),
     ConnectionResetError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_request_without_an_answer_is_not_free(meter, error):
    """A request that was sent may have been answered, and billed, without an answer at the client."""
    with pytest.raises((openai.APIConnectionError, OSError)):
        client_with(raising(error)).chat.completions.create(**ASK)
    assert lower_bound(meter)
    assert meter.calls[0].status == "error"


def test_call_without_an_estimate_has_unknown_usage(meter):
    """Without an estimate, cost and usage are unknown, and not zero."""
    with pytest.raises(openai.APITimeoutError):
        client_with(raising(httpx.ReadTimeout("x"))).images.generate(model="gpt-image-1", prompt="a cat")
    (call,) = meter.calls
    assert (call.cost, call.cost_status, call.usage_source) == (None, "unpriced", "none")
    assert meter.totals.unmeasured_calls == meter.totals.unpriced_calls == 1


@pytest.fixture
def silent():
    """A server that takes requests and does not answer before it is closed."""
    go_on, requested = threading.Event(), threading.Event()

    def answer(_):
        requested.set()
        go_on.wait(60)
        return Answer(200, {"content-type": "application/json"}, b"{}")

    with LoopbackServer(answer) as server:
        server.requested = requested
        yield server
        go_on.set()


def test_timeout_over_a_real_connection_is_not_free(meter, silent):
    """The client has sent everything before the timeout."""
    patience = contract.http_library().Timeout(60, read=0.1)  # connecting may take longer on a busy machine
    with contract.sync_client(silent, timeout=patience, max_retries=0) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**ASK)
    assert lower_bound(meter)


def test_refused_connection_is_free(meter):
    """No server listens at the port."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        client = openai.OpenAI(api_key="k", base_url=url, max_retries=0)
        with client, pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(**ASK)
    assert free(meter)


# --- what the program gave up -----------------------------------------------------------------------------------------


async def cancelled(call, begun):
    """Cancels a call when it has come as far as an event says."""
    task = asyncio.create_task(call)
    await asyncio.wait_for(begun.wait(), 60)
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_call_cancelled_while_it_waits_for_the_answer_is_not_free(meter, silent):
    """The request was sent: the cost is a lower bound."""

    async def main():
        async with contract.async_client(silent) as client:
            task = asyncio.create_task(client.chat.completions.create(**ASK))
            assert await asyncio.to_thread(silent.requested.wait, 30)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert lower_bound(meter)
    assert meter.calls[0].status == "aborted"


class Limited(httpx.AsyncBaseTransport):
    """A transport of a program, that lets requests through one at a time."""

    def __init__(self, inner):
        self.inner, self.begun, self.free = inner, asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request):
        self.begun.set()
        await self.free.wait()
        return await self.inner.handle_async_request(request)


class LimitedSubclass(httpx.AsyncHTTPTransport):
    """The same as a subclass of the library's own transport."""

    def __init__(self):
        super().__init__()
        self.begun, self.free = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request):
        self.begun.set()
        await self.free.wait()
        return await super().handle_async_request(request)


@pytest.mark.parametrize("kind", ["wrapper", "subclass"])
def test_call_cancelled_in_a_rate_limiter_is_free(meter, kind):
    """The program's own transport holds the request back: nothing was sent."""

    async def main():
        transport = Limited(httpx.AsyncHTTPTransport()) if kind == "wrapper" else LimitedSubclass()
        http = httpx.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(api_key="k", base_url="http://host.example/v1", http_client=http) as client:
            await cancelled(client.chat.completions.create(**ASK), transport.begun)

    asyncio.run(main())
    assert free(meter)
    assert meter.calls[0].status == "aborted"


def test_call_cancelled_in_a_full_pool_is_free(meter, silent):
    """One connection is allowed, and another call uses it."""

    async def main():
        http = httpx.AsyncClient(limits=httpx.Limits(max_connections=1))
        async with contract.async_client(silent, http_client=http) as client:
            first = asyncio.create_task(client.chat.completions.create(**ASK))
            assert await asyncio.to_thread(silent.requested.wait, 30)
            begun = asyncio.Event()
            begun.set()
            await cancelled(client.chat.completions.create(**ASK), begun)
            found = [(call.status, call.cost_status) for call in meter.calls]
            first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await first
            return found

    assert asyncio.run(main()) == [("aborted", "free")]


def test_call_cancelled_before_the_answer_of_the_proxy_is_free(meter):
    """The client waits for the proxy's answer to CONNECT; the request itself was not sent."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        async def main():
            http = httpx.AsyncClient(proxy=f"http://127.0.0.1:{proxy.getsockname()[1]}")
            async with openai.AsyncOpenAI(api_key="k", base_url="https://host.example/v1", http_client=http) as client:
                task = asyncio.create_task(client.chat.completions.create(**ASK))
                connection, _ = await asyncio.to_thread(proxy.accept)
                assert (await asyncio.to_thread(connection.recv, 7)) == b"CONNECT"
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                connection.close()

        asyncio.run(main())
    assert free(meter)


def test_call_cancelled_between_two_attempts_has_the_outcome_of_the_one_before(meter):
    """While the client waits for its next attempt, the outcome of the attempt before counts."""

    async def main(error):
        begun = asyncio.Event()

        def handler(request):
            begun.set()
            raise error

        http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
        async with openai.AsyncOpenAI(api_key="k", base_url="http://host.example/v1", http_client=http) as client:
            task = asyncio.create_task(client.with_options(max_retries=5).chat.completions.create(**ASK))
            await asyncio.wait_for(begun.wait(), 60)
            await asyncio.sleep(0.01)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main(httpx.ReadTimeout("x")))
    assert lower_bound(meter)
    assert meter.calls[-1].attempts == 1  # the second one was never sent
    meter.reset()
    asyncio.run(main(httpx.ConnectError("x")))
    assert free(meter)


def test_odd_exceptions_have_an_outcome():
    """Exceptions whose attributes raise, or whose causes form a circle, are classified like any others."""

    class Odd(Exception):
        """Its attributes raise."""

        @property
        def status_code(self):
            raise RuntimeError

    one, other = ValueError(), ValueError()
    one.__context__, other.__context__ = other, one
    assert outcome_of(Odd()) == "unanswered"
    assert outcome_of(one) == "unsent"
