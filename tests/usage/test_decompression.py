"""Compressed bodies: every encoding, in pieces of any size, within bounds."""

from __future__ import annotations

import gzip
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.usage import decompression
from openai_meter.usage.decompression import DecompressionError, decoder, names_codings

TEXT = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}' * 40


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's header."""
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


ENCODED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT)),
    "gzip of several members": ("gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "gzip with padding": ("gzip", gzip.compress(TEXT) + b"\0" * 20),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(TEXT))),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "raw deflate": ("deflate", raw_deflate(TEXT)),
    "deflate, then gzip": ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
    "identity": ("identity", TEXT),
    "capitals": ("GZIP", gzip.compress(TEXT)),
}


def decompressed(encoding: str, pieces: list[bytes]) -> bytes:
    """All that follows from some pieces."""
    reader = decoder(encoding)
    assert reader is not None
    return b"".join(part for piece in pieces for part in reader.feed(piece))


@pytest.mark.parametrize("name", ENCODED)
@given(st.integers(1, 300))
def test_decoder_gives_the_text_from_pieces_of_any_size(name: str, size: int) -> None:
    """However a body is split, it is decompressed completely."""
    encoding, data = ENCODED[name]
    assert decompressed(encoding, [data[at : at + size] for at in range(0, len(data), size)]) == TEXT


def test_decoder_returns_large_bodies_completely() -> None:
    """A body of many times the size of one step is complete, also at its end."""
    text = b"".join(b"%d," % number for number in range(200_000))
    assert decompressed("gzip", [gzip.compress(text)]) == text


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "aes128gcm"])
def test_decoder_of_an_unknown_encoding_is_none(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package for an encoding, or where there is none, the body cannot be read."""
    monkeypatch.setattr(decompression, "import_module", missing)
    assert decoder(encoding) is None


@pytest.mark.parametrize("encoding", ["utf-8", "none", "UTF-8, gzip", "gzip, binary"])
def test_names_that_are_not_encodings_are_ignored(encoding: str) -> None:
    """Gateways send other words in the header; HTTP libraries pass such a body on as it is."""
    body = b'{"usage": {}}' * 100
    assert not names_codings(encoding)
    assert decompressed(encoding, [gzip.compress(body) if "gzip" in encoding else body]) == body


def missing(name: str) -> Any:
    raise ModuleNotFoundError(name)


class Reverser:
    """Stands for a package's decompressor."""

    def process(self, data: bytes) -> bytes:
        return data.swapcase()

    decompress = process


@pytest.mark.parametrize(
    ("encoding", "package"),
    [
        ("br", SimpleNamespace(Decompressor=Reverser)),
        ("zstd", SimpleNamespace(ZstdDecompressor=Reverser)),
        ("zstd", SimpleNamespace(ZstdDecompressor=lambda: SimpleNamespace(decompressobj=Reverser))),
    ],
)
def test_decoder_uses_the_package_of_the_program(
    encoding: str, package: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """brotli and zstd are decompressed by whichever package the program has."""
    monkeypatch.setattr(decompression, "import_module", lambda _: package)
    assert decompressed(encoding, [b"abc" * 5_000, b"DEF"]) == b"ABC" * 5_000 + b"def"


def test_decoder_reports_a_package_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a package raises, the body cannot be read from there on."""
    broken = SimpleNamespace(Decompressor=lambda: SimpleNamespace(process=missing))
    monkeypatch.setattr(decompression, "import_module", lambda _: broken)
    with pytest.raises(DecompressionError):
        decompressed("br", [b"abc"])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_decoder_reports_a_body_that_is_not_compressed(encoding: str) -> None:
    """A body that is not what its header says ends in one error."""
    with pytest.raises(DecompressionError):
        decompressed(encoding, [b"<html>", b"</html>" * 10])


def test_decoder_stops_at_a_body_of_gigabytes() -> None:
    """A small body that expands to gigabytes is abandoned after some megabytes."""
    bomb = gzip.compress(b"\0" * 64 * 1024 * 1024)
    reader = decoder("gzip")
    assert reader is not None
    given = 0
    with pytest.raises(DecompressionError):
        for part in reader.feed(bomb):
            given += len(part)
    assert given <= 17 * 1024 * 1024
