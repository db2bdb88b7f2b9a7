"""The calls that advice is based on, grouped, and what they would have cost otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, cast

from openai_meter.core.call import Call
from openai_meter.core.fast_init import maker
from openai_meter.core.money import Amount, usd
from openai_meter.core.totals import Totals
from openai_meter.core.usage import COUNTS, Usage
from openai_meter.pricing import Billable, PriceBook
from openai_meter.reports.advice.recommendation import Recommendation
from openai_meter.usage.external import MANUAL

__all__ = ["ANSWERS", "CallHistory", "Group", "by_group", "recommend", "usage_with"]

ANSWERS = frozenset({"chat.completions", "responses", "completions", MANUAL})
"""The endpoints whose calls are a prompt and an answer; those that a program reports itself are taken for such."""
_LONG = 200_000
"""Input tokens above which no other cost is computed: long requests have other prices in other tiers and models."""
_HARMLESS = frozenset({"web_search_tool", "container_memory", "image_model", "status"})
"""Facts that do not change the price if the usage has no use of the tool."""
_PLAIN = {"cached_input_tokens", "cache_write_tokens", "cache_write_12h_tokens", "reasoning_tokens"}
_special = attrgetter(*(name for name in COUNTS if name not in _PLAIN))
"""Reads the counts that are zero in a plain call."""
_NOT_YET: object = object()
_usage = maker(Usage)
_SHOWN = 5

Group = tuple[str | None, str | None]
"""A model and an agent."""


class CallHistory:
    """Calls, oldest first, and one state of the prices.

    Args:
        calls: the calls whose records are there.
        totals: the sums over all calls, also of those whose records are no longer there.
        prices: what calls cost.
        now: when the advice is given, in UTC.
    """

    def __init__(self, calls: Iterable[Call], totals: Totals, prices: PriceBook, now: datetime) -> None:
        self.calls: Sequence[Call] = sorted(calls, key=lambda call: call.started_at)
        self.totals = totals
        self.today = now.astimezone(UTC).date()
        self._prices = prices.view()
        self._known: dict[int, object] = {}
        self._tiers: dict[tuple[str, int], frozenset[str]] = {}
        self.answers = by_group([call for call in self.calls if call.endpoint in ANSWERS])
        """The calls that have a prompt and an answer, by model and agent."""

    def price(self, call: Call) -> Amount | None:
        """What a plain call costs by the prices of now; ``None`` for a call that is not plain.

        A plain call is text, fully priced, without tools that are charged, and not long.
        """
        known = self._known.get(id(call), _NOT_YET)
        if known is _NOT_YET:
            if not _is_plain(call):
                known = None
            elif call.price_book is self._prices:
                known = call.cost_pico
            else:
                known = self.cost_with(call)
            self._known[id(call)] = known
        return cast("Amount | None", known)

    def cost_with(
        self, call: Call, usage: Usage | None = None, *, model: str | None = None, tier: str | None = None
    ) -> Amount | None:
        """What a plain call would have cost with another usage, model or tier; ``None`` if that has no price."""
        usage = usage or call.usage
        requested = call.requested_model if model is None else None
        model = model or call.model
        at = call.started_at
        if tier == "batch":
            cost = self._prices.cost(
                Billable(usage, model, requested, call.endpoint, call.provider, call.host, None, at, batch=True)
            )
        else:
            cost = self._prices.cost_of(
                usage, model, call.provider, call.host, tier or call.service_tier, at, requested
            )
        return cost.amount_pico if cost.status == "priced" else None

    def has_price(self, model: str, tier: str, at: datetime) -> bool:
        """Whether a model has a price in a tier on a day. Pricing a call instead would log each missing price."""
        place = (model, at.toordinal())
        tiers = self._tiers.get(place)
        if tiers is None:
            tiers = self._tiers[place] = frozenset(rate.tier for rate in self._prices.current(model, at))
        return tier in tiers


def _is_plain(call: Call) -> bool:
    usage = call.usage
    return (
        call.cost_status == "priced"
        and call.provider in {"openai", "azure"}
        and call.endpoint in ANSWERS
        and usage.input_tokens is not None
        and usage.output_tokens is not None
        and usage.input_tokens <= _LONG
        and not usage.inconsistent
        and not any(_special(usage))
        and _HARMLESS.issuperset(call.price_facts)
    )


def by_group(calls: Iterable[Call]) -> Mapping[Group, list[Call]]:
    """Calls by model and agent, in their order."""
    groups: dict[Group, list[Call]] = {}
    for call in calls:
        groups.setdefault((call.model, call.agent), []).append(call)
    return groups


def usage_with(usage: Usage, *, less: int = 0, cached: int | None = None, written: int | None = None) -> Usage:
    """A plain usage with fewer input tokens, or with other parts of it cached or written.

    The parts are never larger than the whole. Tokens are removed from the beginning, where the cached part is.
    """
    tokens = max((usage.input_tokens or 0) - less, 0)
    output = usage.output_tokens or 0
    hit = max(usage.cached_input_tokens - less, 0) if cached is None else min(cached, tokens)
    new = min(usage.cache_write_tokens if written is None else written, tokens - hit)
    return _usage(
        tokens,
        output,
        tokens + output,
        cached_input_tokens=hit,
        cache_write_tokens=new,
        cache_write_12h_tokens=min(usage.cache_write_12h_tokens, new),
        reasoning_tokens=usage.reasoning_tokens,
    )


def dollars(amount: Amount | None) -> Decimal | None:
    """US dollars; ``None`` if the amount is unknown or not above 0."""
    return usd(amount) if amount is not None and amount > 0 else None


def recommend(
    kind: str, calls: Sequence[Call], saving: Amount | None, *more: str, first: str | None = None, **facts: Any
) -> Recommendation:
    """A recommendation that is based on these calls.

    Args:
        kind: what it is about.
        calls: the calls that it is based on.
        saving: pico-dollars.
        more: the keys of the sentences after the first.
        first: the key of the first sentence, if it is not the kind.
        facts: figures for the sentences.
    """
    models = {call.model for call in calls}
    agents = {call.agent for call in calls}
    return Recommendation(
        kind,
        dollars(saving),
        len(calls),
        tuple([call.id for call in calls[:_SHOWN]]),
        models.pop() if len(models) == 1 else None,
        agents.pop() if len(agents) == 1 else None,
        (first or kind, *more),
        facts,
        any(call.cost_estimated or call.estimated for call in calls),
    )
