"""Scopes that are entered in a generator hold in all its steps, whatever context a framework runs each step in."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import contract
import pytest

import openai_meter
from openai_meter.instrumentation.listening import registry
from openai_meter.metering import generator_scopes
from openai_meter.metering.attribution import OUTERMOST, bind, current_attribution, surroundings, tag


@pytest.fixture(autouse=True)
def nothing_left():
    """Every test ends without a scope that is still entered."""
    yield
    gc.collect()
    assert generator_scopes.ENTRIES == {}
    assert surroundings.get() is OUTERMOST


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def stepped(generator):
    """The items of a generator, each step of which runs in a context of its own, as a web framework runs them."""
    with ThreadPoolExecutor(2) as pool:
        items = []
        while True:
            step = contextvars.copy_context()
            try:
                items.append(pool.submit(step.run, next, generator, StopIteration).result())
            except StopIteration:
                return items
            if items[-1] is StopIteration:
                return items[:-1]


def user():
    return current_attribution().user


def test_tag_in_a_generator_applies_to_every_step():
    """The attribution is there in each step inside the block, and in none after it."""

    def answer():
        yield user()
        with tag(user="ann"):
            yield user()
            yield user()
            with tag(team="forms"):
                yield user(), current_attribution().tags
        yield user()

    assert stepped(answer()) == [None, "ann", "ann", ("ann", {"team": "forms"}), None]


def test_interleaved_generators_keep_their_own_tags():
    """Of two generators that run in turn, each has its own attribution; that of an inner generator takes precedence."""

    def inner():
        with tag(operation="inner"):
            while True:
                yield user(), current_attribution().operation

    def outer(name):
        with tag(user=name, operation="outer"):
            pieces = inner()
            for _ in range(2):
                yield next(pieces)
                yield user(), current_attribution().operation
            pieces.close()

    steps = [outer("ann"), outer("bob")]
    run = [contextvars.copy_context().run(next, step) for _ in range(4) for step in steps]
    assert run[::2] == [("ann", "inner"), ("ann", "outer")] * 2
    assert run[1::2] == [("bob", "inner"), ("bob", "outer")] * 2
    for step in steps:
        contextvars.copy_context().run(step.close)


def test_functions_and_scopes_of_a_step_are_inside_the_block():
    """Functions bound in a step, scopes of functions that it calls, and context managers of the program are inside."""

    @contextlib.contextmanager
    def named(name):
        with tag(session=name):
            yield

    def inside():
        with tag(agent="a"), contextlib.ExitStack() as stack:
            stack.enter_context(named("s"))
            found = current_attribution()
            return found.user, found.agent, found.session

    def answer():
        with contextlib.ExitStack() as stack:
            stack.enter_context(tag(user="ann"))
            yield
            yield inside()
            yield bind(user)
        yield inside()

    _, found, bound, after = stepped(answer())
    assert found == ("ann", "a", "s")
    assert bound() == "ann"
    assert after == (None, "a", "s")


def test_block_in_a_generator_counts_every_call(api):
    """The calls of three steps all count for the block, which is closed when the generator ends."""
    openai_meter.install(hosts={"127.0.0.1": "openai"})
    with contract.sync_client(api) as client:

        def answer():
            with openai_meter.track("answer", user="ann") as run:
                for _ in range(3):
                    contract.chat(client)
                    yield run

        runs = stepped(answer())
        contract.chat(client)
    assert runs[0].totals.calls == 3
    assert openai_meter.get_meter().by("user")["ann"].calls == 3
    assert openai_meter.get_meter().totals.calls == 4


def test_block_in_a_generator_counts_without_install(api):
    """The block alone keeps the calls metered until the step that ends it, and no longer."""
    with contract.sync_client(api) as client:

        def answer():
            with openai_meter.track() as run:
                yield run
                contract.chat(client)

        (run,) = stepped(answer())
        contract.chat(client)
    assert run.totals.calls == 1
    assert registry.running_blocks == 0


@pytest.mark.parametrize("end", ["close", "collect", "throw"])
def test_abandoned_generator_closes_its_block(end):
    """A generator that is closed, collected or ended by an error in another context closes its block."""

    def answer():
        with openai_meter.track("answer"):
            yield
            yield

    generator = answer()
    contextvars.copy_context().run(next, generator)
    assert generator_scopes.ENTRIES
    if end == "close":
        contextvars.copy_context().run(generator.close)
    elif end == "throw":
        with pytest.raises(KeyError):
            contextvars.copy_context().run(generator.throw, KeyError())
    else:
        del generator
        gc.collect()
    assert registry.running_blocks == 0


def test_generator_in_a_cycle_is_still_collected():
    """Noting the frame of a generator keeps neither it nor what it holds alive."""

    class Held:
        """Something that the generator holds."""

    def answer(held):
        with tag(user="ann"):
            yield held

    held = Held()
    held.generator = answer(held)
    contextvars.copy_context().run(next, held.generator)
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def test_async_generator_keeps_its_tag_across_tasks():
    """Each step of an asynchronous generator may run in another task."""

    async def answer():
        async with tag(user="ann"):
            yield user()
            await asyncio.sleep(0)
            yield user()
        with tag(user="bob"):
            yield user()

    async def web():
        generator = answer()
        return [await asyncio.create_task(anext(generator)) for _ in range(3)] + [
            await asyncio.create_task(anext(generator, None))
        ]

    assert asyncio.run(web()) == ["ann", "ann", "bob", None]


def test_context_manager_entered_in_another_thread_is_logged(caplog):
    """A dependency that a framework enters in another thread has no effect outside of it: one line names the remedy."""

    @contextlib.contextmanager
    def dependency():
        with tag(user="ann"):
            yield

    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            manager = dependency()
            pool.submit(contextvars.copy_context().run, manager.__enter__).result()
            pool.submit(contextvars.copy_context().run, manager.__exit__, None, None, None).result()
    assert user() is None
    (record,) = [one for one in caplog.records if "does not hold" in one.getMessage()]
    assert "dependency" in record.getMessage()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_streamed_answer_of_starlette_is_attributed(api, asynchronous):
    """A plain generator, which Starlette runs in threads, and an asynchronous one: three calls, all of the user."""
    responses = pytest.importorskip("starlette.responses", reason="starlette is not installed: this is NOT tested")
    testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed: this is NOT tested")
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
    with contract.sync_client(api) as client:

        def pieces():
            with openai_meter.track("web", user="ann"):
                for _ in range(3):
                    contract.chat(client)
                    yield b"piece"

        async def async_pieces():
            with openai_meter.track("web", user="ann"):
                for _ in range(3):
                    contract.chat(client)
                    yield b"piece"

        async def app(scope, receive, send):
            made = async_pieces() if asynchronous else pieces()
            await responses.StreamingResponse(made)(scope, receive, send)

        answer = testclient.TestClient(app).get("/")
    assert answer.content == b"piece" * 3
    assert meter.by("user", "block") == {("ann", "web"): meter.totals}
    assert meter.totals.calls == 3
