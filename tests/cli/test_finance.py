"""The commands for finance: ``export focus``."""

from __future__ import annotations

import csv
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
def test_export_focus_names_what_it_cannot_do(options: list[str], message: str, url: str, invoke) -> None:
    """A value that cannot be used ends the command with 2 and one sentence."""
    put(url, call())
    code, _, error = invoke("export", "focus", *options, "--ledger", url)
    assert (code, message in error) == (2, True)
