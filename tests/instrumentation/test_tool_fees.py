"""The fees of hosted tools are counted, whatever becomes of the answer that they are part of."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import contract
import pytest
from pydantic import BaseModel, ValidationError

import openai_meter
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request

MODEL = "gpt-5.4-mini"
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
PAGE = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com"}}
FILES = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": [], "results": None}
CODE = {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1", "container_id": "cntr_9"}
TEXT = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "no number", "annotations": []}],
}  # fmt: skip
ITEMS = [SEARCH, PAGE, FILES, CODE, TEXT]
TOOLS: Any = [
    {"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
]  # fmt: skip
USED = {
    "input_tokens": 500, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 540,
}  # fmt: skip
FEES = Decimal("0.01") + Decimal("0.0025") + Decimal("0.03")


def response(number: int, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": f"resp_{number}", "object": "response", "created_at": 1, "model": MODEL, "status": status,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": TOOLS, "output": ITEMS, "usage": USED, **more,
    }  # fmt: skip


def events(number: int) -> list[dict[str, Any]]:
    started = response(number, "in_progress", output=[], usage=None)
    items = [{"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(ITEMS)]
    part = {"item_id": "msg_1", "output_index": 4, "content_index": 0, "logprobs": []}
    empty = {"type": "output_text", "text": "", "annotations": []}
    text = [
        {"type": "response.output_item.added", "output_index": 4, "item": {**TEXT, "content": []}},
        {"type": "response.content_part.added", "part": empty, **part},
        {"type": "response.output_text.delta", "delta": "no number", **part},
        {"type": "response.output_text.done", "text": "no number", **part},
    ]
    added = [
        {"type": "response.output_item.added", "output_index": at, "item": item} for at, item in enumerate(ITEMS[:-1])
    ]
    ended = {"type": "response.completed", "response": response(number)}
    found = [{"type": "response.created", "response": started}, *added, *items[:-1], *text, items[-1], ended]
    return [{**event, "sequence_number": at} for at, event in enumerate(found)]


class Number(BaseModel):
    value: int


class Host(LoopbackServer):
    """Answers each request with a container of its own, so that each has a session of its own."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self._number = 0
        self.base_url = ""

    def _answer(self, request: Request) -> Answer:
        self._number += 1
        if request.json().get("stream"):
            lines = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events(self._number)]
            body, kind = "".join(lines), "text/event-stream"
        else:
            body, kind = json.dumps(response(self._number)), "application/json"
        return Answer(200, {"content-type": kind}, body.replace("cntr_9", f"cntr_{id(self)}_{self._number}").encode())


async def left(client: Any, is_async: bool, way: str) -> None:
    """Makes an answer that cannot be used, or leaves it in the middle."""
    request = {"model": MODEL, "input": "Hi", "tools": TOOLS}
    if way == "raw":
        raw = client.responses.with_raw_response.parse(**request, text_format=Number)
        (await raw if is_async else raw).parse()
    elif way == "parse":
        parsed = client.responses.parse(**request, text_format=Number)
        _ = await parsed if is_async else parsed
    elif is_async:
        async with client.responses.stream(**request, text_format=Number) as stream:
            async for _ in stream:
                pass
    else:
        with client.responses.stream(**request, text_format=Number) as stream:
            for _ in stream:
                pass


@pytest.mark.parametrize("way", ["parse", "raw", "stream"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_fees_of_an_answer_that_cannot_be_parsed_are_counted(way: str, is_async: bool) -> None:
    """An answer of another form than the program requested is charged, and so are the tools that it used."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})

    async def run() -> None:
        with Host() as server:
            server.base_url = f"{server.url}/v1"
            if is_async:
                async with contract.async_client(server) as client:
                    await left(client, True, way)
            else:
                with contract.sync_client(server) as client:
                    await left(client, False, way)

    with pytest.raises(ValidationError):
        asyncio.run(run())
    meter.flush()
    (call,) = meter.calls
    usage = call.usage
    assert (usage.web_searches, usage.file_searches, usage.container_sessions) == (1, 1, 1)
    tokens = Decimal(usage.input_tokens or 0) * Decimal("0.75") + Decimal(usage.output_tokens or 0) * Decimal("4.5")
    assert call.cost == FEES + tokens / 1_000_000
    assert (call.usage_source == "api") == (way != "stream")


def test_fees_in_the_bytes_of_an_abandoned_stream_are_counted() -> None:
    """Where the program reads bytes, the fees in them are counted in the same way."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
    with Host() as server:
        server.base_url = f"{server.url}/v1"
        with contract.sync_client(server) as client:
            request: Any = {"model": MODEL, "input": "Hi", "tools": TOOLS, "stream": True}
            with client.responses.with_streaming_response.create(**request) as answer:
                for line in answer.iter_lines():
                    if "output_text.delta" in line:
                        break
    meter.flush()
    (call,) = meter.calls
    assert (call.usage.web_searches, call.usage.file_searches, call.usage.container_sessions) == (1, 1, 1)
