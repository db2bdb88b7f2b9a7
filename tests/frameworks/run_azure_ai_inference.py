"""azure-ai-inference: chats and embeddings over azure-core, which uses requests, and aiohttp where it is async."""

from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient, aio
from azure.ai.inference.models import UserMessage
from azure.core.credentials import AzureKeyCredential
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("azure-ai-inference", "azure-ai-inference")
given = {"endpoint": stage.url, "credential": AzureKeyCredential("demo")}
ask = {"messages": [UserMessage("How?")], "model": MODEL}
chat, embeddings = ChatCompletionsClient(**given), EmbeddingsClient(**given)

with stage.way("complete", expected=1):
    chat.complete(**ask)
with stage.way("complete, stream", expected=1, estimated=True):
    list(chat.complete(**ask, stream=True))
with stage.way("complete, stream, include_usage", expected=1):
    list(chat.complete(**ask, stream=True, model_extras={"stream_options": {"include_usage": True}}))
with stage.way("embed", expected=1):
    embeddings.embed(input=["one"], model=EMBEDDER)


async def main():
    async with aio.ChatCompletionsClient(**given) as chat, aio.EmbeddingsClient(**given) as embeddings:
        with stage.way("async complete", expected=1):
            await chat.complete(**ask)
        with stage.way("async complete, stream", expected=1, estimated=True):
            async for _ in await chat.complete(**ask, stream=True):
                pass
        with stage.way("async embed", expected=1):
            await embeddings.embed(input=["one"], model=EMBEDDER)


run(main)
stage.end()
