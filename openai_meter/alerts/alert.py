"""Alerts as values: what was passed or reached, and its sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from openai_meter.alerts.threshold import METRICS, Threshold, plain_number, plain_window
from openai_meter.core.formatting import NumberStyle, amount, exact_dollars, number, percent, printable
from openai_meter.core.locale import Messages, language
from openai_meter.core.money import exact
from openai_meter.core.public import get_state, public, set_state

__all__ = ["Alert"]

_NAME = 100
"""Characters of a name that a message shows."""
_NAMED = frozenset({"agent", "user", "session", "model"})
"""The dimensions that messages have a phrase of their own for."""


@public
@dataclass(frozen=True, slots=True)
class Alert:
    """A limit that was passed. Immutable; holds no prompt and no answer."""

    id: str
    """A UUID of version 7; the same for as long as the limit stays passed."""
    threshold: Threshold
    value: int | Decimal
    """What was counted: dollars, calls, tokens, errors; an average is rounded up to a tenth."""
    at: datetime
    """When the limit was passed, in UTC."""
    key: str | None = None
    """Which agent, user, session or model; ``None`` if the threshold is on all."""
    at_least: bool = False
    """Whether there are also calls of unknown cost or size, so that the true value is at least this."""
    budget: str | None = None
    """The name of the budget whose stage it is; ``None``: it is of a threshold."""
    stage: float | None = None
    """Of a budget: the part of the limit that was reached, such as 0.8."""
    refused: bool = False
    """Of a budget: whether it was raised as the budget began to refuse calls."""

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self)

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, ("id", "threshold", "value", "at", "key", "at_least"))

    @property
    def kind(self) -> str:
        """The metric of the threshold."""
        return self.threshold.metric

    @property
    def limit(self) -> int | Decimal:
        """The limit that was passed."""
        limit = exact(self.threshold.limit, "limit")
        return limit if METRICS[self.kind].money or limit != limit.to_integral_value() else int(limit)

    @property
    def window(self) -> timedelta | str | None:
        """The time in which the value was counted, or the name of the period; ``None``: since the start."""
        return self.threshold.window if isinstance(self.threshold.window, timedelta | str) else None

    def message(self, lang: str | None = None) -> str:
        """The alert in a sentence.

        Args:
            lang: the language, ``en`` or ``fr``; by default that of the environment.

        Raises:
            ConfigurationError: there is no such language.
        """
        m = language(lang)
        window, money = self.window, METRICS[self.kind].money
        if self.budget is not None:
            return self._budget_message(m)
        shown = _dollars(self.value, self.limit, m.numbers) if money else number(self.value, m.numbers)
        value = m(f"alert.value.{self.kind}", n=math.ceil(self.value), text=shown)
        return m(
            f"alert.{self.kind}",
            value=m("alert.at_least", value=value) if self.at_least else value,
            limit=_dollars(self.limit, 0, m.numbers) if money else number(self.limit, m.numbers),
            where=self._where(m),
            during=_during(window, m),
        )

    def _where(self, m: Messages) -> str:
        per, name = self.threshold.per, printable(self.key or "", _NAME)
        if per is None:
            return ""
        return m(f"alert.{per}", name=name) if per in _NAMED else m("alert.per", per=printable(per, _NAME), name=name)

    def _budget_message(self, m: Messages) -> str:
        money = METRICS[self.kind].money
        value, limit = Decimal(self.value), Decimal(self.limit)
        spent = exact_dollars(value, m.numbers) if money else number(self.value, m.numbers)
        shown = exact_dollars(limit, m.numbers) if money else m(self.kind, n=int(limit), text=number(limit, m.numbers))
        name = printable(self.budget or "", _NAME)
        if self.key is not None:
            name = m("budget.of", budget=name, key=printable(self.key, _NAME))
        share = percent(float(value / limit) if limit else 1.0, m.numbers)
        key = "alert.budget_refuses" if self.refused else "alert.budget"
        return m(key, budget=name, spent=spent, limit=shown, share=share, during=_during(self.window, m))

    def __str__(self) -> str:
        """The sentence of :meth:`message`."""
        return self.message()

    def to_dict(self, lang: str | None = None) -> dict[str, Any]:
        """The alert as plain JSON values; dollars are decimal strings.

        Args:
            lang: the language of the message.
        """
        money = METRICS[self.kind].money
        return {
            "alert": True,
            "message": self.message(lang),
            "id": self.id,
            "kind": self.kind,
            "value": f"{self.value:f}" if money else plain_number(self.value),
            "limit": f"{self.limit:f}" if money else plain_number(self.limit),
            "per": self.threshold.per,
            "key": self.key,
            "window": plain_window(self.threshold),
            "at": self.at.isoformat(),
            "at_least": self.at_least,
        } | ({} if self.budget is None else {"budget": self.budget, "stage": self.stage, "refused": self.refused})


def _dollars(value: int | Decimal, limit: int | Decimal, style: NumberStyle) -> str:
    """Dollars with two digits, or with as many more as it takes to see that they are above the limit."""
    exact_value = Decimal(value)
    places = next((places for places in range(2, 13) if Decimal(f"{value:.{places}f}") > limit), None)
    return amount(exact_value, style, max(-int(exact_value.as_tuple().exponent), 0) if places is None else places)


def _during(window: timedelta | str | None, m: Messages) -> str:
    if window is None:
        return ""
    if isinstance(window, str):
        return f" {m(f'this.{window}')}"
    return m("alert.during", window=_spoken(window, m))


def _spoken(window: timedelta, m: Messages) -> str:
    seconds = round(window.total_seconds())
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds % length == 0:
            return m(unit, n=seconds // length)
    return m("seconds", n=seconds)
