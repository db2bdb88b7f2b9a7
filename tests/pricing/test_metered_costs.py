"""Costs of metered calls: priced as they end, explained, priced again, and summed exactly."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from openai import OpenAI, OpenAIError

import openai_meter
from openai_meter import Meter, Price
from openai_meter.testing.fake_api.loopback import Answer, Request
from openai_meter.testing.fake_api.server import DemoServer

HOSTS = {"127.0.0.1": "openai"}
MESSAGES: Any = [{"role": "user", "content": "Bonjour"}]


def chat_body(model: str, tokens_in: int = 1000, tokens_out: int = 500, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Bonjour."}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
            "usage": usage | more.pop("usage", {}), **more}  # fmt: skip


def answering(*bodies: dict[str, Any]) -> Any:
    """An API that gives these answers, the last one for ever."""
    left = list(bodies)

    def answer(_: Request) -> Answer:
        body = left.pop(0) if len(left) > 1 else left[0]
        return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode())

    return answer


@pytest.fixture
def api() -> Iterator[Any]:
    """A client of an API that answers what a test says."""
    opened = []

    def make(*bodies: dict[str, Any]) -> OpenAI:
        server = DemoServer(answering(*bodies) if bodies else None).__enter__()
        client = OpenAI(base_url=server.base_url, api_key="demo", max_retries=0)
        opened.append((client, server))
        return client

    yield make
    for client, server in opened:
        client.close()
        server.close()


def ask(client: OpenAI, model: str = "gpt-4o-mini") -> None:
    client.chat.completions.create(model=model, messages=MESSAGES)


def test_call_has_its_exact_cost(api: Any) -> None:
    """3,245 and 1,892 tokens of gpt-4o-mini are $0.00162195, in the record, in all totals and on the bill."""
    meter = openai_meter.install(hosts=HOSTS)
    with openai_meter.track("block") as block:
        ask(api(chat_body("gpt-4o-mini", 3245, 1892)))
    call = meter.calls[0]
    exact = Decimal("0.00162195")
    assert (call.cost, call.cost_status, call.cost_reason) == (exact, "priced", None)
    assert call.price_source is not None
    assert call.price_source.startswith("genai-prices ")
    assert meter.cost == meter.totals.cost == meter.by("model")["gpt-4o-mini"].cost == block.cost == exact
    assert block.calls == meter.calls
    assert sum(line.usd for line in meter.explain(call.id)) == exact
    assert [(line.item, line.quantity) for line in call.cost_lines] == [("input", 3245), ("output", 1892)]
    assert "$0.00162" in meter.summary()


def test_call_is_priced_by_the_served_tier(api: Any) -> None:
    """A request for the fast tier that is answered as ``priority`` has that price, and a downgraded one does not."""
    meter = openai_meter.install(hosts=HOSTS)
    bodies = [chat_body("gpt-5.4-mini", service_tier=tier) for tier in ("priority", "default", "flex", "auto")]
    client = api(*bodies)
    for _ in bodies:
        ask(client)
    costs = [Decimal("0.006"), Decimal("0.003"), Decimal("0.0015"), Decimal("0.003")]
    assert [call.cost for call in meter.calls] == costs
    assert [call.cost_estimated for call in meter.calls] == [False, False, False, True]
    assert (meter.totals.cost, meter.totals.estimated_cost) == (sum(costs), costs[-1])


def test_window_of_a_request_lowers_the_price(api: Any) -> None:
    """The window of a background response is in its request only; it makes the tokens cheaper."""
    meter = openai_meter.install(hosts=HOSTS)
    usage = {"input_tokens": 10_000, "output_tokens": 1_000, "total_tokens": 11_000}
    answer = {"id": "resp_1", "object": "response", "model": "gpt-6.2-sol", "status": "completed", "output": [],
              "background": True, "service_tier": "default", "usage": usage}  # fmt: skip
    client = api(answer)
    client.responses.create(
        model="gpt-6.2-sol", input="x", background=True, extra_body={"background_options": {"completion_window": "2h"}}
    )
    assert meter.calls[0].cost == Decimal("0.021")


def test_polled_response_is_priced_by_its_first_request(api: Any) -> None:
    """A response that is polled until it is finished is priced by the window that only its first request has."""
    meter = openai_meter.install(hosts=HOSTS)
    usage = {"input_tokens": 10_000, "output_tokens": 1_000, "total_tokens": 11_000}
    queued = {"id": "resp_1", "object": "response", "model": "gpt-6.2-sol", "status": "queued", "output": [],
              "background": True, "service_tier": "default", "usage": None}  # fmt: skip
    client = api(queued, queued, {**queued, "status": "completed", "usage": usage})
    window = {"background_options": {"completion_window": "8h"}}
    client.responses.create(model="gpt-6.2-sol", input="x", background=True, extra_body=window)
    for _ in range(4):
        client.responses.retrieve("resp_1")
    assert [call.cost for call in meter.calls] == [Decimal("0.018")]


def test_answer_that_raises_in_the_program_is_paid_for(api: Any) -> None:
    """An error after the answer has the cost of the answer; without usage it has an estimate, and is not free."""
    meter = openai_meter.install(hosts=HOSTS)
    cut = {**chat_body("gpt-4o-mini", 3245, 1892)}
    cut["choices"] = [{**cut["choices"][0], "finish_reason": "length"}]
    client = api(cut, {**cut, "usage": None})
    for _ in range(2):
        with pytest.raises(OpenAIError):
            client.chat.completions.parse(model="gpt-4o-mini", messages=MESSAGES)
    assert [(call.status, call.error_type) for call in meter.calls] == [("error", "LengthFinishReasonError")] * 2
    reported, estimated = meter.calls
    assert (reported.cost, reported.cost_estimated) == (Decimal("0.00162195"), False)
    usage = estimated.usage
    assert estimated.cost == (usage.input_tokens * Decimal("0.15") + usage.output_tokens * Decimal("0.60")) / 1_000_000
    assert estimated.cost_estimated
    assert meter.totals.estimated_cost == estimated.cost > 0


def test_unknown_model_is_unpriced_and_logged(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown model has an unknown cost: never $0, with one warning, and a note below the table."""
    meter = openai_meter.install(hosts=HOSTS)
    client = api(chat_body("my-own-model"), chat_body("my-own-model"), chat_body("gpt-4o-mini"))
    for _ in range(3):
        ask(client)
    first, _, third = meter.calls
    assert (first.cost, first.cost_status, first.usage.total_tokens) == (None, "unpriced", 1500)
    assert (meter.totals.cost, meter.totals.unpriced_calls) == (third.cost, 2)
    assert meter.by("model")["my-own-model"].cost is None
    assert first.cost_lines == ()
    assert sum("my-own-model" in message for message in caplog.messages) == 1
    file = io.StringIO()
    meter.print_summary(file)
    assert "No price for my-own-model: 2 calls, 3,000 tokens" in file.getvalue()
    assert [one.calls for one in meter.unpriced()] == [2]


def test_error_is_free_and_aborted_stream_is_estimated(api: Any) -> None:
    """HTTP errors are free; an abandoned stream has an estimated cost that names what is not in it."""
    meter = openai_meter.install(hosts=HOSTS, stream_usage="never")
    client = api()
    with pytest.raises(OpenAIError):
        ask(client, "no-such-model")
    with client.chat.completions.create(model="gpt-6-luna", messages=MESSAGES, stream=True) as stream:
        next(stream)
    error, cut = meter.calls
    assert (error.cost, error.cost_status) == (Decimal(0), "free")
    assert (cut.status, cut.cost_status, cut.cost_estimated, cut.usage_source) == (
        "aborted",
        "priced",
        True,
        "tiktoken",
    )
    assert cut.cost == sum(line.usd for line in cut.cost_lines) > 0
    assert cut.usage_unknown == ("reasoning",)


def test_other_host_has_no_openai_prices(api: Any) -> None:
    """An unknown host is unpriced, unless it reports its price itself, or the caller sets one."""
    meter = openai_meter.install(prices={"mine": Price(input=1, output=2)})
    client = api(chat_body("gpt-4o-mini"), chat_body("x", usage={"cost": 0.0042}), chat_body("mine"))
    for _ in range(3):
        ask(client)
    assert [(call.cost, call.price_source) for call in meter.calls] == [
        (None, None),
        (Decimal("0.0042"), "provider"),
        (Decimal("0.002"), "override"),
    ]


def test_reprice_prices_unpriced_calls_everywhere(api: Any) -> None:
    """``reprice()`` prices the calls without a price, in the ring, in all totals, and in blocks."""
    meter = openai_meter.install(hosts=HOSTS, recent=5)
    client = api(chat_body("my-own-model"))
    with openai_meter.track() as block:
        for _ in range(5):
            ask(client)
    assert meter.cost is None
    assert meter.reprice() == 0
    meter.prices.set("my-own-model", Price(input="0.50", output=2))
    assert meter.reprice() == 5
    assert meter.cost == block.cost == Decimal("0.0075")
    assert [call.cost for call in meter.calls] == [Decimal("0.0015")] * 5
    assert sum(line.usd for line in meter.calls[0].cost_lines) == Decimal("0.0015")
    assert (meter.totals.unpriced_calls, meter.unpriced(), meter.reprice()) == (0, (), 0)


def test_new_price_applies_to_later_calls_only(api: Any) -> None:
    """Priced calls keep their cost and their bill when a price changes."""
    meter = openai_meter.install(prices={"mine": Price(input=1, output=0)})
    client = api(chat_body("mine"))
    ask(client)
    meter.calls  # noqa: B018 - reading waits until the price files are read
    ask(client)
    meter.prices.set("mine", Price(input=2, output=0))
    ask(client)
    assert [call.cost for call in meter.calls] == [Decimal("0.001"), Decimal("0.001"), Decimal("0.002")]
    assert [call.cost_lines[0].usd for call in meter.calls] == [call.cost for call in meter.calls]


def test_install_takes_prices_models_discount_and_file(api: Any, tmp_path: Any) -> None:
    """Wrong values raise at once."""
    client = api(chat_body("my-deployment", 1000, 0))
    meter = openai_meter.install(hosts=HOSTS, models={"my-deployment": "gpt-4o-mini"}, discount="0.5")
    ask(client)
    assert meter.calls[-1].cost == Decimal("0.000075")
    file = tmp_path / "prices.toml"
    file.write_text('[[price]]\nmodels = ["my-deployment"]\ninput = 3\noutput = 4\n', encoding="utf-8")
    openai_meter.install(prices=str(file))
    ask(client)
    assert meter.calls[-1].cost == Decimal("0.003")
    for wrong in (
        {"prices": {"m": 3}},
        {"prices": str(tmp_path / "none.toml")},
        {"discount": 2},
        {"discount": "much"},
        {"models": {"m": None}},
        {"hosts": {"h": "nobody"}},
        {"recent": -1},
    ):
        with pytest.raises(openai_meter.ConfigurationError):
            openai_meter.install(**wrong)  # type: ignore[arg-type]
    for values in ({"input": -1}, {"input": float("nan")}, {"output": "x"}, {"input": 1, "per": 0}):
        with pytest.raises(openai_meter.ConfigurationError):
            Price(**values)  # type: ignore[arg-type]
    ask(client)
    assert meter.calls[-1].cost == Decimal("0.003")


def test_two_meters_price_by_their_own_books(api: Any) -> None:
    """A call that two meters count has the price of each in its records."""
    installed = openai_meter.install(prices={"mine": Price(input=1, output=0)})
    other = Meter(prices={"mine": Price(input=5, output=0)})
    client = openai_meter.wrap(api(chat_body("mine")), other)
    ask(client)
    assert (installed.cost, other.cost) == (Decimal("0.001"), Decimal("0.005"))


def test_threads_that_price_while_prices_change_lose_nothing(api: Any) -> None:
    """Under 8 threads and changing prices every call has one of the prices, and the totals are the exact sum."""
    meter = openai_meter.install(prices={"mine": Price(input=1, output=0)}, recent=10_000)
    client = api(chat_body("mine", 1000, 0))
    done = threading.Event()

    def change() -> None:
        price = 1
        while not done.is_set():
            price = 3 - price
            meter.prices.set("mine", Price(input=price, output=0))
            meter.reprice()

    changer = threading.Thread(target=change)
    changer.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask(client), range(200)))
    done.set()
    changer.join()
    costs = [call.cost for call in meter.calls]
    assert set(costs) <= {Decimal("0.001"), Decimal("0.002")}
    assert meter.cost == meter.by("model")["mine"].cost == sum(cost for cost in costs if cost is not None)
    assert len(costs) == 200


def test_call_does_not_wait_for_the_price_files(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call returns while the price files are still being read; a reader of the totals waits for them."""
    meter = Meter()
    gate = threading.Event()
    read = type(meter.prices).warm

    def slow(book: Any) -> None:
        assert gate.wait(60)
        read(book)

    monkeypatch.setattr(type(meter.prices), "warm", slow)
    openai_meter.install(meter=meter, hosts=HOSTS)
    ask(api(chat_body("gpt-4o-mini", 3245, 1892)))
    assert not gate.is_set()
    assert meter._store.totals().unpriced_calls == 1
    gate.set()
    assert meter.cost == Decimal("0.00162195")


def test_broken_price_files_leave_calls_unpriced(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are counted and unpriced, and the fault is counted."""
    openai_meter.core.faults.reraise = False
    meter = Meter()
    monkeypatch.setattr(type(meter.prices), "warm", lambda _: 1 / 0)
    openai_meter.install(meter=meter, hosts=HOSTS)
    ask(api(chat_body("gpt-4o-mini")))
    assert (meter.totals.calls, meter.cost) == (1, None)
    ask(api(chat_body("gpt-4o-mini")))
    assert meter.totals.unpriced_calls == 2
    assert meter.internal_errors == 1
    assert {one.reason for one in meter.unpriced()} == {"the prices cannot be read"}


def test_call_stored_after_the_waiting_ones_were_priced_is_priced(api: Any) -> None:
    """A call that had to wait, and is stored when the others have been priced, is priced when read."""
    meter = openai_meter.install(hosts=HOSTS)
    take = meter._take

    def late(call: openai_meter.Call) -> None:
        meter.settle()  # the price files are read, and all that waits is priced, between the two steps of a record
        take(call)

    meter._take = late  # type: ignore[method-assign]
    ask(api(chat_body("gpt-4o-mini", 3245, 1892)))
    assert meter.cost == Decimal("0.00162195")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_forked_while_prices_are_read_prices_its_calls() -> None:
    """A child that is forked while prices are being read prices its own calls, from zero."""
    program = """
import os, sys, openai_meter
from openai import OpenAI
from openai_meter.testing.fake_api.server import DemoServer
meter = openai_meter.install(hosts={"127.0.0.1": "openai"})
with DemoServer() as server:
    ask = lambda: OpenAI(base_url=server.base_url, api_key="x").embeddings.create(
        model="text-embedding-3-small", input="x")
    ask()
    child = os.fork()
    if not child:
        ask()
        os._exit(0 if meter.totals.calls == 1 and meter.cost else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), meter.totals.calls, meter.cost is not None)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.split(), done.returncode) == (["0", "1", "True"], 0), done.stderr


def test_explain_of_an_unknown_call_raises() -> None:
    """The error names the id that is not there."""
    with pytest.raises(LookupError, match="not among the 0 recent calls"):
        Meter().explain("no-such-id")
