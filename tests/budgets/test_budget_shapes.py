"""Every way to call, under a budget: the same as without one while it lasts, and not sent when it is spent."""

from __future__ import annotations

import asyncio
import gc
import re

import contract
import openai
import pytest

import openai_meter
from openai_meter import Budget, BudgetExceededError

pytestmark = pytest.mark.sdk
NEVER_ADMITTED = frozenset({"models", "wrong_argument"})
"""Shapes that are free, or do not reach the seam."""


@pytest.fixture(scope="module")
def api():
    with contract.Api() as server:
        yield server


each_client = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def sent_to(api):
    """The bodies of the requests; the boundaries of multipart bodies are drawn anew for each."""
    return [re.sub(rb"--[0-9a-f]{32}", b"--boundary", request.body) for request in api.requests]


def play(shape, api, is_async, how=contract.outcome):
    """Plays a shape with a client of its own, which is closed in the event loop that it was used in."""

    async def whole():
        async with contract.async_client(api) as client:
            return await how(contract.SHAPES[shape], client)

    if is_async:
        return asyncio.run(whole())
    with contract.sync_client(api) as client:
        return contract.run(how(contract.SHAPES[shape], client))


def called(shape, client):
    return shape(client)


@each_client
@pytest.mark.parametrize("shape", contract.SHAPES)
def test_shape_is_the_same_under_a_budget_and_leaves_nothing_held(shape, is_async, api):
    """The program and the server see what they see with the bare SDK; afterwards nothing is held."""
    api.restart()
    bare, sent = play(shape, api, is_async), sent_to(api)
    api.restart()
    meter = openai_meter.install(
        meter=openai_meter.Meter(),
        stream_usage="never",
        budgets=[Budget("usd", usd=10_000, unpriced="allow"), Budget("tokens", tokens=10**12), Budget("n", calls=999)],
    )
    assert play(shape, api, is_async) == bare
    assert sent_to(api) == sent
    gc.collect()  # streams that the shape has dropped
    for status in (view.all()[0] for view in meter.budgets.values()):
        assert status.held == 0, status
        assert status.refused == 0
    assert meter.budgets["n"].spent == meter.totals.calls
    assert meter.budgets["tokens"].spent >= meter.totals.total_tokens


@each_client
@pytest.mark.parametrize("shape", [name for name in contract.SHAPES if name not in NEVER_ADMITTED])
def test_shape_is_not_sent_when_the_budget_is_spent(shape, is_async, api):
    """The program gets BudgetExceededError where it called, and the server sees no request."""
    openai_meter.install(meter=openai_meter.Meter(), budgets=[Budget("spent", calls=0)])
    api.restart()
    with pytest.raises(BudgetExceededError):
        play(shape, api, is_async, called)
    assert api.requests == []


WORK = {
    "batch": lambda client: client.batches.create(
        input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"
    ),
    "background": lambda client: client.responses.create(model="gpt-5-mini", input="hi", background=True),
    "video": lambda client: client.videos.create(prompt="a form on paper", model="sora-2", seconds="4"),
    "training": lambda client: client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1"),
    "evaluation": lambda client: client.evals.runs.create("eval-1", data_source={"type": "jsonl"}),
}
"""Work on the server that is paid for when it is done."""


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
@each_client
@pytest.mark.parametrize("kind", WORK)
def test_work_on_the_server_is_not_sent_when_the_budget_is_spent(kind, is_async, api):
    """It is refused before a byte is sent."""
    name = {"video": "videos", "evaluation": "evals"}.get(kind)
    if name is not None and not hasattr(openai.OpenAI, name):
        pytest.skip(f"this version of openai has no {name}")
    openai_meter.install(meter=openai_meter.Meter(), budgets=[Budget("spent", calls=0)])
    api.restart()

    async def asked():
        async with contract.async_client(api) as client:
            await WORK[kind](client)

    with pytest.raises(BudgetExceededError):
        if is_async:
            asyncio.run(asked())
        else:
            with contract.sync_client(api) as client:
                WORK[kind](client)
    assert api.requests == []
