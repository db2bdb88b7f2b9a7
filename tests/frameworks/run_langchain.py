"""langchain-openai: models and embeddings, plain, streamed, in batches, structured, over both APIs; a spent budget."""

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("langchain-openai", "langchain-openai")
given = {"model": MODEL, "base_url": stage.url, "api_key": "demo", "max_retries": 0}
chat, responses = ChatOpenAI(**given), ChatOpenAI(**given, use_responses_api=True)
embed = OpenAIEmbeddings(model=EMBEDDER, base_url=stage.url, api_key="demo", check_embedding_ctx_length=False)


class Plan(BaseModel):
    """A plan."""

    goal: str


with stage.way("invoke", expected=1):
    chat.invoke("How?")
with stage.way("stream", expected=1):
    list(chat.stream("How?"))
with stage.way("batch in threads", expected=3):
    chat.batch(["How?", "Why?", "When?"])
with stage.way("structured output", expected=1):
    chat.with_structured_output(Plan).invoke("How?")
with stage.way("responses invoke", expected=1):
    responses.invoke("How?")
with stage.way("responses stream", expected=1):
    list(responses.stream("How?"))
with stage.way("embeddings", expected=1):
    embed.embed_documents(["one", "two"])


async def main():
    with stage.way("ainvoke", expected=1):
        await chat.ainvoke("How?")
    with stage.way("astream", expected=1):
        async for _ in chat.astream("How?"):
            pass
    with stage.way("abatch", expected=3):
        await chat.abatch(["How?", "Why?", "When?"])
    with stage.way("responses astream", expected=1):
        async for _ in responses.astream("How?"):
            pass
    with stage.way("aembed", expected=1):
        await embed.aembed_query("one")


run(main)

again = given | {"max_retries": 3}  # an error that the client tries again would ask for admission four times
chat, responses = ChatOpenAI(**again), ChatOpenAI(**again, use_responses_api=True)
retrying = chat.with_retry(retry_if_exception_type=(openai.APIError,), stop_after_attempt=3)
for model, api in ((chat, "chat"), (responses, "responses")):
    with stage.refused(f"{api} invoke"):
        model.invoke("How?")
    with stage.refused(f"{api} stream"):
        list(model.stream("How?"))
with stage.refused("structured output"):
    chat.with_structured_output(Plan).invoke("How?")
with stage.refused("with_retry for errors of the API"):
    retrying.invoke("How?")
with stage.refused("embeddings"):
    embed.embed_documents(["one", "two"])


async def refused():
    for model, api in ((chat, "chat"), (responses, "responses")):
        with stage.refused(f"{api} ainvoke"):
            await model.ainvoke("How?")
        with stage.refused(f"{api} astream"):
            async for _ in model.astream("How?"):
                pass
    with stage.refused("aembed"):
        await embed.aembed_query("one")


run(refused)
stage.end()
