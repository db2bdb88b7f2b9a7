"""Assistants: threads, their messages, and runs that are polled, streamed, or wait for the outputs of tools."""

import json
from collections.abc import Iterator
from typing import Any

from openai_meter.testing.fake_api.content import (
    Tokens,
    model_of,
    number_of,
    pieces,
    prose,
    request_tokens,
    text_tokens,
)
from openai_meter.testing.fake_api.handlers import ApiError, Call, Job, Json, event_answer, frame, json_answer, page
from openai_meter.testing.fake_api.loopback import Answer
from openai_meter.testing.fake_api.schemas import instance_of

_LIFE_S = 600


def create_assistant(call: Call) -> Answer:
    """Answers POST /assistants."""
    body = call.body
    created: Json = {
        "id": call.state.new_id("asst_"),
        "object": "assistant",
        "created_at": call.state.now(),
        "name": body.get("name"),
        "description": body.get("description"),
        "model": model_of(call),
        "instructions": body.get("instructions"),
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "temperature": 1.0,
        "reasoning_effort": None,
        "tool_resources": body.get("tool_resources") or {},
        "metadata": body.get("metadata") or {},
        "response_format": "auto",
    }
    return json_answer(call.state.shelf("assistant").put(Job(created)))


def create_thread(call: Call) -> Answer:
    """Answers POST /threads."""
    return json_answer(_thread(call, call.body))


def _thread(call: Call, body: Json) -> Json:
    created: Json = {
        "id": call.state.new_id("thread_"),
        "object": "thread",
        "created_at": call.state.now(),
        "metadata": body.get("metadata") or {},
        "tool_resources": body.get("tool_resources") or {},
    }
    call.state.shelf("thread").put(Job(created))
    for message in body.get("messages") or []:
        _message(call, created["id"], message["role"], message["content"])
    return created


def create_message(call: Call) -> Answer:
    """Answers POST /threads/{id}/messages."""
    call.state.shelf("thread").get(call.ids[0])
    return json_answer(_message(call, call.ids[0], call.need("role"), call.need("content")))


def _message(call: Call, thread_id: str, role: str, content: Any, run: Json | None = None) -> Json:
    parts = content
    if isinstance(content, str):
        parts = [{"type": "text", "text": {"value": content, "annotations": []}}]
    made: Json = {
        "id": call.state.new_id("msg_"),
        "object": "thread.message",
        "created_at": call.state.now(),
        "assistant_id": run["assistant_id"] if run else None,
        "thread_id": thread_id,
        "run_id": run["id"] if run else None,
        "role": role,
        "content": parts,
        "attachments": [],
        "metadata": {},
    }
    return call.state.shelf("message").put(Job(made))


def list_messages(call: Call) -> Answer:
    """Answers GET /threads/{id}/messages, newest first."""
    return json_answer(page(_of_thread(call, call.ids[0]), call.query))


def _of_thread(call: Call, thread_id: str) -> list[Json]:
    return [message for message in call.state.shelf("message").all() if message["thread_id"] == thread_id]


def create_run(call: Call) -> Answer:
    """Answers POST /threads/{id}/runs, plain or streamed."""
    call.state.shelf("thread").get(call.ids[0])
    for message in call.body.get("additional_messages") or []:
        _message(call, call.ids[0], message["role"], message["content"])
    return _run(call, call.ids[0])


def create_thread_and_run(call: Call) -> Answer:
    """Answers POST /threads/runs, plain or streamed."""
    return _run(call, _thread(call, call.body.get("thread") or {})["id"])


def _run(call: Call, thread_id: str) -> Answer:
    body, now = call.body, call.state.now()
    assistant = call.state.shelf("assistant").get(call.need("assistant_id")).current
    created: Json = {
        "id": call.state.new_id("run_"),
        "object": "thread.run",
        "created_at": now,
        "assistant_id": assistant["id"],
        "thread_id": thread_id,
        "status": "queued",
        "started_at": None,
        "expires_at": now + _LIFE_S,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": None,
        "required_action": None,
        "last_error": None,
        "model": model_of(call, assistant["model"]),
        "instructions": body.get("instructions") or assistant["instructions"],
        "tools": body.get("tools") or assistant["tools"],
        "tool_resources": {},
        "metadata": body.get("metadata") or {},
        "temperature": 1.0,
        "top_p": 1.0,
        "reasoning_effort": None,
        "max_completion_tokens": body.get("max_completion_tokens"),
        "max_prompt_tokens": body.get("max_prompt_tokens"),
        "truncation_strategy": {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "usage": None,
        "response_format": "auto",
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    return _go(call, Job(created), _needs_tool(call, created))


def _needs_tool(call: Call, run: Json) -> Json | None:
    """The tool outputs that the run needs before it can continue, if it has a function to call."""
    tool = next((tool for tool in run["tools"] if tool["type"] == "function"), None)
    if tool is None or run["tool_choice"] == "none":
        return None
    function = tool["function"]
    arguments = json.dumps(instance_of(function.get("parameters") or {"type": "object"}, number_of(function)))
    tool_call = {
        "id": call.state.new_id("call_"),
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    return {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [tool_call]}}


def _go(call: Call, job: Job, action: Json | None) -> Answer:
    """Continues a run, to its end or to the tool that it needs."""
    run, now = job.current, call.state.now()
    going = {"status": "in_progress", "started_at": now, "required_action": None}
    if action is not None:
        end: Json = {"status": "requires_action", "required_action": action}
    else:
        usage = _usage(call, run).run()
        end = {"status": "completed", "completed_at": now, "expires_at": None, "usage": usage}
    run = job.turn({}, [*([going] * call.state.polls), end])
    call.state.shelf("run").put(job)
    if not call.streamed:
        if action is None:
            _message(call, run["thread_id"], "assistant", _reply(call, run), run)
        return json_answer(run)
    return event_answer(_run_events(call, job, run, going, end))


def _reply(call: Call, run: Json) -> str:
    # Not of the message ids: the same conversation is answered with the same words.
    return prose(number_of([message["content"] for message in _user_messages(call, run)], run["instructions"]))


def _user_messages(call: Call, run: Json) -> list[Json]:
    return [message for message in _of_thread(call, run["thread_id"]) if message["role"] == "user"]


def _usage(call: Call, run: Json) -> Tokens:
    messages = [{"role": "user", "content": message["content"]} for message in _user_messages(call, run)]
    prompt = request_tokens(messages, run["tools"]) + text_tokens(run["instructions"] or "")
    return Tokens(run["model"], prompt, text_tokens(_reply(call, run)))


def _run_events(call: Call, job: Job, run: Json, going: Json, end: Json) -> Iterator[bytes]:
    if run["started_at"] is None:
        yield frame(run, "thread.run.created")
    yield frame(run, "thread.run.queued")
    working = {**run, **going}
    yield frame(working, "thread.run.in_progress")
    if end["status"] == "completed":
        yield from _message_events(call, working, end["usage"])
    finished = job.finish()
    yield frame(finished, f"thread.run.{finished['status']}")
    yield frame("[DONE]", "done")


def _message_events(call: Call, run: Json, usage: Json) -> Iterator[bytes]:
    text = _reply(call, run)
    message = _message(call, run["thread_id"], "assistant", text, run)
    step = _step(call, run, message["id"], None, "in_progress")
    yield frame(step, "thread.run.step.created")
    yield frame(step, "thread.run.step.in_progress")
    empty = {**message, "status": "in_progress", "content": []}
    yield frame(empty, "thread.message.created")
    yield frame(empty, "thread.message.in_progress")
    for piece in pieces(text):
        part = {"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}
        delta = {"id": message["id"], "object": "thread.message.delta", "delta": {"content": [part]}}
        yield frame(delta, "thread.message.delta")
    yield frame({**message, "status": "completed", "completed_at": call.state.now()}, "thread.message.completed")
    yield frame({**step, "status": "completed", "usage": usage}, "thread.run.step.completed")


def _step(call: Call, run: Json, message_id: str, usage: Json | None, status: str) -> Json:
    return {
        "id": call.state.new_id("step_"),
        "object": "thread.run.step",
        "created_at": run["created_at"],
        "run_id": run["id"],
        "assistant_id": run["assistant_id"],
        "thread_id": run["thread_id"],
        "type": "message_creation",
        "status": status,
        "cancelled_at": None,
        "completed_at": run["completed_at"],
        "expires_at": None,
        "failed_at": None,
        "last_error": None,
        "step_details": {"type": "message_creation", "message_creation": {"message_id": message_id}},
        "usage": usage,
    }


def submit_tool_outputs(call: Call) -> Answer:
    """Answers POST /threads/{id}/runs/{id}/submit_tool_outputs: the run goes on, plain or streamed."""
    job = call.state.shelf("run").get(call.ids[1])
    if job.current["status"] != "requires_action":
        raise ApiError(400, "This run does not wait for the outputs of tools.")
    job.turn({"status": "queued", "required_action": None})
    return _go(call, job, None)


def cancel_run(call: Call) -> Answer:
    """Answers POST /threads/{id}/runs/{id}/cancel: a finished run cannot be cancelled any more."""
    job = call.state.shelf("run").get(call.ids[1])
    if job.done and job.current["status"] != "requires_action":
        raise ApiError(400, f"A run with status '{job.current['status']}' cannot be cancelled.")
    return json_answer(job.turn({"status": "cancelling"}, [{"status": "cancelled", "cancelled_at": call.state.now()}]))


def list_steps(call: Call) -> Answer:
    """Answers GET /threads/{id}/runs/{id}/steps: one step, which repeats the usage of the run."""
    run = call.state.shelf("run").get(call.ids[1]).current
    if run["status"] != "completed":
        return json_answer(page([], call.query))
    step = _step(call, run, call.state.new_id("msg_"), run["usage"], "completed")
    return json_answer(page([step], call.query))
