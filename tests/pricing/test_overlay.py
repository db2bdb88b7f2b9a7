"""Price files: what is bundled is right, and what is wrong in a user's is named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.pricing import Billable, PriceBook
from openai_meter.pricing.catalog import Catalog
from openai_meter.pricing.lookup import Books
from openai_meter.pricing.overlay import BUNDLED, load_overlay, parse_overlay

OVERLAY = load_overlay(BUNDLED, "overlay", strict=True)
BOOKS = Books((OVERLAY,), Catalog())
TODAY = date(2026, 11, 22)
ROW = 'models = ["m"]\n'
TOLD = 'source = "s"\nchecked = 2026-11-22\n'

WRONG = {
    "no TOML": ("[[price", "p.toml is no TOML"),
    "unknown kind": ("[[prices]]\n", "'prices' is unknown"),
    "no table": ("price = 3\n", "'price' is unknown; a price file is made of"),
    "no tables": ("price = [3]\n", r"\[\[price\]\] number 1 is 3"),
    "no models": ("[[price]]\ninput = 1\n", "'models' is missing"),
    "models no list": ('[[price]]\nmodels = "m"\ninput = 1\n', "'models' is 'm'; it has to be a list"),
    "empty models": ("[[price]]\nmodels = []\ninput = 1\n", "'models'"),
    "unknown field": (f"[[price]]\n{ROW}inputs = 1\ninput = 1\n", r"number 1 \(m\): field 'inputs' is unknown"),
    "negative": (f"[[price]]\n{ROW}input = -1\n", r"\(m\): field 'input' is .*; it has to be finite and not below 0"),
    "nan": (f"[[price]]\n{ROW}input = nan\n", "'input' is .*finite"),
    "infinite": (f'[[price]]\n{ROW}input = "inf"\n', "'input' is 'inf'; it has to be finite"),
    "text": (f'[[price]]\n{ROW}input = "a lot"\n', "'input' is 'a lot', which is no number"),
    "a truth": (f"[[price]]\n{ROW}input = true\n", "'input' is True"),
    "no price": (f"[[price]]\n{ROW}", "a row has either one"),
    "price and times": (f'[[price]]\n{ROW}tier = "flex"\ninput = 1\ntimes = 2\n', "a row has either one"),
    "times of itself": (f"[[price]]\n{ROW}times = 2\n", "'tier' is the default tier"),
    "tier": (f'[[price]]\n{ROW}tier = "slow"\ninput = 1\n', "'tier' is 'slow'; it has to be one of batch, default"),
    "day": (f'[[price]]\n{ROW}from = "today"\ninput = 1\n', "'from' is 'today'; it has to be a date"),
    "time": (f"[[price]]\n{ROW}from = 2026-11-22T00:00:00\ninput = 1\n", "'from' is .*; it has to be a date"),
    "days": (f"[[price]]\n{ROW}from = 2026-11-22\nuntil = 2026-11-22\ninput = 1\n", "'until' is 2026-11-22"),
    "long": (f"[[price]]\n{ROW}input = 1\nlong = {{ inputs = 2 }}\n", "long: field 'inputs' is unknown"),
    "long_from": (f"[[price]]\n{ROW}input = 1\nlong_from = 0\n", "'long_from' is 0"),
    "video": (f'[[price]]\n{ROW}video = {{ "1x1" = -2 }}\n', "video: field '1x1' is -2"),
    "confidence": (f'[[price]]\n{ROW}input = 1\nconfidence = "high"\n', "'confidence' is 'high'"),
    "empty source": (f'[[price]]\n{ROW}input = 1\nsource = ""\n', "'source' is empty"),
    "factor": ('[[factor]]\nkind = "window"\nnames = ["1h"]\n', "'times' is missing"),
    "factor kind": ('[[factor]]\nkind = "moon"\nnames = ["1h"]\ntimes = 1\n', "'kind' is 'moon'"),
    "fee": ('[[fee]]\nnames = ["web_search"]\n', "'usd' is missing"),
    "model": ('[[model]]\nnames = ["m"]\nfree = 1\n', "'free' is 1; it has to be true or false"),
    "second row": (f"[[price]]\n{ROW}input = 1\n[[price]]\n{ROW}input = -1\n", "number 2"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_wrong_row_is_refused_by_row_and_field(text: str, message: str, tmp_path) -> None:
    """As text and as a file of the user."""
    with pytest.raises(ConfigurationError, match=message):
        parse_overlay(text, "p.toml")
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        PriceBook(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[[price]]\n{ROW}input = 1\n", "'source' is missing"),
        (f'[[price]]\n{ROW}input = 1\nsource = "s"\n', "'checked' is missing"),
        (f"[[price]]\n{ROW}input = 0.0000001\n{TOLD}", "no whole number of pico-dollars per token"),
    ],
)
def test_bundled_row_needs_source_and_date(text: str, message: str) -> None:
    """Its price is in whole pico-dollars, too."""
    with pytest.raises(ConfigurationError, match=message):
        parse_overlay(text, "overlay", strict=True)
    assert parse_overlay(text.replace(TOLD, ""), "p.toml").rows


def test_missing_price_file_raises_with_its_name(tmp_path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_overlay(tmp_path / "nowhere.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_overlay(tmp_path / "odd.toml")


def test_price_without_quotes_is_exact() -> None:
    """It is not read as a float: 0.1 is a tenth."""
    row = parse_overlay(f"[[price]]\n{ROW}input = 0.1\n", "p.toml").row("m", "default", TODAY)
    assert row is not None
    assert row.prices["input"] == 100_000


def test_last_row_of_a_day_takes_precedence() -> None:
    """A later row replaces an earlier one while it applies, from its first day to the day before its last."""
    text = f"[[price]]\n{ROW}input = 1\n[[price]]\n{ROW}from = 2026-01-02\nuntil = 2026-01-04\ninput = 2\n"
    overlay = parse_overlay(text, "p.toml")
    found = [overlay.row("m", "default", date(2026, 1, day)).prices["input"] // 10**6 for day in (1, 2, 3, 4)]
    assert found == [1, 2, 2, 1]


@pytest.mark.parametrize(("model", "tier"), OVERLAY.rows)
def test_every_bundled_row_gives_a_price(model: str, tier: str) -> None:
    """Every row is a price on some day: multiples find the row that they refer to."""
    days = [row.since or (row.until and row.until.replace(day=1)) or TODAY for row in OVERLAY.rows[model, tier]]
    for day in days:
        sheet = BOOKS.find(model, tier, day).sheet
        assert sheet is not None
        assert sheet.prices
        assert sheet.source == "overlay"


@pytest.mark.parametrize(("model", "tier"), OVERLAY.rows)
def test_no_bundled_row_repeats_the_catalog(model: str, tier: str) -> None:
    """A row that equals the catalog can be removed; those that must stay are in RULES, with the reason."""
    rows = OVERLAY.rows[model, tier]
    theirs = Books((), Catalog()).find(model, tier, TODAY).sheet
    needed = theirs is None or any(row.times or row.since or row.until or row.threshold for row in rows)
    assert needed or theirs.approximate or dict(theirs.prices) != dict(rows[-1].prices) or model in RULES


RULES = {
    # The catalog agrees on tokens; the row keeps it from being asked for other tiers.
    "gpt-4o-search-preview",
    "gpt-4o-search-preview-2025-03-11",
    # The catalog has them from 0.2 on.
    "davinci-002",
    "babbage-002",
    "chat-latest",
    "gpt-rosalind-research",
    "gpt-5-search-api",
    "gpt-5.5-cyber",
    "gpt-5.6-cyber",
    "tts-1",
    "tts-1-hd",
}


def test_every_priced_model_has_a_release_date() -> None:
    """The regional uplift needs it."""
    assert [name for name in BOOKS.names() if BOOKS.released(name) is None and "moderation" not in name] == []


@pytest.mark.parametrize(
    ("model", "new"),
    [
        ("gpt-5.4", True),
        ("gpt-5.4-mini-2026-03-17", True),
        ("gpt-6.2-sol", True),
        ("gpt-6-sol-2026-09-22", True),
        ("gpt-image-2", True),
        ("gpt-realtime-2.1", True),
        ("gpt-5.3-codex", False),
        ("gpt-5", False),
        ("gpt-5-pro", False),
        ("o3", False),
        ("gpt-4o-2024-05-13", False),
        ("text-embedding-3-small", False),
        ("ft:gpt-4.1-2025-04-14:acme::x", False),
    ],
)
def test_models_since_a_date_have_the_regional_uplift(model: str, new: bool) -> None:
    """Models since 2026-03-05 cost a tenth more on a regional host, older ones do not."""
    book, at = PriceBook(), datetime(2026, 11, 22, tzinfo=UTC)
    usage = Usage(1000, 0, 1000)
    there = book.cost(Billable(usage, model, host="eu.api.openai.com", at=at)).amount_pico
    here = book.cost(Billable(usage, model, host="api.openai.com", at=at)).amount_pico
    assert Fraction(there, here) == (Fraction(11, 10) if new else 1)


def test_low_confidence_of_a_row_marks_the_price() -> None:
    """Rows without an official source are marked, and so are the prices that are made of them."""
    assert BOOKS.find("gpt-6.2-astra", "default", TODAY).sheet.low
    assert not BOOKS.find("gpt-6.2-sol", "ultrafast", TODAY).sheet.low
