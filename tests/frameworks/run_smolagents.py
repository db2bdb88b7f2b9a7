"""smolagents: its models that reach OpenAI, by the openai package and by litellm, plain and streamed, and an agent."""

import contextlib
import os

from smolagents import CodeAgent, LiteLLMModel, LiteLLMRouterModel, OpenAIModel
from smolagents.utils import AgentError
from stage import MODEL, Stage

stage = Stage("smolagents", "smolagents")
place = {"api_base": stage.url, "api_key": "demo"}
os.environ.update(OPENAI_API_KEY="demo", OPENAI_API_BASE=stage.url)  # the router's model passes no key on
routed = [{"model_name": "any", "litellm_params": {"model": f"openai/{MODEL}", **place}}]
hello = [{"role": "user", "content": [{"type": "text", "text": "How?"}]}]
for name, model in (
    ("OpenAIModel", OpenAIModel(MODEL, **place)),
    ("LiteLLMModel", LiteLLMModel(f"openai/{MODEL}", **place)),
    ("LiteLLMModel, Responses", LiteLLMModel(f"openai/responses/{MODEL}", **place)),
    ("LiteLLMRouterModel", LiteLLMRouterModel("any", routed)),
):
    with stage.way(f"{name}: generate", expected=1):
        model.generate(hello)
    with stage.way(f"{name}: generate_stream", expected=1):
        list(model.generate_stream(hello))
    # The local API does not answer with code: the agent tries again, and gives up. Each try is a call.
    with stage.way(f"{name}: CodeAgent"), contextlib.suppress(AgentError):
        CodeAgent([], model, max_steps=2, verbosity_level=0).run("How?")
stage.end()
