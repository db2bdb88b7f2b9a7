"""Whether there is any budget in this process. A module of its own, as every program loads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["Budgeting", "charge", "close_all"]


class Budgeting:
    """Without a budget, a call reads this twice."""

    active = False
    """Whether a budget was ever set. It stays so: the settings of budgets may come and go."""
    quick_hold: Any = None
    """:func:`openai_meter.budgets.quick.quick_hold`, once there is a budget."""


def close_all() -> None:
    """Returns the slices of this process to their stores, at its end."""
    if Budgeting.active:
        from openai_meter.budgets.desk import close_all as close  # noqa: PLC0415 - for programs with budgets only

        close()


def charge(listeners: Iterable[Any], call: Any) -> None:
    """Counts a record that was not admitted. Loads the rest of the package."""
    from openai_meter.budgets.admission import charge as count  # noqa: PLC0415 - for programs with budgets only

    count(listeners, call)
