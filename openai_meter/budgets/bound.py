"""The most that a call can cost, from its request alone: tokens, and pico-dollars at the highest rates that may apply.

The bound is strict where the request bounds the call: input by the bytes of the body, output by the limit that the
request sets, else by the model's ceiling, times the number of answers. Where it does not (earlier answers on the
server, hosted tools, files), :attr:`Bound.unbounded` has the reason, and the cost of such calls so far is used.

To add an endpoint, add a row to :data:`_RULES`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.budgets.rates import Kind, rates_of
from openai_meter.budgets.sizes import Size, measure, text_bytes
from openai_meter.core.usage import count
from openai_meter.pricing.types import Billable
from openai_meter.usage.billing_details import completion_window

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook
    from openai_meter.pricing.contexts import RequestFacts
    from openai_meter.pricing.plan import Plan

__all__ = ["CEILING", "OUTPUT_LIMITS", "PLAIN_KEYS", "Bound", "bound_of", "fact", "plan_of"]

OUTPUT_LIMITS: Mapping[str, tuple[str, ...]] = {
    "chat.completions": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "threads.runs": ("max_completion_tokens",),
}
"""The fields of a request that limit its output, by endpoint."""

CEILING = 128_000
"""Output tokens of a model whose ceiling is not known: the highest that is common."""
_IMAGE = 16_384
"""Tokens of one input image at most, where the model has no figure of its own."""
_GENERATED = {"gpt-image-1": 6_240, "gpt-image-1-mini": 6_240, "gpt-image-1.5": 6_240}
"""Tokens of one generated image at most: high quality, 1024 x 1536 (OpenAI's guide to image generation)."""
_PARTIAL = 100
"""Tokens that each partial image of a stream costs (same guide)."""
_AUDIO_FILE = 500
"""Bytes of a second of audio in a file at least: 4 kilobits a second, below what any codec of the API needs."""
_LISTENING = 10
"""Tokens of a second of audio."""
_COMPLETION = 16
"""Output tokens of a legacy completion whose request sets no limit (OpenAI's API reference)."""
_PRO = 4_096
"""Tokens that ``reasoning.mode: "pro"`` adds to the input at most; some 1,500 were seen."""
_VIDEO_SECONDS = 20
_PLANS = 1_000
"""The plans that a price book keeps, less some room for its own."""
_NOT_READ = frozenset({
    "background", "best_of", "include", "logprobs", "max_completion_tokens", "max_output_tokens", "max_prompt_tokens",
    "max_tokens", "metadata", "model", "n", "prompt_cache_key", "safety_identifier", "seed", "service_tier", "store",
    "stream", "stream_options", "temperature", "top_p", "user",
})  # fmt: skip
"""Fields of a request that are not shown to the model."""
PLAIN_KEYS = (_NOT_READ - {"background", "best_of", "include", "n", "service_tier"}) | {"input", "messages"}
"""The fields of a request whose bound is made of one text and one output limit."""
_ON_SERVER = ("previous_response_id", "conversation", "prompt")
"""Fields of a response's request by which the server adds input."""
_CLIENT_TOOLS = frozenset({"function", "custom", "apply_patch", "local_shell", None})
"""Tools that run in the program: they add nothing by themselves."""


class Bound(NamedTuple):
    """The most that a call can use."""

    tokens: int
    """Input and output tokens."""
    pico: int | None
    """Pico-dollars; ``None`` if the model has no price."""
    unbounded: str | None = None
    """The part that the request does not bound; the figures are then those of the rest."""
    unpriced: str | None = None
    """Why there is no price."""
    output_tokens: int = 0
    """The part of :attr:`tokens` that a lower output limit would reduce."""
    output_pico: int = 0
    """The price of one output token of each answer together, in pico-dollars; 0 if a limit would change nothing."""
    answers: int = 1


class _Units(NamedTuple):
    """The most that a call can use, in units that have a price."""

    size: Size
    answers: int = 1
    output: int = 0
    """Output tokens of each answer."""
    limited: bool = True
    """Whether a lower output limit would reduce them."""
    images: bool = False
    """Whether the output is images."""
    speech: bool = False
    """Whether the output may be audio."""
    slots: tuple[tuple[str, int], ...] = ()
    """Other units: seconds, characters, images, searches."""


_Rule = Callable[[str, Mapping[str, Any], "Plan | None", Callable[[str], int], Any], _Units]


def bound_of(
    request: RequestFacts, body: Mapping[str, Any], book: PriceBook | None, *, exact: bool = False, files: Any = None
) -> Bound:
    """The bound of a call that is about to be sent. In memory; some microseconds for each kilobyte of the body.

    Args:
        request: the call.
        body: its JSON body.
        book: the prices; ``None`` where no dollars are needed.
        exact: whether texts are counted with the vocabulary, if it is on this machine, instead of by their bytes.
        files: the files of a multipart request.
    """
    row = request.row
    if row.free:
        return Bound(0, 0)
    plan = None if book is None else plan_of(book, request, body)
    counter = _vocabulary(request.requested_model) if exact else text_bytes
    units = _RULES.get(row.name, _unknown)(row.name, body, plan, counter, files)
    size = units.size
    per_image = fact(plan, "image_tokens", _IMAGE)
    inputs = size.tokens + size.images * per_image + size.audio_tokens
    tokens = inputs + units.answers * units.output
    if plan is None:
        return Bound(tokens, None, size.unbounded, None, units.output if units.limited else 0, 0, units.answers)
    if plan.facts.get("free") and not plan.overridden:
        return Bound(tokens, 0)
    if plan.sheet is None:
        return Bound(tokens, None, size.unbounded, plan.reason or "unknown model")
    return _priced(units, plan, inputs, tokens, body)


def _priced(units: _Units, plan: Plan, inputs: int, tokens: int, body: Mapping[str, Any]) -> Bound:
    size, sheet = units.size, plan.sheet
    assert sheet is not None
    unpriced = None
    long = sheet.threshold is not None and inputs > sheet.threshold
    if long and plan.long is None:
        unpriced, long = "long requests", False
    kind = Kind(long, _cache_ttl(body) == "12h", size.images > 0, size.audio, units.images, units.speech)
    rates = rates_of(plan, kind)
    amount = rates.input * inputs + rates.output * units.answers * units.output + rates.call
    used = rates.priced or bool(rates.call)
    for slot, number in units.slots:
        rate = max(
            (price for name, price in rates.slots.items() if name == slot or name.startswith(f"{slot}@")), default=0
        )
        used = used or bool(rate)
        amount += ceil(rate * number * rates.factor)
    if not used:
        unpriced = unpriced or "no price for what it uses"
    return Bound(
        tokens,
        None if unpriced else amount,
        size.unbounded,
        unpriced,
        units.output if units.limited else 0,
        rates.output * units.answers if units.limited else 0,
        units.answers,
    )


def plan_of(book: PriceBook, request: RequestFacts, body: Mapping[str, Any]) -> Plan:
    """The same plan that the call is billed by; kept among the plans of the book under a key of its own."""
    tier = body.get("service_tier")
    tier = tier if isinstance(tier, str) and tier != "auto" else None
    window = completion_window(body) if "background_options" in body else None
    plans = book._state.plans  # noqa: SLF001 - as the price loader does
    day = int(time.time() // 86_400)
    key = ("bound", request.requested_model, request.provider, request.host, tier, window, request.row.name, day)
    plan = plans.get(key)
    if plan is None:
        plan = book._plan_of(  # noqa: SLF001
            Billable(
                None, request.requested_model, None, request.row.name, request.provider, request.host, tier,
                datetime.now(UTC), window=window,
            )
        )  # fmt: skip
        if len(plans) < _PLANS:
            plans[key] = plan
    return plan


def fact(plan: Plan | None, name: str, default: int) -> int:
    """A number among the facts of a price list."""
    value = None if plan is None else plan.facts.get(name)
    return value if type(value) is int else default


def _cache_ttl(body: Mapping[str, Any]) -> object:
    options = body.get("prompt_cache_options")
    return options.get("ttl") if isinstance(options, Mapping) else None


def _vocabulary(model: str | None) -> Callable[[str], int]:
    """Counts texts with the vocabulary of a model; by their bytes where it is not on this machine."""
    from openai_meter.usage.estimation.counter import Counter  # noqa: PLC0415 - most programs never need it
    from openai_meter.usage.estimation.encodings import load  # noqa: PLC0415
    from openai_meter.usage.estimation.families import traits  # noqa: PLC0415

    name = traits(model).encoding
    encoding = load(name, download=False)
    if encoding is None:
        return text_bytes
    counter = Counter(encoding, name)

    def tokens(text: str) -> int:
        found = counter.tok(text)
        return text_bytes(text) if counter.sampled else found

    return tokens


# --- rules ------------------------------------------------------------------------------------------------------------


def _read(body: Mapping[str, Any], counter: Callable[[str], int]) -> Size:
    return measure({name: value for name, value in body.items() if name not in _NOT_READ}, counter)


def _ceiling(name: str, body: Mapping[str, Any], plan: Plan | None, default: int | None = None) -> int:
    """The output tokens of one answer at most."""
    ceiling = fact(plan, "max_output_tokens", CEILING)
    limits = [limit for field in OUTPUT_LIMITS.get(name, ()) if (limit := count(body.get(field))) is not None]
    return min(*limits, ceiling) if limits else ceiling if default is None else default


def _number(value: object, default: int = 1) -> int:
    return max(count(value) or default, default)


def _chat(name: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], _: Any) -> _Units:
    size = _read(body, counter)
    output = _ceiling(name, body, plan)
    prediction = body.get("prediction")
    if prediction is not None:  # tokens of it that are rejected are billed as output
        output += measure({"prediction": prediction}).tokens
    modalities = body.get("modalities")
    speech = isinstance(modalities, list) and "audio" in modalities
    if _refers_to_audio(body.get("messages")):
        size.unbounded = size.unbounded or "audio"
    if body.get("web_search_options") is not None or _fact_is_set(plan, "search_each_call"):
        size.unbounded = size.unbounded or "web_search"
    return _Units(size, _number(body.get("n")), output, speech=speech)


def _fact_is_set(plan: Plan | None, name: str) -> bool:
    return plan is not None and plan.facts.get(name) is not None


def _refers_to_audio(messages: object) -> bool:
    return isinstance(messages, list) and any(
        isinstance(message, Mapping) and message.get("audio") is not None for message in messages
    )


def _response(name: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], _: Any) -> _Units:
    size = _read(body, counter)
    for field in _ON_SERVER:
        if body.get(field) is not None:
            size.unbounded = size.unbounded or field
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list | tuple) else ():
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind not in _CLIENT_TOOLS:
            size.unbounded = size.unbounded or str(kind)
    reasoning = body.get("reasoning")
    if isinstance(reasoning, Mapping) and reasoning.get("mode") == "pro":
        size.tokens += _PRO
    return _Units(size, 1, _ceiling(name, body, plan))


def _completion(name: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], _: Any) -> _Units:
    size = _read(body, counter)
    prompts = body.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    answers = several * max(_number(body.get("n")), _number(body.get("best_of")))
    return _Units(size, answers, _ceiling(name, body, plan, _COMPLETION))


def _input_only(_: str, body: Mapping[str, Any], __: Plan | None, counter: Callable[[str], int], ___: Any) -> _Units:
    return _Units(_read(body, counter))


def _images(_: str, body: Mapping[str, Any], __: Plan | None, counter: Callable[[str], int], files: Any) -> _Units:
    size = _read(body, counter)
    size.images += len(files) if isinstance(files, list | tuple | Mapping) else 0
    model = body.get("model")
    number = _number(body.get("n"))
    each = _GENERATED.get(model) if isinstance(model, str) else None
    if each is None:
        size.unbounded, each = size.unbounded or "the size of a generated image", _IMAGE
    partial = _number(body.get("partial_images"), 0) * _PARTIAL
    return _Units(size, number, each + partial, limited=False, images=True, slots=(("image", number),))


def _listening(_: str, body: Mapping[str, Any], plan: Plan | None, __: Callable[[str], int], files: Any) -> _Units:
    size = measure(body)
    seconds = 0
    length = _file_bytes(files)
    if length is None:
        size.unbounded = "a file of unknown length"
    else:
        seconds = length // _AUDIO_FILE + 1
        size.audio, size.audio_tokens = True, seconds * _LISTENING
    by_time = plan is not None and "input" not in plan.short
    output = 0 if by_time else fact(plan, "max_output_tokens", 16_384)
    return _Units(size, 1, output, limited=False, slots=(("second", seconds),) if by_time else ())


def _file_bytes(files: Any) -> int | None:
    """The bytes of all files of a multipart request; ``None`` if one does not state its length."""
    total = 0
    for entry in files.values() if isinstance(files, Mapping) else files or ():
        file = entry[1] if isinstance(files, list | tuple) and isinstance(entry, tuple) else entry
        content = file[1] if isinstance(file, tuple) and len(file) > 1 else file
        if not isinstance(content, bytes | bytearray | memoryview):
            return None
        total += len(content)
    return total or None


def _speech(_: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], __: Any) -> _Units:
    size = _read(body, counter)
    text = body.get("input")
    characters = len(text) if isinstance(text, str) else 0
    if plan is not None and "characters" in plan.short:
        return _Units(size, slots=(("characters", characters),))
    size.unbounded = "spoken output"
    return _Units(size, 1, 20 * characters + 256, limited=False, speech=True)


def _video(_: str, body: Mapping[str, Any], __: Plan | None, ___: Callable[[str], int], ____: Any) -> _Units:
    size = Size()
    seconds = body.get("seconds")
    known = int(seconds) if isinstance(seconds, str) and seconds.isdecimal() else count(seconds)
    return _Units(size, slots=(("second", known or _VIDEO_SECONDS),))


def _run(name: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], _: Any) -> _Units:
    size = _read(body, counter)
    prompt = count(body.get("max_prompt_tokens"))
    if prompt is None or count(body.get("max_completion_tokens")) is None:
        size.unbounded = "thread"
    else:
        size.tokens = max(size.tokens, prompt)
    return _Units(size, 1, _ceiling(name, body, plan))


def _unknown(name: str, body: Mapping[str, Any], plan: Plan | None, counter: Callable[[str], int], _: Any) -> _Units:
    size = _read(body, counter)
    size.unbounded = name
    return _Units(size, 1, _ceiling(name, body, plan), limited=False)


_RULES: Mapping[str, _Rule] = {
    "chat.completions": _chat,
    "completions": _completion,
    "responses": _response,
    "responses.compact": _response,
    "embeddings": _input_only,
    "decisions": _input_only,
    "images.generate": _images,
    "images.edit": _images,
    "images.variation": _images,
    "audio.transcriptions": _listening,
    "audio.translations": _listening,
    "audio.speech": _speech,
    "videos": _video,
    "threads.runs": _run,
}
"""How the units of a call are bounded, by endpoint. All others (batches, evals, training) are unbounded."""
