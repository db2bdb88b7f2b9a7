"""The command ``run``: runs a program as plain ``python`` does, and writes at its end what its calls used.

Its arguments are read by getopt where they are correct. Typer reads them again where they are not, to explain what is
wrong, and for ``--help``. Both give the same job.
"""

import getopt
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli import program as programs
from openai_meter.cli.dashboard import parsed_port
from openai_meter.cli.exit_summary import ExitSummary
from openai_meter.cli.hosts import add_hosts
from openai_meter.cli.summary import SummaryOptions, ledger_from_url, report_file, summary_language
from openai_meter.core import settings
from openai_meter.errors import ConfigurationError, MeterError

if TYPE_CHECKING:
    import typer

    from openai_meter.cli.app import Job

__all__ = ["RunOptions", "add_commands", "prepare", "read"]


class RunOptions(NamedTuple):
    """The options of ``run`` besides those of its summary, as the command line has them."""

    module: bool = False
    output: str | None = None
    report: str | None = None
    ledger: str | None = None
    serve: str | None = None
    children: bool = True
    hosts: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    budget_store: str | None = None


def prepare(program: list[str], summary: SummaryOptions, options: RunOptions) -> "Job":
    """The job of running a program.

    Raises:
        ProgramNotFoundError: there is no such program.
        NotADirectoryError: there is no such folder for the output.
        ConfigurationError: the summary or the report cannot have that form, or there is no such ledger or port.
        MissingExtraError: a ledger or the server needs a package that is not installed.
    """
    if not program:
        raise programs.ProgramNotFoundError("name the program to run")
    path = None if options.output is None else Path(options.output).absolute()
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise NotADirectoryError(
            f"{options.output!r} is a folder" if path.is_dir() else f"make the folder {path.parent} first"
        )
    name, *args = program
    found = programs.find_module(name, args) if options.module else programs.find_program(name, args)
    settings.read_project(settings.project_folder(None if options.module else name))
    form = settings.get("summary")
    chosen = summary._replace(
        format=summary.format or (form if isinstance(form, str) else None),
        by=summary.by or settings.get("by"),
        lang=summary_language(summary.lang),
    )
    add_hosts(options.hosts)
    limits, variables = _budgets(options)
    exit_summary = ExitSummary(
        chosen.summary(),
        path,
        report_file(options.report or settings.get("report")),
        ledger_from_url(options.ledger),
        parsed_port(options.serve),
        follow_children=options.children,
        settings={"thresholds": settings.get("thresholds"), "threads": settings.get("threads"), **limits},
        variables=variables,
    )
    return partial(programs.run, found, exit_summary)


def _budgets(options: RunOptions) -> tuple[dict[str, Any], dict[str, str]]:
    """The budgets of a run as settings of its meter, and as variables for the processes below it.

    Raises:
        ConfigurationError: there is no such budget or store.
        MissingExtraError: a package is missing.
    """
    texts = options.budgets or settings.get("budget")
    url = options.budget_store or settings.get("budget_store")
    if texts is None and options.budget_store is None:
        return {}, {}
    from openai_meter.budgets.stores import open_store  # noqa: PLC0415 - not for a plain `run`
    from openai_meter.budgets.text_form import budgets_of_settings, parsed_budgets  # noqa: PLC0415

    budgets = parsed_budgets(options.budgets) if options.budgets else budgets_of_settings()
    variables = {settings.variable("budget"): ",".join(texts or ()) or "off"} if texts is not None else {}
    if url:
        open_store(url).close()  # connects nothing; an unusable URL is an error before the program runs
        variables[settings.variable("budget_store")] = url
    return {"budgets": budgets, "budget_store": url if budgets or options.budget_store else None}, variables


def read(args: list[str]) -> "Job | None":
    """The job of correct arguments. None: typer explains what is wrong, or shows the help page."""
    long = [
        "json",
        "quiet",
        "output=",
        "format=",
        "by=",
        "lang=",
        "report=",
        "ledger=",
        "serve=",
        "no-children",
        "host=",
        "budget=",
        "budget-store=",
    ]
    try:
        pairs, program = getopt.getopt(args, "mqo:", [*long, "host="])
        given = dict(pairs)
        summary = SummaryOptions(
            as_json="--json" in given,
            quiet=not given.keys().isdisjoint({"-q", "--quiet"}),
            format=given.get("--format"),
            by=given.get("--by"),
            lang=given.get("--lang"),
        )
        options = RunOptions(
            module="-m" in given,
            output=given.get("--output", given.get("-o")),
            report=given.get("--report"),
            ledger=given.get("--ledger"),
            serve=given.get("--serve"),
            children="--no-children" not in given,
            hosts=tuple(value for name, value in pairs if name == "--host"),
            budgets=tuple(value for name, value in pairs if name == "--budget"),
            budget_store=given.get("--budget-store"),
        )
        return prepare(program, summary, options)
    except (getopt.GetoptError, programs.ProgramNotFoundError, NotADirectoryError, MeterError):
        return None


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for a correct `run`

    from openai_meter.budgets.stores import open_store  # noqa: PLC0415
    from openai_meter.budgets.text_form import parsed_budgets  # noqa: PLC0415
    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, checked  # noqa: PLC0415
    from openai_meter.cli.output import fail  # noqa: PLC0415
    from openai_meter.core.locale import languages  # noqa: PLC0415

    t, options = texts(), Options()
    program_argument = typer.Argument(metavar="PROGRAM", help=t("run.program"), show_default=False)
    module_option = typer.Option("-m", help=t("run.module"))
    lang_option = typer.Option(
        "--lang", metavar="|".join(languages()), callback=checked(summary_language), help=t("option.lang")
    )
    ledger_option = typer.Option("--ledger", metavar="URL", callback=checked(ledger_from_url), help=t("run.ledger"))
    no_children_option = typer.Option("--no-children", help=t("run.no_children"))
    serve_option = typer.Option("--serve", metavar="PORT", callback=checked(parsed_port), help=t("run.serve"))

    budget_option = typer.Option(
        "--budget", metavar="AMOUNT/PERIOD", callback=checked(parsed_budgets), help=t("run.budget")
    )
    budget_store_option = typer.Option(
        "--budget-store", metavar="URL", callback=checked(open_store), help=t("run.budget_store")
    )

    @app.command(
        "run",
        cls=Command,
        help=t("run"),
        epilog=example(
            "openai-meter run program.py --an-option-of-the-program",
            "openai-meter run --by agent,model --ledger sqlite:///usage.db -m package.module",
            "openai-meter run --serve 3000 uvicorn app:app",
            "openai-meter run --budget 5/day --budget-store sqlite:///budgets.db program.py",
        ),
        context_settings={"allow_interspersed_args": False},
        options_metavar="[OPTIONS] [--]",
    )
    def run(
        ctx: typer.Context,
        program: Annotated[list[str], program_argument],
        *,
        module: Annotated[bool, module_option] = False,
        as_json: Annotated[bool, options.as_json] = False,
        quiet: Annotated[bool, options.quiet] = False,
        output: Annotated[str | None, options.output] = None,
        report: Annotated[str | None, options.report] = None,
        format: Annotated[str | None, options.format] = None,  # noqa: A002 - the name of the option
        by: Annotated[str | None, options.by] = None,
        lang: Annotated[str | None, lang_option] = None,
        ledger: Annotated[str | None, ledger_option] = None,
        serve: Annotated[str | None, serve_option] = None,
        no_children: Annotated[bool, no_children_option] = False,
        host: Annotated[list[str] | None, options.host] = None,
        budget: Annotated[list[str] | None, budget_option] = None,
        budget_store: Annotated[str | None, budget_store_option] = None,
    ) -> None:
        summary = SummaryOptions(as_json, quiet, format, by, lang)
        try:
            hosts, budgets = tuple(host or ()), tuple(budget or ())
            run_options = RunOptions(
                module, output, report, ledger, serve, not no_children, hosts, budgets, budget_store
            )
            job = prepare(program, summary, run_options)
        except programs.ProgramNotFoundError as error:
            raise typer.BadParameter(str(error), param_hint="PROGRAM") from None
        except NotADirectoryError as error:
            raise typer.BadParameter(str(error), param_hint="--output") from None
        except ConfigurationError as error:  # in a variable, or in the file next to the program
            fail(str(error), 2)
        ctx.obj.append(job)
