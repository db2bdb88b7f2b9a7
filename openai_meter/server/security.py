"""Who may ask: hosts, tokens, other sites. And what every answer says to a browser.

Without a token, only this machine is answered, and only under its own names: a page elsewhere whose name has been
pointed at this machine (DNS rebinding) is a stranger. With one, whoever has it may ask from anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from openai_meter.core import settings
from openai_meter.errors import ConfigurationError
from openai_meter.server.errors import RequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["PAGE_POLICY", "TOKEN", "Guard", "checked_token", "is_loopback"]

TOKEN = settings.variable("token")
_SHORTEST = 8

# The hash is that of an empty style element, which the chart library makes to fill it by script.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; "
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of pages: everything from this server, nothing inline."""
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OPEN = frozenset({"/", "/dashboard", "/healthz"})
"""Where no token is needed, as there are no figures: pages that ask for one, and whether the server lives."""
_FILES = "/static/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY = 16_384
"""Bytes of a body at most; no route needs one."""


def checked_token(token: str | Literal[False] | None) -> str | None:
    """A token from a setting; ``None`` is that of ``OPENAI_METER_TOKEN``, if there is one.

    Raises:
        ConfigurationError: it is no text, too short, or cannot stand in a header.
    """
    said = settings.get("token") if token is None else token
    if said is None or said is False:
        return None
    if not isinstance(said, str) or len(said) < _SHORTEST or not all("!" <= character <= "~" for character in said):
        raise ConfigurationError(
            f"the token ({TOKEN}) has to be at least {_SHORTEST} ASCII characters without spaces; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe())"'
        )
    return said


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, by its name or its address."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Guard:
    """Lets a request through to an application, or answers it with an error.

    Args:
        app: the application.
        token: what has to be sent as ``Authorization: Bearer``; ``None`` for no token; ``False`` if something around
            this has looked at the request already.
        allowed_hosts: the names that the server is known by besides those of this machine; ``*`` is any. By default
            any with a token, none without.
    """

    def __init__(self, app: ASGIApp, token: str | Literal[False] | None, allowed_hosts: Iterable[str] | None) -> None:
        self._app = app
        self._open = token is False
        self._token = _digest(token) if token else None
        self._hosts = None if allowed_hosts is None else frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message))
            await send(message)

        try:
            self._look(scope)
        except RequestError as error:
            await error.response()(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _look(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._look_at_host(headers)
        self._look_at_peer(scope)
        self._look_at_token(headers, scope)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > _BODY:
            raise RequestError(413, f"the body has {length[:20]} bytes; {_BODY} are the most")
        if scope["method"] not in _SAFE:
            _look_at_site(headers)

    def _look_at_host(self, headers: Headers) -> None:
        values = headers.getlist("host")
        host = _hostname(values[0]) if len(values) == 1 else None
        if host is None:
            raise RequestError(421, "the request has no usable Host header")
        known = self._hosts
        if known is None:
            known = frozenset({"*"}) if self._token or self._open else frozenset()
        if "*" in known or host in known or is_loopback(host):
            return
        raise RequestError(
            421,
            "this server is not known by that host",
            "Ask for localhost, or name the host: create_app(allowed_hosts=[...]), openai-meter serve --allow-host.",
        )

    def _look_at_peer(self, scope: Scope) -> None:
        client = scope.get("client")
        if self._token or self._open or not client:
            return
        try:
            ipaddress.ip_address(client[0])
        except ValueError:  # no network: a socket file, a test
            return
        if not is_loopback(client[0]):
            raise RequestError(
                403, "without a token, only this machine is answered", f"Set {TOKEN} where the server runs."
            )

    def _look_at_token(self, headers: Headers, scope: Scope) -> None:
        path = _below_root(scope)
        if self._token is None or path in _OPEN or path.startswith(_FILES):
            return
        scheme, _, said = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(said.strip()), self._token):
            raise RequestError(401, "the token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})


def _digest(token: str) -> bytes:
    # Of one length whatever is sent, so that the comparison tells nothing of the token's.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _below_root(scope: Scope) -> str:
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _hostname(value: str) -> str | None:
    """The host of a Host header without its port, in lower case; ``None`` if it is none."""
    if not value or len(value) > 300 or not value.isascii() or any(one in value for one in "/\\@?# \t,"):
        return None
    try:
        parts = urlsplit(f"//{value}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def _netloc(origin: str) -> str | None:
    """The host and port of an origin, in lower case; ``None`` if it is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _look_at_site(headers: Headers) -> None:
    """Refuses what a page of another site has sent, as browsers tell: by Sec-Fetch-Site, Origin and the type."""
    if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        raise RequestError(403, "the request comes from another site")
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != headers["host"].lower():
        raise RequestError(403, "the request comes from another site")
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(403, "the body is that of a form", "Send no body, or Content-Type: application/json.")


def _add_headers(headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    page = headers.get("content-type", "").startswith("text/html")
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else _POLICY)
