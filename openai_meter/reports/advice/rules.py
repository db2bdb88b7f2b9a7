"""The rules of advice, one function each: why, what evidence it takes, and how its saving is reckoned.

To add a rule, write a function that takes a :class:`~case.Case` and yields recommendations, add a row to
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
from openai_meter.reports.advice.case import Case, by_group, recommend, usage_with
from openai_meter.reports.advice.families import ENDS, smaller
from openai_meter.reports.advice.recommendation import Recommendation

__all__ = ["RULES", "Rule"]

Rule = Callable[[Case], Iterator[Recommendation]]

_FEW, _SOME, _MANY = 3, 5, 50
_LONG_CALL = 2_000
"""Tokens per call above which calls are long."""
_SHORT_ANSWER = 200
_SOON = timedelta(minutes=10)


def long_calls(case: Case) -> Iterator[Recommendation]:
    """Long prompts, or long answers: every token is paid, each time.

    Evidence: five calls or more of a model and agent with more than 2,000 tokens on average. They are prompts if most
    of the tokens are input. What a text could be shortened to nobody knows, so there is no saving; but where most of
    the calls begin alike, it is said what a hundred tokens less there would have saved.
    """
    for calls in case.answers.values():
        known = [call for call in calls if call.usage.total_tokens is not None]
        tokens = sum(call.usage.total_tokens or 0 for call in known)
        if len(known) < _SOME or tokens <= _LONG_CALL * len(known):
            continue
        average = tokens // len(known)
        if 2 * sum(call.usage.input_tokens or 0 for call in known) >= tokens:
            yield _long_prompts(case, known, average)
        else:
            unlimited = sum(call.evidence is not None and not call.evidence.max_tokens_set for call in known)
            more = ["long_answers.unlimited"] if unlimited else []
            yield recommend("long_answers", known, None, *more, tokens=average, unlimited=unlimited)


def _long_prompts(case: Case, calls: Sequence[Call], average: int) -> Recommendation:
    prefixes = Counter(call.evidence.prefix_key for call in calls if call.evidence is not None)
    del prefixes[None]
    key, times = prefixes.most_common(1)[0] if prefixes else (None, 0)
    if times < max(_SOME, len(calls) / 2):
        return recommend("long_prompts", calls, None, tokens=average)
    alike = [call for call in calls if call.evidence is not None and call.evidence.prefix_key == key]
    saving = _difference(case, alike, lambda call: case.what_if(call, usage_with(call.usage, less=100)))
    chars = max(call.evidence.prefix_chars for call in alike if call.evidence is not None)
    facts: dict[str, Any] = {"tokens": average, "times": times, "chars": chars}
    more = ["long_prompts.prefix"]
    if saving is not None and saving > 0:
        facts["hundred"] = usd(saving)
        more.append("long_prompts.hundred")
    return recommend("long_prompts", calls, None, *more, **facts)


def cheaper_model(case: Case) -> Iterator[Recommendation]:
    """A smaller model of the family for short answers.

    Evidence: ten calls or more of a model and agent, four fifths of which had whole answers of up to 200 tokens and
    did not reason. The saving is the price of the same tokens at the smaller model, in the same tier; whether its
    answers are as good is for the caller to find out.
    """
    for (model, _), calls in case.answers.items():
        small = None if model is None else smaller(model, case.today)
        short = [call for call in calls if _is_short(call)]
        if small is None or len(short) < 2 * _SOME or len(short) < 0.8 * len(calls):
            continue
        chosen = [
            call for call in short
            if case.sold(small, TIERS.get(call.service_tier) or "", call.started_at) and case.price(call) is not None
        ]  # fmt: skip
        cost = sum(case.price(call) or 0 for call in chosen)
        saving = _difference(case, chosen, partial(case.what_if, model=small))
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


def _difference(case: Case, calls: Sequence[Call], other: Callable[[Call], Amount | None]) -> Amount | None:
    """What calls cost less what they would have cost, over those of which both is known; ``None`` if that is none."""
    found = [
        before - after
        for call in calls
        if (before := case.price(call)) is not None and (after := other(call)) is not None
    ]
    return sum(found) if found else None


def truncated_answers(case: Case) -> Iterator[Recommendation]:
    """Answers that stopped early, and the same question again: the first answer was paid for nothing.

    Evidence: three or more incomplete answers whose prompt came again within ten minutes. The saving is what the
    incomplete answers cost.
    """
    for calls in by_group(_asked_again(case, frozenset({"incomplete"}))).values():
        if len(calls) >= _FEW:
            yield recommend("truncated_answers", calls, _cost(calls))


def repeated_after_error(case: Case) -> Iterator[Recommendation]:
    """Prompts that came again after a failure: the client repeats by itself, and with growing waits.

    Evidence: three or more failed calls whose prompt came again within ten minutes. The saving is what the failed calls
    cost, where that is known; most cost nothing.
    """
    for calls in by_group(_asked_again(case, FAILURES)).values():
        if len(calls) >= _FEW:
            yield recommend("repeated_after_error", calls, _cost(calls))


def _asked_again(case: Case, statuses: frozenset[str]) -> Iterator[Call]:
    """The calls that ended so, and whose prompt was the next one's of the same kind."""
    open_: dict[int, Call] = {}
    for call in case.calls:
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


def repeated_prompts(case: Case) -> Iterator[Recommendation]:
    """The same question again and again: its answer could be kept.

    Evidence: whole answers to a prompt that one model was asked three times or more, with the same number of tokens.
    The saving is what all but the first of them cost. Whether an answer may be used again the caller knows; the
    numbers of a text (embeddings) are always the same.
    """
    asked: dict[tuple[object, ...], list[Call]] = {}
    for call in case.calls:
        if call.status == "ok" and call.evidence is not None and call.evidence.prompt_key is not None:
            key = (call.evidence.prompt_key, call.model, call.agent, call.endpoint, call.usage.input_tokens)
            asked.setdefault(key, []).append(call)
    again: dict[tuple[object, ...], list[list[Call]]] = {}
    for (_, model, agent, endpoint, _), calls in asked.items():
        if len(calls) >= _FEW:
            again.setdefault((model, agent, endpoint == "embeddings"), []).append(calls)
    for (_, _, embeddings), many in again.items():
        repeats = sorted((call for calls in many for call in calls[1:]), key=lambda call: call.started_at)
        sampled = any(call.evidence is not None and call.evidence.sampled for call in repeats)
        first = "repeated_prompts.embeddings" if embeddings else "repeated_prompts.answers"
        more = ["repeated_prompts.sampled"] if sampled else []
        yield recommend("repeated_prompts", repeats, _cost(repeats), *more, first=first, prompts=len(many))


def background_work(case: Case) -> Iterator[Recommendation]:
    """The Batch API, or the flex tier, for work that nobody waits for.

    Evidence: fifty calls or more of a model, agent and operation, to OpenAI itself, in the default tier and without
    asking for another; none streamed, none for a user or in a session, none with a history, and in a steady row: as
    soon as one ends the next begins, or at equal distances. The saving is the difference to the price of a batch, or
    of the flex tier where there is no batch.
    """
    works: dict[tuple[str | None, ...], list[Call]] = {}
    for calls in case.answers.values():
        for call in calls:
            works.setdefault((call.model, call.agent, call.operation), []).append(call)
    for calls in works.values():
        if len(calls) < _MANY or not all(_nobody_waits(call) for call in calls) or not _steady(calls):
            continue
        savings = {tier: saving for tier in ("batch", "flex") if (saving := _saving_in(case, calls, tier)) is not None}
        if savings:
            best = "batch" if "batch" in savings else "flex"
            more = ["background_work.also_flex"] if len(savings) > 1 else []
            facts = {f"{tier}_saving": usd(saving) for tier, saving in savings.items()}
            first = f"background_work.{best}"
            yield recommend("background_work", calls, savings[best], *more, first=first, **facts)


def _saving_in(case: Case, calls: Sequence[Call], tier: str) -> Amount | None:
    sold = [call for call in calls if case.sold(call.model or "", tier, call.started_at)]
    saving = _difference(case, sold, partial(case.what_if, tier=tier))
    return saving if saving is not None and saving > 0 else None


def _nobody_waits(call: Call) -> bool:
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
    """Whether there is hardly a pause between calls, or always the same one."""
    starts = [call.started_at.timestamp() for call in calls]
    span = max(start + call.duration for start, call in zip(starts, calls, strict=True)) - starts[0]
    idle, busy_until = 0.0, starts[0]
    for start, call in zip(starts, calls, strict=True):
        idle += max(start - busy_until, 0)
        busy_until = max(busy_until, start + call.duration)
    if idle <= span / 10:
        return True
    gaps = [after - before for before, after in pairwise(starts)]
    # Of visitors who come by chance, an eighth comes after more than three times the median.
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
"""What helps against which errors: exceptions of the SDK, and codes of the API. To add one, add a row, and if none of
the sentences ``advice.errors.NAME`` fits, a sentence."""


def errors(case: Case) -> Iterator[Recommendation]:
    """Errors of one kind, and what helps against it.

    Evidence: five or more. If there are five, but none of the kinds has as many, that is said instead. The saving is
    what failed calls cost, where that is known; most cost nothing.
    """
    kinds: dict[str, list[Call]] = {}
    for call in case.calls:
        if call.failed:
            kinds.setdefault(call.error_type or "?", []).append(call)
    many = {kind: calls for kind, calls in kinds.items() if len(calls) >= _SOME}
    for kind, calls in many.items():
        yield recommend("errors", calls, _cost(calls), first=f"errors.{_ADVICE.get(kind, 'other')}", error=kind)
    if not many and case.totals.errors >= _SOME:
        calls = [call for some in kinds.values() for call in some]
        total = case.totals.errors
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
"""The rules, by name. Each looks at the whole case; what they find is put in order by its saving."""
