"""Rule 9: no prompt, no completion and no key is stored, logged or shown."""

from __future__ import annotations

import gc
import logging
import types

import contract
import pytest
from contract import MODEL, chat

import openai_meter
from openai_meter.core import background as worker
from openai_meter.core import faults
from openai_meter.instrumentation import http, listening, streams
from openai_meter.metering import call_in_flight
from openai_meter.testing.fake_api.loopback import Answer
from openai_meter.usage import endpoints, providers, transcript

MODULES = (openai_meter, endpoints, faults, transcript, providers, call_in_flight, http, streams, worker)
SECRET = "zq-secret-5d1e8a"
MESSAGES = [
    {"role": "system", "content": f"system {SECRET}"},
    {"role": "user", "content": [{"type": "text", "text": f"prompt {SECRET}"}]},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{SECRET}",
            "description": SECRET,
            "parameters": {"type": "object", "properties": {}},
        },
    }
]


class Telling(contract.Api):
    """An API whose every answer has the secret in its text, its tool arguments and its error messages."""

    def _handle(self, request):
        answer = super()._handle(request)

        def telling(data):
            for word in (b"Paper", b"refused", b"trouble"):
                data = data.replace(word, SECRET.encode())
            return data.replace(b'"a\\": 1', f'"a\\": \\"{SECRET}\\"'.encode())

        body = telling(answer.body) if isinstance(answer.body, bytes) else (telling(part) for part in answer.body)
        return Answer(answer.status, answer.headers, body)


@pytest.fixture
def api():
    with Telling() as api:
        yield api
        assert not api.faults


def secretive(api, is_async=False):
    make = contract.async_client if is_async else contract.sync_client
    return make(api, api_key=f"sk-{SECRET}", organization=f"org-{SECRET}", default_headers={"x-secret": SECRET})


async def ask_everything(client, note=lambda: None):
    """Calls of every kind with the secret wherever a program can put one; errors are expected."""
    upload = (f"{SECRET}.mp3", SECRET.encode() * 10, "audio/mpeg")
    headers = {"extra_headers": {"x-more": SECRET}, "extra_query": {"q": SECRET}}
    for ask in (
        lambda: chat(client, messages=MESSAGES, user=SECRET, metadata={"a": SECRET}, **headers),
        lambda: chat(client, messages=MESSAGES, tools=TOOLS, stop=SECRET),
        lambda: chat(client, messages=MESSAGES, stream=True),
        lambda: chat(client, messages=MESSAGES, stream=True, stream_options={"include_usage": True}),
        lambda: chat(client, messages=MESSAGES, model=MODEL + "+400"),
        lambda: chat(client, messages=MESSAGES, model=MODEL + "+429", stream=True),
        lambda: chat(client, messages=MESSAGES, model=MODEL + "+trouble", stream=True),
        lambda: chat(client, messages=MESSAGES, model=MODEL + "+cut", stream=True),
        lambda: client.chat.completions.parse(model=MODEL, messages=MESSAGES, response_format=contract.Strict),
        lambda: client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES),
        lambda: client.responses.create(model=MODEL, input=SECRET, instructions=SECRET),
        lambda: client.responses.create(model=MODEL, input=SECRET, stream=True),
        lambda: client.responses.create(model=MODEL, input=SECRET, background=True),
        lambda: client.embeddings.create(model=MODEL, input=SECRET),
        lambda: client.moderations.create(model=MODEL, input=SECRET),
        lambda: client.images.generate(model=MODEL, prompt=SECRET),
        lambda: client.images.edit(model=MODEL, image=(SECRET, SECRET.encode(), "image/png"), prompt=SECRET),
        lambda: client.audio.transcriptions.create(model=MODEL, file=upload, prompt=SECRET),
        lambda: client.audio.transcriptions.create(model=MODEL, file=upload, response_format="text"),
        lambda: client.audio.speech.create(model=MODEL, voice=SECRET, input=SECRET),
    ):
        try:
            answer = await contract.got(ask())
            if hasattr(answer, "_iterator"):
                first = await contract.one(answer)
                note()
                await contract.every(answer)
                del first
            del answer
        except (contract.openai.OpenAIError, ValueError, contract.http_library().HTTPError):
            pass


def reachable(*roots):
    """All values that can be reached from some objects, but for code, classes and modules."""
    seen, waiting = set(), list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType | types.FunctionType | types.MethodType):
            continue
        seen.add(id(value))
        yield value
        assert len(seen) < 500_000, "the walk has left the meter"
        waiting.extend(gc.get_referents(value))


def told(*roots):
    """What among all that can be reached tells the secret."""
    found = []
    for value in reachable(*roots):
        if isinstance(value, str) and SECRET in value:
            found.append(value)
        elif isinstance(value, bytes | bytearray) and SECRET.encode() in value:
            found.append(bytes(value))
    return found


def memory(meter):
    """Where the meter keeps what it knows; the standard library's own cache of URLs is everybody's.

    What a module says of its import is not the meter's either: pytest may have loaded it, and knows all tests.
    """
    modules = [
        {name: one for name, one in vars(module).items() if name != "urlsplit" and not name.startswith("__")}
        for module in MODULES
    ]
    return meter, call_in_flight.OPEN, call_in_flight.WORK, worker.worker, listening.registry, *modules


def told_beside_open_calls(meter):
    """What is told while answers are read: a call has its request at hand, in case that its tokens must be counted."""
    meter.settle()
    open_calls = call_in_flight.OPEN.values()
    call_in_flight.OPEN.clear()
    try:
        return told(*memory(meter))
    finally:
        for one in open_calls:
            call_in_flight.OPEN.put(id(one), one)


def test_search_for_secrets_finds_a_planted_one(meter):
    """The search itself works: a secret in a tag is found."""
    with contract.Api() as api, contract.sync_client(api) as client, openai_meter.track("x", team=SECRET):
        chat(client)
    assert SECRET in told(*memory(meter))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_prompts_and_keys_are_not_kept_shown_or_logged(api, meter, monkeypatch, caplog, capfd, is_async, broken):
    """After calls of every kind, with and without faults inside the meter, no value, output or log has the secret."""
    caplog.set_level(logging.DEBUG, "openai_meter")
    monkeypatch.setattr(faults, "reraise", False)
    if broken:

        def fail(*args):
            raise ValueError(f"could not read {SECRET}")

        monkeypatch.setattr(call_in_flight, "fields_of", fail)
        monkeypatch.setattr(streams, "body_reader", fail)
    open_ones = []

    def note():
        open_ones.append(repr(meter.pending) + str([vars_of(one) for one in meter.pending]))
        assert told_beside_open_calls(meter) == []

    def vars_of(one):
        return {name: getattr(one, name) for name in one.__slots__}

    client = secretive(api, is_async)
    if is_async:

        async def main():
            async with client:
                await ask_everything(client, note)

        contract.asyncio.run(main())
    else:
        with client:
            contract.run(ask_everything(client, note))
    gc.collect()
    shown = [
        contract.printed(meter), meter.summary(), repr(meter), str(meter.to_dict()), repr(meter.totals),
        str(meter.totals), repr(meter.totals.to_dict()), repr(meter.by("model")), repr(meter.calls),
        repr(meter.pending), str([one.to_dict() for one in meter.calls]), str(faults.kinds()),
        str(meter.internal_errors),
        *open_ones,
    ]  # fmt: skip
    assert not [text for text in shown if SECRET in text]
    assert told(*memory(meter)) == []
    assert not [one for one in caplog.records if one.name.startswith("openai_meter") and SECRET in str(vars(one))]
    assert SECRET not in "".join(capfd.readouterr())
    assert open_ones
    assert meter.totals.calls + meter.internal_errors >= 18
    assert bool(meter.internal_errors) == broken


def test_prompt_is_released_at_the_end_of_its_call(api, meter):
    """During the call only its open call has the prompt; after it, no object of the meter has it."""
    with secretive(api) as client:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, stream=True)
        assert told_beside_open_calls(meter) == []
        list(raw.parse())
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=MESSAGES) as answer:
            assert told_beside_open_calls(meter) == []
            answer.read()
            del answer
        left = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(iter(left))
        left.close()
        gc.collect()
        assert meter.totals.calls == 3
        assert told(*memory(meter)) == []
        del left
        assert not [
            one for one in gc.get_objects() if isinstance(one, call_in_flight.CallInFlight) and SECRET in str(one._body)
        ]


@pytest.mark.parametrize(
    "error",
    [
        f'"The model could not answer {SECRET}"',
        f'{{"message": "{SECRET}", "code": null, "type": null}}',
        f'{{"message": "x", "code": "cannot answer: {SECRET} is too long"}}',
        f'{{"message": "x", "type": "cannot answer: {SECRET} is too long"}}',
    ],
    ids=["text", "message", "code", "type"],
)
@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
def test_error_message_of_a_host_is_not_kept(meter, error, responses):
    """An error inside a 200 may quote the prompt: the record has its code at most, never a sentence."""

    def answer(request):
        body = f'{{"id": "x", "model": "m", "choices": null, "status": "failed", "error": {error}}}'
        return contract.http_library().Response(200, headers=contract.JSON, content=body.encode())

    with contract.in_process(answer) as client:
        client.responses.create(model=MODEL, input=SECRET) if responses else chat(client, messages=MESSAGES)
    (call,) = meter.calls
    assert call.status == "failed"
    assert SECRET not in str(call.to_dict())
    assert call.error_type


def test_key_in_a_url_is_not_kept(meter):
    """A key that a program puts into a URL or its query is not kept with the paths that are remembered."""

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        client.post(
            f"http://user:{SECRET}@host.test/v1/chat/completions?key={SECRET}",
            cast_to=object, body={"model": MODEL, "messages": MESSAGES},
        )  # fmt: skip
        chat(client.with_options(base_url=f"http://user:{SECRET}@host.test/v1?key={SECRET}"))
        del client
    assert SECRET not in str([call.to_dict() for call in meter.calls])
    assert meter.calls[0].provider == "host.test"
    assert told(*memory(meter)) == []


def test_record_has_only_the_documented_fields(api, meter):
    """A new field needs a decision, and is added here."""
    with secretive(api) as client:
        chat(client, messages=MESSAGES)
    assert list(meter.calls[0].to_dict()) == [
        "id", "started_at", "duration", "endpoint", "provider", "model", "requested_model", "status", "usage",
        "usage_source", "usage_unknown", "response_id", "service_tier", "stream", "time_to_first_token", "error_type",
        "cost", "cost_status", "cost_reason", "cost_estimated", "price_source", "agent", "operation", "user",
        "session", "tags", "block", "host", "usage_rule", "attempts", "organization", "project", "request_id",
            "processing_ms", "remaining_requests", "remaining_tokens",
    ]  # fmt: skip
