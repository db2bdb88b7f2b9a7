"""The quick way of a call through its budgets decides as the long one does."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from openai_meter import Budget, Meter, Price
from openai_meter.budgets import admission, quick
from openai_meter.usage.endpoints import ENDPOINTS

ROWS = {row.name: row for row in reversed(ENDPOINTS)}
WORDS = ["paper", "formulaire", "\N{PILE OF POO}", "é", "", "a\nb", "tool", "\ud800", "x" * 3_000]
VALUES = [None, 0, 1, 3, 17, 10**9, True, 2.5, "auto", "flex", [], ["stop"], {}, {"a": 1}, -4]
FIELDS = [
    "max_completion_tokens", "max_tokens", "max_output_tokens", "n", "temperature", "stop", "tools", "stream",
    "service_tier", "modalities", "prediction", "previous_response_id", "reasoning", "instructions", "metadata", "user",
    "web_search_options", "background", "audio", "response_format", "prompt", "dimensions", "store",
]  # fmt: skip


def _call(meter, endpoint, model):
    row = ROWS[endpoint]
    who = SimpleNamespace(agent=None, operation=None, user="u", session=None, tags={})
    return SimpleNamespace(
        hold=None, started=0.0, row=row, listeners=(meter,), provider="openai", host="api.openai.com",
        requested_model=model, block=None, _attribution=who,
    )  # fmt: skip


def _long(call, body):
    steps = admission.admit(call, body)
    while True:
        try:
            next(steps).run()
        except StopIteration as end:
            return end.value


def _body(chance, endpoint, model):
    def text():
        return "".join(chance.choice(WORDS) for _ in range(chance.randrange(4)))

    def message():
        made = {"role": chance.choice(["user", "assistant", "system", "tool", "developer"]), "content": text()}
        if chance.random() < 0.3:
            made[chance.choice(["name", "type", "tool_call_id", "refusal", "audio", "é"])] = chance.choice(
                [*VALUES, "x"]
            )
        if chance.random() < 0.1:
            made["content"] = [{"type": "text", "text": text()}]
        return made

    field = {"chat.completions": "messages"}.get(endpoint, "input")
    body = {"model": model, field: [message() for _ in range(chance.randrange(4))]}
    if chance.random() < 0.3:
        body[field] = chance.choice([text(), None, 5, [text()], [1, 2], (message(),)])
    for _ in range(chance.randrange(4)):
        body[chance.choice(FIELDS)] = chance.choice(VALUES)
    return body


@pytest.mark.parametrize("endpoint", ["chat.completions", "responses", "embeddings"])
def test_quick_admission_holds_the_amounts_of_the_full_one(endpoint):
    """Over thousands of generated requests: the same amounts in every budget, wherever it decides."""
    chance = random.Random(endpoint)
    budgets = [Budget("usd", usd=10**6), Budget("tokens", tokens=10**15, per="user"), Budget("calls", calls=10**9)]
    meter = Meter(budgets=budgets, thresholds=False)
    meter._price_loader.load()
    quickly = 0
    for _ in range(2_500):
        model = chance.choice(["gpt-5-mini", "gpt-4o", "gpt-5", "gpt-4o-search-preview", "text-embedding-3-small"])
        body = _body(chance, endpoint, model)
        call = _call(meter, endpoint, model)
        if _long(call, body) is not None:
            assert (
                quick.quick_hold(
                    meter._budgets, meter, call.row, "openai", "api.openai.com", model, call._attribution, None, body
                )
                is None
            )
            continue
        expected = {entry.account.budget.name: entry.amount for entry in call.hold._entries}
        call.hold.release()
        found = quick.quick_hold(
            meter._budgets, meter, call.row, "openai", "api.openai.com", model, call._attribution, None, body
        )
        if found is not None:
            quickly += 1
            assert {entry.account.budget.name: entry.amount for entry in found._entries} == expected, body
            found.release()
    assert quickly > 200
    assert [view.all()[0].held for view in meter.budgets.values()] == [0, 0, 0]
    assert meter.internal_errors == 0


def test_changed_price_changes_the_held_amount():
    """A new price applies from the next call on."""
    meter = Meter(thresholds=False, budgets=[Budget("usd", usd=1)], prices={"m": Price(input=1, output=10)})
    who = SimpleNamespace(agent=None, operation=None, user=None, session=None, tags={})
    amounts = []
    for price in (1, 2):
        meter.prices.set("m", Price(input=1, output=10 * price))
        body = {"model": "m", "input": "hi", "max_output_tokens": 100}
        call = _call(meter, "responses", "m")
        assert _long(call, body) is None
        call.hold.release()
        found = quick.quick_hold(
            meter._budgets, meter, ROWS["responses"], "openai", "api.openai.com", "m", who, None, body
        )
        amounts.append(found._entries[0].amount)
        assert amounts[-1] == call.hold._entries[0].amount
        found.release()
    assert amounts[1] - amounts[0] == 1_000_000_000
