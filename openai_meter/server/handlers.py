"""What each route answers. Plain functions, which run in threads: reading a ledger may take its time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response

from openai_meter.core.locale import Messages
from openai_meter.errors import ConfigurationError
from openai_meter.server import overview as overviews
from openai_meter.server.errors import RequestError, json_response
from openai_meter.server.params import filters_of, written
from openai_meter.server.recent_calls import Asked

if TYPE_CHECKING:
    from openai_meter.server.cache import Fresh
    from openai_meter.server.sources import Source

__all__ = ["Inquiry"]

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_ID = 200
"""Characters of the id of a call."""
_ADVICE = 30
"""How many times longer than figures advice may be kept."""
_TYPES: Mapping[str, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "markdown": "text/markdown",
}


class Inquiry(NamedTuple):
    """A request that has been read."""

    source: Source
    fresh: Fresh
    values: Mapping[str, Any]
    """The parameters, by their names, and the parts of the path."""
    m: Messages
    """The language of the answer."""

    @property
    def lang(self) -> str:
        """The code of the language."""
        return self.m.code


def milliseconds(at: datetime) -> int:
    """Unix milliseconds."""
    return int(at.timestamp() * 1000)


# --- the guide's routes -----------------------------------------------------------------------------------------------


def stats(asked: Inquiry) -> Response:
    """The stats of every model, the first threshold that is exceeded, advice and the report of a chat."""
    return json_response(
        {"success": True, "timestamp": milliseconds(datetime.now(UTC))}
        | asked.fresh.get(("stats", asked.lang), lambda: _stats(asked))
    )


def _stats(asked: Inquiry) -> dict[str, Any]:
    source, lang = asked.source, asked.lang
    report = source.whole(lang)
    exceeded = _alerts(asked)
    first = None if source.meter is None else source.meter.check_thresholds()
    return {
        "stats": {model: one.to_dict() for model, one in source.stats().items()},
        "threshold": None if first is None else first.to_dict(lang),
        "recommendations": _advice(asked),
        "report": report.render("markdown", lang=lang),
        "scope": source.scope,
        "since": report.since.isoformat(),
        "totals": report.totals.to_dict(),
        "alerts": exceeded,
    }


def reset(asked: Inquiry) -> Response:
    """Sets the meter back to zero."""
    before = asked.source.reset()
    asked.fresh.clear()
    if before is None:
        raise RequestError(
            409,
            "what is served is a ledger, which is not forgotten",
            "Start from a date instead (since=...), or delete the details of old calls: Ledger.prune().",
        )
    said = {"success": True, "message": asked.m("server.reset"), "timestamp": milliseconds(datetime.now(UTC))}
    return json_response(said | {"before": before.to_dict()})


# --- the dashboard's --------------------------------------------------------------------------------------------------


def overview(asked: Inquiry) -> Response:
    """Everything that the dashboard shows at a glance."""
    values = asked.values
    period, group, zone = values["period"], values["group"], _zone(values)
    found = asked.fresh.get(
        ("overview", period, group, str(zone)),
        lambda: overviews.overview(asked.source, period, group, zone, datetime.now(UTC)),
    )
    return json_response(found | {"alerts": _alerts(asked), "recommendations": _advice(asked)})


def calls(asked: Inquiry) -> Response:
    """A page of calls, the latest first."""
    values = asked.values
    page = asked.source.page(values["limit"], values["cursor"], filters_of(values), values["status"])
    return json_response({"calls": [call.to_dict() for call in page.calls], "next": written(page.next)})


def explain(asked: Inquiry) -> Response:
    """The bill of one call."""
    call_id = asked.values["id"]
    found = None if len(call_id) > _ID or "\0" in call_id else asked.source.find(call_id)
    if found is None:
        raise RequestError(
            404, "there is no such call", "The ids are those of /api/calls; a meter keeps its recent calls."
        )
    from openai_meter.reports.bills import bill_values  # noqa: PLC0415 - rich is only loaded behind a bill

    call, book = found
    billable = book.billable_of(call)
    bill = bill_values(book.cost(billable), book.lines(billable))
    cost = None if call.cost is None else f"{call.cost:f}"
    return json_response(
        {
            "id": call.id,
            "cost": cost,
            "cost_status": call.cost_status,
            "cost_reason": call.cost_reason,
            "estimated": call.cost_estimated,
            "price_source": call.price_source,
            "lines": bill["lines"],
            # The lines are made of the prices that are known now: those it was priced by may have been others.
            "explained": bill["cost"] == cost,
            "call": call.to_dict(),
        }
    )


def alerts(asked: Inquiry) -> Response:
    """The thresholds that are exceeded now."""
    return json_response({"alerts": _alerts(asked)})


def _alerts(asked: Inquiry) -> list[dict[str, Any]]:
    return [alert.to_dict(asked.lang) for alert in asked.source.alerts()]


def _advice(asked: Inquiry) -> list[str]:
    advice = asked.fresh.get("advice", asked.source.recommendations, _ADVICE)
    return [one.message(asked.lang) for one in advice]


def live(asked: Inquiry) -> Response:
    """What happens at this moment."""
    return json_response(pulse(asked))


def pulse(asked: Inquiry) -> dict[str, Any]:
    """What happens at this moment, as JSON values."""
    group, window = asked.values["group"], asked.values["window"]
    found: dict[str, Any] = asked.fresh.get(("live", group, window), lambda: asked.source.live(group, window))
    return found


def report(asked: Inquiry) -> Response:
    """A report on a period, in one of its forms."""
    values, source = asked.values, asked.source
    form, zone = values["format"], _zone(values)
    by = _dimensions(values["by"])
    since, until = (_moment(name, values[name], zone) for name in ("since", "until"))
    if since is not None and until is not None and until <= since:
        raise RequestError(400, "until is not after since")
    key = ("report", by, since, until, str(zone), repr(filters_of(values)), form, asked.lang)
    text = asked.fresh.get(
        key,
        lambda: source.report(by, Asked(since, until, zone), filters_of(values), asked.lang).render(
            form, lang=asked.lang
        ),
    )
    headers = {"Content-Disposition": 'attachment; filename="report.csv"'} if form == "csv" else None
    content = text.encode("utf-8", "replace")
    return Response(content, headers=headers, media_type=f"{_TYPES.get(form, 'text/plain')}; charset=utf-8")


def _zone(values: Mapping[str, Any]) -> tzinfo:
    return values["timezone"] or UTC


def _dimensions(by: str) -> tuple[str, ...]:
    from openai_meter.core import dimensions as groups  # noqa: PLC0415
    from openai_meter.reports.report import dimensions  # noqa: PLC0415 - not before a report is asked for
    from openai_meter.server.recent_calls import TIMES  # noqa: PLC0415

    names = dimensions(by)
    if "minute" in names:
        raise ConfigurationError("by=minute is nothing to group by here; use hour, day, week or month")
    if len(names) > 4:
        raise ConfigurationError(f"by has {len(names)} names; 4 are the most")
    if plain := tuple(name for name in names if name not in TIMES):
        groups.checked(plain)
    return names


def _moment(name: str, said: str | None, zone: tzinfo) -> datetime | None:
    if said is None:
        return None
    from openai_meter.ledger.periods import parse_moment  # noqa: PLC0415 - an extra

    at = parse_moment(name, said, zone, datetime.now(UTC), end=name == "until")
    return None if at is None else min(max(at, _EARLIEST), _LATEST)


# --- for machines -----------------------------------------------------------------------------------------------------


def metrics(asked: Inquiry) -> Response:
    """The figures in the text format of Prometheus."""
    from openai_meter.exporters.prometheus import exposition  # noqa: PLC0415 - an extra

    source = asked.source.meter or asked.source.ledger
    assert source is not None
    body, kind = asked.fresh.get("metrics", lambda: exposition(source))
    return Response(body, headers={"Content-Type": kind})


def health(asked: Inquiry) -> Response:
    """Whether the server answers; shows no figures."""
    from openai_meter.core.version import __version__  # noqa: PLC0415 - the root of the package imports everything

    ledger = asked.source.ledger
    away = ledger is not None and ledger.stats.away
    return json_response({"status": "degraded" if away else "ok", "version": __version__})
