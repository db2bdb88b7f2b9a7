"""Agents of openai-agents, each with its costs under its own name.

    python -m openai_meter.examples.agents_team

It needs ``pip install openai-agents``.
"""

import asyncio

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner, set_tracing_export_api_key
from openai import AsyncOpenAI

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer


async def work(base_url: str) -> None:
    """Has two agents answer one after the other."""
    async with AsyncOpenAI(base_url=base_url, api_key="demo") as client:
        model = OpenAIResponsesModel("gpt-6-luna", client)
        for name in ("researcher", "writer"):
            agent = Agent(name=name, instructions="Answer in one sentence.", model=model)
            await Runner.run(agent, "How do we get rid of paper?", run_config=RunConfig(tracing_disabled=True))


def main() -> None:
    """Runs the agents, and prints what each has cost."""
    set_tracing_export_api_key("demo")
    openai_meter.install(hosts={"127.0.0.1": "openai"})
    with DemoServer() as api:
        asyncio.run(work(api.base_url))
    openai_meter.get_meter().print_summary(by="agent")


if __name__ == "__main__":
    main()
