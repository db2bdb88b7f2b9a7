"""The command ``statement``: what to charge to a customer, a team or a user.

Exit codes: 1 where the ledger or a file cannot be read or written, 2 where a value cannot be used.
"""

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.ledger import open_ledger
from openai_meter.cli.output import fail
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.ledger.billing.statement import Statement, Statements

__all__ = ["Request", "add_commands", "write_statement"]

_OVERVIEW = "_total"
"""The name of the file of the overview; no file of a value begins with an underscore."""
_LONGEST = 80


class Request(NamedTuple):
    """The statement that is asked for."""

    what: str
    month: str | None
    options: dict[str, Any]
    """The keyword arguments of :meth:`Ledger.statements`."""
    form: str | None
    output: str | None


def write_statement(url: str | None, request: Request, lang: str | None) -> None:
    """Writes one statement, or those of all values: to standard output, a file, or the files of a folder."""
    m = language(lang)
    with open_ledger(url, lang=lang) as ledger:
        if "=" in request.what:
            _write(ledger.statement(request.what, request.month, **request.options), request, m)
            return
        found = ledger.statements(request.what, request.month, **request.options)
        if request.output is None or Path(request.output).suffix:
            _write(found, request, m)
        else:
            _write_folder(found, Path(request.output), request.form or "html", m)


def _write(document: "Statement | Statements", request: Request, m: Messages) -> None:
    from openai_meter.ledger.billing.statement_views import FORMS, render  # noqa: PLC0415
    from openai_meter.reports import saving  # noqa: PLC0415
    from openai_meter.reports.text import fitting  # noqa: PLC0415

    if request.output is None:
        sys.stdout.write(fitting(render(document, request.form or "txt", m), sys.stdout.encoding))
        return
    suffix = Path(request.output).suffix.lower().removeprefix(".")
    if request.form is None and suffix not in FORMS:
        fail(m("cli.statement.suffix", file=repr(request.output), names=", ".join(f".{name}" for name in FORMS)), 2)
    if Path(request.output).is_dir():
        fail(m("cli.export.folder", folder=repr(request.output), name="statement.html"), 2)
    saving.write(Path(request.output), render(document, request.form or suffix, m))
    sys.stderr.write(f"openai-meter: {m('cli.export.file_written', path=request.output)}\n")


def _write_folder(found: "Statements", folder: Path, form: str, m: Messages) -> None:
    """A file for each value, and the overview."""
    from openai_meter.ledger.billing.statement_views import render  # noqa: PLC0415
    from openai_meter.reports import saving  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for statement in found:
        saving.write(folder / f"{_file_name(statement.value, names)}.{form}", render(statement, form, m))
    saving.write(folder / f"{_OVERVIEW}.{form}", render(found, form, m))
    sys.stderr.write(f"openai-meter: {m('cli.statement.written', n=len(found), folder=str(folder))}\n")


def _file_name(value: str, taken: set[str]) -> str:
    """A name for a file: the value without what file systems refuse; another one where two would be the same."""
    plain = re.sub(r"[^\w.@+-]+", "-", value).strip("-._")[:_LONGEST] or "value"
    name, number = plain, 1
    while name.casefold() in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name.casefold())
    return name


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "statement",
        cls=Command,
        help=t("statement"),
        epilog=example(
            "openai-meter statement --for tag:customer=acme --month 2026-11 --markup 1.25",
            "openai-meter statement --for tag:customer --month 2026-11 --split cost --html -o statements",
            "openai-meter statement --for user=ann --month 2026-11 --currency EUR --rates eurofxref-hist.csv",
        ),
    )
    def show_statement(
        ctx: typer.Context,
        *,
        what: Annotated[str, typer.Option("--for", metavar="NAME[=VALUE]", help=t("statement.for"))],
        month: Annotated[str | None, typer.Option(metavar="MONTH", help=t("statement.month"))] = None,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        markup: Annotated[str, typer.Option(metavar="FACTOR", help=t("statement.markup"))] = "1",
        split: Annotated[str, typer.Option(metavar="cost|calls|equal|none", help=t("statement.split"))] = "none",
        currency: Annotated[str, typer.Option(metavar="CODE", help=t("statement.currency"))] = "USD",
        rates: Annotated[str | None, typer.Option(metavar="FILE", help=t("statement.rates"))] = None,
        as_html: Annotated[bool, typer.Option("--html", help=t("statement.html"))] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help=t("statement.csv"))] = False,
        as_json: Annotated[bool, options.as_json] = False,
        output: Annotated[
            str | None, typer.Option("--output", "-o", metavar="PATH", help=t("statement.output"))
        ] = None,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        forms = [form for form, wanted in (("html", as_html), ("csv", as_csv), ("json", as_json)) if wanted]
        if len(forms) > 1:
            raise typer.BadParameter(t("error.statement", names=", ".join(f"--{form}" for form in forms)))
        values = {
            "since": since, "until": until, "timezone": timezone, "markup": markup, "split": split,
            "currency": currency, "rates": rates,
        }  # fmt: skip
        request = Request(what, month, values, forms[0] if forms else None, output)
        ctx.obj.append(partial(write_statement, ledger, request, lang))
