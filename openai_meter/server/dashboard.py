"""The dashboard: one page, its scripts and styles, and the script of the installed ``plotly`` package.

The page holds no figures: its scripts read them from the API. To add a script or a style, put it into ``static/``.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version as distribution_version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from openai_meter.core.locale import Messages, language, languages
from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError
from openai_meter.server.time_windows import PERIODS

if TYPE_CHECKING:
    from jinja2 import Template
    from starlette.requests import Request

__all__ = ["AREAS", "GROUPS", "routes"]

GROUPS: tuple[str, ...] = ("model", "agent", "operation", "user", "session", "endpoint", "provider", "tag")
"""The dimensions that the page groups by, in the order of its menu."""

_FILES = files("openai_meter.server")
AREAS = (
    "page", "row", "dimension", "by", "column", "table", "unit", "bill", "reason", "prices", "calls", "separator",
    "this",
)  # fmt: skip
"""The areas of the message catalog that the page's scripts use."""
_TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_CHARTS = "plotly.min.js"
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


class _File(NamedTuple):
    body: bytes
    gzipped: bytes
    content_type: str
    etag: str


def routes(choose_language: Callable[[str | None, str], Messages], *, token_needed: bool) -> list[Route]:
    """The routes of the page and of its files.

    Args:
        choose_language: chooses a language by the ``lang`` of the query and by ``Accept-Language``.
        token_needed: whether the API needs a token; the page then asks the reader for it first.

    Raises:
        MissingExtraError: Jinja2 or plotly is not installed.
    """
    _plotly()
    template = _template()

    def page(request: Request) -> Response:
        lang = request.query_params.get("lang")
        accepted = request.headers.get("accept-language", "")
        m = choose_language(lang if lang in languages() else None, accepted)
        html = template.render(
            m=m,
            catalog=m.areas(*AREAS),
            numbers=m.numbers._asdict(),
            languages=[(code, language(code)("page.name")) for code in languages()],
            periods=tuple(PERIODS),
            groups=GROUPS,
            assets=f"static/{_assets_version()}",
            token_needed=token_needed,
        )
        headers = {"Cache-Control": "no-store", "Content-Language": m.code, "Vary": "Accept-Language"}
        return HTMLResponse(html, headers=headers)

    return [Route("/dashboard", page), Route("/static/{version}/{name}", _static)]


def _template() -> Template:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError(_MISSING.format("Jinja2")) from None
    templates = _FILES.joinpath("templates")  # not a folder of files where the package is in an archive
    loader = FunctionLoader(lambda name: templates.joinpath(name).read_text(encoding="utf-8"))
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("dashboard.html")


_MISSING = "the dashboard needs {}, which is not installed: " + install_command("server")


# --- files ------------------------------------------------------------------------------------------------------------


def _static(request: Request) -> Response:
    """One file. Under the current version of the assets it may be cached for ever; under another it is revalidated."""
    name, version = request.path_params["name"], request.path_params["version"]
    file = _charts() if name == _CHARTS else _files().get(name)
    if file is None:
        return Response("not found", 404, media_type="text/plain")
    headers = {
        "ETag": file.etag,
        "Cache-Control": _IMMUTABLE if version == _assets_version() else _REVALIDATE,
        "Vary": "Accept-Encoding",
    }
    etags = [etag.strip().removeprefix("W/") for etag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in etags or "*" in etags:
        return Response(status_code=304, headers=headers)
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(file.gzipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.content_type)
    return Response(file.body or gzip.decompress(file.gzipped), headers=headers, media_type=file.content_type)


def _accepts_gzip(accepted: str) -> bool:
    codings = [coding.replace(" ", "").lower() for coding in accepted.split(",")]
    return any(
        coding == "gzip" or (coding.startswith("gzip;q=") and coding.strip("0.") != "gzip;q=") for coding in codings
    )


@cache
def _files() -> Mapping[str, _File]:
    """The files of the page by name."""
    files = {}
    for path in sorted(_FILES.joinpath("static").iterdir(), key=lambda path: path.name):
        if content_type := _TYPES.get(PurePosixPath(path.name).suffix):
            body = path.read_bytes()
            files[path.name] = _File(body, gzip.compress(body, mtime=0), content_type, _etag(body))
    return files


@cache
def _charts() -> _File:
    """The script of plotly: some megabytes, compressed once."""
    body = _plotly().read_bytes()
    return _File(b"", gzip.compress(body, 6, mtime=0), _TYPES[".js"], _etag(body))


def _plotly() -> Path:
    spec = find_spec("plotly")  # not imported: only a data file of it is needed
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "package_data" / _CHARTS
        if path.is_file():
            return path
    raise MissingExtraError(_MISSING.format("plotly"))


@cache
def _assets_version() -> str:
    """A hash over all files. It is part of their addresses, so that browsers may cache them for ever."""
    parts = [file.etag for file in _files().values()]
    return hashlib.sha256("".join([*parts, distribution_version("plotly")]).encode()).hexdigest()[:12]


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'
