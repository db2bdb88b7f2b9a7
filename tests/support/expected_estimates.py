"""What a record must say where the API told no usage: worked out from what went over the wire, by another way.

The meter hears the pieces of a stream as they pass. Here the whole stream is put together into the answer that the
API would have given without streaming, and the estimator is asked about that one.
"""

from __future__ import annotations

import json
from typing import Any

from openai_meter.usage.estimation import estimate_call
from openai_meter.usage.transcript import output_of_answer

ENDPOINTS = frozenset({"chat.completions", "completions", "responses", "responses.compact", "embeddings"})


def events(said: bytes) -> list[dict[str, Any]]:
    """The JSON objects among the events of a stream."""
    found = []
    for line in said.splitlines():
        if line.startswith(b"data:"):
            try:
                event = json.loads(line[5:])
            except ValueError:
                continue
            found += [event] if isinstance(event, dict) else []
    return found


def whole(said: bytes) -> dict[str, Any]:
    """The answer, put together from its events where it was streamed."""
    try:
        answer = json.loads(said)
        return answer if isinstance(answer, dict) else {}
    except ValueError:
        pass
    choices: dict[int, dict[str, Any]] = {}
    items: dict[int, dict[str, Any]] = {}
    for event in events(said):
        parts = event.get("choices")
        for one in parts if isinstance(parts, list) else ():
            if not isinstance(one, dict):
                continue
            choice = choices.setdefault(one.get("index") or 0, {"finish_reason": None})
            choice["finish_reason"] = one.get("finish_reason") or choice["finish_reason"]
            _add(choice, one)
        kind, index = event.get("type", ""), event.get("output_index")
        if kind == "response.output_item.done":
            items[index] = event["item"]
        elif kind == "response.output_text.delta" and (items.get(index) or {}).get("status") != "completed":
            item = items.setdefault(index, {"type": "message", "status": "in_progress", "content": [{"text": ""}]})
            item["content"][0]["text"] += event["delta"]
    return {"choices": [choices[index] for index in sorted(choices)], "output": [items[one] for one in sorted(items)]}


def _add(choice: dict[str, Any], one: dict[str, Any]) -> None:
    if "delta" not in one:
        choice["text"] = choice.get("text", "") + (one.get("text") or "")
        return
    message = choice.setdefault("message", {"content": "", "refusal": "", "reasoning": "", "tool_calls": []})
    delta = one["delta"] or {}
    message["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
    for part in ("content", "refusal"):
        message[part] += delta.get(part) or ""
    for call in delta.get("tool_calls") or ():
        calls = message["tool_calls"]
        while len(calls) <= call["index"]:
            calls.append({"function": {"name": "", "arguments": ""}})
        for part in ("name", "arguments"):
            calls[call["index"]]["function"][part] += (call.get("function") or {}).get(part) or ""


def guessed(call: Any, request: Any, said: bytes) -> tuple[str, dict[str, Any]] | None:
    """The source and usage that a record of unknown usage must have; ``None`` if it stays unknown.

    Where the program left early, it cannot be told from outside how much had passed: then the output is what the
    record says, if that is between nothing and all.
    """
    answer = whole(said)
    name = call.endpoint
    spoken = output_of_answer(name, answer)
    answered = spoken or (name == "embeddings" and answer.get("data"))
    sent_in_vain = call.status in ("aborted", "error") and call.cost_status != "free"
    if name not in ENDPOINTS or not request.body or not (answered or sent_in_vain):
        return None
    estimate = estimate_call(name, json.loads(request.body), spoken, call.model, wait=True)
    given, made = estimate.usage.input_tokens, estimate.usage.output_tokens
    assert given, "a request has tokens"
    if call.status not in ("ok", "incomplete"):
        passed = call.usage.output_tokens
        assert passed is None or 0 <= passed <= (made or 0), "more was counted than was said"
        assert passed is not None or "answer" in call.usage_unknown
        made = passed
    counts = {"input_tokens": given, "output_tokens": made, "total_tokens": given + (made or 0)}
    if estimate.usage.reasoning_tokens:
        counts["reasoning_tokens"] = estimate.usage.reasoning_tokens
    return estimate.source, counts
