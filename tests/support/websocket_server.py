"""A WebSocket server that plays invented sessions, and the ways to connect to it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

HEAR = "hear"
"""In a script: wait for one message of the client."""
HANG_UP = "hang up"
"""In a script: break the connection off, without a word."""


class Stage:
    """Plays ``script`` to whoever connects, and then hears what the client says until it closes."""

    def __init__(self) -> None:
        from websockets.sync.server import serve

        self.script: list[Any] = []
        self.scripts: dict[str, list[Any]] = {}
        """Scripts by a part of the path, where several connections play different ones."""
        self.heard: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: dict[str, str] = {}
        """Headers of the answer to a handshake."""
        self._server = serve(self._play, "127.0.0.1", 0, compression=None, process_response=self._add_headers)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"127.0.0.1:{self._server.socket.getsockname()[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(60)

    def _add_headers(self, _connection: Any, _request: Any, response: Any) -> None:
        response.headers.update(self.headers)

    def _play(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        path = connection.request.path
        self.paths.append(path)
        script = next((script for part, script in self.scripts.items() if part in path), self.script)
        with contextlib.suppress(ConnectionClosed):
            for step in script:
                if step is HEAR:
                    self.heard.append(json.loads(connection.recv(timeout=120)))
                elif step is HANG_UP:
                    # close() alone would wait for the thread that reads, which notices at its next ping
                    connection.socket.shutdown(socket.SHUT_RDWR)
                    return
                elif callable(step):
                    step()
                else:
                    connection.send(step if isinstance(step, str | bytes) else json.dumps(step))
            for message in connection:
                self.heard.append(json.loads(message))

    def client(self, kind: type[Any], **more: Any) -> Any:
        return kind(
            **{
                "api_key": "demo", "max_retries": 0, "base_url": f"http://{self.url}/v1",
                "websocket_base_url": f"ws://{self.url}/v1", **more,
            }
        )  # fmt: skip


class Way(NamedTuple):
    """A way to open a connection."""

    name: str
    open: Callable[[Any], Any]

    def __call__(self, client: Any) -> Any:
        """The SDK's manager of a connection; skips where this version has none of this kind."""
        place = client
        for part in self.name.split("."):
            place = getattr(place, part, None)
            if place is None:
                break
        if not hasattr(place, "connect"):
            pytest.skip(f"NOT tested: openai {openai.__version__} has no {self.name}.connect()")
        return self.open(client)


REALTIME = Way("realtime", lambda client: client.realtime.connect(model="gpt-realtime"))
BETA_REALTIME = Way("beta.realtime", lambda client: client.beta.realtime.connect(model="gpt-4o-realtime-preview"))
RESPONSES = Way("responses", lambda client: client.responses.connect())
BETA_RESPONSES = Way("beta.responses", lambda client: client.beta.responses.connect())
TRANSLATIONS = Way(
    "realtime.translations", lambda client: client.realtime.translations.connect(model="gpt-realtime-translate")
)
LIVE = Way("live", lambda client: client.live.connect())
FORKS = Way("live.forks", lambda client: client.live.forks.connect(session_id="live_1"))
SIDEBAND = Way("live.sideband", lambda client: client.live.sideband.connect(session_id="live_1"))
WAYS = (REALTIME, BETA_REALTIME, RESPONSES, BETA_RESPONSES, TRANSLATIONS, LIVE, FORKS, SIDEBAND)
CLIENTS = (OpenAI, AsyncOpenAI)


# --- what the API says ------------------------------------------------------------------------------------------------

SPOKEN = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 32,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 14},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
WRITTEN = {
    "input_tokens": 40,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 60,
}


def session_created(model: str = "gpt-realtime-2025-08-28", transcriber: str = "whisper-1") -> dict[str, Any]:
    heard = {"transcription": {"model": transcriber}}
    spoken = {"format": {"type": "audio/pcm", "rate": 24000}}
    session = {"type": "realtime", "id": "sess_1", "model": model, "audio": {"input": heard, "output": spoken}}
    return {"event_id": "event_1", "type": "session.created", "session": session}


def begun(identity: str = "resp_1") -> dict[str, Any]:
    response = {"object": "realtime.response", "id": identity, "status": "in_progress", "output": [], "usage": None}
    return {"type": "response.created", "event_id": "event_2", "response": response}


def audio(size: int = 20_000, identity: str = "resp_1") -> dict[str, Any]:
    return {
        "type": "response.output_audio.delta", "event_id": "event_3", "response_id": identity, "item_id": "item_1",
        "output_index": 0, "content_index": 0, "delta": "A" * size,
    }  # fmt: skip


def words(text: str, identity: str = "resp_1") -> dict[str, Any]:
    return {
        "type": "response.output_audio_transcript.delta", "event_id": "event_4", "response_id": identity,
        "item_id": "item_1", "output_index": 0, "content_index": 0, "delta": text,
    }  # fmt: skip


def done(identity: str = "resp_1", status: str = "completed", usage: Any = SPOKEN, **details: Any) -> dict[str, Any]:
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed", "content": []}
    response = {
        "object": "realtime.response", "id": identity, "status": status, "output": [item], "usage": usage,
        "status_details": {"type": status, **details},
    }  # fmt: skip
    return {"type": "response.done", "event_id": "event_5", "response": response}


def response(kind: str, identity: str = "resp_1", usage: Any = None, **more: Any) -> dict[str, Any]:
    status = kind if kind in ("completed", "incomplete", "failed") else "in_progress"
    body = {
        "id": identity, "object": "response", "created_at": 1, "status": status, "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default", "output": [], "usage": usage, "error": None,
    }  # fmt: skip
    return {"type": f"response.{kind}", "response": body, **more}


def piece(text: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
        "delta": text, "logprobs": [], **more,
    }  # fmt: skip


def transcribed(usage: Any, item: str = "item_1") -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item, "content_index": 0, "transcript": "Hello.", "usage": usage}


def live(kind: str, seconds: float | None = None, **more: Any) -> dict[str, Any]:
    session = {"id": "live_1", "model": "gpt-live-1", "status": "active", "expires_at": 1}
    event: dict[str, Any] = {"type": f"session.{kind}", "event_id": "event_1", **more}
    if kind != "usage.updated":
        event["session"] = session
    if seconds is not None:
        event["usage"] = {"seconds": seconds}
    return event


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    pytest.importorskip("websockets", reason="NOT tested: the websockets package is not there")
    made = Stage()
    try:
        yield made
    finally:
        made.close()
