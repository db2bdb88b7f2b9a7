"""The command ``serve``: the dashboard and the HTTP API of a ledger.

Exit codes of ``serve``: 0 after Ctrl-C or SIGTERM, 1 where the server cannot start, 2 where a setting cannot be used.
"""

import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from openai_meter.cli.output import fail
from openai_meter.core import settings
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError, MeterError, MissingExtraError

if TYPE_CHECKING:
    import typer

    from openai_meter.alerts import Threshold

__all__ = ["ServerOptions", "add_commands", "serve"]

_PORT = 3000


class ServerOptions(NamedTuple):
    """The address of the server, and which requests it answers."""

    host: str
    port: int
    token: str | None
    hosts: tuple[str, ...]
    limits: tuple["Threshold", ...] = ()


def serve(url: str | None, options: ServerOptions, lang: str | None) -> None:
    """Serves a ledger, or this process's own meter, until Ctrl-C or SIGTERM."""
    m = language(lang)
    url = url or settings.get("ledger")
    allowed_hosts = options.hosts or None
    try:
        from openai_meter import server  # noqa: PLC0415 - an extra

        notes = _notes(url)
        signal.signal(signal.SIGTERM, _interrupt)
        with server.start(
            None, options.host, options.port, ledger=url, token=options.token, allowed_hosts=allowed_hosts,
            limits=options.limits,
        ) as running:  # fmt: skip
            _write(m("server.at", url=running.url), m("server.stop"))
            for key, values in notes:
                _write(m(key, **values))
            try:
                running.wait()
            except KeyboardInterrupt:
                return
    except MissingExtraError as error:
        fail(str(error), 1)
    except ConfigurationError as error:
        fail(str(error), 2)
    except (MeterError, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:  # Ctrl-C while it starts, or a second one while it stops
        return
    fail(m("server.not_started", error="uvicorn"), 1)


def _notes(url: str | None) -> list[tuple[str, dict[str, str]]]:
    """The settings of the server that have to be text."""
    if url is None:
        return [("server.empty", {})]
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - an extra

    engine = Ledger(url).engine
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    return [("server.no_file", {"file": file})] if file is not None and not Path(file).exists() else []


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _write(*sentences: str) -> None:
    sys.stderr.write(f"openai-meter: {'; '.join(sentences)}\n")
    sys.stderr.flush()


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, usable  # noqa: PLC0415

    t, options = texts(), Options()
    host_option = typer.Option("--host", metavar="ADDRESS", help=t("serve.host"))
    port_option = typer.Option("--port", "-p", metavar="PORT", min=0, max=65_535, help=t("serve.port"))
    token_option = typer.Option("--token", metavar="TOKEN", help=t("serve.token"))
    zone_option = typer.Option("--timezone", metavar="ZONE", help=t("serve.timezone"))
    names_option = typer.Option("--allow-host", metavar="NAME", help=t("serve.allow_host"))

    @app.command(
        "serve",
        cls=Command,
        help=t("serve"),
        epilog=example(
            "openai-meter serve --ledger sqlite:///usage.db",
            "openai-meter serve --port 8080 --limit cost=50/month --timezone Europe/Paris",
        ),
    )
    def serve_ledger(
        ctx: typer.Context,
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        host: Annotated[str, host_option] = "127.0.0.1",
        port: Annotated[int, port_option] = _PORT,
        token: Annotated[str | None, token_option] = None,
        allow_host: Annotated[list[str] | None, names_option] = None,
        limit: Annotated[list[str] | None, options.limit] = None,
        timezone: Annotated[str | None, zone_option] = None,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        from openai_meter.alerts import parsed_limits  # noqa: PLC0415 - not for `run`

        limits = usable(lambda: parsed_limits(limit, timezone), "--limit")
        ctx.obj.append(partial(serve, ledger, ServerOptions(host, port, token, tuple(allow_host or ()), limits), lang))
