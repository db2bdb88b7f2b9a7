"""The headers of requests and answers: what is passed on, and the proxy's own.

``x-openai-meter-agent``, ``-operation``, ``-user``, ``-session`` and ``-tag-NAME`` attribute a request;
``x-openai-meter-token`` holds the token of the proxy. They are removed before a request is passed on.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Pairs", "RequestHeaders", "answer_headers", "header", "read_headers"]

Pairs = list[tuple[bytes, bytes]]

_OWN = b"x-openai-meter-"
_TAG = b"tag-"
_SCOPES = frozenset({"agent", "operation", "user", "session"})
_LONGEST = 500
"""Characters of a value at most; a longer one is cut."""
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
     b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
"""Headers of one connection (RFC 9110, section 7.6.1): each of the two connections has its own."""
_NOT_SENT_ON = _HOP_BY_HOP | {b"host", b"expect"}
_OF_HANDSHAKE = b"sec-websocket-"


class RequestHeaders(NamedTuple):
    """The headers of a request, sorted by whom they are for."""

    forwarded: Pairs
    attribution: dict[str, str]
    """What ``tag()`` takes."""
    token: bytes | None

    def has_token(self, token: str) -> bool:
        """Whether the request has the token of the proxy."""
        return self.token is not None and hmac.compare_digest(self.token, token.encode())


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Sorts the headers of a request, whose names are in lower case."""
    pairs = [*headers]
    named = {
        name.strip().lower() for key, value in pairs if key == b"connection" for name in value.split(b",")
    }  # headers that the client declares to be of its connection
    forwarded: Pairs = []
    scope: dict[str, str] = {}
    token = None
    for name, value in pairs:
        if name.startswith(_OWN):
            key, text = name.removeprefix(_OWN), value.decode("utf-8", "replace").strip()[:_LONGEST]
            if key == b"token":
                token = value
            elif text:
                named_tag = key.startswith(_TAG)
                dimension = key.removeprefix(_TAG).decode("ascii", "replace")
                if named_tag is not (dimension in _SCOPES):  # no tag has the name of a dimension
                    scope[dimension] = text
        elif name not in _NOT_SENT_ON and name not in named and not name.startswith(_OF_HANDSHAKE):
            forwarded.append((name, value))
    return RequestHeaders(forwarded, scope, token)


def answer_headers(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """The headers of an answer that are passed on."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header; empty if there is none."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")
