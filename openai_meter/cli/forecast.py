"""The command ``forecast``: what this day, week or month will have cost at its end."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.ledger import Selection, open_ledger
from openai_meter.cli.output import write_json, write_lines
from openai_meter.core.formatting import aligned, column_places, fixed_dollars
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.forecasts import Forecast

__all__ = ["add_commands", "forecast"]

_PERIODS = ("day", "week", "month")


def forecast(selection: Selection, period: str, lang: str | None, *, as_json: bool) -> None:
    """Writes what the day, the week or the month will have cost."""
    m = language(lang)
    with open_ledger(selection.ledger, lang=lang) as ledger:
        found = ledger.forecast(period, timezone=selection.timezone, **selection.filters)
        if as_json:
            write_json(found.to_dict())
        else:
            write_lines(*_lines(found, selection.timezone, m))


def _lines(found: "Forecast", timezone: str | None, m: Messages) -> Iterable[str]:
    from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415 - not for `run`

    zone = zone_of(timezone)
    last = found.until - timedelta(microseconds=1)
    since, until = (f"{at.astimezone(zone):%Y-%m-%d}" for at in (found.since, last))
    yield m(f"upkeep.forecast.{found.period}", since=since, until=until, timezone=timezone or "UTC")
    places = column_places((found.spent, found.expected, found.low, found.high))

    def money(value: Decimal | None) -> str:
        return "?" if value is None else fixed_dollars(value, m.numbers, places)

    spent, expected, low = aligned([money(found.spent), money(found.expected), money(found.low)])
    rows = [(m("upkeep.spent"), spent), (m("upkeep.expected"), expected)]
    if found.low is not None:
        rows.append((m("upkeep.range"), m("upkeep.range_of", low=low, high=money(found.high))))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"
    yield m("upkeep.days", n=found.days) if found.days else m("upkeep.no_days")
    if found.unpriced_calls:
        yield m("upkeep.unpriced", n=found.unpriced_calls)


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, filters  # noqa: PLC0415

    t, options = texts(), Options()

    def known(period: str) -> str:
        if period not in _PERIODS:
            raise typer.BadParameter(t("error.forecast", name=repr(period)))
        return period

    period_argument = typer.Argument(metavar="day | week | month", callback=known, help=t("forecast.period"))

    @app.command(
        "forecast",
        cls=Command,
        help=t("forecast"),
        epilog=example("openai-meter forecast", "openai-meter forecast week --agent planner"),
    )
    def show_forecast(
        ctx: typer.Context,
        period: Annotated[str, period_argument] = "month",
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, options.filter("model")] = None,
        agent: Annotated[list[str] | None, options.filter("agent")] = None,
        user: Annotated[list[str] | None, options.filter("user")] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        kept = filters(None, model=model, agent=agent, user=user)
        selection = Selection(ledger, timezone=timezone, filters=kept)
        ctx.obj.append(partial(forecast, selection, period, lang, as_json=as_json))
