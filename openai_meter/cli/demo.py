"""The command ``demo``: a metered workflow of four agents against the local stand-in for the OpenAI API."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.output import write_lines
from openai_meter.cli.serve import ServerOptions, serve
from openai_meter.cli.summary import Summary, SummaryOptions
from openai_meter.core.locale import language
from openai_meter.metering.attribution import Scope, tag

if TYPE_CHECKING:
    import typer

    from openai_meter.testing.fake_api.workflow import Step

__all__ = ["add_commands", "demo", "serve_history"]

_FOR_PEOPLE = frozenset({"table", "tree"})
"""The forms of a summary that lines about what to do next can stand below."""


def demo(summary: Summary, *, quiet: bool, ledger: str | None) -> None:
    """Runs the workflow, metered, and writes what it would have cost."""
    import openai_meter  # noqa: PLC0415
    from openai_meter.testing.fake_api import workflow  # noqa: PLC0415 - loads openai
    from openai_meter.testing.fake_api.server import DemoServer  # noqa: PLC0415

    def scope(agent: str, operation: str) -> Scope:
        return tag(agent=agent, operation=operation)

    meter = openai_meter.install(hosts={"127.0.0.1": "openai"}, ledger=ledger)
    try:
        with DemoServer() as server, _progress(len(workflow.STEPS), quiet=quiet) as on_step:
            workflow.run(server.base_url, on_step, scope)
    finally:
        openai_meter.uninstall()
    summary.write(meter, sys.stdout)
    if summary.format in _FOR_PEOPLE:
        _write_next(summary.lang)


def _write_next(lang: str) -> None:
    """Writes what to do next, below a summary for people."""
    m = language(lang)
    commands = {
        "cli.demo.run": "openai-meter run --by agent,model program.py",
        "cli.demo.ledger": "openai-meter run --ledger sqlite:///usage.db program.py",
        "cli.demo.serve": "openai-meter demo --serve",
        "cli.demo.docs": "openai-meter docs",
    }
    width = max(map(len, commands.values()))
    write_lines("", m("cli.demo.next"), *(f"  {line:<{width}}  {m(key)}" for key, line in commands.items()))


def serve_history(port: int, lang: str | None) -> None:
    """Serves the dashboard of sixty days of made-up calls, until Ctrl-C or SIGTERM."""
    from openai_meter.cli.ledger import open_ledger  # noqa: PLC0415 - not for `run`
    from openai_meter.testing.demo_history import demo_calls  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="openai-meter-demo-") as folder:
        url = f"sqlite:///{folder}/demo.db"
        with open_ledger(url, create=True, lang=lang) as ledger:
            ledger.import_calls(demo_calls(datetime.now(UTC), days=59))  # and today
        serve(url, ServerOptions("127.0.0.1", port, None, ()), lang)


@contextmanager
def _progress(steps: int, *, quiet: bool) -> Iterator[Callable[["Step"], None]]:
    """Shows on standard error which step is being done: live on a terminal, line by line elsewhere."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield lambda step: print(f"{step.agent}: {step.description}", file=sys.stderr)  # noqa: T201
    else:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415

        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("", total=steps)
            done = iter(range(steps))
            yield lambda step: progress.update(
                task, description=f"[bold]{step.agent}[/bold] {step.description}", completed=next(done, steps)
            )


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, checked  # noqa: PLC0415
    from openai_meter.cli.summary import ledger_from_url  # noqa: PLC0415

    t, options = texts(), Options()
    serve_option = typer.Option("--serve", help=t("demo.serve"))
    port_option = typer.Option("--port", "-p", metavar="PORT", min=0, max=65_535, help=t("serve.port"))
    ledger_option = typer.Option("--ledger", metavar="URL", callback=checked(ledger_from_url), help=t("run.ledger"))

    @app.command("demo", cls=Command, help=t("demo"), epilog=example("openai-meter demo", "openai-meter demo --serve"))
    def show_demo(
        ctx: typer.Context,
        *,
        as_json: Annotated[bool, options.as_json] = False,
        quiet: Annotated[bool, options.quiet] = False,
        format: Annotated[str | None, options.format] = None,  # noqa: A002 - the name of the option
        by: Annotated[str | None, options.by] = None,
        lang: Annotated[str | None, options.lang] = None,
        ledger: Annotated[str | None, ledger_option] = None,
        serve: Annotated[bool, serve_option] = False,
        port: Annotated[int, port_option] = 3000,
    ) -> None:
        if serve:
            ctx.obj.append(partial(serve_history, port, lang))
            return
        by = by or "agent,model"
        summary = SummaryOptions(as_json, quiet, format, by, lang).summary()
        ctx.obj.append(partial(demo, summary, quiet=quiet, ledger=ledger))
