"""The command ``statusline``: one line for a shell prompt, tmux or a status bar.

Its arguments are read by getopt where they are correct: to load typer takes longer than to write the line.
Exit codes: 0, or 2 where an option cannot be used.
"""

import getopt
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.live.feeds import Source
from openai_meter.cli.live.options import SINCE, TIMEOUT, WINDOW, LiveOptions, parsed_duration
from openai_meter.cli.output import fail
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    import typer

    from openai_meter.cli.app import Job

__all__ = ["add_commands", "read", "statusline"]


def statusline(
    source: Source, form: str | None, since: str, lang: str | None, *, timeout: float, colour: bool, as_json: bool
) -> None:
    """Writes the line."""
    from openai_meter.cli.live import line  # noqa: PLC0415

    try:
        line.statusline(source, line.Line(language(lang), line.checked_form(form), since, colour, as_json, timeout))
    except ConfigurationError as error:
        fail(str(error), 2)


def read(args: list[str]) -> "Job | None":
    """The job of correct arguments. None: typer explains what is wrong, or shows the help page."""
    names = ("ledger=", "url=", "format=", "since=", "window=", "timezone=", "timeout=", "lang=")
    try:
        pairs, rest = getopt.getopt(args, "", [*names, "color", "json"])
        given = {name.removeprefix("--"): value for name, value in pairs}
        language(given.get("lang"))
        source = Source(
            given.get("ledger"),
            given.get("url"),
            window=parsed_duration(given.get("window", WINDOW), "--window"),
            timezone=given.get("timezone"),
        )
        timeout = parsed_duration(given.get("timeout", TIMEOUT), "--timeout")
    except (getopt.GetoptError, ConfigurationError):
        return None
    if rest:
        return None
    return partial(
        statusline, source, given.get("format"), given.get("since", SINCE), given.get("lang"),
        timeout=timeout, colour="color" in given, as_json="json" in given,
    )  # fmt: skip


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for a correct `statusline`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, usable  # noqa: PLC0415

    t, options, live = texts(), Options(), LiveOptions()

    @app.command(
        "statusline",
        cls=Command,
        help=t("statusline"),
        epilog=example(
            "openai-meter statusline", """openai-meter statusline --since 7d --format '{cost} {tokens} {spark}'"""
        ),
    )
    def write_line(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        url: Annotated[str | None, live.url] = None,
        form: Annotated[str | None, typer.Option("--format", metavar="TEXT", help=t("statusline.format"))] = None,
        since: Annotated[str, typer.Option("--since", metavar="TIME", help=t("statusline.since"))] = SINCE,
        window: Annotated[str, live.window] = WINDOW,
        timezone: Annotated[str | None, live.timezone] = None,
        timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help=t("statusline.timeout"))] = TIMEOUT,
        color: Annotated[bool, typer.Option("--color", help=t("statusline.color"))] = False,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        source = usable(lambda: Source(ledger, url, window=parsed_duration(window, "--window"), timezone=timezone))
        seconds = usable(lambda: parsed_duration(timeout, "--timeout"))
        job = partial(statusline, source, form, since, lang, timeout=seconds, colour=color, as_json=as_json)
        ctx.obj.append(job)
