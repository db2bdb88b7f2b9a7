"""A bill next to a ledger: every planted gap is named with its amount, and nothing else."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organization import KEY, PROJECT, Charged, FakeAdmin, Organization, Used, add_call, bill_calls

from openai_meter import Call, PriceBook, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger.billing.organization import read_bill
from openai_meter.ledger.billing.reconcile import MARGIN, compare_bill
from openai_meter.ledger.billing.reconciliation import Reconciliation

pytest.importorskip("openai.resources.admin", reason="this openai has no admin API: reading it is not tested")

BOOK = PriceBook()
FIRST, END = date(2026, 10, 1), date(2026, 11, 1)
NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
MODELS = ("gpt-5-mini", "gpt-6-luna", "gpt-6.2-sol", "gpt-4.1-mini")
PICO = 10**12


def make_call(at: datetime, **changes: Any) -> Call:
    """A call of our program, with its cost."""
    values: dict[str, Any] = {
        "id": new_call_id(at.timestamp()), "started_at": at, "duration": 2.0, "endpoint": "responses",
        "provider": "openai", "model": "gpt-5-mini", "requested_model": "gpt-5-mini", "status": "ok",
        "usage": Usage(1_000, 200, 1_200), "usage_source": "api", "host": "api.openai.com", "project": PROJECT,
    }  # fmt: skip
    call = Call(**(values | changes))
    return call.charged(BOOK.cost(BOOK.billable_of(call)), None)


def month(dice: random.Random, calls: int = 60) -> list[Call]:
    """The calls of a month, none of them near midnight."""
    made = []
    for _ in range(calls):
        day = FIRST + timedelta(days=dice.randrange(31))
        at = datetime(day.year, day.month, day.day, dice.randrange(1, 23), dice.randrange(60), tzinfo=UTC)
        model = dice.choice(MODELS)
        tokens, output = dice.randrange(2_000, 90_000), dice.randrange(20, 9_000)
        cached = dice.choice([0, tokens // 3])
        written = dice.choice([0, 1_024]) if model == "gpt-6.2-sol" else 0
        usage = Usage(
            tokens, output, tokens + output, cached_input_tokens=cached, cache_write_tokens=written,
            web_searches=dice.choice([0, 0, 0, 2]), reasoning_tokens=output // 2,
        )  # fmt: skip
        tier = dice.choice([None, "default", "default", "priority"]) if model == "gpt-5-mini" else None
        made.append(make_call(at, model=model, requested_model=model, usage=usage, service_tier=tier))
    return sorted(made, key=lambda call: call.started_at)


def reconcile(calls: list[Call], organization: Organization, now: datetime = NOW) -> Reconciliation:
    """Reads the bill of the month, and compares it with the calls."""
    bill = read_bill(FakeAdmin(organization), FIRST - MARGIN, END + MARGIN)
    found = compare_bill(calls, bill, FIRST, END, BOOK, now)
    for line in found.lines:
        assert sum(line.causes.values()) == line.billed - (line.metered or 0), line
    return found


def by_kind(found: Reconciliation) -> dict[str, Decimal]:
    """The amounts by cause."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for cause in found.causes:
        sums[cause.kind] += cause.amount
    return {kind: amount for kind, amount in sums.items()}


# --- planted gaps -----------------------------------------------------------------------------------------------------


class Planted(NamedTuple):
    """A gap: what has to be found."""

    kind: str
    usd: Fraction


Plant = Callable[[random.Random, list[Call], Organization], Planted]


def _billed(call: Call) -> Fraction:
    assert call.cost_pico is not None
    return Fraction(call.cost_pico, PICO)


def plant_another_project(dice: random.Random, _: list[Call], organization: Organization) -> Planted:
    """Traffic in a project that the ledger has never seen."""
    others = month(dice, 12)
    for call in others:
        add_call(organization, call, BOOK, project="proj_other", key="key_other")
    return Planted("another_project", sum(map(_billed, others), Fraction(0)))


def plant_another_key(dice: random.Random, _: list[Call], organization: Organization) -> Planted:
    """Traffic with another key in our project."""
    others = month(dice, 15)
    for call in others:
        add_call(organization, call, BOOK, key="key_of_a_colleague")
    return Planted("another_key", sum(map(_billed, others), Fraction(0)))


def plant_another_program(dice: random.Random, calls: list[Call], organization: Organization) -> Planted:
    """More requests than ours with our key."""
    others = [replace(call, usage=replace(call.usage, web_searches=0)) for call in dice.sample(calls, 5)]
    others = [call.charged(BOOK.cost(BOOK.billable_of(call)), None) for call in others]
    for call in others:
        add_call(organization, call, BOOK)
    return Planted("another_program", sum(map(_billed, others), Fraction(0)))


def _rebill(organization: Organization, call: Call, billed: Call) -> Fraction:
    """Bills a call as another one; returns what it costs more."""
    own, other = Organization(), Organization()
    add_call(own, call, BOOK)
    add_call(other, billed, BOOK)
    for row in own.used:
        organization.used.remove(row)
    for charge in own.charged:
        organization.charged.remove(charge)
    organization.used += other.used
    organization.charged += other.charged
    return sum((row.usd for row in other.charged), Fraction(0)) - sum((row.usd for row in own.charged), Fraction(0))


def plant_tier(dice: random.Random, calls: list[Call], organization: Organization) -> Planted:
    """Calls that were billed as flex, and recorded as default."""
    model = dice.choice(("gpt-5-mini", "gpt-6-luna"))
    some = [call for call in calls if call.model == model and call.service_tier != "priority"][:3]
    more = sum((_rebill(organization, call, replace(call, service_tier="flex")) for call in some), Fraction(0))
    return Planted("tier", more)


def plant_batch(_: random.Random, calls: list[Call], organization: Organization) -> Planted:
    """Calls that were billed as a batch, and recorded as default."""
    some = [call for call in calls if call.model == "gpt-4.1-mini"][:3]
    more = sum((_rebill(organization, call, replace(call, service_tier="batch")) for call in some), Fraction(0))
    return Planted("tier", more)


def plant_lifetime(_: random.Random, calls: list[Call], organization: Organization) -> Planted:
    """Written tokens that live for 12 hours, and were recorded as 30 minutes."""
    some = [call for call in calls if call.usage.cache_write_tokens][:2]
    more = Fraction(0)
    for call in some:
        usage = replace(call.usage, cache_write_12h_tokens=call.usage.cache_write_tokens)
        more += _rebill(organization, call, replace(call, usage=usage))
    return Planted("cache_write_ttl", more)


def plant_tool_fee(dice: random.Random, _: list[Call], organization: Organization) -> Planted:
    """Searches that the answers did not report."""
    at = datetime(2026, 10, dice.randrange(1, 31), 12, tzinfo=UTC)
    organization.used.append(Used(at, "web_search_calls", counts={"num_requests": 7}))
    organization.charged.append(Charged(at.date(), "web search tool calls", Fraction(7, 100), Fraction(7), None))
    return Planted("tool_fee", Fraction(7, 100))


def plant_storage(_: random.Random, __: list[Call], organization: Organization) -> Planted:
    """Storage of vector stores, on each day."""
    for day in range(31):
        at = datetime(2026, 10, 1, 12, tzinfo=UTC) + timedelta(days=day)
        organization.used.append(Used(at, "vector_stores", None, key=None, counts={"usage_bytes": 5 << 30}))
        organization.charged.append(
            Charged(at.date(), "vector storage", Fraction(1, 8), Fraction(120), "gibibyte_hours", key=None)
        )
    return Planted("storage", Fraction(31, 8))


def plant_price(dice: random.Random, _: list[Call], organization: Organization) -> Planted:
    """Another price of one kind of token, from some day on."""
    model, since = dice.choice(MODELS), FIRST + timedelta(days=dice.randrange(20))
    more = Fraction(0)
    for place, row in enumerate(organization.charged):
        if row.line_item == f"{model}, output" and row.day >= since and row.quantity:
            organization.charged[place] = replace(row, usd=row.usd * Fraction(5, 4))
            more += row.usd / 4
    return Planted("price", more)


def plant_not_counted(_: random.Random, __: list[Call], organization: Organization) -> Planted:
    """Speech that no process of ours has asked for."""
    at = datetime(2026, 10, 9, 9, tzinfo=UTC)
    organization.used.append(Used(at, "audio_speeches", "tts-1", requests=4, counts={"characters": 9_000}))
    organization.charged.append(
        Charged(at.date(), "tts-1, characters", Fraction(135, 1000), Fraction(9_000), "characters")
    )
    return Planted("not_counted", Fraction(135, 1000))


def plant_midnight(_: random.Random, calls: list[Call], organization: Organization) -> Planted:
    """Calls that begin minutes before midnight, and are in the bill of the next day."""
    for day in (3, 12, 20):
        at = datetime(2026, 10, day, 23, 57, tzinfo=UTC)
        call = make_call(at, model="gpt-6-luna", requested_model="gpt-6-luna", usage=Usage(3_331 + day, 77, 3_408 + day))
        calls.append(call)
        add_call(organization, call, BOOK, at=at + timedelta(minutes=6))
    calls.sort(key=lambda call: call.started_at)
    return Planted("time_zone", Fraction(0))


PLANTS: tuple[Plant, ...] = (
    plant_another_project, plant_another_key, plant_another_program, plant_tier, plant_batch, plant_lifetime,
    plant_tool_fee, plant_storage, plant_price, plant_not_counted, plant_midnight,
)  # fmt: skip


# --- what holds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiers_named", [True, False])
@pytest.mark.parametrize("as_text", [True, False])
def test_reconcile_month_without_gaps_covers_exactly_one(tiers_named: bool, as_text: bool) -> None:
    """Where every call is in the bill and the other way round, the coverage is exactly 1, and there is no cause."""
    calls = month(random.Random(5), 150)
    organization = bill_calls(calls, tiers_named=tiers_named)
    organization.as_text = as_text
    found = reconcile(calls, organization)
    assert found.causes == ()
    assert (found.coverage, found.token_coverage) == (1, 1)
    assert found.difference == 0
    assert found.billed == sum((call.cost or Decimal(0) for call in calls), Decimal(0))


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reconcile_one_gap_is_named_with_its_amount(plant: Plant, seed: int) -> None:
    """The one gap of a month is the one cause, to the last digit."""
    dice = random.Random(seed)
    calls = month(dice)
    organization = bill_calls(calls)
    planted = plant(dice, calls, organization)
    found = reconcile(calls, organization)
    assert by_kind(found) == {planted.kind: _decimal(planted.usd)}


def _decimal(amount: Fraction) -> Decimal:
    from openai_meter.core.money import simplest, usd

    return usd(simplest(amount * PICO))


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sets(st.sampled_from(PLANTS), min_size=2))
def test_reconcile_several_gaps_are_named_apart(seed: int, plants: set[Plant]) -> None:
    """Several gaps of one month are told apart, to the cent."""
    dice = random.Random(seed)
    calls = month(dice)
    organization = bill_calls(calls)
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for plant in sorted(plants, key=lambda plant: PLANTS.index(plant)):
        kind, amount = plant(dice, calls, organization)
        expected[kind] += amount
    found = by_kind(reconcile(calls, organization))
    assert found.keys() == expected.keys()
    for kind, amount in expected.items():
        assert abs(found[kind] - _decimal(amount)) < Decimal("0.005"), (kind, found, expected)
