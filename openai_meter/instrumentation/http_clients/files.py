"""Reads the bytes of an answer as they are read from the file of a connection's socket.

An ``http.client.HTTPResponse`` reads from a file, its attribute ``fp``. urllib3 and requests read through that
response, and sometimes past it. All of them end at this file, so it is wrapped by one of ours, which reads the same
bytes. The bytes there are those of the wire, so the frames of HTTP/1.1 are removed first.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.client import HTTPResponse, IncompleteRead
from typing import Any, Protocol

from openai_meter.core import faults
from openai_meter.metering.raw_call import AnswerReader, RawCall

__all__ = ["watch_file", "watch_response"]


class Framing(Protocol):
    """The frames around the bytes of an answer."""

    whole: bool
    """Whether the answer has come to its end."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The bytes of the answer that are in the next bytes of the wire."""

    def end(self) -> None:
        """Called when the connection has no more bytes."""


class UntilClosed:
    """An answer that ends with the connection."""

    whole = False

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The same bytes."""
        return (data,)

    def end(self) -> None:
        """The answer is complete."""
        self.whole = True


class Counted:
    """An answer whose length its headers have."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.whole = length <= 0

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The same bytes."""
        self._left -= len(data)
        self.whole = self._left <= 0
        return (data,)

    def end(self) -> None:
        """This is too early, unless the answer is whole."""


class Chunked:
    """An answer in chunks: each has its length in a line before it, and an empty line after it."""

    def __init__(self) -> None:
        self.whole = False
        self._line = b""
        self._left = 0
        """Bytes of the current chunk that are to come, the end of its line included."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """The bytes of the chunks."""
        found = []
        while data and not self.whole:
            if self._left > 2:
                piece, data = data[: self._left - 2], data[self._left - 2 :]
                self._left -= len(piece)
                found.append(piece)
            elif self._left:
                skipped = min(self._left, len(data))
                self._left -= skipped
                data = data[skipped:]
            else:
                head, newline, data = data.partition(b"\n")
                self._line += head
                if newline:
                    self._begin_chunk()
        return found

    def _begin_chunk(self) -> None:
        line, self._line = self._line, b""
        try:
            length = int(line.partition(b";")[0], 16)
        except ValueError:  # the program's own reader raises an error for it
            length = 0
        self.whole = not length
        self._left = length + 2 if length else 0

    def end(self) -> None:
        """This is too early, unless the answer is whole."""


class WatchedFile:
    """Wraps the file of a response. All reads from it pass here."""

    def __init__(self, file: Any, reader: AnswerReader, framing: Framing) -> None:
        self._file = file
        self._reader = reader
        self._framing = framing

    def read(self, *size: Any) -> Any:
        """Reads bytes: to the end, if no size is given. Fewer than the size means that there are no more."""
        data = self._taking(self._file.read, size)
        wanted = size[0] if size else None
        self._take(data, at_end=wanted is None or wanted < 0 or len(data or b"") < wanted)
        return data

    def read1(self, *size: Any) -> Any:
        """Reads the bytes that are available."""
        data = self._taking(self._file.read1, size)
        self._take(data, at_end=not data and size != (0,))
        return data

    def readline(self, *size: Any) -> Any:
        """Reads a line."""
        data = self._taking(self._file.readline, size)
        self._take(data, at_end=not data and size != (0,))
        return data

    def readinto(self, buffer: Any) -> Any:
        """Reads bytes into a buffer."""
        number = self._taking(self._file.readinto, (buffer,))
        self._take(bytes(memoryview(buffer).cast("B")[: number or 0]), at_end=not number and len(buffer) > 0)
        return number

    def _taking(self, read: Any, arguments: tuple[Any, ...]) -> Any:
        try:
            return read(*arguments)
        except BaseException as error:
            self._reader.end(error)
            raise

    def _take(self, data: bytes | None, *, at_end: bool) -> None:
        reader, framing = self._reader, self._framing
        if reader.call.finished:
            return
        try:
            for piece in framing.feed(data or b""):
                reader.feed(piece)
            if at_end:
                framing.end()
        except Exception as error:
            faults.caught(error, "reading the file of a response")
        if framing.whole:
            reader.end()
        elif at_end:
            reader.end(IncompleteRead(b""))  # the program gets an error of its own library

    def close(self) -> None:
        """Closes the file: the program is done with the answer."""
        try:
            self._file.close()
        finally:
            self._reader.closed()

    def __getattr__(self, name: str) -> Any:
        if name == "_file":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._file, name)

    def __del__(self) -> None:
        reader = self.__dict__.get("_reader")
        if reader is not None:
            reader.closed()


def watch_response(response: HTTPResponse, call: RawCall) -> None:
    """Reads an ``http.client.HTTPResponse``, of which the headers have been read, as the program reads it."""
    headers = response.headers
    call.answered(response.status, [(name.encode(), value.encode()) for name, value in headers.items()])
    reader = AnswerReader(call, headers.get("content-type", ""), headers.get("content-encoding", ""))
    file: Any = response.fp
    if file is None:  # there is no body, or it has been read
        reader.end()
        return
    framing: Framing
    if response.chunked:
        framing = Chunked()
    elif response.length is None:
        framing = UntilClosed()
    else:
        framing = Counted(response.length)
    response.fp = WatchedFile(file, reader, framing)  # type: ignore[assignment] # it has all that is called
    call.open()


def watch_file(file: Any, reader: AnswerReader) -> WatchedFile:
    """The file of a response that comes from elsewhere, such as from a test's own adapter."""
    reader.call.open()
    return WatchedFile(file, reader, UntilClosed())
