"""Tokens of images, by their size. The size is read from the request and never from the network."""

from __future__ import annotations

import binascii
import struct
from math import ceil, sqrt

from openai_meter.usage.estimation.families import Patches, Tiles

__all__ = ["image_size", "image_tokens"]

_CAP = 1536
"""Patches that an image has at most: larger ones are shrunk."""
_HEADER = 65_536
"""Bytes of an image that are decoded to find its size; in a JPEG with a preview inside, the size comes late."""


def image_size(url: str) -> tuple[int, int] | None:
    """Width and height in pixels of the image in a data URL (PNG, JPEG, GIF, WebP); ``None`` if it cannot be read."""
    if not url.startswith("data:") or (start := url.find(",", 0, 256) + 1) == 0:
        return None
    text = "".join(url[start : start + _HEADER * 4 // 3].split())
    try:
        head = binascii.a2b_base64(text[: len(text) // 4 * 4].replace("-", "+").replace("_", "/"))
    except (ValueError, binascii.Error):
        return None
    for read in (_png, _gif, _webp, _jpeg):
        try:
            size = read(head)
        except (struct.error, IndexError):
            size = None
        if size is not None:
            return size if min(size) > 0 else None
    return None


def _png(head: bytes) -> tuple[int, int] | None:
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _gif(head: bytes) -> tuple[int, int] | None:
    if head[:6] not in {b"GIF87a", b"GIF89a"}:
        return None
    width, height = struct.unpack("<HH", head[6:10])
    return width, height


def _webp(head: bytes) -> tuple[int, int] | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


# Frames of a JPEG that carry its size: all that begin one, but not the tables among these numbers.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(head: bytes) -> tuple[int, int] | None:
    if head[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:  # padding, and markers without a length
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def image_tokens(rule: Tiles | Patches, size: tuple[int, int] | None, detail: object) -> int:
    """The tokens of an image; one of unknown size counts as a square of 1024 pixels."""
    width, height = size or (1024, 1024)
    if isinstance(rule, Patches):
        return _patches(rule, width, height)
    if detail == "low":
        return rule.base
    shrink = min(1.0, 2048 / max(width, height))
    shrink = min(shrink, 768 / min(width, height)) if min(width, height) * shrink > 768 else shrink
    # Rounded before it is rounded up: 768 that was computed as 768.0000000001 is not a second tile.
    across, down = (ceil(round(side * shrink, 6) / 512) for side in (width, height))
    return rule.base + rule.tile * across * down


def _patches(rule: Patches, width: int, height: int) -> int:
    patches = ceil(width / 32) * ceil(height / 32)
    if patches > _CAP:
        shrink = sqrt(32 * 32 * _CAP / (width * height))
        across, down = width * shrink / 32, height * shrink / 32
        # A whole number of patches has to fit in one direction: shrink a little more.
        shrink *= min(int(across) / across or 1, int(down) / down or 1)
        patches = min(ceil(width * shrink / 32) * ceil(height * shrink / 32), _CAP)
    return ceil(patches * rule.factor) + 1
