"""The spaces of French typography: narrow and no-break before ``; ! ?``, no-break before ``:`` and inside ``« »``.

The catalogs are written with plain spaces, which can be seen in an editor, and are changed when they are loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

__all__ = ["french", "french_catalog"]

_Text = TypeVar("_Text", bound="str | tuple[str, ...]")

_NARROW, _NO_BREAK = "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
_HIGH = re.compile(r" (?=[;!?](?:\s|$|[\"')\]»]))")
_COLON = re.compile(r" (?=:(?:\s|$))")
_OPEN, _CLOSE = re.compile(r"« ?"), re.compile(r" ?»")


def french(text: str) -> str:
    """A French text with the spaces of its typography."""
    text = _COLON.sub(_NO_BREAK, _HIGH.sub(_NARROW, text))
    return _CLOSE.sub(f"{_NO_BREAK}»", _OPEN.sub(f"«{_NO_BREAK}", text))


def french_catalog(templates: Mapping[str, _Text], plain: Collection[str] = ()) -> dict[str, _Text]:
    """The templates of a catalog with those spaces.

    Args:
        templates: the templates by their keys.
        plain: areas of keys that stay as they are: the layouts of documents that are compared letter by letter.
    """
    return {key: one if key.partition(".")[0] in plain else _spaced(one) for key, one in templates.items()}


def _spaced(template: _Text) -> _Text:
    if isinstance(template, str):
        return french(template)  # type: ignore[return-value]
    return tuple(map(french, template))  # type: ignore[return-value]
