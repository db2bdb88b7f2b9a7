"""An API inside the process that answers the shapes of call, always with the same counts, and hears what is asked.

Needs nothing but openai: it also runs in the environments of other packages.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from scenes import http_library

GIVEN, MADE = 1_211, 347
"""What each answer says that it read and wrote: too much to be met by guessing."""
WORDS = ("Good", " morning", ",", " dear", " guest", ".")
TEXT = "".join(WORDS)
CHAT_USAGE = {"prompt_tokens": GIVEN, "completion_tokens": MADE, "total_tokens": GIVEN + MADE}
RESPONSE_USAGE = {
    "input_tokens": GIVEN, "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": MADE, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": GIVEN + MADE,
}  # fmt: skip
SOUND = bytes(range(256)) * 64
HANG = object()
"""A piece of a body that never comes."""
CUT = object()
"""A piece at which the connection breaks."""

# How an answer goes wrong, asked for by the header `FAULT`.
FAULT = "x-fault"


class Api:
    """Answers for one shape; ``name`` keeps its ids apart from those of others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._polls = 0
        self._background = False
        self.heard: list[Any] = []
        """Method, path and body of each request."""

    def client(self, kind: type[Any], *, is_async: bool, **options: Any) -> Any:
        """A client of openai's that asks here."""
        return kind(**{"api_key": "none", "max_retries": 0, **options}, http_client=self.http_client(is_async=is_async))

    def http_client(self, *, is_async: bool) -> Any:
        """The HTTP client of such a client."""
        library = http_library()

        def answer(request: Any) -> Any:
            status, kind, body = self._answer(library, request)
            if isinstance(body, list):
                body = _pieces_async(library, request, body) if is_async else _pieces(library, request, body)
            headers = {"content-type": kind, "x-request-id": "req_1", "retry-after-ms": "1"}
            return library.Response(status, headers=headers, content=body)

        async def answer_async(request: Any) -> Any:
            return answer(request)

        if is_async:
            return library.AsyncClient(transport=library.MockTransport(answer_async))
        return library.Client(transport=library.MockTransport(answer))

    def _answer(self, library: Any, asked: Any) -> tuple[int, str, Any]:
        path = re.sub(r"^(/v1|/openai(/deployments/[^/]+)?)", "", asked.url.path)
        body = asked.content
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            request = {"multipart": re.sub(rb"[0-9a-f]{32}", b"#", body).decode(errors="replace")}
        self.heard.append((asked.method, path, {key: it for key, it in request.items() if key != "stream_options"}))
        fault = asked.headers.get(FAULT)
        if fault == "unreachable":
            raise library.ConnectError("nobody is there", request=asked)
        if fault == "refused" or (fault == "once" and len(self.heard) == 1):
            said = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
            return 500 if fault == "once" else 400, "application/json", _json({"error": said})
        if asked.method == "GET":
            return 200, "application/json", _json(self._looked_up(path))
        make: Callable[..., Any] = getattr(self, path.strip("/").replace("/", "_"), self._free)
        found = make(request, fault)
        if isinstance(found, dict):
            return 200, "application/json", _json(found)
        if isinstance(found, bytes):
            return 200, "audio/mpeg", found
        return 200, "text/event-stream", found

    # --- answers --------------------------------------------------------------------------------------------------

    def chat_completions(self, request: dict[str, Any], fault: str | None) -> Any:
        head = {"id": f"chatcmpl-{self._name}", "created": 1, "model": request.get("model", "our-model")}
        if not request.get("stream"):
            return self._chat(head, request, fault)
        chunk = {**head, "object": "chat.completion.chunk"}
        asked = (request.get("stream_options") or {}).get("include_usage")
        own = {"usage": None} if asked else {}
        deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS), {}]
        chunks = [
            {**chunk, "choices": [{"index": i, "delta": delta, "finish_reason": None if delta else "stop"}], **own}
            for delta in deltas
            for i in range(request.get("n") or 1)
        ]
        if asked:
            chunks.append({**chunk, "choices": [], "usage": CHAT_USAGE})
        return _events([*chunks, "[DONE]"], fault)

    def _chat(self, head: dict[str, Any], request: dict[str, Any], fault: str | None) -> dict[str, Any]:
        text = '{"word": "Good"}' if "response_format" in request else TEXT
        message = {"role": "assistant", "content": text, "refusal": None}
        finish = "length" if fault == "length" else "stop"
        choices = [
            {"index": i, "message": message, "logprobs": None, "finish_reason": finish}
            for i in range(request.get("n") or 1)
        ]
        answer = {**head, "object": "chat.completion", "choices": choices, "usage": CHAT_USAGE}
        if fault == "null":
            answer |= {"choices": None, "usage": None}
        if fault == "odd":
            answer["usage"] = {"prompt_tokens": "many", "completion_tokens": [1], "total_tokens": None}
        return answer

    def completions(self, request: dict[str, Any], _: str | None) -> dict[str, Any]:
        choice = {"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}
        head = {"id": f"cmpl-{self._name}", "object": "text_completion", "created": 1, "model": request["model"]}
        return {**head, "choices": [choice], "usage": CHAT_USAGE}

    def responses(self, request: dict[str, Any], fault: str | None) -> Any:
        self._background = bool(request.get("background"))
        if self._background:
            return self._response("queued", request)
        if not request.get("stream"):
            return self._response("completed", request)
        end = "incomplete" if fault == "incomplete" else "completed"
        begun, done = self._response("in_progress", request), self._response(end, request)
        item = done["output"][0]
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        part = item["content"][0]
        events = [
            {"type": "response.created", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
            {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
            *({"type": "response.output_text.delta", **where, "delta": word, "logprobs": []} for word in WORDS),
            {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []},
            {"type": "response.content_part.done", **where, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": f"response.{end}", "response": done},
        ]
        return _events([{**event, "sequence_number": number} for number, event in enumerate(events)], fault, named=True)

    def _response(self, status: str, request: dict[str, Any]) -> dict[str, Any]:
        text = '{"word": "Good"}' if "text" in request else TEXT
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        message = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
        ended = status in ("completed", "incomplete")
        return {
            "id": f"resp_{self._name}", "object": "response", "created_at": 1, "status": status, "error": None,
            "background": bool(request.get("background")), "instructions": None, "metadata": {},
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": request.get("model", "gpt-5.4-mini"), "output": [message] if ended else [],
            "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
            "usage": RESPONSE_USAGE if ended else None,
        }  # fmt: skip

    def embeddings(self, request: dict[str, Any], _: str | None) -> dict[str, Any]:
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        usage = {"prompt_tokens": GIVEN, "total_tokens": GIVEN}
        return {"object": "list", "data": data, "model": request["model"], "usage": usage}

    def moderations(self, _: dict[str, Any], __: str | None) -> dict[str, Any]:
        return {"id": f"modr-{self._name}", "model": "omni-moderation-latest", "results": []}

    def images_generations(self, _: dict[str, Any], __: str | None) -> dict[str, Any]:
        details = {"input_tokens_details": {"text_tokens": GIVEN, "image_tokens": 0}}
        usage = {"input_tokens": GIVEN, "output_tokens": MADE, "total_tokens": GIVEN + MADE, **details}
        return {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": usage}

    def audio_transcriptions(self, _: dict[str, Any], __: str | None) -> dict[str, Any]:
        details = {"input_token_details": {"text_tokens": 0, "audio_tokens": GIVEN}}
        usage = {"type": "tokens", "input_tokens": GIVEN, "output_tokens": MADE, "total_tokens": GIVEN + MADE}
        return {"text": TEXT, "usage": {**usage, **details}}

    def audio_speech(self, _: dict[str, Any], __: str | None) -> bytes:
        return SOUND

    def responses_input_tokens(self, _: dict[str, Any], __: str | None) -> dict[str, Any]:
        return {"object": "response.input_tokens", "input_tokens": GIVEN}

    def _looked_up(self, path: str) -> dict[str, Any]:
        if path.startswith("/responses/"):
            self._polls += 1
            ready = not self._background or self._polls > 2
            return self._response("completed" if ready else "in_progress", {"background": self._background})
        if path.startswith("/chat/completions/"):
            return self._chat({"id": path.rpartition("/")[2], "created": 1, "model": "gpt-5.4-mini"}, {}, None)
        return {"object": "list", "data": [], "has_more": False}

    def _free(self, _: dict[str, Any], __: str | None) -> dict[str, Any]:
        return {"object": "list", "data": []}


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _events(events: list[Any], fault: str | None, *, named: bool = False) -> list[Any]:
    pieces: list[Any] = []
    for place, event in enumerate(events):
        if place == 4 and fault in ("cut", "hang"):
            return [*pieces, CUT if fault == "cut" else HANG]
        head = f"event: {event['type']}\n" if named else ""
        pieces.append(f"{head}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode())
    return pieces


def _pieces(library: Any, request: Any, pieces: list[Any]) -> Iterator[bytes]:
    for piece in pieces:
        if piece is CUT:
            raise library.RemoteProtocolError("the connection broke", request=request)
        yield piece


async def _pieces_async(library: Any, request: Any, pieces: list[Any]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if piece is HANG:
            await asyncio.Event().wait()
        if piece is CUT:
            raise library.RemoteProtocolError("the connection broke", request=request)
        yield piece
