"""The ASGI application and its table of routes.

A route is one row of :data:`ROUTES`. To add one, write its handler in ``handlers.py`` and add a row with the handler,
its parameters (``params.py``) and the schema of its answer (``schemas.py``). The OpenAPI document is made from the
same table. A route of its own kind (``/api/events``, ``/openapi.json``, the dashboard) is added in :func:`create_app`.
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

from openai_meter.alerts import parsed_limits
from openai_meter.core import faults
from openai_meter.core.locale import Messages, language, languages
from openai_meter.errors import ConfigurationError, LedgerError, MissingExtraError
from openai_meter.server import bill, dashboard, events, handlers, openapi
from openai_meter.server.cache import AnswerCache
from openai_meter.server.errors import CODES, RequestError
from openai_meter.server.handlers import ApiRequest
from openai_meter.server.limits import LedgerLimits
from openai_meter.server.params import (
    FILTERS,
    FOLD_SNAPSHOTS,
    GROUP,
    LANG,
    PERIOD,
    STATUS,
    ZONE,
    choice,
    decode_cursor,
    number,
    read_query,
    text,
)
from openai_meter.server.route import Endpoint
from openai_meter.server.security import Guard, checked_token, parse_host
from openai_meter.server.sources import LedgerSource, MeterSource, Source

if TYPE_CHECKING:
    from openai_meter.alerts import Threshold
    from openai_meter.ledger import Ledger
    from openai_meter.metering.meter import Meter

__all__ = ["ROUTES", "Endpoint", "create_app"]


_WINDOW = number("window", "The length of the period up to now, in seconds.", 10, 3_600, 300)
_FORMAT = choice(
    "format", "The form of the report.", ("json", "csv", "markdown", "chat", "table", "tree", "line"), "json"
)
_SINCE = text(
    "since", "Where the period starts: `7d`, `12h`, `today`, `2026-10`, a date or a time. Default: the first call."
)
_UNTIL = text("until", "Where the period ends, written as `since`; a date is included. Default: now.")
_BY = text("by", "What to group by: `day`, `model`, `agent`, `tag:NAME`, ...; separate several by commas.", "model")

ROUTES: tuple[Endpoint, ...] = (
    Endpoint("GET", "/api/stats", "The stats of each model.", handlers.stats, (FOLD_SNAPSHOTS, LANG), "Stats"),
    Endpoint("POST", "/api/stats/reset", "Resets the meter to zero.", handlers.reset, (LANG,), "Reset", errors=(409,)),
    Endpoint(
        "GET", "/api/overview", "The cards, the chart and the table of the dashboard.", handlers.overview,
        (PERIOD, _SINCE, _UNTIL, GROUP, ZONE, *FILTERS, LANG), "Overview",
    ),
    Endpoint(
        "GET", "/api/calls", "Calls, the newest first.", handlers.calls,
        (
            number("limit", "Calls per page.", 1, 500, 50),
            text("cursor", "The `next` of the previous page.", read=decode_cursor),
            STATUS, *FILTERS,
        ),
        "Calls",
    ),
    Endpoint("GET", "/api/explain/{id}", "The bill of one call.", handlers.explain, (LANG,), "Bill", errors=(404,)),
    Endpoint("GET", "/api/alerts", "The thresholds that are exceeded now.", handlers.alerts, (LANG,), "Alerts"),
    Endpoint("GET", "/api/limits", "How much of each limit is used.", handlers.limits, (), "Limits"),
    Endpoint("GET", "/api/budgets", "What each budget has spent, holds and has left.", handlers.budgets, (), "Budgets"),
    Endpoint("GET", "/api/bill", "The last comparison with OpenAI's bill.", bill.bill, (LANG,), "BillComparison"),
    Endpoint("GET", "/api/live", "The figures of the last minutes.", handlers.live, (GROUP, _WINDOW), "Live"),
    Endpoint(
        "GET", "/api/report", "A report for a period.", handlers.report,
        (_BY, _SINCE, _UNTIL, ZONE, _FORMAT, FOLD_SNAPSHOTS, *FILTERS, LANG), "Report",
        ("application/json", "text/csv", "text/markdown", "text/plain"),
    ),
    Endpoint("GET", "/metrics", "The metrics for Prometheus.", handlers.metrics, types=("text/plain",)),
    Endpoint("GET", "/healthz", "Whether the server and its ledger work.", handlers.health, schema="Health"),
)  # fmt: skip
"""The routes of the API, without ``/api/events``, whose answer is a stream (``events.py``)."""

EVENTS = Endpoint(
    "GET", "/api/events", "The live figures whenever they change: server-sent events `live`, `reset`.", handlers.live,
    (GROUP, _WINDOW), types=("text/event-stream",),
)  # fmt: skip


def create_app(
    meter: Meter | None = None,
    ledger: Ledger | str | None = None,
    token: str | Literal[False] | None = None,
    allowed_hosts: Iterable[str] | None = None,
    *,
    limits: Iterable[Threshold | str] = (),
    max_age: float = 1.0,
) -> Starlette:
    """The API and the dashboard as an ASGI application. Run it by itself, or mount it at any prefix.

    Args:
        meter: the meter to show. Default: the process-wide meter, or no meter if a ledger is given.
        ledger: a ledger, or its URL: the history of all processes that write to it. With a meter, both are shown. A
            meter that has a ledger already brings it along.
        token: the token that clients send as ``Authorization: Bearer TOKEN``. Default: ``OPENAI_METER_TOKEN``.
            Without a token, only requests from this machine are answered. ``False`` turns the check off, for an
            application around this one that checks requests itself.
        allowed_hosts: the host names (``Host`` headers) that are answered besides ``localhost``. Default: all with a
            token, none without. ``["*"]`` allows all.
        limits: limits on the calls of the ledger, shown with their use: texts such as ``cost=50/month`` (see
            :meth:`openai_meter.Ledger.threshold_usage`), or thresholds.
        max_age: seconds for which an answer that is expensive to make may be kept; cheap answers are always new.

    Raises:
        ConfigurationError: a setting is not valid.
        MissingExtraError: a package that the ledger or the dashboard needs is not installed.
    """
    secret = checked_token(token)
    hosts = None if allowed_hosts is None else _checked_hosts(allowed_hosts)
    if isinstance(max_age, bool) or not isinstance(max_age, int | float) or not 0 <= max_age <= 60:
        raise ConfigurationError(f"max_age={max_age!r} is not a number of seconds; pass one from 0 to 60")
    source, cache = _source(meter, ledger, parsed_limits(limits)), AnswerCache(float(max_age))
    streams = events.EventStreams()

    def endpoint(row: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await _answer(request, row, source, cache)

        return Route(row.path, handle, methods=[row.method])

    async def open_events(request: Request) -> Response:
        return await streams.open(_parse(request, EVENTS, source, cache))

    async def describe(request: Request) -> Response:
        return openapi.response((*ROUTES, EVENTS), request.scope.get("root_path", ""), with_token=bool(secret))

    async def redirect_to_dashboard(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/dashboard", 307)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            streams.close()

    app = Starlette(
        routes=[
            *map(endpoint, ROUTES),
            Route(EVENTS.path, open_events),
            Route("/openapi.json", describe),
            Route("/", redirect_to_dashboard),
            *dashboard.routes(_language, token_needed=bool(secret)),
        ],
        middleware=[Middleware(Guard, token=False if token is False else secret, allowed_hosts=hosts)],
        exception_handlers={RequestError: _on_request_error, HTTPException: _on_http},
        lifespan=lifespan,
    )
    app.state.event_streams = streams
    return app


def _source(meter: Meter | None, ledger: Ledger | str | None, limits: tuple[Threshold, ...]) -> Source:
    from openai_meter.metering.meter import Meter  # noqa: PLC0415

    if meter is not None and not isinstance(meter, Meter):
        raise ConfigurationError(
            f"meter={meter!r} is not an openai_meter.Meter; leave it out to show the process-wide meter"
        )
    opened = _ledger(ledger)
    if meter is None and opened is not None:
        return LedgerSource(opened, limits=LedgerLimits(limits))
    source = MeterSource(_process_wide if meter is None else lambda: meter, opened, LedgerLimits(limits))
    if limits and source.ledger is None:
        raise ConfigurationError("limits are of a ledger, and there is none: pass ledger=, or thresholds= to install()")
    return source


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
        raise ConfigurationError(
            f"ledger={ledger!r} is not a ledger; pass a Ledger or a URL such as 'sqlite:///usage.db'"
        )
    return ledger


def _checked_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    names = () if isinstance(hosts, str) else tuple(hosts)
    if not names or not all(isinstance(name, str) and (name == "*" or _is_host(name)) for name in names):
        raise ConfigurationError(
            f"allowed_hosts={hosts!r} is not a list of host names; "
            'pass names without a port, such as ["meter.example.com"]'
        )
    return names


def _is_host(name: str) -> bool:
    return parse_host(name) is not None and not name.rpartition(":")[2].isdigit()


# --- answering a request ----------------------------------------------------------------------------------------------


async def _answer(request: Request, row: Endpoint, source: Source, cache: AnswerCache) -> Response:
    parsed = _parse(request, row, source, cache)
    # In a thread: reading a ledger may take a while.
    return await run_in_threadpool(answer_or_error, row.answer, parsed)


def answer_or_error(answer: Callable[[ApiRequest], Response], request: ApiRequest) -> Response:
    """Calls a handler. An exception becomes one of the errors in the API's document."""
    try:
        return answer(request)
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


def _parse(request: Request, row: Endpoint, source: Source, cache: AnswerCache) -> ApiRequest:
    values = read_query(request.scope["query_string"], row.params) | request.path_params
    m = _language(values.get("lang"), request.headers.get("accept-language", ""))
    return ApiRequest(source, cache, values, m)


def _language(wanted: str | None, accepted: str) -> Messages:
    """The language of an answer: ``lang``, else the best of ``Accept-Language``, else that of the server."""
    if wanted is not None:
        return language(wanted)
    candidates = []
    for position, part in enumerate(accepted[:200].split(",")[:20]):
        name, _, parameter = part.partition(";")
        code = name.strip().partition("-")[0].lower()
        weight = _weight(parameter)
        if code in languages() and weight > 0:
            candidates.append((-weight, position, code))
    try:
        return language(min(candidates)[2] if candidates else None)
    except ConfigurationError:  # the server's environment names an unknown language; that is not the client's error
        return language("en")


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


async def _on_request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.response()


async def _on_http(_: Request, error: Exception) -> Response:
    """The router's own errors: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    status = error.status_code if error.status_code in CODES else 400
    headers: Mapping[str, str] | None = error.headers
    return RequestError(status, _ROUTER_MESSAGES.get(status, str(error.detail)), headers=headers).response()


_ROUTER_MESSAGES: dict[int, Any] = {
    404: "there is nothing under this path",
    405: "this path does not have that method",
}
