"""dspy: language models and predictors, sync, async and streamed, by way of litellm and of its own HTTP client."""

import contextlib

import dspy
from dspy.utils.exceptions import AdapterParseError
from stage import EMBEDDER, MODEL, Stage, run

stage = Stage("dspy", "dspy")
given = {"model": f"openai/{MODEL}", "api_base": stage.url, "api_key": "demo", "cache": False, "num_retries": 0}
own, lm = dspy.LM(**given), dspy.LM(**given, engine="litellm")
own_responses = dspy.LM(**given, model_type="responses")
lm_responses = dspy.LM(**given, engine="litellm", model_type="responses")


def try_predictor():
    """The local API does not speak in the format of predictors: they try again, and give up. Each try is a call."""
    with contextlib.suppress(AdapterParseError):
        dspy.Predict("question -> answer")(question="How?")


for name, chat, responses in (("own engine", own, own_responses), ("litellm", lm, lm_responses)):
    with stage.way(f"{name}: LM", expected=1):
        chat("How?")
    with stage.way(f"{name}: LM, responses", expected=1):
        responses("How?")
    with stage.way(f"{name}: Predict"), dspy.context(lm=chat):
        try_predictor()
with stage.way("Embedder", expected=1):
    dspy.Embedder(f"openai/{EMBEDDER}", api_base=stage.url, api_key="demo", caching=False)(["one"])


async def main():
    for name, chat, responses in (("own engine", own, own_responses), ("litellm", lm, lm_responses)):
        with stage.way(f"{name}: LM.acall", expected=1):
            await chat.acall("How?")
        with stage.way(f"{name}: LM.acall, responses", expected=1):
            await responses.acall("How?")
        with stage.way(f"{name}: streamify"), dspy.context(lm=chat), contextlib.suppress(AdapterParseError):
            async for _ in dspy.streamify(dspy.Predict("question -> answer"))(question="How?"):
                pass


run(main)
stage.end()
