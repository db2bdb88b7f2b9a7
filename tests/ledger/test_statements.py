"""Statements: what to charge to whom, exact to the last cent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="needs openai-meter[ledger]: statements are NOT tested")

from ledger_calls import call

from openai_meter import ConfigurationError, Usage
from openai_meter.core.locale import language
from openai_meter.ledger import Ledger
from openai_meter.ledger.billing.statement import rounded
from openai_meter.ledger.billing.statement_views import render

if TYPE_CHECKING:
    from ledgers import Database

START = datetime(2026, 10, 5, 9, tzinfo=UTC)
CENT = 10**10
"""Pico-dollars."""
RATES = """\
Date,USD,JPY,GBP,KWD,
2026-11-02,1.0500,150.00,0.8300,0.3300,
2026-10-30,1.0800,160.00,0.8400,N/A,
2026-10-29,1.0900,161.00,0.8500,0.3400,
2026-01-02,1.0000,140.00,0.8000,0.3200,
"""


def calls() -> Iterator[Any]:
    """October: three customers, shared calls, a call of unknown cost, an estimate; and a call in November."""
    for number, (customer, model, cents) in enumerate((
        ("acme", "gpt-5.1", Fraction(100)), ("acme", "gpt-5-mini", Fraction(1, 3)), ("beta", "gpt-5.1", Fraction(50)),
        ("côte & fils", "gpt-5-mini", Fraction(1, 7)), (None, "gpt-5.1", Fraction(31)),
        (None, "gpt-5-nano", Fraction(1)),
    )):  # fmt: skip
        tags = {} if customer is None else {"customer": customer}
        at = START + timedelta(days=number)
        amount = cents * CENT
        yield call(at, model=model, tags=tags, cost_pico=amount, user=f"u{number % 2}", usage=Usage(100, 20, 120))
    yield call(START, model="house", tags={"customer": "beta"}, cost_pico=None, cost_status="unpriced")
    yield call(START, model="gpt-5.1", tags={"customer": "beta"}, cost_pico=2 * CENT, cost_estimated=True)
    yield call(datetime(2026, 11, 1, 0, 30, tzinfo=UTC), tags={"customer": "acme"}, cost_pico=700 * CENT)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    """A ledger with those calls."""
    opened = Ledger(database.url)
    opened.import_calls(calls())
    yield opened
    opened.close()


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    """A file in the layout of the ECB's."""
    path = tmp_path / "eurofxref-hist.csv"
    path.write_text(RATES, encoding="utf-8")
    return path


@given(st.lists(st.fractions(min_value=-10, max_value=1000), min_size=1, max_size=30), st.integers(0, 4))
def test_rounded_amounts_sum_up_to_the_rounded_whole(amounts: list[Fraction], places: int) -> None:
    """By largest remainder, the sum is that of the exact amounts, rounded, and no amount moves by a unit."""
    found = rounded(amounts, places)
    unit = Fraction(1, 10**places)
    assert abs(Fraction(sum(found)) - sum(amounts)) <= unit / 2
    assert all(abs(Fraction(one) - amount) < unit for one, amount in zip(found, amounts, strict=True))


def test_statement_has_a_line_for_each_model_and_the_markup(ledger: Ledger) -> None:
    """Costs are in lines by model, without the markup, which is a line of its own; lines sum up to the total.

    1.254 dollars are 1.26: of all statements, 1.906 together, this one has lost most of the missing cent.
    """
    acme = ledger.statement("tag:customer=acme", "2026-10", markup="1.25")
    assert [(line.kind, line.name, line.amount) for line in acme.lines] == [
        ("model", "gpt-5.1", Decimal("1.00")), ("model", "gpt-5-mini", Decimal("0.01")),
        ("markup", "1.25", Decimal("0.25")),
    ]  # fmt: skip
    assert acme.total == Decimal("1.26") == sum(line.amount for line in acme.lines)
    assert acme.cost == Decimal("1.003333333333333333")
    assert (acme.totals.calls, acme.lines[0].input_tokens, acme.shared_cost) == (2, 100, 0)


@pytest.mark.parametrize(("split", "shares"), [
    ("none", [0, 0, 0]),
    ("equal", ["0.106666666666666667"] * 3),
    ("calls", ["0.106666666666666667", "0.16", "0.053333333333333333"]),
])  # fmt: skip
def test_shared_cost_is_divided_by_the_rule(split: str, shares: list[Any], ledger: Ledger) -> None:
    """The 32 cents of calls without a customer are divided equally, by calls, or not at all, on a line of their own."""
    found = ledger.statements("tag:customer", "2026-10", split=split)
    values = {one.value: one for one in found}
    assert [values[name].shared_cost for name in ("acme", "beta", "côte & fils")] == [Decimal(s) for s in shares]
    assert found.unattributed_cost == Decimal("0.32")
    kinds = [line.kind for line in values["acme"].lines]
    assert kinds.count("shared") == (split != "none")


@pytest.mark.parametrize("split", ["cost", "calls", "equal"])
@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY"])
def test_statements_sum_up_to_the_whole(split: str, currency: str, ledger: Ledger, rates: Path) -> None:
    """With every rule and in every currency, the charges sum up to the cost of the ledger, marked up and converted."""
    found = ledger.statements("tag:customer", "2026-10", split=split, markup="1.17", currency=currency, rates=rates)
    per_dollar = {"USD": Fraction(1), "EUR": 1 / Fraction("1.08"), "JPY": Fraction(160) / Fraction("1.08")}[currency]
    places = 0 if currency == "JPY" else 2
    cost = ledger.totals(since="2026-10", until="2026-10").cost
    whole = Fraction(cost) * Fraction("1.17") * per_dollar
    assert found.total == sum(one.total for one in found)
    assert abs(Fraction(found.total) - whole) <= Fraction(1, 2 * 10**places)
    assert found.total.as_tuple().exponent == -places
    for one in found:
        assert sum(line.amount for line in one.lines) == one.total
        assert ledger.statement(
            f"tag:customer={one.value}", "2026-10", split=split, markup="1.17", currency=currency, rates=rates
        ).total == one.total  # fmt: skip


def test_rate_is_that_of_the_last_day_or_the_last_earlier_one(ledger: Ledger, rates: Path) -> None:
    """31 October 2026 is a Saturday: the rate of Friday counts, and is named; a gap in a currency goes back further."""
    euro = ledger.statement("tag:customer=acme", "2026-10", currency="eur", rates=rates)
    assert (euro.basis.rate.wanted.isoformat(), euro.basis.rate.day.isoformat()) == ("2026-10-31", "2026-10-30")
    assert euro.total == Decimal("0.93")  # 1.00333 / 1.08
    text = render(euro, "txt", language("en"))
    assert "Rate of the European Central Bank of 2026-10-30: 1 EUR = 1.0800 USD (eurofxref-hist.csv)." in text
    assert "There is no rate of 2026-10-31; the last one before it, of 2026-10-30, is used." in text
    dinar = ledger.statement("tag:customer=acme", "2026-10", currency="KWD", rates=rates)
    assert dinar.basis.rate.day.isoformat() == "2026-10-29"
    assert dinar.total.as_tuple().exponent == -3
    assert json.loads(render(dinar, "json", language("en")))["rate"]["euro_in_currency"] == "0.3400"


@pytest.mark.parametrize(("text", "currency", "message"), [
    ("Day,USD\n", "EUR", "line 1 is not the header of ECB rates"),
    (RATES, "CHF", "has no rates of 'CHF'; use one of EUR, GBP, JPY, KWD, USD"),
    ("Date,USD,\n2026-11-02,1.05,\n", "EUR", "no rate of EUR on 2026-10-31 or before (its rates begin on 2026-11-02)"),
    ("Date,USD,\n2026-10-02,1.05,\nyesterday,1.06,\n", "EUR", "line 3: 'yesterday' is not a date"),
    ("Date,USD,\n2026-10-02,many,\n", "EUR", "line 2: the rate is 'many'"),
    ("Date,USD,\n2026-10-02,0,\n", "EUR", "line 2: a rate is 0"),
])  # fmt: skip
def test_file_of_rates_that_cannot_be_used_is_an_error(
    text: str, currency: str, message: str, sqlite: Database, tmp_path: Path
) -> None:
    """The error names the file, the line, the value and the remedy."""
    path = tmp_path / "rates.csv"
    path.write_text(text, encoding="utf-8")
    ledger = Ledger(sqlite.url)
    with pytest.raises(ConfigurationError) as error:
        ledger.statements("user", "2026-10", currency=currency, rates=path)
    assert message in str(error.value)
    ledger.close()


@pytest.mark.parametrize(("what", "options", "message"), [
    ("tag:customer=nobody", {}, "there are no calls with tag:customer=nobody in this span; there are acme, beta"),
    ("acme", {}, "'acme' names no value; write for example tag:customer=acme"),
    ("tag=acme", {}, "there are no statements for 'tag'; use one of tag:NAME, model, agent"),
    ("user=u0", {"month": "november"}, "month='november' is not a month; write 2026-11"),
    ("user=u0", {"month": "2026-10", "since": "7d"}, "pass a month, or since and until, not both"),
    ("user=u0", {"month": None}, "a statement needs a month, such as 2026-11, or a start"),
    ("user=u0", {"markup": "25"}, "markup='25' multiplies costs by 25; 1.25 adds a quarter"),
    ("user=u0", {"markup": "-1"}, "markup is '-1'"),
    ("user=u0", {"split": "half"}, "split='half' is not a rule; use one of none, cost, calls, equal"),
    ("user=u0", {"currency": "euro"}, "currency='euro' is not a currency; write its code, such as EUR"),
    ("user=u0", {"currency": "EUR"}, "currency='EUR' needs exchange rates; pass rates="),
    ("user=u0", {"currency": "EUR", "rates": "no.csv"}, "rates='no.csv' cannot be read"),
])  # fmt: skip
def test_statement_with_a_wrong_value_raises(what: str, options: Any, message: str, sqlite: Database) -> None:
    """A value that cannot be used is an error with the value and the remedy."""
    ledger = Ledger(sqlite.url)
    ledger.import_calls(calls())
    with pytest.raises(ConfigurationError) as error:
        ledger.statement(what, **{"month": "2026-10"} | options)
    assert message in str(error.value)
    ledger.close()


def test_month_is_that_of_the_timezone(sqlite: Database) -> None:
    """Half past midnight of 1 November in UTC is still October in New York."""
    ledger = Ledger(sqlite.url)
    ledger.import_calls(calls())
    assert ledger.statement("tag:customer=acme", "2026-10", timezone="America/New_York").cost > 8
    assert ledger.statement("tag:customer=acme", "2026-11").cost == 7
    ledger.close()


def test_statement_shows_unknown_and_estimated_costs(ledger: Ledger) -> None:
    """Calls of unknown cost are counted and named: what is unknown is not in the amount."""
    beta = ledger.statement("tag:customer=beta", "2026-10")
    assert (beta.unpriced_calls, beta.estimated_cost, beta.total) == (1, Decimal("0.02"), Decimal("0.52"))
    text = render(beta, "txt", language("en"))
    assert "The cost of 1 call is not, or not wholly, known. What is unknown is not in the amount." in text
    assert "$0.02 of the cost rests on estimated quantities." in text
    assert "Le coût de 1 appel n'est pas connu" in render(beta, "txt", language("fr"))


def test_text_of_a_statement_is_a_table(ledger: Ledger) -> None:
    """The text has the period, a row for each line, and the total; amounts are without signs of other currencies."""
    text = render(ledger.statement("tag:customer=acme", "2026-10", split="equal", markup="1.5"), "txt", language("en"))
    assert [line.split() for line in text.splitlines()[:11] if line and not line.startswith("-")] == [
        ["Statement:", "customer", "acme"],
        ["2026-10-01", "to", "2026-10-31", "(UTC)"],
        ["Item", "Calls", "Input", "Output", "Cost", "(USD)", "Amount", "(USD)"],
        ["gpt-5.1", "1", "100", "20", "$1.000000000000", "1.00"],
        ["gpt-5-mini", "1", "100", "20", "$0.003333333333", "0.00"],
        ["Shared", "cost,", "in", "equal", "parts", "$0.106666666667", "0.11"],
        ["Markup", "(x", "1.5)", "0.56"],
        ["Total", "2", "$1.110000000000", "1.67"],
    ]


def test_html_of_a_statement_is_a_page_without_scripts(ledger: Ledger) -> None:
    """Names are escaped, there is nothing from elsewhere, and the language is declared."""
    page = render(ledger.statement("tag:customer=côte & fils", "2026-10"), "html", language("fr"))
    assert page.startswith('<!doctype html>\n<html lang="fr">')
    assert "customer côte &amp; fils</h1>" in page
    assert "Montant\xa0:" in page
    assert not any(part in page for part in ("<script", "http://", "https://", "url(", "src="))
    overview = render(ledger.statements("tag:customer", "2026-10"), "html", language("en"))
    assert "2 calls without a value ($0.32) are not in the amounts." in overview


def test_csv_of_statements_has_every_line_once(ledger: Ledger) -> None:
    """The CSV of a run has all lines of all statements; their amounts sum up to the whole."""
    found = ledger.statements("tag:customer", "2026-10", split="cost", markup="1.1")
    rows = list(csv.DictReader(io.StringIO(render(found, "csv", language("en")))))
    assert sum(Decimal(row["amount"]) for row in rows) == found.total
    assert {row["kind"] for row in rows} == {"model", "shared", "markup"}
    cost = sum(Decimal(row["cost_usd"]) for row in rows if row["kind"] != "markup")
    assert abs(cost - ledger.totals(since="2026-10", until="2026-10").cost) < Decimal("1e-12")


def test_statements_of_pruned_days_are_refused(sqlite: Database) -> None:
    """Tags of pruned days are gone: the error says so, and other dimensions still work."""
    ledger = Ledger(sqlite.url)
    ledger.import_calls(calls())
    ledger.prune("2026-10-20")
    with pytest.raises(ConfigurationError, match="pruned"):
        ledger.statements("tag:customer", "2026-10")
    assert ledger.statements("user", "2026-10").total == Decimal("1.82")
    ledger.close()


def test_statement_of_an_open_month_has_its_end(sqlite: Database) -> None:
    """A statement of this month covers the calls so far, and has the time of its end."""
    ledger = Ledger(sqlite.url)
    now = datetime.now(UTC)
    ledger.import_calls([call(now, tags={"customer": "acme"})])
    text = render(ledger.statement("tag:customer=acme", f"{now:%Y-%m}"), "txt", language("en"))
    assert "The span is not over: these are the amounts until " in text
    assert "The span is not over" not in render(ledger.statements("user", "2026-10"), "txt", language("en"))
    ledger.close()
