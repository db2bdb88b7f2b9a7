"""A workflow of four agents, written as any program with the `openai` client is: nothing in it meters anything."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, NotFoundError, OpenAI
from pydantic import BaseModel

THINKER = "gpt-6.2-sol"
WRITER = "gpt-6.1-terra"
HELPER = "gpt-6-luna"
SORTER = "gpt-5.4-mini"
EMBEDDER = "text-embedding-3-small"
RETIRED = "gpt-7-retired-preview"
"""A model that does not exist: the agent handles the error."""

_POLL_S = 0.01
_TOPICS = ("order entry", "complaints", "monthly reports")
_TALK = (
    "Nora says that the order form asks for the same address three times.",
    "Ben answers complaints by hand, about forty of them on a Monday.",
    "Ines builds the monthly report from five spreadsheets.",
    "All three agree that complaints come first.",
)


class Step(NamedTuple):
    """One thing that an agent does; it may take several API calls."""

    agent: str
    operation: str
    description: str


class Needs(BaseModel):
    """The facts that the first agent finds about a customer."""

    goal: str
    pains: list[str]
    people: int


class _Desk(NamedTuple):
    """The state that the agents share: the clients, and the results so far, by operation."""

    client: OpenAI
    base_url: str
    notes: dict[str, str]


Scope: TypeAlias = Callable[[str, str], AbstractContextManager[object]]
"""Makes the context manager inside which an agent (first argument) does an operation (second argument)."""


def _no_scope(_agent: str, _operation: str) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


def _interview(desk: _Desk) -> str:
    completion = desk.client.chat.completions.create(
        model=THINKER,
        messages=[
            {"role": "system", "content": "You interview a customer about the work that they want to be rid of."},
            {"role": "user", "content": "We are a wholesaler with forty people, and everything is done by mail."},
        ],
    )
    return completion.choices[0].message.content or ""


def _extract(desk: _Desk) -> str:
    response = desk.client.responses.parse(
        model=WRITER,
        instructions="List what the customer needs.",
        input=desk.notes["interview"],
        text_format=Needs,
    )
    needs = response.output_parsed
    return needs.goal if needs else ""


def _agenda(desk: _Desk) -> str:
    stream = desk.client.chat.completions.create(
        model=HELPER,
        messages=[{"role": "user", "content": f"Plan a workshop of two hours. The goal: {desk.notes['extract']}"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    words = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    return "".join(words)


def _ideas(desk: _Desk) -> str:
    async def idea(client: AsyncOpenAI, topic: str) -> str:
        completion = await client.chat.completions.create(
            model=SORTER, messages=[{"role": "user", "content": f"One idea for less work with {topic}, please."}]
        )
        return completion.choices[0].message.content or ""

    async def gather() -> list[str]:
        async with _async_client(desk.base_url) as client:
            return await asyncio.gather(*(idea(client, topic) for topic in _TOPICS))

    return "\n".join(asyncio.run(gather()))


def _embed(desk: _Desk) -> str:
    answer = desk.client.embeddings.create(model=EMBEDDER, input=list(_TALK))
    first = answer.data[0].embedding
    scores = [sum(a * b for a, b in zip(first, item.embedding, strict=True)) for item in answer.data]
    closest = max(range(1, len(scores)), key=scores.__getitem__)
    return f"{_TALK[0]} {_TALK[closest]}"


def _summarize(desk: _Desk) -> str:
    response = desk.client.responses.create(
        model=WRITER, instructions="Summarize the workshop.", input="\n".join(_TALK), background=True
    )
    while response.status in ("queued", "in_progress"):
        time.sleep(_POLL_S)
        response = desk.client.responses.retrieve(response.id)
    return response.output_text


def _recall(desk: _Desk) -> str:
    question = f"Which earlier project is like this one? {desk.notes['summarize']}"
    try:
        completion = desk.client.chat.completions.create(
            model=RETIRED, messages=[{"role": "user", "content": question}]
        )
    except NotFoundError:
        return "no earlier project"  # the model is gone; the analysis goes on without its memory
    return completion.choices[0].message.content or ""


def _rate(desk: _Desk) -> str:
    async def rating(client: AsyncOpenAI, topic: str) -> str:
        response = await client.responses.create(model=HELPER, input=f"How much would it save to automate {topic}?")
        return f"{topic}: {response.output_text}"

    async def gather() -> list[str]:
        async with _async_client(desk.base_url) as client:
            return await asyncio.gather(*(rating(client, topic) for topic in _TOPICS))

    return "\n".join(asyncio.run(gather()))


def _report(desk: _Desk) -> str:
    question = f"Write the recommendation.\n{desk.notes['recall']}\n{desk.notes['rate']}"
    with desk.client.responses.create(model=THINKER, input=question, stream=True) as stream:
        return "".join(event.delta for event in stream if event.type == "response.output_text.delta")


_PLAN: tuple[tuple[Step, Callable[[_Desk], str]], ...] = (
    (Step("need_analysis", "interview", "asks the customer what takes too long"), _interview),
    (Step("need_analysis", "extract", "turns the interview into a list of needs"), _extract),
    (Step("workshop", "agenda", "writes the agenda while it streams in"), _agenda),
    (Step("workshop", "ideas", "collects three ideas at the same time"), _ideas),
    (Step("transcript", "embed", "sorts what was said by meaning"), _embed),
    (Step("transcript", "summarize", "has the summary written in the background"), _summarize),
    (Step("use_case_analysis", "recall", "asks a model that is gone, and copes"), _recall),
    (Step("use_case_analysis", "rate", "rates three use cases at the same time"), _rate),
    (Step("use_case_analysis", "report", "streams the recommendation"), _report),
)

STEPS: tuple[Step, ...] = tuple(step for step, _ in _PLAN)
"""All steps of the workflow, in the order in which `run` takes them."""


def run(base_url: str, on_step: Callable[[Step], None], scope: Scope = _no_scope) -> None:
    """Runs the workflow against the API at `base_url`, in well under two seconds on a `DemoServer`.

    `on_step` is called before each step. Each step runs inside `scope(agent, operation)`. Errors of the API other
    than the one that an agent expects are raised as the client raises them; the clients are closed in any case.
    """
    # The demo talks to this machine only, so proxies of the environment must not come in between.
    with OpenAI(base_url=base_url, api_key="demo", http_client=DefaultHttpxClient(trust_env=False)) as client:
        desk = _Desk(client, base_url, {})
        for step, work in _PLAN:
            on_step(step)
            with scope(step.agent, step.operation):
                desk.notes[step.operation] = work(desk)


def _async_client(base_url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=base_url, api_key="demo", http_client=DefaultAsyncHttpxClient(trust_env=False))
