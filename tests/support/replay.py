"""Recorded API traffic, played back to the real client: what ``test_recordings.py`` needs to drive and to look."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai._legacy_response import HttpxBinaryResponseContent
from pydantic import BaseModel

from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request

PIECE = 3989
"""Event streams go out in pieces of this many bytes, so that lines and characters are cut anywhere."""


# --- what was recorded ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Line:
    """One recorded request with its answer. Its fields are those of the file."""

    id: str
    method: str
    endpoint: str
    status: int
    stream: bool
    request: dict[str, Any] | None
    response_json: dict[str, Any] | None
    response_sse: str | None
    content_type: str | None
    model: str | None
    usage: list[int | None] | None
    tags: list[str]

    def answer(self) -> Answer:
        """The recorded answer; where the recording has no body, a tiny one of the same type."""
        headers = {"content-type": self.content_type} if self.content_type else {}
        if self.response_json is not None:
            return Answer(self.status, headers, json.dumps(self.response_json, ensure_ascii=False).encode())
        if self.response_sse is not None:
            return Answer(self.status, headers, _pieces(self.response_sse.encode()))
        kind = self.content_type or ""
        body = b"" if "resp:empty" in self.tags else b"tiny text" if kind.startswith("text/") else b"\x00\xff\x01"
        return Answer(self.status, headers, body)

    def said(self) -> Iterator[dict[str, Any]]:
        """The JSON objects of the answer: its body, or its events; what is no JSON object is passed over."""
        if self.response_json is not None:
            yield self.response_json
        for block in re.split(r"\n\n+", (self.response_sse or "").replace("\r\n", "\n")):
            data = "\n".join(row[5:].removeprefix(" ") for row in block.split("\n") if row.startswith("data:"))
            try:
                event = json.loads(data)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE] for start in range(0, len(body), PIECE))


def load(directory: str) -> list[Line]:
    """All lines of ``recordings.jsonl`` in a directory."""
    names = [field.name for field in fields(Line)]
    with (Path(directory) / "recordings.jsonl").open(encoding="utf-8") as file:
        return [Line(**{name: said[name] for name in names}) for said in map(json.loads, file)]


class Player:
    """A server on 127.0.0.1 that answers everything with one line, and remembers what it was asked."""

    def __init__(self) -> None:
        self.line: Line | None = None
        self.asked: list[Request] = []
        self.server = LoopbackServer(self._answer)

    def load(self, line: Line) -> None:
        """Has the next requests answered with this line."""
        self.line = line
        self.asked = []

    def _answer(self, request: Request) -> Answer:
        assert self.line is not None
        self.asked.append(request)
        return self.line.answer()

    def request(self) -> tuple[Any, ...] | None:
        """The one request that arrived, without what differs from call to call; ``None`` if there was none."""
        if not self.asked:
            return None
        assert len(self.asked) == 1, f"{len(self.asked)} requests for one call"
        method, path, query, headers, body = self.asked[0]
        headers = dict(headers)
        kind = headers.get("content-type", "")
        if (boundary := re.search(r"boundary=(\S+)", kind)) is not None:
            headers["content-type"] = kind.replace(boundary[1], "BOUNDARY")
            body = body.replace(boundary[1].encode(), b"BOUNDARY")
        return method, path, query, headers, body


# --- how the client is called -----------------------------------------------------------------------------------------

METHODS: dict[tuple[str, str], tuple[str, ...]] = {
    # method and path: the SDK's own method, and the names of the ids in the path's order
    ("GET", "/assistants"): ("beta.assistants.list",),
    ("POST", "/assistants"): ("beta.assistants.create",),
    ("DELETE", "/assistants/{id}"): ("beta.assistants.delete", "assistant_id"),
    ("GET", "/assistants/{id}"): ("beta.assistants.retrieve", "assistant_id"),
    ("POST", "/assistants/{id}"): ("beta.assistants.update", "assistant_id"),
    ("POST", "/audio/speech"): ("audio.speech.create",),
    ("POST", "/audio/transcriptions"): ("audio.transcriptions.create",),
    ("POST", "/audio/translations"): ("audio.translations.create",),
    ("GET", "/batches"): ("batches.list",),
    ("POST", "/batches"): ("batches.create",),
    ("GET", "/batches/{id}"): ("batches.retrieve", "batch_id"),
    ("POST", "/batches/{id}/cancel"): ("batches.cancel", "batch_id"),
    ("GET", "/chat/completions"): ("chat.completions.list",),
    ("POST", "/chat/completions"): ("chat.completions.create",),
    ("DELETE", "/chat/completions/{id}"): ("chat.completions.delete", "completion_id"),
    ("GET", "/chat/completions/{id}"): ("chat.completions.retrieve", "completion_id"),
    ("GET", "/chat/completions/{id}/messages"): ("chat.completions.messages.list", "completion_id"),
    ("POST", "/completions"): ("completions.create",),
    ("GET", "/containers"): ("containers.list",),
    ("POST", "/containers"): ("containers.create",),
    ("DELETE", "/containers/{id}"): ("containers.delete", "container_id"),
    ("GET", "/containers/{id}"): ("containers.retrieve", "container_id"),
    ("GET", "/containers/{id}/files"): ("containers.files.list", "container_id"),
    ("DELETE", "/containers/{id}/files/{id}"): ("containers.files.delete", "container_id", "file_id"),
    ("GET", "/containers/{id}/files/{id}"): ("containers.files.retrieve", "container_id", "file_id"),
    ("GET", "/containers/{id}/files/{id}/content"): ("containers.files.content.retrieve", "container_id", "file_id"),
    ("POST", "/conversations"): ("conversations.create",),
    ("DELETE", "/conversations/{id}"): ("conversations.delete", "conversation_id"),
    ("GET", "/conversations/{id}"): ("conversations.retrieve", "conversation_id"),
    ("POST", "/conversations/{id}"): ("conversations.update", "conversation_id"),
    ("GET", "/conversations/{id}/items"): ("conversations.items.list", "conversation_id"),
    ("DELETE", "/conversations/{id}/items/{id}"): ("conversations.items.delete", "conversation_id", "item_id"),
    ("GET", "/conversations/{id}/items/{id}"): ("conversations.items.retrieve", "conversation_id", "item_id"),
    ("POST", "/embeddings"): ("embeddings.create",),
    ("GET", "/files"): ("files.list",),
    ("POST", "/files"): ("files.create",),
    ("DELETE", "/files/{id}"): ("files.delete", "file_id"),
    ("GET", "/files/{id}"): ("files.retrieve", "file_id"),
    ("GET", "/files/{id}/content"): ("files.content", "file_id"),
    ("GET", "/fine_tuning/jobs"): ("fine_tuning.jobs.list",),
    ("POST", "/fine_tuning/jobs"): ("fine_tuning.jobs.create",),
    ("GET", "/fine_tuning/jobs/{id}"): ("fine_tuning.jobs.retrieve", "fine_tuning_job_id"),
    ("POST", "/fine_tuning/jobs/{id}/cancel"): ("fine_tuning.jobs.cancel", "fine_tuning_job_id"),
    ("GET", "/fine_tuning/jobs/{id}/checkpoints"): ("fine_tuning.jobs.checkpoints.list", "fine_tuning_job_id"),
    ("GET", "/fine_tuning/jobs/{id}/events"): ("fine_tuning.jobs.list_events", "fine_tuning_job_id"),
    ("POST", "/images/edits"): ("images.edit",),
    ("POST", "/images/generations"): ("images.generate",),
    ("POST", "/images/variations"): ("images.create_variation",),
    ("GET", "/models"): ("models.list",),
    ("DELETE", "/models/{id}"): ("models.delete", "model"),
    ("GET", "/models/{id}"): ("models.retrieve", "model"),
    ("POST", "/moderations"): ("moderations.create",),
    ("POST", "/realtime/client_secrets"): ("realtime.client_secrets.create",),
    ("POST", "/realtime/sessions"): ("beta.realtime.sessions.create",),
    ("POST", "/responses"): ("responses.create",),
    ("POST", "/responses/compact"): ("responses.compact",),
    ("POST", "/responses/input_tokens"): ("responses.input_tokens.count",),
    ("DELETE", "/responses/{id}"): ("responses.delete", "response_id"),
    ("GET", "/responses/{id}"): ("responses.retrieve", "response_id"),
    ("POST", "/responses/{id}/cancel"): ("responses.cancel", "response_id"),
    ("GET", "/responses/{id}/input_items"): ("responses.input_items.list", "response_id"),
    ("GET", "/skills"): ("skills.list",),
    ("POST", "/skills"): ("skills.create",),
    ("DELETE", "/skills/{id}"): ("skills.delete", "skill_id"),
    ("GET", "/skills/{id}"): ("skills.retrieve", "skill_id"),
    ("POST", "/skills/{id}/versions"): ("skills.versions.create", "skill_id"),
    ("POST", "/threads"): ("beta.threads.create",),
    ("POST", "/threads/runs"): ("beta.threads.create_and_run",),
    ("DELETE", "/threads/{id}"): ("beta.threads.delete", "thread_id"),
    ("POST", "/threads/{id}"): ("beta.threads.update", "thread_id"),
    ("GET", "/threads/{id}/messages"): ("beta.threads.messages.list", "thread_id"),
    ("DELETE", "/threads/{id}/messages/{id}"): ("beta.threads.messages.delete", "thread_id", "message_id"),
    ("POST", "/threads/{id}/messages/{id}"): ("beta.threads.messages.update", "thread_id", "message_id"),
    ("GET", "/threads/{id}/runs"): ("beta.threads.runs.list", "thread_id"),
    ("POST", "/threads/{id}/runs"): ("beta.threads.runs.create", "thread_id"),
    ("GET", "/threads/{id}/runs/{id}"): ("beta.threads.runs.retrieve", "thread_id", "run_id"),
    ("POST", "/threads/{id}/runs/{id}"): ("beta.threads.runs.update", "thread_id", "run_id"),
    ("POST", "/threads/{id}/runs/{id}/cancel"): ("beta.threads.runs.cancel", "thread_id", "run_id"),
    ("GET", "/threads/{id}/runs/{id}/steps"): ("beta.threads.runs.steps.list", "thread_id", "run_id"),
    ("GET", "/threads/{id}/runs/{id}/steps/{id}"): (
        "beta.threads.runs.steps.retrieve", "thread_id", "run_id", "step_id",
    ),
    ("POST", "/threads/{id}/runs/{id}/submit_tool_outputs"): (
        "beta.threads.runs.submit_tool_outputs", "thread_id", "run_id",
    ),
    ("POST", "/uploads"): ("uploads.create",),
    ("POST", "/uploads/{id}/cancel"): ("uploads.cancel", "upload_id"),
    ("POST", "/uploads/{id}/parts"): ("uploads.parts.create", "upload_id"),
    ("GET", "/vector_stores"): ("vector_stores.list",),
    ("POST", "/vector_stores"): ("vector_stores.create",),
    ("DELETE", "/vector_stores/{id}"): ("vector_stores.delete", "vector_store_id"),
    ("POST", "/vector_stores/{id}"): ("vector_stores.update", "vector_store_id"),
    ("POST", "/vector_stores/{id}/file_batches"): ("vector_stores.file_batches.create", "vector_store_id"),
    ("GET", "/vector_stores/{id}/file_batches/{id}"): (
        "vector_stores.file_batches.retrieve", "vector_store_id", "batch_id",
    ),
    ("POST", "/vector_stores/{id}/file_batches/{id}/cancel"): (
        "vector_stores.file_batches.cancel", "vector_store_id", "batch_id",
    ),
    ("GET", "/vector_stores/{id}/file_batches/{id}/files"): (
        "vector_stores.file_batches.list_files", "vector_store_id", "batch_id",
    ),
    ("GET", "/vector_stores/{id}/files"): ("vector_stores.files.list", "vector_store_id"),
    ("POST", "/vector_stores/{id}/files"): ("vector_stores.files.create", "vector_store_id"),
    ("DELETE", "/vector_stores/{id}/files/{id}"): ("vector_stores.files.delete", "vector_store_id", "file_id"),
    ("POST", "/vector_stores/{id}/search"): ("vector_stores.search", "vector_store_id"),
}  # fmt: skip
"""What the SDK has no method for in any version (``/organization/...``) is sent by ``client.get`` and its like."""

_TINY = ("tiny.bin", b"tiny")
UPLOADS: dict[str, dict[str, Any]] = {
    # what stands for the request of a recorded upload, which is null
    "/audio/transcriptions": {"file": _TINY, "model": "whisper-1"},
    "/audio/translations": {"file": _TINY, "model": "whisper-1"},
    "/files": {"file": _TINY, "purpose": "assistants"},
    "/images/edits": {"image": _TINY, "prompt": "a tiny image", "model": "gpt-image-1"},
    "/images/variations": {"image": _TINY, "model": "dall-e-2"},
    "/skills": {"files": [_TINY]},
    "/skills/{id}/versions": {"files": [_TINY]},
    "/uploads": {"purpose": "assistants", "filename": "tiny.bin", "bytes": 4, "mime_type": "text/plain"},
    "/uploads/{id}/parts": {"data": _TINY},
}


def asked(line: Line) -> dict[str, Any]:
    """What the program passes: the recorded fields, or for an upload those that stand for them."""
    if line.request is not None:
        return line.request
    standing = UPLOADS.get(line.endpoint, {}) if line.method == "POST" else {}
    return {**standing, "stream": True} if line.stream else standing


class Outcome(NamedTuple):
    """What the program got from one call, and what it sent."""

    items: list[Any]
    """The result, or the events of the stream; bytes for a binary one."""
    types: tuple[str, ...]
    """The type of the result itself (the stream's, not its events')."""
    error: tuple[str, str] | None
    """The type and the text of the exception."""
    request: tuple[Any, ...] | None
    by_post: bool
    """Whether it was sent by ``client.post`` and its like, because the SDK's method is not there or cannot say it."""


Runner = Callable[[Coroutine[Any, Any, Any]], Any]
"""How a coroutine is run."""
MODES = ("plain", "raw unparsed", "raw parsed", "streamed lines", "streamed bytes", "streamed parsed")
"""The ways to get at an answer."""
RAW_HEADER = "X-Stainless-Raw-Response"


async def play(client: OpenAI | AsyncOpenAI, player: Player, line: Line, mode: str = "plain") -> Outcome:
    """Makes the recorded call with a client, and reads its answer to the end. With a sync client, it never waits."""
    player.load(line)
    items: list[Any] = []
    types: list[str] = []
    error: tuple[str, str] | None = None
    by_post = False
    try:
        try:
            await _read(_by_method(client, line, mode), items, types, mode)
        except (AttributeError, TypeError):
            if player.asked:
                raise
            # Nothing was sent: this SDK has no such method, or its method wants fields that were not recorded.
            by_post = True
            await _read(_by_post(client, line, mode), items, types, mode)
    except Exception as raised:
        error = (type(raised).__name__, str(raised))
    return Outcome(items, tuple(types), error, player.request(), by_post)


def _by_method(client: Any, line: Line, mode: str) -> Any:
    path, *ids = METHODS.get((line.method, line.endpoint), ("none",))
    *resources, verb = path.split(".")
    owner = client
    for resource in resources:
        owner = getattr(owner, resource)
    method = getattr(owner, verb)
    known = set(inspect.signature(method).parameters)
    said = asked(line)
    passed = {name: value for name, value in said.items() if name in known}
    unknown = {name: value for name, value in said.items() if name not in known}
    if unknown:
        passed["extra_body"] = unknown
    passed.update((place, f"{place}_{number}") for number, place in enumerate(ids))
    if mode.startswith("raw"):
        method = getattr(owner.with_raw_response, verb)
    elif mode.startswith("streamed"):
        method = getattr(owner.with_streaming_response, verb)
    return method(**passed)


def _by_post(client: Any, line: Line, mode: str) -> Any:
    path = re.sub(r"\{id\}", "id_1", line.endpoint)
    options: dict[str, Any] = {}
    if mode != "plain":
        options["headers"] = {RAW_HEADER: "stream" if mode.startswith("streamed") else "raw"}
    if line.method == "GET":
        return client.get(path, cast_to=object, options=options)
    if line.method == "DELETE":
        return client.delete(path, cast_to=object, options=options)
    stream = bool(asked(line).get("stream"))
    kind = (AsyncStream if isinstance(client, AsyncOpenAI) else Stream)[object] if stream else None
    # A recorded upload cannot be sent as JSON: without the SDK's method its path is asked without a body.
    return client.post(path, cast_to=object, body=line.request, options=options, stream=stream, stream_cls=kind)


async def _read(result: Any, items: list[Any], types: list[str], mode: str) -> None:
    """Reads an answer in one of the :data:`MODES`; the same code for both kinds of clients."""
    async with AsyncExitStack() as stack:
        if hasattr(result, "__aenter__") and mode.startswith("streamed"):
            result = await stack.enter_async_context(result)
        elif hasattr(result, "__enter__") and mode.startswith("streamed"):
            result = stack.enter_context(result)
        result = await _waited(result)
        types.append(type(result).__name__)
        if mode.startswith("streamed"):
            stack.push_async_callback(_call, result.close)  # what client.post returned is no context manager
        if mode == "raw unparsed":
            items.append(await _call(getattr(result.http_response, "aread" if _is_async(result) else "read")))
        elif mode == "streamed lines":
            await _drain(result.iter_lines(), items)
        elif mode == "streamed bytes":
            items.append(await _call(result.read))
        else:
            await _take(result if mode == "plain" else await _call(result.parse), items)


def _is_async(raw: Any) -> bool:
    return isinstance(raw._client, AsyncOpenAI)


async def _take(result: Any, items: list[Any]) -> None:
    if isinstance(result, Stream | AsyncStream):
        try:
            await _drain(result, items)
        finally:
            await _call(result.close)
    elif isinstance(result, HttpxBinaryResponseContent):
        items.append(result.content)
    else:
        items.append(result)


async def _drain(source: Any, items: list[Any]) -> None:
    if not hasattr(source, "__aiter__"):
        source = _stepped(source)
    async for item in source:
        items += [item]  # one by one: what came before an error has been seen


async def _stepped(source: Iterable[Any]) -> AsyncIterator[Any]:
    for item in source:
        yield item


async def _waited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def _call(method: Callable[[], Any]) -> Any:
    return await _waited(method())


def run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a sync client made its caller wait")


def differences(bare: Outcome, metered: Outcome) -> Iterator[str]:
    """Whatever the program could tell a metered call from an unmetered one by."""
    for name in ("types", "error", "request", "by_post"):
        if (before := getattr(bare, name)) != (after := getattr(metered, name)):
            if name == "request" and before and after:  # only the parts that differ, of which the body is the largest
                before, after = zip(
                    *((one, two) for one, two in zip(before, after, strict=True) if one != two), strict=True
                )
            yield f"{name}: {_short(before)} became {_short(after)}"
    if len(bare.items) != len(metered.items):
        yield f"{len(bare.items)} items became {len(metered.items)}"
    for place, (before, after) in enumerate(zip(bare.items, metered.items, strict=False)):
        if not _same(before, after):
            yield f"item {place}: {_short(before)} became {_short(after)}"


def _same(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    # Equality looks at every model inside, and at which fields are set. But a page holds its own request's options,
    # and a NaN equals nothing: then the texts must be the same, which name every type inside too.
    return bool(before == after) or _written(before) == _written(after)


def _written(value: Any) -> tuple[str, ...]:
    dumped = value.model_dump(exclude_unset=True, warnings=False) if isinstance(value, BaseModel) else value
    return repr(value), repr(dumped)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:400]}..."
