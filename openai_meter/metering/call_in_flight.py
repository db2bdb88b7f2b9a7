"""One call from its request to its record. Everything here is synchronous, in memory, and never raises.

A :class:`CallInFlight` is made when the request leaves. The answer is read into its
:class:`~openai_meter.usage.responses.ResponseState`. :meth:`CallInFlight.finish` turns it into a ``Call`` exactly once,
even if several threads call it. Where the API did not report the usage, it is estimated first, in the background; the
call holds its request until then, and no longer.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from openai_meter.budgets.state import Budgeting, charge
from openai_meter.core import faults, fork_safety
from openai_meter.core.background import worker
from openai_meter.core.call import ESTIMATED, Status, UsageSource, new_call, random_half
from openai_meter.core.evidence import Evidence
from openai_meter.core.usage import Usage, fields_of
from openai_meter.metering.attribution import Attribution, Surroundings, current_attribution, current_surroundings
from openai_meter.metering.container_sessions import begin_sessions
from openai_meter.metering.meter import MeterCore, Readable, finish
from openai_meter.metering.open_calls import OPEN, WORK
from openai_meter.metering.outcome import outcome_of
from openai_meter.metering.seen_jobs import keep_growth
from openai_meter.metering.sinks import ObserverSlot
from openai_meter.usage.billing_details import RARE_KEYS, host_facts, request_facts
from openai_meter.usage.endpoints import LASTING, Endpoint
from openai_meter.usage.fingerprint import evidence_of
from openai_meter.usage.responses import ResponseState
from openai_meter.usage.transcript import Output, output_of_answer

__all__ = ["OPEN", "WORK", "CallInFlight", "finish_open_streams"]

_UNKNOWN = Usage()
_new = tuple.__new__  # what a NamedTuple calls in the end, without the function in between


class _End(NamedTuple):
    """How and when a call ended."""

    status: Status
    error_type: str | None
    duration: float


class CallInFlight:
    """One call that has begun. Its methods may be called from any thread, and from finalizers.

    Args:
        row: the endpoint.
        listeners: the meters and blocks that take the record.
        provider: ``openai``, ``azure`` or a host.
        host: the host that the request goes to.
        body: the request's JSON body; kept until the call ends, and only where its tokens may have to be counted.
        stream: whether a stream was requested.
        around: the surroundings of the call; by default, those of now.
    """

    __slots__ = (
        "_answer", "_answered", "_attribution", "_body", "_claim", "_clock", "_evidence", "_first", "_listed",
        "_observed", "attempts", "block", "hold", "host", "listeners", "provider", "requested_model", "response", "row",
        "started", "stream",
    )  # fmt: skip

    def __init__(
        self,
        row: Endpoint,
        listeners: tuple[Readable, ...],
        provider: str,
        host: str,
        body: Mapping[str, Any],
        *,
        stream: bool,
        around: Surroundings | None = None,
    ) -> None:
        around = current_surroundings() if around is None else around
        blocks = around.blocks
        self.row = row
        self.listeners = listeners
        self.provider = provider
        self.host = host
        self.stream = stream
        self.response = response = ResponseState()
        response.is_openai = provider in ("openai", "azure")
        model = body.get("model")
        self.requested_model: str | None = model if type(model) is str else None
        if row.request is not None:
            row.request(response, body)
        if not RARE_KEYS.isdisjoint(body):
            response.facts = request_facts(body)
            response.background = body.get("background") is True
        self._body: Mapping[str, Any] | None = (_held(body) if stream else body) if row.estimate else None
        self._answer: Mapping[str, Any] | None = None
        self._evidence = evidence_of(row.name, body)
        self._attribution: Attribution = current_attribution(around)
        self.block: str | None = blocks[-1].name if blocks else None
        self.attempts = 1  # how often the SDK has sent the request so far
        self._answered = False
        self._first: float | None = None
        self._listed = False
        observer = ObserverSlot.observer
        self._observed = None if observer is None else observer.call_started()
        self.hold: Any = None  # what its budgets hold for it
        self._claim = [True]  # list.pop() is atomic: of several threads that finish the call, one does
        self.started = time.time()
        self._clock = time.perf_counter()

    def begin_at(self, started: float, clock: float, attribution: Attribution, evidence: Evidence | None) -> None:
        """Moves the start to an earlier moment, and uses the values that were noted then."""
        self.started, self._clock, self._attribution, self._evidence = started, clock, attribution, evidence
        self._observed = None

    def open(self) -> None:
        """Lists the call as one that is being read, so that it can be shown, and finished at exit."""
        self._listed = True
        OPEN.put(id(self), self)

    def read_response(self, answer: object) -> None:
        """Reads a whole answer: an SDK object, a dict, or anything else (then it is ignored)."""
        try:
            fields = fields_of(answer)
            if self._body is not None:
                self._answer = fields
            self.row.read(self.response, fields)
        except Exception as error:
            faults.caught(error, f"reading an answer of {self.row.name}")

    def read_event(self, item: Any) -> None:
        """Reads one event of a stream."""
        self._answered = True
        try:
            self.row.fold(self.response, item)  # type: ignore[misc] # taps are only made where there is a folder
        except Exception as error:
            faults.caught(error, f"reading an event of {self.row.name}")
        if self._first is None and self.response.has_token:
            self._first = time.perf_counter()

    @property
    def token_arrived(self) -> bool:
        """Whether the moment of the first token is known."""
        return self._first is not None

    def finish(self, error: BaseException | None = None, *, whole: bool = True) -> None:
        """Ends the call; only the first time counts.

        Args:
            error: what the caller was given instead of an answer.
            whole: whether the answer was read to its end.
        """
        try:
            self._claim.pop()
        except IndexError:
            return
        try:
            if self._listed:
                OPEN.pop(id(self))
            self._settle(error, whole=whole)
        except Exception as fault:
            self._body = self._answer = None
            faults.caught(fault, f"recording a call of {self.row.name}")

    def drop(self) -> None:
        """Ends the call without a record: nothing was sent."""
        self._claim.clear()
        self._body = self._answer = None
        if self.hold is not None:
            self.hold.release()
        OPEN.pop(id(self))

    @property
    def finished(self) -> bool:
        """Whether the call has been ended."""
        return not self._claim

    # --- how a call ends ----------------------------------------------------------------------------------------------

    def _settle(self, error: BaseException | None, *, whole: bool) -> None:
        response = self.response
        row = self.row
        if row.name not in LASTING:
            self._record(_status(response, error, whole=whole), error)
        elif row.role in ("poll", "cancel") or (row.cumulative and error is None and response.state != "open"):
            self._settle_poll()
        elif error is None and response.state == "open" and response.response_id is not None:
            self._begin_work(response.response_id)
        elif response.background and response.response_id is not None and response.state in (None, "open"):
            self._begin_work(response.response_id)  # a stream was left, the server works on
        else:
            if response.response_id is not None:
                self.listeners[0].meter._seen_jobs.claim((row.name, response.response_id))
            self._record(_status(response, error, whole=whole), error)

    def _begin_work(self, identity: str) -> None:
        key = (self.row.name, identity)
        self.listeners[0].meter._seen_jobs.forget(key)
        self._body = self._answer = None
        WORK.put(key, self)

    def _settle_poll(self) -> None:
        """Counts finished work when it is first read as finished, for the listeners of its start."""
        row, response = self.row, self.response
        if response.response_id is None or response.state is None:
            return
        key = (row.name, response.response_id)
        begun = WORK.get(key)
        if response.state == "open":
            if row.cumulative and begun is None:
                WORK.put(key, self)  # an agent session has got more work
            return
        pending = begun if begun is not None else self
        seen = pending.listeners[0].meter._seen_jobs
        if row.cumulative:
            if not keep_growth(seen, key, response, known=begun is not None):
                return
        elif not (begun is not None or row.adopt(response)) or not seen.claim(key):
            return
        WORK.pop(key)
        response.model = response.model or pending.response.model
        response.service_tier = response.service_tier or pending.response.service_tier
        response.headers = pending.response.headers if begun is not None else response.headers
        # A completion window is only in the first request.
        response.facts = {**pending.response.facts, **response.facts}
        pending.response = response
        pending._record(_status(response, None, whole=True), None)

    def _record(self, status: Status, error: BaseException | None) -> None:
        duration = time.perf_counter() - self._clock
        response = self.response
        error_type = response.error_type
        if error is not None:
            error_type = type(error).__name__
            if response.state is None:
                response.extra = {}  # what was requested was not delivered
        if self.host != "api.openai.com" and (stated := host_facts(response.usage, self.provider)):
            response.facts = {**response.facts, **stated}
        if response.containers:
            self._begin_sessions()
        unanswered = status == "aborted"
        unread = response.state is None and not self._answered and self._first is None and self._answer is None
        if error is not None and unread:
            outcome = outcome_of(error)
            # A stream that has been opened was sent, wherever its error comes from.
            unanswered = outcome == "unanswered" or (self._listed and outcome == "unsent")
            if not unanswered:
                response.facts = {**response.facts, "status": "error" if outcome == "answered" else "unsent"}
        end = _new(_End, (status, error_type, duration))
        usage = response.total()
        body = self._body
        if body is not None:
            answer = self._answer
            self._body = self._answer = None
            plain = usage is not None and usage.total_tokens and not usage.inconsistent  # as almost every call
            if not (plain or (usage and usage.usable)) and self._leave_to_estimate(
                end, usage, body, answer, unanswered=unanswered
            ):
                return
        self._write(end, response.split or ((response.model, usage),))

    def _begin_sessions(self) -> None:
        """Counts the sessions of containers that this call has begun."""
        sessions = begin_sessions(self.response.containers, self.started)
        self.response.extra = {**self.response.extra, "container_sessions": sessions}

    def _leave_to_estimate(
        self,
        end: _End,
        usage: Usage | None,
        body: Mapping[str, Any],
        answer: Mapping[str, Any] | None,
        *,
        unanswered: bool,
    ) -> bool:
        """Passes the call to the worker, to be recorded with an estimate; ``False`` if none can be made."""
        transcript = self.response.transcript
        # Without an answer nothing shows that the call is billed; unless it was sent, and no answer came.
        outputs = () if answer is None else output_of_answer(self.row.name, answer)
        answered = (
            outputs or transcript.started or self.response.unreadable or (answer is not None and answer.get("data"))
        )
        if not (answered or (unanswered and usage is None)):
            return False
        if not worker.submit(partial(self._estimate, end, usage, body, outputs)):
            return False
        worker.start()
        return True

    def _estimate(self, end: _End, usage: Usage | None, body: Mapping[str, Any], outputs: tuple[Output, ...]) -> None:
        """Counts the tokens, and records the call. Runs in the worker, or in a thread that waits for it."""
        from openai_meter.usage.estimation import estimate_call  # noqa: PLC0415 - most programs never need it

        response = self.response
        found: tuple[Usage | None, UsageSource, tuple[str, ...], str | None] = (usage, "api", (), None)
        try:
            if self.row.fold is not None:
                before = response.containers
                response.replay(self.row.fold)
                if response.containers != before:
                    self._begin_sessions()
            outputs = outputs or response.transcript.outputs()
            answered = bool(outputs) or self._answered or self._first is not None
            model = response.model or self.requested_model
            estimate = estimate_call(self.row.name, body, outputs if answered else None, model, wait=True)
            unknown = estimate.unknown if answered else tuple(sorted({*estimate.unknown, "answer"}))
            complete = estimate.complete(response.reported(), response.transcript.ratio)
            if response.extra:
                complete += Usage(**response.extra)
            found = (complete, estimate.source, unknown, estimate.rule)
        except Exception as error:
            faults.caught(error, f"estimating a call of {self.row.name}")
        finally:
            response.drop_transcript()
            self._write(end, ((response.model, found[0]),), *found[1:])

    def _write(
        self,
        end: _End,
        split: Iterable[tuple[str | None, Usage | None]],
        source: UsageSource = "api",
        unknown: tuple[str, ...] = (),
        rule: str | None = None,
    ) -> None:
        """Makes the record (or several, where an answer reports several models) and passes it to the listeners."""
        response, attribution, headers = self.response, self._attribution, self.response.headers
        started_at = datetime.fromtimestamp(self.started, UTC)
        listeners, hold = self.listeners, self.hold
        by_meter = ((listeners[0].meter, listeners),) if len(listeners) == 1 else self._by_meter()
        for answered_model, usage in split:
            model = answered_model or self.requested_model
            for meter, group in by_meter:
                cost, book = meter._price_loader.price(usage, model, self, started_at)
                # In the order of Call's fields: to match 31 keywords takes as long as to set 31 attributes.
                call = new_call(
                    random_half(),
                    started_at,
                    end.duration,
                    self.row.name,
                    self.provider,
                    model,
                    self.requested_model,
                    end.status,
                    _UNKNOWN if usage is None else usage,
                    "none" if usage is None or (usage.total_tokens is None and not usage.seconds) else source,
                    unknown,
                    response.response_id,
                    response.service_tier,
                    self.stream,
                    None if self._first is None else self._first - self._clock,
                    end.error_type,
                    cost.amount_pico,
                    cost.status,
                    cost.reason,
                    cost.estimated or source in ESTIMATED,
                    cost.source,
                    attribution.agent,
                    attribution.operation,
                    attribution.user,
                    attribution.session,
                    attribution.tags,
                    self.block,
                    self.host,
                    response.facts,
                    self._evidence,
                    book,
                    rule,
                    self.attempts,
                    *headers,
                )
                for listener in group:
                    listener._take(call)
                if Budgeting.active and (hold is None or not hold.add(meter, call)):
                    charge(group, call)
                meter._price_loader.note_recorded(cost)
                if self._observed is not None and (observer := ObserverSlot.observer) is not None:
                    observer.call_ended(self._observed, meter, call)
        if hold is not None:
            hold.settle()

    def _by_meter(self) -> Collection[tuple[MeterCore, tuple[Readable, ...]]]:
        """The listeners of each meter: each prices by its own book. Nearly always there is one."""
        found: dict[MeterCore, tuple[Readable, ...]] = {}
        for listener in self.listeners:
            found[listener.meter] = (*found.get(listener.meter, ()), listener)
        return found.items()


def _held(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body with its lists as they are now: a program goes on with its conversation while it reads a stream."""
    return {key: [*value] if type(value) is list else value for key, value in body.items()}


def _status(response: ResponseState, error: BaseException | None, *, whole: bool) -> Status:
    if error is not None:
        # Others than an Exception: the program ended the call (a cancelled task, Ctrl-C, a closed coroutine).
        return "error" if isinstance(error, Exception) else "aborted"
    if response.state is not None and response.state != "open":
        return response.state
    return "ok" if whole else "aborted"


def finish_open_streams() -> None:
    """Records calls that are still being read as aborted, for the exit. Work on the server stays open."""
    for pending in OPEN.values():
        pending.finish(whole=False)
    worker.drain()
    finish()


def _forget_in_child(_: object) -> None:
    # Open calls belong to the parent, which will record them; the child must not record its copies.
    for pending in (*OPEN.values(), *WORK.values()):
        pending.drop()
    OPEN.clear()
    WORK.clear()


fork_safety.on_fork("open calls", after_in_child=_forget_in_child)
