"""The command ``openai-meter doctor``.

Exit codes: 1 where there is a problem (with ``--strict``, also where there is a warning), else 0.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.doctor.diagnosis import PATIENCE
from openai_meter.cli.output import write_json
from openai_meter.core.locale import Messages

if TYPE_CHECKING:
    import typer

    from openai_meter.cli.doctor.child import Progress

__all__ = ["add_commands", "run"]


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    patience_option = typer.Option("--patience", metavar="SECONDS", min=1, help=t("doctor.patience"))

    @app.command(
        "doctor",
        cls=Command,
        help=t("doctor"),
        epilog=example("openai-meter doctor", "openai-meter doctor --strict --ledger sqlite:///usage.db"),
    )
    def doctor(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        strict: Annotated[bool, typer.Option("--strict", help=t("doctor.strict"))] = False,
        patience: Annotated[float, patience_option] = PATIENCE,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        ctx.obj.append(partial(run, as_json=as_json, strict=strict, ledger=ledger, patience=patience, lang=lang))


def run(*, as_json: bool, strict: bool, ledger: str | None, patience: float, lang: str | None) -> None:
    """Examines this installation, and writes what was found."""
    from openai_meter.cli.doctor.examination import examine  # noqa: PLC0415 - not for the other commands
    from openai_meter.cli.doctor.locale import sentences  # noqa: PLC0415

    m = sentences(lang)
    with _progress(m) as on_progress:
        diagnosis = examine(ledger=ledger, patience=patience, on_progress=on_progress)
    if as_json:
        write_json(diagnosis.to_dict(m.code))
    else:
        from openai_meter.cli.doctor.tables import print_diagnosis  # noqa: PLC0415 - loads rich

        print_diagnosis(diagnosis, m, sys.stdout)
    raise SystemExit(diagnosis.exit_code(strict=strict))


@contextmanager
def _progress(m: Messages) -> Iterator["Progress | None"]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(m("trying"), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
