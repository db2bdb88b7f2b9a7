"""Alerts on their way: from the call that passes a limit to the log, the callback, the reports."""

from __future__ import annotations

import gc
import logging
import threading
from decimal import Decimal

import contract
import pytest
from contract import MODEL, chat

import openai_meter
from openai_meter import Meter, Threshold
from openai_meter.core.background import worker
from openai_meter.errors import ConfigurationError


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def test_callback_is_called_once_for_a_limit(api):
    """With the call that exceeds the limit, and not in the caller's thread."""
    received = []
    meter = openai_meter.install(
        thresholds={"calls": 2, "tokens_per_call": None},
        on_alert=lambda alert: received.append((alert, threading.current_thread())),
    )
    with contract.sync_client(api) as client:
        for _ in range(5):
            chat(client)
            assert worker.drain()
    ((alert, _),) = received
    assert (alert.kind, alert.value, alert.limit) == ("calls", 3, 2)
    assert [one.value for one in meter.alerts] == [5]


def test_slow_callback_delays_no_call(api):
    """While a callback runs, calls continue and are counted."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_):
        begun.set()
        assert go_on.wait(60)

    meter = openai_meter.install(thresholds={"calls": 1, "tokens_per_call": None}, on_alert=slow)
    with contract.sync_client(api) as client:
        chat(client)
        chat(client)
        assert begun.wait(60)
        chat(client)
        assert meter._store.totals().calls == 3
        go_on.set()
    assert meter.totals.calls == 3


def test_error_of_a_callback_is_logged_and_not_raised(api, caplog):
    """It is logged by its class, and is not a fault of the meter."""
    caplog.set_level(logging.WARNING, "openai_meter")

    def broken(_):
        raise ValueError("secret")

    meter = openai_meter.install(thresholds=[Threshold("calls", 1)], on_alert=broken)
    with contract.sync_client(api) as client:
        chat(client)
        chat(client)
    assert len(meter.alerts) == 1
    assert worker.drain()
    assert meter.internal_errors == 0
    assert "on_alert raised ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_alerts_go_to_the_log_and_into_reports(api, caplog):
    """Without a callback they are in the log and in reports, in the requested language."""
    caplog.set_level(logging.WARNING, "openai_meter")
    meter = openai_meter.install(thresholds=[Threshold("tokens", 10)])
    with contract.sync_client(api) as client:
        chat(client)
    (alert,) = meter.alerts
    assert worker.drain()
    assert alert.message("en") in caplog.text
    assert alert.message("en") in contract.printed(meter)
    assert alert.message("fr") in meter.report(lang="fr").render(lang="fr")
    assert meter.to_dict()["alerts"] == [alert.message("en")]


def test_default_thresholds_apply_unless_disabled(api):
    """Five errors raise an alert by default; ``thresholds=False`` raises none."""
    for thresholds, expected in ((None, ["errors"]), (False, [])):
        openai_meter.uninstall()
        meter = openai_meter.install(meter=Meter(thresholds=thresholds))
        with contract.sync_client(api) as client:
            for _ in range(5):
                with pytest.raises(contract.openai.BadRequestError):
                    chat(client, model=MODEL + "+400")
        assert [alert.kind for alert in meter.alerts] == expected


def test_thresholds_of_a_block_count_its_calls_only(api):
    """Blocks have no limits by default."""
    received = []
    openai_meter.install(thresholds=False)
    with contract.sync_client(api) as client:
        chat(client)
        outer = openai_meter.track("a", thresholds={"calls": 1}, on_alert=received.append)
        with outer as limited, openai_meter.track("b") as free:
            chat(client)
            assert limited.alerts == ()
            chat(client)
    assert [alert.kind for alert in limited.alerts] == ["calls"]
    assert free.alerts == ()
    assert worker.drain()
    assert [alert.value for alert in received] == [2]


def test_limit_per_user_alerts_for_that_user(api):
    """A limit per user rings for the one who passes it."""
    meter = openai_meter.install(thresholds=[Threshold("calls", 1, per="user")])
    with contract.sync_client(api) as client:
        for user in ("ann", "bob", "ann"):
            with openai_meter.tag(user=user):
                chat(client)
        chat(client)
        chat(client)
    assert [(alert.key, alert.value) for alert in meter.alerts] == [("ann", 2)]


def test_late_price_can_exceed_a_limit(api):
    """Calls that are priced when the price files have been read count for the limit on cost."""
    meter = openai_meter.install(thresholds=[Threshold("cost", "0.000001")], hosts={"127.0.0.1": "openai"})
    with contract.sync_client(api) as client:
        chat(client, model="gpt-4o-mini")
    (alert,) = meter.alerts
    assert alert.value == meter.cost > Decimal("0.000001")


def test_changed_limits_count_from_zero(api):
    """The callback stays."""
    notified = []
    meter = openai_meter.install(thresholds={"calls": 1, "tokens_per_call": None}, on_alert=notified.append)
    with contract.sync_client(api) as client:
        chat(client)
        openai_meter.install(thresholds={"calls": 1, "tokens_per_call": None, "errors": 7})
        chat(client)
        assert meter.alerts == ()
        chat(client)
    assert [alert.value for alert in meter.alerts] == [2]
    assert len(notified) == 1


@pytest.mark.parametrize(
    "setting", [{"calls": 2}, True, None, [Threshold("calls", 2), Threshold("cost", 1, per="user")]], ids=str
)
def test_install_with_equal_limits_keeps_counting(api, setting):
    """A script that runs again in one process, with its set-up, gets the alerts of one set-up."""
    limits = setting if setting not in (True, None) else {"calls": 2}
    meter = openai_meter.install(thresholds=limits)
    with contract.sync_client(api) as client:
        for _ in range(3):
            chat(client)
            openai_meter.install(thresholds=limits if setting is not None else None)
    assert [(alert.kind, alert.value) for alert in meter.alerts if alert.kind == "calls"] == [("calls", 3)]


def test_default_limits_are_not_logged(api, caplog):
    """A program without limits of its own gets no warnings in its log; the alert can still be read."""
    meter = openai_meter.install()
    with contract.sync_client(api, max_retries=0) as client:
        for _ in range(101):
            chat(client)
    meter.flush()
    assert "calls" in [alert.kind for alert in meter.alerts]
    assert [record.message for record in caplog.records if "lert" in record.message] == []


def test_only_named_limits_are_logged(api, caplog):
    """Default limits in the same dict are not."""
    meter = openai_meter.install(thresholds={"cost": 5, "calls": 1})
    with contract.sync_client(api) as client:
        for _ in range(2):
            chat(client)
    meter.flush()
    shown = [record.message for record in caplog.records if "lert" in record.message]
    assert len(shown) == 1
    assert "2 API calls" in shown[0]


class Ending(BaseException):
    """What a library might use to end a thread."""


@pytest.mark.parametrize("error", [SystemExit(3), Ending(), GeneratorExit(), KeyboardInterrupt()], ids=repr)
def test_alerts_continue_after_a_callback_raises(api, error):
    """sys.exit() included."""
    notified = []
    done = threading.Event()

    def callback(alert):
        notified.append(alert.kind)
        if len(notified) == 2:
            done.set()
        raise error

    openai_meter.install(thresholds=[Threshold("calls", 1), Threshold("tokens", 80)], on_alert=callback)
    with contract.sync_client(api) as client:
        for _ in range(8):
            chat(client)
        assert done.wait(60)
    assert notified == ["calls", "tokens"]


def test_reset_ends_alerts(api):
    """After a reset no limit is exceeded."""
    meter = openai_meter.install(thresholds=[Threshold("calls", 1)])
    with contract.sync_client(api) as client:
        chat(client)
        chat(client)
        assert meter.alerts
        meter.reset()
        assert meter.alerts == ()


def test_alert_of_a_collected_stream_is_raised_at_the_next_call_or_read(api):
    """A stream that is garbage-collected starts no thread."""
    received = []
    meter = openai_meter.install(thresholds=[Threshold("calls", 1)], on_alert=received.append, stream_usage="never")
    with contract.sync_client(api) as client:
        for _ in range(2):
            stream = chat(client, stream=True)
            next(stream)
            del stream
            gc.collect()
        assert meter.totals.calls == 2
    assert worker.drain()
    assert len(received) == 1


@pytest.mark.parametrize("wrong", ["x", 5, {"colour": 1}, {"calls": -1}, [1]])
def test_unusable_thresholds_raise(wrong):
    """Wherever they are given."""
    for place in (openai_meter.install, Meter, lambda thresholds: openai_meter.track("x", thresholds=thresholds)):
        with pytest.raises(ConfigurationError):
            place(thresholds=wrong)


def test_callback_has_to_be_callable():
    """What cannot be called is no callback."""
    with pytest.raises(ConfigurationError, match="on_alert"):
        openai_meter.install(on_alert="mail me")
