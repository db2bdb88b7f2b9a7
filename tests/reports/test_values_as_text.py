"""``str()`` of a report, the lines of a bill, a quote and an estimate: what a person reads, not pico-dollars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from openai_meter import Alert, Call, Meter, Price, PriceBook, Threshold, Totals, Usage, estimate
from openai_meter.alerts import ThresholdUsage
from openai_meter.core.money import Cost
from openai_meter.pricing import Billable
from openai_meter.usage.estimation import encodings
from openai_meter.usage.estimation.estimate import Estimate


def test_report_as_text_is_its_table() -> None:
    """``print(meter.report())`` shows the table."""
    report = Meter(thresholds=False).report()
    assert str(report) == report.render("table").strip("\n")
    assert "Calls" in str(report)


def test_line_of_a_bill_as_text_has_quantity_price_and_amount() -> None:
    """Each line says what was used, at which price, and what it cost to the last digit."""
    lines = PriceBook().lines(Billable(Usage(3245, 1892, 5137), "gpt-4o-mini"))
    assert [str(line) for line in lines] == [
        "input: 3,245 tokens at $0.15 per million = $0.00048675",
        "output: 1,892 tokens at $0.6 per million = $0.0011352",
    ]


def test_estimate_as_text_names_uncounted_parts() -> None:
    """A lower bound is marked, with what is not in it."""
    assert str(Estimate(Usage(1200, None, 1200), "chars", ("audio", "file"))) == (
        "at least 1,200 input tokens (chars; not counted: audio, file)"
    )
    assert str(Estimate(Usage(None, None, None), "chars")) == "unknown tokens (chars)"


@pytest.mark.skipif(not encodings.status()[0].found, reason="no vocabulary on this machine: quotes are NOT tested")
def test_quote_as_text_has_tokens_and_cost() -> None:
    """A quote has its tokens, its cost and its model; an unknown cost has its reason."""
    assert str(estimate("hello world", model="gpt-4o-mini")) == "2 input tokens (tiktoken), $0.0000003 (gpt-4o-mini)"
    assert "cost unknown: " in str(estimate("hello world", model="no-such-model"))


def test_only_the_figures_of_a_meter_are_called_a_session() -> None:
    """A block and a span of a ledger have their own name in the line and the tree; a meter's are a session."""
    meter = Meter(thresholds=False)
    named = replace(meter.report(), name="2026-10-01 .. 2026-10-31 (UTC)")
    assert meter.report().render("line", lang="en").startswith("💡 Session: ")
    assert named.render("line", lang="en").startswith("💡 2026-10-01 .. 2026-10-31 (UTC): ")
    assert "Session" not in named.render("tree", lang="en") + named.render("tree", lang="fr")


CALL = Call(
    "id", datetime(2026, 10, 1, tzinfo=UTC), 1.2, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok",
    Usage(3245, 1892, 5137), "api", cost_pico=1_621_950_000, cost_status="priced", agent="planner",
)  # fmt: skip
TEXTS = [
    (CALL, "<Call gpt-4o-mini (responses, ok), 5,137 tokens, $0.00162, 1.2 s, agent=planner>"),
    (Totals(), "<Totals: 0 calls, 0 tokens, $0.00>"),
    (CALL.usage, "Usage(input_tokens=3245, output_tokens=1892, total_tokens=5137)"),
    (Meter(thresholds=False), "<Meter: 0 calls, 0 tokens, $0.00>"),
    (Meter(thresholds=False).report("model"), "<Report by model: 0 rows, 0 calls, 0 tokens, $0.00>"),
    (Threshold("cost", 5, window="day"), "Threshold(metric='cost', limit=Decimal('5'), window='day', timezone='UTC')"),
    (Price(input="0.5", output=2), "Price(input=Decimal('0.5'), output=Decimal('2'))"),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=lambda one: type(one).__name__)
def test_repr_of_a_value_is_one_short_line(value: object, text: str) -> None:
    """In a shell or a notebook: the type and the counts that are not 0."""
    assert repr(value) == text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(1_621_950_000, "priced", source="genai-prices 0.2.3"), "$0.00162195 (genai-prices 0.2.3)"),
        (Cost(1_500_000_000_000, "priced", estimated=True), "~$1.5"),
        (Cost(1_000_000, "partial", "web search"), "$0.000001+ (web search)"),
        (Cost(None, "unpriced", "unknown model"), "cost unknown (unknown model)"),
        (Cost(0, "free", "not sent"), "$0 (not sent)"),
    ],
)
def test_cost_as_text_is_dollars_or_the_reason(cost: Cost, text: str) -> None:
    """A cost is in dollars with all its digits; an unknown cost has its reason, and is not 0."""
    assert str(cost) == text


def test_bill_as_text_has_its_lines_and_their_total() -> None:
    """``print(meter.explain(id))`` shows the lines of the bill and their sum; the value stays a tuple of lines."""
    meter = Meter(thresholds=False)
    meter._take(replace(CALL, price_book=meter.prices))
    bill = meter.explain("id")
    assert isinstance(bill, tuple)
    assert str(bill).splitlines() == [*map(str, bill), "total: $0.00162195"]
    assert repr(bill) == f"<Bill: {'; '.join(str(bill).splitlines())}>"
    assert str(CALL.cost_lines) == "no lines"


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (Threshold("cost", 5, window="month"), "cost=5/month"),
        (Threshold("calls", 100, per="user", window="day"), "calls=100/day/user"),
        (Threshold("tokens", 10_000, window=3600), "tokens=10000/3600s"),
        (Threshold("errors", 5), "errors=5"),
        (Threshold("errors", 5, per="agent"), "errors=5/total/agent"),
    ],
)
def test_threshold_as_text_is_as_people_write_it(threshold: Threshold, text: str) -> None:
    """A threshold is written as on the command line; how much is used stands behind it."""
    assert str(threshold) == text
    assert str(ThresholdUsage(threshold, 2, 0.4, passed=False, at_least=True)) == f"{text}: 2+ (40%)"


def test_alert_as_text_is_its_sentence() -> None:
    """An alert is printed as its message, in the language of the environment."""
    alert = Alert("id", Threshold("cost", 5), 6, datetime(2026, 10, 1, tzinfo=UTC))
    assert str(alert) == alert.message()
