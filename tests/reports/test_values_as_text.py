"""``str()`` of a report, the lines of a bill, a quote and an estimate: what a person reads, not pico-dollars."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openai_meter import Meter, PriceBook, Usage, estimate
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


def test_estimate_as_text_says_what_was_not_counted() -> None:
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
