"""The rules of advice: a recommendation is one function here.

The docstring of a rule has the reason, the evidence that it needs, and how its saving is computed. To add
a rule, write a function that takes a :class:`~call_history.CallHistory` and yields recommendations, add a row to
:data:`RULES`, and its sentence (``advice.KIND``) to each language.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from openai_meter.core.call import FAILURES, Call
from openai_meter.core.money import Amount, usd
from openai_meter.pricing.types import TIERS
from openai_meter.reports.advice.caching import prompt_caching
from openai_meter.reports.advice.call_history import CallHistory, by_group, recommend, usage_with
from openai_meter.reports.advice.families import ENDS, smaller
from openai_meter.reports.advice.recommendation import Recommendation

__all__ = ["RULES", "Rule"]

Rule = Callable[[CallHistory], Iterator[Recommendation]]

_FEW, _SOME, _MANY = 3, 5, 50
_LONG_CALL = 2_000
"""Tokens per call above which calls are long."""
_SHORT_ANSWER = 200
_SOON = timedelta(minutes=10)


def long_calls(history: CallHistory) -> Iterator[Recommendation]:
    """Long prompts, or long answers: each token costs, in each call.

    Evidence: five calls or more of a model and agent with more than 2,000 tokens on average. They are prompts if most
    of the tokens are input. There is no saving, because it is not known how short a text could be. Where most of the
    calls begin with the same text, the recommendation contains what a hundred tokens less in it would have saved.
    """
    for calls in history.answers.values():
        known = [call for call in calls if call.usage.total_tokens is not None]
        tokens = sum(call.usage.total_tokens or 0 for call in known)
        if len(known) < _SOME or tokens <= _LONG_CALL * len(known):
            continue
        average = tokens // len(known)
        if 2 * sum(call.usage.input_tokens or 0 for call in known) >= tokens:
            yield _long_prompts(history, known, average)
        else:
            unlimited = sum(call.evidence is not None and not call.evidence.max_tokens_set for call in known)
            more = ["long_answers.unlimited"] if unlimited else []
            yield recommend("long_answers", known, None, *more, tokens=average, unlimited=unlimited)


def _long_prompts(history: CallHistory, calls: Sequence[Call], average: int) -> Recommendation:
    prefixes = Counter(call.evidence.prefix_key for call in calls if call.evidence is not None)
    del prefixes[None]
    key, times = prefixes.most_common(1)[0] if prefixes else (None, 0)
    if times < max(_SOME, len(calls) / 2):
        return recommend("long_prompts", calls, None, tokens=average)
    alike = [call for call in calls if call.evidence is not None and call.evidence.prefix_key == key]
    saving = _difference(history, alike, lambda call: history.cost_with(call, usage_with(call.usage, less=100)))
    chars = max(call.evidence.prefix_chars for call in alike if call.evidence is not None)
    facts: dict[str, Any] = {"tokens": average, "times": times, "chars": chars}
    more = ["long_prompts.prefix"]
    if saving is not None and saving > 0:
        facts["hundred"] = usd(saving)
        more.append("long_prompts.hundred")
    return recommend("long_prompts", calls, None, *more, **facts)


def cheaper_model(history: CallHistory) -> Iterator[Recommendation]:
    """A smaller model of the family for short answers.

    Evidence: ten calls or more of a model and agent, four fifths of which had whole answers of up to 200 tokens and
    did not reason. The saving is the difference to the price of the same tokens at the smaller model, in the same tier.
    Whether its answers are as good, the caller has to test.
    """
    for (model, _), calls in history.answers.items():
        small = None if model is None else smaller(model, history.today)
        short = [call for call in calls if _is_short(call)]
        if small is None or len(short) < 2 * _SOME or len(short) < 0.8 * len(calls):
            continue
        chosen = [
            call for call in short
            if history.has_price(small, TIERS.get(call.service_tier) or "", call.started_at)
            and history.price(call) is not None
        ]  # fmt: skip
        cost = sum(history.price(call) or 0 for call in chosen)
        saving = _difference(history, chosen, partial(history.cost_with, model=small))
        if len(chosen) < 2 * _SOME or saving is None or saving <= 0:
            continue
        ends = ENDS.get(small)
        more = [] if ends is None else ["cheaper_model.ends"]
        yield recommend(
            "cheaper_model", chosen, saving, *more,
            smaller=small,
            output=sum(call.usage.output_tokens or 0 for call in chosen) // len(chosen),
            cost=usd(cost),
            cost_then=usd(cost - saving),
            ends=ends and ends.isoformat(),
        )  # fmt: skip


def _is_short(call: Call) -> bool:
    output = call.usage.output_tokens
    return call.status == "ok" and output is not None and output <= _SHORT_ANSWER and not call.usage.reasoning_tokens


def _difference(history: CallHistory, calls: Sequence[Call], other: Callable[[Call], Amount | None]) -> Amount | None:
    """The cost of calls less their other cost, over the calls for which both are known; ``None`` if there are none."""
    found = [
        before - after
        for call in calls
        if (before := history.price(call)) is not None and (after := other(call)) is not None
    ]
    return sum(found) if found else None


def truncated_answers(history: CallHistory) -> Iterator[Recommendation]:
    """Answers that stopped early, after which the same question was sent again: the first answer was paid for nothing.

    Evidence: three or more incomplete answers whose prompt came again within ten minutes. The saving is what the
    incomplete answers cost.
    """
    for calls in by_group(_repeated(history, frozenset({"incomplete"}))).values():
        if len(calls) >= _FEW:
            yield recommend("truncated_answers", calls, _cost(calls))


def repeated_after_error(history: CallHistory) -> Iterator[Recommendation]:
    """Prompts that were sent again after a failure: the client can repeat them itself, with growing waits.

    Evidence: three or more failed calls whose prompt came again within ten minutes. The saving is what the failed calls
    cost, where that is known; most cost nothing.
    """
    for calls in by_group(_repeated(history, FAILURES)).values():
        if len(calls) >= _FEW:
            yield recommend("repeated_after_error", calls, _cost(calls))


def _repeated(history: CallHistory, statuses: frozenset[str]) -> Iterator[Call]:
    """The calls that ended with one of these statuses, and whose prompt was sent again soon."""
    open_: dict[int, Call] = {}
    for call in history.calls:
        key = None if call.evidence is None else call.evidence.prompt_key
        if key is None:
            continue
        before = open_.pop(key, None)
        if before is not None and call.started_at - before.started_at <= _SOON + timedelta(seconds=before.duration):
            yield before
        if call.status in statuses:
            open_[key] = call


def _cost(calls: Sequence[Call]) -> Amount | None:
    known = [call.cost_pico for call in calls if call.cost_pico is not None]
    return sum(known) if known else None


def repeated_prompts(history: CallHistory) -> Iterator[Recommendation]:
    """The same question, sent several times: its answer could be kept.

    Evidence: whole answers to a prompt that was sent to one model three times or more, with the same number of tokens.
    The saving is what all but the first of them cost. The caller decides whether an answer may be used again; the
    vectors of a text (embeddings) are always the same.
    """
    by_prompt: dict[tuple[object, ...], list[Call]] = {}
    for call in history.calls:
        if call.status == "ok" and call.evidence is not None and call.evidence.prompt_key is not None:
            key = (call.evidence.prompt_key, call.model, call.agent, call.endpoint, call.usage.input_tokens)
            by_prompt.setdefault(key, []).append(call)
    again: dict[tuple[object, ...], list[list[Call]]] = {}
    for (_, model, agent, endpoint, _), calls in by_prompt.items():
        if len(calls) >= _FEW:
            again.setdefault((model, agent, endpoint == "embeddings"), []).append(calls)
    for (_, _, embeddings), many in again.items():
        repeats = sorted((call for calls in many for call in calls[1:]), key=lambda call: call.started_at)
        sampled = any(call.evidence is not None and call.evidence.sampled for call in repeats)
        first = "repeated_prompts.embeddings" if embeddings else "repeated_prompts.answers"
        more = ["repeated_prompts.sampled"] if sampled else []
        yield recommend("repeated_prompts", repeats, _cost(repeats), *more, first=first, prompts=len(many))


def background_work(history: CallHistory) -> Iterator[Recommendation]:
    """The Batch API, or the flex tier, for work in the background.

    Evidence: fifty calls or more of a model, agent and operation, to OpenAI itself, in the default tier and without
    a request for another; none streamed, none for a user or in a session, none with earlier messages, and at a steady
    pace: each begins when the one before it ends, or at equal distances. The saving is the difference to the price of a
    batch, or of the flex tier where there is no batch.
    """
    works: dict[tuple[str | None, ...], list[Call]] = {}
    for calls in history.answers.values():
        for call in calls:
            works.setdefault((call.model, call.agent, call.operation), []).append(call)
    for calls in works.values():
        if len(calls) < _MANY or not all(_is_background(call) for call in calls) or not _steady(calls):
            continue
        tiers = {tier: _saving_in(history, calls, tier) for tier in ("batch", "flex")}
        savings = {tier: saving for tier, saving in tiers.items() if saving is not None}
        if savings:
            best = "batch" if "batch" in savings else "flex"
            more = ["background_work.also_flex"] if len(savings) > 1 else []
            facts = {f"{tier}_saving": usd(saving) for tier, saving in savings.items()}
            first = f"background_work.{best}"
            yield recommend("background_work", calls, savings[best], *more, first=first, **facts)


def _saving_in(history: CallHistory, calls: Sequence[Call], tier: str) -> Amount | None:
    offered = [call for call in calls if history.has_price(call.model or "", tier, call.started_at)]
    saving = _difference(history, offered, partial(history.cost_with, tier=tier))
    return saving if saving is not None and saving > 0 else None


def _is_background(call: Call) -> bool:
    evidence = call.evidence
    return (
        evidence is not None
        and call.provider == "openai"
        and call.status == "ok"
        and not call.stream
        and call.user is None
        and call.session is None
        and evidence.messages <= 2
        and call.service_tier in {None, "default"}
        and evidence.service_tier in {None, "auto", "default"}
    )


def _steady(calls: Sequence[Call]) -> bool:
    """Whether the calls have almost no pauses between them, or pauses of the same length."""
    starts = [call.started_at.timestamp() for call in calls]
    span = max(start + call.duration for start, call in zip(starts, calls, strict=True)) - starts[0]
    idle, busy_until = 0.0, starts[0]
    for start, call in zip(starts, calls, strict=True):
        idle += max(start - busy_until, 0)
        busy_until = max(busy_until, start + call.duration)
    if idle <= span / 10:
        return True
    gaps = [after - before for before, after in pairwise(starts)]
    # Calls at random times have an eighth of their gaps above three times the median.
    usual = median(gaps)
    return sum(gap <= 3 * usual for gap in gaps) >= 0.95 * len(gaps)


_ADVICE: Mapping[str, str] = {
    "AuthenticationError": "key",
    "invalid_api_key": "key",
    "PermissionDeniedError": "permission",
    "RateLimitError": "rate",
    "rate_limit_exceeded": "rate",
    "insufficient_quota": "quota",
    "APITimeoutError": "timeout",
    "APIConnectionError": "connection",
    "BadRequestError": "request",
    "UnprocessableEntityError": "request",
    "NotFoundError": "missing",
    "InternalServerError": "server",
    "server_error": "server",
}
"""The remedy for each kind of error: exceptions of the SDK, and codes of the API. To add one, add a row, and a sentence
``advice.errors.NAME`` if none of the others fits."""


def errors(history: CallHistory) -> Iterator[Recommendation]:
    """Errors of one kind, and what helps against it.

    Evidence: five or more errors of one kind, or else of several kinds together. The saving is what the failed calls
    cost, where that is known; most cost nothing.
    """
    kinds: dict[str, list[Call]] = {}
    for call in history.calls:
        if call.failed:
            kinds.setdefault(call.error_type or "?", []).append(call)
    many = {kind: calls for kind, calls in kinds.items() if len(calls) >= _SOME}
    for kind, calls in many.items():
        yield recommend("errors", calls, _cost(calls), first=f"errors.{_ADVICE.get(kind, 'other')}", error=kind)
    if not many and history.totals.errors >= _SOME:
        calls = [call for some in kinds.values() for call in some]
        total = history.totals.errors
        yield recommend("errors", calls, _cost(calls), first="errors.several", errors=total, kinds=len(kinds))


RULES: Mapping[str, Rule] = {
    "long_calls": long_calls,
    "cheaper_model": cheaper_model,
    "prompt_caching": prompt_caching,
    "truncated_answers": truncated_answers,
    "repeated_after_error": repeated_after_error,
    "repeated_prompts": repeated_prompts,
    "background_work": background_work,
    "errors": errors,
}
"""The rules, by name. Each reads the whole history; recommendations are sorted by their saving."""
