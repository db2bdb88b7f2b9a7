"""Forks and exits: a child counts on its own, nothing is lost at the end of a process, and nothing hangs."""

from __future__ import annotations

import os

import contract
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of Unix")

# What each program below begins with. The alarm ends a child that hangs; the parent then sees its signal.
START = """
import faulthandler, os, signal, sys, threading, gc, json, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
faulthandler.dump_traceback_later(240, exit=True)
import openai_meter, contract
from openai_meter.instrumentation.listening import registry
from contract import chat
meter = openai_meter.install()

def forked(work):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(200)
        try:
            said = json.dumps(work())
        except BaseException as error:
            said = json.dumps(repr(error))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if said else f"ended by {status}"
"""


def program(text, **more):
    code, out, err = contract.python(START + text, **more)
    assert (code, err) == (0, "")
    return out.strip()


def test_forked_child_counts_from_zero_and_the_parent_continues():
    """The totals of the parent do not have the calls of the child."""
    out = program("""
with contract.Api() as api, contract.sync_client(api) as client:
    chat(client); chat(client)
    def work():
        before = meter.totals.calls, len(meter.calls), meter.internal_errors
        with contract.sync_client(api) as mine, openai_meter.track("x") as block:
            chat(mine)
            list(chat(mine, stream=True, stream_options={"include_usage": True}))
        return [before, meter.totals.calls, block.totals.calls, meter.totals.unmeasured_calls]
    print(forked(work), meter.totals.calls)
    chat(client)
    print(meter.totals.calls)
""")
    assert out.splitlines() == ["[[0, 0, 0], 2, 2, 0] 2", "3"]


def test_stream_open_at_a_fork_is_recorded_by_the_parent_only():
    """The parent records it when it ends; the child never does."""
    out = program("""
with contract.Api() as api, contract.sync_client(api) as client:
    stream = chat(client, stream=True, stream_options={"include_usage": True})
    next(stream)
    background = client.responses.create(model="m", input="hi", background=True)
    def work():
        seen = len(meter.pending)
        from openai_meter.metering.call_in_flight import finish_open_streams
        finish_open_streams()
        return [seen, meter.totals.calls]
    print(forked(work), len(meter.pending))
    list(stream)
    known = meter.totals.input_tokens == api.said[0].input_tokens
    print([call.status for call in meter.calls], len(meter.pending), known)
""")
    assert out.splitlines() == ["[0, 0] 2", "['ok'] 1 True"]


@pytest.mark.parametrize(
    "lock", ["meter._store._lock", "registry.lock", "block._store._lock"], ids=["store", "seam", "block"]
)
def test_child_does_not_wait_for_a_lock_held_at_the_fork(lock):
    """A lock that another thread holds at the moment of the fork does not stop the child in anything it does."""
    out = program(f"""
block = openai_meter.track("outer")
held, done = threading.Event(), threading.Event()
def hold():
    with {lock}:
        held.set()
        done.wait()
thread = threading.Thread(target=hold)
with contract.Api() as api, contract.sync_client(api) as client:
    chat(client)
    thread.start()
    held.wait()
    def work():
        with contract.sync_client(api) as mine:
            chat(mine)
            totals = [openai_meter.get_meter().totals.calls, block.totals.calls]
            with openai_meter.track("x") as inner, block:
                chat(mine)
            openai_meter.uninstall()
            openai_meter.install()
            chat(mine)
        meter.reset()
        return [totals, inner.totals.calls, block.totals.calls, meter.totals.calls]
    said = forked(work)
    done.set()
    thread.join()
    print(said, meter.totals.calls)
""")
    assert out == "[[1, 0], 1, 1, 0] 1"


def test_children_of_a_busy_parent_do_not_hang():
    """Ten forks while threads of the parent meter, read and install: each child calls and counts exactly one."""
    out = program("""
from openai_meter.core import locale
library = contract.http_library()
def answer(request):
    return library.Response(200, json=contract.usage_body())
stop = threading.Event()
def busy(work):
    while not stop.wait(0.0005):  # four threads that never rest would leave the one that forks no turn
        work()
def block():
    with openai_meter.track("x"):
        pass
with contract.in_process(answer) as client:
    works = [lambda: chat(client), lambda: meter._take(meter.calls[0]), lambda: meter.to_dict(), block]
    chat(client)
    # Prices, reports and sentences are loaded by now: beside threads that never rest, each file takes a second.
    meter.to_dict(), openai_meter.Threshold("calls", 1), locale.language()
    threads = [threading.Thread(target=busy, args=(work,)) for work in works]
    [thread.start() for thread in threads]
    said = []
    for _ in range(10):
        def work():
            with contract.in_process(answer) as mine, openai_meter.track("child"):
                chat(mine)
            return meter.totals.calls
        said.append(forked(work))
        if said[-1] != 1:
            break
    stop.set()
    [thread.join() for thread in threads]
print(said)
""")
    assert out == str([1] * 10)


def test_child_can_restore_patches_of_a_thread_of_the_parent():
    """Where a thread of the parent was in a block at the fork, the child's uninstall restores the SDK's functions."""
    out = program("""
openai_meter.uninstall()
inside, done = threading.Event(), threading.Event()
def hold():
    with openai_meter.track("in a thread"):
        inside.set()
        done.wait()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
def work():
    from openai._base_client import SyncAPIClient
    openai_meter.install()
    openai_meter.uninstall()
    return type(vars(SyncAPIClient)["request"]).__name__
print(forked(work))
done.set()
thread.join()
""")
    assert out == "function"


def test_workers_of_a_fork_pool_count_their_own_calls():
    """They end, and the totals of the parent stay unchanged."""
    out = program("""
import multiprocessing
library = contract.http_library()
def answer(request):
    return library.Response(200, json=contract.usage_body())
def work(number):
    with contract.in_process(answer) as client:
        for _ in range(number):
            chat(client)
    return meter.reset().calls
with contract.in_process(answer) as client:
    chat(client)
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(pool.map(work, [1, 2, 3, 4], chunksize=1), meter.totals.calls)
    pool.close()
    pool.join()
""")
    assert out == "[1, 2, 3, 4] 1"


# --- the end of a process ---------------------------------------------------------------------------------------------

EXIT = """
import faulthandler, atexit, sys
faulthandler.dump_traceback_later(240, exit=True)
def report():
    meter = openai_meter.get_meter()
    print([call.status for call in meter.calls], len(meter.pending))
{before}
import openai_meter
{between}
meter = openai_meter.install()
import contract
from contract import chat
api = contract.Api().start()
client = contract.sync_client(api)
"""
REGISTER = "atexit.register(report)"


@pytest.mark.parametrize("when", ["before", "between"])
def test_streams_that_are_open_at_exit_are_recorded(when):
    """A program that ends with open streams records them as aborted, before reporters that were set up
    before install."""
    places = {"before": "", "between": "", when: REGISTER}
    code, out, _ = contract.python(EXIT.format(**places) + """
first = chat(client, stream=True)
next(first)
second = chat(client, stream=True)
raw = client.chat.completions.with_raw_response.create(model="m", messages=[], stream=True)
chat(client)
""", fresh=True)  # fmt: skip
    assert code == 0
    assert out.strip() == "['ok', 'aborted', 'aborted', 'aborted'] 0"


ENDINGS = {
    "open stream": "stream = chat(client, stream=True); next(stream)",
    "error": "stream = chat(client, stream=True); next(stream); 1 / 0",
    "streaming response": """
manager = client.chat.completions.with_streaming_response.create(model="m", messages=[], stream=True)
answer = manager.__enter__()
lines = answer.iter_lines(); next(lines)""",
    "async": """
import asyncio
async def main():
    global stream, mine
    mine = contract.async_client(api)
    stream = await chat(mine, stream=True)
    await anext(stream)
asyncio.run(main())""",
    "daemon threads": """
import threading
def work():
    while True:
        chat(client); list(chat(client, stream=True))
threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
[thread.start() for thread in threads]
chat(client)""",
    "in a call": """
import threading
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer
reached = threading.Event()
def never(request):
    reached.set()
    threading.Event().wait(60)
    return Answer(200, {}, b"")
slow = LoopbackServer(never).start()
threading.Thread(target=lambda: chat(contract.sync_client(slow)), daemon=True).start()
reached.wait()""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_program_exits_as_without_the_meter(ending):
    """Exit code and error output are those of the same program without the meter, and it ends."""
    install = "meter = openai_meter.install()"

    def done(start):
        code, _, err = contract.python(start + ENDINGS[ending], fresh=True)
        return code, [
            contract.without_addresses(line) for line in err.splitlines() if line and not line.startswith(" ")
        ]

    start = EXIT.format(before="", between="")
    code, said = done(start)
    bare, said_bare = done(start.replace(install, ""))
    assert code == bare
    if ending == "async":  # which generator the event loop complains of is chance, bare too
        assert not [line for line in said if "openai_meter" in line or "Watched" in line]
    else:
        assert said == said_bare


def test_summary_at_exit_is_complete_with_daemon_threads():
    """A program that prints its summary at exit, while daemon threads still call, prints all of it and ends."""
    start = EXIT.format(before="", between="atexit.register(lambda: meter.print_summary())")
    code, out, err = contract.python(start + """
import threading
begun = threading.Event()
def work():
    while True:
        chat(client)
        begun.set()
threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
[thread.start() for thread in threads]
begun.wait()
""")  # fmt: skip
    assert code == 0
    assert "gpt-4o-mini" in out
    assert "Traceback" not in err
