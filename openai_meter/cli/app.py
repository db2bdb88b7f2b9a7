"""The command ``openai-meter``.

Commands only read their arguments and leave a job; :func:`main` does it when typer has gone from the stack, which would
turn the program's Ctrl-C and end of input into exceptions of its own. A new command is one more function under
``@app.command()`` that calls ``ctx.obj.append(job)``.

``run`` is read without typer unless something is wrong with it: typer brings libraries into the process that the
program has not asked for, and takes longer to load than many a program to run.
"""

import getopt
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import openai_meter
from openai_meter.cli import prices as inquiries
from openai_meter.cli import run as runner
from openai_meter.cli.exit_summary import Ending, Look, Summary, dimensions_of, form_of, ledger_of, report_file
from openai_meter.cli.serve import port_of
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError, MeterError
from openai_meter.metering.attribution import Scope, tag

if TYPE_CHECKING:
    import typer

    from openai_meter.testing.fake_api.workflow import Step

__all__ = ["main"]

Job = Callable[[], None]


def main() -> None:
    """Runs the command line of this process; the console entry ``openai-meter``.

    Ends as the program does that it runs. Exit code 2: the arguments cannot be used.
    """
    args = sys.argv[1:]
    job = _read_run(args) or _read_statusline(args) or _read_command_line(args)
    job()


def _read_statusline(args: list[str]) -> Job | None:
    if args[:1] != ["statusline"]:
        return None
    from openai_meter.cli.live import commands  # noqa: PLC0415 - not for `run`

    return commands.read_statusline(args)


def _read_run(args: list[str]) -> Job | None:
    """The job of a correct ``run`` command; None is for typer, to explain what is wrong or to help."""
    if args[:1] != ["run"]:
        return None
    try:
        long = ["json", "quiet", "output=", "format=", "by=", "lang=", "report=", "ledger=", "serve="]
        pairs, program = getopt.getopt(args[1:], "mqo:", long)
        options = dict(pairs)
        return _prepare(
            program,
            module="-m" in options,
            look=Look(
                as_json="--json" in options,
                quiet=not options.keys().isdisjoint({"-q", "--quiet"}),
                form=options.get("--format"),
                by=options.get("--by"),
                lang=options.get("--lang"),
            ),
            output=options.get("--output", options.get("-o")),
            report=options.get("--report"),
            ledger=options.get("--ledger"),
            serve=options.get("--serve"),
        )
    except (getopt.GetoptError, runner.ProgramNotFoundError, NotADirectoryError, MeterError):
        return None


def _spoken(lang: str | None) -> str:
    """The language of a program's summary: no program has to stay down because of what the environment says of it."""
    try:
        return language(lang).code
    except ConfigurationError:
        if lang is not None:
            raise
        return "en"


def _prepare(
    program: list[str],
    *,
    module: bool,
    look: Look,
    output: str | None = None,
    report: str | None = None,
    ledger: str | None = None,
    serve: str | None = None,
) -> Job:
    """The job of running a program.

    Raises:
        ProgramNotFoundError: there is no such program.
        NotADirectoryError: there is no such folder for the output.
        ConfigurationError: the summary or the report cannot look like that, or there is no such ledger or port.
        MissingExtraError: a ledger or the server needs a package that is not installed.
    """
    if not program:
        raise runner.ProgramNotFoundError("name the program to run")
    path = None if output is None else Path(output).absolute()
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise NotADirectoryError(f"{output!r} is a folder" if path.is_dir() else f"make the folder {path.parent} first")
    name, *args = program
    found = runner.find_module(name, args) if module else runner.find_program(name, args)
    summary = look._replace(lang=_spoken(look.lang)).summary()
    ending = Ending(summary, path, report_file(report), ledger_of(ledger), port_of(serve))
    return partial(runner.run, found, ending)


def _read_command_line(args: list[str]) -> Job:
    jobs: list[Job] = []
    try:
        # It always ends so: after a command, after --help, and after an error in the arguments, which it has explained.
        _make_app()(args=args, prog_name="openai-meter", obj=jobs)
    except SystemExit:
        if not jobs:
            raise
    return jobs[0]


def _checked(check: Callable[[str | None], object]) -> Callable[[str | None], str | None]:
    """Makes what is wrong with an option a message of the command line."""

    def look_at(value: str | None) -> str | None:
        import typer  # noqa: PLC0415 - not for `run`

        try:
            check(value)
        except MeterError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return look_at


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
    form_option = typer.Option(
        "--format", callback=_checked(form_of), help="table (as it is), tree, markdown, line, json or csv."
    )
    by_option = typer.Option(
        "--by",
        callback=_checked(dimensions_of),
        help="What to group by: model (as it is), agent, agent,model, user, tag:NAME ...",
    )
    lang_option = typer.Option("--lang", callback=_checked(language), help="en or fr; by default that of the locale.")
    ledger_option = typer.Option(
        "--ledger",
        metavar="URL",
        callback=_checked(ledger_of),
        help="Keep every call in a database: sqlite:///usage.db, or postgresql+psycopg://...",
    )
    spoken_option = typer.Option("--lang", callback=_checked(_spoken), help="en or fr; by default that of the locale.")

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
        report: Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                callback=_checked(report_file),
                help="Write a report there as well: .json, .csv, .md or .txt says in which form.",
            ),
        ] = None,
        form: Annotated[str | None, form_option] = None,
        by: Annotated[str | None, by_option] = None,
        lang: Annotated[str | None, spoken_option] = None,
        ledger: Annotated[str | None, ledger_option] = None,
        serve: Annotated[
            str | None,
            typer.Option(
                metavar="PORT", callback=_checked(port_of), help="Show the dashboard while it runs; 0 is any free port."
            ),
        ] = None,
    ) -> None:
        """Run a program as python does, and write at its end what it used.

        Options of openai-meter come before PROGRAM; everything after it belongs to the program.
        """
        try:
            look = Look(as_json, quiet, form, by, lang)
            where = {"output": output, "report": report, "ledger": ledger, "serve": serve}
            ctx.obj.append(_prepare(program, module=module, look=look, **where))
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
        form: Annotated[str | None, form_option] = None,
        by: Annotated[str | None, by_option] = None,
        lang: Annotated[str | None, lang_option] = None,
        ledger: Annotated[str | None, ledger_option] = None,
    ) -> None:
        """Meter a workflow of four agents against a local stand-in for the OpenAI API: no key, no network."""
        look = Look(as_json, quiet, form, by, lang)
        ctx.obj.append(partial(_demo, look.summary(), quiet=quiet, ledger=ledger))

    @app.command()
    def prices(
        ctx: typer.Context,
        model: Annotated[
            str | None,
            typer.Argument(metavar="[MODEL | update]", help="One model, or all; update fetches the newest catalog."),
        ] = None,
        *,
        as_json: Annotated[bool, typer.Option("--json", help="Write the prices as JSON.")] = False,
        lang: Annotated[str | None, lang_option] = None,
    ) -> None:
        """Show the prices that calls are priced by, or fetch the newest catalog and show what it changes."""
        ctx.obj.append(partial(inquiries.prices, model, as_json=as_json, lang=lang))

    @app.command()
    def explain(
        ctx: typer.Context,
        *,
        model: Annotated[
            str | None, typer.Option("--model", "-m", help="The model, if the JSON does not name it.")
        ] = None,
        endpoint: Annotated[str, typer.Option(help="The endpoint: chat.completions, responses, embeddings, ...")] = "",
        tier: Annotated[str | None, typer.Option(help="The service tier that served the call.")] = None,
        batch: Annotated[bool, typer.Option("--batch", help="The call was a line of a batch.")] = False,
        at: Annotated[str | None, typer.Option(help="When the call was made (ISO 8601, UTC); now by default.")] = None,
        host: Annotated[str, typer.Option(help="The host that answered.")] = "api.openai.com",
        as_json: Annotated[bool, typer.Option("--json", help="Write the bill as JSON.")] = False,
        lang: Annotated[str | None, lang_option] = None,
    ) -> None:
        """Explain the cost of a call: a usage object, or a whole answer, as JSON on standard input."""
        asked = inquiries.Asked(model, endpoint, tier, batch, at, host)
        ctx.obj.append(partial(inquiries.explain, asked, as_json=as_json, lang=lang))

    _add_estimate(app)
    _add_modules(app)
    return app


def _add_modules(app: "typer.Typer") -> None:
    """The commands that have modules of their own: a new one is named here."""
    from openai_meter.cli import ledger as archives  # noqa: PLC0415 - not for `run`
    from openai_meter.cli import maintenance, webhook  # noqa: PLC0415 - not for `run`
    from openai_meter.cli import serve as serving  # noqa: PLC0415 - not for `run`
    from openai_meter.cli.doctor import command  # noqa: PLC0415
    from openai_meter.cli.live import commands  # noqa: PLC0415

    for module in (archives, commands, maintenance, serving, webhook):
        module.add_commands(app)
    command.add_command(app)


def _add_estimate(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    @app.command()
    def estimate(
        ctx: typer.Context,
        file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard input.")],
        *,
        model: Annotated[str | None, typer.Option("--model", "-m", help="The model that it is for.")] = None,
        request: Annotated[bool, typer.Option("--request", help="It is the body of a request, as JSON.")] = False,
        endpoint: Annotated[
            str | None, typer.Option(help="The endpoint of the request: chat.completions, responses, embeddings, ...")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Write the estimate as JSON.")] = False,
    ) -> None:
        """Estimate the tokens of a text or of a request, and what they would cost as input."""
        ctx.obj.append(partial(inquiries.estimate, file, model, endpoint, request=request, as_json=as_json))


def _demo(summary: Summary, *, quiet: bool, ledger: str | None) -> None:
    from openai_meter.testing.fake_api import workflow  # noqa: PLC0415 - loads openai
    from openai_meter.testing.fake_api.server import DemoServer  # noqa: PLC0415

    def scope(agent: str, operation: str) -> Scope:
        return tag(agent=agent, operation=operation)

    meter = openai_meter.install(hosts={"127.0.0.1": "openai"}, ledger=ledger)  # what it would have cost
    try:
        with DemoServer() as server, _progress(len(workflow.STEPS), quiet=quiet) as on_step:
            workflow.run(server.base_url, on_step, scope)
    finally:
        openai_meter.uninstall()
    summary.write(meter, sys.stdout)


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
