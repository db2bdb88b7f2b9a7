"""The shapes of call beside chat and responses: media, jobs on the server, and what is free."""

from typing import Any

from openai_meter.testing.fake_api.shape_player import Player, Shape

_SOUND = ("talk.mp3", bytes(range(256)) * 10)
_PICTURE = ("desk.png", b"\x89PNG--not-a-boundary\r\n\x00\xff")
_SPEECH: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Good morning."}
_QUESTIONS = [{"type": "choice", "name": "dry", "choices": [{"value": "yes"}, {"value": "no"}]}]
_POLLS = 5


async def _embed(player: Player) -> None:
    await player.get(player.client.embeddings.create(model="text-embedding-3-small", input="A desk.", dimensions=4))


async def _moderate(player: Player) -> None:
    await player.get(player.client.moderations.create(input="Is this harmful?"))


async def _decide(player: Player) -> None:
    decisions = player.client.decisions
    await player.get(decisions.create(model="gpt-5-mini", input="It rains.", questions=_QUESTIONS))


async def _draw(player: Player) -> None:
    await player.get(player.client.images.generate(model="gpt-image-1", prompt="A desk.", quality="low"))


async def _draw_stream(player: Player) -> None:
    generate = player.client.images.generate
    await player.read(await player.do(generate(model="gpt-image-1", prompt="A desk.", stream=True, partial_images=1)))


async def _edit(player: Player) -> None:
    await player.get(player.client.images.edit(model="gpt-image-1", image=_PICTURE, prompt="More light."))


async def _vary(player: Player) -> None:
    await player.get(player.client.images.create_variation(image=_PICTURE))


async def _transcribe(player: Player) -> None:
    await player.get(player.client.audio.transcriptions.create(model="whisper-1", file=_SOUND))


async def _transcribe_stream(player: Player) -> None:
    create = player.client.audio.transcriptions.create
    await player.read(await player.do(create(model="gpt-4o-mini-transcribe", file=_SOUND, stream=True)))


async def _transcribe_text(player: Player) -> None:
    create = player.client.audio.transcriptions.create
    await player.get(create(model="whisper-1", file=_SOUND, response_format="srt"))


async def _translate(player: Player) -> None:
    await player.get(player.client.audio.translations.create(model="whisper-1", file=_SOUND))


async def _speak(player: Player) -> None:
    speech = await player.do(player.client.audio.speech.create(**_SPEECH))
    player.see(speech.read())


async def _speak_stream(player: Player) -> None:
    async with player.within(player.client.audio.speech.with_streaming_response.create(**_SPEECH)) as response:
        await player.read(response.iter_bytes(64))


async def _film(player: Player) -> None:
    videos = player.client.videos
    made = await player.get(videos.create(prompt="A desk.", model="sora-2", seconds="8"))
    for _ in range(_POLLS):
        await player.get(videos.retrieve(made.id))


async def _batch(player: Player) -> None:
    batches = player.client.batches
    created = batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
    made = await player.get(created)
    for _ in range(_POLLS):
        await player.get(batches.retrieve(made.id))


async def _assist(player: Player) -> None:
    beta = player.client.beta
    assistant = await player.get(beta.assistants.create(model="gpt-4o-mini"))
    thread = await player.get(beta.threads.create(messages=[{"role": "user", "content": "How?"}]))
    run = await player.get(beta.threads.runs.create(thread_id=thread.id, assistant_id=assistant.id))
    for _ in range(_POLLS):
        await player.get(beta.threads.runs.retrieve(run.id, thread_id=thread.id))


async def _evaluate(player: Player) -> None:
    evals = player.client.evals
    config = {"type": "custom", "item_schema": {"type": "object"}}
    made = await player.get(evals.create(data_source_config=config, testing_criteria=[]))
    source = {"type": "completions", "model": "gpt-4o-mini", "source": {"type": "file_id", "id": "file-1"}}
    run = await player.get(evals.runs.create(made.id, data_source=source))
    for _ in range(_POLLS):
        await player.get(evals.runs.retrieve(run.id, eval_id=made.id))


async def _tune(player: Player) -> None:
    jobs = player.client.fine_tuning.jobs
    job = await player.get(jobs.create(model="gpt-4o-mini", training_file="file-1"))
    for _ in range(_POLLS):
        await player.get(jobs.retrieve(job.id))


async def _session(player: Player) -> None:
    sessions = player.client.beta.agents.sessions
    where, who = {"type": "none"}, {"model": "gpt-6-luna"}
    session = await player.get(sessions.create(environment=where, agent=who, input="How?"))
    for _ in range(_POLLS):
        await player.get(sessions.retrieve(session.id))


async def _list(player: Player) -> None:
    await player.read(await player.do(player.client.models.list()))


async def _upload(player: Player) -> None:
    await player.get(player.client.files.create(file=("a.jsonl", b"{}"), purpose="batch"))


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
