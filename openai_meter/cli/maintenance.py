"""The commands that look ahead and back in a ledger and keep it: ``forecast``, ``compare``, ``reprice`` and ``prune``.

Exit codes: 1 where the ledger cannot be read or written, or nothing was pruned because the user said no; 2 where the
question cannot be understood.
"""

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.ledger import asked_ledger
from openai_meter.cli.prices import give_up
from openai_meter.core.locale import Messages, language
from openai_meter.core.money import Amount, usd
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.comparisons import Causes, Comparison
    from openai_meter.ledger.forecasts import Forecast

__all__ = ["Asked", "add_commands", "compare", "forecast", "prune", "reprice"]

_PERIODS = ("day", "week", "month")
_YES = frozenset({"y", "yes", "o", "oui"})


class Asked(NamedTuple):
    """What all these commands are told."""

    ledger: str | None
    timezone: str | None
    lang: str | None
    as_json: bool


def _say(*lines: str) -> None:
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

    sys.stdout.write(fitting("".join(f"{line}\n" for line in lines), sys.stdout.encoding))


def _json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def _money(amount: Decimal | None) -> str:
    from openai_meter.reports.words import dollars  # noqa: PLC0415 - not for `run`

    return "?" if amount is None else f"-{dollars(-amount)}" if amount < 0 else dollars(amount)


def _more(amount: Decimal) -> str:
    """A difference in dollars, with its sign."""
    return f"+{_money(amount)}" if amount > 0 else _money(amount)


# --- forecast ---------------------------------------------------------------------------------------------------------


def forecast(asked: Asked, period: str, filters: dict[str, Any]) -> None:
    """Writes what the day, the week or the month will have cost."""
    m = language(asked.lang)
    with asked_ledger(asked.ledger) as ledger:
        found = ledger.forecast(period, timezone=asked.timezone, **filters)
        if asked.as_json:
            _json(found.to_dict())
        else:
            _say(*_foreseen(found, asked.timezone, m))


def _foreseen(found: "Forecast", timezone: str | None, m: Messages) -> Iterable[str]:
    from openai_meter.ledger.periods import zone_of  # noqa: PLC0415 - not for `run`

    zone = zone_of(timezone)
    last = found.until - timedelta(microseconds=1)
    since, until = (f"{at.astimezone(zone):%Y-%m-%d}" for at in (found.since, last))
    yield m(f"upkeep.forecast.{found.period}", since=since, until=until, timezone=timezone or "UTC")
    rows = [(m("upkeep.spent"), _money(found.spent)), (m("upkeep.expected"), _money(found.expected))]
    if found.low is not None:
        rows.append((m("upkeep.range"), m("upkeep.range_of", low=_money(found.low), high=_money(found.high))))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"
    yield m("upkeep.days", n=found.days) if found.days else m("upkeep.no_days")
    if found.unpriced_calls:
        yield m("upkeep.unpriced", n=found.unpriced_calls)


# --- compare ----------------------------------------------------------------------------------------------------------


def compare(asked: Asked, a: str, b: str, since: str | None, until: str | None) -> None:
    """Writes two parts of history side by side, and where the difference comes from."""
    m = language(asked.lang)
    with asked_ledger(asked.ledger) as ledger:
        found = ledger.compare(a, b, since=since, until=until, timezone=asked.timezone)
        if asked.as_json:
            _json(found.to_dict())
        else:
            _print_comparison(found, m)


class _Row(NamedTuple):
    name: str
    values: tuple[Any, Any]
    """``None``: unknown."""
    write: Callable[[Any], str]
    more: Callable[[Any], str]


def _rows(found: "Comparison") -> list[_Row]:
    a, b = found.a, found.b

    def count(number: float) -> str:
        return f"{number:,.0f}"

    def more(number: float) -> str:
        return f"{number:+,.0f}"

    rows = [
        _Row("calls", (a.totals.calls, b.totals.calls), count, more),
        _Row("errors", (a.totals.errors, b.totals.errors), count, more),
        _Row("cost", (a.totals.cost, b.totals.cost), _money, _more),
        _Row("cost_per_call", (a.cost_per_call, b.cost_per_call), _money, _more),
    ]
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    rows += [_Row(name, (a.per_call(name), b.per_call(name)), count, more) for name in names]
    return [row for row in rows if any(row.values) or row.name in {"calls", "cost"}]


def _change(row: _Row) -> str:
    before, after = row.values
    if before is None or after is None:
        return "?"
    part = f" ({float((Fraction(after) - Fraction(before)) / Fraction(before)):+.0%})" if before else ""
    return "=" if before == after else f"{row.more(after - before)}{part}"


def _print_comparison(found: "Comparison", m: Messages) -> None:
    from rich import box  # noqa: PLC0415 - not for `run`
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from openai_meter.reports.text import fitting, shown  # noqa: PLC0415
    from openai_meter.reports.words import heading, label  # noqa: PLC0415

    console = Console(highlight=False, markup=False, emoji=False)

    def text(words: str, style: str = "") -> Text:
        return Text(fitting(words, console.encoding), style)

    def table(first: str, *heads: str) -> Table:
        made = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False, show_edge=False)
        made.add_column(text(first), overflow="fold")
        for head in heads:
            made.add_column(text(head), justify="right", overflow="fold")
        return made

    sides = table("", shown(found.a.name), shown(found.b.name), m("upkeep.difference"))
    for row in _rows(found):
        cells = ["?" if value is None else row.write(value) for value in row.values]
        sides.add_row(text(m(f"upkeep.{row.name}"), "cyan"), *map(text, [*cells, _change(row)]))
    console.print(sides)
    names = found.causes._fields
    why = table(heading("model", m), *(m(f"upkeep.{name}") for name in names), m("upkeep.difference"))
    for model, causes in sorted(found.by_model.items(), key=lambda pair: -abs(Fraction(_whole(pair[1])))):
        why.add_row(text(label(model, m), "cyan"), *map(text, _caused(causes)))
    why.add_section()
    why.add_row(text(m("table.total"), "bold"), *map(text, _caused(found.causes)))
    console.print(text(f"\n{m('upkeep.causes')}", "bold"))
    console.print(why)
    console.print(text(m("upkeep.causes_are"), "dim"))
    if unpriced := found.a.totals.unpriced_calls + found.b.totals.unpriced_calls:
        console.print(text(m("upkeep.not_compared", n=unpriced), "dim"))


def _whole(causes: "Causes") -> Amount:
    return sum(causes)


def _caused(causes: "Causes") -> list[str]:
    amounts = [*causes, _whole(causes)]
    return [_more(-usd(-one) if one < 0 else usd(one)) if one else "-" for one in amounts]


# --- reprice and prune ------------------------------------------------------------------------------------------------


def reprice(asked: Asked, since: str | None, until: str | None, prices: str | None) -> None:
    """Prices again what has no full price, and writes how many calls have one now."""
    m = language(asked.lang)
    with asked_ledger(asked.ledger) as ledger:
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`

        span = {"since": since, "until": until, "timezone": asked.timezone}
        done = ledger.reprice(PriceBook(prices), **span)
        left = ledger.totals(**span).unpriced_calls
        if asked.as_json:
            _json({"repriced": done, "unpriced_calls": left})
        else:
            _say(m("upkeep.repriced", n=done), *([m("upkeep.left", n=left)] if left else []))


def prune(asked: Asked, before: str, *, yes: bool) -> None:
    """Deletes the details of old calls, if the user agrees. Exit code 1: they did not."""
    m = language(asked.lang)
    with asked_ledger(asked.ledger) as ledger:
        from openai_meter.ledger.periods import DAY_US, parse_moment, zone_of  # noqa: PLC0415 - not for `run`
        from openai_meter.ledger.recent_windows import count_before  # noqa: PLC0415
        from openai_meter.ledger.rows import micros  # noqa: PLC0415

        at = parse_moment("before", before, zone_of(asked.timezone), datetime.now(UTC))
        assert at is not None
        midnight = at - timedelta(microseconds=micros(at) % DAY_US)  # whole days in UTC go
        day, number = f"{midnight:%Y-%m-%d}", count_before(ledger, midnight)
        if number and not yes:
            _confirm(m, number, day, as_json=asked.as_json)
        done = ledger.prune(midnight) if number else 0
        if asked.as_json:
            _json({"pruned": done, "before": day})
        else:
            _say(m("upkeep.pruned", n=done, text=day) if number else m("upkeep.nothing_old", day=day))


def _confirm(m: Messages, number: int, day: str, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        give_up(m("upkeep.say_yes", n=number, text=day), 2)
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

    sys.stderr.write(fitting(m("upkeep.ask", n=number, text=day), sys.stderr.encoding))
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
        sys.stderr.write("\n")
    if answer.strip().lower() not in _YES:
        give_up(m("upkeep.kept"), 1)


# --- how they are asked -----------------------------------------------------------------------------------------------


def add_commands(app: "typer.Typer") -> None:
    """Adds the commands to the command line."""
    _add_forecast(app)
    _add_compare(app)
    _add_reprice(app)
    _add_prune(app)


class _Options:
    """What several commands have in common."""

    def __init__(self) -> None:
        import typer  # noqa: PLC0415 - not for `run`

        self.ledger = typer.Option(
            "--ledger", metavar="URL", help="The ledger; by default that of OPENAI_METER_LEDGER."
        )
        self.since = typer.Option("--since", help="From when on: 7d, 12h, today, 2026-10, 2026-10-31, a time.")
        self.until = typer.Option("--until", help="Until when; a date is included. Until now by default.")
        self.timezone = typer.Option("--timezone", help="Europe/Paris, local ...; UTC by default, as OpenAI bills.")
        self.as_json = typer.Option("--json", help="Write JSON.")
        self.lang = typer.Option("--lang", callback=_spoken, help="en or fr; by default that of the locale.")


def _spoken(lang: str | None) -> str | None:
    import typer  # noqa: PLC0415 - not for `run`

    try:
        language(lang)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    return lang


def _add_forecast(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    def known(period: str) -> str:
        if period not in _PERIODS:
            raise typer.BadParameter(f"{period!r} cannot be foreseen; use day, week or month")
        return period

    @app.command("forecast")
    def foresee(
        ctx: typer.Context,
        period: Annotated[str, typer.Argument(metavar="[day | week | month]", callback=known)] = "month",
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; several may be.")] = None,
        agent: Annotated[list[str] | None, typer.Option("--agent", help="Only this agent; several may be.")] = None,
        user: Annotated[list[str] | None, typer.Option("--user", help="Only this user; several may be.")] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Foresee what this day, week or month will have cost at its end."""
        filters = {name: some for name, some in (("model", model), ("agent", agent), ("user", user)) if some}
        ctx.obj.append(partial(forecast, Asked(ledger, timezone, lang, as_json), period, filters))


def _add_compare(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()
    part = "2026-10, 7d, 2026-10-01..2026-10-15, agent=planner, tag:prompt=v2"

    @app.command("compare")
    def compare_parts(
        ctx: typer.Context,
        a: Annotated[str, typer.Argument(metavar="A", show_default=False, help=f"A part of history: {part}.")],
        b: Annotated[str, typer.Argument(metavar="B", show_default=False, help="Another, told by what it costs more.")],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Compare two parts of history: what a call takes in each, and where the difference in cost comes from."""
        ctx.obj.append(partial(compare, Asked(ledger, timezone, lang, as_json), a, b, since, until))


def _add_reprice(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("reprice")
    def price_again(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        prices: Annotated[
            str | None, typer.Option("--prices", metavar="FILE", help="Your own prices, as a TOML file.")
        ] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Price again the calls that have no full price, each at the price of its day."""
        ctx.obj.append(partial(reprice, Asked(ledger, timezone, lang, as_json), since, until, prices))


def _add_prune(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("prune")
    def delete_details(
        ctx: typer.Context,
        before: Annotated[str, typer.Argument(metavar="BEFORE", show_default=False, help="90d, 2026-08, 2026-08-01.")],
        *,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Delete the details of old calls; their sums per day stay, with model, agent, user and more.

        Whole days in UTC go; sessions and tags of those days are lost. It asks first.
        """
        ctx.obj.append(partial(prune, Asked(ledger, timezone, lang, as_json), before, yes=yes))
