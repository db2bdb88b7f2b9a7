"""What type checkers see of the public API. mypy and pyright check this file in strict mode; it is never run.

``assert_type`` fails where a type is another one, and an ignored error that is none fails too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import openai_meter
from openai_meter import (
    Alert,
    Block,
    Call,
    ConfigurationError,
    CostLine,
    Estimate,
    Ledger,
    LedgerError,
    Meter,
    MeterError,
    MissingExtraError,
    ModelStats,
    Price,
    Quote,
    Recommendation,
    Report,
    Threshold,
    TokenTracker,
    Totals,
    UnsupportedClientError,
    Usage,
    Webhook,
)
from openai_meter.testing import capture, fixed_prices

# --- install, and the meter -------------------------------------------------------------------------------------------

meter = openai_meter.install()
assert_type(meter, Meter)
assert_type(openai_meter.get_meter(), Meter)
assert_type(openai_meter.__version__, str)

openai_meter.install(recent=10, threads=True, discount=0.1, hosts={"llm.example.com": "openai"}, stream_usage="auto")
openai_meter.install(prices={"mine": Price(input=1, output=4)}, models={"deployment": "gpt-5-mini"})
openai_meter.install(prices="prices.toml", ledger="sqlite:///usage.db", otel=True, otel_spans=False)
openai_meter.install(prices=Path("prices.toml"), ledger=Ledger("sqlite:///usage.db"), webhook="https://example.com/")
openai_meter.install(thresholds={"cost": 5.0, "calls": None}, webhook=[Webhook("https://example.com/")])
openai_meter.install(thresholds=False, webhook=False)


def on_alert(alert: Alert) -> None:
    assert_type(alert.threshold, Threshold)


openai_meter.install(on_alert=on_alert)
openai_meter.install(meter=Meter(recent=5))
openai_meter.install(threads="yes")  # type: ignore[arg-type]
openai_meter.install("sqlite:///usage.db")  # type: ignore[call-arg,arg-type]
openai_meter.install(treads=True)  # type: ignore[call-arg]

assert_type(meter.calls, tuple[Call, ...])
assert_type(meter.totals, Totals)
assert_type(meter.cost, Decimal | None)
assert_type(meter.alerts, tuple[Alert, ...])
assert_type(meter.recommendations(), tuple[Recommendation, ...])
assert_type(meter.by("model"), Mapping[str, Totals])
assert_type(meter.by("model", "user"), Mapping[tuple[str, ...], Totals])
assert_type(meter.report(), Report)
assert_type(meter.report(["model", "agent"], lang="fr"), Report)
assert_type(meter.summary(), str)
assert_type(meter.to_dict(), dict[str, Any])
assert_type(meter.save_report("usage.json"), Path)
assert_type(meter.reset(), Totals)
assert_type(meter.explain("id"), tuple[CostLine, ...])
assert_type(meter.find("chatcmpl-1"), Call | None)
assert_type(meter.reprice(), int)
assert_type(meter.track_call("gpt-5-mini", 100, 20, user="u1"), Call)
assert_type(meter.get_all_stats(), dict[str, ModelStats])

# --- values -----------------------------------------------------------------------------------------------------------


def read(call: Call, totals: Totals) -> None:
    assert_type(call.usage, Usage)
    assert_type(call.cost, Decimal | None)
    assert_type(call.model, str | None)
    assert_type(call.tags, Mapping[str, str])
    assert_type(call.usage.total_tokens, int | None)
    assert_type(totals.calls, int)
    assert_type(totals.cost, Decimal | None)
    assert_type(totals.estimated_cost, Decimal)
    call.cost = None  # type: ignore[misc]
    totals.calls = 3  # type: ignore[misc]


# --- wrap: a client keeps its type ------------------------------------------------------------------------------------


class Client(OpenAI):
    """A subclass of a program's own."""


assert_type(openai_meter.wrap(OpenAI()), OpenAI)
assert_type(openai_meter.wrap(AsyncOpenAI(), meter), AsyncOpenAI)
assert_type(openai_meter.wrap(Client()), Client)
assert_type(openai_meter.wrap(AzureOpenAI(azure_endpoint="https://example.com/", api_version="x")), AzureOpenAI)
assert_type(
    openai_meter.wrap(AsyncAzureOpenAI(azure_endpoint="https://example.com/", api_version="x")), AsyncAzureOpenAI
)
openai_meter.wrap(OpenAI(), "nightly")  # type: ignore[arg-type]

# --- track and tag: context managers, and decorators that keep signatures ---------------------------------------------

with openai_meter.track("nightly", user="u1", team="forms") as run:
    assert_type(run, Block)
assert_type(run.totals, Totals)
assert_type(run.by("agent"), Mapping[str, Totals])
with openai_meter.track(thresholds={"cost": 1}, on_alert=on_alert):
    pass
with openai_meter.tag(agent="writer", user=None, env="prod"):
    pass
openai_meter.track("nightly", user=3)  # what has a plain text form is taken as text
openai_meter.track(3)  # type: ignore[arg-type]
openai_meter.tag("writer")  # type: ignore[arg-type]


@openai_meter.track("nightly")
def plain(number: int, *, text: str = "") -> list[str]:
    return [text] * number


@openai_meter.tag(agent="writer")
async def waits(number: int) -> bytes:
    return bytes(number)


@openai_meter.track()
def yields(number: int) -> Iterator[int]:
    yield number


@openai_meter.tag(operation="stream")
async def yields_async(number: int) -> AsyncIterator[int]:
    yield number


class Service:
    @openai_meter.tag(agent="service")
    def answer(self, question: str) -> str:
        return question

    @openai_meter.track("class")
    @classmethod
    def make(cls) -> Service:
        return cls()

    @openai_meter.track("static")
    @staticmethod
    def add(one: int, other: int) -> int:
        return one + other


async def decorated() -> None:
    assert_type(plain(3, text="x"), list[str])
    assert_type(await waits(3), bytes)
    assert_type(yields(3), Iterator[int])
    assert_type(yields_async(3), AsyncIterator[int])
    assert_type(Service().answer("?"), str)
    assert_type(Service.make(), Service)
    assert_type(Service.add(1, 2), int)
    plain("3")  # type: ignore[arg-type]
    await waits()  # type: ignore[call-arg]
    async with openai_meter.track("async") as block, openai_meter.tag(user="u2"):
        assert_type(block, Block)


def work(number: int) -> str:
    return str(number)


assert_type(openai_meter.bind(work)(3), str)
bound: Callable[[int], str] = openai_meter.bind(work)

# --- estimates --------------------------------------------------------------------------------------------------------

assert_type(openai_meter.estimate("How many tokens?", model="gpt-5-mini"), Quote)
assert_type(openai_meter.estimate({"model": "gpt-5-mini", "messages": []}), Quote)
assert_type(openai_meter.estimate("?").cost, Decimal | None)
assert_type(openai_meter.estimate("?").tokens, int | None)
assert_type(openai_meter.estimate_tokens("How many tokens?"), int)
assert_type(openai_meter.estimate("?").estimate, Estimate)

# --- the ledger -------------------------------------------------------------------------------------------------------

ledger = Ledger("sqlite:///usage.db")
assert_type(ledger.report("day", since="7d", timezone="Europe/Paris", user="u1"), Report)
assert_type(ledger.totals(since="2026-01-01"), Totals)
assert_type(ledger.model_stats(), dict[str, ModelStats])
assert_type(ledger.calls(since="1d"), Iterator[Call])
assert_type(ledger.flush(timeout=1), bool)
assert_type(ledger.url, str)

# --- the tracker, errors, testing -------------------------------------------------------------------------------------

assert_type(openai_meter.get_global_tracker(), TokenTracker)
assert_type(openai_meter.get_global_tracker().to_dict(), dict[str, Any])

errors: list[type[MeterError]] = [ConfigurationError, LedgerError, MissingExtraError, UnsupportedClientError]

with capture() as seen, fixed_prices({"gpt-5-mini": Price(input=1, output=10)}):
    assert_type(seen.totals, Totals)
    assert_type(seen[0], Call)
    assert_type(seen[:1], tuple[Call, ...])
    assert_type(list(seen), list[Call])
