"""``TokenTracker``: counts the responses that a program passes to it, per agent, and saves them as JSON.

Programs that are metered (``openai_meter.install()``) need none of it. It is for those that were written against a
tracker of this form, and works with and without a meter: where a meter has measured the call already, its record is
used, and the response is never counted twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from openai_meter.core.bounded import Bounded
from openai_meter.core.call import Call, new_call_id
from openai_meter.core.locale import language
from openai_meter.core.native import RLock
from openai_meter.core.public import public
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation.listening import registry
from openai_meter.metering.attribution import Attribution, as_text, current_attribution, current_surroundings
from openai_meter.metering.meter import Meter
from openai_meter.pricing.loading import prepare
from openai_meter.reports.model_stats import undated
from openai_meter.usage.external import read_external
from openai_meter.usage.responses import ResponseState

if TYPE_CHECKING:
    from openai_meter.core.money import Number
    from openai_meter.core.totals import Totals
    from openai_meter.pricing import Price

__all__ = ["PRICING", "TokenTracker", "get_global_tracker"]

PRICING: dict[str, Mapping[str, Number] | Price] = {}
"""Prices of your own, in US dollars per million tokens: ``PRICING["my-model"] = {"input": 0.10, "output": 0.40}``.

It is empty because every model has its real, dated price without it; a price here takes precedence, in all
trackers. A row is a ``Price`` or a mapping of its fields (``cached_input``, ...). Edit it at any time: it holds from
the next response that is tracked.
"""

UNNAMED = "unknown"
"""The agent and the operation of a response for which none is named."""

_REMEMBERED = 20_000
_SNAPSHOTS = 1_000
_NO_USAGE = Usage()


@public
class TokenTracker:
    """Counts the responses that it is given. Thread-safe.

    Calls that it prices itself have the prices, models and discount of the meter that is installed when it is made.

    Args:
        output_dir: where :meth:`save_report` puts its files; made when the first one is saved.
        pricing: prices of this tracker, as in :data:`PRICING` and before those; also the attribute ``PRICING``.
        recent: how many calls the report has in detail; the totals know all of them.

    Raises:
        ConfigurationError: a setting cannot be used; the message says why.
    """

    PRICING: Mapping[str, Mapping[str, Number] | Price] = {}
    """Prices of a subclass, as in the module's :data:`PRICING` and before those; one of an instance goes first."""

    def __init__(
        self,
        output_dir: str | os.PathLike[str] = "outputs/token_tracking",
        *,
        pricing: Mapping[str, Mapping[str, Number] | Price] | None = None,
        recent: int = 10_000,
        lang: str | None = None,
    ) -> None:
        self.lang = None if lang is None else language(lang).code
        """The language of the summary; ``None`` is that of the process."""
        self.output_dir = Path(output_dir)
        self.PRICING = dict(pricing or {})
        model = registry.installed or registry.meter
        self.meter = Meter(recent=recent, thresholds=False) if model is None else model._alike()
        """What counts: a meter of the tracker's own, with all that a meter can show."""
        self.meter._configure(recent=recent)
        self._seen: Bounded[int | str, bool] = Bounded(_REMEMBERED)
        self._snapshots: set[str] = set()
        self._applied: dict[str, Mapping[str, Number] | Price] = {}
        self._locks: dict[int, RLock] = {}
        prepare()
        self._apply_pricing(None)

    def __str__(self) -> str:
        """One line: calls, tokens and cost."""
        return str(self.meter)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.meter.totals}>"

    # --- counting -----------------------------------------------------------------------------------------------------

    def track_response(
        self,
        response: object,
        agent_name: object = UNNAMED,
        operation: object = UNNAMED,
        model: str | None = None,
    ) -> Call | None:
        """Counts a response. Never waits, and no response makes it raise.

        A value that it cannot read is unknown, not 0. A call that a meter has measured (the installed one, or
        a block around) is taken over with its tier, duration and cost. Several threads may track at once.

        Args:
            response: an answer of the openai package of any version (whole, parsed or raw), a dict of one, or any
                object with the same attributes.
            agent_name: whose call it is; by default whom the surrounding code names.
            operation: what for; by default what the surrounding code names.
            model: the requested model. The price is that of the model that answered, where the response
                names one.

        Returns:
            The record, or ``None`` if the response was counted before (it is known by its id, time and usage) or is
            work that the server has not finished: track it again when it is.

        Raises:
            ConfigurationError: the model is not text, or a row of ``PRICING`` cannot be used; nothing is counted then.
        """
        if model is not None and not isinstance(model, str):
            raise ConfigurationError(f"model={model!r} is not text; pass a model's name, such as 'gpt-5.4-mini'")
        endpoint, created, state, usage = read_external(response)
        own = self._apply_pricing(state.model)
        if state.state == "open" or self._knows(state.response_id, created, usage):
            return None
        measured = None if state.response_id is None else _measured(state.response_id)
        call = _call(endpoint, state, usage, model)
        if measured is not None:
            call = _taken_over(measured, call, own)
        who = Attribution(_named("agent_name", agent_name), _named("operation", operation)).within(
            Attribution(call.agent, call.operation, call.user, call.session, call.tags).within(current_attribution())
        )
        call = replace(
            call,
            agent=who.agent or UNNAMED,
            operation=who.operation or UNNAMED,
            user=who.user,
            session=who.session,
            tags=who.tags,
        )
        self._seen.put(call.id, True)
        return self.meter._record(call)

    def _knows(self, response_id: str | None, created: float | None, usage: Usage | None) -> bool:
        """Whether a response was counted before; remembers it. Some hosts give many responses the same id."""
        if response_id is None:
            return False
        if not self._seen.claim(hash((response_id, created, usage)), True):
            return True
        if registry.installed is not self.meter and not registry.has_wrapped:
            return False
        # The program may let this tracker's own meter listen to its clients: then the call is in it already.
        mine = self.meter.find(response_id)
        return mine is not None and mine.usage == (usage or _NO_USAGE) and not self._seen.get(mine.id)

    def _apply_pricing(self, model: str | None) -> Mapping[str, object]:
        """Brings the price book in line with ``PRICING``; what it holds now."""
        table: dict[str, Mapping[str, Number] | Price] = dict(PRICING)
        for kind in reversed(type(self).__mro__):
            table.update(vars(kind).get("PRICING", {}))
        table.update(self.PRICING)
        if model is not None and model not in table and undated(model) in table and len(self._snapshots) < _SNAPSHOTS:
            self._snapshots.add(model)  # the API answers with the snapshot's name
        for snapshot in self._snapshots.copy():
            if (short := undated(snapshot)) in table:
                table.setdefault(snapshot, table[short])
        if table == self._applied:
            return table
        # A lock of each process: the parent's may be held for ever by a thread that a fork has left behind.
        with self._locks.setdefault(os.getpid(), RLock()):
            prices = {name: _price(name, row) for name, row in table.items()}
            self.meter.settle()  # what had to wait for the price files has the prices of its own time
            for name in self._applied.keys() - prices.keys():
                self.meter.prices.set(name, None)
            for name, price in prices.items():
                if self._applied.get(name) != table[name]:
                    self.meter.prices.set(name, price)
            self._applied = {name: row if not isinstance(row, Mapping) else dict(row) for name, row in table.items()}
        return table

    # --- showing ------------------------------------------------------------------------------------------------------

    @property
    def session_start(self) -> str:
        """Since when is counted: the local time in ISO 8601, to the second."""
        return _local(self.meter.started_at)

    def print_summary(self, lang: str | None = None, file: TextIO | None = None) -> None:
        """Prints calls, tokens and cost, as a whole and per agent.

        Args:
            lang: ``"en"`` or ``"fr"``; by default the tracker's, else that of the process.
            file: where to; standard output by default.

        Raises:
            ConfigurationError: there is no such language.
        """
        self.meter.print_summary(by="agent", lang=lang or self.lang, format="tree", file=file)

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`save_report` writes, as plain JSON values: tokens as numbers, money in US dollars.

        What is unknown is ``None``. Sums are over what is known: ``unmeasured_calls`` and ``unpriced_calls`` say how
        many calls are missing in them, ``cost`` is ``total_cost`` as an exact decimal number.
        """
        snapshot = self.meter.snapshot()
        totals, agents, calls = snapshot.totals, snapshot.by("agent"), snapshot.calls
        return {
            "session_start": self.session_start,
            "total_calls": totals.calls,
            "total_input_tokens": _known(totals, totals.usage.input_tokens),
            "total_output_tokens": _known(totals, totals.usage.output_tokens),
            "total_tokens": _known(totals, totals.usage.total_tokens),
            "total_cost": _number(totals.cost),
            "calls_by_agent": {agent: _agent(one) for (agent,), one in agents.items()},
            "calls_detail": [_detail(call) for call in calls],
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "currency": "USD",
            "cost": None if totals.cost is None else f"{totals.cost:f}",
            "estimated_cost": f"{totals.estimated_cost:f}",
            "cached_input_tokens": totals.usage.cached_input_tokens,
            "reasoning_tokens": totals.usage.reasoning_tokens,
            "errors": totals.errors,
            "unmeasured_calls": totals.unmeasured_calls,
            "unpriced_calls": totals.unpriced_calls,
            "calls_without_detail": max(totals.calls - len(calls), 0),
        }

    def save_report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Saves the session as a JSON file, which appears as a whole or not at all; makes the folders on the way to it.

        Args:
            path: the file, which is replaced if it is there. By default a new file in ``output_dir`` that has the time
                in its name; no report ever replaces another.

        Returns:
            The path of the file.

        Raises:
            OSError: the file cannot be written; the message says which and what to do.
        """
        from openai_meter.reports.saving import write  # noqa: PLC0415 - nothing is loaded before it is shown

        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        target = self.output_dir if path is None else Path(path)
        try:
            if path is None:
                return _write_new(self.output_dir, text)
            write(target, text)
        except OSError as error:
            why = f"the report could not be saved ({error.strerror}); pass another path, or make room or rights there"
            raise OSError(error.errno, why, str(target)) from error
        return target


def get_global_tracker() -> TokenTracker:
    """The one tracker of the process, made on first use. Thread-safe."""
    if (tracker := _global.get("tracker")) is None:
        tracker = _global.setdefault("tracker", TokenTracker())  # of many threads, one sets it
    return tracker


_global: dict[str, TokenTracker] = {}


# --- from a response to a record --------------------------------------------------------------------------------------


def _named(name: str, value: object) -> str | None:
    text = as_text(name, value)
    return None if text == UNNAMED or not text else text


def _measured(response_id: str) -> Call | None:
    """The record of a response that a meter has counted: the installed one, the process-wide one, or a block around."""
    for readings in (registry.installed, registry.meter, *reversed(current_surroundings().blocks)):
        call: Call | None = None if readings is None else readings.find(response_id)
        if call is not None:
            return call
    return None


def _taken_over(measured: Call, reported: Call, own: Mapping[str, object]) -> Call:
    """A measured call for another meter: it keeps its cost, unless the tracker knows better what was used or paid."""
    call = replace(measured, requested_model=reported.requested_model or measured.requested_model)
    if reported.usage_source == "api" and measured.usage_source != "api":
        call = replace(call, usage=reported.usage, usage_source="api", usage_unknown=(), cost_estimated=False)
    elif call.model not in own and call.requested_model not in own:
        return call
    return replace(call, cost_pico=None, cost_status="unpriced", cost_reason=None)


def _call(endpoint: str, state: ResponseState, usage: Usage | None, model: str | None) -> Call:
    """The record of a response that no meter has measured: it has the present time, and OpenAI as the provider."""
    known = usage is not None and (usage.known or bool(usage.seconds))
    return Call(
        id=new_call_id(),
        started_at=datetime.now(UTC),
        duration=0.0,
        endpoint=endpoint,
        provider="openai",
        model=state.model or model,
        requested_model=model,
        status="ok" if state.state is None or state.state == "open" else state.state,
        usage=usage or _NO_USAGE,
        usage_source="api" if known else "none",
        response_id=state.response_id,
        service_tier=state.service_tier,
        error_type=state.error_type,
        price_facts=state.facts,
    )


def _price(model: object, row: object) -> Price:
    from openai_meter.pricing import Price  # noqa: PLC0415 - not before something is to be priced

    if isinstance(row, Price):
        return row
    if not isinstance(model, str) or not isinstance(row, Mapping):
        raise ConfigurationError(
            f'PRICING[{model!r}] is {row!r}; a row is such as PRICING["my-model"] = {{"input": 0.10, "output": 0.40}}'
        )
    try:
        return Price(**row)
    except TypeError:
        raise ConfigurationError(
            f'PRICING[{model!r}] has fields that a price has not: {sorted(map(str, row))}; use "input" and "output", '
            'in US dollars per million tokens, and "cached_input" if there is such a price'
        ) from None


# --- from records to a report -----------------------------------------------------------------------------------------


def _local(at: datetime) -> str:
    return at.astimezone().replace(tzinfo=None).isoformat(timespec="seconds")


def _number(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _known(totals: Totals, tokens: int | None) -> int | None:
    """A sum of tokens, or ``None`` if there are calls and nothing is known of any."""
    return None if totals.calls and totals.unmeasured_calls == totals.calls else tokens


def _agent(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "total_tokens": _known(totals, totals.usage.total_tokens),
        "total_cost": _number(totals.cost),
        "input_tokens": _known(totals, totals.usage.input_tokens),
        "output_tokens": _known(totals, totals.usage.output_tokens),
        "cost": None if totals.cost is None else f"{totals.cost:f}",
        "errors": totals.errors,
        "unmeasured_calls": totals.unmeasured_calls,
        "unpriced_calls": totals.unpriced_calls,
    }


def _detail(call: Call) -> dict[str, Any]:
    return {
        "timestamp": _local(call.started_at),
        "agent_name": call.agent,
        "operation": call.operation,
        "model": call.requested_model or call.model,
        "input_tokens": call.usage.input_tokens,
        "output_tokens": call.usage.output_tokens,
        "total_tokens": call.usage.total_tokens,
        "cost_usd": _number(call.cost),
        "call": call.to_dict(),
    }


def _write_new(directory: Path, text: str) -> Path:
    """Writes a file that has the time in its name, under a name that no file has."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"token_report_{datetime.now().astimezone():%Y%m%d_%H%M%S}"
    draft = directory / f".{stem}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        draft.write_text(text, encoding="utf-8")
        for number in count(1):
            target = directory / (f"{stem}.json" if number == 1 else f"{stem}_{number}.json")
            with suppress(FileExistsError):
                _publish(draft, target)
                break
    finally:
        draft.unlink(missing_ok=True)
    return target


def _publish(draft: Path, target: Path) -> None:
    """Gives a draft its name, if no file has it.

    Raises:
        FileExistsError: one has.
    """
    try:
        os.link(draft, target)
    except OSError:  # there is one, or the file system has no links: then the name is taken first, and filled at once
        target.touch(exist_ok=False)
        draft.replace(target)
