"""litellm: completions and embeddings, sync, async and streamed; its Responses calls are out of reach."""

import litellm
from stage import EMBEDDER, MODEL, Stage, run

litellm.telemetry = False
stage = Stage("litellm", "litellm")
ask = {
    "model": f"openai/{MODEL}", "messages": [{"role": "user", "content": "How?"}], "api_base": stage.url,
    "api_key": "demo", "max_retries": 0,
}  # fmt: skip
embed = {"model": f"openai/{EMBEDDER}", "input": ["one"], "api_base": stage.url, "api_key": "demo"}

with stage.way("completion", expected=1):
    litellm.completion(**ask)
with stage.way("completion, stream", expected=1):
    list(litellm.completion(**ask, stream=True))
stage.check({call.usage_source for call in stage.calls} == {"api"}, "estimated, although the host reports usage")
with stage.way("completion, stream, include_usage", expected=1):
    list(litellm.completion(**ask, stream=True, stream_options={"include_usage": True}))
# It uses an HTTP client of its own, and not the openai package.
with stage.way("responses", expected=1, beyond=True):
    litellm.responses(model=ask["model"], input="How?", api_base=stage.url, api_key="demo")
with stage.way("embedding", expected=1):
    litellm.embedding(**embed)


async def main():
    with stage.way("acompletion", expected=1):
        await litellm.acompletion(**ask)
    with stage.way("acompletion, stream", expected=1):
        async for _ in await litellm.acompletion(**ask, stream=True):
            pass
    with stage.way("acompletion, stream, include_usage", expected=1):
        async for _ in await litellm.acompletion(**ask, stream=True, stream_options={"include_usage": True}):
            pass
    with stage.way("aembedding", expected=1):
        await litellm.aembedding(**embed)


run(main)
stage.end()
