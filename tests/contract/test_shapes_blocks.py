"""``track()`` round real calls: blocks, nesting, decorators, tasks, streams that outlive their block."""

import asyncio

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from shape_player import CHAT, HELLO, STREAM, USAGE_STREAM, act

import openai_meter
from openai_meter import track

pytest_plugins = ("shape_player",)


async def call(api, **more):
    return (await api.do(api.client.chat.completions.create(**{**CHAT, **more}))).usage.total_tokens


def told(readings):
    return readings.totals.calls, readings.totals.total_tokens


@pytest.mark.parametrize("installed", [True, False])
def test_block_counts_the_calls_inside_only(stage, is_async, installed):
    """A block counts what is called in it, and nothing before or after it, with and without an installed meter."""
    stage.set()
    if installed:
        openai_meter.install()

    async def scenario(api):
        before = await call(api)
        with track("nightly") as block:
            one = await call(api)
            two = await call(api, n=2)
        after = await call(api)
        assert told(block) == (2, one + two)
        assert [(one.block, one.status) for one in block.calls] == 2 * [("nightly", "ok")]
        meter = openai_meter.get_meter()
        assert told(meter) == ((4, before + one + two + after) if installed else (0, 0))

    act(stage, scenario, is_async=is_async)


def test_without_install_nothing_stays_patched(stage):
    """A block without an installed meter leaves the SDK's own function behind."""
    stage.set()
    original = vars(openai._base_client.SyncAPIClient)["request"]
    with track():
        assert vars(openai._base_client.SyncAPIClient)["request"] is not original
    assert vars(openai._base_client.SyncAPIClient)["request"] is original


def test_call_counts_once_for_each_nested_block(stage, is_async):
    """A call counts for all blocks around it, once each, and carries the name of the innermost."""
    stage.set()

    async def scenario(api):
        with track("outer", agent="planner", team="forms") as outer:
            one = await call(api)
            async with track("inner", operation="draft") as inner:
                two = await call(api)
            three = await call(api)
        assert told(outer) == (3, one + two + three)
        assert told(inner) == (1, two)
        assert [(c.block, c.agent, c.operation, dict(c.tags)) for c in outer.calls] == [
            ("outer", "planner", None, {"team": "forms"}),
            ("inner", "planner", "draft", {"team": "forms"}),
            ("outer", "planner", None, {"team": "forms"}),
        ]

    act(stage, scenario, is_async=is_async)


def test_block_entered_again_keeps_counting(stage, is_async):
    """A block that is entered again goes on counting."""
    stage.set()

    async def scenario(api):
        block = track("again")
        for _ in range(3):
            with block:
                await call(api)
        assert block.totals.calls == 3

    act(stage, scenario, is_async=is_async)


def test_error_of_a_call_counts_and_leaves_its_block(stage, is_async):
    """An error of a call leaves the block as it is, and counts in it."""
    stage.set()

    async def scenario(api):
        block = track("fails")
        with pytest.raises(openai.NotFoundError), block:
            await call(api, model="no-such")
        await call(api)
        assert [(c.status, c.error_type) for c in block.calls] == [("error", "NotFoundError")]

    act(stage, scenario, is_async=is_async)


@pytest.mark.parametrize("installed", [True, False])
def test_stream_read_after_its_block_counts_for_it(stage, is_async, installed):
    """A stream that is opened in a block and read after it counts for the block."""
    stage.set()
    if installed:
        openai_meter.install()

    async def scenario(api):
        with track("opens") as block:
            stream = await api.do(api.client.chat.completions.create(**USAGE_STREAM))
        assert block.totals.calls == 0
        assert [one.stream for one in block.pending] == [True]
        await api.read(stream)
        assert (block.totals.calls, block.totals.total_tokens > 0, block.pending) == (1, True, ())

    act(stage, scenario, is_async=is_async)


def test_stream_opened_before_a_block_does_not_count_for_it(stage, is_async):
    """A stream that is opened before a block and read in it does not count for the block."""
    stage.set()
    meter = openai_meter.install()

    async def scenario(api):
        stream = await api.do(api.client.chat.completions.create(**STREAM))
        with track("reads") as block:
            await api.read(stream)
        assert (meter.totals.calls, block.totals.calls) == (1, 0)

    act(stage, scenario, is_async=is_async)


def test_background_response_counts_for_the_block_that_began_it(stage, is_async):
    """Also when it is polled after it."""
    stage.set()

    openai_meter.install()

    async def scenario(api):
        with track("begins") as block:
            made = await api.do(api.client.responses.create(model="gpt-5-mini", input="How?", background=True))
        with track("polls") as other:
            for _ in range(4):
                await api.do(api.client.responses.retrieve(made.id))
        assert (block.totals.calls, other.totals.calls) == (1, 0)
        assert [c.block for c in block.calls] == ["begins"]

    act(stage, scenario, is_async=is_async)


def sync_client(stage):
    http = openai.DefaultHttpxClient(verify=False)
    return OpenAI(base_url=stage.base_url, api_key="demo", max_retries=0, http_client=http)


def async_client(stage):
    http = openai.DefaultAsyncHttpxClient(verify=False)
    return AsyncOpenAI(base_url=stage.base_url, api_key="demo", max_retries=0, http_client=http)


def test_decorated_function_or_generator_counts_its_calls(stage):
    """Not the calls of its caller between its steps."""
    stage.set()
    function, generator = track("function"), track("generator")

    with sync_client(stage) as client:

        @function
        def ask():
            return client.chat.completions.create(**CHAT).usage.total_tokens

        @generator
        def words():
            yield from client.chat.completions.create(**USAGE_STREAM)
            client.chat.completions.create(**CHAT)

        assert ask() + ask() == function.totals.total_tokens
        with track("caller") as caller:
            for step, _ in enumerate(words()):
                if step == 1:
                    client.chat.completions.create(**CHAT)
    assert (function.totals.calls, generator.totals.calls) == (2, 2)
    assert caller.totals.calls == 3  # the generator's own calls are made inside the caller's block, too
    assert [c.block for c in generator.calls] == ["generator", "generator"]


def test_decorated_coroutine_or_async_generator_counts_its_calls(stage):
    """A decorated coroutine or async generator counts what it calls."""
    stage.set()
    function, generator = track("function"), track("generator")

    async def main():
        async with async_client(stage) as client:

            @function
            async def ask():
                return (await client.chat.completions.create(**CHAT)).usage.total_tokens

            @generator
            async def words():
                async for chunk in await client.chat.completions.create(**USAGE_STREAM):
                    yield chunk
                await client.chat.completions.create(**CHAT)

            assert await ask() + await ask() == function.totals.total_tokens
            steps = 0
            async for _ in words():
                steps += 1
                if steps == 2:
                    await client.chat.completions.create(**CHAT)

    asyncio.run(main())
    assert (function.totals.calls, generator.totals.calls) == (2, 2)
    assert [c.block for c in generator.calls] == ["generator", "generator"]


def test_concurrent_tasks_count_for_their_own_blocks(stage):
    """Tasks that run at the same time count each for its own block, and all for the block around them."""
    stage.set(live=True)
    meter = openai_meter.install()

    async def main():
        async with async_client(stage) as client:

            async def work(name, calls):
                with track(name) as block:
                    for number in range(calls):
                        more = [{"role": "user", "content": f"{name} {number}"}]
                        await client.chat.completions.create(model="gpt-4o-mini", messages=[*HELLO, *more])
                        stream = await client.chat.completions.create(**USAGE_STREAM)
                        async for _ in stream:
                            await asyncio.sleep(0)
                return block

            with track("all") as around:
                blocks = await asyncio.gather(work("a", 2), work("b", 3), work("c", 1))
            return around, blocks

    around, blocks = asyncio.run(main())
    assert [block.totals.calls for block in blocks] == [4, 6, 2]
    assert [{c.block for c in block.calls} for block in blocks] == [{"a"}, {"b"}, {"c"}]
    assert told(around) == told(meter) == (12, sum(block.totals.total_tokens for block in blocks))


def test_wrapped_client_counts_once_for_its_meter_and_the_block(stage, is_async):
    """A wrapped client counts once for its meter and once for the block around the call."""
    stage.set()
    meter = openai_meter.Meter()

    async def scenario(api):
        openai_meter.wrap(api.client, meter)
        with track("block") as block:
            await call(api)
        await call(api)
        assert (meter.totals.calls, block.totals.calls) == (2, 1)

    act(stage, scenario, is_async=is_async)
