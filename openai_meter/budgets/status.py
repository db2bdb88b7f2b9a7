"""The figures of a budget, as values: ``meter.budgets["prod"]`` and ``meter.budgets["per user"]["u-17"]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from openai_meter.budgets.budget import Budget, amount_in
from openai_meter.core.public import public

__all__ = ["BudgetStatus", "BudgetView"]


@public
@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How far a budget is used up, at one moment, for one key. Immutable.

    Amounts are in the unit of the budget: dollars as exact decimal numbers, else tokens or calls.
    """

    budget: Budget
    key: str | None
    """The value of the dimension that the budget is per; ``None`` if it is for all calls together."""
    spent: Decimal
    """The cost of ended calls."""
    held: Decimal
    """The most that calls which have not ended can cost."""
    uncertain: Decimal
    """The part of :attr:`spent` that is the whole hold of calls whose true cost is not known."""
    refused: int
    """The number of calls that were refused; under ``when_spent="warn"``, that would have been."""
    refused_amount: Decimal
    """The most that those could have cost."""
    starts_at: datetime
    """When the window began, in UTC."""
    resets_at: datetime | None
    """When the window ends, in UTC; ``None``: never."""

    @property
    def name(self) -> str:
        """The name of the budget."""
        return self.budget.name

    @property
    def unit(self) -> str:
        """``usd``, ``tokens`` or ``calls``."""
        return self.budget.unit

    @property
    def limit(self) -> Decimal:
        """The limit of one window."""
        return amount_in(self.budget.unit, self.budget.limit)

    @property
    def left(self) -> Decimal:
        """The amount that is left for further calls; 0 if more was spent than the limit."""
        return max(self.limit - self.spent - self.held, Decimal(0))

    @property
    def overdrawn(self) -> Decimal:
        """The spent amount above the limit: by calls without an upper bound, or by ``warn``."""
        return max(self.spent - self.limit, Decimal(0))

    @property
    def share(self) -> float:
        """The part of the limit that is spent: 1.0 is all of it."""
        return float(self.spent / self.limit) if self.limit else 1.0

    def to_dict(self) -> dict[str, Any]:
        """The value as plain JSON values; dollars are decimal strings."""
        money = self.budget.unit == "usd"

        def shown(amount: Decimal) -> str | int:
            return f"{amount:f}" if money else int(amount)

        return {
            "name": self.name,
            "key": self.key,
            "per": self.budget.per,
            "unit": self.unit,
            "every": self.budget.every,
            "timezone": self.budget.timezone,
            "when_spent": self.budget.when_spent,
            "limit": shown(self.limit),
            "spent": shown(self.spent),
            "held": shown(self.held),
            "left": shown(self.left),
            "overdrawn": shown(self.overdrawn),
            "uncertain": shown(self.uncertain),
            "share": self.share,
            "refused": self.refused,
            "refused_amount": shown(self.refused_amount),
            "starts_at": self.starts_at.isoformat(),
            "resets_at": None if self.resets_at is None else self.resets_at.isoformat(),
        }


Read = Callable[[str | None], BudgetStatus]


@public
class BudgetView(Mapping[str, BudgetStatus]):
    """One budget as it is now. Of a budget ``per`` something, a mapping from each value to its :class:`BudgetStatus`.

    A value without calls is included, with nothing spent. The attributes of :class:`BudgetStatus` (``limit``,
    ``spent``, ``held``, ``left``, ``overdrawn``, ``resets_at`` ...) are those of a budget for all calls together.
    """

    def __init__(self, budget: Budget, keys: tuple[str, ...], read: Read) -> None:
        self.budget = budget
        self._keys = keys
        self._read = read

    def __getitem__(self, key: str) -> BudgetStatus:
        if self.budget.per is None:
            raise KeyError(f"budget {self.budget.name!r} is for all calls together; read its attributes")
        return self._read(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(BudgetStatus, name):
            raise AttributeError(f"a budget has no attribute {name!r}")
        if self.budget.per is not None:
            raise AttributeError(
                f"budget {self.budget.name!r} is per {self.budget.per}; read {name} of one of its keys"
            )
        return getattr(self._read(None), name)

    def all(self) -> tuple[BudgetStatus, ...]:
        """The status of each key that has called, or the one of a budget for all calls together."""
        return (self._read(None),) if self.budget.per is None else tuple(map(self._read, self._keys))

    def __repr__(self) -> str:
        if self.budget.per is not None:
            return f"<BudgetView {self.budget.name!r}: {len(self._keys)} keys>"
        status = self._read(None)
        return f"<BudgetView {self.budget.name!r}: {status.spent:f} of {status.limit:f} {status.unit} spent>"
