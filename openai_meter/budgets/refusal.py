"""Why a call is not sent: the values of ``BudgetExceededError``, and its sentence."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from openai_meter.budgets.account import Account
from openai_meter.budgets.budget import amount_in
from openai_meter.core.formatting import amount as money
from openai_meter.core.formatting import number, printable
from openai_meter.core.locale import Messages, language

__all__ = ["Refusal", "refusal_of"]

_NAME = 100
_HOST = "provider: "
"""How the reason begins where it is not known who sells there (:mod:`openai_meter.pricing.plan`)."""


class Refusal(NamedTuple):
    """A call that a budget does not admit. Amounts are in the unit of the budget; holds no part of a prompt."""

    budget: str
    key: str | None
    unit: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    asked: Decimal | None
    """The most that the call can cost; ``None`` if that is not known."""
    resets_at: datetime | None
    reason: str
    """``spent``, ``unpriced``, ``unbounded``, ``outage`` or ``fault``."""
    detail: str | None = None
    """Of a call that is unpriced or unbounded: why."""
    model: str | None = None
    per: str | None = None

    def message(self, lang: str | None = None) -> str:
        """The refusal in some sentences.

        Args:
            lang: the language, ``en`` or ``fr``; by default that of the environment.
        """
        m = language(lang)
        name = printable(self.budget, _NAME)
        if self.key is not None:
            name = m("budget.of", budget=name, key=printable(self.key, _NAME))
        values = {unit: self._shown(value, m) for unit, value in (("limit", self.limit), ("spent", self.spent),
                                                                   ("held", self.held))}  # fmt: skip
        needed = m("budget.unknown") if self.asked is None else self._shown(self.asked, m)
        text = m(
            f"budget.{self.reason}",
            budget=name,
            needed=needed,
            detail=printable(self.detail or "", _NAME),
            model=printable(self.model or m("budget.no_model"), _NAME),
            **values,
        )
        if self.reason == "unpriced" and (self.detail or "").startswith(_HOST):
            text += m("budget.host", host=printable(self.detail or "", _NAME).removeprefix(_HOST))
        if self.reason == "spent" and self.resets_at is not None:
            text += m("budget.resets", at=f"{self.resets_at:%Y-%m-%d %H:%M} UTC")
        return text

    def _shown(self, value: Decimal, m: Messages) -> str:
        if self.unit == "usd":
            places = max(2, min(-int(value.normalize().as_tuple().exponent), 6))
            return money(value, m.numbers, places)
        text = number(int(value), m.numbers)
        return m(self.unit, n=int(value), text=text)


def refusal_of(
    account: Account, asked: int | None, reason: str, *, detail: str | None = None, model: str | None = None
) -> Refusal:
    """The refusal of a call by one account."""
    budget = account.budget
    unit = budget.unit
    return Refusal(
        budget.name,
        account.key,
        unit,
        amount_in(unit, budget.limit),
        amount_in(unit, account.total_spent),
        amount_in(unit, account.total_held),
        None if asked is None else amount_in(unit, asked),
        account.end,
        reason,
        detail,
        model,
        budget.per,
    )
