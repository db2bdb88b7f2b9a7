"""The bound of a call: never less than what it can cost, by requests of every endpoint."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter import Price, PriceBook
from openai_meter.budgets.bound import bound_of
from openai_meter.budgets.sizes import measure
from openai_meter.usage.endpoints import ENDPOINTS
from openai_meter.usage.estimation.encodings import load

BOOK = PriceBook()
BOOK.warm()
ROWS = {row.name: row for row in ENDPOINTS if row.role in ("call", "start")}
HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]


class Asked(NamedTuple):
    row: Any
    requested_model: str | None
    provider: str = "openai"
    host: str = "api.openai.com"


def bound(endpoint="chat.completions", model="gpt-5-mini", files=None, book=BOOK, exact=False, **body):
    return bound_of(Asked(ROWS[endpoint], model), {"model": model, **body}, book, exact=exact, files=files)


texts = st.text(max_size=200) | st.sampled_from(
    ["日本語のテキスト", "🧾" * 40, "été à la plage", "a" * 300, "\x00\ud800"]
)
values = st.recursive(
    texts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(texts)
def test_text_has_at_most_as_many_tokens_as_bytes(text):
    """The vocabularies are byte-level: no text has more tokens than its bytes, nor than the bound of it."""
    for name in ("o200k_base", "cl100k_base"):
        tokens = len(load(name).encode_ordinary(text))
        assert tokens <= len(text.encode("utf-8", "surrogatepass")) or "\ud800" in text
        assert tokens <= measure({"input": text}).tokens


def leaves(value):
    if isinstance(value, dict):
        return [*value, *(leaf for item in value.values() for leaf in leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


@given(values)
def test_measured_size_of_a_body_exceeds_its_tokens(value):
    """However a body is nested, its bound is above the tokens of its names and values together."""
    size = measure({"input": value})
    tokens = sum(len(load("o200k_base").encode_ordinary(leaf)) for leaf in leaves(value) if "\ud800" not in leaf)
    assert size.unbounded is not None or size.tokens >= tokens


def test_results_of_tools_are_bounded_as_they_are_written_again():
    """The API writes parallel results as JSON again: letters with accents become escapes of six characters."""
    text = json.dumps({"ville": "é" * 100}, ensure_ascii=False, separators=(",", ":"))
    written = json.dumps(json.loads(text))
    found = measure({"messages": [{"role": "tool", "tool_call_id": "c", "content": text}]})
    assert found.tokens >= len(written)


def test_output_is_bounded_by_the_limit_of_the_request_else_by_the_model():
    """The limit of the request counts if it is below the model's ceiling, for each of ``n`` answers."""
    free = bound("chat.completions", messages=HELLO).tokens - 128_000
    assert 0 < free < 400
    assert bound(messages=HELLO, max_completion_tokens=10).output_tokens == 10
    assert bound(messages=HELLO, max_tokens=10, max_completion_tokens=20).output_tokens == 10
    assert bound(messages=HELLO, max_completion_tokens=10**9).output_tokens == 128_000
    assert bound(messages=HELLO, model="gpt-4o-mini").output_tokens == 16_384
    assert bound(messages=HELLO, model="gpt-4o-2024-05-13").output_tokens == 4_096
    assert bound(messages=HELLO, model="gpt-4o-2024-08-06").output_tokens == 16_384
    three = bound(messages=HELLO, n=3, max_completion_tokens=100)
    assert three.tokens - bound(messages=HELLO, n=1, max_completion_tokens=100).tokens == 200
    assert bound("completions", "gpt-3.5-turbo-instruct", prompt=["a", "b"], best_of=4, max_tokens=5).tokens > 40
    assert bound("responses", input="hi", max_output_tokens=7).output_tokens == 7


def test_bound_in_dollars_uses_the_highest_rate():
    """Cache writes, the requested tier, long requests and modalities raise the rate."""
    plain = bound("responses", "gpt-6.2-sol", input="x" * 1_000, max_output_tokens=100)
    written = 2_500_000  # pico-dollars of a token that is written to the cache
    assert plain.pico == (plain.tokens - 100) * written + 100 * 10_000_000
    fast = bound("responses", "gpt-6.2-sol", input="x" * 1_000, max_output_tokens=100, service_tier="priority")
    assert fast.pico > 1.9 * plain.pico
    long_lived = bound(
        "responses", "gpt-6.2-sol", input="x" * 1_000, max_output_tokens=100, prompt_cache_options={"ttl": "12h"}
    )
    assert long_lived.pico > 1.5 * plain.pico
    long = bound("responses", "gpt-6.2-sol", input="x" * 272_000, max_output_tokens=100)
    assert long.pico == (long.tokens - 100) * 5_000_000 + 100 * 15_000_000
    spoken = bound(model="gpt-audio", messages=HELLO, modalities=["text", "audio"], max_completion_tokens=100)
    assert spoken.pico > 100 * 64_000_000


def test_images_and_audio_in_the_input_are_bounded_by_their_own_rules():
    """A data URL is not text: an image has the ceiling of its model, audio its bit rate."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    one = bound(messages=[{"role": "user", "content": [picture]}], max_completion_tokens=1)
    assert 16_384 < one.tokens < 17_000
    dear = bound(model="gpt-4o-mini", messages=[{"role": "user", "content": [picture]}], max_completion_tokens=1)
    assert 48_169 < dear.tokens < 49_000
    data = base64.b64encode(b"\0" * 48_000).decode()
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    audio = bound(model="gpt-audio", messages=[{"role": "user", "content": [sound]}], max_completion_tokens=1)
    assert 500 < audio.tokens < 1_500
    assert audio.pico > 500 * 32_000_000
    url = [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]}]
    assert bound("responses", input=url, max_output_tokens=1).unbounded is None


@pytest.mark.parametrize(
    ("endpoint", "body", "reason"),
    [
        ("responses", {"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", {"input": "hi", "conversation": "conv_1"}, "conversation"),
        ("responses", {"prompt": {"id": "pmpt_1"}}, "prompt"),
        ("responses", {"input": "hi", "tools": [{"type": "web_search"}]}, "web_search"),
        ("responses", {"input": "hi", "tools": [{"type": "mcp"}]}, "mcp"),
        ("responses", {"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "file"),
        ("chat.completions", {"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "file"),
        ("chat.completions", {"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "audio"),
        ("chat.completions", {"messages": HELLO, "web_search_options": {}}, "web_search"),
        ("batches", {"input_file_id": "file-1"}, "batches"),
        ("threads.runs", {"assistant_id": "a"}, "thread"),
        ("images.generate", {"prompt": "a form"}, "the size of a generated image"),
        ("audio.transcriptions", {}, "a file of unknown length"),
    ],
)
def test_unbounded_request_names_the_reason(endpoint, body, reason):
    """A strict budget shows the reason when it refuses the call."""
    assert bound(endpoint, **body).unbounded == reason


def test_function_tools_are_bounded_as_a_part_of_the_body():
    """Functions are part of the body."""
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    assert bound("responses", input="hi", tools=tools).unbounded is None


def test_other_endpoints_are_bounded_by_their_units():
    """Embeddings by their input, speech by its characters, transcriptions by the length of the file, videos by time."""
    embedded = bound("embeddings", "text-embedding-3-small", input=["one", "two"])
    assert 0 < embedded.pico == embedded.tokens * 20_000
    assert bound("embeddings", "text-embedding-3-small", input=[[1, 2, 3]]).tokens >= 3
    assert bound("audio.speech", "tts-1", input="x" * 100).pico == 100 * 15_000_000
    files = [("file", ("a.wav", b"\0" * 50_000))]
    assert bound("audio.transcriptions", "whisper-1", files).pico == 101 * 100_000_000
    assert bound("audio.transcriptions", "gpt-4o-transcribe", files).unbounded is None
    assert bound("videos", "sora-2", seconds="8").pico == 8 * 100_000_000_000
    assert bound("images.generate", "gpt-image-1", prompt="x", n=2, partial_images=3).pico > 2 * 6_540 * 40_000_000
    assert bound("moderations", "omni-moderation-latest", input="hi").pico == 0


def test_models_without_a_price_are_named():
    """An unknown price is not zero."""
    found = bound(model="my-own-model", messages=HELLO)
    assert (found.pico, found.unpriced) == (None, "unknown model")
    elsewhere = bound_of(Asked(ROWS["chat.completions"], "m", "llm.example.com", "llm.example.com"), {}, BOOK)
    assert elsewhere.unpriced == "provider: llm.example.com"


def test_bound_uses_own_prices_and_discounts():
    """A price of the caller is used for the bound, and a discount lowers the bound."""
    own = PriceBook({"m": Price(input=1, output=2)})
    assert bound(model="m", messages=HELLO, max_completion_tokens=1, book=own).pico < 10**9
    half = PriceBook(discount="0.5")
    assert bound(messages=HELLO, book=half).pico * 2 == bound(messages=HELLO).pico


def test_vocabulary_gives_a_smaller_bound():
    """Counted exactly, English text has a quarter of the tokens that it has bytes, and still enough."""
    text = "How do we get rid of the paper forms? " * 50
    by_bytes = bound("responses", "gpt-5-mini", input=text, max_output_tokens=1)
    exact = bound("responses", "gpt-5-mini", input=text, max_output_tokens=1, exact=True)
    assert len(load("o200k_base").encode_ordinary(text)) < exact.tokens < by_bytes.tokens / 3
