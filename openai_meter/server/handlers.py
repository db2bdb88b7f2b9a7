"""The handlers of the routes. They run in worker threads, because a ledger is read with blocking calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response

from openai_meter.core.locale import Messages
from openai_meter.core.money import Cost, simplest
from openai_meter.errors import ConfigurationError
from openai_meter.metering.manual import most_urgent
from openai_meter.reports.model_stats import stats_by_model
from openai_meter.server import overview as overviews
from openai_meter.server.advice import Advice
from openai_meter.server.errors import RequestError, json_response
from openai_meter.server.params import encode_cursor, filters_of
from openai_meter.server.recent_calls import TimeRange
from openai_meter.server.time_windows import between, window_of

if TYPE_CHECKING:
    from openai_meter.alerts import Alert
    from openai_meter.server.cache import AnswerCache
    from openai_meter.server.sources import Source

__all__ = ["ApiRequest"]

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_MAX_ID = 200
"""Characters that the id of a call has at most."""
_ADVICE_FACTOR = 30
"""Advice changes slowly: it may be kept so many times longer than figures."""
_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "markdown": "text/markdown",
    "chat": "text/markdown",
}


class ApiRequest(NamedTuple):
    """A parsed request: what its handler needs."""

    source: Source
    cache: AnswerCache
    values: Mapping[str, Any]
    """The parameters of the query and the variables of the path, by name."""
    m: Messages
    """The language of the answer."""

    @property
    def lang(self) -> str:
        """The code of the language."""
        return self.m.code


def milliseconds(at: datetime) -> int:
    """Unix milliseconds."""
    return int(at.timestamp() * 1000)


# --- stats and reset --------------------------------------------------------------------------------------------------


def stats(request: ApiRequest) -> Response:
    """The stats of each model, the first exceeded threshold, recommendations, and the report as text for a chat."""
    return json_response(
        {"success": True, "timestamp": milliseconds(datetime.now(UTC))}
        | request.cache.get(("stats", request.lang, request.values["fold_snapshots"]), lambda: _stats(request))
    )


def _stats(request: ApiRequest) -> dict[str, Any]:
    source, lang = request.source, request.lang
    moment = source.moment(lang)
    report, first = moment.report, most_urgent(moment.alerts)
    rows = {row.key[0]: row.totals for row in report.rows}
    by_model = stats_by_model(rows, fold_snapshots=request.values["fold_snapshots"] == "true")
    advice = request.cache.get("advice", moment.advice, _ADVICE_FACTOR)
    return {
        "stats": {model: stats.to_dict() for model, stats in by_model.items()},
        "threshold": None if first is None else first.to_dict(lang),
        "recommendations": advice.messages(lang),
        "report": report.render("chat", lang=lang),
        "scope": source.scope,
        "since": report.since.isoformat(),
        "totals": report.totals.to_dict(),
        "alerts": _plain(moment.alerts, lang),
    }


def reset(request: ApiRequest) -> Response:
    """Resets the meter to zero."""
    before = request.source.reset()
    request.cache.clear()
    if before is None:
        raise RequestError(
            409,
            "the source is a ledger, and a ledger cannot be reset",
            "Read from a later date (since=...), or delete the details of old calls with Ledger.prune().",
        )
    answer = {"success": True, "message": request.m("server.reset"), "timestamp": milliseconds(datetime.now(UTC))}
    return json_response(answer | {"before": before.to_dict()})


# --- the dashboard ----------------------------------------------------------------------------------------------------


def overview(request: ApiRequest) -> Response:
    """The cards, the chart and the table of the dashboard."""
    values, view = request.values, _view(request.values)
    chosen = (values[name] for name in ("period", "since", "until", "group"))
    found = request.cache.get(
        ("overview", *chosen, str(view.zone), repr(view.filters)), lambda: _overview(request, view)
    )
    advice = found.advice
    more = {"recommendations": advice.messages(request.lang), "advice": advice.to_dict(request.lang)}
    return json_response(found.values | {"alerts": _plain(found.alerts, request.lang)} | more)


class _Overview(NamedTuple):
    """What an answer is made of in any language, all of one moment."""

    values: dict[str, Any]
    alerts: tuple[Alert, ...]
    advice: Advice


def _overview(request: ApiRequest, view: overviews.View) -> _Overview:
    source = request.source
    ledger = None if source.ledger is None or source.meter is not None else source.ledger.url
    with source.figures() as figures:
        values = overviews.overview(figures, view, ledger)
        # Advice states the period that it is on: it may be kept for longer than the figures.
        return _Overview(values, figures.alerts, request.cache.get("advice", figures.advice, _ADVICE_FACTOR))


def _view(values: Mapping[str, Any]) -> overviews.View:
    zone, now, period = _zone(values), datetime.now(UTC), values["period"]
    since, until = _since_until(values, zone)
    if since is None and until is None:
        window = window_of(period, zone, now)
    else:
        ended = min(until or now, now)
        period, window = "custom", between(min(since or _EARLIEST, ended), ended)
    return overviews.View(period, window, values["group"], filters_of(values), zone, now)


def calls(request: ApiRequest) -> Response:
    """A page of calls, the newest first."""
    values = request.values
    with request.source.figures() as figures:
        page = figures.page(values["limit"], values["cursor"], filters_of(values), values["status"])
    return json_response({"calls": [call.to_dict() for call in page.calls], "next": encode_cursor(page.next)})


def explain(request: ApiRequest) -> Response:
    """The bill of one call."""
    call_id = request.values["id"]
    found = None if len(call_id) > _MAX_ID or "\0" in call_id else request.source.find(call_id)
    if found is None:
        raise RequestError(
            404, "there is no call with this id", "Take an id from /api/calls; a meter keeps its recent calls only."
        )
    from openai_meter.reports.bills import bill_values  # noqa: PLC0415 - rich is loaded only for a bill

    call, book = found
    cost = None if call.cost is None else f"{call.cost:f}"
    if lines := call.cost_lines:
        amount = simplest(sum((line.amount_pico for line in lines), Fraction(0)))
        bill = bill_values(Cost(amount, call.cost_status, call.cost_reason, call.price_source), lines)
    else:
        billable = book.billable_of(call)
        bill = bill_values(book.cost(billable), book.lines(billable))
    return json_response(
        {
            "id": call.id,
            "cost": cost,
            "cost_status": call.cost_status,
            "cost_reason": call.cost_reason,
            "estimated": call.cost_estimated,
            "price_source": call.price_source,
            "lines": bill["lines"],
            # A call that an earlier version stored has no bill: its lines use the prices of now.
            "explained": bill["cost"] == cost,
            "call": call.to_dict(),
        }
    )


def alerts(request: ApiRequest) -> Response:
    """The thresholds that are exceeded now."""
    with request.source.figures() as figures:
        return json_response({"alerts": _plain(figures.alerts, request.lang)})


def _plain(alerts: Iterable[Alert], lang: str) -> list[dict[str, Any]]:
    return [alert.to_dict(lang) for alert in alerts]


def limits(request: ApiRequest) -> Response:
    """How much of each limit is used: of the thresholds of the meter, and of the limits of the ledger."""
    with request.source.figures() as figures:
        return json_response({"limits": [usage.to_dict() for usage in figures.limits]})


def budgets(request: ApiRequest) -> Response:
    """What each budget of the meter has spent, holds and has left; of all processes, where they share a store."""
    meter = request.source.meter
    found = () if meter is None else tuple(meter.budgets.values())
    return json_response({"budgets": [status.to_dict() for view in found for status in view.all()]})


def live(request: ApiRequest) -> Response:
    """The live figures."""
    return json_response(pulse(request))


def pulse(request: ApiRequest) -> dict[str, Any]:
    """The live figures as JSON values."""
    group, window = request.values["group"], request.values["window"]
    figures: dict[str, Any] = request.cache.get(("live", group, window), lambda: request.source.live(group, window))
    return figures


def report(request: ApiRequest) -> Response:
    """A report for a period, in one of its formats."""
    values = request.values
    form, zone = values["format"], _zone(values)
    by = _dimensions(values["by"])
    since, until = _since_until(values, zone)
    folds = values["fold_snapshots"] == "true"
    key = ("report", by, since, until, str(zone), repr(filters_of(values)), form, request.lang, folds)

    def render() -> str:
        with request.source.figures() as figures:
            found = figures.report(by, TimeRange(since, until, zone), filters_of(values), request.lang)
        if folds:
            from openai_meter.reports.breakdowns import fold_snapshots  # noqa: PLC0415 - with the first such report

            found = fold_snapshots(found)
        return found.render(form, lang=request.lang)

    text = request.cache.get(key, render)
    headers = {"Content-Disposition": 'attachment; filename="report.csv"'} if form == "csv" else None
    content = text.encode("utf-8", "replace")
    return Response(content, headers=headers, media_type=f"{_TYPES.get(form, 'text/plain')}; charset=utf-8")


def _zone(values: Mapping[str, Any]) -> tzinfo:
    return values["timezone"] or UTC


def _dimensions(by: str) -> tuple[str, ...]:
    from openai_meter.core import dimensions as groups  # noqa: PLC0415
    from openai_meter.reports.report import dimensions  # noqa: PLC0415 - not before a report is requested
    from openai_meter.server.recent_calls import TIMES  # noqa: PLC0415

    names = dimensions(by)
    if "minute" in names:
        raise ConfigurationError("by=minute is not available in reports; use hour, day, week or month")
    if len(names) > 4:
        raise ConfigurationError(f"by has {len(names)} names; give at most 4")
    if plain := tuple(name for name in names if name not in TIMES):
        groups.checked(plain)
    return names


def _since_until(values: Mapping[str, Any], zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    since, until = (_moment(name, values[name], zone) for name in ("since", "until"))
    if since is not None and until is not None and until <= since:
        raise RequestError(400, "until is not after since", "Give an until that is later than since.")
    return since, until


def _moment(name: str, text: str | None, zone: tzinfo) -> datetime | None:
    if text is None:
        return None
    from openai_meter.ledger.periods import parse_moment  # noqa: PLC0415 - an extra

    at = parse_moment(name, text, zone, datetime.now(UTC), end=name == "until")
    return None if at is None else min(max(at, _EARLIEST), _LATEST)


# --- monitoring -------------------------------------------------------------------------------------------------------


def metrics(request: ApiRequest) -> Response:
    """The metrics in the text format of Prometheus."""
    from openai_meter.exporters.prometheus import exposition  # noqa: PLC0415 - an extra

    source = request.source.meter or request.source.ledger
    assert source is not None
    body, kind = request.cache.get("metrics", lambda: exposition(source, limits=request.source.limits.thresholds))
    return Response(body, headers={"Content-Type": kind})


def health(request: ApiRequest) -> Response:
    """Whether the server and its ledger work. Holds no figures, so it needs no token."""
    from openai_meter.core.version import __version__  # noqa: PLC0415 - needed here only

    ledger = request.source.ledger
    stats = None if ledger is None else ledger.stats
    # Calls that wait for long are not stored, whatever the reason is.
    degraded = stats is not None and (stats.away or stats.late() or stats.dropped > 0)
    return json_response({"status": "degraded" if degraded else "ok", "version": __version__})
