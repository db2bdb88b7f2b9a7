"""Interrupts a store at each place where a signal handler could run, and uses it in another thread afterwards.

Prints, for each method, at how many places it was interrupted.
"""

import sys
import threading

from interruptions import Interrupter, plain

from openai_meter import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher
from openai_meter.metering.plain_calls import call_of
from openai_meter.metering.store import Store

USES = {
    "add": lambda store: store.add(call_of(plain())),
    "add_plain": lambda store: store.add_plain(plain()),
    "add_others": lambda store: store.add_others([call_of(plain())]),
    "read": Store.read,
    "calls": Store.calls,
    "totals": Store.totals,
    "reprice": lambda store: store.reprice(lambda call: call),
    "reset": Store.reset,
}


def interrupted_at(place, use):
    """Uses a store, is interrupted once, and uses it in another thread; whether there was such a place."""
    store = Store(100, AlertDispatcher([Threshold("calls", 10**6)]))
    for number in range(3):
        store.add(call_of(plain(number)))
        store._inbox.append(plain(number))
    interrupter = Interrupter(place)
    sys.settrace(interrupter)
    try:
        use(store)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    free = []

    def another():
        free.append(store._lock.acquire(blocking=False))
        store._lock.release()
        before = store.totals().calls
        store.add(call_of(plain()))
        free.append(store.totals().calls == before + 1)

    thread = threading.Thread(target=another)
    thread.start()
    thread.join()
    assert free == [True, True], (place, free)
    return interrupter.raised


for name, method in USES.items():
    number = 0
    while interrupted_at(number, method):
        number += 1
    print(name, number)
