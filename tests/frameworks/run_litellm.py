"""litellm: every way that it has of reaching the API, by the openai package and by HTTP clients of its own.

``litellm.responses()``, models that it sends to Responses (of codex and of deep research), chats with tools and a
reasoning effort, and its Anthropic messages use httpx, which may use aiohttp.
"""

import asyncio

import litellm
from stage import EMBEDDER, MODEL, Stage, run

import openai_meter
from openai_meter import BudgetExceededError

litellm.telemetry = False
stage = Stage("litellm", "litellm")
place = {"api_base": stage.url, "api_key": "demo"}
hello = [{"role": "user", "content": "How?"}]
ask = {"model": f"openai/{MODEL}", "messages": hello, **place, "max_retries": 0}
embed = {"model": f"openai/{EMBEDDER}", "input": ["one"], **place}
respond = {"model": f"openai/{MODEL}", "input": "How?", **place}
codex = {**ask, "model": "openai/gpt-5-codex"}
tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]
messages = {"model": f"openai/{MODEL}", "messages": hello, "max_tokens": 50, **place}
router = litellm.Router([{"model_name": "any", "litellm_params": {"model": f"openai/{MODEL}", **place}}])

with stage.way("completion", expected=1):
    litellm.completion(**ask)
with stage.way("completion, stream", expected=1):
    list(litellm.completion(**ask, stream=True))
stage.check({call.usage_source for call in stage.calls} == {"api"}, "estimated, although the host reports usage")
with stage.way("completion, stream, include_usage", expected=1):
    list(litellm.completion(**ask, stream=True, stream_options={"include_usage": True}))
with stage.way("completion, tools", expected=1):
    litellm.completion(**ask, tools=tools)
with stage.way("completion sent to Responses", expected=1):
    litellm.completion(**{**ask, "model": f"openai/responses/{MODEL}"})
with stage.way("completion sent to Responses, stream", expected=1):
    list(litellm.completion(**{**ask, "model": f"openai/responses/{MODEL}"}, stream=True))
with stage.way("completion of a codex model", expected=1):
    litellm.completion(**codex)
with stage.way("completion, tools and reasoning effort", expected=1, estimated=True):
    litellm.completion(**{**ask, "model": "openai/gpt-5.4"}, tools=tools, reasoning_effort="high")
with stage.way("batch_completion", expected=2):
    litellm.batch_completion(**{**ask, "messages": [hello, hello]})
with stage.way("text_completion", expected=1, estimated=True):
    litellm.text_completion(model="text-completion-openai/gpt-3.5-turbo-instruct", prompt="How?", **place)
with stage.way("responses", expected=1):
    litellm.responses(**respond)
with stage.way("responses, stream", expected=1):
    list(litellm.responses(**respond, stream=True))
with stage.way("embedding", expected=1):
    litellm.embedding(**embed)
with stage.way("image_generation", expected=1, estimated=True):
    litellm.image_generation(prompt="A form.", model="openai/gpt-image-1", **place)
with stage.way("speech", expected=1, estimated=True):
    litellm.speech(model="openai/gpt-4o-mini-tts", voice="alloy", input="How?", **place)
with stage.way("transcription", expected=1, estimated=True):
    litellm.transcription(model="openai/whisper-1", file=("a.wav", b"RIFF" * 100), **place)
with stage.way("moderation", expected=1, estimated=True):
    litellm.moderation(input="How?", model="omni-moderation-latest", **place)
with stage.way("Router.completion", expected=1):
    router.completion(model="any", messages=hello)


async def main():
    with stage.way("acompletion", expected=1):
        await litellm.acompletion(**ask)
    with stage.way("acompletion, stream", expected=1):
        async for _ in await litellm.acompletion(**ask, stream=True):
            pass
    with stage.way("acompletion, stream, include_usage", expected=1):
        async for _ in await litellm.acompletion(**ask, stream=True, stream_options={"include_usage": True}):
            pass
    with stage.way("acompletion sent to Responses", expected=1):
        await litellm.acompletion(**{**ask, "model": f"openai/responses/{MODEL}"})
    with stage.way("aresponses", expected=1):
        await litellm.aresponses(**respond)
    with stage.way("aresponses, stream", expected=1):
        async for _ in await litellm.aresponses(**respond, stream=True):
            pass
    with stage.way("aresponses, 5 at once", expected=5):
        await asyncio.gather(*(litellm.aresponses(**respond) for _ in range(5)))
    with stage.way("Anthropic messages", expected=1):
        await litellm.anthropic.messages.acreate(**messages)
    with stage.way("Anthropic messages, stream", expected=1):
        async for _ in await litellm.anthropic.messages.acreate(**messages, stream=True):
            pass
    with stage.way("aembedding", expected=1):
        await litellm.aembedding(**embed)
    with stage.way("Router.acompletion", expected=1):
        await router.acompletion(model="any", messages=hello)
    with stage.way("Router.aresponses", expected=1):
        await router.aresponses(model="any", input="How?")


run(main)
with stage.way("attribution of responses", expected=1), openai_meter.tag(agent="finder"):
    litellm.responses(**respond)
stage.check([call.agent for call in stage.calls] == ["finder"], "the tag is not in the record")

# litellm wraps every error in one of its own; the error of the budget is in its chain.
with stage.stopped("responses", BudgetExceededError):
    litellm.responses(**respond)
stage.end()
