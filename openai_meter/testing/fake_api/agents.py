"""Agent sessions: input starts a turn, the event stream shows it, and the session's usage is the sum of its turns."""

from collections.abc import Iterator

from openai_meter.testing.fake_api.content import (
    Tokens,
    known_model,
    number_of,
    pieces,
    prose,
    reasoning_tokens,
    request_tokens,
    text_tokens,
)
from openai_meter.testing.fake_api.handlers import ApiError, Call, Job, Json, event_answer, json_answer, typed_frames
from openai_meter.testing.fake_api.loopback import Answer


def create_session(call: Call) -> Answer:
    """Answers POST /agents/sessions: under way when there is input, else idle; plain or streamed."""
    now, given = call.state.now(), call.body.get("input")
    session: Json = {
        "id": call.state.new_id("asess_"),
        "agent": _agent(call),
        "created_at": now,
        "environment": {"type": "none"},
        "error": None,
        "last_active_at": now,
        "metadata": call.body.get("metadata") or {},
        "object": "agent.session",
        "required_actions": [],
        "status": "idle",
        "usage": None,
        "vault_ids": call.body.get("vault_ids") or [],
    }
    job = Job(session)
    shelf = call.state.shelf("agent session")
    shelf.put(job)
    if given:
        _begin(call, job, given)
    if call.streamed:
        return event_answer(typed_frames(_events(call, job)))
    return json_answer(job.current)


def _agent(call: Call) -> Json:
    settings = call.body.get("agent") or {}
    model = settings.get("model") or "gpt-6-luna"
    if not known_model(model):
        raise ApiError(404, f"The model `{model}` is not known here.", code="model_not_found")
    return {
        "id": call.body.get("agent_id") or call.state.new_id("agent_"),
        "instructions": settings.get("instructions"),
        "model": model,
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "name": None,
        "reasoning": {"effort": "medium", "summary": None, **(settings.get("reasoning") or {})},
        "service_tier": settings.get("service_tier") or "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tools": settings.get("tools") or [],
    }


def add_events(call: Call) -> Answer:
    """Answers POST /agents/sessions/{id}/events: accepted, with an empty body; a message starts a turn."""
    job = call.state.shelf("agent session").get(call.ids[0])
    for event in call.need("events"):
        if event.get("type") == "agent.session.input.message":
            job.finish()
            _begin(call, job, event.get("input"))
        elif event.get("type") == "agent.session.input.cancel":
            job.turn({"status": "idle"})
    return Answer(202)


def _begin(call: Call, job: Job, given: object) -> None:
    """Starts a turn on `given`; the next poll of the session finds it finished, its tokens added to the others."""
    session = job.current
    agent, earlier = session["agent"], session["usage"]
    seed = number_of(given)
    reasoning = reasoning_tokens(agent["model"], agent["reasoning"]["effort"], seed)
    prompt = request_tokens(given, agent["tools"]) + text_tokens(agent["instructions"] or "")
    used = Tokens(agent["model"], prompt, text_tokens(prose(seed)) + reasoning, reasoning).agent()
    turn: Json = {
        "id": call.state.new_id("turn_"),
        "agent_id": agent["id"],
        "completed_at": None,
        "created_at": call.state.now(),
        "error": None,
        "object": "agent.session.turn",
        "session_id": session["id"],
        "started_at": call.state.now(),
        "status": "in_progress",
        "subagent_id": None,
        "usage": None,
    }
    finished = {**turn, "completed_at": call.state.now(), "status": "completed", "usage": used}
    # The turn is kept in a record of its own, because sessions do not show it.
    record = {"id": session["id"], "turn": turn, "finished": finished, "text": prose(seed)}
    call.state.shelf("agent turn").put(Job(record))
    job.turn({"status": "in_progress"}, [{"status": "idle", "usage": _sum(earlier, used) if earlier else used}])


def _sum(one: Json, other: Json) -> Json:
    return {
        name: _sum(value, other[name]) if isinstance(value, dict) else value + other[name]
        for name, value in one.items()
    }


def stream_events(call: Call) -> Answer:
    """Answers GET /agents/sessions/{id}/events with the events of the last turn, to the end of the turn."""
    return event_answer(typed_frames(_events(call, call.state.shelf("agent session").get(call.ids[0]))))


def _events(call: Call, job: Job) -> Iterator[Json]:
    session = job.current
    if session["status"] == "in_progress":
        yield _event(call, "in_progress", session=session)
        yield from _turn_events(call, session["id"])
    yield _event(call, "idle", session=job.finish())


def _turn_events(call: Call, session_id: str) -> Iterator[Json]:
    record = call.state.shelf("agent turn").get(session_id).current
    turn, finished = record["turn"], record["finished"]
    where = {"session_id": session_id, "turn_id": turn["id"]}
    yield _event(call, "turn.created", **where, turn=turn)
    yield _event(call, "turn.in_progress", **where, turn=turn)
    place = {**where, "content_index": 0, "item_id": call.state.new_id("msg_"), "output_index": 0}
    for piece in pieces(record["text"]):
        yield _event(call, "turn.output_text.delta", **place, delta=piece)
    yield _event(call, "turn.output_text.done", **place, text=record["text"])
    yield _event(call, "turn.completed", **where, turn=finished, usage=finished["usage"])


def _event(call: Call, kind: str, **fields: object) -> Json:
    return {"type": f"agent.session.{kind}", "event_id": call.state.new_id("event_"), **fields}
