"""Calls under budgets: what is admitted, what is refused before it is sent, and what is settled when a call ends."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import contract
import openai
import pytest

import openai_meter
from openai_meter import Budget, BudgetExceededError, MeterError, Price
from openai_meter.core import faults
from openai_meter.testing import fake_async_client, fake_client

PRICE = {"gpt-5-mini": Price(input=1, output=10), "gpt-6-luna": Price(input="0.1", output="0.5")}
HELLO = [{"role": "user", "content": "Bonjour"}]


def ask(client, model="gpt-5-mini", limit=200, **more):
    return client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=limit, **more)


def install(*budgets, **settings):
    return openai_meter.install(meter=openai_meter.Meter(), budgets=list(budgets), prices=PRICE, **settings)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_refused_call_is_not_sent_and_raises_an_error_of_openai():
    """The server gets no request; the error is a class of openai and of ours, and has all figures of the decision."""
    sent = []
    client = fake_client(lambda request: sent.append(request), input_tokens=50, output_tokens=200)
    meter = install(Budget("prod", usd="0.005", every="day", timezone="Europe/Paris"))
    ask(client)
    ask(client)
    with pytest.raises(openai.OpenAIError) as caught:
        ask(client)
    error = caught.value
    assert isinstance(error, BudgetExceededError)
    assert isinstance(error, MeterError)
    assert len(sent) == 2
    assert (error.budget, error.key, error.reason) == ("prod", None, "spent")
    assert (error.limit, error.spent, error.held) == (Decimal("0.005"), Decimal("0.0041"), 0)
    assert Decimal("0.0009") < error.asked < Decimal("0.003")
    assert error.resets_at == meter.budgets["prod"].resets_at > datetime.now(UTC)
    assert meter.totals.calls == 2
    assert not meter.pending
    assert meter.budgets["prod"].refused == 1


def test_error_message_has_two_languages_and_survives_pickling():
    """The message has the name, the amounts and the time of the next start; a pickle keeps all of it."""
    install(Budget("prod", calls=0, every="month"))
    with pytest.raises(BudgetExceededError) as caught:
        ask(fake_client())
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value) == error.message("en")
    for part in ("prod", "limit 0 calls", "needs up to 1 call", "starts again at"):
        assert part in error.message("en")
    for part in ("prod", "limite 0 appel", "n'a pas été envoyé", "recommence le"):
        assert part in error.message("fr")
    assert (error.budget, error.limit, error.resets_at) == ("prod", 0, caught.value.resets_at)


def test_sdk_does_not_try_a_refused_call_again():
    """However many retries a client has, a refusal is one."""
    meter = install(Budget("none", calls=0))
    client = fake_client().with_options(max_retries=5)
    with pytest.raises(BudgetExceededError):
        ask(client)
    assert meter.budgets["none"].refused == 1


def test_all_budgets_admit_a_call_or_none_holds_anything():
    """A call that the second budget refuses leaves no trace in the first."""
    meter = install(Budget("wide", calls=10), Budget("narrow", tokens=500))
    ask(fake_client(input_tokens=10, output_tokens=20), limit=100)
    with pytest.raises(BudgetExceededError, match="narrow"):
        ask(fake_client(), limit=1_000)
    assert (meter.budgets["wide"].spent, meter.budgets["wide"].held) == (1, 0)
    assert (meter.budgets["narrow"].spent, meter.budgets["narrow"].held) == (30, 0)


# --- which calls ------------------------------------------------------------------------------------------------------


def test_each_value_of_a_dimension_has_its_own_limit():
    """The calls of one user do not reduce the budget of another; calls without a user share one budget."""
    meter = install(Budget("per user", calls=1, per="user"), Budget("per team", calls=2, per="tag:team"))
    client = fake_client()
    for user in ("u-1", "u-2"):
        with openai_meter.tag(user=user, team="forms"):
            ask(client)
    with openai_meter.tag(user="u-1"), pytest.raises(BudgetExceededError) as caught:
        ask(client)
    assert (caught.value.budget, caught.value.key) == ("per user", "u-1")
    with openai_meter.tag(user="u-3", team="forms"), pytest.raises(BudgetExceededError, match="per team"):
        ask(client)
    ask(client)
    with pytest.raises(BudgetExceededError, match="unattributed"):
        ask(client)
    users = meter.budgets["per user"]
    assert set(users) == {"u-1", "u-2", "u-3", "(unattributed)"}
    assert (users["u-1"].spent, users["u-1"].left, users["u-3"].spent) == (1, 0, 0)
    assert users["nobody yet"].left == 1
    assert [status.key for status in users.all()] == list(users)
    with pytest.raises(AttributeError, match="per user"):
        users.spent  # noqa: B018


def test_budget_with_a_filter_counts_matching_calls_only():
    """A filter is by agent, by model with its snapshots, or by several values."""
    meter = install(
        Budget("nightly", calls=1, match={"agent": "nightly"}),
        Budget("dear", calls=1, match={"model": ["gpt-5-mini", "gpt-5"]}),
    )
    client = fake_client()
    ask(client, model="gpt-6-luna")
    with openai_meter.tag(agent="nightly"):
        ask(client, model="gpt-6-luna")
        with pytest.raises(BudgetExceededError, match="nightly"):
            ask(client, model="gpt-6-luna")
    ask(client, model="gpt-5-mini-2025-08-07")
    with pytest.raises(BudgetExceededError, match="dear"):
        ask(client, model="gpt-5-mini")
    assert meter.totals.calls == 3


def test_model_without_a_price_is_refused_by_dollar_budgets_only():
    """A dollar budget refuses an unknown price, unless it has ``unpriced="allow"``; token budgets need no price."""
    install(Budget("usd", usd=5), Budget("tokens", tokens=10**6))
    with pytest.raises(BudgetExceededError) as caught:
        ask(fake_client(), model="my-own-model")
    assert (caught.value.reason, caught.value.budget) == ("unpriced", "usd")
    assert 'install(prices={"my-own-model"' in str(caught.value)
    meter = install(Budget("usd", usd=5, unpriced="allow"), Budget("tokens", tokens=10**6))
    ask(fake_client(input_tokens=10, output_tokens=20), model="my-own-model")
    assert meter.budgets["tokens"].spent == 30


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_refusal_of_a_call_through_an_unknown_host_names_the_setting(lang):
    """The prices of a proxy are not known until its host is named; the error has the line that does it."""
    proxied = fake_client().with_options(base_url="http://llm-proxy.internal/v1")
    install(Budget("usd", usd=5))
    with pytest.raises(BudgetExceededError) as caught:
        ask(proxied, model="gpt-4o-mini")
    assert "install(hosts={'llm-proxy.internal': 'openai'})" in caught.value.refusal.message(lang)
    meter = install(Budget("usd", usd=5), hosts={"llm-proxy.internal": "openai"})
    ask(proxied, model="gpt-4o-mini")
    assert (meter.totals.calls, meter.totals.errors) == (1, 0)


def test_call_without_a_bound_is_refused_by_strict_budgets_only():
    """Other budgets hold the most that such calls have cost so far."""

    def answer(_):
        usage = {"input_tokens": 100_000, "output_tokens": 20, "total_tokens": 100_020}
        body = {"id": "resp_2", "object": "response", "model": "gpt-5-mini", "status": "completed", "output": [],
                "usage": usage, "created_at": 1}  # fmt: skip
        return contract.http_library().Response(200, json=body)

    def go_on(client):
        client.responses.create(model="gpt-5-mini", input="on", previous_response_id="resp_1", max_output_tokens=9)

    with contract.in_process(answer) as client:
        install(Budget("usd", usd=5, strict=True))
        with pytest.raises(BudgetExceededError, match="previous_response_id") as caught:
            go_on(client)
        assert caught.value.reason == "unbounded"
        install(Budget("usd", usd="0.25"))
        with openai_meter.tag(agent="one that goes on"):
            go_on(client)
            go_on(client)
            with pytest.raises(BudgetExceededError) as caught:
                go_on(client)
    assert caught.value.asked == Decimal("0.1002")


def test_spent_budget_with_warn_sends_the_call_and_counts_it(caplog):
    """Nothing is refused: the overdraft is logged once, counted and shown."""
    meter = install(Budget("shadow", tokens=100, when_spent="warn"))
    with caplog.at_level("WARNING", "openai_meter"):
        for _ in range(3):
            ask(fake_client(input_tokens=60, output_tokens=20))
    status = meter.budgets["shadow"]
    assert (status.spent, status.held, status.overdrawn, status.left) == (240, 0, 140, 0)
    assert status.refused == 3
    assert status.refused_amount > 600
    assert sum("when_spent=warn" in record.getMessage() for record in caplog.records) == 1


def test_prompt_is_counted_in_tokens_where_its_bytes_exceed_the_limit():
    """Where the bytes of the prompt do not fit, its tokens are counted."""
    text = "How do we get rid of the paper forms? " * 100
    install(Budget("tokens", tokens=1_500))
    client = fake_client(input_tokens=900, output_tokens=10)
    client.responses.create(model="gpt-5-mini", input=text, max_output_tokens=50)
    with pytest.raises(BudgetExceededError):
        client.responses.create(model="gpt-5-mini", input=text, max_output_tokens=50)


# --- how a call ends --------------------------------------------------------------------------------------------------


def test_hold_lasts_until_the_stream_ends():
    """While a stream is read, its bound is held; at its end, its exact cost is spent."""
    meter = install(Budget("usd", usd=1))
    stream = ask(fake_client(input_tokens=50, output_tokens=20), stream=True)
    next(stream)
    held = meter.budgets["usd"].held
    assert held > Decimal("0.002")
    assert meter.budgets["usd"].left == 1 - held
    list(stream)
    assert (meter.budgets["usd"].held, meter.budgets["usd"].spent) == (0, meter.cost)


def test_abandoned_stream_is_settled_at_the_cost_of_its_record():
    """A stream that is not read to its end costs what the record estimates; nothing stays held."""
    meter = install(Budget("usd", usd=1))
    stream = ask(fake_client(input_tokens=50, output_tokens=20), stream=True)
    next(stream)
    stream.close()
    del stream
    gc.collect()
    status = meter.budgets["usd"]
    assert (status.held, status.spent) == (0, meter.cost)


def test_rejected_request_is_free_and_timed_out_request_stays_charged():
    """A request that the API rejects is free; one that timed out may have been billed, so its hold stays charged and is
    marked.
    """

    def answer(request):
        if request.headers.get("x-case") == "timeout":
            raise contract.http_library().ReadTimeout("slow", request=request)
        return contract.http_library().Response(429, json={"error": {"message": "no"}})

    meter = install(Budget("usd", usd=1), Budget("calls", calls=10))
    with contract.in_process(answer) as client:
        client = client.with_options(max_retries=0)
        with pytest.raises(openai.RateLimitError):
            ask(client)
        assert (meter.budgets["usd"].spent, meter.budgets["usd"].held) == (0, 0)
        with pytest.raises(openai.APITimeoutError):
            ask(client, extra_headers={"x-case": "timeout"})
    status = meter.budgets["usd"]
    assert status.held == 0
    assert status.spent == status.uncertain > Decimal("0.002")
    assert meter.budgets["calls"].spent == 2


def test_request_that_was_not_sent_gives_its_hold_back():
    """A request that cannot be written costs nothing."""
    meter = install(Budget("usd", usd=1))
    with pytest.raises(TypeError):
        ask(fake_client(), metadata={"note": object()})
    assert (meter.budgets["usd"].spent, meter.budgets["usd"].held) == (0, 0)


def test_overdraft_is_shown_and_stops_later_calls():
    """A call that costs more than its bound, as a host may return any usage, is charged in full."""
    meter = install(Budget("tokens", tokens=1_000))
    client = fake_client(input_tokens=5_000, output_tokens=10)
    ask(client)
    status = meter.budgets["tokens"]
    assert (status.spent, status.overdrawn, status.left) == (5_010, 4_010, 0)
    assert status.share == pytest.approx(5.01)
    with pytest.raises(BudgetExceededError):
        ask(client, limit=1)


def test_manual_call_counts_for_the_budget():
    """A call that a program records itself is spent, and stops the calls after it."""
    meter = install(Budget("usd", usd="0.01"))
    meter.track_call("gpt-5-mini", 1_000, 900)
    assert meter.budgets["usd"].spent == Decimal("0.01")
    with pytest.raises(BudgetExceededError):
        ask(fake_client())


def test_background_work_is_held_until_it_is_read_as_finished():
    """A background response holds its bound through the polls, and is settled once."""
    meter = install(Budget("usd", usd=1))
    states = iter(["queued", "in_progress", "completed", "completed"])

    def answer(request):
        state = next(states)
        usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30} if state == "completed" else None
        body = {"id": "resp_1", "object": "response", "model": "gpt-5-mini", "status": state, "output": [],
                "usage": usage, "created_at": 1, "background": True}  # fmt: skip
        return contract.http_library().Response(200, json=body)

    with contract.in_process(answer) as client:
        client.responses.create(model="gpt-5-mini", input="hi", background=True, max_output_tokens=100)
        assert meter.budgets["usd"].held > Decimal("0.001")
        client.responses.retrieve("resp_1")
        assert (meter.budgets["usd"].spent, meter.budgets["usd"].held > 0) == (0, True)
        client.responses.retrieve("resp_1")
        client.responses.retrieve("resp_1")
    assert (meter.budgets["usd"].spent, meter.budgets["usd"].held) == (Decimal("0.00021"), 0)


# --- windows ----------------------------------------------------------------------------------------------------------


def test_budget_starts_again_with_the_next_window(monkeypatch):
    """The window is a part of the key: nothing is reset at its end, and a hold is settled in the window
    where it began."""
    from openai_meter.budgets import admission, guard

    now = [datetime(2026, 3, 28, 22, 59, tzinfo=UTC).timestamp()]  # a minute before midnight in Paris

    class Clock:
        @staticmethod
        def time():
            return now[0]

    monkeypatch.setattr(admission, "time", Clock)
    monkeypatch.setattr(guard, "time", Clock)
    meter = install(Budget("day", calls=1, every="day", timezone="Europe/Paris"))
    stream = ask(fake_client(), stream=True)
    assert meter.budgets["day"].resets_at == datetime(2026, 3, 28, 23, tzinfo=UTC)
    with pytest.raises(BudgetExceededError):
        ask(fake_client())
    now[0] += 120
    ask(fake_client())
    list(stream)
    status = meter.budgets["day"]
    assert (status.spent, status.held) == (1, 0)
    # The day on which clocks go forward has 23 hours.
    assert status.resets_at - status.starts_at == timedelta(hours=23)


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_run_budget_is_a_block_that_nests():
    """Calls need both budgets; each block has its own totals, and calls keep the name of the ``track()`` block."""
    client = fake_client(input_tokens=10, output_tokens=20)
    with openai_meter.track("nightly") as tracked, openai_meter.budget(calls=3) as outer:
        ask(client)
        with openai_meter.budget("inner", calls=1) as inner:
            ask(client)
            with pytest.raises(BudgetExceededError, match="inner"):
                ask(client)
        ask(client)
        with pytest.raises(BudgetExceededError, match="run"):
            ask(client)
    assert [call.block for call in tracked.calls] == ["nightly"] * 3
    assert (outer.budget.spent, inner.budget.spent, outer.totals.calls) == (3, 1, 3)
    ask(client)
    assert outer.budget.spent == 3


def test_decorated_function_has_the_whole_budget_in_each_call():
    """Functions, coroutine functions and generators alike."""
    client, asynchronous = fake_client(), fake_async_client()

    @openai_meter.budget(calls=1)
    def run(times):
        for _ in range(times):
            ask(client)

    @openai_meter.budget(calls=1)
    async def run_async(times):
        for _ in range(times):
            await ask(asynchronous)

    @openai_meter.budget(calls=1)
    def steps(times):
        for _ in range(times):
            yield ask(client)

    for _ in range(2):
        run(1)
        asyncio.run(run_async(1))
        assert len(list(steps(1))) == 1
    for work in (lambda: run(2), lambda: asyncio.run(run_async(2)), lambda: list(steps(2))):
        with pytest.raises(BudgetExceededError):
            work()


def test_run_budget_follows_tasks():
    """Tasks that are begun in the block share its budget."""

    async def main():
        client = fake_async_client()
        async with openai_meter.budget(calls=5) as run:
            done = await asyncio.gather(*(ask(client) for _ in range(8)), return_exceptions=True)
        return run, done

    run, done = asyncio.run(main())
    assert sum(isinstance(one, BudgetExceededError) for one in done) == 3
    assert (run.budget.spent, run.budget.held) == (5, 0)


# --- many at once -----------------------------------------------------------------------------------------------------


def test_threads_never_spend_more_than_the_limit():
    """Thirty-two threads: every call that was admitted fits, all is settled, and nearly all of the budget is used."""
    meter = install(Budget("usd", usd="0.30"), Budget("calls", calls=400))
    client = fake_client(input_tokens=50, output_tokens=20)
    counts = {"sent": 0, "refused": 0}
    lock = threading.Lock()

    def work(_):
        try:
            ask(client, limit=20)
        except BudgetExceededError:
            result = "refused"
        else:
            result = "sent"
        with lock:
            counts[result] += 1

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(1_400)))
    status = meter.budgets["calls"]
    assert (counts["sent"], counts["refused"]) == (400, 1_000)
    assert (status.spent, status.held, status.left, status.overdrawn) == (400, 0, 0, 0)
    assert meter.budgets["usd"].spent == meter.cost == 400 * Decimal("0.00025")
    assert meter.budgets["usd"].held == 0


# --- faults of ours ---------------------------------------------------------------------------------------------------


def test_fault_of_the_meter_follows_the_setting(monkeypatch):
    """By default the call is sent, and the fault counted; with ``on_fault="refuse"`` it is refused."""
    from openai_meter.budgets import admission

    def broken(*_, **__):
        raise ArithmeticError

    monkeypatch.setattr(admission, "bound_of", broken)
    faults.reraise = False
    meter = install(Budget("open", usd=1))
    ask(fake_client())
    assert meter.internal_errors == 1
    install(Budget("open", usd=1), Budget("closed", usd=1, on_fault="refuse"))
    with pytest.raises(BudgetExceededError) as caught:
        ask(fake_client())
    assert (caught.value.budget, caught.value.reason) == ("closed", "fault")


def test_error_and_status_contain_no_text_of_a_prompt():
    """Neither the error nor the status has a word of the prompt."""
    meter = install(Budget("usd", usd=0))
    with pytest.raises(BudgetExceededError) as caught:
        ask(fake_client(), metadata={"note": "a secret note"})
    kept = str(caught.value) + repr(vars(caught.value)) + json.dumps(meter.budgets["usd"].all()[0].to_dict())
    assert "Bonjour" not in kept
    assert "secret" not in kept
