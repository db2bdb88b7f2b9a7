"""What goes over WebSockets: turns, transcriptions, seconds, each counted once, and nothing changed for the caller."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import importlib
import inspect
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
import websocket_server as on
from contract import got, inside
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from websocket_server import CLIENTS, HANG_UP, HEAR, REALTIME, RESPONSES, WAYS, Stage, Way

import openai_meter
from openai_meter.core import faults
from openai_meter.instrumentation import patching
from openai_meter.instrumentation.websockets import connection as sessions
from openai_meter.instrumentation.websockets import patch

# Newer versions of websockets say this of how openai itself uses them.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

EACH = pytest.mark.parametrize("kind", CLIENTS, ids=["sync", "async"])


@pytest.fixture
def stage() -> Iterator[Stage]:
    """The server."""
    with on.stage() as made:
        yield made


@pytest.fixture
def meter() -> openai_meter.Meter:
    """The process-wide meter; what the server on this machine does costs what OpenAI's does."""
    return openai_meter.install(hosts={"127.0.0.1": "openai"})


async def receive(connection: Any, number: int) -> list[Any]:
    return [await got(connection.recv()) for _ in range(number)]


def play(stage: Stage, kind: type[Any], way: Way, script: list[Any], act: Any = None) -> list[Any]:
    """Connects, does something, receives all that the script sends, and closes."""
    stage.script = script
    sent = sum(isinstance(step, dict | str | bytes) and step not in (HEAR, HANG_UP) for step in script)

    async def talk() -> list[Any]:
        async with inside(way(stage.client(kind))) as connection:
            if act is not None:
                await got(act(connection))
            return await receive(connection, sent)

    return asyncio.run(talk())


def ask(connection: Any) -> Any:
    return connection.response.create()


# --- realtime ---------------------------------------------------------------------------------------------------------

TALK = [on.session_created(), HEAR, on.begun(), on.words("Hello"), on.audio(), on.done()]


@EACH
def test_realtime_turn_is_one_record(stage: Stage, meter: openai_meter.Meter, kind: type[Any]) -> None:
    """Model of the session, usage by modality, exact price of each part, times from the request on."""
    play(stage, kind, REALTIME, TALK, ask)
    (call,) = meter.calls
    assert (call.endpoint, call.model, call.requested_model) == ("realtime", "gpt-realtime-2025-08-28", "gpt-realtime")
    assert (call.status, call.usage_source, call.response_id, call.stream) == ("ok", "api", "resp_1", True)
    assert call.usage == openai_meter.Usage(
        132, 121, 253, cached_input_tokens=64, input_audio_tokens=32, output_audio_tokens=91, cached_audio_tokens=14
    )
    # Text 50 at 4, cached 50 at .40, audio 18 at 32, cached 14 at .40; out 30 at 16, audio 91 at 64 a million.
    assert call.cost == Decimal("0.0071056")
    assert (call.provider, call.host) == ("openai", "127.0.0.1")
    assert call.time_to_first_token is not None
    assert 0 < call.time_to_first_token <= call.duration
    assert meter.pending == ()


@EACH
def test_turns_of_the_beta_api_are_metered(stage: Stage, meter: openai_meter.Meter, kind: type[Any]) -> None:
    """The session of the beta has its settings in other places; a turn that the API begins itself counts too."""
    session = {"id": "sess_1", "model": "gpt-4o-realtime-preview-2024-12-17", "output_audio_format": "pcm16",
               "input_audio_transcription": {"model": "gpt-4o-transcribe"}}  # fmt: skip
    usage = {"type": "tokens", "input_tokens": 30, "output_tokens": 4, "total_tokens": 34,
             "input_token_details": {"audio_tokens": 30, "text_tokens": 0}}  # fmt: skip
    script = [{"type": "session.created", "session": session}, on.begun(), on.done(), on.transcribed(usage)]
    play(stage, kind, on.BETA_REALTIME, script)
    turn, transcription = meter.calls
    assert (turn.endpoint, turn.model, turn.usage.total_tokens) == ("realtime", session["model"], 253)
    assert (transcription.endpoint, transcription.model, transcription.usage.input_audio_tokens) == (
        "realtime.transcriptions", "gpt-4o-transcribe", 30,
    )  # fmt: skip
    assert transcription.cost == Decimal("0.000115")


@pytest.mark.parametrize(
    ("status", "details", "expected", "error_type"),
    [
        ("completed", {}, "ok", None),
        ("cancelled", {"reason": "turn_detected"}, "aborted", None),
        ("incomplete", {"reason": "max_output_tokens"}, "incomplete", None),
        ("failed", {"error": {"type": "server_error", "code": "rate_limit"}}, "failed", "rate_limit"),
    ],
)
def test_each_end_of_a_turn_records_the_reported_usage(
    stage: Stage, meter: openai_meter.Meter, status: str, details: Any, expected: str, error_type: str | None
) -> None:
    """However a turn ends, the usage that the API reports is recorded."""
    play(stage, OpenAI, REALTIME, [on.session_created(), on.begun(), on.done(status=status, **details)])
    (call,) = meter.calls
    assert (call.status, call.error_type, call.usage.total_tokens) == (expected, error_type, 253)


@EACH
def test_transcription_is_priced_by_its_own_model(stage: Stage, meter: openai_meter.Meter, kind: type[Any]) -> None:
    """By the minute or by tokens, as the model of the transcription is priced; the same item counts once."""
    committed = {"type": "input_audio_buffer.committed", "item_id": "item_1"}
    once = on.transcribed({"type": "duration", "seconds": 90.0})
    failed = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "item_2",
              "error": {"code": "audio_unintelligible"}}  # fmt: skip
    play(stage, kind, REALTIME, [on.session_created(), committed, once, once, failed])
    transcription, lost = meter.calls
    assert (transcription.endpoint, transcription.model, transcription.usage.seconds) == (
        "realtime.transcriptions",
        "whisper-1",
        90.0,
    )
    assert transcription.cost == Decimal("0.009")
    assert transcription.duration > 0
    assert (lost.status, lost.error_type, lost.cost) == ("failed", "audio_unintelligible", None)


def test_turn_has_the_attribution_of_its_request(stage: Stage, meter: openai_meter.Meter) -> None:
    """A turn that was received elsewhere has the attribution of its request; one without a request, that of its
    receiver.
    """
    stage.script = [on.session_created(), HEAR, HEAR, on.begun("a"), on.begun("b"), on.done("b"), on.done("a"),
                    on.begun("c"), on.done("c")]  # fmt: skip
    with REALTIME(stage.client(OpenAI)) as connection:
        with openai_meter.track("first", agent="one") as first:
            connection.send({"type": "response.create"})
        with openai_meter.tag(agent="two"):
            if hasattr(connection, "send_raw"):
                connection.send_raw('{"event_id": "e", "type": "response.create"}')
            else:
                connection.response.create()
        with openai_meter.tag(agent="listener"):
            for _ in range(7):
                connection.recv_bytes()
    assert [(call.response_id, call.agent, call.block) for call in meter.calls] == [
        ("b", "two", None), ("a", "one", "first"), ("c", "listener", None),
    ]  # fmt: skip
    assert first.totals.calls == 1
    assert len(stage.heard) == 2


@EACH
def test_turn_abandoned_by_the_program_is_aborted_and_estimated(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any]
) -> None:
    """Its output is estimated from the received part: words, and twenty tokens a second of audio; its input
    is unknown."""
    second = 48_000 * 4 // 3
    play(stage, kind, REALTIME, [on.session_created(), on.begun(), on.words("Hello there"), on.audio(second)])
    (call,) = meter.calls
    assert (call.status, call.error_type, call.usage_source) == ("aborted", None, "tiktoken")
    assert call.usage.output_audio_tokens == 20
    assert call.usage.output_tokens is not None
    assert 22 <= call.usage.output_tokens <= 30
    assert call.usage.input_tokens is None
    assert "conversation" in call.usage_unknown
    assert call.cost_estimated
    assert meter.pending == ()


@EACH
def test_turn_of_a_broken_connection_is_aborted(stage: Stage, meter: openai_meter.Meter, kind: type[Any]) -> None:
    """A broken connection ends the turn; the caller gets the library's own exception, and the record names it."""
    from websockets.exceptions import ConnectionClosedError

    with pytest.raises(ConnectionClosedError):
        play(stage, kind, REALTIME, [on.session_created(), on.begun(), on.words("Hel"), HANG_UP, *[{}] * 2])
    (call,) = meter.calls
    assert (call.status, call.error_type, call.response_id) == ("aborted", "ConnectionClosedError", "resp_1")


def test_garbage_collected_connection_ends_its_turns(stage: Stage, meter: openai_meter.Meter) -> None:
    """The record is made when the connection is collected."""
    stage.script = [on.session_created(), on.begun(), on.words("Hello")]
    connection = REALTIME(stage.client(OpenAI)).enter()
    for _ in range(3):
        connection.recv()
    assert [call.endpoint for call in meter.pending] == ["realtime"]
    transport = connection._connection
    del connection
    gc.collect()
    assert [call.status for call in meter.calls] == ["aborted"]
    transport.close()


def test_refused_turn_is_free(stage: Stage, meter: openai_meter.Meter) -> None:
    """The API answers a request with an error: one failed call, free, and the next turn has its own start."""
    busy = {
        "type": "error",
        "error": {"type": "invalid_request_error", "code": "conversation_already_has_active_response"},
    }
    other = {"type": "error", "error": {"type": "invalid_request_error", "code": "odd", "event_id": "mine"}}
    stage.script = [on.session_created(), HEAR, busy, HEAR, other, HEAR, on.begun(), on.done()]
    with REALTIME(stage.client(OpenAI)) as connection:
        for event in ({}, {"event_id": "mine"}, {}):
            connection.send({"type": "response.create", **event})
        for _ in range(5):
            connection.recv()
    assert [(call.status, call.error_type, call.cost_status) for call in meter.calls] == [
        ("failed", "conversation_already_has_active_response", "free"),
        ("failed", "odd", "free"),
        ("ok", None, "priced"),
    ]  # fmt: skip


# --- responses --------------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("way", [RESPONSES, on.BETA_RESPONSES], ids=["responses", "beta"])
@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
def test_response_over_a_connection_is_one_record(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any], way: Way, end: str
) -> None:
    """As over HTTP: the same endpoint, usage, tier and price."""
    script = [HEAR, on.response("created"), on.piece("Hello"), on.response(end, usage=on.WRITTEN)]
    play(stage, kind, way, script, lambda it: it.response.create(model="gpt-4o-mini", input="Hi"))
    (call,) = meter.calls
    assert (call.endpoint, call.model, call.requested_model) == ("responses", "gpt-4o-mini-2024-07-18", "gpt-4o-mini")
    assert call.status == {"completed": "ok"}.get(end, end)
    assert (call.usage.input_tokens, call.usage.cached_input_tokens, call.usage.reasoning_tokens) == (40, 10, 5)
    assert (call.service_tier, call.cost) == ("default", Decimal("0.00001725"))
    assert stage.heard[0]["input"] == "Hi"


@EACH
def test_abandoned_response_is_estimated(stage: Stage, meter: openai_meter.Meter, kind: type[Any]) -> None:
    """Both its input and its output can be counted."""
    script = [HEAR, on.response("created"), on.piece("Hello"), on.piece(" world")]
    play(stage, kind, RESPONSES, script, lambda it: it.response.create(model="gpt-4o-mini", input="Hi"))
    (call,) = meter.calls
    assert (call.status, call.usage_source) == ("aborted", "tiktoken")
    assert call.usage.input_tokens == 8
    assert call.usage.output_tokens in range(2, 5)


MESSAGE = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}
THOUGHT = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}}
TOOL = {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "name": "look"}}
ARGUMENTS = {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{"}
SUMMARY = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "I"}


@pytest.mark.parametrize(
    ("events", "empty"),
    [
        ([on.response("created"), MESSAGE, on.piece("Hello")], 2),
        ([on.response("created"), THOUGHT, {**THOUGHT, "type": "response.output_item.done"}, TOOL, ARGUMENTS], 4),
        ([on.response("created"), THOUGHT, SUMMARY], 2),
        ([on.response("created"), on.response("in_progress"), on.piece("Hello")], 2),
    ],
    ids=["text", "tool", "summary", "text at once"],
)
def test_time_to_first_token_ignores_events_without_a_token(
    stage: Stage, meter: openai_meter.Meter, events: list[Any], empty: int
) -> None:
    """Events that begin an answer or an empty item of it have no token."""
    stage.script = [HEAR, *events, on.response("completed", usage=on.WRITTEN)]
    pause = 0.2
    with RESPONSES(stage.client(OpenAI)) as connection:
        connection.response.create(model="gpt-4o-mini", input="Hi")
        for _ in range(empty):
            connection.recv()
        time.sleep(pause)
        connection.recv()
        time.sleep(pause)
        connection.recv()
    (call,) = meter.calls
    assert call.time_to_first_token is not None
    assert pause <= call.time_to_first_token <= call.duration - pause


def test_error_event_ends_the_response_it_belongs_to(stage: Stage, meter: openai_meter.Meter) -> None:
    """An error before the start of the response is free; after it the cost is unknown."""
    error = {"type": "error", "status": 400, "error": {"code": "previous_response_not_found", "message": "no"}}
    play(stage, OpenAI, RESPONSES, [HEAR, error], lambda it: it.response.create(model="gpt-4o-mini", input="Hi"))
    play(stage, OpenAI, RESPONSES, [on.response("created", "resp_2"), error])
    assert [(call.status, call.error_type, call.cost_status) for call in meter.calls] == [
        ("failed", "previous_response_not_found", "free"), ("failed", "previous_response_not_found", "unpriced"),
    ]  # fmt: skip


def test_concurrent_responses_of_one_connection_are_recorded_apart(stage: Stage, meter: openai_meter.Meter) -> None:
    """Two responses at the same time on one connection have the attribution of their own request."""
    stage.script = [
        HEAR, HEAR,
        on.response("created", "b", stream_id="two"), on.response("created", "a", stream_id="one"),
        on.piece("x" * 50, stream_id="two"), on.piece("y", stream_id="one"),
        on.response("completed", "a", on.WRITTEN, stream_id="one"),
    ]  # fmt: skip
    with RESPONSES(stage.client(OpenAI)) as connection:
        for lane in ("one", "two"):
            with openai_meter.tag(agent=lane):
                connection.send({"type": "response.create", "stream_id": lane, "model": "gpt-4o-mini", "input": "Hi"})
        for _ in range(5):
            connection.recv_bytes()
    assert [(call.response_id, call.agent, call.status) for call in meter.calls] == [
        ("a", "one", "ok"), ("b", "two", "aborted"),
    ]  # fmt: skip


def test_session_helper_of_the_sdk_is_metered(stage: Stage, meter: openai_meter.Meter) -> None:
    """A session reads in its own thread, and does not use the ``send`` of the connection."""
    try:
        from openai.lib.responses_websocket import ResponsesWebSocketLimits, ResponsesWebSocketSession
    except ImportError:
        pytest.skip(f"NOT tested: openai {openai.__version__} has no WebSocket sessions")
    stage.script = [HEAR, on.response("created"), on.response("completed", usage=on.WRITTEN)]
    fields = inspect.signature(ResponsesWebSocketLimits).parameters
    limits = ResponsesWebSocketLimits(**{name: 100_000 for name, one in fields.items() if one.default is one.empty})
    with RESPONSES(stage.client(OpenAI)) as connection, ResponsesWebSocketSession(connection, limits=limits) as session:
        with openai_meter.tag(agent="asker"):
            session.default.send({"type": "response.create", "model": "gpt-4o-mini", "input": "Hi"})
        answer = session.default.get_final_response(timeout=20)
    (call,) = meter.calls
    assert (answer.id, call.response_id, call.agent, call.usage.total_tokens) == ("resp_1", "resp_1", "asker", 60)


# --- sessions that are billed by the second ---------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("way", [on.LIVE, on.FORKS, on.SIDEBAND], ids=["live", "forks", "sideband"])
def test_seconds_of_a_live_session_are_recorded_once(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any], way: Way
) -> None:
    """The API reports running totals: only the growth is recorded, and the records sum up to the last total."""
    totals = [10.0, 25.5, 61.0, 61.0, 70.25]
    script = [on.live("started"), *(on.live("usage.updated", total) for total in totals),
              on.live("closed", 72.0, reason="close_requested")]  # fmt: skip
    play(stage, kind, way, script)
    assert [(call.endpoint, call.model, call.status, call.usage.seconds) for call in meter.calls] == [
        ("live", "gpt-live-1", "ok", 61.0), ("live", "gpt-live-1", "ok", 11.0),
    ]  # fmt: skip
    assert meter.cost == Decimal("0.06")
    assert meter.pending == ()


def test_session_received_by_two_connections_counts_once(stage: Stage, meter: openai_meter.Meter) -> None:
    """Each second is recorded for one connection; a delegated response, for the first one that receives its end."""

    def nested(event: Any) -> Any:
        return {"type": "response.event", "event_id": "e", "delegation_id": "d", "event": event}

    script = [on.live("started"), nested(on.response("created")), nested(on.piece("Hello")),
              nested(on.response("completed", usage=on.WRITTEN)), on.live("usage.updated", 30.0)]  # fmt: skip
    stage.script = script
    client = stage.client(OpenAI)
    with on.LIVE(client) as primary, on.SIDEBAND(client) as aside:
        for _ in script:
            primary.recv()
            aside.recv()
    found = [
        (call.endpoint, call.model, call.status, call.usage.seconds, call.usage.total_tokens) for call in meter.calls
    ]
    assert found == [
        ("responses", "gpt-4o-mini-2024-07-18", "ok", 0, 60), ("live", "gpt-live-1", "aborted", 30.0, None),
    ]  # fmt: skip


def test_session_after_a_reset_counts_later_seconds_only(stage: Stage, meter: openai_meter.Meter) -> None:
    """After a reset, only the seconds after it are counted."""
    stage.script = [on.live("started"), on.live("usage.updated", 100.0), on.live("closed", 130.0, reason="expired")]
    with on.LIVE(stage.client(OpenAI)) as connection:
        connection.recv()
        connection.recv()
        assert meter.reset().usage.seconds == 100.0
        connection.recv()
    assert meter.totals.usage.seconds == 30.0


@EACH
def test_decision_of_a_live_session_is_a_record_of_its_own(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any]
) -> None:
    """A decision has its own model and usage."""
    usage = {"input_tokens": 500, "output_tokens": 3, "total_tokens": 503}
    decision = {"model": "gpt-4o-mini", "usage": usage, "answers": []}
    event = {"type": "decision.event", "event_id": "e", "delegation_id": "d", "trigger_id": None,
             "event": {"type": "decision.completed", "decision": decision}}  # fmt: skip
    play(stage, kind, on.LIVE, [on.live("started"), event, event, on.live("closed", 1.0, reason="expired")])
    assert [(call.endpoint, call.model, call.usage.total_tokens) for call in meter.calls] == [
        ("decisions", "gpt-4o-mini", 503), ("live", "gpt-live-1", None),
    ]  # fmt: skip


@EACH
def test_translation_without_usage_is_estimated_by_its_time(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any]
) -> None:
    """The API reports no usage: the time in the events is used, and is marked as an estimate."""

    def sound(ms: int, size: int = 4_000) -> Any:
        return {"type": "session.output_audio.delta", "event_id": "e", "delta": "A" * size, "elapsed_ms": ms}

    session = {"id": "sess_t", "type": "translation", "model": "gpt-realtime-translate", "audio": {}}
    script = [{"type": "session.created", "session": session}, *(sound(ms) for ms in range(0, 30_001, 200)),
              {"type": "session.output_transcript.delta", "delta": "x", "elapsed_ms": 45_000},
              {"type": "session.closed", "event_id": "e"}]  # fmt: skip
    play(stage, kind, on.TRANSLATIONS, script)
    (call,) = meter.calls
    assert (call.endpoint, call.model, call.status) == ("realtime.translations", "gpt-realtime-translate", "ok")
    assert (call.usage.seconds, call.usage_source, call.cost_estimated, call.estimated) == (45.0, "elapsed", True, True)
    assert call.cost == Decimal("0.0255")


# --- for the caller nothing changes -----------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_messages_reach_the_caller_unchanged(stage: Stage, kind: type[Any], way: Way) -> None:
    """Events, their types and the bytes are those without the meter, and so are the sent messages."""
    script = [on.session_created(), on.begun(), on.words("Hello"), on.audio(), on.done(), on.live("usage.updated", 3.0)]
    bare = [(type(one), one) for one in play(stage, kind, way, script)]
    openai_meter.install()
    assert [(type(one), one) for one in play(stage, kind, way, script)] == bare
    raw = asyncio.run(_raw(stage, kind, way, len(script)))
    assert raw == [json.dumps(step).encode() for step in script]


async def _raw(stage: Stage, kind: type[Any], way: Way, number: int) -> list[bytes]:
    async with inside(way(stage.client(kind))) as connection:
        return [await got(connection.recv_bytes()) for _ in range(number)]


MALFORMED = [
    "", "no JSON", "[]", "null", '"type"', "{", '{"type": null}', '{"type": 5}', '{"type": "response.done"',
    '{"type": "response.done"}', '{"type": "response.done", "response": null}', '{"type": "response.created"}',
    '{"type": "response.done", "response": {"id": 5, "status": {}, "usage": "x", "output": {"a": 1}}}',
    '{"type": "session.created", "session": {"model": 7, "audio": "x"}}',
    '{"type": "session.created", "session": {"audio": {"input": {"transcription": []}, "output": {"format": 3}}}}',
    '{"type": "error"}', '{"type": "error", "error": "no"}',
    '{"type": "session.usage.updated", "usage": {"seconds": "NaN"}}', '{"type": "session.closed", "usage": 3}',
    '{"type": "response.event", "event": "x"}', '{"type": "decision.event", "event": {"decision": 3}}',
    '{"type": "conversation.item.input_audio_transcription.completed", "usage": [], "item_id": {}}',
    '{"type": "input_audio_buffer.committed", "item_id": []}', b"\xff\xfe\x00", "[" * 100_000,
    '{"type": "response.output_audio.delta"}', '{"type": "response.output_text.delta", "output_index": "a"}',
    '{"type": "response.done", "response": {"usage": {"input_tokens": ' + "9" * 5_000 + "}}}",
]  # fmt: skip


@EACH
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_malformed_events_reach_the_caller_and_are_ignored(
    stage: Stage, meter: openai_meter.Meter, kind: type[Any], way: Way
) -> None:
    """The caller gets every event, and the meter has no fault."""
    stage.script = MALFORMED
    expected = [step.encode() if isinstance(step, str) else step for step in MALFORMED]
    assert asyncio.run(_raw(stage, kind, way, len(MALFORMED))) == expected
    assert meter.internal_errors == 0
    assert meter.pending == ()


def test_type_of_an_event_is_found_anywhere_in_it(stage: Stage, meter: openai_meter.Meter) -> None:
    """A nested object with its own type, before the type of the event, does not hide it."""
    late = {
        "response": {
            "output": [{"type": "message", "content": []}],
            "id": "late",
            "status": "completed",
            "usage": on.SPOKEN,
        },
        "type": "response.done",
    }
    far = {
        "response": {"metadata": {"note": "x" * 5_000}, "id": "far", "status": "completed", "usage": on.SPOKEN},
        "type": "response.done",
    }
    odd = json.dumps(on.done("odd")).replace('"type": ', '"type"  :\t')
    play(stage, OpenAI, REALTIME, [on.session_created(), late, far, odd])
    assert [call.response_id for call in meter.calls] == ["late", "far", "odd"]


def test_fault_inside_the_meter_loses_a_record_and_no_event(
    stage: Stage, meter: openai_meter.Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks inside, the events reach the caller."""
    faults.reraise = False

    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    for place, name in ((sessions, "_find_type"), (sessions, "fields_of"), (patch, "_handshake")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, broken)
            assert len(play(stage, OpenAI, REALTIME, TALK, ask)) == 5
    assert meter.internal_errors > 0


@pytest.mark.parametrize("moment", ["before", "after import", "after connect"])
def test_connection_opened_before_or_after_install_is_counted(stage: Stage, moment: str) -> None:
    """The meter may be installed before the client is made, after it, or when the connection is open already."""
    stage.script = [on.session_created(), HEAR, on.begun(), on.done()]
    if moment == "before":
        openai_meter.install()
    client = stage.client(OpenAI)
    manager = REALTIME(client)
    if moment == "after import":
        openai_meter.install()
    with manager as connection:
        if moment == "after connect":
            openai_meter.install()
        connection.response.create()
        for _ in range(3):
            connection.recv()
    (call,) = openai_meter.get_meter().calls
    assert (call.model, call.usage.total_tokens) == ("gpt-realtime-2025-08-28", 253)


def test_turn_begun_before_install_is_counted(stage: Stage) -> None:
    """The meter is installed between the start and the end of a turn; the model is read from the URL."""
    stage.script = [on.session_created(), on.begun(), on.done()]
    with REALTIME(stage.client(OpenAI)) as connection:
        connection.recv()
        connection.recv()
        meter = openai_meter.install()
        connection.recv()
    (call,) = meter.calls
    assert (call.model, call.usage.total_tokens) == ("gpt-realtime", 253)


@EACH
def test_only_the_wrapped_client_and_its_copies_are_metered(stage: Stage, kind: type[Any]) -> None:
    """Other clients are not."""
    mine = openai_meter.wrap(stage.client(kind))
    meter = openai_meter.get_meter()
    stage.script = [on.session_created(), on.begun(), on.done()]

    async def talk(client: Any) -> None:
        async with inside(REALTIME(client)) as connection:
            await receive(connection, 3)

    asyncio.run(talk(stage.client(kind)))
    assert meter.calls == ()
    asyncio.run(talk(mine))
    stage.script[2] = on.done("resp_2")
    asyncio.run(talk(mine.with_options(timeout=5)))
    assert [call.response_id for call in meter.calls] == ["resp_1", "resp_2"]


def test_block_without_install_counts_turns(stage: Stage) -> None:
    """A block counts without an installed meter, and afterwards nothing is patched."""
    before = originals()
    with openai_meter.track("talk") as block:
        play(stage, OpenAI, REALTIME, TALK, ask)
    assert (block.totals.calls, block.totals.usage.total_tokens) == (1, 253)
    assert originals() == before


def test_azure_connection_is_recognized_by_its_client(stage: Stage, meter: openai_meter.Meter) -> None:
    """The deployment is recorded as the model until the session names the model."""
    openai_meter.install(hosts={})
    client = AzureOpenAI(
        api_key="demo", api_version="2025-01-01", azure_endpoint=f"http://{stage.url}",
        websocket_base_url=f"ws://{stage.url}/openai",
    )  # fmt: skip
    stage.script = [on.begun(), on.done()]
    with client.realtime.connect(model="my-deployment") as connection:
        connection.recv()
        connection.recv()
    (call,) = meter.calls
    assert (call.provider, call.requested_model) == ("azure", "my-deployment")


# --- what is patched --------------------------------------------------------------------------------------------------

NAMES = ("recv_bytes", "send", "send_raw", "close", "__enter__", "__aenter__", "enter")


def patched_classes() -> list[type[Any]]:
    """Every class of the SDK's with WebSockets in it, found without the meter's list."""
    import pkgutil

    found: list[type[Any]] = []
    for package in ("openai.resources", "openai.lib.responses_websocket"):
        try:
            root = importlib.import_module(package)
        except ImportError:
            continue
        for module in pkgutil.walk_packages(root.__path__, package + "."):
            found += [
                one
                for one in vars(importlib.import_module(module.name)).values()
                if isinstance(one, type)
                and one.__module__ == module.name
                and ("recv_bytes" in vars(one) or one.__name__.endswith(("ConnectionManager", "WebSocketLane")))
            ]
    return sorted(set(found), key=str)


def originals() -> dict[tuple[str, str], Any]:
    bases = {base for one in patched_classes() for base in one.__mro__ if base is not object}
    return {(str(one), name): vars(one)[name] for one in bases for name in NAMES if name in vars(one)}


def test_every_connection_class_of_this_sdk_is_patched() -> None:
    """The meter's list of modules has all classes of the SDK, and no other class is patched."""
    pytest.importorskip("websockets", reason="websockets is not installed: this is NOT tested")
    before = originals()
    openai_meter.install()
    after = originals()
    connections = [one for one in patched_classes() if "recv_bytes" in vars(one)]
    for one in connections:
        assert vars(one)["recv_bytes"] is not before[str(one), "recv_bytes"]
        assert inspect.signature(vars(one)["recv_bytes"]) == inspect.signature(before[str(one), "recv_bytes"])
        is_async = one.__name__.startswith("Async")
        for name in ("recv_bytes", "send", "close"):
            assert inspect.iscoroutinefunction(getattr(one, name)) is is_async
    assert {one.__module__ for one in patched_classes()} <= set(patching.CONNECTION_MODULES)
    openai_meter.uninstall()
    assert originals() == before
    assert all(originals()[key] is before[key] for key in before)
    assert after.keys() == before.keys()


def test_uninstall_stops_metering_an_open_connection(stage: Stage, meter: openai_meter.Meter) -> None:
    """The connection stays usable for its program, without metering."""
    stage.script = [on.session_created(), on.begun(), on.done(), on.begun("b"), on.done("b")]
    with REALTIME(stage.client(OpenAI)) as connection:
        for number in range(5):
            connection.recv()
            if number == 2:
                openai_meter.uninstall()
    assert [call.response_id for call in meter.calls] == ["resp_1"]


def test_other_patches_below_and_on_top_see_each_message_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each patch gets each message once, and uninstalling leaves the other patches in place."""
    import wrapt

    module = importlib.import_module("openai.resources.realtime.realtime")
    seen: list[str] = []

    def patcher(name: str) -> Any:
        def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
            seen.append(name)
            return wrapped(*args, **kwargs)

        return wrapper

    original = vars(module.RealtimeConnection)["recv_bytes"]
    monkeypatch.setattr(module.RealtimeConnection, "recv_bytes", wrapt.FunctionWrapper(original, patcher("below")))
    openai_meter.install()
    play(stage, OpenAI, REALTIME, TALK, ask)  # imports what the patches wait for
    on_top = wrapt.FunctionWrapper(vars(module.RealtimeConnection)["recv_bytes"], patcher("top"))
    monkeypatch.setattr(module.RealtimeConnection, "recv_bytes", on_top)
    seen.clear()
    meter = openai_meter.install(meter=openai_meter.Meter())  # it has not seen the response before
    play(stage, OpenAI, REALTIME, TALK, ask)
    assert meter.totals.calls == 1
    assert (seen.count("below"), seen.count("top")) == (5, 5)
    openai_meter.uninstall()
    seen.clear()
    play(stage, OpenAI, REALTIME, TALK, ask)
    assert (seen.count("below"), seen.count("top"), meter.totals.calls) == (5, 5, 1)


def test_connection_subclass_that_calls_its_parent_counts_once(stage: Stage) -> None:
    """A class of the program's own, with a ``recv_bytes`` on top of the SDK's."""
    module = importlib.import_module("openai.resources.realtime.realtime")

    class Mine(module.RealtimeConnection):  # type: ignore[name-defined, misc]
        def recv_bytes(self) -> bytes:
            return super().recv_bytes()

    stage.script = [on.session_created(), on.begun(), on.done()]
    meter = openai_meter.install()
    with REALTIME(stage.client(OpenAI)) as connection:
        mine = Mine(connection._connection)
        for _ in range(3):
            mine.recv()
    assert meter.totals.calls == 1


def test_cancelled_recv_does_not_end_the_turn(stage: Stage, meter: openai_meter.Meter) -> None:
    """Waiting for an event with a timeout is how programs poll; the turn goes on."""
    gate = threading.Event()
    stage.script = [on.session_created(), on.begun(), lambda: gate.wait(60), on.done()]

    async def talk() -> None:
        async with REALTIME(stage.client(AsyncOpenAI)) as connection:
            await receive(connection, 2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(connection.recv(), 0.01)
            assert len(meter.pending) == 1
            gate.set()
            await connection.recv()

    asyncio.run(talk())
    assert [call.status for call in meter.calls] == ["ok"]


def test_turn_closed_by_another_task_is_recorded_once(stage: Stage, meter: openai_meter.Meter) -> None:
    """The turn is aborted once, when the reader gets the end."""
    stage.script = [on.session_created(), on.begun()]

    async def talk() -> None:
        async with REALTIME(stage.client(AsyncOpenAI)) as connection:
            begun = asyncio.Event()

            async def read() -> None:
                async for event in connection:
                    if event.type == "response.created":
                        begun.set()

            reader = asyncio.create_task(read(), context=contextvars.Context())
            await asyncio.wait_for(begun.wait(), 60)
            await connection.close()
            await reader

    asyncio.run(talk())
    assert [call.status for call in meter.calls] == ["aborted"]


def test_open_turns_without_an_end_use_bounded_memory(stage: Stage, meter: openai_meter.Meter) -> None:
    """Turns that never end, and requests that are never answered, are kept up to a limit."""
    script = [on.session_created(), *(on.begun(f"r{number}") for number in range(300))]
    stage.script = script
    with REALTIME(stage.client(OpenAI)) as connection:
        for _ in range(300):
            connection.response.create()
        for _ in script:
            connection.recv_bytes()
        assert len(meter.pending) <= 201
    assert meter.pending == ()
