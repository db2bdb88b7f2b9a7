"""The HTTP seam: sees every request of every openai client at the one place where all of them come by.

Patched is ``request`` of each class in the two client trees that defines it: methods of resources hold a bound
``post`` from before, but that looks ``request`` up when it is called. The answer is seen through the options'
``post_parser``, on a copy of the options: the caller's own are never written to.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from openai_meter import asking, faults, hosts, streams
from openai_meter.bodies import read_text
from openai_meter.endpoints import find
from openai_meter.meter import Block, Meter, Readings
from openai_meter.observe import Pending, finish_open_streams
from openai_meter.patching import Patches, tree
from openai_meter.scope import surroundings
from openai_meter.sdk import Sdk
from openai_meter.tariff import prepare
from openai_meter.worker import worker

__all__ = ["BASE_CLIENT", "MARK", "Mark", "listeners", "seam"]

MARK = "_openai_meter"
BASE_CLIENT = "openai._base_client"
CONNECTIONS = (
    "openai.resources.realtime.realtime",
    "openai.resources.realtime.translations.translations",
    "openai.resources.live.live",
    "openai.resources.live.forks",
    "openai.resources.live.sideband",
    "openai.resources.responses.responses",
    "openai.resources.beta.realtime.realtime",
    "openai.resources.beta.responses.responses",
    "openai.lib.responses_websocket._session",
)
"""Where the SDK's WebSocket connections are. To add one, add its module; no version has all of them."""
_TRANSPORT = "websockets"
"""The library that connections are made with: the SDK imports it when the first one is opened, and not before."""


class Mark(NamedTuple):
    """What a wrapped client, and every copy of it, carries in its ``__dict__``."""

    meter: Meter
    epoch: int


class _Seam:
    """Who listens, and what is patched for them. One for the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.meter: Meter | None = None
        """The process-wide meter, made on demand."""
        self.installed: Meter | None = None
        """The meter that hears every client, or ``None``."""
        self.wrapping = False
        """Whether some client was wrapped since the last uninstall."""
        self.tracking = 0
        """How many ``track()`` blocks are being run."""
        self.captures: tuple[Readings, ...] = ()
        """Who hears every client for a while, beside the installed meter."""
        self.everywhere: tuple[Readings, ...] = ()
        """All who hear every client: made by :meth:`settle`, so that a call has nothing to put together."""
        self.epoch = 0
        """Counts the uninstalls: a mark from an earlier epoch is void."""
        self.sdk: Sdk | None = None
        self.patches = Patches()
        self.waiting = False

    def settle(self) -> None:
        """Brings the patches in line with who listens."""
        self.everywhere = self.captures if self.installed is None else (self.installed, *self.captures)
        if not self.everywhere and not self.wrapping and not self.tracking:
            self.patches.undo()
            return
        if not self.waiting:
            # Also where openai seems to be there: another thread may be in the middle of importing it.
            self.waiting = True
            # Not before: what the program has registered so far, such as a report, runs after it.
            atexit.register(finish_open_streams)
            import wrapt  # noqa: PLC0415 - takes longer to import than all of openai_meter

            wrapt.register_post_import_hook(self.imported, BASE_CLIENT)
            for name in (*CONNECTIONS, _TRANSPORT):
                wrapt.register_post_import_hook(self.connecting, name)
        base = sys.modules.get(BASE_CLIENT)
        if base is not None and hasattr(base, "AsyncAPIClient"):
            self.patch(base)
        self.patch_connections()

    def imported(self, base: ModuleType) -> None:
        """Hears that openai was imported. An import hook cannot be taken back, so this asks whether it is wanted."""
        with self.lock:
            if self.everywhere or self.wrapping or self.tracking:
                try:
                    self.patch(base)
                except Exception as error:
                    faults.caught(error, "patching openai")

    def connecting(self, _: ModuleType) -> None:
        """Hears that something was imported that WebSockets are made of."""
        with self.lock:
            if self.installed is not None or self.wrapping or self.tracking:
                try:
                    self.patch_connections()
                except Exception as error:
                    faults.caught(error, "patching connections")

    def patch_connections(self) -> None:
        """Patches every WebSocket connection that is there by now; a program that opens none has nothing patched."""
        managers = self.installed is not None or self.wrapping
        found = [module for name in CONNECTIONS if (module := sys.modules.get(name)) is not None]
        if found and (managers or _TRANSPORT in sys.modules):
            from openai_meter import websockets  # noqa: PLC0415 - it knows the seam, not the other way round

            websockets.patch(found, self.patches, managers=managers, connections=_TRANSPORT in sys.modules)

    def patch(self, base: ModuleType) -> None:
        """Patches every class that is there by now."""
        sdk = self.sdk = self.sdk or Sdk.of(base)
        for root, request in ((sdk.sync_client, _request), (sdk.async_client, _request_async)):
            for owner in tree(root):
                self.patches.add(owner, "request", request)
                if self.wrapping:
                    self.patches.add(owner, "copy", _copied)
                    self.patches.add(owner, "with_options", _copied)

    def start_over_in_child(self) -> None:
        """Opens the lock in a forked child: who held it may be gone. Of the blocks, those of this thread go on."""
        self.lock = threading.RLock()
        self.tracking = len(surroundings.get().blocks)


seam = _Seam()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=seam.start_over_in_child)


# --- what happens at a request ----------------------------------------------------------------------------------------


def _request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    seen = _begin(wrapped, client, args, kwargs)
    if seen is None:
        return wrapped(*args, **kwargs)
    parser, args, kwargs = seen
    while True:
        try:
            answer = wrapped(*args, **kwargs)
        except BaseException as error:
            if (unasked := parser.failed(error)) is None:
                raise
            args, kwargs = unasked
        else:
            parser.answered(answer)
            return answer


async def _request_async(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    seen = _begin(wrapped, client, args, kwargs)
    if seen is None:
        return await wrapped(*args, **kwargs)
    parser, args, kwargs = seen
    while True:
        try:
            answer = await wrapped(*args, **kwargs)
        except BaseException as error:
            if (unasked := parser.failed(error)) is None:
                raise
            args, kwargs = unasked
        else:
            parser.answered(answer)
            return answer


def _copied(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    copy = wrapped(*args, **kwargs)
    mark = vars(client).get(MARK)
    if mark is not None:
        vars(copy).setdefault(MARK, mark)
    return copy


class PostParser:
    """Stands before the parser that the SDK runs on every answer, and shows the answer to the meter.

    It is also the mark of a request that is being metered: where another class of the tree calls its parent's
    ``request``, or another wrapper stands in between, the inner seam finds it and stays out. Where there is neither,
    and no parser of the SDK's, ``request`` returns what a parser would be given, and no options need be copied.
    """

    __slots__ = ("asked", "beside", "inner", "pending", "sdk", "unasked")

    def __init__(self, inner: object, pending: Pending, sdk: Sdk) -> None:
        self.inner = inner if callable(inner) else None
        self.pending = pending
        self.sdk = sdk
        self.beside = False
        """Whether the SDK does not know of it: it is shown the answer when ``request`` returns that."""
        self.asked: bool | None = None
        """Whether usage is asked for in the caller's stead; ``False`` where that was tried and taken back."""
        self.unasked: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        """The arguments for a second try without asking."""

    def __call__(self, parsed: Any) -> Any:
        pending = self.pending
        watched = False
        if not pending.finished:
            try:
                watched = self._show(parsed)
            except Exception as error:
                faults.caught(error, "seeing an answer")
        if self.inner is not None:
            try:
                parsed = self.inner(parsed)
            except BaseException as error:
                # The answer was paid for, whether the program can use it or not.
                pending.finish(error)
                raise
        if not watched:
            pending.finish()
        return parsed

    def _show(self, parsed: Any) -> bool:
        """Reads an answer; ``True`` if it will be read as it streams."""
        if isinstance(parsed, self.sdk.streams):
            is_async = isinstance(parsed, self.sdk.streams[1])
            if self.pending.row.fold is None:
                return False
            streams.watch_events(parsed, self.pending, is_async=is_async, asked=self.asked is True)
            return True
        if isinstance(parsed, self.sdk.binary):
            streams.read_response(parsed.response, self.pending)
        elif isinstance(parsed, str):
            read_text(self.pending, parsed)
        else:
            self.pending.saw(parsed)
        return False

    def failed(self, error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Hears what ``request`` raised: the arguments for another try if our asking may be the cause, else the end."""
        try:
            pending = self.pending
            unasked, self.unasked = self.unasked, None
            if unasked is not None and not pending.finished and asking.refused(error, pending.host):
                self.asked = False
                return unasked
        except Exception as fault:
            faults.caught(fault, "looking at a refusal")
        self.pending.finish(error)
        return None

    def answered(self, answer: Any) -> None:
        """Sees what ``request`` returned: all there is to see of a raw response that was not parsed."""
        if self.beside and not isinstance(answer, self.sdk.unread):
            self(answer)
            return
        pending = self.pending
        if self.asked is not None:
            asking.accepted(pending.host, asked=self.asked)
        if pending.finished or isinstance(answer, self.sdk.streams):
            return
        try:
            response = answer.http_response if isinstance(answer, self.sdk.raw) else answer
            if not hasattr(response, "is_closed"):
                # The SDK parses every answer: this one came from a subclass's own cache, and nothing was sent.
                pending.drop()
            elif response.is_closed:
                streams.read_response(response, pending)
                pending.finish()
            else:
                client = getattr(answer, "_client", None)
                is_async = isinstance(client, self.sdk.async_client) or hasattr(response.stream, "__aiter__")
                streams.watch_body(response, pending, is_async=is_async)
        except Exception as error:
            faults.caught(error, "seeing a raw answer")
            pending.finish()


def _begin(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[PostParser, tuple[Any, ...], dict[str, Any]] | None:
    """Begins to meter a request: who sees its answer, and the arguments to go on with; ``None`` to leave it alone."""
    try:
        here = surroundings.get()
        hear = listeners(client, here.blocks)  # first: where nobody listens, nothing else is looked at
        if not hear:
            return None
        options = args[1] if len(args) > 1 else kwargs["options"]
        said = options.__dict__  # to ask a model of pydantic for five attributes takes longer than all that follows
        url, inner = said["url"], said["post_parser"]
        row = find(said["method"], url)
        sdk = seam.sdk
        if row is None or type(inner) is PostParser or sdk is None:
            return None
        prepare()
        worker.start()  # for what came from finalizers, which cannot do it
        body = _body(said["json_data"], said["extra_json"])
        provider, host = hosts.provider(client, url)
        pending = Pending(row, hear, provider, host, body, here=here, stream=kwargs.get("stream") is True)
        if pending.requested_model is None:
            pending.requested_model = hosts.deployment(client, url)
        parser = PostParser(inner, pending, sdk)
        headers = said["headers"]
        asks = pending.stream and asking.may_ask(row, body, headers, provider, host)
        if not asks and parser.inner is None and sdk.answers_with(wrapped, headers):
            parser.beside = True
            return parser, args, kwargs
        copy = sdk.copy_options(options, parser)
        if asks:
            parser.unasked = _with_options(args, kwargs, copy)
            copy = sdk.copy_options(copy, parser)
            asking.ask(copy)
            parser.asked = True
        return parser, *_with_options(args, kwargs, copy)
    except Exception as error:
        faults.caught(error, "beginning a call")
        return None


def _with_options(
    args: tuple[Any, ...], kwargs: dict[str, Any], options: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``request`` with other options."""
    if len(args) > 1:
        return (args[0], options, *args[2:]), kwargs
    return args, {**kwargs, "options": options}


def listeners(client: Any, blocks: tuple[Block, ...]) -> tuple[Readings, ...]:
    """Who hears a request of this client: who hears all, the client's own meter, and the blocks around; each once."""
    everywhere = seam.everywhere
    mark = client.__dict__.get(MARK)
    if mark is None and not blocks:
        return everywhere
    found: dict[Readings, None] = dict.fromkeys(everywhere)
    if mark is not None and mark.epoch == seam.epoch:
        found[mark.meter] = None
    for block in blocks:
        found[block] = None
    return tuple(found)


_NO_BODY: Mapping[str, Any] = {}


def _body(body: object, extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The request's JSON body, as the SDK will send it. Looked at here and nowhere else; never the caller's values."""
    known = body if type(body) is dict or isinstance(body, Mapping) else _NO_BODY
    return {**known, **extra} if extra else known
