"""Budgets as people write them on a command line and in settings: ``5/day``, ``2000000tokens/day/user``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from openai_meter.budgets.budget import UNITS, Budget
from openai_meter.core import settings
from openai_meter.core.calendar_windows import CALENDAR_PERIODS
from openai_meter.errors import ConfigurationError

__all__ = ["budgets_of_settings", "parsed_budgets"]

_FORM = re.compile(
    rf"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*({'|'.join(UNITS)})?\s*/\s*([a-z]+)\s*(?:/\s*(\S.*))?", re.DOTALL
)
_REMEDY = (
    f"write AMOUNT[{'|'.join(UNITS)}]/PERIOD[/PER], such as 5/day, 500/month, 1000calls/hour or "
    f"2000000tokens/day/user. Without a unit it is US dollars. PERIOD: {', '.join(CALENDAR_PERIODS)}"
)


def parsed_budgets(texts: Iterable[str]) -> tuple[Budget, ...]:
    """The budgets of some texts, each once. The name of a budget is its text with the unit: ``5usd/day``.

    Raises:
        ConfigurationError: one cannot be used; the message has the form.
    """
    return tuple({budget.name: budget for budget in map(_parsed, texts)}.values())


def budgets_of_settings() -> tuple[Budget, ...] | None:
    """The budgets of ``OPENAI_METER_BUDGET``, or of the file next to the program; ``None`` if neither has any.

    Raises:
        ConfigurationError: one cannot be used; the message has the name of the setting, and the form.
    """
    texts = settings.get("budget")
    if texts is None:
        return None
    try:
        return parsed_budgets(texts)
    except ConfigurationError as error:
        raise ConfigurationError(f"{settings.source('budget')}: {error}") from None


def _parsed(text: str) -> Budget:
    found = _FORM.fullmatch(text.strip())
    if found is None or found[3] not in CALENDAR_PERIODS:
        raise ConfigurationError(f"{text!r} is not a budget; {_REMEDY}")
    number, unit, period, per = found[1], found[2] or "usd", found[3], found[4]
    amount = Decimal(number)
    name = f"{_shortest(amount)}{unit}/{period}" + (f"/{per}" if per else "")
    limit: dict[str, Any] = {unit: amount if unit == "usd" or amount != int(amount) else int(amount)}
    try:
        return Budget(name, every=period, per=per, **limit)
    except ConfigurationError as error:
        raise ConfigurationError(f"{text!r} cannot be used: {error}; {_REMEDY}") from None


def _shortest(amount: Decimal) -> str:
    """A number without needless zeros, so that ``5`` and ``5.00`` are one budget."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
