"""Options that several commands share, and the checks of their values.

A check turns an error in a value into a message of the command line, with the name of the option.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer

from openai_meter.cli.help import texts
from openai_meter.cli.summary import checked_format, parsed_dimensions, report_file
from openai_meter.core.locale import language, languages
from openai_meter.errors import ConfigurationError, MeterError

__all__ = ["Options", "checked", "filters", "usable"]

_T = TypeVar("_T")


def checked(check: Callable[[Any], object]) -> Callable[[Any], Any]:
    """A callback of an option: runs ``check`` on the value, and gives the value unchanged."""

    def callback(value: Any) -> Any:
        if value is not None:
            usable(lambda: check(value))
        return value

    return callback


def usable(make: Callable[[], _T], option: str | None = None) -> _T:
    """The result of ``make``; an error of it becomes a message of the command line.

    Raises:
        typer.BadParameter: the value of the option cannot be used.
    """
    try:
        return make()
    except MeterError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


class Options:
    """The options that several commands share. Made anew for each command line, in the language of the user."""

    def __init__(self) -> None:
        t = texts()
        self.ledger = typer.Option("--ledger", metavar="URL", help=t("option.ledger"))
        self.since = typer.Option("--since", metavar="TIME", help=t("option.since"))
        self.until = typer.Option("--until", metavar="TIME", help=t("option.until"))
        self.timezone = typer.Option("--timezone", metavar="ZONE", help=t("option.timezone"))
        self.tag = typer.Option("--tag", metavar="NAME=VALUE", help=t("option.tag"))
        self.as_json = typer.Option("--json", help=t("option.json"))
        self.lang = typer.Option(
            "--lang", metavar="|".join(languages()), callback=checked(language), help=t("option.lang")
        )
        self.quiet = typer.Option("--quiet", "-q", help=t("option.quiet"))
        self.format = typer.Option(
            "--format", metavar="FORM", callback=checked(checked_format), help=t("option.format")
        )
        self.by = typer.Option("--by", metavar="NAME,...", callback=checked(parsed_dimensions), help=t("option.by"))
        self.report = typer.Option("--report", metavar="FILE", callback=checked(report_file), help=t("option.report"))
        self.excel = typer.Option("--excel", help=t("option.excel"))
        self.host = typer.Option("--host", metavar="HOST", help=t("option.host"))
        self.limit = typer.Option("--limit", metavar="METRIC=NUMBER/PERIOD", help=t("option.limit"))
        self.output = typer.Option("--output", "-o", metavar="FILE", help=t("option.output"))

    @staticmethod
    def filter(dimension: str) -> Any:
        """An option that selects the calls of one model, agent, user ...; it may be given several times."""
        return typer.Option(f"--{dimension}", metavar="NAME", help=texts()("option.filter", dimension=dimension))


def filters(tags: list[str] | None, **values: list[str] | None) -> dict[str, Any]:
    """The filters of the command line as the methods of a ledger take them.

    Raises:
        typer.BadParameter: a tag is not NAME=VALUE.
    """
    found: dict[str, Any] = {name: value for name, value in values.items() if value}
    by_name: dict[str, list[str]] = {}
    for tag in tags or ():
        name, equals, value = tag.partition("=")
        if not equals or not name:
            usable(lambda tag=tag: _refuse(tag), "--tag")  # type: ignore[misc]
        by_name.setdefault(name, []).append(value)
    return found | ({"tag": by_name} if by_name else {})


def _refuse(tag: str) -> None:
    raise ConfigurationError(f"{tag!r} is not a tag; write NAME=VALUE")
