"""What happens to a call that does not fit: it waits, is shortened, or goes to another model."""

from __future__ import annotations

import asyncio
import json
import threading
from decimal import Decimal

import contract
import pytest

import openai_meter
from openai_meter import Budget, BudgetExceededError, ConfigurationError, Price
from openai_meter.testing import fake_async_client, fake_client

PRICES = {"gpt-5-mini": Price(input=1, output=10), "gpt-6-luna": Price(input="0.1", output="0.5")}
HELLO = [{"role": "user", "content": "Bonjour"}]


def install(*budgets):
    return openai_meter.install(meter=openai_meter.Meter(), budgets=list(budgets), prices=PRICES, stream_usage="always")


def ask(client, limit=200, model="gpt-5-mini", **more):
    return client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=limit, **more)


def recorded(**settings):
    """A client, and the bodies of its requests."""
    sent = []
    return fake_client(lambda request: sent.append(request.json()), **settings), sent


# --- wait -------------------------------------------------------------------------------------------------------------


def test_waiting_call_is_sent_when_another_ends():
    """A call that does not fit waits for the hold of a stream that is being read."""
    meter = install(Budget("tokens", tokens=600, when_spent="wait", max_wait=60))
    client = fake_client(input_tokens=10, output_tokens=20)
    stream = ask(client, limit=300, stream=True)
    done = threading.Event()

    def later():
        ask(client, limit=300)
        done.set()

    thread = threading.Thread(target=later)
    thread.start()
    assert not done.is_set()
    list(stream)
    thread.join(60)
    assert done.is_set()
    assert (meter.budgets["tokens"].spent, meter.budgets["tokens"].held) == (60, 0)


def test_call_that_waited_too_long_is_refused():
    """After ``max_wait`` seconds the call is refused as any other."""
    install(Budget("calls", calls=0, when_spent="wait", max_wait=0.01))
    with pytest.raises(BudgetExceededError):
        ask(fake_client())


def test_waiting_async_call_does_not_block_the_event_loop():
    """While a call of an async client waits, other tasks run; the end of one of them admits the call."""
    install(Budget("tokens", tokens=600, when_spent="wait"))
    client = fake_async_client(input_tokens=10, output_tokens=20)

    async def main():
        stream = await ask(client, limit=300, stream=True)
        waiting = asyncio.create_task(ask(client, limit=300))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
        async for _ in stream:
            pass
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(main()).usage.total_tokens == 30


def test_waiting_call_is_admitted_in_the_next_window(monkeypatch):
    """When the window turns, the call is admitted by the new one."""
    from openai_meter.budgets import admission, guard
    from openai_meter.instrumentation import budget_gate

    now = [1_800_000_030.0]

    class Clock:
        @staticmethod
        def time():
            return now[0]

        @staticmethod
        def sleep(seconds):
            now[0] += seconds

    for module in (admission, guard, budget_gate):
        monkeypatch.setattr(module, "time", Clock)
    install(Budget("minute", calls=1, every="minute", when_spent="wait", max_wait=60))
    ask(fake_client())
    ask(fake_client())
    assert 1_800_000_060 <= now[0] < 1_800_000_061
    with pytest.raises(BudgetExceededError):
        now[0] -= 60  # the clock is set back: the window of now goes on
        install(Budget("minute", calls=0, every="minute", when_spent="wait", max_wait=5))
        ask(fake_client())


# --- clamp ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [{"tokens": 1_000}, {"usd": "0.005"}])
def test_clamp_lowers_the_output_limit_to_the_rest_of_the_budget(budget):
    """The limit that is sent makes the call fit; it is never raised, and the dict of the program stays unchanged."""
    meter = install(Budget("b", **budget, when_spent="clamp"))
    client, sent = recorded(input_tokens=10, output_tokens=20)
    extra = {"max_completion_tokens": 5_000}
    ask(client, limit=100)
    ask(client, limit=5_000)
    client.chat.completions.create(model="gpt-5-mini", messages=HELLO, extra_body=extra)
    client.responses.create(model="gpt-5-mini", input="Bonjour")
    limits = [body.get("max_completion_tokens", body.get("max_output_tokens")) for body in sent]
    assert limits[0] == 100
    assert all(100 < limit < 1_000 for limit in limits[1:])
    assert extra == {"max_completion_tokens": 5_000}
    assert meter.budgets["b"].overdrawn == 0
    for _ in range(200):
        try:
            ask(client, limit=5_000)
        except BudgetExceededError:
            break
    else:
        pytest.fail("the budget is never spent")
    assert meter.budgets["b"].left >= 0


def test_clamped_stream_is_sent_again_without_include_usage():
    """Where a host refuses ``include_usage``, the request is sent again with the lowered limit."""
    bodies = []

    def answer(request):
        body = json.loads(request.content)
        bodies.append(body)
        if "stream_options" in body:
            error = {"message": "Unknown parameter: stream_options", "param": "stream_options"}
            return contract.http_library().Response(400, json={"error": error})
        return contract.http_library().Response(
            200, content=b"".join(contract.chunk_bodies()), headers={"content-type": "text/event-stream"}
        )

    install(Budget("tokens", tokens=1_000, when_spent="clamp"))
    with contract.in_process(answer) as client:
        list(ask(client, limit=5_000, stream=True))
    assert len(bodies) == 2
    assert bodies[0]["max_completion_tokens"] == bodies[1]["max_completion_tokens"] < 1_000


# --- degrade ----------------------------------------------------------------------------------------------------------


def test_degraded_call_uses_the_other_model_and_records_both():
    """The cheaper model is sent; the record has the requested model and the one that answered."""
    meter = install(Budget("usd", usd="0.003", when_spent="degrade", to={"gpt-5-mini": "gpt-6-luna"}))
    client, sent = recorded(input_tokens=50, output_tokens=100)
    for _ in range(3):
        ask(client)
    assert [body["model"] for body in sent] == ["gpt-5-mini", "gpt-6-luna", "gpt-6-luna"]
    call = meter.calls[-1]
    assert (call.requested_model, call.model.startswith("gpt-6-luna")) == ("gpt-5-mini", True)
    assert call.cost == Decimal("0.000055")
    assert meter.budgets["usd"].spent == Decimal("0.00105") + 2 * Decimal("0.000055")
    for _ in range(40):
        try:
            ask(client)
        except BudgetExceededError:
            break
    else:
        pytest.fail("the budget is never spent")
    assert meter.budgets["usd"].overdrawn == 0


def test_model_without_a_substitute_is_refused():
    """A model that is not in ``to`` is refused when the budget is spent."""
    install(Budget("usd", usd=0, when_spent="degrade", to={"gpt-5-mini": "gpt-6-luna"}))
    with pytest.raises(BudgetExceededError):
        ask(fake_client(), model="gpt-6-luna")


@pytest.mark.parametrize(
    "settings",
    [
        {"when_spent": "degrade"},
        {"to": {"a": "b"}},
        {"when_spent": "degrade", "to": {"a": 3}},
        {"when_spent": "wait", "max_wait": -1},
        {"when_spent": "wait", "max_wait": float("inf")},
    ],
)
def test_incomplete_when_spent_settings_raise(settings):
    """``degrade`` needs ``to``, and ``to`` needs ``degrade``; a wait needs a limit."""
    with pytest.raises(ConfigurationError, match="Budget"):
        Budget("b", usd=1, **settings)
