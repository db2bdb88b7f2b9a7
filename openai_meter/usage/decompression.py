"""Decompresses the bodies that a program reads as raw bytes, piece by piece, within bounds.

gzip and deflate need the standard library alone. brotli and zstd are decompressed where the program has a package for
them, as its HTTP library does. A body in any other encoding cannot be read here; its call is estimated. A name that is
not that of an encoding (gateways send ``utf-8``) is ignored, as HTTP libraries do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Decoder", "DecompressionError", "decoder", "names_codings"]

_PIECE = 64 * 1024
"""How much is decompressed at a time: a small body may hold gigabytes."""
_FREE = 16 * 1024 * 1024
"""Bytes that a body may always have, decompressed."""
_RATIO = 20
"""How many times larger than its compressed form a body may be beyond that. Answers are texts, which shrink to a third
or a tenth. A program that reads raw bytes must not wait while zeros are decompressed."""


class DecompressionError(Exception):
    """The body does not have the encoding of its header, or is too large to be read in the background."""


class Decoder(Protocol):
    """Decompresses a body piece by piece."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decompressed pieces that follow from the next bytes.

        Raises:
            DecompressionError: there will be none from now on.
        """


def decoder(encoding: str) -> Decoder | None:
    """The decoder for the value of a ``Content-Encoding`` header; ``None`` if one of its encodings cannot be read here.

    Several encodings were applied in the order of the header, so that the last one is undone first.
    """
    steps: list[Decoder] = []
    for name in reversed(_names(encoding)):
        if name not in _CODINGS:
            continue
        make = _DECODERS.get(name)
        step = None if make is None else make()
        if step is None:
            return None
        steps.append(step)
    return _Bounded(steps)


def names_codings(encoding: str) -> bool:
    """Whether all names in a ``Content-Encoding`` header are those of encodings. If not, a body may be anything."""
    return _CODINGS.issuperset(_names(encoding))


def _names(encoding: str) -> list[str]:
    return [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]


class _Bounded:
    """Several decoders, one after the other, with a bound on their output."""

    def __init__(self, steps: list[Decoder]) -> None:
        self._steps = steps
        self._taken = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._taken += len(data)
        for piece in self._through(data, 0):
            self._given += len(piece)
            if self._given > max(_FREE, _RATIO * self._taken):
                raise DecompressionError(f"more than {_FREE} bytes, and {_RATIO} times its compressed size")
            yield piece

    def _through(self, data: bytes, place: int) -> Iterator[bytes]:
        if place == len(self._steps):
            yield data
            return
        for piece in self._steps[place].feed(data):
            yield from self._through(piece, place + 1)


class _Zlib:
    """gzip (also of several members) and deflate (with zlib's header, as it should have, or without)."""

    def __init__(self) -> None:
        self._object: Any = None
        self._head = b""
        """The bytes from which the format is recognised: of the body, or after the end of a member of it."""
        self._ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or self._object is not None:
            if self._object is None:
                self._head += data
                if len(self._head) < 2 or (self._ended and not self._head.startswith(_GZIP)):
                    return  # too short, or what follows the last member: padding
                data, self._head = self._head, b""
                self._object = zlib.decompressobj(_window_bits(data))
            try:
                piece = self._object.decompress(data, _PIECE)
            except zlib.error as error:
                raise DecompressionError(str(error)) from None
            if piece:
                yield piece
            data = self._object.unconsumed_tail
            if self._object.eof:
                self._object, self._ended, data = None, True, self._object.unused_data
            elif not data and len(piece) < _PIECE:
                return


_GZIP = b"\x1f\x8b"


def _window_bits(head: bytes) -> int:
    if head.startswith(_GZIP):
        return zlib.MAX_WBITS | 16
    # RFC 1950: the method 8 in the first byte, and a check of both.
    return zlib.MAX_WBITS if head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0 else -zlib.MAX_WBITS


class _Package:
    """A decoder of a package that the program has."""

    def __init__(self, decompress: Callable[[bytes], bytes]) -> None:
        self._decompress = decompress

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _SLICE):
            try:
                piece = self._decompress(data[start : start + _SLICE])
            except Exception as error:  # each package has its own
                raise DecompressionError(str(error)) from None
            if piece:
                yield piece


_SLICE = 4 * 1024
"""The bytes that such a package gets at a time: it returns all their output at once."""


def _imported(*names: str) -> Any:
    """The first of some modules that the program has."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _brotli() -> Decoder | None:
    package = _imported("brotli", "brotlicffi")
    if package is None:
        return None
    stream = package.Decompressor()
    return _Package(getattr(stream, "decompress", None) or stream.process)


def _zstd() -> Decoder | None:
    package = _imported("compression.zstd", "zstandard", "backports.zstd")
    if package is None:
        return None
    stream = package.ZstdDecompressor()
    return _Package((stream.decompressobj() if hasattr(stream, "decompressobj") else stream).decompress)


_DECODERS: dict[str, Callable[[], Decoder | None]] = {
    "gzip": _Zlib,
    "x-gzip": _Zlib,
    "deflate": _Zlib,
    "br": _brotli,
    "zstd": _zstd,
}
"""The decoder of each encoding. To add one, add a row."""
_CODINGS = frozenset(
    {*_DECODERS, "aes128gcm", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip"}
)  # https://www.iana.org/assignments/http-parameters, "HTTP Content Coding Registry"
