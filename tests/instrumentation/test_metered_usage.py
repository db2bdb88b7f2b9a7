"""Usage on its whole way from the wire into the record, where answers are odd, compressed or unusable."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

import openai_meter

HTTP = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
ASK: Any = [{"role": "user", "content": "Say something short."}]
CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Bonjour tout le monde."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 90, "completion_tokens": 8, "total_tokens": 98},
}  # fmt: skip


@pytest.fixture
def meter() -> Iterator[openai_meter.Meter]:
    """A meter of its own, installed."""
    yield openai_meter.install(meter=openai_meter.Meter(), thresholds=False)
    openai_meter.uninstall()


def client(body: bytes, **headers: str) -> openai.OpenAI:
    """A client of OpenAI's host that is answered in this process."""
    sent = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    transport = HTTP.MockTransport(lambda _: HTTP.Response(200, headers=sent, content=iter([body])))
    http_client = openai.DefaultHttpxClient(transport=transport, trust_env=False)
    return openai.OpenAI(api_key="k", base_url="https://api.openai.com/v1", max_retries=0, http_client=http_client)


def only(meter: openai_meter.Meter) -> openai_meter.Call:
    """The only call, when all that had to wait is done."""
    assert meter.totals.calls == 1
    (call,) = meter.calls
    return call


def test_negative_count_is_estimated_and_the_other_kept(meter: openai_meter.Meter) -> None:
    """A negative output is estimated from the answer; the input is the one that the API reported."""
    usage = {"prompt_tokens": 90, "completion_tokens": -3, "total_tokens": 87}
    client(json.dumps({**CHAT, "usage": usage}).encode()).chat.completions.create(model="gpt-4o", messages=ASK)
    call = only(meter)
    assert (call.usage.input_tokens, call.usage.inconsistent, call.estimated) == (90, True, True)
    assert call.usage.output_tokens
    assert call.usage.total_tokens == 90 + call.usage.output_tokens
    assert call.cost_estimated
    assert call.usage_rule is not None


def test_inconsistent_usage_is_recorded_with_an_estimated_cost(meter: openai_meter.Meter) -> None:
    """Figures that cannot be reconciled are recorded as they are, and what they cost is marked."""
    usage = {"prompt_tokens": 90, "completion_tokens": 8, "total_tokens": 60}
    client(json.dumps({**CHAT, "usage": usage}).encode()).chat.completions.create(model="gpt-4o", messages=ASK)
    call = only(meter)
    assert (call.usage.output_tokens, call.usage_source, call.cost_estimated) == (8, "api", True)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(CHAT).encode() + b"\n\ndata: [DONE]\n\n",
        b"data: " + json.dumps(CHAT).encode() + b"\n\n",
        json.dumps(CHAT).encode() + b"<!-- proxy -->",
    ],
)
def test_usage_of_an_answer_that_the_sdk_cannot_parse_is_recorded(meter: openai_meter.Meter, body: bytes) -> None:
    """The program gets the error of the SDK; what the answer reports is recorded, as it was paid for."""
    with pytest.raises(json.JSONDecodeError):
        client(body).chat.completions.create(model="gpt-4o", messages=ASK)
    call = only(meter)
    assert (call.status, call.error_type, call.usage_source) == ("error", "JSONDecodeError", "api")
    assert (call.usage.input_tokens, call.usage.output_tokens) == (90, 8)


@pytest.mark.parametrize("encoding", ["utf-8", "none", "binary"])
def test_body_with_a_word_that_is_not_an_encoding_is_read_or_estimated(
    meter: openai_meter.Meter, encoding: str
) -> None:
    """The HTTP library passes such a body on as it is; if it is not understood, the call is estimated."""
    for body, source in ((json.dumps(CHAT).encode(), "api"), (b"\x00\x01\x02" * 40, "tiktoken")):
        create = client(body, content_encoding=encoding).chat.completions.with_streaming_response.create
        with create(model="gpt-4o", messages=ASK) as answer:
            assert b"".join(answer.iter_bytes()) == body
        assert meter.calls[-1].usage_source == source
        assert meter.calls[-1].cost is not None


class Number(BaseModel):
    """What the program wants, and the answer does not have."""

    number: int


def test_tool_fees_survive_an_answer_that_cannot_be_parsed(meter: openai_meter.Meter) -> None:
    """What hosted tools cost is charged although the program cannot use the answer."""
    answer = {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5.4", "tools": [],
        "tool_choice": "auto", "parallel_tool_calls": True, "service_tier": "default",
        "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
                  "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
        "output": [
            {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"], "results": None},
            {"type": "message", "id": "m_1", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "{", "annotations": []}]},
        ],
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"."):
        client(json.dumps(answer).encode()).responses.parse(model="gpt-5.4", input="Go", text_format=Number)
    call = only(meter)
    assert (call.usage.file_searches, call.usage.total_tokens) == (1, 11)


RAW = json.dumps(CHAT).encode()
RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
ENCODED = {
    "gzip": gzip.compress(RAW),
    "gzip, gzip": gzip.compress(gzip.compress(RAW)),
    "deflate": RAW_DEFLATE.compress(RAW) + RAW_DEFLATE.flush(),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_compressed_body_read_as_bytes_has_its_usage(meter: openai_meter.Meter, encoding: str) -> None:
    """The usage is read from a body that the program takes as raw bytes."""
    create = client(ENCODED[encoding], content_encoding=encoding).chat.completions.with_streaming_response.create
    with create(model="gpt-4o", messages=ASK) as response:
        assert b"".join(response.http_response.iter_raw()) == ENCODED[encoding]
    assert only(meter).usage.total_tokens == 98


@pytest.mark.parametrize("encoding", ["br", "zstd", "unknown"])
def test_body_that_cannot_be_read_is_estimated(
    meter: openai_meter.Meter, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a decoder, the input is estimated, and the answer is named as unknown: never nothing at all."""
    monkeypatch.setattr("openai_meter.usage.decompression._imported", lambda *_: None)
    create = client(b"\x01\x02\x03", content_encoding=encoding).chat.completions.with_streaming_response.create
    with create(model="gpt-4o", messages=ASK) as response:
        assert b"".join(response.http_response.iter_raw()) == b"\x01\x02\x03"
    call = only(meter)
    assert call.estimated
    assert call.usage.input_tokens
    assert "answer" in call.usage_unknown


def test_compressed_body_of_a_gigabyte_is_estimated_in_bounded_time(meter: openai_meter.Meter) -> None:
    """A small compressed body that holds a gigabyte takes a bounded part of a second, and is estimated."""
    maker = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join([maker.compress(b'{"x": "'), *(maker.compress(b"\0" * 2**24) for _ in range(64)), maker.flush()])
    create = client(bomb, content_encoding="gzip").chat.completions.with_streaming_response.create
    with create(model="gpt-4o", messages=ASK) as response:
        started = time.process_time()
        assert b"".join(response.http_response.iter_raw()) == bomb
        assert time.process_time() - started < 1.5
    assert only(meter).estimated
