"""The command ``reprice``: prices again the calls of a ledger that have no full price."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.hosts import parsed_hosts
from openai_meter.cli.ledger import Selection, open_ledger
from openai_meter.cli.output import write_json, write_lines
from openai_meter.core import settings
from openai_meter.core.locale import language

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "reprice"]


def reprice(selection: Selection, prices: str | None, hosts: Sequence[str], lang: str | None, *, as_json: bool) -> None:
    """Prices calls again, and writes how many have a full price now."""
    m = language(lang)
    with open_ledger(selection.ledger, lang=lang) as ledger:
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`

        done = ledger.reprice(PriceBook(prices), hosts=_hosts(hosts), **selection.keywords())
        report = ledger.report("model", **selection.keywords())
        left = report.totals.unpriced_calls
        if as_json:
            write_json({"repriced": done, "unpriced_calls": left})
        else:
            from openai_meter.reports.words import unpriced_notes  # noqa: PLC0415 - not for `run`

            why = [m("upkeep.left", n=left), *unpriced_notes(report.unpriced, m)] if left else []
            write_lines(m("upkeep.repriced", n=done), *why)


def _hosts(texts: Sequence[str]) -> dict[str, str] | None:
    return {**settings.get("hosts"), **parsed_hosts(texts)} if texts else None


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "reprice",
        cls=Command,
        help=t("reprice"),
        epilog=example("openai-meter reprice --since 2026-10", "openai-meter reprice --host llm.example.com"),
    )
    def price_again(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        prices: Annotated[str | None, typer.Option("--prices", metavar="FILE", help=t("reprice.prices"))] = None,
        host: Annotated[list[str] | None, options.host] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        selection = Selection(ledger, since, until, timezone)
        ctx.obj.append(partial(reprice, selection, prices, host or (), lang, as_json=as_json))
