"""Webhooks in a metered program: from the call that passes a limit to the request, in every process and at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import receivers

import openai_meter
from openai_meter import ConfigurationError, Meter, Threshold
from openai_meter.alerts.webhook import Webhook

pytest.importorskip("standardwebhooks", reason="the extra [webhook] is not installed: signed webhooks are NOT tested")

LIMITS = [Threshold("calls", 1)]
ROOT = Path(openai_meter.__file__).parent.parent


@pytest.fixture
def receiver():
    with receivers.Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_METER_WEBHOOK", raising=False)
    monkeypatch.delenv("OPENAI_METER_WEBHOOK_SECRET", raising=False)


def calls(meter, number):
    for _ in range(number):
        meter.track_call("gpt-4o-mini", 10, 5, agent="writer")


def test_alert_of_a_meter_is_posted(receiver):
    """It is the alert of the reports; flush waits for it, and the counts have it."""
    meter = openai_meter.install(thresholds=LIMITS, webhook=receiver.url)
    calls(meter, 3)
    assert meter.flush()
    (request,) = receiver.requests
    (alert,) = meter.alerts
    assert request.json["data"]["id"] == alert.id
    assert (request.json["data"]["value"], request.json["data"]["limit"]) == (2, 1)
    ((name, sent, *_),) = meter.webhooks
    assert (name, sent) == (f"http://127.0.0.1:{receiver.port}/…", 1)


def test_each_webhook_gets_its_kinds():
    """In its format."""
    with receivers.Receiver() as costs, receivers.Receiver() as rest:
        limits = [Threshold("calls", 1), Threshold("tokens", 20)]
        meter = Meter(
            thresholds=limits,
            webhook=[Webhook(costs.url, alerts="tokens"), Webhook(rest.url, alerts="calls", format="slack", lang="fr")],
        )
        calls(meter, 2)
        assert meter.flush()
        assert [request.json["data"]["kind"] for request in costs.requests] == ["tokens"]
        assert [request.json["text"] for request in rest.requests] == ["⚠️ Alerte : 2 appels API (limite : 1)"]
    assert [one.sent for one in meter.webhooks] == [1, 1]


def test_webhook_of_the_environment_is_the_default(receiver, monkeypatch):
    """An argument takes precedence, and ``False`` means none."""
    monkeypatch.setenv("OPENAI_METER_WEBHOOK", receiver.url)
    monkeypatch.setenv("OPENAI_METER_WEBHOOK_SECRET", receivers.SECRET)
    meter = openai_meter.install(thresholds=LIMITS)
    calls(meter, 2)
    assert meter.flush()
    (request,) = receiver.requests
    assert request.headers["webhook-signature"].startswith("v1,")
    assert len(openai_meter.install().webhooks) == 1  # named again, it stays
    assert openai_meter.install(webhook=False).webhooks == ()
    assert openai_meter.install().webhooks == ()
    assert Meter().webhooks == ()
    monkeypatch.setenv("OPENAI_METER_WEBHOOK", "no url")
    with pytest.raises(ConfigurationError):
        openai_meter.install(meter=Meter())


def test_block_posts_to_the_webhooks_of_its_meter(receiver):
    """With its name; it may have webhooks of its own, or none."""
    meter = openai_meter.install(thresholds=False, webhook=receiver.url)
    with receivers.Receiver() as own:
        blocks = [
            openai_meter.track("nightly", thresholds=LIMITS),
            openai_meter.track("own", thresholds=LIMITS, webhook=own.url),
            openai_meter.track("none", thresholds=LIMITS, webhook=False),
        ]
        for block in blocks:
            with block:
                calls(meter, 2)
        assert meter.flush()
        assert [request.json["data"]["block"] for request in receiver.requests] == ["nightly"]
        assert [request.json["data"]["block"] for request in own.requests] == ["own"]
    assert receiver.requests[0].json["data"]["message"].endswith(" in block nightly")
    assert [len(block.webhooks) for block in blocks] == [1, 1, 0]
    assert all(len(block.alerts) == 1 for block in blocks)


def test_webhook_can_be_added_and_removed_while_counting(receiver):
    """A webhook can be added and taken away; the counting towards the limits goes on."""
    heard = []
    meter = Meter(thresholds=LIMITS, on_alert=heard.append)
    calls(meter, 1)
    meter._configure(webhook=receiver.url)
    calls(meter, 1)
    assert meter.flush()
    assert len(receiver.requests) == len(heard) == 1
    meter._configure(webhook=())
    assert meter.webhooks == ()
    with pytest.raises(ConfigurationError):
        meter._configure(recent=5, webhook=5)
    assert meter._recent == 10_000


def test_posted_alert_has_no_content_of_a_call(receiver):
    """It has figures and names, and no text of a prompt or an answer."""
    meter = Meter(thresholds=LIMITS, webhook=Webhook(receiver.url, secret=receivers.SECRET))
    for _ in range(2):
        meter.track_generation("gpt-4o-mini", "hidden prompt", "hidden answer", user="hidden user")
    assert meter.flush()
    (request,) = receiver.requests
    assert b"hidden" not in request.body
    assert "hidden" not in str(request.headers)
    assert set(request.json["data"]) == {
        "alert", "message", "id", "kind", "value", "limit", "per", "key", "window", "at", "at_least", "block", "test",
    }  # fmt: skip
    assert set(request.headers) == {
        "host", "user-agent", "connection", "accept-encoding", "content-length", "content-type", "webhook-id",
        "webhook-timestamp", "webhook-signature",
    }  # fmt: skip


def test_flush_returns_whether_all_is_delivered():
    """A webhook that takes nothing now makes ``flush`` say so."""
    with receivers.dead_port() as port:
        meter = Meter(thresholds=LIMITS, webhook=Webhook(f"http://127.0.0.1:{port}/", retry_for=0))
        calls(meter, 2)
        assert meter.flush()  # out of time: there is nothing left to wait for
        assert [one.failed for one in meter.webhooks] == [1]
        assert meter.webhooks[0].last_error is not None


def run(program, *args, **more):
    """Runs a program; what it wrote to standard output and standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_METER_RERAISE_FAULTS": "1", **more}
    command = [sys.executable, "-W", "error", "-c", program, *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


EXITS = """
import logging, sys, openai_meter
from openai_meter import Threshold
logging.basicConfig(level=logging.WARNING)
meter = openai_meter.install(thresholds=[Threshold("calls", 1)], webhook=sys.argv[1])
for _ in range(2):
    meter.track_call("gpt-4o-mini", 10, 5)
"""


@pytest.mark.parametrize("install", ["openai_meter.install(", "openai_meter.Meter("])
def test_waiting_alerts_are_posted_at_exit(receiver, install):
    """What waits at the end of the process is delivered before it is gone."""
    _, errors = run(EXITS.replace("openai_meter.install(", install), receiver.url)
    assert receiver.values == [2]
    assert "the program ended before" not in errors


def test_program_ends_with_an_unreachable_target():
    """It tries once more, logs what is left, and does not wait longer."""
    with receivers.dead_port() as port:
        _, errors = run(EXITS, f"http://127.0.0.1:{port}/hidden")
    assert "the program ended before webhook" in errors
    assert "hidden" not in errors


FORKS = """
import os, sys, openai_meter
from openai_meter import Threshold
from openai_meter.alerts.webhook import Webhook
meter = openai_meter.install(thresholds=[Threshold("calls", 1), Threshold("tokens", 10**6)], webhook=sys.argv[1])
for _ in range(2):
    meter.track_call("gpt-4o-mini", 10, 5)
while meter.webhooks[0].last_error is None:  # the first answer asks for a pause
    assert not meter.flush(0.1)
child = os.fork()
if not child:
    assert meter.webhooks[0][1:6] == (0, 0, 0, 0, 0), meter.webhooks
    for _ in range(3):
        meter.track_call("gpt-4o-mini", 10**6, 5, agent="child")
    assert meter.flush(), meter.webhooks
    print("child", meter.webhooks[0].sent, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert meter.webhooks[0].waiting == 1
print("parent", meter.webhooks[0].waiting)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork: this is NOT tested")
def test_forked_child_posts_its_own_alerts_only(receiver):
    """Those of the parent wait in the parent."""
    receiver.answers += [(429, {"Retry-After": "600"})]
    said, _ = run(FORKS, receiver.url)
    assert said == "child 2\nparent 1\n"
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids.count(ids[0]) == 1  # the parent's: tried once, and by nobody else
    assert len(set(ids)) == 3
    assert [request.json["data"]["kind"] for request in receiver.requests] == ["calls", "tokens", "calls"]


def test_program_without_webhooks_loads_no_http():
    """Only who names a webhook pays for it: no HTTP, no TLS, no signing."""
    program = (
        "import sys, openai_meter; meter = openai_meter.Meter(); meter.track_call('m', 1); meter.flush();"
        "print([name for name in sys.modules if 'webhook' in name])"
    )
    assert json.loads(run(program)[0].replace("'", '"')) == []
