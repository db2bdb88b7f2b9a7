"""Turns over WebSockets under budgets: refused before they are sent, and settled by their records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import websocket_server as on
from contract import got, inside
from websocket_server import CLIENTS, HEAR, REALTIME, RESPONSES, Stage

import openai_meter
from openai_meter import Budget, BudgetExceededError

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning"),
]
EACH = pytest.mark.parametrize("kind", CLIENTS, ids=["sync", "async"])
USAGE = {"input_tokens": 40, "output_tokens": 10, "total_tokens": 50}


@pytest.fixture
def stage() -> Iterator[Stage]:
    with on.stage() as made:
        yield made


def install(*budgets):
    return openai_meter.install(meter=openai_meter.Meter(), budgets=list(budgets), hosts={"127.0.0.1": "openai"})


def turn(way):
    done = "response.done" if way is REALTIME else "response.completed"
    answer = {"id": "resp_1", "status": "completed", "model": "gpt-4o-mini", "output": [], "usage": USAGE}
    return [HEAR, {"type": "response.created", "response": {"id": "resp_1"}}, {"type": done, "response": answer}]


def request(way, connection):
    if way is REALTIME:
        return connection.response.create()
    return connection.response.create(model="gpt-4o-mini", input="Hi", max_output_tokens=50)


@EACH
@pytest.mark.parametrize("way", [REALTIME, RESPONSES], ids=["realtime", "responses"])
def test_turn_over_the_budget_is_not_sent_and_the_connection_stays_open(stage, kind, way):
    """The first turn is spent by its record; the second is not sent, and the connection goes on."""
    meter = install(Budget("turns", calls=1), Budget("tokens", tokens=10**6))
    stage.script = [*turn(way), HEAR, {"type": "session.updated", "session": {}}]

    async def talk():
        async with inside(way(stage.client(kind))) as connection:
            await got(request(way, connection))
            assert meter.budgets["turns"].held == 1
            for _ in range(2):
                await got(connection.recv())
            with pytest.raises(BudgetExceededError, match="turns"):
                await got(request(way, connection))
            await got(connection.send({"type": "session.update", "session": {}}))
            await got(connection.recv())  # the server has it

    asyncio.run(talk())
    assert [message["type"] for message in stage.heard] == ["response.create", "session.update"]
    assert [call.usage.total_tokens for call in meter.calls] == [50]
    for name, spent in (("turns", 1), ("tokens", 50)):
        assert (meter.budgets[name].spent, meter.budgets[name].held) == (spent, 0)


@EACH
def test_turn_is_sent_unchanged_or_refused(stage, kind):
    """A message of a connection is sent as it is, or not at all."""
    install(Budget("tokens", tokens=100, when_spent="clamp"))

    async def talk():
        async with inside(RESPONSES(stage.client(kind))) as connection:
            with pytest.raises(BudgetExceededError):
                await got(connection.response.create(model="gpt-4o-mini", input="Hi", max_output_tokens=5_000))

    asyncio.run(talk())
    assert stage.heard == []
