"""Plays one scenario four times: sync and async, bare and metered, on the real client over loopback HTTP.

A scenario is written once, as a coroutine function that takes an :class:`Api`; for the sync client its awaits never
suspend. The bare run goes first and its answers are taped; the metered run is given the same bytes, so that all that
the program saw, and all that went over the wire, can be compared as it is.

The test modules import this one and have its fixtures by ``pytest_plugins``; pytest would complain that it comes too
late to rewrite the asserts here (PYTEST_DONT_REWRITE), so :func:`_same` says what differs.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import http.client
import json
import pprint
import re
import warnings
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import openai
import pytest
from expected_estimates import guessed
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import openai_meter
from openai_meter.core import faults
from openai_meter.testing.fake_api.handlers import data_frames, event_answer, json_answer, typed_frames
from openai_meter.testing.fake_api.loopback import Answer, Hangup
from openai_meter.testing.fake_api.server import DemoServer
from openai_meter.testing.fake_api.steps import Steps

VERSION = tuple(int(part) for part in openai.__version__.split("."))
HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
CHAT = {"model": "gpt-4o-mini", "messages": HELLO}
STREAM = {**CHAT, "stream": True}
USAGE_STREAM = {**STREAM, "stream_options": {"include_usage": True}}
RESPOND = {"model": "gpt-5-mini", "input": "How do we get rid of the paper forms?"}
CHAT_MODEL = "gpt-4o-mini-2024-07-18"
RESPONSE_MODEL = "gpt-5-mini-2025-08-07"
CUT = object()
"""A piece of a body at which the server hangs up."""


# --- what this version of openai can do -------------------------------------------------------------------------------


@functools.lru_cache
def _has(path: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = OpenAI(api_key="demo", http_client=openai.DefaultHttpxClient(verify=False))
        return all((found := getattr(found, name, None)) is not None for name in path.split("."))


def needs(path: str) -> pytest.MarkDecorator:
    """Skips a test, by name, where this version of openai lacks a method."""
    return pytest.mark.skipif(not _has(path), reason=f"openai {openai.__version__} has no {path}")


old_api = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""For methods that openai has deprecated and that must go on being counted."""


# --- expected records -------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What the API said in one of its answers (the last one by default), in the words of a record."""

    answer: int = -1


SAID = Said()
UNKNOWN: dict[str, Any] = {"input_tokens": None, "output_tokens": None, "total_tokens": None}


class Row(NamedTuple):
    """The parts of a record that a shape decides on."""

    endpoint: str
    model: str | None
    status: str
    error_type: str | None
    stream: bool
    usage_source: str
    usage: Any


def row(
    endpoint: str = "chat.completions",
    model: str | None = CHAT_MODEL,
    usage: Any = SAID,
    *,
    status: str = "ok",
    error: str | None = None,
    stream: bool = False,
    **counts: Any,
) -> Row:
    """An expected record; ``usage`` is ``SAID``, three token counts, or ``None`` for unknown ones."""
    if isinstance(usage, tuple) and not isinstance(usage, Said):
        usage = dict(zip(UNKNOWN, usage, strict=True))
    elif usage is None:
        usage = UNKNOWN
    source = "api" if usage is not UNKNOWN or counts.get("seconds") else "none"
    return Row(endpoint, model, status, error, stream, source, (usage, counts))


def _row_of(call: Any) -> Row:
    return Row(
        call.endpoint, call.model, call.status, call.error_type, call.stream, call.usage_source, call.usage.to_dict()
    )


def _counts(said: dict[str, Any]) -> dict[str, Any]:
    """A usage object of the API in the words of a record; on purpose not the reader of the package."""
    given = said.get("prompt_tokens", said.get("input_tokens"))
    made = said.get("completion_tokens", said.get("output_tokens"))
    total = said.get("total_tokens")
    if given is None:
        return {**UNKNOWN, **({"seconds": said["seconds"]} if said.get("seconds") else {})}
    counts = {"input_tokens": given, "output_tokens": total - given if made is None else made, "total_tokens": total}
    for side, names in (("input", ("prompt_tokens_details", "input_tokens_details", "input_token_details")), (
        "output", ("completion_tokens_details", "output_tokens_details"),
    )):  # fmt: skip
        details = next((said[name] for name in names if said.get(name)), {})
        for name, value in details.items():
            known = {"cached_tokens": "cached_input_tokens"}.get(name, name)
            known = f"{side}_{name}" if name in ("audio_tokens", "image_tokens") else known
            if value and known in openai_meter.core.usage.COUNTS:
                counts[known] = value
    return counts


def _usages(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [found for one in value for found in _usages(one)]
    if not isinstance(value, dict):
        return []
    own = [value["usage"]] if isinstance(value.get("usage"), dict) else []
    return own + [found for name, one in value.items() if name != "usage" for found in _usages(one)]


def _said(body: bytes) -> dict[str, Any]:
    try:
        return _counts(_usages(json.loads(body))[-1])
    except ValueError:
        lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: {")]
        return _counts([found for line in lines for found in _usages(json.loads(line))][-1])


# --- answers ----------------------------------------------------------------------------------------------------------


def chat_answer(**changes: Any) -> dict[str, Any]:
    """The body of a chat completion; a change of ``...`` leaves the field out."""
    message = {"role": "assistant", "content": "Hello.", "refusal": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": CHAT_MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(12, 5),
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def usage(given: int, made: int) -> dict[str, Any]:
    """The usage object of a chat completion."""
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def chunk(text: str | None = None, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """A chunk of a chat stream; a change of ``...`` leaves the field out."""
    delta = {} if text is None else {"content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": CHAT_MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def sends(*bodies: Any, status: int = 200, kind: str = "application/json") -> Any:
    """A script that answers each request with the next of these bodies, the last one for ever."""
    left = list(bodies)

    def script(_: Any) -> Answer:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, Answer):
            return body
        if isinstance(body, dict | list):
            return json_answer(body, status)
        return Answer(status, {"content-type": kind}, body)

    return script


def streams(*items: Any, end: str = "\n", done: bool = True) -> Any:
    """A script that answers with a chat stream; bytes go out as they are, and ``CUT`` cuts the connection."""

    def script(_: Any) -> Answer:
        def body() -> Any:
            for item in items:
                if item is CUT:
                    raise Hangup
                yield item if isinstance(item, bytes) else next(iter(data_frames([item], end)))
            if done:
                yield b"data: [DONE]" + 2 * end.encode()

        return event_answer(body())

    return script


def typed(*items: Any) -> Any:
    """A script that answers with events named after their types."""

    def script(_: Any) -> Answer:
        def body() -> Any:
            for item in items:
                if item is CUT:
                    raise Hangup
                yield from typed_frames([item])

        return event_answer(body())

    return script


def error_body(message: str = "No.", kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """The API's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def zipped(answer: Answer) -> Answer:
    """The same answer, compressed, piece by piece where it is streamed."""
    packer = zlib.compressobj(wbits=31)
    headers = {**answer.headers, "content-encoding": "gzip"}
    if isinstance(answer.body, bytes):
        return answer._replace(headers=headers, body=packer.compress(answer.body) + packer.flush())
    pieces = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in answer.body]
    return answer._replace(headers=headers, body=[*pieces, packer.flush()])


# --- the stage --------------------------------------------------------------------------------------------------------


_BOUNDARY = re.compile(rb"--[0-9a-f]{32}|boundary=[0-9a-f]{32}")


def _comparable(request: Any) -> tuple[Any, ...]:
    """A request without what differs from run to run."""
    headers = {
        name: _BOUNDARY.sub(b"", value.encode()) for name, value in request.headers.items() if name != "idempotency-key"
    }
    return request.method, request.path, request.query, headers, _BOUNDARY.sub(b"", request.body)


class Stage(DemoServer):
    """The demo API behind a tape."""

    def __init__(self) -> None:
        super().__init__(lambda request: self.script(request) if self.script is not None else None)
        self.script: Any = None
        self.live = False
        self.gzip = False
        self.set()

    def set(self, script: Any = None, *, live: bool = False, gzip: bool = False) -> None:
        """Prepares a new tape."""
        self.script, self.live, self.gzip = script, live, gzip
        self.tape: dict[Any, list[Answer]] = defaultdict(list)
        self.replay: dict[Any, list[Answer]] | None = None
        self.seen: list[Any] = []
        self.said: list[bytes] = []

    def rewind(self) -> list[Any]:
        """Returns the requests so far, and answers from the tape from now on."""
        seen, self.seen, self.said = self.seen, [], []
        self.replay = {key: list(answers) for key, answers in self.tape.items()}
        return seen

    def _reply(self, request: Any) -> Answer:
        self.seen.append(request)
        if self.live:
            return super()._reply(request)
        key = (request.method, request.path, request.query, _BOUNDARY.sub(b"", request.body))
        if self.replay is None:
            answer = super()._reply(request)
            if not isinstance(answer.body, bytes):
                answer = answer._replace(body=_pieces(answer.body))
            self.tape[key].append(answer)
        else:
            answer = self.replay[key].pop(0)
        self.said.append(
            answer.body if isinstance(answer.body, bytes) else b"".join(p for p in answer.body if p is not CUT)
        )
        answer = zipped(answer) if self.gzip else answer
        return answer if isinstance(answer.body, bytes) else answer._replace(body=_cutting(answer.body))


def _pieces(body: Any) -> list[Any]:
    pieces: list[Any] = []
    try:
        pieces.extend(body)
    except Hangup:
        pieces.append(CUT)
    return pieces


def _cutting(pieces: Any) -> Any:
    for piece in pieces:
        if piece is CUT:
            raise Hangup
        yield piece


class Failed(NamedTuple):
    """What a program saw of an exception."""

    kind: type[BaseException]
    text: str
    body: Any
    parts: dict[str, Any]


def show(value: Any) -> Any:
    """A value as it can be compared, with its types."""
    if isinstance(value, BaseModel):
        request_id = getattr(value, "_request_id", None)
        return type(value), repr(value), value.model_dump(warnings=False), value.model_fields_set, request_id
    if isinstance(value, BaseException):
        parts = {
            name: show(part) for name, part in vars(value).items() if name in ("completion", "code", "status_code")
        }
        return Failed(type(value), str(value), getattr(value, "body", None), parts)
    if isinstance(value, list | tuple):
        return type(value), [show(one) for one in value]
    if isinstance(value, str | bytes | int | float | dict | type | None):
        return value
    return type(value)


class Api(Steps):
    """What a scenario works with: a client of one kind, and a log of what the program saw."""

    def __init__(self, stage: Stage, *, is_async: bool) -> None:
        self.stage = stage
        self.is_async = is_async
        self.log: list[Any] = []
        self.error: str | None = None
        """The class of the last exception that reached the program."""
        self.before: Any = None
        library = openai.DefaultAsyncHttpxClient if is_async else openai.DefaultHttpxClient
        self.http = library(verify=False)  # reading the certificates of the machine takes longer than most tests
        self.client: Any = self.new()

    def new(self, sync: type[Any] = OpenAI, asynchronous: type[Any] = AsyncOpenAI, **options: Any) -> Any:
        """A client of this kind."""
        options = {"base_url": self.stage.base_url, "max_retries": 0, "api_key": "demo", **options}
        options = {name: value for name, value in options.items() if value is not ...}
        return (asynchronous if self.is_async else sync)(http_client=self.http, **options)

    def see(self, *values: Any) -> None:
        """Writes down what the program sees."""
        self.log.extend(show(value) for value in values)

    async def fail(self, call: Any, *args: Any, **kwargs: Any) -> None:
        """Calls something that raises, and writes down what."""
        try:
            await self.do(call(*args, **kwargs))
        except Exception as error:
            self.see(error)
            self.error = type(error).__name__
        else:
            pytest.fail("nothing was raised")

    async def next(self, items: Any) -> Any:
        """The next item of an iterator."""
        item = await self.do(items.__anext__() if self.is_async else next(items))
        self.see(item)
        return item

    async def close(self, stream: Any) -> None:
        """Closes a stream."""
        await self.do(stream.close())

    def elsewhere(self, method: str, path: str, body: Any) -> Any:
        """A request of another program."""
        connection = http.client.HTTPConnection(self.stage.url.removeprefix("http://"))
        try:
            connection.request(method, f"/v1{path}", json.dumps(body), {"authorization": "Bearer demo"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    async def collect(self) -> None:
        """Lets go of what was abandoned."""
        gc.collect()
        if self.is_async:
            for _ in range(5):  # an abandoned async generator is closed by a task of the loop
                await asyncio.sleep(0)

    def run(self, scenario: Any) -> None:
        """Runs a scenario to its end."""
        main = self._main(scenario)
        if self.is_async:
            asyncio.run(main)
            return
        try:
            main.send(None)
        except StopIteration:
            return
        main.close()
        pytest.fail("a scenario of the sync client suspended")

    async def _main(self, scenario: Any) -> None:
        try:
            await scenario(self)
            await self.collect()
        finally:
            await self.do(self.http.aclose() if self.is_async else self.http.close())


@dataclass
class Played:
    """What came of a scenario."""

    calls: tuple[Any, ...]
    totals: Any
    log: list[Any]
    requests: list[Any]
    said: list[bytes]
    error: str | None
    pending: int = field(default=0)

    def counts(self, *expected: Row, pending: int = 0) -> Played:
        """Asserts that these are the records, all of them; what the API did not tell is the estimate (guesses.py)."""
        wanted = [self._resolved(one) for one in expected]
        if len(wanted) == len(self.calls):
            wanted = [self._guessed(one, place) for place, one in enumerate(wanted)]
        _same("the records", [_row_of(call) for call in self.calls], wanted)
        _same("the number of open calls", self.pending, pending)
        return self

    def _guessed(self, expected: Row, place: int) -> Row:
        if expected.usage_source != "none" or not self.requests:
            return expected
        place = place if len(self.said) == len(self.calls) else -1
        said = self.said[place] if self.said else b""  # the connection was lost
        if (found := guessed(self.calls[place], self.requests[place], said)) is None:
            return expected
        source, usage = found
        return expected._replace(usage_source=source, usage={**expected.usage, **usage})

    def _resolved(self, expected: Row) -> Row:
        told, counts = expected.usage
        if isinstance(told, Said):
            told = _said(self.said[told.answer])
        error = self.error if expected.error_type == "raised" else expected.error_type
        return expected._replace(usage={**told, **counts}, error_type=error)


def _same(what: str, found: Any, wanted: Any) -> None:
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = [(one, other) for one, other in zip(found, wanted, strict=True) if one != other]
        assert not pairs, f"{what} differ, found and wanted:\n{_brief(pairs[0][0])}\n{_brief(pairs[0][1])}"
    assert found == wanted, f"{what} differ, found and wanted:\n{_brief(found)}\n{_brief(wanted)}"


def _brief(value: Any) -> str:
    return pprint.pformat(value, width=110)[:4000]


def act(stage: Stage, scenario: Any, *, is_async: bool) -> Api:
    """Plays a scenario once, whoever listens."""
    api = Api(stage, is_async=is_async)
    api.run(scenario)
    return api


def _play(
    stage: Stage,
    is_async: bool,
    scenario: Any,
    script: Any = None,
    *,
    before: Any = None,
    wrapped: bool = False,
    live: bool = False,
    gzip: bool = False,
) -> Played:
    """Plays a scenario bare and metered, and asserts that the program and the server could not tell which."""
    meter = openai_meter.Meter()
    stage.set(script, live=live, gzip=gzip)
    runs = []
    for metered in (False, True):
        api = Api(stage, is_async=is_async)
        api.before = before(api) if before is not None else None
        if metered:
            requests = stage.rewind()
            openai_meter.wrap(api.client, meter) if wrapped else openai_meter.install(meter=meter)
        api.run(scenario)
        runs.append(api)
    openai_meter.uninstall()
    bare, seen = runs
    _same("what the program saw", seen.log, bare.log)
    sent, sent_bare = (sorted(map(_comparable, some), key=repr) for some in (stage.seen, requests))
    _same("what was sent", sent, sent_bare)
    _same("the faults of the meter", faults.kinds(), {})
    _same("the faults of the server", list(stage.faults), [])
    _same("the number of calls", meter.totals.calls, len(meter.calls))
    return Played(
        meter.calls, meter.totals, seen.log, list(stage.seen), list(stage.said), seen.error, len(meter.pending)
    )


@pytest.fixture(scope="session")
def stage() -> Any:
    """One server for all shapes."""
    with Stage() as stage:
        yield stage


@pytest.fixture(params=["sync", "async"])
def play(request: Any, stage: Stage) -> Any:
    """Plays a scenario with the sync or the async client, bare and metered."""
    gc.freeze()  # these tests collect often, and what is there by now (a hundred modules) need not be looked through
    return functools.partial(_play, stage, request.param == "async")


@pytest.fixture(params=["sync", "async"])
def is_async(request: Any) -> bool:
    """Whether the async client is used."""
    return request.param == "async"
