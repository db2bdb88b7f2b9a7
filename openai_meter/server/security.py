"""The checks of each request (host, client address, token, origin), and the security headers of each answer.

Without a token, a request is answered only if it comes from this machine and names this machine as its host. The second
condition stops DNS rebinding: a page of another site whose name resolves to 127.0.0.1. With a token, a request may come
from anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from openai_meter.core import settings
from openai_meter.errors import ConfigurationError
from openai_meter.server.errors import RequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PAGE_POLICY", "TOKEN", "Guard", "checked_token", "is_loopback", "parse_host"]

TOKEN = settings.variable("token")
_MIN_TOKEN = 8

# The hash is that of an empty <style> element: the chart library adds one and fills it by script.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of pages: only files of this server, no inline script or style."""
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_WITHOUT_TOKEN = frozenset({"/", "/dashboard", "/healthz"})
"""Paths that need no token because they show no figures: the page (which asks for the token) and the health check."""
_FILES = "/static/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_BODY = 16_384
"""Bytes of a request body. No route needs one."""


def checked_token(token: str | Literal[False] | None) -> str | None:
    """The token of a setting; ``None`` stands for ``OPENAI_METER_TOKEN``, if that is set.

    Raises:
        ConfigurationError: the token is not a text, is too short, or has characters that a header cannot hold.
    """
    secret = settings.get("token") if token is None else token
    if secret is None or secret is False:
        return None
    if (
        not isinstance(secret, str)
        or len(secret) < _MIN_TOKEN
        or not all("!" <= character <= "~" for character in secret)
    ):
        raise ConfigurationError(
            f"the token ({TOKEN}) must be at least {_MIN_TOKEN} ASCII characters without spaces; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return secret


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without brackets, is this machine: ``localhost`` or a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if "%" in host:  # a zone may be any text: "::1%evil" is not an address of this machine
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Guard:
    """Middleware that passes a request to the application, or answers it with an error.

    Args:
        app: the application.
        token: the token that requests send as ``Authorization: Bearer``; ``None`` for no token; ``False`` if an
            application around this one has checked the request already.
        allowed_hosts: the host names that are answered besides those of this machine; ``*`` allows all. Default: all
            with a token, none without.
    """

    def __init__(self, app: ASGIApp, token: str | Literal[False] | None, allowed_hosts: Iterable[str] | None) -> None:
        self._app = app
        self._unchecked = token is False
        self._token = _digest(token) if token else None
        self._hosts = None if allowed_hosts is None else frozenset(parse_host(host) or host for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks and passes on one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
            await send(message)

        try:
            self._check(scope)
        except RequestError as error:
            await error.response()(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_client(scope)
        self._check_token(headers, scope)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > _MAX_BODY:
            raise RequestError(413, f"the body has {length[:20]} bytes; send at most {_MAX_BODY}")
        if scope["method"] not in _SAFE:
            _check_origin(headers)

    def _check_host(self, headers: Headers) -> None:
        values = headers.getlist("host")
        host = parse_host(values[0]) if len(values) == 1 else None
        if host is None:
            raise RequestError(421, "the request needs one valid Host header")
        known = self._hosts
        if known is None:
            known = frozenset({"*"}) if self._token or self._unchecked else frozenset()
        if "*" in known or host in known or is_loopback(host):
            return
        raise RequestError(
            421,
            "the Host header is not one of the names of this server",
            "Use localhost, or allow the name: create_app(allowed_hosts=[...]), openai-meter serve --allow-host.",
        )

    def _check_client(self, scope: Scope) -> None:
        client = scope.get("client")
        if self._token or self._unchecked or not client:
            return
        try:
            ipaddress.ip_address(client[0])
        except ValueError:  # not a network address: a Unix socket, a test client
            return
        if not is_loopback(client[0]):
            raise RequestError(
                403,
                "without a token, only requests from this machine are answered",
                f"Set {TOKEN} where the server runs.",
            )

    def _check_token(self, headers: Headers, scope: Scope) -> None:
        path = _below_root(scope)
        if self._token is None or path in _WITHOUT_TOKEN or path.startswith(_FILES):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(token.strip()), self._token):
            raise RequestError(401, "the token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})


def _digest(token: str) -> bytes:
    # Digests have one length, so the time of the comparison does not depend on the length of the token.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _below_root(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def parse_host(value: str) -> str | None:
    """The host of a Host header in lower case, without port and brackets; ``None`` if the header is not valid.

    The grammar is a strict part of RFC 3986 (3.2.2): a DNS name or an IPv4 address, or an IPv6 address in brackets
    without a zone; then, optionally, a port. ``urlsplit`` is not used: it takes ``[::1].evil`` for ``::1``.
    """
    match = _HOST.fullmatch(value) if len(value) <= _MAX_HOST else None
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return None
    if match["ipv6"] is None:
        return match["name"].lower()
    try:
        return str(ipaddress.IPv6Address(match["ipv6"]))
    except ValueError:
        return None


_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*\.?)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?",
    re.ASCII | re.IGNORECASE,
)
_MAX_HOST = 300
_MAX_PORT = 65_535


def _netloc(origin: str) -> str | None:
    """The host and port of an origin in lower case; ``None`` if it is not a valid origin."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _check_origin(headers: Headers) -> None:
    """Refuses a request that a page of another site sent, by the headers Sec-Fetch-Site, Origin and Content-Type."""
    if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise RequestError(403, "the request comes from another site")
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != headers["host"].lower():
        raise RequestError(403, "the request comes from another site")
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(
            403, f"the Content-Type {kind[:60]!r} is that of a form", "Send no body, or Content-Type: application/json."
        )


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else _POLICY)
