"""Limits on connections: slow and silent clients are closed, so that other clients are always answered.

uvicorn closes a connection that is idle after a response. It waits without limit for the first request of a
connection, for the rest of a request, and for a client that does not read its response. This protocol adds those
limits, and a limit on the number of connections: beyond it, the one that has waited longest for its client is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["LIMITS", "Limits", "limited_protocol"]


class Limits(NamedTuple):
    """The limits of a server."""

    idle: float = 5.0
    """Seconds until the first byte of a request."""
    head: float = 10.0
    """Seconds for the head of a request, from its first byte."""
    body: float = 10.0
    """Seconds for the body of a request, from the end of its head."""
    write: float = 30.0
    """Seconds in which a client that is sent a response has to read some of it."""
    send_buffer: int = 262_144
    """Bytes of a response that the system keeps for a client; a larger buffer hides that a client does not read."""
    connections: int = 200
    """Open connections, before those that wait for their clients are closed."""


LIMITS = Limits()


class _Waiting:
    """The connections of a server that wait for their clients, in the order in which they began to wait."""

    def __init__(self) -> None:
        self._connections: dict[LimitedProtocol, None] = {}

    def add(self, connection: LimitedProtocol) -> None:
        self._connections.pop(connection, None)
        self._connections[connection] = None

    def discard(self, connection: LimitedProtocol) -> None:
        self._connections.pop(connection, None)

    def close_longest(self, keep: LimitedProtocol) -> None:
        """Closes the connection that has waited longest, if there is another one than ``keep``."""
        for connection in self._connections:
            if connection is not keep:
                del self._connections[connection]
                connection.transport.abort()
                return


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol with limits. Runs in the event loop of the server only."""

    limits: Limits
    waiting: _Waiting

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._phase: str | None = None
        self._phase_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts to wait for the first request."""
        super().connection_made(transport)
        self._enter("idle")
        if len(self.connections) > self.limits.connections:
            self.waiting.close_longest(self)

    def data_received(self, data: bytes) -> None:
        """Reads data, and starts, goes on with, or ends the wait for the rest of a request."""
        before = self.cycle
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._enter("body", again=self.cycle is not before)
        elif state is h11.IDLE:
            # Without bytes left, this was the end of a body that came after the response: uvicorn has no limit then.
            self._enter("head" if self.conn.trailing_data[0] else "idle")
        else:
            self._enter(None)
            self.waiting.discard(self)

    def on_response_complete(self) -> None:
        """Ends the request. uvicorn's own limit holds until the next one starts."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._enter(None)
            self.waiting.add(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        super().pause_writing()
        self._watch_writing(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has read most of what was written."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends all timers."""
        super().connection_lost(exc)
        self._enter(None)
        self._stop_watching()

    def _enter(self, phase: str | None, *, again: bool = False) -> None:
        """Starts the time limit of a phase. A phase that goes on keeps its limit, however many bytes come."""
        if phase == self._phase and not again:
            return
        if self._phase_timer is not None:
            self._phase_timer.cancel()
        self._phase, self._phase_timer = phase, None
        self.waiting.discard(self)
        if phase is not None:
            self.waiting.add(self)
            self._phase_timer = self.loop.call_later(getattr(self.limits, phase), self.transport.abort)

    def _watch_writing(self, unread: int) -> None:
        self._stop_watching()
        self._write_timer = self.loop.call_later(self.limits.write, self._check_writing, unread)

    def _check_writing(self, unread: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= unread:
            self.transport.abort()
        else:
            self._watch_writing(left)

    def _stop_watching(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def limited_protocol(limits: Limits) -> type[LimitedProtocol]:
    """The protocol class for one server: its connections share their limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"limits": limits, "waiting": _Waiting()})
