"""Readers of whole answers: model, tier, state and usage of each endpoint, read into a :class:`ResponseState`.

A reader takes the fields of an answer. ``stream_events.py`` has the folders, which do the same event by event. Which of
them serves which endpoint stands in ``endpoints.py``. No reader raises for what an answer contains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from openai_meter.core.call import Status
from openai_meter.core.usage import Usage, count, fields_of, seconds
from openai_meter.core.usage_objects import merge_usage, read_usage
from openai_meter.usage.billing_details import answer_facts
from openai_meter.usage.response_headers import NO_HEADERS
from openai_meter.usage.transcript import BATCH, Transcript

__all__ = ["Fields", "ResponseState", "read_common", "read_error"]

Fields = Mapping[str, Any]
_NOTHING: Fields = {}


class ResponseState:
    """What is known so far of one answer: filled by a reader at once, or by a folder event by event.

    The usage object is kept as it came and read once at the end: a stream may repeat it on every chunk, and only its
    last figures count. The text of a stream is collected only in case that there is no usage.
    """

    __slots__ = (
        "_transcript",
        "background",
        "containers",
        "error_type",
        "extra",
        "facts",
        "headers",
        "images_requested",
        "is_openai",
        "model",
        "response_id",
        "service_tier",
        "split",
        "state",
        "text_index",
        "text_pieces",
        "text_room",
        "token_arrived",
        "tool_items",
        "unreadable",
        "usage",
    )

    def __init__(self) -> None:
        self.response_id: str | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.usage: object = None
        """The usage object as the SDK gave it."""
        self.state: Status | Literal["open"] | None = None
        """How the work ended, ``open`` while the server still works, ``None`` while that is unknown."""
        self.error_type: str | None = None
        self.background = False
        self.extra: Fields = _NOTHING
        """Counts of :class:`Usage` that stand outside the usage object."""
        self.facts: Fields = _NOTHING
        """Rare facts that the price depends on (``billing_details.py``)."""
        self.headers = NO_HEADERS
        """What the record takes over from the headers of the answer."""
        self.containers: tuple[str, ...] = ()
        """The containers that hosted tools ran in: several answers may share one session of a container."""
        self.tool_items: list[Fields] = []
        """The calls of hosted tools that a stream has brought so far: they are charged also if the stream is left."""
        self.unreadable = False
        """Whether there is an answer that could not be read (an unknown compression, a body that is too large)."""
        self.token_arrived = False
        """Whether a stream has brought a token that the transcript does not keep: audio, a summary of reasoning."""
        self.images_requested = 0
        """Images that the request asks for: their number where the answer is too large to be kept."""
        self.split: tuple[tuple[str | None, Usage], ...] = ()
        """Usage by model, where one answer reports several."""
        self._transcript: Transcript | None = None
        self.is_openai = False
        """Whether OpenAI or Azure answers: their events have no fields of other hosts."""
        self.text_index: int | None = None
        """The choice or output item that :attr:`text_pieces` belong to."""
        self.text_pieces: list[str] = []
        """The last pieces of its text, none of them empty. They are added to the transcript together, for speed."""
        self.text_room = 0
        """Characters that :attr:`text_pieces` may still take, so that neither they nor their number grow large."""

    @property
    def transcript(self) -> Transcript:
        """The text and the tool calls of a stream. Made when it is first needed: most answers are not streams."""
        transcript = self._transcript
        if transcript is None:
            transcript = self._transcript = Transcript()
        if self.text_index is not None:
            pieces, self.text_pieces, self.text_room = self.text_pieces, [], BATCH
            if pieces:
                transcript.add_all(self.text_index, pieces)
        return transcript

    def drop_transcript(self) -> None:
        """Forgets the text."""
        self._transcript = None
        self.text_pieces = []

    @property
    def has_token(self) -> bool:
        """Whether a token of a streamed answer has arrived: text, a refusal, a tool call, audio, reasoning."""
        if self.token_arrived or self.text_pieces:
            return True
        return self._transcript is not None and self._transcript.has_token

    def replay(self, fold: Callable[[ResponseState, Any], object]) -> None:
        """Folds the events that were kept as bytes. They are older than what is known, which they do not change."""
        known = {name: value for name in _LAST_WINS if (value := getattr(self, name)) is not None}
        for event in self.transcript.events():
            fold(self, event)
        for name, value in known.items():
            setattr(self, name, value)

    def begin_text(self, index: object) -> bool:
        """Prepares for pieces of the text of a choice or item.

        Returns:
            ``False`` if ``index`` is not a number, or no token has arrived yet: the moment of the first one is recorded
            where events are folded.
        """
        if type(index) is int and self.has_token:
            _ = self.transcript  # the pieces of the text before this one are added to it
            self.text_index, self.text_room = index, BATCH
            return True
        return False

    def reported(self) -> Usage | None:
        """The usage object, read, or ``None`` if there is none."""
        return None if self.usage is None else read_usage(self.usage)

    def total(self) -> Usage | None:
        """All that was consumed, or ``None`` if the API did not report it."""
        usage = None if self.usage is None else read_usage(self.usage)
        if not self.extra:
            return usage
        counts = Usage(**self.extra)
        return counts if usage is None else usage + counts


_LAST_WINS = ("error_type", "model", "response_id", "service_tier", "state", "usage")
"""The fields that later events of a stream replace."""


# --- readers of whole answers -----------------------------------------------------------------------------------------


def text_or_none(value: object) -> str | None:
    """A text that is not empty, or ``None``."""
    return value if isinstance(value, str) and value else None


def read_common(response: ResponseState, answer: Fields) -> None:
    """Reads id, model, tier and usage in their usual places; a missing or empty value changes nothing."""
    get = answer.get
    if (identity := get("id")) and isinstance(identity, str):
        response.response_id = identity
    if (model := get("model")) and isinstance(model, str):
        response.model = model
    if (tier := get("service_tier")) is not None:
        response.service_tier = text_or_none(tier) or response.service_tier
    usage = get("usage")
    if usage is not None:
        response.usage = usage if response.usage is None else merge_usage(response.usage, usage)


# An error's code is a word. Some hosts put a sentence there, which may quote the prompt: it is not kept.
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def read_error(response: ResponseState, error: object) -> None:
    """Reads the error object of an answer."""
    fields = fields_of(error)
    response.state = "failed"
    response.error_type = _word(fields.get("code")) or _word(fields.get("type")) or "unknown_error"


def read_object(response: ResponseState, answer: Fields) -> None:
    """Reads an answer that has its id, model, tier and usage in the usual places."""
    read_common(response, answer)
    response.state = "ok"
    if (error := answer.get("error")) is not None:
        read_error(response, error)


def read_embeddings(response: ResponseState, answer: Fields) -> None:
    """Reads an embeddings answer: all its tokens are input, also where the host states only the total."""
    read_object(response, answer)
    usage = fields_of(response.usage)
    if not (usage.get("prompt_tokens") or usage.get("input_tokens")) and usage.get("total_tokens"):
        response.usage = {**usage, "prompt_tokens": usage.get("total_tokens")}


_STOPPED_EARLY = frozenset({"length", "content_filter"})


def read_each_choice(response: ResponseState, choices: object) -> None:
    """Reads how the choices of a chat completion or completion ended, and the usage that some hosts put in them."""
    if isinstance(choices, list):
        for choice in choices:
            fields = fields_of(choice)
            reason = fields.get("finish_reason")
            if reason is not None and text_or_none(reason) is not None:
                response.state = "incomplete" if reason in _STOPPED_EARLY else response.state or "ok"
            if (usage := fields.get("usage")) is not None:
                read_nested_usage(response, usage)


def read_nested_usage(response: ResponseState, usage: object) -> None:
    """Reads a usage object that is not at the top of an answer; one at the top takes precedence."""
    response.usage = usage if response.usage is None else merge_usage(usage, response.usage)


def read_choices(response: ResponseState, answer: Fields) -> None:
    """Reads a chat completion or a completion; the model having stopped early makes it incomplete."""
    read_common(response, answer)
    response.state = "ok"
    read_each_choice(response, answer.get("choices"))
    if (groq := answer.get("x_groq")) is not None and (usage := fields_of(groq).get("usage")) is not None:
        read_nested_usage(response, usage)
    if (error := answer.get("error")) is not None and not answer.get("choices"):
        read_error(response, error)


RESPONSE_STATES: dict[object, Status | Literal["open"]] = {
    "completed": "ok",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "aborted",
    "queued": "open",
    "in_progress": "open",
}


def read_response(response: ResponseState, answer: Fields) -> None:
    """Reads a response of the Responses API, with the hosted tools it used."""
    read_common(response, answer)
    response.background = response.background or answer.get("background") is True
    response.state = RESPONSE_STATES.get(text_or_none(answer.get("status")), "ok")
    if response.state == "open" and response.service_tier == "auto":
        response.service_tier = None  # what was requested; the tier that served is in the last event
    if (error := answer.get("error")) is not None:
        read_error(response, error)
    if answer.get("tools") or answer.get("tool_usage"):
        response.facts = {**response.facts, **answer_facts(answer)}
    _read_tools(response, answer)


_CONTAINER_CALLS = frozenset({"code_interpreter_call", "shell_call"})
"""The items of tools that run in a container of OpenAI's."""


_FEES = ("web_searches", "file_searches", "container_sessions")
_HOSTED_CALLS = _CONTAINER_CALLS | {"web_search_call", "file_search_call", "image_generation_call"}
_ITEM_FIELDS = ("type", "status", "action", "container_id", "environment")
_MOST_ITEMS = 1_000


def read_item(response: ResponseState, item: object) -> None:
    """Reads an item that a stream has completed: the fee of a hosted tool is charged, however the stream ends."""
    fields = fields_of(item)
    if fields.get("type") in _HOSTED_CALLS and len(response.tool_items) < _MOST_ITEMS:
        response.tool_items.append({name: fields[name] for name in _ITEM_FIELDS if name in fields})
        _read_tools(response, _NOTHING)


def _read_tools(response: ResponseState, answer: Fields) -> None:
    searches = files = images = 0
    containers: dict[str, None] = {}
    output = answer.get("output") or response.tool_items
    for item in output if isinstance(output, list) else ():
        fields = fields_of(item)
        kind = fields.get("type")
        if kind == "web_search_call":
            # Opening a page, or finding a text in it, is not a search and is not billed as one.
            searches += fields_of(fields.get("action")).get("type", "search") == "search"
        elif kind == "file_search_call":
            files += 1
        elif kind in _CONTAINER_CALLS:
            place = fields.get("container_id") or fields_of(fields.get("environment")).get("container_id")
            if (container := text_or_none(place)) is not None:
                containers[container] = None
        elif kind == "image_generation_call":
            images += fields.get("status") in (None, "completed") or fields.get("result") is not None
    if (tools := answer.get("tool_usage")) is not None:
        billed = count(fields_of(fields_of(tools).get("web_search")).get("num_requests"))
        searches = searches if billed is None else billed
    if images and "image_usage" not in response.facts:
        response.facts = {**response.facts, "unreported_images": images}
    response.containers = tuple(containers)
    found = dict(zip(_FEES, (searches, files, len(containers)), strict=True))
    if any(found.values()) or response.tool_items:
        others = {name: number for name, number in response.extra.items() if name not in found}
        response.extra = others | {name: number for name, number in found.items() if number}


def read_images(response: ResponseState, answer: Fields) -> None:
    """Reads an images answer: the usage if the model has one, and how many images there are."""
    read_object(response, answer)
    response.facts = {**response.facts, **answer_facts(answer)}
    images = answer.get("data")
    number = len(images) if isinstance(images, list) else response.images_requested
    if number and response.state == "ok":
        response.extra = {**response.extra, "images": number}


def read_transcript(response: ResponseState, answer: Fields) -> None:
    """Reads a transcription or translation; without usage, the duration of the audio is what was consumed."""
    read_object(response, answer)
    if response.usage is None and (duration := seconds(answer.get("duration"))):
        response.extra = {**response.extra, "seconds": duration}


def read_video(response: ResponseState, answer: Fields) -> None:
    """Reads a video job: it is billed by its seconds, which are known when it begins."""
    read_object(response, answer)
    response.facts = {**response.facts, **answer_facts(answer)}
    if duration := seconds(answer.get("seconds")):
        response.extra = {**response.extra, "seconds": duration}
    if answer.get("status") == "failed":
        response.state = "failed"


def _reader_of_job(states: Mapping[object, Status]) -> Callable[[ResponseState, Fields], None]:
    """A reader of work on the server: ``states`` are its final states, in every other it is still open."""

    def read(response: ResponseState, answer: Fields) -> None:
        read_common(response, answer)
        response.state = states.get(text_or_none(answer.get("status")), "open")
        if response.state == "failed":
            read_error(response, answer.get("last_error") or answer.get("error") or answer.get("errors"))

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
    for model in models if isinstance(models, list) else ():
        fields = fields_of(model)
        if (usage := read_usage(fields)) is not None:
            response.split += ((text_or_none(fields.get("model_name")), usage),)


def read_tuning(response: ResponseState, answer: Fields) -> None:
    """Reads a fine-tuning job: the tokens it trained on are its input."""
    _read_tuning(response, answer)
    if (trained := count(answer.get("trained_tokens"))) is not None:
        response.usage = {"input_tokens": trained, "output_tokens": 0}


def read_session(response: ResponseState, answer: Fields) -> None:
    """Reads an agent session: its usage is the sum of all turns so far."""
    _read_session(response, answer)
    response.model = response.model or text_or_none(fields_of(answer.get("agent")).get("model"))


def read_grader(response: ResponseState, answer: Fields) -> None:
    """Reads a grader's run: a count of tokens that is not split into input and output, by model where it has that."""
    metadata = fields_of(answer.get("metadata"))
    response.state = "ok"
    response.model = text_or_none(metadata.get("sampled_model_name"))
    response.usage = {"total_tokens": metadata.get("token_usage")}
    # The SDK renames the field because "model_" is taken in pydantic; a dict has it under its own name.
    models = answer.get("model_grader_token_usage_per_model") or answer.get("api_model_grader_token_usage_per_model")
    for model, tokens in fields_of(models).items():
        usage = read_usage(tokens if isinstance(tokens, dict) else {"total_tokens": tokens})
        if usage is not None:
            response.split += ((model, usage),)
