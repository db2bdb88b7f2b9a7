"""Reading an organization's usage and costs: pages, groups, waiting, and errors that name a remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: reading a bill is NOT tested")
pytest.importorskip("openai.resources.admin", reason="this openai has no admin API: reading it is NOT tested")

from organization import KEY, PROJECT, Charged, FakeAdmin, Organization, Used, error_answer, serve

import openai_meter
from openai_meter.errors import BillingError, ConfigurationError
from openai_meter.ledger.billing.bill import CostRow, UsageRow, cost_row, usage_row
from openai_meter.ledger.billing.organization import ENDPOINTS, read_bill
from openai_meter.testing.fake_api.loopback import Answer

openai = pytest.importorskip("openai", reason="openai is not installed: this is NOT tested")

_USAGE = openai.OpenAI(api_key="sk-test").admin.organization.usage
METHODS = {name for name in dir(_USAGE) if not name.startswith(("_", "with_")) and callable(getattr(_USAGE, name))}
"""What the installed SDK has: older versions have no decisions."""
FIRST = date(2026, 10, 1)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def busy(days: int) -> Organization:
    """An organization with a request on each of some days."""
    return Organization(
        [Used(NOON + timedelta(days=day), counts={"input_tokens": 100, "output_tokens": 10}) for day in range(days)],
        [
            Charged(FIRST + timedelta(days=day), "gpt-5-mini, input", Fraction(1, 3), Fraction(100))
            for day in range(days)
        ],
    )


def real_client(url: str) -> Any:
    return openai.OpenAI(admin_api_key="sk-admin-test", base_url=url, max_retries=0)


def test_read_bill_a_long_span_reads_every_page_once() -> None:
    """Ninety days are in three pages of usage; every day is read once, from the first to the last."""
    organization = busy(90)
    bill = read_bill(FakeAdmin(organization), FIRST, FIRST + timedelta(days=90))
    days = [FIRST + timedelta(days=day) for day in range(90)]
    assert [row.day for row in bill.usage] == days
    assert [row.day for row in bill.costs] == days
    pages = [kind for kind, _ in organization.requests]
    assert pages.count("completions") == 3
    assert pages.count("costs") == 1


def test_read_bill_each_endpoint_is_grouped_by_what_the_sdk_allows() -> None:
    """No request is refused, and every endpoint of the SDK that has usage is read."""
    organization = busy(1)
    bill = read_bill(FakeAdmin(organization), FIRST, FIRST + timedelta(days=1))
    assert bill.notes == ()
    assert {kind for kind, _ in organization.requests} == METHODS
    assert {row.name for row in ENDPOINTS} >= METHODS


def test_read_bill_over_http_equals_what_happened() -> None:
    """A real client over HTTP gives the same rows; its requests carry the admin key, and are not recorded."""
    organization = busy(2)
    meter = openai_meter.install()
    try:
        with serve(organization) as url:
            bill = read_bill(real_client(url), FIRST, FIRST + timedelta(days=2))
        assert meter.totals.calls == 0
        assert meter.pending == ()
    finally:
        openai_meter.uninstall()
    counts = {"input": Fraction(100), "output": Fraction(10)}
    assert bill.usage == tuple(
        UsageRow(day, "completions", PROJECT, KEY, "gpt-5-mini", "default", 1, counts)
        for day in (FIRST, FIRST + timedelta(days=1))
    )
    amount = Fraction(str(float(Fraction(1, 3)))) * 10**12
    assert bill.costs[0] == CostRow(FIRST, PROJECT, KEY, "gpt-5-mini, input", amount, Fraction(100), "tokens")


def test_read_bill_too_many_requests_waits_as_the_answer_asks() -> None:
    """Answers with 429 are asked again after the time in their header, or after growing times."""
    waits: list[float] = []

    def refuse(kind: str, number: int) -> Answer | None:
        if kind == "completions" and number == 1:
            return error_answer(429, "slow down", retry_after="7")
        return error_answer(429, "slow down") if kind == "completions" and number == 2 else None

    with serve(busy(1), refuse) as url:
        bill = read_bill(real_client(url), FIRST, FIRST + timedelta(days=1), sleep=waits.append)
    assert waits == [7.0, 2.0]
    assert len(bill.usage) == 1


def test_read_bill_too_many_requests_for_ever_raises() -> None:
    """There is an end to the attempts."""
    waits: list[float] = []
    with (
        serve(busy(1), lambda kind, _: error_answer(429, "slow down") if kind == "costs" else None) as url,
        pytest.raises(BillingError, match="organization/costs: too many requests"),
    ):
        read_bill(real_client(url), FIRST, FIRST + timedelta(days=1), sleep=waits.append)
    assert waits == [1, 2, 4, 8, 16, 32, 60]


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (
            403,
            "You have insufficient permissions. Missing scopes: api.usage.read. Check your role.",
            "organization/costs: the key may not read it: the permission api.usage.read is missing",
        ),
        (401, "No permission. Missing scopes: api.management.read.", "permission api.management.read"),
        (403, "Forbidden", "the permission api.usage.read is missing"),
        (401, "Incorrect API key provided.", "does not accept the key; pass an admin key"),
        (500, "The server had an error", "organization/costs cannot be read: .*server had an error"),
        (404, "Unknown", "the API has no organization/costs"),
    ],
)  # fmt: skip
def test_read_bill_refusal_names_the_missing_permission(status: int, message: str, expected: str) -> None:
    """The error names the endpoint and the permission, or what to pass instead."""
    with (
        serve(busy(1), lambda _kind, _number: error_answer(status, message)) as url,
        pytest.raises(BillingError, match=expected),
    ):
        read_bill(real_client(url), FIRST, FIRST + timedelta(days=1))


def test_read_bill_an_endpoint_that_is_missing_is_noted() -> None:
    """What the API does not have is no error where the costs can be compared without it."""
    with serve(busy(1), lambda kind, _: error_answer(404, "?") if kind == "decisions" else None) as url:
        assert read_bill(real_client(url), FIRST, FIRST + timedelta(days=1)).notes == ("decisions",)


def test_read_bill_costs_that_cannot_be_grouped_by_key_are_read_by_project() -> None:
    """An organization that refuses to group costs by key is read without keys."""
    organization = busy(1)
    organization.key_groups = False
    bill = read_bill(FakeAdmin(organization), FIRST, FIRST + timedelta(days=1))
    assert [(row.project, row.key) for row in bill.costs] == [(PROJECT, None)]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: openai.AsyncOpenAI(admin_api_key="sk-admin-test"), "AsyncOpenAI"),
        (object, "admin.organization.usage; pass OpenAI"),
    ],
)
def test_read_bill_a_client_that_cannot_be_used_raises(make: Callable[[], object], expected: str) -> None:
    """An asynchronous client, and one of an SDK without the admin API, are refused with what to pass."""
    with pytest.raises(ConfigurationError, match=expected):
        read_bill(make(), FIRST, FIRST + timedelta(days=1))


def test_read_bill_progress_is_called_for_each_endpoint() -> None:
    """The caller can show how far it is."""
    steps: list[tuple[str, int, int]] = []
    read_bill(FakeAdmin(busy(1)), FIRST, FIRST + timedelta(days=1), progress=lambda *step: steps.append(step))
    names = [row.name for row in ENDPOINTS if row.name in METHODS]
    assert steps == [(name, place, len(names)) for place, name in enumerate(names, 1)]


def test_usage_row_the_parts_of_tokens_are_disjoint() -> None:
    """Cached, written, audio and image tokens are taken out of the input, as the SDK describes its fields."""
    row = usage_row(
        "completions", 1_790_812_800,
        {
            "input_tokens": 1_000, "input_cached_tokens": 300, "input_cached_audio_tokens": 50,
            "input_cache_write_tokens": 100, "input_cache_write_12h_tokens": 40, "input_audio_tokens": 60,
            "input_image_tokens": 20, "output_tokens": 90, "output_audio_tokens": 30, "batch": True,
            "num_model_requests": 3, "service_tier": "default",
        },
    )  # fmt: skip
    assert row.counts == {
        "input": 520, "cached_input": 250, "cached_audio": 50, "cache_write": 60, "cache_write_12h": 40,
        "input_audio": 60, "input_image": 20, "output": 60, "output_audio": 30,
    }  # fmt: skip
    assert (row.tier, row.requests, sum(row.counts.values())) == ("batch", 3, 1_090)


def test_cost_row_amounts_are_exact() -> None:
    """Numbers and texts are read digit by digit; another currency is refused."""
    assert cost_row(0, {"amount": {"value": 0.1, "currency": "usd"}}).amount == 10**11
    text = {"value": "0.0000451350000000000000000000001", "currency": "usd"}
    assert cost_row(0, {"amount": text}).amount == Fraction("45135000.0000000000000000001")
    with pytest.raises(BillingError, match="in eur"):
        cost_row(0, {"amount": {"value": 1, "currency": "eur"}})
    with pytest.raises(BillingError, match="'much'"):
        cost_row(0, {"amount": {"value": "much", "currency": "usd"}})
