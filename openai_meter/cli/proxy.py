"""The command ``proxy``: meters the OpenAI traffic of a program in any language.

Its exit code is that of the program. Without a program it serves until Ctrl-C or SIGTERM, and ends with 0. 1: the proxy
cannot start; 2: a setting cannot be used; 127: there is no such program.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.output import fail
from openai_meter.core import settings
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError, MeterError, MissingExtraError

if TYPE_CHECKING:
    import typer

__all__ = ["ProxyOptions", "add_commands", "proxy"]

_PORT = 8099
_NOT_FOUND = 127
"""The exit code of a shell for a program that is not there."""
_SIGNALS = tuple(
    found for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2") if (found := getattr(signal, name, None))
)
"""What is passed on to the program."""


class ProxyOptions(NamedTuple):
    """The options of the command."""

    host: str = "127.0.0.1"
    port: int = _PORT
    token: str | None = None
    upstream: str | None = None
    ledger: str | None = None
    budgets: tuple[str, ...] = ()
    dashboard: int | None = None
    lang: str | None = None


def proxy(program: list[str], options: ProxyOptions) -> None:
    """Serves the proxy, and runs the program with it as OpenAI's base URL."""
    m = language(options.lang)
    if not program:
        signal.signal(signal.SIGTERM, _interrupt)  # before anything is served: it may come at once
    try:
        with ExitStack() as stack:
            base_url = _start(stack, options, m)
            code = _run(program, base_url, m) if program else _wait()
    except MissingExtraError as error:
        fail(str(error), 1)
    except ConfigurationError as error:
        fail(str(error), 2)
    except (MeterError, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:  # while it starts, or while it stops
        code = 0
    raise SystemExit(code)


def _start(stack: ExitStack, options: ProxyOptions, m: Messages) -> str:
    """Starts the proxy, and the dashboard where it is wanted; returns the base URL for clients."""
    import openai_meter  # noqa: PLC0415 - not for `run`
    from openai_meter.budgets.text_form import parsed_budgets  # noqa: PLC0415
    from openai_meter.server.proxy.serving import start  # noqa: PLC0415 - an extra
    from openai_meter.server.proxy.upstream import UPSTREAM  # noqa: PLC0415

    # The proxy's own requests are not watched: they are metered where they pass.
    limits: dict[str, Any] = {"budgets": parsed_budgets(options.budgets)} if options.budgets else {}
    meter = openai_meter.install(http=False, ledger=options.ledger, **limits)
    stack.callback(_end, meter, m)
    upstream = options.upstream or os.environ.get("OPENAI_BASE_URL") or UPSTREAM
    token = options.token or settings.get("token")
    server = stack.enter_context(start(meter, options.host, options.port, upstream=upstream, token=token))
    _write(m("proxy.at", url=server.base_url, upstream=upstream))
    if options.dashboard is not None:
        from openai_meter import server as dashboards  # noqa: PLC0415

        _write(m("server.at", url=stack.enter_context(dashboards.start(meter, port=options.dashboard)).url))
    return server.base_url


def _end(meter: Any, m: Messages) -> None:
    """Stores what was recorded, and writes one line about it."""
    meter.flush()
    _write(m("proxy.end", summary=meter.summary()))


def _run(program: list[str], base_url: str, m: Messages) -> int:
    """Runs the program, and passes signals on to it; returns its exit code, 128 and more if a signal has ended it."""
    waiting: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        if child is None:
            waiting.append(number)
        elif not (number == signal.SIGINT and _is_in_foreground()):  # the terminal has sent it to both
            with suppress(ProcessLookupError):
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        try:
            child = subprocess.Popen(program, env={**os.environ, "OPENAI_BASE_URL": base_url})  # noqa: S603 - the user's own program
        except OSError as error:
            _write(m("proxy.no_program", program=program[0], error=error.strerror or str(error)))
            return _NOT_FOUND
        for number in waiting:
            child.send_signal(number)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _is_in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, AttributeError, ValueError):
        return False


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _wait() -> int:
    """Waits for Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    return 0


def _write(text: str) -> None:
    sys.stderr.write(f"openai-meter: {text}\n")
    sys.stderr.flush()


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "proxy",
        cls=Command,
        help=t("proxy"),
        epilog=example("openai-meter proxy -- node app.js", "openai-meter proxy --ledger sqlite:///usage.db"),
        context_settings={"allow_interspersed_args": False},
    )
    def run_proxy(
        ctx: typer.Context,
        program: Annotated[
            list[str] | None, typer.Argument(metavar="[-- PROGRAM ...]", help=t("proxy.program"))
        ] = None,
        *,
        port: Annotated[
            int, typer.Option("--port", "-p", metavar="PORT", min=0, max=65_535, help=t("serve.port"))
        ] = _PORT,
        host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help=t("serve.host"))] = "127.0.0.1",
        token: Annotated[str | None, typer.Option("--token", metavar="TOKEN", help=t("proxy.token"))] = None,
        upstream: Annotated[str | None, typer.Option("--upstream", metavar="URL", help=t("proxy.upstream"))] = None,
        ledger: Annotated[str | None, options.ledger] = None,
        budget: Annotated[list[str] | None, typer.Option("--budget", metavar="LIMIT", help=t("run.budget"))] = None,
        serve: Annotated[int | None, typer.Option("--serve", metavar="PORT", help=t("proxy.serve"))] = None,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        given = ProxyOptions(host, port, token, upstream, ledger, tuple(budget or ()), serve, lang)
        ctx.obj.append(partial(proxy, program or [], given))
