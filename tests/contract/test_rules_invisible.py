"""Rules 2 and 4: with the meter, a program sends the same bytes and holds the same objects as without it."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import re
import threading
from unittest import mock

import contract
import openai
import pytest
from contract import HELLO, MODEL, chat
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from openai._models import FinalRequestOptions
from openai.types.chat import ChatCompletion

import openai_meter
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def on_wire(request):
    """A request with all that the SDK chose at random named: the boundary of a multipart body, and nothing else."""
    boundary = re.search("boundary=(.+)", request.headers.get("content-type", ""))
    if boundary is None:
        return request.method, request.path, request.query, dict(request.headers), request.body
    headers = {name: value.replace(boundary[1], "BOUNDARY") for name, value in request.headers.items()}
    return (
        request.method, request.path, request.query, headers,
        request.body.replace(boundary[1].encode(), b"BOUNDARY"),
    )  # fmt: skip


def all_on_wire(api, *, is_async):
    sent = {}

    def note(name):
        sent[name] = [on_wire(request) for request in api.requests]

    contract.outcomes(api, is_async=is_async, note=note)
    return sent


# --- the same to the caller -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("how", ["install", "track"])
def test_every_shape_gives_the_same_as_without_the_meter(api, is_async, how):
    """Values, types, fields that are set, and errors of every shape are those of the bare SDK."""
    bare = contract.outcomes(api, is_async=is_async)
    if how == "install":
        openai_meter.install()
        metered = contract.outcomes(api, is_async=is_async)
    else:
        with openai_meter.track("block"):
            metered = contract.outcomes(api, is_async=is_async)
    assert metered == bare
    assert openai_meter.get_meter().internal_errors == 0


@BOTH
def test_request_on_the_wire_is_the_same(api, is_async):
    """Method, path, query, headers and body are equal to the byte; only the multipart boundary is random, bare too."""
    bare = all_on_wire(api, is_async=is_async)
    assert all_on_wire(api, is_async=is_async) == bare
    openai_meter.install()
    assert all_on_wire(api, is_async=is_async) == bare
    assert sum(len(sent) for sent in bare.values()) > 45


def test_headers_keep_their_order_case_and_number(meter):
    """The raw header list, as it leaves the HTTP library, is the same list."""
    library, sent = contract.http_library(), []

    def answer(request):
        sent.append((request.method, str(request.url), list(request.headers.raw), request.content))
        return library.Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        for ask in (
            lambda: chat(client, extra_headers={"X-Mine": "1", "x-other": "2"}, extra_body={"a": {"b": 1}}),
            lambda: chat(client, stream_options=None, temperature=0.5, logit_bias={"5": 1}),
            lambda: client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO),
        ):
            sent.clear()
            ask()
            openai_meter.uninstall()
            ask()
            openai_meter.install()
            assert sent[0] == sent[1]


@pytest.mark.parametrize("asked", [None, {"include_usage": True}, {"include_usage": False}, {}])
def test_stream_options_of_the_user_are_sent_unchanged(api, meter, asked):
    """Nothing is added to them for an unknown host."""
    more = {} if asked is None else {"stream_options": asked}
    kept = copy.deepcopy(more)
    with contract.sync_client(api) as client:
        list(chat(client, stream=True, **more))
    body = api.requests[0].json()
    assert body == {"messages": HELLO, "model": MODEL, "stream": True, **kept}
    assert more == kept


def test_azure_requests_are_the_same(api):
    """An Azure client sends the same path, query and headers, with the deployment in the URL and in the body."""

    def ask():
        with contract.azure_client(api) as client:
            api.restart()
            chat(client)
            list(chat(client, stream=True))
            client.embeddings.create(model="deployed", input="hi")
            client.audio.transcriptions.create(model="deployed", file=contract.AUDIO)
        return [on_wire(request) for request in api.requests]

    bare = ask()
    meter = openai_meter.install(stream_usage="never")
    assert ask() == bare
    assert [call.provider for call in meter.calls] == ["azure"] * 4
    assert bare[0][1] == f"/openai/deployments/{MODEL}/chat/completions"


def test_multipart_with_a_boundary_of_the_user_is_the_same_to_the_byte(api):
    """With a fixed boundary, an upload's body is byte-equal, headers included."""

    def ask():
        api.restart()
        with contract.sync_client(api) as client:
            client.audio.transcriptions.create(
                model="whisper",
                file=contract.AUDIO,
                extra_headers={"Content-Type": "multipart/form-data; boundary=fixed"},
            )
        return api.requests[0]

    bare = ask()
    openai_meter.install()
    metered = ask()
    assert metered == bare
    assert b"--fixed" in bare.body


# --- nothing of the caller is touched ---------------------------------------------------------------------------------


@BOTH
def test_arguments_of_the_caller_are_not_changed(api, meter, is_async):
    """Messages, tools, extras and files are, after the call, equal to what they were."""
    given = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": copy.deepcopy(contract.TOOLS),
        "metadata": {"a": "b"},
        "extra_body": {"x": {"y": [1]}, "user": "me"},
        "extra_headers": {"x-a": "b"},
        "extra_query": {"q": "1"},
        "stream_options": {"include_obfuscation": False},
    }
    before = copy.deepcopy(given)

    async def ask(client):
        await contract.every(await contract.got(chat(client, stream=True, **given)))
        await contract.got(client.chat.completions.with_raw_response.create(
            model=MODEL, messages=given["messages"], extra_headers=given["extra_headers"]
        ))  # fmt: skip

    contract.with_client(api, ask, is_async=is_async)
    assert given == before
    assert meter.totals.calls == 2


def options(**more):
    return FinalRequestOptions.construct(method="post", url="/chat/completions", **more)


def test_options_passed_to_request_are_not_changed(api, meter):
    """``client.request(cast_to, options)`` leaves the options' parser, body and headers the identical objects."""
    seen = []

    def parser(answer):
        seen.append(answer)
        return answer

    body, headers = {"model": MODEL, "messages": HELLO}, {"x-a": "b"}
    mine = options(json_data=body, headers=headers, post_parser=parser)
    fields = dict(vars(mine))
    body, headers = mine.json_data, mine.headers  # the SDK's own constructor has made these from ours
    with contract.sync_client(api) as client:
        for how in (
            lambda: client.request(ChatCompletion, mine),
            lambda: client.request(ChatCompletion, options=mine),
            lambda: client.request(cast_to=ChatCompletion, options=mine),
        ):
            answer = how()
            assert type(answer) is ChatCompletion
            assert seen.pop() is answer
            assert mine.post_parser is parser
            assert mine.json_data is body
            assert mine.headers is headers
            assert vars(mine).keys() == fields.keys()
            assert all(vars(mine)[name] is fields[name] for name in fields)
    assert body == {"model": MODEL, "messages": HELLO}
    assert meter.totals.calls == 3


def test_same_options_object_can_be_sent_many_times(api, meter):
    """It makes one record each time, whether the meter was uninstalled and installed in between or not."""
    mine = options(json_data={"model": MODEL, "messages": HELLO})
    with contract.sync_client(api) as client:
        client.request(ChatCompletion, mine)
        openai_meter.uninstall()
        client.request(ChatCompletion, mine)
        openai_meter.install()
        client.request(ChatCompletion, mine)
    assert meter.totals.calls == 2


@pytest.mark.parametrize("wrong", [(), (ChatCompletion,), (ChatCompletion, None), (ChatCompletion, "nonsense")])
def test_wrong_arguments_of_request_raise_the_error_of_the_sdk(api, monkeypatch, wrong):
    """A wrong call of ``client.request`` raises the same type of error, and is no fault of the meter's reader."""
    monkeypatch.setattr("openai_meter.core.faults.reraise", False)
    with contract.sync_client(api) as client:
        with pytest.raises(Exception) as bare:
            client.request(*wrong)
        openai_meter.install()
        with pytest.raises(Exception) as metered:
            client.request(*wrong)
    assert metered.type is bare.type


# --- types ------------------------------------------------------------------------------------------------------------


def description(client):
    """What a program can ask of a client and its functions without calling them."""
    kind = type(client)
    functions = {
        "request": kind.request,
        "copy": kind.copy,
        "with_options": kind.with_options,
        "bound": client.request,
        "post": client.post,
        "create": client.chat.completions.create,
        "raw": client.chat.completions.with_raw_response.create,
    }
    return {
        "kind": kind.__name__,
        "bases": [base.__name__ for base in kind.__mro__],
        "dir": dir(client),
        "class": dir(kind),
        "dict": sorted(vars(client)),
        "repr": re.sub("0x[0-9a-f]+", "...", repr(client)),
        "has": [hasattr(client, name) for name in ("request", "chat", "_openai_meter", "__wrapped__", "no")],
        "signatures": {name: str(inspect.signature(one)) for name, one in functions.items()},
        "coroutines": {name: inspect.iscoroutinefunction(one) for name, one in functions.items()},
        "asyncio": {name: asyncio.iscoroutinefunction(one) for name, one in functions.items()},
        "functions": {name: (inspect.isfunction(one), inspect.ismethod(one)) for name, one in functions.items()},
        "names": {
            name: (one.__name__, one.__qualname__, one.__module__, one.__doc__) for name, one in functions.items()
        },
        "sources": {name: inspect.getsource(one) for name, one in functions.items()},
        "self": client.request.__self__ is client,
        "equal": (client.request == client.request, hash(client.request) == hash(client.request)),
        "annotations": {name: sorted(one.__annotations__) for name, one in functions.items()},
        "code": kind.request.__code__.co_name,
        "defaults": kind.request.__kwdefaults__,
    }


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI, AzureOpenAI, openai.AsyncAzureOpenAI])
@pytest.mark.parametrize("how", ["install", "wrap"])
def test_client_attributes_are_the_same_as_without_the_meter(kind, how):
    """Signatures, names, sources, coroutine functions, ``dir`` and ``repr`` of a client do not change."""
    more = {"azure_endpoint": "http://127.0.0.1:9", "api_version": "1"} if "Azure" in kind.__name__ else {}
    client = kind(api_key="demo", **more)
    bare, fields = description(client), dict(vars(client))
    openai_meter.install() if how == "install" else openai_meter.wrap(kind(api_key="demo", **more))
    assert description(client) == bare
    assert vars(client).keys() == fields.keys()
    assert all(vars(client)[name] is fields[name] for name in fields)
    openai_meter.uninstall()
    assert description(client) == bare


def test_types_of_answers_are_those_of_the_sdk(api, meter):
    """``type(x) is`` and ``isinstance`` hold for answers, streams and raw responses; context managers return self."""
    from openai._legacy_response import HttpxBinaryResponseContent, LegacyAPIResponse
    from openai._response import APIResponse

    with contract.sync_client(api) as client:
        assert type(chat(client)) is ChatCompletion
        stream = chat(client, stream=True)
        assert type(stream) is openai.Stream
        assert isinstance(stream, openai.Stream)
        assert iter(stream) is not stream
        with stream as entered:
            assert entered is stream
        assert stream.response.is_closed
        assert sorted(vars(stream)) == sorted({*vars(stream)} - {"_openai_meter"})
        assert type(client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)) is LegacyAPIResponse
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HELLO) as answer:
            assert type(answer) is APIResponse
        assert type(client.audio.speech.create(model="t", voice="v", input="x")) is HttpxBinaryResponseContent
        assert client.with_options().__class__ is OpenAI
    with OpenAI(api_key="demo") as entered:
        assert type(entered) is OpenAI


def test_types_of_async_answers_are_those_of_the_sdk(api, meter):
    """The same for an async client: ``AsyncStream``, ``AsyncAPIResponse``, and ``aclose`` of the response."""
    from openai._response import AsyncAPIResponse

    async def main():
        async with contract.async_client(api) as client:
            assert inspect.iscoroutinefunction(AsyncOpenAI.request)
            assert inspect.iscoroutine(coroutine := chat(client))
            assert type(await coroutine) is ChatCompletion
            stream = await chat(client, stream=True)
            assert type(stream) is openai.AsyncStream
            async with stream as entered:
                assert entered is stream
                assert type(await anext(stream)).__name__ == "ChatCompletionChunk"
            assert stream.response.is_closed
            create = client.chat.completions.with_streaming_response.create
            async with create(model=MODEL, messages=HELLO) as answer:
                assert type(answer) is AsyncAPIResponse
            left = await chat(client, stream=True)
            await left.response.aclose()
            assert left.response.is_closed

    asyncio.run(main())
    assert [call.status for call in meter.calls] == ["ok", "aborted", "aborted", "aborted"]


def attempt(work):
    try:
        return "value", work()
    except Exception as error:
        return "raised", type(error).__name__, re.sub("0x[0-9a-f]+", "...", str(error))


def fingerprints(api):
    """What becomes of copying and pickling whatever a call returns, at each moment of its reading."""
    found = {}
    ways = {
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
        "pickle": lambda value: pickle.loads(pickle.dumps(value)),
        **{f"pickle{n}": lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in (0, 1)},
    }

    def note(name, value, show=lambda one: one):
        for way, use in ways.items():
            found[name, way] = attempt(lambda use=use: show(use(value)))

    api.restart()
    with contract.sync_client(api) as client:
        answer = chat(client)
        note("answer", answer)
        note("usage", answer.usage)
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
        note("raw response", raw.http_response, lambda one: (one.status_code, one.content, one.is_closed))
        note("raw", raw, type)
        raw.parse()
        note("raw response, parsed", raw.http_response, lambda one: (one.status_code, one.content))
        stream = chat(client, stream=True)
        for moment in ("unread", "read", "at its end"):
            note(f"stream {moment}", stream, type)
            note(f"response {moment}", stream.response, lambda one: (one.status_code, one.is_closed, one.headers))
            next(stream) if moment == "unread" else list(stream)
        stream.close()
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HELLO) as opened:
            note("opened", opened.http_response, lambda one: (one.status_code, one.is_closed))
            opened.read()
            note("opened, read", opened.http_response, lambda one: (one.content, one.is_closed))
        try:
            chat(client, model=MODEL + "+400")
        except openai.BadRequestError as error:
            note("error", error, lambda one: (type(one), str(one)))
            note("error's response", error.response, lambda one: one.content)
    gc.collect()
    return found


# A copy that fails halfway leaves a half-made HTTP client, of which the SDK's finalizer complains, bare too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_copies_and_pickles_are_those_of_the_sdk(api):
    """Copying and pickling answers, responses and streams at any moment gives the same, or the same error."""
    bare = fingerprints(api)
    openai_meter.install()
    metered = fingerprints(api)
    assert {name: (bare[name], metered[name]) for name in bare if bare[name] != metered[name]} == {}


def copies_of_iterator(client):
    stream = chat(client, stream=True)
    ways = (copy.copy, copy.deepcopy, pickle.dumps)
    found = [attempt(lambda way=way: way(stream._iterator))[:2] for way in ways]
    stream.close()
    gc.collect()
    return found


def test_iterator_of_a_stream_cannot_be_copied(api):
    """Copying a stream's private iterator fails as it does for the SDK's generator, and changes nothing."""
    with contract.sync_client(api) as client:
        bare = copies_of_iterator(client)
        openai_meter.install()
        assert copies_of_iterator(client) == bare


def test_shallow_copy_of_a_client_works_and_counts(api, meter):
    """``copy.copy(client)`` can be used as without the meter, and its calls count."""
    with contract.sync_client(api) as client:
        chat(copy.copy(client))
        chat(openai_meter.wrap(copy.copy(client)))
    assert meter.totals.calls == 2


def test_mock_patch_of_request_is_restored(api):
    """``unittest.mock`` can replace ``request``, with ``autospec`` too, and the earlier function is back afterwards."""
    before = vars(openai._base_client.SyncAPIClient)["request"]
    meter = openai_meter.install()
    with contract.sync_client(api) as client:
        for more in ({}, {"autospec": True}):
            with mock.patch.object(OpenAI, "request", **more) as mocked:
                chat(client)
                assert mocked.call_count == 1
        assert type(chat(client)) is ChatCompletion
    assert meter.totals.calls == 1
    openai_meter.uninstall()
    assert vars(openai._base_client.SyncAPIClient)["request"] is before
    assert "request" not in vars(OpenAI)


# --- lazy stays lazy --------------------------------------------------------------------------------------------------


class Gated(LoopbackServer):
    """Sends the next piece of a body only when the program says that it has read the one before."""

    def __init__(self, pieces, kind):
        self.events = []
        self.may_go = [threading.Event() for _ in pieces]

        def body():
            for place, piece in enumerate(pieces):
                if not self.may_go[place].wait(60):
                    self.events.append("nobody reads")
                    return
                self.events.append(f"sent {place}")
                yield piece

        super().__init__(lambda request: Answer(200, {"content-type": kind}, body()))

    def go(self, place):
        self.events.append(f"asked {place}")
        self.may_go[place].set()


PIECES = contract.chunk_bodies()[:3]


async def by_stream(client):
    return await contract.got(chat(client, stream=True))


async def by_raw(client):
    return (await contract.got(
        client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, stream=True)
    )).parse()  # fmt: skip


@BOTH
@pytest.mark.parametrize("opened", [by_stream, by_raw])
def test_each_chunk_is_delivered_before_the_next_is_sent(meter, is_async, opened):
    """A stream is returned before its first byte is sent, and no chunk waits for another."""
    with Gated(PIECES, "text/event-stream") as server:

        async def read(client):
            stream = await opened(client)
            server.events.append("opened")
            assert stream.response.num_bytes_downloaded == 0
            for place in range(3):
                server.go(place)
                await contract.one(stream)
                server.events.append(f"got {place}")
            await contract.got(stream.close())

        contract.with_client(server, read, is_async=is_async)
    expected = ["opened", *(f"{what} {place}" for place in range(3) for what in ("asked", "sent", "got"))]
    assert server.events == expected
    assert [call.status for call in meter.calls] == ["aborted"]


@BOTH
@pytest.mark.parametrize("what", ["chat", "speech"])
def test_streamed_body_is_read_only_when_the_program_reads(meter, is_async, what):
    """``with_streaming_response`` reads nothing before the program does, and never more than the program does."""
    pieces, kind = ([b"x" * 1000] * 3, "audio/mpeg") if what == "speech" else (PIECES, "text/event-stream")
    with Gated(pieces, kind) as server:

        async def read(client):
            manager = (
                client.audio.speech.with_streaming_response.create(model="t", voice="v", input="hi")
                if what == "speech"
                else client.chat.completions.with_streaming_response.create(model=MODEL, messages=HELLO, stream=True)
            )
            async with contract.inside(manager) as answer:
                server.events.append("opened")
                assert answer.http_response.num_bytes_downloaded == 0
                assert not answer.http_response.is_stream_consumed
                parts = answer.iter_bytes()
                for place in range(3):
                    server.go(place)
                    assert await contract.one(parts) == pieces[place]
                    server.events.append(f"got {place}")
                await contract.every(parts)

        contract.with_client(server, read, is_async=is_async)
    expected = ["opened", *(f"{what} {place}" for place in range(3) for what in ("asked", "sent", "got"))]
    assert server.events == expected
    assert [call.status for call in meter.calls] == ["ok"]


@BOTH
def test_coroutine_that_is_not_awaited_sends_nothing(api, meter, is_async):
    """Making the coroutine of an async call sends nothing and counts nothing; a sync call is done when it returns."""
    if is_async:

        async def main():
            async with contract.async_client(api) as client:
                chat(client).close()

        asyncio.run(main())
    else:
        with contract.sync_client(api) as client:
            chat(client)
    assert len(api.requests) == meter.totals.calls == (0 if is_async else 1)


def test_abandoned_body_is_closed_as_early_as_without_the_meter():
    """Where the HTTP library closes an abandoned body at once, it still does with the meter."""
    library = contract.http_library()
    closed = []

    class Body(library.AsyncByteStream):
        async def __aiter__(self):
            try:
                for piece in PIECES:
                    yield piece
            finally:
                closed.append(True)

    async def closed_at_once():
        closed.clear()
        async with contract.in_process_async(lambda _: library.Response(200, stream=Body())) as client:
            create = client.chat.completions.with_streaming_response.create
            async with create(model=MODEL, messages=HELLO, stream=True) as answer:
                body = answer.http_response.aiter_raw()
                await anext(body)
                await body.aclose()
                return bool(closed)

    bare = asyncio.run(closed_at_once())
    meter = openai_meter.install()
    assert asyncio.run(closed_at_once()) or not bare
    assert [call.status for call in meter.calls] == ["aborted"]


def test_abandoned_async_stream_adds_no_async_generator(api):
    """A loop that ends finds the same async generators as without the meter, and so reports no more of them."""

    def left_open():
        async def main():
            async with contract.async_client(api) as client:
                streams = [await chat(client, stream=True) for _ in range(3)]
                raw = client.chat.completions.with_raw_response
                lines = (await raw.create(model=MODEL, messages=HELLO, stream=True)).http_response.aiter_lines()
                for items in (*streams, lines):
                    await anext(items)
                found = sorted(generator.__qualname__ for generator in asyncio.get_running_loop()._asyncgens)
                for stream in streams:
                    await stream.close()
                await lines.aclose()
                return found

        return asyncio.run(main())

    bare = left_open()
    openai_meter.install(hosts={"127.0.0.1": "openai"})
    assert left_open() == bare
