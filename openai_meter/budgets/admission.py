"""Admits a call before it is sent: all budgets that it falls under hold the most that it can cost, or none does.

Everything here is synchronous and never waits: a wait is a :class:`Step` for the shells. A fault of ours never
reaches the program: it is counted, and the call is sent, or refused where a budget has ``on_fault="refuse"``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from openai_meter.budgets import account as accounts_module
from openai_meter.budgets.account import Account, Entry, hold, note_refused
from openai_meter.budgets.bound import OUTPUT_LIMITS, Bound, bound_of
from openai_meter.budgets.call_hold import Hold, Lesson, lesson_of
from openai_meter.budgets.guard import BudgetGuard, Subject
from openai_meter.budgets.refusal import Refusal, refusal_of
from openai_meter.core import faults
from openai_meter.core.bounded import Bounded
from openai_meter.reports.model_stats import undated

if TYPE_CHECKING:
    from openai_meter.budgets.desk import Desk
    from openai_meter.core.call import Call
    from openai_meter.pricing.loading import PriceLoader
    from openai_meter.usage.endpoints import Endpoint

__all__ = ["Guarded", "Step", "admit", "charge"]

logger = logging.getLogger("openai_meter")


class Guarded(Protocol):
    """A meter or a block."""

    @property
    def _budgets(self) -> BudgetGuard | None: ...

    @property
    def meter(self) -> Any:
        """The meter whose prices it uses."""


class Attributed(Protocol):
    """By and for whom a call is made."""

    @property
    def agent(self) -> str | None: ...
    @property
    def operation(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def session(self) -> str | None: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class CallToAdmit(Protocol):
    """A call that is about to be sent."""

    hold: Hold | None
    started: float

    @property
    def row(self) -> Endpoint: ...
    @property
    def listeners(self) -> tuple[Any, ...]: ...
    @property
    def provider(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def requested_model(self) -> str | None: ...
    @property
    def block(self) -> str | None: ...
    @property
    def _attribution(self) -> Any: ...


class _Falls(NamedTuple):
    """An account that a call falls under, the meter by whose prices it counts, and the guard that it is of."""

    account: Account
    meter: Any
    guard: BudgetGuard


class Step:
    """A step before a call can be decided on: a request to a store, or a pause. The two shells do it."""

    __slots__ = ("answer", "error", "seconds", "trip")

    def __init__(self, trip: Callable[[], Any] | None = None, seconds: float = 0.0) -> None:
        self.trip = trip
        self.seconds = seconds
        self.answer: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Makes the request. It may wait for a database; it never raises."""
        try:
            self.answer = self.trip() if self.trip is not None else None
        except Exception as error:
            self.error = error


_logged: Bounded[tuple[str, str | None, float], bool] = Bounded(1_000)
_PAUSE = 0.25
"""Seconds between two checks of a budget that a call waits for."""
_SHORTEST = 16
"""The smallest output limit that the API accepts."""


def admit(
    call: CallToAdmit, body: Mapping[str, Any], files: Any = None, *, changeable: bool = True
) -> Generator[Step, None, Refusal | None]:
    """Holds the most that a call can cost in all its budgets, and gives the call its hold.

    A generator that never waits itself: it yields the steps, if there are any. Without a shared store and without
    ``wait``, there is nothing.

    Returns:
        The refusal of the first budget that does not admit it; ``None``: it may be sent, with ``call.hold.changes`` in
        its body.
    """
    guards = [(guard, one.meter) for one in call.listeners if (guard := one._budgets) is not None]
    if not guards or call.row.role in ("poll", "cancel"):
        return None
    attempt = _Attempt(call, body, files, guards)
    attempt.changeable = changeable
    try:
        return (yield from attempt.run())
    except Exception as error:
        faults.caught(error, "admitting a call")
        return _after_fault(guards, attempt.falls, call.requested_model)


def _after_fault(guards: Iterable[tuple[BudgetGuard, Any]], falls: list[_Falls], model: str | None) -> Refusal | None:
    """The refusal where a budget has ``on_fault="refuse"``."""
    for one in falls:
        if one.account.budget.on_fault == "refuse":
            return refusal_of(one.account, None, "fault", model=model)
    if not falls:
        for guard, _ in guards:
            for budget in guard.budgets:
                if budget.on_fault == "refuse":
                    return refusal_of(guard.any_account(budget), None, "fault", model=model)
    return None


class _Asked(NamedTuple):
    """A request as it would be sent."""

    row: Endpoint
    provider: str
    host: str
    requested_model: str | None


class _Attempt:
    """The way of one call through its budgets."""

    def __init__(
        self, call: CallToAdmit, body: Mapping[str, Any], files: Any, guards: list[tuple[BudgetGuard, Any]]
    ) -> None:
        who = call._attribution
        self._call = call
        self._body = body
        self._files = files
        self._guards = guards
        self._subject = Subject(
            call.requested_model, who.agent, who.operation, who.user, who.session, who.tags, call.row.name,
            call.provider, call.block,
        )  # fmt: skip
        self._bounds: dict[int, Bound] = {}
        self._exact = False
        self._lesson: Lesson | None = None
        self._changes: dict[str, Any] = {}
        self._waits_until: float | None = None
        self._outage = False
        self._paused = False
        """Whether it has waited: others may have given something back."""
        self.changeable = True
        """Whether the request may be changed: a message of a connection is not."""
        self.falls: list[_Falls] = []

    def run(self) -> Generator[Step, None, Refusal | None]:
        """Decides on the call."""
        asked = refused = False
        while True:
            now = time.time()
            self.falls = [
                _Falls(one, meter, guard) for guard, meter in self._guards for one in guard.accounts(self._subject, now)
            ]
            if not self.falls:
                return None
            yield from self._prepare()
            entries = self._entries()
            if isinstance(entries, Refusal):
                return entries
            taken, short = hold(entries, final=asked)
            if taken:
                self._admitted(entries, short)
                return None
            if any(entry.account.shared for entry in short) and not (refused and _is_hopeless(short)):
                asked = True
                if (yield from self._refill(entries)):
                    continue
                refused = True
            refusing = [entry for entry in short if not entry.account.budget.shadow]
            if not refusing or (yield from self._make_fit(refusing, now)):
                refused = refused and not self._paused
                continue
            note_refused(refusing)
            account, amount, _ = refusing[0]
            reason = "outage" if self._outage else "spent"
            return refusal_of(account, amount, reason, model=self._call.requested_model)

    def _refill(self, entries: list[Entry]) -> Generator[Step, None, bool]:
        """Requests the missing amounts from the stores; returns whether the call may fit now."""
        self._outage = False
        for desk, some in self._desks(entries):
            step = Step(partial(desk.refill, some))
            yield step
            if step.error is not None:
                raise step.error
            self._outage = self._outage or not desk.available
            if not step.answer:
                return False
        return True

    def _admitted(self, entries: list[Entry], short: list[Entry]) -> None:
        if short:
            note_refused(short)
        for entry in short:
            _log_shadow(entry)
        self._call.hold = Hold(entries, self._lesson)
        self._call.hold.changes = self._changes or None

    def _prepare(self) -> Generator[Step, None, None]:
        """Adds the spent amount before this process, where there is a ledger."""
        for account, _, guard in self.falls:
            if not account.ready:
                if guard.before is None and not account.budget.only_watches:
                    account.ready = True
                    continue
                step = Step(partial(guard.prepare, account))
                yield step
                if step.error is not None:
                    raise step.error

    def _desks(self, entries: list[Entry]) -> Iterator[tuple[Desk, list[Entry]]]:
        """The desks of the accounts, each with its entries."""
        for guard, _ in self._guards:
            some = [
                entry for entry, one in zip(entries, self.falls, strict=True) if one.guard is guard and entry.amount
            ]
            if guard.desk is not None and some:
                yield guard.desk, some

    # --- amounts ------------------------------------------------------------------------------------------------------

    def _entries(self) -> list[Entry] | Refusal:
        """The amount that the call needs of each account, or the refusal of one."""
        entries: list[Entry] = []
        for one in self.falls:
            amount = self._amount(one)
            if isinstance(amount, Refusal):
                if not one.account.budget.shadow:
                    note_refused([Entry(one.account, 0, one.meter)])
                    return amount
                amount = 0
            entries.append(Entry(one.account, amount, one.meter))
        return entries

    def _amount(self, one: _Falls) -> int | Refusal:
        account, meter, _ = one
        budget = account.budget
        if budget.only_watches:
            return 0
        if budget.unit == "calls":
            return 1
        bound = self._bound(meter)
        if budget.unit == "usd" and bound.unpriced is not None:
            if budget.unpriced == "refuse":
                return refusal_of(account, None, "unpriced", detail=bound.unpriced, model=self._call.requested_model)
            return 0
        amount = bound.tokens if budget.unit == "tokens" else bound.pico or 0
        if bound.unbounded is not None:
            if budget.strict:
                return refusal_of(account, None, "unbounded", detail=bound.unbounded, model=self._call.requested_model)
            self._lesson = self._lesson or lesson_of((self._subject.model, self._subject.agent))
            pico, tokens = self._lesson.highest()
            amount = max(amount, tokens if budget.unit == "tokens" else pico)
        return amount

    def _bound(self, meter: Any) -> Bound:
        """The bound of the call, at the prices of a meter."""
        found = self._bounds.get(id(meter))
        if found is None:
            loader: PriceLoader = meter._price_loader
            loader.load()
            call = self._call
            model = self._changes.get("model", call.requested_model)
            asked = _Asked(call.row, call.provider, call.host, model)
            body = {**self._body, **self._changes} if self._changes else self._body
            found = bound_of(asked, body, loader.book, exact=self._exact, files=self._files)
            self._bounds[id(meter)] = found
        return found

    # --- when a budget is spent ---------------------------------------------------------------------------------------

    def _make_fit(self, refusing: list[Entry], now: float) -> Generator[Step, None, bool]:
        """Lowers the bound of a call, or waits, as the refusing budget is set; returns whether to try again."""
        if not self._exact and all(_left(entry.account) > 0 for entry in refusing):
            self._exact = True
            self._bounds.clear()
            return True
        entry = refusing[0]
        budget = entry.account.budget
        if budget.when_spent in {"degrade", "clamp"} and not self.changeable:
            return False
        if budget.when_spent == "degrade":
            return self._degrade(budget.to)
        if budget.when_spent == "clamp":
            return self._clamp(entry)
        if budget.when_spent != "wait":
            return False
        if self._waits_until is None:
            self._waits_until = now + budget.max_wait
        left = self._waits_until - now
        if left <= 0:
            return False
        self._paused = True
        yield Step(seconds=min(_PAUSE, left, max(entry.account.ends_at - now, 0.01)))
        return True

    def _degrade(self, to: Mapping[str, str]) -> bool:
        if "model" in self._changes:
            return False
        model = self._body.get("model")
        other = to.get(model) or to.get(undated(model)) if isinstance(model, str) else None
        if other is None:
            return False
        self._changes["model"] = other
        self._bounds.clear()
        return True

    def _clamp(self, entry: Entry) -> bool:
        """Lowers the output limit to what is left; never raises it."""
        call, (account, amount, meter) = self._call, entry
        fields = OUTPUT_LIMITS.get(call.row.name, ())
        bound = self._bound(meter)
        each = bound.output_pico if account.budget.unit == "usd" else bound.answers
        if account.budget.unit == "calls" or not fields or not each or any(one in self._changes for one in fields):
            return False
        limit = bound.output_tokens - ceil((amount - _left(account)) / each)
        if limit < _SHORTEST:
            return False
        name = next((one for one in fields if self._body.get(one) is not None), fields[0])
        self._changes[name] = limit
        self._bounds.clear()
        return True


def _left(account: Account) -> int:
    """The amount that is left for a smaller bound; 0 if no bound is smaller."""
    if account.budget.unit == "calls":
        return 0
    return _room(account)


def _is_hopeless(short: list[Entry]) -> bool:
    """Whether the store, which has just refused the call a slice, has less left than the call needs even now."""
    return any(entry.amount > _room(entry.account) for entry in short if not entry.account.budget.shadow)


def _room(account: Account) -> int:
    """What is left of a budget, as far as this process knows."""
    left = account.budget.limit - account.total_spent - account.total_held
    return max(account.free, left) if account.shared else account.free


def _log_shadow(entry: Entry) -> None:
    """Logs once in each window that a budget would have refused a call."""
    account = entry.account
    if _logged.claim((account.budget.name, account.key, account.start.timestamp()), True):
        refusal = refusal_of(account, entry.amount, "spent")
        logger.warning("openai_meter: %s (when_spent=warn: it was sent)", refusal.message())


def charge(listeners: Iterable[Guarded], call: Call) -> None:
    """Counts a call that was not admitted here: a turn of a connection, work that is polled, a call by hand."""
    for listener in listeners:
        guard = listener._budgets
        if guard is None:
            continue
        subject = Subject(
            call.requested_model or call.model, call.agent, call.operation, call.user, call.session, call.tags,
            call.endpoint, call.provider, call.block,
        )  # fmt: skip
        for account in guard.accounts(subject, call.started_at.timestamp()):
            unit = account.budget.unit
            spent = 1 if unit == "calls" else call.usage.total_tokens or 0 if unit == "tokens" else ceil(
                call.cost_pico or 0
            )  # fmt: skip
            accounts_module.charge(account, spent)
