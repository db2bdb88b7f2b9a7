"""openai-agents: agents alone, streamed, together, over both APIs; their names in the records; a spent budget."""

import asyncio

import agents
from agents.tracing import set_trace_processors
from openai import AsyncOpenAI
from stage import MODEL, Stage, run

set_trace_processors([])  # its tracing would send elsewhere
stage = Stage("openai-agents", "openai-agents")


def agent(name, kind, retries=0):
    client = AsyncOpenAI(base_url=stage.url, api_key="demo", max_retries=retries)
    return agents.Agent(name=name, model=kind(model=MODEL, openai_client=client))


def names():
    return sorted(str(call.agent) for call in stage.calls)


async def main():
    for kind, api in ((agents.OpenAIChatCompletionsModel, "chat"), (agents.OpenAIResponsesModel, "responses")):
        with stage.way(f"{api} run", expected=1):
            await agents.Runner.run(agent("alone", kind), "How?")
        stage.check(names() == ["alone"], f"agents {names()}")
        with stage.way(f"{api} run_streamed", expected=1):
            async for _ in agents.Runner.run_streamed(agent("streamed", kind), "How?").stream_events():
                pass
        stage.check(names() == ["streamed"], f"agents {names()}")
        with stage.way(f"{api} 3 agents at once", expected=3):
            await asyncio.gather(*(agents.Runner.run(agent(f"agent {n}", kind), "How?") for n in range(3)))
        stage.check(names() == ["agent 0", "agent 1", "agent 2"], f"agents {names()}")


run(main)
with stage.way("run_sync", expected=1):
    agents.Runner.run_sync(agent("sync", agents.OpenAIResponsesModel), "How?")
stage.check(names() == ["sync"], f"agents {names()}")

# What can be tried again would be: by the client, and by the model settings of the framework.
policy = agents.retry_policies.any(agents.retry_policies.provider_suggested(), agents.retry_policies.network_error())
tries = agents.ModelSettings(retry=agents.ModelRetrySettings(max_retries=3, policy=policy))
run_config = agents.RunConfig(model_settings=tries)


async def refused():
    for kind, api in ((agents.OpenAIChatCompletionsModel, "chat"), (agents.OpenAIResponsesModel, "responses")):
        with stage.refused(f"{api} run"):
            await agents.Runner.run(agent("alone", kind, 3), "How?", run_config=run_config)
        with stage.refused(f"{api} run_streamed"):
            result = agents.Runner.run_streamed(agent("streamed", kind, 3), "How?", run_config=run_config)
            async for _ in result.stream_events():
                pass


run(refused)
with stage.refused("run_sync"):
    agents.Runner.run_sync(agent("sync", agents.OpenAIResponsesModel, 3), "How?", run_config=run_config)
stage.end()
