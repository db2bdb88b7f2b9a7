"""The command ``check``: whether limits of a ledger are kept.

Exit codes: 0 if they are, 3 if one is exceeded, 1 where the ledger cannot be read, 2 where an option cannot be used.
"""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.ledger import open_ledger
from openai_meter.cli.limits import EXCEEDED, exceeded, limit_lines
from openai_meter.cli.output import write_json, write_lines
from openai_meter.core.locale import language

if TYPE_CHECKING:
    import typer

    from openai_meter.alerts import Threshold

__all__ = ["add_commands", "check"]


def check(url: str | None, limits: tuple["Threshold", ...], lang: str | None, *, strict: bool, as_json: bool) -> None:
    """Writes how much of each limit is used; ends the process with 3 if one is exceeded."""
    m = language(lang)
    with open_ledger(url, lang=lang) as ledger:
        usages = ledger.threshold_usage(*limits)
    if as_json:
        write_json({"limits": [usage.to_dict() for usage in usages], "exceeded": exceeded(usages, strict=strict)})
    else:
        write_lines(*limit_lines(usages, m))
    if exceeded(usages, strict=strict):
        sys.exit(EXCEEDED)


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.alerts import parsed_limits  # noqa: PLC0415
    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, usable  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "check",
        cls=Command,
        help=t("check"),
        epilog=example(
            "openai-meter check --limit cost=50/month --timezone Europe/Paris",
            "openai-meter check --limit cost=2/day/user --limit errors=20/hour --strict || echo stop",
        ),
    )
    def check_limits(
        ctx: typer.Context,
        *,
        limit: Annotated[list[str], options.limit],
        ledger: Annotated[str | None, options.ledger] = None,
        timezone: Annotated[str | None, options.timezone] = None,
        strict: Annotated[bool, typer.Option("--strict", help=t("check.strict"))] = False,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        limits = usable(lambda: parsed_limits(limit, timezone), "--limit")
        ctx.obj.append(partial(check, ledger, limits, lang, strict=strict, as_json=as_json))
