"""Every row of the table of endpoints, each with an answer (and its events) in ``tests/data/answers``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from paths import ANSWERS

from openai_meter.usage.endpoints import ENDPOINTS, Endpoint, find
from openai_meter.usage.responses import ResponseState

ROWS = pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: f"{row.method} {row.path}")


def sample(row: Endpoint) -> dict[str, Any]:
    name = f"{row.method.lower()}{row.path}".replace("/", "_").replace("{}", "id")
    return json.loads((ANSWERS / f"{name}.json").read_text(encoding="utf-8"))


def seen(response: ResponseState) -> dict[str, Any]:
    usage = response.total()
    return {
        "state": response.state,
        "model": response.model,
        "response_id": response.response_id,
        "usage": None if usage is None else usage.to_dict(),
        "service_tier": response.service_tier,
        "background": response.background,
        "split": [[model, one.to_dict()] for model, one in response.split],
    }


def wanted(expect: dict[str, Any]) -> dict[str, Any]:
    full = {"service_tier": None, "background": False, "split": [], **expect}
    if full["usage"] is not None:
        full["usage"] = {"input_tokens": None, "output_tokens": None, "total_tokens": None} | full["usage"]
    return full


def begun(row: Endpoint, data: dict[str, Any]) -> ResponseState:
    response = ResponseState()
    if row.request is not None:
        row.request(response, data.get("request", {}))
    return response


@ROWS
def test_whole_answer_of_each_endpoint_is_read(row: Endpoint) -> None:
    """Every row reads its whole answer to the same model, state and usage, to the last part."""
    data = sample(row)
    response = begun(row, data)
    row.read(response, data["answer"])
    assert seen(response) == wanted(data["expect"])


@pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.fold], ids=lambda row: f"{row.method} {row.path}")
def test_stream_of_each_endpoint_gives_the_figures_of_its_answer(row: Endpoint) -> None:
    """Every row that streams comes to the same figures from its events."""
    data = sample(row)
    response = begun(row, data)
    assert row.fold is not None
    for event in data["events"]:
        row.fold(response, event)
    assert seen(response) == wanted(data.get("expect_events", data["expect"]))


@ROWS
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": None, "model": None, "usage": None, "status": None, "choices": None, "output": None, "data": None},
        {"id": 7, "model": 7, "usage": "many", "status": 7, "choices": 7, "output": 7, "data": 7, "error": "no"},
        {"id": [], "model": {}, "usage": [1], "choices": [None, 1], "output": [None, 1], "tool_usage": 3, "agent": 3},
        {"usage": {"prompt_tokens": "x", "total_tokens": -1}, "per_model_usage": [None, 3], "metadata": [], "error": 1},
        {"model_grader_token_usage_per_model": {"m": None}, "seconds": "soon", "duration": float("nan")},
    ],
    ids=["empty", "nulls", "wrong types", "wrong insides", "bad counts", "bad numbers"],
)
def test_odd_answer_raises_nothing_and_invents_no_tokens(row: Endpoint, answer: dict[str, Any]) -> None:
    """No answer, however odd, makes a reader or a folder raise, or invent tokens."""
    response = ResponseState()
    row.read(response, answer)
    assert response.total() is None
    if row.fold is not None:
        for kind in ("response.completed", "image_edit.completed", "transcript.text.done", "error", None, 3):
            row.fold(ResponseState(), {**answer, "type": kind, "response": answer, "session": answer})
            row.fold(ResponseState(), {"event": "thread.run.completed", "data": answer})


@ROWS
@pytest.mark.parametrize(
    "prefix",
    ["", "/v1", "https://api.openai.com/v1", "https://x.azure.com/openai/deployments/my-gpt", "http://[::1]:80/a/b"],
)
def test_row_is_found_by_method_and_path(row: Endpoint, prefix: str) -> None:
    """Whatever is before the API's own path, after it as a query, or in the ids."""
    path = row.path.replace("{}", "id-1_2")
    assert find(row.method, f"{prefix}{path}") is row
    assert find(row.method.lower(), f"{prefix}{path}?beta=true") is row


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/chat/completions"),
        ("GET", "/chat/completions/chatcmpl-1"),
        ("POST", "/chat/completions/chatcmpl-1"),
        ("DELETE", "/chat/completions/chatcmpl-1"),
        ("GET", "/chat/completions/chatcmpl-1/messages"),
        ("POST", "/responses/input_tokens"),
        ("GET", "/responses/resp_1/input_items"),
        ("DELETE", "/responses/resp_1"),
        ("GET", "/models"),
        ("GET", "/models/gpt-4o"),
        ("POST", "/files"),
        ("GET", "/files/file-1/content"),
        ("GET", "/batches"),
        ("GET", "/threads/t/runs"),
        ("POST", "/threads/t/runs/r"),
        ("GET", "/threads/t/runs/r/steps"),
        ("GET", "/threads/t/runs/r/steps/s"),
        ("POST", "/threads"),
        ("POST", "/assistants"),
        ("GET", "/evals/e/runs"),
        ("GET", "/evals/e/runs/r/output_items"),
        ("GET", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs/j/events"),
        ("GET", "/fine_tuning/jobs/j/checkpoints"),
        ("GET", "/videos/v"),
        ("GET", "/videos/v/content"),
        ("POST", "/videos/characters"),
        ("POST", "/vector_stores/v/search"),
        ("POST", "/vector_stores/v/file_batches"),
        ("GET", "/vector_stores/v/file_batches/b"),
        ("POST", "/vector_stores/v/file_batches/b/cancel"),
        ("GET", "/organization/usage/completions"),
        ("GET", "/organization/usage/embeddings"),
        ("POST", "/realtime/client_secrets"),
        ("POST", "/containers"),
        ("POST", "/conversations"),
        ("POST", "/agents/sessions/s/events"),
        ("POST", "/agents/automations"),
        ("", ""),
        ("POST", ""),
        ("POST", "/"),
    ],
)
def test_free_request_has_no_row(method: str, url: str) -> None:
    """Requests that cost nothing, or repeat the usage of another one, are not in the table."""
    assert find(method, url) is None


def test_every_file_of_answers_belongs_to_a_row() -> None:
    """There is no sample of a removed row."""
    names = {f"{row.method.lower()}{row.path}".replace("/", "_").replace("{}", "id") + ".json" for row in ENDPOINTS}
    assert {path.name for path in ANSWERS.iterdir()} == names
