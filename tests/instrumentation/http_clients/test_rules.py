"""The rules that hold for every call hold without the SDK too: laziness, early ends, errors, budgets, attribution."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from contract import python
from raw_traffic import HOSTS, metered

import openai_meter
from openai_meter import Budget, BudgetExceededError
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request
from openai_meter.usage.providers import known_provider

BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Where is the archive?"}]}
STREAM = {**BODY, "stream": True}
USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


def chunk(text: str | None, **more: Any) -> dict[str, Any]:
    """A chunk of a chat stream."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}] if text is not None else []
    return {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
            "choices": choices, **more}  # fmt: skip


class Waiting(LoopbackServer):
    """Sends a part of a stream, and waits for a word before the rest."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.go_on = threading.Event()

    def _reply(self, _: Request) -> Answer:
        def body() -> Iterator[bytes]:
            yield from list(data_frames([chunk("In the "), chunk("cellar")]))[:2]
            self.go_on.wait(60)
            yield from data_frames([chunk(None, usage=USAGE)])

        return event_answer(body())


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    """A server that waits in the middle of a stream."""
    with Waiting() as server:
        yield server
        server.go_on.set()


@contextmanager
def opened(library: str, url: str) -> Iterator[Any]:
    """An iterator over the pieces of a stream, opened with a library."""
    package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")
    if library == "requests":
        with package.post(url, json=STREAM, stream=True) as response:
            yield response.iter_lines(1)
    elif library == "urllib3":
        with package.PoolManager() as pool:
            response = pool.request("POST", url, json=STREAM, preload_content=False)
            yield response.stream(16)
            response.close()
    else:
        with package.Client(verify=False) as client, client.stream("POST", url, json=STREAM) as response:
            yield response.iter_lines()


LIBRARIES = ("httpx", "httpx2", "requests", "urllib3")


@pytest.mark.parametrize("library", LIBRARIES)
def test_stream_arrives_piece_by_piece_and_is_aborted_where_the_program_leaves(library: str, waiting: Waiting) -> None:
    """A piece is there before the server sends the next one; the tokens of a stream that is left are estimated."""
    meter = metered(http=True)
    with opened(library, f"{waiting.url}/v1/chat/completions") as pieces:
        assert next(pieces)
        assert meter.calls == ()
    gc.collect()
    meter.settle()
    [call] = meter.calls
    assert (call.status, call.stream, call.usage_source in ("tiktoken", "chars")) == ("aborted", True, True)
    assert call.usage.input_tokens


@pytest.mark.parametrize("library", LIBRARIES)
def test_stream_that_is_read_to_its_end_has_the_tokens_of_the_api(library: str, waiting: Waiting) -> None:
    """The last chunk has the usage; the first token has its time."""
    meter = metered(http=True)
    with opened(library, f"{waiting.url}/v1/chat/completions") as pieces:
        next(pieces)
        waiting.go_on.set()
        list(pieces)
    meter.settle()
    [call] = meter.calls
    assert (call.status, call.usage.total_tokens, call.usage_source) == ("ok", 15, "api")
    assert call.time_to_first_token is not None


def test_task_that_is_cancelled_while_it_reads_leaves_an_aborted_record(waiting: Waiting) -> None:
    """The same over aiohttp and over httpx, and the cancellation reaches the program."""
    meter = metered(http=True)
    url = f"{waiting.url}/v1/chat/completions"
    aiohttp, httpx = (
        pytest.importorskip("aiohttp", reason="aiohttp is not installed: this is NOT tested"),
        pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested"),
    )

    async def by_aiohttp(begun: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=STREAM) as response:
            async for _ in response.content:
                begun.set()

    async def by_httpx(begun: asyncio.Event) -> None:
        async with httpx.AsyncClient(verify=False) as client, client.stream("POST", url, json=STREAM) as response:
            async for _ in response.aiter_lines():
                begun.set()

    async def main() -> None:
        for way in (by_aiohttp, by_httpx):
            begun = asyncio.Event()
            task = asyncio.create_task(way(begun))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    meter.settle()
    assert [call.status for call in meter.calls] == ["aborted", "aborted"]


def test_response_of_aiohttp_that_is_let_go_leaves_an_aborted_record(waiting: Waiting) -> None:
    """The program keeps neither the response nor its content."""
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: this is NOT tested")
    meter = metered(http=True)

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.post(f"{waiting.url}/v1/chat/completions", json=STREAM)
            await response.content.readline()
            del response
            gc.collect()

    asyncio.run(main())
    gc.collect()
    meter.settle()
    assert [call.status for call in meter.calls] == ["aborted"]


def test_response_of_aiohttp_keeps_its_kind(waiting: Waiting) -> None:
    """What a program checks of a response holds."""
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: this is NOT tested")
    metered(http=True)

    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{waiting.url}/v1/chat/completions", json=STREAM) as response,
        ):
            assert type(response) is aiohttp.ClientResponse
            assert isinstance(response.content, aiohttp.StreamReader)
            assert type(response.content).__name__ == "StreamReader"

    asyncio.run(main())


MESSAGE = {"role": "assistant", "content": "No."}
ANSWER = {"id": "chatcmpl-9", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": USAGE,
          "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}  # fmt: skip


@contextmanager
def answering(status: int, body: Any = ANSWER) -> Iterator[LoopbackServer]:
    """A server that always answers the same."""
    with LoopbackServer(lambda _: json_answer(body, status)) as server:
        yield server


def post(library: str, url: str) -> Any:
    """One request, read to its end."""
    package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")
    if library == "aiohttp":

        async def main() -> None:
            async with package.ClientSession() as session, session.post(url, json=BODY) as response:
                await response.read()

        return asyncio.run(main())
    if library == "urllib3":
        return package.PoolManager(retries=False).request("POST", url, json=BODY)
    if library == "requests":
        return package.post(url, json=BODY)
    return package.post(url, json=BODY, verify=False)


ALL = ("httpx", "httpx2", "requests", "urllib3", "aiohttp")


@pytest.mark.parametrize("library", ALL)
@pytest.mark.parametrize(
    ("status", "name"), [(400, "BadRequestError"), (401, "AuthenticationError"), (429, "RateLimitError"),
                         (418, "APIStatusError"), (500, "InternalServerError")]
)  # fmt: skip
def test_error_of_the_api_is_recorded_under_the_name_that_the_sdk_gives_it(
    library: str, status: int, name: str
) -> None:
    """The record is that of an error, and free; its code, which may quote the prompt, is not kept."""
    meter = metered(http=True)
    with answering(status, {"error": {"message": "No.", "code": "a sentence with the prompt"}}) as server:
        post(library, f"{server.url}/v1/chat/completions")
    meter.settle()
    [call] = meter.calls
    assert (call.status, call.error_type, call.cost, call.cost_status) == ("error", name, 0, "free")


@pytest.mark.parametrize("library", ALL)
def test_request_that_does_not_reach_a_server_is_free(library: str) -> None:
    """The exception of the library reaches the program, and the record has its name."""
    meter = metered(http=True)
    with answering(200) as server:
        url = f"{server.url}/v1/chat/completions"
    with pytest.raises(Exception) as raised:
        post(library, url)
    meter.settle()
    [call] = meter.calls
    assert (call.status, call.error_type, call.cost_status) == ("error", type(raised.value).__name__, "free")


@pytest.mark.parametrize("library", ["httpx", "requests", "urllib3"])
def test_request_without_an_answer_has_an_unknown_cost(library: str, waiting: Waiting) -> None:
    """It was sent, and may be billed: the time ran out while the program waited for the answer."""
    package = pytest.importorskip(library, reason=f"{library} is not installed: this is NOT tested")
    meter = metered(http=True)
    release = threading.Event()

    def silent(_: Request) -> Answer:
        release.wait(60)
        return json_answer(ANSWER)

    with LoopbackServer(silent) as server:
        url = f"{server.url}/v1/chat/completions"
        with pytest.raises(Exception):
            if library == "urllib3":
                package.PoolManager(retries=False).request("POST", url, json=BODY, timeout=0.2)
            else:
                package.post(url, json=BODY, timeout=0.2)
        release.set()
    meter.settle()
    [call] = meter.calls
    assert (call.status, call.usage_source in ("tiktoken", "chars")) == ("error", True)
    assert call.cost != 0


@pytest.mark.parametrize("library", ALL)
def test_spent_budget_stops_a_request_before_a_byte_is_sent(library: str) -> None:
    """The program gets ``BudgetExceededError``, and the server gets no request."""
    meter = metered(http=True, budgets=[Budget("spent", calls=0)])
    with answering(200) as server:
        with pytest.raises(BudgetExceededError):
            post(library, f"{server.url}/v1/chat/completions")
        assert server.requests == []
    assert (meter.calls, meter.budgets["spent"].refused) == ((), 1)


def test_budget_is_charged_for_calls_without_the_sdk() -> None:
    """What such calls use counts, and the next one is refused."""
    pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
    meter = metered(http=True, budgets=[Budget("two", calls=2)])
    with answering(200) as server:
        for _ in range(2):
            post("requests", f"{server.url}/v1/chat/completions")
        with pytest.raises(BudgetExceededError):
            post("requests", f"{server.url}/v1/chat/completions")
    assert meter.budgets["two"].spent == 2


@pytest.mark.parametrize("library", ALL)
def test_attribution_and_blocks_hold_for_calls_without_the_sdk(library: str) -> None:
    """Tags and blocks around the call are in its record; a block needs no ``install()``."""
    openai_meter.uninstall()
    openai_meter.install(meter=openai_meter.Meter(), hosts=HOSTS, http=True, thresholds=False)
    with answering(200) as server, openai_meter.track("nightly", user="u1") as run, openai_meter.tag(agent="finder"):
        post(library, f"{server.url}/v1/chat/completions")
    [call] = run.calls
    assert (call.agent, call.user, call.block, call.usage.total_tokens) == ("finder", "u1", "nightly", 15)


def test_other_hosts_and_free_paths_pass_untouched() -> None:
    """No record, and nothing of the response is replaced."""
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested")
    meter = openai_meter.install(meter=openai_meter.Meter(), http=True, thresholds=False)
    with answering(200) as server, httpx.Client(verify=False) as client:
        post("requests", f"{server.url}/v1/chat/completions")
        with client.stream("POST", f"{server.url}/v1/chat/completions", json=BODY) as response:
            assert type(response.stream).__module__.startswith("httpx")
            response.read()
        metered(http=True)
        client.get(f"{server.url}/v1/models")
    assert meter.calls == ()
    assert openai_meter.get_meter().calls == ()


def test_hosts_are_known_by_their_names() -> None:
    """OpenAI's, Azure's, and those that are named; in any case, and no others."""
    openai_meter.install(hosts={"llm.example.com": "azure"})
    assert {host: known_provider(host) for host in (
        "api.openai.com", "API.OpenAI.com", "eu.api.openai.com", "x.openai.azure.com", "x.services.ai.azure.com",
        "llm.example.com", "api.openai.com.example.org", "openai.com", "example.com", "",
    )} == {
        "api.openai.com": "openai", "API.OpenAI.com": "openai", "eu.api.openai.com": "openai",
        "x.openai.azure.com": "azure", "x.services.ai.azure.com": "azure", "llm.example.com": "azure",
        "api.openai.com.example.org": None, "openai.com": None, "example.com": None, "": None,
    }  # fmt: skip


PROGRAM = """
import json, sys
import openai_meter
meter = openai_meter.install(meter=openai_meter.Meter(), hosts={"127.0.0.1": "openai"}, thresholds=False)
import requests
def post():
    requests.post(sys.argv[1], json=json.loads(sys.argv[2]), timeout=60)
    meter.settle()
    return len(meter.calls)
print(post())
sys.path.insert(0, sys.argv[3])
import litellm
print(post())
"""


def test_libraries_are_patched_when_litellm_is_imported(tmp_path: Any) -> None:
    """The default is ``auto``: a call of another kind of program is not counted."""
    pytest.importorskip("requests", reason="requests is not installed: this is NOT tested")
    (tmp_path / "litellm.py").write_text("")
    with answering(200) as server:
        url = f"{server.url}/v1/chat/completions"
        code, output, errors = python(PROGRAM, url, json.dumps(BODY), str(tmp_path))
    assert (code, output.split(), errors) == (0, ["0", "1"], "")


@pytest.mark.parametrize("value", ["always", 1, "1", object()])
def test_wrong_http_setting_raises(value: Any) -> None:
    """The message has the value and what can be passed."""
    with pytest.raises(openai_meter.ConfigurationError, match="is not True, False or 'auto'"):
        openai_meter.install(http=value)


def test_setting_of_the_environment_counts_and_an_argument_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OPENAI_METER_HTTP`` has the same three values."""
    httpx = pytest.importorskip("httpx", reason="httpx is not installed: this is NOT tested")
    bare = vars(httpx.Client)["send"]
    monkeypatch.setenv("OPENAI_METER_HTTP", "1")
    openai_meter.install()
    assert vars(httpx.Client)["send"] is not bare
    openai_meter.install(http=False)
    assert vars(httpx.Client)["send"] is bare
    openai_meter.uninstall()
    monkeypatch.setenv("OPENAI_METER_HTTP", "perhaps")
    with pytest.raises(openai_meter.ConfigurationError, match="OPENAI_METER_HTTP='perhaps' is not 1, 0 or auto"):
        openai_meter.install()
