"""The command ``compare``: compares two parts of history, and shows where the difference in cost comes from."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.ledger import Selection, open_ledger
from openai_meter.cli.output import write_json
from openai_meter.core.formatting import column_places, dollars, fixed_dollars, number, percent, signed
from openai_meter.core.locale import Messages, language
from openai_meter.core.money import Amount, usd

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.comparisons import Causes, Comparison

__all__ = ["add_commands", "compare"]


def compare(selection: Selection, a: str, b: str, lang: str | None, *, as_json: bool) -> None:
    """Writes two parts of history next to each other, and where the difference comes from."""
    m = language(lang)
    with open_ledger(selection.ledger, lang=lang) as ledger:
        found = ledger.compare(a, b, since=selection.since, until=selection.until, timezone=selection.timezone)
        if as_json:
            write_json(found.to_dict())
        else:
            _print_comparison(found, m)


class _Row(NamedTuple):
    name: str
    values: tuple[Any, Any]
    """``None``: unknown."""
    write: Callable[[Any], str]


def _rows(found: "Comparison", m: Messages) -> list[_Row]:
    a, b = found.a, found.b
    count, money = partial(number, style=m.numbers, spec=",.0f"), partial(dollars, style=m.numbers)
    rows = [
        _Row("calls", (a.totals.calls, b.totals.calls), count),
        _Row("errors", (a.totals.errors, b.totals.errors), count),
        _Row("cost", (a.totals.cost, b.totals.cost), money),
        _Row("cost_per_call", (a.cost_per_call, b.cost_per_call), money),
    ]
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    rows += [_Row(name, (a.per_call(name), b.per_call(name)), count) for name in names]
    return [row for row in rows if any(row.values) or row.name in {"calls", "cost"}]


def _change(row: _Row, m: Messages) -> str:
    before, after = row.values
    if before is None or after is None:
        return "?"
    if before == after:
        return "="
    change = signed(after - before, row.write)
    if not before:
        return change
    part = float((Fraction(after) - Fraction(before)) / Fraction(before))
    return f"{change} ({signed(part, partial(percent, style=m.numbers))})"


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
    for row in _rows(found, m):
        cells = ["?" if value is None else row.write(value) for value in row.values]
        sides.add_row(text(m(f"upkeep.{row.name}"), "cyan"), *map(text, [*cells, _change(row, m)]))
    console.print(sides)
    names = found.causes._fields
    why = table(heading("model", m), *(m(f"upkeep.{name}") for name in names), m("upkeep.difference"))
    models = sorted(found.by_model.items(), key=lambda pair: -abs(Fraction(_sum(pair[1]))))
    *lines, total = _cells([*(causes for _, causes in models), found.causes], m)
    for (model, _), line in zip(models, lines, strict=True):
        why.add_row(text(label(model, m), "cyan"), *map(text, line))
    why.add_section()
    why.add_row(text(m("table.total"), "bold"), *map(text, total))
    console.print(text(f"\n{m('upkeep.causes')}", "bold"))
    console.print(why)
    console.print(text(m("upkeep.causes_are"), "dim"))
    if unpriced := found.a.totals.unpriced_calls + found.b.totals.unpriced_calls:
        console.print(text(m("upkeep.not_compared", n=unpriced), "dim"))


def _sum(causes: "Causes") -> Amount:
    return sum(causes)


def _cells(rows: "list[Causes]", m: Messages) -> list[tuple[str, ...]]:
    """The cells of each row; all amounts of a column have the same number of decimals."""
    columns = []
    for column in zip(*([*causes, _sum(causes)] for causes in rows), strict=True):
        amounts = [-usd(-one) if one < 0 else usd(one) for one in column]
        write = partial(fixed_dollars, style=m.numbers, places=column_places(amounts))
        columns.append([signed(one, write) if one else "-" for one in amounts])
    return list(zip(*columns, strict=True))


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "compare",
        cls=Command,
        help=t("compare"),
        epilog=example(
            "openai-meter compare 2026-09 2026-10", "openai-meter compare tag:prompt=v1 tag:prompt=v2 --since 7d"
        ),
    )
    def compare_parts(
        ctx: typer.Context,
        a: Annotated[str, typer.Argument(metavar="A", show_default=False, help=t("compare.a"))],
        b: Annotated[str, typer.Argument(metavar="B", show_default=False, help=t("compare.b"))],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        selection = Selection(ledger, since, until, timezone)
        ctx.obj.append(partial(compare, selection, a, b, lang, as_json=as_json))
