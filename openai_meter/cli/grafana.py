"""Writes what Grafana and Prometheus are told, for ``openai-meter export``."""

from __future__ import annotations

import sys
from pathlib import Path

from openai_meter.cli.prices import give_up
from openai_meter.exporters.grafana import FILES

__all__ = ["FILES", "export"]


def export(what: str, output: str | None, lang: str | None) -> None:
    """Writes a dashboard or rules to a file, or to standard output."""
    text = FILES[what](lang)
    if output is None:
        sys.stdout.write(text)
    elif Path(output).is_dir():
        give_up(f"{output!r} is a folder; add the name of a file", 2)
    else:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            give_up(str(error), 1)
        sys.stderr.write(f"openai-meter: {what} written to {output}\n")
