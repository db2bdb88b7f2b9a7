"""Thresholds as values: what can be limited, how limits are read from settings, how far they are used up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from openai_meter.core.dimensions import DIMENSIONS
from openai_meter.core.money import Number, exact, to_float
from openai_meter.core.public import get_state, public, set_state
from openai_meter.core.short_repr import short_repr
from openai_meter.errors import ConfigurationError

__all__ = [
    "DEFAULTS",
    "METRICS",
    "Metric",
    "Per",
    "Threshold",
    "ThresholdUsage",
    "chosen_thresholds",
    "read_thresholds",
]

Per = str
"""A dimension, such as ``user`` or ``tag:team``: see :data:`openai_meter.core.dimensions.DIMENSIONS`."""
FLEET: tuple[str, ...] = ("cost", "tokens", "calls")
"""The metrics that can be counted over all processes."""
CALENDAR: tuple[str, ...] = ("minute", "hour", "day", "week", "month")
"""The windows by the calendar; their bounds are those of :mod:`openai_meter.core.calendar_windows`."""


class Metric(NamedTuple):
    """What can be limited."""

    amount: Callable[[Any], Any]
    """Reads it from the sums."""
    over: Callable[[Any, Any], bool]
    """Whether sums have passed a limit."""
    average: bool = False
    """Whether the amount is divided by the calls of known size."""
    money: bool = False
    unknown: Callable[[Any], int] = lambda _: 0
    """The number of calls for which it is unknown."""


METRICS: Mapping[str, Metric] = {
    "calls": Metric(attrgetter("calls"), lambda sums, limit: sums.calls > limit),
    "cost": Metric(
        attrgetter("cost"), lambda sums, limit: sums.cost > limit, money=True, unknown=attrgetter("unpriced")
    ),
    "errors": Metric(attrgetter("errors"), lambda sums, limit: sums.errors >= limit),
    "tokens": Metric(attrgetter("tokens"), lambda sums, limit: sums.tokens > limit, unknown=attrgetter("unmeasured")),
    "tokens_per_call": Metric(
        attrgetter("tokens"), lambda sums, limit: sums.tokens > limit * sums.measured, average=True
    ),
}
"""What can be limited. To add one, add a row, what it reads to ``_Sums``, and a sentence to each language."""


@public
@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit, and on what. Immutable.

    Args:
        metric: ``calls``; ``cost`` in US dollars; ``tokens``; ``tokens_per_call``, their average over the calls whose
            size is known; ``errors``, calls that raised or failed.
        limit: what must not be passed; of errors, what must not be reached.
        per: a dimension, such as ``agent``, ``user``, ``session``, ``model``, ``tag:team``: each value has the limit
            for itself, and calls without one are not limited. ``None``: all calls together.
        window: counts the calls of the last so many seconds (or a ``timedelta``); or those of this ``minute``,
            ``hour``, ``day``, ``week`` (from Monday) or ``month``; ``None``: all since the start, or the last reset.
        timezone: whose days, weeks and months a window by the calendar has, such as ``Europe/Paris``; by default UTC.
        fleet: whether it counts the calls of all processes that share a ledger or a ``budget_store``, in the same
            counters as budgets, and raises one alert for all of them. For ``cost``, ``tokens`` and ``calls``, with a
            window by the calendar or none.

    Raises:
        ConfigurationError: an argument cannot be used; the message has the remedy.
    """

    metric: str
    limit: Number
    per: Per | None = None
    window: timedelta | float | str | None = None
    timezone: str | None = None
    fleet: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or self.metric not in METRICS:
            raise ConfigurationError(
                f"there is no threshold on {self.metric!r}; there are those on {', '.join(METRICS)}"
            )
        name = f"the limit of {self.metric}"
        limit = exact(self.limit, name)
        if not limit:
            raise ConfigurationError(f"{name} is 0; it has to be above 0 (None in the settings switches one off)")
        object.__setattr__(self, "limit", limit)
        if self.per is not None and not _is_dimension(self.per):
            raise ConfigurationError(
                f"per={self.per!r} is nothing to limit by; use one of {', '.join(DIMENSIONS)}, tag:NAME, or None"
            )
        if self.fleet is not False:
            self._check_fleet()
        if isinstance(self.window, str):
            object.__setattr__(self, "timezone", _read_timezone(self.window, self.timezone))
            return
        if self.timezone is not None:
            raise ConfigurationError(
                f"timezone={self.timezone!r} is for windows by the calendar, such as window='month'; leave it out"
            )
        if self.window is not None:
            object.__setattr__(self, "window", _read_window(self.window))

    def _check_fleet(self) -> None:
        if self.fleet is not True:
            raise ConfigurationError(f"fleet={self.fleet!r} is neither True nor False")
        if self.metric not in FLEET:
            raise ConfigurationError(f"fleet=True is for thresholds on {', '.join(FLEET)}, not on {self.metric}")
        if self.window is not None and not isinstance(self.window, str):
            raise ConfigurationError(
                f"fleet=True needs a window by the calendar, not {self.window!r}; use one of {', '.join(CALENDAR)}, "
                "or None"
            )

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self)

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, ("metric", "limit", "per", "window"))

    __repr__ = short_repr

    def __str__(self) -> str:
        """The limit as people write it: ``cost=5/month``, ``calls=100/day/user``, ``tokens=10000/3600s``."""
        window = plain_window(self)
        during = window if isinstance(window, str) else "total" if window is None else f"{window:g}s"
        parts = [f"{self.metric}={self.limit}", *((during,) if window or self.per else ()), *filter(None, [self.per])]
        return "/".join(parts)

    @property
    def calendar_window(self) -> str | None:
        """The period of a window by the calendar; ``None`` for other windows."""
        return self.window if isinstance(self.window, str) else None


def _is_dimension(per: object) -> bool:
    return isinstance(per, str) and (per in DIMENSIONS or (per.startswith("tag:") and len(per) > len("tag:")))


def _read_timezone(period: str, timezone: object) -> str:
    from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415 - few limits are by the calendar

    if period not in CALENDAR:
        raise _not_a_window(period)
    if timezone is not None and not isinstance(timezone, str):
        raise ConfigurationError(f'timezone={timezone!r} is not a name; pass one such as "Europe/Paris"')
    zone_of(timezone)
    return timezone or "UTC"


def _read_window(setting: object) -> timedelta:
    window = setting
    try:
        if isinstance(setting, int | float) and not isinstance(setting, bool):
            window = timedelta(seconds=setting)
    except (OverflowError, ValueError):  # infinite, not a number
        pass
    if not isinstance(window, timedelta) or window < timedelta(seconds=1):
        raise _not_a_window(setting)
    return window


def _not_a_window(setting: object) -> ConfigurationError:
    return ConfigurationError(
        f"window={setting!r} is not a duration; pass seconds from 1 up, a timedelta, None, or one of "
        f"{', '.join(CALENDAR)}"
    )


DEFAULTS: tuple[Threshold, ...] = (
    Threshold("calls", 100),
    Threshold("cost", Decimal("1.00")),
    Threshold("tokens_per_call", 2_000),
    Threshold("errors", 5),
)
"""The limits of a program that does not set any."""


def read_thresholds(setting: object = True) -> tuple[Threshold, ...]:
    """The thresholds of a setting.

    Args:
        setting: ``True`` or ``None``: :data:`DEFAULTS`. ``False``: none. A dict of metrics and limits: the defaults
            with other limits; the limit ``None`` switches one off. A :class:`Threshold` or several: only these.

    Raises:
        ConfigurationError: the setting is none of these, or a limit cannot be used.
    """
    if setting is None or setting is True:
        return DEFAULTS
    if setting is False:
        return ()
    if isinstance(setting, Threshold):
        return (setting,)
    if isinstance(setting, Mapping):
        limits = {threshold.metric: threshold.limit for threshold in DEFAULTS}
        limits.update(setting)
        return tuple(
            Threshold(metric, limit) for metric, limit in limits.items() if _known(metric) and limit is not None
        )
    if isinstance(setting, list | tuple | set | frozenset):
        for threshold in setting:
            if not isinstance(threshold, Threshold):
                raise ConfigurationError(
                    f'thresholds has {threshold!r}, which is not a Threshold; write Threshold("cost", 1.0), for example'
                )
        return tuple(dict.fromkeys(setting))
    raise ConfigurationError(
        f"thresholds={setting!r} cannot be used; pass a dict such as {{'cost': 5.0, 'calls': None}}, "
        "a list of Threshold, or False for none"
    )


def chosen_thresholds(setting: object) -> frozenset[Threshold]:
    """The thresholds of a setting that the program has chosen itself; the others are defaults.

    Raises:
        ConfigurationError: as :func:`read_thresholds`.
    """
    thresholds = read_thresholds(setting)
    if setting is None:
        return frozenset()
    if isinstance(setting, Mapping):
        return frozenset(threshold for threshold in thresholds if threshold.metric in setting)
    return frozenset(thresholds)


def _known(metric: object) -> bool:
    if metric not in METRICS:
        raise ConfigurationError(f"there is no threshold on {metric!r}; there are those on {', '.join(METRICS)}")
    return True


@dataclass(frozen=True, slots=True)
class ThresholdUsage:
    """How far a limit is used up, whether it is passed or not. Immutable."""

    threshold: Threshold
    used: int | Decimal
    """The counted amount, in the units of :attr:`Alert.value`."""
    share: float
    """The part of the limit that is used: 1.0 is all of it."""
    passed: bool
    """Whether the limit is exceeded."""
    key: str | None = None
    """Of a limit per agent, user, session or model: the one of them that has used the most."""
    at_least: bool = False
    """Whether there are also calls of unknown cost or size, so that the true value is at least this."""
    resets_at: datetime | None = None
    """Of a window by the calendar: when the next one begins, in UTC."""
    budget: str | None = None
    """The name of the budget whose limit it is; ``None``: it is a threshold."""
    full_at: datetime | None = None
    """Of a budget: when its limit will be reached, in UTC, if the window goes on as it has so far."""

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self)

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, ("threshold", "used", "share", "passed", "key", "at_least"))

    __repr__ = short_repr

    def __str__(self) -> str:
        """The use as a person reads it: ``cost=5/month: 1.2 (24%)``."""
        return f"{self.threshold}: {self.used}{'+' * self.at_least} ({self.share:.0%})"

    def to_dict(self) -> dict[str, Any]:
        """The value as plain JSON values; dollars are decimal strings."""
        money = METRICS[self.threshold.metric].money
        limit = exact(self.threshold.limit, "limit")
        whole = limit == limit.to_integral_value()
        return {
            "name": self.threshold.metric,
            "per": self.threshold.per,
            "key": self.key,
            "window": plain_window(self.threshold),
            "timezone": self.threshold.timezone,
            "resets_at": None if self.resets_at is None else self.resets_at.isoformat(),
            "used": f"{self.used:f}" if money else plain_number(self.used),
            "limit": f"{limit:f}" if money else int(limit) if whole else to_float(limit),
            "share": self.share,
            "passed": self.passed,
            "at_least": self.at_least,
        } | self._budget_fields()

    def _budget_fields(self) -> dict[str, Any]:
        if self.budget is None:
            return {}
        return {"budget": self.budget, "full_at": None if self.full_at is None else self.full_at.isoformat()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ThresholdUsage:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: a key is missing, or a value is not what it should be.
        """
        try:
            threshold = Threshold(
                data["name"], data["limit"], data.get("per"), data.get("window"), data.get("timezone")
            )
            used, key, resets_at = exact(data["used"], "used"), data.get("key"), data.get("resets_at")
            budget, full_at = data.get("budget"), data.get("full_at")
            counted = METRICS[threshold.metric]
            whole = not counted.money and used == used.to_integral_value()
            return cls(
                threshold,
                int(used) if whole else used,
                float(data["share"]),
                bool(data["passed"]),
                None if key is None else str(key),
                bool(data.get("at_least")),
                None if resets_at is None else datetime.fromisoformat(resets_at),
                None if budget is None else str(budget),
                None if full_at is None else datetime.fromisoformat(full_at),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no use of a threshold written by openai_meter: {error!r}") from error


def plain_number(value: int | Decimal) -> int | float:
    return value if isinstance(value, int) else to_float(value)


def plain_window(threshold: Threshold) -> float | str | None:
    """The window as a JSON value: seconds, the name of a period, or ``None``."""
    window = threshold.window
    return window.total_seconds() if isinstance(window, timedelta) else window
