"""Reads answers: what a whole answer or the events of a stream say of model, tier, state and usage.

Each reader takes the fields of an answer, each folder one event of a stream (the SDK's object, or a dict); both write
into a :class:`Reading`. Which of them serves which endpoint stands in ``endpoints.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from openai_meter.core.call import Status
from openai_meter.core.usage import Usage, count, fields_of, read_usage, seconds
from openai_meter.usage.billing_details import answer_facts
from openai_meter.usage.transcript import TOGETHER, Transcript

__all__ = ["Fields", "ResponseState"]

Fields = Mapping[str, Any]
_NOTHING: Fields = {}


class ResponseState:
    """What is known so far of one answer: filled by a reader at once, or by a folder event by event.

    The usage object is kept as it came and read once at the end: a stream may repeat it on every chunk, and only the
    last one counts. Text is heard for the case that there will be no usage, and goes with the reading.
    """

    __slots__ = (
        "background",
        "error_type",
        "extra",
        "facts",
        "images_asked",
        "index",
        "left",
        "model",
        "pieces",
        "response_id",
        "service_tier",
        "split",
        "state",
        "transcript_or_none",
        "usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self.response_id: str | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.usage: object = None
        """The usage object as the SDK gave it."""
        self.state: Status | Literal["open"] | None = None
        """How the work ended, ``open`` while the server still works, ``None`` while that is not known."""
        self.error_type: str | None = None
        self.background = False
        self.extra: Fields = _NOTHING
        """Counts of :class:`Usage` that stand outside the usage object."""
        self.facts: Fields = _NOTHING
        """Rare facts that the price depends on (``facts.py``)."""
        self.images_asked = 0
        """How many images were asked for: their number where the answer is too large to be kept."""
        self.split: tuple[tuple[str | None, Usage], ...] = ()
        """Usage by model, where one answer reports several."""
        self.transcript_or_none: Transcript | None = None
        """What a stream has said, but for its last pieces; ``None`` while it has said nothing."""
        self.index: int | None = None
        """Whose text the last pieces are: the choice or output item that speaks."""
        self.pieces: list[str] = []
        """The last pieces of its text, none of them empty: they are handed on together, for that costs less."""
        self.left = 0
        """How many characters may still come to them, so that neither they nor their number can grow large."""

    @property
    def transcript(self) -> Transcript:
        """What a stream has said. Made by the first who asks: most answers are no streams."""
        transcript = self.transcript_or_none
        if transcript is None:
            transcript = self.transcript_or_none = Transcript()
        if self.index is not None:
            pieces, self.pieces, self.left = self.pieces, [], TOGETHER
            if pieces:
                transcript.add_all(self.index, pieces)
        return transcript

    def turn_to(self, index: object) -> bool:
        """Makes ready for pieces of a choice's or item's text; ``False`` if it has no number."""
        if type(index) is int:
            _ = self.transcript  # the pieces of whoever spoke before are handed on
            self.index, self.left = index, TOGETHER
            return True
        return False

    def total(self) -> Usage | None:
        """All that was consumed, or ``None`` if the API did not say."""
        usage = read_usage(self.usage) if self.usage is not None else None
        if not self.extra:
            return usage
        counts = Usage(**self.extra)
        return counts if usage is None else usage + counts


# --- readers of whole answers -----------------------------------------------------------------------------------------


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_common(response: ResponseState, answer: Fields) -> None:
    get = answer.get
    if (identity := get("id")) and isinstance(identity, str):
        response.response_id = identity
    if (model := get("model")) and isinstance(model, str):
        response.model = model
    if (tier := get("service_tier")) is not None:
        response.service_tier = _text(tier) or response.service_tier
    usage = get("usage")
    if usage is not None:
        response.usage = usage


# An error's code is a word. Some hosts put a sentence there, which may quote the prompt: it is not kept.
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _read_error(response: ResponseState, error: object) -> None:
    said = fields_of(error)
    response.state = "failed"
    response.error_type = _word(said.get("code")) or _word(said.get("type")) or "unknown_error"


def read_object(response: ResponseState, answer: Fields) -> None:
    """Reads an answer that says its id, model, tier and usage in the usual places."""
    _read_common(response, answer)
    response.state = "ok"
    if (error := answer.get("error")) is not None:
        _read_error(response, error)


def read_embeddings(response: ResponseState, answer: Fields) -> None:
    """Reads an embeddings answer: all its tokens are input, also where the host states only the total."""
    read_object(response, answer)
    usage = fields_of(response.usage)
    if usage.get("prompt_tokens") is None and usage.get("input_tokens") is None:
        response.usage = {**usage, "prompt_tokens": usage.get("total_tokens")}


_STOPPED_EARLY = frozenset({"length", "content_filter"})


def _read_choices(response: ResponseState, choices: object) -> None:
    if isinstance(choices, list):
        for choice in choices:
            reason = fields_of(choice).get("finish_reason")
            if reason is not None and _text(reason) is not None:
                response.state = "incomplete" if reason in _STOPPED_EARLY else response.state or "ok"


def read_choices(response: ResponseState, answer: Fields) -> None:
    """Reads a chat completion or a completion; the model having stopped early makes it incomplete."""
    _read_common(response, answer)
    response.state = "ok"
    _read_choices(response, answer.get("choices"))
    if (groq := answer.get("x_groq")) is not None and response.usage is None:
        response.usage = fields_of(groq).get("usage")
    if (error := answer.get("error")) is not None and not answer.get("choices"):
        _read_error(response, error)


_RESPONSE_STATES: dict[object, Status | Literal["open"]] = {
    "completed": "ok",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "aborted",
    "queued": "open",
    "in_progress": "open",
}


def read_response(response: ResponseState, answer: Fields) -> None:
    """Reads a response of the Responses API, with the hosted tools it used."""
    _read_common(response, answer)
    response.background = response.background or answer.get("background") is True
    response.state = _RESPONSE_STATES.get(_text(answer.get("status")), "ok")
    if (error := answer.get("error")) is not None:
        _read_error(response, error)
    _read_tools(response, answer)
    if answer.get("tools") or answer.get("tool_usage"):
        response.facts = {**response.facts, **answer_facts(answer)}


def _read_tools(response: ResponseState, answer: Fields) -> None:
    searches = files = 0
    containers: set[str] = set()
    output = answer.get("output")
    for item in output if isinstance(output, list) else ():
        said = fields_of(item)
        kind = said.get("type")
        if kind == "web_search_call":
            # Opening a page or looking for a word in it is no search action and is not billed as one.
            searches += fields_of(said.get("action")).get("type", "search") == "search"
        elif kind == "file_search_call":
            files += 1
        elif kind == "code_interpreter_call" and (container := _text(said.get("container_id"))):
            containers.add(container)
    if (tools := answer.get("tool_usage")) is not None:
        billed = count(fields_of(fields_of(tools).get("web_search")).get("num_requests"))
        searches = searches if billed is None else billed
    found = {"web_searches": searches, "file_searches": files, "container_sessions": len(containers)}
    if any(found.values()):
        response.extra = {**response.extra, **{name: number for name, number in found.items() if number}}


def read_images(response: ResponseState, answer: Fields) -> None:
    """Reads an images answer: the usage if the model has one, and how many images there are."""
    read_object(response, answer)
    response.facts = {**response.facts, **answer_facts(answer)}
    images = answer.get("data")
    number = len(images) if isinstance(images, list) else response.images_asked
    if number and response.state == "ok":
        response.extra = {**response.extra, "images": number}


def read_transcript(response: ResponseState, answer: Fields) -> None:
    """Reads a transcription or translation; without usage, the duration of the audio stands for it."""
    read_object(response, answer)
    if response.usage is None and (duration := seconds(answer.get("duration"))):
        response.extra = {**response.extra, "seconds": duration}


def read_video(response: ResponseState, answer: Fields) -> None:
    """Reads a video job: billed by its seconds, which are known when it is begun."""
    read_object(response, answer)
    response.facts = {**response.facts, **answer_facts(answer)}
    if duration := seconds(answer.get("seconds")):
        response.extra = {**response.extra, "seconds": duration}
    if answer.get("status") == "failed":
        response.state = "failed"


def _reader_of_job(states: Mapping[object, Status]) -> Callable[[ResponseState, Fields], None]:
    """A reader of work on the server: ``states`` are its last ones, in every other it is still open."""

    def read(response: ResponseState, answer: Fields) -> None:
        _read_common(response, answer)
        response.state = states.get(_text(answer.get("status")), "open")
        if response.state == "failed":
            _read_error(response, answer.get("last_error") or answer.get("error") or answer.get("errors"))

    return read


read_run = _reader_of_job(
    {"completed": "ok", "failed": "failed", "expired": "failed", "incomplete": "incomplete", "cancelled": "aborted"}
)
read_batch = _reader_of_job({"completed": "ok", "failed": "failed", "expired": "incomplete", "cancelled": "aborted"})
_read_eval = _reader_of_job({"completed": "ok", "failed": "failed", "canceled": "aborted", "cancelled": "aborted"})
_read_tuning = _reader_of_job({"succeeded": "ok", "failed": "failed", "cancelled": "aborted"})
_read_session = _reader_of_job({"idle": "ok", "failed": "failed", "budget_reached": "incomplete"})


def read_eval(response: ResponseState, answer: Fields) -> None:
    """Reads an eval run: its usage comes by model."""
    _read_eval(response, answer)
    models = answer.get("per_model_usage")
    for one in models if isinstance(models, list) else ():
        said = fields_of(one)
        if (usage := read_usage(said)) is not None:
            response.split += ((_text(said.get("model_name")), usage),)


def read_tuning(response: ResponseState, answer: Fields) -> None:
    """Reads a fine-tuning job: the tokens it trained on are its input."""
    _read_tuning(response, answer)
    if (trained := count(answer.get("trained_tokens"))) is not None:
        response.usage = {"input_tokens": trained, "output_tokens": 0}


def read_session(response: ResponseState, answer: Fields) -> None:
    """Reads an agent session: its usage is the sum of all turns so far."""
    _read_session(response, answer)
    response.model = response.model or _text(fields_of(answer.get("agent")).get("model"))


def read_grader(response: ResponseState, answer: Fields) -> None:
    """Reads a grader's run: a count of tokens without a split into input and output, by model if it says so."""
    metadata = fields_of(answer.get("metadata"))
    response.state = "ok"
    response.model = _text(metadata.get("sampled_model_name"))
    response.usage = {"total_tokens": metadata.get("token_usage")}
    # The SDK renames the field because "model_" is taken in pydantic; a dict has it under its own name.
    models = answer.get("model_grader_token_usage_per_model") or answer.get("api_model_grader_token_usage_per_model")
    for model, said in fields_of(models).items():
        usage = read_usage(said if isinstance(said, dict) else {"total_tokens": said})
        if usage is not None:
            response.split += ((model, usage),)


# --- folders of stream events -----------------------------------------------------------------------------------------
#
# These run once per chunk on the consumer's path. They look into ``__dict__`` alone: asking a pydantic model for a
# field that it lacks costs more than everything else here together.


def fold_choices(response: ResponseState, chunk: Any) -> None:
    """Reads a chunk of a chat completion or a completion.

    Usage may come on a chunk of its own, on the one with the finish reason, on every chunk (growing), or followed by
    more content: the last one that is not null counts. Azure's first chunk has neither model nor choices.
    """
    said = chunk if type(chunk) is dict else getattr(chunk, "__dict__", _NOTHING)
    usage = said.get("usage")
    if usage is not None:
        response.usage = usage
    choices = said.get("choices")
    if choices and type(choices) is list:
        ended = None
        for choice in choices:
            one = choice if type(choice) is dict else getattr(choice, "__dict__", _NOTHING)
            response.transcript.choice(one)
            ended = ended or one.get("finish_reason")
        if ended is not None:
            _read_choices(response, choices)
    elif type(chunk) is dict and chunk.get("error") is not None:
        _read_error(response, chunk["error"])  # the SDK raises on this one, and makes no chunk of it
    if response.model is None or response.response_id is None:
        _read_common(response, fields_of(chunk))
    tier = said.get("service_tier")
    if tier is not None:
        response.service_tier = _text(tier) or response.service_tier
    extra = said if type(chunk) is dict else getattr(chunk, "__pydantic_extra__", None)
    if extra and (groq := extra.get("x_groq")) is not None and (usage := fields_of(groq).get("usage")) is not None:
        response.usage = usage


_RESPONSE_EVENTS = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
    }
)


RESPONSE_PIECES = {
    "response.output_text.delta": None,
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
    "response.mcp_call_arguments.delta": "call",
    "response.code_interpreter_call_code.delta": "call",
}
"""Which part of an output item an event brings a piece of; ``None`` is its text."""


def fold_response(response: ResponseState, event: Any) -> None:
    """Reads an event of a response: those that carry the response itself, pieces of it, and the error that ends it."""
    said = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    kind = said.get("type")
    if type(kind) is not str:
        return
    if kind in RESPONSE_PIECES:
        part, index = RESPONSE_PIECES[kind], said.get("output_index")
        key = index if part is None else (index, part, 0) if part == "call" else (index, part)
        if type(index) is int:
            response.transcript.add(key, said.get("delta"))
    elif kind in _RESPONSE_EVENTS:
        answer = fields_of(fields_of(event).get("response"))
        if kind in {"response.created", "response.queued", "response.in_progress"}:
            _read_common(response, answer)
            response.background = response.background or answer.get("background") is True
            return
        read_response(response, answer)
        if "status" not in answer:
            response.state = _RESPONSE_STATES.get(kind.partition(".")[2], "ok")
    elif kind == "response.output_item.done":
        response.transcript.item(said.get("output_index"), said.get("item"))
    elif kind == "response.output_item.added":
        response.transcript.begun(said.get("output_index"), said.get("item"))
    elif kind == "error":
        _read_error(response, fields_of(event))


def fold_run(response: ResponseState, event: Any) -> None:
    """Reads an event of an assistant's run; its steps repeat parts of the run's usage and are passed over."""
    said = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    kind = said.get("event")
    if isinstance(kind, str) and kind.startswith("thread.run.") and not kind.startswith("thread.run.step."):
        read_run(response, fields_of(said.get("data")))


def fold_session(response: ResponseState, event: Any) -> None:
    """Reads an event of an agent session: those that carry the session itself."""
    said = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
    if (session := said.get("session")) is not None:
        read_session(response, fields_of(session))


def _folder_of_last(*kinds: str) -> Callable[[ResponseState, Any], None]:
    """A folder for streams whose last event (of one of these types) carries the usage."""
    last = frozenset(kinds)

    def fold(response: ResponseState, event: Any) -> None:
        said = event if type(event) is dict else getattr(event, "__dict__", _NOTHING)
        kind = said.get("type")
        if type(kind) is not str:
            return
        if kind in last:
            _read_common(response, {"usage": fields_of(event).get("usage")})
            response.state = "ok"
            if kind.startswith("image"):
                response.extra = {**response.extra, "images": response.extra.get("images", 0) + 1}
        elif kind == "error":
            _read_error(response, fields_of(event).get("error") or fields_of(event))

    return fold


fold_image = _folder_of_last("image_generation.completed", "image_edit.completed")
fold_transcript = _folder_of_last("transcript.text.done")
fold_speech = _folder_of_last("speech.audio.done")
