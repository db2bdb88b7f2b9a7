"""instructor: typed answers, its own streaming, sync and async, a client made before the meter; a spent budget."""

import contextlib

import instructor
import litellm
from instructor.core import InstructorRetryException
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from stage import MODEL, Stage, run

import openai_meter

stage = Stage("instructor", "instructor")
given = {"base_url": stage.url, "api_key": "demo", "max_retries": 0}
ask = {"model": MODEL, "messages": [{"role": "user", "content": "How?"}]}


class Plan(BaseModel):
    """A plan."""

    goal: str


sync, asynchronous = instructor.from_openai(OpenAI(**given)), instructor.from_openai(AsyncOpenAI(**given))
with stage.way("create", expected=1):
    sync.chat.completions.create(response_model=Plan, **ask)
with stage.way("create_partial", expected=1):
    list(sync.chat.completions.create_partial(response_model=Plan, **ask))
with stage.way("create_with_completion", expected=1):
    sync.chat.completions.create_with_completion(response_model=Plan, **ask)

responses = instructor.from_openai(OpenAI(**given), mode=instructor.Mode.RESPONSES_TOOLS)
with stage.way("create, responses"), contextlib.suppress(InstructorRetryException):
    # The local API does not call its tools. The request is a call all the same.
    responses.chat.completions.create(response_model=Plan, max_retries=0, **ask)
with stage.way("from_provider", expected=1):
    instructor.from_provider(f"openai/{MODEL}", **given).chat.completions.create(
        response_model=Plan, messages=ask["messages"]
    )
with stage.way("from_litellm", expected=1):
    instructor.from_litellm(litellm.completion).chat.completions.create(
        **{**ask, "model": f"openai/{MODEL}"}, response_model=Plan, api_base=stage.url, api_key="demo"
    )


async def main():
    with stage.way("async from_litellm", expected=1):
        await instructor.from_litellm(litellm.acompletion).chat.completions.create(
            **{**ask, "model": f"openai/{MODEL}"}, response_model=Plan, api_base=stage.url, api_key="demo"
        )
    with stage.way("async create", expected=1):
        await asynchronous.chat.completions.create(response_model=Plan, **ask)
    with stage.way("async create_partial", expected=1):
        async for _ in asynchronous.chat.completions.create_partial(response_model=Plan, **ask):
            pass


run(main)
openai_meter.uninstall()
early = instructor.from_openai(OpenAI(**given))
openai_meter.install(meter=stage.meter, hosts={"127.0.0.1": "openai"})
with stage.way("made before install()", expected=1):
    early.chat.completions.create(response_model=Plan, **ask)

ask["max_retries"] = 3  # of instructor, which wraps every error
with stage.refused("create", within="InstructorRetryException"):
    sync.chat.completions.create(response_model=Plan, **ask)
with stage.refused("create_partial", within="InstructorRetryException"):
    list(sync.chat.completions.create_partial(response_model=Plan, **ask))


async def refused():
    with stage.refused("async create", within="InstructorRetryException"):
        await asynchronous.chat.completions.create(response_model=Plan, **ask)
    with stage.refused("async create_partial", within="InstructorRetryException"):
        async for _ in asynchronous.chat.completions.create_partial(response_model=Plan, **ask):
            pass


run(refused)
stage.end()
