"""The HTTP seam: sees every request of every openai client at the one place where all of them come by.

Patched is ``request`` of each class in the two client trees that defines it: methods of resources hold a bound
``post`` from before, but that looks ``request`` up when it is called. The answer is seen through the options'
``post_parser``, on a copy of the options: the caller's own are never written to.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from openai_meter.core import faults
from openai_meter.core.background import worker
from openai_meter.core.patching import tree
from openai_meter.instrumentation import include_usage, streams
from openai_meter.instrumentation.listening import MARK, listeners, listening
from openai_meter.instrumentation.sdk import Sdk
from openai_meter.metering.attribution import current_surroundings
from openai_meter.metering.call_in_flight import CallInFlight, finish_open_streams
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers
from openai_meter.usage.bodies import read_text
from openai_meter.usage.endpoints import find

__all__ = ["BASE_CLIENT"]

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


class _Patcher:
    """Patches what is there, and what will be imported, in line with who listens."""

    def apply(self) -> None:
        """Brings the patches in line with who listens."""
        if not listening.global_listeners and not listening.wrapping and not listening.tracking:
            listening.patches.undo()
            return
        if not listening.waiting:
            # Also where openai seems to be there: another thread may be in the middle of importing it.
            listening.waiting = True
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
        with listening.lock:
            if listening.global_listeners or listening.wrapping or listening.tracking:
                try:
                    self.patch(base)
                except Exception as error:
                    faults.caught(error, "patching openai")

    def connecting(self, _: ModuleType) -> None:
        """Hears that something was imported that WebSockets are made of."""
        with listening.lock:
            if listening.installed is not None or listening.wrapping or listening.tracking:
                try:
                    self.patch_connections()
                except Exception as error:
                    faults.caught(error, "patching connections")

    def patch_connections(self) -> None:
        """Patches every WebSocket connection that is there by now; a program that opens none has nothing patched."""
        managers = listening.installed is not None or listening.wrapping
        found = [module for name in CONNECTIONS if (module := sys.modules.get(name)) is not None]
        if found and (managers or _TRANSPORT in sys.modules):
            from openai_meter.instrumentation.websockets import patch as websockets  # noqa: PLC0415 - it knows the seam, not the other way round

            websockets.patch(found, listening.patches, managers=managers, connections=_TRANSPORT in sys.modules)

    def patch(self, base: ModuleType) -> None:
        """Patches every class that is there by now."""
        sdk = listening.sdk = listening.sdk or Sdk.of(base)
        for root, request in ((sdk.sync_client, _request), (sdk.async_client, _request_async)):
            for owner in tree(root):
                listening.patches.add(owner, "request", request)
                if listening.wrapping:
                    listening.patches.add(owner, "copy", _copied)
                    listening.patches.add(owner, "with_options", _copied)


patcher = _Patcher()
listening.apply = patcher.apply


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


class RequestContext:
    """Stands before the parser that the SDK runs on every answer, and shows the answer to the meter.

    It is also the mark of a request that is being metered: where another class of the tree calls its parent's
    ``request``, or another wrapper stands in between, the inner seam finds it and stays out. Where there is neither,
    and no parser of the SDK's, ``request`` returns what a parser would be given, and no options need be copied.
    """

    __slots__ = ("beside", "injected", "inner", "pending", "sdk", "unasked")

    def __init__(self, inner: object, pending: CallInFlight, sdk: Sdk) -> None:
        self.inner = inner if callable(inner) else None
        self.pending = pending
        self.sdk = sdk
        self.beside = False
        """Whether the SDK does not know of it: it is shown the answer when ``request`` returns that."""
        self.injected: bool | None = None
        """Whether usage is injected for in the caller's stead; ``False`` where that was tried and taken back."""
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
            streams.watch_events(parsed, self.pending, is_async=is_async, injected=self.injected is True)
            return True
        if isinstance(parsed, self.sdk.binary):
            streams.read_response(parsed.response, self.pending)
        elif isinstance(parsed, str):
            read_text(self.pending, parsed)
        else:
            self.pending.read_response(parsed)
        return False

    def failed(self, error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Hears what ``request`` raised: the arguments for another try if our asking may be the cause, else the end."""
        try:
            pending = self.pending
            unasked, self.unasked = self.unasked, None
            if unasked is not None and not pending.finished and include_usage.refused(error, pending.host):
                self.injected = False
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
        if self.injected is not None:
            include_usage.accepted(pending.host, injected=self.injected)
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
) -> tuple[RequestContext, tuple[Any, ...], dict[str, Any]] | None:
    """Begins to meter a request: who sees its answer, and the arguments to go on with; ``None`` to leave it alone."""
    try:
        around = current_surroundings()
        heard_by = listeners(client, around.blocks)  # first: without a listener nothing else is done
        if not heard_by:
            return None
        options = args[1] if len(args) > 1 else kwargs["options"]
        said = options.__dict__  # to ask a model of pydantic for five attributes takes longer than all that follows
        url, inner = said["url"], said["post_parser"]
        row = find(said["method"], url)
        sdk = listening.sdk
        if row is None or type(inner) is RequestContext or sdk is None:
            return None
        prepare()
        worker.start()  # for what came from finalizers, which cannot do it
        body = _body(said["json_data"], said["extra_json"])
        provider, host = providers.provider(client, url)
        pending = CallInFlight(row, heard_by, provider, host, body, around=around, stream=kwargs.get("stream") is True)
        if pending.requested_model is None:
            pending.requested_model = providers.deployment(client, url)
        parser = RequestContext(inner, pending, sdk)
        headers = said["headers"]
        asks = pending.stream and include_usage.should_inject(row, body, headers, provider, host)
        if not asks and parser.inner is None and sdk.answers_with(wrapped, headers):
            parser.beside = True
            return parser, args, kwargs
        copy = sdk.copy_options(options, parser)
        if asks:
            parser.unasked = _with_options(args, kwargs, copy)
            copy = sdk.copy_options(copy, parser)
            include_usage.inject(copy)
            parser.injected = True
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


_NO_BODY: Mapping[str, Any] = {}


def _body(body: object, extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The request's JSON body, as the SDK will send it. Looked at here and nowhere else; never the caller's values."""
    known = body if type(body) is dict or isinstance(body, Mapping) else _NO_BODY
    return {**known, **extra} if extra else known
