"""Options that ``top`` and ``statusline`` share, and lengths of time as people write them."""

from __future__ import annotations

import math
import re

from openai_meter.errors import ConfigurationError

__all__ = ["SINCE", "TIMEOUT", "WINDOW", "LiveOptions", "parsed_duration"]

WINDOW, SINCE, TIMEOUT = "5m", "today", "2s"
"""The defaults of ``--window``, ``--since`` and ``--timeout``."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?) *(s|m|min|h)?")
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parsed_duration(text: str, option: str) -> float:
    """The seconds of a length of time such as ``30``, ``1s``, ``5m`` or ``1h``.

    Raises:
        ConfigurationError: it cannot be read, or is 0.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds < math.inf:
        raise ConfigurationError(f"{option} {text!r} is not a length of time; write 30s, 5m or 1h")
    return seconds


class LiveOptions:
    """The options of both commands, in the language of the user."""

    def __init__(self) -> None:
        import typer  # noqa: PLC0415 - not for a correct `statusline`

        from openai_meter.cli.help import texts  # noqa: PLC0415

        t = texts()
        self.url = typer.Option("--url", metavar="URL", help=t("live.url"))
        self.window = typer.Option("--window", metavar="TIME", help=t("live.window"))
        self.timezone = typer.Option("--timezone", metavar="ZONE", help=t("live.timezone"))
