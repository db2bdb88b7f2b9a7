"""A webhook as a value, how webhooks are read from settings, and the counts of a webhook."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from openai_meter.alerts import METRICS, Alert
from openai_meter.alerts.webhook.addresses import named_private
from openai_meter.core import settings
from openai_meter.core.locale import language
from openai_meter.core.public import public
from openai_meter.core.version import install_command
from openai_meter.errors import ConfigurationError, MissingExtraError

__all__ = ["FORMATS", "Webhook", "WebhookStats", "read_webhooks", "shown"]

_SIGNING_KEY = "OPENAI_METER_WEBHOOK_SECRET"
FORMATS = ("standard", "slack", "discord")
_HOSTS: Mapping[str, str] = {
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "ptb.discord.com": "discord",
    "canary.discord.com": "discord",
}
"""The services whose webhooks need their own body. To add one, add its hosts here, and its body to ``bodies.py``."""
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "transfer-encoding",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BETWEEN = re.compile(r"[\s,]+(?=https?://)", re.IGNORECASE)
_DAY = timedelta(hours=24)
_LONGEST = timedelta(days=7)

Format = str | Callable[[Alert], Any]


@public
@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """A place that alerts are posted to. Immutable; neither ``repr`` nor any log shows more of it than its host.

    Args:
        url: ``https://...``. ``http`` is for your own machine or network: an address or ``localhost`` that the URL
            names, or any name with ``allow_private``.
        secret: signs every request by the Standard Webhooks scheme: ``whsec_`` and 24 to 64 bytes in base64.
        alerts: the kinds that go there (``("cost", "errors")``); ``None``: all.
        format: ``standard``, ``slack`` or ``discord``, by default as the URL's host wants it; or a function that makes
            the body of an ``Alert``: a JSON value, or text or bytes that are sent as they are.
        headers: sent with each request, such as ``{"Authorization": "Bearer ..."}``.
        timeout: seconds that one request may take, from connecting to the head of the answer.
        allow_private: whether the host's name may have an address of a private network. An address in the URL itself
            may always be private.
        retry_for: how long (seconds or a ``timedelta``) an alert that cannot be delivered is tried again. A day by
            default: that covers a night, and an older alert is of no use; it stays in ``meter.alerts``.
        lang: the language of its sentences, ``en`` or ``fr``; by default that of the environment.

    Raises:
        ConfigurationError: an argument cannot be used. The message has the remedy, and no secret.
        MissingExtraError: a secret needs ``pip install "openai-meter[webhook]"``.
    """

    url: str
    _: KW_ONLY
    secret: str | None = None
    alerts: Iterable[str] | None = None
    format: Format | None = None
    headers: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    allow_private: bool = False
    retry_for: timedelta | float = _DAY
    lang: str | None = None

    def __post_init__(self) -> None:
        host = _checked_url(self.url, allow_private=self.allow_private)
        if self.secret is not None:
            _check_secret(self.secret)
        if self.format is None:
            object.__setattr__(self, "format", _HOSTS.get(host, "standard"))
        elif self.format not in FORMATS and not callable(self.format):
            raise ConfigurationError(
                f"format={self.format!r} is none of {', '.join(FORMATS)}, and no function that takes an Alert"
            )
        object.__setattr__(self, "alerts", _checked_kinds(self.alerts))
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        if not _is_number(self.timeout) or not 0 < self.timeout <= 300:
            raise ConfigurationError(f"timeout={self.timeout!r} is not a duration; pass seconds, above 0 and up to 300")
        object.__setattr__(self, "retry_for", _checked_window(self.retry_for))
        if self.lang is not None:
            object.__setattr__(self, "lang", language(self.lang).code)

    @property
    def parts(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(self.url)

    @property
    def private(self) -> bool:
        """Whether addresses of private networks may be connected to."""
        return self.allow_private or named_private(self.parts.hostname or "")

    @property
    def seconds(self) -> float:
        """Seconds for which an alert is tried again."""
        window = self.retry_for
        return window.total_seconds() if isinstance(window, timedelta) else window

    def wants(self, alert: Alert) -> bool:
        """Whether an alert is of a kind that goes there."""
        return self.alerts is None or alert.kind in self.alerts

    def __repr__(self) -> str:
        secret = "" if self.secret is None else ", secret=..."
        return f"<Webhook {shown(self)}{secret}>"


@public
class WebhookStats(NamedTuple):
    """What became of the alerts for one webhook, in this process."""

    webhook: str
    """The scheme and host of its URL; the path may be a secret."""
    sent: int = 0
    """Alerts that it accepted."""
    retried: int = 0
    """Requests that were made again."""
    failed: int = 0
    """Alerts that it refused or did not accept in time. They are not sent again."""
    dropped: int = 0
    """Alerts that were dropped because too many were waiting."""
    waiting: int = 0
    """Alerts that are to be delivered, now or later."""
    disabled: bool = False
    """Whether it has answered 410 (gone). Nothing is sent to it any more."""
    last_error: str | None = None
    """Why the latest failed request failed."""
    last_sent_at: datetime | None = None
    """When it last accepted an alert, in UTC."""


def shown(webhook: Webhook) -> str:
    """A webhook without its secrets."""
    return f"{webhook.parts.scheme}://{webhook.parts.netloc}/…"


def read_webhooks(setting: object) -> tuple[Webhook, ...]:
    """Webhooks from a setting.

    Args:
        setting: a URL (or several with a space or comma between, as in the environment), a
            :class:`Webhook`, or several; ``None`` or ``False``: none.

    A webhook without a secret is signed by that of ``OPENAI_METER_WEBHOOK_SECRET``. Slack and Discord do not check
    signatures, so theirs are not signed by it.

    Raises:
        ConfigurationError: it is none of these, or cannot be used.
        MissingExtraError: a package is missing.
    """
    if setting is None or setting is False:
        return ()
    if isinstance(setting, str):
        setting = _BETWEEN.split(setting.strip())
    several = setting if isinstance(setting, list | tuple | set | frozenset) else (setting,)
    return tuple(dict.fromkeys(_read_one(item) for item in several))


def _read_one(item: object) -> Webhook:
    webhook = Webhook(item) if isinstance(item, str) else item
    if not isinstance(webhook, Webhook):
        raise ConfigurationError(
            f"webhook={type(item).__name__} is not a webhook; pass a URL such as 'https://example.com/alerts', a "
            "Webhook, or a list of them"
        )
    secret = settings.get("webhook_secret")
    if webhook.secret is None and secret and webhook.format not in FORMATS[1:]:
        return replace(webhook, secret=secret)
    return webhook


def _checked_url(url: object, *, allow_private: bool) -> str:
    """The host of a URL. No message quotes the URL: knowing a webhook's URL is enough to post to it."""
    if not isinstance(allow_private, bool):
        raise ConfigurationError(f"allow_private={allow_private!r} is neither True nor False")
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError("a webhook's url has to be printable ASCII, such as 'https://example.com/alerts'")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")  # the resolver needs this codec, in a thread that should not import it
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in {"https", "http"}:
        raise ConfigurationError("a webhook's url has to be like 'https://example.com/alerts': https, a host, a path")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"the url of the webhook at {host} has a user or password; pass headers={{'Authorization': ...}} instead"
        )
    if parts.fragment:
        raise ConfigurationError(f"the url of the webhook at {host} has a #fragment, which is never sent; leave it out")
    if parts.scheme == "http" and not (allow_private or named_private(host)):
        raise ConfigurationError(
            f"the webhook at {host} is http, which others on the network can read. Use https, or allow_private=True "
            "for a host of your own network"
        )
    return host


def _check_secret(secret: object) -> None:
    try:
        import standardwebhooks  # noqa: F401, PLC0415 - only signatures need it
    except ImportError:
        raise MissingExtraError(f"signing webhooks needs a package: {install_command('webhook')}") from None
    wrong = ConfigurationError(
        "the secret of a webhook has to be 'whsec_' and 24 to 64 bytes in base64; to make one: "
        "python -c \"import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
    )
    if not isinstance(secret, str):
        raise wrong
    try:
        text = secret.removeprefix("whsec_").rstrip("=")  # the padding may be missing; the library adds it
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise wrong from None
    if not 24 <= len(key) <= 64:
        raise wrong


def _checked_kinds(alerts: Iterable[str] | None) -> tuple[str, ...] | None:
    if alerts is None:
        return None
    kinds = (alerts,) if isinstance(alerts, str) else tuple(alerts) if isinstance(alerts, Iterable) else (alerts,)
    for kind in kinds:
        if not isinstance(kind, str) or kind not in METRICS:
            raise ConfigurationError(f"there are no alerts of the kind {kind!r}; there are {', '.join(METRICS)}")
    return tuple(dict.fromkeys(kinds))


def _checked_headers(headers: object) -> tuple[tuple[str, str], ...]:
    try:
        pairs = tuple(dict(headers).items())  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise ConfigurationError('headers have to be a dict such as {"Authorization": "Bearer ..."}') from None
    for name, value in pairs:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name) or name.lower() in _RESERVED:
            raise ConfigurationError(
                f"the header {name!r} cannot be added to the requests of a webhook; use another name"
            )
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"the value of the header {name} has to be printable ASCII")
    return pairs


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_window(setting: object) -> timedelta:
    window = setting
    if _is_number(setting):
        window = timedelta(seconds=min(float(setting), 1e9))  # type: ignore[arg-type]
    if not isinstance(window, timedelta) or not timedelta(0) <= window <= _LONGEST:
        raise ConfigurationError(
            f"retry_for={setting!r} is not a duration; pass seconds or a timedelta, from 0 to seven days"
        )
    return window
