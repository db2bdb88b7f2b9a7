"""Interrupts the reading of a stream at each place where a signal handler could run, and leaves it then.

Wherever the interrupt comes, the stream is one record, and nothing stays open. Prints the number of places.
"""

import gc
import sys

from interruptions import Interrupter
from openai._models import construct_type
from openai.types.chat import ChatCompletionChunk

import openai_meter
from openai_meter.instrumentation.streams import watch_events
from openai_meter.metering.call_in_flight import CallInFlight
from openai_meter.usage.endpoints import find

MODULES = ("streams.py", "text_deltas.py", "include_usage.py")
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
TEXTS = [{**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in "abc"]
LAST = {**HEAD, "choices": [], "usage": USAGE}
EVENTS = [construct_type(type_=ChatCompletionChunk, value=event) for event in (*TEXTS, LAST)]
REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


class Response:
    """A response without bytes."""

    stream = None


class FakeStream:
    """What the meter needs of a stream."""

    def __init__(self, events):
        self.response = Response()
        self._iterator = events


async def as_async():
    """The events of an async stream."""
    for event in EVENTS:
        yield event


def read(stream):
    """Reads a stream."""
    for _ in stream._iterator:
        pass


def read_async(stream):
    """Reads an async stream, which never waits."""

    async def run():
        async for _ in stream._iterator:
            pass

    try:
        run().send(None)
    except StopIteration:
        return


def places(meter, *, is_async):
    """At how many places reading can be interrupted."""
    row = find("POST", "/chat/completions")
    place = 0
    while True:
        meter.reset()
        call = CallInFlight(row, (meter,), "openai", "api.openai.com", REQUEST, stream=True)
        stream = FakeStream(as_async() if is_async else (event for event in EVENTS))
        watch_events(stream, call, is_async=is_async, injected=True)
        interrupter = Interrupter(place, MODULES)
        sys.settrace(interrupter)
        try:
            read_async(stream) if is_async else read(stream)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        raised = interrupter.raised
        del stream, interrupter  # the second holds frames, in cycles
        gc.collect()
        meter.settle()
        assert (meter.totals.calls, meter.pending) == (1, ()), (place, meter.totals.calls, meter.pending)
        if not raised:
            return place
        place += 1


METER = openai_meter.Meter(thresholds=False)
gc.freeze()  # to look at the objects of the last stream only
for asynchronous in (False, True):
    print(places(METER, is_async=asynchronous))
