"""The demo API: the table of its endpoints, and the server that reads requests into calls."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from openai_meter.testing.fake_api import agents, assistants, chat, jobs, media, responses, small_endpoints
from openai_meter.testing.fake_api.handlers import (
    ApiError,
    Call,
    Json,
    State,
    Upload,
    Wanted,
    deletion,
    json_answer,
    listing,
    retrieve,
)
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request


class Route(NamedTuple):
    """One endpoint: `{...}` in the pattern is any one segment of the path."""

    method: str
    pattern: str
    answer: Callable[[Call], Answer]


ROUTES: tuple[Route, ...] = (
    Route("POST", "/chat/completions", chat.create_chat),
    Route("GET", "/chat/completions", listing("chat completion")),
    Route("GET", "/chat/completions/{id}", retrieve("chat completion")),
    Route("POST", "/chat/completions/{id}", chat.update_chat),
    Route("DELETE", "/chat/completions/{id}", deletion("chat completion", "chat.completion.deleted")),
    Route("GET", "/chat/completions/{id}/messages", chat.chat_messages),
    Route("POST", "/completions", chat.create_completion),
    Route("POST", "/responses", responses.create_response),
    Route("POST", "/responses/compact", responses.compact),
    Route("POST", "/responses/input_tokens", responses.count_input),
    Route("GET", "/responses/{id}", responses.retrieve_response),
    Route("DELETE", "/responses/{id}", responses.delete_response),
    Route("POST", "/responses/{id}/cancel", responses.cancel_response),
    Route("GET", "/responses/{id}/input_items", responses.input_items),
    Route("POST", "/embeddings", small_endpoints.create_embeddings),
    Route("POST", "/moderations", small_endpoints.create_moderation),
    Route("POST", "/decisions", small_endpoints.create_decision),
    Route("GET", "/models", small_endpoints.list_models),
    Route("GET", "/models/{id}", small_endpoints.retrieve_model),
    Route("POST", "/files", small_endpoints.create_file),
    Route("GET", "/files", listing("file")),
    Route("GET", "/files/{id}", retrieve("file")),
    Route("GET", "/files/{id}/content", small_endpoints.file_content),
    Route("DELETE", "/files/{id}", deletion("file", "file")),
    Route("POST", "/vector_stores", small_endpoints.create_vector_store),
    Route("GET", "/vector_stores/{id}", retrieve("vector store")),
    Route("DELETE", "/vector_stores/{id}", deletion("vector store", "vector_store.deleted")),
    Route("POST", "/vector_stores/{id}/search", small_endpoints.search_vector_store),
    Route("POST", "/images/generations", media.generate_image),
    Route("POST", "/images/edits", media.edit_image),
    Route("POST", "/images/variations", media.vary_image),
    Route("POST", "/audio/transcriptions", media.transcribe),
    Route("POST", "/audio/translations", media.translate),
    Route("POST", "/audio/speech", media.speak),
    Route("POST", "/videos", jobs.create_video),
    Route("POST", "/videos/edits", jobs.create_video),
    Route("POST", "/videos/extensions", jobs.create_video),
    Route("POST", "/videos/{id}/remix", jobs.create_video),
    Route("GET", "/videos", listing("video")),
    Route("GET", "/videos/{id}", retrieve("video")),
    Route("GET", "/videos/{id}/content", jobs.video_content),
    Route("DELETE", "/videos/{id}", deletion("video", "video.deleted")),
    Route("POST", "/batches", jobs.create_batch),
    Route("GET", "/batches", listing("batch")),
    Route("GET", "/batches/{id}", retrieve("batch")),
    Route("POST", "/batches/{id}/cancel", jobs.cancel_batch),
    Route("POST", "/evals", jobs.create_eval),
    Route("GET", "/evals/{id}", retrieve("eval")),
    Route("POST", "/evals/{id}/runs", jobs.create_eval_run),
    Route("GET", "/evals/{id}/runs/{id}", retrieve("eval run")),
    Route("POST", "/fine_tuning/jobs", jobs.create_tuning),
    Route("GET", "/fine_tuning/jobs", listing("fine-tuning job")),
    Route("GET", "/fine_tuning/jobs/{id}", retrieve("fine-tuning job")),
    Route("POST", "/fine_tuning/jobs/{id}/cancel", jobs.cancel_tuning),
    Route("POST", "/fine_tuning/alpha/graders/run", jobs.run_grader),
    Route("POST", "/assistants", assistants.create_assistant),
    Route("GET", "/assistants", listing("assistant")),
    Route("GET", "/assistants/{id}", retrieve("assistant")),
    Route("DELETE", "/assistants/{id}", deletion("assistant", "assistant.deleted")),
    Route("POST", "/threads", assistants.create_thread),
    Route("POST", "/threads/runs", assistants.create_thread_and_run),
    Route("GET", "/threads/{id}", retrieve("thread")),
    Route("DELETE", "/threads/{id}", deletion("thread", "thread.deleted")),
    Route("POST", "/threads/{id}/messages", assistants.create_message),
    Route("GET", "/threads/{id}/messages", assistants.list_messages),
    Route("POST", "/threads/{id}/runs", assistants.create_run),
    Route("GET", "/threads/{id}/runs", listing("run")),
    Route("GET", "/threads/{id}/runs/{id}", retrieve("run")),
    Route("POST", "/threads/{id}/runs/{id}/submit_tool_outputs", assistants.submit_tool_outputs),
    Route("POST", "/threads/{id}/runs/{id}/cancel", assistants.cancel_run),
    Route("GET", "/threads/{id}/runs/{id}/steps", assistants.list_steps),
    Route("POST", "/agents/sessions", agents.create_session),
    Route("GET", "/agents/sessions", listing("agent session")),
    Route("GET", "/agents/sessions/{id}", retrieve("agent session")),
    Route("POST", "/agents/sessions/{id}/events", agents.add_events),
    Route("GET", "/agents/sessions/{id}/events", agents.stream_events),
)
"""Every endpoint of the demo API, by method and path below `/v1`. To add an endpoint, add a row; rows are tried in
order, so a fixed path stands before the pattern that would also match it."""


def _compiled() -> dict[tuple[str, str], list[tuple[re.Pattern[str], Callable[[Call], Answer]]]]:
    """The table grouped by method and first segment, so that a request is held against few patterns."""
    table: dict[tuple[str, str], list[tuple[re.Pattern[str], Callable[[Call], Answer]]]] = {}
    for route in ROUTES:
        pattern = re.compile(re.sub(r"\{\w+\}", "([^/]+)", route.pattern))
        table.setdefault((route.method, route.pattern.split("/")[1]), []).append((pattern, route.answer))
    return table


_TABLE = _compiled()
_NAME = re.compile(r'[; ]name="([^"]*)"')
_FILENAME = re.compile(r'filename="([^"]*)"')
_PART_TYPE = re.compile(r"content-type: *([^\r\n;]+)", re.IGNORECASE)
_PLACES = re.compile(r"(?P<azure>/openai)?(/deployments/(?P<deployment>[^/]+)|/v1)?(?P<path>/.+)")


class DemoServer(LoopbackServer):
    """An API that clients of `openai` cannot tell from the real one by its answers, on a loopback address.

    `answer`, if given, is called first with every request; its result is sent, `None` leaves the request to
    the demo API. `polls` is the number of polls that find a background job in progress, before one finds it finished.
    Token counts depend on the request only; ids differ from request to request and from server to server.
    """

    def __init__(self, answer: Callable[[Request], Answer | None] | None = None, *, polls: int = 2) -> None:
        self._first = answer
        self._state = State(polls)
        super().__init__(self._reply)

    @property
    def base_url(self) -> str:
        """The value for `OpenAI(base_url=...)`; `AzureOpenAI(azure_endpoint=...)` takes `url`."""
        return f"{self.url}/v1"

    def answer(self, request: Request) -> Answer:
        """The demo API's own answer: for an `answer` hook that wants to change it or to slow its body down."""
        return answered(request, self._state)

    def _reply(self, request: Request) -> Answer:
        scripted = self._first(request) if self._first is not None else None
        return with_usual_headers(request, self.answer(request) if scripted is None else scripted, self._state)


def with_usual_headers(request: Request, answer: Answer, state: State) -> Answer:
    """The answer with the headers that the API adds to every one."""
    headers = {
        "x-request-id": state.new_id("req_"),
        "openai-organization": "demo-organization",
        "openai-processing-ms": str(20 + len(request.body) % 80),
        "openai-version": "2020-10-01",
    }
    return answer._replace(headers={**headers, **answer.headers})


def answered(request: Request, state: State, wanted: Wanted | None = None) -> Answer:
    """The demo API's answer to a request; its objects are in ``state``. Thread-safe."""
    try:
        _check_key(request.headers)
        place = _PLACES.fullmatch(request.path)
        if place is None or not (place["azure"] or request.path.startswith("/v1/")):
            raise _unknown(request)
        path = place["path"]
        for pattern, answer in _TABLE.get((request.method, path.split("/")[1]), ()):
            found = pattern.fullmatch(path)
            if found:
                ids = tuple(unquote(part) for part in found.groups())
                deployment = unquote(place["deployment"]) if place["deployment"] else None
                query = dict(parse_qsl(request.query))
                azure = bool(place["azure"])
                return answer(Call(request, state, ids, _body(request), query, deployment, azure, wanted or Wanted()))
        raise _unknown(request)
    except ApiError as error:
        return json_answer(error.body, error.status)


def _unknown(request: Request) -> ApiError:
    return ApiError(404, f"Nothing is served at {request.method} {request.path}.", code="unknown_url")


def _check_key(headers: Mapping[str, str]) -> None:
    key = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("api-key", "")
    if not key:
        raise ApiError(401, "The request carries no API key.", code="invalid_api_key")
    if key == "bad":
        raise ApiError(401, "The API key of the request is not correct.", code="invalid_api_key")


def _body(request: Request) -> Json:
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        return _form(kind, request.body)
    if not request.body:
        return {}
    try:
        body = request.json()
    except ValueError:
        raise ApiError(400, "The body of the request is not JSON.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body of the request is not a JSON object.")
    return body


def _form(kind: str, data: bytes) -> Json:
    """The parts of a multipart body by name; `name[]` collects into a list."""
    boundary = kind.partition("boundary=")[2].partition(";")[0].strip('" ')
    fields: Json = {}
    for part in data.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        headers = head.decode(errors="replace")
        payload = content.removesuffix(b"\r\n")
        name, filename = _NAME.search(headers), _FILENAME.search(headers)
        if name is None:
            continue
        kind_of_part = _PART_TYPE.search(headers)
        media_type = kind_of_part[1] if kind_of_part else "application/octet-stream"
        value = Upload(filename[1], media_type, payload) if filename else payload.decode(errors="replace")
        if name[1].endswith("[]"):
            fields.setdefault(name[1][:-2], []).append(value)
        else:
            fields[name[1]] = value
    return fields
