"""The command ``import``: stores the calls of files in a ledger."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from openai_meter.cli.ledger import open_ledger, with_progress

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "import_files"]

_T = TypeVar("_T")


def import_files(url: str | None, files: list[str], timezone: str | None) -> None:
    """Stores the calls of files in a ledger, and writes how many of each file."""
    with open_ledger(url, create=True) as ledger:
        from openai_meter.ledger import imports  # noqa: PLC0415 - not for `run`
        from openai_meter.ledger.periods import zone_of  # noqa: PLC0415
        from openai_meter.pricing import PriceBook  # noqa: PLC0415

        book = PriceBook()
        zone = None if timezone is None else zone_of(timezone)
        sources = [imports.read(file, book, zone) for file in files]
        for source in sources:
            last: list[int] = []
            new = ledger.import_calls(with_progress(_counted(source, last), 0))
            known = len(last) and last[-1] - new
            rest = f", {known:,} were there already" * bool(known)
            rest += f", {source.skipped:,} lines were of no call" * bool(source.skipped)
            sys.stdout.write(f"{source.path}: {new:,} calls{rest}\n")


def _counted(calls: Iterator[_T] | Any, last: list[int]) -> Iterator[_T]:
    """The same calls; ``last`` holds the number of calls that were read."""
    for number, call in enumerate(calls, 1):
        last[:] = [number]
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
            "openai-meter import calls.jsonl --ledger sqlite:///usage.db", "openai-meter import batch_output.jsonl"
        ),
    )
    def import_calls(
        ctx: typer.Context,
        files: Annotated[list[str], files_argument],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help=t("import.timezone"))] = None,
    ) -> None:
        ctx.obj.append(partial(import_files, ledger, files, timezone))
