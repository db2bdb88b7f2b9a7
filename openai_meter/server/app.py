"""The application: the table of the routes, and the one way of a request through them.

To add a route, add a row to :data:`ROUTES`: a function in ``answers.py``, its parameters, and what it answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from openai_meter.core import faults
from openai_meter.core.locale import Messages, language, languages
from openai_meter.errors import ConfigurationError, LedgerError, MissingExtraError
from openai_meter.server import dashboard, events, handlers, openapi
from openai_meter.server.cache import Fresh
from openai_meter.server.errors import CODES, RequestError
from openai_meter.server.handlers import Inquiry
from openai_meter.server.params import (
    FILTERS,
    GROUP,
    LANG,
    PERIOD,
    STATUS,
    ZONE,
    choice,
    cursor,
    number,
    read,
    text,
)
from openai_meter.server.route import Endpoint
from openai_meter.server.security import Guard, checked_token
from openai_meter.server.sources import LedgerSource, MeterSource, Source

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["ROUTES", "Endpoint", "create_app"]


_WINDOW = number("window", "Seconds up to now that are looked at.", 10, 3_600, 300)
_FORMAT = choice("format", "The form of the report.", ("json", "csv", "markdown", "table", "tree", "line"), "json")
_SINCE = text(
    "since", "From when on: `7d`, `12h`, `today`, `2026-10`, a date or a time; from the first call by default."
)
_UNTIL = text("until", "Until when, as `since`; a date is included. Until now by default.")
_BY = text("by", "What to group by: `day`, `model`, `agent`, `tag:NAME`, ...; several with commas.", "model")

ROUTES: tuple[Endpoint, ...] = (
    Endpoint("GET", "/api/stats", "The stats of every model.", handlers.stats, (LANG,), "Stats"),
    Endpoint("POST", "/api/stats/reset", "Sets the meter to zero.", handlers.reset, (LANG,), "Reset", errors=(409,)),
    Endpoint(
        "GET", "/api/overview", "All that the dashboard shows at a glance.", handlers.overview,
        (PERIOD, GROUP, ZONE, LANG), "Overview",
    ),
    Endpoint(
        "GET", "/api/calls", "Calls, the latest first.", handlers.calls,
        (
            number("limit", "Calls of a page.", 1, 500, 50),
            text("cursor", "The `next` of the page before.", read=cursor),
            STATUS, *FILTERS,
        ),
        "Calls",
    ),
    Endpoint("GET", "/api/explain/{id}", "The bill of one call.", handlers.explain, (LANG,), "Bill", errors=(404,)),
    Endpoint("GET", "/api/alerts", "The thresholds that are exceeded.", handlers.alerts, (LANG,), "Alerts"),
    Endpoint("GET", "/api/live", "What happens at this moment.", handlers.live, (GROUP, _WINDOW), "Live"),
    Endpoint(
        "GET", "/api/report", "A report on a period.", handlers.report,
        (_BY, _SINCE, _UNTIL, ZONE, _FORMAT, *FILTERS, LANG), "Report",
        ("application/json", "text/csv", "text/markdown", "text/plain"),
    ),
    Endpoint("GET", "/metrics", "The figures for Prometheus.", handlers.metrics, types=("text/plain",)),
    Endpoint("GET", "/healthz", "Whether the server answers.", handlers.health, schema="Health"),
)  # fmt: skip
"""All routes that answer at once. ``/api/events`` (``events.py``), ``/openapi.json`` and the dashboard come beside."""

EVENTS = Endpoint(
    "GET", "/api/events", "What happens, as it happens (server-sent events): `live` and `reset`.", handlers.live,
    (GROUP, _WINDOW), types=("text/event-stream",),
)  # fmt: skip


def create_app(
    meter: Meter | None = None,
    ledger: Ledger | str | None = None,
    token: str | Literal[False] | None = None,
    allowed_hosts: Iterable[str] | None = None,
    *,
    max_age: float = 1.0,
) -> Starlette:
    """The API and the dashboard as an ASGI application, to be run by itself or mounted at any prefix.

    Args:
        meter: whose figures; by default those of the process-wide meter, unless a ledger is given.
        ledger: the history of all processes that write to it, by itself or beside a meter's own figures. A meter that
            has a ledger needs none here.
        token: what has to be sent as ``Authorization: Bearer TOKEN``; by default ``OPENAI_METER_TOKEN``. Without one,
            only this machine is answered. ``False`` where the application around it decides who may ask.
        allowed_hosts: the names that the server is known by (``Host`` headers), besides ``localhost``; by default any
            if there is a token, and none without. ``["*"]`` is any.
        max_age: how old, in seconds, a figure may be whose making takes some time; small ones are always new.

    Raises:
        ConfigurationError: a setting cannot be used.
        MissingExtraError: a ledger needs a package that is not installed.
    """
    secret = checked_token(token)
    hosts = None if allowed_hosts is None else _checked_hosts(allowed_hosts)
    if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 0 <= max_age <= 60:
        raise ConfigurationError(f"max_age={max_age!r} is no number of seconds from 0 to 60")
    source, fresh = _source(meter, ledger), Fresh(float(max_age))
    hub = events.Hub()

    def endpoint(row: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await _answer(request, row, source, fresh)

        return Route(row.path, handle, methods=[row.method])

    async def follow(request: Request) -> Response:
        asked = _read(request, EVENTS, source, fresh)
        return await hub.follow(asked)

    async def describe(request: Request) -> Response:
        return openapi.response((*ROUTES, EVENTS), request.scope.get("root_path", ""), with_token=bool(secret))

    async def go_home(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/dashboard", 307)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            hub.close()

    app = Starlette(
        routes=[
            *map(endpoint, ROUTES),
            Route(EVENTS.path, follow),
            Route("/openapi.json", describe),
            Route("/", go_home),
            *dashboard.routes(_language, token_needed=bool(secret)),
        ],
        middleware=[Middleware(Guard, token=False if token is False else secret, allowed_hosts=hosts)],
        exception_handlers={RequestError: _on_request_error, HTTPException: _on_http},
        lifespan=lifespan,
    )
    app.state.hub = hub
    return app


def _source(meter: Meter | None, ledger: Ledger | str | None) -> Source:
    from openai_meter.metering.meter import Meter  # noqa: PLC0415

    if meter is not None and not isinstance(meter, Meter):
        raise ConfigurationError(f"meter={meter!r} is no openai_meter.Meter; leave it out for the process-wide one")
    found = _ledger(ledger)
    if meter is None and found is not None:
        return LedgerSource(found)
    return MeterSource(_process_wide if meter is None else lambda: meter, found)


def _process_wide() -> Meter:
    from openai_meter.api import get_meter  # noqa: PLC0415
    from openai_meter.instrumentation.listening import registry  # noqa: PLC0415

    return registry.installed or get_meter()


def _ledger(ledger: Ledger | str | None) -> Ledger | None:
    if ledger is None:
        return None
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - an extra

    if isinstance(ledger, str):
        return Ledger(ledger)
    if not isinstance(ledger, Ledger):
        raise ConfigurationError(f"ledger={ledger!r} is no ledger; pass a URL such as 'sqlite:///usage.db'")
    return ledger


def _checked_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    found = () if isinstance(hosts, str) else tuple(hosts)
    if not found or not all(isinstance(host, str) and host and ":" not in host.strip("[]:") for host in found):
        raise ConfigurationError(f'allowed_hosts={hosts!r} names no hosts; pass names such as ["meter.example.com"]')
    return found


# --- the way of a request ---------------------------------------------------------------------------------------------


async def _answer(request: Request, row: Endpoint, source: Source, fresh: Fresh) -> Response:
    asked = _read(request, row, source, fresh)
    return await run_in_threadpool(guarded, row.answer, asked)


def guarded(answer: Callable[[Inquiry], Response], asked: Inquiry) -> Response:
    """An answer; what goes wrong on the way to it is one of the errors that the API documents."""
    try:
        return answer(asked)
    except RequestError as error:
        return error.response()
    except ConfigurationError as error:
        return RequestError(400, str(error)).response()
    except (LedgerError, MissingExtraError) as error:
        return RequestError(503, str(error)).response()
    except Exception as error:
        response = RequestError(500, f"a fault inside openai_meter ({type(error).__name__})").response()
        faults.caught(error, "answering a request")
        return response


def _read(request: Request, row: Endpoint, source: Source, fresh: Fresh) -> Inquiry:
    values = read(request.scope["query_string"], row.params) | request.path_params
    m = _language(values.get("lang"), request.headers.get("accept-language", ""))
    return Inquiry(source, fresh, values, m)


def _language(wanted: str | None, accepted: str) -> Messages:
    """The language of an answer: the one that is asked for, else the first that is spoken here, else the server's."""
    if wanted is not None:
        return language(wanted)
    weighed = []
    for place, part in enumerate(accepted[:200].split(",")[:20]):
        name, _, rest = part.partition(";")
        code = name.strip().partition("-")[0].lower()
        weight = _weight(rest)
        if code in languages() and weight > 0:
            weighed.append((-weight, place, code))
    try:
        return language(min(weighed)[2] if weighed else None)
    except ConfigurationError:  # what the environment of the server says is nothing that a request can help
        return language("en")


def _weight(said: str) -> float:
    name, _, value = said.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


async def _on_request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.response()


async def _on_http(_: Request, error: Exception) -> Response:
    """What the router refuses: another method, another address."""
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in CODES else 400
    headers: Mapping[str, str] | None = error.headers
    return RequestError(status, _ROUTER.get(status, str(error.detail)), headers=headers).response()


_ROUTER: dict[int, Any] = {404: "there is nothing under this address", 405: "this address has another method"}
