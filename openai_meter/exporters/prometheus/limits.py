"""The metric families of limits: of the thresholds of a meter or a block, and of limits of a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.alerts import Threshold, ThresholdUsage
from openai_meter.core.money import exact, to_float
from openai_meter.errors import LedgerError

if TYPE_CHECKING:
    from openai_meter.metering.meter import Readable

__all__ = ["ExtraFamily", "threshold_families", "with_limits"]


class ExtraFamily(NamedTuple):
    """A metric family besides the counters of calls."""

    name: str
    help: str
    counter: bool
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]


_Samples = Mapping[tuple[str, ...], float]


def threshold_families(source: Readable) -> Iterator[ExtraFamily]:
    """The thresholds of a meter or a block: the used part of each, and those that are exceeded."""
    found = source.snapshot()
    uses = _highest(_used(usage) for usage in found.threshold_usage if usage.threshold.per is None)
    passed: dict[tuple[str, ...], float] = {}
    for alert in found.alerts:
        key = (alert.kind, alert.threshold.per or "", _window(alert.threshold))
        passed[key] = passed.get(key, 0) + 1
    yield from _families(uses, passed)


def with_limits(families: Iterable[ExtraFamily], source: Any, limits: tuple[Threshold, ...]) -> list[ExtraFamily]:
    """The families, with the use of limits of a ledger added to that of thresholds.

    Args:
        families: those that there are already.
        source: a ledger, or a meter that has one.
        limits: the limits.
    """
    uses: dict[tuple[str, ...], float] = {}
    passed: dict[tuple[str, ...], float] = {}
    others = []
    for family in families:
        if family.name == _USE:
            uses.update(family.samples)
        elif family.name == _PASSED:
            passed.update(family.samples)
        else:
            others.append(family)
    try:
        usages = getattr(source, "ledger", source).threshold_usage(*limits)
    except LedgerError:  # the other metrics are shown all the same
        usages = ()
    own = [_used(one) for one in usages if one.threshold.per is None]
    for one in usages:
        key = (one.threshold.metric, one.threshold.per or "", _window(one.threshold))
        passed[key] = passed.get(key, 0) + one.passed
    return [*others, *_families(_highest([*uses.items(), *own]), {key: n for key, n in passed.items() if n})]


def _used(usage: ThresholdUsage) -> tuple[tuple[str, ...], float]:
    """The labels of a limit, and the part of it that is used, as exact as its values."""
    limit = exact(usage.threshold.limit, "limit")
    return (usage.threshold.metric, _window(usage.threshold)), to_float(Fraction(usage.used) / Fraction(limit))


_USE, _PASSED = "threshold_use_ratio", "thresholds_passed"


def _families(uses: _Samples, passed: _Samples) -> Iterator[ExtraFamily]:
    yield ExtraFamily(
        _USE,
        "The used part of each limit on all calls; 1 is the limit.",
        False,
        ("metric", "window"),
        [*uses.items()],
    )
    yield ExtraFamily(
        _PASSED,
        "Limits that are exceeded now; a limit per agent, user and so on counts once for each that exceeds it.",
        False,
        ("metric", "per", "window"),
        [*passed.items()],
    )


def _highest(samples: Iterable[tuple[tuple[str, ...], float]]) -> _Samples:
    """One value for all limits with the same labels: Prometheus refuses two."""
    found: dict[tuple[str, ...], float] = {}
    for labels, value in samples:
        found[labels] = max(value, found.get(labels, value))
    return found


def _window(threshold: Threshold) -> str:
    """``total``, the seconds of a rolling window, or the period of a window of the calendar."""
    window = threshold.window
    if window is None:
        return "total"
    return window if isinstance(window, str) else f"{window.total_seconds():g}s"  # type: ignore[union-attr]
