"""Admits requests before the SDK sends them. A request that is refused here never leaves the process.

:mod:`openai_meter.budgets.admission` decides. The two shells here only wait: for a store, for a window.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from openai_meter.budgets.admission import Step, admit
from openai_meter.budgets.quick import quick_hold
from openai_meter.core import faults

if TYPE_CHECKING:
    from openai_meter.budgets.refusal import Refusal
    from openai_meter.instrumentation.sdk import Sdk
    from openai_meter.metering.call_in_flight import CallInFlight

__all__ = ["Arguments", "admit_async", "admit_sync", "admit_turn", "admit_turn_async", "refuse"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class RequestContext(Protocol):
    """The request that is admitted."""

    pending: CallInFlight
    sdk: Sdk
    uninjected: Arguments | None


_NO_BODY: Mapping[str, Any] = {}


def admit_sync(context: RequestContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Admits a request by its budgets.

    Args:
        context: the request.
        args: the positional arguments of ``request``.
        kwargs: its named arguments.

    Returns:
        The arguments to go on with: a budget may have lowered the output limit, or chosen another model.

    Raises:
        BudgetExceededError: a budget does not admit it. Nothing was sent, and there is no record.
    """
    if _has_quick_hold(context.pending, args, kwargs):
        return args, kwargs
    return _decided(context, args, kwargs, _decide(_steps(context.pending, args, kwargs)))


async def admit_async(context: RequestContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The same for an async client: trips to a store are made in a thread, so that no other task waits for them."""
    if _has_quick_hold(context.pending, args, kwargs):
        return args, kwargs
    return _decided(context, args, kwargs, await _decide_async(_steps(context.pending, args, kwargs)))


def admit_turn(turn: CallInFlight, body: Mapping[str, Any] | None = None) -> None:
    """Admits a call that is not sent by ``request``: a turn of a connection, a request of an HTTP library.

    Nothing of its request is changed.

    Args:
        turn: the call.
        body: the fields of its request; by default those that the call holds for an estimate.

    Raises:
        BudgetExceededError: a budget does not admit it. Nothing was sent.
    """
    if (refusal := _decide(_steps_of_turn(turn, body))) is not None:
        refuse(turn, refusal)


async def admit_turn_async(turn: CallInFlight, body: Mapping[str, Any] | None = None) -> None:
    """The same in an event loop."""
    if (refusal := await _decide_async(_steps_of_turn(turn, body))) is not None:
        refuse(turn, refusal)


def _steps_of_turn(turn: CallInFlight, body: Mapping[str, Any] | None) -> Generator[Step, None, Refusal | None]:
    known = turn._body or _NO_BODY if body is None else body  # noqa: SLF001 - the request, held for an estimate
    return admit(turn, known, changeable=False)


def _decide(steps: Generator[Step, None, Refusal | None]) -> Refusal | None:
    while (step := _next(steps)).__class__ is Step:
        step.run()
        if step.seconds:
            time.sleep(step.seconds)
    return step  # type: ignore[no-any-return] # what it returned


async def _decide_async(steps: Generator[Step, None, Refusal | None]) -> Refusal | None:
    while (step := _next(steps)).__class__ is Step:
        import anyio.to_thread  # noqa: PLC0415 - openai's own; for programs whose budgets wait

        if step.trip is not None:
            await anyio.to_thread.run_sync(step.run)
        if step.seconds:
            await anyio.sleep(step.seconds)
    return step  # type: ignore[no-any-return]


def _has_quick_hold(pending: CallInFlight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is admitted at once, and has its hold."""
    try:
        guards = [(one._budgets, one.meter) for one in pending.listeners if one._budgets is not None]
        if len(guards) != 1 or pending.row.role in {"poll", "cancel"}:
            return False
        fields = (args[1] if len(args) > 1 else kwargs["options"]).__dict__
        body = fields["json_data"]
        if type(body) is not dict or fields["extra_json"] or fields.get("files"):
            return False
        pending.hold = quick_hold(
            *guards[0], pending.row, pending.provider, pending.host, pending.requested_model,
            pending._attribution, pending.block, body,
        )  # fmt: skip
    except Exception as error:
        faults.caught(error, "admitting a request")
        return False
    return pending.hold is not None


def _next(steps: Generator[Step, None, Refusal | None]) -> Any:
    """The next step, or the decision."""
    try:
        return next(steps)
    except StopIteration as end:
        return end.value


def _steps(
    pending: CallInFlight, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Step, None, Refusal | None]:
    try:
        fields = (args[1] if len(args) > 1 else kwargs["options"]).__dict__
        body, extra = fields["json_data"], fields["extra_json"]
        known = body if isinstance(body, Mapping) else _NO_BODY
        return (yield from admit(pending, {**known, **extra} if extra else known, fields.get("files")))
    except Exception as error:
        faults.caught(error, "admitting a request")
        return None


def _decided(
    context: RequestContext, args: tuple[Any, ...], kwargs: dict[str, Any], refusal: Refusal | None
) -> Arguments:
    if refusal is not None:
        refuse(context.pending, refusal)
    hold = context.pending.hold
    if hold is None or not hold.changes:
        return args, kwargs
    try:
        return _changed(context, args, kwargs, hold.changes)
    except Exception as error:
        faults.caught(error, "changing a request")
        return args, kwargs


def _changed(
    context: RequestContext, args: tuple[Any, ...], kwargs: dict[str, Any], changes: Mapping[str, Any]
) -> Arguments:
    """The arguments with other fields in the body. The caller's own dicts stay as they are."""
    if context.uninjected is not None:
        context.uninjected = _with_fields(context, *context.uninjected, changes)
    pending = context.pending
    if pending._body is not None:  # noqa: SLF001 - an estimate is made of it
        pending._body = {**pending._body, **changes}  # noqa: SLF001
    pending.response.model = changes.get("model")  # until the answer names it; requested_model stays the program's
    return _with_fields(context, args, kwargs, changes)


def _with_fields(
    context: RequestContext, args: tuple[Any, ...], kwargs: dict[str, Any], changes: Mapping[str, Any]
) -> Arguments:
    options = args[1] if len(args) > 1 else kwargs["options"]
    copy = context.sdk.copy_options(options, options.post_parser)
    extra = options.extra_json
    within = {name: value for name, value in changes.items() if extra and name in extra}
    if within:
        copy.extra_json = {**extra, **within}
    copy.json_data = {**options.json_data, **{name: value for name, value in changes.items() if name not in within}}
    return ((args[0], copy, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "options": copy})


def refuse(pending: CallInFlight, refusal: Refusal) -> None:
    """Ends a call that is not sent.

    Raises:
        BudgetExceededError: always.
    """
    from openai_meter.instrumentation.budget_error import BudgetExceededError  # noqa: PLC0415 - it imports openai

    pending.drop()
    raise BudgetExceededError(refusal)
