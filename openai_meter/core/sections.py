"""The parts of a request by their lengths and fingerprints: what shows where the input of two calls begins to differ.

Each part (the tools, the instructions, a message) is one record of a few bytes: what it is, its length in characters,
a hash of its text, and a hash of its shape (the text with every digit replaced by ``0``, in lower case, its words
sorted). Two texts with the same shape differ by a number, an id, a time or the order of their words alone.

In memory the hashes have no key, and are never written. A ledger stores fingerprints of them by a key of its own
(:func:`with_key`): without the key, no text can be tried out, and those of two ledgers cannot be compared.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

__all__ = ["MOST", "Section", "SectionKind", "SectionSettings", "pack_section", "read_sections", "with_key"]

SectionKind = Literal["tools", "instructions", "system", "developer", "user", "assistant", "tool", "other"]
"""What a part of a request is; messages by their role."""

_KINDS: tuple[SectionKind, ...] = (
    "tools", "instructions", "system", "developer", "user", "assistant", "tool", "other",
)  # fmt: skip
"""Their numbers are stored: add to the end."""
MOST = 12
"""Parts of a request that are kept: of a longer one the first and the last."""
_HASH, _SHAPE = 8, 4
"""Bytes of the hash of a text, and of its shape."""
_KEYED_HASH, _KEYED_SHAPE = 6, 3
"""Bytes of the fingerprints that are stored."""
_LONGEST = 4_000
"""Characters of a stored text from outside: a longer one is not read."""


class SectionSettings:
    """Whether the parts of requests are read; one for the process."""

    wanted = False
    """Whether a ledger takes the calls: nothing else needs them."""


class Section(NamedTuple):
    """One part of a request."""

    kind: SectionKind
    chars: int
    """Its length in characters."""
    fingerprint: bytes
    """Equal for equal texts, among the calls of one ledger."""
    shape: bytes
    """Equal for texts that differ in digits, capital letters or the order of their words alone."""


def pack_section(kind: str, chars: int, text: bytes, shape: bytes) -> bytes:
    """The record of one part, without a key.

    Args:
        kind: one of :data:`SectionKind`; anything else is ``other``.
        chars: the length of its text.
        text: what its fingerprint is made of.
        shape: what the fingerprint of its shape is made of.
    """
    number = _KINDS.index(kind) if kind in _KINDS else len(_KINDS) - 1
    return bytes([number]) + _packed(chars) + _hashed(text, _HASH) + _hashed(shape, _SHAPE)


def with_key(records: bytes, key: bytes) -> str:
    """The records as a ledger stores them: with fingerprints by its key, as base64."""
    found = b"".join(
        bytes([number]) + _packed(chars) + _hashed(text, _KEYED_HASH, key) + _hashed(shape, _KEYED_SHAPE, key)
        for number, chars, text, shape in _records(records, _HASH, _SHAPE)
    )
    return b64encode(found).decode("ascii")


def read_sections(stored: str | None) -> tuple[Section, ...]:
    """The parts of a request, as a ledger has stored them.

    Raises:
        ValueError: the text is damaged.
    """
    if not stored:
        return ()
    if len(stored) > _LONGEST:
        raise ValueError("sections are too long")
    try:
        records = [*_records(b64decode(stored, validate=True), _KEYED_HASH, _KEYED_SHAPE)]
        return tuple(Section(_KINDS[number], *more) for number, *more in records)  # type: ignore[arg-type]
    except IndexError as error:
        raise ValueError("sections are damaged") from error


def _records(data: bytes, hash_size: int, shape_size: int) -> Iterable[tuple[int, int, bytes, bytes]]:
    place = 0
    while place < len(data):
        number, chars = data[place], 0
        place += 1
        for shift in range(0, 42, 7):
            byte = data[place]
            place += 1
            chars |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        end = place + hash_size
        text, shape = data[place:end], data[end : end + shape_size]
        if len(shape) < shape_size:
            raise IndexError
        place = end + shape_size
        yield number, chars, text, shape


def _packed(number: int) -> bytes:
    """A whole number in as few bytes as it needs: seven bits in each."""
    return bytes(_sevens(number))


def _sevens(number: int) -> Iterator[int]:
    number = min(number, 2**42 - 1)
    while number >= 0x80:
        yield (number & 0x7F) | 0x80
        number >>= 7
    yield number


def _hashed(data: bytes, size: int, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=size, key=key).digest()
