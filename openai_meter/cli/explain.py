"""The command ``explain``: how the cost of one call comes about.

Exit codes: 1 where the cost is unknown, 2 where standard input or an option cannot be read.
"""

import json
import sys
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

from openai_meter.cli.output import fail, write_json
from openai_meter.core.locale import language

if TYPE_CHECKING:
    import typer

    from openai_meter.pricing import Billable

__all__ = ["CallDescription", "add_commands", "explain"]


class CallDescription(NamedTuple):
    """What the command line adds to the usage on standard input."""

    model: str | None
    endpoint: str
    tier: str | None
    batch: bool
    at: str | None
    host: str
    lang: str | None = None


def explain(call: CallDescription, *, as_json: bool) -> None:
    """Writes the bill of the call on standard input. Exit code 1: its cost is unknown."""
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`
    from openai_meter.reports import bills  # noqa: PLC0415

    book = PriceBook()
    billable = _billable(call)
    cost, lines = book.cost(billable), book.lines(billable)
    if as_json:
        write_json(bills.bill_values(cost, lines))
    else:
        bills.print_bill(cost, lines, lang=call.lang)
    if cost.amount_pico is None:
        raise SystemExit(1)


def _billable(call: CallDescription) -> "Billable":
    """The call that is described by the command line and standard input."""
    from openai_meter.pricing import Billable  # noqa: PLC0415
    from openai_meter.usage.billing_details import answer_facts  # noqa: PLC0415
    from openai_meter.usage.responses import ResponseState, read_object, read_response  # noqa: PLC0415 - not for `run`

    m = language(call.lang)
    if sys.stdin.isatty():
        sys.stderr.write(f"openai-meter: {m('cli.explain.waiting')}\n")
    try:
        document = json.load(sys.stdin)
        at = None if call.at is None else datetime.fromisoformat(call.at)
    except ValueError as error:
        fail(m("cli.explain.not_read", error=error), 2)
    if not isinstance(document, dict):
        fail(m("cli.explain.not_an_object"), 2)
    answer = document if isinstance(document.get("usage"), dict) else {"usage": document}
    is_response = answer.get("object") == "response"
    state = ResponseState()
    (read_response if is_response else read_object)(state, answer)
    usage = state.total()
    model = call.model or state.model
    if usage is None or model is None:
        fail(m("cli.explain.no_usage" if usage is None else "cli.explain.no_model"), 2)
    return Billable(
        usage,
        model,
        endpoint=call.endpoint or ("responses" if is_response else "chat.completions"),
        provider="openai" if call.host.endswith("openai.com") else call.host,
        host=call.host,
        service_tier=call.tier or state.service_tier,
        at=at,
        batch=call.batch,
        details=answer_facts(answer),
    )


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()

    @app.command(
        "explain",
        cls=Command,
        help=t("explain"),
        epilog=example(
            """echo '{"prompt_tokens": 3245, "completion_tokens": 1892}' | openai-meter explain -m gpt-4o-mini""",
            "openai-meter explain --at 2026-05-01 < answer.json",
        ),
    )
    def explain_call(
        ctx: typer.Context,
        *,
        model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help=t("explain.model"))] = None,
        endpoint: Annotated[str, typer.Option(metavar="NAME", help=t("explain.endpoint"))] = "",
        tier: Annotated[str | None, typer.Option(metavar="NAME", help=t("explain.tier"))] = None,
        batch: Annotated[bool, typer.Option("--batch", help=t("explain.batch"))] = False,
        at: Annotated[str | None, typer.Option(metavar="TIME", help=t("explain.at"))] = None,
        host: Annotated[str, typer.Option(metavar="NAME", help=t("explain.host"))] = "api.openai.com",
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        call = CallDescription(model, endpoint, tier, batch, at, host, lang)
        ctx.obj.append(partial(explain, call, as_json=as_json))
