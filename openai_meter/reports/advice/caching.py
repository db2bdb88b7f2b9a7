"""The rule of missed prompt caching, the largest of the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from openai_meter.core.call import Call
from openai_meter.core.evidence import Evidence
from openai_meter.core.money import Amount
from openai_meter.reports.advice.call_history import CallHistory, recommend, usage_with
from openai_meter.reports.advice.recommendation import Recommendation

__all__ = ["prompt_caching"]

_ENOUGH = 5
_LEAST, _STEP = 1_024, 128
"""Prompts are cached from 1,024 tokens up, in steps of 128 (OpenAI's guide to prompt caching)."""
_CHARS_PER_TOKEN = 4
_LIFETIMES = {"30m": timedelta(minutes=30), "12h": timedelta(hours=12), "24h": timedelta(hours=24)}
_LIFETIME = timedelta(minutes=10)
"""The assumed lifetime of a prefix in the cache where the request does not set one."""


class _PrefixGroup(NamedTuple):
    """The calls that begin with one prefix, and what a working cache would have saved."""

    hits: list[Call]
    """Those that could have read it from the cache."""
    cacheable: int
    """The tokens that these could have read."""
    cached: int
    """The tokens of those that they did read."""
    saving: Amount
    late: int
    """Calls that came after the end of the lifetime."""


def prompt_caching(history: CallHistory) -> Iterator[Recommendation]:
    """Missed prompt caching: tokens that are read from the cache cost a half to a twentieth.

    Evidence: calls of a model and agent that begin with the same text of 1,024 tokens or more, each after one of the
    others had ended and not more than ten minutes after the last one (or the lifetime that the requests
    set); five or more of these, and less than half of that text was read from the cache. How many tokens the text has
    follows from its share of the characters, and is never taken for more than a token for four of them.

    The saving is the price of the same tokens with that text read from the cache, less what a model charges for writing
    it at the first call and after each pause.
    """
    for calls in history.answers.values():
        beginnings: dict[int, list[Call]] = {}
        for call in calls:
            evidence = call.evidence
            if evidence is not None and evidence.prefix_key is not None and _cacheable(call, evidence) >= _LEAST:
                beginnings.setdefault(evidence.prefix_key, []).append(call)
        found = [_examine(history, some) for some in beginnings.values() if len(some) > 1]
        found = [group for group in found if 2 * group.cached < group.cacheable and group.saving > 0]
        hits = sorted((call for group in found for call in group.hits), key=lambda call: call.started_at)
        if len(hits) >= _ENOUGH:
            yield _recommend(hits, found)


def _recommend(hits: Sequence[Call], found: Sequence[_PrefixGroup]) -> Recommendation:
    cacheable = sum(group.cacheable for group in found)
    late = sum(group.late for group in found)
    keyless = any(call.evidence is not None and not call.evidence.cache_key_set for call in hits)
    more = (["prompt_caching.key"] if keyless else []) + (["prompt_caching.late"] if late else [])
    return recommend(
        "prompt_caching", hits, sum(group.saving for group in found), *more,
        tokens=cacheable // len(hits),
        percent=100 * sum(group.cached for group in found) // cacheable,
        late=late,
    )  # fmt: skip


def _cacheable(call: Call, evidence: Evidence) -> int:
    """How many tokens of a call's beginning the cache could hold; never more than there are."""
    tokens = call.usage.input_tokens or 0
    if not evidence.chars:
        return 0
    held = min(evidence.prefix_chars // _CHARS_PER_TOKEN, tokens * evidence.prefix_chars // evidence.chars, tokens)
    return held - held % _STEP


def _examine(history: CallHistory, calls: Sequence[Call]) -> _PrefixGroup:
    """Compares the calls that begin with one prefix, oldest first, with what they would have cost."""
    hits: list[Call] = []
    cacheable = cached = late = 0
    saving: Amount = 0
    warm_from: datetime | None = None
    last: Call | None = None
    for call in calls:
        assert call.evidence is not None
        end = call.started_at + timedelta(seconds=call.duration)
        lives = last is not None and call.started_at - last.started_at <= _lifetime(last)
        if last is not None and not lives:
            late += 1
        tokens = _cacheable(call, call.evidence)
        usage = call.usage
        price = history.price(call)
        if price is not None and lives and warm_from is not None and call.started_at >= warm_from:
            read = max(tokens, usage.cached_input_tokens)
            # What is read need not be written again.
            written = max(usage.cache_write_tokens - (read - usage.cached_input_tokens), 0)
            other = history.cost_with(call, usage_with(usage, cached=read, written=written))
            hits.append(call)
            cacheable += tokens
            cached += min(tokens, usage.cached_input_tokens)
        elif price is not None and not lives and usage.cached_input_tokens < tokens:
            other = history.cost_with(call, usage_with(usage, written=max(usage.cache_write_tokens, tokens)))
        else:
            other = price
        saving += (price or 0) - (other if other is not None else price or 0)
        warm_from = end if not lives or warm_from is None else min(warm_from, end)
        last = call
    return _PrefixGroup(hits, cacheable, cached, saving, late)


def _lifetime(call: Call) -> timedelta:
    return _LIFETIMES.get((call.evidence and call.evidence.retention) or "", _LIFETIME)
