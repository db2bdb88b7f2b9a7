"""Numbers are written as people write them, in one place; names from outside cannot do harm where they are shown."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import openai_meter
from openai_meter import Alert, Threshold, TokenTracker, Usage
from openai_meter.core.call import make_call, new_call_id
from openai_meter.core.formatting import (
    ENGLISH,
    FRENCH,
    aligned,
    amount,
    column_places,
    decimals,
    dollars,
    exact_dollars,
    fixed_dollars,
    number,
    percent,
    printable,
    short,
    signed,
)
from openai_meter.core.locale import language
from openai_meter.errors import ConfigurationError

NARROW, NO_BREAK = "\u202f", "\xa0"


def metered(tokens=1_234_567, cost=12_345_670_000_000_000):
    meter = openai_meter.Meter(thresholds=False)
    meter._store.add(
        make_call(
            id=new_call_id(), started_at=datetime(2026, 6, 1, tzinfo=UTC), duration=1.0, endpoint="responses",
            provider="openai", model="gpt-5-mini", requested_model="gpt-5-mini", status="ok",
            usage=Usage(tokens, 0, tokens), usage_source="api", cost_pico=cost, cost_status="priced",
        )
    )  # fmt: skip
    return meter


@pytest.mark.parametrize(
    ("value", "english", "french"),
    [
        ("0", "$0.00", "0,00 $"),
        ("1234567.891", "$1,234,567.89", "1_234_567,89 $"),
        ("1", "$1.00", "1,00 $"),
        ("0.0401", "$0.0401", "0,0401 $"),
        ("0.00000012345", "$0.000000123", "0,000000123 $"),
        ("-1500", "-$1,500.00", "-1_500,00 $"),
    ],
)
def test_dollars_have_cents_or_three_digits(value, english, french):
    """Amounts have two decimals, or three significant digits; the sign is where the language has it."""
    assert dollars(Decimal(value), ENGLISH) == english
    assert dollars(Decimal(value), FRENCH) == french.replace("_", NARROW).replace(" ", NO_BREAK)


def test_other_numbers_follow_the_style_of_the_language():
    """Counts, decimals, percentages and amounts with a number of decimals."""
    assert (number(1_234_567, ENGLISH), number(1_234_567, FRENCH)) == ("1,234,567", f"1{NARROW}234{NARROW}567")
    assert number(Decimal("1234.5"), FRENCH) == f"1{NARROW}234,5"
    assert (percent(0.256, ENGLISH), percent(0.256, FRENCH, 1)) == ("26%", f"25,6{NO_BREAK}%")
    assert amount(Decimal("0.5"), FRENCH, 4) == f"0,5000{NO_BREAK}$"
    assert decimals(4, FRENCH)(Decimal("0.00000321")) == f"0,00000321{NO_BREAK}$"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.44, "0.4"), (9.96, "10"), (999, "999"), (999.6, "1.0k"), (1_234, "1.2k"), (12_345, "12k"),
     (999_700, "1.0M"), (1.2e6, "1.2M"), (3e9, "3.0G"), (5e13, "5.0e+13")],
)  # fmt: skip
def test_short_numbers_have_few_characters(value, text):
    """With a decimal comma in French."""
    assert short(value, ENGLISH) == text
    assert short(value, FRENCH) == text.replace(".", ",")


def test_differences_have_a_sign():
    """A positive one has a plus, a negative one a minus, and zero neither."""
    texts = [signed(Decimal(value), lambda one: dollars(one, FRENCH)) for value in ("1.5", "-1.5", "0")]
    assert texts == [text.replace(" ", NO_BREAK) for text in ("+1,50 $", "-1,50 $", "0,00 $")]


def test_exact_dollars_have_all_digits():
    """Limits and bills are never rounded; cents are always shown."""
    assert exact_dollars(Decimal("0.005999999"), ENGLISH) == "$0.005999999"
    assert exact_dollars(Decimal(100), ENGLISH) == "$100.00"
    assert exact_dollars(Decimal("1234.50000"), FRENCH, 3) == f"1{NARROW}234,500{NO_BREAK}$"


@pytest.mark.parametrize(
    ("amounts", "cells"),
    [
        (["1234.5", "0.004"], ["$1,234.50", "<$0.01"]),
        (["12", "0.25"], ["$12.00", "$0.25"]),
        (["1.2", "0.004"], ["$1.2000", "$0.0040"]),
        (["0.5", "0.00000001"], ["$0.5000", "<$0.0001"]),
        (["0.00012", "0.00000001"], ["$0.000120", "<$0.000001"]),
        ([None, "0"], ["?", "$0.00"]),
    ],
)
def test_amounts_of_a_column_have_the_same_decimals(amounts, cells):
    """An amount that is too small for it is shown as less than the smallest."""
    values = [None if one is None else Decimal(one) for one in amounts]
    places = column_places(values)
    assert ["?" if one is None else fixed_dollars(one, ENGLISH, places) for one in values] == cells


def test_amounts_are_aligned_at_their_decimal_points():
    """The ``+`` of a lower bound is behind the column of digits."""
    assert aligned(["$1.00+", "~$12.00", "?"]) == ["  $1.00+", "~$12.00 ", "      ? "]
    assert aligned([]) == []


@given(st.decimals(0, 10**12, allow_nan=False, places=9))
def test_style_of_a_language_changes_no_digit(value):
    """The digits of an amount are the same in every language."""
    assert re.findall(r"\d", dollars(value, ENGLISH)) == re.findall(r"\d", dollars(value, FRENCH))


def test_numbers_in_sentences_follow_the_language():
    """A text with digits stays unchanged."""
    assert language("fr")("calls", n=12_345) == f"12{NARROW}345 appels"
    assert language("en")("calls", n=12_345) == "12,345 calls"
    assert language("fr").plain()("calls", n=12_345) == "12,345 appels"
    assert "v1,234.5" in language("fr")("table.title_of", name="v1,234.5")


def test_french_reports_have_french_numbers():
    """Tables, the line for logs and alerts are French; the layouts of the guides, CSV and JSON stay as documented."""
    meter = metered()
    tokens, cost = f"1{NARROW}234{NARROW}567", f"12{NARROW}345,67{NO_BREAK}$"
    for text in (*(meter.report().render(form, lang="fr") for form in ("table", "markdown")), meter.summary(lang="fr")):
        assert tokens in text
        assert cost in text
        assert "$12" not in text
    for form in ("tree", "chat", "line"):
        assert "1,234,567" in meter.report().render(form, lang="fr").replace("\\", "")
    for form in ("json", "csv"):
        assert meter.report().render(form, lang="fr").replace('"message"', "").count(NARROW) == 0
    alert = Alert("id", Threshold("cost", 1_000), Decimal("1234.5"), datetime(2026, 6, 1, tzinfo=UTC))
    assert f"1{NARROW}234,50{NO_BREAK}$" in alert.message("fr")
    assert "$1,234.50" in alert.message("en")


def test_install_sets_the_language_of_the_process(monkeypatch):
    """Whatever the environment has, until ``uninstall``."""
    monkeypatch.setenv("OPENAI_METER_LANG", "en")
    meter = openai_meter.install(lang="fr")
    assert "appel" in meter.summary()
    assert "call" in meter.summary(lang="en")
    openai_meter.install()
    assert "appel" in meter.summary()
    openai_meter.uninstall()
    assert "call" in meter.summary()
    with pytest.raises(ConfigurationError, match="lang='tlh' is not a language"):
        openai_meter.install(lang="tlh")
    assert openai_meter.core.locale.language().code == "en"


def test_tracker_has_its_own_language(capsys, monkeypatch, tmp_path):
    """``TokenTracker(lang=...)`` is the language of its summary; an argument takes precedence."""
    monkeypatch.setenv("OPENAI_METER_LANG", "en")
    tracker = TokenTracker(tmp_path, lang="fr")
    tracker.print_summary()
    tracker.print_summary("en")
    french, english = language("fr")("tree.title"), language("en")("tree.title")
    out = capsys.readouterr().out
    assert out.index(french) < out.index(english)
    with pytest.raises(ConfigurationError, match="lang='tlh'"):
        TokenTracker(tmp_path, lang="tlh")


@given(st.text())
def test_name_from_outside_is_shown_as_one_line(name):
    """Whatever a name contains, its text has no control character and no line break."""
    shown = printable(name)
    assert shown
    assert len(shown) <= 202
    assert shown.splitlines() == [shown]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)


def test_printable_keeps_visible_characters():
    """Letters of every script, emoji and joiners stay; a long name ends with an ellipsis."""
    assert printable("gpt-5-mini") == "gpt-5-mini"
    assert printable("modèle 模型 👩\u200d💻") == "modèle 模型 👩\u200d💻"
    assert printable("a\nb\x1b[2J") == "a\ufffdb\ufffd[2J"
    assert printable("x" * 300, 10) == "x" * 9 + "…"
    assert printable(" ") == '" "'


def test_name_with_a_line_break_is_one_line_of_the_log(caplog):
    """A model that is named with a line break and a terminal sequence is one line in the log."""
    caplog.set_level(logging.INFO, logger="openai_meter")
    client, meter = openai_meter.testing.fake_client(), openai_meter.install(thresholds={"calls": 1})
    for _ in range(3):
        client.chat.completions.create(
            model="evil\nCRITICAL:root:paid\x1b[2J", messages=[{"role": "user", "content": "x"}]
        )
    assert meter.totals.calls == 3
    assert openai_meter.core.background.worker.drain()
    for record in caplog.records:
        assert record.getMessage().splitlines() == [record.getMessage()]
        assert "\x1b" not in record.getMessage()
