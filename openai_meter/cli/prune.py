"""The command ``prune``: deletes the details of old calls, and keeps their sums.

Exit code 1: nothing was deleted, because the user did not agree.
"""

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.ledger import Selection, open_ledger
from openai_meter.cli.output import fail, write_json, write_lines
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "prune"]

_YES = frozenset({"y", "yes", "o", "oui"})


def prune(selection: Selection, before: str, lang: str | None, *, as_json: bool, yes: bool) -> None:
    """Deletes the details of old calls, if the user agrees. Exit code 1: they did not."""
    m = language(lang)
    with open_ledger(selection.ledger, lang=lang) as ledger:
        from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415 - not for `run`
        from openai_meter.ledger.periods import DAY_US, parse_moment  # noqa: PLC0415 - not for `run`
        from openai_meter.ledger.recent_windows import count_before  # noqa: PLC0415
        from openai_meter.ledger.rows import micros  # noqa: PLC0415

        at = parse_moment("before", before, zone_of(selection.timezone), datetime.now(UTC))
        assert at is not None
        midnight = at - timedelta(microseconds=micros(at) % DAY_US)  # only whole days in UTC are deleted
        day, number = f"{midnight:%Y-%m-%d}", count_before(ledger, midnight)
        if number and not yes:
            _confirm(m, number, day, as_json=as_json)
        done = ledger.prune(midnight) if number else 0
        if as_json:
            write_json({"pruned": done, "before": day})
        else:
            write_lines(m("upkeep.pruned", n=done, text=day) if number else m("upkeep.nothing_old", day=day))


def _confirm(m: Messages, number: int, day: str, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        fail(m("upkeep.say_yes", n=number, text=day), 2)
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

    sys.stderr.write(fitting(m("upkeep.ask", n=number, text=day), sys.stderr.encoding))
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
        sys.stderr.write("\n")
    if answer.strip().lower() not in _YES:
        fail(m("upkeep.kept"), 1)


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    before_argument = typer.Argument(metavar="BEFORE", show_default=False, help=t("prune.before"))

    @app.command("prune", cls=Command, help=t("prune"), epilog=example("openai-meter prune 90d"))
    def delete_details(
        ctx: typer.Context,
        before: Annotated[str, before_argument],
        *,
        yes: Annotated[bool, typer.Option("--yes", "-y", help=t("prune.yes"))] = False,
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        selection = Selection(ledger, timezone=timezone)
        ctx.obj.append(partial(prune, selection, before, lang, as_json=as_json, yes=yes))
