"""Interrupts a store that counts a batch, at each place where a signal handler could run; prints their number.

A program of its own: CPython 3.11 loses count of its recursion where a trace function raises.
"""

import sys

from interruptions import Interrupter, plain

from openai_meter import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher
from openai_meter.metering.plain_calls import call_of
from openai_meter.metering.store import Store


def interrupted_at(place):
    """Counts plain calls, is interrupted once, and goes on; whether there was such a place."""
    store = Store(100, AlertDispatcher([Threshold("calls", 10**6), Threshold("tokens", 10**6)]))
    for number in range(3):
        store.add(call_of(plain(number)))
    store.add_plain(plain())
    for number in range(6):
        store._inbox.append(plain(number))
    interrupter = Interrupter(place)
    sys.settrace(interrupter)
    try:
        store.catch_up()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    store.add_plain(plain())
    snapshot = store.read()
    used = {usage.threshold.metric: usage.used for usage in snapshot.threshold_usage}
    figures = (snapshot.totals.calls, snapshot.totals.total_tokens, len(snapshot.calls), used)
    assert figures == (11, 110, 11, {"calls": 11, "tokens": 110}), (place, figures)
    return interrupter.raised


PLACE = 0
while interrupted_at(PLACE):
    PLACE += 1
print(PLACE)
