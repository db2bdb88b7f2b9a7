"""One answered turn of a session over a WebSocket, and the endpoints that are metered there.

A session is a series of events. A turn is a :class:`~openai_meter.metering.call_in_flight.CallInFlight`. It begins
when it is requested, or with its first event, and ends with its last event. Its usage is read as from any other answer.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from openai_meter.core.usage import fields_of
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.metering.meter import Readable
from openai_meter.usage.endpoints import Endpoint, find
from openai_meter.usage.responses import Fields, ResponseState, read_object, read_response
from openai_meter.usage.stream_events import RESPONSE_PIECES, fold_response

__all__ = [
    "DECISION", "LIVE", "PIECES", "REALTIME", "RESPONSE", "SUMMARIES", "TRANSCRIPTION", "TRANSLATION", "RequestedTurns",
    "Turn", "parse_request",
]  # fmt: skip

_AUDIO_TOKENS = 20
"""Output tokens in a second of speech (one for 50 ms): OpenAI's guide to the costs of realtime conversations."""
_FRAME = 200
"""The characters of an event of audio that are not audio, about."""
_PIECES = {
    "response.output_text.delta": None,
    "response.text.delta": None,
    "response.output_audio_transcript.delta": None,
    "response.audio_transcript.delta": None,
    "response.function_call_arguments.delta": "call",
    "response.mcp_call_arguments.delta": "call",
}
"""The part of an output item that an event of a realtime session contains a piece of; ``None`` is its text, spoken or
written. Names without ``output`` are those of the beta."""


PIECES = (*_PIECES, *RESPONSE_PIECES, "response.output_item.added", "response.output_item.done")
"""The types of events that contain a piece of an answer."""
SUMMARIES = ("response.reasoning_summary_text.delta", "response.reasoning_summary.delta")
"""The types of events that contain a piece of a summary of reasoning: a token, but not a part of what is billed."""
_SUMMARY = b"response.reasoning_summary"


# --- readers ----------------------------------------------------------------------------------------------------------


def fold_realtime(response: ResponseState, event: Any) -> None:
    """Reads an event of a realtime session that belongs to a response."""
    kind = event.get("type")
    if kind in _PIECES:
        index, part = event.get("output_index"), _PIECES[kind]
        if type(index) is int:
            response.transcript.add(index if part is None else (index, part, 0), event.get("delta"))
    elif kind == "response.output_item.added":
        response.transcript.begin_item(event.get("output_index"), event.get("item"))
    elif kind == "response.created":
        _read_identity(response, event)
    elif kind == "response.done":
        answer = fields_of(event.get("response"))
        error = fields_of(answer.get("status_details")).get("error")
        read_response(response, {**answer, "error": error} if answer.get("status") == "failed" and error else answer)
        if response.state == "open":
            response.state = "ok"


def fold_turn(response: ResponseState, event: Any) -> None:
    """Reads an event of a response, also one inside an event of a live session."""
    fold_response(response, event.get("event") if event.get("type") == "response.event" else event)


def _read_identity(response: ResponseState, event: Fields) -> None:
    identity = fields_of(event.get("response")).get("id")
    if isinstance(identity, str) and identity:
        response.response_id = identity


def _row(method: str, path: str) -> Endpoint:
    row = find(method, path)
    assert row is not None
    return row


REALTIME = Endpoint("realtime", "WS", "/realtime", read_object, fold_realtime, estimate=True)
RESPONSE = _row("POST", "/responses")._replace(method="WS", fold=fold_turn)
TRANSCRIPTION = Endpoint("realtime.transcriptions", "WS", "/realtime", read_object)
TRANSLATION = Endpoint("realtime.translations", "WS", "/realtime/translations", read_object)
LIVE = Endpoint("live", "WS", "/live", read_object)
DECISION = _row("POST", "/decisions")


# --- turns ------------------------------------------------------------------------------------------------------------


class Turn(CallInFlight):
    """One turn, or a part of a session that is billed by the second."""

    __slots__ = ("audio", "connections", "event_id", "is_sending", "lane", "rate")

    def __init__(
        self,
        row: Endpoint,
        listeners: tuple[Readable, ...],
        provider: str,
        host: str,
        body: Mapping[str, Any],
    ) -> None:
        super().__init__(row, listeners, provider, host, body, stream=True)
        self.audio = 0
        """Characters of encoded audio that were received."""
        self.rate = 48_000
        """Bytes of audio in a second."""
        self.event_id: object = None
        """The id that the program gave to the event that requested the turn."""
        self.lane: object = None
        """The conversation of the connection that it belongs to, where there are several."""
        self.is_sending = False
        """Whether the request is being sent now."""
        self.connections = 1
        """The number of connections that receive its events."""

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._clock

    def since(self, started: float, clock: float) -> None:
        """Moves its start back, by both clocks."""
        self.started, self._clock = started, clock

    def mark_answered(self) -> None:
        """Called when the answer has begun, with or without a token."""
        self._answered = True

    def mark_first_token(self) -> None:
        """The first token has been received; only the first time counts."""
        if self._first is None:
            self._first = time.perf_counter()

    def finish(self, error: BaseException | None = None, *, whole: bool = True) -> None:
        """Ends the turn; one whose answer has been counted, from another connection, leaves no record."""
        if self.finished:
            return
        if self.counted():
            self.drop()
        else:
            super().finish(error, whole=whole)

    def counted(self) -> bool:
        """Whether the same answer has been counted; from now on it has."""
        identity = self.response.response_id
        return identity is not None and not self.listeners[0].meter._seen_jobs.claim((self.row.name, identity))

    def abort(self, error_type: str | None = None) -> None:
        """Ends the turn before its answer has ended."""
        self.response.error_type = error_type
        self.finish(whole=False)

    def _estimate(self, *args: Any) -> None:
        spoken = round(max(self.audio, 0) * 3 / 4 / self.rate * _AUDIO_TOKENS)
        if spoken:
            counts = {"output_tokens": spoken, "total_tokens": spoken, "output_audio_tokens": spoken}
            self.response.extra = {**self.response.extra, **counts}
        super()._estimate(*args)

    def add_piece(self, kind: bytes, message: bytes) -> None:
        """Keeps an event that contains a piece of the answer, for an estimate."""
        if self._first is None and _has_token(kind, message):
            self.mark_first_token()
        if not kind.startswith(_SUMMARY):
            self.response.transcript.add_event(message)

    def add_audio(self, size: int) -> None:
        """Counts an event of audio, of which only the size matters."""
        self.audio += size - _FRAME
        self.mark_first_token()


_is_reasoning = re.compile(rb'"type": ?"reasoning"').search


def _has_token(kind: bytes, message: bytes) -> bool:
    """Whether a piece of an answer contains a token. An item that begins is empty, and so is hidden reasoning."""
    return not (kind.endswith(b".added") or (kind.endswith(b".done") and _is_reasoning(message)))


# --- requests ---------------------------------------------------------------------------------------------------------

_HEAD = 512
"""The number of characters of a sent text in which its type is searched for."""
_find_request = re.compile(r'"type": ?"response.create"').search
_STALE = 60.0
"""Seconds after which a requested turn will not begin: the API has refused it without naming it."""
_WAITING = 100
"""The number of turns that are waited for."""


class RequestedTurns:
    """The turns of one connection that were requested and have not begun, oldest first."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()

    @property
    def is_sending(self) -> bool:
        """Whether the latest request is being sent now."""
        return bool(self.turns) and self.turns[-1].is_sending

    def add(self, turn: Turn) -> None:
        """Adds a turn that was requested."""
        if len(self.turns) >= _WAITING:
            self.turns.popleft().abort()
        self.turns.append(turn)

    def remove(self, turn: Turn) -> None:
        """Removes a turn, if it is there."""
        with suppress(ValueError):
            self.turns.remove(turn)

    def take(self, lane: object) -> Turn | None:
        """Removes and returns the turn that begins now: the API answers the requests of a lane in their order."""
        for turn in tuple(self.turns):
            if turn.age > _STALE:
                self.remove(turn)
                turn.drop()
            elif turn.lane == lane:
                self.remove(turn)
                return turn
        return None

    def take_refused(self, error: Fields, lane: object, *, ordered: bool) -> Turn | None:
        """Removes and returns the turn that an error is about, if it is about one: that turn will not begin.

        Args:
            error: the error of the API.
            lane: the conversation that it was received in.
            ordered: whether an error can only be about the oldest request.
        """
        event_id, param = error.get("event_id"), error.get("param")
        for turn in tuple(self.turns):
            if isinstance(event_id, str) and event_id:
                meant = turn.event_id == event_id
            elif ordered:
                meant = turn.lane == lane
            else:
                meant = error.get("code") == _BUSY or (isinstance(param, str) and param.startswith("response"))
            if meant:
                self.remove(turn)
                # Nothing was begun, and nothing is charged.
                turn.response.facts = {**turn.response.facts, "status": "error"}
                return turn
        return None

    def drain(self) -> Iterator[Turn]:
        """Removes all, and returns those that may have begun."""
        while self.turns:
            turn = self.turns.popleft()
            if turn.age > _STALE:
                turn.drop()
            else:
                yield turn


_BUSY = "conversation_already_has_active_response"


def parse_request(data: str | bytes) -> Fields:
    """Parses what is sent as text, if it may request a turn; else returns an empty dict."""
    head = data[:_HEAD]
    if _find_request(head if isinstance(head, str) else head.decode("utf-8", "replace")) is None:
        return {}
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return request if type(request) is dict else {}
