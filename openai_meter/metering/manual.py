"""Calls that a program reports itself, and the names under which agent runtimes read a meter.

Calls of the openai package are counted without any of this. These methods are for calls that something else makes
(another SDK, another process, a local model), and for programs that were written against a per-model tracker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from openai_meter.budgets.state import Budgeting, charge
from openai_meter.core.background import worker
from openai_meter.core.call import Call, Status, UsageSource, make_call, new_call_id
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.metering.attribution import current_attribution, current_surroundings, read_attribution
from openai_meter.metering.readable import MeterCore
from openai_meter.pricing.loading import prepare
from openai_meter.reports.model_stats import ModelStats, stats_by_model, stats_of, undated
from openai_meter.usage.endpoints import Endpoint
from openai_meter.usage.external import MANUAL
from openai_meter.usage.responses import ResponseState, read_object

if TYPE_CHECKING:
    from openai_meter.alerts import Alert

__all__ = ["ManualTracking", "ModelStats", "most_urgent", "stats_of", "undated"]

ActualTokens = Mapping[str, int | None] | tuple[int | None, int | None]

_UNKNOWN = Usage()
_URGENT = ("calls", "cost")
"""The thresholds that are reported first, if several are exceeded."""
_LONGEST = 10 * 365 * 86_400
"""No call takes longer, in seconds; a larger number is in another unit."""


class ManualTracking(MeterCore):
    """The part of a ``Meter`` for calls that a program reports itself. All methods are safe in any thread."""

    # --- what the program reports -------------------------------------------------------------------------------------

    def track_call(
        self,
        model: str,
        prompt_tokens: int | None,
        completion_tokens: int | None = 0,
        *,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        service_tier: str | None = None,
        duration: float = 0.0,
        **attribution: object,
    ) -> Call:
        """Counts a call that something else made, at the meter's prices, attributed as the surrounding code names.

        Do not pass calls of the openai package that the meter has counted already: they would be counted twice.

        Args:
            model: the model's name, which its price depends on.
            prompt_tokens: tokens of the request, cached ones included; ``None`` if unknown.
            completion_tokens: tokens of the answer, reasoning included; ``None`` if unknown.
            cached_tokens: the part of the request that was read from the prompt cache.
            reasoning_tokens: the part of the answer that was reasoning.
            service_tier: the tier that served the call.
            duration: seconds that the call took.
            attribution: ``agent``, ``operation``, ``user``, ``session``, which go before those of the surrounding
                code; any other name is a tag.

        Returns:
            The record. It may still be without its price: the first one does not wait for the price files.

        Raises:
            ConfigurationError: a value cannot be used; nothing is counted then.
        """
        tokens_in = _checked_count("prompt_tokens", prompt_tokens)
        tokens_out = _checked_count("completion_tokens", completion_tokens)
        usage = Usage(
            tokens_in,
            tokens_out,
            None if tokens_in is None and tokens_out is None else (tokens_in or 0) + (tokens_out or 0),
            cached_input_tokens=_checked_part("cached_tokens", cached_tokens, "prompt_tokens", tokens_in),
            reasoning_tokens=_checked_part("reasoning_tokens", reasoning_tokens, "completion_tokens", tokens_out),
        )
        if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 <= duration <= _LONGEST:
            raise ConfigurationError(f"duration={duration!r} is not a duration; pass a number of seconds from 0 up")
        _checked_text("service_tier", service_tier)
        call = _manual(
            model, usage, "api" if usage.known else "none", attribution, service_tier=service_tier, duration=duration
        )
        return self._record(call)

    def track_generation(
        self,
        model: str,
        prompt: str,
        response: str | None,
        actual_tokens: ActualTokens | None = None,
        **attribution: object,
    ) -> Call:
        """Counts a generation from its texts, which are measured and not kept.

        Args:
            model: the model's name.
            prompt: the text that was sent.
            response: the text that came back; ``None`` for a generation without text, such as a tool call.
            actual_tokens: the tokens as the API reported them: ``{"prompt": 12, "completion": 34}`` or ``(12, 34)``.
                What is missing is estimated by :meth:`estimate_tokens`, and the call is marked as an estimate.
            attribution: as for :meth:`track_call`.

        Raises:
            ConfigurationError: a value cannot be used; nothing is counted then.
        """
        told_in, told_out = _read_actual(actual_tokens)
        tokens_in = self.estimate_tokens(prompt) if told_in is None else told_in
        tokens_out = self.estimate_tokens("" if response is None else response) if told_out is None else told_out
        estimated = told_in is None or told_out is None
        usage = Usage(tokens_in, tokens_out, tokens_in + tokens_out)
        call = _manual(model, usage, "chars" if estimated else "api", attribution)
        return self._record(replace(call, cost_estimated=estimated))

    def track_error(self, model: str | None, error: object, **attribution: object) -> Call:
        """Counts a call that failed. Of the error only the class's name is kept: a message may quote the prompt.

        Args:
            model: the requested model, or ``None`` if that is not known.
            error: the exception or its class; anything else is an ``unknown_error``.
            attribution: as for :meth:`track_call`.

        Raises:
            ConfigurationError: the model is not text; nothing is counted then.
        """
        kind = error if isinstance(error, type) else type(error)
        name = kind.__name__ if issubclass(kind, BaseException) else "unknown_error"
        call = _manual(model, _UNKNOWN, "none", attribution, status="error", error_type=name)
        return self._record(replace(call, price_facts={"status": "error"}))  # there was no answer, and so no charge

    def _record(self, call: Call) -> Call:
        """Counts a finished call, in this meter and in its blocks around. Never raises, never waits.

        A call that has a price keeps it; one without gets the meter's, at once or when the price files have been read.

        Returns:
            The record as it was counted.
        """
        meter = self.meter
        cost = None
        if call.cost_status == "unpriced":
            prepare()
            row = Endpoint(call.endpoint, "", "", read_object)
            response = ResponseState()
            response.service_tier, response.facts = call.service_tier, dict(call.price_facts)
            context = _ManualContext(row, response, call.provider, call.host or "", call.requested_model)
            usage = None if call.usage == _UNKNOWN else call.usage
            cost, book = meter._price_loader.price(usage, call.model, context, call.started_at)
            call = call.charged(cost, book)
        blocks = dict.fromkeys(block for block in current_surroundings().blocks if block.meter is meter)
        for listener in (meter, *blocks):
            listener._take(call)
        if Budgeting.active:
            charge((meter, *blocks), call)
        worker.start()
        if cost is not None:
            meter._price_loader.note_recorded(cost)
        return call

    def estimate_tokens(self, text: str) -> int:
        """About how many tokens a text is: its length by 3 if it has a French letter with an accent, else by 4.

        Raises:
            ConfigurationError: that is not text.
        """
        if not isinstance(text, str):
            raise ConfigurationError(f"tokens are estimated of text, not of {type(text).__name__!r}; pass a string")
        from openai_meter.usage.estimation.chars import estimate_tokens  # noqa: PLC0415

        return estimate_tokens(text)

    # --- what the meter returns ---------------------------------------------------------------------------------------

    def get_all_stats(self, *, fold_snapshots: bool = False) -> dict[str, ModelStats]:
        """The stats of every model, by the name that the API answered with. Plain data for ``json.dumps``.

        Args:
            fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.
        """
        return stats_by_model(self.by("model"), fold_snapshots=fold_snapshots)

    def get_model_stats(self, model: str) -> ModelStats:
        """The stats of one model, with those of its dated snapshots; zeros for a model without calls.

        ``get_model_stats("gpt-4o-mini")`` has the calls that ``gpt-4o-mini-2024-07-18`` answered, too: the API names
        the snapshot, the request rarely does. Asked for a snapshot, it has those of the snapshot alone.
        """
        return stats_of(*(row for name, row in self.by("model").items() if model in {name, undated(name)}))

    def generate_report(self, lang: str | None = None, *, fold_snapshots: bool = False) -> str:
        """The report per model in Markdown, as a chat shows it.

        Args:
            lang: ``"en"`` or ``"fr"``; by default the environment's.
            fold_snapshots: as for :meth:`get_all_stats`.

        Raises:
            ConfigurationError: there is no such language.
        """
        # Alerts and advice are for the chat action (``actions.py``) to put before and after it.
        return replace(self.report(by="model", lang=lang, fold_snapshots=fold_snapshots), alerts=()).render(
            "chat", lang=lang
        )

    def generate_compact_summary(self, lang: str | None = None) -> str:
        """A rule and one line with calls, tokens and cost, to be put at the end of a chat message.

        Returns:
            An empty string if nothing was counted yet.

        Raises:
            ConfigurationError: there is no such language.
        """
        report = self.report(by="model")
        line = report.render("line", lang=lang)
        # Without the empty line, Markdown takes the rule for the underline of a heading.
        return f"\n\n---\n{line}" if report.totals.calls else ""

    def check_thresholds(self) -> Alert | None:
        """One of the thresholds that are exceeded now, or ``None``; :attr:`alerts` has all of them.

        The one on calls goes first, then that on cost, then whichever was exceeded first.
        """
        return most_urgent(self.alerts)

    def generate_optimization_recommendations(self, lang: str | None = None) -> list[str]:
        """What would save tokens or money, as sentences, the largest saving first; empty if nothing is known.

        Raises:
            ConfigurationError: there is no such language.
        """
        return [one.message(lang) for one in self.recommendations()]

    def reset_stats(self) -> None:
        """Forgets all calls and starts again from zero."""
        self.reset()


def most_urgent(alerts: Iterable[Alert]) -> Alert | None:
    """The alert to show where there is room for one: that on calls, then that on cost, then the oldest."""
    return min(alerts, key=lambda alert: (*_URGENT, alert.kind).index(alert.kind), default=None)


class _ManualContext(NamedTuple):
    """The facts that the price of a call depends on, for calls that a program reports itself."""

    row: Endpoint
    response: ResponseState
    provider: str
    host: str
    requested_model: str | None


def _manual(
    model: str | None,
    usage: Usage,
    source: UsageSource,
    attribution: Mapping[str, object],
    *,
    status: Status = "ok",
    error_type: str | None = None,
    service_tier: str | None = None,
    duration: float = 0.0,
) -> Call:
    """A call that ends now, attributed as named, else as the surrounding code names."""
    if model is not None or status != "error":
        _checked_model(model)
    named = read_attribution(attribution).within(current_attribution())
    now = time.time()
    return make_call(
        id=new_call_id(now - duration),
        started_at=datetime.fromtimestamp(now - duration, UTC),
        duration=float(duration),
        endpoint=MANUAL,
        provider="openai",
        model=model,
        requested_model=model,
        status=status,
        usage=usage,
        usage_source=source,
        service_tier=service_tier,
        error_type=error_type,
        agent=named.agent,
        operation=named.operation,
        user=named.user,
        session=named.session,
        tags=named.tags,
    )


def _checked_model(model: object) -> None:
    if not isinstance(model, str) or not model:
        raise ConfigurationError(f"model={model!r} is not the name of a model; pass one, such as 'gpt-5.4-mini'")


def _checked_text(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name}={value!r} is not text; pass a string")


def _checked_count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}={value!r} is not a number of tokens; pass a whole number from 0 up, or None")
    return value


def _checked_part(name: str, value: object, whole_name: str, whole: int | None) -> int:
    part = _checked_count(name, value) or 0
    if part > (whole or 0):
        raise ConfigurationError(f"{name}={value!r} is a part of {whole_name}, which is {whole}; it cannot be larger")
    return part


def _read_actual(actual: object) -> tuple[int | None, int | None]:
    """The tokens of prompt and completion that the caller passed."""
    if actual is None:
        return None, None
    if isinstance(actual, Mapping) and actual.keys() <= {"prompt", "completion"}:
        pair = (actual.get("prompt"), actual.get("completion"))
    elif isinstance(actual, tuple | list) and len(actual) == 2:
        pair = (actual[0], actual[1])
    else:
        raise ConfigurationError(
            f"actual_tokens={actual!r} cannot be read; pass {{'prompt': 12, 'completion': 34}} or (12, 34)"
        )
    return _checked_count("actual_tokens['prompt']", pair[0]), _checked_count("actual_tokens['completion']", pair[1])
