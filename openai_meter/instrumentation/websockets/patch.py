"""The second seam: sees what comes over WebSockets (realtime, translations, live, responses; and their betas).

Patched is ``recv_bytes`` of the SDK's connections: ``recv()``, iteration, handlers and the SDK's own sessions all read
through it, each message once. ``send`` is watched for the turns that are asked for, ``close`` for those that are left.

============== ===============================================================================================
a record is    one answered turn, one transcription, one decision; of live sessions and translations, a minute
begins         when it is asked for (``response.create``), else with its first event
belongs to     the surroundings it was asked for in, else those it was received in
first token    of a realtime turn, its first piece of text or audio; of a response, its first event
============== ===============================================================================================

A turn that the connection does not outlive is ``aborted``: its output is estimated from the pieces that came by (text
by a vocabulary, audio by its length), its input is unknown where the conversation is the server's. Translations do not
say what is billed; the time that has passed in them stands for it, marked as an estimate.

Not seen is what bypasses ``recv_bytes``: ``recv(timeout=...)`` of the SDK's translation sessions, WebRTC and SIP, other
libraries' own WebSockets. A connection that was opened before the meter came is not known to be a wrapped client's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openai_meter.core import faults
from openai_meter.core.background import worker
from openai_meter.core.patching import Patches, Wrapper, tree
from openai_meter.instrumentation.listening import listeners
from openai_meter.instrumentation.websockets.connection import Watch
from openai_meter.metering.attribution import current_surroundings
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers

__all__ = ["patch"]

WATCH = "_openai_meter_watch"
_NOBODY = SimpleNamespace()
"""Stands for the client of a connection that was opened unseen."""


def patch(modules: Iterable[ModuleType], patches: Patches, *, managers: bool, connections: bool) -> None:
    """Patches the connections in some of the SDK's modules.

    Args:
        modules: those that have been imported.
        patches: who remembers what is patched.
        managers: whether to patch those who open connections: they tell whose a connection is.
        connections: whether to patch the connections themselves.
    """
    for module in modules:
        for owner in _classes(module):
            is_async = owner.__name__.startswith("Async")
            if owner.__name__.endswith("ConnectionManager"):
                for name in ("__enter__", "__aenter__", "enter") if managers else ():
                    patches.add(owner, name, _entered_async if is_async else _entered)
            elif connections and owner.__name__.endswith("WebSocketLane"):
                patches.add(owner, "send", _lane_sent_async if is_async else _lane_sent)
            elif connections:
                for heir in tree(owner):
                    patches.add(heir, "recv_bytes", _received_async if is_async else _received)
                _patch_base(owner, "send", _sent_async if is_async else _sent, patches)
                _patch_base(owner, "send_raw", _sent_async if is_async else _sent, patches)
                _patch_base(owner, "close", _closed_async if is_async else _closed, patches)


def _patch_base(owner: type[Any], name: str, wrapper: Wrapper, patches: Patches) -> None:
    """Patches a method where it is defined: newer versions share some among all connections."""
    base = next((base for base in owner.__mro__ if name in vars(base)), None)
    if base is not None:
        patches.add(base, name, wrapper)


def _classes(module: ModuleType) -> tuple[type[Any], ...]:
    """The classes of a module that make connections, are some, or send over some."""
    known = _known.get(module)
    if known is not None:
        return known
    found = tuple(
        one
        for one in tuple(vars(module).values())
        if isinstance(one, type)
        and one.__module__ == module.__name__
        and ("recv_bytes" in vars(one) or one.__name__.endswith(("ConnectionManager", "WebSocketLane")))
    )
    # One module imports another: this one may be half there.
    if not getattr(module.__spec__, "_initializing", False):
        _known[module] = found
    return found


_known: dict[ModuleType, tuple[type[Any], ...]] = {}
"""What was found in modules: to look takes longer than to patch."""


# --- wrappers ---------------------------------------------------------------------------------------------------------


def _received(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    watch = connection.__dict__.get(WATCH) or _watch(connection)
    if watch is None or watch.busy:
        return wrapped(*args, **kwargs)
    watch.busy = True
    try:
        message = wrapped(*args, **kwargs)
    except BaseException as error:
        watch.raised(error)
        raise
    watch.busy = False
    watch.received(message)
    return message


async def _received_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    watch = connection.__dict__.get(WATCH) or _watch(connection)
    if watch is None or watch.busy:
        return await wrapped(*args, **kwargs)
    watch.busy = True
    try:
        message = await wrapped(*args, **kwargs)
    except BaseException as error:
        watch.raised(error)
        raise
    watch.busy = False
    watch.received(message)
    return message


class _Sending:
    """Sees one message go out."""

    __slots__ = ("turn", "watch")

    def __init__(self, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any], lane: object = None) -> None:
        self.watch = _watch(connection)
        event = args[0] if args else kwargs.get("event", kwargs.get("data"))
        self.turn = None if self.watch is None else self.watch.asked(event, lane)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.turn is not None and self.watch is not None:
            self.turn.fresh = False
            if error is not None:
                self.watch.unsent(self.turn, error)


def _sent(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _Sending(connection, args, kwargs):
        return wrapped(*args, **kwargs)


async def _sent_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with _Sending(connection, args, kwargs):
        return await wrapped(*args, **kwargs)


def _lane_sent(wrapped: Callable[..., Any], lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _Sending(*_of_lane(lane, args, kwargs)):
        return wrapped(*args, **kwargs)


async def _lane_sent_async(
    wrapped: Callable[..., Any], lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with _Sending(*_of_lane(lane, args, kwargs)):
        return await wrapped(*args, **kwargs)


def _closed(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return wrapped(*args, **kwargs)
    finally:
        _left(connection)


async def _closed_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        _left(connection)


def _entered(wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    connection = wrapped(*args, **kwargs)
    _watch(connection, manager)
    return connection


async def _entered_async(
    wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    connection = await wrapped(*args, **kwargs)
    _watch(connection, manager)
    return connection


# --- what they share --------------------------------------------------------------------------------------------------


def _of_lane(
    lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any], object]:
    """The connection that a lane of the SDK's sessions sends over, past the connection's own ``send``."""
    try:
        return lane._session.connection, args, kwargs, lane._state.stream_id  # noqa: SLF001 - it has no public name
    except AttributeError:
        return None, args, kwargs, None


def _left(connection: Any) -> None:
    watch = connection.__dict__.get(WATCH)
    if watch is not None:
        watch.left()


def _watch(connection: Any, manager: Any = None) -> Watch | None:
    """The watch of a connection, made when it is first seen; ``None`` where it cannot be watched."""
    try:
        held: dict[str, Any] = connection.__dict__
        found: Watch | None = held.get(WATCH)
        if found is None:
            prepare()
            worker.start()
            client = _client(manager)
            host, model = _handshake(connection)
            provider, host = providers.provider(client, f"wss://{host}")
            kind = _kind(connection.__class__)
            found = held.setdefault(WATCH, Watch(kind, _listening(client), provider, host, model))
    except Exception as error:
        if connection is not None:
            faults.caught(error, "watching a connection")
        return None
    else:
        return found


def _listening(client: Any) -> Callable[[], Any]:
    """Who listens to a client's connection: asked anew for each turn."""

    def listen() -> Any:
        return listeners(client, current_surroundings().blocks)

    return listen


def _client(manager: Any) -> Any:
    """The client that opens a connection; the SDK holds it under a private name of the class."""
    held = () if manager is None else vars(manager).items()
    return next((value for name, value in held if name.endswith("__client")), _NOBODY)


def _handshake(connection: Any) -> tuple[str, str | None]:
    """The host that was asked for a connection, and the model or Azure deployment in the URL."""
    request = getattr(getattr(connection, "_connection", None), "request", None)
    if request is None:
        return "", None
    query = parse_qs(urlsplit(request.path).query)
    model = next(iter(query.get("model", ()) or query.get("deployment", ())), None)
    return str(request.headers.get("Host", "")), model


@lru_cache(maxsize=64)
def _kind(connection: type[object]) -> str:
    """Which kind of session a connection holds, by the SDK's module that it comes from."""
    for base in connection.__mro__:
        parts = base.__module__.split(".")
        if parts[0] == "openai":
            return next((kind for kind in ("translations", "live", "responses") if kind in parts), "realtime")
    return "realtime"
