"""The rows of a store of budgets, as they are read from outside of the programs that spend them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from openai_meter.alerts import ThresholdUsage
from openai_meter.budgets.budget import amount_in
from openai_meter.budgets.desk import StoredBudget, parsed_key
from openai_meter.budgets.stages import full_at, threshold_of
from openai_meter.budgets.stores import BudgetStore, Stored, StoreUnavailableError, open_store
from openai_meter.core import settings

__all__ = ["BudgetReader", "StoredRow", "budget_reader"]

_SQLITE = "sqlite:///"


class StoredRow(NamedTuple):
    """One budget, for one key, in the window of now."""

    budget: StoredBudget
    row: Stored

    @property
    def share(self) -> float:
        """The part of the limit that is spent: 1.0 is all of it."""
        return self.row.spent / self.row.limit

    @property
    def ends_at(self) -> datetime | None:
        """When its window ends, in UTC; ``None``: never."""
        return None if self.row.ends_at == float("inf") else datetime.fromtimestamp(self.row.ends_at, UTC)

    def usage(self, now: datetime) -> ThresholdUsage:
        """How far it is used up, and when the limit will be reached."""
        budget, row = self.budget, self.row
        spent = amount_in(budget.unit, row.spent)
        return ThresholdUsage(
            threshold_of(budget.unit, row.limit, None, budget.every, None),
            spent if budget.unit == "usd" else int(spent),
            self.share,
            row.spent >= row.limit,
            budget.key,
            resets_at=self.ends_at,
            budget=budget.name,
            full_at=full_at(row.limit, row.spent, budget.start, self.ends_at, now),
        )


class BudgetReader:
    """Reads the budgets of a store. Does not connect before it is asked, and never makes the file of a store.

    Args:
        url: the URL of the store.

    Raises:
        ConfigurationError: there is no such store.
        MissingExtraError: it needs a package that is not installed.
    """

    def __init__(self, url: str) -> None:
        self._store: BudgetStore = open_store(url)
        self._file = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None

    def rows(self, now: datetime | None = None) -> list[StoredRow]:
        """The rows whose window is not over, by name; of one budget, the most used key first.

        Raises:
            StoreUnavailableError: the store cannot be read now.
        """
        if self._file is not None and not self._file.exists():
            return []
        moment = (now or datetime.now(UTC)).timestamp()
        found = [
            StoredRow(budget, row)
            for row in self._store.stored()
            if row.limit and row.ends_at > moment and (budget := parsed_key(row.key)) is not None
        ]
        return sorted(found, key=lambda one: (one.budget.name, -one.share, one.budget.key or ""))

    def usage(self, now: datetime | None = None) -> tuple[ThresholdUsage, ...]:
        """How far each budget is used up, of one per something the most used key; nothing while the store is away."""
        moment = now or datetime.now(UTC)
        first: dict[tuple[str, str], StoredRow] = {}
        try:
            for one in self.rows(moment):
                first.setdefault((one.budget.name, one.budget.every), one)
        except StoreUnavailableError:
            return ()
        return tuple(one.usage(moment) for one in first.values())

    def close(self) -> None:
        """Closes the connection."""
        self._store.close()


def budget_reader() -> BudgetReader | None:
    """Reads the store that the environment names; ``None`` if it names none."""
    url = settings.get("budget_store")
    return BudgetReader(url) if url else None
