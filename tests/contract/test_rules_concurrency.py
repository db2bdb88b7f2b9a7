"""Rules 3 and 5: sums are exact whatever happens at once, and what is not known is never a zero."""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import random
import signal
import threading

import contract
import pytest
from contract import HELLO, MODEL, chat

import openai_meter
from openai_meter.core.call import Call, new_call_id
from openai_meter.core.totals import Sum
from openai_meter.core.usage import Usage


def grouped(snapshot, *dimensions):
    """The totals of a snapshot, and those by some dimensions."""
    return snapshot.totals, snapshot.by(*dimensions)


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def sums(calls):
    """Calls and tokens by model, from the records themselves."""
    found = collections.defaultdict(lambda: [0, 0, 0])
    for call in calls:
        one = found[call.model]
        one[0] += 1
        one[1] += call.usage.input_tokens or 0
        one[2] += call.usage.output_tokens or 0
    return dict(found)


def by_model(meter):
    return {
        model: [totals.calls, totals.input_tokens, totals.output_tokens] for model, totals in meter.by("model").items()
    }


def adds_up(readings):
    """Whether a reading's parts sum up to its whole."""
    totals, models = grouped(readings.snapshot(), "model")
    return all(
        getattr(totals, name) == sum(getattr(one, name) for one in models.values())
        for name in ("calls", "errors", "unmeasured_calls", "input_tokens", "output_tokens", "total_tokens")
    )


# --- any sequence of calls --------------------------------------------------------------------------------------------


async def stream_with_usage(client, model):
    stream = await contract.got(chat(client, model=model, stream=True, stream_options={"include_usage": True}))
    await contract.every(stream)


async def raw_stream_with_usage(client, model):
    create = client.chat.completions.with_raw_response.create
    raw = await contract.got(create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}))
    await contract.every(raw.parse())


async def lines_with_usage(client, model):
    create = client.chat.completions.with_streaming_response.create
    more = {"stream": True, "stream_options": {"include_usage": True}}
    async with contract.inside(create(model=model, messages=HELLO, **more)) as answer:
        await contract.every(answer.iter_lines())


async def read_with_usage(client, model):
    create = client.chat.completions.with_streaming_response.create
    async with contract.inside(create(model=model, messages=HELLO)) as answer:
        await contract.got(answer.read())


async def raw_only(client, model):
    await contract.got(client.chat.completions.with_raw_response.create(model=model, messages=HELLO))


async def responses_helper(client, model):
    async with contract.inside(client.responses.stream(model=model, input="hi")) as stream:
        await contract.every(stream)


async def unfit(client, model):
    with pytest.raises(ValueError):
        await contract.got(client.chat.completions.parse(model=model, messages=HELLO, response_format=contract.Strict))


async def refused(client, model):
    with pytest.raises(contract.openai.APIStatusError):
        await contract.got(chat(client, model=f"{model}+{random.choice((400, 404, 429))}"))


async def free(client, model):
    await contract.got(client.models.list())


MOVES = {
    "plain": lambda client, model: contract.got(chat(client, model=model)),
    "silent": lambda client, model: contract.got(chat(client, model=model + "+silent")),
    "stream": stream_with_usage,
    "raw stream": raw_stream_with_usage,
    "lines": lines_with_usage,
    "read": read_with_usage,
    "raw": raw_only,
    "responses": lambda client, model: contract.got(client.responses.create(model=model, input="hi")),
    "responses helper": responses_helper,
    "embeddings": lambda client, model: contract.got(client.embeddings.create(model=model, input="hi")),
    "images": lambda client, model: contract.got(client.images.generate(model=model, prompt="hi")),
    "transcription": lambda client, model: contract.got(
        client.audio.transcriptions.create(model=model, file=contract.AUDIO)
    ),
    "by post": lambda client, model: contract.got(
        client.post("/chat/completions", cast_to=object, body={"model": model, "messages": HELLO})
    ),
    "unfit": unfit,
    "refused": refused,
    "free": free,
}


def tokens(call):
    return call.usage.input_tokens, call.usage.output_tokens


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_calls_add_up_to_the_tokens_of_the_server(api, meter, seed, is_async):
    """200 calls of random shapes: as many records as were billed or refused, and exactly the server's tokens."""
    dice = random.Random(seed)
    moves = [(dice.choice(list(MOVES)), f"model-{dice.randrange(5)}") for _ in range(200)]

    async def play(client):
        copies = [client, client.with_options(timeout=9.0), openai_meter.wrap(client.copy(), meter)]
        for place, (name, model) in enumerate(moves):
            await MOVES[name](copies[place % 3], model)

    contract.with_client(api, play, is_async=is_async)
    refusals = sum(name == "refused" for name, _ in moves)
    totals = meter.totals
    assert totals.calls == len(api.said) + refusals
    assert totals.errors == refusals + sum(name == "unfit" for name, _ in moves)
    untold = [call for call in meter.calls if call.estimated]
    assert len(untold) == sum(one.input_tokens is None for one in api.said) > 0
    assert totals.unmeasured_calls == 0
    assert totals.input_tokens == sum(one.input_tokens or 0 for one in (*api.said, *(one.usage for one in untold)))
    assert totals.output_tokens == sum(one.output_tokens or 0 for one in (*api.said, *(one.usage for one in untold)))
    said = collections.Counter((one.endpoint, one.model, one.input_tokens, one.output_tokens) for one in api.said)
    assert said == collections.Counter(
        (call.endpoint, call.model, *((None, None) if call.estimated else tokens(call)))
        for call in meter.calls
        if call.error_type in (None, "ValidationError")
    )
    assert len({call.id for call in meter.calls}) == totals.calls
    assert adds_up(meter)
    assert meter.pending == ()


# --- at once ----------------------------------------------------------------------------------------------------------


def answering():
    """An answer function for an in-process client, and a list of the models that it has answered for."""
    library, said = contract.http_library(), []

    def answer(request):
        body = json.loads(request.content)
        said.append(body["model"])
        tokens = int(body["model"].rpartition("-")[2])
        if body.get("stream"):
            return library.Response(
                200,
                headers=contract.EVENTS,
                content=b"".join(contract.chunk_bodies(body["model"], tokens)),
            )
        return library.Response(200, json=contract.usage_body(body["model"], tokens))

    return answer, said


def expected(said):
    return {
        model: [times, times * int(model.rpartition("-")[2]), times]
        for model, times in collections.Counter(said).items()
    }


def test_threads_are_counted_exactly_while_others_read(meter):
    """32 threads make 50 calls each through one client, while readers always see parts that sum up to the whole."""
    answer, said = answering()
    done, wrong, readings = threading.Event(), [], 0

    def read():
        nonlocal readings
        last = 0
        while not done.is_set():
            totals = meter.snapshot().totals
            if not adds_up(meter) or totals.calls < last:
                wrong.append(totals)
            last = totals.calls
            meter.by("model"), meter.calls, meter.pending, meter.to_dict()
            contract.printed(meter)
            readings += 1

    with contract.in_process(answer) as client, openai_meter.track("block") as block:
        reader = threading.Thread(target=read, daemon=True)
        reader.start()

        def work(place):
            for number in range(50):
                model = f"model-{(place + number) % 7}"
                if number % 2:
                    list(chat(client, model=model, stream=True))
                else:
                    chat(client, model=model)

        assert contract.threads(32, work) == []
        done.set()
        reader.join(60)
    assert wrong == []
    assert readings > 0
    assert meter.totals.calls == len(said) == 32 * 50
    assert by_model(meter) == sums(meter.calls) == expected(said)
    assert block.totals.calls == 0  # threads of their own do not inherit the block


def test_concurrent_resets_lose_and_repeat_no_call(meter):
    """Whatever is reset while 8 threads call, the totals before the resets and after sum up to all calls."""
    answer, said = answering()
    done, before = threading.Event(), []

    def reset():
        while not done.is_set():
            before.append(meter.reset())

    with contract.in_process(answer) as client:
        resetter = threading.Thread(target=reset, daemon=True)
        resetter.start()
        assert contract.threads(8, lambda place: [chat(client, model=f"m-{n % 5}") for n in range(40)]) == []
        done.set()
        resetter.join(60)
    before.append(meter.totals)
    assert sum(totals.calls for totals in before) == len(said) == 320
    assert sum(totals.input_tokens for totals in before) == sum(int(model[2:]) for model in said)


def test_concurrent_tasks_are_counted_exactly(meter):
    """200 asyncio tasks make 5 calls each, plain and streamed: exact by model, by block and by record."""
    answer, said = answering()
    blocks = {}

    async def work(client, place):
        with openai_meter.track(f"task {place}") as block:
            for number in range(5):
                model = f"model-{(place + number) % 7}"
                if number % 2:
                    async for _ in await chat(client, model=model, stream=True):
                        pass
                else:
                    await chat(client, model=model)
        blocks[place] = block

    async def main():
        async with contract.in_process_async(answer) as client:
            await asyncio.gather(*(work(client, place) for place in range(200)))

    asyncio.run(main())
    assert meter.totals.calls == len(said) == 1000
    assert by_model(meter) == sums(meter.calls) == expected(said)
    assert {block.totals.calls for block in blocks.values()} == {5}
    assert collections.Counter(call.block for call in meter.calls) == {f"task {place}": 5 for place in range(200)}


@pytest.mark.parametrize("rounds", [1, pytest.param(250, marks=pytest.mark.thorough)])
def test_cancelled_tasks_leave_one_record_each(api, meter, rounds):
    """Of 20 tasks that are cancelled while they read a stream, each leaves one record, and nothing stays open."""

    async def work(client, begun):
        stream = await chat(client, stream=True)
        await anext(stream)
        begun.release()
        await asyncio.Event().wait()
        return stream

    async def main():
        async with contract.async_client(api) as client:
            for _ in range(rounds):
                begun = asyncio.Semaphore(0)
                tasks = [asyncio.create_task(work(client, begun)) for _ in range(20)]
                for _ in tasks:
                    await begun.acquire()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                del tasks
                gc.collect()

    asyncio.run(main())
    gc.collect()
    assert [call.status for call in meter.calls] == ["aborted"] * 20 * rounds
    assert meter.pending == ()


# --- in the middle of the store's own work ----------------------------------------------------------------------------


def made(model=MODEL, tokens=3, **more):
    return Call(
        **{
            "id": new_call_id(), "started_at": openai_meter.get_meter().started_at, "duration": 1.0,
            "endpoint": "chat.completions", "provider": "openai", "model": model, "requested_model": model,
            "status": "ok", "usage": Usage(tokens, 1, tokens + 1), "usage_source": "api", **more,
        }
    )  # fmt: skip


@pytest.fixture
def interrupted(monkeypatch):
    """Runs a function once, in the middle of the store's counting of a call."""
    waiting = []
    plus = Sum.plus

    def interrupting(self, *args, **kwargs):
        added = plus(self, *args, **kwargs)
        if waiting:
            waiting.pop()()
        return added

    monkeypatch.setattr(Sum, "plus", interrupting)
    return waiting.append


def test_call_that_is_added_while_one_is_counted_is_not_lost(interrupted):
    """A call that a finalizer adds during the counting of another is counted, without waiting for a lock."""
    meter = openai_meter.Meter()
    interrupted(lambda: meter._take(made(tokens=5)))
    meter._take(made(tokens=3))
    assert (meter.totals.calls, meter.totals.input_tokens) == (2, 8)
    assert adds_up(meter)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of Unix")
def test_signal_handler_during_counting_reads_consistent_sums(interrupted):
    """A handler that prints the summary in the middle of counting does not hang, and its figures add up."""
    meter, seen = openai_meter.Meter(), []

    def handler(number, frame):
        seen.append(adds_up(meter))
        meter._take(made(tokens=5))
        contract.printed(meter)

    kept = signal.signal(signal.SIGUSR1, handler)
    try:
        interrupted(lambda: signal.raise_signal(signal.SIGUSR1))
        meter._take(made(tokens=3))
    finally:
        signal.signal(signal.SIGUSR1, kept)
    assert (meter.totals.calls, meter.totals.input_tokens) == (2, 8)
    assert adds_up(meter)
    assert seen == [True]


def test_reset_during_counting_leaves_consistent_sums(interrupted):
    """A signal handler that resets in the middle of counting leaves totals and parts that agree."""
    meter = openai_meter.Meter()
    interrupted(meter.reset)
    meter._take(made())
    assert adds_up(meter)


def test_interrupt_during_counting_leaves_consistent_sums(interrupted):
    """Ctrl-C in the middle of counting may cost a record, but never leaves parts that contradict the whole."""
    meter = openai_meter.Meter()

    def interrupt():
        raise KeyboardInterrupt

    interrupted(interrupt)
    with pytest.raises(KeyboardInterrupt):
        meter._take(made())
    meter._take(made())
    assert adds_up(meter)


def test_program_with_many_signals_and_finalizers_ends_with_exact_totals():
    """Signal handlers read, and streams are collected, all the time."""
    code, out, err = contract.python("""
import faulthandler, gc, signal, sys, io
faulthandler.dump_traceback_later(240, exit=True)
import contract, openai_meter
from openai_meter.pricing import loading
meter = openai_meter.install(recent=50)
meter.to_dict()
loading.prepare()  # what the first call imports is imported before the storm: in it, that would take for ever
signals, busy = 0, False
def handler(number, frame):
    global signals, busy
    if not busy:  # a slow machine would else never leave the handlers
        busy = True
        signals += 1
        meter.totals, meter.by("model"), meter.pending, meter.calls, meter.to_dict()
        busy = False
signal.signal(signal.SIGALRM, handler)
library = contract.http_library()
frames = b"".join(contract.chunk_bodies())
def answer(request):
    return library.Response(200, headers=contract.EVENTS, content=frames)
gc.set_threshold(50)
with contract.in_process(answer) as client:
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    for number in range(400):
        stream = contract.chat(client, stream=True)
        next(stream)
        if number % 2:
            for _ in stream: pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    del stream
    gc.collect()
print(meter.totals.calls, signals > 10, len(meter.pending))
""")
    assert (code, out.strip(), err) == (0, "400 True 0", "")


# --- unknown is not zero ----------------------------------------------------------------------------------------------


def silent(model=MODEL):
    """A client whose answers have neither usage nor choices: nothing to count, and perhaps something to pay."""
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": []}
    return contract.in_process(lambda _: contract.http_library().Response(200, json=body))


def test_call_without_usage_and_answer_is_shown_as_unknown(meter):
    """Without usage and answer the tokens are ``None``, the totals count it as unmeasured, the table shows ``?``."""
    with silent() as client:
        chat(client)
        chat(client)
    assert [(call.usage.input_tokens, call.usage.output_tokens, call.usage.total_tokens) for call in meter.calls] == [
        (None, None, None)
    ] * 2
    assert [call.cost for call in meter.calls] == [None, None]
    assert [call.usage_source for call in meter.calls] == ["none", "none"]
    assert meter.totals.unmeasured_calls == 2
    row = next(line for line in contract.printed(meter).splitlines() if MODEL in line)
    assert row.split()[1:] == ["2", "?", "?", "?", "?"]
    assert " 0" not in row


def test_call_with_an_answer_and_no_usage_is_shown_as_estimated(api, meter):
    """If the API reports no usage, request and answer are counted, and the table marks the tokens with ``~``."""
    with contract.sync_client(api) as client:
        chat(client, model=MODEL + "+silent")
        list(chat(client, stream=True))
    assert [(tokens(call), call.usage_source, call.usage_unknown) for call in meter.calls] == [
        ((17, 5), "tiktoken", ())
    ] * 2
    assert (meter.totals.unmeasured_calls, meter.totals.estimated_calls) == (0, 2)
    row = next(line for line in contract.printed(meter).splitlines() if MODEL in line)
    assert row.split()[1:5] == ["2", "~34", "~10", "~44"]


def test_sum_with_an_unknown_call_is_marked(api, meter):
    """With a call of unknown size, the known tokens have a ``+``; the row of a measured model has none."""
    with silent() as client:
        chat(client)
    with contract.sync_client(api) as client:
        chat(client)
        chat(client, model="other")
    lines = contract.printed(meter).splitlines()
    mixed, plain = (next(line for line in lines if line.startswith(name)).split() for name in (MODEL, "other"))
    assert meter.totals.unmeasured_calls == 1
    assert all(number.endswith("+") for number in mixed[2:-1])
    assert mixed[-1] == "?"  # nobody vouches for the host: no price
    assert not any("+" in number or "?" in number for number in plain[:-1])


def test_line_shows_no_zero_for_unknown_tokens(meter):
    """``summary()`` has ``?`` or leaves the tokens out where they are unknown, never ``0 tokens``."""
    with silent() as client:
        chat(client)
    assert "0 tokens" not in meter.summary()
    assert "1 call of unknown size" in meter.summary()


def test_broken_stream_is_estimated(api, meter):
    """A stream that the server breaks off was paid for in part: it is an error, and the received part is counted."""
    with contract.sync_client(api) as client, pytest.raises(Exception) as raised:
        list(chat(client, model=MODEL + "+cut", stream=True))
    (call,) = meter.calls
    assert (call.status, call.error_type) == ("error", raised.type.__name__)
    assert (tokens(call), call.usage_source) == ((17, 2), "tiktoken")
    assert meter.totals.unmeasured_calls == 0


def test_refused_call_is_of_known_size(api, meter):
    """A call that the API refused used nothing: an error, and not unmeasured."""
    with contract.sync_client(api) as client, pytest.raises(contract.openai.BadRequestError):
        chat(client, model=MODEL + "+400")
    assert (meter.totals.errors, meter.totals.unmeasured_calls) == (1, 0)


def test_tool_fee_does_not_make_tokens_known(meter):
    """A response without usage that searched the web has an unknown number of tokens and one known search."""

    def answer(request):
        assert b"web_search" in request.content
        search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
        body = {"id": "resp_1", "object": "response", "model": MODEL, "status": "completed", "output": [search]}
        return contract.http_library().Response(200, json={**body, "usage": None})

    with contract.in_process(answer) as client:
        client.responses.create(model=MODEL, input="hi", tools=[{"type": "web_search"}])
    (call,) = meter.calls
    assert (call.usage.input_tokens, call.usage.web_searches) == (8, 1)
    assert "hosted tools" in call.usage_unknown
    assert call.estimated


def test_moderations_are_free_and_known(api, meter):
    """A moderation is a record that costs nothing and is not unmeasured."""
    with contract.sync_client(api) as client:
        client.moderations.create(model="omni", input="hi")
    assert (meter.totals.calls, meter.totals.unmeasured_calls) == (1, 0)
    assert meter.calls[0].cost_status == "free"
