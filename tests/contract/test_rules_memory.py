"""Rule 6: whatever a program does and however long, the meter's memory stays bounded."""

from __future__ import annotations

import gc
import gzip
import json
import sys
import time
import tracemalloc
import zlib
from datetime import UTC, datetime

import contract
import pytest
from contract import MODEL, chat

import openai_meter
from openai_meter.core.background import worker
from openai_meter.core.bounded import Bounded
from openai_meter.core.call import Call, new_call_id
from openai_meter.core.usage import Usage
from openai_meter.instrumentation import http
from openai_meter.metering import call_in_flight, store
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer
from openai_meter.usage import bodies, decompression, endpoints, providers


@pytest.fixture(autouse=True)
def recent_again():
    """The process-wide meter has its ring of the usual size again."""
    yield
    openai_meter.get_meter()._configure(recent=10_000)


def collect():
    """Collects all there is: in older SDKs a stream is a cycle with a finalizer, which takes more than one round."""
    for _ in range(4):
        gc.collect()


def load_all():
    """Loads what a process loads once, in the background: an earlier test may have begun it, or this test might."""
    openai_meter.load_encodings()
    openai_meter.get_meter()._price_loader.load()
    assert worker.drain()


class Growth:
    """How many bytes are held at the end of a block that were not at ``begin()``, and how many at its peak."""

    def __enter__(self):
        load_all()
        collect()
        gc.freeze()  # what is there by now need not be looked through again and again
        tracemalloc.start()
        self.begin()
        return self

    def begin(self):
        """Counts from here; what the block does before is let go of in it, and so must have been traced too."""
        assert worker.drain()
        collect()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    def __exit__(self, *_):
        assert worker.drain()
        collect()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.held, self.peak = now - self._before, peak - self._before


def calls(number, model="model-{}", models=5):
    for place in range(number):
        name = model.format(place % models)
        yield Call(
            id=new_call_id(), started_at=datetime.now(UTC), duration=0.1, endpoint="chat.completions",
            provider="openai", model=name, requested_model=name, status="ok", usage=Usage(3, 1, 4),
            usage_source="api", response_id=f"chatcmpl-{place}",
        )  # fmt: skip


@pytest.mark.parametrize("number", [5_000, pytest.param(300_000, marks=pytest.mark.thorough)])
def test_memory_does_not_grow_beyond_the_ring_of_recent_calls(number):
    """Once the ring of 100 is full, 5,000 or 300,000 more calls leave less than 20 kB, and exact totals."""
    held = []
    for _ in range(3):  # a table of the interpreter may grow once meanwhile; what the meter leaks is there each time
        meter = openai_meter.Meter(recent=100)
        with Growth() as growth:
            for call in calls(1_000):
                meter._take(call)
            growth.begin()
            for call in calls(number):
                meter._take(call)
        held.append(growth.held)
        if growth.held < 20_000:
            break
    assert min(held) < 20_000, held
    assert len(meter.calls) == 100
    assert meter.totals.calls == 1_000 + number
    assert meter.totals.input_tokens == 3 * (1_000 + number)


def test_streamed_calls_use_no_memory_beyond_their_records(monkeypatch):
    """Hundreds of real streamed calls leave less than 20 kB once the ring is full."""
    meter, library = openai_meter.install(recent=100), contract.http_library()
    frames = b"".join(contract.chunk_bodies())
    number = 0

    def answer(request):
        nonlocal number
        number += 1
        content = frames.replace(b"chatcmpl-1", b"chatcmpl-%d" % number)
        return library.Response(200, headers=contract.EVENTS, content=content)

    with contract.in_process(answer) as client:

        def stream(times):
            for _ in range(times):
                for _ in chat(client, stream=True):
                    pass

        # What is remembered of ids is bounded too, by a number too large to be reached here.
        monkeypatch.setattr(meter._seen_jobs._jobs, "_limit", 100)
        stream(420)
        assert meter.totals.calls == 420  # and the price files have been read
        held, blocks = [], []
        for _ in range(2):
            with Growth() as growth:
                stream(110)
                growth.begin()
                before = sys.getallocatedblocks()
                stream(80)
            held.append(growth.held)
            blocks.append(sys.getallocatedblocks() - before)
    # What the HTTP library and the collector happen to hold at a moment varies by some ten kilobytes, up and down; what
    # is kept for every call grows each time.
    assert min(held) < 20_000
    assert min(blocks) < 200
    assert meter.totals.calls == 800
    assert meter.totals.unmeasured_calls == 0


def test_abandoned_streams_use_no_memory(meter):
    """1,000 streams that are abandoned after one chunk are all recorded, and none stays listed as open."""
    library = contract.http_library()

    def answer(request):
        return library.Response(200, headers=contract.EVENTS, content=b"".join(contract.chunk_bodies()))

    with contract.in_process(answer) as client:
        for _ in range(1_000):
            next(chat(client, stream=True))
        gc.collect()
    assert len(call_in_flight.OPEN) == 0
    assert meter.pending == ()
    assert meter.totals.calls == 1_000
    assert {call.status for call in meter.calls} == {"aborted"}


def test_open_streams_beyond_the_limit_are_still_counted(meter, monkeypatch):
    """The list of open streams drops its oldest, but a dropped stream is recorded when it ends."""
    monkeypatch.setattr(call_in_flight.OPEN, "_limit", 10)
    library = contract.http_library()

    def answer(request):
        return library.Response(200, headers=contract.EVENTS, content=b"".join(contract.chunk_bodies()))

    with contract.in_process(answer) as client:
        opened = [chat(client, stream=True) for _ in range(50)]
        assert len(meter.pending) == 10
        for stream in opened:
            list(stream)
    assert meter.totals.calls == 50
    assert meter.totals.input_tokens == 150


def test_background_responses_without_polls_use_bounded_memory(meter, monkeypatch):
    """Of background responses that are never polled, only so many are remembered."""
    monkeypatch.setattr(call_in_flight.WORK, "_limit", 20)
    number = 0

    def answer(request):
        nonlocal number
        number += 1
        body = {"id": f"resp_{number}", "object": "response", "model": MODEL, "status": "queued", "background": True}
        return contract.http_library().Response(200, json={**body, "output": [], "usage": None})

    with contract.in_process(answer) as client:
        for _ in range(100):
            client.responses.create(model=MODEL, input="hi", background=True)
    assert len(call_in_flight.WORK) == 20
    assert len(meter.pending) == 20
    assert {one.response_id for one in meter.pending} == {f"resp_{place}" for place in range(81, 101)}
    assert meter.totals.calls == 0


def test_bounded_dict_keeps_its_limit_under_threads():
    """16 threads that put, claim and pop never leave more than the limit."""
    bounded = Bounded(50)

    def work(place):
        for number in range(2_000):
            bounded.put((place, number), number)
            bounded.claim((place, number, 1), number)
            bounded.pop((place, number - 3))
            bounded.values() if number % 500 == 0 else None

    assert contract.threads(16, work) == []
    assert len(bounded) <= 50


def test_memory_of_model_names_is_bounded():
    """Beyond the first thousand models, the rest share one row, and the sum over all rows stays exact."""
    meter = openai_meter.Meter(recent=10)
    for call in calls(5_000, models=5_000):
        meter._take(call)
    models = meter.by("model")
    assert len(models) == 1_001
    assert models[store.OTHER_MODELS].calls == 4_000
    assert sum(one.calls for one in models.values()) == meter.totals.calls == 5_000


def test_memory_of_hosts_and_urls_is_bounded(meter):
    """However many hosts and paths a program calls."""

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        for number in range(1_200):
            client.post(
                f"http://host{number}.test/v1/chat/completions", cast_to=object, body={"model": MODEL, "messages": []}
            )
    assert len(providers._providers) <= 1_000
    assert endpoints._find.cache_info().currsize <= 4096
    assert meter.totals.calls == 1_200


def test_ended_blocks_use_no_memory():
    """300 blocks, some with a call, leave nothing when the program drops them."""
    openai_meter.install(recent=10)

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:

        def blocks(number):
            for place in range(number):
                with openai_meter.track(f"block {place}"):
                    pass
                if not place % 25:
                    with openai_meter.track("with a call"):
                        chat(client)

        with Growth() as growth:
            blocks(150)
            growth.begin()
            blocks(300)
    assert growth.held < 30_000


# --- bodies that pass -------------------------------------------------------------------------------------------------

MEGABYTE = 1024 * 1024


def body_of(size):
    """A JSON document of this size with its usage at the end, in pieces."""
    yield b'{"id": "chatcmpl-1", "object": "chat.completion", "model": "big", "choices": [{"text": "'
    for _ in range(size // 65_536):
        yield b"a" * 65_536
    yield b'"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}'


def events_of(size):
    """A stream of events of this size with its usage in the last."""
    filler = {"id": "chatcmpl-1", "model": "big", "choices": [{"index": 0, "delta": {"content": "a" * 60_000}}]}
    for _ in range(size // 60_000):
        yield b"data: " + json.dumps(filler).encode() + b"\n\n"
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    yield b"data: " + json.dumps({"id": "chatcmpl-1", "model": "big", "choices": [], "usage": usage}).encode() + b"\n\n"


def one_event_of(size):
    """One event of this size without an end of line, then one with usage."""
    yield b'data: {"id": "chatcmpl-1", "x": "'
    for _ in range(size // 65_536):
        yield b"a" * 65_536
    yield b'"}\n\n'
    yield from events_of(0)


@pytest.mark.parametrize(
    ("kind", "body", "bound"),
    [
        ("application/json", body_of, 3 * MEGABYTE),
        ("text/event-stream", events_of, 3 * MEGABYTE),
        ("text/event-stream", one_event_of, 80 * MEGABYTE),
        ("audio/mpeg", body_of, MEGABYTE),
    ],
    ids=["json", "events", "one event", "audio"],
)
def test_body_of_20_megabytes_is_not_kept(meter, kind, body, bound):
    """A large body that the program reads by pieces passes with bounded memory, and its usage is found."""
    size = 20 * MEGABYTE if body is not one_event_of else 17 * MEGABYTE
    sizes = [0, size]
    server = LoopbackServer(lambda request: Answer(200, {"content-type": kind}, body(sizes.pop(0))))

    def read():
        with client.chat.completions.with_streaming_response.create(model=MODEL, messages=[], stream=True) as answer:
            return sum(len(part) for part in answer.iter_bytes())

    with server, contract.sync_client(server) as client:
        read()  # the first call of a process imports modules
        with Growth() as growth:
            length = read()
    assert length > size * 0.95
    assert growth.peak < bound
    _, call = meter.calls
    assert call.status == "ok"
    assert call.usage.input_tokens == (None if kind == "audio/mpeg" else 3)


def test_compressed_body_is_unpacked_in_bounded_memory(meter):
    """A compressed body that expands to 30 MB, read by pieces, takes no more memory of the meter than a plain one."""
    packed = gzip.compress(b"".join(body_of(30 * MEGABYTE)))
    head = {"content-type": "application/json", "content-encoding": "gzip"}

    def answer(request):
        # In equal pieces, which a network would not keep: how much is unpacked at a time depends on their size.
        pieces = (packed[start : start + 1024] for start in range(0, len(packed), 1024))
        return contract.http_library().Response(200, headers=head, content=pieces)

    def peak():
        with contract.in_process(answer) as client, Growth() as growth:
            create = client.chat.completions.with_streaming_response.create
            with create(model=MODEL, messages=[]) as body:
                for _ in body.iter_bytes(65_536):
                    pass
        return growth.peak

    peak()  # what is loaded by the first call stays
    metered = peak()
    assert meter.totals.calls == 2
    openai_meter.uninstall()
    assert metered - peak() < 10 * MEGABYTE


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_usage_of_a_compressed_body_is_read(meter, encoding):
    """As that of a plain one, when it is read by pieces."""
    body = b"".join(body_of(0))
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    head = {"content-type": "application/json", "content-encoding": encoding}
    server = LoopbackServer(lambda request: Answer(200, head, packed))
    with server, contract.sync_client(server) as client:
        create = client.chat.completions.with_streaming_response.create
        with create(model=MODEL, messages=[]) as answer:
            assert answer.read() == body
    assert [call.usage.total_tokens for call in meter.calls] == [4]


def test_large_event_in_small_pieces_takes_linear_time(meter):
    """An event that comes in many pieces is put together without copying all of it at each piece."""

    def feed(pieces):
        pending = type("P", (), {"row": http.find("POST", "/chat/completions"), "event": lambda *_: None})()
        reader = bodies.body_reader(pending, "text/event-stream")
        piece = b"a" * 4096
        best = time.process_time()
        reader.feed(b"data: ")
        for _ in range(pieces):
            reader.feed(piece)
        return time.process_time() - best

    small, large = min(feed(250) for _ in range(3)), min(feed(2_000) for _ in range(3))
    assert large < max(small, 0.001) * 8 * 4  # eight times as much; four times that is allowed


def test_limits_of_kept_bytes_are_small():
    """The bounds that the module names are small beside a program's own memory."""
    assert bodies._WHOLE <= MEGABYTE
    assert bodies._END <= MEGABYTE
    assert bodies._LINE <= 16 * MEGABYTE
    assert decompression._PIECE <= MEGABYTE
