"""dspy: language models and predictors, sync, async and streamed, by way of litellm and of its own HTTP client."""

import contextlib

import dspy
from dspy.utils.exceptions import AdapterParseError
from stage import MODEL, Stage, run

stage = Stage("dspy", "dspy")
given = {"model": f"openai/{MODEL}", "api_base": stage.url, "api_key": "demo", "cache": False, "num_retries": 0}
own, lm = dspy.LM(**given), dspy.LM(**given, engine="litellm")
dspy.configure(lm=lm)


with stage.way("LM(engine='litellm')", expected=1):
    lm("How?")
# The local API does not speak in the format of predictors: they try again, and give up. Each try is a call.
with stage.way("Predict"), contextlib.suppress(AdapterParseError):
    dspy.Predict("question -> answer")(question="How?")
# From 3.4 on, its default engine is an HTTP client of its own: without the openai package, it cannot be counted.
with stage.way("LM(), its own HTTP client", expected=1, beyond=True):
    own("How?")


async def main():
    with stage.way("LM.acall", expected=1):
        await lm.acall("How?")
    with stage.way("streamify"), contextlib.suppress(AdapterParseError):
        async for _ in dspy.streamify(dspy.Predict("question -> answer"))(question="How?"):
            pass


run(main)
stage.end()
