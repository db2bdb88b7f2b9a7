"""LangChain's other ways to OpenAI: completions, Azure, litellm and Azure AI."""

from langchain.chat_models import init_chat_model
from langchain_azure_ai.chat_models import AzureAIOpenAIApiChatModel
from langchain_litellm import ChatLiteLLM
from langchain_openai import AzureChatOpenAI, OpenAI
from stage import MODEL, Stage, run

stage = Stage("langchain, other", "langchain")
place = {"base_url": stage.url, "api_key": "demo", "max_retries": 0}
with stage.way("OpenAI (completions)", expected=1, estimated=True):
    OpenAI(model="gpt-3.5-turbo-instruct", **place).invoke("How?")
azure = {"azure_endpoint": stage.url.removesuffix("/v1"), "api_version": "2024-10-21", "api_key": "demo"}
chats = {
    "init_chat_model": init_chat_model(f"openai:{MODEL}", **place),
    "AzureChatOpenAI": AzureChatOpenAI(azure_deployment=MODEL, **azure),
    "AzureAIOpenAIApiChatModel": AzureAIOpenAIApiChatModel(endpoint=stage.url, credential="demo", model=MODEL),
    "ChatLiteLLM": ChatLiteLLM(model=f"openai/{MODEL}", api_base=stage.url, api_key="demo"),
    "ChatLiteLLM, Responses": ChatLiteLLM(model=f"openai/responses/{MODEL}", api_base=stage.url, api_key="demo"),
}
for name, chat in chats.items():
    with stage.way(f"{name}: invoke", expected=1):
        chat.invoke("How?")
    with stage.way(f"{name}: stream", expected=1):
        list(chat.stream("How?"))


async def main():
    for name, chat in chats.items():
        with stage.way(f"{name}: ainvoke", expected=1):
            await chat.ainvoke("How?")
        with stage.way(f"{name}: astream", expected=1):
            async for _ in chat.astream("How?"):
                pass


run(main)
stage.end()
