"""One answered turn of a session over a WebSocket, and the rows of what is metered there.

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
    "DECISION", "LIVE", "PIECES", "REALTIME", "RESPONSE", "TRANSCRIPTION", "TRANSLATION", "Asks", "Turn", "sent",
]  # fmt: skip

_AUDIO_TOKENS = 20
"""Output tokens in a second of speech (one for 50 ms): OpenAI's guide to the costs of realtime conversations."""
_FRAME = 200
"""About how many characters an event of audio has besides the audio."""
_PIECES = {
    "response.output_text.delta": None,
    "response.text.delta": None,
    "response.output_audio_transcript.delta": None,
    "response.audio_transcript.delta": None,
    "response.function_call_arguments.delta": "call",
    "response.mcp_call_arguments.delta": "call",
}
"""Which part of an output item an event of a realtime session brings a piece of; ``None`` is its text, spoken or
written. Names without ``output`` are those of the beta."""


PIECES = (*_PIECES, *RESPONSE_PIECES, "response.output_item.added", "response.output_item.done")
"""The types of events that bring a piece of an answer."""


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
    """Reads an event of a response, also one that a live session passes on from its delegate."""
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
    """One turn, or a stretch of a session that is billed by the second."""

    __slots__ = ("audio", "event_id", "fresh", "lane", "rate", "watchers")

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
        """Characters of encoded audio that came by."""
        self.rate = 48_000
        """Bytes of audio in a second."""
        self.event_id: object = None
        """What the program calls the event that asked for the turn."""
        self.lane: object = None
        """Which of several conversations of the connection it belongs to."""
        self.fresh = False
        """Whether it is just being sent."""
        self.watchers = 1
        """How many connections hear of it."""

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._clock

    def since(self, started: float, clock: float) -> None:
        """Sets back when it began, by both clocks."""
        self.started, self._clock = started, clock

    def sound(self) -> None:
        """Hears that the answer has begun."""
        if self._first is None:
            self._first = time.perf_counter()

    def finish(self, error: BaseException | None = None, *, whole: bool = True) -> None:
        """Ends the turn; one whose answer has been counted, off another connection, leaves no record."""
        if self.finished:
            return
        if self.counted():
            self.drop()
        else:
            super().finish(error, whole=whole)

    def counted(self) -> bool:
        """Whether the same has been counted; from now on it has."""
        identity = self.response.response_id
        return identity is not None and not self.listeners[0].meter._seen_jobs.claim((self.row.name, identity))

    def cut(self, error_type: str | None = None) -> None:
        """Ends the turn before its answer did."""
        self.response.error_type = error_type
        self.finish(whole=False)

    def _estimate(self, *args: Any) -> None:
        spoken = round(max(self.audio, 0) * 3 / 4 / self.rate * _AUDIO_TOKENS)
        if spoken:
            said = {"output_tokens": spoken, "total_tokens": spoken, "output_audio_tokens": spoken}
            self.response.extra = {**self.response.extra, **said}
        super()._estimate(*args)

    def hear_audio(self, size: int) -> None:
        """Hears an event of audio, of which only the size matters."""
        self.audio += size - _FRAME
        if self._first is None:
            self._first = time.perf_counter()


# --- what is asked for ------------------------------------------------------------------------------------------------

_HEAD = 512
"""How far what is sent as text is searched for its type."""
_asks = re.compile(r'"type": ?"response.create"').search
_STALE = 60.0
"""Seconds after which a turn that was asked for will not begin: the API has refused it, and not said which it meant."""
_WAITING = 100
"""How many turns are waited for."""


class Asks:
    """The turns of one connection that were asked for and have not begun, oldest first."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()

    @property
    def sending(self) -> bool:
        """Whether the latest is just being sent."""
        return bool(self.turns) and self.turns[-1].fresh

    def add(self, turn: Turn) -> None:
        """Waits for a turn."""
        if len(self.turns) >= _WAITING:
            self.turns.popleft().cut()
        self.turns.append(turn)

    def forget(self, turn: Turn) -> None:
        """Waits for a turn no longer."""
        with suppress(ValueError):
            self.turns.remove(turn)

    def take(self, lane: object) -> Turn | None:
        """The one that begins now: the API answers the requests of a lane in their order."""
        for turn in tuple(self.turns):
            if turn.age > _STALE:
                self.forget(turn)
                turn.drop()
            elif turn.lane == lane:
                self.forget(turn)
                return turn
        return None

    def refused(self, error: Fields, lane: object, *, ordered: bool) -> Turn | None:
        """The one that will not begin, if an error tells.

        Args:
            error: what the API says.
            lane: where it says it.
            ordered: whether errors can be about nothing else than the oldest request.
        """
        named, about = error.get("event_id"), error.get("param")
        for turn in tuple(self.turns):
            if isinstance(named, str) and named:
                meant = turn.event_id == named
            elif ordered:
                meant = turn.lane == lane
            else:
                meant = error.get("code") == _BUSY or (isinstance(about, str) and about.startswith("response"))
            if meant:
                self.forget(turn)
                # Nothing was begun, and nothing is charged.
                turn.response.facts = {**turn.response.facts, "status": "error"}
                return turn
        return None

    def drain(self) -> Iterator[Turn]:
        """All that may yet have begun; nobody waits for them any longer."""
        while self.turns:
            turn = self.turns.popleft()
            if turn.age > _STALE:
                turn.drop()
            else:
                yield turn


_BUSY = "conversation_already_has_active_response"


def sent(data: str | bytes) -> Fields:
    """What is sent as text, if it may ask for a turn."""
    head = data[:_HEAD]
    if _asks(head if isinstance(head, str) else head.decode("utf-8", "replace")) is None:
        return {}
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return said if type(said) is dict else {}
