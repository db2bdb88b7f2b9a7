"""The stages of a budget as alerts, and thresholds of a fleet: they are counted like budgets, and stop nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor
from typing import TYPE_CHECKING

from openai_meter.alerts import Alert, Threshold, ThresholdUsage
from openai_meter.budgets.account import REFUSED, Account
from openai_meter.budgets.budget import Budget, amount_in
from openai_meter.core.calendar_windows import TOTAL
from openai_meter.core.call import new_call_id
from openai_meter.core.money import exact

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FleetThreshold", "alert_of", "fleet_thresholds", "full_at", "threshold_of", "usage_of_account"]

_UNITS = {"cost": "usd", "tokens": "tokens", "calls": "calls"}
_METRICS = {unit: metric for metric, unit in _UNITS.items()}


class FleetThreshold(Budget):
    """The counters of a threshold of a fleet. It holds nothing and refuses nothing."""

    threshold: Threshold

    @property
    def only_watches(self) -> bool:
        """It holds nothing, and only counts."""
        return True


def fleet_thresholds(thresholds: Iterable[Threshold]) -> tuple[FleetThreshold, ...]:
    """The counters of those thresholds that are of a fleet."""
    return tuple(_counted(threshold) for threshold in thresholds if threshold.fleet)


def _counted(threshold: Threshold) -> FleetThreshold:
    limit = exact(threshold.limit, "limit")
    unit = _UNITS[threshold.metric]
    amount = {unit: limit if unit == "usd" else floor(limit)}
    every = threshold.calendar_window or TOTAL
    made = FleetThreshold(
        f"threshold {threshold}", every=every, timezone=threshold.timezone or "UTC", per=threshold.per,
        when_spent="warn", alert_at=(), **amount,  # type: ignore[arg-type] # one of three
    )  # fmt: skip
    object.__setattr__(made, "threshold", threshold)
    object.__setattr__(made, "_stages", ((made.limit + 1, 1.0),))  # a limit is passed by a value above it
    return made


def alert_of(account: Account, stage: float) -> Alert:
    """The alert of a stage that an account has reached.

    Args:
        account: whose stage.
        stage: the part of the limit, or :data:`~openai_meter.budgets.account.REFUSED`.
    """
    budget = account.budget
    value = amount_in(budget.unit, account.total_spent)
    at = datetime.now(UTC)
    if isinstance(budget, FleetThreshold):
        money = budget.unit == "usd"
        return Alert(new_call_id(), budget.threshold, value if money else int(value), at, account.key)
    refused = stage == REFUSED
    return Alert(
        new_call_id(), _threshold_of(budget), value if budget.unit == "usd" else int(value), at, account.key,
        budget=budget.name, stage=None if refused else stage, refused=refused,
    )  # fmt: skip


def _threshold_of(budget: Budget) -> Threshold:
    """The limit of a budget as a threshold, for what reads alerts."""
    return threshold_of(budget.unit, budget.limit, budget.per, budget.every, budget.timezone)


def threshold_of(unit: str, limit: int, per: str | None, every: str, timezone: str | None) -> Threshold:
    """The same from the parts of a budget. There is no threshold of 0: it is one unit then."""
    calendar = every != TOTAL
    return Threshold(
        _METRICS[unit],
        amount_in(unit, max(limit, 1)),
        per,
        every if calendar else None,
        timezone if calendar else None,
    )


def usage_of_account(account: Account, now: datetime) -> ThresholdUsage:
    """How far a budget, or a threshold of a fleet, is used up, for one key."""
    budget, spent = account.budget, account.total_spent
    value = amount_in(budget.unit, spent)
    is_threshold = isinstance(budget, FleetThreshold)
    return ThresholdUsage(
        budget.threshold if isinstance(budget, FleetThreshold) else _threshold_of(budget),
        value if budget.unit == "usd" else int(value),
        spent / budget.limit if budget.limit else 1.0,
        spent > budget.limit if is_threshold else spent >= budget.limit,
        account.key,
        resets_at=account.end,
        budget=None if is_threshold else budget.name,
        full_at=None if is_threshold else full_at(budget.limit, spent, account.start, account.end, now),
    )


def full_at(limit: int, spent: int, start: datetime, end: datetime | None, now: datetime) -> datetime | None:
    """When a limit will be reached if spending goes on as it has since the start of the window.

    ``None`` if that is not in this window, if it is reached, if there is no window, or if it is too early to tell: less
    than a hundredth of the window is over.
    """
    if end is None or not 0 < spent < limit or (now - start) * 100 < end - start:
        return None
    at = start + (now - start) * (limit / spent)
    return at if at < end else None
