"""A ledger as a FOCUS dataset: by the rules of the specification, and exactly the cost in the ledger."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs openai-meter[ledger]: FOCUS exports are NOT tested")

import focus_rules
from ledger_calls import call

from openai_meter import Call, ConfigurationError, Price, PriceBook, Usage
from openai_meter.ledger import Ledger
from openai_meter.ledger.billing.bill import Bill, CostRow

if TYPE_CHECKING:
    from ledgers import Database

START = datetime(2026, 10, 30, 9, tzinfo=UTC)
BOOK = PriceBook()


def priced(hours: float = 0, book: PriceBook = BOOK, **changes: Any) -> Call:
    """A call with its price, so many hours after the start."""
    fields: dict[str, Any] = {"model": "gpt-5.1", "requested_model": "gpt-5.1", "endpoint": "responses", **changes}
    made = replace(call(START + timedelta(hours=hours)), **fields)
    return made.charged(book.cost(book.billable_of(made)), book)


def tokens(tokens_in: int, tokens_out: int, **parts: Any) -> Usage:
    """A usage with its total."""
    return Usage(tokens_in, tokens_out, tokens_in + tokens_out, **parts)


def mixed() -> list[Call]:
    """Calls of every kind that a charge can have, over two months."""
    third = PriceBook({"house": Price(input="0.1", output=1, call="0.00005", per=3)})
    off = PriceBook(discount="0.07")
    found = [
        priced(n, usage=tokens(1_000 + n, 50, cached_input_tokens=n % 7 * 128), tags={"customer": f"c{n % 3}"})
        for n in range(60)
    ]
    found += [priced(n / 2, usage=tokens(900, 30), service_tier="flex", agent="a b") for n in range(9)]
    found += [priced(2, usage=tokens(n, 900), model="gpt-6.2-sol") for n in (10, 300_000, 271_999, 400_000)]
    found += [priced(3, usage=tokens(70, 5, web_searches=2, file_searches=1), model="gpt-5-mini") for _ in range(3)]
    found += [priced(3, usage=tokens(70, 5, container_sessions=1), model="gpt-5-mini", user="ünï") for _ in range(2)]
    found += [priced(4, third, usage=tokens(7 * n, n), model="house") for n in range(1, 5)]
    found += [priced(5, off, usage=tokens(1_234, 567)) for _ in range(3)]
    found += [priced(6, usage=tokens(12, 3), model="no-such-model", tags={"q": '"=1'}) for _ in range(4)]
    found += [priced(7, usage=tokens(100, 0, input_audio_tokens=60), model="gpt-5-mini") for _ in range(2)]  # partial
    found += [priced(8, usage=Usage(), model="omni-moderation-latest", endpoint="moderations") for _ in range(5)]
    found += [priced(8, usage=Usage(), usage_source="none")]
    found += [priced(9, usage=tokens(40, 1_056), model="gpt-image-1", endpoint="images.generate") for _ in range(2)]
    found += [priced(9, usage=Usage(seconds=61.25 + n), model="whisper-1", endpoint="audio.transcriptions")
              for n in range(3)]  # fmt: skip
    found += [priced(10, usage=Usage(characters=1_001), model="tts-1", endpoint="audio.speech")]
    found += [replace(priced(11, usage=tokens(5, 5), provider="openrouter.ai", host="openrouter.ai", model="x/y"),
                      cost_pico=Fraction(1_234_567, 7), cost_status="priced", price_source="provider", price_book=None)
              for _ in range(3)]  # fmt: skip
    found += [priced(12, usage=tokens(5_000, 700), endpoint="batches", service_tier="batch")]
    found += [priced(13, usage=tokens(500, 70), provider="azure", host="x.openai.azure.com")]
    return found


@pytest.fixture(params=[True, False], ids=["with bills", "without bills"])
def ledger(request: pytest.FixtureRequest, database: Database) -> Any:
    """A ledger with calls of every kind: each with its bill, or without, as an earlier version stored them."""
    opened = Ledger(database.url)
    opened.import_calls(one if request.param else replace(one, price_book=None) for one in mixed())
    yield opened
    opened.close()


def exported(ledger: Ledger, **options: Any) -> tuple[list[str], list[dict[str, str]], Any]:
    """The header and the rows of a CSV file, and what the export says that it wrote."""
    file = io.BytesIO()
    written = ledger.export_focus(file, **options)
    reader = csv.DictReader(io.StringIO(file.getvalue().decode(), newline=""))
    rows = list(reader)
    return list(reader.fieldnames or ()), rows, written


def billed(rows: list[dict[str, str]], *names: str) -> dict[tuple[str, ...], Decimal]:
    """The sums of BilledCost by some columns."""
    sums: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[tuple(row[name] for name in names)] += Decimal(row["BilledCost"])
    return {key: amount for key, amount in sums.items() if amount}


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_focus_file_keeps_every_rule_of_the_specification(ledger: Ledger, version: str) -> None:
    """Columns, types, nulls, allowed values and the requirements between columns hold for each row."""
    header, rows, _ = exported(ledger, version=version, by="agent,user", account="org-1")
    assert list(focus_rules.violations(header, rows, version)) == []
    assert {row["BillingAccountId"] for row in rows} == {"org-1"}
    assert {row["ChargeCategory"] for row in rows} == {"Usage", "Adjustment"}


PICO = Decimal("1e-12")


def test_focus_file_sums_up_to_the_ledger_in_every_grouping(ledger: Ledger) -> None:
    """By day, month, model, tag, agent, user and provider, BilledCost is the ledger's cost to the pico-dollar."""
    _, rows, written = exported(ledger, by=("agent", "user"))
    total = ledger.totals()
    assert abs(sum(billed(rows, "x_Model").values()) - total.cost) < PICO
    assert abs(written.billed - total.cost) < PICO
    assert (written.rows, written.calls, written.unpriced_calls) == (len(rows), total.calls, total.unpriced_calls)
    groupings = {"model": "x_Model", "agent": "x_Agent", "user": "x_User", "provider": "ProviderName"}
    for dimension, column in groupings.items():
        stated = {row.key[0]: row.totals.cost for row in ledger.report(by=dimension).rows if row.totals.cost}
        found = billed(rows, column)
        assert len(found) == len(stated), dimension
        assert max(abs(a - b) for a, b in zip(sorted(found.values()), sorted(stated.values()), strict=True)) < PICO
    days = {row.key[0]: row.totals.cost for row in ledger.report(by="day").rows if row.totals.cost}
    found = {key[0][:10]: amount for key, amount in billed(rows, "ChargePeriodStart").items()}
    assert found.keys() == days.keys()
    assert all(abs(found[day] - days[day]) < PICO for day in days)
    tags = {row.key[0]: row.totals.cost for row in ledger.report(by="tag:customer").rows if row.totals.cost}
    by_tag: Counter[str] = Counter()
    for (text,), amount in billed(rows, "Tags").items():
        by_tag[json.loads(text or "{}").get("customer", "(unattributed)")] += amount
    assert all(abs(by_tag[name] - tags[name]) < PICO for name in tags)


def test_calls_with_and_without_cached_tokens_are_one_row(database: Database) -> None:
    """A price line of a day has one row, whatever other lines the bills of its calls have."""
    ledger = Ledger(database.url)
    cached = {"cached_input_tokens": 128}
    ledger.import_calls([
        priced(n, usage=tokens(1_000, n + 1, **(cached if n % 2 else {})), requested_model=f"alias-{n}")
        for n in range(6)
    ])  # fmt: skip
    _, rows, _ = exported(ledger)
    ledger.close()
    assert [(row["x_PriceLine"], row["ConsumedQuantity"], row["x_CallCount"]) for row in rows] == [
        ("input", "5616", "6"), ("cached_input", "384", "0"), ("output", "21", "0"),
    ]  # fmt: skip


def test_focus_rows_count_each_call_and_token_once(ledger: Ledger) -> None:
    """Counts that belong to several rows of a group are on the first one: their sums are those of the ledger."""
    _, rows, _ = exported(ledger)
    total = ledger.totals()
    for column, number in (
        ("x_CallCount", total.calls), ("x_UnpricedCallCount", total.unpriced_calls),
        ("x_InputTokens", total.input_tokens), ("x_OutputTokens", total.output_tokens),
    ):  # fmt: skip
        assert sum(int(row[column] or 0) for row in rows) == number, column


def test_focus_rows_show_calls_of_unknown_cost(ledger: Ledger) -> None:
    """Calls without a price are an adjustment of 0 that counts them, with tokens, without a unit price."""
    _, rows, _ = exported(ledger)
    (row,) = [row for row in rows if row["x_Model"] == "no-such-model"]
    assert (row["ChargeCategory"], row["BilledCost"], row["ListUnitPrice"], row["SkuId"]) == ("Adjustment", "0", "", "")
    assert (row["x_CostStatus"], row["x_UnpricedCallCount"], row["x_InputTokens"]) == ("unpriced", "4", "48")
    assert row["ChargeDescription"] == "no-such-model: 4 calls of unknown cost (unknown model); it is not 0"
    assert {row["x_CostEstimated"] for row in rows if row["x_PriceLine"] == "container"} == {"true"}
    partial = [row for row in rows if row["x_CostStatus"] == "partial"]
    assert sum(int(row["x_UnpricedCallCount"]) for row in partial) == 2


def test_focus_rows_have_list_and_contracted_prices(database: Database) -> None:
    """A discount of the caller is in the contracted price and not in the list price."""
    off = PriceBook(discount="0.25")
    ledger = Ledger(database.url)
    ledger.import_calls([priced(usage=tokens(1_000_000, 1_000), book=off, model="gpt-4o-mini") for _ in range(2)])
    _, rows, _ = exported(ledger)
    ledger.close()
    first, second = rows
    assert (first["x_PriceLine"], first["PricingQuantity"], first["PricingUnit"]) == ("input", "2", "1000000 Tokens")
    assert (first["ListUnitPrice"], first["ContractedUnitPrice"]) == ("0.15", "0.1125")
    assert (first["ListCost"], first["ContractedCost"], first["BilledCost"]) == ("0.3", "0.225", "0.225")
    assert (second["x_PriceLine"], second["BilledCost"], second["ConsumedQuantity"]) == ("output", "0.0009", "2000")


def test_focus_charges_of_other_prices_are_those_of_the_ledger(database: Database) -> None:
    """A cost that the price list does not explain is a row of dollars: the file has the cost of the ledger."""
    ledger = Ledger(database.url)
    ledger.import_calls(
        [
            replace(priced(usage=tokens(10, 5)), cost_pico=777, price_source="override", price_book=None)
            for _ in range(3)
        ]
    )
    header, rows, _ = exported(ledger)
    ledger.close()
    assert list(focus_rules.violations(header, rows, "1.2")) == []
    (row,) = rows
    assert (row["PricingUnit"], row["ContractedUnitPrice"], row["BilledCost"]) == ("Dollars", "1", "0.000000002331")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("3", "Requests")


def test_long_requests_next_to_short_ones_have_lines_of_their_own(database: Database) -> None:
    """Requests beyond the long context are charged by their own prices, also where a threshold is a model's own."""
    own = PriceBook({"house": Price(input=1, output=2, long=Price(input=3, output=4), long_from=1_000)})
    ledger = Ledger(database.url)
    ledger.import_calls([priced(book=own, model="house", usage=tokens(n, 10)) for n in (900, 1_000, 1_001, 5_000)])
    _, rows, _ = exported(ledger)
    ledger.close()
    lines = {(row["x_PriceLine"], row["SkuPriceId"].rpartition("/")[2]): row["ConsumedQuantity"] for row in rows}
    assert lines == {("input", "default"): "1900", ("output", "default"): "20", ("input", "long"): "6001",
                     ("output", "long"): "20"}  # fmt: skip


def test_parquet_file_has_the_types_and_the_values_of_the_csv_file(ledger: Ledger, tmp_path: Path) -> None:
    """Parquet has decimal numbers, times and booleans, nullable as the specification has it, and the same rows."""
    pq = pytest.importorskip("pyarrow.parquet", reason="needs openai-meter[parquet]: Parquet is NOT tested")
    ledger.export_focus(tmp_path / "focus.parquet", version="1.4")
    header, rows, _ = exported(ledger, version="1.4")
    table = pq.read_table(tmp_path / "focus.parquet")
    assert table.column_names == header
    types = {field.name: (str(field.type), field.nullable) for field in table.schema}
    assert types["BilledCost"] == ("decimal128(38, 18)", False)
    assert types["ListUnitPrice"] == ("decimal128(38, 18)", True)
    assert types["ChargePeriodStart"] == ("timestamp[ms, tz=UTC]", False)
    assert (types["x_CostEstimated"], types["x_CallCount"]) == (("bool", False), ("int64", False))
    assert [row["BilledCost"] for row in table.to_pylist()] == [Decimal(row["BilledCost"]) for row in rows]
    assert [row["Tags"] or "" for row in table.to_pylist()] == [row["Tags"] for row in rows]


def test_focus_export_keeps_to_the_filters_and_the_span(ledger: Ledger) -> None:
    """Filters by tag and model, and a month, keep what they keep in a report."""
    for wanted in ({"since": "2026-11"}, {"until": "2026-10"}, {"tag": {"customer": "c1"}}, {"agent": "a b"},
                   {"model": "gpt-5.1", "user": None}, {"tag": {"customer": ("c2", None)}}):  # fmt: skip
        _, rows, written = exported(ledger, **wanted)
        totals = ledger.totals(**wanted)
        assert written.calls == totals.calls > 0
        assert abs(sum(billed(rows, "x_Model").values()) - totals.cost) < PICO
    seen: list[int] = []
    ledger.export_focus(io.BytesIO(), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == ledger.totals().calls


def test_empty_ledger_is_a_file_with_a_header(database: Database) -> None:
    """Without calls, there is the header alone."""
    ledger = Ledger(database.url)
    header, rows, written = exported(ledger)
    ledger.close()
    assert (header[0], rows, written.rows, written.billed) == ("BilledCost", [], 0, 0)


@pytest.mark.parametrize(("options", "message"), [
    ({"version": "1.3"}, "version='1.3' of FOCUS cannot be written; use one of 1.2, 1.4"),
    ({"form": "xml"}, "format='xml' is not a form of a FOCUS file; use one of csv, parquet"),
    ({"by": "model"}, "by='model' is not a further dimension of a FOCUS file; use agent, operation"),
])  # fmt: skip
def test_focus_export_with_a_wrong_value_raises(sqlite: Database, options: Any, message: str) -> None:
    """A version, a form or a dimension that there is not is an error with those that there are."""
    ledger = Ledger(sqlite.url)
    with pytest.raises(ConfigurationError) as error:
        ledger.export_focus(io.BytesIO(), **options)
    assert message in str(error.value)
    with pytest.raises(ConfigurationError, match=r"does not end with \.csv or \.parquet"):
        ledger.export_focus("focus.txt")
    ledger.close()


def test_focus_export_of_pruned_days_names_the_first_whole_day(sqlite: Database) -> None:
    """Days whose details were pruned cannot be exported: the error names since when they are there."""
    ledger = Ledger(sqlite.url)
    ledger.import_calls(mixed())
    ledger.prune("2026-10-31")
    with pytest.raises(ConfigurationError, match="were pruned; use since='2026-10-31'"):
        ledger.export_focus(io.BytesIO())
    assert exported(ledger, since="2026-10-31")[2].calls == ledger.totals(since="2026-10-31").calls
    ledger.close()


def test_bill_is_written_as_the_datasets_of_invoices(ledger: Ledger, tmp_path: Path) -> None:
    """Next to a file of version 1.4: a row for each line item of a month and project, and one for each month."""
    bill = Bill((), tuple(
        CostRow(day, project, None, item, Fraction(amount), None, None)
        for day, project, item, amount in (
            (date(2026, 9, 1), "proj_a", "gpt-5.1, input", 3 * 10**12),
            (date(2026, 9, 30), "proj_a", "gpt-5.1, input", 1),
            (date(2026, 9, 30), None, "credit", -5 * 10**11), (date(2036, 1, 1), "proj_b", "gpt-5.1, output", 10**12),
        )
    ))  # fmt: skip
    ledger.export_focus(tmp_path / "focus.csv", version="1.4", account="org-1", bill=bill)
    details, periods = (
        list(csv.DictReader((tmp_path / f"focus.{name}.csv").read_text(encoding="utf-8").splitlines()))
        for name in ("invoice-detail", "billing-period")
    )
    assert list(focus_rules.violations_of_invoices(details, periods)) == []
    assert [(row["BilledCost"], row["InvoiceId"], row["ChargeCategory"]) for row in details] == [
        ("-0.5", "provisional-2026-09", "Credit"), ("3.000000000001", "provisional-2026-09", "Usage"),
        ("1", "provisional-2036-01", "Usage"),
    ]  # fmt: skip
    assert json.loads(details[1]["InvoiceDetailGrain"]) == {"SubAccountId": "proj_a", "x_LineItem": "gpt-5.1, input"}
    assert [(row["BillingPeriodStart"], row["BillingPeriodStatus"]) for row in periods] == [
        ("2026-09-01T00:00:00Z", "Closed"), ("2036-01-01T00:00:00Z", "Open"),
    ]  # fmt: skip
    for target, version in ((tmp_path / "focus.csv", "1.2"), (io.BytesIO(), "1.4")):
        with pytest.raises(ConfigurationError, match=r"need version 1\.4 and a path"):
            ledger.export_focus(target, version=version, bill=bill)
