"""Chooses a language, and makes a sentence of a key and its values.

Imports nothing but the standard library, and the module of a language only when it is chosen. To add a language, add a
row to :data:`_CATALOGS`: there need not be a folder of files where the package runs (archives, frozen programs).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import Any

from openai_meter.core import settings
from openai_meter.core.formatting import ENGLISH, NumberStyle, localized
from openai_meter.errors import ConfigurationError

__all__ = ["Messages", "language", "languages", "set_default"]

_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")
_ENGLISH = "en"

Template = str | tuple[str, ...]
"""A sentence for ``str.format``; a tuple has a form for each case of the ``plural`` rule, which ``n`` chooses."""


class Messages:
    """The sentences of one language: ``m("calls", n=3)`` is ``3 calls``. Immutable, safe to share between threads.

    Values are data: texts are put into the sentence as they are. Numbers are written as people write them in that
    language, where the sentence has a format for them (``{n:,}``).
    """

    __slots__ = ("_plural", "_templates", "code", "numbers")

    def __init__(
        self,
        code: str,
        templates: Mapping[str, Template],
        plural: Callable[[float], int],
        numbers: NumberStyle = ENGLISH,
    ) -> None:
        self.code = code
        """The ISO 639 code of the language."""
        self.numbers = numbers
        """How numbers are written in the language."""
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
        if self.numbers is not ENGLISH:
            values = {name: self._localized(value) for name, value in values.items()}
        return template.format_map(values)

    def _localized(self, value: Any) -> Any:
        return value if isinstance(value, str) else _Localized(value, self.numbers)

    def plain(self) -> Messages:
        """The same sentences with numbers as in English: for the layouts that the guides fix, in every language."""
        return self if self.numbers is ENGLISH else Messages(self.code, self._templates, self._plural)

    def __contains__(self, key: str) -> bool:
        """Whether there is a sentence of that key."""
        return key in self._templates

    def areas(self, *areas: str) -> dict[str, Template]:
        """The templates of all keys of some areas: what stands before the first dot of a key, or the whole key."""
        return {key: template for key, template in self._templates.items() if key.partition(".")[0] in areas}

    def __repr__(self) -> str:
        return f"<Messages {self.code!r}>"


class _Localized:
    """A value that a template formats in the style of a language."""

    __slots__ = ("_style", "_value")

    def __init__(self, value: Any, style: NumberStyle) -> None:
        self._value = value
        self._style = style

    def __format__(self, spec: str) -> str:
        text = format(self._value, spec)
        return localized(text, self._style) if spec and isinstance(self._value, _NUMBERS) else text

    def __str__(self) -> str:
        return str(self._value)

    def __repr__(self) -> str:
        return repr(self._value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)


def language(lang: str | None = None) -> Messages:
    """The sentences of a language.

    Args:
        lang: its code; region and encoding are passed over (``fr``, ``FR``, ``fr-CA``, ``fr_FR.UTF-8``). By default
            that of :func:`set_default`, else that of ``OPENAI_METER_LANG``, else that of the locale: the first known
            one of ``LANGUAGE``, else the first of ``LC_ALL``, ``LC_MESSAGES`` and ``LANG`` that is set. If there are no
            sentences in the language of the locale, it is English.

    Raises:
        ConfigurationError: there are no sentences in the language of ``lang`` or ``OPENAI_METER_LANG``.
    """
    if lang is not None:
        return _load(_checked(lang, f"lang={lang!r}"))
    if _Default.code is not None:
        return _load(_Default.code)
    if configured := settings.get("lang"):
        return _load(_checked(configured, f"{settings.source('lang')}={configured!r}"))
    return _load(_of_locale())


class _Default:
    """The language that the program has chosen for the whole process."""

    code: str | None = None


def set_default(lang: str | None) -> None:
    """Chooses the language of the process, in place of that of the environment; ``None`` takes the choice back.

    Raises:
        ConfigurationError: there are no sentences in that language.
    """
    _Default.code = None if lang is None else _checked(lang, f"lang={lang!r}")


def _of_locale() -> str:
    locale = next((value for name in _LOCALE if (value := os.environ.get(name))), "")
    names = [locale]
    if locale not in _UNTRANSLATED:  # as GNU gettext does: LANGUAGE is not for programs in the C locale
        names = [*os.environ.get("LANGUAGE", "").split(":"), locale]
    return next((code for name in names if (code := _code(name)) in _CATALOGS), _ENGLISH)


_UNTRANSLATED = frozenset({"C", "POSIX"})


def languages() -> tuple[str, ...]:
    """The codes of the languages that there are, sorted."""
    return tuple(sorted(_CATALOGS))


def _checked(lang: object, given: str) -> str:
    code = _code(lang) if isinstance(lang, str) else ""
    if code not in _CATALOGS:
        raise ConfigurationError(f"{given} is not a language of openai_meter; use one of {', '.join(languages())}")
    return code


def _code(name: str) -> str:
    """``fr`` for ``fr_FR.UTF-8@euro``, ``fr-CA`` and `` FR ``."""
    for end in "_-.@":
        name = name.partition(end)[0]
    return name.strip().lower()


def _english() -> ModuleType:
    from openai_meter.core.locale import en  # noqa: PLC0415 - only the language that is chosen is loaded

    return en


def _french() -> ModuleType:
    from openai_meter.core.locale import fr  # noqa: PLC0415

    return fr


_CATALOGS: Mapping[str, Callable[[], ModuleType]] = {"en": _english, "fr": _french}
"""The languages. With an import statement for each, so that tools that freeze programs find its module."""
_NUMBERS = (int, float, Decimal)


@cache
def _load(code: str) -> Messages:
    module = _CATALOGS[code]()
    return Messages(code, module.MESSAGES, module.plural, module.NUMBERS)
