"""The command ``import``: stores the calls of files in a ledger."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from openai_meter.cli.ledger import open_ledger, with_progress
from openai_meter.cli.output import write_lines
from openai_meter.core.formatting import exact_dollars, number
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.imports import Source

__all__ = ["add_commands", "import_files"]

_T = TypeVar("_T")


OPENAI_USAGE = "openai-usage"
"""In the place of the first file: the others are usage and costs of OpenAI, and no calls."""


def import_bills(url: str | None, files: list[str]) -> None:
    """Keeps usage and costs in a ledger, for ``reconcile``; writes how many rows of each file."""
    m = language()
    with open_ledger(url, create=True) as ledger:
        from openai_meter.ledger.billing.exported import read_files  # noqa: PLC0415 - not for `run`

        bills = [(file, read_files([file])) for file in files]
        for file, bill in bills:
            ledger.import_bill(bill)
            days = sorted([*(row.day.isoformat() for row in bill.usage), *(row.day.isoformat() for row in bill.costs)])
            period = f"{days[0]}..{days[-1]}" if days else "-"
            write_lines(f"{file}: {m('reconcile.stored', n=len(days), text=period)}")


def import_files(url: str | None, files: list[str], timezone: str | None) -> None:
    """Stores the calls of files in a ledger, and writes how many of each file."""
    m = language()
    with open_ledger(url, create=True) as ledger:
        from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415
        from openai_meter.ledger import imports  # noqa: PLC0415 - not for `run`
        from openai_meter.pricing import PriceBook  # noqa: PLC0415

        book = PriceBook()
        zone = None if timezone is None else zone_of(timezone)
        sources = [imports.read(file, book, zone) for file in files]
        for source in sources:
            last: list[int] = []
            new = ledger.import_calls(with_progress(_counted(source, last), 0))
            known = len(last) and last[-1] - new
            parts = [m("calls", n=new)]
            parts += [m("cli.import.known", n=known)] * bool(known)
            parts += [m("cli.import.skipped", n=source.skipped)] * bool(source.skipped)
            write_lines(*(f"{source.path}: {line}" for line in (", ".join(parts), *_notes(source, m))))


def _notes(source: "Source", m: Messages) -> Iterator[str]:
    """What a reader of the ledger has to know about a file: what is not in it, and what costs something else."""
    from openai_meter.core.money import usd  # noqa: PLC0415 - not for `run`

    missing, money = source.missing, partial(exact_dollars, style=m.numbers)
    if any(missing):
        yield m(
            "cli.import.missing" if source.missing_cost_known else "cli.import.missing_at_least",
            calls=m("calls", n=missing.calls),
            tokens=m("tokens", n=missing.tokens, text=number(missing.tokens, m.numbers)),
            cost=money(usd(missing.cost)),
        )
    if source.priced_anew:
        values = {"cost": money(usd(source.ours)), "stated": money(usd(source.stated))}
        yield m("cli.import.priced_anew", n=source.priced_anew, text=m("cli.import.costs", **values))


def _counted(calls: Iterator[_T] | Any, last: list[int]) -> Iterator[_T]:
    """The same calls; ``last`` holds the number of calls that were read."""
    for place, call in enumerate(calls, 1):
        last[:] = [place]
        yield call


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    files_argument = typer.Argument(metavar="FILE", show_default=False, help=t("import.files"))

    @app.command(
        "import",
        cls=Command,
        help=t("import"),
        epilog=example(
            "openai-meter import calls.jsonl --ledger sqlite:///usage.db",
            "openai-meter import batch_output.jsonl",
            "openai-meter import openai-usage usage.csv costs.csv",
        ),
    )
    def import_calls(
        ctx: typer.Context,
        files: Annotated[list[str], files_argument],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help=t("import.timezone"))] = None,
    ) -> None:
        if files[0] == OPENAI_USAGE and files[1:]:
            ctx.obj.append(partial(import_bills, ledger, files[1:]))
        else:
            ctx.obj.append(partial(import_files, ledger, files, timezone))
