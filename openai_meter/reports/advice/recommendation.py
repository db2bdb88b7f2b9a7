"""A recommendation as a value, and its message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from openai_meter.core.formatting import NumberStyle, amount, decimals, number, printable
from openai_meter.core.locale import Messages, language
from openai_meter.core.public import public
from openai_meter.core.short_repr import short_repr

__all__ = ["Recommendation"]

_NAME = 100


@public
@dataclass(frozen=True, slots=True)
class Recommendation:
    """Something that could be done better, and what that would have saved. Immutable; holds no prompt."""

    kind: str
    """What it is about: the name of a rule, such as ``prompt_caching``."""
    saving: Decimal | None
    """The saving in US dollars over the recorded calls; ``None`` where the records do not show it.

    Savings of several recommendations are alternatives, or overlap: they do not add up.
    """
    calls: int
    """How many calls it is based on."""
    call_ids: tuple[str, ...]
    """The ids of the first five of them."""
    model: str | None = None
    """The model of all these calls; ``None`` if there are several."""
    agent: str | None = None
    parts: tuple[str, ...] = ()
    """The sentences of the message, by their keys."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The figures behind it: counts, and US dollars as ``Decimal``."""
    estimated: bool = False
    """Whether token counts or costs in it are estimates."""

    __repr__ = short_repr

    def __str__(self) -> str:
        """The sentences of :meth:`message`."""
        return self.message()

    def message(self, lang: str | None = None) -> str:
        """What to do, and how, in a few sentences.

        Args:
            lang: the language, ``en`` or ``fr``; by default that of the environment.

        Raises:
            ConfigurationError: there is no such language.
        """
        m = language(lang)
        where = "" if self.model is None else m("alert.model", name=_shown(self.model, "", m))
        where += "" if self.agent is None else m("alert.agent", name=_shown(self.agent, "", m))
        about = "~" if self.estimated else ""
        values = {name: _shown(value, about, m) for name, value in self.facts.items()}
        values |= {"calls": number(self.calls, m.numbers), "where": where}
        sentences = [m(f"advice.{part}", **values) for part in self.parts]
        if self.saving is not None:
            sentences.append(m("advice.saving", saving=_shown(self.saving, about, m)))
        return " ".join(sentences)

    def to_dict(self, lang: str | None = None) -> dict[str, Any]:
        """The recommendation as plain JSON values; dollars are decimal strings.

        Args:
            lang: the language of the message.
        """
        return {
            "kind": self.kind,
            "message": self.message(lang),
            "saving": None if self.saving is None else f"{self.saving:f}",
            "calls": self.calls,
            "call_ids": list(self.call_ids),
            "model": self.model,
            "agent": self.agent,
            "facts": {name: f"{one:f}" if isinstance(one, Decimal) else one for name, one in self.facts.items()},
            "estimated": self.estimated,
        }


def _shown(value: object, about: str, m: Messages) -> str:
    if isinstance(value, Decimal):
        return about + _dollars(value, m.numbers)
    if isinstance(value, int):
        return number(value, m.numbers)
    return printable(value, _NAME)


def _dollars(value: Decimal, style: NumberStyle) -> str:
    """Dollars with two digits from a dollar up, with four below, and with more where that would show nothing."""
    return amount(value, style, 2) if value.copy_abs() >= 1 else decimals(4, style)(value)
