"""haystack: chat generators, plain and streamed, sync and async, and embedders."""

from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("haystack", "haystack-ai")
given = {"api_key": Secret.from_token("demo"), "api_base_url": stage.url, "max_retries": 0}
ask = [ChatMessage.from_user("How?")]


def generator(**more):
    return OpenAIChatGenerator(model=MODEL, **given, **more)


async def heard(_):
    pass


with stage.way("run", expected=1):
    generator().run(ask)
with stage.way("run, streamed", expected=1):
    generator(streaming_callback=lambda _: None).run(ask)
with stage.way("embedder", expected=1):
    OpenAITextEmbedder(model=EMBEDDER, **given).run("one")


async def main():
    with stage.way("run_async", expected=1):
        await generator().run_async(ask)
    with stage.way("run_async, streamed", expected=1):
        await generator(streaming_callback=heard).run_async(ask)


run(main)
stage.end()
