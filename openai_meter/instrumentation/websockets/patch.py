"""The wrappers of WebSocket connections (realtime, translations, live, responses; and their betas).

``recv_bytes`` of the SDK's connections is wrapped: ``recv()``, iteration, handlers and the SDK's own sessions all read
through it, each message once. ``send`` is wrapped for the turns that are requested, ``close`` for those that are left.

============== ===============================================================================================
a record is    one answered turn, one transcription, one decision; of live sessions and translations, a minute
begins         when it is requested (``response.create``), else with its first event
attribution    that of the place where it was requested, else where it was received
first token    the first piece of text, audio, reasoning or a tool call, not the event that begins the answer
============== ===============================================================================================

A turn that has not ended when its connection closes is ``aborted``: its output is estimated from the pieces that were
received (text by a vocabulary, audio by its length); its input is unknown where the server holds the conversation.
Translations do not report what is billed; the elapsed time stands for it, marked as an estimate.

Not counted are messages that bypass ``recv_bytes``: ``recv(timeout=...)`` of the SDK's translation sessions, WebRTC and
SIP, other libraries' own WebSockets. Of a connection that was opened before ``wrap()``, the client is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.core.patching import Patches, Wrapper, tree
from openai_meter.instrumentation.listening import listeners
from openai_meter.instrumentation.websockets.connection import ConnectionWatcher
from openai_meter.instrumentation.websockets.turn import Turn
from openai_meter.metering.attribution import current_surroundings
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers
from openai_meter.usage.response_headers import NO_HEADERS, ResponseHeaders, read_pairs

__all__ = ["patch"]

WATCHER = "_openai_meter_watcher"
_UNKNOWN_CLIENT = SimpleNamespace()
"""Stands for the client of a connection that was opened before it was patched."""


def patch(modules: Iterable[ModuleType], patches: Patches, *, managers: bool, connections: bool) -> None:
    """Patches the connections in some of the SDK's modules.

    Args:
        modules: those that have been imported.
        patches: the list of what is patched.
        managers: whether to patch the objects that open connections, where the client of a connection is known.
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


def _classes(module: ModuleType) -> Iterator[type[Any]]:
    """The classes of a module that open connections, are connections, or send over one."""
    names = _known.get(module)
    if names is None:
        names = tuple(name for name, value in tuple(vars(module).items()) if _connects(value, module))
        # One module imports another: this one may be half loaded.
        if not getattr(module.__spec__, "_initializing", False):
            _known[module] = names
    for name in names:
        yield vars(module)[name]


def _connects(value: object, module: ModuleType) -> bool:
    return (
        isinstance(value, type)
        and value.__module__ == module.__name__
        and ("recv_bytes" in vars(value) or value.__name__.endswith(("ConnectionManager", "WebSocketLane")))
    )


_known: WeakKeyDictionary[ModuleType, tuple[str, ...]] = WeakKeyDictionary()
"""The names that were found in modules: to search one takes longer than to patch it."""


# --- wrappers ---------------------------------------------------------------------------------------------------------


def _received(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    watcher = connection.__dict__.get(WATCHER) or _watcher_of(connection)
    if watcher is None or watcher.receiving:
        return wrapped(*args, **kwargs)
    watcher.receiving = True
    try:
        message = wrapped(*args, **kwargs)
    except BaseException as error:
        watcher.on_receive_error(error)
        raise
    watcher.receiving = False
    watcher.received(message)
    return message


async def _received_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    watcher = connection.__dict__.get(WATCHER) or _watcher_of(connection)
    if watcher is None or watcher.receiving:
        return await wrapped(*args, **kwargs)
    watcher.receiving = True
    try:
        message = await wrapped(*args, **kwargs)
    except BaseException as error:
        watcher.on_receive_error(error)
        raise
    watcher.receiving = False
    watcher.received(message)
    return message


class _Sending:
    """Reads one message that is sent."""

    __slots__ = ("turn", "watcher")

    def __init__(self, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any], lane: object = None) -> None:
        self.watcher = _watcher_of(connection)
        event = args[0] if args else kwargs.get("event", kwargs.get("data"))
        self.turn = None if self.watcher is None else self.watcher.on_send(event, lane)

    def __enter__(self) -> Turn | None:
        """The turn that the message requests, if there are budgets that have to admit it."""
        return self.turn if Budgeting.active else None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.turn is not None and self.watcher is not None:
            self.turn.is_sending = False
            if error is not None:
                self.watcher.on_send_error(self.turn, error)


def _gate() -> ModuleType:
    """The module that admits turns; for programs with budgets only."""
    from openai_meter.instrumentation import budget_gate  # noqa: PLC0415

    return budget_gate


def _sent(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _Sending(connection, args, kwargs) as turn:
        if turn is not None:
            _gate().admit_turn(turn)
        return wrapped(*args, **kwargs)


async def _sent_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with _Sending(connection, args, kwargs) as turn:
        if turn is not None:
            await _gate().admit_turn_async(turn)
        return await wrapped(*args, **kwargs)


def _lane_sent(wrapped: Callable[..., Any], lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with _Sending(*_of_lane(lane, args, kwargs)) as turn:
        if turn is not None:
            _gate().admit_turn(turn)
        return wrapped(*args, **kwargs)


async def _lane_sent_async(
    wrapped: Callable[..., Any], lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    with _Sending(*_of_lane(lane, args, kwargs)) as turn:
        if turn is not None:
            await _gate().admit_turn_async(turn)
        return await wrapped(*args, **kwargs)


def _closed(wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return wrapped(*args, **kwargs)
    finally:
        _on_close(connection)


async def _closed_async(
    wrapped: Callable[..., Any], connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    finally:
        _on_close(connection)


def _entered(wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    connection = wrapped(*args, **kwargs)
    _watcher_of(connection, manager)
    return connection


async def _entered_async(
    wrapped: Callable[..., Any], manager: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    connection = await wrapped(*args, **kwargs)
    _watcher_of(connection, manager)
    return connection


# --- shared by the wrappers -------------------------------------------------------------------------------------------


def _of_lane(
    lane: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any], object]:
    """The connection that a lane of the SDK's sessions sends over, past the connection's own ``send``."""
    try:
        return lane._session.connection, args, kwargs, lane._state.stream_id  # noqa: SLF001 - it has no public name
    except AttributeError:
        return None, args, kwargs, None


def _on_close(connection: Any) -> None:
    watcher = connection.__dict__.get(WATCHER)
    if watcher is not None:
        watcher.on_close()


def _watcher_of(connection: Any, manager: Any = None) -> ConnectionWatcher | None:
    """The watcher of a connection, made when it is first seen; ``None`` where it cannot be watched."""
    try:
        attributes: dict[str, Any] = connection.__dict__
        found: ConnectionWatcher | None = attributes.get(WATCHER)
        if found is None:
            prepare()
            client = _client(manager)
            host, model, headers = _handshake(connection)
            provider, host = providers.provider(client, f"wss://{host}")
            kind = _kind(connection.__class__)
            watcher = ConnectionWatcher(kind, _listen_for(client), provider, host, model)
            watcher.headers = headers
            found = attributes.setdefault(WATCHER, watcher)
    except Exception as error:
        if connection is not None:
            faults.caught(error, "watching a connection")
        return None
    else:
        return found


def _listen_for(client: Any) -> Callable[[], Any]:
    """A function that returns what listens to a client's connection. It is called for each turn."""

    def listen() -> Any:
        return listeners(client, current_surroundings().blocks)

    return listen


def _client(manager: Any) -> Any:
    """The client that opens a connection; the SDK holds it under a private name of the class."""
    attributes = () if manager is None else vars(manager).items()
    return next((value for name, value in attributes if name.endswith("__client")), _UNKNOWN_CLIENT)


def _handshake(connection: Any) -> tuple[str, str | None, ResponseHeaders]:
    """The host of a connection, the model or Azure deployment in its URL, and what the answer names in its headers."""
    request = getattr(getattr(connection, "_connection", None), "request", None)
    if request is None:
        return "", None, NO_HEADERS
    query = parse_qs(urlsplit(request.path).query)
    model = next(iter(query.get("model", ()) or query.get("deployment", ())), None)
    return str(request.headers.get("Host", "")), model, _headers(getattr(connection._connection, "response", None))  # noqa: SLF001


def _headers(response: Any) -> ResponseHeaders:
    """Who is billed, and the id of the request. The other headers are about the handshake, not about its turns."""
    if response is None:
        return NO_HEADERS
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.raw_items()]
    found = read_pairs(pairs)
    return ResponseHeaders(found.organization, found.project, found.request_id)


@lru_cache(maxsize=64)
def _kind(connection: type[object]) -> str:
    """Which kind of session a connection holds, by the SDK's module that it comes from."""
    for base in connection.__mro__:
        parts = base.__module__.split(".")
        if parts[0] == "openai":
            return next((kind for kind in ("translations", "live", "responses") if kind in parts), "realtime")
    return "realtime"
