"""Delivery: in order, again and again until it is taken, and never in anybody's way."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import receivers

from openai_meter.alerts.webhook import Webhook, delivery
from openai_meter.alerts.webhook.delivery import LIMIT, Target
from openai_meter.alerts.webhook.http import NotPostedError
from openai_meter.core import faults, native

standardwebhooks = pytest.importorskip(
    "standardwebhooks", reason="the extra [webhook] is not installed: signed webhooks are NOT tested"
)


@pytest.fixture
def receiver():
    with receivers.Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def time_left_at_exit(monkeypatch):
    monkeypatch.setattr(delivery, "_exit_until", None)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "openai_meter")
    return caplog


def delivered(target, *values):
    """Puts alerts into a target and waits until it is done with them; what became of them."""
    for value in values:
        target.put(receivers.alert(value))
    receivers.settled(target)
    return target.stats()


def counts(deliveries):
    return {name: n for name in ("sent", "retried", "failed", "dropped", "waiting") if (n := getattr(deliveries, name))}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 409, 425, 429, 301, 302, 307, 100 + 99, 304])
def test_temporary_failure_is_retried(receiver, status):
    """The same message under the same id, signed again each time, until it is accepted; nothing is lost."""
    receiver.answers += [(status, {"Location": "http://127.0.0.1:1/"} if status in (301, 302, 307) else {})] * 3
    target = Target(Webhook(receiver.url, secret=receivers.SECRET), receivers.Time().timing)
    done = delivered(target, 3)
    assert counts(done) == {"sent": 1, "retried": 3}
    assert str(status) in done.last_error
    verifier = standardwebhooks.Webhook(receivers.SECRET)
    bodies = [verifier.verify(request.body, request.headers) for request in receiver.requests]
    assert len(bodies) == 4
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert all(body == bodies[0] for body in bodies)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 451])
def test_permanent_failure_is_not_retried(receiver, status, log):
    """It is counted as failed, logged, and does not delay the next alert."""
    receiver.answers += [status]
    done = delivered(Target(Webhook(receiver.url), receivers.Time().timing), 3, 4)
    assert counts(done) == {"sent": 1, "failed": 1}
    assert receiver.values == [3, 4]
    assert f"it refused an alert with {status}" in log.text


def test_target_that_is_gone_gets_no_more_alerts(receiver, log):
    """After 410 all waiting and new alerts count as failed."""
    receiver.answers += [204, 410]
    target = Target(Webhook(receiver.url), receivers.Time().timing)
    done = delivered(target, 3, 4, 5, 6)
    assert (counts(done), done.disabled) == ({"sent": 1, "failed": 3}, True)
    assert counts(delivered(target, 7)) == {"sent": 1, "failed": 4}
    assert receiver.values == [3, 4]
    assert log.text.count("nothing is sent there any more") == 1


def test_alerts_arrive_in_order(receiver):
    """Whatever happens to each."""
    receiver.answers += [500, 204, 503, 429, 204, 204, 500, 500, 500, 204]
    done = delivered(Target(Webhook(receiver.url), receivers.Time().timing), *range(3, 23))
    assert counts(done) == {"sent": 20, "retried": 6}
    assert list(dict.fromkeys(receiver.values)) == list(range(3, 23))
    assert receiver.values == sorted(receiver.values)


@pytest.mark.parametrize(("dice", "part"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_pauses_are_random_and_grow(receiver, dice, part):
    """Anything up to 1, 2, 4, ... seconds, at most five minutes."""
    receiver.answers += [500] * 12
    clock = receivers.Time(dice)
    assert counts(delivered(Target(Webhook(receiver.url), clock.timing), 3)) == {"sent": 1, "retried": 12}
    longest = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert clock.waits == [part * seconds for seconds in longest if part]


def test_random_share_is_evenly_spread():
    """The dice show from 0 up to 1, and not the same again and again."""
    thrown = [delivery._dice() for _ in range(2_000)]
    assert 0 <= min(thrown) < 0.05
    assert 0.95 < max(thrown) < 1


def test_retry_after_is_respected(receiver):
    """In seconds and as a date, up to an hour; it is not sooner than our own pause."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    asked = ["30", soon, "999999999", "0", "nonsense"]
    receiver.answers += [(status, {"Retry-After": said}) for status, said in zip([429, 503] * 3, asked, strict=False)]
    clock = receivers.Time(1.0)
    assert counts(delivered(Target(Webhook(receiver.url), clock.timing), 3)) == {"sent": 1, "retried": 5}
    assert clock.waits[0] == 30
    assert 60 < clock.waits[1] <= 90
    assert clock.waits[2:] == pytest.approx([3_600, 8, 16])


def test_alert_is_retried_for_a_day(receiver, log):
    """The last time at its very end; after that it has failed, and the next one is tried."""
    receiver.answers += [500] * 100_000
    clock = receivers.Time(1.0)
    target = Target(Webhook(receiver.url, timeout=60), clock.timing)
    begun = clock.now
    target.put(receivers.alert(3))
    receivers.settled(target)
    assert clock.now - begun == 86_400
    done = target.stats()
    assert done.failed == 1
    assert done.retried == len(receiver.requests) - 1 == len(clock.waits)
    assert done.last_error == "an alert was not accepted in time; it answered 500"
    receiver.answers.clear()
    assert counts(delivered(target, 4)) == {"sent": 1, "failed": 1, "retried": done.retried}


def test_retry_for_sets_the_time_of_retries(receiver):
    """``retry_for=0`` is one attempt; an alert that waited behind a failed one still gets one."""
    receiver.answers += [500] * 3
    target = Target(Webhook(receiver.url, retry_for=0), receivers.Time().timing)
    assert counts(delivered(target, 3, 4, 5, 6)) == {"sent": 1, "failed": 3}
    assert receiver.values == [3, 4, 5, 6]


def test_unreachable_target_gets_all_alerts_later(log):
    """Refused connections are failures like others; the log has one line for the outage, and one for its end."""
    with receivers.dead_port() as port:
        clock = receivers.Time()
        back = threading.Event()
        timing = clock.timing._replace(wait=lambda kicks, seconds: back.wait(60) or clock.timing.wait(kicks, seconds))
        target = Target(Webhook(f"http://127.0.0.1:{port}/hidden"), timing)
        for value in (3, 4, 5):
            target.put(receivers.alert(value))
        target.start()
        receivers.until(lambda: target.stats().last_error)
        assert counts(target.stats()) == {"waiting": 3}
    receiver = receivers.Receiver.__new__(receivers.Receiver)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receivers, "ThreadingHTTPServer", at_port(port))
        receiver.__init__()
    with receiver:
        back.set()
        receivers.settled(target)
    assert receiver.values == [3, 4, 5]
    assert target.stats().sent == 3
    assert log.text.count("Connection refused") == 1
    assert log.text.count("accepts alerts again") == 1
    assert "hidden" not in log.text


def at_port(port):
    """A server like the usual one, at a port that is known already."""

    class Server(receivers.ThreadingHTTPServer):
        def __init__(self, _, handler):
            super().__init__(("127.0.0.1", port), handler)

    return Server


def test_redirect_is_retried_and_never_followed():
    """The alert is kept until it is accepted."""
    with receivers.Receiver() as inner, receivers.Receiver(*[(307, {"Location": inner.url})] * 4) as outer:
        done = delivered(Target(Webhook(outer.url), receivers.Time().timing), 3)
        assert counts(done) == {"sent": 1, "retried": 4}
        assert "a redirect to 127.0.0.1, which is not followed" in done.last_error
        assert (len(outer.requests), len(inner.requests)) == (5, 0)


def test_tls_error_is_retried(tmp_path, log):
    """A certificate that is not trusted is a failure like others: the alert waits for a better one."""
    context = receivers.secured(*receivers.make_certificate(tmp_path, "IP:127.0.0.1"))
    with receivers.Receiver(context=context) as receiver:
        target = Target(Webhook(f"https://127.0.0.1:{receiver.port}/x", retry_for=100), receivers.Time(1.0).timing)
        done = delivered(target, 3)
        assert receiver.requests == []
    assert counts(done) == {"failed": 1, "retried": 7}  # after 1, 3, 7, 15, 31, 63 and 100 seconds
    assert "the certificate is not trusted" in done.last_error


def test_hanging_target_delays_no_other(receiver):
    """While one target does not answer, another gets everything, and adding an alert does not wait."""
    over = threading.Event()
    with receivers.Receiver(lambda handler: over.wait(60)) as hanging:
        slow, quick = Target(Webhook(hanging.url)), Target(Webhook(receiver.url))
        slow.put(receivers.alert(3))
        slow.start()
        receivers.until(lambda: hanging.requests)
        for value in range(3, 103):
            slow.put(receivers.alert(value))
            quick.put(receivers.alert(value))
        receivers.settled(quick)
        assert counts(slow.stats()) == {"waiting": 101}
        over.set()
    assert receiver.values == list(range(3, 103))


def test_unreachable_target_delays_no_other(receiver):
    """Alerts for a target that is down wait by themselves."""
    with receivers.dead_port() as port:
        dead, alive = Target(Webhook(f"http://127.0.0.1:{port}/")), Target(Webhook(receiver.url))
        for value in range(3, 13):
            dead.put(receivers.alert(value))
            alive.put(receivers.alert(value))
        dead.start()
        receivers.settled(alive)
        assert counts(dead.stats()) | {"retried": 0} == {"waiting": 10, "retried": 0}
    assert receiver.values == list(range(3, 13))


def test_oldest_alerts_are_dropped_when_too_many_wait(receiver, log):
    """That is counted, and logged once; the others keep their order."""
    over = threading.Event()
    receiver.answers.append(lambda handler: over.wait(60))
    target = Target(Webhook(receiver.url), receivers.Time().timing)
    target.put(receivers.alert(3))
    target.start()
    receivers.until(lambda: receiver.requests)
    for value in range(4, LIMIT + 104):
        target.put(receivers.alert(value))
        target.start()
    assert counts(target.stats()) == {"waiting": LIMIT + 1, "dropped": 100}
    over.set()
    receivers.until(lambda: not target.waiting, 60)
    done = target.stats()
    assert (done.sent, done.dropped) == (LIMIT + 1, 100)
    assert list(dict.fromkeys(receiver.values)) == [3, *range(104, LIMIT + 104)]
    assert log.text.count("the oldest are dropped") == 1


def test_only_selected_kinds_are_queued(receiver):
    """Only the kinds that a webhook names are put into its queue."""
    target = Target(Webhook(receiver.url, alerts=("cost",)))
    target.put(receivers.alert(3, kind="calls"))
    target.put(receivers.alert(4, kind="cost"))
    receivers.settled(target)
    assert [request.json["data"]["kind"] for request in receiver.requests] == ["cost"]
    assert counts(target.stats()) == {"sent": 1}


def test_error_of_a_body_function_loses_one_alert(receiver, log):
    """Its message is not logged."""

    def form(alert):
        if alert.value == 3:
            raise ValueError("hidden")
        return {"data": {"value": alert.value}}

    done = delivered(Target(Webhook(receiver.url, format=form)), 3, 4)
    assert counts(done) == {"sent": 1, "failed": 1}
    assert receiver.values == [4]
    assert "its body could not be made (ValueError)" in log.text
    assert "hidden" not in log.text


def test_internal_fault_loses_no_alert(receiver, monkeypatch):
    """It is counted, and the alert is tried again."""
    faults.reraise = False
    real, times = delivery.post, iter(range(100))

    def post(*args, **kwargs):
        if next(times) < 2:
            raise KeyError("hidden")
        return real(*args, **kwargs)

    monkeypatch.setattr(delivery, "post", post)
    done = delivered(Target(Webhook(receiver.url), receivers.Time().timing), 3)
    assert counts(done) == {"sent": 1, "retried": 2}
    assert done.last_error == "a fault inside openai_meter (KeyError)"
    assert faults.kinds() == {"posting an alert: KeyError": 2}


def test_thread_continues_after_an_internal_fault(receiver, monkeypatch):
    """The counts add up."""
    monkeypatch.setattr(delivery, "write", lambda *_: (_ for _ in ()).throw(ValueError))
    monkeypatch.setattr(Target, "_give_up", lambda *_: 1 / 0)
    target = Target(Webhook(receiver.url))
    assert counts(delivered(target, 3, 4)) == {"failed": 2}
    monkeypatch.undo()
    assert counts(delivered(target, 5)) == {"failed": 2, "sent": 1}


def test_log_and_counts_have_no_secret(log):
    """Neither the path, nor the query, nor a header."""
    answers = [500, (302, {"Location": "http://x/hidden"}), (429, {"Retry-After": "hidden"}), 404, 204, 410]
    with receivers.Receiver(*answers) as receiver:
        webhook = Webhook(
            f"{receiver.url}/hidden?token=hidden", secret=receivers.SECRET, headers={"Authorization": "hidden"}
        )
        target = Target(webhook, receivers.Time().timing)
        done = delivered(target, 3, 4, 5, 6)
    assert (done.sent, done.failed) == (1, 3)
    assert done.webhook == f"http://127.0.0.1:{receiver.port}/…"
    said = log.text + repr(done) + repr(webhook)
    assert "hidden" not in said
    assert receivers.SECRET.removeprefix("whsec_") not in said
    assert len(log.records) >= 5


def test_idle_delivery_thread_ends(receiver, monkeypatch):
    """The next alert starts another."""
    monkeypatch.setattr(delivery, "IDLE", 0.01)
    target = Target(Webhook(receiver.url))
    for value in (3, 4):
        delivered(target, value)
        receivers.until(lambda: not target.running)
    assert receiver.values == [3, 4]


def test_flush_does_not_wait_for_the_pause(receiver, monkeypatch):
    """All waiting alerts are delivered."""
    receiver.answers += [500]
    monkeypatch.setattr(delivery, "_SOONEST", 1e6)
    (target,) = delivery.targets_for([Webhook(receiver.url)])
    target._timing = target._timing._replace(dice=lambda: 1.0)
    target.put(receivers.alert(3))
    target.start()
    receivers.until(lambda: target._pause is not None)
    assert delivery.flush(20)
    assert counts(target.stats()) == {"sent": 1, "retried": 1}
    assert delivery.flush(0)


def test_flush_makes_one_attempt_per_target(receiver, monkeypatch):
    """A target whose next attempt is later than the end of the flush is not waited for."""
    monkeypatch.setattr(delivery, "_SOONEST", 1e6)
    with receivers.dead_port() as port:
        dead, alive = delivery.targets_for([Webhook(f"http://127.0.0.1:{port}/"), Webhook(receiver.url)])
        dead._timing = dead._timing._replace(dice=lambda: 1.0)
        for target in (dead, alive):
            target.put(receivers.alert(3))
        assert not delivery.flush(60)
        assert counts(alive.stats()) == {"sent": 1}
        assert counts(dead.stats()) | {"retried": 0} == {"waiting": 1, "retried": 0}
        assert dead._listeners == alive._listeners == []
        dead.give_up_all()


def test_flush_respects_retry_after(receiver):
    """Whoever says when to come again is not asked before."""
    receiver.answers += [(429, {"Retry-After": "3000"})]
    (target,) = delivery.targets_for([Webhook(receiver.url)])
    target.put(receivers.alert(3))
    target.start()
    receivers.until(lambda: target._pause is not None)
    assert not delivery.flush(60)
    assert len(receiver.requests) == 1
    target.give_up_all()


def test_exit_waits_a_bounded_time_for_a_hanging_target(monkeypatch, log):
    """The alerts that are left count as failed."""
    monkeypatch.setattr(delivery, "_AT_EXIT", 0.1)
    over = threading.Event()
    with receivers.Receiver(lambda handler: over.wait(60)) as hanging:
        (target,) = delivery.targets_for([Webhook(hanging.url)])
        for value in (3, 4):
            target.put(receivers.alert(value))
        target.start()
        receivers.until(lambda: hanging.requests)
        delivery.finish()
        assert counts(target.stats()) == {"failed": 2}
        delivery.finish()
        assert counts(target.stats()) == {"failed": 2}
        assert log.text.count("accepted 2 alerts") == 1
        over.set()


def test_alerts_are_delivered_at_exit_without_a_thread(receiver, monkeypatch):
    """Where no thread can be started any more, the exiting thread posts."""
    start = native.Thread.start

    def refuse(thread):
        if thread.name == "openai_meter webhook":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(native.Thread, "start", refuse)
    receiver.answers += [204, 500]
    (target,) = delivery.targets_for([Webhook(receiver.url)])
    for value in (3, 4, 5):
        target.put(receivers.alert(value))
    target.start()
    assert not delivery.flush(10)
    assert counts(target.stats()) == {"sent": 1, "waiting": 2}
    assert delivery.flush(10)
    assert counts(target.stats()) == {"sent": 3, "retried": 1}
    assert receiver.values == [3, 4, 4, 5]


def test_equal_webhooks_share_one_target(receiver):
    """An unused target is not kept."""
    one, other = Webhook(receiver.url), Webhook(f"{receiver.url}/2")
    first, second, third = delivery.targets_for([one, other, Webhook(receiver.url)])
    assert first is third
    assert first is not second
    del first, second, third
    assert one not in delivery._targets


def test_alerts_of_many_threads_are_delivered_once(receiver):
    """Many threads may put alerts at the same time: each is delivered once."""
    target = Target(Webhook(receiver.url))
    values = [range(start, start + 25) for start in range(3, 203, 25)]

    def put(some):
        for value in some:
            target.put(receivers.alert(value))
            target.start()

    threads = [threading.Thread(target=put, args=(some,)) for some in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    receivers.settled(target)
    assert sorted(receiver.values) == list(range(3, 203))
    assert counts(target.stats()) == {"sent": 200}


def test_attempt_at_exit_is_limited_to_the_time_left(monkeypatch):
    """At the end of the process an attempt takes no longer than the process waits."""
    given = []

    def post(*_, patience, **__):
        given.append(patience)
        raise NotPostedError("no")

    monkeypatch.setattr(delivery, "post", post)
    target = Target(Webhook("http://127.0.0.1:1/"))
    target.put(receivers.alert())
    target.deliver_here(time.monotonic() + 3)
    assert 0 < given[0] <= 3
    assert target.waiting == 1
