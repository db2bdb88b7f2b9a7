"""The command ``estimate``: the tokens of a text or of a request before it is sent.

Exit codes: 1 where the tokens are unknown, 2 where the file or an option cannot be read.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from openai_meter.cli.output import fail, write_json, write_lines
from openai_meter.core.formatting import exact_dollars, number
from openai_meter.core.locale import Messages, language

if TYPE_CHECKING:
    import typer

    from openai_meter.pricing.quotes import Quote

__all__ = ["add_commands", "estimate"]


def estimate(
    file: str, model: str | None, endpoint: str | None, lang: str | None, *, request: bool, as_json: bool
) -> None:
    """Writes the estimate of a text or a request. Exit code 1: its tokens are unknown."""
    from openai_meter.pricing import quotes  # noqa: PLC0415 - not for `run`

    m = language(lang)
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig")
        content = json.loads(text) if request or endpoint is not None else text
        quote = quotes.estimate(content, model=model, endpoint=endpoint)
    except FileNotFoundError:
        fail(m("cli.no_file", file=file), 2)
    except OSError as error:
        fail(m("cli.not_read", file=file, error=error.strerror or error), 2)
    except UnicodeDecodeError:
        fail(m("cli.not_utf8", file=file), 2)
    except (ValueError, RecursionError) as error:
        fail(f"{file}: {error}", 2)
    if quote.estimate.source == "chars":
        sys.stderr.write(f"openai-meter: {m('cli.estimate.by_characters')}\n")
    if as_json:
        write_json(quote.to_dict())
    else:
        write_lines(*_lines(quote, m))
    if quote.tokens is None:
        raise SystemExit(1)


def _lines(quote: "Quote", m: Messages) -> Iterator[str]:
    about = m("cli.estimate.at_least") * quote.estimate.lower_bound
    about += m("cli.estimate.about") * (quote.estimate.source == "chars")
    unknown = m("cli.estimate.unknown")
    yield m(
        "cli.estimate.tokens", tokens=unknown if quote.tokens is None else f"{about}{number(quote.tokens, m.numbers)}"
    )
    if quote.cost is not None:
        yield m("cli.estimate.cost", cost=f"{about}{exact_dollars(quote.cost, m.numbers)} ({quote.model})")
    elif quote.model is None:
        yield m("cli.estimate.no_model")
    else:
        yield m("cli.estimate.cost", cost=f"{unknown} ({quote.price.reason})")
    if quote.estimate.unknown:
        yield m("cli.estimate.not_counted", parts=", ".join(quote.estimate.unknown))
    if quote.estimate.sampled:
        yield m("cli.estimate.sampled")


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "estimate",
        cls=Command,
        help=t("estimate"),
        epilog=example(
            "openai-meter estimate prompt.txt -m gpt-4o-mini", "openai-meter estimate --request < request.json -"
        ),
    )
    def estimate_file(
        ctx: typer.Context,
        file: Annotated[str, typer.Argument(metavar="FILE", help=t("estimate.file"))],
        *,
        model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help=t("estimate.model"))] = None,
        request: Annotated[bool, typer.Option("--request", help=t("estimate.request"))] = False,
        endpoint: Annotated[str | None, typer.Option(metavar="NAME", help=t("estimate.endpoint"))] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        ctx.obj.append(partial(estimate, file, model, endpoint, lang, request=request, as_json=as_json))
