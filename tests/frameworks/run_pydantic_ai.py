"""pydantic-ai: agents, plain and streamed, with a typed output, over both APIs; a spent budget."""

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from stage import MODEL, Stage, run

stage = Stage("pydantic-ai", "pydantic-ai-slim")


def agent(kind, **more):
    return Agent(kind(MODEL, provider=OpenAIProvider(base_url=stage.url, api_key="demo")), **more)


class Plan(BaseModel):
    """A plan."""

    goal: str


for kind, api in ((OpenAIChatModel, "chat"), (OpenAIResponsesModel, "responses")):
    with stage.way(f"{api} run_sync", expected=1):
        agent(kind).run_sync("How?")
    with stage.way(f"{api} typed output"):
        agent(kind, output_type=Plan).run_sync("How?")

    async def main(kind=kind, api=api):
        with stage.way(f"{api} run", expected=1):
            await agent(kind).run("How?")
        with stage.way(f"{api} run_stream", expected=1):
            async with agent(kind).run_stream("How?") as result:
                async for _ in result.stream_text():
                    pass

    run(main)
    with stage.refused(f"{api} run_sync"):
        agent(kind).run_sync("How?")
    with stage.refused(f"{api} typed output, 3 retries"):
        agent(kind, output_type=Plan, retries=3).run_sync("How?")

    async def refused(kind=kind, api=api):
        with stage.refused(f"{api} run"):
            await agent(kind).run("How?")
        with stage.refused(f"{api} run_stream"):
            async with agent(kind).run_stream("How?") as result:
                async for _ in result.stream_text():
                    pass

    run(refused)
stage.end()
