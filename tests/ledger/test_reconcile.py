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

pytest.importorskip(
    "sqlalchemy", reason="the extra [ledger] is not installed: a comparison with the bill is NOT tested"
)
pytest.importorskip("openai.resources.admin", reason="this openai has no admin API: reading it is NOT tested")

from hypothesis import given, settings
from hypothesis import strategies as st
from organization import KEY, PROJECT, Charged, FakeAdmin, Organization, Used, add_call, bill_calls

from openai_meter import Call, PriceBook, Usage
from openai_meter.core.call import new_call_id
from openai_meter.core.money import simplest, usd
from openai_meter.ledger.billing.organization import read_bill
from openai_meter.ledger.billing.reconcile import MARGIN, compare_bill
from openai_meter.ledger.billing.reconciliation import Reconciliation

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

    def between(since: date, until: date) -> list[Call]:
        return [call for call in calls if since <= call.started_at.date() < until]

    found = compare_bill(between, bill, FIRST, END, book=BOOK, now=now)
    for line in found.lines:
        assert sum(line.causes.values()) == line.billed - (line.metered or 0), line
    return found


def by_kind(found: Reconciliation) -> dict[str, Decimal]:
    """The amounts by cause."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for cause in found.causes:
        sums[cause.kind] += cause.amount
    return dict(sums)


# --- planted gaps -----------------------------------------------------------------------------------------------------


class Gap(NamedTuple):
    """A planted gap: its amount is what these rows cost, less what the ledger has for them."""

    kind: str
    rows: list[Charged]
    less: Fraction = Fraction(0)

    @property
    def usd(self) -> Fraction:
        return sum((row.usd for row in self.rows), Fraction(0)) - self.less


Plant = Callable[[random.Random, list[Call], Organization], Gap]


def _cost(calls: list[Call]) -> Fraction:
    return sum((Fraction(call.cost_pico or 0) / PICO for call in calls), Fraction(0))


def _add(organization: Organization, calls: list[Call], **where: Any) -> list[Charged]:
    """Adds calls that the ledger does not have; returns what they cost."""
    before = len(organization.charged)
    for call in calls:
        add_call(organization, call, BOOK, **where)
    return organization.charged[before:]


def _remove(organization: Organization, call: Call) -> None:
    """Takes a call out of the bill."""
    own = bill_calls([call])
    for used in own.used:
        organization.used.remove(used)
    for row in own.charged:
        wanted = row.day, row.line_item, row.usd, row.key
        place = next(
            number
            for number, other in enumerate(organization.charged)
            if (other.day, other.line_item, other.usd, other.key) == wanted
        )
        del organization.charged[place]


def _rebill(organization: Organization, pairs: list[tuple[Call, Call]]) -> tuple[list[Charged], Fraction]:
    """Bills calls as others; returns what these cost, and what the ledger has."""
    for call, _ in pairs:
        _remove(organization, call)
    return _add(organization, [other for _, other in pairs]), _cost([call for call, _ in pairs])


def plant_tier(dice: random.Random, calls: list[Call], organization: Organization) -> Gap:
    """Calls that were billed as flex, and recorded as default."""
    model = dice.choice(("gpt-5-mini", "gpt-6-luna"))
    some = [call for call in calls if call.model == model and call.service_tier != "priority"][:3]
    return Gap("tier", *_rebill(organization, [(call, replace(call, service_tier="flex")) for call in some]))


def plant_batch(_: random.Random, calls: list[Call], organization: Organization) -> Gap:
    """Calls that were billed as a batch, and recorded as default."""
    some = [call for call in calls if call.model == "gpt-4.1-mini"][:3]
    return Gap("tier", *_rebill(organization, [(call, replace(call, service_tier="batch")) for call in some]))


def plant_lifetime(_: random.Random, calls: list[Call], organization: Organization) -> Gap:
    """Written tokens that live for 12 hours, and were recorded as 30 minutes."""
    some = [call for call in calls if call.usage.cache_write_tokens][:2]
    pairs = [
        (call, replace(call, usage=replace(call.usage, cache_write_12h_tokens=call.usage.cache_write_tokens)))
        for call in some
    ]
    rows, _ = _rebill(organization, pairs)
    written = [row for row in rows if "cache writes" in row.line_item]
    # A write for 12 hours costs twice as much as one for 30 minutes.
    return Gap("cache_write_ttl", written, sum((row.usd for row in written), Fraction(0)) / 2)


def plant_midnight(_: random.Random, calls: list[Call], organization: Organization) -> Gap:
    """Calls that begin minutes before midnight, and are in the bill of the next day."""
    rows, made = [], []
    for day in (3, 12, 20):
        at = datetime(2026, 10, day, 23, 57, tzinfo=UTC)
        usage = Usage(3_331 + day, 77, 3_408 + day)
        made.append(make_call(at, model="gpt-6-luna", requested_model="gpt-6-luna", usage=usage))
        rows += _add(organization, [replace(made[-1], started_at=at + timedelta(minutes=6))])
    calls += made
    calls.sort(key=lambda call: call.started_at)
    return Gap("time_zone", [], Fraction(0))


def plant_another_project(dice: random.Random, _: list[Call], organization: Organization) -> Gap:
    """Traffic in a project that the ledger has never seen."""
    rows = _add(organization, month(dice, 12), project="proj_other", key="key_other")
    return Gap("another_project", rows)


def plant_another_key(dice: random.Random, _: list[Call], organization: Organization) -> Gap:
    """Traffic with another key in our project."""
    return Gap("another_key", _add(organization, month(dice, 15), key="key_of_a_colleague"))


def plant_another_program(dice: random.Random, _: list[Call], organization: Organization) -> Gap:
    """More requests than ours with our key, with models that we use too."""
    others = [
        make_call(call.started_at, model=call.model, usage=replace(call.usage, web_searches=0))
        for call in month(dice, 6)
    ]
    return Gap("another_program", _add(organization, others))


def plant_tool_fee(dice: random.Random, _: list[Call], organization: Organization) -> Gap:
    """Searches that the answers did not report."""
    at = datetime(2026, 10, dice.randrange(1, 31), 12, tzinfo=UTC)
    organization.used.append(Used(at, "web_search_calls", counts={"num_requests": 7}))
    rows = [Charged(at.date(), "web search tool calls", Fraction(7, 100), Fraction(7), None)]
    organization.charged += rows
    return Gap("tool_fee", rows)


def plant_storage(_: random.Random, __: list[Call], organization: Organization) -> Gap:
    """Storage of vector stores, on each day."""
    rows = []
    for day in range(31):
        at = datetime(2026, 10, 1, 12, tzinfo=UTC) + timedelta(days=day)
        organization.used.append(Used(at, "vector_stores", None, key=None, counts={"usage_bytes": 5 << 30}))
        rows.append(Charged(at.date(), "vector storage", Fraction(1, 8), Fraction(120), "gibibyte_hours", key=None))
    organization.charged += rows
    return Gap("storage", rows)


def plant_not_counted(_: random.Random, __: list[Call], organization: Organization) -> Gap:
    """Speech that no process of ours has asked for."""
    at = datetime(2026, 10, 9, 9, tzinfo=UTC)
    organization.used.append(Used(at, "audio_speeches", "tts-1", requests=4, counts={"characters": 9_000}))
    rows = [Charged(at.date(), "tts-1, characters", Fraction(135, 1000), Fraction(9_000), "characters")]
    organization.charged += rows
    return Gap("not_counted", rows)


def plant_price(dice: random.Random, calls: list[Call], organization: Organization) -> Gap:
    """Another price of one kind of token, from some day on, for all that use the model."""
    model, since = dice.choice(MODELS), FIRST + timedelta(days=dice.randrange(20))
    ours, less = [], Fraction(0)
    own = bill_calls(calls).charged
    metered = {(row.day, row.line_item, row.usd) for row in own}
    for row in organization.charged:
        if row.line_item == f"{model}, output" and row.day >= since:
            if row.key == KEY and (row.day, row.line_item, row.usd) in metered:
                ours.append(row)
                less += row.usd
            row.usd *= Fraction(5, 4)
    return Gap("price", ours, less)


PLANTS: tuple[Plant, ...] = (
    plant_tier, plant_batch, plant_lifetime, plant_midnight, plant_another_project, plant_another_key,
    plant_another_program, plant_tool_fee, plant_storage, plant_not_counted, plant_price,
)  # fmt: skip
"""In the order in which they are planted: a price holds for everything before it."""


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
    return usd(simplest(amount * PICO))


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sets(st.sampled_from(PLANTS), min_size=2))
def test_reconcile_several_gaps_are_named_apart(seed: int, plants: set[Plant]) -> None:
    """Several gaps of one month are told apart, to the cent."""
    dice = random.Random(seed)
    calls = month(dice)
    organization = bill_calls(calls)
    gaps = [plant(dice, calls, organization) for plant in PLANTS if plant in plants]
    expected: dict[str, Fraction] = defaultdict(Fraction)
    for gap in gaps:
        if gap.usd or gap.kind == "time_zone":  # a price of tokens that nobody used changes nothing
            expected[gap.kind] += gap.usd
    found = by_kind(reconcile(calls, organization))
    assert found.keys() == expected.keys()
    for kind, amount in expected.items():
        assert abs(found[kind] - _decimal(amount)) < Decimal("0.005"), (kind, found, expected)


# --- single rules -----------------------------------------------------------------------------------------------------


def kinds(found: Reconciliation) -> list[str]:
    """The kinds of causes, the largest amounts first."""
    return [cause.kind for cause in found.causes]


def test_reconcile_open_day_is_apart() -> None:
    """A day that has not ended is in no sum and no coverage; its difference is one cause."""
    calls = [make_call(datetime(2026, 10, day, 9, tzinfo=UTC)) for day in (1, 2)]
    organization = bill_calls(calls)
    _add(organization, [calls[1]], project="proj_other")
    found = reconcile(calls, organization, now=datetime(2026, 10, 2, 15, tzinfo=UTC))
    assert found.open_days == (date(2026, 10, 2),)
    assert kinds(found) == ["open_day"]
    assert (found.coverage, found.billed) == (1, calls[0].cost)
    assert found.open_sums.billed - found.open_sums.metered == Fraction(calls[1].cost_pico or 0)


def test_reconcile_proposed_rows_make_prices_those_of_the_bill(tmp_path: Any) -> None:
    """The proposed price rows, read as a price file, price the calls as the bill does, and leave other tiers alone."""
    at = [datetime(2026, 10, day, 9, tzinfo=UTC) for day in range(1, 11)]
    calls = [make_call(one, model="gpt-6-luna", service_tier=tier) for one in at for tier in ("default", "flex")]
    organization = bill_calls(calls)
    for row in organization.charged:
        if row.line_item == "gpt-6-luna, input" and 4 <= row.day.day <= 7:
            row.usd *= 3
    found = reconcile(calls, organization)
    (cause,) = found.causes
    assert (cause.kind, cause.model, len(cause.days)) == ("price", "gpt-6-luna", 4)
    assert cause.proposal is not None
    (file := tmp_path / "prices.toml").write_text(cause.proposal)
    book = PriceBook(str(file))
    ours = sum((book.cost(book.billable_of(call)).usd or Decimal(0) for call in calls), Decimal(0))
    assert ours == _decimal(sum((row.usd for row in organization.charged), Fraction(0)))


def test_reconcile_model_without_a_price_gets_its_row(tmp_path: Any) -> None:
    """Calls that have no price are named with the unit prices of the bill; the row prices them."""
    calls = [make_call(datetime(2026, 10, 5, 9, tzinfo=UTC), model="gpt-7-nova", requested_model="gpt-7-nova")]
    assert calls[0].cost is None
    organization = Organization(
        [Used(calls[0].started_at, model="gpt-7-nova", counts={"input_tokens": 1_000, "output_tokens": 200})],
        [
            Charged(date(2026, 10, 5), "gpt-7-nova, input", Fraction(3, 1_000), Fraction(1_000)),
            Charged(date(2026, 10, 5), "gpt-7-nova, output", Fraction(4, 1_000), Fraction(200)),
        ],
    )
    found = reconcile(calls, organization)
    assert by_kind(found) == {"price": Decimal("0.007")}
    assert found.coverage == 0
    assert found.token_coverage == 1
    assert [line.metered for line in found.lines] == [None, None]
    (file := tmp_path / "prices.toml").write_text(found.causes[0].proposal or "")
    book = PriceBook(str(file))
    assert book.cost(book.billable_of(calls[0])).usd == Decimal("0.007")


def test_reconcile_fee_at_another_price_proposes_a_fee() -> None:
    """As many searches at another price are a tool's fee, with a row for it."""
    calls = [make_call(datetime(2026, 10, 5, 9, tzinfo=UTC), usage=Usage(100, 10, 110, web_searches=4))]
    organization = bill_calls(calls)
    for row in organization.charged:
        if row.line_item == "web search tool calls":
            row.usd *= Fraction(5, 2)
    (cause,) = reconcile(calls, organization).causes
    assert (cause.kind, cause.amount) == ("tool_fee", Decimal("0.06"))
    assert (cause.evidence["billed_uses"], cause.evidence["metered_uses"]) == (4, 4)
    assert cause.proposal is not None
    assert 'names = ["web_search"]\nusd = 0.025\n' in cause.proposal


def test_reconcile_calls_with_unknown_tokens_are_not_counted() -> None:
    """As many requests as calls, but tokens that the ledger does not know: the calls without usage are named."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    known = make_call(at)
    unknown = make_call(at, usage=Usage(), usage_source="none", status="aborted")
    found = reconcile([known, unknown], bill_calls([known, make_call(at)]))
    (cause,) = found.causes
    assert (cause.kind, cause.amount, cause.evidence["calls_without_usage"]) == ("not_counted", known.cost, 1)


def test_reconcile_estimated_tokens_are_named() -> None:
    """As many requests as calls, with tokens that were estimated: the estimate is the cause, in both directions."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    estimated = make_call(at, usage=Usage(1_100, 150, 1_250), usage_source="tiktoken")
    found = reconcile([estimated], bill_calls([make_call(at)]))
    assert set(kinds(found)) == {"estimated"}
    assert found.causes[0].evidence["estimated_calls"] == 1


def test_reconcile_calls_that_the_bill_does_not_have_are_named() -> None:
    """What only the ledger has is a negative difference, and does not raise the coverage above 1."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    calls = [make_call(at), make_call(at)]
    found = reconcile(calls, bill_calls(calls[:1]))
    assert by_kind(found) == {"not_billed": -(calls[0].cost or Decimal(0))}
    assert found.coverage == 1


@pytest.mark.parametrize("projects", [(PROJECT,), (PROJECT, "proj_second")])
def test_reconcile_calls_without_a_project_are_found_by_their_sums(projects: tuple[str, ...]) -> None:
    """Calls of earlier versions have no project: they are compared with the projects that have their traffic."""
    calls = [replace(call, project=None) for call in month(random.Random(7), 40)]
    organization = Organization()
    for place, call in enumerate(calls):
        add_call(organization, call, BOOK, project=projects[place % len(projects)])
    others = _add(organization, month(random.Random(8), 10), project="proj_other")
    found = reconcile(calls, organization)
    assert by_kind(found) == {"another_project": _decimal(sum((row.usd for row in others), Fraction(0)))}


def test_reconcile_costs_without_keys_are_shared_by_the_usage() -> None:
    """Where costs cannot be grouped by key, the usage has the tokens of each key."""
    calls = month(random.Random(3), 40)
    organization = bill_calls(calls)
    organization.key_groups = False
    others = [make_call(datetime(2026, 10, day, 8, tzinfo=UTC), model="gpt-6-luna") for day in (3, 4, 9)]
    _add(organization, others, key="key_of_a_colleague")
    assert by_kind(reconcile(calls, organization)) == {"another_key": _decimal(_cost(others))}


def test_reconcile_lines_that_do_not_state_the_tier_are_shared_by_the_usage() -> None:
    """A line of all tiers together is shared by the tokens of each tier, at our prices."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    calls = [make_call(at), make_call(at, service_tier="priority", usage=Usage(700, 90, 790))]
    organization = bill_calls([calls[0], replace(calls[1], service_tier="flex")], tiers_named=False)
    flex = make_call(at, service_tier="flex", usage=calls[1].usage)
    assert by_kind(reconcile(calls, organization)) == {
        "tier": (flex.cost or Decimal(0)) - (calls[1].cost or Decimal(0))
    }


def test_reconcile_batch_without_a_poll_is_not_counted() -> None:
    """A batch, where the ledger has none at all, is a shape that is not counted."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    calls = [make_call(at)]
    organization = bill_calls(calls)
    rows = _add(organization, [make_call(at, service_tier="batch", usage=Usage(90_000, 9_000, 99_000))])
    assert by_kind(reconcile(calls, organization)) == {
        "not_counted": _decimal(sum((row.usd for row in rows), Fraction(0)))
    }


def test_reconcile_other_providers_are_left_out() -> None:
    """OpenAI bills no calls of Azure, and no errors."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    calls = [make_call(at)]
    azure = make_call(at, provider="azure", host="x.openai.azure.com")
    failed = make_call(at, status="error", usage=Usage(), usage_source="none", error_type="RateLimitError")
    found = reconcile([*calls, azure, failed], bill_calls(calls))
    assert (found.causes, found.coverage) == ((), 1)


def test_reconcile_fine_tuned_and_dated_names_are_the_same_model() -> None:
    """A snapshot in the bill is the model of the ledger; a fine-tuned model has a hyphen there."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    calls = [
        make_call(at, model="gpt-4.1-mini"),
        make_call(
            at, model="ft:gpt-4.1-mini-2025-04-14:acme::x1", requested_model="ft:gpt-4.1-mini-2025-04-14:acme::x1"
        ),
    ]
    organization = bill_calls(calls)
    names = {"gpt-4.1-mini": "gpt-4.1-mini-2025-04-14", calls[1].model: "ft-gpt-4.1-mini-2025-04-14"}
    for row in organization.charged:
        model, comma, kind = row.line_item.partition(", ")
        row.line_item = f"{names[model]}{comma}{kind}"
    organization.used = [replace(row, model=names[row.model]) for row in organization.used]
    found = reconcile(calls, organization)
    assert (found.causes, found.coverage) == ((), 1)


def test_reconciliation_by_groups_sum_up_to_the_whole() -> None:
    """Every grouping has the same sums; unknown names are refused."""
    dice = random.Random(2)
    calls = month(dice)
    organization = bill_calls(calls)
    plant_storage(dice, calls, organization)
    found = reconcile(calls, organization)
    for groups in (("day",), ("project", "model"), ("line_item",), ("day", "project", "line_item")):
        sums = found.by(*groups).values()
        assert sum((one.billed for one in sums), Fraction(0)) == found.sums.billed
        assert sum((one.metered for one in sums), Fraction(0)) == found.sums.metered
    with pytest.raises(ValueError, match="'agent'; use day, project, model, line_item"):
        found.by("agent")
    data = found.to_dict()
    assert Decimal(data["billed"]) - Decimal(data["metered"]) == Decimal(data["difference"]) == Decimal("3.875")


@pytest.mark.parametrize("seed", [7005, 7031, 7037])
def test_reconcile_costs_without_quantities_are_compared_by_the_usage(seed: int) -> None:
    """Where costs state no quantity, the tokens are those of the usage, and gaps are found all the same."""
    dice = random.Random(seed)
    calls = month(dice, 40)
    organization = bill_calls(calls)
    gaps = [plant(dice, calls, organization) for plant in (plant_tier, plant_another_key, plant_another_program)]
    for row in organization.charged:
        row.quantity = None
    found = by_kind(reconcile(calls, organization))
    assert found == {gap.kind: _decimal(gap.usd) for gap in gaps}


def test_reconcile_costs_without_quantities_of_a_month_without_gaps_cover_one() -> None:
    """Web searches are charged with tokens that the usage does not have: they are no gap."""
    calls = [
        make_call(
            datetime(2026, 10, 5, 9, tzinfo=UTC), model="gpt-4.1-mini", usage=Usage(500, 40, 540, web_searches=searches)
        )
        for searches in (0, 2)
    ]
    organization = bill_calls(calls)
    for row in organization.charged:
        row.quantity = None
    found = reconcile(calls, organization)
    assert (found.coverage, found.causes) == (1, ())


@pytest.mark.parametrize(
    ("began", "billed", "sign"),
    [
        (datetime(2026, 10, 31, 23, 58, tzinfo=UTC), datetime(2026, 11, 1, 0, 2, tzinfo=UTC), -1),
        (datetime(2026, 9, 30, 23, 58, tzinfo=UTC), datetime(2026, 10, 1, 0, 2, tzinfo=UTC), 1),
        (datetime(2026, 10, 6, 0, 2, tzinfo=UTC), datetime(2026, 10, 5, 23, 58, tzinfo=UTC), 0),
    ],
)
def test_reconcile_call_at_the_edge_of_a_day_is_found_on_the_other_side(
    began: datetime, billed: datetime, sign: int
) -> None:
    """A call that is billed on the day before or after is named, also where one of the days is not in the month."""
    calls = month(random.Random(3), 60)
    organization = bill_calls(calls)
    edge = make_call(began, usage=Usage(4_444, 55, 4_499))
    add_call(organization, replace(edge, started_at=billed), BOOK)
    found = reconcile([*calls, edge], organization)
    (cause,) = found.causes
    assert (cause.kind, cause.amount, cause.evidence["calls"]) == ("time_zone", sign * (edge.cost or Decimal(0)), 1)
