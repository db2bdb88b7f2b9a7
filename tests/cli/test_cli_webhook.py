"""The command ``webhook test``: what it posts, what it says, and how it ends."""

from __future__ import annotations

import json
import socket

import pytest
import receivers

from openai_meter.cli import app

standardwebhooks = pytest.importorskip(
    "standardwebhooks", reason="the extra [webhook] is not installed: signed webhooks are NOT tested"
)

pytestmark = pytest.mark.usefixtures("no_environment")


@pytest.fixture
def no_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_METER_WEBHOOK", raising=False)
    monkeypatch.delenv("OPENAI_METER_WEBHOOK_SECRET", raising=False)


@pytest.fixture
def receiver():
    with receivers.Receiver() as receiver:
        yield receiver


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs ``openai-meter webhook test``; its exit code, what it wrote, and what it complained of."""

    def run(*args):
        monkeypatch.setattr("sys.argv", ["openai-meter", "webhook", "test", *args])
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


def test_webhook_that_accepts_the_test_exits_with_0(command, receiver):
    """One signed alert is posted, marked as a test; one line is written."""
    code, out, err = command(receiver.url, "--secret", receivers.SECRET)
    assert (code, err) == (0, "")
    name = f"http://127.0.0.1:{receiver.port}/…"
    assert out.startswith(f"{name} took the test alert: 204 in ")
    (request,) = receiver.requests
    assert request.json["data"]["test"] is True
    assert request.json["data"]["message"] == "Test of openai_meter: 💰 Alert: Cost of $1.02 (limit: $1.00)"
    standardwebhooks.Webhook(receivers.SECRET).verify(request.body, request.headers)


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 302])
def test_webhook_that_refuses_the_test_exits_with_1(command, receiver, status):
    """Nothing is sent again; a redirect is named and not followed."""
    receiver.answers += [(status, {"Location": "http://10.0.0.1/x"} if status == 302 else {})]
    code, out, _ = command(receiver.url)
    assert code == 1
    assert f"did not take the test alert: {status}" in out
    assert ("a redirect to 10.0.0.1, which is never followed" in out) == (status == 302)
    assert len(receiver.requests) == 1


def test_unreachable_webhook_exits_with_1_and_the_reason(command):
    """The reason is in the requested language."""
    with receivers.dead_port() as port:
        code, out, _ = command(f"http://127.0.0.1:{port}/hidden", "--lang", "fr")
    assert code == 1
    assert "n'a pas été atteint\xa0: Connection refused" in out
    assert "hidden" not in out


def test_webhook_with_a_private_address_needs_the_option(command, receiver, monkeypatch):
    """It is refused with a hint, and posted to with ``--allow-private``."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    code, out, _ = command(f"https://inner.example:{receiver.port}/x")
    assert code == 1
    assert "--allow-private" in out
    assert receiver.requests == []
    assert command(f"http://inner.example:{receiver.port}/x", "--allow-private")[0] == 0


def test_webhook_test_as_json_has_request_and_answer(command, receiver):
    """The secret is not in it."""

    def write(handler):
        handler.send_response(429)
        handler.send_header("Retry-After", "7")
        handler.end_headers()
        handler.wfile.write(b"slow down")

    receiver.answers.append(write)
    code, out, _ = command(
        f"{receiver.url}?token=hidden", "--json", "--format", "discord", "--secret", receivers.SECRET
    )
    values = json.loads(out)
    assert code == 1
    assert values.pop("seconds") > 0
    assert set(values.pop("headers")) == {"Content-Type", "webhook-id", "webhook-timestamp", "webhook-signature"}
    assert values.pop("body") == receiver.requests[0].body.decode()
    assert values == {
        "webhook": f"http://127.0.0.1:{receiver.port}/…", "taken": False, "status": 429, "address": "127.0.0.1",
        "redirect": None, "retry_after": 7, "error": None, "format": "discord", "signed": True, "answer": "slow down",
    }  # fmt: skip
    assert receivers.SECRET not in out
    assert "hidden" not in out


def test_verbose_webhook_test_shows_request_and_answer(command, receiver):
    """The text of a server cannot move the cursor."""

    def write(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"ok\x1b[2J\nfine")

    receiver.answers.append(write)
    code, out, _ = command(receiver.url, "-v")
    assert code == 0
    assert "> webhook-id: msg_" in out
    assert '> {"type":"openai_meter.alert"' in out
    assert "< 200 from 127.0.0.1\n< ok\N{REPLACEMENT CHARACTER}[2J\n< fine\n" in out


def test_webhook_url_is_read_from_the_environment(command, receiver, monkeypatch):
    """Its secret signs the request."""
    code, _, err = command()
    assert (code, "OPENAI_METER_WEBHOOK" in err) == (2, True)
    monkeypatch.setenv("OPENAI_METER_WEBHOOK", receiver.url)
    monkeypatch.setenv("OPENAI_METER_WEBHOOK_SECRET", receivers.SECRET)
    assert command()[0] == 0
    assert "webhook-signature" in receiver.requests[0].headers
    monkeypatch.setenv("OPENAI_METER_WEBHOOK", f"{receiver.url}, {receiver.url}/2")
    assert command()[0] == 2


@pytest.mark.parametrize(
    ("args", "values"),
    [
        (["http://example.com/hidden"], "https"),
        (["nothing"], "https"),
        (["https://example.com/hidden", "--secret", "hidden"], "whsec_"),
        (["https://example.com/hidden", "--format", "teams"], "standard, slack, discord"),
        (["https://example.com/hidden", "--timeout", "0"], "seconds"),
        (["https://example.com/hidden", "--lang", "xx"], "en, fr"),
    ],
)
def test_unusable_webhook_settings_exit_with_2(command, args, values):
    """The sentence quotes no secret."""
    code, out, err = command(*args)
    assert (code, out) == (2, "")
    assert values in err
    assert "hidden" not in err
