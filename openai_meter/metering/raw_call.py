"""A call that is metered by its HTTP traffic: the bytes of its request and of its answer.

No client of the openai package takes part. :func:`begin_raw_call` reads a request. :meth:`RawCall.answered` takes the
status and headers of the answer, and an :class:`AnswerReader` its bytes, as they pass. Everything else is as for every
call: the same readers, the same record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.core.usage import fields_of
from openai_meter.metering.attribution import Surroundings
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.metering.readable import Readable
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers
from openai_meter.usage.bodies import Body, body_reader
from openai_meter.usage.decompression import Decoder, DecompressionError, decoder, names_codings
from openai_meter.usage.endpoints import find
from openai_meter.usage.request_bodies import request_fields
from openai_meter.usage.response_headers import header_facts, read_pairs

__all__ = ["AnswerReader", "RawCall", "RefusedRequest", "begin_raw_call", "read_whole"]


class RefusedRequest(Exception):  # noqa: N818 - the classes made of it have the names of the SDK's
    """An answer with an HTTP status of 400 or more, in place of the exception that the SDK would raise."""

    def __init__(self, status: int, code: str | None) -> None:
        super().__init__()
        self.status_code = status
        self.code = code


_REFUSALS: Mapping[int, type[RefusedRequest]] = {
    status: type(name, (RefusedRequest,), {})
    for status, name in (
        (400, "BadRequestError"), (401, "AuthenticationError"), (403, "PermissionDeniedError"), (404, "NotFoundError"),
        (409, "ConflictError"), (422, "UnprocessableEntityError"), (429, "RateLimitError"),
    )
}  # fmt: skip
"""The names under which errors are recorded: those of the SDK, so that both ways of calling have the same."""
_SERVER_ERROR = type("InternalServerError", (RefusedRequest,), {})
_OTHER_ERROR = type("APIStatusError", (RefusedRequest,), {})


def _refusal(status: int, code: str | None) -> RefusedRequest:
    return _REFUSALS.get(status, _SERVER_ERROR if status >= 500 else _OTHER_ERROR)(status, code)


class RawCall(CallInFlight):
    """A call in flight whose answer passes as bytes."""

    __slots__ = ("code", "http_status", "request")

    code: str | None
    """The code in the body of an error."""
    http_status: int | None
    request: Mapping[str, Any] | None
    """The fields of the request, until its budgets have admitted it."""

    def answered(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Takes the status of the answer, and what a record and a price take over from its headers."""
        self.http_status = status
        pairs = [*headers]
        self.response.headers = read_pairs(pairs)
        if not providers.answers_itself(self.host) and (facts := header_facts(pairs)):
            self.response.facts = {**self.response.facts, **facts}

    def read_response(self, answer: object) -> None:
        """Reads a whole answer. Of an error, only its code is read."""
        if self.http_status is None or self.http_status < 400:
            super().read_response(answer)
            return
        code = fields_of(fields_of(answer).get("error")).get("code")
        self.code = code if isinstance(code, str) else None

    def finish(self, error: BaseException | None = None, *, whole: bool = True) -> None:
        """Ends the call; only the first time counts. A redirect leaves no record: it is not an answer of the API."""
        status = self.http_status
        if error is None and status is not None and status >= 300:
            if status < 400:
                self.drop()
                return
            error = _refusal(status, self.code)
        super().finish(error, whole=whole)


def begin_raw_call(
    method: str,
    url: str,
    content_type: str,
    body: object,
    *,
    listeners: tuple[Readable, ...],
    provider: str,
    host: str,
    around: Surroundings | None = None,
) -> RawCall | None:
    """Begins to meter a request that is about to be sent.

    Args:
        method: the HTTP method.
        url: the URL, or its path with the query.
        content_type: the value of that header.
        body: the body as bytes or text; its fields, where they are known already; ``None`` where it cannot be read.
        listeners: the meters and blocks that take the record.
        provider: ``openai``, ``azure`` or a host.
        host: the host that the request goes to.
        around: the surroundings of the call; by default, those of now.

    Returns:
        The call, or ``None`` where nothing listens, and for a request that is free.
    """
    row = find(method, url) if listeners else None
    if row is None:
        return None
    prepare()
    fields = body if isinstance(body, Mapping) else request_fields(content_type, body)
    stream = fields.get("stream") is True or (row.role == "poll" and "stream=true" in urlsplit(url).query)
    call = RawCall(row, listeners, provider, host, fields, stream=stream, around=around)
    call.code = call.http_status = None
    call.request = fields if Budgeting.active else None
    if call.requested_model is None and (deployment := _deployment(url)) is not None:
        call.requested_model = deployment[1]
    return call


_deployment = re.compile(r"/deployments/([^/]+)/").search


class AnswerReader:
    """Reads the bytes of an answer as they pass. What it keeps of them is bounded; it never raises.

    Args:
        call: the call that is answered.
        content_type: the value of the header ``Content-Type``.
        encoding: the value of ``Content-Encoding``; empty where the bytes are decompressed already.
    """

    __slots__ = ("_body", "_decoder", "call")

    def __init__(self, call: RawCall, content_type: str, encoding: str = "") -> None:
        self.call = call
        self._body: Body | None = body_reader(call, content_type)
        self._decoder: Decoder | None = None
        encoding = encoding.strip().lower()
        if encoding and encoding != "identity":
            self._decoder = decoder(encoding)
            call.response.unreadable = not names_codings(encoding)  # what can be read of it counts all the same
            if self._decoder is None:
                self._body = None
                call.response.unreadable = True

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        body = self._body
        if body is None or not data:
            return
        try:
            if self._decoder is None:
                body.feed(data)
                return
            for piece in self._decoder.feed(data):
                body.feed(piece)
        except DecompressionError:  # a broken body raises in the program's own reader
            self.call.response.unreadable = True
            self._end_body()
        except Exception as error:
            faults.caught(error, "reading a body")

    def end(self, error: BaseException | None = None, *, whole: bool = True) -> None:
        """Ends the call; only the first time counts.

        Args:
            error: what the program was given in place of the next bytes.
            whole: whether the answer has come to its end.
        """
        if self.call.finished:
            return
        self._end_body()
        self.call.finish(error, whole=whole and error is None)

    def closed(self) -> None:
        """Ends the call where the program has dropped the answer before its end."""
        self.end(whole=False)

    def _end_body(self) -> None:
        body, self._body = self._body, None
        try:
            if body is not None:
                body.end()
        except Exception as error:
            faults.caught(error, "reading a body")


def read_whole(call: RawCall, data: bytes, content_type: str) -> None:
    """Reads an answer that the program has as a whole, decompressed, and ends the call."""
    reader = AnswerReader(call, content_type)
    reader.feed(data)
    reader.end()
