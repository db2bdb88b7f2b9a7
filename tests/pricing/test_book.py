"""The price book as users hold it: their prices, their names, their discount, and what goes wrong."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest

from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.pricing import Billable, Cost, CostLine, CurrentRate, Deployment, Price, PriceBook, catalog

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAIN = Usage(1000, 100, 1100)


def usd(book: PriceBook, model: str = "gpt-5.4-mini", usage: Usage = PLAIN, **more) -> Decimal | None:
    return book.cost(Billable(usage, model, **{"at": NOW, **more})).usd


@pytest.mark.parametrize("value", ["0.75", 0.75, Decimal("0.75")], ids=repr)
def test_price_is_exact(value: object) -> None:
    """A price is exactly as written, as a number, a string or a Decimal: 1000 x 0.75 + 100 x 4.1."""
    book = PriceBook({"mine": Price(input=value, output="4.1")})
    assert usd(book, "mine", provider="llm.example.com") == Decimal("0.00116")
    assert book.cost(Billable(PLAIN, "mine", at=NOW)).source == "override"


def test_price_may_be_per_thousand_tokens() -> None:
    """A price may be for any number of tokens: 1000 x 0.5 / 1000."""
    assert usd(PriceBook({"mine": Price(input="0.5", output=0, per=1000)}), "mine") == Decimal("0.5")


def test_price_below_a_pico_dollar_is_exact() -> None:
    """A price below a pico-dollar per token is exact, too: 1000 x 1/3 pico-dollar."""
    book = PriceBook({"mine": Price(input="0.000001", output=0, per=3_000_000)})
    cost = book.cost(Billable(PLAIN, "mine", at=NOW))
    assert cost.amount_pico == Fraction(1000, 3)
    assert book.cost(Billable(Usage(3000, 0, 3000), "mine", at=NOW)).amount_pico == 1000


def test_own_price_applies_to_its_tiers_and_brackets() -> None:
    """A price of the caller applies in the tiers that it names, and to long requests with its own figures."""
    long = Price(input=2, output=4)
    price = Price(input=1, output=2, long=long, long_from=500, tiers={"flex": Price(input="0.5", output=1)})
    book = PriceBook({"mine": price})
    assert usd(book, "mine") == Decimal("0.0024")  # 1000 x 2 + 100 x 4
    assert usd(book, "mine", Usage(500, 0, 500)) == Decimal("0.0005")  # 500 x 1
    assert usd(book, "mine", service_tier="flex") == Decimal("0.0006")  # 1000 x 0.5 + 100 x 1
    assert usd(book, "mine", service_tier="priority") is None


def test_own_price_takes_precedence() -> None:
    """The price of the caller applies to the answered, the requested and the mapped name, before any published one."""
    price = Price(input=1, output=0)
    book = PriceBook({"gpt-5.4-mini": price}, models={"alias": "gpt-5.4-mini"})
    assert usd(book) == Decimal("0.001")
    assert usd(book, "gpt-5.4-mini-2026-03-17", requested_model="gpt-5.4-mini") == Decimal("0.001")
    assert usd(book, "alias") == Decimal("0.001")
    assert usd(book, "gpt-5.4-mini-2026-03-17") == Decimal("0.0012")


def test_own_price_is_used_without_changes() -> None:
    """No uplift, no discount and no price from a host changes the price that the caller set."""
    book = PriceBook({"gpt-6-sol": Price(input=1, output=0)}, discount="0.5")
    assert usd(book, "gpt-6-sol", host="eu.api.openai.com") == Decimal("0.001")
    assert usd(book, "gpt-6-sol", provider="openrouter.ai", details={"provider_cost": 7}) == Decimal("0.001")


@pytest.mark.parametrize("value", [-1, "-0.5", float("nan"), float("inf"), "NaN", "Infinity", "much", None, True, [1]])
def test_wrong_price_raises(value: object) -> None:
    """A price below 0, not finite or not a number raises when it is made, and so does one without any figure."""
    with pytest.raises(ConfigurationError, match=r"Price\("):
        Price(input=value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Price(input=1, per=0),
        lambda: Price(input=1, long=3),
        lambda: Price(input=1, tiers={"slow": Price(input=1)}),
        lambda: Price(input=1, tiers={"flex": 1}),
        lambda: PriceBook({"m": 3}),
        lambda: PriceBook(models={"m": 3}),
        lambda: PriceBook(models={"m": ""}),
        lambda: PriceBook(discount="1.5"),
        lambda: PriceBook(discount=-1),
        lambda: PriceBook(discount="a lot"),
        lambda: PriceBook("/nowhere/prices.toml"),
        lambda: PriceBook().set("m", 3),
    ],
)
def test_wrong_price_setting_raises_when_it_is_set(make) -> None:
    """It is not raised later, when a call is priced."""
    with pytest.raises(ConfigurationError):
        make()


def test_price_file_is_used_as_own_prices(tmp_path) -> None:
    """A file in the form of the overlay has prices of the caller, for any host."""
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodels = ["mine", "gpt-5.4-mini"]\ninput = 1\noutput = 0.5\n')
    book = PriceBook(path, discount="0.5")
    cost = book.cost(Billable(PLAIN, "mine", provider="llm.example.com", at=NOW))
    assert (cost.usd, cost.source) == (Decimal("0.00105"), "override")
    assert usd(book) == Decimal("0.00105")
    assert usd(book, "gpt-6-sol") == Decimal("0.0015")  # (1000 x 2 + 100 x 10) / 2


def test_mapped_name_is_priced_as_its_model() -> None:
    """Wherever it is served."""
    book = PriceBook(models={"fast-one": "gpt-5.4-mini"})
    assert usd(book, "fast-one", provider="proxy.example.com") == Decimal("0.0012")


@pytest.mark.parametrize("discount", ["0.1", 0.1, Decimal("0.1")])
def test_discount_applies_to_tokens_and_fees(discount: object) -> None:
    """(0.0012 + 0.01) x 0.9."""
    book = PriceBook(discount=discount)
    usage = Usage(1000, 100, 1100, web_searches=1)
    assert usd(book, usage=usage) == Decimal("0.01008")
    assert usd(book) == Decimal("0.00108")


def test_discount_of_a_third_is_exact() -> None:
    """A discount that does not give whole pico-dollars leaves the sum exact."""
    book = PriceBook(discount="0.3333333333333333")
    cost = book.cost(Billable(Usage(1, 0, 1), "gpt-6-luna", at=NOW))
    assert cost.amount_pico == 100_000 * (1 - Fraction("0.3333333333333333"))


def test_discount_of_everything_gives_a_price_of_zero() -> None:
    """It is a price of 0, not an unknown one."""
    assert PriceBook(discount=1).cost(Billable(PLAIN, "gpt-6-sol", at=NOW))[:2] == (0, "priced")


def test_price_can_be_set_and_removed_at_any_time() -> None:
    """The revision changes each time."""
    book = PriceBook()
    before, revision = usd(book), book.revision
    book.set("gpt-5.4-mini", Price(input=1, output=0))
    assert (usd(book), book.revision != revision) == (Decimal("0.001"), True)
    book.set("gpt-5.4-mini", None)
    assert usd(book) == before


def test_concurrent_prices_are_old_or_new() -> None:
    """Each of many results is one of the two prices, never a mixture, and never an error."""
    book = PriceBook()
    one, other = Price(input=1, output=1), Price(input=3, output=3)
    book.set("mine", one)
    found: set[int | None] = set()
    stop = threading.Event()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            mine = set()
            while not stop.is_set():
                cost = book.cost_of(PLAIN, "mine", "openai", None, None, NOW)
                mine.add(cost.amount_pico)
                what = Billable(PLAIN, "mine", at=NOW)
                assert sum(line.amount_pico for line in book.lines(what)) in {1100 * 10**6, 3300 * 10**6}
            found.update(mine)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(300):
        book.set("mine", other if turn % 2 == 0 else one)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert found <= {1100 * 10**6, 3300 * 10**6}


def test_price_is_of_the_utc_day_of_the_call() -> None:
    """Whatever its zone; a time without a zone is UTC."""
    book, usage = PriceBook(), Usage(1000, 0, 1000)
    cut = datetime(2025, 6, 10, tzinfo=UTC)
    tokyo = timezone(timedelta(hours=9))
    assert usd(book, "o3", usage, at=cut) == Decimal("0.002")
    assert usd(book, "o3", usage, at=cut - timedelta(microseconds=1)) == Decimal("0.01")
    assert usd(book, "o3", usage, at=datetime(2025, 6, 10, 8, 59, tzinfo=tokyo)) == Decimal("0.01")
    assert usd(book, "o3", usage, at=cut.replace(tzinfo=None)) == Decimal("0.002")
    assert book.cost_of(usage, "o3", "openai", None, None, datetime(2025, 6, 10, 8, 59, tzinfo=tokyo)).usd == Decimal(
        "0.01"
    )


def test_call_without_a_time_has_prices_of_today() -> None:
    """A call without a time is priced by today's prices."""
    assert PriceBook().cost(Billable(PLAIN, "gpt-5.4-mini")).status == "priced"


def test_quick_pricing_equals_full_pricing() -> None:
    """The quick entrance gives the result of the long one."""
    book = PriceBook(discount="0.1")
    usage = Usage(9000, 100, 9100, cached_input_tokens=100, cache_write_tokens=500, cache_write_12h_tokens=200)
    what = Billable(usage, "gpt-6-sol", host="eu.api.openai.com", at=NOW)
    quick = book.cost_of(usage, "gpt-6-sol", "openai", "eu.api.openai.com", None, NOW)
    assert quick == book.cost(what)
    assert quick.amount_pico == sum(line.amount_pico for line in book.lines(what))
    searched = Usage(9000, 100, 9100, web_searches=1)
    what = Billable(searched, "gpt-6-sol", host="eu.api.openai.com", at=NOW)
    assert book.cost_of(searched, "gpt-6-sol", "openai", "eu.api.openai.com", None, NOW) == book.cost(what)


def test_bill_has_a_line_for_each_part() -> None:
    """Quantity, price, tier, bracket, source and each factor are on a line of their own."""
    book = PriceBook(discount="0.1")
    usage = Usage(300_000, 100, 300_100, cached_input_tokens=1000, web_searches=2)
    lines = book.lines(Billable(usage, "gpt-6.2-sol", host="eu.api.openai.com", at=NOW))
    assert [(line.item, line.quantity, line.unit, line.unit_usd, line.bracket) for line in lines[:4]] == [
        ("input", 299_000, "token", Decimal("0.000004"), "long"),
        ("cached_input", 1000, "token", Decimal("0.0000002"), "long"),
        ("output", 100, "token", Decimal("0.000015"), "long"),
        ("web_search", 2, "call", Decimal("0.01"), None),
    ]
    assert (lines[0].source, lines[0].checked, lines[0].tier) == ("overlay", date(2026, 11, 22), "default")
    assert [(line.item, line.factor) for line in lines[4:]] == [
        ("regional", Fraction(11, 10)),
        ("discount", Fraction(9, 10)),
    ]
    assert lines[4].usd == Decimal("0.11977")  # a tenth of 1.196 + 0.0002 + 0.0015
    assert sum(line.usd for line in lines) == Decimal("1.203723")  # ((1.1977 x 1.1) + 0.02) x 0.9
    assert CostLine("x", 1).unit_usd is None


def test_current_prices_have_a_row_for_each_tier_and_bracket() -> None:
    """The table of current prices has a row for each tier and bracket, with source and date."""
    rows = PriceBook().current("gpt-6.2-sol", NOW)
    assert [(row.tier, row.bracket) for row in rows] == [
        ("default", None),
        ("default", "long"),
        ("priority", None),
        ("priority", "long"),
        ("ultrafast", None),
        ("batch", None),
        ("batch", "long"),
    ]
    assert rows[0].prices == {
        "input": Decimal(2),
        "cached_input": Decimal("0.1"),
        "cache_write": Decimal("2.5"),
        "cache_write_12h": Decimal(5),
        "output": Decimal(10),
    }
    assert (rows[0].source, rows[0].checked, rows[0].low) == ("overlay", date(2026, 11, 22), False)
    assert PriceBook({"mine": Price(input=1)}).current("mine") == (
        CurrentRate("mine", "default", None, {"input": Decimal(1)}, "override", "the caller", None, False),
    )
    assert PriceBook().current("gpt-7-sol") == ()


def test_current_prices_without_a_model_list_all() -> None:
    """Without a model the table holds everything that has a price."""
    rows = PriceBook({"mine": Price(input=1)}).current()
    assert {"mine", "gpt-6.2-astra", "gpt-4o", "ft:gpt-4.1", "sora-2-pro", "whisper-1"} <= {row.model for row in rows}
    assert next(row for row in rows if row.model == "sora-2-pro").prices["second@1920x1080"] == Decimal("0.7")
    assert any(row.low for row in rows if row.model == "gpt-6.2-astra")
    assert not any(row.model == "gpt-oss-120b" for row in rows)


def test_unpriced_call_is_logged_once_per_model_and_reason(caplog) -> None:
    """Later calls without a price for the same reason write no further line."""
    book = PriceBook()
    with caplog.at_level(logging.WARNING, "openai_meter"):
        for _ in range(3):
            usd(book, "gpt-7-sol")
            usd(book, "gpt-7-sol", service_tier="scale")
    assert [record.getMessage() for record in caplog.records] == [
        "openai_meter has no full price for gpt-7-sol: unknown model",
        "openai_meter has no full price for gpt-7-sol: tier: scale",
    ]


def test_endless_model_names_use_bounded_memory() -> None:
    """A program that makes up model names does not fill the memory."""
    book = PriceBook()
    for number in range(1100):
        usd(book, f"made-up-{number}")
    assert len(book._state.plans) == 1024
    assert usd(book) == Decimal("0.0012")


def test_decimal_context_of_the_program_does_not_round() -> None:
    """Money is exact even if the program has set its decimals to three digits."""
    book = PriceBook(discount="0.123456")
    with localcontext() as context:
        context.prec = 3
        cost = book.cost(Billable(Usage(1234567, 7654321, 8888888), "gpt-5-nano", at=NOW))
        shown = cost.usd
    assert shown == (1234567 * Decimal("0.05") + 7654321 * Decimal("0.4")) * Decimal("0.876544") / 1_000_000


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (10**13, "10"), (450_000_000, "0.00045"), (1, "1E-12"), (Fraction(1, 2), "5E-13"), (-(10**12), "-1")],
)
def test_dollars_are_shown_without_trailing_zeros(amount, text: str) -> None:
    """Dollars are shown without trailing zeros."""
    assert str(Cost(amount, "priced").usd) == text


def test_fraction_of_a_pico_dollar_is_rounded_for_display_only() -> None:
    """A sum that no decimal number holds stays a fraction; its dollars have 60 digits."""
    cost = PriceBook().cost(Billable(Usage(seconds=1), "gpt-live-1", at=NOW))
    assert cost.amount_pico == Fraction(5 * 10**10, 60)
    assert cost.usd is not None
    assert abs(Fraction(cost.usd) * 10**12 - cost.amount_pico) < Fraction(1, 10**40)


def test_model_missing_in_the_catalog_is_unpriced(monkeypatch) -> None:
    """Models of our own overlay are still priced."""
    monkeypatch.setattr(catalog, "_read", lambda: ({}, "genai-prices 0"))
    book = PriceBook()
    assert book.cost(Billable(PLAIN, "gpt-5.4-mini", at=NOW)).reason == "unknown model"
    assert usd(book, "gpt-6.2-sol") == Decimal("0.003")


def test_unreadable_catalog_is_logged_once_and_fails_no_call(monkeypatch, caplog) -> None:
    """A genai-prices of another structure is logged once."""
    import genai_prices.data_snapshot

    monkeypatch.delattr(genai_prices.data_snapshot, "get_snapshot")
    book = PriceBook()
    with caplog.at_level(logging.WARNING, "openai_meter"):
        assert usd(book) is None
        assert usd(book, "gpt-5.5") is None
        assert usd(book, "gpt-6.2-sol") == Decimal("0.003")
    assert sum("cannot read the price catalog" in record.getMessage() for record in caplog.records) == 1


def test_unreadable_model_is_unpriced(monkeypatch, caplog) -> None:
    """A model whose prices have another form is unpriced; the others are priced."""
    models, source = catalog._read()
    monkeypatch.setattr(catalog, "_read", lambda: ({**models, "gpt-5.5": object()}, source))
    book = PriceBook()
    with caplog.at_level(logging.WARNING, "openai_meter"):
        assert usd(book, "gpt-5.5") is None
    assert usd(book) == Decimal("0.0012")


def test_update_replaces_the_catalog(monkeypatch) -> None:
    """An update fetches the catalog with the library's own updater, and later calls are priced by it."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.update_prices import UpdatePrices

    calls = []
    monkeypatch.setattr(UpdatePrices, "fetch", lambda self: calls.append(1) or get_snapshot())
    book = PriceBook()
    before, revision = usd(book), book.revision
    assert not calls
    book.update()
    assert calls == [1]
    assert book.revision != revision
    assert usd(book) == before
    assert str(book.cost(Billable(PLAIN, "gpt-5.4-mini", at=NOW)).source).startswith("genai-prices 20")


def test_failed_update_keeps_the_prices(monkeypatch) -> None:
    """It raises, and the prices stay."""
    from genai_prices.update_prices import UpdatePrices

    def fail(self) -> None:
        raise OSError("no network")

    monkeypatch.setattr(UpdatePrices, "fetch", fail)
    book = PriceBook()
    revision = book.revision
    with pytest.raises(OSError, match="no network"):
        book.update()
    assert book.revision == revision
    assert usd(book) == Decimal("0.0012")


def test_warmed_book_has_read_its_files() -> None:
    """A warmed book has read its files."""
    book = PriceBook()
    book.warm()
    assert book._state.settings.books.catalog is not None
    assert usd(book, provider="azure", requested_model=None) == Decimal("0.0012")


def test_forked_child_has_its_own_lock() -> None:
    """A book whose lock was held by a thread of the parent can be used in the child."""
    book = PriceBook()
    book._lock.acquire()
    book.start_over_in_child()
    thread = threading.Thread(target=book.warm)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_call_priced_while_another_is_priced_has_its_price(monkeypatch) -> None:
    """A finalizer that prices a call while the catalog is read neither hangs nor changes cached prices."""
    book = PriceBook()
    read = catalog._read
    inside = []

    def reading():
        inside.append(book.cost(Billable(PLAIN, "gpt-5.4-mini", at=NOW)).status)
        return read()

    monkeypatch.setattr(catalog, "_read", reading)
    assert usd(book, "gpt-5.4") == Decimal("0.004")
    assert inside == ["unpriced"]
    assert usd(book) == Decimal("0.0012")


def test_training_tokens_have_no_price_of_the_model() -> None:
    """The tokens of a fine-tuning job are not priced like those of a call."""
    cost = PriceBook().cost(Billable(Usage(1000, 0, 1000), "gpt-4.1", endpoint="fine_tuning.jobs", at=NOW))
    assert (cost.usd, cost.status) == (None, "unpriced")


def test_price_file_may_price_models_not_sold_by_openai(tmp_path) -> None:
    """A model that OpenAI does not sell can have a price of the caller's."""
    path = tmp_path / "prices.toml"
    path.write_text('[[price]]\nmodels = ["gpt-oss-120b"]\ninput = 1\noutput = 1\n')
    assert usd(PriceBook(path), "gpt-oss-120b") == Decimal("0.0011")


def test_deployments_compare_by_their_fields() -> None:
    """Deployments compare by their fields."""
    assert Deployment("gpt-4.1") == Deployment("gpt-4.1", None)


@pytest.mark.parametrize("stated", ["free", -1, float("nan"), None])
def test_invalid_cost_from_a_host_is_ignored(stated: object) -> None:
    """The cost that a host reports is used only if it is a valid amount."""
    assert usd(PriceBook(), "m", provider="h.example.com", details={"provider_cost": stated}) is None
