"""The common parts of all endpoints of the demo API: calls, errors, ids, stored objects and the two ways to answer."""

import itertools
import json
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from openai_meter.testing.fake_api.loopback import Answer, Request

Json: TypeAlias = dict[str, Any]
"""A JSON object, in the key order in which it is sent."""

KEPT_OBJECTS = 200
"""The number of objects of a kind that a server keeps; the oldest are removed."""


class ApiError(Exception):
    """An error that is answered with its status and the API's error object."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code},
        }


class Upload(NamedTuple):
    """One file of a multipart body."""

    filename: str
    content_type: str
    data: bytes


class Job:
    """An object that changes a little with each poll, such as a batch or a background response.

    `updates` are merged into the object one by one, each at one `poll`; after the last one it stays as it is.
    """

    def __init__(self, current: Json, updates: Iterable[Json] = ()) -> None:
        self._lock = threading.Lock()
        self._current = current
        self._updates = deque(updates)

    @property
    def current(self) -> Json:
        """A copy of the object as it is now."""
        with self._lock:
            return dict(self._current)

    @property
    def done(self) -> bool:
        """Whether no change is to come."""
        with self._lock:
            return not self._updates

    def poll(self) -> Json:
        """Applies the next change and returns a copy of the object."""
        with self._lock:
            if self._updates:
                self._current.update(self._updates.popleft())
            return dict(self._current)

    def finish(self) -> Json:
        """Applies all changes that were still to come and returns a copy of the object."""
        with self._lock:
            while self._updates:
                self._current.update(self._updates.popleft())
            return dict(self._current)

    def turn(self, now: Json, updates: Iterable[Json] = ()) -> Json:
        """Replaces the planned course: applies `now`, plans `updates`, returns a copy of the object."""
        with self._lock:
            self._current.update(now)
            self._updates = deque(updates)
            return dict(self._current)


class Shelf:
    """The objects of one kind that the server remembers, by id; safe to use from many threads."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def put(self, job: Job) -> Json:
        """Keeps the job under its object's id and returns a copy of the object."""
        current = job.current
        with self._lock:
            self._jobs[current["id"]] = job
            while len(self._jobs) > KEPT_OBJECTS:
                self._jobs.popitem(last=False)
        return current

    def get(self, key: str) -> Job:
        """Returns the job; raises the API's 404 when there is none."""
        with self._lock:
            job = self._jobs.get(key)
        if job is None:
            raise ApiError(404, f"No {self._kind} found with id '{key}'.")
        return job

    def drop(self, key: str) -> None:
        """Removes the job; raises the API's 404 when there is none."""
        self.get(key)
        with self._lock:
            self._jobs.pop(key, None)

    def all(self) -> list[Json]:
        """Copies of all objects, newest first."""
        with self._lock:
            jobs = list(self._jobs.values())
        return [job.current for job in reversed(jobs)]


class State:
    """The state of a server between two requests."""

    def __init__(self, polls: int) -> None:
        self.polls = polls
        self._lock = threading.Lock()
        self._shelves: dict[str, Shelf] = {}
        # Ids of two servers differ: a meter that counts calls by id may see both in one process.
        self._ids = (f"{uuid.uuid4().hex[:16]}{number:08d}" for number in itertools.count(1))

    def new_id(self, prefix: str) -> str:
        """Returns `prefix` and a tail that no other object has."""
        with self._lock:
            return prefix + next(self._ids)

    def shelf(self, kind: str) -> Shelf:
        """Returns the collection of this kind of object, made at first use."""
        with self._lock:
            return self._shelves.setdefault(kind, Shelf(kind))

    def now(self) -> int:
        """Seconds since 1970, as the API stamps its objects."""
        return int(time.time())


class Wanted(NamedTuple):
    """The content of the answer to a chat, a response or an embedding; ``None`` leaves it to the demo API."""

    text: str | None = None
    input_tokens: int | None = None
    """Cached ones included; none of them are cached then, unless :attr:`cached_input_tokens` is set."""
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    """Reasoning included; there is no reasoning then, unless :attr:`reasoning_tokens` is set."""
    reasoning_tokens: int | None = None
    usage: bool = True
    """Whether the answer has a usage."""
    any_model: bool = False
    """Whether models answer that the demo API does not have."""


_AS_IT_COMES = Wanted()


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to an endpoint: `ids` are the variable parts of the path, in order."""

    request: Request
    state: State
    ids: tuple[str, ...] = ()
    body: Json = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    deployment: str | None = None
    azure: bool = False
    wanted: Wanted = _AS_IT_COMES

    def need(self, name: str) -> Any:
        """Returns a parameter of the body; raises the API's 400 when it is missing or null."""
        value = self.body.get(name)
        if value is None:
            message = f"Missing required parameter: '{name}'."
            raise ApiError(400, message, param=name, code="missing_required_parameter")
        return value

    @property
    def streamed(self) -> bool:
        """Whether an event stream is requested; in form fields, the value is text."""
        return self.body.get("stream") in (True, "true", "True", "1")


def json_answer(body: Json, status: int = 200) -> Answer:
    """Answers with indented JSON, as the real API does outside of streams."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return Answer(status, {"content-type": "application/json"}, text.encode() + b"\n")


def frame(data: Json | str, event: str | None = None, end: str = "\n") -> bytes:
    """One server-sent event; `data` that is text, such as `[DONE]`, is sent as it is."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    head = f"event: {event}{end}" if event else ""
    return f"{head}data: {text}{end}{end}".encode()


def data_frames(items: Iterable[Json], end: str = "\n") -> Iterator[bytes]:
    """Frames without event names, closed by `[DONE]`."""
    for item in items:
        yield frame(item, end=end)
    yield frame("[DONE]", end=end)


def typed_frames(items: Iterable[Json]) -> Iterator[bytes]:
    """Frames named after each item's `type`, without `[DONE]`."""
    for item in items:
        yield frame(item, item["type"])


def event_answer(frames: Iterable[bytes]) -> Answer:
    """Answers with an event stream; each frame is made only when the one before it is sent."""
    return Answer(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}, frames)


def page(items: list[Json], query: Mapping[str, str]) -> Json:
    """A list object with the first `limit` items (20 unless told) after the one with id `after`."""
    after = query.get("after")
    ids = [item["id"] for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    limit = int(query.get("limit", "20"))
    shown = items[start : start + limit]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {
        "object": "list",
        "data": shown,
        "first_id": first,
        "last_id": last,
        "has_more": start + limit < len(items),
    }


def retrieve(kind: str) -> Callable[[Call], Answer]:
    """Makes the endpoint that shows one object of a kind; each request for it is a poll."""
    return lambda call: json_answer(call.state.shelf(kind).get(call.ids[-1]).poll())


def listing(kind: str) -> Callable[[Call], Answer]:
    """Makes the endpoint that lists the objects of a kind, newest first."""
    return lambda call: json_answer(page(call.state.shelf(kind).all(), call.query))


def deletion(kind: str, deleted: str) -> Callable[[Call], Answer]:
    """Makes the endpoint that deletes an object of a kind; `deleted` is the object name in its answer."""

    def delete(call: Call) -> Answer:
        call.state.shelf(kind).drop(call.ids[-1])
        return json_answer({"id": call.ids[-1], "object": deleted, "deleted": True})

    return delete
