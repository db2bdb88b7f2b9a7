"""The shapes of call of all other endpoints: media, jobs on the server, and what is free."""

from typing import Any

from openai_meter.testing.fake_api.shape_runner import Caller, Shape

_SOUND = ("talk.mp3", bytes(range(256)) * 10)
_PICTURE = ("desk.png", b"\x89PNG--not-a-boundary\r\n\x00\xff")
_SPEECH: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Good morning."}
_QUESTIONS = [{"type": "choice", "name": "dry", "choices": [{"value": "yes"}, {"value": "no"}]}]
_POLLS = 5


async def _embed(caller: Caller) -> None:
    await caller.get(caller.client.embeddings.create(model="text-embedding-3-small", input="A desk.", dimensions=4))


async def _moderate(caller: Caller) -> None:
    await caller.get(caller.client.moderations.create(input="Is this harmful?"))


async def _decide(caller: Caller) -> None:
    decisions = caller.client.decisions
    await caller.get(decisions.create(model="gpt-5-mini", input="It rains.", questions=_QUESTIONS))


async def _draw(caller: Caller) -> None:
    await caller.get(caller.client.images.generate(model="gpt-image-1", prompt="A desk.", quality="low"))


async def _draw_stream(caller: Caller) -> None:
    generate = caller.client.images.generate
    await caller.read(await caller.do(generate(model="gpt-image-1", prompt="A desk.", stream=True, partial_images=1)))


async def _edit(caller: Caller) -> None:
    await caller.get(caller.client.images.edit(model="gpt-image-1", image=_PICTURE, prompt="More light."))


async def _vary(caller: Caller) -> None:
    await caller.get(caller.client.images.create_variation(image=_PICTURE))


async def _transcribe(caller: Caller) -> None:
    await caller.get(caller.client.audio.transcriptions.create(model="whisper-1", file=_SOUND))


async def _transcribe_stream(caller: Caller) -> None:
    create = caller.client.audio.transcriptions.create
    await caller.read(await caller.do(create(model="gpt-4o-mini-transcribe", file=_SOUND, stream=True)))


async def _transcribe_text(caller: Caller) -> None:
    create = caller.client.audio.transcriptions.create
    await caller.get(create(model="whisper-1", file=_SOUND, response_format="srt"))


async def _translate(caller: Caller) -> None:
    await caller.get(caller.client.audio.translations.create(model="whisper-1", file=_SOUND))


async def _speak(caller: Caller) -> None:
    speech = await caller.do(caller.client.audio.speech.create(**_SPEECH))
    caller.see(speech.read())


async def _speak_stream(caller: Caller) -> None:
    async with caller.within(caller.client.audio.speech.with_streaming_response.create(**_SPEECH)) as response:
        await caller.read(response.iter_bytes(64))


async def _film(caller: Caller) -> None:
    videos = caller.client.videos
    made = await caller.get(videos.create(prompt="A desk.", model="sora-2", seconds="8"))
    for _ in range(_POLLS):
        await caller.get(videos.retrieve(made.id))


async def _batch(caller: Caller) -> None:
    batches = caller.client.batches
    created = batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
    made = await caller.get(created)
    for _ in range(_POLLS):
        await caller.get(batches.retrieve(made.id))


async def _assist(caller: Caller) -> None:
    beta = caller.client.beta
    assistant = await caller.get(beta.assistants.create(model="gpt-4o-mini"))
    thread = await caller.get(beta.threads.create(messages=[{"role": "user", "content": "How?"}]))
    run = await caller.get(beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant.id))
    for _ in range(_POLLS):
        await caller.get(beta.threads.runs.retrieve(run.id, thread_id=thread.id))


async def _evaluate(caller: Caller) -> None:
    evals = caller.client.evals
    config = {"type": "custom", "item_schema": {"type": "object"}}
    made = await caller.get(evals.create(data_source_config=config, testing_criteria=[]))
    source = {"type": "completions", "model": "gpt-4o-mini", "source": {"type": "file_id", "id": "file-1"}}
    run = await caller.get(evals.runs.create(made.id, data_source=source))
    for _ in range(_POLLS):
        await caller.get(evals.runs.retrieve(run.id, eval_id=made.id))


async def _tune(caller: Caller) -> None:
    jobs = caller.client.fine_tuning.jobs
    job = await caller.get(jobs.create(model="gpt-4o-mini", training_file="file-1"))
    for _ in range(_POLLS):
        await caller.get(jobs.retrieve(job.id))


async def _session(caller: Caller) -> None:
    sessions = caller.client.beta.agents.sessions
    environment, agent = {"type": "none"}, {"model": "gpt-6-luna"}
    session = await caller.get(sessions.create(environment=environment, agent=agent, input="How?"))
    for _ in range(_POLLS):
        await caller.get(sessions.retrieve(session.id))


async def _list(caller: Caller) -> None:
    await caller.read(await caller.do(caller.client.models.list()))


async def _upload(caller: Caller) -> None:
    await caller.get(caller.client.files.create(file=("a.jsonl", b"{}"), purpose="batch"))


SHAPES: tuple[Shape, ...] = (
    Shape("embeddings.create", _embed),
    Shape("moderations.create", _moderate, usage="none"),
    Shape("decisions.create", _decide, needs="decisions.create"),
    Shape("images.generate", _draw),
    Shape("images.generate, stream=True", _draw_stream),
    Shape("images.edit (upload)", _edit),
    Shape("images.create_variation", _vary, usage="none"),
    Shape("audio.transcriptions.create", _transcribe),
    Shape("audio.transcriptions.create, stream=True", _transcribe_stream),
    Shape("audio.transcriptions.create, srt", _transcribe_text, usage="none"),
    Shape("audio.translations.create", _translate, usage="none"),
    Shape("audio.speech.create", _speak, usage="none"),
    Shape("audio.speech.with_streaming_response", _speak_stream, usage="none"),
    Shape("videos.create, 5 polls", _film, usage="none", needs="videos.create"),
    Shape("batches.create, 5 polls", _batch),
    Shape("threads.runs.create, 5 polls", _assist),
    Shape("evals.runs.create, 5 polls", _evaluate, needs="evals.runs.create"),
    Shape("fine_tuning.jobs.create, 5 polls", _tune),
    Shape("agents.sessions.create, 5 polls", _session, needs="beta.agents.sessions"),
    Shape("models.list", _list, records=0, usage="none"),
    Shape("files.create", _upload, records=0, usage="none"),
)
