"""Endpoints that answer in one piece: embeddings, moderations, decisions, models, files and vector stores."""

import array
import base64
import functools
import math
import random
from typing import Any

from openai_meter.testing.fake_api.content import (
    SNAPSHOTS,
    Tokens,
    known_model,
    model_of,
    number_of,
    prompt_tokens,
    prose,
    reported_tokens,
    request_tokens,
)
from openai_meter.testing.fake_api.handlers import ApiError, Call, Job, Json, Upload, json_answer
from openai_meter.testing.fake_api.loopback import Answer

_DIMENSIONS = {"text-embedding-3-large": 3072}
_HARMS = (
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_LISTED = (*SNAPSHOTS, "gpt-5.4-mini", "gpt-6-luna", "gpt-6.1-terra", "gpt-6.2-sol", "text-embedding-3-small")


def create_embeddings(call: Call) -> Answer:
    """Answers POST /embeddings: texts or token numbers, as floats or as base64."""
    given, model = call.need("input"), model_of(call)
    many = isinstance(given, list) and (not given or not isinstance(given[0], int))
    inputs = given if many else [given]
    if not inputs:
        raise ApiError(400, "There must be at least one input.", param="input", code="empty_array")
    size = int(call.body.get("dimensions") or _DIMENSIONS.get(model, 1536))
    encoded = call.body.get("encoding_format") == "base64"
    data = []
    for index, one in enumerate(inputs):
        numbers = _vector(number_of(one), size)
        vector: Any = base64.b64encode(numbers.tobytes()).decode() if encoded else list(numbers)
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = reported_tokens(call, Tokens(model, sum(max(1, prompt_tokens(one)) for one in inputs), 0)).input
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": model}
    return json_answer({**answer, "usage": usage} if call.wanted.usage else answer)


@functools.lru_cache(maxsize=256)
def _vector(seed: int, size: int) -> "array.array[float]":
    dice = random.Random(seed)
    numbers = [dice.uniform(-1, 1) for _ in range(size)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return array.array("f", (number / length for number in numbers))


def create_moderation(call: Call) -> Answer:
    """Answers POST /moderations: nothing is ever flagged, and there is no usage."""
    given, model = call.need("input"), model_of(call, "omni-moderation-latest")
    texts = given if isinstance(given, list) and given and isinstance(given[0], str) else [given]
    results = [
        {
            "flagged": False,
            "categories": dict.fromkeys(_HARMS, False),
            "category_scores": {harm: (number_of(text, harm) % 1000) * 1e-7 for harm in _HARMS},
            "category_applied_input_types": {harm: ["text"] for harm in _HARMS},
        }
        for text in texts
    ]
    return json_answer({"id": call.state.new_id("modr-"), "model": model, "results": results})


def create_decision(call: Call) -> Answer:
    """Answers POST /decisions: one answer a question, a usage, and no id."""
    given, questions, model = call.need("input"), call.need("questions"), model_of(call)
    answers = [_decided(question, number_of(given, question)) for question in questions]
    tokens = Tokens(model, request_tokens(given, questions), 4 * len(answers))
    usage = tokens.responses()
    usage["input_tokens_details"] = {"cache_write_tokens": 0, "cached_tokens": tokens.cached}
    return json_answer({"answers": answers, "model": model, "usage": usage})


def _decided(question: Json, seed: int) -> Json:
    named: Json = {"name": question.get("name")}
    sure = 0.6 + seed % 40 / 100
    if question["type"] == "choice":
        choices = [choice["value"] for choice in question["choices"]]
        chosen = choices[seed % len(choices)]
        rest = (1 - sure) / max(1, len(choices) - 1)
        odds = [{"probability": sure if value == chosen else rest, "value": value} for value in choices]
        return {**named, "type": "choice", "choice": chosen, "confidence": sure, "probabilities": odds}
    if question["type"] == "score":
        labels = [level["label"] for level in question["levels"]]
        at = seed % len(labels)
        rest = (1 - sure) / max(1, len(labels) - 1)
        chances = [
            {"label": label, "probability": sure if i == at else rest, "value": i} for i, label in enumerate(labels)
        ]
        return {**named, "type": "score", "confidence": sure, "probabilities": chances, "score": float(at)}
    return {**named, "type": "predicate", "probability": sure}


def list_models(_: Call) -> Answer:
    """Answers GET /models with a few of the names that are served."""
    return json_answer({"object": "list", "data": [_model(name) for name in _LISTED]})


def retrieve_model(call: Call) -> Answer:
    """Answers GET /models/{id} for every name of a served family."""
    if not known_model(call.ids[0]):
        raise ApiError(404, f"There is no model '{call.ids[0]}'.", param="model", code="model_not_found")
    return json_answer(_model(call.ids[0]))


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "system"}


def create_file(call: Call) -> Answer:
    """Answers POST /files; the content is kept and can be read back."""
    upload = call.need("file")
    if not isinstance(upload, Upload):
        raise ApiError(400, "The file must be uploaded as a form part.", param="file")
    created: Json = {
        "object": "file",
        "id": call.state.new_id("file-"),
        "purpose": call.need("purpose"),
        "filename": upload.filename,
        "bytes": len(upload.data),
        "created_at": call.state.now(),
        "expires_at": None,
        "status": "processed",
        "status_details": None,
    }
    call.state.shelf("file content").put(Job({"id": created["id"], "data": upload.data}))
    return json_answer(call.state.shelf("file").put(Job(created)))


def file_content(call: Call) -> Answer:
    """Answers GET /files/{id}/content with the bytes that were uploaded."""
    data: bytes = call.state.shelf("file content").get(call.ids[0]).current["data"]
    return Answer(200, {"content-type": "application/octet-stream"}, data)


def create_vector_store(call: Call) -> Answer:
    """Answers POST /vector_stores."""
    now, files = call.state.now(), len(call.body.get("file_ids") or [])
    counts = {"in_progress": 0, "completed": files, "failed": 0, "cancelled": 0, "total": files}
    created: Json = {
        "id": call.state.new_id("vs_"),
        "object": "vector_store",
        "name": call.body.get("name"),
        "description": None,
        "status": "completed",
        "usage_bytes": 0,
        "created_at": now,
        "file_counts": counts,
        "metadata": call.body.get("metadata") or {},
        "expires_after": None,
        "expires_at": None,
        "last_active_at": now,
    }
    return json_answer(call.state.shelf("vector store").put(Job(created)))


def search_vector_store(call: Call) -> Answer:
    """Answers POST /vector_stores/{id}/search with one hit."""
    call.state.shelf("vector store").get(call.ids[0])
    query = call.need("query")
    hit = {
        "file_id": call.state.new_id("file-"),
        "filename": "handbook.txt",
        "score": 0.9,
        "attributes": {},
        "content": [{"type": "text", "text": prose(number_of(query))}],
    }
    return json_answer(
        {
            "object": "vector_store.search_results.page",
            "search_query": query,
            "data": [hit],
            "has_more": False,
            "next_page": None,
        }
    )
