"""The rules hold on the quick path: outcomes, bytes sent and records are those of the other way."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import contract
import pytest
import routed

import openai_meter
from openai_meter.budgets.state import Budgeting
from openai_meter.core.call import Call

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
TIMED = {"id", "started_at", "duration", "time_to_first_token", "price_book"}
COMPARED = [field.name for field in fields(Call) if field.name not in TIMED]


@pytest.fixture(autouse=True)
def without_budgets(monkeypatch):
    """Once a process has had a budget, no call takes the quick path: an earlier test may have set one."""
    monkeypatch.setattr(Budgeting, "active", False)


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def record(call: Call) -> dict[str, Any]:
    """The fields of a call that do not depend on the time."""
    return {name: getattr(call, name) for name in COMPARED}


def played(api, taken, *, is_async):
    """The outcome of each shape, what it sent and its records, and the number of its plain calls."""
    found = {}
    meter = openai_meter.get_meter()

    async def play(client) -> None:
        for _ in range(2):  # calls of a kind can be plain once one of them has been priced
            for name, shape in contract.SHAPES.items():
                api.restart()
                meter.reset()
                taken.clear()
                outcome = await contract.outcome(shape, client)
                sent = [(one.method, one.path, one.query, dict(one.headers), one.body) for one in api.requests]
                if "image_edit" in name or "transcription" in name:
                    sent = [one[:2] for one in sent]  # the boundary of a multipart body is random
                found[name] = outcome, sent, [record(call) for call in meter.calls], len(taken)

    if is_async:

        async def main() -> None:
            async with routed.async_client(api) as client:
                await play(client)

        asyncio.run(main())
    else:
        with routed.sync_client(api) as client:
            contract.run(play(client))
    return found


PLAIN = {"plain", "from_iterator", "responses", "of_a_copy"}
"""The shapes whose calls are plain: whole answers with text, of requests without parsers, tools and extra bodies."""


@BOTH
def test_every_shape_is_the_same_on_both_ways(api, is_async):
    """What a program gets, what is sent, and every record are equal; plain calls are taken on the one way only."""
    bare = {name: found[0] for name, found in played(api, [], is_async=is_async).items()}
    meter = openai_meter.install(meter=routed.ready_meter())
    with routed.plain_calls() as taken:
        quick = played(api, taken, is_async=is_async)
        with routed.no_quick_path():
            other = played(api, taken, is_async=is_async)
    for name in contract.SHAPES:
        for one, two in zip(quick[name][:-1], other[name][:-1], strict=True):
            assert one == two, name
        assert quick[name][0] == bare[name], name
    assert {name for name, found in quick.items() if found[-1]} == PLAIN
    assert not any(found[-1] for found in other.values())
    assert meter.internal_errors == 0
