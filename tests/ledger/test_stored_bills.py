"""The bill of a call that was stored: line by line the one that it had when it was made."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: stored bills are NOT tested")
import openai
from hypothesis import given
from hypothesis import strategies as st
from ledgers import Database, call
from openai import OpenAI
from replay import Player, load, play, run_now

import openai_meter
from openai_meter import Call, Meter, Price, Usage
from openai_meter.core.money import CostLine
from openai_meter.ledger.stored_bills import bill_of_call, decode_bill, encode_bill, is_bill
from openai_meter.pricing import PriceBook

DIRECTORY = os.environ.get("OPENAI_METER_RECORDINGS", "")
AT = datetime(2026, 8, 3, 12, tzinfo=UTC)
BOOK = PriceBook(discount=0.07)
OWN = PriceBook({"house-model": Price(input="0.3", output="0.7", cached_input="0.1")})


def priced(made: Call, book: PriceBook = BOOK) -> Call:
    """A call with the cost that a book gives it."""
    return made.charged(book.cost(book.billable_of(made)), book)


def stored(database: Database, *given_calls: Call) -> dict[str, Call]:
    """The calls as they are read from a ledger that another process has written, by id."""
    ledger = database.ledger()
    ledger.import_calls(given_calls)
    ledger.close()
    ledger = database.ledger()
    try:
        return {one.id: one for one in ledger.calls()}
    finally:
        ledger.close()


counts = st.integers(0, 3_000)
usages = st.builds(
    lambda cached, text, written, audio, image, output, spoken, drawn, more: Usage(
        cached + text + written + audio + image, output + spoken + drawn,
        cached + text + written + audio + image + output + spoken + drawn, cached_input_tokens=cached,
        cache_write_tokens=written, input_audio_tokens=audio, input_image_tokens=image, output_audio_tokens=spoken,
        output_image_tokens=drawn, **more,
    ),
    counts, counts, counts, counts, counts, counts, counts, counts,
    st.fixed_dictionaries(
        {},
        optional={
            "web_searches": st.integers(1, 4), "file_searches": st.integers(1, 4),
            "container_sessions": st.integers(1, 2), "seconds": st.floats(0, 5_000), "images": st.integers(1, 4),
            "characters": st.integers(1, 900),
        },
    ),
)  # fmt: skip
MODELS = (
    "gpt-4o-mini", "gpt-4o-audio-preview", "gpt-realtime", "gpt-image-1", "gpt-5.4-mini", "o3-deep-research", "tts-1",
    "whisper-1", "gpt-4o-transcribe", "text-embedding-3-small", "sora-2", "gpt-5-search-api",
)  # fmt: skip


@given(
    usages, st.sampled_from(MODELS), st.sampled_from((None, "default", "flex", "priority")),
    st.sampled_from(("responses", "chat.completions", "images.generate", "batches", "audio.transcriptions", "videos")),
)  # fmt: skip
def test_bill_is_the_same_after_it_was_stored(usage: Usage, model: str, tier: str | None, endpoint: str) -> None:
    """Every line, with quantity, price, factor and source, and so the sum; whatever the usage."""
    made = priced(call(usage=usage, model=model, requested_model=model, service_tier=tier, endpoint=endpoint))
    lines = tuple(made.cost_lines)
    text = encode_bill(lines, usage)
    assert (text is None) == (not lines)
    if text is not None:
        assert decode_bill(text, usage) == lines
        assert is_bill(text)


some = st.sampled_from((0, 1, 7, 1_000, 300_000))


@given(
    st.lists(st.tuples(some, some, some, some, some), min_size=1, max_size=6),
    st.sampled_from(("gpt-5.4", "gpt-5.4-mini", "gpt-4o-mini", "text-embedding-3-small")),
    st.sampled_from((PriceBook(), BOOK)),
)
def test_text_of_an_earlier_call_is_taken_where_it_is_the_same(counts: list[Any], model: str, book: PriceBook) -> None:
    """Long requests, parts without tokens and other prices have texts of their own."""
    for text, cached, written, kept, output in counts:
        usage = Usage(
            text + cached + written + kept, output, text + cached + written + kept + output,
            cached_input_tokens=cached, cache_write_tokens=written + kept, cache_write_12h_tokens=kept,
        )  # fmt: skip
        made = priced(call(started_at=AT, usage=usage, model=model, requested_model=model), book)
        found = bill_of_call(made)
        assert (() if found is None else decode_bill(found, usage)) == tuple(made.cost_lines)


def test_bills_of_one_price_have_one_text() -> None:
    """The text has formulas in the place of quantities: calls of one model on one day share it."""
    texts = {
        encode_bill(
            tuple(priced(call(usage=Usage(n, n // 2, n + n // 2, cached_input_tokens=n // 4))).cost_lines), usage
        )
        for n in (1_000, 2_345, 400_000)
        for usage in [Usage(n, n // 2, n + n // 2, cached_input_tokens=n // 4)]
    }
    assert len(texts) == 1


def test_line_without_a_rule_is_stored_as_it_is() -> None:
    """Amounts that nothing else gives, and fractions, come back exactly."""
    lines = (
        CostLine("stated by the host", Fraction(10**14, 7), model="m", source="provider"),
        CostLine("odd", 5, Fraction(1, 3), "second", 15),
        CostLine("special", -3, factor=Fraction(1, 9), source="x"),
        CostLine("huge", 10**25, 10**22, "token", 1_000),
    )
    text = encode_bill(lines, Usage())
    assert text is not None
    assert decode_bill(text, Usage()) == lines
    assert encode_bill((), Usage()) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[["a","Q"]]', '[["a","1/0"]]', "[" * 5_000, "[[1]]", '[["a",1,"t","x"]]', "[[]]"]
)
def test_damaged_bill_is_recognized(text: str) -> None:
    """What is not a bill is refused before it reaches the database."""
    assert not is_bill(text)


def test_call_read_from_a_ledger_explains_itself(database: Database) -> None:
    """Its lines, and their sum, are those of the day, whatever the prices are now; its cost is shown with them."""
    made = [
        priced(
            call(usage=Usage(1_200, 340, 1_540, cached_input_tokens=1_000), model="gpt-5.4-mini", response_id=f"r{n}")
        )
        for n in range(3)
    ]
    made.append(priced(call(usage=Usage(10, 10, 20), model="house-model", provider="openai"), OWN))
    made.append(call(cost_pico=None, cost_status="unpriced", price_source=None))
    found = stored(database, *made)
    for one in made:
        assert found[one.id].cost_lines == one.cost_lines
        assert found[one.id].cost == one.cost
        assert sum((line.usd for line in found[one.id].cost_lines), Decimal(0)) == (one.cost or 0)
        assert pickle.loads(pickle.dumps(found[one.id])).cost_lines == one.cost_lines
    assert [len(found[one.id].cost_lines) for one in made] == [4, 4, 4, 2, 0]


def test_repriced_call_has_its_new_bill(database: Database) -> None:
    """A call without a price has no bill; when it is priced later, it has the one of its day."""
    unknown = call(model="house-model", usage=Usage(1_000, 10, 1_010), cost_pico=None, cost_status="unpriced")
    ledger = database.ledger()
    ledger.import_calls([unknown, call()])
    assert ledger.reprice(PriceBook({"house-model": Price(input="0.5", output=2)})) == 1
    found = {one.id: one for one in ledger.calls()}[unknown.id]
    assert [(line.item, line.quantity, line.usd) for line in found.cost_lines] == [
        ("input", 1_000, Decimal("0.0005")), ("output", 10, Decimal("0.00002")),
    ]  # fmt: skip
    assert (found.cost_status, found.cost) == ("priced", Decimal("0.00052"))
    database.check_sums()
    ledger.close()


def test_calls_of_an_older_ledger_stay_as_they_were(database: Database) -> None:
    """Rows of an earlier version are read as before: all fields, no bill, nothing of the headers."""
    plain = [replace(call(n), organization=None, project=None) for n in range(300)]
    plain[0] = replace(plain[0], tags={"env": "prod"}, user="é", cost_pico=Fraction(1, 7), usage_unknown=("a",))
    ledger = database.ledger()
    ledger.import_calls(plain)
    ledger.close()
    database.make_old(7)
    ledger = database.ledger()
    assert {one.id: one for one in ledger.calls()} == {one.id: one for one in plain}
    assert ledger.report("model").totals.calls == 300
    database.check_sums()
    newer = call(1_000, project="proj_a", organization="org")
    ledger.import_calls([newer])
    assert {row.key: row.totals.calls for row in ledger.report("project").rows} == {
        ("proj_a",): 1, ("(unattributed)",): 300,
    }  # fmt: skip
    database.check_sums()
    ledger.close()


def test_headers_are_stored_and_can_be_filtered_by(database: Database) -> None:
    """The fields from headers come back; reports and lists of calls can be had by project and organization."""
    given_calls = [
        call(
            n, organization="org-1", project=f"proj_{n % 3}", request_id=f"req_{n}", processing_ms=n,
            remaining_requests=10 * n, remaining_tokens=100 * n,
        )
        for n in range(30)
    ]  # fmt: skip
    ledger = database.ledger()
    ledger.import_calls(given_calls)
    assert {one.id: one for one in ledger.calls()} == {one.id: one for one in given_calls}
    assert {row.key: row.totals.calls for row in ledger.report("project,organization").rows} == {
        (f"proj_{n}", "org-1"): 10 for n in range(3)
    }
    assert ledger.report("user", project="proj_1").totals.calls == 10
    assert {one.project for one in ledger.calls(project=("proj_0", "proj_2"))} == {"proj_0", "proj_2"}
    ledger.close()


# --- recorded traffic -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DIRECTORY, reason="OPENAI_METER_RECORDINGS names no directory: recorded bills are NOT tested")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.thorough)], ids=["sample", "all"])
def test_recorded_calls_have_their_bills_after_a_read(database: Database, every: int) -> None:
    """Cost and lines read back equal those live; pricing again by the same prices changes nothing."""
    player = Player()
    meter = openai_meter.install(meter=Meter(recent=5_000))
    settings: dict[str, Any] = {"api_key": "a key", "base_url": f"{player.server.url}/v1", "max_retries": 0}
    with player.server, OpenAI(http_client=openai.DefaultHttpxClient(trust_env=False), **settings) as client:
        for line in load(DIRECTORY)[::every]:
            run_now(play(client, player, line))
    meter.settle()
    # They were answered on this machine, and are billed as if OpenAI had answered them.
    answered = (replace(one, provider="openai", host="api.openai.com") for one in meter.calls)
    live = {one.id: priced(one) for one in answered}
    assert len(live) > 1_000 // every // 2
    assert sum(bool(one.cost_lines) for one in live.values()) > len(live) // 4
    found = stored(database, *live.values())
    assert found == live
    assert {id_: tuple(one.cost_lines) for id_, one in found.items()} == {
        id_: tuple(one.cost_lines) for id_, one in live.items()
    }
    ledger = database.ledger()
    before = ledger.report("model").totals.cost
    ledger.reprice(BOOK)
    assert ledger.report("model").totals.cost == before
    assert {one.id: tuple(one.cost_lines) for one in ledger.calls() if one.cost_status == "priced"} == {
        id_: tuple(one.cost_lines) for id_, one in live.items() if one.cost_status == "priced"
    }
    ledger.close()
