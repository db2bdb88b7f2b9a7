"""Watches answers while the program reads them, without changing what the program holds.

A ``Stream`` stays the SDK's own object: its ``_iterator`` is put behind one of ours, which looks at each event on its
way. The end of reading is seen there; leaving early (``break``, ``close()``, a helper's exit, garbage collection) is
seen where all of these end, at the close of the HTTP response's byte stream. That one is replaced by a subclass of
httpx's own interface: unlike an attribute on the response, it does not get in the way of pickling it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from openai_meter import faults
from openai_meter.bodies import Body, body_reader
from openai_meter.observe import Pending

__all__ = ["read_response", "watch_body", "watch_events"]

_ENCODED = 4 * 1024 * 1024
"""How much of a compressed body is kept, to be unpacked at its end."""


class Encoded(NamedTuple):
    """A compressed body: kept as it came, and unpacked by the HTTP library at its end."""

    encoding: str
    response_type: type[Any]
    data: bytearray

    def unpacked(self) -> bytes:
        """The body's bytes."""
        headers = {"content-encoding": self.encoding}
        content: bytes = self.response_type(200, headers=headers, content=bytes(self.data)).content
        return content


class Watch:
    """What is known of one answer that is being read; shared by those who see its events, its bytes and its close."""

    __slots__ = ("body", "busy", "encoded", "pending", "turn")

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.body: Body | None = None
        self.encoded: Encoded | None = None
        self.busy = False
        """Whether somebody is waiting for the next event: a close that happens meanwhile is not the program's."""
        self.turn = 0
        """Counts the streams made of this answer: a raw response may be parsed again, and only the last one counts."""

    def feed(self, data: bytes) -> None:
        """Takes the bytes that pass, as they came over the wire."""
        try:
            if self.encoded is not None:
                self.encoded.data.extend(data)
                if len(self.encoded.data) > _ENCODED:
                    self.encoded = self.body = None
            elif self.body is not None:
                self.body.feed(data)
        except Exception as error:
            faults.caught(error, "reading a body")

    def through(self, error: BaseException | None) -> None:
        """Hears that the bytes have ended, or broken off; where events are watched, those tell it better."""
        if not self.turn:
            self._end(None if isinstance(error, GeneratorExit) else error, whole=error is None)

    def _end(self, error: BaseException | None, *, whole: bool) -> None:
        pending = self.pending
        if pending.finished:
            return
        try:
            if self.body is not None:
                if self.encoded is not None:
                    self.body.feed(self.encoded.unpacked())
                self.body.end()
        except Exception as fault:
            faults.caught(fault, "reading a body")
        pending.finish(error, whole=whole)

    def closed(self) -> None:
        """Hears that the response was closed."""
        if not self.busy:
            self._end(None, whole=False)


class _Tap:
    """Stands before a stream's iterator and shows each event to the meter."""

    __slots__ = ("_inner", "_next", "_turn", "_watch")

    def __init__(self, inner: Any, step: Callable[[], Any], watch: Watch) -> None:
        self._inner = inner
        self._next = step
        self._watch = watch
        watch.turn += 1
        self._turn = watch.turn

    def _end(self, error: BaseException | None) -> None:
        self._watch.busy = False
        if self._turn == self._watch.turn:
            self._watch.pending.finish(error)

    def __getattr__(self, name: str) -> Any:
        # Whoever looks for what a generator has (close, gi_frame, ...) finds it.
        return getattr(self._inner, name)

    def __del__(self) -> None:
        watch = self._watch
        if self._turn == watch.turn and not watch.pending.finished:
            watch.pending.finish(whole=False)


class EventTap(_Tap):
    """The tap of a ``Stream``. A class and not a generator: it costs half as much per event, and has no frame."""

    __slots__ = ()

    def __iter__(self) -> EventTap:
        return self

    def __next__(self) -> Any:
        watch = self._watch
        watch.busy = True
        try:
            item = self._next()
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        watch.busy = False
        watch.pending.event(item)
        return item


class AsyncEventTap(_Tap):
    """The tap of an ``AsyncStream``."""

    __slots__ = ()

    def __aiter__(self) -> AsyncEventTap:
        return self

    async def __anext__(self) -> Any:
        watch = self._watch
        watch.busy = True
        try:
            item = await self._next()
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        watch.busy = False
        watch.pending.event(item)
        return item


def watch_events(stream: Any, pending: Pending, *, is_async: bool) -> None:
    """Watches the events of a ``Stream`` or ``AsyncStream`` of the SDK."""
    watch = _watch(stream.response, pending, is_async=is_async)
    watch.body = watch.encoded = None  # the events say it all
    inner = stream._iterator  # noqa: SLF001 - the one place where every way of reading a stream comes by
    stream._iterator = (  # noqa: SLF001
        AsyncEventTap(inner, inner.__anext__, watch) if is_async else EventTap(inner, inner.__next__, watch)
    )
    pending.open()


def watch_body(response: Any, pending: Pending, *, is_async: bool) -> None:
    """Watches the bytes of a response that the program has yet to read; nothing is read before it does."""
    watch = _watch(response, pending, is_async=is_async)
    watch.body = body_reader(pending, response.headers.get("content-type", ""))
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    library = _library(type(response))
    if watch.body is not None and library is not None and encoding not in ("", "identity"):
        watch.encoded = Encoded(encoding, library.Response, bytearray())
    pending.open()


def read_response(response: Any, pending: Pending) -> None:
    """Reads a response whose body is already in memory."""
    body = body_reader(pending, response.headers.get("content-type", ""))
    if body is not None:
        body.feed(response.content)
        body.end()


def _watch(response: Any, pending: Pending, *, is_async: bool) -> Watch:
    """The watch of a response: there is one, whoever looks first."""
    stream = response.stream
    if isinstance(stream, _Watched):
        if stream.watch.pending is not pending:
            stream.watch = Watch(pending)
        return stream.watch
    watch = Watch(pending)
    kind = _watched_type(response.__class__, is_async=is_async)
    if kind is not None:
        response.stream = kind(stream, watch)
    return watch


class _Watched:
    """A response's byte stream, watched."""

    def __init__(self, inner: Any, watch: Watch) -> None:
        self.inner = inner
        self.watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _iterate(self: _Watched) -> Iterator[bytes]:
    try:
        for data in self.inner:
            self.watch.feed(data)
            yield data
    except BaseException as error:
        self.watch.through(error)
        raise
    self.watch.through(None)


def _close(self: _Watched) -> None:
    try:
        self.inner.close()
    finally:
        self.watch.closed()


async def _aiterate(self: _Watched) -> AsyncIterator[bytes]:
    try:
        async for data in self.inner:
            self.watch.feed(data)
            yield data
    except BaseException as error:
        self.watch.through(error)
        raise
    self.watch.through(None)


async def _aclose(self: _Watched) -> None:
    try:
        await self.inner.aclose()
    finally:
        self.watch.closed()


@lru_cache(maxsize=16)
def _watched_type(response_type: type[object], *, is_async: bool) -> type[Any] | None:
    """The watched byte stream for a response's library, or ``None`` if that is neither httpx nor httpx2."""
    library = _library(response_type)
    if library is None:
        return None
    if is_async:
        members = {"__aiter__": _aiterate, "aclose": _aclose}
        return type("WatchedAsyncStream", (_Watched, library.AsyncByteStream), members)
    return type("WatchedStream", (_Watched, library.SyncByteStream), {"__iter__": _iterate, "close": _close})


def _library(response_type: type[object]) -> ModuleType | None:
    for ancestor in response_type.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return sys.modules.get(root)
    return None
