"""The command ``openai-meter doctor``.

Exit codes: 1 where there is a problem (with ``--strict``, also where there is a warning), else 0.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.doctor.diagnosis import PATIENCE
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.cli.doctor.child import Progress

__all__ = ["add_command", "run"]


def add_command(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.errors import MeterError  # noqa: PLC0415

    @app.command()
    def doctor(
        ctx: typer.Context,
        *,
        ledger: Annotated[
            str | None,
            typer.Option("--ledger", metavar="URL", help="The ledger to look at; by default that of the environment."),
        ] = None,
        strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
        patience: Annotated[
            float, typer.Option(metavar="SECONDS", min=1, help="How long trying all calls may take together.")
        ] = PATIENCE,
        as_json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
        lang: Annotated[str | None, typer.Option("--lang", help="en or fr; by default that of the locale.")] = None,
    ) -> None:
        """Examine this installation: which calls are counted here, who else patches openai, and what is missing."""
        try:
            language(lang)
        except MeterError as error:
            raise typer.BadParameter(str(error), param_hint="--lang") from None
        ctx.obj.append(partial(run, as_json=as_json, strict=strict, ledger=ledger, patience=patience, lang=lang))


def run(*, as_json: bool, strict: bool, ledger: str | None, patience: float, lang: str | None) -> None:
    """Examines this installation, and writes what was found."""
    from openai_meter.cli.doctor.examination import examine  # noqa: PLC0415 - not for the other commands
    from openai_meter.cli.doctor.locale import sentences  # noqa: PLC0415

    m = sentences(lang)
    with _progress(m) as on_progress:
        diagnosis = examine(ledger=ledger, patience=patience, on_progress=on_progress)
    if as_json:
        json.dump(diagnosis.to_dict(m.code), sys.stdout, indent=2)
        sys.stdout.write("\n")
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
