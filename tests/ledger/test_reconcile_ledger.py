"""``Ledger.reconcile``: what it reads, what it keeps, and what shows that."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "sqlalchemy", reason="the extra [ledger] is not installed: a comparison with the bill is NOT tested"
)
pytest.importorskip("openai.resources.admin", reason="this openai has no admin API: reading it is NOT tested")

from organization import KEY, PROJECT, Charged, FakeAdmin, Organization, Used, bill_calls
from test_reconcile import NOW, make_call, month, plant_another_key

from openai_meter import Ledger
from openai_meter.errors import BillingError, ConfigurationError
from openai_meter.ledger.billing.bill import Bill, CostRow, UsageRow
from openai_meter.ledger.billing.exported import read_files
from openai_meter.ledger.billing.methods import days_of


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/usage.db")
    yield ledger
    ledger.close()


def test_reconcile_of_a_ledger_equals_its_calls(ledger: Ledger) -> None:
    """Calls that were stored and read again give the bill of when they were made: the coverage is exactly 1."""
    calls = month(random.Random(4), 50)
    edge = make_call(datetime(2026, 10, 31, 23, 59, 30, tzinfo=UTC))
    ledger.import_calls([*calls, edge, make_call(datetime(2026, 11, 1, tzinfo=UTC))])
    found = ledger.reconcile("2026-10", FakeAdmin(bill_calls([*calls, edge])), now=NOW)
    assert (found.coverage, found.causes) == (1, ())
    assert (found.since, found.until) == (date(2026, 10, 1), date(2026, 10, 31))


def test_reconcile_keeps_its_sums_for_the_dashboard_and_the_metrics(ledger: Ledger) -> None:
    """The last comparison can be read again: by the program, over HTTP in both languages, and as a gauge."""
    dice = random.Random(6)
    calls = month(dice, 30)
    organization = bill_calls(calls)
    plant_another_key(dice, calls, organization)
    ledger.import_calls(calls)
    assert ledger.last_reconciliation() is None
    found = ledger.reconcile("2026-10", FakeAdmin(organization), now=NOW)
    kept = ledger.last_reconciliation()
    assert kept is not None
    assert {name: kept[name] for name in ("billed", "coverage", "by_cause")} == {
        name: found.to_dict()[name] for name in ("billed", "coverage", "by_cause")
    }
    assert sum(Decimal(row["billed"]) for row in kept["by_day"]) == found.billed


def test_reconcile_metrics_have_the_coverage(ledger: Ledger) -> None:
    """``openai_meter_bill_coverage`` is there after a comparison, and not before."""
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed: this is NOT tested")
    from openai_meter.prometheus import exposition

    ledger.import_calls([call := make_call(datetime(2026, 10, 5, 9, tzinfo=UTC))])
    assert b"bill_coverage" not in exposition(ledger)[0]
    organization = bill_calls([call])
    organization.charged.append(Charged(date(2026, 10, 5), "vector storage", Fraction(1, 4), key=None))
    ledger.reconcile("2026-10", FakeAdmin(organization), now=NOW)
    text = exposition(ledger)[0].decode()
    assert 'openai_meter_bill_coverage{of="tokens"} 1.0' in text
    assert 'openai_meter_bill_difference_usd{cause="storage"} 0.25' in text


def test_reconcile_over_http_has_sentences_in_the_language(ledger: Ledger) -> None:
    """``/api/bill`` is null before the first comparison; after it each cause has its name and its evidence."""
    pytest.importorskip("starlette", reason="starlette is not installed: this is NOT tested")
    from starlette.testclient import TestClient

    from openai_meter.server import create_app

    ledger.import_calls([call := make_call(datetime(2026, 10, 5, 9, tzinfo=UTC))])
    api = TestClient(create_app(ledger=ledger, token=False), base_url="http://localhost")
    assert api.get("/api/bill").json() == {"bill": None}
    organization = bill_calls([call])
    organization.charged.append(Charged(date(2026, 10, 5), "vector storage", Fraction(1, 4), key=None))
    ledger.reconcile("2026-10", FakeAdmin(organization), now=NOW)
    (cause,) = api.get("/api/bill", params={"lang": "fr"}).json()["bill"]["by_cause"]
    assert (cause["kind"], cause["amount"], cause["name"]) == ("storage", "0.25", "Stockage")
    assert cause["about"] == f"{PROJECT}\N{NO-BREAK SPACE}: le registre contient les appels, pas ce qui est stocké"


def test_reconcile_amounts_of_lines_without_our_price_stay_exact(ledger: Ledger) -> None:
    """Amounts are those of the bill to the last digit, also where their unit price is periodic."""
    organization = Organization(
        charged=[
            Charged(date(2026, 10, day), "vector storage", Fraction(2, 100), Fraction(24), "gibibyte_hours", key=None)
            for day in range(1, 31)
        ]
    )
    found = ledger.reconcile("2026-10", FakeAdmin(organization), now=NOW)
    assert (found.billed, found.coverage) == (Decimal("0.6"), 0)


def test_reconcile_bill_that_was_imported_needs_no_client(ledger: Ledger) -> None:
    """Rows that are imported are used without a client; a second import replaces the days it has."""
    with pytest.raises(ConfigurationError, match="needs client=OpenAI"):
        ledger.reconcile("2026-10", now=NOW)
    call = make_call(datetime(2026, 10, 5, 9, tzinfo=UTC))
    ledger.import_calls([call])
    day = date(2026, 10, 5)

    def bill(times: int) -> Bill:
        amount = Fraction(call.cost_pico or 0) * times
        return Bill(
            (
                UsageRow(
                    day, "completions", PROJECT, KEY, call.model, "default", times, {"input": Fraction(1_000 * times)}
                ),
            ),
            (CostRow(day, PROJECT, KEY, f"{call.model}, all", amount, None, None),),
        )

    for times in (3, 1):
        ledger.import_bill(bill(times))
        assert ledger.reconcile("2026-10", now=NOW).billed == (call.cost or 0) * times


@pytest.mark.parametrize(
    ("period", "first", "end"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 11, 1)),
        ("2026-11", date(2026, 11, 1), date(2026, 11, 16)),
        ("2026-W40", date(2026, 9, 28), date(2026, 10, 5)),
        ("7d", date(2026, 11, 9), date(2026, 11, 16)),
        ("yesterday", date(2026, 11, 14), date(2026, 11, 15)),
        ("2026-10-03..2026-10-05", date(2026, 10, 3), date(2026, 10, 6)),
        (("2026-10-03", "2026-10-05"), date(2026, 10, 3), date(2026, 10, 6)),
        (date(2026, 10, 3), date(2026, 10, 3), date(2026, 10, 4)),
    ],
)
def test_days_of_period_are_whole_days_up_to_today(period: Any, first: date, end: date) -> None:
    """A period is its days in UTC; days that have not begun are left out."""
    assert days_of(period, NOW) == (first, end)


def test_read_files_json_of_the_api_gives_the_rows_of_the_api(tmp_path: Path) -> None:
    """Pages as the API answers them, saved one on each line, are read with all digits."""
    at = datetime(2026, 10, 5, 9, tzinfo=UTC)
    organization = Organization(
        [
            Used(at, counts={"input_tokens": 7, "output_tokens": 3}),
            Used(at, "web_search_calls", counts={"num_requests": 2}),
        ],
        [Charged(at.date(), "gpt-5-mini, input", Fraction(1, 10**7), Fraction(7))],
        as_text=True,
    )
    span = {
        "start_time": int((at - timedelta(days=1)).timestamp()),
        "end_time": int((at + timedelta(days=1)).timestamp()),
    }
    pages = [
        organization.answer(kind, {**span, "group_by": groups})
        for kind, groups in (
            ("completions", ["project_id", "model"]), ("web_search_calls", []), ("costs", ["line_item"]),
        )
    ]  # fmt: skip
    (file := tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, pages)))
    bill = read_files([file])
    assert [(row.kind, row.counts) for row in bill.usage] == [
        ("completions", {"input": 7, "output": 3}), ("web_search_calls", {"web_search": 2}),
    ]  # fmt: skip
    assert [(row.line_item, row.amount, row.quantity) for row in bill.costs] == [("gpt-5-mini, input", 100_000, 7)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1,2\n", "has the columns a, b; a usage export has start_time"),
        ("{broken", "is not JSON"),
        ('{"data": []}', "has neither usage nor costs"),
        ("start_time,amount_value,amount_currency\n1790812800,5,eur\n", "in eur; only bills in US dollars"),
    ],
)
def test_read_files_other_files_are_refused(tmp_path: Path, content: str, expected: str) -> None:
    """The message names the file and what would do."""
    (file := tmp_path / "file.csv").write_text(content)
    with pytest.raises(BillingError, match=expected) as error:
        read_files([file])
    assert str(file) in str(error.value)


def test_reconcile_with_a_metered_client_leaves_no_records() -> None:
    """The endpoints of the organization are in no row of the table of endpoints."""
    from openai_meter.usage.endpoints import find

    for path in ("/organization/costs", "/organization/usage/completions", "/organization/usage/embeddings"):
        assert find("GET", path) is None
