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
def test_format_is_chosen_by_the_host(url, form):
    """Slack and Discord are recognized by their hosts; the argument takes precedence."""
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
def test_unusable_url_raises_without_quoting_it(url):
    """What is no URL for alerts is refused with a sentence that does not quote it."""
    with pytest.raises(ConfigurationError) as caught:
        Webhook(url)
    assert "hidden" not in str(caught.value)
    assert "webhook" in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://localhost/x", "http://[::1]/x", "http://10.0.0.7/x"])
def test_http_is_allowed_in_the_own_network_only(url):
    """Without TLS, alerts stay on the machine and its network."""
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
def test_unusable_webhook_settings_raise(wrong, said):
    """Every setting is checked at once; the sentence has the remedy, and no secret."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        Webhook(URL, **wrong)
    assert "hidden" not in str(caught.value)


def test_text_of_a_webhook_has_no_secret():
    """Neither repr nor str has the path, the secret or the headers."""
    webhook = Webhook(URL, secret=receivers.SECRET, headers={"Authorization": "Bearer hidden"})
    assert repr(webhook) == "<Webhook https://example.com/…, secret=...>"
    assert shown(webhook) == "https://example.com/…"
    for text in (f"{webhook}", f"{[webhook]!r}", f"{webhook!s}"):
        assert "hidden" not in text
        assert receivers.SECRET not in text


def test_webhooks_with_equal_settings_are_equal():
    """Users of the same webhook share its queue."""
    one = Webhook(URL, alerts=["cost", "cost"], headers={"A": "b"}, retry_for=60)
    assert one == Webhook(URL, alerts="cost", headers={"A": "b"}, retry_for=timedelta(minutes=1))
    assert len({one, Webhook(URL)}) == 2
    assert one.wants(receivers.alert(kind="cost"))
    assert not one.wants(receivers.alert(kind="calls"))
    assert Webhook(URL).wants(receivers.alert(kind="calls"))


def test_webhooks_are_read_from_one_or_several_values():
    """A URL, a webhook, several, or none; doubles count once."""
    assert read_webhooks(None) == read_webhooks(False) == read_webhooks([]) == ()
    assert read_webhooks(URL) == read_webhooks([URL, Webhook(URL)]) == (Webhook(URL),)
    both = (Webhook("https://a.example/1,2"), Webhook("https://b.example/"))
    assert read_webhooks(" https://a.example/1,2, https://b.example/ ") == both
    assert read_webhooks("https://a.example/1,2 https://b.example/") == both
    for wrong in (5, True, [URL, None], {"url": URL}):
        with pytest.raises(ConfigurationError, match="pass a URL"):
            read_webhooks(wrong)


def test_secret_of_the_environment_signs_generic_webhooks(monkeypatch):
    """It is used where none is given; Slack and Discord get no signature."""
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
    """Without the package that signs, a secret is refused with the line that installs it."""
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
def test_only_routed_addresses_are_public(address, public):
    """An address that is embedded in an IPv6 address is checked, too."""
    assert addresses.is_public(address) is public


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("localhost", True), ("LOCALHOST", True), ("localhost.", True), ("app.localhost", True), ("127.0.0.1", True),
        ("::1", True), ("10.0.0.1", True), ("169.254.169.254", True), ("8.8.8.8", False), ("example.com", False),
        ("localhost.example.com", False), ("127.1", False), ("2130706433", False), ("0x7f.1", False), ("", False),
    ],
)  # fmt: skip
def test_written_private_address_is_allowed(host, named):
    """An address that is written out is meant; a name or an encoded number is not."""
    assert addresses.named_private(host) is named


def test_standard_body_is_the_alert():
    """Names are data, money is exact."""
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


def test_alert_is_english_if_the_language_is_unknown(monkeypatch):
    """The environment may name a language that we do not have."""
    monkeypatch.setenv("OPENAI_METER_LANG", "tlh")
    assert "Alert: 3 API calls" in write(Webhook(URL), OutgoingAlert(receivers.alert())).body.decode()


@pytest.mark.parametrize("form", ["standard", "slack", "discord"])
def test_signature_is_verified_by_the_library(form):
    """Each attempt can be verified with the secret; the id stays, the time is that of the attempt."""
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
def test_name_is_escaped_for_slack(name):
    """A name notifies no person and links nowhere: nothing in it is Slack's markup."""
    body = json.loads(
        write(Webhook("https://hooks.slack.com/x", lang="en"), OutgoingAlert(receivers.alert(key=name), name)).body
    )
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", body["text"])
    assert body | {"text": ""} == {
        "text": "", "mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False,
    }  # fmt: skip


@given(st.text(min_size=1, max_size=80))
def test_text_in_slack_equals_the_message(name):
    """What Slack shows of the text is the message, whatever is in it."""
    one = receivers.alert(key=name)
    body = json.loads(write(Webhook("https://hooks.slack.com/x", lang="en"), OutgoingAlert(one)).body)
    assert html.unescape(body["text"]) == html.unescape(html.escape(one.message("en"), quote=False))


@pytest.mark.parametrize("name", NASTY)
def test_name_is_escaped_for_discord(name):
    """Nothing notifies a person, and every character of its markup is escaped."""
    body = json.loads(
        write(Webhook("https://discord.com/api/x", lang="en"), OutgoingAlert(receivers.alert(key=name), name)).body
    )
    assert body["allowed_mentions"] == {"parse": []}
    assert body["flags"] == 4
    assert not re.search(r"[*_~|`>#\[\]<@]", re.sub(r"\\.", "", body["content"]))


@given(st.text(min_size=1, max_size=80))
def test_content_in_discord_equals_the_message(name):
    """It is not longer than Discord accepts."""
    one = receivers.alert(key=name)
    body = json.loads(write(Webhook("https://discord.com/api/x", lang="en"), OutgoingAlert(one)).body)
    assert re.sub(r"\\(.)", r"\1", body["content"]) == one.message("en")
    long = json.loads(
        write(Webhook("https://discord.com/api/x"), OutgoingAlert(receivers.alert(key=name * 300), "*" * 5_000)).body
    )
    assert len(long["content"]) <= 2_000


def test_custom_body_function_is_used():
    """It makes a JSON value, or text or bytes that are posted unchanged."""
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


def test_every_format_has_a_body():
    """Every known host has a format."""
    for form in config.FORMATS:
        assert json.loads(write(Webhook(URL, format=form), OutgoingAlert(receivers.alert())).body)
    assert set(config._HOSTS.values()) <= set(config.FORMATS)
