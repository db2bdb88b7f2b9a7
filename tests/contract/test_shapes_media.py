"""Images, sound and video: usage in tokens, seconds, characters and pieces, uploads and bytes."""

import threading
from typing import get_args

import openai
import pytest
from openai.types import AudioResponseFormat
from shape_player import Said, act, needs, old_api, row, sends

import openai_meter
from openai_meter.testing.fake_api.loopback import Answer

pytest_plugins = ("shape_player",)

SOUND = ("talk.mp3", bytes(range(256)) * 10)
PICTURE = ("a.png", b"\x89PNG--not-a-boundary\r\n\x00\xff")
SPEECH = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Good morning."}

knows_speakers = pytest.mark.skipif(
    "diarized_json" not in get_args(AudioResponseFormat),
    reason=f"openai {openai.__version__} does not know response_format diarized_json",
)


# --- images -----------------------------------------------------------------------------------------------------------


def test_image_with_usage_is_one_record_with_tokens(play):
    """An image of a model that counts tokens is one record with its usage and the number of images."""

    async def scenario(api):
        await api.get(api.client.images.generate(model="gpt-image-1", prompt="A desk.", n=2, quality="low"))

    play(scenario).counts(row("images.generate", "gpt-image-1", images=2))


def test_image_without_usage_is_one_record_with_the_number_of_images(play):
    """An image of DALL-E is one record with the number of images and unknown tokens."""

    async def scenario(api):
        await api.get(api.client.images.generate(model="dall-e-3", prompt="A desk."))
        await api.get(api.client.images.generate(prompt="A desk.", n=3))

    played = play(scenario).counts(
        row("images.generate", "dall-e-3", None, images=1), row("images.generate", None, None, images=3)
    )
    assert played.totals.images == 4
    assert played.totals.unmeasured_calls == 0


@pytest.mark.parametrize("reader", ["raw", "streaming"])
def test_large_images_read_as_bytes_are_one_record_with_their_number(play, reader):
    """Images that come as text, too large to be kept, are one record with their number."""
    body = {"created": 1, "data": 2 * [{"b64_json": "A" * 300_000}]}

    async def scenario(api):
        more = {"model": "dall-e-2", "prompt": "A desk.", "response_format": "b64_json", "n": 2}
        if reader == "raw":
            await api.do(api.client.images.with_raw_response.generate(**more))
        else:
            async with api.within(api.client.images.with_streaming_response.generate(**more)) as response:
                await api.do(response.read())

    play(scenario, sends(body)).counts(row("images.generate", "dall-e-2", None, images=2))


def test_image_stream_is_one_record_with_its_usage(play):
    """A streamed image is one record with the usage of its last event."""

    async def scenario(api):
        generate = api.client.images.generate
        stream = await api.do(generate(model="gpt-image-1", prompt="A desk.", stream=True, partial_images=2))
        api.see(type(stream))
        await api.read(stream)

    play(scenario).counts(row("images.generate", "gpt-image-1", stream=True, images=1))


def test_abandoned_image_stream_is_one_aborted_record(play):
    """A streamed image that is left at its first part is one record: aborted."""

    async def scenario(api):
        generate = api.client.images.generate
        stream = await api.do(generate(model="gpt-image-1", prompt="A desk.", stream=True, partial_images=2))
        await api.next(stream)
        await api.close(stream)

    play(scenario).counts(row("images.generate", "gpt-image-1", None, status="aborted", stream=True))


def test_image_edit_is_one_record_with_its_usage(play):
    """An edited image is one record with its usage, and the pictures are uploaded intact."""

    async def scenario(api):
        edit = api.client.images.edit
        await api.get(edit(model="gpt-image-1", image=PICTURE, prompt="More light."))
        await api.get(edit(model="gpt-image-1", image=[PICTURE, PICTURE], prompt="Both."))
        await api.read(await api.do(edit(model="gpt-image-1", image=PICTURE, prompt="More.", stream=True)))

    played = play(scenario).counts(
        row("images.edit", "gpt-image-1", Said(0), images=1),
        row("images.edit", "gpt-image-1", Said(1), images=1),
        row("images.edit", "gpt-image-1", Said(2), stream=True, images=1),
    )
    assert [request.body.count(PICTURE[1]) for request in played.requests] == [1, 2, 1]


@old_api
def test_image_variation_is_one_record_with_the_number_of_images(play):
    """A variation of an image is one record with the number of images."""

    async def scenario(api):
        await api.get(api.client.images.create_variation(image=PICTURE, n=2))

    play(scenario).counts(row("images.variation", None, None, images=2))


# --- transcriptions and translations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "form", "expected"),
    [
        ("gpt-4o-transcribe", "json", {}),
        ("whisper-1", "json", {}),
        ("whisper-1", "verbose_json", {}),
        ("whisper-1", "text", {"usage": None}),
        ("whisper-1", "srt", {"usage": None}),
        ("whisper-1", "vtt", {"usage": None}),
        pytest.param("gpt-4o-transcribe-diarize", "diarized_json", {}, marks=knows_speakers),
    ],
)
def test_transcription_has_the_usage_of_its_answer(play, model, form, expected):
    """A transcription is one record with the tokens or seconds of its answer; plain text has neither."""

    async def scenario(api):
        await api.get(api.client.audio.transcriptions.create(model=model, file=SOUND, response_format=form))

    played = play(scenario)
    if model == "whisper-1" and not expected:
        expected = {"usage": None, "seconds": 3.0}
    played.counts(row("audio.transcriptions", model, **expected))
    assert [SOUND[1] in request.body for request in played.requests] == [True]


def test_transcription_stream_is_one_record_with_its_usage(play):
    """A streamed transcription is one record with the usage of its last event."""

    async def scenario(api):
        create = api.client.audio.transcriptions.create
        stream = await api.do(create(model="gpt-4o-transcribe", file=SOUND, stream=True, response_format="json"))
        api.see(type(stream))
        await api.read(stream)

    play(scenario).counts(row("audio.transcriptions", "gpt-4o-transcribe", stream=True))


def test_raw_transcription_is_one_record_with_its_usage(play):
    """A raw transcription that nobody parses is one record with its usage."""

    async def scenario(api):
        create = api.client.audio.transcriptions.with_raw_response.create
        raw = await api.do(create(model="gpt-4o-transcribe", file=SOUND))
        api.see(type(raw), raw.text)

    play(scenario).counts(row("audio.transcriptions", "gpt-4o-transcribe"))


@old_api
@pytest.mark.parametrize(
    ("form", "expected"),
    [("json", {}), ("verbose_json", {"seconds": 3.0}), ("text", {}), ("srt", {}), ("vtt", {})],
)
def test_translation_of_audio_is_counted_by_duration(play, form, expected):
    """A translation is one record; where its answer tells the duration, with the seconds."""

    async def scenario(api):
        await api.get(api.client.audio.translations.create(model="whisper-1", file=SOUND, response_format=form))

    play(scenario).counts(row("audio.translations", "whisper-1", None, **expected))


# --- speech -----------------------------------------------------------------------------------------------------------


def test_speech_is_counted_by_characters(play):
    """Speech is one record with the characters that were spoken, and the bytes are the SDK's own object."""

    async def scenario(api):
        speech = await api.do(api.client.audio.speech.create(**SPEECH))
        api.see(type(speech), speech.content, list(speech.iter_bytes()))

    play(scenario).counts(row("audio.speech", "gpt-4o-mini-tts", None, characters=13))


def test_raw_speech_is_one_record(play):
    """A raw speech answer is one record, parsed or not."""

    async def scenario(api):
        create = api.client.audio.speech.with_raw_response.create
        raw = await api.do(create(**SPEECH))
        api.see(type(raw))
        raw = await api.do(create(**SPEECH))
        api.see(type(raw), raw.parse().content)

    spoken = row("audio.speech", "gpt-4o-mini-tts", None, characters=13)
    play(scenario).counts(spoken, spoken)


def test_streamed_speech_is_one_record(play, tmp_path):
    """Speech that is streamed is one record, read as bytes or into a file."""

    async def scenario(api):
        create = api.client.audio.speech.with_streaming_response.create
        async with api.within(create(**SPEECH)) as response:
            api.see(type(response))
            await api.read(response.iter_bytes(100))
        async with api.within(create(**SPEECH)) as response:
            await api.do(response.stream_to_file(tmp_path / "a.mp3"))
        api.see((tmp_path / "a.mp3").read_bytes())
        async with api.within(create(**SPEECH)) as response:
            speech = await api.do(response.parse())
            api.see(type(speech))

    spoken = row("audio.speech", "gpt-4o-mini-tts", None, characters=13)
    played = play(scenario)
    played.counts(spoken, spoken, spoken._replace(status=played.calls[-1].status))


def test_speech_as_events_is_one_record_with_its_usage(play):
    """Speech that is asked for as events is one record with the usage of its last event."""

    async def scenario(api):
        create = api.client.audio.speech.with_streaming_response.create
        async with api.within(create(**SPEECH, stream_format="sse")) as response:
            await api.read(response.iter_lines())
        raw = await api.do(api.client.audio.speech.with_raw_response.create(**SPEECH, stream_format="sse"))
        api.see(raw.content)

    play(scenario).counts(
        row("audio.speech", "gpt-4o-mini-tts", Said(0), characters=13),
        row("audio.speech", "gpt-4o-mini-tts", Said(1), characters=13),
    )


@pytest.mark.parametrize("reader", ["iter_bytes", "aiter_bytes of the response"])
def test_speech_is_read_lazily(stage, is_async, reader):
    """The first bytes of streamed speech are there before the server has made the others."""
    go = threading.Event()
    let_go = []

    def body():
        yield b"first"
        let_go.append(go.wait(60))
        yield b"second"

    stage.set(lambda _: Answer(200, {"content-type": "audio/mpeg"}, body()), live=True)
    meter = openai_meter.install()

    async def scenario(api):
        async with api.within(api.client.audio.speech.with_streaming_response.create(**SPEECH)) as response:
            http = response.http_response
            pieces = (
                response.iter_bytes()
                if reader == "iter_bytes"
                else http.aiter_bytes()
                if is_async
                else http.iter_bytes()
            )
            pieces = pieces.__aiter__() if is_async else iter(pieces)
            await api.next(pieces)
            api.see(go.is_set(), len(meter.calls))
            go.set()
            await api.read(pieces)
        api.see(len(meter.calls))

    assert act(stage, scenario, is_async=is_async).log == [b"first", False, 0, b"second", 1]
    assert let_go == [True]


# --- videos -----------------------------------------------------------------------------------------------------------


@needs("videos")
@old_api
def test_video_is_counted_by_seconds_when_it_is_created(play):
    """A video is one record with its seconds when it is begun, and none when it is looked at or fetched."""

    async def scenario(api):
        videos = api.client.videos
        made = await api.get(videos.create(prompt="A desk.", model="sora-2", seconds="8"))
        for _ in range(3):
            await api.get(videos.retrieve(made.id))
        content = await api.do(videos.download_content(made.id))
        api.see(type(content), content.content)
        await api.get(videos.remix(made.id, prompt="At night."))
        await api.get(videos.list())
        await api.get(videos.delete(made.id))

    play(scenario).counts(row("videos", "sora-2", None, seconds=8.0), row("videos", "sora-2", None, seconds=8.0))


@needs("videos.create_and_poll")
@old_api
def test_video_of_create_and_poll_is_one_record(play):
    """``create_and_poll`` of a video is one record."""

    async def scenario(api):
        await api.get(api.client.videos.create_and_poll(prompt="A desk.", model="sora-2", poll_interval_ms=1))

    play(scenario).counts(row("videos", "sora-2", None, seconds=4.0))


@needs("videos.edit")
@old_api
def test_video_edit_and_extension_are_one_record_each(play):
    """An edited and an extended video are one record each."""

    async def scenario(api):
        film = ("a.mp4", SOUND[1])  # these SDKs take a file, and fail by themselves with the id of a video
        await api.get(api.client.videos.edit(prompt="At night.", video=film))
        await api.get(api.client.videos.extend(prompt="And then?", video=film, seconds="8"))

    played = play(scenario).counts(
        row("videos", "sora-2", None, seconds=4.0), row("videos", "sora-2", None, seconds=8.0)
    )
    assert [SOUND[1] in request.body for request in played.requests] == [True, True]
