"""LlamaIndex's other ways to OpenAI: openai-like hosts, litellm, and azure-ai-inference."""

from llama_index.core.llms import ChatMessage
from llama_index.llms.azure_inference import AzureAICompletionsModel
from llama_index.llms.litellm import LiteLLM
from llama_index.llms.openai_like import OpenAILike
from stage import MODEL, Stage, run

stage = Stage("llama-index, other", "llama-index-core")
place = {"api_base": stage.url, "api_key": "demo", "max_retries": 0}
ask = [ChatMessage(role="user", content="How?")]
llms = {
    "OpenAILike": OpenAILike(model=MODEL, is_chat_model=True, **place),
    "LiteLLM": LiteLLM(model=f"openai/{MODEL}", **place),
    "LiteLLM, Responses": LiteLLM(model=f"openai/responses/{MODEL}", **place),
    "AzureAICompletionsModel": AzureAICompletionsModel(endpoint=stage.url, credential="demo", model_name=MODEL),
}


def unreported(name, kind):
    """azure-ai-inference does not request the usage of a stream, and the meter adds nothing to requests of others."""
    return name == "AzureAICompletionsModel" and kind == "stream"


for name, llm in llms.items():
    with stage.way(f"{name}: chat", expected=1):
        llm.chat(ask)
    with stage.way(f"{name}: stream_chat", expected=1, estimated=unreported(name, "stream")):
        list(llm.stream_chat(ask))


async def main():
    for name, llm in llms.items():
        with stage.way(f"{name}: achat", expected=1):
            await llm.achat(ask)
        with stage.way(f"{name}: astream_chat", expected=1, estimated=unreported(name, "stream")):
            async for _ in await llm.astream_chat(ask):
                pass


run(main)
stage.end()
