"""The table of everything that costs money: one row for each HTTP method and path of the API.

A request is recognised by method and path, never by the Python method that sent it: Python methods move between SDK
versions, and some programs do not use them (``client.post("/chat/completions", ...)``); paths have never moved. A
request without a row is free, or repeats the usage of another call, and is not recorded.

An endpoint is one row in :data:`ENDPOINTS` and one body in ``tests/data/answers/``. To add one, add both. If
no function ``read_*`` of ``responses.py`` fits, write one there. If the endpoint streams and no function ``fold_*`` of
``stream_events.py`` fits, write one there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from openai_meter.core.usage import count
from openai_meter.usage.responses import (
    Fields,
    ResponseState,
    read_batch,
    read_choices,
    read_embeddings,
    read_eval,
    read_grader,
    read_images,
    read_object,
    read_response,
    read_run,
    read_session,
    read_transcript,
    read_tuning,
    read_video,
)
from openai_meter.usage.stream_events import (
    fold_choices,
    fold_image,
    fold_response,
    fold_run,
    fold_session,
    fold_speech,
    fold_transcript,
)
from openai_meter.usage.text_deltas import add_chat_text, add_response_text

__all__ = ["ENDPOINTS", "LASTING", "Endpoint", "find"]

Role = Literal["call", "start", "poll", "cancel"]


def _always(_: ResponseState) -> bool:
    return True


def _never(_: ResponseState) -> bool:
    return False


def _was_background(response: ResponseState) -> bool:
    # A stored response can be read again at any time. Only the POST of a background response has not been counted yet.
    return response.background


class Endpoint(NamedTuple):
    """One row of :data:`ENDPOINTS`."""

    name: str
    """The endpoint's name in records: :attr:`Call.endpoint`."""
    method: str
    path: str
    """The path below the API's base URL, with ``{}`` for an id."""
    read: Callable[[ResponseState, Fields], None]
    """How a whole answer is read."""
    fold: Callable[[ResponseState, Any], None] | None = None
    """How one event of a stream is read, if the endpoint streams."""
    role: Role = "call"
    """``call``: each request is a record. ``start``: begins work on the server, which is a record when it is first read
    as finished. ``poll``: reads the state of such work. ``cancel``: ends it."""
    adopt: Callable[[ResponseState], bool] = _never
    """Whether finished work that was begun elsewhere is counted by the process that polls it."""
    request: Callable[[ResponseState, Fields], None] | None = None
    """How the request's body is read, where the answer lacks a count (characters of speech, number of images)."""
    free: bool = False
    """Whether the call is recorded but costs nothing and has no tokens (moderations)."""
    cumulative: bool = False
    """Whether the usage of finished work can grow later; then the growth is counted (agent sessions)."""
    estimate: bool = False
    """Whether tokens can be counted from the request and the answer where the API does not report them."""
    opt_in: bool = False
    """Whether a stream has usage only if the request sets ``stream_options.include_usage``."""
    add_text: Callable[[ResponseState, Any], bool] | None = None
    """The quick way for events with a piece of text and nothing else (``text_deltas.py``)."""


def _read_image_request(response: ResponseState, body: Fields) -> None:
    response.images_requested = count(body.get("n")) or 1


def _read_speech_request(response: ResponseState, body: Fields) -> None:
    text = body.get("input")
    if isinstance(text, str) and text:
        response.extra = {**response.extra, "characters": len(text)}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "chat.completions", "POST", "/chat/completions", read_choices, fold_choices, estimate=True, opt_in=True,
        add_text=add_chat_text,
    ),
    Endpoint("completions", "POST", "/completions", read_choices, fold_choices, estimate=True, opt_in=True),
    Endpoint(
        "responses", "POST", "/responses", read_response, fold_response, estimate=True, add_text=add_response_text
    ),
    Endpoint(
        "responses", "GET", "/responses/{}", read_response, fold_response, "poll", _was_background,
        add_text=add_response_text,
    ),
    Endpoint("responses", "POST", "/responses/{}/cancel", read_response, None, "cancel"),
    Endpoint("responses.compact", "POST", "/responses/compact", read_object, estimate=True),
    Endpoint("decisions", "POST", "/decisions", read_object),
    Endpoint("embeddings", "POST", "/embeddings", read_embeddings, estimate=True),
    Endpoint("moderations", "POST", "/moderations", read_object, free=True),
    Endpoint("images.generate", "POST", "/images/generations", read_images, fold_image, request=_read_image_request),
    Endpoint("images.edit", "POST", "/images/edits", read_images, fold_image, request=_read_image_request),
    Endpoint("images.variation", "POST", "/images/variations", read_images, request=_read_image_request),
    Endpoint("audio.transcriptions", "POST", "/audio/transcriptions", read_transcript, fold_transcript),
    Endpoint("audio.translations", "POST", "/audio/translations", read_transcript),
    Endpoint("audio.speech", "POST", "/audio/speech", read_object, fold_speech, request=_read_speech_request),
    # A video is counted when it is begun: programs that wait for a webhook never read the job again.
    Endpoint("videos", "POST", "/videos", read_video),
    Endpoint("videos", "POST", "/videos/edits", read_video),
    Endpoint("videos", "POST", "/videos/extensions", read_video),
    Endpoint("videos", "POST", "/videos/{}/remix", read_video),
    Endpoint("batches", "POST", "/batches", read_batch, None, "start"),
    Endpoint("batches", "GET", "/batches/{}", read_batch, None, "poll", _always),
    Endpoint("batches", "POST", "/batches/{}/cancel", read_batch, None, "cancel"),
    Endpoint("threads.runs", "POST", "/threads/{}/runs", read_run, fold_run, "start"),
    Endpoint("threads.runs", "POST", "/threads/runs", read_run, fold_run, "start"),
    Endpoint("threads.runs", "POST", "/threads/{}/runs/{}/submit_tool_outputs", read_run, fold_run, "poll", _always),
    Endpoint("threads.runs", "GET", "/threads/{}/runs/{}", read_run, None, "poll", _always),
    Endpoint("threads.runs", "POST", "/threads/{}/runs/{}/cancel", read_run, None, "cancel"),
    Endpoint("evals.runs", "POST", "/evals/{}/runs", read_eval, None, "start"),
    Endpoint("evals.runs", "GET", "/evals/{}/runs/{}", read_eval, None, "poll", _always),
    Endpoint("evals.runs", "POST", "/evals/{}/runs/{}", read_eval, None, "cancel"),  # until SDK 3.0
    Endpoint("evals.runs", "POST", "/evals/{}/runs/{}/cancel", read_eval, None, "cancel"),
    Endpoint("fine_tuning.jobs", "POST", "/fine_tuning/jobs", read_tuning, None, "start"),
    Endpoint("fine_tuning.jobs", "GET", "/fine_tuning/jobs/{}", read_tuning, None, "poll", _always),
    Endpoint("fine_tuning.jobs", "POST", "/fine_tuning/jobs/{}/cancel", read_tuning, None, "cancel"),
    Endpoint("fine_tuning.graders", "POST", "/fine_tuning/alpha/graders/run", read_grader),
    Endpoint("agents.sessions", "POST", "/agents/sessions", read_session, fold_session, "start", cumulative=True),
    Endpoint("agents.sessions", "GET", "/agents/sessions/{}", read_session, None, "poll", _always, cumulative=True),
    Endpoint(
        "agents.sessions", "GET", "/agents/sessions/{}/events", read_session, fold_session, "poll", _always,
        cumulative=True,
    ),
)  # fmt: skip

LASTING = frozenset(row.name for row in ENDPOINTS if row.role != "call")
"""The endpoints whose work can go on after the answer, and be polled."""

_ROWS = {(row.method, *row.path.strip("/").split("/")): row for row in ENDPOINTS}
_LONGEST = max(len(key) for key in _ROWS) - 1
# Which segments of a path are ids, for each number of segments that a row has.
_SHAPES = {tuple(part == "{}" for part in key[1:]) for key in _ROWS}


def find(method: str, url: str) -> Endpoint | None:
    """The row for a request, or ``None`` if it is free.

    ``url`` is a path below the base URL, or a whole URL; a query string and what comes before the API's own path
    (``/v1``, ``/openai/deployments/NAME``) are ignored. Thread-safe.
    """
    # Only paths are cached: a URL may have a password before its host, or a key in its query string.
    return _find(method, url if url in _PATHS or _is_path(url) else urlsplit(url).path)


_PATHS = frozenset(row.path for row in ENDPOINTS)


def _is_path(url: str) -> bool:
    return url[:1] == "/" and "?" not in url and url[:2] != "//"


@lru_cache(maxsize=4096)
def _find(method: str, path: str) -> Endpoint | None:
    parts = [part for part in path.split("/") if part]
    verb = method.upper()
    for start in range(max(len(parts) - _LONGEST, 0), len(parts)):
        rest = parts[start:]
        for shape in _SHAPES:
            if len(shape) == len(rest):
                key = (verb, *("{}" if is_id else part for part, is_id in zip(rest, shape, strict=True)))
                if (row := _ROWS.get(key)) is not None:
                    return row
    return None
