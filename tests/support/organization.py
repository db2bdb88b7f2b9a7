"""A stand-in for the usage and costs endpoints of an organization, made of the response types of the SDK.

What happened is a list of :class:`Used` and :class:`Charged`; :class:`Organization` groups, pages and refuses as the
API documents it. It is reached through :class:`FakeAdmin`, which has the methods of the SDK, or over HTTP with a real
client (:func:`serve`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qsl

from openai_meter import Call, PriceBook
from openai_meter.pricing.types import TIERS
from openai_meter.testing.fake_api.loopback import Answer, LoopbackServer, Request

__all__ = [
    "KEY", "PROJECT", "Charged", "FakeAdmin", "Organization", "Used", "add_call", "bill_calls", "error_answer",
    "line_name", "serve",
]  # fmt: skip

PROJECT, KEY = "proj_ours", "key_ours"
_TYPES = "openai.types.admin.organization"
_LIMITS = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
_WIDTHS = {"1d": 86_400, "1h": 3_600, "1m": 60}


@dataclass(frozen=True)
class Used:
    """Some requests at one moment, as the usage endpoints count them."""

    at: datetime
    kind: str = "completions"
    model: str | None = "gpt-5-mini"
    project: str | None = PROJECT
    key: str | None = KEY
    tier: str = "default"
    batch: bool = False
    requests: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)
    """Named as the fields of the SDK's result."""


@dataclass(eq=False)
class Charged:
    """A part of the costs of a day."""

    day: date
    line_item: str
    usd: Fraction
    quantity: Fraction | None = None
    unit: str | None = "tokens"
    project: str | None = PROJECT
    key: str | None = KEY


class RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Organization:
    """What happened in an organization, and how its endpoints answer."""

    used: list[Used] = field(default_factory=list)
    charged: list[Charged] = field(default_factory=list)
    key_groups: bool = True
    """Whether costs can be grouped by key."""
    as_text: bool = False
    """Whether amounts are texts, as some answers of the API have them."""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON of one page.

        Raises:
            RefusedError: the API would refuse the parameters.
        """
        self.requests.append((kind, dict(params)))
        groups = list(params.get("group_by") or ())
        allowed = _groups(kind)
        if wrong := [name for name in groups if name not in allowed]:
            raise RefusedError(400, f"Invalid value: {wrong}. Supported values are: {sorted(allowed)}.")
        if kind == "costs" and "api_key_id" in groups and not self.key_groups:
            raise RefusedError(400, "This organization cannot group costs by api_key_id.")
        width = params.get("bucket_width", "1d")
        default, most = (7, 180) if kind == "costs" else _LIMITS[width]
        limit = int(params.get("limit", default))
        if not 1 <= limit <= most:
            raise RefusedError(400, f"Invalid 'limit': {limit} is not between 1 and {most}.")
        start, end = int(params["start_time"]), int(params["end_time"])
        first = int(str(params.get("page") or f"page_{start}").removeprefix("page_"))
        buckets = []
        at = first
        while at < end and len(buckets) < limit:
            buckets.append(self._bucket(kind, at, at + _WIDTHS[width], groups))
            at += _WIDTHS[width]
        more = at < end
        return {"object": "page", "data": buckets, "has_more": more, "next_page": f"page_{at}" if more else None}

    def _bucket(self, kind: str, start: int, end: int, groups: list[str]) -> dict[str, Any]:
        sums: dict[tuple[Any, ...], dict[str, Any]] = {}
        rows = self._costs(start, end) if kind == "costs" else self._usage(kind, start, end)
        for labels, numbers in rows:
            total = sums.setdefault(tuple(labels.get(name) for name in groups), {})
            for name, number in numbers.items():
                total[name] = number if name == "quantity_unit" else total.get(name, 0) + number
        results = [self._result(kind, groups, key, numbers) for key, numbers in sums.items()]
        return {"object": "bucket", "start_time": start, "end_time": end, "results": results}

    def _usage(self, kind: str, start: int, end: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for row in self.used:
            if row.kind == kind and start <= row.at.timestamp() < end:
                labels = {
                    "project_id": row.project, "api_key_id": row.key, "model": row.model, "batch": row.batch,
                    "service_tier": row.tier,
                }  # fmt: skip
                yield labels, {"num_model_requests": row.requests, **row.counts}

    def _costs(self, start: int, end: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for row in self.charged:
            at = datetime(row.day.year, row.day.month, row.day.day, tzinfo=UTC).timestamp()
            if start <= at < end:
                labels = {"project_id": row.project, "api_key_id": row.key, "line_item": row.line_item}
                numbers: dict[str, Any] = {"usd": row.usd}
                if row.quantity is not None:
                    numbers |= {"quantity": row.quantity, "quantity_unit": row.unit}
                yield labels, numbers

    def _result(self, kind: str, groups: list[str], key: tuple[Any, ...], numbers: dict[str, Any]) -> dict[str, Any]:
        values = dict(zip(groups, key, strict=True))
        if kind == "costs":
            amount: Any = float(numbers["usd"])
            if self.as_text:
                amount = f"{_decimal(numbers['usd'])}"
            values |= {"object": "organization.costs.result", "amount": {"value": amount, "currency": "usd"}}
            if "line_item" in groups and "quantity" in numbers:
                values |= {"quantity": float(numbers["quantity"]), "quantity_unit": numbers["quantity_unit"]}
            return values
        result = _result_type(kind)
        counted = {name: number for name, number in numbers.items() if name in result.model_fields}
        required = {name: 0 for name, info in result.model_fields.items() if info.is_required() and name != "object"}
        (object_name,) = get_args(result.model_fields["object"].annotation)
        made = result(**{"object": object_name, **required, **counted, **values})
        return made.model_dump()  # type: ignore[no-any-return]


def _decimal(number: Fraction) -> str:
    context = Context(prec=60)
    return f"{context.divide(Decimal(number.numerator), Decimal(number.denominator)):f}"


def _groups(kind: str) -> frozenset[str]:
    """What the SDK's parameters of an endpoint allow to group by."""
    module = import_module(f"{_TYPES}.usage_{kind}_params")
    (params,) = (value for name, value in vars(module).items() if name.endswith("Params"))
    return frozenset(_literals(get_type_hints(params)["group_by"]))


def _literals(hint: Any) -> Iterator[str]:
    for part in get_args(hint):
        if isinstance(part, str):
            yield part
        else:
            yield from _literals(part)


def _result_type(kind: str) -> Any:
    """The SDK's type of the results of an endpoint."""
    module = import_module(f"{_TYPES}.usage_{kind}_response")
    words = {"web_search_calls": "WebSearches", "file_search_calls": "FileSearches", "decisions": "Completions"}
    name = words.get(kind) or "".join(word.title() for word in kind.split("_"))
    return getattr(module, f"DataResultOrganizationUsage{name}Result")


class _StatusError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status


class FakeAdmin:
    """A client with ``admin.organization.usage``: answers are the SDK's response objects."""

    def __init__(self, organization: Organization) -> None:
        self._organization = organization
        self.admin = self
        self.organization = self
        self.usage = self

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        try:
            module = import_module(f"{_TYPES}.usage_{kind}_response")
        except ImportError:
            raise AttributeError(kind) from None
        (response,) = (
            value for name, value in vars(module).items() if name.startswith("Usage") and name.endswith("Response")
        )

        def method(**params: Any) -> Any:
            try:
                return response.construct(**self._organization.answer(kind, params))
            except RefusedError as error:
                raise _StatusError(error.status, str(error)) from None

        return method


@contextmanager
def serve(
    organization: Organization, before: Callable[[str, int], Answer | None] = lambda _kind, _number: None
) -> Iterator[str]:
    """The same over HTTP: gives the ``base_url``. ``before`` may answer a request of an endpoint first."""
    numbers: dict[str, int] = defaultdict(int)

    def answer(request: Request) -> Answer:
        kind = request.path.rsplit("/", 1)[1]
        numbers[kind] += 1
        if (first := before(kind, numbers[kind])) is not None:
            return first
        params: dict[str, Any] = {}
        for name, value in parse_qsl(request.query):
            if name.endswith("[]"):
                params.setdefault(name[:-2], []).append(value)
            else:
                params[name] = value
        try:
            return Answer(
                200, {"content-type": "application/json"}, json.dumps(organization.answer(kind, params)).encode()
            )
        except RefusedError as error:
            return error_answer(error.status, str(error))

    with LoopbackServer(answer) as server:
        yield f"{server.url}/v1"


def error_answer(status: int, message: str, **headers: str) -> Answer:
    """An answer with the API's error object."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, json.dumps(body).encode())


# --- a bill of calls --------------------------------------------------------------------------------------------------

_KINDS = {
    "embeddings": "embeddings",
    "moderations": "moderations",
    "audio.speech": "audio_speeches",
    "audio.transcriptions": "audio_transcriptions",
    "audio.translations": "audio_transcriptions",
    "decisions": "decisions",
}
_WORDS = {
    "input": "input", "web_search_tokens": "input", "cached_input": "cached input", "cache_write": "cache writes",
    "cache_write_12h": "cache writes 12h", "output": "output", "characters": "characters", "second": "duration",
    "image": "images",
}  # fmt: skip
_FEES = {
    "web_search": "web search tool calls",
    "file_search": "file search tool calls",
    "container": "code interpreter sessions",
}
_UNITS = {"token": "tokens", "character": "characters", "second": "duration_seconds", "image": "images", "call": None}


def line_name(model: str | None, item: str, tier: str | None, bracket: str | None) -> str:
    """The name of a line as bills have it."""
    if item in _FEES:
        return _FEES[item]
    side, _, modality = item.partition("_")
    named = f"{model} {modality}, {side}" if modality in {"audio", "image"} else f"{model}, {_WORDS[item]}"
    if side == "cached" and modality in {"audio", "image"}:
        named = f"{model} {modality}, cached input"
    prefix = "" if tier in {None, "default"} else f"{tier} | "
    return f"{prefix}{named}{', long context' if bracket else ''}"


def bill_calls(
    calls: Iterable[Call],
    book: PriceBook | None = None,
    *,
    project: str | None = PROJECT,
    key: str | None = KEY,
    tiers_named: bool = True,
) -> Organization:
    """The organization in which exactly these calls were made, billed by a price book.

    ``tiers_named``: whether the names of lines state the tier.
    """
    book = book or PriceBook()
    organization = Organization()
    for call in calls:
        add_call(organization, call, book, project=project, key=key, tiers_named=tiers_named)
    return organization


def add_call(
    organization: Organization,
    call: Call,
    book: PriceBook,
    *,
    project: str | None = PROJECT,
    key: str | None = KEY,
    tiers_named: bool = True,
    at: datetime | None = None,
) -> None:
    """Adds what one call leaves in the usage and the costs."""
    at = at or call.started_at
    where: dict[str, Any] = {"project": project, "key": key}
    usage = call.usage
    tier = TIERS.get(call.service_tier) or "default"
    batch = call.endpoint == "batches" or tier == "batch"
    if usage.known or usage.characters or usage.seconds:
        kind = "images" if call.endpoint.startswith("images.") else _KINDS.get(call.endpoint, "completions")
        organization.used.append(
            Used(
                at,
                kind,
                call.model,
                **where,
                tier="default" if batch else tier,
                batch=batch,
                counts=_counts(call, kind),
            )
        )
    tools: tuple[tuple[str, int, dict[str, int]], ...] = (
        ("web_search_calls", usage.web_searches, {"num_requests": usage.web_searches}),
        ("file_search_calls", usage.file_searches, {"num_requests": usage.file_searches}),
        ("code_interpreter_sessions", usage.container_sessions, {"num_sessions": usage.container_sessions}),
    )
    organization.used += [
        Used(at, kind, call.model, **where, counts=counts) for kind, number, counts in tools if number
    ]
    for line in book.lines(book.billable_of(call)):
        assert line.quantity is not None, line
        name = line_name(
            line.model if line.item not in _FEES else None, line.item, line.tier if tiers_named else None, line.bracket
        )
        organization.charged.append(
            Charged(
                at.astimezone(UTC).date(),
                name,
                Fraction(line.amount_pico) / 10**12,
                Fraction(line.quantity),
                _UNITS[line.unit or "token"],
                **where,
            )
        )


def _counts(call: Call, kind: str) -> dict[str, int]:
    usage = call.usage
    if kind == "images":
        return {"images": usage.images or 1}
    if kind == "audio_speeches":
        return {"characters": usage.characters}
    if kind == "audio_transcriptions":
        return {"seconds": round(usage.seconds)}
    counts = {"input_tokens": usage.input_tokens or 0}
    if kind in {"completions", "decisions"}:
        counts |= {
            "output_tokens": usage.output_tokens or 0,
            "input_cached_tokens": usage.cached_input_tokens,
            "input_cached_audio_tokens": usage.cached_audio_tokens,
            "input_cached_image_tokens": usage.cached_image_tokens,
            "input_cache_write_tokens": usage.cache_write_tokens,
            "input_cache_write_12h_tokens": usage.cache_write_12h_tokens,
            "input_cache_write_30m_tokens": usage.cache_write_tokens - usage.cache_write_12h_tokens,
            "input_audio_tokens": usage.input_audio_tokens - usage.cached_audio_tokens,
            "input_image_tokens": usage.input_image_tokens - usage.cached_image_tokens,
            "output_audio_tokens": usage.output_audio_tokens,
            "output_image_tokens": usage.output_image_tokens,
        }
    return counts
