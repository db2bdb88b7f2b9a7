"""Webhooks as values: what can be said of one, where it may point, and what is posted there."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import receivers
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import ConfigurationError, MissingExtraError
from openai_meter.alerts.webhook import Webhook, addresses, config
from openai_meter.alerts.webhook.config import read_webhooks, shown
from openai_meter.alerts.webhook.payloads import OutgoingAlert, write

standardwebhooks = pytest.importorskip(
    "standardwebhooks", reason="the extra [webhook] is not installed: signed webhooks are NOT tested"
)

URL = "https://example.com/hidden-path?token=hidden-token"
NASTY = ["<!channel>", "<!here|x>", "<@U024BE7LH>", "@everyone", "@here", "<@&1234>", "<http://evil.example|click>"]
NASTY += [
    "[click](http://evil.example)",
    "*bold* _it_ `code` ||spoiler|| ~~x~~",
    "a & b &lt; c",
    "\\*x\\*",
    "# x",
    "\n> x",
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_METER_WEBHOOK", raising=False)
    monkeypatch.delenv("OPENAI_METER_WEBHOOK_SECRET", raising=False)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://example.com/x", "standard"),
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://HOOKS.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://discordapp.com/api/webhooks/1/x", "discord"),
        ("https://hooks.slack.com.evil.example/x", "standard"),
        ("https://notdiscord.com/x", "standard"),
    ],
)
def test_the_host_says_the_format(url, form):
    """Slack and Discord are known by their hosts; what is said goes before that."""
    assert Webhook(url).format == form
    assert Webhook(url, format="standard").format == "standard"


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "example.com/hidden", "ftp://example.com/hidden", "https://", "https:///hidden", 5, None, b"https://x/",
        "https://example.com:99999/hidden", "https://exa mple.com/hidden", "https://example.com/hidden\r\nX: y",
        "https://exämple.com/hidden", "https://example.com/hidden#part", "https://me:hidden@example.com/x",
        "http://example.com/hidden", "http://8.8.8.8/hidden", "https://[::1/hidden", "https://a..b/hidden",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used(url):
    """What is no URL for alerts is refused with a sentence that does not quote it."""
    with pytest.raises(ConfigurationError) as caught:
        Webhook(url)
    assert "hidden" not in str(caught.value)
    assert "webhook" in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x", "http://10.0.0.7/x"])
def test_http_is_for_the_own_network(url):
    """Without TLS, alerts go no further than the own machine and network."""
    assert Webhook(url).private
    assert Webhook("http://alerts.internal/x", allow_private=True).private
    assert not Webhook("https://alerts.internal/x").private
    assert not Webhook("https://8.8.8.8/x").private


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secret": "whsec_hidden"}, "24 to 64 bytes"),
        ({"secret": "hidden hidden!"}, "whsec_"),
        ({"secret": ""}, "whsec_"),
        ({"secret": 5}, "whsec_"),
        ({"secret": "whsec_" + "hiddenAA" * 12}, "24 to 64 bytes"),
        ({"alerts": "colour"}, "calls, cost"),
        ({"alerts": 5}, "calls, cost"),
        ({"alerts": ("cost", None)}, "calls, cost"),
        ({"format": "teams"}, "standard, slack, discord"),
        ({"headers": {"X": "hidden\r\nY: z"}}, "printable ASCII"),
        ({"headers": {"X": 5}}, "printable ASCII"),
        ({"headers": {"X Y": "hidden"}}, "cannot be added to"),
        ({"headers": {"Host": "hidden"}}, "cannot be added to"),
        ({"headers": {"Webhook-Id": "hidden"}}, "cannot be added to"),
        ({"headers": "hidden"}, "dict"),
        ({"timeout": 0}, "seconds"),
        ({"timeout": float("nan")}, "seconds"),
        ({"timeout": True}, "seconds"),
        ({"timeout": "10"}, "seconds"),
        ({"retry_for": -1}, "seven days"),
        ({"retry_for": timedelta(days=8)}, "seven days"),
        ({"retry_for": float("inf")}, "seven days"),
        ({"retry_for": "1d"}, "seven days"),
        ({"allow_private": "yes"}, "True nor False"),
        ({"lang": "xx"}, "en, fr"),
    ],
)
def test_settings_that_cannot_be_used(wrong, said):
    """Every setting is checked where it is said; the sentence says what would do, and quotes no secret."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        Webhook(URL, **wrong)
    assert "hidden" not in str(caught.value)


def test_nothing_shows_a_secret():
    """Neither repr nor str has the path, the secret or the headers."""
    webhook = Webhook(URL, secret=receivers.SECRET, headers={"Authorization": "Bearer hidden"})
    assert repr(webhook) == "<Webhook https://example.com/…, secret=...>"
    assert shown(webhook) == "https://example.com/…"
    for text in (f"{webhook}", f"{[webhook]!r}", f"{webhook!s}"):
        assert "hidden" not in text
        assert receivers.SECRET not in text


def test_webhooks_are_values():
    """The same settings are the same webhook: who posts to it shares its order."""
    one = Webhook(URL, alerts=["cost", "cost"], headers={"A": "b"}, retry_for=60)
    assert one == Webhook(URL, alerts="cost", headers={"A": "b"}, retry_for=timedelta(minutes=1))
    assert len({one, Webhook(URL)}) == 2
    assert one.wants(receivers.alert(kind="cost"))
    assert not one.wants(receivers.alert(kind="calls"))
    assert Webhook(URL).wants(receivers.alert(kind="calls"))


def test_webhooks_from_settings():
    """A URL, a webhook, several, or none; doubles count once."""
    assert read_webhooks(None) == read_webhooks(False) == read_webhooks([]) == ()
    assert read_webhooks(URL) == read_webhooks([URL, Webhook(URL)]) == (Webhook(URL),)
    both = (Webhook("https://a.example/1,2"), Webhook("https://b.example/"))
    assert read_webhooks(" https://a.example/1,2, https://b.example/ ") == both
    assert read_webhooks("https://a.example/1,2 https://b.example/") == both
    for wrong in (5, True, [URL, None], {"url": URL}):
        with pytest.raises(ConfigurationError, match="pass a URL"):
            read_webhooks(wrong)


def test_the_secret_of_the_environment(monkeypatch):
    """It signs for who has none; Slack and Discord get no signature from there."""
    monkeypatch.setenv("OPENAI_METER_WEBHOOK_SECRET", receivers.SECRET)
    other = "whsec_" + "A" * 32
    own = Webhook(URL, secret=other)
    said = [URL, own, "https://hooks.slack.com/x", "https://discord.com/x", Webhook("https://c.example", format=str)]
    assert [one.secret for one in read_webhooks(said)] == [
        receivers.SECRET,
        other,
        None,
        None,
        receivers.SECRET,
    ]
    monkeypatch.setenv("OPENAI_METER_WEBHOOK_SECRET", "no secret")
    with pytest.raises(ConfigurationError):
        read_webhooks(URL)


def test_signing_needs_the_extra(monkeypatch):
    """Without the package that signs, a secret is refused with the line that installs it; no secret, no need."""
    monkeypatch.setitem(__import__("sys").modules, "standardwebhooks", None)
    with pytest.raises(MissingExtraError, match=r'pip install "openai-meter\[webhook\]"'):
        Webhook(URL, secret=receivers.SECRET)
    assert Webhook(URL).secret is None


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("127.1.2.3", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("255.255.255.255", False),
        ("224.0.0.1", False), ("240.0.0.1", False), ("198.18.0.1", False), ("192.0.2.1", False),
        ("::1", False), ("::", False), ("fe80::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("fd00:ec2::254", False), ("ff02::1", False), ("fec0::1", False), ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("::7f00:1", False),
        ("64:ff9b::7f00:1", False), ("64:ff9b::a9fe:a9fe", False), ("2002:7f00:1::", False), ("2002:a00:1::1", False),
        ("no address", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, public):
    """Only what the open internet routes is public; also what is wrapped into an IPv6 address is looked at."""
    assert addresses.is_public(address) is public


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("localhost", True), ("LOCALHOST", True), ("localhost.", True), ("app.localhost", True), ("127.0.0.1", True),
        ("::1", True), ("10.0.0.1", True), ("169.254.169.254", True), ("8.8.8.8", False), ("example.com", False),
        ("localhost.example.com", False), ("127.1", False), ("2130706433", False), ("0x7f.1", False), ("", False),
    ],
)  # fmt: skip
def test_which_hosts_say_that_they_are_private(host, named):
    """An address that is written out is meant; a name or a number in disguise is not."""
    assert addresses.named_private(host) is named


def test_the_standard_body():
    """The body is the alert and nothing beside; names are data, money is exact."""
    one = receivers.alert(value=7, key="gpt-x")
    body = json.loads(write(Webhook(URL, lang="en"), OutgoingAlert(one, "nightly")).body)
    assert body == {
        "type": "openai_meter.alert",
        "timestamp": one.at.isoformat(),
        "data": {
            **one.to_dict("en"),
            "message": "⚠️ Alert: 7 API calls on model gpt-x (limit: 2) in block nightly",
            "block": "nightly",
            "test": False,
        },
    }
    french = json.loads(write(Webhook(URL, lang="fr"), OutgoingAlert(one, test=True)).body)
    assert french["data"]["message"] == f"Test d'openai_meter\N{NO-BREAK SPACE}: {one.message('fr')}"
    assert french["data"]["test"] is True
    assert json.loads(write(Webhook(URL), OutgoingAlert(receivers.alert(kind="cost"))).body)["data"]["value"] == "3"


def test_a_language_that_there_is_not_stops_no_alert(monkeypatch):
    """Where the environment names no language that we speak, the alert is in English."""
    monkeypatch.setenv("OPENAI_METER_LANG", "tlh")
    assert "Alert: 3 API calls" in write(Webhook(URL), OutgoingAlert(receivers.alert())).body.decode()


@pytest.mark.parametrize("form", ["standard", "slack", "discord"])
def test_a_signature_is_verified_by_the_library(form):
    """Whoever has the secret can verify each attempt; the id stays, the time is that of the attempt."""
    webhook = Webhook(URL, secret=receivers.SECRET, format=form)
    message = write(webhook, OutgoingAlert(receivers.alert(key="é \N{PILE OF POO} \ud83d")))
    verifier = standardwebhooks.Webhook(receivers.SECRET)
    now = datetime.now(UTC)
    first, second = message.signed(webhook, now - timedelta(seconds=60)), message.signed(webhook, now)
    assert verifier.verify(message.body, first) == verifier.verify(message.body, second) == json.loads(message.body)
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-signature"] != second["webhook-signature"]
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(message.body + b" ", first)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook("whsec_" + "A" * 32).verify(message.body, first)
    assert "webhook-signature" not in message.signed(Webhook(URL))


@pytest.mark.parametrize("name", NASTY)
def test_slack_takes_a_name_for_text(name):
    """A name pings nobody and links nowhere: nothing in it is Slack's markup."""
    body = json.loads(
        write(Webhook("https://hooks.slack.com/x", lang="en"), OutgoingAlert(receivers.alert(key=name), name)).body
    )
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", body["text"])
    assert body | {"text": ""} == {
        "text": "", "mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


@given(st.text(min_size=1, max_size=80))
def test_slack_shows_what_was_said(name):
    """What Slack shows of the text is the message, whatever is in it."""
    one = receivers.alert(key=name)
    body = json.loads(write(Webhook("https://hooks.slack.com/x", lang="en"), OutgoingAlert(one)).body)
    assert html.unescape(body["text"]) == html.unescape(html.escape(one.message("en"), quote=False))


@pytest.mark.parametrize("name", NASTY)
def test_discord_takes_a_name_for_text(name):
    """Nothing pings (Discord is told so), and every character of its markup is escaped."""
    body = json.loads(
        write(Webhook("https://discord.com/api/x", lang="en"), OutgoingAlert(receivers.alert(key=name), name)).body
    )
    assert body["allowed_mentions"] == {"parse": []}
    assert body["flags"] == 4
    assert not re.search(r"[*_~|`>#\[\]<@]", re.sub(r"\\.", "", body["content"]))


@given(st.text(min_size=1, max_size=80))
def test_discord_shows_what_was_said(name):
    """What Discord shows of the content is the message, whatever is in it, and not longer than it takes."""
    one = receivers.alert(key=name)
    body = json.loads(write(Webhook("https://discord.com/api/x", lang="en"), OutgoingAlert(one)).body)
    assert re.sub(r"\\(.)", r"\1", body["content"]) == one.message("en")
    long = json.loads(
        write(Webhook("https://discord.com/api/x"), OutgoingAlert(receivers.alert(key=name * 300), "*" * 5_000)).body
    )
    assert len(long["content"]) <= 2_000


def test_a_body_of_the_users_own():
    """A function makes a JSON value, or text or bytes that are posted as they are."""
    one = receivers.alert()

    def body(form):
        message = write(Webhook(URL, format=form), OutgoingAlert(one))
        return message.body, message.headers["Content-Type"]

    assert body(lambda alert: {"v": alert.value}) == (b'{"v":3}', "application/json")
    assert body(lambda alert: '{"v": "é"}') == ('{"v": "é"}'.encode(), "application/json")
    assert body(lambda alert: b"calls 3") == (b"calls 3", "text/plain; charset=utf-8")
    for wrong in (lambda alert: object(), lambda alert: float("nan"), lambda alert: b"\xff", lambda alert: 1 / 0):
        with pytest.raises((TypeError, ValueError, ZeroDivisionError)):
            body(wrong)


def test_formats_are_those_that_have_a_body():
    """Every format that can be said has a body, and every known host has a format."""
    for form in config.FORMATS:
        assert json.loads(write(Webhook(URL, format=form), OutgoingAlert(receivers.alert())).body)
    assert set(config._HOSTS.values()) <= set(config.FORMATS)
