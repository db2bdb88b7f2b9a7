"""Writes the pages api.md and settings.md from the code: ``python tests/support/api_reference.py``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from paths import PACKAGE

import openai_meter
from openai_meter.core.settings import SETTINGS, variable

PAGE = PACKAGE / "docs" / "api.md"
SETTINGS_PAGE = PACKAGE / "docs" / "settings.md"
MODULES = ("actions", "auto", "doctor", "otel", "prometheus", "server", "testing")
"""The public modules beside ``openai_meter`` itself."""
_HEAD = """\
# API reference

Made from the docstrings by `python tests/support/api_reference.py`. The other pages show how to use it: see
[the index](index.md).
"""
_ROLE = re.compile(r":\w+:`~?\.?(?:[\w.]*\.)?([\w]+)`")


_SETTINGS_HEAD = """\
# Settings

Made from `core/settings.py` by `python tests/support/api_reference.py`.

An argument of a call or of a command comes first, then the environment, then the file, then the default. A variable
that is empty counts as not set. The file is the `pyproject.toml` next to the program; `openai-meter run` and
`openai_meter.auto` read it:

```toml
[tool.openai_meter]
ledger = "sqlite:///usage.db"
by = ["agent", "model"]
hosts = { "llm.example.com" = "openai" }
```

| variable | in `pyproject.toml` | meaning |
|---|---|---|
"""


def settings() -> str:
    """The page of the settings."""
    rows = [
        f"| `{variable(row.name)}` | {f'`{row.name}`' if row.in_file else '(environment only)'} | {row.meaning} |"
        for row in SETTINGS
    ]
    return _SETTINGS_HEAD + "\n".join(rows) + "\n"


def reference() -> str:
    """The page."""
    parts = [_HEAD]
    for group, kind in (("Functions", "function"), ("Classes", "class"), ("Exceptions", "exception")):
        names = [name for name in openai_meter.__all__ if _kind(getattr(openai_meter, name)) == kind]
        parts += [f"## {group}\n", *(_entry("openai_meter", name, getattr(openai_meter, name)) for name in names)]
    for name in MODULES:
        module = importlib.import_module(f"openai_meter.{name}")
        parts += [f"## openai_meter.{name}\n", _text(module)]
        public = getattr(module, "__all__", ())
        parts += [_entry(module.__name__, one, getattr(module, one)) for one in public if _kind(getattr(module, one))]
    return "\n".join(parts).rstrip("\n") + "\n"


def _kind(value: object) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if callable(value) and inspect.isfunction(inspect.unwrap(value)) else ""


def _entry(place: str, name: str, value: Any) -> str:
    lines = [f"### `{name}`\n", f"```text\n{place}.{name}{_signature(value)}\n```\n", _text(value)]
    if inspect.isclass(value) and not issubclass(value, BaseException):
        lines += _members(value)
    return "\n".join(lines)


def _members(owner: type) -> Iterator[str]:
    rows = []
    for name, member in inspect.getmembers(owner):
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property) or inspect.isfunction(member) or inspect.ismethod(member):
            call = "" if isinstance(member, property) else "()"
            rows.append(f"| `{name}{call}` | {_first_sentence(member)} |")
    fields = [field.name for field in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
    if fields:
        yield f"Fields: {', '.join(f'`{name}`' for name in fields if not name.startswith('_'))}.\n"
    if rows:
        yield "\n".join(["| member | meaning |", "|---|---|", *rows]) + "\n"


def _first_sentence(member: object) -> str:
    text = " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())
    return _ROLE.sub(r"`\1`", text).replace("``", "`").replace("|", "\\|")


def _signature(value: Callable[..., object]) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    text = f"({', '.join(map(_parameter, signature.parameters.values()))})"
    return (
        text if len(text) < 90 else text.replace("(", "(\n    ", 1).replace(", ", ",\n    ").removesuffix(")") + ",\n)"
    )


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter without its type: the docstring says what it takes."""
    plain = parameter.replace(annotation=inspect.Parameter.empty)
    if plain.default is not inspect.Parameter.empty and not isinstance(plain.default, bool | int | float | str | None):
        return f"{plain.name}=..."
    return str(plain)


def _text(value: object) -> str:
    """A docstring as Markdown: its sections are lists."""
    lines: list[str] = []
    section = False
    for line in (inspect.getdoc(value) or "").splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            section = True
            lines += ["", f"**{line[:-1]}**", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            lines.append(f"- {line.strip()}")
        else:
            lines.append(line.replace("    ", "  ", 1) if section else line)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return _ROLE.sub(r"`\1`", text).replace("``", "`") + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    SETTINGS_PAGE.write_text(settings(), encoding="utf-8")
