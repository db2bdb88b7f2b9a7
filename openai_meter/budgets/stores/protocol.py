"""What a store of budgets does. All amounts are whole numbers: pico-dollars, tokens or calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["SHARE", "BudgetStore", "Order", "Report", "Row", "Stage", "StoreUnavailableError", "Stored", "Taken",
           "Unused", "grant_of", "returned"]  # fmt: skip

SHARE = 16
"""A process is given at most this part of what is left: slices shrink as a budget runs out."""


class StoreUnavailableError(Exception):
    """A store does not answer now."""


class Row(NamedTuple):
    """The counters of a key, over all processes."""

    spent: int = 0
    """What was reported as spent."""
    granted: int = 0
    """What processes were given and have not reported as spent, or given back."""


class Order(NamedTuple):
    """What a process asks for of one key."""

    key: str
    limit: int
    want: int
    """What it would like to have."""
    least: int
    """What it needs at least."""
    ends_at: float = float("inf")
    """When the window of the key ends, in seconds since 1970; two days later, its row may be removed."""


class Taken(NamedTuple):
    """The answer to some orders: all are granted, or none."""

    grants: tuple[int, ...] | None
    """What was given, in the order of the orders; ``None``: nothing."""
    rows: tuple[Row, ...]
    """The counters of each key after that."""


class Report(NamedTuple):
    """What a process has done with what it was given of one key."""

    key: str
    spent: int
    """What was spent since the last report."""
    granted: int
    """What the process still has after this report. Below 0, if calls have cost more than they held."""
    known: int = 0
    """The highest sum of all that was spent that the process knows: a store that has lost data goes on from there."""


class Stored(NamedTuple):
    """The row of a key, as it is listed."""

    key: str
    limit: int
    """The limit that the last process had which took a slice."""
    spent: int
    granted: int
    ends_at: float
    """When its window ends, in seconds since 1970; infinite: never."""


class Stage(NamedTuple):
    """A part of a limit that was reached, and has to be announced once by all processes together."""

    key: str
    limit: int
    """With another limit, all stages can be reached anew."""
    stage: int
    """The higher, the later. A stage includes all lower ones."""
    ends_at: float = float("inf")
    """When the window ends, in seconds since 1970; two days later, it may be forgotten."""


Unused = Callable[[str], int]
"""What a process that is gone has surely not used of its slice of a key."""


class BudgetStore(Protocol):
    """A place where processes share budgets. Every method is one atomic step, and safe to call from any thread.

    Every method raises :class:`StoreUnavailableError` if the store does not answer.
    """

    def take(self, owner: str, orders: Sequence[Order]) -> Taken:
        """Gives a process a slice of each key, or of none."""

    def report(self, owner: str, number: int, reports: Sequence[Report]) -> tuple[Row, ...]:
        """Takes what a process has spent, and that it is alive. Returns the counters of each key.

        ``number`` counts the reports of an owner: the spending of one that came before is not counted again, so that
        a report may be repeated after a connection broke.
        """

    def read(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """The counters of some keys."""

    def raise_to(self, key: str, spent: int, ends_at: float = float("inf")) -> None:
        """Makes sure that at least so much counts as spent."""

    def stored(self) -> tuple[Stored, ...]:
        """All rows that there are, in the order of their keys."""

    def announce(self, stage: Stage) -> bool:
        """Whether this stage is to be announced: ``True`` for the first that asks, ``False`` for all after it."""

    def reap(self, seconds: float, unused: Mapping[str, Unused] | None = None) -> tuple[str, ...]:
        """Charges what owners have that have not reported for so long, and returns these owners.

        Args:
            seconds: since the last report of an owner.
            unused: by owner, what it has not used of its slices: that part is free again. Only these owners are
                charged then. ``None``: all of them, for their whole slices.
        """

    def close(self) -> None:
        """Closes connections."""


def grant_of(order: Order, row: Row) -> int | None:
    """What an order is given, or ``None`` if what is left is not enough."""
    free = order.limit - row.spent - row.granted
    return None if free < order.least else min(order.want, max(order.least, free // SHARE))


def returned(granted: int, key: str, unused: Unused | None) -> int:
    """The part of the slice of an owner that is gone which is free again; the rest is charged."""
    return 0 if unused is None else max(0, min(unused(key), granted))
