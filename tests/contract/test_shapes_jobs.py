"""Work on the server: begun by one request, finished when a later one sees it, and counted once."""

import pytest
from openai.lib.streaming import AssistantEventHandler, AsyncAssistantEventHandler
from shape_player import (
    CHAT_MODEL,
    CUT,
    HELLO,
    RESPOND,
    RESPONSE_MODEL,
    Said,
    needs,
    old_api,
    row,
    sends,
    typed,
    usage,
)

import openai_meter
from openai_meter.instrumentation.listening import registry
from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.loopback import Answer

pytest_plugins = ("shape_player",)

TOOL = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}}},
}
BACKGROUND = {**RESPOND, "background": True}


def used(given, made):
    return {
        "input_tokens": given, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": given + made,
    }  # fmt: skip


# --- background responses ---------------------------------------------------------------------------------------------


async def begin(api, **more):
    return await api.get(api.client.responses.create(**BACKGROUND, **more))


def finished(**changes):
    return row("responses", RESPONSE_MODEL, **changes)


def test_background_response_is_counted_when_it_is_first_seen_finished(play):
    """A background response that is polled five times is one record, made when a poll first sees it finished."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(5):
            await api.get(api.client.responses.retrieve(made.id))

    played = play(scenario).counts(finished())
    assert played.calls[0].response_id == played.log[0][2]["id"]


def test_background_response_polled_after_a_reset_is_not_counted_again(play):
    """What was counted before a reset is not counted again when it is polled again: it was paid for once."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(5):
            await api.get(api.client.responses.retrieve(made.id))
        (registry.installed or openai_meter.get_meter()).reset()  # of the bare run nothing is counted
        await api.get(api.client.responses.retrieve(made.id))

    play(scenario).counts()


@pytest.mark.parametrize("polls", [0, 1, 2])
def test_background_response_without_a_finished_poll_is_pending(play, polls):
    """It has no record yet."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(polls):
            await api.get(api.client.responses.retrieve(made.id))

    play(scenario).counts(pending=1)


def test_cancelled_background_response_is_one_aborted_record(play):
    """A background response that is cancelled while it is under way is one record: aborted, with unknown tokens."""

    async def scenario(api):
        made = await begin(api)
        await api.get(api.client.responses.cancel(made.id))
        await api.get(api.client.responses.retrieve(made.id))

    play(scenario).counts(finished(usage=None, status="aborted"))


def test_background_response_cancelled_when_finished_counts_once(play):
    """Cancelling a background response that is finished does not count it again."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(3):
            await api.get(api.client.responses.retrieve(made.id))
        await api.get(api.client.responses.cancel(made.id))

    play(scenario).counts(finished(usage=Said(3)))


def test_streamed_background_response_is_one_record(play):
    """A background response that is streamed to its end, and looked at after that, is one record."""

    async def scenario(api):
        await api.read(await api.do(api.client.responses.create(**BACKGROUND, stream=True)))
        made = api.log[0][2]["response"]["id"]
        await api.get(api.client.responses.retrieve(made))

    play(scenario).counts(finished(usage=Said(0), stream=True))


def test_abandoned_background_stream_is_counted_by_a_poll(play):
    """A background response whose stream is left goes on, and is counted when a poll sees it finished."""

    async def scenario(api):
        stream = await api.do(api.client.responses.create(**BACKGROUND, stream=True))
        first = await api.next(stream)
        await api.next(stream)
        await api.close(stream)
        for _ in range(5):
            await api.get(api.client.responses.retrieve(first.response.id))

    play(scenario).counts(finished(stream=True))


def test_resumed_background_stream_is_one_record(play):
    """A background response whose stream is left and taken up again is one record."""

    async def scenario(api):
        stream = await api.do(api.client.responses.create(**BACKGROUND, stream=True))
        first = await api.next(stream)
        await api.close(stream)
        retrieve = api.client.responses.retrieve
        await api.read(await api.do(retrieve(first.response.id, stream=True, starting_after=0)))

    play(scenario).counts(finished(stream=True))


def test_background_response_polled_as_a_stream_is_one_record(play):
    """A background response whose end is seen in the stream of a poll is one record."""

    async def scenario(api):
        made = await begin(api)
        await api.read(await api.do(api.client.responses.retrieve(made.id, stream=True)))
        await api.get(api.client.responses.retrieve(made.id))

    play(scenario).counts(finished(usage=Said(1)))


def test_background_response_of_another_program_counts_once(play):
    """A background response that another program began counts once for the program that sees it finished."""

    async def scenario(api):
        made = api.elsewhere("POST", "/responses", BACKGROUND)
        for _ in range(5):
            await api.get(api.client.responses.retrieve(made["id"]))

    play(scenario).counts(finished())


def test_background_response_polled_raw_is_one_record(play):
    """A background response is counted as well where begin and poll are raw."""

    async def scenario(api):
        raw = await api.do(api.client.responses.with_raw_response.create(**BACKGROUND))
        made = raw.parse().id
        for _ in range(4):
            await api.do(api.client.responses.with_raw_response.retrieve(made))

    play(scenario).counts(finished())


def test_background_response_polled_by_a_copied_client_is_one_record(play):
    """A background response that a wrapped client began is counted when its copy sees it finished."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(4):
            await api.get(api.client.with_options(timeout=7).responses.retrieve(made.id))

    play(scenario, wrapped=True).counts(finished())


def test_failed_background_response_is_one_record_with_its_error(play):
    """A background response that ends as failed is one record with the error that it says."""
    body = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": RESPONSE_MODEL, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "background": True, "usage": None,
    }  # fmt: skip
    error = {"code": "server_error", "message": "sorry"}

    async def scenario(api):
        await begin(api)
        for _ in range(3):
            await api.get(api.client.responses.retrieve("resp_1"))

    answers = [
        {**body, "status": "queued"},
        {**body, "status": "in_progress"},
        {**body, "status": "failed", "error": error},
    ]
    play(scenario, sends(*answers)).counts(finished(usage=None, status="failed", error="server_error"))


def test_ordinary_response_read_later_is_not_counted_again(play):
    """A response that was counted when it was made is not counted again when it is read, streamed or cancelled."""

    async def scenario(api):
        made = await api.get(api.client.responses.create(**RESPOND))
        await api.get(api.client.responses.retrieve(made.id))
        await api.read(await api.do(api.client.responses.retrieve(made.id, stream=True)))
        await api.get(api.client.responses.cancel(made.id))

    play(scenario).counts(finished(usage=Said(0)))


def test_background_response_finished_at_once_is_one_record(play):
    """A background response that its own request already shows finished is one record, polled or not."""
    body = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": RESPONSE_MODEL, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "background": True, "status": "completed",
        "usage": used(12, 5),
    }  # fmt: skip

    async def scenario(api):
        await begin(api)
        await api.get(api.client.responses.retrieve("resp_1"))

    play(scenario, sends(body)).counts(finished(usage=(12, 5, 17)))


def test_broken_background_stream_is_counted_by_a_poll(play):
    """A background response whose stream breaks goes on, and is counted when a poll sees it finished."""
    body = {
        "id": "resp_1", "object": "response", "created_at": 1, "model": RESPONSE_MODEL, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "background": True,
    }  # fmt: skip
    created = {"type": "response.created", "sequence_number": 0, "response": {**body, "status": "queued"}}
    done = {**body, "status": "completed", "usage": used(12, 5)}

    def script(request):
        return (sends(done) if request.method == "GET" else typed(created, CUT))(request)

    async def scenario(api):
        await api.fail(api.read, await api.do(api.client.responses.create(**BACKGROUND, stream=True)))
        await api.get(api.client.responses.retrieve("resp_1"))
        await api.get(api.client.responses.retrieve("resp_1"))

    play(scenario, script).counts(finished(usage=(12, 5, 17), stream=True))


def test_stream_helper_of_a_background_response_is_one_record(play):
    """``responses.stream(response_id=...)`` of a background response is one record."""

    async def scenario(api):
        made = await begin(api)
        async with api.within(api.client.responses.stream(response_id=made.id)) as stream:
            await api.read(stream)
        await api.get(api.client.responses.retrieve(made.id))

    play(scenario).counts(finished(usage=Said(1)))


@pytest.mark.parametrize("read", ["text", "iter_lines", "parse"])
def test_background_response_polled_as_a_streaming_response_is_one_record(play, read):
    """A background response whose polls are streaming responses is one record, however they are read."""

    async def scenario(api):
        made = await begin(api)
        for _ in range(4):
            async with api.within(api.client.responses.with_streaming_response.retrieve(made.id)) as response:
                if read == "iter_lines":
                    await api.read(response.iter_lines())
                else:
                    await api.get(getattr(response, read)())

    play(scenario).counts(finished())


def test_polls_that_fail_are_free(play):
    """A poll that the API refuses is no record; a request to begin work that it refuses is one."""

    async def scenario(api):
        await api.fail(api.client.responses.retrieve, "resp_none")
        await api.fail(api.client.batches.retrieve, "batch_none")
        await api.fail(api.client.responses.cancel, "resp_none")
        create = api.client.batches.create
        await api.fail(create, input_file_id="a", endpoint=None, completion_window="24h")
        await api.fail(api.client.responses.create, model="no-such", input="How?", background=True)

    play(scenario).counts(
        row("batches", None, None, status="error", error="BadRequestError"),
        row("responses", "no-such", None, status="error", error="BadRequestError"),
    )


# --- runs of assistants -----------------------------------------------------------------------------------------------


def started(api, **more):
    made = api.elsewhere("POST", "/assistants", {"model": "gpt-4o-mini", **more})
    thread = api.elsewhere("POST", "/threads", {"messages": HELLO})
    return {"thread_id": thread["id"], "assistant_id": made["id"]}


def ran(**changes):
    return row("threads.runs", CHAT_MODEL, **changes)


@old_api
def test_polled_run_is_one_record(play):
    """A run that is polled five times is one record, made when a poll first sees it completed."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        run = await api.get(runs.create(**started(api)))
        for _ in range(5):
            await api.get(runs.retrieve(run.id, thread_id=run.thread_id))
        await api.get(runs.steps.list(run.id, thread_id=run.thread_id))
        await api.get(runs.list(run.thread_id))

    play(scenario).counts(ran(usage=Said(7)))


@old_api
def test_run_of_create_and_poll_is_one_record(play):
    """``create_and_poll`` is one record."""

    async def scenario(api):
        await api.get(api.client.beta.threads.runs.create_and_poll(**started(api), poll_interval_ms=1))

    play(scenario).counts(ran())


@old_api
def test_run_with_a_new_thread_is_one_record(play):
    """``create_and_run_poll`` is one record."""

    async def scenario(api):
        assistant = started(api)["assistant_id"]
        threads = api.client.beta.threads
        await api.get(
            threads.create_and_run_poll(assistant_id=assistant, thread={"messages": HELLO}, poll_interval_ms=1)
        )

    play(scenario).counts(ran())


@old_api
def test_streamed_run_is_one_record_with_its_usage(play):
    """A run that is streamed is one record with the usage of the run, not of its steps too."""

    async def scenario(api):
        stream = await api.do(api.client.beta.threads.runs.create(**started(api), stream=True))
        api.see(type(stream))
        await api.read(stream)

    play(scenario).counts(ran(stream=True))


@old_api
def test_run_with_an_event_handler_is_one_record(play):
    """A run by the helper with an event handler is one record."""

    async def scenario(api):
        handler = AsyncAssistantEventHandler() if api.is_async else AssistantEventHandler()
        async with api.within(api.client.beta.threads.runs.stream(**started(api), event_handler=handler)) as stream:
            await api.do(stream.until_done())

    play(scenario).counts(ran(stream=True))


@old_api
def test_abandoned_run_stream_is_counted_by_a_poll(play):
    """A run whose stream is left goes on, and is counted when a poll sees it completed."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        stream = await api.do(runs.create(**started(api), stream=True))
        first = await api.next(stream)
        await api.close(stream)
        for _ in range(3):
            await api.get(runs.retrieve(first.data.id, thread_id=first.data.thread_id))

    play(scenario).counts(ran(stream=True))


@old_api
def test_run_that_needs_a_tool_is_one_record(play):
    """A run that asks for a tool in between is one record, when it is completed."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        run = await api.get(runs.create_and_poll(**started(api, tools=[TOOL]), poll_interval_ms=1))
        assert run.status == "requires_action"
        call = run.required_action.submit_tool_outputs.tool_calls[0]
        outputs = [{"tool_call_id": call.id, "output": "42"}]
        await api.get(
            runs.submit_tool_outputs_and_poll(
                run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs, poll_interval_ms=1
            )
        )

    play(scenario).counts(ran())


@old_api
def test_streamed_run_that_needs_a_tool_is_one_record(play):
    """A run that asks for a tool in its stream, and is answered in another stream, is one record."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        stream = await api.do(runs.create(**started(api, tools=[TOOL]), stream=True))
        events = [event async for event in stream] if api.is_async else list(stream)
        run = events[-1].data
        assert run.status == "requires_action"
        outputs = [{"tool_call_id": run.required_action.submit_tool_outputs.tool_calls[0].id, "output": "42"}]
        submit = runs.submit_tool_outputs
        await api.read(await api.do(submit(run.id, thread_id=run.thread_id, tool_outputs=outputs, stream=True)))

    play(scenario).counts(ran(stream=True))


@old_api
def test_cancelled_run_is_one_aborted_record(play):
    """A run that is cancelled is one record: aborted, when a poll sees it cancelled."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        run = await api.get(runs.create(**started(api)))
        await api.get(runs.cancel(run.id, thread_id=run.thread_id))
        for _ in range(2):
            await api.get(runs.retrieve(run.id, thread_id=run.thread_id))

    play(scenario).counts(ran(usage=None, status="aborted"))


@old_api
def test_run_that_completes_before_its_cancelling_is_one_record(play):
    """A run that is to be cancelled but completes before that is one record with its usage."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        run = await api.get(runs.create(thread_id="thread_1", assistant_id="asst_1"))
        await api.get(runs.cancel(run.id, thread_id="thread_1"))
        for _ in range(2):
            await api.get(runs.retrieve(run.id, thread_id="thread_1"))

    body = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "model": CHAT_MODEL, "tools": []}
    script = sends(
        {**body, "status": "queued"},
        {**body, "status": "cancelling"},
        {**body, "status": "completed", "usage": usage(12, 5)},
    )
    play(scenario, script).counts(ran(usage=(12, 5, 17)))


@old_api
def test_failed_run_is_one_record_with_its_error(play):
    """A run that fails is one record with the error that it says."""

    async def scenario(api):
        runs = api.client.beta.threads.runs
        run = await api.get(runs.create(thread_id="thread_1", assistant_id="asst_1"))
        await api.get(runs.retrieve(run.id, thread_id="thread_1"))

    body = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "model": CHAT_MODEL, "tools": []}
    error = {"code": "rate_limit_exceeded", "message": "no"}
    script = sends(
        {**body, "status": "queued"}, {**body, "status": "failed", "last_error": error, "usage": usage(12, 5)}
    )
    play(scenario, script).counts(ran(usage=(12, 5, 17), status="failed", error="rate_limit_exceeded"))


@old_api
def test_run_with_a_new_thread_by_the_stream_helper_is_one_record(play):
    """``create_and_run_stream`` is one record."""

    async def scenario(api):
        assistant = started(api)["assistant_id"]
        stream = api.client.beta.threads.create_and_run_stream(assistant_id=assistant, thread={"messages": HELLO})
        async with api.within(stream) as events:
            await api.do(events.until_done())

    play(scenario).counts(ran(stream=True))


@old_api
def test_run_stream_read_as_lines_is_one_record(play):
    """A run whose stream is read line by line is one record."""

    async def scenario(api):
        create = api.client.beta.threads.runs.with_streaming_response.create
        async with api.within(create(**started(api), stream=True)) as response:
            await api.read(response.iter_lines())

    play(scenario).counts(ran(stream=True))


# --- batches, evals, fine-tuning --------------------------------------------------------------------------------------


def test_batch_is_counted_when_it_has_completed(play):
    """A batch is one record with the usage of its lines, when a poll first sees it completed."""

    async def scenario(api):
        batches = api.client.batches
        create = batches.create
        made = await api.get(create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"))
        for _ in range(5):
            await api.get(batches.retrieve(made.id))
        await api.get(batches.list())

    played = play(scenario)
    played.counts(row("batches", "gpt-5.4-mini", Said(4)))


def test_batch_of_another_program_counts_once(play):
    """A batch that another program began counts once for the program that sees it completed."""

    async def scenario(api):
        body = {"input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h"}
        made = api.elsewhere("POST", "/batches", body)
        for _ in range(5):
            await api.get(api.client.batches.retrieve(made["id"]))

    play(scenario).counts(row("batches", "gpt-5.4-mini"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [("cancelled", "aborted"), ("expired", "incomplete"), ("failed", "failed")],
)
def test_batch_that_does_not_complete_is_one_record_with_its_status(play, status, expected):
    """A batch that was cancelled, expired or failed is one record with that status and the usage so far."""
    body = {
        "id": "batch_1", "object": "batch", "endpoint": "/v1/responses", "input_file_id": "file-1",
        "completion_window": "24h", "created_at": 1, "model": "gpt-5.4-mini",
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    }  # fmt: skip
    used = {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17}
    errors = {"object": "list", "data": [{"code": "bad_line", "line": 1, "message": "no", "param": None}]}

    async def scenario(api):
        batches = api.client.batches
        create = batches.create
        made = await api.get(create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"))
        await api.get(batches.cancel(made.id))
        for _ in range(3):
            await api.get(batches.retrieve(made.id))

    script = sends(
        {**body, "status": "validating"},
        {**body, "status": "cancelling"},
        {**body, "status": status, "usage": used, **({"errors": errors} if status == "failed" else {})},
    )
    (call,) = play(scenario, script).calls
    assert (call.endpoint, call.status, call.usage.total_tokens) == ("batches", expected, 17)


def test_eval_with_two_models_is_two_records(play):
    """An eval run is one record for each model that it used, with that model's usage."""

    def spent(model, given, made):
        return {
            "model_name": model, "invocation_count": 1, "prompt_tokens": given, "completion_tokens": made,
            "total_tokens": given + made, "cached_tokens": 2,
        }  # fmt: skip

    body = {
        "object": "eval.run", "id": "evalrun_1", "eval_id": "eval_1", "status": "queued", "model": "gpt-4o-mini",
        "name": "run", "created_at": 1, "result_counts": {"total": 0, "errored": 0, "failed": 0, "passed": 0},
        "per_model_usage": None, "per_testing_criteria_results": None, "report_url": "https://x.example.com",
        "data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}}, "error": None, "metadata": {},
    }  # fmt: skip
    usages = [spent("gpt-4o-mini", 10, 5), spent("gpt-4.1", 20, 8)]
    script = sends(body, {**body, "status": "in_progress"}, {**body, "status": "completed", "per_model_usage": usages})

    async def scenario(api):
        runs = api.client.evals.runs
        await api.get(runs.create("eval_1", data_source=body["data_source"]))
        for _ in range(4):
            await api.get(runs.retrieve("evalrun_1", eval_id="eval_1"))

    play(scenario, script).counts(
        row("evals.runs", "gpt-4o-mini", (10, 5, 15), cached_input_tokens=2),
        row("evals.runs", "gpt-4.1", (20, 8, 28), cached_input_tokens=2),
    )


def test_eval_and_its_run_are_one_record(play):
    """An eval and its run are one record, when a poll first sees the run completed."""

    async def scenario(api):
        config = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
        made = await api.get(api.client.evals.create(data_source_config=config, testing_criteria=[]))
        source = {"type": "completions", "model": "gpt-4o-mini", "source": {"type": "file_id", "id": "file-1"}}
        run = await api.get(api.client.evals.runs.create(made.id, data_source=source))
        for _ in range(4):
            await api.get(api.client.evals.runs.retrieve(run.id, eval_id=made.id))

    played = play(scenario)
    assert [(call.endpoint, call.model, call.status, call.usage.known) for call in played.calls] == [
        ("evals.runs", "gpt-4o-mini", "ok", True)
    ]


def test_fine_tuning_is_counted_when_it_has_succeeded(play):
    """A fine-tuning job is one record with the tokens it trained on, when a poll first sees it succeeded."""

    async def scenario(api):
        jobs = api.client.fine_tuning.jobs
        job = await api.get(jobs.create(model="gpt-4o-mini", training_file="file-1"))
        for _ in range(5):
            await api.get(jobs.retrieve(job.id))
        await api.get(jobs.list())

    play(scenario).counts(row("fine_tuning.jobs", CHAT_MODEL, (5000, 0, 5000)))


def test_cancelled_fine_tuning_is_one_aborted_record(play):
    """A fine-tuning job that is cancelled is one record: aborted."""

    async def scenario(api):
        jobs = api.client.fine_tuning.jobs
        job = await api.get(jobs.create(model="gpt-4o-mini", training_file="file-1"))
        await api.get(jobs.cancel(job.id))
        await api.get(jobs.retrieve(job.id))

    play(scenario).counts(row("fine_tuning.jobs", CHAT_MODEL, None, status="aborted"))


def test_grader_is_one_record_of_its_model(play):
    """A run of a grader that asks a model is one record of that model."""

    async def scenario(api):
        grader = {"type": "score_model", "name": "a", "model": "gpt-4o-mini", "input": HELLO}
        await api.get(api.client.fine_tuning.alpha.graders.run(grader=grader, model_sample="Hello."))

    (call,) = play(scenario).calls
    assert (call.endpoint, call.model, call.status, call.usage.known) == (
        "fine_tuning.graders",
        "gpt-4o-mini",
        "ok",
        True,
    )


# --- agent sessions ---------------------------------------------------------------------------------------------------

SESSION = {"environment": {"type": "none"}, "agent": {"model": "gpt-6-luna"}}


def message(text):
    content = [{"type": "input_text", "text": text}]
    return {"type": "agent.session.input.message", "input": [{"role": "user", "content": content}]}


@needs("beta.agents.sessions")
def test_agent_session_counts_the_growth_of_each_turn(play):
    """A session with two turns is two records that add up to the usage that the session says in the end."""

    async def scenario(api):
        sessions = api.client.beta.agents.sessions
        session = await api.get(sessions.create(**SESSION, input="How?"))
        for _ in range(3):
            await api.get(sessions.retrieve(session.id))
        await api.do(sessions.events.create(session.id, events=[message("And then what happens to the forms?")]))
        await api.read(await api.do(sessions.events.stream(session.id)))
        for _ in range(3):
            await api.get(sessions.retrieve(session.id))

    played = play(scenario)
    last = played.log[-1][2]["usage"]
    assert [(call.endpoint, call.model, call.status) for call in played.calls] == 2 * [
        ("agents.sessions", "gpt-6-luna", "ok")
    ]
    assert (played.totals.input_tokens, played.totals.output_tokens, played.totals.total_tokens) == (
        last["input_tokens"],
        last["output_tokens"],
        last["total_tokens"],
    )
    assert played.calls[0].usage.total_tokens < last["total_tokens"]


@needs("beta.agents.sessions")
def test_agent_session_with_one_turn_is_one_record(play):
    """A session that is polled until its only turn is finished is one record with its usage."""

    async def scenario(api):
        sessions = api.client.beta.agents.sessions
        session = await api.get(sessions.create(**SESSION, input="How?"))
        for _ in range(4):
            await api.get(sessions.retrieve(session.id))

    play(scenario).counts(row("agents.sessions", "gpt-6-luna"))


def session_body(status, used=None):
    return {
        "id": "asess_1", "object": "agent.session", "status": status, "created_at": 1, "last_active_at": 1,
        "agent": {"id": "agent_1", "model": "gpt-6-luna", "tools": []}, "environment": {"type": "none"}, "error": None,
        "metadata": {}, "required_actions": [], "usage": used, "vault_ids": [],
    }  # fmt: skip


def turn_events():
    turn = {
        "id": "turn_1", "agent_id": "agent_1", "object": "agent.session.turn", "session_id": "asess_1",
        "created_at": 1, "status": "in_progress", "subagent_id": None, "error": None, "usage": None,
    }  # fmt: skip
    where = {"session_id": "asess_1", "turn_id": "turn_1"}
    done = {**turn, "status": "completed", "usage": used(12, 5)}
    events = [
        ("in_progress", {"session": session_body("in_progress")}),
        ("turn.created", {**where, "turn": turn}),
        ("turn.in_progress", {**where, "turn": turn}),
        ("turn.completed", {**where, "turn": done, "usage": used(12, 5)}),
        ("idle", {"session": session_body("idle", used(12, 5))}),
    ]
    return [
        {"type": f"agent.session.{kind}", "event_id": f"event_{i}", **more} for i, (kind, more) in enumerate(events)
    ]


@needs("beta.agents.sessions")
def test_streamed_agent_session_is_one_record(play):
    """A turn by the streaming helper of a session is one record with its usage, also when it is looked at after it."""

    async def scenario(api):
        sessions = api.client.beta.agents.sessions
        async with api.within(sessions.stream("asess_1", input="How?")) as events:
            await api.read(events)
        await api.get(sessions.retrieve("asess_1"))

    looks = []

    def script(request):
        if request.method == "POST":
            return Answer(202)
        if request.path.endswith("/events"):
            return typed(*turn_events())(request)
        looks.append(request)
        return json_answer(session_body("idle", used(12, 5) if len(looks) > 1 else None))

    play(scenario, script).counts(row("agents.sessions", "gpt-6-luna", (12, 5, 17), stream=True))


@needs("beta.agents.sessions")
def test_agent_session_created_as_a_stream_is_one_record(play):
    """A session that is created as a stream is one record with the usage of its last event."""

    async def scenario(api):
        sessions = api.client.beta.agents.sessions
        stream = await api.do(sessions.create(**SESSION, input="How?", stream=True))
        async with api.within(stream) as events:
            await api.read(events)

    play(scenario, typed(*turn_events())).counts(row("agents.sessions", "gpt-6-luna", (12, 5, 17), stream=True))
