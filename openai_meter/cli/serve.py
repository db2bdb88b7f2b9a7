"""The command ``serve``, and the dashboard beside a program that ``run`` runs.

Exit codes of ``serve``: 0 after Ctrl-C or SIGTERM, 1 where the server cannot start, 2 where a setting cannot be used.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from openai_meter.cli.prices import give_up
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError, MeterError, MissingExtraError

if TYPE_CHECKING:
    import typer

    from openai_meter.metering.meter import Meter

__all__ = ["Place", "add_commands", "beside", "port_of", "serve"]

_VARIABLE = "OPENAI_METER_LEDGER"
_PORT = 3000


class Place(NamedTuple):
    """Where the command line wants the server to be, and who may ask it."""

    host: str
    port: int
    token: str | None
    hosts: tuple[str, ...]


def port_of(said: str | None) -> int | None:
    """A port from the command line.

    Raises:
        ConfigurationError: it is none.
        MissingExtraError: the server needs a package that is not installed.
    """
    if said is None:
        return None
    if not said.isascii() or not said.isdigit() or int(said[:6]) > 65_535:
        raise ConfigurationError(f"{said!r} is no port; use a number from 0 to 65535")
    import openai_meter.server  # noqa: PLC0415, F401 - an extra, and not for a plain `run`

    return int(said)


def beside(meter: "Meter", port: int, lang: str) -> str:
    """Starts the dashboard of a program that is about to run, and returns what there is to say. Never raises."""
    m = language(lang)
    try:
        from openai_meter import server  # noqa: PLC0415 - an extra

        return m("server.at", url=server.start(meter, port=port).url)
    except Exception as error:  # the program runs without it
        return m("server.not_started", error=str(error) or type(error).__name__)


def serve(url: str | None, place: Place, lang: str | None) -> None:
    """Serves a ledger, or this process's own meter, until Ctrl-C or SIGTERM."""
    m = language(lang)
    url = url or os.environ.get(_VARIABLE) or None
    hosts = place.hosts or None
    try:
        from openai_meter import server  # noqa: PLC0415 - an extra

        notes = _notes(url)
        signal.signal(signal.SIGTERM, _interrupt)
        with server.start(None, place.host, place.port, ledger=url, token=place.token, allowed_hosts=hosts) as running:
            _say(m("server.at", url=running.url), m("server.stop"))
            for key, values in notes:
                _say(m(key, **values))
            try:
                running.wait()
            except KeyboardInterrupt:
                return
    except MissingExtraError as error:
        give_up(str(error), 1)
    except ConfigurationError as error:
        give_up(str(error), 2)
    except (MeterError, OSError) as error:
        give_up(str(error), 1)
    except KeyboardInterrupt:  # while it starts, or again while it stops
        return
    give_up(m("server.not_started", error="uvicorn"), 1)


def _notes(url: str | None) -> list[tuple[str, dict[str, str]]]:
    """What has to be said of what is served."""
    if url is None:
        return [("server.empty", {})]
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - an extra

    engine = Ledger(url).engine
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    return [("server.no_file", {"file": file})] if file is not None and not Path(file).exists() else []


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(*words: str) -> None:
    sys.stderr.write(f"openai-meter: {'; '.join(words)}\n")
    sys.stderr.flush()


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    ledger_option = typer.Option("--ledger", metavar="URL", help=f"The ledger; by default that of {_VARIABLE}.")
    host_option = typer.Option("--host", help="The address to listen on; others than this machine need a token.")
    port_option = typer.Option("--port", "-p", min=0, max=65_535, help="The port; 0 is any that is free.")
    token_option = typer.Option(
        "--token", metavar="TOKEN", help="What has to be sent as a bearer token; better: OPENAI_METER_TOKEN."
    )
    hosts_option = typer.Option("--allow-host", metavar="NAME", help="A name that the server is known by.")
    lang_option = typer.Option("--lang", help="en or fr; by default that of the locale.")

    @app.command("serve")
    def serve_ledger(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, ledger_option] = None,
        host: Annotated[str, host_option] = "127.0.0.1",
        port: Annotated[int, port_option] = _PORT,
        token: Annotated[str | None, token_option] = None,
        allow_host: Annotated[list[str] | None, hosts_option] = None,
        lang: Annotated[str | None, lang_option] = None,
    ) -> None:
        """Serve the dashboard and the HTTP API of a ledger, on this machine."""
        try:
            language(lang)
        except ConfigurationError as error:
            raise typer.BadParameter(str(error), param_hint="--lang") from None
        place = Place(host, port, token, tuple(allow_host or ()))
        ctx.obj.append(partial(serve, ledger, place, lang))
