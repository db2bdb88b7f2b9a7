"""Made-up content and its token counts: a pure function of the request, so that equal requests cost the same."""

import json
import random
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from openai_meter.testing.fake_api.handlers import ApiError, Call, Json

_SENTENCES = (
    "The team spends most of its week on work that repeats itself.",
    "A shared inbox hides who answers which question.",
    "Two of the three goals can be reached with what is already there.",
    "Every request passes four desks before somebody decides.",
    "The pilot should start with one region and one product.",
    "Nobody measures how long an order waits between two steps.",
    "Short reports help more than complete ones.",
    "The numbers of last spring are the best starting point.",
    "Customers ask for dates first and for prices second.",
    "A weekly look at the open cases would catch most delays.",
    "Half of the questions are answered in the handbook.",
    "The plan fits on one page and names an owner for each part.",
)

_FAMILIES = re.compile(
    r"(ft:)?(gpt-(3\.5|4|5|6|image|audio|realtime|oss)|chatgpt-|o[134](-|$)|codex-|computer-use-|chat-latest"
    r"|text-embedding-|text-moderation|omni-moderation|davinci|babbage|whisper-|tts-|dall-e-|sora-)"
)
_REASONING = re.compile(r"(ft:)?(gpt-[56]|o\d)")
_CACHE_WRITES_REPORTED = re.compile(r"(ft:)?gpt-(5\.[6-9]|6)")

SNAPSHOTS = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5-nano": "gpt-5-nano-2025-08-07",
    "gpt-5.1": "gpt-5.1-2025-11-13",
    "gpt-5.2": "gpt-5.2-2025-12-11",
    "gpt-5.4": "gpt-5.4-2026-03-05",
    "gpt-5.5": "gpt-5.5-2026-04-23",
    "gpt-5.6": "gpt-5.6-sol",
    "o1": "o1-2024-12-17",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
}
"""Which dated model answers for a short name; a name without a row answers as itself. To add one, add a row."""

AZURE_MODEL = "gpt-4o-mini-2024-07-18"
"""The model of a deployment whose name does not contain one."""

_NOT_PROMPT = frozenset({"role", "type", "id", "call_id", "tool_call_id", "detail", "status", "image_url", "file_id"})
_PER_MESSAGE = 4
_PER_REQUEST = 3
_IMAGE_TOKENS = 85
_AUDIO_TOKENS = 30
_CACHE_FLOOR = 1024
_CACHE_STEP = 128


class Tokens(NamedTuple):
    """The tokens of one answer; `cached` is part of `input`, `reasoning` is part of `output`."""

    model: str
    input: int
    output: int
    reasoning: int = 0
    cached_exactly: int | None = None
    """How much of the input was cached, where that is not made up."""

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output

    @property
    def cached(self) -> int:
        """The part of the input read from the prompt cache: none up to 1024 tokens, then a multiple of 128."""
        if self.cached_exactly is not None:
            return self.cached_exactly
        if self.input <= _CACHE_FLOOR:
            return 0
        return _CACHE_FLOOR + (self.input - _CACHE_FLOOR) // (2 * _CACHE_STEP) * _CACHE_STEP

    def chat(self) -> Json:
        """The usage object of chat completions."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.total,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0, **self._cache_writes()},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def responses(self) -> Json:
        """The usage object of responses."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached, **self._cache_writes()},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total,
        }

    def run(self) -> Json:
        """The usage object of assistants' runs; `prompt_token_details` is the API's own spelling."""
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.total,
            "prompt_token_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }

    def agent(self) -> Json:
        """The usage object of agent sessions and their turns."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total,
        }

    def _cache_writes(self) -> Json:
        return {"cache_write_tokens": 0} if _CACHE_WRITES_REPORTED.match(self.model) else {}


def reported_tokens(call: Call, made_up: Tokens) -> Tokens:
    """The tokens in the answer to a call: those that the test has set, else those that are made up."""
    wanted, tokens = call.wanted, made_up
    if wanted.input_tokens is not None:
        tokens = tokens._replace(input=wanted.input_tokens, cached_exactly=0)
    if wanted.cached_input_tokens is not None:
        tokens = tokens._replace(cached_exactly=wanted.cached_input_tokens)
    if wanted.output_tokens is not None:
        tokens = tokens._replace(output=wanted.output_tokens, reasoning=0)
    if wanted.reasoning_tokens is not None:
        tokens = tokens._replace(reasoning=wanted.reasoning_tokens)
    return tokens


class Written(NamedTuple):
    """Text that a model wrote: `tokens` counts the text only; it is not `complete` when a limit cut it."""

    text: str
    tokens: int
    reasoning: int
    complete: bool


def number_of(*parts: Any) -> int:
    """A number that depends on the parts only, whatever the process."""
    return zlib.crc32(json.dumps(parts, sort_keys=True, default=str).encode())


def text_tokens(text: str) -> int:
    """Counts one token for every four characters begun."""
    return -(-len(text) // 4)


def prompt_tokens(value: Any) -> int:
    """Counts what a prompt of any shape costs: text, messages, content parts, or token numbers."""
    if isinstance(value, str):
        return text_tokens(value)
    if isinstance(value, list):
        return sum(1 if isinstance(item, int) else prompt_tokens(item) for item in value)
    if not isinstance(value, dict):
        return 0
    if value.get("type") in ("image_url", "input_image"):
        return _IMAGE_TOKENS
    if value.get("type") == "input_audio":
        return _AUDIO_TOKENS
    own = sum(prompt_tokens(item) for name, item in value.items() if name not in _NOT_PROMPT)
    return own + (_PER_MESSAGE if "role" in value else 0)


def request_tokens(prompt: Any, *extras: Any) -> int:
    """Counts a whole request: the prompt, and extras such as tools or a schema as their JSON text."""
    texts = sum(text_tokens(json.dumps(extra)) for extra in extras if extra)
    return _PER_REQUEST + prompt_tokens(prompt) + texts


def reasoning_tokens(model: str, effort: str | None, seed: int) -> int:
    """Tokens spent before the answer: none for models that do not reason, or when told not to."""
    if not _REASONING.match(model) or effort in ("none", "minimal"):
        return 0
    return 64 * (1 + seed % 3)


def prose(seed: int) -> str:
    """Two to four sentences, the same for the same seed."""
    count = 2 + seed % 3
    return " ".join(_SENTENCES[(seed // 7 + 5 * i) % len(_SENTENCES)] for i in range(count))


def written(text: str, reasoning: int, limit: int | None) -> Written:
    """Cuts an answer at `limit` tokens; reasoning comes first and can use the limit up alone."""
    tokens = text_tokens(text)
    if limit is None or reasoning + tokens <= limit:
        return Written(text, tokens, reasoning, complete=True)
    room = max(0, limit - reasoning)
    return Written(text[: 4 * room], room, min(reasoning, limit), complete=False)


def pieces(text: str) -> Iterator[str]:
    """The parts in which a text is streamed, each a word with the blanks before it; joined they are the text."""
    for match in re.finditer(r"\s*\S+|\s+$", text):
        yield match.group()


def padding(seed: int) -> str:
    """The random-looking filler that streams carry against guessing by packet length."""
    digits = f"{seed * 2654435761:x}"
    return digits[: 2 + seed % 12]


def known_model(name: str) -> bool:
    """Whether the name belongs to a model family that the demo API serves."""
    return _FAMILIES.match(name) is not None


def model_of(call: Call, default: str | None = None) -> str:
    """The model that answers the call; raises the API's 404 for an unknown one, 400 for a missing one."""
    if call.deployment is not None or call.azure:
        deployed = str(call.body.get("model") or call.deployment)
        return SNAPSHOTS.get(deployed, deployed if known_model(deployed) else AZURE_MODEL)
    if default is not None and call.body.get("model") is None:
        return default
    name = call.body.get("model")
    if not isinstance(name, str) or not name:
        raise ApiError(400, "You must provide a model parameter.", param="model", code="missing_required_parameter")
    if not known_model(name) and not call.wanted.any_model:
        message = f"The model `{name}` is not known here, or you have no access to it."
        raise ApiError(404, message, code="model_not_found")
    return SNAPSHOTS.get(name, name)


def served_tier(requested: str | None) -> str:
    """The service tier of an answer: `fast` is served as priority, no wish as default."""
    tier = requested or "auto"
    return {"fast": "priority", "auto": "default"}.get(tier, tier)


def noise(seed: int, length: int) -> bytes:
    """Bytes that look random and are the same for the same seed."""
    return random.Random(seed).randbytes(length)
