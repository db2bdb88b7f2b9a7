"""Tries every shape of call on the installed SDK: first bare, then metered, and compares the results.

This runs in a process of its own, which :mod:`openai_meter.cli.doctor.child` starts, so that it can install and
uninstall without a trace in the calling program. It writes one JSON object per line to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openai_meter.api import install, uninstall
from openai_meter.cli.doctor.diagnosis import Mode, Trial
from openai_meter.cli.doctor.patchers import find_patches
from openai_meter.core import faults
from openai_meter.metering.meter import Meter

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.testing.fake_api.shape_runner import Caller, Shape, ShapeResult, ShapeRunner

__all__ = ["main", "read_trial", "try_all"]

_CONNECTIONS = {
    "realtime, WebSocket": ("openai.resources.realtime.realtime", "realtime"),
    "responses, WebSocket": ("openai.resources.responses.responses", "responses"),
    "live, WebSocket": ("openai.resources.live.live", "live"),
}
"""The calls that are not HTTP requests: the module whose connections have to be watched."""
_TOGETHER = 10
"""The shapes that are tried bare, and then metered, at a time."""
_SOURCES = {"api": "api", "tiktoken": "estimate", "chars": "estimate", "none": "none"}


def main() -> None:
    """Writes the number of trials, each trial when it is done, and at the end the other patches of the SDK."""
    from openai_meter.testing.fake_api.call_shapes import SHAPES  # noqa: PLC0415
    from openai_meter.testing.fake_api.shape_runner import ShapeRunner  # noqa: PLC0415 - loads openai

    faults.reraise = False
    _write("patches", [patch._asdict() for patch in find_patches()])
    _write("total", len(SHAPES) * 2)
    with ShapeRunner() as runner:
        for trial in try_all(runner, SHAPES):
            _write("trial", None if trial is None else trial.to_dict())
    _write("done", value=True)


def _write(kind: str, value: object) -> None:
    sys.stdout.write(json.dumps({"doctor": kind, "value": value, "used": time.process_time()}) + "\n")
    sys.stdout.flush()


def try_all(runner: ShapeRunner, shapes: tuple[Shape, ...]) -> Iterator[Trial | None]:
    """Runs some shapes bare, yielding ``None`` for each, then metered, yielding the result of each; then the next.

    So there are results of some shapes when the time is over before all of them were tried.
    """
    meter = Meter()
    for first in range(0, len(shapes), _TOGETHER):
        yield from _try(runner, shapes[first : first + _TOGETHER], meter)
    install(meter=meter)
    try:
        yield from _connections()
    finally:
        uninstall()


def _try(runner: ShapeRunner, shapes: tuple[Shape, ...], meter: Meter) -> Iterator[Trial | None]:
    bare: dict[tuple[str, bool], ShapeResult] = {}
    for shape in shapes:
        for caller in runner.callers:
            if _can_run(caller, shape):
                bare[shape.name, caller.is_async] = runner.run(shape, caller)
        yield None
    install(meter=meter, hosts={"127.0.0.1": "openai"})
    try:
        for shape in shapes:
            sync, asynchronous = (
                _compared(runner, shape, caller, bare.get((shape.name, caller.is_async)), meter)
                for caller in runner.callers
            )
            yield Trial(shape.name, shape.records, sync, None if shape.sync_only else asynchronous)
    finally:
        uninstall()


def _can_run(caller: Caller, shape: Shape) -> bool:
    return caller.has(shape.needs) and not (shape.sync_only and caller.is_async)


def _compared(runner: ShapeRunner, shape: Shape, caller: Caller, bare: ShapeResult | None, meter: Meter) -> Mode:
    """Runs a shape under the meter, and compares the result with that without it."""
    if bare is None:
        return Mode("absent")
    if bare.error is not None:
        return Mode("untried", detail=bare.error)
    before, failed = len(meter.calls), meter.internal_errors
    metered = runner.run(shape, caller)
    meter.settle()
    calls = meter.calls[before:]
    usage = _usage(calls)
    if metered.error is not None:
        return Mode("raised", len(calls), usage, metered.error)
    outcome = (
        "fault" if meter.internal_errors > failed
        else "missed" if len(calls) < shape.records
        else "twice" if len(calls) > shape.records
        else "changed" if metered.seen != bare.seen
        else "request_changed" if metered.sent != bare.sent
        else "no_usage" if usage == "none" and shape.usage != "none"
        else "metered" if shape.records
        else "free"
    )  # fmt: skip
    return Mode(outcome, len(calls), usage)  # type: ignore[arg-type] # mypy takes the words of a chain for any text


def _usage(calls: tuple[Call, ...]) -> str | None:
    sources = {_SOURCES[call.usage_source] for call in calls}
    return next((source for source in ("none", "estimate", "api") if source in sources), None)


def _connections() -> Iterator[Trial]:
    """Whether the messages of WebSockets are recorded. They are not tried: the server here speaks HTTP."""
    try:  # connections are watched as soon as there can be one
        import_module("websockets")
    except ImportError:  # the SDK cannot open one
        for name in _CONNECTIONS:
            yield Trial(f"{name} (needs the package websockets)", 1, Mode("absent"), Mode("absent"))
        return
    for name, (module, _) in _CONNECTIONS.items():
        try:
            found = vars(import_module(module))
        except ImportError:
            found = {}
        kinds = [one for key, one in found.items() if isinstance(one, type) and key.endswith("Connection")]
        sync = [_connection(kind) for kind in kinds if not kind.__name__.startswith("Async")]
        asynchronous = [_connection(kind) for kind in kinds if kind.__name__.startswith("Async")]
        yield Trial(name, 1, _worst(sync), _worst(asynchronous))


def _connection(kind: type[Any]) -> Mode:
    wrapper = getattr(vars(kind).get("recv_bytes"), "_self_wrapper", None)
    ours = str(getattr(wrapper, "__module__", "")).startswith("openai_meter.")
    return Mode("watched" if ours else "not_covered")


def _worst(modes: list[Mode]) -> Mode:
    return min(modes, key=lambda mode: mode.outcome != "not_covered", default=Mode("absent"))


def read_trial(data: Mapping[str, Any]) -> Trial:
    """A trial as the other process wrote it."""
    modes = [None if data[kind] is None else Mode(**data[kind]) for kind in ("sync", "async")]
    return Trial(data["name"], data["expected_records"], *modes)
