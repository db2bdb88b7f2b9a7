"""The help of commands, in the language of the user.

The texts are in ``openai_meter/core/locale/help``, a file for each language. A command's key is ``COMMAND``; an option
of one command is ``COMMAND.OPTION``, one that several commands share is ``option.OPTION``.

Headings and fixed sentences of the help page come from typer in English. They are replaced in the finished page.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from typing import Any

from typer.core import TyperCommand, TyperGroup

from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError

__all__ = ["Command", "Group", "example", "texts"]

_FIXED = {
    "install_completion": r"Install completion for the current shell\.$",
    "show_completion": r"Show completion for the current shell, to copy it or\s+customize the installation\.$",
    "required": r"\[required\]$",
    "default": r"(?<=\[)default:(?=\s+[^\]]*\]$)",
    "usage": r"^Usage: ",
    "options": r"^Options:$",
    "arguments": r"^Arguments:$",
    "commands": r"^Commands:$",
    "show_help": r"Show this message and exit\.$",
    "command_and_args": r"COMMAND \[ARGS\]\.\.\.$",
}
"""What typer writes in English on each help page, by the key of its translation."""


def texts() -> Messages:
    """The help texts in the language of the environment (``OPENAI_METER_LANG``, or the locale); else in English."""
    try:
        return _texts(language().code)
    except ConfigurationError:  # the command itself reports it
        return _texts("en")


@cache
def _texts(code: str) -> Messages:
    module = import_module(f"openai_meter.core.locale.help.{code}")
    return Messages(code, module.HELP, lambda _: 0)


def example(*lines: str) -> str:
    """The end of a help page: lines that can be typed as they are."""
    return "\n".join(["\b", texts()("examples"), *(f"  {line}" for line in lines)])


def _translated(page: str) -> str:
    for key, pattern in _FIXED.items():
        page = re.sub(pattern, lambda _, key=key: texts()(key), page, flags=re.MULTILINE)  # type: ignore[misc]
    # A type in Python's words helps no one; spaces in its place keep the columns.
    return re.sub(r" <(?:str|int|float|int range|float range|list\[str\])>", lambda found: " " * len(found[0]), page)


class Command(TyperCommand):
    """A command whose help page is in the language of the user."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options by their names, without the types that typer adds (``FILE <list[str]>``)."""
        write = formatter.write_dl
        formatter.write_dl = lambda rows, *args, **settings: write(
            [(re.sub(r" <[^<>]*>$", "", name), text) for name, text in rows], *args, **settings
        )
        super().format_options(ctx, formatter)

    def get_help(self, ctx: Any) -> str:
        """The help page."""
        return _translated(super().get_help(ctx))


class Group(TyperGroup):
    """A group of commands whose help page is in the language of the user."""

    def get_help(self, ctx: Any) -> str:
        """The help page."""
        return _translated(super().get_help(ctx))

    def main(self, *args: Any, **settings: Any) -> Any:
        """Runs the command line. Arguments that cannot be used are explained in the language of the user."""
        if (t := texts()).code == "en":
            return super().main(*args, **settings)
        from openai_meter.cli import usage_errors  # noqa: PLC0415 - only for a language that typer does not have

        try:
            code = super().main(*args, **settings | {"standalone_mode": False})
        except usage_errors.CLICK_ERROR as error:
            usage_errors.show(error, t)
            code = error.exit_code
        sys.exit(code)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list of commands, each with the first sentence of its help, whole."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(one.help or "")) for name, one in commands if one is not None and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first_sentence(text: str) -> str:
    return re.sub(r"[ \n]+", " ", re.split(r"(?<=[.])\s", text.strip(), maxsplit=1)[0])
