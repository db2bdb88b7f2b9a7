"""The command ``webhook test``, which posts one alert and says what came of it.

Exit codes: 1 where the alert was not taken, 2 where the webhook cannot be used.
"""

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.prices import give_up
from openai_meter.core.locale import Messages, language
from openai_meter.errors import MeterError

if TYPE_CHECKING:
    import typer

    from openai_meter.alerts.webhook import Webhook
    from openai_meter.alerts.webhook.http import Answer
    from openai_meter.alerts.webhook.payloads import Message

__all__ = ["Wanted", "add_commands", "test"]


class Wanted(NamedTuple):
    """The webhook that the command line asks for; ``None`` is what the environment says, or what is usual."""

    url: str | None = None
    secret: str | None = None
    form: str | None = None
    timeout: float | None = None
    allow_private: bool = False
    lang: str | None = None


@dataclass(frozen=True)
class _Outcome:
    """What came of a test."""

    webhook: "Webhook"
    message: "Message"
    headers: dict[str, str]
    seconds: float
    answer: "Answer | None" = None
    error: str | None = None
    private: bool = False
    """Whether it was not posted because the name stands for a private address."""

    @property
    def taken(self) -> bool:
        return self.answer is not None and 200 <= self.answer.status < 300

    def to_dict(self) -> dict[str, Any]:
        from openai_meter.alerts.webhook.config import shown  # noqa: PLC0415 - not for `run`

        answer = self.answer
        return {
            "webhook": shown(self.webhook),
            "taken": self.taken,
            "status": answer and answer.status,
            "seconds": round(self.seconds, 6),
            "address": answer and answer.address,
            "redirect": answer and answer.redirect,
            "retry_after": answer and answer.retry_after,
            "error": self.error,
            "format": self.webhook.format,
            "signed": self.webhook.secret is not None,
            "headers": self.headers,
            "body": self.message.body.decode(),
            "answer": answer and answer.excerpt,
        }


def test(wanted: Wanted, *, as_json: bool, verbose: bool) -> None:
    """Posts a test alert and writes what came of it. Exit code 1: it was not taken."""
    from openai_meter.alerts.webhook.config import shown  # noqa: PLC0415 - not for `run`

    m = language(wanted.lang)
    try:
        outcome = _post(_webhook(wanted))
    except MeterError as error:
        give_up(str(error), 2)
    if as_json:
        json.dump(outcome.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        lines = [_sentence(outcome, m, shown(outcome.webhook))]
        if outcome.private:
            lines.append(m("cli.webhook.private"))
        if verbose:
            lines += _details(outcome, m)
        from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

        sys.stdout.write(fitting("\n".join(lines) + "\n", sys.stdout.encoding))
    if not outcome.taken:
        raise SystemExit(1)


def _webhook(wanted: Wanted) -> "Webhook":
    from openai_meter.alerts.webhook.config import Webhook, read_webhooks  # noqa: PLC0415 - not for `run`

    url = wanted.url
    if url is None:
        named = read_webhooks(os.environ.get("OPENAI_METER_WEBHOOK") or None)
        if len(named) != 1:
            give_up("name the webhook: openai-meter webhook test URL, or one in OPENAI_METER_WEBHOOK", 2)
        url = named[0].url
    (webhook,) = read_webhooks(
        Webhook(
            url,
            secret=wanted.secret,
            format=wanted.form,
            timeout=10.0 if wanted.timeout is None else wanted.timeout,
            allow_private=wanted.allow_private,
            lang=wanted.lang,
        )
    )
    return webhook


def _post(webhook: "Webhook") -> _Outcome:
    from openai_meter.alerts import Alert, Threshold  # noqa: PLC0415
    from openai_meter.alerts.webhook.http import NotPostedError, PrivateAddressError, post, prepare  # noqa: PLC0415
    from openai_meter.alerts.webhook.payloads import Letter, write  # noqa: PLC0415
    from openai_meter.core.call import new_call_id  # noqa: PLC0415 - not for `run`

    alert = Alert(new_call_id(), Threshold("cost", 1), Decimal("1.02"), datetime.now(UTC))
    message = write(webhook, Letter(alert, test=True))
    headers = message.signed(webhook)
    prepare(webhook)
    begun = time.perf_counter()
    outcome = _Outcome(webhook, message, headers, 0.0)
    try:
        answer = post(webhook, message.body, headers, excerpt=True)
        outcome = replace(outcome, answer=answer)
    except NotPostedError as error:
        outcome = replace(outcome, error=str(error), private=isinstance(error, PrivateAddressError))
    return replace(outcome, seconds=time.perf_counter() - begun)


def _sentence(outcome: _Outcome, m: Messages, name: str) -> str:
    answer, ms = outcome.answer, round(outcome.seconds * 1_000)
    if answer is None:
        return m("cli.webhook.not_posted", webhook=name, error=outcome.error, ms=ms)
    if answer.redirect is not None:
        return m("cli.webhook.redirect", webhook=name, status=answer.status, host=answer.redirect, ms=ms)
    return m("cli.webhook.taken" if outcome.taken else "cli.webhook.refused", webhook=name, status=answer.status, ms=ms)


def _details(outcome: _Outcome, m: Messages) -> list[str]:
    """What was sent, and what came back; an answer is whatever a stranger writes, so it cannot move the cursor."""
    sent = [f"> {name}: {value}" for name, value in outcome.headers.items()]
    sent.append(f"> {outcome.message.body.decode()}")
    if outcome.answer is None:
        return sent
    head = m("cli.webhook.answer", status=outcome.answer.status, address=outcome.answer.address)
    lines = outcome.answer.excerpt.splitlines()
    return [*sent, head, *("< " + "".join(one if one.isprintable() else "�" for one in line) for line in lines)]


def add_commands(app: "typer.Typer") -> None:
    """Adds the commands to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    group = typer.Typer(help="Try out the webhooks that alerts are posted to.", no_args_is_help=True)
    app.add_typer(group, name="webhook")

    @group.callback()
    def of_webhooks() -> None:
        pass

    def check(lang: str | None) -> str | None:
        try:
            language(lang)
        except MeterError as error:
            raise typer.BadParameter(str(error)) from None
        return lang

    @group.command("test")
    def test_webhook(
        ctx: typer.Context,
        url: Annotated[
            str | None,
            typer.Argument(metavar="URL", help="The webhook; by default that of OPENAI_METER_WEBHOOK."),
        ] = None,
        *,
        secret: Annotated[
            str | None,
            typer.Option(
                help="Signs the request (whsec_...). Other users may see it here: OPENAI_METER_WEBHOOK_SECRET."
            ),
        ] = None,
        form: Annotated[
            str | None, typer.Option("--format", help="standard, slack or discord; by default as the host wants it.")
        ] = None,
        timeout: Annotated[float | None, typer.Option(help="Seconds that the request may take; 10 by default.")] = None,
        allow_private: Annotated[
            bool, typer.Option("--allow-private", help="The host's name may stand for a private address.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="Write what was sent and what came back as JSON.")
        ] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", help="Show what was sent and what came back.")
        ] = False,
        lang: Annotated[
            str | None, typer.Option("--lang", callback=check, help="en or fr; by default that of the locale.")
        ] = None,
    ) -> None:
        """Post one test alert, and say whether it was taken."""
        wanted = Wanted(url, secret, form, timeout, allow_private, lang)
        ctx.obj.append(partial(test, wanted, as_json=as_json, verbose=verbose))
