"""The rules of a store in the memory of one process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from openai_meter.budgets.stores.protocol import (
    Order,
    Report,
    Row,
    Stage,
    Stored,
    Taken,
    Unused,
    grant_of,
    returned,
)
from openai_meter.core.native import Lock

__all__ = ["MemoryStore"]


class MemoryStore:
    """A store in memory. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rows: dict[str, Row] = {}
        self._slices: dict[str, dict[str, int]] = {}
        self._limits: dict[str, tuple[int, float]] = {}
        self._numbers: dict[str, int] = {}
        self._beats: dict[str, float] = {}
        self._stages: dict[str, tuple[int, int]] = {}

    def take(self, owner: str, orders: Sequence[Order]) -> Taken:
        """Gives slices, or none."""
        with self._lock:
            rows = [self._rows.get(order.key, Row()) for order in orders]
            grants = [grant_of(order, row) for order, row in zip(orders, rows, strict=True)]
            given = [grant for grant in grants if grant is not None]
            if len(given) < len(orders):
                return Taken(None, tuple(rows))
            self._beats[owner] = time.monotonic()
            for order, grant in zip(orders, given, strict=True):
                self._limits[order.key] = (order.limit, order.ends_at)
                self._change(owner, order.key, 0, grant)
            return Taken(tuple(given), tuple(self._rows[order.key] for order in orders))

    def _change(self, owner: str, key: str, spent: int, granted: int) -> None:
        row = self._rows.get(key, Row())
        self._rows[key] = Row(row.spent + spent, row.granted + granted)
        slices = self._slices.setdefault(owner, {})
        slices[key] = slices.get(key, 0) + granted

    def report(self, owner: str, number: int, reports: Sequence[Report]) -> tuple[Row, ...]:
        """Counts what was spent."""
        with self._lock:
            again = number <= self._numbers.get(owner, 0)
            self._numbers[owner] = max(number, self._numbers.get(owner, 0))
            self._beats[owner] = time.monotonic()
            for report in reports:
                before = self._slices.get(owner, {}).get(report.key, 0)
                self._change(owner, report.key, 0 if again else report.spent, report.granted - before)
                row = self._rows[report.key]
                self._rows[report.key] = row._replace(spent=max(row.spent, report.known))
            return tuple(self._rows[report.key] for report in reports)

    def read(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """The counters."""
        with self._lock:
            return tuple(self._rows.get(key, Row()) for key in keys)

    def raise_to(self, key: str, spent: int, ends_at: float = float("inf")) -> None:  # noqa: ARG002 - nothing is removed
        """Counts at least so much."""
        with self._lock:
            row = self._rows.get(key, Row())
            self._rows[key] = row._replace(spent=max(row.spent, spent))

    def stored(self) -> tuple[Stored, ...]:
        """All rows."""
        with self._lock:
            found = []
            for key, row in sorted(self._rows.items()):
                limit, ends_at = self._limits.get(key, (0, float("inf")))
                found.append(Stored(key, limit, row.spent, row.granted, ends_at))
            return tuple(found)

    def announce(self, stage: Stage) -> bool:
        """Whether it is the first time."""
        with self._lock:
            limit, announced = self._stages.get(stage.key, (stage.limit, -1))
            if limit == stage.limit and announced >= stage.stage:
                return False
            self._stages[stage.key] = (stage.limit, stage.stage)
            return True

    def reap(self, seconds: float, unused: Mapping[str, Unused] | None = None) -> tuple[str, ...]:
        """Charges what dead owners have."""
        with self._lock:
            now = time.monotonic()
            dead = [owner for owner, beat in self._beats.items() if now - beat >= seconds]
            if unused is not None:
                dead = [owner for owner in dead if owner in unused]
            for owner in dead:
                for key, granted in self._slices.pop(owner, {}).items():
                    row = self._rows[key]
                    back = returned(granted, key, None if unused is None else unused[owner])
                    self._rows[key] = Row(row.spent + max(granted, 0) - back, row.granted - granted)
                del self._beats[owner]
            return tuple(dead)

    def close(self) -> None:
        """Nothing is open."""
