"""The quick way of a call through its budgets: where all is in memory, and the bound of the request is simple.

It decides as :mod:`openai_meter.budgets.admission` does, for calls that are like almost all others: one meter or block
has budgets, their counters are at hand, the input is plain text, and what the call can cost fits into what is left.
Everything else it leaves to the long way, which then decides on the call from the beginning. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.budgets import guard as guards
from openai_meter.budgets.account import Account, Entry, hold_at_once
from openai_meter.budgets.bound import CEILING, OUTPUT_LIMITS, PLAIN_KEYS, fact, plan_of
from openai_meter.budgets.call_hold import Hold
from openai_meter.budgets.guard import BudgetGuard, Subject
from openai_meter.budgets.rates import Kind, rates_of
from openai_meter.budgets.sizes import plain_text_size
from openai_meter.core import faults

if TYPE_CHECKING:
    from openai_meter.usage.endpoints import Endpoint

__all__ = ["quick_hold"]

_new = tuple.__new__  # what a NamedTuple calls in the end, without the function in between

_KEPT = 4_096
"""The kinds of calls that a guard keeps."""
_INPUTS = {"chat.completions": "messages", "responses": "input", "embeddings": "input"}
"""The field of the input of the endpoints that it is for."""


class _Kind:
    """What calls of one kind have in common."""

    __slots__ = ("accounts", "attribution", "calls_only", "prices", "until")

    def __init__(self, accounts: tuple[Account, ...], attribution: object) -> None:
        self.accounts = tuple((one, None if one.budget.only_watches else one.unit) for one in accounts)
        """Each with what it counts; ``None``: it holds nothing."""
        self.until = min((account.ends_at for account in accounts), default=float("inf"))
        """When the first of their windows ends, in seconds since 1970."""
        self.calls_only = all(unit in {"calls", None} for _, unit in self.accounts)
        self.attribution = attribution
        """It is held, so that no other object has its ``id()``."""
        self.prices: _Prices | None = None


class _Request(NamedTuple):
    """A request to one model."""

    row: Endpoint
    provider: str
    host: str
    requested_model: str | None


class _Prices(NamedTuple):
    """What the bound of plain requests to one model is made of, until the day or the prices change."""

    state: object
    """The state of the price book that it is of."""
    until: float
    """The end of the UTC day, in seconds since 1970."""
    input: int
    """Pico-dollars of an input token."""
    output: int
    call: int
    threshold: int | None
    """Input tokens above which other prices hold."""
    ceiling: int
    """Output tokens at most."""


_PLAIN = Kind(long=False, half_day=False, images=False, audio=False, drawn=False, spoken=False)


def quick_hold(  # noqa: PLR0917 - by position: every call comes here
    guard: BudgetGuard,
    meter: Any,
    row: Endpoint,
    provider: str,
    host: str,
    model: str | None,
    attribution: Any,
    block: str | None,
    body: Mapping[str, Any],
) -> Hold | None:
    """The hold of a call in all its budgets, or ``None``: then nothing was held, and the long way has to decide.

    Never raises, and never waits.
    """
    try:
        now = guards.now()
        key = (row.name, provider, host, model, block, id(attribution))
        kind = guard.kinds.get(key)
        if kind is None or now >= kind.until:
            kind = _kind(guard, key, attribution, now)
            if kind is None:
                return None
        tokens, pico = 0, 0
        if not kind.calls_only:
            prices = kind.prices
            state = meter._price_loader.state()
            if prices is None or prices.state is not state or now >= prices.until:
                prices = kind.prices = _prices(key, meter, row, now)
                if prices is None:
                    return None
            size = _size(row.name, body, prices)
            if size is None:
                return None
            tokens, pico = size
        entries: list[Entry] = []
        for account, unit in kind.accounts:
            amount = pico if unit == "usd" else 1 if unit == "calls" else tokens if unit == "tokens" else 0
            entries.append(_new(Entry, (account, amount, meter)))
        return Hold(entries) if hold_at_once(entries) else None
    except Exception as error:
        faults.caught(error, "admitting a plain call")
        return None


def _kind(guard: BudgetGuard, key: tuple[Any, ...], attribution: Any, now: float) -> _Kind | None:
    """The accounts of a kind of calls; ``None`` as long as one of them is not ready."""
    name, provider, _, model, block, _ = key
    if name not in _INPUTS:
        return None
    who = attribution
    subject = Subject(model, who.agent, who.operation, who.user, who.session, who.tags, name, provider, block)
    accounts = tuple(guard.accounts(subject, now))
    if not all(account.ready for account in accounts):
        return None
    if len(guard.kinds) >= _KEPT:
        guard.kinds.clear()  # some programs attribute each call to someone else
    kind = guard.kinds[key] = _Kind(accounts, attribution)
    return kind


def _prices(key: tuple[Any, ...], meter: Any, row: Endpoint, now: float) -> _Prices | None:
    """The prices of plain requests; ``None`` where there are none, or a bound is not that simple."""
    loader = meter._price_loader
    state = loader.state()
    if state is None:
        return None
    _, provider, host, model, _, _ = key
    plan = plan_of(loader.book, _Request(row, provider, host, model), {})
    sheet = plan.sheet
    if sheet is None or plan.facts.get("free") or plan.facts.get("search_each_call") is not None:
        return None
    rates = rates_of(plan, _PLAIN)
    if not rates.priced and not rates.call:
        return None
    ceiling = 0 if row.name == "embeddings" else fact(plan, "max_output_tokens", CEILING)
    until = (now // 86_400 + 1) * 86_400
    return _Prices(state, until, rates.input, rates.output, rates.call, sheet.threshold, ceiling)


def _size(name: str, body: Mapping[str, Any], prices: _Prices) -> tuple[int, int] | None:
    """The most tokens and pico-dollars of a body; ``None`` if it is not a plain one."""
    if not PLAIN_KEYS.issuperset(body):
        return None
    field = _INPUTS[name]
    size = plain_text_size(field, body.get(field))
    if size is None or (prices.threshold is not None and size > prices.threshold):
        return None
    output = prices.ceiling
    for limit in OUTPUT_LIMITS.get(name, ()):
        value = body.get(limit)
        if value is not None:
            if type(value) is not int or value < 0:
                return None
            output = min(output, value)
    return size + output, prices.input * size + prices.output * output + prices.call
