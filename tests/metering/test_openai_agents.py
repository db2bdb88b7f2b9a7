"""The agents of the openai-agents package: their names are used where the program names none."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import types

import contract
import pytest

import openai_meter
from openai_meter.core import faults
from openai_meter.metering import openai_agents
from openai_meter.metering.attribution import current_attribution, tag
from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.server import DemoServer

real = pytest.mark.skipif(
    importlib.util.find_spec("agents") is None,
    reason="openai-agents is not installed: its agents are NOT tested here (pip install openai-agents)",
)

# --- without the package ----------------------------------------------------------------------------------------------


class Span:
    """A span as that package has them, inside another."""

    def __init__(self, kind, name=None, around=None):
        self.span_data = types.SimpleNamespace(type=kind, name=name)
        self._prev_span_token = None if around is None else types.SimpleNamespace(old_value=around)


@pytest.fixture
def spans(monkeypatch):
    """Makes a span the current one, in a module that stands in for the package's."""

    def set_current(span):
        scope = types.SimpleNamespace(get_current_span=span if callable(span) else lambda: span)
        monkeypatch.setitem(sys.modules, openai_agents.MODULE, types.SimpleNamespace(Scope=scope))

    return set_current


def test_agent_is_that_of_the_nearest_agent_span(spans):
    """However deep in other spans the call is made."""
    outer = Span("agent", "outer", Span("task", "workflow"))
    inner = Span("generation", None, Span("turn", "t", Span("agent", "inner", Span("function", "tool", outer))))
    for span, name in ((outer, "outer"), (inner, "inner"), (inner._prev_span_token.old_value, "inner")):
        spans(span)
        assert current_attribution().agent == name
    with tag(agent="mine"):
        assert current_attribution().agent == "mine"
    with tag(operation="o", team="x"):
        assert (current_attribution().agent, current_attribution().operation, current_attribution().tags) == (
            "inner",
            "o",
            {"team": "x"},
        )


@pytest.mark.parametrize(
    "span",
    [None, Span("task"), Span("agent"), Span("agent", 3), Span("agent", ""), object(), Span(None)],
    ids=["none", "no name", "no agent name", "number", "empty", "no span", "no kind"],
)
def test_spans_without_an_agent_give_no_agent(spans, span):
    """Where no span names an agent, there is none."""
    spans(span)
    assert current_attribution().agent is None


def test_circle_of_spans_ends_without_an_agent(spans):
    """Parents in a circle are followed up to a limit."""
    one = Span("custom", None, Span("custom"))
    one._prev_span_token.old_value._prev_span_token = types.SimpleNamespace(old_value=one)
    spans(one)
    assert current_attribution().agent is None


def test_unrelated_module_named_agents_is_ignored(monkeypatch):
    """A module of the same name with other contents, or one that is still being imported, gives no agent."""
    for module in (types.ModuleType(openai_agents.MODULE), None, types.SimpleNamespace(Scope=3)):
        monkeypatch.setitem(sys.modules, openai_agents.MODULE, module)
        assert current_attribution().agent is None


def test_error_in_the_agents_package_is_counted_and_not_raised(spans):
    """It is an internal fault of ours, and not an error of the call."""
    faults.reraise = False
    spans(lambda: 1 / 0)
    openai_meter.install(meter=openai_meter.Meter())

    def answer(request):
        return contract.http_library().Response(200, json=contract.usage_body())

    before = faults.count()
    with contract.in_process(answer) as client:
        contract.chat(client)
    assert faults.count() == before + 1
    (call,) = openai_meter.install().calls
    assert (call.status, call.agent) == ("ok", None)


def test_agents_package_is_never_imported_by_the_meter():
    """A program without agents has none imported by its calls."""
    out = contract.python(
        """
import sys, contract, openai_meter
openai_meter.install()
library = contract.http_library()
with contract.in_process(lambda request: library.Response(200, json=contract.usage_body())) as client:
    contract.chat(client)
print([name for name in sys.modules if name.split(".")[0] == "agents"])
""",
        fresh=True,
    )[1]
    assert out.split() == ["[]"]


# --- with the package -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["traced", "untraced"])
def sdk(request):
    """The package, with its tracing on or off, and sending nothing anywhere."""
    import agents
    from agents.tracing import set_trace_processors

    set_trace_processors([])
    agents.set_tracing_disabled(request.param)
    yield agents
    agents.set_tracing_disabled(False)


def run(work, answer=None):
    """Runs a coroutine function with a client of the demo server, and returns the calls it made."""
    meter = openai_meter.install(meter=openai_meter.Meter())

    async def main():
        with DemoServer(answer) as server:
            async with client_of(server) as client:
                await work(client)

    asyncio.run(main())
    return meter.calls


def client_of(server):
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=server.base_url, api_key="demo", max_retries=0)


@real
@pytest.mark.parametrize("model", ["OpenAIChatCompletionsModel", "OpenAIResponsesModel"])
def test_call_of_a_running_agent_has_its_name(sdk, model):
    """Plain, streamed, and many at once; the value of a tag takes precedence."""

    async def work(client):
        def agent(name):
            return sdk.Agent(name=name, model=getattr(sdk, model)(model="gpt-4o-mini", openai_client=client))

        await sdk.Runner.run(agent("alone"), "How?")
        streamed = sdk.Runner.run_streamed(agent("streamed"), "How?")
        async for _ in streamed.stream_events():
            pass
        await asyncio.gather(*(sdk.Runner.run(agent(f"together {number}"), "How?") for number in range(3)))
        with tag(agent="mine", team="x"):
            await sdk.Runner.run(agent("tagged"), "How?")
        await contract.chat(client)

    calls = run(work)
    # Not in their order: a stream without usage is recorded when it has been estimated, which waits for a vocabulary.
    assert sorted((str(call.agent), call.stream, dict(call.tags)) for call in calls) == [
        ("None", False, {}),
        ("alone", False, {}),
        ("mine", False, {"team": "x"}),
        ("streamed", True, {}),
        *((f"together {number}", False, {}) for number in range(3)),
    ]


@real
def test_call_after_a_handoff_has_the_next_agent(sdk):
    """After a handoff a call belongs to the other agent; the call of a tool belongs to the agent that uses it."""

    def tool_call(name):
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}],
        }
        body = contract.usage_body()
        return json_answer({**body, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]})

    answers = [tool_call("transfer_to_writer"), tool_call("ask_inside"), None, None]

    async def work(client):
        model = sdk.OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=client)

        @sdk.function_tool
        async def ask_inside() -> str:
            return (await contract.chat(client)).choices[0].message.content

        writer = sdk.Agent(name="writer", model=model, tools=[ask_inside])
        await sdk.Runner.run(sdk.Agent(name="planner", model=model, handoffs=[writer]), "How?")

    calls = run(work, lambda request: answers.pop(0))
    assert [call.agent for call in calls] == ["planner", "writer", "writer", "writer"]
