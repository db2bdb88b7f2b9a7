"""Reads answers while the program reads them, without changing the program's objects.

A ``Stream`` stays the SDK's own object: its ``_iterator`` is wrapped by one of ours, which reads each event.
The end of reading is seen there. Leaving early (``break``, ``close()``, a helper's exit, garbage collection) is seen
where all of these end, at the close of the HTTP response's byte stream. That one is replaced by a subclass of httpx's
own interface: unlike an attribute on the response, it does not prevent pickling.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

from openai_meter.core import faults
from openai_meter.instrumentation.include_usage import UsageFilter, strip_usage
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.usage.bodies import Body, body_reader
from openai_meter.usage.decompression import Decoder, DecompressionError, decoder, names_codings
from openai_meter.usage.responses import ResponseState

__all__ = ["read_response", "watch_body", "watch_events"]


class AnswerWatcher:
    """The state of one answer that is being read; shared by the wrappers of its events and of its bytes."""

    __slots__ = ("body", "decoder", "filter", "pending", "sees_close", "streams", "waiting")

    def __init__(self, pending: CallInFlight) -> None:
        self.pending = pending
        self.body: Body | None = None
        self.decoder: Decoder | None = None
        """The decoder of a compressed body."""
        self.filter: UsageFilter | None = None
        """Removes the answer to an injected option from the bytes, where the program reads bytes."""
        self.waiting = False
        """Whether a wrapped iterator waits for the next event. A close that happens meanwhile is not the program's."""
        self.sees_close = False
        """Whether the end of the response's byte stream is seen, however it comes."""
        self.streams = 0
        """The number of streams made of this answer: a raw response may be parsed again, and only the last counts."""

    def feed(self, data: bytes) -> None:
        """Reads bytes on their way, as they came over the wire."""
        if self.waiting or self.body is None:  # an iterator that waits for them will read them as events
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

    def visible(self, data: bytes) -> bytes:
        """The bytes for the program, of some received ones; empty, where an event is not complete."""
        if self.filter is None or self.waiting:  # from events, the SDK's wrapped iterator removes it
            return data
        return self.filter.feed(data)

    def rest(self) -> bytes:
        """The remaining bytes for the program at the end."""
        return b"" if self.filter is None else self.filter.end()

    def bytes_ended(self, error: BaseException | None) -> None:
        """Called when the bytes have ended, or broken off. An iterator that waits for an event handles that itself."""
        if not self.waiting:
            self._end(None if isinstance(error, GeneratorExit) else error, whole=error is None)

    def closed(self) -> None:
        """Called when the response was closed."""
        if not self.waiting:
            self._end(None, whole=False)

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


class EventReader:
    """Reads the events of one stream, and ends its call. The iterators over sync and async streams have one each."""

    __slots__ = ("_injected", "_number", "add_text", "response", "watcher")

    def __init__(self, watcher: AnswerWatcher, *, injected: bool) -> None:
        watcher.streams += 1
        self._number = watcher.streams
        self._injected = injected
        self.watcher = watcher
        self.response = watcher.pending.response
        add_text = watcher.pending.row.add_text or _no_text
        self.add_text = _stripping(add_text) if injected else add_text
        """Takes an event with a piece of text and nothing else; ``False`` for any other event, which is to be read."""

    def read(self, item: Any) -> bool:
        """Reads an event of any kind; whether the program is to see it."""
        self.watcher.pending.read_event(item)
        return not (self._injected and strip_usage(item))

    def end(self, error: BaseException | None) -> None:
        """Ends the call: the stream has ended, or broken off."""
        self.watcher.waiting = False
        if self._number == self.watcher.streams:
            self.watcher.pending.finish(error)

    def leave(self) -> None:
        """Ends the call if nothing else can see its end: the iterator is closed, or collected."""
        watcher = self.watcher
        # The program may have kept the response, to read on without the stream: then the end of the response counts.
        if not watcher.sees_close and self._number == watcher.streams and not watcher.pending.finished:
            watcher.pending.finish(whole=False)


AddText = Callable[[ResponseState, Any], bool]


def _no_text(_: ResponseState, __: Any) -> bool:
    return False


def _stripping(add_text: AddText) -> AddText:
    """For streams whose usage was requested by the meter: what :func:`strip_usage` does, for events with text."""

    def add_and_strip(response: ResponseState, item: Any) -> bool:
        if not add_text(response, item):
            return False
        item.__pydantic_fields_set__.discard("usage")
        return True

    return add_and_strip


def watched_events(inner: Iterator[Any], reader: EventReader) -> Iterator[Any]:
    """Iterates over the events of a ``Stream``, and reads each. Its first value is to be skipped.

    A generator, because that costs half as much per event as a class. It runs up to its first value before the program
    has it: what is closed or collected before that raises nothing inside.
    """
    watcher, response, add_text, read = reader.watcher, reader.response, reader.add_text, reader.read
    try:
        yield None
        watcher.waiting = True
        for item in inner:
            watcher.waiting = False
            if add_text(response, item) or read(item):
                yield item
            watcher.waiting = True
        reader.end(None)
    except BaseException as error:
        if watcher.waiting or not isinstance(error, GeneratorExit):
            reader.end(error)
        else:
            reader.leave()
            if (close := getattr(inner, "close", None)) is not None:
                close()
        raise


class WatchedAsyncEvents:
    """Iterates over the events of an ``AsyncStream``, and reads each.

    A class and not an async generator: an event loop that ends lists each generator that was left open, and closes it
    in a task of its own. It has no ``__getattr__``: with one, reading an attribute of its own takes ten times as long.
    """

    __slots__ = ("_add_text", "_inner", "_reader", "_response", "_watcher")

    def __init__(self, inner: Any, reader: EventReader) -> None:
        self._reader = reader
        self._watcher = reader.watcher
        self._response = reader.response
        self._add_text = reader.add_text
        self._inner = inner

    def __aiter__(self) -> WatchedAsyncEvents:
        return self

    async def __anext__(self) -> Any:
        watcher = self._watcher
        try:
            watcher.waiting = True
            async for item in self._inner:
                watcher.waiting = False
                if self._add_text(self._response, item) or self._reader.read(item):
                    return item
                watcher.waiting = True
            self._reader.end(None)
        except BaseException as error:
            self._reader.end(error)
            raise
        raise StopAsyncIteration

    def asend(self, value: Any) -> Any:
        return self._inner.asend(value)

    def athrow(self, *error: Any) -> Any:
        return self._inner.athrow(*error)

    def aclose(self) -> Any:
        return self._inner.aclose()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A generator cannot be copied or pickled; the error is the generator's own.
        return self._inner.__reduce_ex__(protocol)

    def __del__(self) -> None:
        self._reader.leave()  # set first in __init__: there is no object without it


def watch_events(stream: Any, pending: CallInFlight, *, is_async: bool, injected: bool) -> None:
    """Reads the events of a ``Stream`` or ``AsyncStream`` of the SDK as the program reads them.

    Args:
        stream: the stream.
        pending: the call that it answers.
        is_async: whether it is an ``AsyncStream``.
        injected: whether the meter has requested usage, and has to hide the answer to that.
    """
    reader = EventReader(_watch(stream.response, pending, is_async=is_async), injected=injected)
    inner = stream._iterator  # noqa: SLF001 - the one place that every way of reading a stream passes
    events: Any
    if is_async:
        events = WatchedAsyncEvents(inner, reader)
    else:
        events = watched_events(inner, reader)
        next(events)
    stream._iterator = events  # noqa: SLF001
    pending.open()


def watch_body(response: Any, pending: CallInFlight, *, is_async: bool, injected: bool) -> None:
    """Reads the bytes of a response as the program reads them; nothing is read before it does."""
    watcher = _watch(response, pending, is_async=is_async)
    if injected and watcher.sees_close and not _encoding(response):
        watcher.filter = UsageFilter()
    pending.open()


def read_response(response: Any, pending: CallInFlight) -> None:
    """Reads a response whose body is already in memory."""
    body = body_reader(pending, response.headers.get("content-type", ""))
    if body is not None:
        body.feed(response.content)
        body.end()


def _watch(response: Any, pending: CallInFlight, *, is_async: bool) -> AnswerWatcher:
    """The watcher of a response. There is one, for its bytes and for its events."""
    stream = response.stream
    if isinstance(stream, _WatchedBytes) and stream.watcher.pending is pending:
        return stream.watcher
    watcher = AnswerWatcher(pending)
    library = _library(response.__class__)
    if library is None:
        return watcher  # an answer of neither httpx nor httpx2: it can be read, but not watched
    watcher.body = body_reader(pending, response.headers.get("content-type", ""))
    encoding = _encoding(response)
    if encoding:
        watcher.decoder = decoder(encoding)
        pending.response.unreadable = not names_codings(encoding)  # what can be read of it counts all the same
        if watcher.decoder is None:
            watcher.body = None
            pending.response.unreadable = True
    response.stream = _watched_type(library, is_async=is_async)(stream, watcher)
    watcher.sees_close = True
    return watcher


def _encoding(response: Any) -> str:
    """How a body is compressed; empty, if it is not."""
    encoding: str = response.headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


class _WatchedBytes:
    """A response's byte stream, and its watcher."""

    def __init__(self, inner: Any, watcher: AnswerWatcher) -> None:
        self.inner = inner
        self.watcher = watcher

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __del__(self) -> None:
        # The program has dropped an answer that it has neither read to the end nor closed.
        watcher = self.__dict__.get("watcher")
        if watcher is not None:
            watcher.closed()


def _iterate(self: _WatchedBytes) -> Iterator[bytes]:
    watcher = self.watcher
    try:
        for data in self.inner:
            watcher.feed(data)
            if visible := watcher.visible(data):
                yield visible
        if rest := watcher.rest():
            yield rest
    except BaseException as error:
        watcher.bytes_ended(error)
        raise
    watcher.bytes_ended(None)


def _close(self: _WatchedBytes) -> None:
    try:
        self.inner.close()
    finally:
        self.watcher.closed()


class _AsyncBytes(AsyncGenerator[bytes, None]):
    """Iterates over watched bytes.

    A class and not an async generator: an event loop that ends lists each generator that was left open, and closes it
    in a task of its own. To httpx2 it has to look like a generator, or it would not close what is inside.
    """

    def __init__(self, inner: AsyncIterator[bytes], watcher: AnswerWatcher) -> None:
        self._inner = inner
        self._watcher = watcher
        self._ended = False

    async def __anext__(self) -> bytes:
        watcher = self._watcher
        while not self._ended:
            try:
                data = await self._inner.__anext__()
            except StopAsyncIteration:
                self._ended = True
                rest = watcher.rest()
                watcher.bytes_ended(None)
                if rest:
                    return rest
                break
            except BaseException as error:
                self._ended = True
                watcher.bytes_ended(error)
                raise
            watcher.feed(data)
            if visible := watcher.visible(data):
                return visible
        raise StopAsyncIteration

    async def asend(self, _: None) -> bytes:
        return await self.__anext__()

    async def athrow(self, *error: Any) -> bytes:
        await self.aclose()
        raise error[0]

    async def aclose(self) -> None:
        if isinstance(self._inner, AsyncGenerator):
            await self._inner.aclose()
        if not self._ended:
            self._ended = True
            self._watcher.closed()

    def __del__(self) -> None:
        # The generators around it were closed or collected in the middle: nothing can read on.
        if not self.__dict__.get("_ended", True):
            self._watcher.closed()


def _aiterate(self: _WatchedBytes) -> AsyncIterator[bytes]:
    return _AsyncBytes(self.inner.__aiter__(), self.watcher)


async def _aclose(self: _WatchedBytes) -> None:
    try:
        await self.inner.aclose()
    finally:
        self.watcher.closed()


@lru_cache(maxsize=4)
def _watched_type(library: ModuleType, *, is_async: bool) -> type[Any]:
    """The watched byte stream for httpx or httpx2."""
    if is_async:
        members = {"__aiter__": _aiterate, "aclose": _aclose}
        return type("WatchedAsyncBytes", (_WatchedBytes, library.AsyncByteStream), members)
    return type("WatchedBytes", (_WatchedBytes, library.SyncByteStream), {"__iter__": _iterate, "close": _close})


@lru_cache(maxsize=16)
def _library(response_type: type[object]) -> ModuleType | None:
    for ancestor in response_type.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in ("httpx", "httpx2"):
            return sys.modules.get(root)
    return None
