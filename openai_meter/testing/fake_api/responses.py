"""Responses: plain, streamed, in the background, compacted, and read later."""

import json
from collections.abc import Iterator
from typing import Any

from openai_meter.testing.fake_api.content import (
    Tokens,
    known_model,
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
    event_answer,
    json_answer,
    page,
    typed_frames,
)
from openai_meter.testing.fake_api.loopback import Answer
from openai_meter.testing.fake_api.schemas import instance_of

_CALL_TOKENS = 8
_ECHOED: Json = {
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}
"""Parameters that a response repeats after its output, in this order, with their values when not given."""


def create_response(call: Call) -> Answer:
    """Answers POST /responses: plain, `stream`, `background`, or both."""
    call.need("input")
    _check_model(call)
    model = model_of(call)
    started = _started(call, model)
    ending = _ending(call, model)
    shelf = call.state.shelf("response")
    if call.body.get("background"):
        started["status"] = "queued"
        running = [{"status": "in_progress"}] * call.state.polls
        job = Job(dict(started), [*running, ending])
        shelf.put(job)
        if not call.streamed:
            return json_answer(started)
        return event_answer(_watched(job, {**started, **ending}))
    finished = {**started, **ending}
    shelf.put(Job(finished))
    if call.streamed:
        return event_answer(typed_frames(_events(finished)))
    return json_answer(finished)


def _check_model(call: Call) -> None:
    # Unlike the other endpoints, this one answers 400 for a model that does not exist.
    name = call.body.get("model")
    if name and not call.azure and not call.wanted.any_model and not known_model(str(name)):
        message = f"There is no model '{name}' that could answer this request."
        raise ApiError(400, message, param="model", code="model_not_found")


def _started(call: Call, model: str) -> Json:
    body = call.body
    echoed = {name: _merged(default, body.get(name)) for name, default in _ECHOED.items()}
    return {
        "id": call.state.new_id("resp_"),
        "object": "response",
        "created_at": call.state.now(),
        "status": "in_progress",
        "background": bool(body.get("background")),
        "billing": {"payer": "developer"},
        "completed_at": None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": model,
        "output": [],
        **echoed,
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _merged(default: Any, given: Any) -> Any:
    if given is None:
        return default
    return {**default, **given} if isinstance(default, dict) and isinstance(given, dict) else given


def _ending(call: Call, model: str) -> Json:
    """The fields that differ between a response that has begun and the same one when it is finished."""
    body = call.body
    seed = number_of(body["input"])
    reasoning = reasoning_tokens(model, (body.get("reasoning") or {}).get("effort"), seed)
    limit = body.get("max_output_tokens")
    output, spent, complete = _output(call, seed, reasoning, limit)
    thought = min(reasoning, limit) if limit else reasoning
    before = _earlier_tokens(call)
    prompt = request_tokens(body["input"], body.get("tools"), (body.get("text") or {}).get("format"))
    prompt += text_tokens(body.get("instructions") or "") + before
    ending: Json = {
        "status": "completed" if complete else "incomplete",
        "completed_at": call.state.now() if complete else None,
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "output": output,
        "service_tier": served_tier(body.get("service_tier")),
        "usage": reported_tokens(call, Tokens(model, prompt, thought + spent, thought)).responses()
        if call.wanted.usage
        else None,
    }
    searches = sum(item["type"] == "web_search_call" for item in output)
    if searches:
        ending["tool_usage"] = {"image_gen": _NO_IMAGES, "web_search": {"num_requests": searches}}
    return ending


_NO_IMAGES: Json = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "total_tokens": 0,
}


def _earlier_tokens(call: Call) -> int:
    """The input tokens of the conversation before this response."""
    earlier = call.body.get("previous_response_id")
    if not earlier:
        return 0
    usage = call.state.shelf("response").get(earlier).current["usage"] or {}
    return int(usage.get("total_tokens", 0))


def _output(call: Call, seed: int, reasoning: int, limit: int | None) -> tuple[list[Json], int, bool]:
    """The output items, the tokens of those that are not reasoning, and whether they are complete."""
    body, new_id = call.body, call.state.new_id
    items: list[Json] = []
    if reasoning:
        thought: Json = {"id": new_id("rs_"), "type": "reasoning", "summary": []}
        if "reasoning.encrypted_content" in (body.get("include") or []):
            thought["encrypted_content"] = f"opaque-{seed:x}"
        items.append(thought)
    tool = _tool(body)
    if tool is not None:
        item = _tool_call(call, tool, seed)
        return [*items, item], _CALL_TOKENS + text_tokens(item["name"] + str(item.get("arguments", ""))), True
    if any(str(tool.get("type")).startswith("web_search") for tool in body.get("tools") or []):
        action = {"type": "search", "query": "working habits"}
        items.append({"id": new_id("ws_"), "type": "web_search_call", "status": "completed", "action": action})
    done = written(_text(body, seed) if call.wanted.text is None else call.wanted.text, reasoning, limit)
    if done.text or done.complete:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": done.text}
        status = "completed" if done.complete else "incomplete"
        message = {"id": new_id("msg_"), "type": "message", "status": status, "content": [part], "role": "assistant"}
        items.append(message)
    return items, done.tokens, done.complete


def _text(body: Json, seed: int) -> str:
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(instance_of(wanted.get("schema") or {}, seed), ensure_ascii=False)
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": prose(seed)})
    return prose(seed)


def _tool(body: Json) -> Json | None:
    """The function or custom tool to call, if one is to be called."""
    choice = body.get("tool_choice") or "auto"
    tools: list[Json] = [tool for tool in body.get("tools") or [] if tool.get("type") in ("function", "custom")]
    if not tools or choice == "none":
        return None
    if isinstance(choice, dict) and choice.get("name"):
        return next((tool for tool in tools if tool["name"] == choice["name"]), tools[0])
    last = body["input"][-1] if isinstance(body["input"], list) and body["input"] else {"role": "user"}
    return tools[0] if last.get("role") == "user" or choice == "required" else None


def _tool_call(call: Call, tool: Json, seed: int) -> Json:
    new_id, name = call.state.new_id, tool["name"]
    if tool["type"] == "custom":
        identity = {"id": new_id("ctc_"), "type": "custom_tool_call", "status": "completed"}
        return {**identity, "call_id": new_id("call_"), "input": prose(seed), "name": name}
    identity = {"id": new_id("fc_"), "type": "function_call", "status": "completed"}
    arguments = json.dumps(instance_of(tool.get("parameters") or {"type": "object"}, seed))
    return {**identity, "arguments": arguments, "call_id": new_id("call_"), "name": name}


def _events(response: Json) -> Iterator[Json]:
    """The events of a finished response, numbered, from `created` to the one that carries the usage."""
    number = 0

    def event(kind: str, **fields: Any) -> Json:
        nonlocal number
        made = {"type": f"response.{kind}", "sequence_number": number, **fields}
        number += 1
        return made

    running = {
        **{key: value for key, value in response.items() if key != "tool_usage"},
        "status": "in_progress",
        "completed_at": None,
        "incomplete_details": None,
        "output": [],
        "service_tier": "auto",
        "usage": None,
    }
    if response["background"]:
        queued = {**running, "status": "queued"}
        yield event("created", response=queued)
        yield event("queued", response=queued)
    else:
        yield event("created", response=running)
    yield event("in_progress", response=running)
    for index, item in enumerate(response["output"]):
        yield event("output_item.added", output_index=index, item=_begun(item))
        for kind, fields in _inner_events(item, index):
            yield event(kind, **fields)
        yield event("output_item.done", output_index=index, item=item)
    yield event(response["status"], response=response)


def _begun(item: Json) -> Json:
    """The item as it is announced: nothing in it yet."""
    empty: Json = {"message": {"content": []}, "function_call": {"arguments": ""}, "custom_tool_call": {"input": ""}}
    status = {"status": "in_progress"} if "status" in item else {}
    return {**item, **status, **empty.get(item["type"], {})}


def _inner_events(item: Json, index: int) -> Iterator[tuple[str, Json]]:
    place: Json = {"item_id": item["id"], "output_index": index}
    if item["type"] == "message":
        for at, part in enumerate(item["content"]):
            where = {**place, "content_index": at}
            yield "content_part.added", {**where, "part": {**part, "text": ""}}
            for count, piece in enumerate(pieces(part["text"])):
                filler = {"logprobs": [], "obfuscation": padding(count)}
                yield "output_text.delta", {**where, "delta": piece, **filler}
            yield "output_text.done", {**where, "text": part["text"], "logprobs": []}
            yield "content_part.done", {**where, "part": part}
    elif item["type"] == "function_call":
        for count, piece in enumerate(pieces(item["arguments"])):
            yield "function_call_arguments.delta", {**place, "delta": piece, "obfuscation": padding(count)}
        yield "function_call_arguments.done", {**place, "arguments": item["arguments"]}
    elif item["type"] == "custom_tool_call":
        yield "custom_tool_call_input.delta", {**place, "delta": item["input"], "obfuscation": padding(index)}
        yield "custom_tool_call_input.done", {**place, "input": item["input"]}
    elif item["type"] == "web_search_call":
        for step in ("in_progress", "searching", "completed"):
            yield f"web_search_call.{step}", place


def _watched(job: Job, finished: Json, after: int = -1) -> Iterator[bytes]:
    """The event stream of a background response; at its end the response has finished."""
    for event in _events(finished):
        if "usage" in event.get("response", {}) and event["response"]["usage"]:
            job.finish()
        if event["sequence_number"] > after:
            yield from typed_frames([event])


def retrieve_response(call: Call) -> Answer:
    """Answers GET /responses/{id}; with `stream=true` the events after number `starting_after`."""
    job = _job(call)
    if call.query.get("stream") == "true":
        current = job.current
        finished = current if current["usage"] or job.done else job.finish()
        return event_answer(_watched(job, finished, int(call.query.get("starting_after", "-1"))))
    return json_answer(job.poll())


def _job(call: Call) -> Job:
    try:
        return call.state.shelf("response").get(call.ids[0])
    except ApiError:
        raise ApiError(404, f"There is no response with the id '{call.ids[0]}'.") from None


def cancel_response(call: Call) -> Answer:
    """Answers POST /responses/{id}/cancel: ends one that is under way, repeats one that is finished."""
    job = _job(call)
    if job.done:
        return json_answer(job.current)
    return json_answer(job.turn({"status": "cancelled"}))


def delete_response(call: Call) -> Answer:
    """Answers DELETE /responses/{id}."""
    _job(call)
    call.state.shelf("response").drop(call.ids[0])
    return json_answer({"id": call.ids[0], "object": "response.deleted", "deleted": True})


def input_items(call: Call) -> Answer:
    """Answers GET /responses/{id}/input_items with one message: prompts are not kept."""
    _job(call)
    text = {"type": "input_text", "text": "(not kept)"}
    message = {"type": "message", "id": call.state.new_id("msg_"), "status": "completed", "role": "user"}
    return json_answer(page([{**message, "content": [text]}], call.query))


def count_input(call: Call) -> Answer:
    """Answers POST /responses/input_tokens: a count, and no usage."""
    body = call.body
    tokens = request_tokens(body.get("input"), body.get("tools")) + text_tokens(body.get("instructions") or "")
    return json_answer({"object": "response.input_tokens", "input_tokens": tokens})


def compact(call: Call) -> Answer:
    """Answers POST /responses/compact: usage, but neither model nor service tier."""
    _check_model(call)
    model, given = model_of(call), call.body.get("input") or ""
    seed = number_of(given)
    tokens = request_tokens(given) + text_tokens(call.body.get("instructions") or "") + _earlier_tokens(call)
    kept = [item for item in given if item.get("role") == "user"] if isinstance(given, list) else []
    compacted = {"id": call.state.new_id("cmp_"), "type": "compaction", "encrypted_content": f"opaque-{seed:x}"}
    return json_answer(
        {
            "id": call.state.new_id("resp_"),
            "object": "response.compaction",
            "created_at": call.state.now(),
            "output": [*(_kept(call, item) for item in kept), compacted],
            "usage": Tokens(model, tokens, 16 + prompt_tokens(given) // 4).responses(),
        }
    )


def _kept(call: Call, item: Json) -> Json:
    content = item.get("content")
    parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return {"id": call.state.new_id("msg_"), "type": "message", "status": "completed", "content": parts, "role": "user"}
