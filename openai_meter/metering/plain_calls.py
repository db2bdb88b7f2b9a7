"""Plain calls: the compact form of the most frequent kind of call, and how they are counted in batches.

A plain call is a whole text answer of OpenAI or Azure with figures that agree and a known price. What such calls have
in common (endpoint, models, attribution, prices) is one :class:`PlainKind`; what differs is a :class:`PlainCall`, a
tuple. The ``Call`` is made from it when a program reads it. Which calls are plain is decided in ``quick_path.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from openai_meter.core.call import Call, Priced, new_call, random_half
from openai_meter.core.dimensions import Key, key_of
from openai_meter.core.evidence import Evidence
from openai_meter.core.money import Amount
from openai_meter.core.totals import Sum
from openai_meter.core.usage import new_usage
from openai_meter.usage.response_headers import RawHeaders, name_in, number_in

__all__ = ["PlainBatch", "PlainCall", "PlainKind", "call_of"]

_NOTHING: Mapping[str, Any] = {}


class PlainKind:
    """The fields that some plain calls have in common. Immutable once it is made."""

    __slots__ = (
        "attribution", "block", "book", "day", "endpoint", "host", "key", "model", "organization", "owner",
        "price_reason", "price_source", "project", "provider", "requested_model", "service_tier", "state",
        "text_amount",
    )  # fmt: skip

    def __init__(
        self,
        *,
        endpoint: str,
        provider: str,
        host: str,
        model: str,
        requested_model: str,
        service_tier: str | None,
        attribution: Any,
        block: str | None,
        day: float,
        state: object,
        book: Priced,
        text_amount: Callable[[int, int, int, int, int], Amount | None] | None,
        price_reason: str | None,
        price_source: str | None,
        owner: tuple[bytes | None, bytes | None],
    ) -> None:
        self.endpoint = endpoint
        self.provider = provider
        self.host = host
        self.model = model
        self.requested_model = requested_model
        self.service_tier = service_tier
        self.attribution = attribution
        self.block = block
        self.day = day
        """The beginning of their UTC day, in seconds since 1970."""
        self.state = state
        """The state of the price book that the prices are of."""
        self.book = book
        self.text_amount = text_amount
        """The compiled prices of the day; ``None`` if these calls have none, and are not plain."""
        self.price_reason = price_reason
        self.price_source = price_source
        self.owner = owner
        """The organization and the project, as the headers of the answers name them."""
        self.organization, self.project = map(name_in, owner)
        self.key: Key = key_of(
            model, attribution.agent, attribution.operation, attribution.user, attribution.session, attribution.tags,
            endpoint, provider, block, self.organization, self.project,
        )  # fmt: skip
        """The combination of dimensions that these calls count for."""


class PlainCall(NamedTuple):
    """One plain call. It has the prices of its own time: they may change before it is read."""

    kind: PlainKind
    started: float
    """When the call began, in seconds since 1970."""
    duration: float
    evidence: Evidence | None
    response_id: str | None
    input: int
    output: int
    total: int
    cached: int
    written: int
    reasoning: int
    cost: Amount
    """In pico-dollars."""
    headers: RawHeaders
    """Headers of the answer, as they came: they are checked when the ``Call`` is made."""


def call_of(plain: PlainCall) -> Call:
    """The ``Call`` of a plain call. Each call makes another object: the caller replaces the plain call by it."""
    kind = plain.kind
    _, _, request_id, processing_ms, requests, tokens = plain.headers
    attribution = kind.attribution
    return new_call(
        random_half(),
        datetime.fromtimestamp(plain.started, UTC),
        plain.duration,
        kind.endpoint,
        kind.provider,
        kind.model,
        kind.requested_model,
        "ok",
        new_usage(plain.input, plain.output, plain.total, plain.cached, plain.written, 0, plain.reasoning),
        "api",
        (),
        plain.response_id,
        kind.service_tier,
        False,
        None,
        None,
        plain.cost,
        "priced",
        kind.price_reason,
        False,
        kind.price_source,
        attribution.agent,
        attribution.operation,
        attribution.user,
        attribution.session,
        attribution.tags,
        kind.block,
        kind.host,
        _NOTHING,
        plain.evidence,
        kind.book,
        None,
        1,
        kind.organization,
        kind.project,
        name_in(request_id),
        number_in(processing_ms),
        number_in(requests),
        number_in(tokens),
    )


class PlainBatch:
    """The sums of some plain calls: over all of them, and of each combination together with what it had before.

    Args:
        calls: the calls, at least one.
        sums: the sums of all combinations so far; they are not changed.
    """

    __slots__ = ("calls", "cost", "largest", "sums", "tokens")

    def __init__(self, calls: Sequence[PlainCall], sums: Mapping[Key, Sum]) -> None:
        self.calls = len(calls)
        self.tokens = self.largest = 0
        self.cost: Amount = 0
        self.sums: dict[Key, Sum] | None = {}
        """The new sums; ``None`` if a combination is new, or folded into another."""
        kinds = [call[0] for call in calls]
        if kinds.count(kinds[0]) == len(kinds):  # as almost always
            by_kind: dict[PlainKind, Sequence[PlainCall]] = {kinds[0]: calls}
        else:
            by_kind = {kind: [call for call in calls if call[0] is kind] for kind in dict.fromkeys(kinds)}
        for kind, some in by_kind.items():
            key = kind.key
            before = self.sums.get(key) or sums.get(key)
            if before is None:
                self.sums = None
                return
            self.sums[key] = self._added(before, some)

    def _added(self, before: Sum, calls: Sequence[PlainCall]) -> Sum:
        """A sum with some more calls. Adds up what :meth:`Sum.plus` adds for each: tests hold both equal."""
        _, started, _, _, _, inputs, outputs, totals, cached, written, reasoning, costs, _ = zip(*calls, strict=True)
        tokens, cost = sum(totals), sum(costs)
        self.tokens += tokens
        self.cost += cost
        self.largest = max(self.largest, *totals)
        return before.plus_plain(
            len(calls), sum(inputs), sum(outputs), tokens, sum(cached), sum(written), sum(reasoning), cost,
            datetime.fromtimestamp(min(started), UTC), datetime.fromtimestamp(max(started), UTC),
        )  # fmt: skip
