"""Text inside Markdown: names and sentences that come from outside."""

from __future__ import annotations

import re

__all__ = ["escaped"]

# An underscore inside a word means nothing in Markdown; a tilde does on GitHub; a colon and a dot could make a link.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", text)
