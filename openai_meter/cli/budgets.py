"""The command ``budgets``: what the budgets of a store have spent, over all processes."""

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from openai_meter.budgets.budget import amount_in
from openai_meter.budgets.stored import BudgetReader, StoredRow
from openai_meter.budgets.stores import StoreUnavailableError, open_store
from openai_meter.cli.output import fail, write_json, write_lines
from openai_meter.core import settings
from openai_meter.core.formatting import exact_dollars, number, percent
from openai_meter.core.locale import Messages, language
from openai_meter.reports.text import shown

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "budgets"]


def _to_dict(one: StoredRow) -> dict[str, Any]:
    budget, row = one.budget, one.row

    def plain(amount: int) -> str | int:
        return f"{amount_in(budget.unit, amount):f}" if budget.unit == "usd" else amount

    return {
        "name": budget.name,
        "key": budget.key,
        "unit": budget.unit,
        "every": budget.every,
        "limit": plain(row.limit),
        "spent": plain(row.spent),
        "held": plain(max(row.granted, 0)),
        "left": plain(max(row.limit - row.spent - row.granted, 0)),
        "overdrawn": plain(max(row.spent - row.limit, 0)),
        "share": one.share,
        "starts_at": budget.start.isoformat(),
        "resets_at": None if one.ends_at is None else one.ends_at.isoformat(),
    }


def _line(one: StoredRow, m: Messages) -> str:
    budget, row = one.budget, one.row
    name = shown(budget.name, 40)
    if budget.key is not None:
        name = m("budget.of", budget=name, key=shown(budget.key, 40))
    text = m(
        "cli.budget.line",
        name=name,
        spent=_amount(budget.unit, row.spent, m),
        limit=_amount(budget.unit, row.limit, m),
        share=percent(one.share, m.numbers),
        held=_amount(budget.unit, max(row.granted, 0), m),
    )
    return text if one.ends_at is None else text + m("cli.budget.resets", at=f"{one.ends_at:%Y-%m-%d %H:%M}")


def _amount(unit: str, amount: int, m: Messages) -> str:
    if unit == "usd":
        return exact_dollars(amount_in(unit, amount), m.numbers)
    return m(unit, n=amount, text=number(amount, m.numbers))


def budgets(url: str | None, lang: str | None, *, as_json: bool) -> None:
    """Writes a line for each budget and key."""
    m = language(lang)
    url = url or settings.get("budget_store")
    if not url:
        fail(m("cli.budget.no_store", variable=settings.variable("budget_store")), 2)
    try:
        with closing(BudgetReader(url)) as reader:
            rows = reader.rows()
    except StoreUnavailableError as error:
        fail(m("cli.budget.away", error=error), 1)
    if as_json:
        write_json({"budgets": [_to_dict(one) for one in rows]})
    else:
        write_lines(*([_line(one, m) for one in rows] or [m("cli.budget.none")]))


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, checked  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "budgets",
        cls=Command,
        help=t("budgets"),
        epilog=example(
            "openai-meter budgets --store sqlite:///budgets.db", "openai-meter budgets --store redis://localhost --json"
        ),
    )
    def show_budgets(
        ctx: typer.Context,
        *,
        store: Annotated[
            str | None, typer.Option("--store", metavar="URL", callback=checked(open_store), help=t("budgets.store"))
        ] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        ctx.obj.append(partial(budgets, store, lang, as_json=as_json))
