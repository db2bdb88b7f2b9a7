"""Calls with one answer: every method that makes one, every way to reach it, and all that is free."""

import inspect
import json

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, field_validator
from shape_player import (
    CHAT,
    CHAT_MODEL,
    HELLO,
    RESPOND,
    RESPONSE_MODEL,
    SAID,
    USAGE_STREAM,
    Said,
    chat_answer,
    needs,
    old_api,
    row,
    sends,
)

import openai_meter

pytest_plugins = ("shape_player",)

EMBED = {"model": "text-embedding-3-small", "input": ["one", "two words"], "dimensions": 4}
ASK = [{"type": "choice", "name": "dry", "choices": [{"value": "yes"}, {"value": "no"}]}]


class Plan(BaseModel):
    title: str
    steps: list[str]


class Strict(BaseModel):
    title: str

    @field_validator("title")
    @classmethod
    def never(cls, value):
        raise ValueError(f"{value} is no title")


# --- the methods ------------------------------------------------------------------------------------------------------


async def chat(api):
    await api.get(api.client.chat.completions.create(**CHAT))


async def chat_choices(api):
    await api.get(api.client.chat.completions.create(**CHAT, n=3))


async def chat_tools(api):
    function = {"name": "find", "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}}}
    await api.get(api.client.chat.completions.create(**CHAT, tools=[{"type": "function", "function": function}]))


async def chat_reasoning(api):
    await api.get(api.client.chat.completions.create(**{**CHAT, "model": "gpt-5-mini"}))


async def chat_cached(api):
    long = [{"role": "user", "content": "forms " * 1500}]
    await api.get(api.client.chat.completions.create(model="gpt-4o-mini", messages=long))


async def chat_parse(api):
    await api.get(api.client.chat.completions.parse(**CHAT, response_format=Plan))


async def beta_chat_parse(api):
    await api.get(api.client.beta.chat.completions.parse(**CHAT, response_format=Plan))


async def respond(api):
    await api.get(api.client.responses.create(**RESPOND))


async def responses_parse(api):
    await api.get(api.client.responses.parse(**RESPOND, text_format=Plan))


async def embed(api):
    await api.get(api.client.embeddings.create(**EMBED))


async def embed_floats(api):
    await api.get(api.client.embeddings.create(**EMBED, encoding_format="float"))


async def complete(api):
    await api.get(api.client.completions.create(model="babbage-002", prompt=["a", "b"], max_tokens=500))


CREATED = {
    chat: row(),
    chat_choices: row(),
    chat_tools: row(),
    chat_reasoning: row(model=RESPONSE_MODEL),
    chat_cached: row(),
    chat_parse: row(),
    beta_chat_parse: row(),
    respond: row("responses", RESPONSE_MODEL),
    responses_parse: row("responses", RESPONSE_MODEL),
    embed: row("embeddings", "text-embedding-3-small"),
    embed_floats: row("embeddings", "text-embedding-3-small"),
    complete: row("completions", "babbage-002"),
}


@pytest.mark.parametrize(("scenario", "expected"), CREATED.items(), ids=[one.__name__ for one in CREATED])
def test_each_method_is_one_record_with_the_reported_tokens(play, scenario, expected):
    """The caller gets the SDK's own object."""
    play(scenario).counts(expected)


@pytest.mark.parametrize(("scenario", "expected"), CREATED.items(), ids=[one.__name__ for one in CREATED])
def test_each_method_of_a_wrapped_client_is_one_record(play, scenario, expected):
    """A wrapped client counts what an installed meter counts."""
    play(scenario, wrapped=True).counts(expected)


def test_record_has_id_tier_host_and_model_of_its_call(play):
    """The id, the tier, the host and the requested model of a call stand in its record."""
    (call,) = play(chat).calls
    said = play(chat).said
    assert call.response_id.startswith("chatcmpl-")
    assert (call.service_tier, call.provider, call.requested_model) == ("default", "127.0.0.1", "gpt-4o-mini")
    assert json.loads(said[0])["service_tier"] == "default"


def test_moderation_is_free_and_one_record(play):
    """A moderation is one record without tokens that costs nothing."""

    async def scenario(api):
        await api.get(api.client.moderations.create(input="Is this harmful?"))

    played = play(scenario).counts(row("moderations", "omni-moderation-latest", None))
    assert [call.cost_status for call in played.calls] == ["free"]
    assert played.totals.unmeasured_calls == 0


@needs("decisions")
def test_decision_is_one_record_with_its_usage(play):
    """A decision has no id and is one record."""

    async def scenario(api):
        await api.get(api.client.decisions.create(model="gpt-5-mini", input="It rains.", questions=ASK))

    play(scenario).counts(row("decisions", RESPONSE_MODEL))


@needs("responses.compact")
def test_compact_takes_its_model_from_the_request(play):
    """A compacted response has no model, so the record has that of the request."""

    async def scenario(api):
        await api.get(api.client.responses.compact(model="gpt-5-mini", input=HELLO))

    play(scenario).counts(row("responses.compact", "gpt-5-mini"))


@needs("beta.responses")
def test_beta_response_with_a_query_in_its_path_is_one_record(play):
    """A response of the beta resource, whose path carries ``?beta=true``, is one record."""

    async def scenario(api):
        await api.get(api.client.beta.responses.create(**RESPOND))

    played = play(scenario).counts(row("responses", RESPONSE_MODEL))
    assert [request.query for request in played.requests] == ["beta=true"]


# --- answers that were paid for and cannot be used --------------------------------------------------------------------


def test_parse_of_a_truncated_answer_raises_and_counts_its_tokens(play):
    """The tokens of an answer that was too short to be parsed are counted, and the error reaches the caller."""

    async def scenario(api):
        parse = api.client.chat.completions.parse
        await api.fail(parse, **CHAT, response_format=Plan, max_completion_tokens=2)

    played = play(scenario).counts(row(status="error", error="LengthFinishReasonError"))
    assert played.log[0].kind is openai.LengthFinishReasonError
    assert played.log[0].parts["completion"]


def test_parse_of_a_filtered_answer_raises_and_counts_its_tokens(play):
    """The tokens of an answer that was filtered are counted, and the error reaches the caller."""
    filtered = chat_answer()
    filtered["choices"][0]["finish_reason"] = "content_filter"

    async def scenario(api):
        await api.fail(api.client.chat.completions.parse, **CHAT, response_format=Plan)

    played = play(scenario, sends(filtered)).counts(
        row(usage=(12, 5, 17), status="error", error="ContentFilterFinishReasonError")
    )
    assert played.log[0].kind is openai.ContentFilterFinishReasonError


@pytest.mark.parametrize("model", [Strict, Plan])
def test_parse_into_an_unfit_model_raises_and_counts_its_tokens(play, model):
    """The tokens of an answer that pydantic refuses are counted, and the ValidationError reaches the caller."""

    async def scenario(api):
        await api.fail(api.client.chat.completions.parse, **CHAT, response_format=model)

    body = chat_answer()
    body["choices"][0]["message"]["content"] = '{"title": "x"}'
    play(scenario, sends(body)).counts(row(usage=(12, 5, 17), status="error", error="ValidationError"))


def test_responses_parse_into_an_unfit_model_raises_and_counts_its_tokens(play):
    """The tokens of a response that pydantic refuses are counted, and the ValidationError reaches the caller."""

    async def scenario(api):
        await api.fail(api.client.responses.parse, **RESPOND, text_format=Strict)

    play(scenario).counts(row("responses", RESPONSE_MODEL, status="error", error="ValidationError"))


def test_truncated_answers_are_incomplete(play):
    """An answer that stopped at its length is incomplete, of chat, completions and responses alike."""

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT, max_completion_tokens=3))
        await api.get(api.client.completions.create(model="babbage-002", prompt="a", max_tokens=3))
        await api.get(api.client.responses.create(model="gpt-4o-mini", input="Why?", max_output_tokens=16))

    play(scenario).counts(
        row(usage=Said(0), status="incomplete"),
        row("completions", "babbage-002", Said(1), status="incomplete"),
        row("responses", CHAT_MODEL, Said(2), status="incomplete"),
    )


# --- ways to reach a method -------------------------------------------------------------------------------------------


def test_clients_and_methods_made_before_install_are_counted(play):
    """Clients, bound methods and cached raw resources that exist before the meter are counted."""

    def before(api):
        client = api.client
        return client.chat.completions.create, client.chat.completions.with_raw_response, client.embeddings, client.post

    async def scenario(api):
        create, raw, embeddings, post = api.before
        await api.get(create(**CHAT))
        answer = await api.do(raw.create(**CHAT))
        api.see(type(answer), answer.parse())
        await api.get(embeddings.create(**EMBED))
        await api.get(post("/chat/completions", body=CHAT, cast_to=ChatCompletion))
        await api.get(api.client.with_options(timeout=9).chat.completions.create(**CHAT))

    play(scenario, before=before).counts(
        row(usage=Said(0)),
        row(usage=Said(1)),
        row("embeddings", "text-embedding-3-small", Said(2)),
        row(usage=Said(3)),
        row(usage=Said(4)),
    )


def _http_response(api):
    return type(api.http.build_request("GET", "http://127.0.0.1")).__module__.partition(".")[0]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/chat/completions", {"cast_to": ChatCompletion}),
        ("/chat/completions", {"cast_to": object}),
        ("/chat/completions", {"cast_to": dict[str, object]}),
        ("/chat/completions", {"cast_to": str}),
        ("/chat/completions?beta=true", {"cast_to": ChatCompletion}),
        ("chat/completions", {"cast_to": ChatCompletion}),
        ("/chat/completions", {"cast_to": ChatCompletion, "options": {"params": {"a": "b"}}}),
    ],
    ids=["model", "object", "dict", "str", "query", "no-slash", "params"],
)
def test_post_is_counted_whatever_it_is_cast_to(play, path, options):
    """A plain ``client.post`` is one record with usage, whatever its answer is cast to."""

    async def scenario(api):
        await api.get(api.client.post(path, body=CHAT, **options))

    play(scenario).counts(row())


def test_post_cast_to_the_http_response_is_one_record(play):
    """A ``client.post`` that asks for the HTTP library's response gets it, and is one record with usage."""

    async def scenario(api):
        library = __import__(_http_response(api))
        response = await api.do(api.client.post("/chat/completions", body=CHAT, cast_to=library.Response))
        api.see(type(response), response.content, response.is_closed)

    play(scenario).counts(row())


def test_request_with_a_lower_case_method_is_one_record(play):
    """A request whose method is written in lower case is one record."""

    async def scenario(api):
        options = openai._models.FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=CHAT)
        await api.get(api.client.request(ChatCompletion, options))
        options = openai._models.FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=CHAT)
        await api.get(api.client.request(cast_to=ChatCompletion, options=options))

    play(scenario).counts(row(usage=Said(0)), row(usage=Said(1)))


def test_request_to_an_absolute_url_is_one_record(play):
    """A request to a whole URL is one record."""

    async def scenario(api):
        url = f"{api.stage.base_url}/chat/completions"
        await api.get(api.client.post(url, body=CHAT, cast_to=ChatCompletion))

    play(scenario).counts(row())


def test_extra_body_is_sent_and_recorded(play):
    """Its fields replace others in the record, too."""

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT, extra_body={"model": "gpt-4.1", "n": 2}))

    played = play(scenario).counts(row(model="gpt-4.1-2025-04-14"))
    assert played.calls[0].requested_model == "gpt-4.1"


def test_stream_requested_by_extra_body_is_one_record(play):
    """The SDK does not know of the stream: it returns text, and the record has its usage."""

    async def scenario(api):
        extra = {"stream": True, "stream_options": {"include_usage": True}}
        await api.get(api.client.chat.completions.create(**CHAT, extra_body=extra))

    play(scenario).counts(row())


@pytest.mark.parametrize("wrapped", [False, True], ids=["installed", "wrapped"])
def test_copies_of_a_wrapped_client_are_counted(play, wrapped):
    """Copies of a client, and copies of copies, are counted."""

    async def scenario(api):
        copies = [
            api.client.with_options(timeout=5),
            api.client.copy(),
            api.client.copy().with_options(max_retries=1).copy(default_headers={"x-one": "1"}),
        ]
        for copy in copies:
            api.see(type(copy))
            await api.get(copy.chat.completions.create(**CHAT))

    play(scenario, wrapped=wrapped).counts(*(row(usage=Said(i)) for i in range(3)))


def test_wrap_counts_no_other_client(play):
    """Only the wrapped client and its copies are counted, each call once; a client made anew is not."""

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT))
        await api.get(api.new().chat.completions.create(**CHAT))

    play(scenario, wrapped=True).counts(row(usage=Said(0)))


def test_wrap_and_install_together_count_once(stage):
    """A wrapped client is not counted twice where its meter is installed as well."""
    stage.set()
    meter = openai_meter.install()
    http = openai.DefaultHttpxClient(verify=False)
    with openai_meter.wrap(OpenAI(base_url=stage.base_url, api_key="demo", http_client=http)) as client:
        assert client.with_options(timeout=3).chat.completions.create(**CHAT).usage.total_tokens > 0
    assert meter.totals.calls == 1


class Subclass(OpenAI):
    """A client of a user, with a request of its own."""

    def request(self, cast_to, options, **kwargs):
        return super().request(cast_to, options, **kwargs)


class AsyncSubclass(AsyncOpenAI):
    """A client of a user, with a request of its own."""

    async def request(self, cast_to, options, **kwargs):
        return await super().request(cast_to, options, **kwargs)


class Caching(OpenAI):
    """A client that answers from its own memory."""

    def request(self, cast_to, options, **kwargs):
        return ChatCompletion.construct(**chat_answer())


class AsyncCaching(AsyncOpenAI):
    """A client that answers from its own memory."""

    async def request(self, cast_to, options, **kwargs):
        return ChatCompletion.construct(**chat_answer())


@pytest.mark.parametrize("wrapped", [False, True], ids=["installed", "wrapped"])
def test_subclasses_are_counted_once(play, wrapped):
    """A subclass that overrides ``request`` and calls its parent's is counted once."""

    def before(api):
        api.client = api.new(Subclass, AsyncSubclass)

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT))
        await api.get(api.client.copy().chat.completions.create(**CHAT))

    play(scenario, before=before, wrapped=wrapped).counts(row(usage=Said(0)), row(usage=Said(1)))


def test_answer_of_a_caching_subclass_is_not_counted(play):
    """A subclass that answers without a request leaves no record."""

    async def scenario(api):
        await api.get(api.new(Caching, AsyncCaching).chat.completions.create(**CHAT))

    assert play(scenario).counts().requests == []


AZURE = {"azure_endpoint": "...", "api_version": "2024-10-21", "base_url": ...}


@pytest.mark.parametrize("wrapped", [False, True], ids=["installed", "wrapped"])
def test_call_of_an_azure_client_has_the_model_of_its_answer(play, wrapped):
    """A call of an Azure client is one record with the model of the answer, not the name of the deployment."""

    def before(api):
        options = {**AZURE, "azure_endpoint": api.stage.url}
        api.client = api.new(AzureOpenAI, AsyncAzureOpenAI, **options)

    async def scenario(api):
        await api.get(api.client.chat.completions.create(model="our-chat", messages=HELLO))
        await api.get(api.client.with_options(timeout=8).chat.completions.create(model="our-chat", messages=HELLO))
        await api.read(await api.do(api.client.chat.completions.create(**{**USAGE_STREAM, "model": "our-chat"})))

    played = play(scenario, before=before, wrapped=wrapped).counts(
        row(usage=Said(0)), row(usage=Said(1)), row(usage=Said(2), stream=True)
    )
    assert {(call.provider, call.requested_model) for call in played.calls} == {("azure", "our-chat")}
    assert {request.path for request in played.requests} == {"/openai/deployments/our-chat/chat/completions"}


def test_azure_deployment_of_the_client_is_the_requested_model(play):
    """Where the deployment stands in the client and the request names no model, the deployment is the request's."""

    async def scenario(api):
        client = api.new(
            AzureOpenAI, AsyncAzureOpenAI, **{**AZURE, "azure_endpoint": api.stage.url}, azure_deployment="ours"
        )
        await api.get(client.post("/chat/completions", body={"messages": HELLO}, cast_to=ChatCompletion))

    (call,) = play(scenario).counts(row()).calls
    assert (call.provider, call.requested_model) == ("azure", "ours")


@pytest.fixture
def module_level(stage, monkeypatch):
    """The settings of the module-level client, for one test."""
    stage.set()
    monkeypatch.setattr(openai, "api_key", "demo")
    monkeypatch.setattr(openai, "base_url", f"{stage.base_url}/")
    monkeypatch.setattr(openai, "http_client", openai.DefaultHttpxClient(verify=False))
    openai._reset_client()
    yield
    openai.http_client.close()
    openai._reset_client()


@pytest.mark.usefixtures("module_level")
def test_module_level_calls_are_counted(meter):
    """``openai.chat.completions.create`` and its like are counted."""
    answer = openai.chat.completions.create(**CHAT)
    openai.embeddings.create(**EMBED)
    list(openai.chat.completions.create(**USAGE_STREAM))
    assert [(call.endpoint, call.stream) for call in meter.calls] == [
        ("chat.completions", False),
        ("embeddings", False),
        ("chat.completions", True),
    ]
    assert meter.calls[0].usage.total_tokens == answer.usage.total_tokens


# --- what reaches the API ---------------------------------------------------------------------------------------------


def test_messages_from_an_iterator_are_sent_completely(play):
    """Messages that can be read only once reach the API, all of them."""

    async def scenario(api):
        await api.get(api.client.chat.completions.create(model="gpt-4o-mini", messages=iter([*HELLO, *HELLO])))

    played = play(scenario).counts(row())
    assert [request.json()["messages"] for request in played.requests] == [[*HELLO, *HELLO]]


def test_metadata_reaches_the_api(play):
    """``metadata`` and ``user`` are parameters of the API, and reach it."""
    sent = {"metadata": {"team": "forms"}, "user": "ada", "store": True}

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT, **sent))
        await api.get(api.client.responses.create(**RESPOND, **sent))

    played = play(scenario).counts(row(usage=Said(0)), row("responses", RESPONSE_MODEL, Said(1)))
    assert [request.json() for request in played.requests] == [{**CHAT, **sent}, {**RESPOND, **sent}]


def test_arguments_of_the_caller_stay_unchanged(play):
    """Nothing is written into the caller's dicts, and the options of ``request`` are the same object."""

    async def scenario(api):
        given = {"model": "gpt-4o-mini", "messages": [dict(HELLO[0])], "metadata": {"a": "b"}}
        options = openai._models.FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=given)
        parser, sent = options.post_parser, options.json_data
        await api.get(api.client.request(ChatCompletion, options))
        api.see(given, options.post_parser is parser, options.json_data is sent)

    assert play(scenario).counts(row()).log[1:] == [
        {"model": "gpt-4o-mini", "messages": HELLO, "metadata": {"a": "b"}},
        True,
        True,
    ]


# --- what is free -----------------------------------------------------------------------------------------------------


def test_stored_chats_leave_no_record(play):
    """Reading, listing, changing and deleting them is free, though their answers repeat the usage."""

    async def scenario(api):
        chats = api.client.chat.completions
        made = api.elsewhere("POST", "/chat/completions", {**CHAT, "store": True})
        await api.get(chats.retrieve(made["id"]))
        await api.get(chats.update(made["id"], metadata={"a": "b"}))
        await api.read(await api.do(chats.list(limit=2)), stop=3)
        await api.get(chats.messages.list(made["id"]))
        await api.get(chats.delete(made["id"]))

    assert len(play(scenario).counts().requests) >= 6


def test_stored_responses_leave_no_record(play):
    """Reading, cancelling and deleting an ordinary stored response is free."""

    async def scenario(api):
        made = api.elsewhere("POST", "/responses", RESPOND)
        await api.get(api.client.responses.retrieve(made["id"]))
        await api.read(await api.do(api.client.responses.retrieve(made["id"], stream=True)))
        await api.get(api.client.responses.cancel(made["id"]))
        await api.get(api.client.responses.input_items.list(made["id"]))
        await api.get(api.client.responses.delete(made["id"]))

    assert len(play(scenario).counts().requests) == 6


@needs("responses.input_tokens")
def test_counting_input_tokens_is_free(play):
    """Asking for a count of input tokens leaves no record."""

    async def scenario(api):
        await api.get(api.client.responses.input_tokens.count(**RESPOND))

    assert len(play(scenario).counts().requests) == 1


def test_models_files_and_stores_are_free(play):
    """Models, files and vector stores leave no record."""

    async def scenario(api):
        client = api.client
        await api.get(client.models.list())
        await api.get(client.models.retrieve("gpt-4o-mini"))
        made = await api.get(client.files.create(file=("a.txt", b"some bytes"), purpose="assistants"))
        await api.get(client.files.list())
        content = await api.do(client.files.content(made.id))
        api.see(type(content), content.content)
        await api.get(client.files.delete(made.id))
        store = await api.get(client.vector_stores.create(name="handbook"))
        await api.get(client.vector_stores.search(store.id, query="forms"))
        await api.get(client.vector_stores.retrieve(store.id))
        await api.get(client.vector_stores.delete(store.id))

    played = play(scenario).counts()
    assert len(played.requests) == 10
    assert b"some bytes" in played.requests[2].body


@old_api
def test_assistants_and_threads_are_free(play):
    """Making and reading assistants, threads and messages leaves no record: only a run costs."""

    async def scenario(api):
        beta = api.client.beta
        made = await api.get(beta.assistants.create(model="gpt-4o-mini"))
        await api.get(beta.assistants.list())
        thread = await api.get(beta.threads.create(messages=HELLO))
        await api.get(beta.threads.messages.create(thread.id, role="user", content="Well?"))
        await api.get(beta.threads.messages.list(thread.id))
        await api.get(beta.assistants.delete(made.id))

    assert len(play(scenario).counts().requests) == 6


def test_unknown_path_leaves_no_record(play):
    """Whatever its answer contains."""

    async def scenario(api):
        await api.get(api.client.post("/something/new", body=CHAT, cast_to=object))

    play(scenario, sends(chat_answer())).counts()


# --- the SDK's own names ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("meter")
def test_patched_methods_have_the_signatures_of_the_sdk():
    """The patched methods look like the SDK's own to whoever inspects them."""
    for client in (OpenAI, AsyncOpenAI):
        metered = (
            inspect.signature(client.request),
            inspect.iscoroutinefunction(client.request),
            client.request.__name__,
        )
        openai_meter.uninstall()
        assert metered == (
            inspect.signature(client.request),
            inspect.iscoroutinefunction(client.request),
            client.request.__name__,
        )
        openai_meter.install()


def test_several_endpoints_in_one_program_add_up(play):
    """The totals over different endpoints are the sum of what the answers say."""

    async def scenario(api):
        await api.get(api.client.chat.completions.create(**CHAT))
        await api.get(api.client.embeddings.create(**EMBED))
        await api.get(api.client.responses.create(**RESPOND))

    played = play(scenario).counts(
        row(usage=Said(0)),
        row("embeddings", "text-embedding-3-small", Said(1)),
        row("responses", RESPONSE_MODEL, Said(2)),
    )
    said = [json.loads(body)["usage"]["total_tokens"] for body in played.said]
    assert (played.totals.calls, played.totals.total_tokens) == (3, sum(said))


def test_posted_embedding_is_one_record_and_undecoded(play):
    """An embedding that is posted by hand is one record, and comes undecoded, as it does without the meter."""

    async def scenario(api):
        body = {**EMBED, "encoding_format": "base64"}
        await api.get(api.client.post("/embeddings", body=body, cast_to=CreateEmbeddingResponse))

    play(scenario).counts(row("embeddings", "text-embedding-3-small", SAID))
