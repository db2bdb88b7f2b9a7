"""Limits on the calls of a ledger: how much of each is used, and the alerts of those that are exceeded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openai_meter.alerts import Alert, Threshold, ThresholdUsage
from openai_meter.core.call import new_call_id
from openai_meter.core.native import Lock

if TYPE_CHECKING:
    from openai_meter.ledger.reader import Reader

__all__ = ["LedgerLimits"]

_Passing = tuple[Threshold, str | None, datetime | None]
"""A limit, whose it is, and the end of its window."""


class LedgerLimits:
    """The limits of a server. Thread-safe."""

    def __init__(self, thresholds: tuple[Threshold, ...] = ()) -> None:
        self.thresholds = thresholds
        self._passed: dict[_Passing, tuple[str, datetime]] = {}
        self._lock = Lock()

    def usage(self, reader: Reader | None) -> tuple[ThresholdUsage, ...]:
        """How much of each limit is used now.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if reader is None or not self.thresholds:
            return ()
        from openai_meter.ledger.limits import limit_usage  # noqa: PLC0415 - an extra

        return limit_usage(reader, self.thresholds)

    def alerts(self, usages: tuple[ThresholdUsage, ...]) -> tuple[Alert, ...]:
        """The alerts of the limits that are exceeded. An alert keeps its id, and the time when it was first made."""
        with self._lock:
            known, self._passed = self._passed, {}
            alerts = []
            for usage in usages:
                if usage.passed:
                    key = (usage.threshold, usage.key, usage.resets_at)
                    id_and_time = self._passed[key] = known.get(key) or (new_call_id(), datetime.now(UTC))
                    alerts.append(
                        Alert(id_and_time[0], usage.threshold, usage.used, id_and_time[1], usage.key, usage.at_least)
                    )
            return tuple(alerts)
