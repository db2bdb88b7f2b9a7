"""The demo API, driven by the real client: every route, as the SDK of this environment calls it."""

import asyncio
import functools
import gc
import http.client
import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from openai_meter.testing.fake_api.handlers import KEPT_OBJECTS
from openai_meter.testing.fake_api.loopback import Answer, Hangup, LoopbackServer
from openai_meter.testing.fake_api.schemas import instance_of
from openai_meter.testing.fake_api.server import ROUTES, DemoServer

HELLO = [{"role": "user", "content": "How do we get rid of the paper forms?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    },
}
old_api = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def clean_meter():
    """Replaces the fixture of all other tests: nothing is metered here, so nothing needs to be collected after."""


@pytest.fixture
def server():
    with DemoServer() as server:
        yield server
        assert not server.faults


@pytest.fixture
def client(server):
    with OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        yield client


def needs(client, path):
    """Follows a dotted path from the client; skips the test when this version of openai lacks it."""
    found = client
    for name in path.split("."):
        found = getattr(found, name, None)
        if found is None:
            pytest.skip(f"openai {openai.__version__} has no {path}")
    return found


def with_async(server, use):
    """Runs the coroutine function on an async client of the server."""

    async def main():
        async with AsyncOpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
            return await use(client)

    return asyncio.run(main())


def raw(server, method, path, body=b"", headers=None):
    """One request without the SDK: status, headers, body."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    try:
        head = {"authorization": "Bearer demo", "content-type": "application/json", **(headers or {})}
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), head)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Order(BaseModel):
    number: int
    state: Literal["open", "closed"]
    lines: list[str]


class Tree(BaseModel):
    name: str
    weight: float | None
    children: list["Tree"]


# --- chat completions -------------------------------------------------------------------------------------------


def test_chat_has_the_keys_of_the_real_api(server):
    """A plain answer has the real keys in the real order, indented, with the real headers."""
    status, headers, body = raw(server, "POST", "/v1/chat/completions", {"model": "gpt-4o-mini", "messages": HELLO})
    answer = json.loads(body)
    assert status == 200
    assert body.startswith(b'{\n  "id": "chatcmpl-')
    assert list(answer) == [
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
    ]
    assert list(answer["choices"][0]) == ["index", "message", "logprobs", "finish_reason"]
    assert list(answer["choices"][0]["message"]) == ["role", "content", "refusal", "annotations"]
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req_")
    assert int(headers["openai-processing-ms"]) > 0


def test_chat_counts_tokens_from_the_request(client):
    """Equal requests cost the same, ids differ, and the total is the sum."""
    one, two = (client.chat.completions.create(model="gpt-4o-mini", messages=HELLO) for _ in range(2))
    assert one.usage == two.usage
    assert one.choices == two.choices
    assert one.id != two.id
    assert one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens
    assert one.usage.completion_tokens == -(-len(one.choices[0].message.content) // 4)
    assert one.model == "gpt-4o-mini-2024-07-18"


def test_chat_sums_over_n_choices(client):
    """With n=3 there are three different texts and one usage over all."""
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert answer.usage.completion_tokens == sum(-(-len(text) // 4) for text in texts)


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-6-luna", "o4-mini"])
def test_chat_of_a_reasoning_model_has_reasoning_tokens(client, model):
    """They are a part of the output, and zero where reasoning is switched off."""
    usage = client.chat.completions.create(model=model, messages=HELLO).usage
    quiet = client.chat.completions.create(model=model, messages=HELLO, reasoning_effort="minimal").usage
    thought = usage.completion_tokens_details.reasoning_tokens
    assert thought > 0
    assert usage.completion_tokens - thought == quiet.completion_tokens
    assert quiet.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize(("limit", "reasoning", "empty"), [(20, 20, True), (200, None, False)])
def test_reasoning_uses_the_limit_before_text(client, limit, reasoning, empty):
    """A limit below the reasoning leaves no text, and the output is the limit."""
    answer = client.chat.completions.create(model="gpt-5", messages=HELLO, max_completion_tokens=limit)
    assert (answer.choices[0].message.content == "") is empty
    if empty:
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == reasoning == answer.usage.completion_tokens_details.reasoning_tokens


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_chat_stops_at_the_limit(client, name):
    """Both names of the limit truncate the text, with the finish reason length."""
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, **{name: 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize(("length", "cached"), [(4000, 0), (4092, 0), (8192, 1536), (40000, 5504)])
def test_chat_caches_long_prompts(client, length, cached):
    """Above 1024 prompt tokens a multiple of 128 of them is cached."""
    usage = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "x" * (length - 28)}]
    ).usage
    assert usage.prompt_tokens == length // 4
    assert usage.prompt_tokens_details.cached_tokens == cached
    assert cached % 128 == 0


@pytest.mark.parametrize(
    ("requested", "served"),
    [(None, "default"), ("auto", "default"), ("default", "default"), ("flex", "flex"), ("fast", "priority")],
)
def test_chat_has_the_served_tier(client, requested, served):
    """The answer tells the tier that served it."""
    wish = {} if requested is None else {"extra_body": {"service_tier": requested}}
    assert client.chat.completions.create(model="gpt-4o", messages=HELLO, **wish).service_tier == served


def test_chat_calls_a_tool(client):
    """A request with tools is answered with a call that fits the tool's schema; its result with text."""
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL])
    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert isinstance(json.loads(call.function.arguments)["number"], int)
    result = {"role": "tool", "tool_call_id": call.id, "content": "open"}
    messages = [*HELLO, answer.choices[0].message.model_dump(exclude_none=True), result]
    after = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[TOOL])
    assert after.choices[0].finish_reason == "stop"
    assert after.choices[0].message.tool_calls is None


def test_chat_obeys_the_tool_choice(client):
    """No tool is called with none; a named one is, and then the finish reason is stop."""
    ask = functools.partial(client.chat.completions.create, model="gpt-4o", messages=HELLO, tools=[TOOL])
    assert ask(tool_choice="none").choices[0].message.tool_calls is None
    named = ask(tool_choice={"type": "function", "function": {"name": "find_order"}}).choices[0]
    assert named.finish_reason == "stop"
    assert named.message.tool_calls[0].function.name == "find_order"


@pytest.mark.parametrize("model", [Order, Tree])
def test_chat_parse_returns_an_instance(client, model):
    """A response format is answered with JSON that the schema accepts, recursive ones too."""
    answer = client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=model)
    assert isinstance(answer.choices[0].message.parsed, model)


def test_chat_parse_over_the_limit_raises_with_usage(client):
    """Structured output that does not fit raises the SDK's length error, with the usage."""
    with pytest.raises(openai.LengthFinishReasonError) as caught:
        client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Order, max_tokens=2)
    assert caught.value.completion.usage.completion_tokens == 2


def test_chat_stream_without_usage_has_a_choice_in_every_chunk(client):
    """Without include_usage every chunk has a choice and none has a usage."""
    plain = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
    assert all(chunk.choices and "usage" not in chunk.to_dict() for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_chat_stream_with_usage_ends_with_it(client):
    """With include_usage the last chunk has no choices and the usage, all others have it null."""
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options=options))
    plain = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert [chunk.to_dict().get("usage", "missing") for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage


def test_chat_stream_has_data_frames_and_done(server):
    """Frames are single data lines, the last one is [DONE]; obfuscation can be turned off."""
    body = {"model": "gpt-4o", "messages": HELLO, "stream": True, "stream_options": {"include_obfuscation": False}}
    _, headers, text = raw(server, "POST", "/v1/chat/completions", body)
    frames = text.decode().split("\n\n")
    assert headers["content-type"].startswith("text/event-stream")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert all(frame.startswith('data: {"id":"chatcmpl-') for frame in frames[:-2])
    assert "obfuscation" not in text.decode()


def test_chat_stream_of_tool_calls_gives_the_same_arguments(client):
    """Streamed arguments, put together, are those of the plain answer."""
    plain = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL])
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL], stream=True))
    calls = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or []]
    assert "".join(c.function.arguments for c in calls) == plain.choices[0].message.tool_calls[0].function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_chat_stream_has_n_choices_by_index(client):
    """With n=2 both choices are streamed, told apart by their index."""
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, n=2, stream=True))
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}
    assert sum(chunk.choices[0].finish_reason == "stop" for chunk in chunks) == 2


def test_chat_stream_helper_returns_the_same_completion(client):
    """The SDK's stream helper puts the same completion together."""
    with client.chat.completions.stream(
        model="gpt-4o", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    plain = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert final.choices[0].message.content == plain.choices[0].message.content
    assert final.usage == plain.usage


def test_async_chat_has_the_same_answers(server):
    """The async client gets the same answers, plain and streamed."""

    async def use(client):
        plain = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
        stream = await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return plain.choices[0].message.content, streamed

    plain, streamed = with_async(server, use)
    assert plain == streamed


def test_stored_completions_can_be_managed(client):
    """Listed, read, changed and deleted; they repeat their usage."""
    made = client.chat.completions.create(model="gpt-4o", messages=HELLO, metadata={"a": "1"}, store=True)
    assert client.chat.completions.retrieve(made.id).usage.total_tokens == made.usage.total_tokens
    assert [item.id for item in client.chat.completions.list()] == [made.id]
    changed = client.chat.completions.update(made.id, metadata={"b": "2"})
    assert changed.to_dict()["metadata"] == {"b": "2"}
    assert changed.usage.total_tokens == made.usage.total_tokens
    assert list(client.chat.completions.messages.list(made.id)) == []
    assert client.chat.completions.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(made.id)


def test_only_the_last_completions_are_kept(client):
    """The server forgets the oldest completions."""
    first = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    for _ in range(KEPT_OBJECTS):
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(first.id)


# --- text completions, embeddings, moderations, decisions ----------------------------------------------------------


@pytest.mark.parametrize(("prompt", "count"), [("Once", 1), (["Once", "Twice"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2)])
def test_completion_answers_each_prompt(client, prompt, count):
    """Text or tokens, truncated at 16 tokens by default."""
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt)
    assert [choice.index for choice in answer.choices] == list(range(count))
    assert answer.usage.completion_tokens == 16 * count
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("requested", [False, True])
def test_completion_stream_has_usage_on_request_only(client, requested):
    """A streamed completion tells its usage only when asked."""
    options = {"stream_options": {"include_usage": True}} if requested else {}
    chunks = list(client.completions.create(model="davinci-002", prompt="Once", stream=True, **options))
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == ([16] if requested else [])
    assert all(chunk.choices for chunk in chunks) is not requested


@pytest.mark.parametrize(("given", "count"), [("one text", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embedding_has_a_vector_for_each_input(client, given, count):
    """The same as floats and as the SDK's base64."""
    packed = client.embeddings.create(model="text-embedding-3-small", input=given)
    floats = client.embeddings.create(model="text-embedding-3-small", input=given, encoding_format="float")
    assert [len(item.embedding) for item in packed.data] == [1536] * count
    assert [list(item.embedding) for item in packed.data] == [item.embedding for item in floats.data]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


def test_embedding_has_the_requested_dimensions(client):
    """The wished dimensions are given; models differ in how many they have."""
    small = client.embeddings.create(model="text-embedding-3-small", input="a", dimensions=8)
    large = client.embeddings.create(model="text-embedding-3-large", input="a")
    assert (len(small.data[0].embedding), len(large.data[0].embedding)) == (8, 3072)


def test_async_embeddings_are_the_same(server):
    """The async client gets the same vectors."""

    async def use(client):
        return await client.embeddings.create(model="text-embedding-3-small", input="text", dimensions=4)

    assert len(with_async(server, use).data[0].embedding) == 4


def test_moderation_has_a_result_for_each_text(client):
    """And no usage."""
    answer = client.moderations.create(input=["a", "b"])
    assert [result.flagged for result in answer.results] == [False, False]
    assert "usage" not in answer.to_dict()


def test_decision_answers_each_question(client):
    """It has a usage and no id."""
    questions = [
        {"type": "predicate", "name": "late", "instructions": "The order is late."},
        {"type": "choice", "instructions": "Who acts?", "choices": [{"value": "sales"}, {"value": True}]},
        {"type": "score", "instructions": "How bad?", "levels": [{"label": "low"}, {"label": "high"}]},
    ]
    answer = needs(client, "decisions").create(model="gpt-6-luna", input="Where is my order?", questions=questions)
    assert [type(one).__name__ for one in answer.answers] == [
        "AnswerAnswerResourcePredicate",
        "AnswerAnswerResourceChoice",
        "AnswerAnswerResourceScore",
    ]
    assert answer.usage.output_tokens == 12
    assert list(answer.to_dict()) == ["answers", "model", "usage"]


# --- responses ----------------------------------------------------------------------------------------------------


def test_plain_response_is_completed_with_usage(client):
    """A plain response is completed, with usage and the served tier."""
    answer = client.responses.create(model="gpt-4o", input="How are forms replaced?")
    assert (answer.status, answer.service_tier, answer.model) == ("completed", "default", "gpt-4o-2024-08-06")
    assert answer.usage.output_tokens == -(-len(answer.output_text) // 4)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_response_of_a_reasoning_model_begins_with_reasoning(client):
    """A model that reasons has a reasoning item first, and its tokens in the details."""
    answer = client.responses.create(model="gpt-6-luna", input="How?", include=["reasoning.encrypted_content"])
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].encrypted_content
    assert answer.usage.output_tokens_details.reasoning_tokens > 0


@pytest.mark.parametrize("model", [Order, Tree])
def test_response_parse_returns_an_instance(client, model):
    """A text format is answered with JSON that the schema accepts."""
    answer = client.responses.parse(model="gpt-4o", input="Which order?", text_format=model)
    assert isinstance(answer.output_parsed, model)


def test_response_calls_a_function(client):
    """A question with tools is answered with a function call; its output with text."""
    tool = {"type": "function", "strict": False, **TOOL["function"]}
    answer = client.responses.create(model="gpt-4o", input="Which order?", tools=[tool])
    call = answer.output[0]
    assert (call.type, call.name) == ("function_call", "find_order")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "open"}
    after = client.responses.create(model="gpt-4o", input=[output], tools=[tool], previous_response_id=answer.id)
    assert after.output_text
    assert after.usage.input_tokens > answer.usage.total_tokens


def test_response_searches_the_web(client):
    """The search call is an output item and counts as tool usage."""
    answer = client.responses.create(model="gpt-4o", input="News?", tools=[{"type": "web_search"}])
    assert [item.type for item in answer.output] == ["web_search_call", "message"]
    assert answer.to_dict()["tool_usage"]["web_search"] == {"num_requests": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_response_over_its_limit_is_incomplete(client, stream):
    """A limit below the answer makes the response incomplete, with the reason and the usage."""
    answer = client.responses.create(model="gpt-4o", input="How?", max_output_tokens=3, stream=stream)
    if stream:
        last = list(answer)[-1]
        assert last.type == "response.incomplete"
        answer = last.response
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 3
    assert answer.output[0].status == "incomplete"


def test_response_stream_has_the_events_of_the_real_api(client):
    """The events come in the order of the real API, numbered from zero, and end with the whole response."""
    events = list(client.responses.create(model="gpt-4o", input="How?", stream=True))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[0].response.usage is None
    assert events[-1].response.output_text == text
    assert events[-1].response.usage.output_tokens == -(-len(text) // 4)


def test_response_stream_has_event_frames_and_no_done(server):
    """Each frame has an event line that repeats the type; there is no [DONE]."""
    _, _, text = raw(server, "POST", "/v1/responses", {"model": "gpt-4o", "input": "How?", "stream": True})
    frames = [frame.split("\n") for frame in text.decode().rstrip("\n").split("\n\n")]
    assert all(event == f"event: {json.loads(data.removeprefix('data: '))['type']}" for event, data in frames)
    assert "[DONE]" not in text.decode()


@pytest.mark.parametrize("tool", ["function", "custom", "web_search"])
def test_response_stream_has_events_of_tools(client, tool):
    """Tools have their own events in a stream."""
    tools = {
        "function": {"type": "function", "strict": False, **TOOL["function"]},
        "custom": {"type": "custom", "name": "sql"},
        "web_search": {"type": "web_search"},
    }
    telling = {
        "function": "response.function_call_arguments.done",
        "custom": "response.custom_tool_call_input.done",
        "web_search": "response.web_search_call.completed",
    }
    events = list(client.responses.create(model="gpt-4o", input="How?", tools=[tools[tool]], stream=True))
    assert telling[tool] in [event.type for event in events]
    assert events[-1].type == "response.completed"


def test_response_stream_helper_returns_the_final_response(client):
    """The SDK's stream helper gets the final response."""
    with client.responses.stream(model="gpt-4o", input="How?") as stream:
        final = stream.get_final_response()
    assert final.usage.output_tokens == -(-len(final.output_text) // 4)


def test_async_response_has_the_same_answers(server):
    """The async client gets the same answers, plain and streamed."""

    async def use(client):
        plain = await client.responses.create(model="gpt-4o", input="How?")
        stream = await client.responses.create(model="gpt-4o", input="How?", stream=True)
        return plain, [event async for event in stream][-1].response

    plain, streamed = with_async(server, use)
    assert plain.usage == streamed.usage
    assert plain.output_text == streamed.output_text


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_background_response_is_completed_after_its_polls(polls):
    """A background response is queued, then in progress for as many polls as wished, then completed."""
    with DemoServer(polls=polls) as server, OpenAI(base_url=server.base_url, api_key="demo") as client:
        answer = client.responses.create(model="gpt-6-luna", input="How?", background=True)
        assert (answer.status, answer.usage, answer.background) == ("queued", None, True)
        seen = [client.responses.retrieve(answer.id) for _ in range(polls + 2)]
        assert [one.status for one in seen] == ["in_progress"] * polls + ["completed"] * 2
        assert [one.usage is None for one in seen] == [True] * polls + [False] * 2
        assert seen[-1].background is True
        plain = client.responses.create(model="gpt-6-luna", input="How?")
        assert seen[-1].usage == plain.usage


def test_background_stream_can_be_resumed_after_an_event(client):
    """A background stream can be left and taken up again after the last event seen."""
    first = []
    with client.responses.create(model="gpt-4o", input="How?", background=True, stream=True) as stream:
        for event in stream:
            first.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = first[0].response.id
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=first[-1].sequence_number))
    numbers = [event.sequence_number for event in (*first, *rest)]
    assert [event.type for event in first[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].type == "response.completed"
    assert client.responses.retrieve(response_id).status == "completed"


def test_background_response_can_be_cancelled(client):
    """A finished one stays completed."""
    started = client.responses.create(model="gpt-4o", input="How?", background=True)
    assert client.responses.cancel(started.id).status == "cancelled"
    assert client.responses.retrieve(started.id).usage is None
    finished = client.responses.create(model="gpt-4o", input="How?")
    assert client.responses.cancel(finished.id).usage == finished.usage


def test_response_can_be_deleted_and_its_items_listed(client):
    """Input items can be listed; a deleted response is gone."""
    answer = client.responses.create(model="gpt-4o", input="How?")
    assert [item.role for item in client.responses.input_items.list(answer.id)] == ["user"]
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


def test_count_of_input_tokens_equals_that_of_the_response(client):
    """Counting input gives a number that the response repeats, and no usage."""
    count = needs(client, "responses.input_tokens").count(model="gpt-4o", input="How?")
    assert count.input_tokens == client.responses.create(model="gpt-4o", input="How?").usage.input_tokens
    assert "usage" not in count.to_dict()


def test_compaction_has_usage_and_no_model(client):
    """A compaction has a usage, but neither model nor tier."""
    compacted = needs(client, "responses.compact")(model="gpt-4o", input=HELLO)
    assert compacted.usage.total_tokens > 0
    assert compacted.output[-1].type == "compaction"
    assert not {"model", "service_tier"} & (compacted.model_fields_set | set(compacted.model_extra or {}))


def test_query_strings_are_ignored(server):
    """A path with `?beta=true` is served as without."""
    status, _, _ = raw(server, "POST", "/v1/responses?beta=true", {"model": "gpt-4o", "input": "How?"})
    assert status == 200


# --- images, sound, videos ------------------------------------------------------------------------------------------


def test_image_of_a_token_model_has_usage_by_kind(client):
    """A gpt-image model answers base64 and a usage by kind of token, for all n images."""
    answer = client.images.generate(model="gpt-image-1", prompt="a form", n=2, quality="low", size="1024x1024")
    assert len(answer.data) == 2
    assert all(image.b64_json for image in answer.data)
    assert answer.usage.output_tokens == 2 * 272
    assert answer.usage.input_tokens_details.text_tokens == answer.usage.input_tokens == 2
    assert "model" not in answer.to_dict()


@old_api
def test_image_of_dalle_has_no_usage(client):
    """DALL-E answers links and no usage; so do variations."""
    made = client.images.generate(model="dall-e-3", prompt="a form")
    assert made.data[0].url
    assert made.usage is None
    assert len(client.images.create_variation(image=b"png", n=2).data) == 2


@pytest.mark.parametrize("kind", ["image_generation", "image_edit"])
def test_image_stream_ends_with_its_usage(client, kind):
    """A streamed image has its partial images first; only the last event has a usage."""
    ask = {"model": "gpt-image-1", "prompt": "a form", "stream": True, "partial_images": 2}
    if kind == "image_generation":
        events = list(client.images.generate(**ask))
    else:
        events = list(client.images.edit(image=b"png", **ask))
    assert [event.type for event in events] == [f"{kind}.partial_image"] * 2 + [f"{kind}.completed"]
    assert events[-1].usage.total_tokens > 1056


def test_image_edit_counts_both_uploads(client):
    """An edit with two uploaded images counts both of them."""
    one = client.images.edit(model="gpt-image-1", image=b"png", prompt="a form")
    two = client.images.edit(model="gpt-image-1", image=[b"png", b"gif"], prompt="a form")
    assert one.usage.input_tokens_details.image_tokens * 2 == two.usage.input_tokens_details.image_tokens


SOUND = ("talk.mp3", bytes(range(256)) * 16, "audio/mpeg")


@pytest.mark.parametrize("form", ["json", "verbose_json"])
def test_transcription_of_whisper_has_its_seconds(client, form):
    """Whisper tells how many seconds it heard."""
    answer = client.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format=form)
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 5)


def test_transcription_of_other_models_has_tokens_by_kind(client):
    """Other models tell tokens, by kind."""
    usage = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, prompt="four words or so").usage
    assert usage.type == "tokens"
    assert (usage.input_token_details.audio_tokens, usage.input_token_details.text_tokens) == (50, 4)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_transcription_as_text_is_a_bare_string(client, form):
    """Text forms are bare strings."""
    answer = client.audio.transcriptions.create(model="whisper-1", file=SOUND, response_format=form)
    assert isinstance(answer, str)
    assert ("-->" in answer) is (form != "text")


@old_api  # SDKs that do not know the form yet warn about it in a deprecated way
def test_transcription_with_speakers_has_segments_and_usage(client):
    """A diarized transcription has segments with speakers, and a usage."""
    answer = client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize", file=SOUND, response_format="diarized_json"
    ).to_dict()
    assert answer["segments"][0]["speaker"] == "A"
    assert answer["usage"]["type"] == "tokens"


def test_transcription_stream_ends_with_text_and_usage(client):
    """The deltas are the text of the last event, which has the usage."""
    events = list(client.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text
    assert events[-1].type == "transcript.text.done"
    assert events[-1].to_dict()["usage"]["input_tokens"] == 50


def test_upload_arrives_byte_for_byte(server, client):
    """An upload with line ends and boundary-like bytes in it arrives byte for byte."""
    data = b"\r\n--boundary\r\n\r\n\x00\xff--\r\n" * 50 + b"\r\n"
    made = client.files.create(file=("odd.bin", data), purpose="user_data")
    assert client.files.content(made.id).read() == data
    assert made.bytes == len(data)
    assert made.filename == "odd.bin"


@old_api
def test_translation_has_no_usage(client):
    """A translation has no usage."""
    answer = client.audio.translations.create(model="whisper-1", file=SOUND)
    assert answer.text
    assert "usage" not in answer.to_dict()


def test_speech_comes_in_chunks_of_equal_bytes(client):
    """The same text gives the same bytes."""
    ask = {"model": "gpt-4o-mini-tts", "input": "Good morning, all of you.", "voice": "alloy"}
    whole = client.audio.speech.create(**ask)
    assert whole.response.headers["content-type"] == "audio/mpeg"
    assert whole.response.headers["transfer-encoding"] == "chunked"
    with client.audio.speech.with_streaming_response.create(**ask) as streamed:
        assert b"".join(streamed.iter_bytes()) == whole.content


def test_speech_as_events_ends_with_usage(client):
    """Speech as events ends with a usage."""
    answer = client.audio.speech.create(
        model="gpt-4o-mini-tts", input="Good morning.", voice="alloy", extra_body={"stream_format": "sse"}
    )
    events = [json.loads(line[6:]) for line in answer.content.decode().split("\r\n") if line.startswith("data: {")]
    assert events[0]["type"] == "speech.audio.delta"
    assert events[-1] == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 4, "output_tokens": 26, "total_tokens": 30},
    }


@old_api
def test_video_is_completed_after_its_polls(client):
    """It has seconds, not usage."""
    videos = needs(client, "videos")
    made = videos.create(prompt="a form", seconds="8", model="sora-2")
    assert (made.status, made.seconds, made.model) == ("queued", "8", "sora-2")
    with pytest.raises(openai.NotFoundError):
        videos.download_content(made.id)
    assert [videos.retrieve(made.id).status for _ in range(3)] == ["in_progress", "in_progress", "completed"]
    assert len(videos.download_content(made.id).read()) == 4096
    remixed = videos.remix(made.id, prompt="again")
    assert (remixed.remixed_from_video_id, remixed.seconds) == (made.id, "8")
    assert [video.id for video in videos.list()] == [remixed.id, made.id]
    assert videos.delete(made.id).deleted


@pytest.mark.parametrize("path", ["edits", "extensions"])
def test_video_edit_and_extension_begin_a_video(server, path):
    """Edits and extensions begin a new video."""
    body = {"prompt": "again", "video": {"id": "video_1"}, "seconds": "4"}
    status, _, answer = raw(server, "POST", f"/v1/videos/{path}", body)
    assert (status, json.loads(answer)["status"]) == (200, "queued")


# --- jobs -----------------------------------------------------------------------------------------------------------


def test_batch_has_usage_when_completed(client):
    """And the models that answered."""
    ask = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = client.batches.create(**ask)
    assert made.status == "validating"
    seen = [client.batches.retrieve(made.id) for _ in range(3)]
    assert [batch.status for batch in seen] == ["in_progress", "in_progress", "completed"]
    reported = [batch.to_dict()["usage"]["total_tokens"] for batch in seen]
    assert reported == [0, 0, 360]
    assert seen[-1].to_dict()["model"] == "gpt-5.4-mini"
    other = client.batches.create(**ask)
    assert client.batches.cancel(other.id).status == "cancelling"
    assert client.batches.cancel(made.id).status == "completed"
    assert [batch.id for batch in client.batches.list()] == [other.id, made.id]


def test_eval_run_has_usage_by_model_when_completed(client):
    """An evaluation run tells its usage by model when it is completed."""
    schema = {"type": "object", "properties": {"question": {"type": "string"}}}
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": schema, "include_sample_schema": True},
        testing_criteria=[],
    )
    assert client.evals.retrieve(made.id).id == made.id
    source = {
        "type": "completions",
        "model": "gpt-5.4-mini",
        "source": {"type": "file_content", "content": [{"item": {"question": "How?"}}]},
    }
    run = client.evals.runs.create(made.id, data_source=source)
    seen = [client.evals.runs.retrieve(run.id, eval_id=made.id) for _ in range(3)]
    assert [one.status for one in seen] == ["in_progress", "in_progress", "completed"]
    usage = seen[-1].per_model_usage[0].to_dict()
    assert usage["model_name"] == "gpt-5.4-mini"
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_fine_tuning_has_trained_tokens_when_succeeded(client):
    """A job in progress can be cancelled."""
    made = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1")
    seen = [client.fine_tuning.jobs.retrieve(made.id) for _ in range(3)]
    assert [job.status for job in seen] == ["running", "running", "succeeded"]
    assert [job.trained_tokens for job in seen] == [None, None, 5000]
    other = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1")
    assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"
    assert len(list(client.fine_tuning.jobs.list())) == 2


def test_only_a_grader_with_a_model_has_usage(client):
    """Only a grader with a model uses tokens."""
    grade = functools.partial(client.fine_tuning.alpha.graders.run, model_sample="yes")
    scored = grade(
        grader={
            "type": "score_model",
            "name": "tone",
            "model": "gpt-5.4-mini",
            "input": [{"role": "user", "content": "Polite?"}],
        }
    )
    assert list(scored.to_dict()["model_grader_token_usage_per_model"]) == ["gpt-5.4-mini"]
    assert scored.metadata.token_usage > 0
    checked = grade(grader={"type": "string_check", "name": "same", "operation": "eq", "input": "a", "reference": "a"})
    assert checked.metadata.token_usage is None


# --- assistants and agents ------------------------------------------------------------------------------------------


@old_api
def test_polled_assistant_run_is_completed_with_usage(client):
    """Its step repeats the usage."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini", instructions="Be brief.")
    thread = client.beta.threads.create()
    client.beta.threads.messages.create(thread.id, role="user", content="How?")
    run = client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    seen = [client.beta.threads.runs.retrieve(run.id, thread_id=thread.id) for _ in range(3)]
    assert [run.status, *(one.status for one in seen)] == ["queued", "in_progress", "in_progress", "completed"]
    assert run.usage is None
    assert seen[-1].usage.total_tokens > 0
    steps = list(client.beta.threads.runs.steps.list(run.id, thread_id=thread.id))
    assert [step.usage for step in steps] == [steps[0].usage]
    assert steps[0].usage.total_tokens == seen[-1].usage.total_tokens
    assert [m.role for m in client.beta.threads.messages.list(thread.id)] == ["assistant", "user"]
    assert len(list(client.beta.threads.runs.list(thread.id))) == 1


@old_api
def test_assistant_run_helper_ends(client):
    """The SDK's own polling helper gets to the end."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini")
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": HELLO}, poll_interval_ms=1
    )
    assert run.status == "completed"
    assert run.usage.prompt_tokens > 0


@old_api
@pytest.mark.parametrize("at_once", [False, True])
def test_assistant_run_stream_has_its_events_in_order(client, at_once):
    """A streamed run has its events in order; the run and the step tell the usage."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini")
    if at_once:
        ask = {"assistant_id": assistant.id, "thread": {"messages": HELLO}, "stream": True}
        events = list(client.beta.threads.create_and_run(**ask))
    else:
        thread = client.beta.threads.create(messages=HELLO)
        events = list(client.beta.threads.runs.create(thread.id, assistant_id=assistant.id, stream=True))
    assert list(dict.fromkeys(event.event for event in events)) == [
        "thread.run.created",
        "thread.run.queued",
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.run.step.in_progress",
        "thread.message.created",
        "thread.message.in_progress",
        "thread.message.delta",
        "thread.message.completed",
        "thread.run.step.completed",
        "thread.run.completed",
    ]
    assert events[-1].data.usage.total_tokens == events[-2].data.usage.total_tokens > 0


@old_api
@pytest.mark.parametrize("streamed", [False, True])
def test_assistant_run_waits_for_the_output_of_its_tool(client, streamed):
    """A run with a function waits for its output and then goes on to its end."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini", tools=[TOOL])
    thread = client.beta.threads.create(messages=HELLO)
    run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1)
    assert run.status == "requires_action"
    call = run.required_action.submit_tool_outputs.tool_calls[0]
    assert isinstance(json.loads(call.function.arguments)["number"], int)
    submit = functools.partial(
        client.beta.threads.runs.submit_tool_outputs,
        run.id,
        thread_id=thread.id,
        tool_outputs=[{"tool_call_id": call.id, "output": "open"}],
    )
    if streamed:
        last = list(submit(stream=True))[-1]
        assert (last.event, last.data.status) == ("thread.run.completed", "completed")
        assert last.data.usage.total_tokens > 0
    else:
        assert submit().status == "queued"
        seen = [client.beta.threads.runs.retrieve(run.id, thread_id=thread.id).status for _ in range(3)]
        assert seen == ["in_progress", "in_progress", "completed"]
    with pytest.raises(openai.BadRequestError):
        submit()


@old_api
def test_assistant_run_can_be_cancelled_while_in_progress(client):
    """A run can be cancelled while it is under way, not when it is finished."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini")
    thread = client.beta.threads.create(messages=HELLO)
    run = client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)
    assert client.beta.threads.runs.cancel(run.id, thread_id=thread.id).status == "cancelling"
    assert client.beta.threads.runs.retrieve(run.id, thread_id=thread.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.beta.threads.runs.cancel(run.id, thread_id=thread.id)


@old_api
def test_assistant_objects_can_be_read_and_deleted(client):
    """Assistants and threads can be read back, listed and deleted."""
    assistant = client.beta.assistants.create(model="gpt-4o-mini")
    thread = client.beta.threads.create()
    assert client.beta.assistants.retrieve(assistant.id).id == assistant.id
    assert client.beta.threads.retrieve(thread.id).id == thread.id
    assert [one.id for one in client.beta.assistants.list()] == [assistant.id]
    assert client.beta.assistants.delete(assistant.id).deleted
    assert client.beta.threads.delete(thread.id).deleted


def test_agent_session_adds_up_the_usage_of_its_turns(client):
    """A session is in progress, then idle, and its usage adds up over its turns."""
    sessions = needs(client, "beta.agents.sessions")
    session = sessions.create(environment={"type": "none"}, agent={"model": "gpt-6-luna"}, input="How?")
    assert (session.status, session.usage) == ("in_progress", None)
    first = sessions.retrieve(session.id)
    assert first.status == "idle"
    message = {"role": "user", "content": "And then?"}
    sessions.events.create(session.id, events=[{"type": "agent.session.input.message", "input": [message]}])
    events = list(sessions.events.stream(session.id))
    assert list(dict.fromkeys(event.type for event in events)) == [
        "agent.session.in_progress",
        "agent.session.turn.created",
        "agent.session.turn.in_progress",
        "agent.session.turn.output_text.delta",
        "agent.session.turn.output_text.done",
        "agent.session.turn.completed",
        "agent.session.idle",
    ]
    turn, idle = events[-2], events[-1]
    assert turn.usage == turn.turn.usage
    assert idle.session.usage.total_tokens == first.usage.total_tokens + turn.usage.total_tokens
    assert sessions.retrieve(session.id).usage == idle.session.usage


def test_agent_session_stream_ends_idle_with_usage(server):
    """A session can be created as a stream, which ends idle with the usage."""
    body = {"environment": {"type": "none"}, "agent": {"model": "gpt-6-luna"}, "input": "How?", "stream": True}
    _, _, text = raw(server, "POST", "/v1/agents/sessions", body)
    last = text.decode().rstrip("\n").split("\n\n")[-1].split("\n")
    assert last[0] == "event: agent.session.idle"
    assert json.loads(last[1][6:])["session"]["usage"]["total_tokens"] > 0


# --- free endpoints and errors --------------------------------------------------------------------------------------


def test_models_can_be_listed_and_read(client):
    """Unknown ones are not found."""
    assert "gpt-6-luna" in [model.id for model in client.models.list()]
    assert client.models.retrieve("ft:gpt-4o:demo::1").id == "ft:gpt-4o:demo::1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_files_can_be_listed_read_and_deleted(client):
    """Files can be listed, read and deleted."""
    made = client.files.create(file=("a.txt", b"text"), purpose="user_data")
    assert [file.id for file in client.files.list()] == [made.id]
    assert client.files.retrieve(made.id).filename == "a.txt"
    assert client.files.delete(made.id).deleted


def test_vector_stores_can_be_made_searched_and_deleted(client):
    """A vector store can be made, searched and deleted."""
    made = client.vector_stores.create(name="handbook")
    assert client.vector_stores.retrieve(made.id).name == "handbook"
    assert client.vector_stores.search(made.id, query="forms").data[0].content[0].text
    assert client.vector_stores.delete(made.id).deleted


@pytest.mark.parametrize("key", ["bad", ""])
def test_wrong_key_is_refused_with_401(server, key):
    """A wrong or missing key is a 401 with the code of the real API."""
    status, _, body = raw(server, "GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
    assert status == 401
    assert list(json.loads(body)) == ["error"]
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert list(json.loads(body)["error"]) == ["message", "type", "param", "code"]


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        (lambda c: c.chat.completions.create(model="gpt-7", messages=HELLO), openai.NotFoundError, "model_not_found"),
        (lambda c: c.embeddings.create(model="my-model", input="a"), openai.NotFoundError, "model_not_found"),
        (lambda c: c.responses.create(model="gpt-7", input="a"), openai.BadRequestError, "model_not_found"),
        (
            lambda c: c.post("/chat/completions", body={"model": "gpt-4o"}, cast_to=object),
            openai.BadRequestError,
            "missing_required_parameter",
        ),
        (
            lambda c: c.post("/responses", body={"model": "gpt-4o"}, cast_to=object),
            openai.BadRequestError,
            "missing_required_parameter",
        ),
        (lambda c: c.responses.retrieve("resp_none"), openai.NotFoundError, None),
        (lambda c: c.post("/no/such/path", cast_to=object), openai.NotFoundError, "unknown_url"),
    ],
)
def test_errors_are_those_of_the_real_api(client, call, error, code):
    """Errors are those that the SDK raises for the real API."""
    with pytest.raises(error) as caught:
        call(client)
    assert caught.value.code == code
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize("body", [b"{not json", b"[1, 2]"])
def test_body_that_is_not_an_object_is_refused_with_400(server, body):
    """A body that is not a JSON object is a 400."""
    status, _, _ = raw(server, "POST", "/v1/chat/completions", body)
    assert status == 400


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_every_route_answers(server, route):
    """Every row of the table is reached at its path and answers even an empty request without a fault."""
    status, _, body = raw(server, route.method, "/v1" + route.pattern.replace("{id}", "x_1"), {})
    assert status in (200, 400, 404)
    assert b"unknown_url" not in body


def test_paths_without_version_are_unknown(server):
    """Outside of /v1 and /openai nothing is served."""
    status, _, _ = raw(server, "GET", "/models")
    assert status == 404


# --- Azure ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def azure(server):
    with AzureOpenAI(azure_endpoint=server.url, api_key="demo", api_version="2024-10-21", max_retries=0) as client:
        yield client


def test_azure_deployment_is_answered_by_its_model(server, azure):
    """With filter results and without a tier."""
    answer = azure.chat.completions.create(model="our-deployment", messages=HELLO).to_dict()
    assert server.requests[-1].path == "/openai/deployments/our-deployment/chat/completions"
    assert answer["model"] == "gpt-4o-mini-2024-07-18"
    assert answer["prompt_filter_results"]
    assert "service_tier" not in answer


def test_first_chunk_of_an_azure_stream_has_filter_results_only(azure):
    """The first chunk of a stream has no choices, no model and no id, but filter results."""
    chunks = list(
        azure.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert (chunks[0].choices, chunks[0].model, chunks[0].id) == ([], "", "")
    assert chunks[0].to_dict()["prompt_filter_results"]
    assert chunks[1].model == "gpt-4o-2024-08-06"
    assert chunks[-1].usage.total_tokens > 0


def test_azure_embeddings_and_responses_have_their_paths(azure):
    """Embeddings are below the deployment, responses are not."""
    assert azure.embeddings.create(model="text-embedding-3-small", input="a", dimensions=4).usage.total_tokens == 1
    assert azure.responses.create(model="our-deployment", input="How?").usage.total_tokens > 0


# --- the server itself ----------------------------------------------------------------------------------------------


def test_hook_can_answer_a_request(server):
    """Or leave it to the server."""

    def hook(request):
        return Answer(503, {"content-type": "text/plain"}, b"tired") if request.path.endswith("/models") else None

    with DemoServer(hook) as scripted, OpenAI(base_url=scripted.base_url, api_key="demo", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError):
            client.models.list()
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).id
        assert [request.path for request in scripted.requests] == ["/v1/models", "/v1/chat/completions"]
        assert scripted.requests[-1].json()["messages"] == HELLO
        assert scripted.requests[-1].headers["authorization"] == "Bearer demo"


def test_hook_can_change_the_answer_of_the_server():
    """A hook can take the demo API's answer and send another one made from it, chunk by chunk."""

    def hook(request):
        own = server.answer(request)
        return own._replace(body=(piece.replace(b"gpt-4o", b"gpt-9x") for piece in own.body))

    with DemoServer(hook) as server, OpenAI(base_url=server.base_url, api_key="demo") as client:
        chunks = list(client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True))
        assert {chunk.model for chunk in chunks} == {"gpt-9x-2024-08-06"}


def test_chunk_is_sent_before_the_next_is_made():
    """A chunk reaches the client before the next one is made."""
    gate = threading.Event()

    def body():
        yield b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
        assert gate.wait(60)
        yield b"data: [DONE]\n\n"

    def hook(request):
        return Answer(200, {"content-type": "text/event-stream"}, body())

    with DemoServer(hook) as server, OpenAI(base_url=server.base_url, api_key="demo") as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        assert next(stream).id == "1"
        assert not gate.is_set()
        gate.set()
        assert list(stream) == []


def test_body_of_an_abandoned_stream_is_closed():
    """Nothing is printed about it."""
    closed = threading.Event()

    def body():
        try:
            while True:
                yield b": tick\n\n" * 1000
        finally:
            closed.set()

    with DemoServer(lambda request: Answer(200, {"content-type": "text/event-stream"}, body())) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read(10)
        answer.close()
        connection.close()
        assert closed.wait(60)
        assert not server.faults


@pytest.mark.parametrize("place", ["before", "within"])
def test_hangup_breaks_the_connection(place):
    """Before the answer or within its body it is a connection error for the client."""

    def body():
        yield b'data: {"id":"1"}\n\n'
        raise Hangup

    def hook(request):
        if place == "before":
            raise Hangup
        return Answer(200, {"content-type": "text/event-stream"}, body())

    with DemoServer(hook) as server, OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        if place == "before":
            with pytest.raises(openai.APIConnectionError):
                client.chat.completions.create(model="gpt-4o", messages=HELLO)
        else:
            stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            assert next(stream).id == "1"
            with pytest.raises(Exception, match=r"(?i)incomplete|connection"):
                next(stream)
            stream.close()
        assert not server.faults


def test_fault_of_an_answer_is_a_500_and_is_kept():
    """A fault in the answer function is a 500 to the client and can be looked at."""

    def answer(request):
        raise LookupError("nothing there")

    with LoopbackServer(answer) as server:
        status, _, body = raw(server, "GET", "/")
        assert status == 500
        assert b"nothing there" in body
        assert [type(fault) for fault in server.faults] == [LookupError]


def test_chunked_request_on_a_kept_connection_is_answered():
    """Chunked request bodies arrive whole, and one connection serves many requests."""
    with LoopbackServer(lambda request: Answer(200, {}, request.body)) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        for parts in ([b"a", b"bc"], [b"d" * 70_000]):
            connection.request("POST", "/", iter(parts), {"transfer-encoding": "chunked"}, encode_chunked=True)
            socket = connection.sock
            assert connection.getresponse().read() == b"".join(parts)
            assert connection.sock is socket
        connection.close()


def test_chunked_body_without_sizes_is_refused_with_400():
    """A chunked body without sizes is a 400, not a fault."""
    with LoopbackServer(lambda request: Answer()) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.putrequest("POST", "/")
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders(b"not a size\r\n")
        assert connection.getresponse().status == 400
        connection.close()
        assert not server.faults


def test_answers_without_a_body_keep_the_connection_usable():
    """HEAD and 204 have no body, and leave the connection usable."""
    with LoopbackServer(lambda request: Answer(204 if request.path == "/none" else 200, {}, b"body")) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        for method, path, expected in (("HEAD", "/", b""), ("GET", "/none", b""), ("GET", "/", b"body")):
            connection.request(method, path)
            assert connection.getresponse().read() == expected
        connection.close()


def test_concurrent_clients_are_all_answered(server):
    """Thirty-two clients, with ids of their own."""

    def ask(_):
        with OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
            return [client.chat.completions.create(model="gpt-4o", messages=HELLO).id for _ in range(3)]

    with ThreadPoolExecutor(32) as pool:
        ids = [one for some in pool.map(ask, range(32)) for one in some]
    assert len(set(ids)) == 96


def test_close_ends_threads_and_connections():
    """Also with open connections and a blocked stream; it can be repeated."""
    gate = threading.Event()
    before = threading.active_count()

    def body():
        yield b"a"
        gate.wait(60)

    server = LoopbackServer(lambda request: Answer(200, {}, body() if request.path == "/block" else b"")).start()
    connections = [http.client.HTTPConnection(server.url.removeprefix("http://")) for _ in range(3)]
    for connection, path in zip(connections, ("/", "/", "/block"), strict=True):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read(1)
    threading.Timer(0.05, gate.set).start()
    server.close()
    server.close()
    for connection in connections:
        connection.close()
    answer.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and isinstance(thread, threading.Timer):
            thread.join()
    gc.collect()
    assert threading.active_count() <= before
    with pytest.raises(OSError, match="refused"):
        raw(server, "GET", "/")


def test_server_that_never_started_can_be_closed():
    """A server that was never started can be closed."""
    LoopbackServer(lambda request: Answer()).close()


def _close_in_child(server, done):
    server.close()
    done.put("closed")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_forked_child_can_close_its_copy(server):
    """The parent continues to answer."""
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    child = context.Process(target=_close_in_child, args=(server, done))
    child.start()
    assert done.get(timeout=60) == "closed"
    child.join(60)
    done.close()
    done.join_thread()
    status, _, _ = raw(server, "GET", "/v1/models")
    assert status == 200


@pytest.mark.parametrize(
    ("schema", "accepted"),
    [
        ({"const": 3}, lambda v: v == 3),
        ({"enum": ["a", "b"]}, lambda v: v in ("a", "b")),
        ({"type": ["string", "null"]}, lambda v: isinstance(v, str)),
        ({"type": "integer", "minimum": 5, "maximum": 6}, lambda v: v in (5, 6)),
        ({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 5, "maximum": 10}, lambda v: v == 10),
        ({"type": "number", "minimum": 0.1, "maximum": 0.2}, lambda v: 0.1 <= v <= 0.2),
        ({"type": "integer", "maximum": -3}, lambda v: v <= -3),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3}, lambda v: len(v) >= 3),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 1}, lambda v: v == [None]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "items": False}, lambda v: v == [1, 2]),
        ({"type": "string", "minLength": 40}, lambda v: len(v) == 40),
        ({"type": "string", "maxLength": 2}, lambda v: len(v) == 2),
        ({"type": "string", "format": "date"}, lambda v: len(v) == 10),
        ({"allOf": [{"type": "object", "properties": {"a": {"const": 1}}}]}, lambda v: v == {"a": 1}),
        ({"anyOf": [{"type": "null"}, {"const": 1}]}, lambda v: v == 1),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"const": "y"}}}, lambda v: v == "y"),
        (True, lambda v: isinstance(v, str)),
    ],
)
def test_instances_satisfy_their_schemas(schema, accepted):
    """Whatever the seed, the instance is one that the schema accepts."""
    assert all(accepted(instance_of(schema, seed)) for seed in range(20))
