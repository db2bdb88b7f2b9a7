"""Errors in the arguments of a command, in the language of the user.

typer writes them in English. Its sentences are recognised and translated; a reason that has no translation is written
on its own line, so that no line is in two languages.
"""

from __future__ import annotations

import re
import sys
from typing import Any, NamedTuple

import typer

from openai_meter.core.locale import Messages

__all__ = ["CLICK_ERROR", "show", "written"]

CLICK_ERROR: type[Any] = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")
"""The errors that typer raises for arguments that cannot be used: those of its own copy of click, or of the package."""
_NOTHING_GIVEN = "NoArgsIsHelpError"
"""The class of the error whose text is the help page."""


class _Sentence(NamedTuple):
    key: str
    pattern: re.Pattern[str]
    """Its groups are the values of the translation."""


def _sentence(key: str, pattern: str) -> _Sentence:
    return _Sentence(f"error.{key}", re.compile(pattern, re.DOTALL))


_NEAR = r"(?: \(Possible options: (?P<near>.*)\)| Did you mean(?: one of)?:? (?P<also>.*?)\?)?"
_ERRORS = (
    _sentence("no_such_option", rf"No such option:? (?P<name>\S+?)\.?{_NEAR}"),
    _sentence("no_such_command", rf"No such command (?P<name>.+?)\.{_NEAR}"),
    _sentence("missing_argument", r"Missing argument (?P<name>.+?)\.(?: .*)?"),
    _sentence("missing_option", r"Missing (?:option|parameter) (?P<name>.+?)\.(?: .*)?"),
    _sentence("missing_command", r"Missing command\."),
    _sentence("extra", r"Got unexpected extra arguments?(?:\(s\))? \((?P<name>.*)\)"),
    _sentence("needs_value", r"Option (?P<name>.+?) requires (?:an argument|\d+ arguments)\."),
    _sentence("takes_no_value", r"Option (?P<name>.+?) does not take a value\."),
)
_INVALID = re.compile(r"Invalid value(?: for (?P<name>.+?))?: (?P<reason>.*)", re.DOTALL)
_REASONS = (
    _sentence(
        "not_a_number", r"(?:.* is not a valid (?:integer|float)\b.*|Input should be a valid (?:integer|number)\b.*)"
    ),
    _sentence("too_large", r"Input should be less than or equal to (?P<limit>\S+)"),
    _sentence("too_small", r"Input should be greater than or equal to (?P<limit>\S+)"),
    _sentence("not_in_range", r".* is not in the range (?P<limit>.+?)\."),
)


def written(error: Any, t: Messages) -> str:
    """The text of an error: how the command is used, where its help is, and what is wrong.

    Args:
        error: of the class :data:`CLICK_ERROR`.
        t: the texts of help pages.
    """
    lines = []
    if (context := getattr(error, "ctx", None)) is not None:
        usage = context.get_usage()
        lines.append(t("usage") + usage.removeprefix("Usage: ").replace("COMMAND [ARGS]...", t("command_and_args")))
        lines += [t("try_help", command=f"{context.command_path} {context.help_option_names[0]}"), ""]
    lines.append(t("error", message=_message(error.format_message(), t)))
    return "\n".join(lines) + "\n"


def _message(text: str, t: Messages) -> str:
    for sentence in _ERRORS:
        if found := sentence.pattern.fullmatch(text):
            values = found.groupdict()
            near = values.pop("near", None) or values.pop("also", None)
            return t(sentence.key, **values) + (f" {t('error.near', names=near)}" if near else "")
    if (invalid := _INVALID.fullmatch(text)) is None:
        return f"\n  {text}"
    name, reason = invalid["name"], invalid["reason"]
    head = t("error.invalid", name=name) if name else t("error.invalid_value")
    for sentence in _REASONS:
        if found := sentence.pattern.fullmatch(reason):
            return f"{head} {t(sentence.key, **found.groupdict())}"
    return f"{head}\n  {reason}"


def show(error: Any, t: Messages) -> None:
    """Writes the text of an error to standard error."""
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

    if type(error).__name__ == _NOTHING_GIVEN:
        error.show()
    else:
        sys.stderr.write(fitting(written(error, t), sys.stderr.encoding))
