"""Limits in the terminal: the name of a limit, how much of it is used, and the lines of ``check`` and ``report``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from openai_meter.alerts import METRICS, ThresholdUsage
from openai_meter.core.formatting import dollars, exact_dollars, number, percent
from openai_meter.core.locale import Messages
from openai_meter.core.money import exact
from openai_meter.reports.text import shown
from openai_meter.reports.words import duration, heading

__all__ = ["EXCEEDED", "exceeded", "limit_lines", "limit_name", "limit_share", "limit_use"]

EXCEEDED = 3
"""The exit code of commands where a limit is exceeded."""


def limit_name(usage: ThresholdUsage, m: Messages) -> str:
    """The name of a limit: ``cost this month``, ``calls per user (u1) today``."""
    limit = usage.threshold
    if usage.budget is not None:
        name = m("live.budget", name=shown(usage.budget, 40))
        return name if usage.key is None else m("budget.of", budget=name, key=shown(usage.key, 40))
    name = m(f"live.metric.{limit.metric}")
    if limit.per is not None:
        name = m("live.limit_per", name=name, per=heading(limit.per, m, "by"), key=shown(usage.key or "?", 40))
    if isinstance(limit.window, timedelta):
        return m("live.limit_window", name=name, window=duration(limit.window.total_seconds(), m))
    return f"{name} {m(f'this.{limit.window}')}" if isinstance(limit.window, str) else name


def limit_use(usage: ThresholdUsage, m: Messages) -> str:
    """``$12.30 of $50.00``; ``?`` where nothing is known, ``+`` after what is known where more is not.

    Of a budget also when its limit will be reached.
    """
    text = _use(usage, m)
    if usage.full_at is None:
        return text
    return m("live.full_at", use=text, at=f"{usage.full_at:%Y-%m-%d %H:%M} UTC")


def _use(usage: ThresholdUsage, m: Messages) -> str:
    value, limit = Decimal(usage.used), exact(usage.threshold.limit, "limit")
    money = METRICS[usage.threshold.metric].money
    used = "?" if usage.at_least and not value else f"{_value(value, m, money=money)}{'+' if usage.at_least else ''}"
    return m("live.limit", used=used, limit=exact_dollars(limit, m.numbers) if money else _value(limit, m, money=False))


def limit_share(usage: ThresholdUsage, m: Messages) -> str:
    """The used part of a limit in percent."""
    return percent(usage.share, m.numbers) if usage.share < 10 else f">{percent(9.99, m.numbers)}"


def limit_lines(usages: Iterable[ThresholdUsage], m: Messages) -> list[str]:
    """A line for each limit: its name, how much of it is used, and whether it is exceeded."""
    lines = []
    for usage in usages:
        state = "passed" if usage.passed else "at_least" if usage.at_least else "kept"
        name, use = limit_name(usage, m), limit_use(usage, m)
        lines.append(m(f"cli.limit.{state}", name=name, use=use, share=limit_share(usage, m)))
    return lines


def exceeded(usages: Iterable[ThresholdUsage], *, strict: bool = False) -> bool:
    """Whether a limit is exceeded, or (``strict``) may be, because calls of unknown cost or size are not included."""
    return any(usage.passed or (strict and usage.at_least) for usage in usages)


def _value(value: Decimal, m: Messages, *, money: bool) -> str:
    if money:
        return dollars(value, m.numbers)
    return number(int(value) if value == value.to_integral_value() else value, m.numbers)
