"""The spent amount of a window before this process, from the ledger."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from openai_meter.core.money import PICO

if TYPE_CHECKING:
    from openai_meter.budgets.account import Account
    from openai_meter.ledger import Ledger

__all__ = ["spent_in_ledger"]


def spent_in_ledger(ledger: Ledger, account: Account) -> int:
    """The sum of the ledger over the window of an account, in the unit of its budget.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    budget = account.budget
    wanted: dict[str, list[str]] = {name: sorted(values) for name, values in budget.match.items()}
    if budget.per is not None:
        wanted[budget.per] = [account.key or ""]
    filters: dict[str, Any] = {name: tuple(values) for name, values in wanted.items() if not name.startswith("tag")}
    if "tag" in wanted:
        return 0  # all tags of a call together: a ledger has no such filter
    tags = {name[4:]: tuple(values) for name, values in wanted.items() if name.startswith("tag:")}
    if tags:
        filters["tag"] = tags
    totals = ledger.totals(since=account.start, until=account.end, **filters)
    if budget.unit == "calls":
        return totals.calls
    return totals.total_tokens or 0 if budget.unit == "tokens" else ceil((totals.cost or 0) * PICO)
