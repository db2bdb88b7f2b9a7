"""Rules 7 and 8: the meter comes and goes without a trace, whoever else patches the SDK, and never uses the network."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import logging
import socket

import contract
import openai
import pytest
import wrapt
from contract import chat
from openai import AsyncOpenAI, OpenAI
from openai._base_client import AsyncAPIClient, SyncAPIClient

import openai_meter
from openai_meter.core.patching import tree

NAMES = ("request", "copy", "with_options")


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def attributes():
    """Every function of the client trees that could be patched, by class and name; absence is told too."""
    owners = [*tree(SyncAPIClient), *tree(AsyncAPIClient)]
    return {(owner, name): vars(owner).get(name) for owner in owners for name in NAMES}


@pytest.fixture(autouse=True)
def nothing_left():
    """Whatever a test does, the next one finds the SDK as it was."""
    openai_meter.uninstall()
    before = attributes()
    yield
    openai_meter.uninstall()
    for (owner, name), found in before.items():
        if vars(owner).get(name) is not found:
            delattr(owner, name) if found is None else setattr(owner, name, found)
    openai_meter.install()  # forgets what was left under wrappers that are gone now
    openai_meter.uninstall()


def same(before):
    now = attributes()
    return [f"{owner.__name__}.{name}" for (owner, name), found in before.items() if now[owner, name] is not found]


# --- the identical functions ------------------------------------------------------------------------------------------


class Own(OpenAI):
    """A subclass with a ``request`` of its own."""

    def request(self, cast_to, options, **more):
        return super().request(cast_to, options, **more)


class OwnAsync(AsyncOpenAI):
    async def request(self, cast_to, options, **more):
        return await super().request(cast_to, options, **more)


def test_uninstall_restores_the_identical_functions(api):
    """Every class of both trees has the same function objects again after install, wrap and track."""
    before = attributes()
    for times in range(3):
        meter = openai_meter.install()
        assert len(same(before)) >= 4  # the two base classes, the two above, and those of other tests
        openai_meter.wrap(OpenAI(api_key="x"))
        with contract.sync_client(api) as client, openai_meter.track("block"):
            chat(client)
        openai_meter.install()
        openai_meter.uninstall()
        openai_meter.uninstall()
        assert same(before) == []
        assert meter.totals.calls == times + 1


def test_block_without_install_patches_only_while_it_runs(api):
    """``track()`` without ``install()`` leaves the identical functions when the last block ends."""
    before = attributes()
    with openai_meter.track("outer") as outer:
        with openai_meter.track("inner"):
            assert same(before)
        assert same(before)
        with contract.sync_client(api) as client:
            chat(client)
    assert same(before) == []
    assert outer.totals.calls == 1


@pytest.mark.parametrize("kind", [Own, OwnAsync])
def test_subclass_that_overrides_request_is_counted_once(api, meter, kind):
    """A subclass that overrides ``request`` and calls its parent's makes one record, defined before or after."""
    Later = type("Later", (kind,), {"request": vars(kind)["request"]})

    def ask(cls):
        more = {"base_url": api.base_url, "api_key": "demo", "max_retries": 0}
        if issubclass(cls, OpenAI):
            with cls(**more) as client:
                return chat(client)

        async def main():
            async with cls(**more) as client:
                await chat(client)

        return asyncio.run(main())

    ask(kind)
    ask(Later)
    assert meter.totals.calls == 2


def test_class_defined_after_install_stays_unchanged(api, meter):
    """It is the same after uninstall."""

    class Late(OpenAI):
        def request(self, cast_to, options, **more):
            return super().request(cast_to, options, **more)

    mine = vars(Late)["request"]
    with Late(base_url=api.base_url, api_key="demo") as client:
        chat(client)
        openai_meter.install()
        chat(client)
        openai_meter.uninstall()
        chat(client)
    assert vars(Late)["request"] is mine
    assert meter.totals.calls == 2


# --- other instrumentation --------------------------------------------------------------------------------------------


class Foreign:
    """Somebody else's instrumentation of ``request``: ``on()``, ``off()``, and how many calls it has seen."""

    def __init__(self, kind, owner):
        self.kind, self.owner, self.seen = kind, owner, 0
        self.kept = self.mine = None

    def on(self):
        self.kept = vars(self.owner).get("request")
        if self.kind == "wrapt":
            self.mine = wrapt.wrap_function_wrapper(openai, f"{self.owner.__name__}.request", self._wrapper) \
                if self.owner is OpenAI else self._set(wrapt.FunctionWrapper(self.kept, self._wrapper))  # fmt: skip
            return
        below = self.owner.request

        def closure(client, *args, **kwargs):
            self.seen += 1
            return below(client, *args, **kwargs)

        self._set(functools.wraps(below)(closure) if self.kind == "wraps" else closure)

    def _set(self, function):
        self.owner.request = function
        return function

    def _wrapper(self, wrapped, instance, args, kwargs):
        self.seen += 1
        return wrapped(*args, **kwargs)

    def off(self):
        """What careless libraries do: puts back whatever was there when they came."""
        if self.kept is None:
            del self.owner.request
        else:
            self.owner.request = self.kept


FOREIGN = [
    ("wrapt", SyncAPIClient),
    ("wraps", SyncAPIClient),
    ("closure", SyncAPIClient),
    ("wrapt", OpenAI),
    ("wraps", OpenAI),
]
ORDERS = [
    order
    for order in set(itertools.permutations(["+meter", "-meter", "+foreign", "-foreign"]))
    if order.index("+meter") < order.index("-meter") and order.index("+foreign") < order.index("-foreign")
]


@pytest.mark.parametrize(("kind", "owner"), FOREIGN, ids=[f"{kind}-{owner.__name__}" for kind, owner in FOREIGN])
@pytest.mark.parametrize("order", sorted(ORDERS), ids=" ".join)
def test_every_order_of_patching_with_another_library_counts_once_and_restores(api, kind, owner, order):
    """Calls work at every step, count once while installed and never otherwise, and a later install counts again."""
    foreign, meter = Foreign(kind, owner), openai_meter.get_meter()
    on = {"meter": False, "foreign": False}
    lost = False
    with contract.sync_client(api) as client:
        for step in (*order, "+meter", "-meter", "+meter"):
            what = step[1:]
            on[what] = step[0] == "+"
            if what == "meter":
                openai_meter.install() if on[what] else openai_meter.uninstall()
                lost = False
            elif on[what]:
                foreign.on()
            else:
                foreign.off()
                # Whoever came before us and puts back what was there then has thrown us out, on our own class.
                lost = on["meter"] and owner is SyncAPIClient and order.index("+foreign") < order.index("+meter")
            before, seen = meter.totals.calls, foreign.seen
            assert chat(client).choices[0].message.content == contract.TEXT
            list(chat(client, stream=True))
            assert meter.totals.calls - before == (2 if on["meter"] and not lost else 0), step
            if on["foreign"]:
                assert foreign.seen - seen == 2, step
    openai_meter.uninstall()


@pytest.mark.parametrize("owner", [SyncAPIClient, OpenAI])
def test_uninstall_below_another_wrapt_wrapper_removes_ours(api, owner):
    """Below a wrapt wrapper of another library, ours is removed: the other one wraps the SDK's own function."""
    sdk = vars(SyncAPIClient)["request"]
    openai_meter.install()
    foreign = Foreign("wrapt", owner)
    foreign.on()
    openai_meter.uninstall()
    chain = [vars(owner)["request"]]
    while getattr(chain[-1], "__wrapped__", None) is not None:
        chain.append(chain[-1].__wrapped__)
    assert chain[-1] is sdk
    assert len(chain) == 2  # theirs, and the SDK's


def test_wrapper_that_cannot_be_removed_is_inert_and_logged(api, caplog):
    """Below a closure of another library ours stays, passes everything on, and is named in the log."""
    caplog.set_level(logging.INFO, "openai_meter")
    openai_meter.install()
    foreign = Foreign("closure", SyncAPIClient)
    foreign.on()
    openai_meter.uninstall()
    assert "SyncAPIClient.request" in caplog.text
    with contract.sync_client(api) as client:
        chat(client)
    assert openai_meter.get_meter().totals.calls == 0
    foreign.off()
    openai_meter.uninstall()
    assert not isinstance(vars(SyncAPIClient)["request"], wrapt.FunctionWrapper)


def test_attribute_restored_by_another_library_is_the_sdks_own(api):
    """openinference restores ``OpenAI.request`` as it found it, ours: after our uninstall it is the SDK's function."""
    sdk = vars(SyncAPIClient)["request"]
    openai_meter.install()
    wrapt.wrap_function_wrapper(openai, "OpenAI.request", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    OpenAI.request = vars(OpenAI)["request"].__wrapped__
    openai_meter.uninstall()
    assert vars(OpenAI)["request"] is sdk


def test_repeated_installs_below_another_patch_add_no_layer(api):
    """Fifty rounds of install and uninstall below a foreign closure add no layer and keep no list."""
    openai_meter.install()
    foreign = Foreign("closure", SyncAPIClient)
    foreign.on()
    from openai_meter.instrumentation.patching import patcher

    meter, lengths = openai_meter.get_meter(), []
    with contract.sync_client(api) as client:
        for _ in range(50):
            openai_meter.uninstall()
            openai_meter.install()
            lengths.append(len(patcher.patches._places))
        chat(client)
    assert meter.totals.calls == foreign.seen == 1
    assert lengths[-1] == lengths[0]


def test_repeated_installs_under_overwriting_keep_no_list(api):
    """Fifty rounds in which other code puts the SDK's own function over ours leave no list of dead patches."""
    from openai_meter.instrumentation.patching import patcher

    sdk, lengths = vars(SyncAPIClient)["request"], []
    for _ in range(50):
        Foreign("closure", SyncAPIClient).on()
        openai_meter.install()
        SyncAPIClient.request = sdk
        openai_meter.uninstall()
        lengths.append(len(patcher.patches._places))
    assert lengths[-1] == lengths[0]


# --- while calls are made ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_stream_open_at_uninstall_is_counted(api, meter, is_async):
    """A stream that was begun before uninstall is read to its end after it, and counted with its tokens."""

    async def read(client):
        stream = await contract.got(chat(client, stream=True, stream_options={"include_usage": True}))
        first = await contract.one(stream)
        openai_meter.uninstall()
        rest = await contract.every(stream)
        await contract.got(chat(client))
        return [first, *rest]

    if is_async:

        async def main():
            async with contract.async_client(api) as client:
                return await read(client)

        chunks = asyncio.run(main())
    else:
        with contract.sync_client(api) as client:
            chunks = contract.run(read(client))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == contract.TEXT
    (call,) = meter.calls
    assert (call.status, call.usage.input_tokens) == ("ok", api.said[0].input_tokens)


def test_call_in_flight_at_uninstall_is_counted(meter):
    """For the meter that was installed when it was sent."""

    def answer(request):
        openai_meter.uninstall()
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        chat(client)
    assert meter.totals.calls == 1


def test_concurrent_install_and_uninstall_break_no_call():
    """300 rounds of install and uninstall while 8 threads call: no call fails, none counts twice."""
    before, meter, library = attributes(), openai_meter.get_meter(), contract.http_library()
    body = json.dumps(contract.usage_body()).encode()
    frames = b"".join(contract.chunk_bodies())

    def answer(request):
        if b'"stream":true' in request.content.replace(b" ", b""):
            return library.Response(200, headers=contract.EVENTS, content=frames)
        return library.Response(200, headers=contract.JSON, content=body)

    made = []
    with contract.in_process(answer) as client:

        def work(place):
            if place == 0:
                for _ in range(300):
                    openai_meter.install()
                    with openai_meter.track("block"):
                        pass
                    openai_meter.uninstall()
                return
            for number in range(40):
                if number % 3:
                    chat(client)
                else:
                    list(chat(client, stream=True))
                made.append(1)

        assert contract.threads(9, work) == []
    assert len(made) == 8 * 40
    assert meter.totals.calls <= len(made)
    assert meter.totals.input_tokens == 3 * meter.totals.calls
    assert same(before) == []


def test_uninstall_unwraps_clients_and_keeps_their_counts(api):
    """After uninstall a wrapped client, and its copies, count no more; wrapping them again counts again."""
    meter = openai_meter.Meter()
    with contract.sync_client(api) as client:
        copy = openai_meter.wrap(client, meter).with_options(timeout=5.0)
        chat(copy)
        openai_meter.uninstall()
        chat(copy)
        chat(client)
        assert meter.totals.calls == 1
        openai_meter.wrap(copy, meter)
        chat(copy.copy())
    assert meter.totals.calls == 2


# --- imports ----------------------------------------------------------------------------------------------------------

HEAVY = (
    "openai",
    "rich",
    "typer",
    "tiktoken",
    "sqlalchemy",
    "genai_prices",
    "pydantic",
    "httpx",
    "httpx2",
    "starlette",
)


def test_importing_the_meter_imports_nothing_heavy():
    """``import openai_meter`` and ``install()`` load neither openai nor anything that only a report needs."""
    code, out, err = contract.python(
        f"""
import sys
import openai_meter
after_import = sorted(set({HEAVY!r}) & set(sys.modules))
openai_meter.install()
print(after_import, sorted(set({HEAVY!r}) & set(sys.modules)))
""",
        fresh=True,
    )
    assert (code, out.strip(), err) == (0, "[] []", "")


def test_install_before_openai_is_imported_counts_from_the_first_call():
    """With install first and openai imported later, every call counts, and uninstall restores the SDK's functions."""
    code, out, err = contract.python(
        """
import openai_meter, sys
meter = openai_meter.install()
assert "openai" not in sys.modules
import contract
from openai._base_client import SyncAPIClient
with contract.Api() as api, contract.sync_client(api) as client:
    contract.chat(client)
    list(contract.chat(client, stream=True))
    openai_meter.uninstall()
    contract.chat(client)
print(meter.totals.calls, type(vars(SyncAPIClient)["request"]).__name__)
""",
        fresh=True,
    )
    assert (code, out.strip(), err) == (0, "2 function", "")


def test_uninstall_before_openai_is_imported_patches_nothing():
    """Installed and uninstalled before openai is there: it is imported unpatched, and a later install works."""
    code, out, err = contract.python(
        """
import openai_meter
openai_meter.install()
openai_meter.uninstall()
import openai
from openai._base_client import SyncAPIClient
kinds = [type(vars(SyncAPIClient)["request"]).__name__]
openai_meter.install()
kinds.append(type(vars(SyncAPIClient)["request"]).__name__)
print(*kinds)
""",
        fresh=True,
    )
    assert (code, out.strip(), err) == (0, "function FunctionWrapper", "")


def test_concurrent_install_and_import_of_openai_do_not_deadlock():
    """Threads that import openai and threads that install the meter do not wait for each other for ever."""
    code, out, err = contract.python("""
import faulthandler, sys, threading
faulthandler.dump_traceback_later(240, exit=True)
import openai_meter
start, raised = threading.Barrier(6), []
def importing():
    start.wait()
    import openai
def installing():
    start.wait()
    for _ in range(3000):
        openai_meter.install()
        if "openai._base_client" in sys.modules:
            with openai_meter.track("x"):
                pass
def guarded(work):
    try:
        work()
    except BaseException as error:
        raised.append(error)
threads = [threading.Thread(target=guarded, args=(work,)) for work in (importing, installing) * 3]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
from openai._base_client import SyncAPIClient
print(raised, type(vars(SyncAPIClient)["request"]).__name__)
""")
    assert (code, out.strip(), err) == (0, "[] FunctionWrapper", "")


# --- no network of its own --------------------------------------------------------------------------------------------


def test_meter_opens_no_connection_of_its_own(api, monkeypatch):
    """Installing, calling, printing and uninstalling connect to nothing but the server that the program calls."""
    reached = []
    connect = socket.socket.connect

    def guarded(self, address):
        reached.append(address)
        if address[1] != int(api.url.rpartition(":")[2]):
            raise AssertionError(f"a connection to {address}")
        return connect(self, address)

    def no_lookup(*args, **kwargs):
        raise AssertionError(f"a lookup of {args}")

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded)
    monkeypatch.setattr(socket, "gethostbyname", no_lookup)
    meter = openai_meter.install()
    for is_async in (False, True):
        contract.outcomes(api, is_async=is_async, names=contract.CORE)
    assert "gpt-4o-mini" in contract.printed(meter)
    meter.to_dict(), meter.summary(), meter.pending, meter.calls
    openai_meter.uninstall()
    assert reached
    assert meter.internal_errors == 0


def test_program_without_calls_opens_no_socket():
    """A program that installs the meter and prints its summary opens no socket at all."""
    code, out, err = contract.python("""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(args)
socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = refuse
import openai_meter
meter = openai_meter.install()
meter.print_summary()
with openai_meter.track("x") as run:
    pass
run.print_summary()
openai_meter.uninstall()
print("threads", __import__("threading").active_count())
""")
    assert code == 0, err
    assert out.strip().endswith("threads 1")
    assert err == ""
