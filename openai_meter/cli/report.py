"""The command ``report``: what a ledger holds, as a table, a chart, JSON, CSV and more."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.ledger import Selection, open_ledger, roll_up
from openai_meter.cli.summary import checked_format
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.alerts import Threshold
    from openai_meter.ledger import Ledger
    from openai_meter.reports.report import Report

__all__ = ["Layout", "add_commands", "report"]

_PERIODS = frozenset({"hour", "day", "week", "month"})
_WIDE = 100
"""From this number of columns up, a table by day has room for the names of models."""


class Layout(NamedTuple):
    """The form of a report."""

    format: str
    breakdown: bool
    compact: bool
    chart: bool
    lang: str | None
    excel: bool = False
    sort: str | None = None
    top: int | None = None
    limits: tuple["Threshold", ...] = ()
    fold_snapshots: bool = False


def report(selection: Selection, by: str, layout: Layout) -> None:
    """Writes a report from history."""
    m = language(layout.lang)
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",")))
    if layout.breakdown and "model" not in names:
        names = (*names, "model")
    with_models = _has_room_for_models(names, layout)
    if selection.since is None and selection.until is None:
        selection = selection._replace(since=_default_since(names))
    with open_ledger(selection.ledger, lang=layout.lang) as ledger:
        roll_up(ledger, layout.lang)
        found = ledger.report((*names, "model") if with_models else names, **selection.keywords())
        if not found.totals.calls:
            _write_unknown_names(ledger, selection.filters, m)
        found = _arranged(found, layout, m)
        titled = replace(found, name=_span(found, selection.timezone))
        if layout.chart:
            _print_chart(titled, m)
        elif layout.format == "table":
            from openai_meter.reports import breakdowns, tables, words  # noqa: PLC0415 - not for `run`

            shown = breakdowns.broken_down(titled) if layout.breakdown else titled
            if with_models:
                shown = breakdowns.with_models(titled, lambda model: words.label(model, m))
            tables.print_table(shown, m, sys.stdout, compact=layout.compact)
        else:
            plain = found if layout.format in {"json", "csv"} else titled
            plain.print(format=layout.format, lang=layout.lang, excel=layout.excel)
        if layout.limits:
            _write_limits(ledger, layout.limits, m)


def _write_limits(ledger: "Ledger", limits: tuple["Threshold", ...], m: Messages) -> None:
    """Writes limits to standard error, where the report is not; ends the process with 3 if one is exceeded."""
    from openai_meter.cli.limits import EXCEEDED, exceeded, limit_lines  # noqa: PLC0415

    usages = ledger.threshold_usage(*limits)
    sys.stdout.flush()
    sys.stderr.write("".join(f"openai-meter: {line}\n" for line in limit_lines(usages, m)))
    if exceeded(usages):
        sys.exit(EXCEEDED)


def _arranged(found: "Report", layout: Layout, m: Messages) -> "Report":
    """The report with the rows and the order of the layout."""
    from openai_meter.reports import breakdowns  # noqa: PLC0415 - not for `run`

    if layout.fold_snapshots:
        found = breakdowns.fold_snapshots(found)
    if layout.sort is not None:
        found = breakdowns.sorted_rows(found, layout.sort)
    if layout.top is not None:
        found = breakdowns.top_rows(found, layout.top, lambda number: m("live.others", n=number))
    return found


def _write_unknown_names(ledger: "Ledger", wanted: dict[str, Any], m: Messages) -> None:
    """Writes to standard error which of the wanted names the ledger does not have at all, and which are near."""
    from openai_meter.reports.text import shown  # noqa: PLC0415 - not for `run`
    from openai_meter.reports.words import heading  # noqa: PLC0415

    pairs = [(name, value) for name, value in wanted.items() if name != "tag"]
    pairs += [(f"tag:{name}", values) for name, values in wanted.get("tag", {}).items()]
    for dimension, values in pairs:
        known = [row.key[0] for row in ledger.report(dimension).rows]
        for value in values:
            if value not in known:
                near = get_close_matches(value, known, 3, 0.5)
                hint = f" {m('cli.near', names=', '.join(map(shown, near)))}" if near else ""
                name = heading(dimension, m, "by")
                sys.stderr.write(f"openai-meter: {m('cli.unknown_name', dimension=name, name=repr(value))}{hint}\n")


def _has_room_for_models(names: Sequence[str], layout: Layout) -> bool:
    """Whether a table by periods alone names the models of each row: on a terminal that is wide enough."""
    plain = layout.format == "table" and not (
        layout.compact or layout.breakdown or layout.chart or layout.sort or layout.top
    )
    if not plain or not {*names} <= _PERIODS or not sys.stdout.isatty():
        return False
    return shutil.get_terminal_size().columns >= _WIDE


def _default_since(names: Sequence[str]) -> str:
    """Where a report begins by default: thirty days, twelve weeks or twelve months ago."""
    today = datetime.now(UTC).date()
    if "month" in names:
        return date(today.year - 1 + today.month // 12, today.month % 12 + 1, 1).isoformat()
    if "week" in names:
        return (today - timedelta(days=today.weekday(), weeks=11)).isoformat()
    return "30d"


def _span(found: "Report", timezone: str | None) -> str:
    from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415 - not for `run`

    since, until = (at.astimezone(zone_of(timezone)) for at in (found.since, found.until - timedelta(microseconds=1)))
    return f"{since:%Y-%m-%d} .. {until:%Y-%m-%d} ({timezone or 'UTC'})"


def _print_chart(found: "Report", m: Messages) -> None:
    from openai_meter.reports.charts import chart  # noqa: PLC0415
    from openai_meter.reports.text import fitting  # noqa: PLC0415

    width = shutil.get_terminal_size((100, 24)).columns
    text = f"{m('table.title_of', name=found.name)}\n{chart(found, m, width, sys.stdout.encoding)}\n"
    sys.stdout.write(fitting(text, sys.stdout.encoding))


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.alerts import parsed_limits  # noqa: PLC0415
    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, filters, usable  # noqa: PLC0415
    from openai_meter.reports.breakdowns import SORTS  # noqa: PLC0415

    t, options = texts(), Options()

    def known_order(name: str | None) -> str | None:
        if name is not None and name not in SORTS:
            raise typer.BadParameter(t("error.order", name=repr(name), names=", ".join(SORTS)))
        return name

    sort_option = typer.Option("--sort", metavar="NAME", callback=known_order, help=t("report.sort"))

    @app.command(
        "report",
        cls=Command,
        help=t("report"),
        epilog=example(
            "openai-meter report",
            "openai-meter report --by agent,model --since 7d --model gpt-6-luna",
            "openai-meter report --by month --csv > months.csv",
        ),
    )
    def show_report(
        ctx: typer.Context,
        *,
        by: Annotated[str, typer.Option("--by", metavar="NAME,...", help=t("report.by"))] = "day",
        ledger: Annotated[str | None, options.ledger] = None,
        since: Annotated[str | None, options.since] = None,
        until: Annotated[str | None, options.until] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        model: Annotated[list[str] | None, options.filter("model")] = None,
        agent: Annotated[list[str] | None, options.filter("agent")] = None,
        operation: Annotated[list[str] | None, options.filter("operation")] = None,
        user: Annotated[list[str] | None, options.filter("user")] = None,
        session: Annotated[list[str] | None, options.filter("session")] = None,
        endpoint: Annotated[list[str] | None, options.filter("endpoint")] = None,
        provider: Annotated[list[str] | None, options.filter("provider")] = None,
        block: Annotated[list[str] | None, options.filter("block")] = None,
        organization: Annotated[list[str] | None, options.filter("organization")] = None,
        project: Annotated[list[str] | None, options.filter("project")] = None,
        tag: Annotated[list[str] | None, options.tag] = None,
        breakdown: Annotated[bool, typer.Option("--breakdown", help=t("report.breakdown"))] = False,
        fold: Annotated[bool, typer.Option("--fold-snapshots", help=t("report.fold_snapshots"))] = False,
        compact: Annotated[bool, typer.Option("--compact", help=t("report.compact"))] = False,
        chart: Annotated[bool, typer.Option("--chart", help=t("report.chart"))] = False,
        as_json: Annotated[bool, options.as_json] = False,
        sort: Annotated[str | None, sort_option] = None,
        top: Annotated[int | None, typer.Option("--top", metavar="NUMBER", min=1, help=t("report.top"))] = None,
        excel: Annotated[bool, options.excel] = False,
        as_csv: Annotated[bool, typer.Option("--csv", help=t("report.csv"))] = False,
        format: Annotated[str | None, options.format] = None,  # noqa: A002 - the name of the option
        limit: Annotated[list[str] | None, options.limit] = None,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        kept = filters(
            tag, model=model, agent=agent, operation=operation, user=user, session=session, endpoint=endpoint,
            provider=provider, block=block, organization=organization, project=project,
        )  # fmt: skip
        selection = Selection(ledger, since, until, timezone, kept)
        name = "json" if as_json else "csv" if as_csv else checked_format(format)
        if excel and name != "csv":
            raise typer.BadParameter(t("error.excel"), param_hint="--excel")
        limits = usable(lambda: parsed_limits(limit, timezone), "--limit")
        layout = Layout(name, breakdown, compact, chart, lang, excel, sort, top, limits, fold)
        ctx.obj.append(partial(report, selection, by, layout))
