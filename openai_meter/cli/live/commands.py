"""How ``top`` and ``statusline`` are asked.

Exit codes: 1 where ``top --once`` finds no source, 2 where the question cannot be understood; of ``statusline`` 0 or 2.
"""

import getopt
import math
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.live.feeds import AwayError, Source, feed_of, limits_of
from openai_meter.cli.prices import give_up
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError, MeterError

if TYPE_CHECKING:
    import typer

__all__ = ["add_commands", "read_statusline", "seconds_of"]

_WINDOW, _SINCE, _TIMEOUT = "5m", "today", "2s"

_LENGTH = re.compile(r"(\d+(?:\.\d+)?) *(s|m|min|h)?")
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds_of(text: str, name: str = "--interval") -> float:
    """A length of time as people write it: ``30``, ``1s``, ``5m``, ``1h``.

    Raises:
        ConfigurationError: it is none.
    """
    found = _LENGTH.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{name} {text!r} is no length of time; write 30s, 5m or 1h")
    return seconds


def _top(source: Source, interval: float, lang: str | None, *, one: bool, as_json: bool) -> None:
    from openai_meter.cli.live.top import once, top  # noqa: PLC0415 - loads rich

    m = language(lang)
    try:
        feed = feed_of(source)
        if one:
            once(feed, m, as_json=as_json)
        else:
            top(feed, m, interval, as_json=as_json)
    except ConfigurationError as error:
        give_up(str(error), 2)
    except (AwayError, MeterError) as error:
        give_up(str(error), 1)


def _statusline(
    source: Source, form: str | None, since: str, lang: str | None, *, timeout: float, colour: bool, as_json: bool
) -> None:
    from openai_meter.cli.live.line import Line, checked_form, statusline  # noqa: PLC0415

    try:
        statusline(source, Line(language(lang), checked_form(form), since, colour, as_json, timeout))
    except ConfigurationError as error:
        give_up(str(error), 2)


def read_statusline(args: list[str]) -> Callable[[], None] | None:
    """The job of a correct ``statusline`` command, read without typer, which takes longer to load than to write a line.

    ``None`` is for typer, to explain what is wrong or to help.
    """
    if args[:1] != ["statusline"]:
        return None
    names = ("ledger=", "url=", "format=", "since=", "window=", "timezone=", "timeout=", "lang=")
    try:
        pairs, rest = getopt.getopt(args[1:], "", [*names, "color", "json"])
        said = {name.removeprefix("--"): value for name, value in pairs}
        language(said.get("lang"))
        source = Source(
            said.get("ledger"),
            said.get("url"),
            window=seconds_of(said.get("window", _WINDOW), "--window"),
            timezone=said.get("timezone"),
        )
        timeout = seconds_of(said.get("timeout", _TIMEOUT), "--timeout")
    except (getopt.GetoptError, ConfigurationError):
        return None
    look = {"colour": "color" in said, "as_json": "json" in said}
    since, lang = said.get("since", _SINCE), said.get("lang")
    return None if rest else partial(_statusline, source, said.get("format"), since, lang, timeout=timeout, **look)


def add_commands(app: "typer.Typer") -> None:
    """Adds the commands to the command line."""
    _add_top(app)
    _add_statusline(app)


def _source(window: str, limits: list[str] | None = None, **said: str | None) -> Source:
    import typer  # noqa: PLC0415 - not for `run`

    try:
        return Source(**said, window=seconds_of(window, "--window"), limits=limits_of(limits))  # type: ignore[arg-type]
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


def _seconds(text: str, name: str) -> float:
    import typer  # noqa: PLC0415 - not for `run`

    try:
        return seconds_of(text, name)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


class _Options:
    """What both commands have in common."""

    def __init__(self) -> None:
        import typer  # noqa: PLC0415 - not for `run`

        self.ledger = typer.Option("--ledger", metavar="URL", help="A ledger; by default that of OPENAI_METER_LEDGER.")
        self.url = typer.Option("--url", metavar="URL", help="A server of openai-meter serve instead.")
        self.by = typer.Option("--by", help="model, agent, operation, user, session, endpoint, provider, tag:NAME ...")
        self.window = typer.Option("--window", help="How far to look back: 10s to 1h.")
        self.timezone = typer.Option("--timezone", help="Whose midnight today begins at; UTC by default.")
        self.lang = typer.Option("--lang", help="en or fr; by default that of the locale.")


def _add_top(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("top")
    def watch(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        url: Annotated[str | None, options.url] = None,
        by: Annotated[str, options.by] = "model",
        window: Annotated[str, options.window] = _WINDOW,
        interval: Annotated[str, typer.Option("--interval", help="How often it is drawn.")] = "1s",
        limit: Annotated[
            list[str] | None,
            typer.Option("--limit", metavar="METRIC=NUMBER", help="A limit for today: cost=5, calls=1000, errors=10."),
        ] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Write JSON, one line each time.")] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Watch what is spent, live: dollars and tokens per minute by model, agent ..., and limits.

        q or Ctrl-C ends it. Where there is no terminal, it writes plain text, time after time.
        """
        source = _source(window, limit, ledger=ledger, url=url, by=by, timezone=timezone)
        every = max(_seconds(interval, "--interval"), 0.1)
        _language(lang)
        ctx.obj.append(partial(_top, source, every, lang, one=once, as_json=as_json))


def _language(lang: str | None) -> None:
    import typer  # noqa: PLC0415 - not for `run`

    try:
        language(lang)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--lang") from None


def _add_statusline(app: "typer.Typer") -> None:
    import typer  # noqa: PLC0415 - not for `run`

    options = _Options()

    @app.command("statusline")
    def line(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        url: Annotated[str | None, options.url] = None,
        form: Annotated[
            str | None, typer.Option("--format", help='Such as "{cost} {calls} {tokens} {errors} {rate} {spark}".')
        ] = None,
        since: Annotated[str, typer.Option("--since", help="today, or as for report: 7d, 12h, 2026-10 ...")] = _SINCE,
        window: Annotated[str, options.window] = _WINDOW,
        timezone: Annotated[str | None, options.timezone] = None,
        timeout: Annotated[str, typer.Option("--timeout", help="How long the source may take.")] = _TIMEOUT,
        color: Annotated[bool, typer.Option("--color", help="With colours, whatever it is written to.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        """Write one line for a shell prompt, tmux or a status bar: what was spent today, and the last minutes.

        A source that does not answer in time makes a short line, and no error: the exit code is 0.
        """
        source = _source(window, ledger=ledger, url=url, timezone=timezone)
        wait = _seconds(timeout, "--timeout")
        _language(lang)
        ctx.obj.append(partial(_statusline, source, form, since, lang, timeout=wait, colour=color, as_json=as_json))
