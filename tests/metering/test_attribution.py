"""``tag`` and ``bind``: who a call is made by and for, in every kind of function, task and thread."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import gc
import threading
import types
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import PurePosixPath

import contract
import pytest
from hypothesis import given
from hypothesis import strategies as st

import openai_meter
from openai_meter import ConfigurationError, track
from openai_meter.metering import attribution
from openai_meter.metering.attribution import OUTERMOST, bind, current_attribution, surroundings, tag


@pytest.fixture(autouse=True)
def nothing_left():
    """Whatever a test does, it leaves nothing around it."""
    assert surroundings.get() is OUTERMOST
    yield
    assert surroundings.get() is OUTERMOST


def said():
    """What is said here, as far as anything is."""
    who = current_attribution()
    known = {name: getattr(who, name) for name in ("agent", "operation", "user", "session")}
    return {name: value for name, value in {**known, **who.tags}.items() if value is not None}


def names():
    return [block.name for block in surroundings.get().blocks]


# --- tag --------------------------------------------------------------------------------------------------------------


def test_call_has_the_attribution_of_the_tags_around_it():
    """A real call has agent, operation, user, session, tags and block of its scope, and is summed by them."""
    meter = openai_meter.install(meter=openai_meter.Meter())

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        with tag(agent="need_analysis", user="u1", session="s1", team="forms"), track("nightly", operation="analyze"):
            contract.chat(client)
        contract.chat(client)
    one, two = meter.calls
    assert (one.agent, one.operation, one.user, one.session) == ("need_analysis", "analyze", "u1", "s1")
    assert (dict(one.tags), one.block) == ({"team": "forms"}, "nightly")
    assert (two.agent, two.operation, two.user, two.session, dict(two.tags), two.block) == (None,) * 4 + ({}, None)
    rows = meter.by("agent", "operation", "tag:team", "block")
    assert {row: totals.calls for row, totals in rows.items()} == {
        ("need_analysis", "analyze", "forms", "nightly"): 1,
        ("(unattributed)", "(unattributed)", "(unattributed)", "(no block)"): 1,
    }


def test_inner_tag_replaces_values_and_merges_tags():
    """Values of an inner tag replace outer ones, tags are merged, and values that it does not set stay."""
    with tag(agent="a", user="u", team="x", env="prod"):
        with tag(agent="b", team="y"):
            assert said() == {"agent": "b", "user": "u", "team": "y", "env": "prod"}
        assert said() == {"agent": "a", "user": "u", "team": "x", "env": "prod"}
    assert said() == {}


def test_same_tag_can_be_entered_many_times():
    """The same object can be entered again, also inside itself, and by many threads at once."""
    mine = tag(agent="a")
    with mine, mine, tag(operation="o"), mine:
        assert said() == {"agent": "a", "operation": "o"}
    wrong = []

    def work(_):
        for _ in range(200):
            with mine:
                if said() != {"agent": "a"}:
                    wrong.append(said())

    assert contract.threads(8, work) == []
    assert wrong == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_exception_passes_through_a_tag_and_leaves_it(error):
    """Whatever is raised in a tag passes through it, and the tag is left."""
    with pytest.raises(error), tag(agent="a"):
        raise error
    assert said() == {}


def test_exit_of_a_tag_that_was_not_entered_changes_nothing():
    """``leave()`` returns False, and the attribution stays."""
    with tag(agent="a"):
        assert tag(agent="a").leave() is False
        assert said() == {"agent": "a"}


def test_scope_that_ends_out_of_order_removes_only_its_values():
    """A scope that ends before a later one removes only its own values."""
    outer, inner = tag(agent="outer", team="x"), tag(operation="inner")
    outer.enter()
    inner.enter()
    assert outer.leave()
    assert said() == {"operation": "inner"}
    assert inner.leave()
    assert said() == {}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=30))
def test_attribution_is_that_of_the_open_tags(steps):
    """However tags are entered and left, the attribution is that of the open ones, innermost last."""
    tags = [tag(**{"agent": str(number), f"t{number % 2}": str(number)}) for number in range(5)]
    open_ones = []
    for enter, number in steps:
        if enter:
            tags[number].enter()
            open_ones.append(number)
        elif number in open_ones:
            assert tags[number].leave()
            del open_ones[len(open_ones) - 1 - open_ones[::-1].index(number)]
        else:
            assert not tags[number].leave()
        expected = {}
        for one in open_ones:
            expected |= {"agent": str(one), f"t{one % 2}": str(one)}
        assert said() == expected
    for number in reversed(open_ones):
        tags[number].leave()
    assert surroundings.get() is OUTERMOST


def test_endless_chain_of_tasks_keeps_a_bounded_number_of_scopes():
    """A callback that begins the next one inside its own tag does not keep all scopes before it."""
    for _ in range(3 * attribution._DEPTH):
        tag(agent="a").enter()
    assert surroundings.get().depth <= attribution._DEPTH
    assert said() == {"agent": "a"}
    surroundings.set(OUTERMOST)
    gc.collect()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: tag("need_analysis"), "needs a name"),
        (lambda: tag(lambda: None), "needs a name"),
        (lambda: tag(agent="a")(3), "3 is not a function"),
        (lambda: bind(3), "3 is not a function"),
    ],
)
def test_wrong_use_of_tag_raises_with_the_remedy(wrong, says):
    """A value without a name, and an object that is not a function, are refused."""
    with pytest.raises(ConfigurationError, match=says):
        wrong()


class Shade(enum.Enum):
    """An enumeration of a program."""

    DARK = "dark"
    SEVENTH = 7


class Named:
    """An object of a program with a text form of its own."""

    def __str__(self):
        return "Ada"


class Broken:
    """An object whose text form raises."""

    def __str__(self):
        raise RuntimeError("no text")


IDENTITY = uuid.UUID("018f4f6e-7d3a-7000-8000-000000000001")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"), (0, "0"), (True, "True"), (2.5, "2.5"), (Decimal("1.50"), "1.50"), (IDENTITY, str(IDENTITY)),
        (PurePosixPath("a/b"), "a/b"), (Shade.DARK, "dark"), (Shade.SEVENTH, "7"), (date(2026, 11, 30), "2026-11-30"),
        (Named(), "Ada"), ("plain", "plain"),
    ],
)  # fmt: skip
def test_value_with_a_text_form_is_recorded_as_text(value, text):
    """Numbers, UUIDs, paths, members of an ``Enum`` and the like are attributed as text, by tag() and track()."""
    with tag(user=value, team=value):
        assert said() == {"user": text, "team": text}
    with openai_meter.track(value, session=value) as run:
        assert said() == {"session": text}
    assert run.name == text
    assert type(current_attribution().within(attribution.read_attribution({"user": value})).user) is str


@pytest.mark.parametrize("value", [["x"], {"a": 1}, object(), b"bytes", ValueError("a prompt"), Broken(), int])
def test_value_without_a_text_form_is_logged_and_left_out(value, caplog):
    """The block runs, the other values stay, and one log line names the value that was left out, without its
    content."""
    attribution._reported.clear()
    for _ in range(2):
        with tag(user=value, agent="a"):
            assert said() == {"agent": "a"}
    (record,) = caplog.records
    assert "user is a" in record.getMessage()
    assert type(value).__qualname__ in record.getMessage()
    assert "prompt" not in record.getMessage()


def test_attribution_of_none_is_ignored():
    """A value of ``None`` adds nothing, and hides no outer value."""
    with tag(agent="a"), tag(agent=None, team=None):
        assert said() == {"agent": "a"}


# --- around functions -------------------------------------------------------------------------------------------------


def test_decorated_function_runs_in_the_tag():
    """A decorated function, method, static or class method, and partial runs in the tag, and keeps its name."""

    class Agent:
        @tag(agent="m")
        def method(self, value):
            """Says it."""
            return said(), value

        @tag(agent="s")
        @staticmethod
        def static(value):
            return said(), value

        @classmethod
        @tag(agent="c")
        def of_class(cls, value):
            return said(), value

        @tag(agent="d")
        @classmethod
        def of_class_too(cls, value):
            return said(), value, cls

    agent = Agent()
    assert agent.method(1) == ({"agent": "m"}, 1)
    assert Agent.method.__doc__ == "Says it."
    assert agent.static(2) == Agent.static(2) == ({"agent": "s"}, 2)
    assert Agent.of_class(3) == ({"agent": "c"}, 3)
    assert agent.of_class_too(4) == ({"agent": "d"}, 4, Agent)
    assert tag(agent="p")(functools.partial(agent.method, 5))() == ({"agent": "m"}, 5)
    assert said() == {}


def test_decorated_generator_runs_its_steps_in_the_tag():
    """The caller's code between the steps does not; values, errors and the end are passed on."""
    seen = []

    @tag(agent="inner")
    def words():
        try:
            got = yield said()
            seen.append(got)
            try:
                yield said()
            except ValueError as error:
                seen.append(str(error))
            yield said()
        finally:
            seen.append(said())
        return "end"

    with tag(agent="outer"):
        steps = words()
        assert next(steps) == {"agent": "inner"}
        assert said() == {"agent": "outer"}
        assert steps.send("sent") == {"agent": "inner"}
        assert steps.throw(ValueError("thrown")) == {"agent": "inner"}
        with pytest.raises(StopIteration) as end:
            next(steps)
        assert end.value.value == "end"
        assert said() == {"agent": "outer"}
    assert seen == ["sent", "thrown", {"agent": "inner"}]
    steps = words()
    next(steps)
    steps.close()
    assert seen[-1] == {"agent": "inner"}


def test_tag_inside_a_generator_ends_with_it():
    """A ``with`` in the body of a plain generator is visible to its caller between the steps, and ends with it."""

    def words():
        with tag(agent="generator"):
            yield 1
            yield 2

    steps = words()
    next(steps)
    with tag(operation="caller"):
        assert list(steps) == [2]
        assert said() == {"operation": "caller"}
    assert said() == {}


def test_decorated_coroutine_or_async_generator_runs_in_the_tag():
    """Coroutine functions, objects that are called like them, old-style coroutines and async generators are tagged."""

    @tag(agent="a")
    async def ask():
        await asyncio.sleep(0)
        return said()

    class Asker:
        async def __call__(self):
            await asyncio.sleep(0)
            return said()

    @tag(agent="old")
    @types.coroutine
    def old():
        yield
        return said()

    @tag(agent="g")
    async def words():
        try:
            while True:
                try:
                    await asyncio.sleep(0)
                    yield said()
                except ValueError:
                    yield "thrown", said()
        finally:
            await asyncio.sleep(0)
            closed.append(said())

    closed = []

    async def main():
        assert await ask() == {"agent": "a"}
        assert await tag(agent="b")(Asker())() == {"agent": "b"}
        assert await old() == {"agent": "old"}
        async with tag(agent="outer"), contextlib.aclosing(words()) as steps:
            assert await anext(steps) == {"agent": "g"}
            assert said() == {"agent": "outer"}
            assert await steps.asend(None) == {"agent": "g"}
            assert await steps.athrow(ValueError()) == ("thrown", {"agent": "g"})
            assert said() == {"agent": "outer"}
        assert said() == {}

    asyncio.run(main())
    assert closed == [{"agent": "g"}]


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_task_inherits_attribution_and_keeps_its_own():
    """Tasks start with the attribution around them, and their own tags do not reach other tasks."""

    async def work(name):
        with tag(operation=name):
            for _ in range(3):
                await asyncio.sleep(0)
                assert said() == {"agent": "a", "operation": name}
        return said()

    async def main():
        with tag(agent="a"):
            tasks = [asyncio.create_task(work(str(number))) for number in range(5)]
        assert said() == {}
        assert await asyncio.gather(*tasks) == [{"agent": "a"}] * 5
        with tag(agent="thread"):
            assert await asyncio.to_thread(said) == {"agent": "thread"}

    asyncio.run(main())


def test_cancelled_task_leaves_its_tags():
    """Cancellation in the middle of tags, decorated functions and generators leaves all of them."""
    after = []

    @tag(agent="decorated")
    async def wait():
        async with tag(operation="waits"):
            await asyncio.Event().wait()

    @tag(agent="steps")
    async def steps():
        yield
        await asyncio.Event().wait()

    async def body(kind):
        try:
            if kind == "function":
                await wait()
            else:
                async for _ in steps():
                    pass
        finally:
            after.append(said())

    async def main():
        for kind in ("function", "generator"):
            task = asyncio.create_task(body(kind))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert after == [{}, {}]


# --- bind -------------------------------------------------------------------------------------------------------------


def test_bound_function_has_the_scope_of_bind():
    """It has the tags and blocks of the place of ``bind()``; those of its caller are back after it."""

    @functools.wraps(said)
    def both(*args, **kwargs):
        return said(), names(), args, kwargs

    with tag(agent="here", team="x"), track("block"):
        bound = bind(both)
    assert bound.__name__ == "said"
    expected = {"agent": "here", "team": "x"}, ["block"], (1,), {"two": 2}
    with tag(operation="there"), track("other"):
        assert bound(1, two=2) == expected
        assert (said(), names()) == ({"operation": "there"}, ["other"])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(bound, 1, two=2).result() == expected
        assert pool.submit(said).result() == {}
    with tag(agent="later"):
        assert bound(1, two=2) == expected


def test_function_bound_outside_of_all_scopes_runs_without_attribution():
    """Bound where nothing is around, a function runs with nothing around it."""
    bound = bind(said)
    with tag(agent="a"):
        assert bound() == {}
        assert said() == {"agent": "a"}


def test_bound_coroutine_or_generator_has_the_scope_of_bind():
    """Coroutine functions, generators and async generators can be bound; a tag inside one is added to that scope."""
    with tag(agent="here"):

        @bind
        async def ask():
            await asyncio.sleep(0)
            with tag(operation="o"):
                return said()

        @bind
        def words():
            yield said()

        @bind
        async def more():
            yield said()

    async def main():
        with tag(user="there"):
            assert await ask() == {"agent": "here", "operation": "o"}
            assert [one async for one in more()] == [{"agent": "here"}]
            assert said() == {"user": "there"}

    asyncio.run(main())
    assert list(words()) == [{"agent": "here"}]


def test_bound_job_counts_for_the_block_of_bind():
    """A call in another thread counts for the block that its function was bound in."""

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    with contract.in_process(answer) as client:
        with track("block", agent="a") as block:
            thread = threading.Thread(target=bind(contract.chat), args=(client,))
            thread.start()
            thread.join()
            thread = threading.Thread(target=contract.chat, args=(client,))
            thread.start()
            thread.join()
        assert [(call.agent, call.block) for call in block.calls] == [("a", "block")]
        assert block.by("agent")["a"] == block.totals
