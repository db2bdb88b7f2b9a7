"""The command ``webhook test``: posts one alert, and writes whether the webhook accepted it.

Exit codes: 1 where the alert was not accepted, 2 where the webhook cannot be used.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.output import fail, write_json, write_lines
from openai_meter.core import settings
from openai_meter.core.locale import Messages, language
from openai_meter.core.settings import variable
from openai_meter.errors import MeterError

if TYPE_CHECKING:
    import typer

    from openai_meter.alerts.webhook import Webhook
    from openai_meter.alerts.webhook.http import Answer
    from openai_meter.alerts.webhook.payloads import Message

__all__ = ["WebhookTest", "add_commands", "test"]


class WebhookTest(NamedTuple):
    """The webhook on the command line; ``None`` is the value of the environment, or the default."""

    url: str | None = None
    secret: str | None = None
    form: str | None = None
    timeout: float | None = None
    allow_private: bool = False
    lang: str | None = None


@dataclass(frozen=True)
class _Outcome:
    """The result of a test."""

    webhook: "Webhook"
    message: "Message"
    headers: dict[str, str]
    seconds: float
    answer: "Answer | None" = None
    error: str | None = None
    private: bool = False
    """Whether it was not posted because the host has a private address."""

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


def test(request: WebhookTest, *, as_json: bool, verbose: bool) -> None:
    """Posts a test alert and writes the result. Exit code 1: it was not accepted."""
    from openai_meter.alerts.webhook.config import shown  # noqa: PLC0415 - not for `run`

    m = language(request.lang)
    try:
        outcome = _post(_webhook(request))
    except MeterError as error:
        fail(str(error), 2)
    if as_json:
        write_json(outcome.to_dict())
    else:
        lines = [_sentence(outcome, m, shown(outcome.webhook))]
        if outcome.private:
            lines.append(m("cli.webhook.private"))
        if verbose:
            lines += _details(outcome, m)
        write_lines(*lines)
    if not outcome.taken:
        raise SystemExit(1)


def _webhook(request: WebhookTest) -> "Webhook":
    from openai_meter.alerts.webhook.config import Webhook, read_webhooks  # noqa: PLC0415 - not for `run`

    url = request.url
    if url is None:
        configured = read_webhooks(settings.get("webhook"))
        if len(configured) != 1:
            fail(language(request.lang)("cli.webhook.missing", variable=variable("webhook")), 2)
        url = configured[0].url
    (webhook,) = read_webhooks(
        Webhook(
            url,
            secret=request.secret,
            format=request.form,
            timeout=10.0 if request.timeout is None else request.timeout,
            allow_private=request.allow_private,
            lang=request.lang,
        )
    )
    return webhook


def _post(webhook: "Webhook") -> _Outcome:
    from openai_meter.alerts import Alert, Threshold  # noqa: PLC0415
    from openai_meter.alerts.webhook.http import NotPostedError, PrivateAddressError, post, prepare  # noqa: PLC0415
    from openai_meter.alerts.webhook.payloads import OutgoingAlert, write  # noqa: PLC0415
    from openai_meter.core.call import new_call_id  # noqa: PLC0415 - not for `run`

    alert = Alert(new_call_id(), Threshold("cost", 1), Decimal("1.02"), datetime.now(UTC))
    message = write(webhook, OutgoingAlert(alert, test=True))
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
    """What was sent and received. Control characters of the answer are replaced: they could move the cursor."""
    sent = [f"> {name}: {value}" for name, value in outcome.headers.items()]
    sent.append(f"> {outcome.message.body.decode()}")
    if outcome.answer is None:
        return sent
    head = m("cli.webhook.answer", status=outcome.answer.status, address=outcome.answer.address)
    lines = outcome.answer.excerpt.splitlines()
    return [*sent, head, *("< " + "".join(char if char.isprintable() else "�" for char in line) for line in lines)]


def add_commands(app: "typer.Typer") -> None:
    """Adds the commands to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, Group, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options  # noqa: PLC0415

    t, options = texts(), Options()
    group = typer.Typer(
        cls=Group,
        help=t("webhook"),
        epilog=example("openai-meter webhook test https://example.com/alerts"),
        no_args_is_help=True,
    )
    app.add_typer(group, name="webhook")

    @group.callback()
    def of_webhooks() -> None:
        pass

    @group.command(
        "test",
        cls=Command,
        help=t("webhook.test"),
        epilog=example("openai-meter webhook test https://hooks.slack.com/services/T0/B0/x -v"),
    )
    def test_webhook(
        ctx: typer.Context,
        url: Annotated[str | None, typer.Argument(metavar="URL", help=t("webhook.url"))] = None,
        *,
        secret: Annotated[str | None, typer.Option(metavar="SECRET", help=t("webhook.secret"))] = None,
        form: Annotated[str | None, typer.Option("--format", metavar="FORM", help=t("webhook.format"))] = None,
        timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help=t("webhook.timeout"))] = None,
        allow_private: Annotated[bool, typer.Option("--allow-private", help=t("webhook.allow_private"))] = False,
        as_json: Annotated[bool, typer.Option("--json", help=t("webhook.json"))] = False,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help=t("webhook.verbose"))] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        request = WebhookTest(url, secret, form, timeout, allow_private, lang)
        ctx.obj.append(partial(test, request, as_json=as_json, verbose=verbose))
