"""Which language is spoken, and how a sentence is made of a key and its values.

Imports nothing but the standard library, and a language's file only when it is spoken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from openai_meter.core import settings
from openai_meter.errors import ConfigurationError

__all__ = ["Messages", "language", "languages"]

_PACKAGE = __name__.rpartition(".")[0]
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_ENGLISH = "en"

Template = str | tuple[str, ...]
"""A sentence for ``str.format``; a tuple has a form for each case of the ``plural`` rule, which ``n`` chooses."""


class Messages:
    """The sentences of one language: ``m("calls", n=3)`` is ``3 calls``. Immutable, safe to share between threads.

    Values are data: what stands in them is put into the sentence as it is.
    """

    __slots__ = ("_plural", "_templates", "code")

    def __init__(self, code: str, templates: Mapping[str, Template], plural: Callable[[float], int]) -> None:
        self.code = code
        """The ISO 639 code of the language."""
        self._templates = templates
        self._plural = plural

    def __call__(self, key: str, /, **values: Any) -> str:
        """The sentence of a key. A sentence with several forms needs the number ``n``.

        Raises:
            KeyError: there is no such key, or a value is missing.
        """
        template = self._templates[key]
        if isinstance(template, tuple):
            template = template[self._plural(values["n"])]
        return template.format_map(values)

    def __contains__(self, key: str) -> bool:
        """Whether there is a sentence of that key."""
        return key in self._templates

    def areas(self, *areas: str) -> dict[str, Template]:
        """The templates of all keys of some areas: what stands before the first dot of a key, or the whole key."""
        return {key: template for key, template in self._templates.items() if key.partition(".")[0] in areas}

    def __repr__(self) -> str:
        return f"<Messages {self.code!r}>"


def language(lang: str | None = None) -> Messages:
    """The sentences of a language.

    Args:
        lang: its code; region and encoding are passed over (``fr``, ``FR``, ``fr-CA``, ``fr_FR.UTF-8``). By default
            what the variable ``OPENAI_METER_LANG`` says, else the first of ``LC_ALL``, ``LC_MESSAGES`` and ``LANG``
            that is set. A locale that is not spoken here is no error: then it is English.

    Raises:
        ConfigurationError: ``lang`` or ``OPENAI_METER_LANG`` names a language that is not spoken here.
    """
    if lang is not None:
        return _asked(lang, f"lang={lang!r}")
    if wanted := settings.get("lang"):
        return _asked(wanted, f"{settings.source('lang')}={wanted!r}")
    locale = next((value for name in _LOCALE if (value := os.environ.get(name))), "")
    code = _code(locale)
    return _load(code if code in languages() else _ENGLISH)


@cache
def languages() -> tuple[str, ...]:
    """The codes of the languages that there are, sorted."""
    files = os.listdir(os.path.dirname(__file__))  # pkgutil would look into every folder, and takes longer to load
    found = {name for name, dot, end in (file.partition(".") for file in files) if end == "py" and 2 <= len(name) <= 3}
    return tuple(sorted(found | {_ENGLISH}))


def _asked(lang: object, said: str) -> Messages:
    code = _code(lang) if isinstance(lang, str) else ""
    if code not in languages():
        raise ConfigurationError(f"{said} is no language of openai_meter; use one of {', '.join(languages())}")
    return _load(code)


def _code(name: str) -> str:
    """``fr`` for ``fr_FR.UTF-8@euro``, ``fr-CA`` and `` FR ``."""
    for end in "_-.@":
        name = name.partition(end)[0]
    return name.strip().lower()


@cache
def _load(code: str) -> Messages:
    module = import_module(f"{_PACKAGE}.{code}")
    return Messages(code, module.MESSAGES, module.plural)
