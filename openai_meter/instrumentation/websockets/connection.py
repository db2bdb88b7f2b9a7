"""The state of one connection: its turns, its transcriptions, and the seconds of its session.

Everything here is synchronous and runs on the caller's path, once for each event. Of an event, the type is searched for
in its bytes. The type decides whether the event is parsed (few are), counted by its size (audio), kept for an estimate
(pieces of text), or ignored. An event that is malformed or unknown is ignored.
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
from openai_meter.instrumentation.websockets.timed import TimedSessions
from openai_meter.instrumentation.websockets.turn import (
    DECISION,
    LIVE,
    PIECES,
    REALTIME,
    RESPONSE,
    SUMMARIES,
    TRANSCRIPTION,
    TRANSLATION,
    RequestedTurns,
    Turn,
    parse_request,
)
from openai_meter.metering.meter import Readable
from openai_meter.usage.endpoints import Endpoint
from openai_meter.usage.response_headers import NO_HEADERS
from openai_meter.usage.responses import Fields, read_object

__all__ = ["ConnectionWatcher"]

_HEAD = 512
"""The number of bytes of an event in which its type is searched for."""
_find_type = re.compile(rb'"type": ?"([a-z_.]{1,100})"').search
_OPEN = 100
"""The number of turns of one connection that may be going on."""

_shared: Bounded[tuple[str, str, tuple[Readable, ...]], Turn] = Bounded(1_000)
"""Turns that are going on, for a second connection that receives their events too."""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _within(fields: object, *names: str) -> object:
    for name in names:
        fields = fields_of(fields).get(name)
    return fields


class ConnectionWatcher:
    """Follows the messages that are sent and received over one connection.

    Args:
        kind: ``realtime``, ``responses``, ``translations`` or ``live``.
        listen: returns the present listeners.
        provider: ``openai``, ``azure`` or a host.
        host: the host that answers.
        model: the model in the URL that the connection was opened with, if there is one.
    """

    __slots__ = (
        "_committed", "_delegate", "_host", "_kind", "_leaving", "_listen", "_model", "_only", "_provider",
        "_rate", "_requested", "_timed", "_transcriber", "_turns", "headers", "receiving",
    )  # fmt: skip

    def __init__(
        self, kind: str, listen: Callable[[], tuple[Readable, ...]], provider: str, host: str, model: str | None
    ) -> None:
        self.receiving = False
        """Whether a message is being received: a wrapper inside another one does nothing."""
        self._kind = kind
        self._listen = listen
        self._provider = provider
        self._host = host
        self._model = model
        self.headers = NO_HEADERS
        """The values of its records that come from the answer to the handshake."""
        self._transcriber: str | None = None
        self._delegate: str | None = None
        self._rate = 48_000
        self._requested = RequestedTurns()
        self._turns: dict[object, Turn] = {}
        self._only: Turn | None = None
        self._committed: Bounded[str, tuple[float, float]] = Bounded(100)
        self._leaving = False
        row = {"live": LIVE, "translations": TRANSLATION}.get(kind)
        self._timed = None if row is None else TimedSessions(row, listen, provider, host)

    def __del__(self) -> None:
        if self._timed is not None:
            self._timed.collected()
        self._end()

    # --- what comes in ------------------------------------------------------------------------------------------------

    def received(self, message: Any) -> None:
        """Reads a message that the caller is about to get."""
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
                    turn.add_audio(len(message))
                else:
                    turn.add_piece(kind, message)
            elif act is _TIMED and self._kind == "translations" and self._timed is not None:
                self._timed.read_elapsed(message)
        except Exception as error:
            faults.caught(error, "reading an event of a connection")

    def on_receive_error(self, error: BaseException) -> None:
        """Called when receiving has raised an error. If the connection is closed, all open turns end."""
        self.receiving = False
        if self._leaving:
            self._end()
        else:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            if "ConnectionClosed" in kinds:
                self._end(None if "ConnectionClosedOK" in kinds else kinds[0])

    def on_close(self) -> None:
        """Called when the program has closed the connection; a thread that is still receiving gets an error."""
        self._leaving = self.receiving
        if not self.receiving:
            self._end()

    def _end(self, error_type: str | None = None) -> None:
        """Ends all turns that are going on: the connection is closed."""
        try:
            self._leaving = False
            for turn in self._requested.drain():
                turn.abort(error_type)
            while self._turns:
                _, turn = self._turns.popitem()
                turn.connections -= 1
                if turn.connections <= 0:
                    turn.abort(error_type)
            self._only = None
            if self._timed is not None:
                self._timed.end(None)
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

    def on_send(self, event: object, lane: object = None) -> Turn | None:
        """Reads what the program is about to send; returns the turn that it requests, if it does."""
        try:
            if not isinstance(event, str | bytes):
                return self._request(fields_of(event), lane)
            # As text, it may be the same request on its way through the SDK's inner method.
            return None if self._requested.is_sending else self._request(parse_request(event), lane)
        except Exception as error:
            faults.caught(error, "reading a request of a connection")
            return None

    def _request(self, request: Fields, lane: object) -> Turn | None:
        row = {"realtime": REALTIME, "responses": RESPONSE}.get(self._kind)
        if row is None or request.get("type") != "response.create" or not (listeners := self._listen()):
            return None
        body = {"model": self._model} if row is REALTIME else {k: v for k, v in request.items() if k != "type"}
        turn = self._turn(row, listeners, body)
        turn.event_id = _text(request.get("event_id"))
        turn.lane = lane or _text(request.get("stream_id"))
        turn.is_sending = True
        turn.open()
        self._requested.add(turn)
        return turn

    def on_send_error(self, turn: Turn, error: BaseException) -> None:
        """Called when sending a request has raised an error."""
        turn.is_sending = False
        if isinstance(error, Exception):  # else the program was interrupted, and it may have been sent
            self._requested.remove(turn)
            turn.finish(error)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _turn(self, row: Endpoint, listeners: tuple[Readable, ...], body: Mapping[str, Any]) -> Turn:
        turn = Turn(row, listeners, self._provider, self._host, body)
        turn.rate = self._rate
        turn.response.headers = self.headers
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
        for key in [key for key, other in self._turns.items() if other is turn]:
            del self._turns[key]
        self._only = next(iter(self._turns.values())) if len(self._turns) == 1 else None

    def _begin(self, event: Fields, lane: object, model: str | None) -> None:
        identity = _text(_within(event.get("response"), "id"))
        if identity in self._turns:
            return
        row = REALTIME if self._kind == "realtime" else RESPONSE
        turn = None if self._kind == "live" else self._requested.take(lane)
        if turn is None:
            listeners = self._listen()
            if not listeners:
                return
            turn = None if identity is None else _shared.get((row.name, identity, listeners))
            if turn is not None and not turn.finished:
                turn.connections += 1
            else:
                turn = self._turn(row, listeners, {"model": model})
                turn.lane = lane
                turn.open()
        row.fold(turn.response, event)  # type: ignore[misc] # both have a folder
        if row is RESPONSE:
            turn.mark_answered()
        else:
            turn.response.model = self._model
        if identity is not None:
            _shared.put((row.name, identity, turn.listeners), turn)
        if len(self._turns) >= _OPEN:
            self._turns.pop(next(iter(self._turns))).abort()
        self._turns[identity or id(turn)] = turn
        self._only = turn if len(self._turns) == 1 else None

    def _finish(self, event: Fields, lane: object, model: str | None) -> None:
        identity = _text(_within(event.get("response"), "id"))
        turn = self._of_response(identity, lane)
        row = REALTIME if self._kind == "realtime" else RESPONSE
        if turn is None:
            # Its start was not observed: the listener was added later.
            if (turn := self._requested.take(lane) or self._new(row, model)) is None:
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
        """An event of a live session that contains an event of its delegate."""
        inner = fields_of(event.get("event"))
        kind, lane = inner.get("type"), _text(event.get("delegation_id"))
        if kind == "response.created":
            self._begin(inner, lane, self._delegate)
        elif isinstance(kind, str) and kind in _LAST:
            self._finish(inner, lane, self._delegate)
        elif isinstance(kind, str) and kind.encode() in _ACTS and (turn := self._of_response(None, lane)) is not None:
            turn.response.transcript.add_event(json.dumps(inner).encode())

    def on_decision(self, event: Fields) -> None:
        """An event of a live session that contains a decision."""
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
        """The API has refused a request, or has given up a response."""
        error = fields_of(event.get("error") or event)
        lane = _text(event.get("stream_id"))
        turn = self._requested.take_refused(error, lane, ordered=self._kind == "responses")
        if turn is None and self._kind == "responses":
            turn = self._of_response(None, lane)
            self._remove(turn)
        if turn is not None:
            read_object(turn.response, {"error": error})
            turn.finish()

    # --- transcriptions -----------------------------------------------------------------------------------------------

    def on_committed(self, event: Fields) -> None:
        """Spoken input is complete; it may be transcribed."""
        if (item := _text(event.get("item_id"))) is not None:
            self._committed.put(item, (time.time(), time.perf_counter()))

    def on_transcribed(self, event: Fields) -> None:
        """A transcription has ended or failed."""
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
        """The settings of the session."""
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
        if self._timed is not None:
            self._timed.begin(_text(session.get("id")), self._model)

    def on_seconds(self, event: Fields) -> None:
        """The seconds of a live session so far."""
        if self._timed is not None:
            self._timed.grow(seconds(_within(event, "usage", "seconds")))

    def on_closed(self, event: Fields) -> None:
        """A session that is billed by the second has ended."""
        if self._timed is not None:
            session = fields_of(event.get("session"))
            self._model = _text(session.get("model")) or self._model
            self._timed.begin(_text(session.get("id")), self._model)
            self._timed.grow(seconds(_within(event, "usage", "seconds")))
            reason = event.get("reason")
            self._timed.end("incomplete" if reason == "content" else None if reason == "connection_lost" else "ok")


# --- what is done with an event, by its type --------------------------------------------------------------------------

_LAST = frozenset(
    {"response.done", "response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_HANDLERS: dict[str, Callable[[ConnectionWatcher, Fields], None]] = {
    "response.created": ConnectionWatcher.on_created,
    **dict.fromkeys(_LAST, ConnectionWatcher.on_done),
    "response.event": ConnectionWatcher.on_nested,
    "decision.event": ConnectionWatcher.on_decision,
    "decision.completed": ConnectionWatcher.on_decision,
    "error": ConnectionWatcher.on_error,
    "conversation.item.input_audio_transcription.completed": ConnectionWatcher.on_transcribed,
    "conversation.item.input_audio_transcription.failed": ConnectionWatcher.on_transcribed,
    "input_audio_buffer.committed": ConnectionWatcher.on_committed,
    "session.created": ConnectionWatcher.on_session,
    "session.started": ConnectionWatcher.on_session,
    "session.updated": ConnectionWatcher.on_session,
    "transcription_session.created": ConnectionWatcher.on_session,
    "transcription_session.updated": ConnectionWatcher.on_session,
    "session.usage.updated": ConnectionWatcher.on_seconds,
    "session.closed": ConnectionWatcher.on_closed,
}

_PARSE, _AUDIO, _PIECE, _TIMED = "parse", "audio", "piece", "timed"
_ACTS: dict[bytes, str] = {
    **{kind.encode(): _PARSE for kind in _HANDLERS},
    **{kind.encode(): _PIECE for kind in (*PIECES, *SUMMARIES)},
    b"response.output_audio.delta": _AUDIO,
    b"response.audio.delta": _AUDIO,
    b"session.output_audio.delta": _TIMED,
    b"session.output_transcript.delta": _TIMED,
    b"session.input_transcript.delta": _TIMED,
}
"""The handlers of events, by type; all others are ignored. To read another, add it to ``_HANDLERS``."""
