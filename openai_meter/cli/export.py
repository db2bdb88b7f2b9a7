"""The command ``export``: the calls of a ledger for other programs, or a Grafana dashboard, or Prometheus rules."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from openai_meter.cli.ledger import Selection, open_ledger, progress_line, with_progress
from openai_meter.cli.output import fail
from openai_meter.core.formatting import exact_dollars
from openai_meter.core.locale import language
from openai_meter.exporters.grafana import FILES

if TYPE_CHECKING:
    import typer

__all__ = ["FocusOptions", "add_commands", "export_calls", "export_focus", "export_monitoring"]


_NAMES = {"grafana": "dashboard.json", "prometheus-rules": "rules.yml"}
"""A usual name for the file of each export."""


def export_calls(selection: Selection, form: str, output: str | None, lang: str | None, *, excel: bool) -> None:
    """Writes calls to a file, or to standard output."""
    m = language(lang)
    if excel and form != "csv":
        fail(m("cli.export.excel", form=form), 2)
    with open_ledger(selection.ledger) as ledger:
        from openai_meter.ledger import exports  # noqa: PLC0415 - not for `run`
        from openai_meter.reports import saving  # noqa: PLC0415

        exports.check(form)
        if output is None and form == "parquet" and sys.stdout.isatty():
            fail(m("cli.export.parquet"), 2)
        if output is not None and Path(output).is_dir():
            fail(m("cli.export.folder", folder=repr(output), name=f"calls.{form}"), 2)
        total = ledger.totals(**selection.keywords()).calls if sys.stderr.isatty() else 0
        calls = with_progress(ledger.calls(**selection.keywords()), total)
        if output is None:
            number = exports.export(calls, form, sys.stdout.buffer, excel=m if excel else None)
            sys.stdout.buffer.flush()
        else:
            with saving.opened(Path(output)) as file:
                number = exports.export(calls, form, file, excel=m if excel else None)
            sys.stderr.write(f"openai-meter: {m('cli.export.written', n=number, text=output)}\n")


class FocusOptions(NamedTuple):
    """What an export for FOCUS needs besides the calls."""

    version: str
    by: str
    account: str | None
    bill: list[str]
    """Files of OpenAI's costs, for the datasets about invoices."""


def export_focus(
    selection: Selection, form: str | None, output: str | None, lang: str | None, focus: FocusOptions
) -> None:
    """Writes a FOCUS dataset to a file, or to standard output."""
    m = language(lang)
    if selection.timezone is not None:
        fail(m("cli.export.focus_utc"), 2)
    if output is None and form == "parquet" and sys.stdout.isatty():
        fail(m("cli.export.parquet"), 2)
    if output is not None and Path(output).is_dir():
        fail(m("cli.export.folder", folder=repr(output), name="focus.csv"), 2)
    with open_ledger(selection.ledger, lang=lang) as ledger:
        from openai_meter.ledger.billing.exported import read_files  # noqa: PLC0415 - not for `run`

        kept = {name: value for name, value in selection.keywords().items() if name != "timezone"}
        with progress_line(m, "cli.export.focus_progress") as progress:
            written = ledger.export_focus(
                sys.stdout.buffer if output is None else output,
                version=focus.version,
                form=form,
                by=focus.by,
                account=focus.account,
                bill=read_files(focus.bill) if focus.bill else None,
                progress=progress,
                **kept,
            )
    sys.stdout.buffer.flush()
    values = {"calls": m("calls", n=written.calls), "cost": exact_dollars(written.billed, m.numbers)}
    sys.stderr.write(f"openai-meter: {m('cli.export.focus_written', n=written.rows, text=output or '-', **values)}\n")
    if written.unpriced_calls:
        sys.stderr.write(f"openai-meter: {m('cli.export.focus_unpriced', n=written.unpriced_calls)}\n")


def export_monitoring(what: str, output: str | None, lang: str | None) -> None:
    """Writes a dashboard for Grafana or rules for Prometheus to a file, or to standard output."""
    m, text = language(lang), FILES[what](lang)
    if output is None:
        sys.stdout.write(text)
    elif Path(output).is_dir():
        fail(m("cli.export.folder", folder=repr(output), name=_NAMES[what]), 2)
    else:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            fail(str(error), 1)
        sys.stderr.write(f"openai-meter: {m('cli.export.file_written', path=output)}\n")


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, filters  # noqa: PLC0415

    t, options = texts(), Options()
    what_argument = typer.Argument(metavar="calls | focus | prometheus-rules | grafana", help=t("export.what"))

    @app.command(
        "export",
        cls=Command,
        help=t("export"),
        epilog=example(
            "openai-meter export --format csv --since 2026-10 -o calls.csv",
            "openai-meter export focus --version 1.2 --since 2026-11 -o focus.csv",
            "openai-meter export grafana -o dashboard.json",
        ),
    )
    def export(
        ctx: typer.Context,
        what: Annotated[str, what_argument] = "calls",
        *,
        form: Annotated[str | None, typer.Option("--format", metavar="FORM", help=t("export.format"))] = None,
        output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help=t("export.output"))] = None,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, options.filter("model")] = None,
        agent: Annotated[list[str] | None, options.filter("agent")] = None,
        user: Annotated[list[str] | None, options.filter("user")] = None,
        session: Annotated[list[str] | None, options.filter("session")] = None,
        tag: Annotated[list[str] | None, options.tag] = None,
        version: Annotated[str, typer.Option(metavar="1.2 | 1.4", help=t("export.version"))] = "1.2",
        by: Annotated[str, typer.Option("--by", metavar="NAME,...", help=t("export.by"))] = "",
        account: Annotated[str | None, typer.Option(metavar="ID", help=t("export.account"))] = None,
        bill: Annotated[list[str] | None, typer.Option("--bill", metavar="FILE", help=t("export.bill"))] = None,
        excel: Annotated[bool, options.excel] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        if what in FILES:
            ctx.obj.append(partial(export_monitoring, what, output, lang))
            return
        if what not in {"calls", "focus"}:
            raise typer.BadParameter(t("error.export", name=repr(what), names=", ".join(["calls", "focus", *FILES])))
        kept = filters(tag, model=model, agent=agent, user=user, session=session)
        selection = Selection(ledger, since, until, timezone, kept)
        if what == "focus":
            ctx.obj.append(
                partial(export_focus, selection, form, output, lang, FocusOptions(version, by, account, bill or []))
            )
        else:
            ctx.obj.append(partial(export_calls, selection, form or "jsonl", output, lang, excel=excel))
