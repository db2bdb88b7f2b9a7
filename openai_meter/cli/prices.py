"""The command ``prices``: the prices that calls are priced by, and the newest catalog of them.

Exit code 1: there are no such prices, or the catalog cannot be fetched.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.output import fail, write_json
from openai_meter.core.locale import language

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "prices"]


def prices(model: str | None, *, as_json: bool, lang: str | None) -> None:
    """Writes prices: of one model, of all, or (``update``) those that the newest catalog changes."""
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`
    from openai_meter.reports import bills  # noqa: PLC0415

    book = PriceBook()
    if model == "update":
        before = {(rate.model, rate.tier, rate.bracket): rate.prices for rate in book.current()}
        try:
            book.update()
        except Exception as error:
            fail(language(lang)("cli.not_fetched", error=error), 1)
        rates = [rate for rate in book.current() if before.get((rate.model, rate.tier, rate.bracket)) != rate.prices]
    else:
        rates = list(book.current(model))
        if not rates:
            fail(language(lang)("cli.no_price", model=repr(model)), 1)
    if as_json:
        write_json(bills.rate_values(rates))
    else:
        bills.print_rates(rates, lang=lang)


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    model_argument = typer.Argument(metavar="MODEL | update", help=t("prices.model"))

    @app.command(
        "prices",
        cls=Command,
        help=t("prices"),
        epilog=example("openai-meter prices gpt-4o-mini", "openai-meter prices update"),
    )
    def show_prices(
        ctx: typer.Context,
        model: Annotated[str | None, model_argument] = None,
        *,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        ctx.obj.append(partial(prices, model, as_json=as_json, lang=lang))
