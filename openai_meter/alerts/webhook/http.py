"""One request to a webhook: to a checked address, within a time limit, without redirects.

The name is resolved once, and the connection goes to the address that was checked. So a name whose address changes
between the check and the connection cannot lead elsewhere. TLS is verified for the name. Redirects are not followed,
and proxies of the environment are not used: they would resolve the name again.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from openai_meter.alerts.webhook.addresses import is_public
from openai_meter.alerts.webhook.config import Webhook

__all__ = ["Answer", "NotPostedError", "PrivateAddressError", "post", "prepare"]

_EXCERPT = 1_000
"""Bytes of an answer that are read at most, to be shown."""


class NotPostedError(Exception):
    """There was no answer. The message has the reason, and no secret."""


class PrivateAddressError(NotPostedError):
    """The name has only addresses of private networks."""


class Answer(NamedTuple):
    """The answer of a webhook."""

    status: int
    retry_after: float | None
    """Seconds of pause that it requests before the next attempt."""
    redirect: str | None
    """The host that it redirects to."""
    address: str = ""
    """The address that was connected to."""
    excerpt: str = ""
    """The beginning of its body, if requested."""


def prepare(webhook: Webhook) -> None:
    """Loads the TLS certificates in the caller's thread: a fork would break what another thread is loading."""
    if webhook.parts.scheme == "https":
        _trust()


def post(
    webhook: Webhook, body: bytes, headers: Mapping[str, str], *, patience: float | None = None, excerpt: bool = False
) -> Answer:
    """Posts once.

    Args:
        webhook: where to.
        body: what is posted.
        headers: those of this request; the webhook's own are added.
        patience: seconds that it may take; by default the webhook's ``timeout``. Resolving the name takes as long as
            the system's resolver takes.
        excerpt: whether to read the beginning of the answer's body.

    Raises:
        NotPostedError: there was no answer.
    """
    given = webhook.timeout if patience is None else min(webhook.timeout, patience)
    end = time.monotonic() + given
    try:
        with _connect(webhook, end) as plain:
            address = str(plain.getpeername()[0])
            answer = _exchange(webhook, _secured(webhook, plain, end), body, headers, end, excerpt=excerpt)
            return answer._replace(address=address)
    except TimeoutError:
        raise NotPostedError(f"no answer within {given:g} s") from None
    except socket.gaierror:
        raise NotPostedError("its name cannot be resolved") from None
    except ssl.SSLCertVerificationError as error:
        raise NotPostedError(f"TLS: the certificate is not trusted ({error.verify_message})") from None
    except ssl.SSLError as error:
        raise NotPostedError(f"TLS: {(error.reason or 'the connection failed').lower().replace('_', ' ')}") from None
    except OSError as error:
        raise NotPostedError(error.strerror or type(error).__name__) from None
    except HTTPException as error:  # its message may quote the server
        raise NotPostedError(f"the answer is not HTTP ({type(error).__name__})") from None


def _port(webhook: Webhook) -> int:
    return webhook.parts.port or (443 if webhook.parts.scheme == "https" else 80)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(webhook: Webhook, end: float) -> socket.socket:
    """A connection to the first address that accepts one."""
    found = socket.getaddrinfo(webhook.parts.hostname, _port(webhook), type=socket.SOCK_STREAM)
    allowed = [one for one in found if webhook.private or is_public(str(one[4][0]))]
    if not allowed:
        raise PrivateAddressError(
            "its name has a private address; pass allow_private=True if that is intended, or use the address in the URL"
        )
    failure: OSError = TimeoutError()
    for number, (family, kind, protocol, _, address) in enumerate(allowed):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(end) / (len(allowed) - number))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


@cache
def _trust() -> ssl.SSLContext:
    """What is trusted: the system's authorities (or ``SSL_CERT_FILE``); certifi's where the system has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        with contextlib.suppress(ImportError):
            import certifi  # noqa: PLC0415 - comes with what openai is made of

            context.load_verify_locations(certifi.where())
    return context


def _secured(webhook: Webhook, connection: socket.socket, end: float) -> socket.socket:
    if webhook.parts.scheme != "https":
        return connection
    connection.settimeout(_left(end))
    return _trust().wrap_socket(connection, server_hostname=webhook.parts.hostname)


class _Timed(io.RawIOBase):
    """Reads from a socket until a moment: a timeout per read would not end if a byte comes now and then."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection = connection
        self._end = end

    def makefile(self, *_: object) -> io.BufferedReader:
        """The methods of a socket that ``HTTPResponse`` uses."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_left(self._end))
        return self._connection.recv_into(buffer)


def _exchange(
    webhook: Webhook,
    connection: socket.socket,
    body: bytes,
    headers: Mapping[str, str],
    end: float,
    *,
    excerpt: bool,
) -> Answer:
    with connection:
        connection.settimeout(_left(end))
        request = HTTPConnection(webhook.parts.hostname or "")
        request.sock = connection  # there is a connection: it makes none
        path = (webhook.parts.path or "/") + (f"?{webhook.parts.query}" if webhook.parts.query else "")
        own = {"host": webhook.parts.netloc, "user-agent": "openai-meter", "connection": "close"}
        every = (*own.items(), *headers.items(), *webhook.headers)  # the user's own headers replace others
        request.request("POST", path, body, {name.lower(): value for name, value in every})
        response = HTTPResponse(cast("socket.socket", _Timed(connection, end)), method="POST")
        with response:
            response.begin()
            text = response.read(_EXCERPT).decode("utf-8", "replace") if excerpt else ""
            return Answer(
                response.status,
                _seconds(response.getheader("Retry-After")),
                _host(response.getheader("Location")) if 300 <= response.status < 400 else None,
                excerpt=text,
            )


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header, which holds a number of them, or a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _host(location: str | None) -> str:
    try:
        host = urlsplit(location or "").hostname or ""
    except ValueError:
        host = ""
    return host if host and host.isascii() and host.isprintable() and len(host) < 256 else "elsewhere"
