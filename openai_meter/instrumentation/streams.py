"""Watches answers while the program reads them, without changing what the program holds.

A ``Stream`` stays the SDK's own object: its ``_iterator`` is put behind one of ours, which looks at each event on its
way. The end of reading is seen there; leaving early (``break``, ``close()``, a helper's exit, garbage collection) is
seen where all of these end, at the close of the HTTP response's byte stream. That one is replaced by a subclass of
httpx's own interface: unlike an attribute on the response, it does not get in the way of pickling it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.include_usage import strip_usage
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.usage.bodies import Body, body_reader
from openai_meter.usage.decompression import Decoder, DecompressionError, decoder
from openai_meter.usage.responses import ResponseState

__all__ = ["read_response", "watch_body", "watch_events"]


class Watch:
    """What is known of one answer that is being read; shared by those who see its events, its bytes and its close."""

    __slots__ = ("body", "busy", "decoder", "hears_close", "pending", "turn")

    def __init__(self, pending: CallInFlight) -> None:
        self.pending = pending
        self.body: Body | None = None
        self.decoder: Decoder | None = None
        """What decompresses a compressed body."""
        self.busy = False
        """Whether somebody is waiting for the next event: a close that happens meanwhile is not the program's."""
        self.hears_close = False
        """Whether the end of the response's byte stream is seen, however it comes."""
        self.turn = 0
        """Counts the streams made of this answer: a raw response may be parsed again, and only the last one counts."""

    def feed(self, data: bytes) -> None:
        """Takes the bytes that pass, as they came over the wire."""
        if self.busy or self.body is None:  # what a tap waits for, it will see as events
            return
        try:
            if self.decoder is None:
                self.body.feed(data)
                return
            for piece in self.decoder.feed(data):
                self.body.feed(piece)
        except DecompressionError:  # a broken body raises in the program's own reader
            self.pending.response.unreadable = True
            self.body.end()
            self.body = None
        except Exception as error:
            faults.caught(error, "reading a body")

    def through(self, error: BaseException | None) -> None:
        """Hears that the bytes have ended, or broken off; where an event is waited for, its tap tells that better."""
        if not self.busy:
            self._end(None if isinstance(error, GeneratorExit) else error, whole=error is None)

    def _end(self, error: BaseException | None, *, whole: bool) -> None:
        pending = self.pending
        if pending.finished:
            return
        try:
            if self.body is not None:
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

    __slots__ = ("_asked", "_fold", "_inner", "_next", "_reading", "_turn", "_watch")

    def __init__(self, inner: Any, step: Callable[[], Any], watch: Watch, *, injected: bool) -> None:
        self._watch = watch
        self._asked = injected
        self._fold: Callable[[ResponseState, Any], bool | None] | None = None
        """What reads an event once the first token has arrived; until then the call does, which records that moment."""
        self._reading = watch.pending.response
        self._inner = inner
        self._next = step
        watch.turn += 1
        self._turn = watch.turn

    def _shows(self, item: Any) -> bool:
        """Shows an event to the meter; whether the program is to see it too."""
        if (fold := self._fold) is None:
            pending = self._watch.pending
            pending.read_event(item)
            if pending.token_arrived:
                self._fold = pending.row.fold
        else:
            try:
                ordinary = fold(self._reading, item)
                if not self._asked:
                    return True
                if ordinary:  # what follows would look at it once more
                    item.__pydantic_fields_set__.discard("usage")
                    return True
            except Exception as error:
                faults.caught(error, f"reading an event of {self._watch.pending.row.name}")
        return not (self._asked and strip_usage(item))

    def _end(self, error: BaseException | None) -> None:
        self._watch.busy = False
        if self._turn == self._watch.turn:
            self._watch.pending.finish(error)

    def __getattr__(self, name: str) -> Any:
        # Whoever looks for what a generator has (close, gi_frame, ...) finds it.
        if name in _Tap.__slots__:
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Neither can it be copied, nor pickled: it says so in a generator's own words.
        return self._inner.__reduce_ex__(protocol)

    def __del__(self) -> None:
        watch = self._watch  # set first of all: there is no tap without
        # The program may have kept the response, to read on past the stream: then its end is the end.
        if not watch.hears_close and self._turn == watch.turn and not watch.pending.finished:
            watch.pending.collected = True
            watch.pending.finish(whole=False)


class EventTap(_Tap):
    """The tap of a ``Stream``. A class and not a generator: it costs half as much per event, and has no frame."""

    __slots__ = ()

    def __iter__(self) -> EventTap:
        return self

    def __next__(self) -> Any:
        watch = self._watch
        while True:
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
            if self._shows(item):
                return item


class AsyncEventTap(_Tap):
    """The tap of an ``AsyncStream``."""

    __slots__ = ()

    def __aiter__(self) -> AsyncEventTap:
        return self

    async def __anext__(self) -> Any:
        watch = self._watch
        while True:
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
            if self._shows(item):
                return item


def watch_events(stream: Any, pending: CallInFlight, *, is_async: bool, injected: bool) -> None:
    """Watches the events of a ``Stream`` or ``AsyncStream`` of the SDK.

    ``injected`` says whether the request for usage was added by the meter.
    """
    watch = _watch(stream.response, pending, is_async=is_async)
    inner = stream._iterator  # noqa: SLF001 - the one place where every way of reading a stream comes by
    stream._iterator = (  # noqa: SLF001
        AsyncEventTap(inner, inner.__anext__, watch, injected=injected)
        if is_async
        else EventTap(inner, inner.__next__, watch, injected=injected)
    )
    pending.open()


def watch_body(response: Any, pending: CallInFlight, *, is_async: bool) -> None:
    """Watches the bytes of a response that the program has yet to read; nothing is read before it does."""
    _watch(response, pending, is_async=is_async)
    pending.open()


def read_response(response: Any, pending: CallInFlight) -> None:
    """Reads a response whose body is already in memory."""
    body = body_reader(pending, response.headers.get("content-type", ""))
    if body is not None:
        body.feed(response.content)
        body.end()


def _watch(response: Any, pending: CallInFlight, *, is_async: bool) -> Watch:
    """The watch of a response: there is one, whoever looks first."""
    stream = response.stream
    if isinstance(stream, _Watched) and stream.watch.pending is pending:
        return stream.watch
    watch = Watch(pending)
    library = _library(response.__class__)
    if library is None:
        return watch  # an answer of neither httpx nor httpx2: it can be read, but not watched
    watch.body = body_reader(pending, response.headers.get("content-type", ""))
    encoding = response.headers.get("content-encoding")
    if encoding is not None:
        watch.decoder = decoder(encoding)
        if watch.decoder is None:
            watch.body = None
            pending.response.unreadable = True
    response.stream = _watched_type(library, is_async=is_async)(stream, watch)
    watch.hears_close = True
    return watch


class _Watched:
    """A response's byte stream, watched."""

    def __init__(self, inner: Any, watch: Watch) -> None:
        self.inner = inner
        self.watch = watch

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # of a copy in the making
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __del__(self) -> None:
        # The program has let go of an answer that it has neither read to the end nor closed.
        watch = self.__dict__.get("watch")
        if watch is not None:
            watch.pending.collected = True
            watch.closed()


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
    inner = self.inner.__aiter__()
    try:
        async for data in inner:
            self.watch.feed(data)
            yield data
    except BaseException as error:
        self.watch.through(error)
        raise
    finally:
        # httpx2 closes each of its generators from the one around it, and would not get past this one.
        if isinstance(inner, AsyncGenerator):
            await inner.aclose()
    self.watch.through(None)


async def _aclose(self: _Watched) -> None:
    try:
        await self.inner.aclose()
    finally:
        self.watch.closed()


@lru_cache(maxsize=4)
def _watched_type(library: ModuleType, *, is_async: bool) -> type[Any]:
    """The watched byte stream for httpx or httpx2."""
    if is_async:
        members = {"__aiter__": _aiterate, "aclose": _aclose}
        return type("WatchedAsyncStream", (_Watched, library.AsyncByteStream), members)
    return type("WatchedStream", (_Watched, library.SyncByteStream), {"__iter__": _iterate, "close": _close})


@lru_cache(maxsize=16)
def _library(response_type: type[object]) -> ModuleType | None:
    for ancestor in response_type.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return sys.modules.get(root)
    return None
