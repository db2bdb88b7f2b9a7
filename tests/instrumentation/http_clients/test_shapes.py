"""Every shape of call, sent without the SDK: one record each, with the tokens and costs that the SDK's calls have."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from raw_traffic import PLAYERS, WHOLE_BODY, Exchange, Tape, metered, recorded

import openai_meter
from openai_meter.testing.fake_api.call_shapes import SHAPES
from openai_meter.testing.fake_api.shape_runner import Shape

SENT = [shape for shape in SHAPES if shape.name != "APIConnectionError"]
"""The shapes that reach a server."""


@pytest.fixture(scope="module")
def tape() -> Iterator[Tape]:
    """The server of the module."""
    with Tape() as server:
        yield server


def played(tape: Tape, exchanges: tuple[Exchange, ...], way: str) -> list[Any]:
    """What a program gets that sends these requests, one after the other."""
    tape.answers = list(exchanges)
    tape.received.clear()
    found: list[Any] = []
    for exchange in exchanges:
        try:
            found.append(PLAYERS[way](tape.url, exchange))
        except Exception as error:
            if not exchange.is_cut or way not in WHOLE_BODY:
                raise
            found.append(type(error))
    return found


MOST = ("httpx", "httpx2, streamed", "aiohttp, streamed", "requests, streamed")
"""The ways that shapes are sent in turn. Some shapes are sent in every way, and with ``--thorough`` all of them."""
SOME = frozenset({
    "chat.completions.create", "chat stream, include_usage", "chat stream, without include_usage",
    "chat stream, connection lost", "error of the API (404)", "responses stream",
    "responses.create(background=True), 5 polls", "audio.transcriptions.create", "audio.speech.create", "models.list",
})  # fmt: skip


def row(shape: Shape, place: int, way: str) -> Any:
    """A shape and a way, left out without ``--thorough`` if it is one of many like it."""
    chosen = way == MOST[place % len(MOST)] or shape.name in SOME
    return pytest.param(shape, way, id=f"{shape.name} - {way}", marks=() if chosen else pytest.mark.thorough)


ROWS = [row(shape, place, way) for way in PLAYERS for place, shape in enumerate(SENT)]


@pytest.mark.parametrize(("shape", "way"), ROWS)
def test_shape_sent_without_the_sdk_is_counted_once_and_gets_the_same_bytes(shape: Shape, way: str, tape: Tape) -> None:
    """The server gets what was sent, the program what was answered, and there is one record for each billed call."""
    exchanges, sdk_calls = recorded(shape)
    meter = metered(http=True)
    found = played(tape, exchanges, way)
    gc.collect()
    meter.settle()
    assert meter.internal_errors == 0
    for exchange, request, received in zip(exchanges, tape.received, found, strict=True):
        sent = exchange.request
        assert (request.method, request.path, request.query, request.body) == (
            sent.method, sent.path, sent.query, sent.body,
        )  # fmt: skip
        assert exchange.headers.items() <= request.headers.items()
        if isinstance(received, type):  # the exception that the library raised
            assert exchange.is_cut
        else:
            assert received.status == exchange.answer.status
            # Lines read through urllib.request end without an error where the connection breaks off.
            assert (received.error is not None) == (exchange.is_cut and way != "urllib.request")
            assert exchange.body.startswith(received.body) if exchange.is_cut else received.body == exchange.body
    # What the SDK tries again by itself is a call of its own here.
    calls = [call for call in meter.calls if call.error_type != "InternalServerError"]
    assert len(meter.calls) - len(calls) == sum(exchange.answer.status >= 500 for exchange in exchanges)
    assert len(calls) == shape.records == len(sdk_calls)
    assert [facts(call) for call in calls] == [facts(call) for call in sdk_calls]
    if shape.name not in LEFT_EARLY:
        assert [counts(call) for call in calls] == [counts(call) for call in sdk_calls]


LEFT_EARLY = frozenset({
    "chat stream, break", "chat stream, abandoned", "chat stream, close() without reading", "responses stream, break",
    "chat stream, connection lost",
})  # fmt: skip
"""Where the SDK's program reads less of the answer than is read here."""


def facts(call: openai_meter.Call) -> Any:
    """What a record says about a request, however it was sent."""
    return call.endpoint, call.provider, call.requested_model, call.stream, call.host, call.evidence


def counts(call: openai_meter.Call) -> Any:
    """What a record says about an answer."""
    # A parser of the SDK may raise for an answer that is whole.
    ended = None if call.error_type == "LengthFinishReasonError" or call.status == "incomplete" else call.status
    error = None if ended is None else call.error_type
    return (
        call.response_id, call.model, call.service_tier, call.usage.to_dict(), call.usage_source, call.cost,
        call.cost_status, ended, error, call.request_id, call.organization, call.project, call.processing_ms,
    )  # fmt: skip
