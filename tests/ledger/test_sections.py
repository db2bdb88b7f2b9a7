"""The parts of requests in a ledger: lengths and fingerprints by its own key, and no text."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: stored sections are NOT tested")
from ledgers import Database, call

from openai_meter import Call
from openai_meter.core.sections import MOST, SectionSettings, read_sections, with_key
from openai_meter.ledger.rows import encode_line, to_row
from openai_meter.usage.fingerprint import evidence_of
from openai_meter.usage.sections import sections_of

TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
SYSTEM = "You are a shop's assistant. It is 09:41 on 2026-08-03."
CHAT = {
    "model": "m",
    "tools": TOOLS,
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Where is my parcel?"}],
}


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program with a ledger."""
    monkeypatch.setattr(SectionSettings, "wanted", True)


@pytest.fixture
def key() -> bytes:
    """A key of a ledger."""
    return b"k" * 32


def recorded(body: dict[str, Any], endpoint: str = "chat.completions", **more: Any) -> Call:
    """A call with the evidence of its request."""
    return call(evidence=evidence_of(endpoint, body), endpoint=endpoint, **more)


def chat(*contents: str) -> dict[str, Any]:
    """A chat of texts without tools."""
    return {"messages": [{"role": "user", "content": text} for text in contents]}


def test_sections_are_the_parts_of_a_request(database: Database) -> None:
    """The tools, then each message, with its role and its length; a response's instructions come first."""
    ledger = database.ledger()
    ledger.import_calls(
        [
            recorded(CHAT, response_id="a"),
            recorded({"instructions": SYSTEM, "input": "Hello"}, "responses", response_id="b"),
        ]
    )
    found = {one.response_id: one.sections for one in ledger.calls()}
    assert [(one.kind, one.chars) for one in found["a"]][1:] == [("system", len(SYSTEM)), ("user", 19)]
    assert found["a"][0].kind == "tools"
    assert [(one.kind, one.chars) for one in found["b"]] == [("instructions", len(SYSTEM)), ("user", 5)]
    assert found["a"][1].fingerprint == found["b"][0].fingerprint
    ledger.close()


def test_fingerprints_differ_by_text_or_by_shape(key: bytes) -> None:
    """Other digits or another order change the text alone; other words change the shape too."""
    texts = (SYSTEM, SYSTEM.replace("09:41", "10:02"), " ".join(reversed(SYSTEM.split())), SYSTEM + " Be kind.")
    (first,), (later,), (shuffled,), (other,) = (
        read_sections(with_key(sections_of(chat(text), "messages"), key)) for text in texts
    )
    assert len({one.fingerprint for one in (first, later, shuffled, other)}) == 4
    assert first.shape == later.shape == shuffled.shape != other.shape


def test_fingerprints_are_those_of_one_ledger(database: Database, key: bytes) -> None:
    """Its key is made once, and used by every process; the same text has other fingerprints by another key."""
    for _ in range(2):
        ledger = database.ledger()
        ledger.import_calls([recorded(CHAT)])
        ledger.close()
    ledger = database.ledger()
    one, two = (found.sections for found in ledger.calls())
    assert one == two
    records = evidence_of("chat.completions", CHAT).sections  # type: ignore[union-attr]
    other = read_sections(with_key(records, key))
    assert [part.chars for part in other] == [part.chars for part in one]
    assert not {part.fingerprint for part in other} & {part.fingerprint for part in one}
    ledger.close()


def test_no_text_of_a_request_is_stored(database: Database) -> None:
    """Neither in the database nor in a line of the spool, which has no fingerprints at all."""
    made = recorded(CHAT)
    assert b"parcel" not in encode_line(to_row(made))
    assert b"sections" not in encode_line(to_row(made))
    ledger = database.ledger()
    ledger.import_calls([made])
    ledger.close()
    assert "parcel" not in repr(database.query("SELECT * FROM call_rows")) + repr(database.query("SELECT * FROM calls"))


def test_long_request_has_few_sections(key: bytes) -> None:
    """Of many messages, the first and the last are kept; of a long text, its hash."""
    body = chat(*(f"message {n}" * n for n in range(1, 400)), "x" * 1_000_000)
    found = read_sections(with_key(sections_of(body, "messages"), key))
    assert len(found) == MOST
    assert (found[0].chars, found[-1].chars) == (len("message 1"), 1_000_000)


@pytest.mark.parametrize(
    "body", [{}, {"input": [1, 2, 3]}, {"input": iter("abc")}, {"input": [object()]}, {"input": ["\ud800"]}]
)
def test_odd_request_has_sections_of_its_readable_parts(body: dict[str, Any], key: bytes) -> None:
    """Tokens, iterators, unknown objects and half characters raise nothing."""
    assert len(read_sections(with_key(sections_of(body, "input"), key))) <= 1


@pytest.mark.parametrize("text", ["!", "AA==", "CA==", "/////w==", "A" * 5_000])
def test_damaged_sections_are_refused(text: str) -> None:
    """What a spool's line has in their place is checked as all else."""
    with pytest.raises(ValueError, match=r"."):
        read_sections(text)


def test_program_without_a_ledger_reads_no_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is hashed that nothing would store."""
    monkeypatch.setattr(SectionSettings, "wanted", False)
    for body in (CHAT, chat("a")):
        assert evidence_of("chat.completions", body).sections == b""  # type: ignore[union-attr]
