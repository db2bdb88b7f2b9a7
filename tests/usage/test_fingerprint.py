"""What is kept of a request for advice: enough to compare requests, and never their text."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from openai_meter import Call, Usage
from openai_meter.core.sections import SectionSettings
from openai_meter.usage import fingerprint
from openai_meter.usage.fingerprint import Evidence, evidence_of

CALL = Call("id", datetime(2026, 1, 1, tzinfo=UTC), 0.1, "responses", "openai", "m", "m", "ok", Usage(1, 2, 3), "api")
RULES = "You answer tersely. " * 60
LONG = "All of this has to be known. " * 400


def chat(*texts: Any, **more: Any) -> dict[str, Any]:
    """A chat: the first text is the system's."""
    roles = ["system", *["user", "assistant"] * len(texts)]
    return {"model": "m", "messages": [{"role": roles[at], "content": text} for at, text in enumerate(texts)], **more}


def seen(body: Any, endpoint: str = "chat.completions") -> Evidence:
    found = evidence_of(endpoint, body)
    assert found is not None
    return found


def test_fingerprint_of_a_chat_has_its_counts_and_settings() -> None:
    """Counts and settings are those of the request."""
    full = seen(
        chat(
            RULES, "Why?", "So.", "Why?", max_tokens=5, service_tier="flex", prompt_cache_key="k",
            prompt_cache_retention="24h",
        )
    )  # fmt: skip
    assert full[2:10] == (len(RULES), len(RULES) + 11, 4, False, True, True, "flex", "24h")
    plain = seen(chat(RULES, "Why?"))
    assert plain[2:10] == (len(RULES), len(RULES) + 4, 2, False, False, False, None, None)
    assert plain.prefix_key == full.prefix_key
    assert plain.prompt_key != full.prompt_key


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_limit_of_the_answer_is_read_under_each_name(limit: str) -> None:
    """All three names of the limit count."""
    assert seen({"input": "x", limit: 5}, "responses").max_tokens_set


def test_cache_retention_is_read_from_options() -> None:
    """The newer option for the lifetime of a cache counts too."""
    assert seen({"input": "x", "prompt_cache_options": {"ttl": "12h"}}, "responses").retention == "12h"
    assert seen({"input": "x", "prompt_cache_options": {"mode": "explicit"}}, "responses").retention is None


PAIRS = [
    ("chat.completions", chat(RULES, "a")),
    ("chat.completions", chat(LONG, "a")),
    ("chat.completions", chat(LONG)),
    ("chat.completions", chat(RULES, *["word"] * 100)),
    (
        "chat.completions",
        chat([{"type": "text", "text": RULES}], [{"type": "image_url", "image_url": {"url": "data:"}}]),
    ),
    ("chat.completions", chat(RULES, "a", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])),
    ("responses", {"input": "a", "instructions": RULES}),
    ("responses", {"input": RULES}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": RULES}]}]}),
    ("responses", {"input": "a", "previous_response_id": "resp_1"}),
    ("completions", {"prompt": RULES}),
    ("completions", {"prompt": ["a", "b"]}),
    ("completions", {"prompt": [1, 2, 3]}),
    ("embeddings", {"input": "a"}),
    ("embeddings", {"input": ["a", "b"]}),
    ("embeddings", {"input": [1, 2, 3]}),
    ("embeddings", {"input": [[1, 2], [3]]}),
]


def changed(value: Any) -> Iterator[Any]:
    """The value with each of its texts and numbers, one at a time, made another."""
    if isinstance(value, dict):
        for name, one in value.items():
            for other in changed(one):
                yield {**value, name: other}
    elif isinstance(value, list):
        for at, one in enumerate(value):
            for other in changed(one):
                yield [*value[:at], other, *value[at + 1 :]]
    else:
        yield value + "!" if isinstance(value, str) else value + 1


@pytest.mark.parametrize(("endpoint", "body"), PAIRS)
def test_equal_requests_have_equal_keys(endpoint: str, body: dict[str, Any]) -> None:
    """The same request in other objects has the same fingerprint, and settings do not change its key."""
    first = seen(body, endpoint)
    again = seen(pickle.loads(pickle.dumps(body)), endpoint)
    assert first == again
    assert first.prompt_key is not None
    other = seen({**body, "service_tier": "flex", "max_tokens": 9, "model": "other", "user": "u"}, endpoint)
    assert (other.prompt_key, other.prefix_key) == (first.prompt_key, first.prefix_key)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        pair
        for pair in PAIRS
        if len(str(pair[1]["messages" if "messages" in pair[1] else "input" if "input" in pair[1] else "prompt"]))
        < 3000
    ],
)
def test_other_requests_have_other_keys(endpoint: str, body: dict[str, Any]) -> None:
    """Any change of any text of the input makes another key, where the input is compared whole."""
    first = seen(body, endpoint)
    known = {name: value for name, value in body.items() if name not in {"model", "tools"}}
    for other in changed(known):
        assert seen({**body, **other}, endpoint).prompt_key != first.prompt_key


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"functions": [{"name": "f"}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        {"response_format": {"type": "json_object"}},
        {"text": {"format": {"type": "json_schema", "name": "a"}}},
        {"previous_response_id": "resp_1"},
        {"conversation": {"id": "c"}},
        {"prompt": {"id": "p", "variables": {"x": "1"}}},
    ],
)
def test_tools_format_and_history_change_the_key(more: dict[str, Any]) -> None:
    """The same text with other tools, another answer format or another history has another key."""
    body = {"input": "Why?"}
    assert seen({**body, **more}, "responses").prompt_key != seen(body, "responses").prompt_key


def test_requests_with_the_same_beginning_share_its_key() -> None:
    """Whatever follows, short or long."""
    keys = {
        seen(chat(RULES, "a")).prefix_key,
        seen(chat(RULES, *["word"] * 100)).prefix_key,
        seen(chat(RULES, [{"type": "text", "text": "a"}])).prefix_key,
    }
    assert len(keys) == 1
    assert seen(chat(RULES + ".", "a")).prefix_key not in keys
    with_tools = chat(RULES, "a", tools=[{"type": "function", "function": {"name": "f"}}])
    assert seen(with_tools).prefix_key not in keys  # tools stand before the messages in what is cached
    one, other = (
        seen({"instructions": RULES, "input": "a", "previous_response_id": f"resp_{n}"}, "responses") for n in "12"
    )
    assert one.prefix_key == other.prefix_key
    assert one.prompt_key != other.prompt_key


def test_beginning_of_a_single_text_is_its_first_characters() -> None:
    """Where the whole prompt is one text, its first 6,144 characters are the part that can be shared."""
    one, other = seen({"input": LONG + "a"}, "responses"), seen({"input": LONG + "bb"}, "responses")
    assert one.prefix_key == other.prefix_key
    assert one.prefix_chars == 6_144
    assert one.prompt_key != other.prompt_key
    assert one.sampled


def test_characters_of_long_histories_are_projected() -> None:
    """Of a long history some messages are read, and the length of all is computed from them."""
    full = seen(chat(*["four"] * 100))
    assert (full.messages, full.chars, full.sampled) == (100, 400, True)


def test_picture_changes_the_key_and_adds_no_text() -> None:
    """The data of a picture distinguishes requests, but does not count as text."""
    one, other = (
        seen(chat("look", [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{kind * 9_000}"}}]))
        for kind in "AB"
    )
    assert one.chars == 4
    assert one.prompt_key != other.prompt_key


def test_other_endpoints_have_no_fingerprint() -> None:
    """There is no advice on moderations or pictures."""
    assert evidence_of("moderations", {"input": "x"}) is None
    assert evidence_of("images.generate", {"prompt": "x"}) is None


class Name(StrEnum):
    RULES = "rules"


class Message(BaseModel):
    role: str = "system"
    content: str = RULES


class Trap:
    """An object that must not be touched."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __hash__(self) -> int:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def test_fields_of_an_sdk_object_are_read() -> None:
    """A message may be an object of the SDK."""
    one = seen({"messages": [Message(), {"role": "user", "content": "a"}]})
    other = seen({"messages": [Message(content=RULES + "!"), {"role": "user", "content": "a"}]})
    assert None not in (one.prompt_key, other.prompt_key)
    assert one.prompt_key != other.prompt_key
    assert one.chars == len(RULES) + 1


def test_string_enum_is_read_as_its_text() -> None:
    """A string enum is its text."""
    assert seen(chat(Name.RULES, "a")).chars == 6
    assert seen({"input": Name.RULES}, "responses").prompt_key is not None


def test_iterator_is_not_consumed_and_has_no_key() -> None:
    """An iterator belongs to the program."""
    left = iter([{"role": "user", "content": "a"}])
    full = seen({"messages": left})
    assert (full.prompt_key, full.prefix_key) == (None, None)
    assert list(left) == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("odd", [object(), b"bytes", {1, 2}, range(3), memoryview(b"x"), print, 1j, lambda: 1])
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: [x], lambda x: [{"role": "user", "content": x}], lambda x: {"a": x}]
)
@pytest.mark.parametrize("endpoint", ["chat.completions", "responses", "completions", "embeddings"])
@pytest.mark.parametrize("sections", [False, True])
def test_unknown_object_is_not_read_and_has_no_key(
    endpoint: str, wrap: Any, odd: Any, sections: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input with an object of unknown type cannot be compared, and raises nothing, with a ledger too."""
    monkeypatch.setattr(SectionSettings, "wanted", sections)
    for one in (odd, Trap()):
        body = dict.fromkeys(("messages", "input", "prompt"), wrap(one))
        assert seen(body, endpoint).prompt_key is None


@pytest.mark.parametrize("sections", [False, True])
def test_input_that_contains_itself_ends(sections: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle ends, with a ledger too."""
    monkeypatch.setattr(SectionSettings, "wanted", sections)
    cycle: list[Any] = []
    cycle.append(cycle)
    loop: dict[str, Any] = {"role": "user"}
    loop["content"] = loop
    assert seen({"messages": cycle}).sampled
    assert seen({"messages": [loop, loop]}).sampled


fields = st.text(max_size=9) | st.sampled_from(["role", "content", "text"])
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(LONG),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(fields, inner, max_size=5),
    max_leaves=60,
)  # fmt: skip
names = st.sampled_from(
    [
        "messages", "input", "prompt", "instructions", "tools", "text", "response_format", "previous_response_id",
        "conversation", "service_tier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "max_tokens", "functions",
    ]
)  # fmt: skip


@given(st.sampled_from(["chat.completions", "responses", "completions", "embeddings"]), st.dictionaries(names, json))
def test_any_body_has_a_fingerprint(endpoint: str, body: dict[str, Any]) -> None:
    """Whatever a body contains: no fault, plain values, the same ones each time, and no change to the body."""
    before = repr(body)
    first, again = seen(body, endpoint), seen(copy.deepcopy(body), endpoint)
    if "nan" not in before:  # no NaN is like another
        assert first == again
    assert repr(body) == before
    assert all(type(one) in (int, bool, type(None), str, bytes) for one in first)
    assert first.chars >= 0
    assert first.prefix_chars >= 0


def test_fingerprint_contains_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys depend on salts of the process, and no part of them is written with a call."""
    full = seen(chat(RULES, "secret"))
    call = replace(CALL, evidence=full)
    assert "evidence" not in call.to_dict()
    assert "evidence" not in repr(call)
    assert call == CALL
    monkeypatch.setattr(fingerprint, "_SALT", 7)
    other = seen(chat(RULES, "secret"))
    assert other.prompt_key != full.prompt_key
    assert other.prefix_key != full.prefix_key


def test_keys_differ_between_processes() -> None:
    """Even in a program that disables Python's hash salt, keys cannot be compared between processes."""
    code = "from openai_meter.usage.fingerprint import evidence_of as e; print(e('responses', {'input': 'secret'}))"
    run = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    full = {subprocess.run(run, env=environment, capture_output=True, check=True).stdout for _ in range(2)}
    assert len(full) == 2
