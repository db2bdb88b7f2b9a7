"""The quick path of plain calls: the fields of an ordinary answer are read at once, in one place.

:func:`begin` notes a request, :func:`record` records its answer. Each decides whether the call is plain, and declines
it if anything is in doubt: then ``CallInFlight`` meters the call, from the moment that was noted, with all its cases.
Both ways leave equal records; the tests compare them over recorded and generated answers.

A call is plain if

* one meter or block listens, its budgets admit the call at once, and nothing observes where calls begin;
* it goes to OpenAI or Azure themselves, as a whole answer of one of the paths in ``_PATHS``;
* its request names a model, and has no key that a price or the end of a call may depend on;
* it was sent once, and its answer is whole: an id, a model, one choice or items without fees, figures that agree;
* the prices have been read, and calls of its kind have been priced on that day.

Such a call is a :class:`~openai_meter.metering.plain_calls.PlainCall`, which the store counts together with others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults, fork_safety
from openai_meter.core.evidence import Evidence
from openai_meter.core.usage_objects import plain_counts
from openai_meter.metering.attribution import Attribution, Surroundings, current_attribution
from openai_meter.metering.plain_calls import PlainCall, PlainKind
from openai_meter.metering.sinks import ObserverSlot
from openai_meter.pricing.loading import prepare
from openai_meter.usage import providers
from openai_meter.usage.billing_details import RARE_KEYS
from openai_meter.usage.endpoints import LASTING, Endpoint, find
from openai_meter.usage.fingerprint import UNCOMMON_KEYS, evidence_of, evidence_of_input
from openai_meter.usage.response_headers import RawHeaders, ResponseHeaders, raw_headers, read_headers

if TYPE_CHECKING:
    from openai_meter.pricing.book import BookState

__all__ = ["PlainRequest", "begin", "headers_of", "note_headers", "record"]

_PROVIDERS = frozenset({"openai", "azure"})
_DAY = 86_400.0
_FIRST_DAY = 719_163  # 1970-01-01, as date.toordinal() counts
_KINDS = 512
_STATES = 8
_new = tuple.__new__  # what a NamedTuple calls in the end, without the function in between


class Place:
    """A destination of requests: the fields that their records have in common, before an answer is known."""

    __slots__ = (
        "base", "client", "elsewhere", "endpoint", "host", "hosts", "input", "is_plain", "last", "lasting", "model",
        "provider", "row",
    )  # fmt: skip

    def __init__(self, client: Any, base: Any, row: Endpoint, model: str) -> None:
        self.client = type(client)
        self.base = base
        """The base URL. It is held: no other object has its ``id()`` then."""
        self.row = row
        self.endpoint = row.name
        self.lasting = row.name in LASTING
        self.input, self.is_plain = _PATHS[row.path]
        self.provider, self.host = providers.provider(client, row.path)
        self.elsewhere = self.host != "api.openai.com"
        self.hosts = providers.Hosts.known
        self.model = model
        self.last: PlainKind | None = None
        """The kind of the last answer: that of the next one, as a rule."""


class PlainRequest(NamedTuple):
    """A request whose answer may be plain, and everything that metering it in the other way needs."""

    place: Place
    listeners: tuple[Any, ...]
    body: Mapping[str, Any]
    around: Surroundings
    block: str | None
    attribution: Attribution
    evidence: Evidence | None
    started: float
    """In seconds since 1970."""
    clock: float
    """The same moment on the clock that durations are measured by."""
    hold: Any = None
    """What its budgets hold for it."""


# --- the request ------------------------------------------------------------------------------------------------------


def begin(
    client: Any, options: Mapping[str, Any], listeners: tuple[Any, ...], around: Surroundings
) -> PlainRequest | None:
    """Notes a request that is about to be sent, or returns ``None`` if its answer cannot be plain.

    Args:
        client: the client of openai.
        options: the fields of the request's options. The body in it is held until the call ends.
        listeners: the meters and blocks that take the record.
        around: the surroundings of the call.
    """
    url, body = options["url"], options["json_data"]
    if (
        url not in _PATHS
        or len(listeners) != 1
        or type(body) is not dict
        or options["extra_json"]
        or ObserverSlot.observer is not None
        or type(model := body.get("model")) is not str
    ):
        return None
    usual = _UNUSUAL_KEYS.isdisjoint(body)
    if not usual and not RARE_KEYS.isdisjoint(body):
        return None
    base = client.__dict__.get("_base_url")
    place = _places.get((id(base), url, options["method"], model))
    if (
        place is None
        or place.base is not base
        or place.client is not type(client)
        or place.hosts is not providers.Hosts.known
    ) and (place := _new_place(client, base, options, model)) is None:
        return None
    blocks = around.blocks
    evidence = evidence_of_input(body.get(place.input)) if usual else None
    if evidence is None:
        evidence = evidence_of(place.endpoint, body)
    hold = None
    if Budgeting.active and (guard := listeners[0]._budgets) is not None:
        hold = Budgeting.quick_hold(
            guard, listeners[0].meter, place.row, place.provider, place.host, model, current_attribution(around),
            blocks[-1].name if blocks else None, body,
        )  # fmt: skip
        if hold is None:
            return None
    return _new(PlainRequest, (
        place, listeners, body, around, blocks[-1].name if blocks else None, current_attribution(around), evidence,
        time.time(), time.perf_counter(), hold,
    ))  # fmt: skip


_UNUSUAL_KEYS = RARE_KEYS | UNCOMMON_KEYS
_PLACES = 256
_places: dict[tuple[int, str, str, str], Place] = {}
"""The places of the latest requests, by the ``id()`` of the base URL, the path, the method and the model."""


def _new_place(client: Any, base: Any, options: Mapping[str, Any], model: str) -> Place | None:
    """Makes a place; ``None`` if no answer from there is plain."""
    row = find(options["method"], options["url"])
    # A URL may have a password in its userinfo and a key in its query: such a URL is not held.
    if row is None or base is None or base.userinfo or base.query or not model or not providers.keeps_base(client):
        return None
    place = Place(client, base, row, model)
    if place.provider not in _PROVIDERS or not providers.answers_itself(place.host):
        return None
    prepare()
    if len(_places) >= _PLACES:
        _places.clear()  # some programs make a client for each call
    _places[id(base), options["url"], options["method"], model] = place
    return place


# --- the answer -------------------------------------------------------------------------------------------------------

_latest_headers: ContextVar[tuple[float, RawHeaders]] = ContextVar(
    "openai_meter_headers", default=(0.0, (None, None, None, None, None, None))
)
"""When the latest response came, by ``time.perf_counter()``, and its headers."""
_NO_RAW_HEADERS: RawHeaders = (None, None, None, None, None, None)


def note_headers(response: Any) -> None:
    """Notes the headers of a response that the SDK is about to parse: no parsed answer has them. Never raises.

    The SDK does it as its last step, so :func:`record` finds those of its own response.
    """
    try:
        _latest_headers.set((time.perf_counter(), raw_headers(response.headers)))
    except Exception as error:
        faults.caught(error, "reading the headers of a response")


def headers_of(request: PlainRequest) -> ResponseHeaders:
    """The headers of the response to a request, if there was one."""
    return read_headers(_headers_since(request.clock))


def _headers_since(clock: float) -> RawHeaders:
    at, headers = _latest_headers.get()
    return headers if at >= clock else _NO_RAW_HEADERS  # not those of an earlier response


def record(request: PlainRequest, answer: Any) -> bool:
    """Records a plain answer; ``False`` if it is not plain: then nothing was done. Never raises."""
    place, listeners, _, _, block, attribution, evidence, started, clock, hold = request
    duration = time.perf_counter() - clock
    try:
        fields = answer.__dict__
        if not place.is_plain(fields, answer.__pydantic_extra__):
            return False
        identity, model, tier = fields.get("id"), fields["model"], fields.get("service_tier")
        usage = fields["usage"]
        if place.elsewhere and usage.__pydantic_extra__:  # it may state that a cache has answered
            return False
        counts = plain_counts(usage)
    except Exception:  # another kind of answer; the attributes of its class may raise anything
        return False
    try:
        if (
            counts is None
            or type(model) is not str
            or not model
            or not (identity is None or (type(identity) is str and identity))
            or not (tier is None or (type(tier) is str and tier))
            or (Budgeting.active and hold is None and _has_budgets(listeners))  # set meanwhile: it is charged
        ):
            return False
        listener = listeners[0]
        meter = listener.meter
        headers = _headers_since(clock)
        kind = _kind(place, model, tier, attribution, block, meter._price_loader.state(), started, headers[:2])
        if kind is None or (amount := kind.text_amount) is None:
            return False
        tokens_in, tokens_out, total, cached, written, reasoning = counts
        cost = amount(tokens_in, tokens_out, cached, written, 0)
        if cost is None or not total:
            return False
        if place.lasting:
            meter._seen_jobs.claim((place.endpoint, identity))  # polls of it are free
    except Exception as error:
        faults.caught(error, f"reading a plain answer of {place.endpoint}")
        return False
    try:
        listener._take_plain(_new(PlainCall, (
            kind, started, duration, evidence, identity, tokens_in, tokens_out, total, cached, written, reasoning, cost,
            headers,
        )))  # fmt: skip
    except Exception as error:
        faults.caught(error, f"recording a plain call of {place.endpoint}")
    return hold is None or hold.settle_plain(cost, total)


def _has_budgets(listeners: tuple[Any, ...]) -> bool:
    return listeners[0]._budgets is not None


def _is_plain_chat(fields: Mapping[str, Any], more: Mapping[str, Any] | None) -> bool:
    [choice] = fields["choices"]
    return (
        choice.__dict__["finish_reason"] in _ENDINGS
        and fields["id"] is not None
        and "x_groq" not in fields
        and not (more and not _MEANT.isdisjoint(more))
        and not ((more := choice.__pydantic_extra__) and "usage" in more)
    )


_ENDINGS = frozenset({"stop", "tool_calls", "function_call"})
"""How a whole chat completion ends."""
_MEANT = frozenset(
    {"error", "id", "model", "output", "service_tier", "status", "tool_usage", "tools", "usage", "x_groq"}
)
"""Fields with a meaning that an SDK may not have yet, and then keeps apart. Azure has others there."""


def _is_plain_response(fields: Mapping[str, Any], more: Mapping[str, Any] | None) -> bool:
    if (
        fields["status"] != "completed"
        or fields["id"] is None
        or fields["error"] is not None
        or fields["tools"]
        or fields.get("tool_usage") is not None
        or (more and not _MEANT.isdisjoint(more))
    ):
        return False
    output = fields["output"]
    return type(output) is list and _ITEMS.issuperset([item.__dict__["type"] for item in output])


_ITEMS = frozenset({"message", "reasoning", "function_call"})
"""Items of a response that cost nothing besides their tokens."""


def _is_plain_embedding(fields: Mapping[str, Any], more: Mapping[str, Any] | None) -> bool:
    return not more and "error" not in fields


_PATHS: Mapping[str, tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any] | None], bool]]] = {
    "/chat/completions": ("messages", _is_plain_chat),
    "/responses": ("input", _is_plain_response),
    "/embeddings": ("input", _is_plain_embedding),
}
"""The paths with plain calls, all of them POST: the key of the input in a request, and whether an answer is plain.

That function takes the fields of an answer, and those that the SDK keeps apart. An exception means that the answer is
not plain. To add a path, add a row.
"""


# --- what calls have in common ----------------------------------------------------------------------------------------

_kinds: dict[tuple[Any, ...], PlainKind] = {}
"""The kinds of the latest calls. A kind holds the objects whose ``id()`` is in its key, so no other object has it."""
_states: set[int] = set()
"""The ``id()`` of the states of price books that the kinds hold. A state holds 130 kB, also after its meter is gone."""


def _kind(  # noqa: PLR0917 - by position: every call comes here
    place: Place,
    model: str,
    tier: str | None,
    attribution: Attribution,
    block: str | None,
    state: BookState | None,
    started: float,
    owner: tuple[bytes | None, bytes | None],
) -> PlainKind | None:
    """The kind of a call, or ``None`` until such a call has been priced."""
    kind = place.last
    if (
        kind is not None
        and kind.model == model
        and kind.service_tier == tier
        and kind.attribution is attribution
        and kind.state is state
        and kind.block == block
        and kind.owner == owner
        and kind.day <= started < kind.day + _DAY
    ):
        return kind
    if state is None:
        return None
    day = started // _DAY * _DAY
    key = (place, model, tier, id(attribution), block, id(state), day, owner)
    kind = _kinds.get(key)
    if kind is None:
        plan = state.plans.get((model, place.provider, place.host, tier, _FIRST_DAY + int(day // _DAY), place.model))
        book = state.view
        if plan is None or book is None:
            return None
        kind = PlainKind(
            endpoint=place.endpoint,
            provider=place.provider,
            host=place.host,
            model=model,
            requested_model=place.model,
            service_tier=tier,
            attribution=attribution,
            block=block,
            day=day,
            state=state,
            book=book,
            text_amount=plan.text_amount,
            price_reason=plan.reason,
            price_source=plan.source,
            owner=owner,
        )
        if len(_kinds) >= _KINDS:
            _kinds.clear()  # some programs give each call another user
        if id(state) not in _states:
            if len(_states) >= _STATES:
                _start_over(None)  # some programs make a meter for each of many tasks, or change prices often
            _states.add(id(state))
        _kinds[key] = kind
    place.last = kind
    return kind


def _start_over(_: object) -> None:
    _kinds.clear()
    _places.clear()  # a place holds the kind of its last call
    _states.clear()


# The child's book may be locked by a thread that the child does not have.
fork_safety.on_fork("kinds of plain calls", after_in_child=_start_over)
