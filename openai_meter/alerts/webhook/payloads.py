"""What is posted: the body of an alert for each kind of webhook, and its signature.

A name in an alert (of a model, an agent, a user) is whatever a caller has sent. In a chat it must not notify a person,
make a link or change how the message looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from openai_meter.alerts import Alert
from openai_meter.alerts.webhook.config import Webhook
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError

__all__ = ["Message", "OutgoingAlert", "write"]

_DISCORD_LIMIT = 2_000
"""Characters that Discord takes: https://docs.discord.com/developers/resources/webhook#execute-webhook."""
_SUPPRESS_EMBEDS = 1 << 2
_NAME = 100


class OutgoingAlert(NamedTuple):
    """An alert that is to be posted, and its block."""

    alert: Alert
    block: str | None = None
    """The name of the block whose limit it was."""
    test: bool = False
    """Whether it only tries out the webhook."""


class Message(NamedTuple):
    """The body and its id; only the time and the signature differ between attempts."""

    id: str
    body: bytes
    headers: Mapping[str, str]

    def signed(self, webhook: Webhook, at: datetime | None = None) -> dict[str, str]:
        """The headers of one attempt.

        Receivers refuse what is some minutes old, so the time is that of the attempt, not of the alert.
        """
        now = at or datetime.now(UTC)
        headers = {**self.headers, "webhook-id": self.id, "webhook-timestamp": str(int(now.timestamp()))}
        if webhook.secret is not None:
            from standardwebhooks import Webhook as Signer  # noqa: PLC0415 - loaded when the secret was checked

            headers["webhook-signature"] = Signer(webhook.secret).sign(self.id, now, self.body.decode())
        return headers


def write(webhook: Webhook, letter: OutgoingAlert) -> Message:
    """The message for a webhook. Raises what the user's own function raises, or ``TypeError`` if that is no JSON."""
    form = webhook.format
    content: object = form(letter.alert) if callable(form) else _BODIES[str(form)](letter, _words(webhook.lang))
    kind = "application/json"
    if isinstance(content, str | bytes):
        body = content.encode() if isinstance(content, str) else content
        body.decode()  # what is signed is text
        kind = "text/plain; charset=utf-8" if not body.lstrip().startswith((b"{", b"[")) else kind
    else:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        body = text.encode("utf-8", "replace")  # a lone surrogate in a name must not stop an alert
    return Message(f"msg_{letter.alert.id}", body, {"Content-Type": kind})


def _words(lang: str | None) -> Messages:
    try:
        return language(lang)
    except ConfigurationError:  # the environment names an unknown language
        return language("en")


def _text(letter: OutgoingAlert, m: Messages) -> str:
    text = letter.alert.message(m.code)
    if letter.block is not None:
        name = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in letter.block[:_NAME])
        text = m("webhook.of_block", text=text, name=name)
    return m("webhook.test", text=text) if letter.test else text


def _standard(letter: OutgoingAlert, m: Messages) -> dict[str, Any]:
    alert = letter.alert.to_dict(m.code) | {"message": _text(letter, m), "block": letter.block, "test": letter.test}
    kind = "openai_meter.alert" if letter.alert.budget is None else "openai_meter.budget"
    return {"type": kind, "timestamp": letter.alert.at.isoformat(), "data": alert}


def _slack(letter: OutgoingAlert, m: Messages) -> dict[str, Any]:
    """https://docs.slack.dev/messaging/formatting-message-text: a mention or a link is written between < and >."""
    text = _text(letter, m).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    quiet = {"mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
    return {"text": text, **quiet}


def _discord(letter: OutgoingAlert, m: Messages) -> dict[str, Any]:
    text = re.sub(r"([\\*_~|`>#\[\]<@])", r"\\\1", _text(letter, m))[:_DISCORD_LIMIT]
    return {"content": text, "allowed_mentions": {"parse": []}, "flags": _SUPPRESS_EMBEDS}


_BODIES: Mapping[str, Callable[[OutgoingAlert, Messages], dict[str, Any]]] = {
    "standard": _standard,
    "slack": _slack,
    "discord": _discord,
}
