"""``Budget``: the settings of one cap, checked when it is made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from math import ceil
from typing import Any, Literal

from openai_meter.core.calendar_windows import TOTAL, checked_period, zone_of
from openai_meter.core.dimensions import checked as checked_dimensions
from openai_meter.core.money import PICO, Number, exact, usd
from openai_meter.core.public import public
from openai_meter.errors import ConfigurationError

__all__ = ["UNITS", "Budget", "Unit", "amount_in", "read_budgets"]

Unit = Literal["usd", "tokens", "calls"]
UNITS: tuple[Unit, ...] = ("usd", "tokens", "calls")
"""What can be limited. Dollars are counted in pico-dollars (1e-12 USD), which are whole numbers."""

WHEN_SPENT = ("raise", "warn", "wait", "clamp", "degrade")
_HIGHEST = 1 << 62
"""The largest amount: integers of the databases have 64 bits. In pico-dollars it is $4,611,686."""


@public
@dataclass(frozen=True)
class Budget:
    """A cap on dollars, tokens or calls. Immutable; its figures are in ``meter.budgets``.

    Args:
        name: its name; the same in every process that shares it.
        usd: US dollars. Exactly one of ``usd``, ``tokens`` and ``calls`` is given; make two budgets for two limits.
        tokens: input and output tokens.
        calls: calls, those that failed included.
        every: ``minute``, ``hour``, ``day``, ``week``, ``month``, or ``total``: once, for ever.
        timezone: whose clocks begin the window: ``UTC``, ``local``, or a name such as ``Europe/Paris``.
        per: a dimension, such as ``user`` or ``tag:team``: each value has the limit for itself. Calls without a value
            share one, ``(unattributed)``.
        match: which calls it is for: ``{"agent": "nightly"}``, or ``{"model": ["gpt-5", "gpt-5-mini"]}``. All calls by
            default.
        when_spent: what happens to a call that may cost more than the rest. ``raise``: it is not sent, and raises
            ``BudgetExceededError``. ``warn``: it is sent, logged and counted as one that would have been refused.
            ``wait``: it waits until it fits, or the window ends, at most ``max_wait`` seconds. ``clamp``: its output
            limit is lowered to what is left. ``degrade``: the request goes to another model, by ``to``. A call that
            still does not fit is refused.
        max_wait: for ``wait``: seconds, 60 by default.
        to: for ``degrade``: the substitute of each model: ``{"gpt-6.2-sol": "gpt-6-luna"}``.
        unpriced: whether a call of a model without a price is sent under a budget in dollars: ``refuse`` or ``allow``.
        strict: whether a call is refused whose cost has no upper bound (``previous_response_id``, hosted tools, files).
            Otherwise, the most that such calls have cost so far is held.
        on_outage: what happens where the store of shared budgets does not answer, and the slice of this process is
            used up: ``refuse``, or an emergency share: a part of the limit (``0.01``) that each process may still use.
        on_fault: whether a call is sent if the meter itself fails while it admits it: ``allow`` or ``refuse``.
        alert_at: the parts of the limit at which an alert is raised when they are spent, once in each window and for
            each key, by all processes together. The first refused call of a window raises one too. ``()``: none.

    Raises:
        ConfigurationError: an argument cannot be used; the message has the remedy.
    """

    name: str
    usd: Number | None = field(default=None, kw_only=True)
    tokens: int | None = field(default=None, kw_only=True)
    calls: int | None = field(default=None, kw_only=True)
    every: str = field(default=TOTAL, kw_only=True)
    timezone: str = field(default="UTC", kw_only=True)
    per: str | None = field(default=None, kw_only=True)
    match: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    when_spent: str = field(default="raise", kw_only=True)
    max_wait: float = field(default=60.0, kw_only=True)
    to: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    unpriced: str = field(default="refuse", kw_only=True)
    strict: bool = field(default=False, kw_only=True)
    on_outage: str | float = field(default="refuse", kw_only=True)
    on_fault: str = field(default="allow", kw_only=True)
    alert_at: Sequence[float] = field(default=(0.5, 0.8, 1.0), kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigurationError(f'a budget needs a name, not {self.name!r}: Budget("prod", usd=500)')
        given = [unit for unit in UNITS if getattr(self, unit) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise self._wrong(f"takes exactly one of usd, tokens and calls, and was given {found}")
        object.__setattr__(self, "_unit", given[0])
        object.__setattr__(self, "_limit", self._checked_limit(given[0]))
        try:
            checked_period(self.every)
            object.__setattr__(self, "_zone", zone_of(self.timezone))
            if self.per is not None:
                checked_dimensions((self.per,))
        except ConfigurationError as error:
            raise self._wrong(f"cannot be used: {error}") from None
        object.__setattr__(self, "match", self._checked_match(self.match))
        self._one_of("when_spent", WHEN_SPENT)
        self._one_of("unpriced", ("refuse", "allow"))
        self._one_of("on_fault", ("allow", "refuse"))
        self._check_ways()
        if not isinstance(self.strict, bool):
            raise self._wrong(f"has strict={self.strict!r}; pass True or False")
        object.__setattr__(self, "alert_at", self._checked_parts(self.alert_at))
        parts = self.alert_at if self.limit else ()
        object.__setattr__(self, "_stages", tuple((ceil(self.limit * Decimal(str(part))), part) for part in parts))

    @property
    def unit(self) -> Unit:
        """``usd``, ``tokens`` or ``calls``."""
        unit: Unit = self._unit  # type: ignore[attr-defined] # set in __post_init__
        return unit

    @property
    def limit(self) -> int:
        """The limit in whole numbers: pico-dollars (1e-12 USD), tokens or calls."""
        limit: int = self._limit  # type: ignore[attr-defined]
        return limit

    @property
    def stages(self) -> tuple[tuple[int, float], ...]:
        """From which amount on each part of :attr:`alert_at` is spent; none of a budget of 0."""
        stages: tuple[tuple[int, float], ...] = self._stages  # type: ignore[attr-defined]
        return stages

    @property
    def only_watches(self) -> bool:
        """Whether it holds nothing, and only counts, as a threshold of a fleet does."""
        return False

    @property
    def zone(self) -> tzinfo:
        """The timezone."""
        zone: tzinfo = self._zone  # type: ignore[attr-defined]
        return zone

    @property
    def shadow(self) -> bool:
        """Whether it refuses nothing, and only counts the calls that it would have refused."""
        return self.when_spent == "warn"

    @property
    def emergency_share(self) -> int:
        """The amount that a process may use while the store does not answer."""
        return int(self.limit * Decimal(str(self.on_outage))) if self.on_outage != "refuse" else 0

    def _check_ways(self) -> None:
        wait, share, to = self.max_wait, self.on_outage, self.to
        if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait < float("inf"):
            raise self._wrong(f"has max_wait={wait!r}; pass seconds from 0 up")
        if share != "refuse" and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1):
            raise self._wrong(f'has on_outage={share!r}; use "refuse", or a part of the limit such as 0.01')
        if not isinstance(to, Mapping) or not all(isinstance(name, str) for pair in to.items() for name in pair):
            raise self._wrong(f'has to={to!r}; pass a dict such as {{"gpt-6.2-sol": "gpt-6-luna"}}')
        if (self.when_spent == "degrade") != bool(to):
            raise self._wrong('needs both when_spent="degrade" and to={"gpt-6.2-sol": "gpt-6-luna"}, or neither')
        object.__setattr__(self, "to", dict(to))

    def _wrong(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"Budget({self.name!r}) {why}")

    def _one_of(self, name: str, allowed: Sequence[str]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            raise self._wrong(f"has {name}={value!r}; use one of {', '.join(allowed)}")

    def _checked_limit(self, unit: str) -> int:
        value = getattr(self, unit)
        if unit == "usd":
            limit = int(exact(value, f"Budget({self.name!r}): usd") * PICO)
        elif isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(f"has {unit}={value!r}; pass a whole number from 0 up")
        else:
            limit = value
        if limit > _HIGHEST:
            raise self._wrong(f"has {unit}={value!r}, which is too large; the highest is {amount_in(unit, _HIGHEST):f}")
        return limit

    def _checked_parts(self, parts: object) -> tuple[float, ...]:
        if not isinstance(parts, Collection) or isinstance(parts, str | bytes | Mapping):
            raise self._wrong(
                f"has alert_at={parts!r}; pass parts of the limit such as (0.5, 0.8, 1.0), or () for none"
            )
        for part in parts:
            if isinstance(part, bool) or not isinstance(part, int | float) or not 0 < part <= 10:
                raise self._wrong(f"has {part!r} in alert_at; pass parts of the limit above 0: 0.8 is 80 %")
        return tuple(sorted(set(map(float, parts))))

    def _checked_match(self, match: object) -> dict[str, frozenset[str]]:
        if not isinstance(match, Mapping):
            raise self._wrong(f'has match={match!r}; pass a dict such as {{"agent": "nightly"}}')
        found = {}
        for name, wanted in match.items():
            try:
                checked_dimensions((name,))
            except ConfigurationError as error:
                raise self._wrong(f"cannot be used: {error}") from None
            values = [wanted] if isinstance(wanted, str) else wanted
            if not isinstance(values, Collection) or not values or not all(isinstance(one, str) for one in values):
                raise self._wrong(f"has match[{name!r}]={wanted!r}; pass a text or a list of texts")
            found[name] = frozenset(values)
        return found


def amount_in(unit: str, amount: int) -> Decimal:
    """A counted amount as a number for people: dollars, tokens or calls."""
    return usd(amount) if unit == "usd" else Decimal(amount)


def read_budgets(setting: object) -> tuple[Budget, ...]:
    """The budgets of a setting: a ``Budget`` or several; ``False`` or an empty list is none.

    Raises:
        ConfigurationError: the setting is none of these, or two budgets have one name.
    """
    if setting is False:
        return ()
    if isinstance(setting, Budget):
        setting = (setting,)
    if not isinstance(setting, list | tuple | set | frozenset):
        raise ConfigurationError(
            f'budgets={setting!r} cannot be used; pass a list such as [Budget("prod", usd=500, every="month")]'
        )
    found: dict[str, Budget] = {}
    for budget in setting:
        if not isinstance(budget, Budget):
            raise ConfigurationError(f'budgets has {budget!r}, which is not a Budget; write Budget("prod", usd=500)')
        if budget.name in found:
            raise ConfigurationError(f"there are two budgets of the name {budget.name!r}; give each a name of its own")
        found[budget.name] = budget
    return tuple(found.values())
