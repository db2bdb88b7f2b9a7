"""Answers that come without their requests: told apart by what they look like, and read as the seam reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ANSWERS

from openai_meter.usage.endpoints import find
from openai_meter.usage.external import MANUAL, read_external
from openai_meter.usage.responses import ResponseState

RECORDINGS = Path(os.environ.get("OPENAI_METER_RECORDINGS", "no directory")) / "recordings.jsonl"

TOLD_APART = {
    "post_chat_completions": "chat.completions",
    "post_completions": "completions",
    "post_responses": "responses",
    "get_responses_id": "responses",
    "post_responses_compact": "responses.compact",
    "post_embeddings": "embeddings",
    "post_moderations": "moderations",
    "post_images_generations": "images.generate",
    "post_audio_transcriptions": "audio.transcriptions",
    "get_batches_id": "batches",
    "get_threads_id_runs_id": "threads.runs",
    "post_videos": "videos",
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "object", "model", "usage", "choices", "output", "data", "response", "type", "status", "error",
                 "input_tokens", "prompt_tokens", "total_tokens", "input_tokens_details", "created", "results", "text"]
            ),
            inner | st.sampled_from(["response", "chat.completion", "batch", "response.completed", "in_progress"]),
            max_size=6,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(("name", "endpoint"), TOLD_APART.items())
def test_endpoint_of_an_answer_is_found_by_its_fields(name: str, endpoint: str) -> None:
    """Its usage is read."""
    data = json.loads((ANSWERS / f"{name}.json").read_text(encoding="utf-8"))
    handed = read_external(data["answer"])
    assert handed.endpoint == endpoint
    expected = data["expect"]
    assert (handed.response.state, handed.response.model) == (expected["state"], expected["model"])
    for count, number in (expected["usage"] or {}).items():
        assert getattr(handed.usage, count) == number


@given(values)
def test_odd_answer_raises_nothing(answer: Any) -> None:
    """Whatever an answer contains."""
    handed = read_external(answer)
    assert handed.usage is None or handed.usage.known or handed.usage.seconds or handed.usage != type(handed.usage)()


def test_answer_with_a_usage_only_is_read() -> None:
    """An answer with nothing but a usage is read all the same."""
    handed = read_external({"usage": {"input_tokens": 3, "output_tokens": 4}})
    assert handed.endpoint == MANUAL
    assert handed.usage is not None
    assert handed.usage.total_tokens == 7


@pytest.mark.skipif(not RECORDINGS.exists(), reason="OPENAI_METER_RECORDINGS names no directory with recordings.jsonl")
def test_recorded_answers_are_read_as_metered_ones() -> None:
    """For every recorded answer with a usage: the same tokens, model, id and tier as with a known path."""
    read = 0
    with RECORDINGS.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            answer = line["response_json"]
            row = find(line["method"], line["endpoint"].replace("{id}", "x"))
            if row is None or not isinstance(answer, dict) or not line["usage"] or line["status"] != 200:
                continue
            known = ResponseState()
            row.read(known, answer)
            handed = read_external(answer)
            assert handed.usage == known.total(), line["source_path"]
            assert (handed.response.model, handed.response.response_id) == (known.model, known.response_id)
            assert (handed.response.service_tier, handed.response.state) == (known.service_tier, known.state)
            read += 1
    assert read > 500
