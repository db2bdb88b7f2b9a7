"""The dashboard of a program that ``run`` runs: its port, and its start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.metering.meter import Meter

__all__ = ["parsed_port", "start_dashboard"]


def parsed_port(text: str | None) -> int | None:
    """The number of a port.

    Raises:
        ConfigurationError: it is not a number from 0 to 65535.
        MissingExtraError: the server needs a package that is not installed.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:6]) > 65_535:
        raise ConfigurationError(f"{text!r} is not a port; use a number from 0 to 65535")
    import openai_meter.server  # noqa: PLC0415, F401 - an extra, and not for a plain `run`

    return int(text)


def start_dashboard(meter: Meter, port: int, lang: str) -> str:
    """Starts the dashboard of a program that is about to run; returns a sentence about it. Never raises."""
    m = language(lang)
    try:
        from openai_meter import server  # noqa: PLC0415 - an extra

        return m("server.at", url=server.start(meter, port=port).url)
    except Exception as error:  # the program runs without it
        return m("server.not_started", error=str(error) or type(error).__name__)
