"""Limits of a ledger as people write them: ``cost=50/month``, ``calls=1000``, ``tokens=2000000/week/user``."""

from __future__ import annotations

from collections.abc import Iterable

from openai_meter.alerts.threshold import CALENDAR, METRICS, Threshold
from openai_meter.errors import ConfigurationError

__all__ = ["PER_OF_LEDGER", "parsed_limits"]

PER_OF_LEDGER: tuple[str, ...] = ("agent", "user", "model")
"""The dimensions that a limit of a ledger can be per: its sums per day do not have sessions."""
_TOTAL = "total"
_FORM = "METRIC=NUMBER/PERIOD/PER, such as cost=50/month or calls=100/day/user; without a period it is of a day"


def parsed_limits(limits: Iterable[Threshold | str] | None, timezone: str | None = None) -> tuple[Threshold, ...]:
    """Limits of a ledger, each once.

    Args:
        limits: texts such as ``cost=50/month``, or thresholds.
        timezone: whose days, weeks and months the texts mean; by default UTC.

    Raises:
        ConfigurationError: one cannot be used; the message has the form.
    """
    found = []
    for limit in (limits,) if isinstance(limits, str | Threshold) else limits or ():
        threshold = limit if isinstance(limit, Threshold) else _parsed(limit, timezone)
        if threshold.per is not None and threshold.per not in PER_OF_LEDGER:
            raise ConfigurationError(
                f"a ledger cannot limit per {threshold.per}; limit per {', '.join(PER_OF_LEDGER)}, or all calls"
            )
        found.append(threshold)
    return tuple(dict.fromkeys(found))


def _parsed(text: object, timezone: str | None) -> Threshold:
    metric, equals, rest = str(text).partition("=")
    number, *more = (part.strip() for part in rest.split("/"))
    period, per = (*more, "day")[0], (*more[1:2], None)[0]
    usable = equals and len(more) <= 2 and period in {*CALENDAR, _TOTAL} and (per is None or per in PER_OF_LEDGER)
    if not usable:
        raise ConfigurationError(
            f"{text!r} is not a limit; write {_FORM}. METRIC: {', '.join(METRICS)}. "
            f"PERIOD: {', '.join(CALENDAR)} or {_TOTAL}. PER: {', '.join(PER_OF_LEDGER)}"
        )
    window, zone = (None, None) if period == _TOTAL else (period, timezone)
    return Threshold(metric.strip(), number, per, window, zone)
