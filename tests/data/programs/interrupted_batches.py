"""Interrupts a store that counts a batch, at each place where a signal handler could run; prints their number.

A program of its own: CPython 3.11 loses count of its recursion where a trace function raises.
"""

import dis
import sys
from functools import cache

from openai_meter import Threshold
from openai_meter.alerts.dispatch import AlertDispatcher
from openai_meter.metering.attribution import Attribution
from openai_meter.metering.plain_calls import PlainCall, PlainKind, call_of
from openai_meter.metering.store import Store

CHECKS = ("RESUME", "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""How the names of the instructions begin after which the interpreter looks at signals."""


def kind(model, user):
    """A kind of plain calls."""
    return PlainKind(
        endpoint="chat.completions", provider="openai", host="api.openai.com", model=model, requested_model=model,
        service_tier=None, attribution=Attribution(user=user), block=None, day=0.0, state=None, book=None,
        text_amount=None, price_reason=None, price_source=None, owner=(None, None),
    )  # fmt: skip


KINDS = (kind("m", None), kind("n", None), kind("n", "ada"))


def plain(number=0):
    """A plain call of ten tokens."""
    return PlainCall(KINDS[number % 3], 5.0 + number, 0.25, None, f"id-{number}", 6, 4, 10, 2, 0, 1, 7, (None,) * 6)


@cache
def names_of(code):
    """The names of the instructions of a function, by their offsets."""
    return {one.offset: one.opname for one in dis.get_instructions(code)}


class Interrupter:
    """A trace function that raises KeyboardInterrupt, once."""

    def __init__(self, place):
        self.left = place
        self.raised = False
        self._before = {}

    def __call__(self, frame, event, _):
        """Looks at an event of the interpreter."""
        if "openai_meter" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.raised:
            before, self._before[frame] = self._before.get(frame, -1), frame.f_lasti
            name = "RESUME" if before < 0 else names_of(frame.f_code)[before]
            not_taken = "BACKWARD" in name and before < frame.f_lasti
            if name.startswith(CHECKS) and not not_taken:
                self.left -= 1
                if self.left < 0:
                    self.raised = True
                    raise KeyboardInterrupt
        return self


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
