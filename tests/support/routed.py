"""Clients of OpenAI's own address whose requests go to a local server: their calls can take the quick path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import contract
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import openai_meter
from openai_meter.metering import quick_path
from openai_meter.metering.plain_calls import PlainCall
from openai_meter.testing.fake_api.loopback import LoopbackServer

HOME = "https://api.openai.com/v1"
AZURE = "https://forms.openai.azure.com"


def _moved(request: Any, server: LoopbackServer) -> Any:
    """The same request to the local server. The program's request keeps its own address."""
    library = contract.http_library()
    url = library.URL(server.url).copy_with(raw_path=request.url.raw_path)
    return library.Request(
        request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
    )


def _transports() -> tuple[type[Any], type[Any]]:
    library = contract.http_library()

    class Routed(library.HTTPTransport):  # type: ignore[name-defined,misc]
        def __init__(self, server: LoopbackServer) -> None:
            super().__init__(verify=False)
            self.server = server

        def handle_request(self, request: Any) -> Any:
            return super().handle_request(_moved(request, self.server))

    class AsyncRouted(library.AsyncHTTPTransport):  # type: ignore[name-defined,misc]
        def __init__(self, server: LoopbackServer) -> None:
            super().__init__(verify=False)
            self.server = server

        async def handle_async_request(self, request: Any) -> Any:
            return await super().handle_async_request(_moved(request, self.server))

    return Routed, AsyncRouted


def http_client(server: LoopbackServer, *, is_async: bool = False) -> Any:
    """An HTTP client whose requests go to the server, whatever their address is."""
    routed, async_routed = _transports()
    if is_async:
        return openai.DefaultAsyncHttpxClient(transport=async_routed(server))
    return openai.DefaultHttpxClient(transport=routed(server))


def sync_client(server: LoopbackServer, kind: type[OpenAI] = OpenAI, **settings: Any) -> OpenAI:
    """A client of OpenAI's own address."""
    given = {"base_url": HOME, "api_key": "demo", "max_retries": 0, "timeout": 20.0, **settings}
    return kind(http_client=http_client(server), **given)


def async_client(server: LoopbackServer, kind: type[AsyncOpenAI] = AsyncOpenAI, **settings: Any) -> AsyncOpenAI:
    """The same for an async client."""
    given = {"base_url": HOME, "api_key": "demo", "max_retries": 0, "timeout": 20.0, **settings}
    return kind(http_client=http_client(server, is_async=True), **given)


def azure_client(server: LoopbackServer, *, is_async: bool = False, **settings: Any) -> Any:
    """A client of an address of Azure's."""
    kind = AsyncAzureOpenAI if is_async else AzureOpenAI
    given = {"azure_endpoint": AZURE, "api_key": "demo", "api_version": "2025-01-01", "max_retries": 0, **settings}
    return kind(http_client=http_client(server, is_async=is_async), **given)


@contextmanager
def plain_calls() -> Iterator[list[PlainCall]]:
    """The plain calls that are taken inside, so that a test can assert that there are any."""
    taken: list[PlainCall] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind in (openai_meter.Meter, openai_meter.Block):
            patch.setattr(kind, "_take_plain", _noting(kind._take_plain, taken))
        yield taken


def _noting(take: Any, taken: list[PlainCall]) -> Any:
    def noting(listener: Any, call: PlainCall) -> None:
        taken.append(call)
        take(listener, call)

    return noting


@contextmanager
def no_quick_path() -> Iterator[None]:
    """Inside, no call takes the quick path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_path, "begin", lambda *_: None)
        yield


def ready_meter(**settings: Any) -> openai_meter.Meter:
    """A meter whose prices have been read."""
    meter = openai_meter.Meter(**{"thresholds": False, **settings})
    meter.reprice()
    return meter
