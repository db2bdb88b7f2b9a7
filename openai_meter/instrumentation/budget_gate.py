"""Admits requests before the SDK sends them. A request that is refused here never leaves the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openai_meter.budgets.admission import admit
from openai_meter.core import faults

if TYPE_CHECKING:
    from openai_meter.budgets.refusal import Refusal
    from openai_meter.metering.call_in_flight import CallInFlight

__all__ = ["admit_request", "refuse"]

_NO_BODY: Mapping[str, Any] = {}


def admit_request(pending: CallInFlight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Has a request admitted by its budgets.

    Args:
        pending: the call of the request.
        args: the positional arguments of ``request``.
        kwargs: its named arguments.

    Raises:
        BudgetExceededError: a budget does not admit it. Nothing was sent, and there is no record.
    """
    refusal = None
    try:
        fields = (args[1] if len(args) > 1 else kwargs["options"]).__dict__
        body, extra = fields["json_data"], fields["extra_json"]
        known = body if isinstance(body, Mapping) else _NO_BODY
        refusal = admit(pending, {**known, **extra} if extra else known, fields.get("files"))
    except Exception as error:
        faults.caught(error, "admitting a request")
    if refusal is not None:
        refuse(pending, refusal)


def refuse(pending: CallInFlight, refusal: Refusal) -> None:
    """Ends a call that is not sent.

    Raises:
        BudgetExceededError: always.
    """
    from openai_meter.instrumentation.budget_error import BudgetExceededError  # noqa: PLC0415 - it imports openai

    pending.drop()
    raise BudgetExceededError(refusal)
