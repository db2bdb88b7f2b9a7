"""What is known of one connection, and what its events come to: turns, transcriptions, seconds.

Everything here is synchronous and runs on the caller's path, once for each event. An event is looked at as bytes: its
type decides whether it is parsed (few are), counted by its size (audio), kept for the case that the turn is cut (pieces
of text), or passed over. What is malformed or unknown is passed over.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from openai_meter.core import faults
from openai_meter.core.bounded import Bounded
from openai_meter.core.usage import fields_of, seconds
from openai_meter.instrumentation.websockets.timed import Stretches
from openai_meter.instrumentation.websockets.turn import (
    DECISION,
    LIVE,
    PIECES,
    REALTIME,
    RESPONSE,
    TRANSCRIPTION,
    TRANSLATION,
    Asks,
    Turn,
    sent,
)
from openai_meter.metering.meter import Readable
from openai_meter.usage.endpoints import Endpoint
from openai_meter.usage.responses import Fields, read_object

__all__ = ["Watch"]

_HEAD = 512
"""How far an event is searched for its type."""
_find_type = re.compile(rb'"type": ?"([a-z_.]{1,100})"').search
_OPEN = 100
"""How many turns of one connection may be going on."""

_shared: Bounded[tuple[str, str, tuple[Readable, ...]], Turn] = Bounded(1_000)
"""Turns that are going on, for a second connection that hears of them too."""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _within(fields: object, *names: str) -> object:
    for name in names:
        fields = fields_of(fields).get(name)
    return fields


class Watch:
    """What is known of one connection.

    Args:
        kind: ``realtime``, ``responses``, ``translations`` or ``live``.
        listen: who listens at the moment.
        provider: who answers: ``openai``, ``azure`` or a host.
        host: the host that answers.
        model: the model that the connection was opened for, if its URL says so.
    """

    __slots__ = (
        "_asks", "_committed", "_delegate", "_host", "_kind", "_leaving", "_listen", "_model", "_only", "_provider",
        "_rate", "_stretches", "_transcriber", "_turns", "busy",
    )  # fmt: skip

    def __init__(
        self, kind: str, listen: Callable[[], tuple[Readable, ...]], provider: str, host: str, model: str | None
    ) -> None:
        self.busy = False
        """Whether somebody is receiving: a wrapper inside of another one's stays out."""
        self._kind = kind
        self._listen = listen
        self._provider = provider
        self._host = host
        self._model = model
        self._transcriber: str | None = None
        self._delegate: str | None = None
        self._rate = 48_000
        self._asks = Asks()
        self._turns: dict[object, Turn] = {}
        self._only: Turn | None = None
        self._committed: Bounded[str, tuple[float, float]] = Bounded(100)
        self._leaving = False
        row = {"live": LIVE, "translations": TRANSLATION}.get(kind)
        self._stretches = None if row is None else Stretches(row, listen, provider, host)

    def __del__(self) -> None:
        for turn in (*self._asks.turns, *self._turns.values()):
            turn.collected = True
        if self._stretches is not None:
            self._stretches.collected()
        self._end()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def received(self, message: Any) -> None:
        """Sees a message that the caller is about to get."""
        try:
            if type(message) is not bytes:  # of a transport that decodes
                message = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else bytes(message)
            found = _find_type(message, 0, _HEAD)
            kind = b"" if found is None else found[1]
            act = _ACTS.get(kind)
            if act is None:
                if b"." not in kind:  # not in the head, or the type of something inside the event
                    self._parse(message)
            elif act is _PARSE:
                self._parse(message)
            elif self._turns:
                turn = self._only or self._turn_of(message)
                if turn is None:
                    return
                if act is _AUDIO:
                    turn.hear_audio(len(message))
                else:
                    turn.sound()
                    turn.response.transcript.add_event(message)
            elif act is _TIMED and self._kind == "translations" and self._stretches is not None:
                self._stretches.passed(message)
        except Exception as error:
            faults.caught(error, "seeing an event")

    def raised(self, error: BaseException) -> None:
        """Hears that there was no message; the end of the connection ends what was going on."""
        self.busy = False
        if self._leaving:
            self._end()
        else:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            if "ConnectionClosed" in kinds:
                self._end(None if "ConnectionClosedOK" in kinds else kinds[0])

    def left(self) -> None:
        """Hears that the program has closed the connection; whoever is still receiving hears it too."""
        self._leaving = self.busy
        if not self.busy:
            self._end()

    def _end(self, error_type: str | None = None) -> None:
        """Ends all turns that are going on: the program left, or was left."""
        try:
            self._leaving = False
            for turn in self._asks.drain():
                turn.cut(error_type)
            while self._turns:
                _, turn = self._turns.popitem()
                turn.watchers -= 1
                if turn.watchers <= 0:
                    turn.cut(error_type)
            self._only = None
            if self._stretches is not None:
                self._stretches.end(None)
        except Exception as error:
            faults.caught(error, "ending a connection")

    def _parse(self, message: Any) -> None:
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            return
        if type(event) is dict and type(kind := event.get("type")) is str and (handle := _HANDLERS.get(kind)):
            handle(self, event)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def asked(self, event: object, lane: object = None) -> Turn | None:
        """Sees what the program is about to send: a turn, if it asks for one."""
        try:
            if not isinstance(event, str | bytes):
                return self._ask(fields_of(event), lane)
            # As text, it may be the same on its way down.
            return None if self._asks.sending else self._ask(sent(event), lane)
        except Exception as error:
            faults.caught(error, "seeing a request")
            return None

    def _ask(self, said: Fields, lane: object) -> Turn | None:
        row = {"realtime": REALTIME, "responses": RESPONSE}.get(self._kind)
        if row is None or said.get("type") != "response.create" or not (listeners := self._listen()):
            return None
        body = {"model": self._model} if row is REALTIME else {k: v for k, v in said.items() if k != "type"}
        turn = self._turn(row, listeners, body)
        turn.event_id = _text(said.get("event_id"))
        turn.lane = lane or _text(said.get("stream_id"))
        turn.fresh = True
        turn.open()
        self._asks.add(turn)
        return turn

    def unsent(self, turn: Turn, error: BaseException) -> None:
        """Hears that a request could not be sent."""
        turn.fresh = False
        if isinstance(error, Exception):  # else the program left, and nobody knows whether it was
            self._asks.forget(turn)
            turn.finish(error)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _turn(self, row: Endpoint, listeners: tuple[Readable, ...], body: Mapping[str, Any]) -> Turn:
        turn = Turn(row, listeners, self._provider, self._host, body)
        turn.rate = self._rate
        return turn

    def _new(self, row: Endpoint, model: str | None) -> Turn | None:
        listeners = self._listen()
        return self._turn(row, listeners, {"model": model}) if listeners else None

    def _turn_of(self, message: Any) -> Turn | None:
        """The one of several turns that an event belongs to."""
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            return None
        if type(event) is not dict:
            return None
        return self._of_response(event.get("response_id"), event.get("stream_id") or event.get("delegation_id"))

    def _of_response(self, identity: object, lane: object) -> Turn | None:
        if isinstance(identity, str) and identity:
            return self._turns.get(identity)
        if len(self._turns) == 1:
            return self._only
        return next((turn for turn in self._turns.values() if turn.lane == lane), None)

    def _remove(self, turn: Turn | None) -> None:
        for key in [key for key, one in self._turns.items() if one is turn]:
            del self._turns[key]
        self._only = next(iter(self._turns.values())) if len(self._turns) == 1 else None

    def _begin(self, event: Fields, lane: object, model: str | None) -> None:
        identity = _text(_within(event.get("response"), "id"))
        if identity in self._turns:
            return
        row = REALTIME if self._kind == "realtime" else RESPONSE
        turn = None if self._kind == "live" else self._asks.take(lane)
        if turn is None:
            listeners = self._listen()
            if not listeners:
                return
            turn = None if identity is None else _shared.get((row.name, identity, listeners))
            if turn is not None and not turn.finished:
                turn.watchers += 1
            else:
                turn = self._turn(row, listeners, {"model": model})
                turn.lane = lane
                turn.open()
        row.fold(turn.response, event)  # type: ignore[misc] # both have a folder
        if row is RESPONSE:
            turn.sound()
        else:
            turn.response.model = self._model
        if identity is not None:
            _shared.put((row.name, identity, turn.listeners), turn)
        if len(self._turns) >= _OPEN:
            self._turns.pop(next(iter(self._turns))).cut()
        self._turns[identity or id(turn)] = turn
        self._only = turn if len(self._turns) == 1 else None

    def _finish(self, event: Fields, lane: object, model: str | None) -> None:
        identity = _text(_within(event.get("response"), "id"))
        turn = self._of_response(identity, lane)
        row = REALTIME if self._kind == "realtime" else RESPONSE
        if turn is None:
            # Its beginning was not seen: somebody began to listen in the middle.
            if (turn := self._asks.take(lane) or self._new(row, model)) is None:
                return
        else:
            self._remove(turn)
        row.fold(turn.response, event)  # type: ignore[misc]
        if row is REALTIME:
            turn.response.model = turn.response.model or self._model
        if identity is not None:
            _shared.pop((row.name, identity, turn.listeners))
        turn.finish()

    def on_created(self, event: Fields) -> None:
        """A response begins."""
        self._begin(event, _text(event.get("stream_id")), self._model)

    def on_done(self, event: Fields) -> None:
        """A response has ended."""
        self._finish(event, _text(event.get("stream_id")), self._model)

    def on_nested(self, event: Fields) -> None:
        """A live session passes on what its delegate says."""
        inner = fields_of(event.get("event"))
        kind, lane = inner.get("type"), _text(event.get("delegation_id"))
        if kind == "response.created":
            self._begin(inner, lane, self._delegate)
        elif isinstance(kind, str) and kind in _LAST:
            self._finish(inner, lane, self._delegate)
        elif isinstance(kind, str) and kind.encode() in _ACTS and (turn := self._of_response(None, lane)) is not None:
            turn.response.transcript.add_event(json.dumps(inner).encode())

    def on_decision(self, event: Fields) -> None:
        """A live session passes on a decision."""
        decision = fields_of(_within(event, "event", "decision"))
        turn = self._new(DECISION, None) if decision else None
        if turn is None:
            return
        names = (event.get("trigger_id"), event.get("delegation_id"), event.get("event_id"))
        identity = next((name for name in names if _text(name)), None)
        read_object(turn.response, decision)
        if identity is None or turn.listeners[0].meter._seen_jobs.claim((DECISION.name, str(identity))):
            turn.finish()

    def on_error(self, event: Fields) -> None:
        """The API refuses something, or gives a response up."""
        error = fields_of(event.get("error") or event)
        lane = _text(event.get("stream_id"))
        turn = self._asks.refused(error, lane, ordered=self._kind == "responses")
        if turn is None and self._kind == "responses":
            turn = self._of_response(None, lane)
            self._remove(turn)
        if turn is not None:
            read_object(turn.response, {"error": error})
            turn.finish()

    # --- transcriptions -----------------------------------------------------------------------------------------------

    def on_committed(self, event: Fields) -> None:
        """The program has spoken; its words may be transcribed."""
        if (item := _text(event.get("item_id"))) is not None:
            self._committed.put(item, (time.time(), time.perf_counter()))

    def on_transcribed(self, event: Fields) -> None:
        """A transcription is there, or has failed."""
        turn = self._new(TRANSCRIPTION, self._transcriber)
        if turn is None:
            return
        item = _text(event.get("item_id"))
        if item is not None and (begun := self._committed.pop(item)) is not None:
            turn.since(*begun)
        index = event.get("content_index")
        identity = item and (f"{item}/{index}" if type(index) is int and index else item)
        read_object(turn.response, {"id": identity, "usage": event.get("usage"), "error": event.get("error")})
        turn.finish()

    # --- sessions -----------------------------------------------------------------------------------------------------

    def on_session(self, event: Fields) -> None:
        """The API says what the session is."""
        session = fields_of(event.get("session"))
        self._model = _text(session.get("model")) or self._model
        transcript = _within(session, "audio", "input", "transcription") or session.get("input_audio_transcription")
        self._transcriber = _text(_within(transcript, "model")) or self._transcriber
        self._delegate = _text(_within(session, "delegation", "responses", "model")) or self._delegate
        spoken = _within(session, "audio", "output", "format") or session.get("output_audio_format")
        name = spoken if isinstance(spoken, str) else _text(_within(spoken, "type"))
        if name is not None:
            rate = _within(spoken, "rate")
            per_second = 2 * rate if type(rate) is int and rate > 0 else 48_000
            self._rate = per_second if name in ("audio/pcm", "pcm16") else 8_000
        if self._stretches is not None:
            self._stretches.begin(_text(session.get("id")), self._model)

    def on_seconds(self, event: Fields) -> None:
        """A live session says how long it is by now."""
        if self._stretches is not None:
            self._stretches.grow(seconds(_within(event, "usage", "seconds")))

    def on_closed(self, event: Fields) -> None:
        """A session that is billed by the second has ended."""
        if self._stretches is not None:
            session = fields_of(event.get("session"))
            self._model = _text(session.get("model")) or self._model
            self._stretches.begin(_text(session.get("id")), self._model)
            self._stretches.grow(seconds(_within(event, "usage", "seconds")))
            reason = event.get("reason")
            self._stretches.end("incomplete" if reason == "content" else None if reason == "connection_lost" else "ok")


# --- what is done with an event, by its type --------------------------------------------------------------------------

_LAST = frozenset(
    {"response.done", "response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_HANDLERS: dict[str, Callable[[Watch, Fields], None]] = {
    "response.created": Watch.on_created,
    **dict.fromkeys(_LAST, Watch.on_done),
    "response.event": Watch.on_nested,
    "decision.event": Watch.on_decision,
    "decision.completed": Watch.on_decision,
    "error": Watch.on_error,
    "conversation.item.input_audio_transcription.completed": Watch.on_transcribed,
    "conversation.item.input_audio_transcription.failed": Watch.on_transcribed,
    "input_audio_buffer.committed": Watch.on_committed,
    "session.created": Watch.on_session,
    "session.started": Watch.on_session,
    "session.updated": Watch.on_session,
    "transcription_session.created": Watch.on_session,
    "transcription_session.updated": Watch.on_session,
    "session.usage.updated": Watch.on_seconds,
    "session.closed": Watch.on_closed,
}

_PARSE, _AUDIO, _PIECE, _TIMED = "parse", "audio", "piece", "timed"
_ACTS: dict[bytes, str] = {
    **{kind.encode(): _PARSE for kind in _HANDLERS},
    **{kind.encode(): _PIECE for kind in PIECES},
    b"response.output_audio.delta": _AUDIO,
    b"response.audio.delta": _AUDIO,
    b"session.output_audio.delta": _TIMED,
    b"session.output_transcript.delta": _TIMED,
    b"session.input_transcript.delta": _TIMED,
}
"""What is done with an event of some type; all others are passed over. To read another, add it to ``_HANDLERS``."""
