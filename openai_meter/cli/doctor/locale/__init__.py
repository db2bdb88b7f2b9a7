"""The sentences of the doctor, in the languages of the other reports: one file each, all with the same keys.

A key is ``AREA.CODE`` of a finding, and ``AREA.CODE.do`` what to do about it.
A language without a file here is English.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from openai_meter.core.locale import Messages, language

__all__ = ["sentences"]


def sentences(lang: str | None = None) -> Messages:
    """The doctor's sentences in a language, which is chosen as for all reports.

    Raises:
        ConfigurationError: there is no such language.
    """
    chosen = language(lang)
    code = chosen.code
    code = code if find_spec(f"{__name__}.{code}") is not None else "en"
    module = import_module(f"{__name__}.{code}")
    return Messages(code, module.MESSAGES, module.plural, chosen.numbers)
