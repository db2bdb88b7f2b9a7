"""Admits a call before it is sent: all budgets that it falls under hold the most that it can cost, or none does.

Everything here is synchronous and in memory. A fault of ours never reaches the program: it is counted, and the call is
sent, or refused where a budget has ``on_fault="refuse"``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from openai_meter.budgets import account as accounts_module
from openai_meter.budgets.account import Account, Entry, Hold, Lesson, hold, note_refused
from openai_meter.budgets.bound import Bound, bound_of
from openai_meter.budgets.guard import BudgetGuard, Subject
from openai_meter.budgets.refusal import Refusal, refusal_of
from openai_meter.core import faults
from openai_meter.core.bounded import Bounded

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.pricing.loading import PriceLoader
    from openai_meter.usage.endpoints import Endpoint

__all__ = ["Guarded", "admit", "charge"]

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
    """An account that a call falls under, and the meter by whose prices it counts."""

    account: Account
    meter: Any


_lessons: Bounded[tuple[str | None, str | None], Lesson] = Bounded(10_000)
"""What calls without an upper bound have cost, by model and agent."""
_logged: Bounded[tuple[str, str | None, float], bool] = Bounded(1_000)


def admit(call: CallToAdmit, body: Mapping[str, Any], files: Any = None) -> Refusal | None:
    """Lets all budgets of a call hold what it can cost, and gives the call its hold.

    Returns:
        The refusal of the first budget that does not admit it; ``None``: it may be sent.
    """
    guards = [(guard, one.meter) for one in call.listeners if (guard := one._budgets) is not None]
    if not guards or call.row.role in ("poll", "cancel"):
        return None
    falls: list[_Falls] = []
    try:
        subject = _subject(call)
        falls = [_Falls(one, meter) for guard, meter in guards for one in guard.accounts(subject, time.time())]
        return _admit(call, body, files, subject, falls) if falls else None
    except Exception as error:
        faults.caught(error, "admitting a call")
        return _after_fault(guards, falls, call.requested_model)


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


def _subject(call: CallToAdmit) -> Subject:
    who = call._attribution  # noqa: SLF001 - of the same package
    return Subject(
        call.requested_model, who.agent, who.operation, who.user, who.session, who.tags, call.row.name, call.provider,
        call.block,
    )  # fmt: skip


class _Amounts:
    """The amounts that one call asks of its accounts."""

    def __init__(self, call: CallToAdmit, body: Mapping[str, Any], files: Any, subject: Subject) -> None:
        self._call = call
        self._body = body
        self._files = files
        self._key = (subject.model, subject.agent)
        self._bounds: dict[int, Bound] = {}
        self.exact = False
        self.lesson: Lesson | None = None

    def count_exactly(self) -> None:
        """Counts texts with the vocabulary from now on."""
        self.exact = True
        self._bounds.clear()

    def bound(self, meter: Any) -> Bound:
        """What the call can use at most, at the prices of a meter."""
        found = self._bounds.get(id(meter))
        if found is None:
            loader: PriceLoader = meter._price_loader
            loader.load()
            found = bound_of(self._call, self._body, loader.book, exact=self.exact, files=self._files)
            self._bounds[id(meter)] = found
        return found

    def of(self, one: _Falls) -> int | Refusal:
        """The amount that an account is asked for, or its refusal."""
        account, meter = one
        budget = account.budget
        if budget.unit == "calls":
            return 1
        bound = self.bound(meter)
        model = self._call.requested_model
        if budget.unit == "usd" and bound.unpriced is not None:
            if budget.unpriced == "refuse":
                return refusal_of(account, None, "unpriced", detail=bound.unpriced, model=model)
            return 0
        amount = bound.tokens if budget.unit == "tokens" else bound.pico or 0
        if bound.unbounded is not None:
            if budget.strict:
                return refusal_of(account, None, "unbounded", detail=bound.unbounded, model=model)
            self.lesson = self.lesson or _lesson(self._key)
            pico, tokens = self.lesson.highest()
            amount = max(amount, tokens if budget.unit == "tokens" else pico)
        return amount


def _admit(
    call: CallToAdmit, body: Mapping[str, Any], files: Any, subject: Subject, falls: list[_Falls]
) -> Refusal | None:
    amounts = _Amounts(call, body, files, subject)
    while True:
        entries: list[Entry] = []
        for one in falls:
            amount = amounts.of(one)
            if isinstance(amount, Refusal):
                if not one.account.budget.shadow:
                    note_refused([Entry(one.account, 0, one.meter)])
                    return amount
                amount = 0
            entries.append(Entry(one.account, amount, one.meter))
        short = hold(entries)
        refusing = [entry for entry in short if not entry.account.budget.shadow]
        if refusing and not amounts.exact and _may_fit(refusing):
            amounts.count_exactly()
            continue
        if short:
            note_refused(refusing or short)
        if refusing:
            account, amount, _ = refusing[0]
            return refusal_of(account, amount, "spent", model=call.requested_model)
        for entry in short:
            _log_shadow(entry)
        call.hold = Hold(entries, amounts.lesson)
        return None


def _may_fit(short: Iterable[Entry]) -> bool:
    """Whether a smaller bound could fit in all of these accounts."""
    return all(entry.account.free > 0 and entry.account.budget.unit != "calls" for entry in short)


def _lesson(key: tuple[str | None, str | None]) -> Lesson:
    found = _lessons.get(key)
    if found is None:
        _lessons.claim(key, Lesson())
        found = _lessons.get(key) or Lesson()
    return found


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
