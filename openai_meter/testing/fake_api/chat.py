"""Chat completions, stored ones included, and the older text completions."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from openai_meter.testing.fake_api.content import (
    Tokens,
    model_of,
    number_of,
    padding,
    pieces,
    prompt_tokens,
    prose,
    reasoning_tokens,
    reported_tokens,
    request_tokens,
    served_tier,
    text_tokens,
    written,
)
from openai_meter.testing.fake_api.handlers import (
    ApiError,
    Call,
    Job,
    Json,
    data_frames,
    event_answer,
    json_answer,
    page,
)
from openai_meter.testing.fake_api.loopback import Answer
from openai_meter.testing.fake_api.schemas import instance_of

_CALL_TOKENS = 8
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_DEFAULT_COMPLETION_LIMIT = 16


class Choice(NamedTuple):
    """One of the `n` alternatives: text, or tool calls."""

    text: str | None
    tool_calls: list[Json]
    finish: str
    tokens: int
    reasoning: int


def create_chat(call: Call) -> Answer:
    """Answers POST /chat/completions, plain or streamed."""
    messages = call.need("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "There must be at least one message.", param="messages", code="empty_array")
    model = model_of(call)
    choices = [_choice(call, model, index) for index in range(int(call.body.get("n") or 1))]
    prompt = request_tokens(messages, call.body.get("tools"), call.body.get("response_format"))
    reasoning = sum(choice.reasoning for choice in choices)
    tokens = reported_tokens(
        call, Tokens(model, prompt, reasoning + sum(choice.tokens for choice in choices), reasoning)
    )
    completion = _completion(call, model, choices, tokens)
    call.state.shelf("chat completion").put(Job(_stored(call, completion)))
    if call.streamed:
        chunks = _chunks(call, completion, choices)
        return event_answer(data_frames(_azure_chunks(chunks) if call.azure else chunks))
    return json_answer(_azure(completion) if call.azure else completion)


def _choice(call: Call, model: str, index: int) -> Choice:
    body = call.body
    seed = number_of(body["messages"], index)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    effort = body.get("reasoning_effort")
    reasoning = reasoning_tokens(model, effort, seed)
    tool, forced = _tool(body)
    if tool is not None:
        call_part = _tool_call(call, tool, seed)
        named = call_part[call_part["type"]]
        spent = _CALL_TOKENS + text_tokens(named["name"] + named.get("arguments", named.get("input", "")))
        return Choice(None, [call_part], "stop" if forced else "tool_calls", spent, reasoning)
    text = call.wanted.text
    done = written(_text(body.get("response_format") or {}, seed) if text is None else text, reasoning, limit)
    return Choice(done.text, [], "stop" if done.complete else "length", done.tokens, done.reasoning)


def _text(wanted: Json, seed: int) -> str:
    if wanted.get("type") == "json_schema":
        return json.dumps(instance_of(wanted["json_schema"].get("schema", {}), seed), ensure_ascii=False)
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": prose(seed)})
    return prose(seed)


def _tool(body: Json) -> tuple[Json | None, bool]:
    """The tool to call, if one is to be called, and whether the caller named it."""
    tools, choice = body.get("tools") or [], body.get("tool_choice") or "auto"
    if not tools or choice == "none":
        return None, False
    if isinstance(choice, dict):
        name = choice.get(choice.get("type", ""), {}).get("name")
        named = next((tool for tool in tools if tool.get(tool["type"], {}).get("name") == name), None)
        if named is not None:
            return named, True
    from_user = body["messages"][-1].get("role") == "user"
    return (tools[0], False) if from_user or choice == "required" else (None, False)


def _tool_call(call: Call, tool: Json, seed: int) -> Json:
    identity: Json = {"id": call.state.new_id("call_"), "type": tool["type"]}
    if tool["type"] == "custom":
        return {**identity, "custom": {"name": tool["custom"]["name"], "input": prose(seed)}}
    arguments = json.dumps(instance_of(tool["function"].get("parameters") or {"type": "object"}, seed))
    return {**identity, "function": {"name": tool["function"]["name"], "arguments": arguments}}


def _completion(call: Call, model: str, choices: list[Choice], tokens: Tokens) -> Json:
    shown = []
    for index, choice in enumerate(choices):
        calls = {"tool_calls": choice.tool_calls} if choice.tool_calls else {}
        message = {"role": "assistant", "content": choice.text, **calls, "refusal": None, "annotations": []}
        shown.append({"index": index, "message": message, **_logprobs(model), "finish_reason": choice.finish})
    return {
        "id": call.state.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": call.state.now(),
        "model": model,
        "choices": shown,
        "usage": tokens.chat() if call.wanted.usage else None,
        "service_tier": served_tier(call.body.get("service_tier")),
        "system_fingerprint": _fingerprint(model),
    }


def _logprobs(model: str) -> Json:
    """Models that reason do not have the key at all."""
    return {} if model.startswith(("gpt-5", "gpt-6", "o1", "o3", "o4")) else {"logprobs": None}


def _fingerprint(model: str) -> str | None:
    return None if not _logprobs(model) else f"fp_{number_of(model):010x}"


def _chunks(call: Call, completion: Json, choices: list[Choice]) -> Iterator[Json]:
    options = call.body.get("stream_options") or {}
    with_usage, padded = bool(options.get("include_usage")), options.get("include_obfuscation", True)
    model = completion["model"]
    head = {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": model,
        "service_tier": completion["service_tier"],
        "system_fingerprint": completion["system_fingerprint"],
    }
    count = 0

    def chunk(index: int, delta: Json, finish: str | None = None) -> Json:
        nonlocal count
        count += 1
        choice = {"index": index, "delta": delta, **_logprobs(model), "finish_reason": finish}
        usage = {"usage": None} if with_usage else {}
        return {**head, "choices": [choice], **usage, **({"obfuscation": padding(count)} if padded else {})}

    for index, choice in enumerate(choices):
        if choice.tool_calls:
            yield chunk(index, {"role": "assistant", "content": None})
            for delta in _tool_deltas(choice.tool_calls):
                yield chunk(index, delta)
        else:
            yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
            for piece in pieces(choice.text or ""):
                yield chunk(index, {"content": piece})
        yield chunk(index, {}, choice.finish)
    if with_usage:
        filler = {"obfuscation": padding(count + 1)} if padded else {}
        yield {**head, "choices": [], "usage": completion["usage"], **filler}


def _tool_deltas(calls: list[Json]) -> Iterator[Json]:
    for index, call in enumerate(calls):
        kind = call["type"]
        name, text = ("custom", "input") if kind == "custom" else ("function", "arguments")
        start = {"index": index, "id": call["id"], "type": kind, name: {"name": call[name]["name"], text: ""}}
        yield {"tool_calls": [start]}
        for piece in pieces(call[name][text]):
            yield {"tool_calls": [{"index": index, name: {text: piece}}]}


def _azure(completion: Json) -> Json:
    """The answer as Azure gives it: keys in alphabetical order, results of the content filters added."""
    choices = [dict(sorted({**choice, "content_filter_results": _SAFE}.items())) for choice in completion["choices"]]
    filters = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    body = {**completion, "choices": choices, "prompt_filter_results": filters}
    del body["service_tier"]
    return dict(sorted(body.items()))


def _azure_chunks(chunks: Iterator[Json]) -> Iterator[Json]:
    """The stream as Azure sends it: the first chunk is about the prompt and has no choices, model or id."""
    filters = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    yield {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": filters}
    for chunk in chunks:
        choices = [
            {"content_filter_results": _SAFE if choice["delta"].get("content") else {}, **choice}
            for choice in chunk["choices"]
        ]
        yield dict(sorted({**{k: v for k, v in chunk.items() if k != "service_tier"}, "choices": choices}.items()))


def _stored(call: Call, completion: Json) -> Json:
    """The completion as the stored-completions endpoints show it: other keys, and the usage again."""
    body, usage = call.body, completion["usage"]
    choices = [
        {
            "index": choice["index"],
            "message": {
                "content": choice["message"]["content"],
                "role": "assistant",
                "tool_calls": choice["message"].get("tool_calls"),
                "function_call": None,
            },
            "finish_reason": choice["finish_reason"],
            "logprobs": None,
        }
        for choice in completion["choices"]
    ]
    return {
        "object": "chat.completion",
        "id": completion["id"],
        "model": completion["model"],
        "created": completion["created"],
        "request_id": call.state.new_id("req_"),
        "tool_choice": body.get("tool_choice"),
        "usage": usage and {name: usage[name] for name in ("total_tokens", "completion_tokens", "prompt_tokens")},
        "seed": body.get("seed"),
        "top_p": body.get("top_p", 1.0),
        "temperature": body.get("temperature", 1.0),
        "presence_penalty": body.get("presence_penalty", 0.0),
        "frequency_penalty": body.get("frequency_penalty", 0.0),
        "system_fingerprint": completion["system_fingerprint"],
        "input_user": body.get("user"),
        "service_tier": completion["service_tier"],
        "tools": body.get("tools"),
        "metadata": body.get("metadata") or {},
        "choices": choices,
        "response_format": body.get("response_format"),
    }


def update_chat(call: Call) -> Answer:
    """Answers POST /chat/completions/{id}: new metadata, and the whole completion with its old usage."""
    job = call.state.shelf("chat completion").get(call.ids[0])
    return json_answer(job.turn({"metadata": call.body.get("metadata") or {}}))


def chat_messages(call: Call) -> Answer:
    """Answers GET /chat/completions/{id}/messages with an empty page: prompts are not kept."""
    call.state.shelf("chat completion").get(call.ids[0])
    return json_answer(page([], call.query))


def create_completion(call: Call) -> Answer:
    """Answers POST /completions, plain or streamed: `n` texts for each prompt."""
    body, model = call.body, model_of(call)
    prompt = body.get("prompt") or ""
    prompts = _prompts(prompt)
    limit = body.get("max_tokens") or _DEFAULT_COMPLETION_LIMIT
    done = [
        written(prose(number_of(one, copy)), 0, limit) for one in prompts for copy in range(int(body.get("n") or 1))
    ]
    sent, made = sum(prompt_tokens(one) for one in prompts), sum(text.tokens for text in done)
    usage = {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}
    head = {"id": call.state.new_id("cmpl-"), "object": "text_completion", "created": call.state.now()}
    finishes = ["stop" if text.complete else "length" for text in done]
    if not call.streamed:
        choices = [
            {"text": text.text, "index": index, "logprobs": None, "finish_reason": finish}
            for index, (text, finish) in enumerate(zip(done, finishes, strict=True))
        ]
        return json_answer({**head, "model": model, "choices": choices, "usage": usage})
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))

    def chunks() -> Iterator[Json]:
        empty = {"usage": None} if with_usage else {}
        for index, (text, finish) in enumerate(zip(done, finishes, strict=True)):
            for piece, end in [*((piece, None) for piece in pieces(text.text)), ("", finish)]:
                choice = {"text": piece, "index": index, "logprobs": None, "finish_reason": end}
                yield {**head, "choices": [choice], "model": model, **empty}
        if with_usage:
            yield {**head, "choices": [], "model": model, "usage": usage}

    return event_answer(data_frames(chunks()))


def _prompts(prompt: Any) -> list[Any]:
    """The prompts of a request: one text, many texts, one list of token numbers, or many such lists."""
    many = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return prompt if many else [prompt]
