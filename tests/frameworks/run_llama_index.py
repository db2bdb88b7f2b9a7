"""llama-index: complete and chat, plain and streamed, sync and async, and embeddings."""

from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("llama-index", "llama-index-llms-openai")
given = {"model": MODEL, "api_base": stage.url, "api_key": "demo", "max_retries": 0}
llm, responses = OpenAI(**given), OpenAIResponses(**given)
embed = OpenAIEmbedding(model=EMBEDDER, api_base=stage.url, api_key="demo", max_retries=0)
ask = [ChatMessage(role="user", content="How?")]

with stage.way("complete", expected=1):
    llm.complete("How?")
with stage.way("chat", expected=1):
    llm.chat(ask)
with stage.way("stream_chat", expected=1):
    list(llm.stream_chat(ask))
with stage.way("responses chat", expected=1):
    responses.chat(ask)
with stage.way("responses stream_chat", expected=1):
    list(responses.stream_chat(ask))
with stage.way("embeddings", expected=1):
    embed.get_text_embedding("one")


async def main():
    with stage.way("acomplete", expected=1):
        await llm.acomplete("How?")
    with stage.way("achat", expected=1):
        await llm.achat(ask)
    with stage.way("astream_chat", expected=1):
        async for _ in await llm.astream_chat(ask):
            pass
    with stage.way("aembeddings", expected=1):
        await embed.aget_text_embedding("one")


run(main)
stage.end()
