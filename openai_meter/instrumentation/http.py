"""The wrapper of ``request``: the way of one call from its request to its answer.

Every call of every openai client passes ``request``. The answer is read through the options' ``post_parser``, on a copy
of the options: the caller's own are never written to. What is patched, and when, is in
:mod:`~openai_meter.instrumentation.patching`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import JSONDecodeError
from types import ModuleType
from typing import TYPE_CHECKING, Any

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.instrumentation import include_usage, streams
from openai_meter.instrumentation.listening import MARK, listeners
from openai_meter.instrumentation.retries import last_retry
from openai_meter.instrumentation.sdk import decodes_embeddings, embeddings_in
from openai_meter.instrumentation.seams import Seams, marked, marked_async
from openai_meter.instrumentation.sending import current_request, process_response, send, send_async
from openai_meter.metering import quick_path
from openai_meter.metering.attribution import current_surroundings
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.metering.quick_path import PlainRequest
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers
from openai_meter.usage.bodies import read_text
from openai_meter.usage.endpoints import find
from openai_meter.usage.response_headers import header_facts, raw_headers, read_headers

if TYPE_CHECKING:
    from openai_meter.core.patching import Wrapper
    from openai_meter.instrumentation.sdk import Sdk

__all__ = ["RequestContext", "copy_mark", "process_response", "request_wrappers"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and the named arguments of ``request``."""


def request_wrappers(sdk: Sdk) -> tuple[Wrapper, Wrapper]:
    """Makes the wrappers of ``request`` for the sync and the async clients of one openai package."""
    return _sync_wrapper(sdk), _async_wrapper(sdk)


def _sync_wrapper(sdk: Sdk) -> Wrapper:
    def request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = _begin(wrapped, client, args, kwargs, sdk)
        if begun is None:
            return wrapped(*args, **kwargs)
        if Seams.http:
            wrapped = marked(wrapped)
        if isinstance(begun, PlainRequest):
            try:
                answer = wrapped(*args, **kwargs)
            except BaseException as error:
                _raised(begun, sdk, error)
                raise
            if _was_retried(begun) or not quick_path.record(begun, answer):
                _returned(begun, sdk, answer)
            return answer
        context, args, kwargs = begun
        if Budgeting.active:
            args, kwargs = _gate().admit_sync(context, args, kwargs)
        return send(wrapped, context, args, kwargs)

    return request


def _async_wrapper(sdk: Sdk) -> Wrapper:
    async def request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        begun = _begin(wrapped, client, args, kwargs, sdk)
        if begun is None:
            return await wrapped(*args, **kwargs)
        if Seams.http:
            wrapped = marked_async(wrapped)
        if isinstance(begun, PlainRequest):
            try:
                answer = await wrapped(*args, **kwargs)
            except BaseException as error:
                _raised(begun, sdk, error)
                raise
            if _was_retried(begun) or not quick_path.record(begun, answer):
                _returned(begun, sdk, answer)
            return answer
        context, args, kwargs = begun
        if Budgeting.active:
            args, kwargs = await _gate().admit_async(context, args, kwargs)
        return await send_async(wrapped, context, args, kwargs)

    return request


def _gate() -> ModuleType:
    """The module that admits requests; for programs with budgets only."""
    from openai_meter.instrumentation import budget_gate  # noqa: PLC0415

    return budget_gate


def copy_mark(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The wrapper of ``copy`` and ``with_options``: the copy of a wrapped client is wrapped too."""
    copy = wrapped(*args, **kwargs)
    mark = vars(client).get(MARK)
    if mark is not None:
        vars(copy).setdefault(MARK, mark)
    return copy


class RequestContext:
    """The call that belongs to one request. It is called with the answer, before the parser of the SDK's own.

    In the options of a request it also marks that the request is metered: where another class of the tree calls its
    parent's ``request``, or another wrapper stands in between, the inner wrapper of ours finds it and does nothing.
    Where there is neither, and no parser of the SDK's, ``request`` returns what a parser would be given, and no options
    need be copied.
    """

    __slots__ = (
        "attempts_before",
        "injected",
        "inner",
        "may_be_proxy",
        "parses_itself",
        "pending",
        "sdk",
        "shape",
        "uninjected",
    )

    def __init__(self, inner: object, pending: CallInFlight, sdk: Sdk) -> None:
        self.inner = inner if callable(inner) else None
        self.pending = pending
        self.sdk = sdk
        self.may_be_proxy = not providers.answers_itself(pending.host)
        """Whether a proxy or gateway may answer: its headers have the cost, and whether its cache has answered."""
        self.parses_itself = False
        """Whether the SDK parses the answer without this context, which then reads what ``request`` returns."""
        self.injected: bool | None = None
        """Whether ``include_usage`` was injected; ``False`` where it was, and was taken back; else ``None``."""
        self.shape: include_usage.RequestShape | None = None
        """The shape of the request, where ``include_usage`` was injected."""
        self.attempts_before = 0
        """How often the request was sent with ``include_usage``, where it is sent again without."""
        self.uninjected: Arguments | None = None
        """The arguments for a second try without ``include_usage``."""

    def __call__(self, parsed: Any) -> Any:
        """Reads an answer, and runs the parser that the options had; what that one raises is raised."""
        pending = self.pending
        watched = False
        if not pending.finished:
            try:
                watched = self._read_answer(parsed)
            except Exception as error:
                faults.caught(error, "reading an answer")
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

    def _read_answer(self, parsed: Any) -> bool:
        """Reads an answer; ``True`` if it is a stream, which is read later."""
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

    def on_retry(self, attempts: int) -> None:
        """Notes how often the SDK has sent the request."""
        self.pending.attempts = self.attempts_before + attempts

    def on_error(self, error: BaseException) -> Arguments | None:
        """Handles what ``request`` raised.

        Returns:
            The arguments for another try, where ``include_usage`` may be the cause; else ``None``: the call has ended.
        """
        try:
            pending = self.pending
            if self.parses_itself:
                self._read_attempts()
            self._read_headers(getattr(error, "response", None))
            uninjected, self.uninjected = self.uninjected, None
            if (
                uninjected is not None
                and self.shape is not None
                and not pending.finished
                and include_usage.is_refusal(error, self.shape)
            ):
                self.injected = False
                self.attempts_before = pending.attempts
                pending.attempts += 1
                return uninjected
            if isinstance(error, JSONDecodeError) and not pending.finished:
                read_text(pending, error.doc)  # the answer was paid for, and may have its usage
        except Exception as fault:
            faults.caught(fault, "reading a failed answer")
        self.pending.finish(error)
        return None

    def on_response(self, arguments: Mapping[str, Any]) -> None:
        """Reads some headers from the arguments of ``_process_response``: no parsed answer has them."""
        try:
            pending, response = self.pending, arguments["response"]
            self._read_headers(response)
            # OpenAI and Azure send none of these: they are those of proxies and gateways.
            if self.may_be_proxy and (facts := header_facts(response.headers.raw)):
                pending.response.facts = {**pending.response.facts, **facts}
        except Exception as error:
            faults.caught(error, "reading the headers of a response")

    def _read_headers(self, response: Any) -> None:
        """Reads the headers of a response, also of one that is an error."""
        headers = getattr(response, "headers", None)
        if headers is not None and not self.pending.finished:
            self.pending.response.headers = read_headers(raw_headers(headers))

    def _read_attempts(self) -> None:
        """Reads how often the SDK sent this request, where the request has no options of ours."""
        retry = last_retry.get()
        # An older one belongs to another request. A request inside this one has removed its own.
        if retry is not None and retry.at >= self.pending._clock:  # noqa: SLF001 - of one package with it
            self.pending.attempts = retry.attempts
            last_retry.set(None)

    def on_return(self, answer: Any) -> None:
        """Reads what ``request`` returned, where no parser was run: a raw response has only its bytes to read."""
        if self.parses_itself:
            if last_retry.get() is not None:
                self._read_attempts()
            if not isinstance(answer, self.sdk.unread):
                self(answer)
                return
        pending = self.pending
        if self.injected is not None and self.shape is not None:
            include_usage.remember(self.shape, injected=self.injected)
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
                streams.watch_body(response, pending, is_async=is_async, injected=self.injected is True)
        except Exception as error:
            faults.caught(error, "reading a raw answer")
            pending.finish()


def _raised(plain: PlainRequest, sdk: Sdk, error: BaseException) -> None:
    """Records a call that was begun as plain, and raised."""
    if (context := _context_of(plain, sdk)) is not None:
        if (answer := embeddings_in(error)) is not None:
            context.pending.read_response(answer)  # it was paid for, though the SDK could not decode it
        context.on_error(error)


def _returned(plain: PlainRequest, sdk: Sdk, answer: Any) -> None:
    """Reads an answer that is not plain."""
    if (context := _context_of(plain, sdk)) is not None:
        context.on_return(answer)


def _was_retried(plain: PlainRequest) -> bool:
    """Whether the SDK may have sent a request again; the other way reads how often."""
    retry = last_retry.get()
    return retry is not None and retry.at >= plain.clock


def _context_of(plain: PlainRequest, sdk: Sdk) -> RequestContext | None:
    """The context of a call that was begun as plain, as if it had been made before the request was sent."""
    try:
        place = plain.place
        pending = CallInFlight(
            place.row,
            plain.listeners,
            place.provider,
            place.host,
            plain.body,
            stream=False,
            around=plain.around,
        )
        pending.begin_at(plain.started, plain.clock, plain.attribution, plain.evidence)
        pending.hold = plain.hold
        context = RequestContext(None, pending, sdk)
        context.parses_itself = True
        pending.response.headers = quick_path.headers_of(plain)
    except Exception as error:
        faults.caught(error, "metering a call that is not plain")
        return None
    return context


def _begin(
    wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], sdk: Sdk
) -> PlainRequest | tuple[RequestContext, tuple[Any, ...], dict[str, Any]] | None:
    """Begins to meter a request.

    Returns:
        What the quick path needs where the call may be plain. Else the context that reads the answer, and the arguments
        to go on with. ``None`` where the call is not metered.
    """
    try:
        around = current_surroundings()
        listening = listeners(client, around.blocks)
        if not listening:  # first: without listeners, nothing else is read
            return None
        options = args[1] if len(args) > 1 else kwargs["options"]
        fields = options.__dict__  # five attributes of a pydantic model take longer to read than all that follows
        inner, stream = fields["post_parser"], "stream" in kwargs and kwargs["stream"] is True
        if (
            not stream
            and (not callable(inner) or decodes_embeddings(inner))
            and sdk.parses_itself(wrapped, fields["headers"])
            and current_request.get() is None
            and (plain := quick_path.begin(client, fields, listening, around)) is not None
        ):
            return plain
        url = fields["url"]
        row = find(fields["method"], url)
        if row is None or type(inner) is RequestContext:
            return None
        prepare()
        body = _body(fields["json_data"], fields["extra_json"])
        provider, host = providers.provider(client, url)
        pending = CallInFlight(row, listening, provider, host, body, around=around, stream=stream)
        if pending.requested_model is None:
            pending.requested_model = providers.deployment(client, url)
        context = RequestContext(inner, pending, sdk)
        headers = fields["headers"]
        injects = pending.stream and include_usage.should_inject(row, body, headers, provider, host)
        if not injects and context.inner is None and sdk.parses_itself(wrapped, headers):
            context.parses_itself = True
            return context, args, kwargs
        copy = sdk.copy_options(options, context)
        if injects:
            context.shape = include_usage.shape_of(row, body, host)
            context.uninjected = _with_options(args, kwargs, copy)
            copy = sdk.copy_options(copy, context)
            include_usage.inject(copy)
            context.injected = True
        return context, *_with_options(args, kwargs, copy)
    except Exception as error:
        faults.caught(error, "beginning a call")
        return None


def _with_options(args: tuple[Any, ...], kwargs: dict[str, Any], options: Any) -> Arguments:
    """The arguments of ``request`` with other options."""
    if len(args) > 1:
        return (args[0], options, *args[2:]), kwargs
    return args, {**kwargs, "options": options}


_NO_BODY: Mapping[str, Any] = {}


def _body(body: object, extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The request's JSON body, as the SDK will send it. It is only read; the caller's values never change."""
    known = body if type(body) is dict or isinstance(body, Mapping) else _NO_BODY
    return {**known, **extra} if extra else known
