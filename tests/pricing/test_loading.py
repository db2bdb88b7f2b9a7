"""How calls are priced as they end: the quick look at what was priced before says what the price book says."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.core import background
from openai_meter.core.call import Call, new_call_id
from openai_meter.core.money import Cost
from openai_meter.core.usage import Usage
from openai_meter.metering.meter import Meter
from openai_meter.pricing import Billable, Price
from openai_meter.pricing.loading import WAITING, PriceLoader
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.responses import ResponseState

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAIN = Usage(1_000, 100, 1_100)
ROWS = {row.name: row for row in ENDPOINTS}


class Owner:
    """What a loader belongs to: here nothing waits for prices."""

    def reprice(self) -> None: ...


def loader_of(**settings: Any) -> PriceLoader:
    loader = PriceLoader(OWNER.reprice)
    loader.use(**settings)
    loader.load()
    return loader


OWNER = Owner()
PUBLISHED = loader_of()
OTHERS = loader_of(
    prices={"mine": Price(input=1, output="0.3", long=Price(input=2, output=3), long_from=1_000)},
    models={"deployed": "gpt-5.4"},
    discount="0.07",
)


def call_of(endpoint: str = "chat.completions", **values: Any) -> Any:
    """As much of a call as its price depends on."""
    response = ResponseState()
    response.service_tier = values.pop("service_tier", None)
    response.facts = values.pop("facts", {})
    usual = {"provider": "openai", "host": "api.openai.com", "requested_model": None}
    return SimpleNamespace(row=ROWS[endpoint], response=response, **{**usual, **values})


def billed(loader: PriceLoader, usage: Usage, model: str | None, call: Any, at: datetime) -> Cost:
    """The cost by the way that knows every rule."""
    return loader.book.cost(
        Billable(
            usage,
            model,
            call.requested_model,
            call.row.name,
            call.provider,
            call.host,
            call.response.service_tier,
            at,
            details=call.response.facts,
        )
    )


COUNT = st.integers(0, 300_000)
PART = st.integers(0, 3) | COUNT
USAGES = st.builds(
    Usage,
    st.none() | COUNT,
    st.none() | COUNT,
    COUNT,
    cached_input_tokens=PART,
    cache_write_tokens=PART,
    cache_write_12h_tokens=st.just(0) | PART,
    reasoning_tokens=PART,
    inconsistent=st.booleans(),
    **dict.fromkeys(("input_audio_tokens", "output_image_tokens", "web_searches"), st.sampled_from([0, 0, 0, 0, 2])),
)
CALLS = st.builds(
    call_of,
    st.sampled_from(["chat.completions", "responses", "embeddings", "completions", "images.generate", "decisions"]),
    provider=st.sampled_from(["openai", "openai", "azure", "proxy.example.com"]),
    host=st.sampled_from(["api.openai.com", "eu.api.openai.com"]),
    service_tier=st.sampled_from([None, "default", "flex", "priority", "batch", "never"]),
    requested_model=st.sampled_from([None, "gpt-5.4-mini", "deployed"]),
    facts=st.sampled_from([{}, {}, {"cache_ttl": "12h"}]),
)
MODELS = st.sampled_from(
    ["gpt-5.4-mini-2026-03-17", "gpt-5.4", "gpt-6-sol", "gpt-6.2-sol", "o3", "mine", "deployed", "gpt-4o", "none", None]
)
# Prices change at midnight UTC, whatever the clock of the program says.
MOMENTS = st.builds(
    lambda minutes, hours: (datetime(2025, 6, 9, tzinfo=UTC) + timedelta(minutes=minutes)).astimezone(
        timezone(timedelta(hours=hours)) if hours else UTC
    ),
    st.integers(0, 540 * 24 * 60),
    st.sampled_from([0, 0, 0, 9, -11]),
)


@given(st.sampled_from([PUBLISHED, OTHERS]), USAGES, MODELS, CALLS, MOMENTS)
def test_metered_call_costs_the_price_of_the_book(
    loader: PriceLoader, usage: Usage, model: str | None, call: Any, at: datetime
) -> None:
    """Whatever was used, when and where: the first call of its kind and the next one cost the price of the book."""
    expected = billed(loader, usage, model, call, at)
    for _ in range(2):
        assert loader.price(usage, model, call, at) == (expected, loader.book.view())


def test_new_price_applies_to_the_next_call() -> None:
    """The record has the revision of the prices that it was made with."""
    loader, call = loader_of(prices={"mine": Price(input=1, output=2)}), call_of()
    costs = [loader.price(PLAIN, "mine", call, NOON) for _ in range(2)]
    loader.book.set("mine", Price(input=10, output=20))
    costs += [loader.price(PLAIN, "mine", call, NOON) for _ in range(2)]
    loader.use(prices={"mine": Price(input=100, output=200)})
    loader.load()
    costs += [loader.price(PLAIN, "mine", call, NOON) for _ in range(2)]
    assert [cost.amount_pico for cost, _ in costs] == [number * 10**8 for number in (12, 12, 120, 120, 1_200, 1_200)]
    assert len({book for _, book in costs}) == 3


def test_forked_child_records_its_price_source() -> None:
    """A child that reuses prices of its parent still records by which prices a call was priced."""
    loader, call = loader_of(), call_of()
    cost, _ = loader.price(PLAIN, "gpt-5.4", call, NOON)
    loader.start_over_in_child()
    for _ in range(2):
        assert loader.price(PLAIN, "gpt-5.4", call, NOON) == (cost, loader.book.view())


def test_call_without_readable_prices_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """If pricing the waiting calls has failed, a call has no price, even of a kind that had one before."""
    loader, call = loader_of(), call_of()
    assert loader.price(PLAIN, "gpt-5.4", call, NOON)[0].status == "priced"
    monkeypatch.setattr(loader, "_failed", True)
    assert loader.price(PLAIN, "gpt-5.4", call, NOON) == (Cost(None, "unpriced", "the prices cannot be read"), None)


def test_meter_prices_with_its_own_loader() -> None:
    """The loader of a meter uses the own prices of that meter."""
    own = Meter(prices={"mine": Price(input=1, output=2)}, thresholds=False)
    own.reprice()
    cost, book = own._price_loader.price(PLAIN, "mine", call_of(), NOON)
    assert (cost.amount_pico, book) == (12 * 10**8, own.prices.view())


# --- calls that end while the price files are being read --------------------------------------------------------------


MINE = {"mine": Price(input=1, output=2)}


def test_call_recorded_while_waiting_calls_are_priced_gets_its_price():
    """A call that is recorded after the waiting ones were read, and before they are priced, is priced next."""
    meter = Meter(prices=MINE, thresholds=False)
    loader = meter._price_loader
    reprice, parked, go_on = loader._reprice(), threading.Event(), threading.Event()

    def parking() -> None:
        reprice()
        parked.set()
        assert go_on.wait(60)

    loader._reprice = lambda: parking
    thread = threading.Thread(target=loader.settle)
    loader._waiting = True
    thread.start()
    assert parked.wait(60)
    # What the thread of a call does: it found that the files were not read yet, and records the call only now.
    loader._ready = False
    cost, _ = loader.price(PLAIN, "mine", call_of(), NOON)
    loader._ready = True
    meter._take(replace(recorded(), cost_reason=cost.reason))
    loader.note_recorded(cost)
    go_on.set()
    thread.join(60)
    loader._reprice = lambda: reprice
    assert cost.reason is WAITING
    assert (meter.totals.calls, meter.totals.unpriced_calls) == (1, 0)


def test_call_recorded_after_the_prices_were_read_is_priced_without_a_reader():
    """Its price comes in the background: thresholds and sinks need it, whether figures are read or not."""
    meter = Meter(prices=MINE, thresholds=False)
    loader = meter._price_loader
    loader.load()
    meter._take(replace(recorded(), cost_reason=WAITING))
    loader.note_recorded(Cost(None, "unpriced", WAITING))
    background.worker.start()
    end = time.monotonic() + 30
    while meter._store.totals().unpriced_calls and time.monotonic() < end:
        time.sleep(0.001)
    assert meter._store.totals().cost == Decimal("0.0012")


def test_waiting_call_gets_the_reason_of_unreadable_prices(monkeypatch):
    """If the files cannot be read, no call keeps waiting: its reason is that the prices are unreadable."""
    monkeypatch.setattr("openai_meter.core.faults.reraise", False)
    meter = Meter(prices=MINE, thresholds=False)
    monkeypatch.setattr(type(meter.prices), "warm", lambda self: 1 / 0)
    meter.track_call("mine", 1_000, 100)
    assert [call.cost_reason for call in meter.calls] == ["the prices cannot be read"]
    assert {one.reason for one in meter.unpriced()} == {"the prices cannot be read"}


def test_interrupt_while_waiting_calls_are_priced_leaves_them_waiting():
    """A signal handler that raises in the middle loses no price: the next reader has it."""
    meter = Meter(prices=MINE, thresholds=False)
    loader = meter._price_loader
    reprice = loader._reprice()

    def interrupted() -> None:
        raise KeyboardInterrupt

    meter._take(replace(recorded(), cost_reason=WAITING))
    loader._waiting, loader._reprice = True, lambda: interrupted
    with pytest.raises(KeyboardInterrupt):
        loader.settle()
    loader._reprice = lambda: reprice
    assert meter.totals.cost == Decimal("0.0012")


def test_waiting_calls_outside_the_ring_are_priced():
    """All calls that waited for the prices are priced, even if few recent calls are kept."""
    meter = Meter(prices=MINE, thresholds=False, recent=2)
    for _ in range(7):
        meter._take(replace(recorded(), cost_reason=WAITING))
    meter._price_loader._waiting = True
    assert (meter.totals.cost, meter.totals.unpriced_calls, len(meter.calls)) == (Decimal("0.0084"), 0, 2)
    assert meter.unpriced() == ()


def recorded() -> Call:
    """A call of a meter that has no price yet."""
    return Call(
        id=new_call_id(), started_at=NOON, duration=1.0, endpoint="chat.completions", provider="openai", model="mine",
        requested_model="mine", status="ok", usage=PLAIN, usage_source="api", host="api.openai.com",
    )  # fmt: skip
