"""The table of everything that costs money: one row for each HTTP method and path of the API.

A request is recognised by method and path, never by the Python method that sent it: the Python methods move between
SDK versions, and some programs do without them (``client.post("/chat/completions", ...)``); the paths never did.
What has no row is free, or repeats what another call has told, and leaves no record.

To add an endpoint, add a row to :data:`ENDPOINTS` and an answer to ``tests/data/answers/``.
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
    fold_choices,
    fold_image,
    fold_run,
    fold_session,
    fold_speech,
    fold_transcript,
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
from openai_meter.usage.text_deltas import fold_deltas, fold_text

__all__ = ["ENDPOINTS", "LASTING", "Endpoint", "find"]

Role = Literal["call", "start", "poll", "cancel"]


def _always(_: ResponseState) -> bool:
    return True


def _never(_: ResponseState) -> bool:
    return False


def _was_background(response: ResponseState) -> bool:
    # A stored response can be read again at any time; only background ones were not paid for by their POST.
    return response.background


class Endpoint(NamedTuple):
    """One row of :data:`ENDPOINTS`."""

    name: str
    """What the endpoint is called in records: :attr:`Call.endpoint`."""
    method: str
    path: str
    """The path below the API's base URL, with ``{}`` for an id."""
    read: Callable[[ResponseState, Fields], None]
    """How a whole answer is read."""
    fold: Callable[[ResponseState, Any], bool | None] | None = None
    """How one event of a stream is read, if the endpoint streams. ``True`` is said of an SDK's
    object that brings a piece of text and no usage."""
    role: Role = "call"
    """``call``: each request is a record. ``start``: begins work on the server, which is a record when it is first seen
    finished. ``poll``: looks at such work. ``cancel``: ends it."""
    adopt: Callable[[ResponseState], bool] = _never
    """Whether finished work that was begun elsewhere counts for whoever polls it."""
    request: Callable[[ResponseState, Fields], None] | None = None
    """How the request's body is read, where the answer does not tell all (characters of speech, number of images)."""
    free: bool = False
    """Whether the call is recorded but costs nothing and has no tokens to know (moderations)."""
    cumulative: bool = False
    """Whether the usage of finished work can grow later, so that the growth counts again (agent sessions)."""
    estimate: bool = False
    """Whether tokens can be counted from the request and the answer where the API does not tell them."""
    asks: bool = False
    """Whether a stream has its usage only where the request asks for it (``stream_options.include_usage``)."""


def _drawn(response: ResponseState, body: Fields) -> None:
    response.images_asked = count(body.get("n")) or 1


def _spoken(response: ResponseState, body: Fields) -> None:
    text = body.get("input")
    if isinstance(text, str) and text:
        response.extra = {**response.extra, "characters": len(text)}


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("chat.completions", "POST", "/chat/completions", read_choices, fold_deltas, estimate=True, asks=True),
    Endpoint("completions", "POST", "/completions", read_choices, fold_choices, estimate=True, asks=True),
    Endpoint("responses", "POST", "/responses", read_response, fold_text, estimate=True),
    Endpoint("responses", "GET", "/responses/{}", read_response, fold_text, "poll", _was_background),
    Endpoint("responses", "POST", "/responses/{}/cancel", read_response, None, "cancel"),
    Endpoint("responses.compact", "POST", "/responses/compact", read_object, estimate=True),
    Endpoint("decisions", "POST", "/decisions", read_object),
    Endpoint("embeddings", "POST", "/embeddings", read_embeddings, estimate=True),
    Endpoint("moderations", "POST", "/moderations", read_object, free=True),
    Endpoint("images.generate", "POST", "/images/generations", read_images, fold_image, request=_drawn),
    Endpoint("images.edit", "POST", "/images/edits", read_images, fold_image, request=_drawn),
    Endpoint("images.variation", "POST", "/images/variations", read_images, request=_drawn),
    Endpoint("audio.transcriptions", "POST", "/audio/transcriptions", read_transcript, fold_transcript),
    Endpoint("audio.translations", "POST", "/audio/translations", read_transcript),
    Endpoint("audio.speech", "POST", "/audio/speech", read_object, fold_speech, request=_spoken),
    # A video is counted when it is begun: programs that wait for a webhook never ask for the job again.
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
"""The endpoints whose work can go on after the answer, and be asked for again."""

_ROWS = {(row.method, *row.path.strip("/").split("/")): row for row in ENDPOINTS}
_LONGEST = max(len(key) for key in _ROWS) - 1
# Which places of a path are ids, for each number of segments that a row has.
_SHAPES = {tuple(part == "{}" for part in key[1:]) for key in _ROWS}


def find(method: str, url: str) -> Endpoint | None:
    """The row for a request, or ``None`` if it is free.

    ``url`` is a path below the base URL, or a whole URL; a query string and whatever stands before the API's own path
    (``/v1``, ``/openai/deployments/NAME``) are passed over. Thread-safe.
    """
    # Only paths are remembered: a host may have a password before it, a query string a key in it.
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
