"""The commands that answer from a ledger: ``report``, ``export`` and ``import``.

Exit codes: 1 where the ledger cannot be read or written, 2 where the question cannot be understood.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from openai_meter.cli import grafana
from openai_meter.cli.prices import give_up
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError, MeterError

if TYPE_CHECKING:
    import typer

    from openai_meter.core.call import Call
    from openai_meter.ledger import Ledger
    from openai_meter.reports.report import Report

__all__ = ["Look", "Part", "add_commands", "asked_ledger"]

_VARIABLE = "OPENAI_METER_LEDGER"
_PERIODS = frozenset({"hour", "day", "week", "month"})
_WIDE = 100
"""From so many columns on, a table by day has room for the names of models."""
_T = TypeVar("_T")


class Part(NamedTuple):
    """The part of history that the command line asks for."""

    ledger: str | None
    since: str | None
    until: str | None
    timezone: str | None
    filters: dict[str, Any]

    def asked(self) -> dict[str, Any]:
        """The keywords of the ledger's methods."""
        return {"since": self.since, "until": self.until, "timezone": self.timezone, **self.filters}


class Look(NamedTuple):
    """How a report is to look."""

    form: str
    breakdown: bool
    compact: bool
    chart: bool
    lang: str | None


# --- what the commands do ---------------------------------------------------------------------------------------------


@contextmanager
def asked_ledger(url: str | None, *, new: bool = False) -> Iterator["Ledger"]:
    """The ledger that the command line or the environment names; what goes wrong ends the program with a sentence."""
    url = url or os.environ.get(_VARIABLE)
    if not url:
        give_up(f"name the ledger: --ledger sqlite:///usage.db, or {_VARIABLE} in the environment", 2)
    try:
        from openai_meter.ledger import Ledger  # noqa: PLC0415 - not for `run`

        ledger = Ledger(url)
        file = ledger.engine.url.database if ledger.engine.dialect.name == "sqlite" else None
        if file is not None and not new and not Path(file).exists():
            give_up(f"there is no ledger {file}; openai-meter run --ledger {ledger.url} PROGRAM makes one", 1)
        try:
            yield ledger
        finally:
            ledger.close()
    except ConfigurationError as error:
        give_up(str(error), 2)
    except BrokenPipeError:  # whoever read standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (MeterError, OSError) as error:
        give_up(str(error), 1)


def report(part: Part, by: str, look: Look) -> None:
    """Writes a report from history."""
    m = language(look.lang)
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",")))
    if look.breakdown and "model" not in names:
        names = (*names, "model")
    beside = _room_for_models(names, look)
    if part.since is None and part.until is None:
        part = part._replace(since=_usual_since(names))
    with asked_ledger(part.ledger) as ledger:
        found = ledger.report((*names, "model") if beside else names, **part.asked())
        named = replace(found, name=_span(found, part.timezone))
        if look.chart:
            _print_chart(named, m)
        elif look.form == "table":
            from openai_meter.reports import breakdowns, tables, words  # noqa: PLC0415 - not for `run`

            shown = breakdowns.broken_down(named) if look.breakdown else named
            if beside:
                shown = breakdowns.with_models(named, lambda model: words.label(model, m))
            tables.print_table(shown, m, sys.stdout, compact=look.compact)
        else:
            (found if look.form in {"json", "csv"} else named).print(format=look.form, lang=look.lang)


def _room_for_models(names: Sequence[str], look: Look) -> bool:
    """Whether a table by periods alone names the models of each row: on a terminal that is wide enough."""
    plain = look.form == "table" and not (look.compact or look.breakdown or look.chart)
    if not plain or not {*names} <= _PERIODS or not sys.stdout.isatty():
        return False
    return shutil.get_terminal_size().columns >= _WIDE


def _usual_since(names: Sequence[str]) -> str:
    """What a report shows if nothing is said: thirty days, twelve weeks or twelve months."""
    today = datetime.now(UTC).date()
    if "month" in names:
        return date(today.year - 1 + today.month // 12, today.month % 12 + 1, 1).isoformat()
    if "week" in names:
        return (today - timedelta(days=today.weekday(), weeks=11)).isoformat()
    return "30d"


def _span(found: "Report", timezone: str | None) -> str:
    from openai_meter.ledger.periods import zone_of  # noqa: PLC0415 - not for `run`

    since, until = (at.astimezone(zone_of(timezone)) for at in (found.since, found.until - timedelta(microseconds=1)))
    return f"{since:%Y-%m-%d} .. {until:%Y-%m-%d} ({timezone or 'UTC'})"


def _print_chart(found: "Report", m: Messages) -> None:
    from openai_meter.reports.charts import chart  # noqa: PLC0415
    from openai_meter.reports.text import fitting  # noqa: PLC0415

    width = shutil.get_terminal_size((100, 24)).columns
    text = f"{m('table.title_of', name=found.name)}\n{chart(found, m, width, sys.stdout.encoding)}\n"
    sys.stdout.write(fitting(text, sys.stdout.encoding))


def export(part: Part, form: str, output: str | None) -> None:
    """Writes calls to a file, or to standard output."""
    with asked_ledger(part.ledger) as ledger:
        from openai_meter.ledger import exports  # noqa: PLC0415 - not for `run`
        from openai_meter.reports import saving  # noqa: PLC0415

        exports.check(form)
        if output is None and form == "parquet" and sys.stdout.isatty():
            give_up("Parquet is not for a terminal; name a file with --output", 2)
        if output is not None and Path(output).is_dir():
            give_up(f"{output!r} is a folder; add the name of a file, such as calls.{form}", 2)
        total = ledger.totals(**part.asked()).calls if sys.stderr.isatty() else 0
        calls = _watched(ledger.calls(**part.asked()), total)
        if output is None:
            number = exports.export(calls, form, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with saving.opened(Path(output)) as file:
                number = exports.export(calls, form, file)
            sys.stderr.write(f"openai-meter: {number:,} calls written to {output}\n")


def take_in(url: str | None, files: list[str], timezone: str | None) -> None:
    """Stores the calls of files in a ledger."""
    with asked_ledger(url, new=True) as ledger:
        from openai_meter.ledger import imports  # noqa: PLC0415 - not for `run`
        from openai_meter.ledger.periods import zone_of  # noqa: PLC0415
        from openai_meter.pricing import PriceBook  # noqa: PLC0415

        book = PriceBook()
        zone = None if timezone is None else zone_of(timezone)
        sources = [imports.read(file, book, zone) for file in files]
        for source in sources:
            seen: list[int] = []
            new = ledger.import_calls(_watched(_counted(source, seen), 0))
            known = len(seen) and seen[-1] - new
            rest = f", {known:,} were there already" * bool(known)
            rest += f", {source.skipped:,} lines were of no call" * bool(source.skipped)
            sys.stdout.write(f"{source.path}: {new:,} calls{rest}\n")


def _counted(calls: Iterator[_T] | Any, seen: list[int]) -> Iterator[_T]:
    for number, call in enumerate(calls, 1):
        seen[:] = [number]
        yield call


def _watched(calls: Iterator["Call"], total: int) -> Iterator["Call"]:
    """The calls, with a bar of progress on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield from calls
        return
    from rich.console import Console  # noqa: PLC0415 - not for `run`
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total or None)
        for number, call in enumerate(calls, 1):
            yield call
            if number % 500 == 0:
                progress.update(task, completed=number)


# --- how they are asked -----------------------------------------------------------------------------------------------


def add_commands(app: "typer.Typer") -> None:
    """Adds the commands to the command line."""
    _add_report(app)
    _add_export(app)
    _add_import(app)


class _Options:
    """What several commands have in common."""

    def __init__(self) -> None:
        import typer  # noqa: PLC0415 - not for `run`

        self.ledger = typer.Option("--ledger", metavar="URL", help=f"The ledger; by default that of {_VARIABLE}.")
        self.since = typer.Option("--since", help="From when on: 7d, 12h, today, 2026-10, 2026-10-31, a time.")
        self.until = typer.Option("--until", help="Until when; a date is included. Until now by default.")
        self.timezone = typer.Option("--timezone", help="Europe/Paris, local ...; UTC by default, as OpenAI bills.")
        self.tag = typer.Option("--tag", metavar="NAME=VALUE", help="Only calls with this tag.")

    @staticmethod
    def of(dimension: str) -> Any:
        """A filter; may be given several times."""
        import typer  # noqa: PLC0415

        return typer.Option(f"--{dimension}", help=f"Only this {dimension}; several are alternatives.")


def _filters(tags: list[str] | None, **values: list[str] | None) -> dict[str, Any]:
    import typer  # noqa: PLC0415 - not for `run`

    found: dict[str, Any] = {name: value for name, value in values.items() if value}
    wanted: dict[str, list[str]] = {}
    for tag in tags or ():
        name, equals, value = tag.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{tag!r} is no tag; write NAME=VALUE", param_hint="--tag")
        wanted.setdefault(name, []).append(value)
    return found | ({"tag": wanted} if wanted else {})


def _read_look(form: str | None, *, as_json: bool, as_csv: bool, **how: Any) -> Look:
    from openai_meter.cli.exit_summary import form_of  # noqa: PLC0415 - not for `run`

    return Look("json" if as_json else "csv" if as_csv else form_of(form), **how)


def _usable(value: "Callable[[], _T]") -> "_T":
    """What the arguments say, or a message of the command line that says what is wrong with them."""
    import typer  # noqa: PLC0415 - not for `run`

    try:
        return value()
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


def _add_report(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("report")
    def show_report(
        ctx: typer.Context,
        *,
        by: Annotated[
            str, typer.Option("--by", help="hour, day, week, month, model, agent, ...; several: day,agent")
        ] = "day",
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, options.of("model")] = None,
        agent: Annotated[list[str] | None, options.of("agent")] = None,
        operation: Annotated[list[str] | None, options.of("operation")] = None,
        user: Annotated[list[str] | None, options.of("user")] = None,
        session: Annotated[list[str] | None, options.of("session")] = None,
        endpoint: Annotated[list[str] | None, options.of("endpoint")] = None,
        provider: Annotated[list[str] | None, options.of("provider")] = None,
        block: Annotated[list[str] | None, options.of("block")] = None,
        tag: Annotated[list[str] | None, options.tag] = None,
        breakdown: Annotated[bool, typer.Option("--breakdown", help="With each model below its row.")] = False,
        compact: Annotated[bool, typer.Option("--compact", help="Calls, tokens and cost only.")] = False,
        chart: Annotated[bool, typer.Option("--chart", help="Bars instead of a table.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
        form: Annotated[str | None, typer.Option("--format", help="table, tree, markdown, line, json or csv.")] = None,
        lang: Annotated[str | None, typer.Option("--lang", help="en or fr; by default that of the locale.")] = None,
    ) -> None:
        """Show what a ledger holds: the last 30 days by day, if nothing else is said."""
        kept = _filters(
            tag, model=model, agent=agent, operation=operation, user=user, session=session, endpoint=endpoint,
            provider=provider, block=block,
        )  # fmt: skip
        part = Part(ledger, since, until, timezone, kept)

        def look() -> Look:
            language(lang)
            return _read_look(
                form, as_json=as_json, as_csv=as_csv, breakdown=breakdown, compact=compact, chart=chart, lang=lang
            )

        ctx.obj.append(partial(report, part, by, _usable(look)))


def _add_export(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("export")
    def export_calls(
        ctx: typer.Context,
        what: Annotated[
            str, typer.Argument(metavar="calls | grafana | prometheus-rules", help="What to write.")
        ] = "calls",
        *,
        form: Annotated[str, typer.Option("--format", help="csv, jsonl, parquet or litellm.")] = "jsonl",
        output: Annotated[
            str | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of standard output.")
        ] = None,
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, options.of("model")] = None,
        agent: Annotated[list[str] | None, options.of("agent")] = None,
        user: Annotated[list[str] | None, options.of("user")] = None,
        session: Annotated[list[str] | None, options.of("session")] = None,
        tag: Annotated[list[str] | None, options.tag] = None,
        lang: Annotated[str | None, typer.Option("--lang", help="Of a dashboard or rules: en or fr.")] = None,
    ) -> None:
        """Write the calls of a ledger for other programs, one row each; or a dashboard, or alert rules.

        grafana is a dashboard, prometheus-rules are alert rules: both for the metrics of openai_meter.prometheus.
        """
        if what in grafana.WRITTEN:
            _usable(lambda: language(lang))
            ctx.obj.append(partial(grafana.export, what, output, lang))
            return
        if what != "calls":
            raise typer.BadParameter(f"{what!r} cannot be written; use calls, {', '.join(grafana.WRITTEN)}")
        part = Part(ledger, since, until, timezone, _filters(tag, model=model, agent=agent, user=user, session=session))
        ctx.obj.append(partial(export, part, form, output))


def _add_import(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("import")
    def import_calls(
        ctx: typer.Context,
        files: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False, help="What to read.")],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[
            str | None, typer.Option("--timezone", help="Of times that do not say theirs; local by default.")
        ] = None,
    ) -> None:
        """Store calls from files: exported JSON lines, reports of TokenTracker, outputs of the Batch API.

        A file can be imported again: nothing counts twice. Batch outputs are priced as batch; do not import those of a
        batch that a metered program has polled to its end, which counts it.
        """
        ctx.obj.append(partial(take_in, ledger, files, timezone))
