"""Images and sound: answered as JSON, as text, as bytes or as event streams, with and without usage."""

import base64
from collections.abc import Iterator
from typing import Any

from openai_meter.testing.fake_api.content import model_of, noise, number_of, pieces, prompt_tokens, prose, text_tokens
from openai_meter.testing.fake_api.handlers import (
    ApiError,
    Call,
    Json,
    Upload,
    data_frames,
    event_answer,
    json_answer,
    typed_frames,
)
from openai_meter.testing.fake_api.loopback import Answer

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # a 1x1 PNG
_OUTPUT_TOKENS = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
"""Tokens of one image by quality: for a square one, and for any other size."""

_IMAGE_INPUT_TOKENS = 194
_BYTES_PER_SECOND = 1000
_TOKENS_PER_SECOND = 10
_SPEECH_TOKENS_PER_CHARACTER = 2
_SPEECH_CHUNK = 1024
_LINE_END = "\r\n"
"""The audio endpoints end their event lines as no other endpoint does."""


def generate_image(call: Call) -> Answer:
    """Answers POST /images/generations: URLs without usage for DALL-E, base64 with usage for other models."""
    call.need("prompt")
    return _images(call, model_of(call, "dall-e-2"), "image_generation", inputs=0)


def edit_image(call: Call) -> Answer:
    """Answers POST /images/edits: a form with one or more images."""
    images = call.body.get("image") or call.body.get("images")
    if not images:
        raise ApiError(400, "There must be an image to edit.", param="image", code="missing_required_parameter")
    count = len(images) if isinstance(images, list) else 1
    return _images(call, model_of(call, "dall-e-2"), "image_edit", inputs=count)


def vary_image(call: Call) -> Answer:
    """Answers POST /images/variations: URLs, no usage."""
    call.need("image")
    return json_answer({"created": call.state.now(), "data": _links(call)})


def _images(call: Call, model: str, kind: str, inputs: int) -> Answer:
    body, now = call.body, call.state.now()
    count = int(body.get("n") or 1)
    if model.startswith("dall-e"):
        if body.get("response_format") == "b64_json":
            return json_answer({"created": now, "data": [{"b64_json": _PIXEL}] * count})
        return json_answer({"created": now, "data": _links(call)})
    look = _look(body)
    usage = _image_usage(body, look, inputs, count)
    if call.streamed:
        partials = int(body.get("partial_images") or 0)
        return event_answer(typed_frames(_image_events(kind, look, usage, partials, now)))
    return json_answer(
        {
            "created": now,
            "background": look["background"],
            "data": [{"b64_json": _PIXEL}] * count,
            "output_format": look["output_format"],
            "quality": look["quality"],
            "size": look["size"],
            "usage": usage,
        }
    )


def _look(body: Json) -> Json:
    """The properties of the image, with every `auto` decided."""

    def decided(name: str, default: str) -> str:
        value = body.get(name)
        return default if value in (None, "auto") else str(value)

    return {
        "background": decided("background", "opaque"),
        "output_format": decided("output_format", "png"),
        "quality": decided("quality", "medium"),
        "size": decided("size", "1024x1024"),
    }


def _image_usage(body: Json, look: Json, inputs: int, count: int) -> Json:
    text, images = prompt_tokens(body.get("prompt") or ""), inputs * _IMAGE_INPUT_TOKENS
    square, other = _OUTPUT_TOKENS.get(look["quality"], _OUTPUT_TOKENS["high"])
    made = count * (square if look["size"] == "1024x1024" else other)
    return {
        "input_tokens": text + images,
        "input_tokens_details": {"image_tokens": images, "text_tokens": text},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": text + images + made,
    }


def _image_events(kind: str, look: Json, usage: Json, partials: int, now: int) -> Iterator[Json]:
    picture = {"b64_json": _PIXEL, "created_at": now, **look}
    for index in range(partials):
        yield {"type": f"{kind}.partial_image", **picture, "partial_image_index": index}
    reported = {name: value for name, value in usage.items() if name != "output_tokens_details"}
    yield {"type": f"{kind}.completed", **picture, "usage": reported}


def _links(call: Call) -> list[Json]:
    return [{"url": f"https://images.example.com/{i}.png"} for i in range(int(call.body.get("n") or 1))]


def transcribe(call: Call) -> Answer:
    """Answers POST /audio/transcriptions: usage in seconds for whisper, in tokens for the other models."""
    audio, model = _audio(call), model_of(call, "whisper-1")
    seconds, text = _seconds(audio), prose(number_of(len(audio.data), audio.filename))
    form = call.body.get("response_format") or "json"
    if form in ("text", "srt", "vtt"):
        return _plain_text(form, text, seconds)
    if model == "whisper-1":
        usage: Json = {"type": "duration", "seconds": seconds}
        if form == "verbose_json":
            return json_answer({**_verbose(call, text, seconds), "usage": usage})
        return json_answer({"text": text, "usage": usage})  # whisper never streams
    usage = _audio_usage(call, seconds, text)
    segments = _speakers(text, seconds) if form == "diarized_json" else []
    if call.streamed:
        return event_answer(data_frames(_transcript_events(text, segments, usage), _LINE_END))
    if segments:
        return json_answer({"text": text, "segments": segments, "usage": usage})
    return json_answer({"text": text, "usage": usage})


def translate(call: Call) -> Answer:
    """Answers POST /audio/translations: text or JSON, no usage."""
    audio = _audio(call)
    seconds, text = _seconds(audio), prose(number_of(len(audio.data), audio.filename))
    model_of(call)
    form = call.body.get("response_format") or "json"
    if form in ("text", "srt", "vtt"):
        return _plain_text(form, text, seconds)
    if form == "verbose_json":
        return json_answer({**_verbose(call, text, seconds), "task": "translate"})
    return json_answer({"text": text})


def _audio(call: Call) -> Upload:
    audio = call.need("file")
    if not isinstance(audio, Upload):
        raise ApiError(400, "The sound must be uploaded as a form part.", param="file")
    return audio


def _seconds(audio: Upload) -> int:
    return 1 + len(audio.data) // _BYTES_PER_SECOND


def _audio_usage(call: Call, seconds: int, text: str) -> Json:
    audio_in, text_in = seconds * _TOKENS_PER_SECOND, prompt_tokens(call.body.get("prompt") or "")
    written = text_tokens(text)
    return {
        "type": "tokens",
        "total_tokens": audio_in + text_in + written,
        "input_tokens": audio_in + text_in,
        "input_token_details": {"text_tokens": text_in, "audio_tokens": audio_in},
        "output_tokens": written,
    }


def _plain_text(form: str, text: str, seconds: int) -> Answer:
    comma = "," if form == "srt" else "."
    times = f"00:00:00{comma}000 --> 00:00:{min(seconds, 59):02d}{comma}000"
    body = {"text": f"{text}\n", "srt": f"1\n{times}\n{text}\n\n\n", "vtt": f"WEBVTT\n\n{times}\n{text}\n\n"}[form]
    return Answer(200, {"content-type": "text/plain; charset=utf-8"}, body.encode())


def _verbose(call: Call, text: str, seconds: int) -> Json:
    segment: Json = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": float(seconds),
        "text": f" {text}",
        "tokens": [50364, 50364 + seconds],
        "temperature": 0.0,
        "avg_logprob": -0.3,
        "compression_ratio": 1.2,
        "no_speech_prob": 0.01,
    }
    reported: Json = {"task": "transcribe", "language": "english", "duration": float(seconds), "text": text}
    reported["segments"] = [segment]
    if "word" in (call.body.get("timestamp_granularities") or []):
        reported["words"] = [{"word": word, "start": 0.0, "end": float(seconds)} for word in text.split()]
    return reported


def _speakers(text: str, seconds: int) -> list[Json]:
    sentences = [f" {part.strip('. ')}." for part in text.split(". ")]
    step = seconds / len(sentences)
    return [
        {
            "type": "transcript.text.segment",
            "text": sentence,
            "speaker": "AB"[index % 2],
            "start": round(index * step, 2),
            "end": round((index + 1) * step, 2),
            "id": f"seg_{index}",
        }
        for index, sentence in enumerate(sentences)
    ]


def _transcript_events(text: str, segments: list[Json], usage: Json) -> Iterator[Json]:
    yield from segments or ({"type": "transcript.text.delta", "delta": piece} for piece in pieces(text))
    yield {"type": "transcript.text.done", "text": text, "usage": usage}


def speak(call: Call) -> Answer:
    """Answers POST /audio/speech: sound in chunks without usage, or with `stream_format` sse as events with it."""
    text = str(call.need("input"))
    call.need("voice")
    model_of(call)
    seed, length = number_of(text), 64 * (1 + len(text))
    sound = noise(seed, length)
    parts = [sound[at : at + _SPEECH_CHUNK] for at in range(0, length, _SPEECH_CHUNK)]
    if call.body.get("stream_format") == "sse":
        return event_answer(data_frames(_speech_events(text, parts), _LINE_END))
    form = call.body.get("response_format") or "mp3"
    kind = {"mp3": "audio/mpeg", "pcm": "audio/pcm", "opus": "audio/opus"}.get(form, f"audio/{form}")
    return Answer(200, {"content-type": kind}, iter(parts))


def _speech_events(text: str, parts: list[bytes]) -> Iterator[Json]:
    for part in parts:
        yield {"type": "speech.audio.delta", "audio": base64.b64encode(part).decode()}
    read, made = text_tokens(text), _SPEECH_TOKENS_PER_CHARACTER * len(text)
    usage: dict[str, Any] = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    yield {"type": "speech.audio.done", "usage": usage}
