"""What is wrong with a request, as the API says it: ``{"error": {"code", "message", "hint"}}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

__all__ = ["CODES", "RequestError", "json_response"]

CODES: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "A parameter cannot be used; the message says which, and what would do."),
    401: ("token_needed", "The token is missing or wrong: send `Authorization: Bearer TOKEN`."),
    403: ("refused", "The request comes from another site, or from another machine while there is no token."),
    404: ("not_found", "There is nothing under this address."),
    405: ("method_not_allowed", "The address has another method; the header `Allow` names it."),
    409: ("not_possible", "What is served cannot be changed like that."),
    413: ("too_large", "The body of the request is too large."),
    421: ("wrong_host", "The header `Host` names a host that this server is not known by."),
    500: ("fault", "A fault inside openai_meter; the log of the server says more."),
    503: ("not_available", "It cannot be had now: the ledger is away, a package is missing, or too many listen."),
}
"""The statuses that an error can have: the code in its body, and what it means."""


class RequestError(Exception):
    """A request that is answered by an error.

    Args:
        status: the status of the answer; one of :data:`CODES`.
        message: what is wrong.
        hint: what to do about it.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, message: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint or CODES[status][1]
        self.headers = headers

    def response(self) -> Response:
        """The answer."""
        error = {"code": CODES[self.status][0], "message": self.message, "hint": self.hint}
        return json_response({"error": error}, self.status, self.headers)


def json_response(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in JSON. What a browser could take for markup is escaped, whatever it takes the answer for."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Response(text, status, headers and dict(headers), media_type="application/json")
