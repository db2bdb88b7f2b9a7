"""Every setting that the package reads from outside: one table for the code, ``doctor`` and the documents.

A setting comes from a variable of the environment (``OPENAI_METER_LEDGER``), or, where a program was started by
``openai-meter run`` or :mod:`openai_meter.auto`, from the table ``[tool.openai_meter]`` of the ``pyproject.toml`` next
to the program (``ledger``). An argument of a call or a command comes first, then the environment, then the file. A
variable that is empty counts as not set.

To add a setting, add a row to :data:`SETTINGS` and read it with :func:`get`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from openai_meter.errors import ConfigurationError

__all__ = ["PREFIX", "SETTINGS", "Setting", "get", "project_folder", "read_project", "source", "variable"]

PREFIX = "OPENAI_METER"

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off", "none"})


class Setting(NamedTuple):
    """One row of :data:`SETTINGS`."""

    name: str
    """The key in ``pyproject.toml``. The variable is the same in capitals after ``OPENAI_METER_``."""
    meaning: str
    """What it does, in one sentence."""
    parse: Callable[[Any, str], Any]
    """Makes the value of a text, or of a value of ``pyproject.toml``; the second argument names the setting in the
    message of a :class:`ConfigurationError`."""
    default: Any = None
    in_file: bool = True
    """Whether ``pyproject.toml`` may have it."""


# --- parsers ----------------------------------------------------------------------------------------------------------


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r}; it has to be a text")
    return value.strip()


def _texts(value: Any, name: str) -> str:
    """A text, or a list of texts, as one text with commas."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r}; it has to be a text or a list of texts")
    return value.strip()


def _budgets(value: Any, name: str) -> tuple[str, ...]:
    """The texts of budgets, which ``budgets.text_form`` parses; ``off`` is none."""
    if value is False or (isinstance(value, str) and value.strip().lower() in _OFF - {"0"}):
        return ()
    return tuple(filter(None, map(str.strip, _texts(value, name).split(","))))


def _switch(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (text := value.strip().lower()) in _ON | _OFF:
        return text in _ON
    raise ConfigurationError(f"{name}={value!r} is neither 1 nor 0")


def _flag(value: Any, _: str) -> bool:
    return value not in ("", "0", False)


def _format_or_switch(value: Any, name: str) -> str | bool:
    """A form of report, or whether there is a summary at all."""
    if isinstance(value, bool):
        return value
    text = _text(value, name)
    return text.lower() in _ON if text.lower() in _ON | _OFF else text


def _switch_or_auto(value: Any, name: str) -> bool | str:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return _switch(value, name)
    except ConfigurationError:
        raise ConfigurationError(f"{name}={value!r} is not 1, 0 or auto") from None


def _pairs(value: Any, name: str, example: str) -> dict[str, Any]:
    """``a=1,b=2``, or a table, as a dict."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is {value!r}; write it as {example}, or as a table")
    found = {}
    for pair in filter(None, map(str.strip, value.split(","))):
        key, equals, item = map(str.strip, pair.partition("="))
        if not equals or not key:
            raise ConfigurationError(f"{name}={value!r} cannot be used; write it as {example}")
        found[key] = item
    return found


def _hosts(value: Any, name: str) -> Mapping[str, str]:
    return {host: _text(provider, f"{name}: {host}") for host, provider in _pairs(
        value, name, "llm.example.com=openai,other.example.com=azure"
    ).items()}  # fmt: skip


def _thresholds(value: Any, name: str) -> dict[str, Any] | bool:
    """Limits as ``install(thresholds=...)`` takes them, which checks their names; ``False`` is none."""
    if value is False or (isinstance(value, str) and value.strip().lower() in _OFF):
        return False
    from openai_meter.core.money import exact  # noqa: PLC0415 - few programs have limits here

    limits: dict[str, Any] = {}
    for metric, limit in _pairs(value, name, "cost=5,calls=off").items():
        if limit is False or (isinstance(limit, str) and limit.lower() in _OFF - {"0"}):
            limits[metric] = None
        elif isinstance(limit, int) and not isinstance(limit, bool):
            limits[metric] = limit
        else:
            text = str(limit)
            limits[metric] = int(text) if text.isdecimal() else exact(limit, f"{name}: {metric}")
    return limits


# --- the table --------------------------------------------------------------------------------------------------------

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "enabled", "Starts the meter in every Python process that imports openai_meter.auto: 1 or 0.", _switch, False,
        in_file=False,
    ),
    Setting(
        "summary", "Writes a summary at the end of a program: 1, 0, or a form of report such as tree.",
        _format_or_switch,
    ),
    Setting("report", "Saves a report in this file at the end of a program; its suffix is that of its form.", _text),
    Setting("by", "The dimensions that the summary and the report group by, such as agent,model.", _texts),
    Setting("lang", "The language of what people read: en or fr.", _text),
    Setting("ledger", "The URL of the ledger that keeps every call, such as sqlite:///usage.db.", _text),
    Setting("budget", "Caps that stop calls before they are sent, such as 5/day,500/month; off for none.", _budgets),
    Setting("budget_store", "The URL of the store of budgets that processes share, such as redis://localhost.", _text),
    Setting("thresholds", "Limits for alerts, such as cost=5,calls=off; off for none.", _thresholds),
    Setting("threads", "Whether attribution follows into threads: 1 or 0.", _switch),
    Setting("hosts", "Hosts that stand for a provider, such as llm.example.com=openai.", _hosts, {}),
    Setting(
        "stream_usage", "Whether streamed chats are asked for their usage: auto, always or never.", _text, "auto"
    ),
    Setting(
        "http", "Whether HTTP libraries are watched too, for calls without the openai package: auto, 1 or 0.",
        _switch_or_auto, "auto",
    ),
    Setting("webhook", "Where alerts are posted: one URL, or several with a comma between.", _texts),
    Setting(
        "webhook_secret", "Signs what is posted to webhooks: whsec_ and a key in base64.", _text, in_file=False
    ),
    Setting("token", "The bearer token of the HTTP API and the dashboard.", _text, in_file=False),
    Setting(
        "run", "Set by openai-meter run for the processes below it: where they write their calls.", _text, in_file=False
    ),
    Setting(
        "reraise_faults", "Raises faults of the meter where they happen: for the project's own tests.", _flag, False,
        in_file=False,
    ),
)  # fmt: skip
"""All settings. Switches of the process, and secrets, cannot be set in a file."""

_ROWS = {row.name: row for row in SETTINGS}


def variable(name: str) -> str:
    """The variable of the environment that has a setting."""
    return PREFIX if name == "enabled" else f"{PREFIX}_{name.upper()}"


class _Project:
    """The settings of the file next to the program."""

    path = ""
    values: Mapping[str, Any] = {}


def get(name: str) -> Any:
    """The value of a setting: that of the environment, else that of the file, else the default.

    Raises:
        ConfigurationError: it cannot be used.
    """
    row = _ROWS[name]
    if (text := os.environ.get(variable(name), "").strip()) != "":
        return row.parse(text, variable(name))
    return _Project.values.get(name, row.default)


def source(name: str) -> str:
    """Where the value of a setting comes from, for messages: the variable, or the file and the key."""
    from_file = name in _Project.values and not os.environ.get(variable(name), "").strip()
    return f"{_Project.path}: {name}" if from_file else variable(name)


def project_folder(program: str | None) -> str:
    """The folder that is next to a program: that of a script or an archive, a directory itself, else the current one.

    Args:
        program: the path of the program; ``None`` for a module (``-m``). The name of a command is not a path.
    """
    if program is None or not os.path.exists(program):
        return os.getcwd()
    path = os.path.realpath(program)
    return path if os.path.isdir(path) else os.path.dirname(path)


def read_project(folder: str) -> str | None:
    """Reads the settings of the ``pyproject.toml`` in a folder, in place of those that were read before.

    Returns:
        The path of the file, or ``None`` if there is none, or none with a table ``[tool.openai_meter]``.

    Raises:
        ConfigurationError: the file cannot be read, or has a setting that does not exist or cannot be used. No setting
            of a file is used then.
    """
    _Project.path, _Project.values = "", {}
    path = os.path.join(folder, "pyproject.toml")
    if not os.path.isfile(path):
        return None
    table = _table(path)
    if table is None:
        return None
    _Project.values = {name: _checked(name, value, path) for name, value in table.items()}
    _Project.path = path
    return path


def _table(path: str) -> dict[str, Any] | None:
    import tomllib  # noqa: PLC0415 - for programs with such a file only

    try:
        with open(path, "rb") as file:
            table = tomllib.load(file).get("tool", {}).get("openai_meter")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if table is not None and not isinstance(table, dict):
        raise ConfigurationError(f"tool.openai_meter is {table!r} in {path}; it has to be a table: [tool.openai_meter]")
    return table


def _checked(name: str, value: Any, path: str) -> Any:
    row = _ROWS.get(name)
    known = ", ".join(row.name for row in SETTINGS if row.in_file)
    if row is None:
        raise ConfigurationError(f"{path}: [tool.openai_meter] has no setting {name!r}; there are {known}")
    if not row.in_file:
        raise ConfigurationError(f"{path}: {name} does not belong in a file; set the variable {variable(name)} instead")
    return row.parse(value, f"{path}: {name}")
