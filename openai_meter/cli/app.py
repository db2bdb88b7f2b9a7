"""The command ``openai-meter``.

A command is one file in this package. To add one, write a module with a function ``add_commands(app)``, which adds a
command to the typer application, and add the module to :data:`COMMANDS`. The command only reads its arguments and calls
``ctx.obj.append(job)``. :func:`main` runs the job after typer has left the stack: typer would turn the Ctrl-C and the
end of input of a metered program into exceptions of its own.

``run`` and ``statusline`` are read without typer unless something is wrong with their arguments: typer loads libraries
that a metered program may not need, and takes longer to load than many programs to run.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import openai_meter

if TYPE_CHECKING:
    import typer

__all__ = ["COMMANDS", "Job", "main"]

Job = Callable[[], None]
"""The work of a command, with its arguments."""

COMMANDS: tuple[str, ...] = (
    "run",
    "demo",
    "report",
    "check",
    "budgets",
    "top",
    "statusline",
    "serve",
    "proxy",
    "forecast",
    "compare",
    "reconcile",
    "statement",
    "export",
    "import_calls",
    "reprice",
    "prune",
    "prices",
    "explain",
    "estimate",
    "webhook",
    "doctor.command",
    "docs",
)
"""The modules of this package that add commands, in the order of the help page."""

_READ_WITHOUT_TYPER = ("run", "statusline")
"""The modules that have a function ``read(args)`` too: the job of correct arguments, or None."""


def main() -> None:
    """Runs the command line of this process; the console entry ``openai-meter``.

    Ends with the exit code of the program that it ran. Exit code 2: the arguments cannot be used.
    """
    args = sys.argv[1:]
    job = _read_without_typer(args) or _read_with_typer(args)
    job()


def _read_without_typer(args: list[str]) -> Job | None:
    if args[:1] and args[0] in _READ_WITHOUT_TYPER:
        job: Job | None = import_module(f"openai_meter.cli.{args[0]}").read(args[1:])
        return job
    return None


def _read_with_typer(args: list[str]) -> Job:
    jobs: list[Job] = []
    try:
        # typer always ends with SystemExit: after a command, after --help, and after an error in the arguments.
        _make_app()(args=args, prog_name="openai-meter", obj=jobs)
    except SystemExit:
        if not jobs:
            raise
    return jobs[0]


def _make_app() -> "typer.Typer":
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Group, example, texts  # noqa: PLC0415

    t = texts()
    app = typer.Typer(
        cls=Group,
        help=t("app"),
        epilog=example("openai-meter demo", "openai-meter run program.py", "openai-meter report --by agent,model"),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # an error message is for copying: no frame around it, no line breaks in it
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"openai-meter {openai_meter.__version__}")
            raise typer.Exit

    version_option = typer.Option("--version", callback=show_version, is_eager=True, help=t("version"))

    @app.callback()
    def read_options(*, version: Annotated[bool, version_option] = False) -> None:
        pass

    for name in COMMANDS:
        import_module(f"openai_meter.cli.{name}").add_commands(app)
    return app
