"""any-llm: chats, responses and embeddings of its OpenAI provider, sync, async and streamed."""

import any_llm
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("any-llm", "any-llm-sdk")
place = {"provider": "openai", "api_base": stage.url, "api_key": "demo"}
ask = {"model": MODEL, "messages": [{"role": "user", "content": "How?"}], **place}
respond = {"model": MODEL, "input_data": "How?", **place}

with stage.way("completion", expected=1):
    any_llm.completion(**ask)
with stage.way("completion, stream", expected=1):
    list(any_llm.completion(**ask, stream=True))
with stage.way("responses", expected=1):
    any_llm.responses(**respond)
with stage.way("embedding", expected=1):
    any_llm.embedding(EMBEDDER, inputs=["one"], **place)


async def main():
    with stage.way("acompletion", expected=1):
        await any_llm.acompletion(**ask)
    with stage.way("acompletion, stream", expected=1):
        async for _ in await any_llm.acompletion(**ask, stream=True):
            pass
    with stage.way("aresponses", expected=1):
        await any_llm.aresponses(**respond)
    with stage.way("aresponses, stream", expected=1):
        async for _ in await any_llm.aresponses(**respond, stream=True):
            pass
    with stage.way("aembedding", expected=1):
        await any_llm.aembedding(EMBEDDER, inputs=["one"], **place)


run(main)
stage.end()
