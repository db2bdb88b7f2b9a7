"""The commands for finance: ``export focus`` and ``statement``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs openai-meter[ledger]: the commands for finance are NOT tested")

from ledger_calls import call, days

from openai_meter import Call
from openai_meter.ledger import Ledger

Run = Callable[..., str]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/usage.db"


def put(url: str, *calls: Call) -> None:
    ledger = Ledger(url)
    ledger.import_calls(calls)
    ledger.close()


def test_export_focus_writes_a_file_and_its_sum(url: str, command: Run, tmp_path: Path) -> None:
    """The file has the columns of its version; standard error has the sum, and the calls without a price."""
    unknown = call(model="house", cost_pico=None, cost_status="unpriced", cost_reason="unknown model")
    put(url, *days(3), unknown)
    target = tmp_path / "focus.csv"
    assert command("export", "focus", "--version", "1.4", "-o", str(target), "--ledger", url) == ""
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("0.000135")
    assert {row["ServiceProviderName"] for row in rows} == {"OpenAI"}


@pytest.mark.parametrize(("options", "message"), [
    (["--version", "1.0"], "version='1.0' of FOCUS cannot be written; use one of 1.2, 1.4"),
    (["--timezone", "Europe/Paris"], "--timezone is not for FOCUS"),
    (["-o", "focus.txt"], "'focus.txt' does not end with .csv or .parquet"),
    (["--by", "model"], "by='model' is not a further dimension"),
])  # fmt: skip
def test_export_focus_with_a_wrong_value_exits_with_2(options: list[str], message: str, url: str, invoke) -> None:
    """A value that cannot be used ends the command with 2 and one sentence."""
    put(url, call())
    code, _, error = invoke("export", "focus", *options, "--ledger", url)
    assert (code, message in error) == (2, True)


def customers() -> list[Call]:
    """Calls of three customers, two of whose names are the same to a file system."""
    names = ("acme", "Acme", "../x")
    return [call(tags={"customer": name}, cost_pico=n * 10**12) for n, name in enumerate(names, 1)]


def test_statements_of_all_values_are_files_of_a_folder(url: str, command: Run, tmp_path: Path) -> None:
    """Each value has a file of its own, whatever is in its name, and the overview sums them up."""
    put(url, *customers(), call(cost_pico=6 * 10**12))
    folder = tmp_path / "bills"
    options = ["--for", "tag:customer", "--month", "2026-03", "--split", "cost", "--markup", "1.5", "--json"]
    assert command("statement", *options, "-o", str(folder), "--ledger", url) == ""
    assert sorted(path.name for path in folder.iterdir()) == ["Acme.json", "_total.json", "acme-2.json", "x.json"]
    totals = [json.loads(path.read_text(encoding="utf-8"))["total"] for path in folder.iterdir()]
    assert sorted(map(Decimal, totals)) == [3, 6, 9, 18]


def test_statement_of_one_value_is_text_or_a_file(url: str, command: Run, tmp_path: Path) -> None:
    """Text on standard output by default; the suffix of a file is its form; --lang fr is French."""
    put(url, *customers())
    options = ["--for", "tag:customer=acme", "--since", "2026-03-04", "--until", "2026-03-04", "--ledger", url]
    assert "Statement: customer acme" in command("statement", *options)
    assert "Relevé\xa0: customer acme" in command("statement", *options, "--lang", "fr")
    command("statement", *options, "-o", str(tmp_path / "acme.html"))
    assert (tmp_path / "acme.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert command("statement", *options, "--csv").startswith("for,value,since,until,kind")


@pytest.mark.parametrize(("options", "message"), [
    (["--for", "tag:customer=zeta", "--month", "2026-03"], "there are no calls with tag:customer=zeta"),
    (["--for", "tag:customer=acme", "--month", "2026-03", "-o", "a.doc"], "'a.doc' does not end with one of .txt"),
    (["--for", "tag:customer", "--month", "2026-03", "--html", "--csv"], "--html, --csv are several forms; use one"),
    (["--for", "user", "--month", "2026-03", "--currency", "CHF"], "currency='CHF' needs exchange rates"),
    (["--month", "2026-03"], "--for"),
])  # fmt: skip
def test_statement_with_a_wrong_value_exits_with_2(options: list[str], message: str, url: str, invoke) -> None:
    """A value that cannot be used ends the command with 2 and one sentence."""
    put(url, *customers())
    code, _, error = invoke("statement", *options, "--ledger", url)
    assert (code, message in error) == (2, True), error


def test_export_focus_with_a_bill_writes_the_datasets_of_invoices(url: str, command: Run, tmp_path: Path) -> None:
    """OpenAI's costs become the datasets InvoiceDetail and BillingPeriod next to the file."""
    put(url, call())
    result = {"object": "organization.costs.result", "amount": {"value": 0.5, "currency": "usd"},
              "line_item": "gpt-4o-mini, input", "project_id": "proj_1"}  # fmt: skip
    bucket = {"object": "bucket", "start_time": 1_772_582_400, "end_time": 1_772_668_800, "results": [result]}
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"object": "page", "data": [bucket]}), encoding="utf-8")
    target = tmp_path / "focus.csv"
    command("export", "focus", "--version", "1.4", "--bill", str(costs), "-o", str(target), "--ledger", url)
    details = list(csv.DictReader((tmp_path / "focus.invoice-detail.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["BilledCost"], row["InvoiceDetailDescription"]) for row in details] == [("0.5", "gpt-4o-mini, input")]
    assert (tmp_path / "focus.billing-period.csv").exists()
