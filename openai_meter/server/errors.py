"""The errors of the API. Each has the body ``{"error": {"code", "message", "hint"}}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

__all__ = ["CODES", "RequestError", "json_response"]

CODES: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "A parameter is not valid; the message names it and the values that are."),
    401: ("token_needed", "The token is missing or wrong: send `Authorization: Bearer TOKEN`."),
    403: ("refused", "The request comes from another site, or from another machine while no token is set."),
    404: ("not_found", "There is nothing under this path."),
    405: ("method_not_allowed", "The path does not have this method; the header `Allow` names those it has."),
    409: ("not_possible", "The source of the figures cannot be changed in this way."),
    413: ("too_large", "The body of the request is too large."),
    421: ("wrong_host", "The header `Host` is not one of the names of this server."),
    500: ("fault", "A fault inside openai_meter; the log of the server says more."),
    503: (
        "not_available",
        "Not available now: the ledger cannot be reached, a package is missing, or too many streams are open.",
    ),
}
"""The statuses of errors, each with the code in the body and its meaning."""


class RequestError(Exception):
    """An error to send as the answer to a request.

    Args:
        status: the status of the answer; one of :data:`CODES`.
        message: what is wrong, with the value.
        hint: what to do; default: the meaning of the status.
        headers: further headers of the answer.
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
    """An answer in JSON. ``<``, ``>`` and ``&`` are escaped: no browser can read the body as markup."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Response(text, status, headers and dict(headers), media_type="application/json")
