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
def test_what_may_be_better_later_is_tried_again(receiver, status):
    """The same message under the same id, signed anew each time, until it is taken; nothing is lost."""
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
def test_what_is_wrong_is_not_tried_again(receiver, status, log):
    """A request that is refused for good is counted as failed, said, and does not hold up the next."""
    receiver.answers += [status]
    done = delivered(Target(Webhook(receiver.url), receivers.Time().timing), 3, 4)
    assert counts(done) == {"sent": 1, "failed": 1}
    assert receiver.values == [3, 4]
    assert f"it refused an alert with {status}" in log.text


def test_who_is_gone_is_left_alone(receiver, log):
    """After 410 nothing is sent any more: what waits and what comes is counted as failed."""
    receiver.answers += [204, 410]
    target = Target(Webhook(receiver.url), receivers.Time().timing)
    done = delivered(target, 3, 4, 5, 6)
    assert (counts(done), done.disabled) == ({"sent": 1, "failed": 3}, True)
    assert counts(delivered(target, 7)) == {"sent": 1, "failed": 4}
    assert receiver.values == [3, 4]
    assert log.text.count("nothing is sent there any more") == 1


def test_the_order_holds(receiver):
    """Alerts arrive in the order in which they were raised, whatever happens to each."""
    receiver.answers += [500, 204, 503, 429, 204, 204, 500, 500, 500, 204]
    done = delivered(Target(Webhook(receiver.url), receivers.Time().timing), *range(3, 23))
    assert counts(done) == {"sent": 20, "retried": 6}
    assert list(dict.fromkeys(receiver.values)) == list(range(3, 23))
    assert receiver.values == sorted(receiver.values)


@pytest.mark.parametrize(("dice", "part"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_backoff_with_full_jitter(receiver, dice, part):
    """Pauses are anything up to 1, 2, 4, ... seconds, five minutes at most."""
    receiver.answers += [500] * 12
    clock = receivers.Time(dice)
    assert counts(delivered(Target(Webhook(receiver.url), clock.timing), 3)) == {"sent": 1, "retried": 12}
    longest = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert clock.waits == [part * seconds for seconds in longest if part]


def test_the_dice_are_even():
    """The dice show from 0 up to 1, and not the same again and again."""
    thrown = [delivery._dice() for _ in range(2_000)]
    assert 0 <= min(thrown) < 0.05
    assert 0.95 < max(thrown) < 1


def test_a_target_says_when_it_wants_to_be_asked_again(receiver):
    """``Retry-After`` is honoured, in seconds and as a date, up to an hour; sooner than our own pause it is not."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    asked = ["30", soon, "999999999", "0", "nonsense"]
    receiver.answers += [(status, {"Retry-After": said}) for status, said in zip([429, 503] * 3, asked, strict=False)]
    clock = receivers.Time(1.0)
    assert counts(delivered(Target(Webhook(receiver.url), clock.timing), 3)) == {"sent": 1, "retried": 5}
    assert clock.waits[0] == 30
    assert 60 < clock.waits[1] <= 90
    assert clock.waits[2:] == pytest.approx([3_600, 8, 16])


def test_a_day_is_the_time_for_retries(receiver, log):
    """Until then it is tried, the last time at its very end; after that it has failed, and the next one is tried."""
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


def test_a_time_of_ones_own_for_retries(receiver):
    """``retry_for=0`` is one attempt; what waited behind a dead alert still gets one."""
    receiver.answers += [500] * 3
    target = Target(Webhook(receiver.url, retry_for=0), receivers.Time().timing)
    assert counts(delivered(target, 3, 4, 5, 6)) == {"sent": 1, "failed": 3}
    assert receiver.values == [3, 4, 5, 6]


def test_a_target_that_is_down_gets_all_when_it_is_back(log):
    """Refused connections are failures like others; the log says once that it is down, and once that it is back."""
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


def test_a_redirect_is_tried_again_and_never_followed():
    """A redirect to another address of the own network reaches nobody; the alert is kept until it is taken."""
    with receivers.Receiver() as inner, receivers.Receiver(*[(307, {"Location": inner.url})] * 4) as outer:
        done = delivered(Target(Webhook(outer.url), receivers.Time().timing), 3)
        assert counts(done) == {"sent": 1, "retried": 4}
        assert "a redirect to 127.0.0.1, which is not followed" in done.last_error
        assert (len(outer.requests), len(inner.requests)) == (5, 0)


def test_an_error_of_tls_is_tried_again(tmp_path, log):
    """A certificate that is not trusted is a failure like others: the alert waits for a better one."""
    context = receivers.secured(*receivers.make_certificate(tmp_path, "IP:127.0.0.1"))
    with receivers.Receiver(context=context) as receiver:
        target = Target(Webhook(f"https://127.0.0.1:{receiver.port}/x", retry_for=100), receivers.Time(1.0).timing)
        done = delivered(target, 3)
        assert receiver.requests == []
    assert counts(done) == {"failed": 1, "retried": 7}  # after 1, 3, 7, 15, 31, 63 and 100 seconds
    assert "the certificate is not trusted" in done.last_error


def test_a_hanging_target_holds_up_nobody(receiver):
    """While one target does not answer, another gets everything, and whoever puts alerts does not wait."""
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


def test_a_dead_target_holds_up_nobody(receiver):
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


def test_memory_is_bounded(receiver, log):
    """When too many wait, the oldest make room: that is counted, and said once; order holds among the others."""
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


def test_kinds_that_are_not_wanted_do_not_come(receiver):
    """Only the kinds that a webhook names are put into its queue."""
    target = Target(Webhook(receiver.url, alerts=("cost",)))
    target.put(receivers.alert(3, kind="calls"))
    target.put(receivers.alert(4, kind="cost"))
    receivers.settled(target)
    assert [request.json["data"]["kind"] for request in receiver.requests] == ["cost"]
    assert counts(target.stats()) == {"sent": 1}


def test_a_body_that_cannot_be_made(receiver, log):
    """What a user's own function raises costs its alert, not the next; what it says is not logged."""

    def form(alert):
        if alert.value == 3:
            raise ValueError("hidden")
        return {"data": {"value": alert.value}}

    done = delivered(Target(Webhook(receiver.url, format=form)), 3, 4)
    assert counts(done) == {"sent": 1, "failed": 1}
    assert receiver.values == [4]
    assert "its body could not be made (ValueError)" in log.text
    assert "hidden" not in log.text


def test_a_fault_of_ours_loses_nothing(receiver, monkeypatch):
    """A fault inside is counted as one, and the alert is tried again."""
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


def test_a_fault_that_is_raised_is_counted(receiver, monkeypatch):
    """Whatever goes wrong in the thread, it goes on, and the counts add up."""
    monkeypatch.setattr(delivery, "write", lambda *_: (_ for _ in ()).throw(ValueError))
    monkeypatch.setattr(Target, "_give_up", lambda *_: 1 / 0)
    target = Target(Webhook(receiver.url))
    assert counts(delivered(target, 3, 4)) == {"failed": 2}
    monkeypatch.undo()
    assert counts(delivered(target, 5)) == {"failed": 2, "sent": 1}


def test_nothing_secret_is_logged(log):
    """Whatever goes wrong, no log and no count has the path, the query, a header or the secret."""
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


def test_a_thread_ends_when_it_has_nothing_to_do(receiver, monkeypatch):
    """A process that posts nothing has no thread for it, and the next alert starts one."""
    monkeypatch.setattr(delivery, "IDLE", 0.01)
    target = Target(Webhook(receiver.url))
    for value in (3, 4):
        delivered(target, value)
        receivers.until(lambda: not target.running)
    assert receiver.values == [3, 4]


def test_flush_tries_at_once(receiver, monkeypatch):
    """Who flushes does not wait for the pause between two attempts; all that waits is delivered."""
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


def test_flush_waits_for_no_dead_target(receiver, monkeypatch):
    """One attempt for each target; who fails and is to be tried later than the flush ends is not waited for."""
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


def test_flush_cuts_no_pause_that_a_target_has_asked_for(receiver):
    """Whoever says when to come again is not asked before."""
    receiver.answers += [(429, {"Retry-After": "3000"})]
    (target,) = delivery.targets_for([Webhook(receiver.url)])
    target.put(receivers.alert(3))
    target.start()
    receivers.until(lambda: target._pause is not None)
    assert not delivery.flush(60)
    assert len(receiver.requests) == 1
    target.give_up_all()


def test_the_end_is_bounded_and_says_what_is_left(monkeypatch, log):
    """At the end of the process a hanging target is waited for so long and no longer; what is left has failed."""
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


def test_without_a_thread_the_end_delivers_itself(receiver, monkeypatch):
    """Where no thread can be started any more, whoever ends the process posts."""
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


def test_the_same_webhook_is_one_target(receiver):
    """Whoever posts to the same webhook shares its order; nobody keeps what is not used."""
    one, other = Webhook(receiver.url), Webhook(f"{receiver.url}/2")
    first, second, third = delivery.targets_for([one, other, Webhook(receiver.url)])
    assert first is third
    assert first is not second
    del first, second, third
    assert one not in delivery._targets


def test_threads_put_and_nothing_is_lost(receiver):
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


def test_an_attempt_has_the_time_that_is_left(monkeypatch):
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
