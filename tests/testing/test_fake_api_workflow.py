"""The demo workflow: its steps, and the requests that it makes."""

import contextlib

import openai
import pytest

from openai_meter.testing.fake_api import workflow
from openai_meter.testing.fake_api.handlers import ApiError, json_answer
from openai_meter.testing.fake_api.server import DemoServer


@pytest.fixture
def server():
    with DemoServer() as server:
        yield server
        assert not server.faults


def test_steps_are_announced_in_order(server):
    """Every step of STEPS is announced once, in order."""
    seen = []
    workflow.run(server.base_url, seen.append)
    assert tuple(seen) == workflow.STEPS


def test_steps_belong_to_four_agents_in_order():
    """Each step has a description in words."""
    assert list(dict.fromkeys(step.agent for step in workflow.STEPS)) == [
        "need_analysis",
        "workshop",
        "transcript",
        "use_case_analysis",
    ]
    assert all(step.description for step in workflow.STEPS)
    assert len({step.operation for step in workflow.STEPS}) == len(workflow.STEPS)


def test_workflow_uses_every_kind_of_call(server):
    """With the documented models."""
    workflow.run(server.base_url, lambda step: None)
    posts = [(r.path.removeprefix("/v1"), r.json()) for r in server.requests if r.method == "POST"]
    polls = [r.path for r in server.requests if r.method == "GET"]
    assert sorted((path, body["model"]) for path, body in posts) == sorted(
        [
            ("/chat/completions", "gpt-6.2-sol"),
            ("/responses", "gpt-6.1-terra"),
            ("/chat/completions", "gpt-6-luna"),
            *[("/chat/completions", "gpt-5.4-mini")] * 3,
            ("/embeddings", "text-embedding-3-small"),
            ("/responses", "gpt-6.1-terra"),
            ("/chat/completions", workflow.RETIRED),
            *[("/responses", "gpt-6-luna")] * 3,
            ("/responses", "gpt-6.2-sol"),
        ]
    )
    assert [body["stream_options"] for _, body in posts if "stream_options" in body] == [{"include_usage": True}]
    assert sum(bool(body.get("background")) for _, body in posts) == 1
    assert sum(path == "/responses" and bool(body.get("stream")) for path, body in posts) == 1
    assert len(polls) == 3
    assert len(set(polls)) == 1


def test_each_step_runs_inside_its_scope(server):
    """The scope of a step is entered after its announcement and left before the next one, with its calls inside."""
    log = []

    @contextlib.contextmanager
    def scope(agent, operation):
        before = len(server.requests)
        log.append(("in", agent, operation))
        yield
        log.append(("out", agent, operation))
        assert len(server.requests) > before

    workflow.run(server.base_url, lambda step: log.append(("step", step.agent, step.operation)), scope)
    assert log == [(what, s.agent, s.operation) for s in workflow.STEPS for what in ("step", "in", "out")]


def test_two_runs_send_the_same_requests(server):
    """The workflow is deterministic: a second run sends the same requests."""

    def bodies():
        seen = len(server.requests)
        workflow.run(server.base_url, lambda step: None)
        return sorted(r.body for r in server.requests[seen:] if r.method == "POST")

    assert bodies() == bodies()


def test_unexpected_errors_reach_the_caller():
    """An error that no agent handles is raised as the client raises it."""
    refusal = ApiError(403, "Not from here.")
    with (
        DemoServer(lambda request: json_answer(refusal.body, refusal.status)) as server,
        pytest.raises(openai.PermissionDeniedError),
    ):
        workflow.run(server.base_url, lambda step: None)
