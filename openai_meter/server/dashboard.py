"""The dashboard: one page, its own scripts and styles, and the script of the installed ``plotly`` package.

The page holds no figures: its scripts ask the API for them. To add a script or a style, put it into ``static/``.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from openai_meter.core.locale import Messages, language, languages
from openai_meter.errors import MissingExtraError
from openai_meter.server.time_windows import PERIODS

if TYPE_CHECKING:
    from jinja2 import Template
    from starlette.requests import Request

__all__ = ["AREAS", "GROUPS", "routes"]

GROUPS: tuple[str, ...] = ("model", "agent", "operation", "user", "session", "endpoint", "provider", "tag")
"""What the page groups by, in the order in which it offers it."""

_HERE = Path(__file__).parent
AREAS = ("page", "row", "dimension", "by", "column", "table", "unit", "bill", "reason", "prices", "calls", "separator")
"""The areas of the messages that the scripts of the page speak from."""
_TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_CHARTS = "plotly.min.js"
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


class _File(NamedTuple):
    body: bytes
    packed: bytes
    """The same, compressed by gzip."""
    kind: str
    etag: str


def routes(speak: Callable[[str | None, str], Messages], *, token_needed: bool) -> list[Route]:
    """The routes of the page and of its files.

    Args:
        speak: chooses a language by the one that the address asks for, and by ``Accept-Language``.
        token_needed: whether the API wants a token; then the page asks for it before it asks the API.

    Raises:
        MissingExtraError: Jinja2 or plotly is not installed.
    """
    _plotly()
    template = _template()

    def page(request: Request) -> Response:
        asked = request.query_params.get("lang")
        m = speak(asked if asked in languages() else None, request.headers.get("accept-language", ""))
        html = template.render(
            m=m,
            catalog=m.areas(*AREAS),
            languages=[(code, language(code)("page.name")) for code in languages()],
            periods=tuple(PERIODS),
            groups=GROUPS,
            assets=f"static/{_edition()}",
            token_needed=token_needed,
        )
        headers = {"Cache-Control": "no-store", "Content-Language": m.code, "Vary": "Accept-Language"}
        return HTMLResponse(html, headers=headers)

    return [Route("/dashboard", page), Route("/static/{edition}/{name}", _static)]


def _template() -> Template:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(_MISSING.format("Jinja2")) from None
    loader = FileSystemLoader(_HERE / "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("dashboard.html")


_MISSING = "the dashboard needs {}, which is not installed: pip install 'openai-meter[server]'"


# --- files ------------------------------------------------------------------------------------------------------------


def _static(request: Request) -> Response:
    """One file. Under the name of this edition it never changes; under that of another one it is asked for again."""
    name, edition = request.path_params["name"], request.path_params["edition"]
    file = _charts() if name == _CHARTS else _files().get(name)
    if file is None:
        return Response("not found", 404, media_type="text/plain")
    headers = {
        "ETag": file.etag,
        "Cache-Control": _FOR_EVER if edition == _edition() else _ASK_AGAIN,
        "Vary": "Accept-Encoding",
    }
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.body or gzip.decompress(file.packed), headers=headers, media_type=file.kind)


def _takes_gzip(accepted: str) -> bool:
    codings = [one.replace(" ", "").lower() for one in accepted.split(",")]
    return any(one == "gzip" or (one.startswith("gzip;q=") and one.strip("0.") != "gzip;q=") for one in codings)


@cache
def _files() -> Mapping[str, _File]:
    """The files of the page by name."""
    found = {}
    for path in sorted((_HERE / "static").iterdir()):
        if kind := _TYPES.get(path.suffix):
            body = path.read_bytes()
            found[path.name] = _File(body, gzip.compress(body, mtime=0), kind, _etag(body))
    return found


@cache
def _charts() -> _File:
    """The script of plotly, compressed once for all: it has some megabytes."""
    body = _plotly().read_bytes()
    return _File(b"", gzip.compress(body, 6, mtime=0), _TYPES[".js"], _etag(body))


def _plotly() -> Path:
    spec = find_spec("plotly")  # it is not imported: all that is needed is a file beside it
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "package_data" / _CHARTS
        if path.is_file():
            return path
    raise MissingExtraError(_MISSING.format("plotly"))


@cache
def _edition() -> str:
    """A name for all files as they are: the addresses of files change with it, so that browsers may keep them."""
    parts = [file.etag for file in _files().values()]
    return hashlib.sha256("".join([*parts, version("plotly")]).encode()).hexdigest()[:12]


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'
