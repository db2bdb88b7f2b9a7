"""The command ``openai-meter``.

Commands only read their arguments and leave a job; :func:`main` does it when typer has gone from the stack, which would
turn the program's Ctrl-C and end of input into exceptions of its own. A new command is one more function under
``@app.command()`` that calls ``ctx.obj.append(job)``.

``run`` is read without typer unless something is wrong with it: typer brings libraries into the process that the
program has not asked for, and takes longer to load than many a program to run.
"""

import getopt
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import openai_meter
from openai_meter import runner

if TYPE_CHECKING:
    import typer

    from openai_meter.demo.workflow import Step

__all__ = ["main"]

Job = Callable[[], None]


def main() -> None:
    """Runs the command line of this process; the console entry ``openai-meter``.

    Ends as the program does that it runs. Exit code 2: the arguments cannot be used.
    """
    job = _read_run(sys.argv[1:]) or _read_command_line(sys.argv[1:])
    job()


def _read_run(args: list[str]) -> Job | None:
    """The job of a correct ``run`` command; None is for typer, to explain what is wrong or to help."""
    if args[:1] != ["run"]:
        return None
    try:
        pairs, program = getopt.getopt(args[1:], "mqo:", ["json", "quiet", "output="])
        options = dict(pairs)
        return _prepare(
            program,
            module="-m" in options,
            as_json="--json" in options,
            quiet=not options.keys().isdisjoint({"-q", "--quiet"}),
            output=options.get("--output", options.get("-o")),
        )
    except (getopt.GetoptError, runner.ProgramNotFoundError, NotADirectoryError):
        return None


def _prepare(program: list[str], *, module: bool, as_json: bool, quiet: bool, output: str | None) -> Job:
    """The job of running a program.

    Raises:
        ProgramNotFoundError: there is no such program.
        NotADirectoryError: there is no such folder for the output.
    """
    if not program:
        raise runner.ProgramNotFoundError("name the program to run")
    path = None if output is None else Path(output).absolute()
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise NotADirectoryError(f"{output!r} is a folder" if path.is_dir() else f"make the folder {path.parent} first")
    name, *args = program
    found = runner.find_module(name, args) if module else runner.find_program(name, args)
    return partial(runner.run, found, _renderer(as_json=as_json, quiet=quiet), path)


def _read_command_line(args: list[str]) -> Job:
    jobs: list[Job] = []
    try:
        # It always ends so: after a command, after --help, and after an error in the arguments, which it has explained.
        _make_app()(args=args, prog_name="openai-meter", obj=jobs)
    except SystemExit:
        if not jobs:
            raise
    return jobs[0]


def _make_app() -> "typer.Typer":
    import typer  # noqa: PLC0415 - not for `run`

    app = typer.Typer(
        help="Counts the OpenAI calls of a Python program, without a change to it.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # an error message is for copying from: no frame around it, no line breaks in it
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    as_json_option = typer.Option("--json", help="Write the summary as JSON.")
    quiet_option = typer.Option("--quiet", "-q", help="Write the summary as one line.")

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"openai-meter {openai_meter.__version__}")
            raise typer.Exit

    version_option = typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")

    @app.callback()
    def read_options(*, version: Annotated[bool, version_option] = False) -> None:
        pass

    @app.command(context_settings={"allow_interspersed_args": False}, options_metavar="[OPTIONS] [--]")
    def run(
        ctx: typer.Context,
        program: Annotated[
            list[str],
            typer.Argument(
                metavar="PROGRAM [ARGS]...",
                help="A script, a directory or zip archive with a __main__.py, or a Python command on PATH.",
                show_default=False,
            ),
        ],
        *,
        module: Annotated[bool, typer.Option("-m", help="PROGRAM is a module, as for python -m.")] = False,
        as_json: Annotated[bool, as_json_option] = False,
        quiet: Annotated[bool, quiet_option] = False,
        output: Annotated[
            str | None,
            typer.Option("--output", "-o", metavar="FILE", help="Write the summary there instead of standard error."),
        ] = None,
    ) -> None:
        """Run a program as python does, and write at its end what it used.

        Options of openai-meter come before PROGRAM; everything after it belongs to the program.
        """
        try:
            ctx.obj.append(_prepare(program, module=module, as_json=as_json, quiet=quiet, output=output))
        except runner.ProgramNotFoundError as error:
            raise typer.BadParameter(str(error), param_hint="PROGRAM") from None
        except NotADirectoryError as error:
            raise typer.BadParameter(str(error), param_hint="--output") from None

    @app.command()
    def demo(
        ctx: typer.Context,
        *,
        as_json: Annotated[bool, as_json_option] = False,
        quiet: Annotated[bool, quiet_option] = False,
    ) -> None:
        """Meter a workflow of four agents against a local stand-in for the OpenAI API: no key, no network."""
        ctx.obj.append(partial(_demo, _renderer(as_json=as_json, quiet=quiet), quiet=quiet))

    return app


def _demo(render: runner.Render, *, quiet: bool) -> None:
    from openai_meter.demo import workflow  # noqa: PLC0415 - loads openai
    from openai_meter.demo.server import DemoServer  # noqa: PLC0415

    meter = openai_meter.install()
    try:
        with DemoServer() as server, _progress(len(workflow.STEPS), quiet=quiet) as on_step:
            workflow.run(server.base_url, on_step)
    finally:
        openai_meter.uninstall()
    render(meter, sys.stdout, None)


@contextmanager
def _progress(steps: int, *, quiet: bool) -> Iterator[Callable[["Step"], None]]:
    """Shows on standard error which step is being done: live on a terminal, line by line elsewhere."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield lambda step: print(f"{step.agent}: {step.description}", file=sys.stderr)  # noqa: T201
    else:
        from rich.console import Console  # noqa: PLC0415 - not for `run`
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=steps)
            done = iter(range(steps))
            yield lambda step: progress.update(
                task, description=f"[bold]{step.agent}[/bold] {step.description}", completed=next(done, steps)
            )


def _renderer(*, as_json: bool, quiet: bool) -> runner.Render:
    return _render_json if as_json else _render_line if quiet else _render_table


def _render_json(meter: "openai_meter.Meter", file: TextIO, process: int | None) -> None:
    about: dict[str, Any] = {} if process is None else {"process": process}
    json.dump(about | meter.to_dict(), file, indent=2, ensure_ascii=False)
    file.write("\n")


def _render_line(meter: "openai_meter.Meter", file: TextIO, process: int | None) -> None:
    line = meter.summary() if _has_something(meter) else "no OpenAI call was made"
    file.write(f"openai-meter: {_child(process)}{line}\n")


def _render_table(meter: "openai_meter.Meter", file: TextIO, process: int | None) -> None:
    if not _has_something(meter):
        _render_line(meter, file, process)
        return
    if process is not None:
        file.write(f"openai-meter: {_child(process).rstrip()}\n")
    meter.print_summary(file=file)


def _child(process: int | None) -> str:
    return "" if process is None else f"forked process {process}: "


def _has_something(meter: "openai_meter.Meter") -> bool:
    return bool(meter.totals.calls or meter.pending or meter.faults)
