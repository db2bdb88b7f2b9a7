"""The command ``import``: stores the calls of files in a ledger."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from openai_meter.cli.ledger import open_ledger, with_progress

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.imports import Source

__all__ = ["add_commands", "import_files"]

_T = TypeVar("_T")


def import_files(url: str | None, files: list[str], timezone: str | None) -> None:
    """Stores the calls of files in a ledger, and writes how many of each file."""
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
            rest = f", {known:,} {'was' if known == 1 else 'were'} there already" * bool(known)
            skipped = source.skipped
            rest += f", {skipped:,} {'line was' if skipped == 1 else 'lines were'} of no call" * bool(skipped)
            sys.stdout.write(f"{source.path}: {_calls(new)}{rest}\n")
            sys.stdout.writelines(f"{source.path}: {note}\n" for note in _notes(source))


def _notes(source: "Source") -> Iterator[str]:
    """What a reader of the ledger has to know about a file: what is not in it, and what costs something else."""
    from openai_meter.core.money import usd  # noqa: PLC0415 - not for `run`

    missing = source.missing
    if any(missing):
        tokens = f"{missing.tokens:,} token{'' if missing.tokens == 1 else 's'}"
        least = "" if source.missing_cost_known else "at least "
        yield (
            f"{_calls(missing.calls)}, {tokens} and {least}${usd(missing.cost):f} of its totals are not "
            "in its details, and cannot be imported"
        )
    if source.priced_anew:
        verb = "was" if source.priced_anew == 1 else "were"
        yield (
            f"{_calls(source.priced_anew)} {verb} priced anew: ${usd(source.ours):f}, where the file states "
            f"${usd(source.stated):f}"
        )


def _calls(number: int) -> str:
    return f"{number:,} call{'' if number == 1 else 's'}"


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
