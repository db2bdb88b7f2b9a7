"""Text that was not written by us, and places that cannot show every character."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from openai_meter.core.formatting import printable as shown

__all__ = ["fitting", "shown"]

# The signs that our own reports begin a line with: where they cannot be shown, they go together with their space.
_SIGNS = re.compile("(?m)^(\\*\\*)?(?:[📊🕐📞🔤💰💡📈📝]|[⏱⚠]\N{VARIATION SELECTOR-16}?) ")
_LINES = {"├─": "|-", "└─": "'-", "─": "-", "•": "*", "…": "..."}


def fitting(text: str, encoding: str | None) -> str:
    """The text, with other characters for those that an encoding lacks: ASCII lines, letters without their accents.

    Args:
        text: what is to be written.
        encoding: the encoding of the place; one that is unknown is taken for ASCII, ``None`` for UTF-8.
    """
    encoding = encoding or "utf-8"
    if _fits(text, encoding):
        return text
    if not _fits("📊", encoding):
        text = _SIGNS.sub(r"\1", text)
    for line, plain in _LINES.items():
        if not _fits(line, encoding):
            text = text.replace(line, plain)
    return "".join(_plain(one, encoding) for one in text)


def _plain(character: str, encoding: str) -> str:
    if _fits(character, encoding):
        return character
    base = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
    return base if base and _fits(base, encoding) else "?"


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(_known(encoding))
    except UnicodeError:
        return False
    return True


@cache
def _known(encoding: str) -> str:
    try:
        "".encode(encoding)
    except LookupError:
        return "ascii"
    return encoding
