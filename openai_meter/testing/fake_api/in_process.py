"""The demo API without a socket: clients whose requests are answered in their own process.

It works with both HTTP libraries of the SDK, whichever the installed version uses.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from openai_meter.errors import ConfigurationError
from openai_meter.testing.fake_api.handlers import State, Wanted, json_answer
from openai_meter.testing.fake_api.loopback import KEPT_REQUESTS, Answer, Request
from openai_meter.testing.fake_api.server import answered, with_usual_headers

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

__all__ = ["FakeAPI", "fake_async_client", "fake_client"]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
"""The ``type`` of the API's error object by status; ``server_error`` for all others."""


class _Scripted(NamedTuple):
    """One answer that was set: a failure, no answer at all, or the content of an answer."""

    wanted: Wanted | None = None
    failure: Answer | None = None


class FakeAPI:
    """An OpenAI API inside the process: no key, no network, no socket, answers of the right shape. Thread-safe.

    Every endpoint of the demo server answers: chat, responses, embeddings and all others, plain and streamed, with
    tools and structured output. Token counts depend on the request alone, unless they are given. Models of any name
    answer. The clients ask ``https://api.openai.com/v1``, so that their calls have OpenAI's prices.

    Args:
        answer: is called first with every request; what it returns is sent, ``None`` leaves the request to the API.
        text: what chats and responses answer.
        input_tokens: the input tokens of each answer, cached tokens included.
        cached_input_tokens: how many of these came from the cache; 0 if ``input_tokens`` is given.
        output_tokens: the output tokens of each answer, reasoning included.
        reasoning_tokens: how many of these are reasoning; 0 if ``output_tokens`` is given.
        usage: whether answers have a usage at all.

    Raises:
        ConfigurationError: a number of tokens is none, or a part is larger than the whole.
    """

    def __init__(
        self,
        answer: Callable[[Request], Answer | None] | None = None,
        *,
        text: str | None = None,
        input_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        output_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        usage: bool = True,
    ) -> None:
        self._first = answer
        self._usual = _wanted(text, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, usage=usage)
        self._lock = threading.Lock()
        self._script: deque[_Scripted] = deque()
        self._requests: deque[Request] = deque(maxlen=KEPT_REQUESTS)
        self._state = State(polls=2)

    # --- what is answered ---------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[Request]:
        """A copy of the last thousand requests, oldest first: ``requests[0].json()`` is the body of the first."""
        return list(self._requests)

    def answers(
        self,
        text: str | None = None,
        *,
        input_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        output_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        usage: bool = True,
        times: int = 1,
    ) -> Self:
        """Sets the content of the next answer (or the next ``times``); answers that are set form a queue.

        Raises:
            ConfigurationError: as for the class.
        """
        wanted = _wanted(text, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, usage=usage)
        return self._say(_Scripted(wanted), times)

    def fails(
        self,
        status: int = 500,
        message: str = "The demo API was told to fail.",
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> Self:
        """Lets the next request (or the next ``times``) be answered with an error of this HTTP status."""
        error = {"message": message, "type": _KINDS.get(status, "server_error"), "param": None, "code": code}
        answer = json_answer({"error": error}, status)
        return self._say(_Scripted(failure=answer._replace(headers={**answer.headers, **(headers or {})})), times)

    def breaks(self, *, times: int = 1) -> Self:
        """Lets the connection break at the next request (or the next ``times``), before any answer."""
        return self._say(_Scripted(), times)

    def _say(self, scripted: _Scripted, times: int) -> Self:
        with self._lock:
            self._script.extend([scripted] * times)
        return self

    # --- clients ------------------------------------------------------------------------------------------------------

    def client(self, **settings: Any) -> OpenAI:
        """A client of this API; ``settings`` are those of ``openai.OpenAI``. By default, it does not retry."""
        from openai import OpenAI  # noqa: PLC0415 - the meter's tests of other things need no SDK

        return OpenAI(**_settings(settings), http_client=self.http_client())

    def async_client(self, **settings: Any) -> AsyncOpenAI:
        """An async client of this API; ``settings`` are those of ``openai.AsyncOpenAI``."""
        from openai import AsyncOpenAI  # noqa: PLC0415

        return AsyncOpenAI(**_settings(settings), http_client=self.async_http_client())

    def http_client(self) -> Any:
        """What other clients take as ``http_client``: ``AzureOpenAI(..., http_client=api.http_client())``."""
        library = _http_library()
        return library.Client(transport=library.MockTransport(partial(self._answer, library)))

    def async_http_client(self) -> Any:
        """The same for async clients."""
        library = _http_library()

        async def answer(request: Any) -> Any:
            return self._answer(library, request, _asynchronously)

        return library.AsyncClient(transport=library.MockTransport(answer))

    def _answer(self, library: Any, sent: Any, content: Callable[[Iterable[bytes]], Any] = iter) -> Any:
        headers = MappingProxyType({name.lower(): value for name, value in sent.headers.items()})
        request = Request(sent.method, sent.url.path, sent.url.query.decode(), headers, sent.content)
        self._requests.append(request)
        answer = None if self._first is None else self._first(request)
        if answer is None:
            with self._lock:
                scripted = self._script.popleft() if self._script else _Scripted(self._usual)
            if scripted.wanted is not None:
                answer = answered(request, self._state, scripted.wanted)
            elif (answer := scripted.failure) is None:
                raise library.ConnectError("The demo API was told to break the connection.", request=sent)
        answer = with_usual_headers(request, answer, self._state)
        body = answer.body if isinstance(answer.body, bytes) else content(answer.body)
        return library.Response(answer.status, headers=dict(answer.headers), content=body)


def fake_client(answer: Callable[[Request], Answer | None] | None = None, **wanted: Any) -> OpenAI:
    """A client of a :class:`FakeAPI` of its own, which takes the same arguments."""
    return FakeAPI(answer, **wanted).client()


def fake_async_client(answer: Callable[[Request], Answer | None] | None = None, **wanted: Any) -> AsyncOpenAI:
    """The same for async code."""
    return FakeAPI(answer, **wanted).async_client()


def _wanted(
    text: str | None, tokens: int | None, cached: int | None, output: int | None, reasoning: int | None, *, usage: bool
) -> Wanted:
    for name, number in zip(Wanted._fields[1:5], (tokens, cached, output, reasoning), strict=True):
        if number is not None and (type(number) is not int or number < 0):
            raise ConfigurationError(f"{name}={number!r} is not a number of tokens; pass a whole number from 0 up")
    wanted = Wanted(text, tokens, cached, output, reasoning, usage, any_model=True)
    for part, whole in (("cached_input_tokens", "input_tokens"), ("reasoning_tokens", "output_tokens")):
        few, all_of_them = getattr(wanted, part), getattr(wanted, whole)
        if few is not None and (all_of_them is None or few > all_of_them):
            raise ConfigurationError(
                f"{part}={few} is a part of {whole}={all_of_them}; pass both, the whole not smaller"
            )
    return wanted


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    # The URL is given, as the environment may name another one.
    return {"api_key": "demo", "base_url": "https://api.openai.com/v1", "max_retries": 0, **given}


def _http_library() -> Any:
    """The HTTP library that the installed SDK uses: httpx, or httpx2 from SDK 3 on."""
    import openai  # noqa: PLC0415

    for ancestor in openai.DefaultHttpxClient.__mro__:
        root = ancestor.__module__.partition(".")[0]
        if root in {"httpx", "httpx2"}:
            return sys.modules[root]
    raise ConfigurationError("this version of openai is built upon neither httpx nor httpx2; FakeAPI knows no other")


async def _asynchronously(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
