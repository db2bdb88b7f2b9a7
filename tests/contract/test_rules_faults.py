"""Rule 1: whatever fails inside the meter, the program does not notice; the fault is counted and logged once."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time

import contract
import pytest
from contract import CORE, MODEL, SHAPES, chat
from tables import crossed

import openai_meter
from openai_meter.core import faults
from openai_meter.core.background import IDLE
from openai_meter.core.bounded import Bounded
from openai_meter.instrumentation import http, streams
from openai_meter.metering import call_in_flight
from openai_meter.metering.meter import Meter
from openai_meter.metering.seen_jobs import SeenJobs
from openai_meter.metering.store import Store
from openai_meter.usage import bodies, providers
from openai_meter.usage import responses as answers

MARKER = "a-secret-prompt-7f3a"


@pytest.fixture(scope="module")
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


@pytest.fixture(scope="module")
def bare(api):
    """The outcomes of all shapes without the meter, by kind of client."""
    openai_meter.uninstall()
    return {is_async: contract.outcomes(api, is_async=is_async, names=CORE) for is_async in (False, True)}


@pytest.fixture(autouse=True)
def swallowed(monkeypatch):
    """Faults are swallowed as in the user's program."""
    monkeypatch.setattr(faults, "reraise", False)


class BrokenError(Exception):
    """What the broken parts raise; its message is what must not get into the log."""


def broken(*_args, **_kwargs):
    raise BrokenError(MARKER)


def endpoint_with(**parts):
    """Breaks a column of every row of the table of endpoints."""

    def change(patch):
        whole = http.find

        def find(method, url):
            row = whole(method, url)
            return row and row._replace(**{name: part for name, part in parts.items() if getattr(row, name)})

        patch.setattr(http, "find", find)

    return change


def attribute(owner, name):
    return lambda patch: patch.setattr(owner, name, broken)


PARTS = {
    "endpoint read": endpoint_with(read=broken),
    "endpoint fold": endpoint_with(fold=broken),
    "endpoint request": endpoint_with(request=broken),
    "endpoint adopt": endpoint_with(adopt=broken),
    "find": attribute(http, "find"),
    "listeners": attribute(http, "listeners"),
    "body": attribute(http, "_body"),
    "provider": attribute(providers, "provider"),
    "deployment": attribute(providers, "deployment"),
    "parser": attribute(http, "RequestContext"),
    "pending": attribute(http, "CallInFlight"),
    "show": attribute(http.RequestContext, "_read_answer"),
    "read text": attribute(http, "read_text"),
    "read_response": attribute(call_in_flight.CallInFlight, "read_response"),
    "open": attribute(call_in_flight.CallInFlight, "open"),
    "settle": attribute(call_in_flight.CallInFlight, "_settle"),
    "record": attribute(call_in_flight.CallInFlight, "_record"),
    "call": attribute(call_in_flight, "new_call"),
    "call id": attribute(call_in_flight, "random_half"),
    "fields": attribute(call_in_flight, "fields_of"),
    "fields of answers": attribute(answers, "fields_of"),
    "total": attribute(answers.ResponseState, "total"),
    "usage": attribute(answers, "read_usage"),
    "first sight": attribute(SeenJobs, "claim"),
    "take": attribute(Meter, "_take"),
    "add": attribute(Store, "add"),
    "count": attribute(Store, "_count"),
    "put": attribute(Bounded, "put"),
    "pop": attribute(Bounded, "pop"),
    "watch events": attribute(streams, "watch_events"),
    "watch body": attribute(streams, "watch_body"),
    "watch": attribute(streams, "_watch"),
    "watched type": attribute(streams, "_watched_type"),
    "library": attribute(streams, "_library"),
    "read response": attribute(streams, "read_response"),
    "body reader": attribute(streams, "body_reader"),
    "document fed": attribute(bodies._Document, "feed"),
    "document ended": attribute(bodies._Document, "end"),
    "events fed": attribute(bodies._Events, "feed"),
    "events ended": attribute(bodies._Events, "end"),
    "an event": attribute(bodies._Events, "_dispatch"),
}  # fmt: skip
"""Every part of the meter that a call goes through. To add one, name it and say how it is broken."""

HARMLESS = {"endpoint adopt", "deployment", "first sight"}
"""Parts that these shapes need only at times."""


@contextlib.contextmanager
def collected_afterwards():
    """Collects garbage at the end and not before: where a collection happens to run must not decide a test."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.mark.parametrize(("part", "is_async"), crossed(PARTS, [False, True], every=2))
def test_fault_inside_the_meter_does_not_change_the_result(api, bare, meter, monkeypatch, caplog, part, is_async):
    """Each shape has its bare result; the fault is counted, and each kind of it logged once, without any prompt."""
    caplog.set_level(logging.DEBUG, "openai_meter")
    with collected_afterwards(), monkeypatch.context() as patch:
        PARTS[part](patch)
        metered = contract.outcomes(api, is_async=is_async, names=CORE)
        counted = meter.internal_errors
        said = [record.getMessage() for record in caplog.records if record.name == "openai_meter"]
        lines = [line for line in said if "could not finish" in line]  # beside those of what has no price
    assert metered == bare[is_async]
    assert counted == sum(faults.kinds().values())
    assert counted > 0 or part in HARMLESS
    assert len(lines) == len(set(lines)) == len(faults.kinds())
    assert MARKER not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_calls_after_a_fault_are_counted(api, meter, monkeypatch):
    """A fault loses only the records of its time, and the summary names the faults."""
    with contract.sync_client(api) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_count", broken)
            chat(client)
        chat(client)
        list(chat(client, stream=True))
    assert meter.totals.calls in (2, 3)
    assert "1 fault" in contract.printed(meter)


@pytest.mark.parametrize("part", ["endpoint fold", "endpoint read", "total", "usage"])
def test_fault_while_reading_leaves_a_record_or_an_internal_error(api, meter, monkeypatch, part):
    """A call whose answer could not be read is a record without the API's usage, or a counted fault: never silence."""
    with contract.sync_client(api) as client, monkeypatch.context() as patch:
        PARTS[part](patch)
        chat(client)
        list(chat(client, stream=True, stream_options={"include_usage": True}))
    totals = meter.totals
    assert totals.calls + meter.internal_errors >= 2
    told = sum(call.usage.input_tokens or 0 for call in meter.calls if call.usage_source == "api")
    assert told in (0, api.said[-2].input_tokens, api.said[-1].input_tokens)
    assert totals.unmeasured_calls + sum(call.estimated for call in meter.calls) + meter.internal_errors >= 1


def test_faults_are_counted_exactly_by_many_threads(meter, monkeypatch):
    """Each of 32 times 50 faults is counted, and their kind is logged once."""
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    faults.logger.addHandler(handler)
    try:

        def work(place):
            for _ in range(50):
                try:
                    broken()
                except BrokenError as error:
                    faults.caught(error, "a test")

        assert contract.threads(32, work) == []
    finally:
        faults.logger.removeHandler(handler)
    assert meter.internal_errors == 32 * 50
    assert len(said) == 1


def test_broken_log_handler_does_not_break_the_call(api, meter, monkeypatch):
    """A fault is logged through whatever handlers the program has; one that raises does not reach the call."""
    handler = logging.Handler()
    handler.emit = broken
    faults.logger.addHandler(handler)
    monkeypatch.setattr(Store, "add", broken)
    try:
        with contract.sync_client(api) as client:
            assert chat(client).choices[0].message.content == contract.TEXT
    finally:
        faults.logger.removeHandler(handler)
    assert meter.internal_errors == 1


def test_call_near_the_recursion_limit_behaves_as_without_the_meter(api):
    """Where the SDK itself just still works, the meter's own frames do not make the call fail."""

    def depth_needed(client):
        """The smallest number of free frames with which the call works."""

        def at(free):
            if free:
                return at(free - 1)
            return chat(client)

        import sys

        low, high = 0, 900
        limit = sys.getrecursionlimit()
        while low < high:
            middle = (low + high + 1) // 2
            try:
                at(middle)
                low = middle
            except RecursionError:
                high = middle - 1
        assert limit == sys.getrecursionlimit()
        return low

    with contract.in_process(
        lambda request: contract.http_library().Response(200, json=contract.usage_body())
    ) as client:
        chat(client)
        bare = depth_needed(client)
        openai_meter.install()
        assert bare - depth_needed(client) <= 10


ODD_BODIES = [
    b"", b"null", b"[]", b"3", b'"text"', b"{}", b"{", b"\xff\xfe", b"<html></html>",
    b'{"usage": null}', b'{"usage": 5}', b'{"usage": []}', b'{"usage": "x"}', b'{"usage": {"prompt_tokens": "x"}}',
    b'{"usage": {"prompt_tokens": -1, "completion_tokens": 1e400, "total_tokens": NaN}}',
    b'{"usage": {"prompt_tokens": ' + b"9" * 60 + b"}}",
    b'{"usage": {"prompt_tokens": ' + b"9" * 4000 + b"}}",
    b'{"usage": {"prompt_tokens": "' + b"9" * 5000 + b'"}}',
    b'{"choices": null, "model": 5, "id": [], "service_tier": {}, "usage": {"prompt_tokens": "12"}}',
    b'{"choices": [null], "usage": {"prompt_tokens": 1}}', b'{"choices": {"a": 1}}', b'{"choices": ["x"]}',
    b'{"choices": [{"finish_reason": {}}]}', b'{"choices": [{"finish_reason": ["length"]}]}',
    b'{"error": {"message": "x", "code": 5}}', b'{"error": "text"}', b'{"error": []}',
    b'{"x_groq": {"usage": {"prompt_tokens": 1}}}', b'{"x_groq": 1}',
    b'{"usage": {"prompt_tokens_details": 5, "prompt_tokens": 2, "completion_tokens_details": [1]}}',
]  # fmt: skip


async def odd(client, *, stream, responses):
    ask = client.responses.create(model=MODEL, input="x", stream=stream) if responses else chat(client, stream=stream)
    answer = await contract.got(ask)
    return await contract.every(answer) if stream else answer


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_odd_answers_are_not_internal_errors_and_change_nothing(responses, stream, kind):
    """Bodies of any shape give their bare result, one record each, and no fault inside the meter."""
    library, now = contract.http_library(), [b""]

    def answer(request):
        if stream:
            framed = b'data: {"id": "x", "choices": []}\n\ndata: ' + now[0] + b"\n\ndata: [DONE]\n\n"
            return library.Response(200, headers=contract.EVENTS, content=framed)
        return library.Response(200, headers={"content-type": kind}, content=now[0])

    def outcomes():
        found = []
        for now[0] in ODD_BODIES:
            found.append(
                contract.run(contract.outcome(lambda one: odd(one, stream=stream, responses=responses), client))
            )
        return found

    with contract.in_process(answer) as client:
        bare = outcomes()
        meter = openai_meter.install()
        metered = outcomes()
    gc.collect()
    assert metered == bare
    assert faults.kinds() == {}
    assert meter.totals.calls == len(ODD_BODIES)
    for call in meter.calls:
        assert isinstance(call.service_tier, str | None)
        assert isinstance(call.model, str | None)
        assert isinstance(call.response_id, str | None)
        assert isinstance(call.error_type, str | None)
        assert openai_meter.Call.from_dict(call.to_dict()) == call


@pytest.mark.parametrize("name", ["service_tier", "model", "id", "system_fingerprint", "object"])
@pytest.mark.parametrize("value", [b"5", b"{}", b"[]", b"true", b'""', b"null"])
def test_odd_fields_of_a_chunk_leave_a_record_with_valid_types(meter, name, value):
    """A chunk whose fields are of a wrong type makes a record whose fields all have the right types."""
    library = contract.http_library()

    def answer(request):
        chunk = b'data: {"' + name.encode() + b'": ' + value + b', "choices": []}\n\n'
        return library.Response(200, headers=contract.EVENTS, content=chunk * 2 + b"data: [DONE]\n\n")

    with contract.in_process(answer) as client:
        list(chat(client, stream=True))
    (call,) = meter.calls
    assert isinstance(call.service_tier, str | None)
    assert isinstance(call.response_id, str | None)
    assert isinstance(call.model, str)


def test_call_that_cannot_be_counted_does_not_stop_the_meter(api):
    """A record with values of wrong types, taken from elsewhere, loses only itself: reads and calls continue."""
    meter = openai_meter.install(meter=openai_meter.Meter())
    with contract.sync_client(api) as client:
        chat(client)
        data = meter.calls[0].to_dict()
        for wrong in ({"usage": {"input_tokens": "3"}}, {"started_at": "2026-01-01T00:00:00"}):
            with contextlib.suppress(TypeError, ValueError):  # to refuse it is as good
                meter._take(openai_meter.Call.from_dict({**data, **wrong}))
        before = meter.totals.calls
        chat(client)
        assert meter.totals.calls == before + 1
        assert len(meter._store._inbox) == 0
    assert MODEL in contract.printed(meter)


def test_failing_shapes_leave_no_thread_and_no_open_call(api, meter):
    """After all shapes nothing is pending, and the threads that the meter started for them end by themselves."""
    before = set(threading.enumerate())
    contract.outcomes(api, is_async=False)
    gc.collect()
    assert meter.pending == ()
    assert len(call_in_flight.OPEN) == 0
    assert len(SHAPES) - len(contract.UNBILLED) <= meter.totals.calls <= len(SHAPES)
    deadline = time.monotonic() + IDLE + PATIENCE_S
    while started := [thread.name for thread in set(threading.enumerate()) - before if "meter" in thread.name]:
        assert time.monotonic() < deadline, started
        time.sleep(0.05)


PATIENCE_S = 120.0
"""More than a busy machine takes to end a thread."""
