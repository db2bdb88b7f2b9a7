"""``BudgetExceededError``: the exception that a program gets where a budget does not admit a call.

It is a child of ``openai.OpenAIError``, so that handlers around calls work. So openai is imported with this module,
which is loaded when a program names the error, or with the first refusal.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from openai import OpenAIError

from openai_meter.core.public import public
from openai_meter.errors import MeterError

if TYPE_CHECKING:
    from openai_meter.budgets.refusal import Refusal

__all__ = ["BudgetExceededError"]


@public
class BudgetExceededError(MeterError, OpenAIError):
    """A budget does not admit a call: nothing was sent. Raised by the method of the client that was called.

    The SDK does not try such a call again. Amounts are in the unit of the budget: dollars, tokens or calls. Its text is
    in the language of the environment; it holds no part of a prompt.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message())
        self.refusal = refusal

    @property
    def budget(self) -> str:
        """The name of the budget."""
        return self.refusal.budget

    @property
    def key(self) -> str | None:
        """Of a budget ``per`` something: for which value; else ``None``."""
        return self.refusal.key

    @property
    def limit(self) -> Decimal:
        """The limit of one window."""
        return self.refusal.limit

    @property
    def spent(self) -> Decimal:
        """The amount that was spent in this window when the call was refused."""
        return self.refusal.spent

    @property
    def held(self) -> Decimal:
        """The amount that was held for calls in flight."""
        return self.refusal.held

    @property
    def asked(self) -> Decimal | None:
        """The most that the call can cost; ``None`` if that is not known."""
        return self.refusal.asked

    @property
    def resets_at(self) -> datetime | None:
        """When the budget starts again, in UTC; ``None``: never."""
        return self.refusal.resets_at

    @property
    def reason(self) -> str:
        """``spent``, ``unpriced``, ``unbounded``, ``outage`` (the store does not answer) or ``fault``."""
        return self.refusal.reason

    def message(self, lang: str | None = None) -> str:
        """The reason in some sentences.

        Args:
            lang: the language, ``en`` or ``fr``; by default that of the environment.
        """
        return self.refusal.message(lang)

    def __reduce__(self) -> tuple[type[BudgetExceededError], tuple[Refusal]]:
        return type(self), (self.refusal,)
