"""The command ``top``: what is spent, live, on a page that is drawn anew each second.

Exit codes: 1 where ``--once`` cannot read the source, 2 where an option cannot be used.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.alerts import parsed_limits
from openai_meter.cli.live.feeds import AwayError, Source, feed_of
from openai_meter.cli.live.options import WINDOW, LiveOptions, parsed_duration
from openai_meter.cli.output import fail
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError, MeterError

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "top"]


def top(source: Source, interval: float, lang: str | None, *, once: bool, as_json: bool) -> None:
    """Shows the source, until the user or a signal ends it or (``once``) one time."""
    from openai_meter.cli.live import screen  # noqa: PLC0415 - loads rich

    m = language(lang)
    try:
        feed = feed_of(source)
        if once:
            screen.show_once(feed, m, as_json=as_json)
        else:
            screen.show(feed, m, interval, as_json=as_json)
    except ConfigurationError as error:
        fail(str(error), 2)
    except (AwayError, MeterError) as error:
        fail(str(error), 1)


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, usable  # noqa: PLC0415

    t, options, live = texts(), Options(), LiveOptions()

    @app.command(
        "top",
        cls=Command,
        help=t("top"),
        epilog=example(
            "openai-meter top --by agent --limit cost=5", "openai-meter top --url http://127.0.0.1:3000 --once"
        ),
    )
    def watch(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        url: Annotated[str | None, live.url] = None,
        by: Annotated[str, typer.Option("--by", metavar="NAME", help=t("top.by"))] = "model",
        window: Annotated[str, live.window] = WINDOW,
        interval: Annotated[str, typer.Option("--interval", metavar="TIME", help=t("top.interval"))] = "1s",
        limit: Annotated[list[str] | None, options.limit] = None,
        timezone: Annotated[str | None, live.timezone] = None,
        once: Annotated[bool, typer.Option("--once", help=t("top.once"))] = False,
        as_json: Annotated[bool, typer.Option("--json", help=t("top.json"))] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        source = usable(
            lambda: Source(
                ledger, url, by, parsed_duration(window, "--window"), timezone, parsed_limits(limit, timezone)
            )
        )
        every = max(usable(lambda: parsed_duration(interval, "--interval")), 0.1)
        ctx.obj.append(partial(top, source, every, lang, once=once, as_json=as_json))
