"""The line of ``openai-meter statusline``, for prompts, tmux and status bars.

An error of the source does not fail it, and it never delays a prompt: without an answer in time the line is short, and
the exit code is still 0.
"""

from __future__ import annotations

import json
import os
import string
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from openai_meter.cli.live import marks
from openai_meter.cli.live.feeds import AwayError, Feed, Source, feed_of
from openai_meter.cli.live.line_cache import Cached, LineCache
from openai_meter.core.formatting import NumberStyle, decimals, number, percent
from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError, MeterError
from openai_meter.metering.pulse import Pulse
from openai_meter.reports.text import fitting, shown
from openai_meter.reports.words import cost, duration

__all__ = ["FIELDS", "Line", "checked_form", "statusline"]

_SEPARATOR = " · "
_LONGEST = 30.0
"""Seconds that a source may take on a busy machine."""
_SLICE, _WORKING = 0.5, 0.002
"""In a slice of so many seconds, a process that uses at least so much processor time works; else it only waits."""
_SPARK = 8
_COLOURS = {"cost": "1", "alerts": "1;31", "errors": "31", "spark": "36", "away": "2"}


class Line(NamedTuple):
    """How the line looks."""

    m: Messages
    form: str | None = None
    """With ``{cost}`` and other names of :data:`FIELDS`; ``None`` is the usual line, without what is 0."""
    since: str = "today"
    colour: bool = False
    as_json: bool = False
    timeout: float = 1.0
    """Seconds in which there has to be an answer."""


class _Found(NamedTuple):
    pulse: Pulse
    totals: Totals | None
    """The sums since the wanted moment; ``None`` if the source does not have them."""
    age: float | None = None
    """Seconds since the figures were read, if they are not those of now."""


def _sum(found: _Found, write: Callable[[Totals], str]) -> str:
    return "?" if found.totals is None else write(found.totals)


def _budget(found: _Found, style: NumberStyle) -> str:
    """The budget that is used the most, and its used part; ``-`` where there is none."""
    most = max((one for one in found.pulse.thresholds if one.budget), key=lambda one: one.share, default=None)
    if most is None:
        return "-"
    name = shown(most.budget or "", 40)
    return f"{name if most.key is None else f'{name} ({shown(most.key, 40)})'} {percent(most.share, style)}"


FIELDS: dict[str, Callable[[_Found, NumberStyle], str]] = {
    "cost": lambda found, style: _sum(found, lambda totals: cost(totals, decimals(2, style))),
    "calls": lambda found, style: _sum(found, lambda totals: number(totals.calls, style)),
    "tokens": lambda found, style: _sum(found, lambda totals: marks.tokens(totals, style)),
    "errors": lambda found, style: _sum(found, lambda totals: number(totals.errors, style)),
    "rate": lambda found, style: marks.cost_rate(found.pulse.minute, found.pulse.recent, marks.rate_dollars(style)),
    "spark": lambda found, _: marks.spark(found.pulse.spark, _SPARK, plain=_plain()),
    "alerts": lambda found, style: number(found.pulse.alerts, style),
    "total": lambda found, style: cost(found.pulse.totals, decimals(2, style)),
    "budget": _budget,
    "first": lambda found, _: shown(found.pulse.groups[0].name or "?", 40) if found.pulse.groups else "-",
}
"""What a line can be made of. ``total``: the cost of the month, or since the start of the process; ``first``: the model
that costs most now; ``alerts``: how many limits are exceeded; ``budget``: the most used one. To add one, add a row."""


def _plain() -> bool:
    return fitting("█", sys.stdout.encoding) != "█"


def checked_form(form: str | None) -> str | None:
    """The form of the line, unchanged.

    Raises:
        ConfigurationError: it contains an unknown field.
    """
    if form is not None:
        try:
            names = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(form) if name is not None]
        except ValueError as error:
            raise ConfigurationError(f"--format {form!r} cannot be read: {error}") from None
        for name, spec, how in names:
            if name not in FIELDS or spec or how:
                known = ", ".join(f"{{{one}}}" for one in FIELDS)
                raise ConfigurationError(f"--format {form!r}: there is no {{{name}}}; there are {known}")
    return form


def statusline(source: Source, line: Line) -> None:
    """Writes the line. Leaves the process at once where the source does not answer: nothing waits for it.

    Raises:
        ConfigurationError: the source or the moment cannot be used.
    """
    cache = LineCache(source, line.since)
    cached = cache.read()
    if cached is not None and cached.fresh and (found := _from_cache(cached)) is not None:
        _write(found, None, line)
        return
    found, error = _in_time(source, line)
    if isinstance(error, ConfigurationError):
        raise error
    if found is not None:
        cache.write({"pulse": found.pulse.to_dict(), "totals": found.totals and found.totals.to_dict()})
    elif isinstance(error, TimeoutError | AwayError) and cached is not None:
        found = _from_cache(cached)
    _write(found, error, line)
    if isinstance(error, TimeoutError):
        sys.stdout.flush()
        os._exit(0)  # the end of the process would wait for the source


def _from_cache(cached: Cached) -> _Found | None:
    try:
        totals = cached.data["totals"]
        pulse = Pulse.from_dict(cached.data["pulse"])
        return _Found(pulse, None if totals is None else Totals.from_dict(totals), None if cached.fresh else cached.age)
    except (KeyError, TypeError, ValueError):  # of another version
        return None


def _in_time(source: Source, line: Line) -> tuple[_Found | None, Exception | None]:
    """The answer of the source, or the error instead of one.

    After the timeout, a source that hangs is abandoned. On a busy machine, this process may have had little processor
    time: as long as it uses the processor, the caller waits, at most :data:`_LONGEST` seconds.
    """
    answer: list[tuple[_Found | None, Exception | None]] = []

    def ask() -> None:
        try:
            feed = feed_of(source, line.timeout)
            found = _ask(feed, line.since)
            feed.close()
            answer.append((found, None))
        except Exception as error:
            answer.append((None, error))

    thread = threading.Thread(target=ask, name="openai-meter-statusline", daemon=True)
    begun = time.monotonic()
    thread.start()
    thread.join(line.timeout)
    while thread.is_alive() and time.monotonic() - begun < _LONGEST:
        before = time.process_time()
        thread.join(_SLICE)
        if time.process_time() - before < _WORKING:
            break
    return answer[0] if answer else (None, TimeoutError(f"no answer within {line.timeout:g} seconds"))


def _ask(feed: Feed, since: str) -> _Found:
    pulse = feed.pulse()
    return _Found(pulse, pulse.today if since == "today" else feed.totals(since))


def _write(found: _Found | None, error: Exception | None, line: Line) -> None:
    if line.as_json:
        text = json.dumps(_data(found, error, line))
    elif found is None:
        text = _painted("away", line.m("live.line.away"), line)
    elif line.form is not None:
        values = {name: _painted(name, read(found, line.m.numbers), line) for name, read in FIELDS.items()}
        text = line.form.format_map(values)
    else:
        text = _usual(found, line)
    sys.stdout.write(fitting(text, sys.stdout.encoding) + "\n")


def _data(found: _Found | None, error: Exception | None, line: Line) -> dict[str, Any]:
    if found is None:
        known = isinstance(error, AwayError | TimeoutError | MeterError)
        return {"away": str(error) if known else f"{type(error).__name__}: {error}", "since": line.since}
    return {
        "away": None,
        "age": found.age,
        "since": line.since,
        "totals": None if found.totals is None else found.totals.to_dict(),
        "minute": found.pulse.minute.to_dict(),
        "spark": list(found.pulse.spark),
        "alerts": found.pulse.alerts,
        "budgets": [one.to_dict() for one in found.pulse.thresholds if one.budget],
    }


def _usual(found: _Found, line: Line) -> str:
    m, pulse, totals = line.m, found.pulse, found.totals

    def part(name: str) -> str:
        return _painted(name, FIELDS[name](found, line.m.numbers), line)

    spent = part("cost")
    parts = [
        m("live.line.today", cost=spent)
        if line.since == "today"
        else m("live.line.since", cost=spent, since=line.since)
    ]
    if totals is not None:
        parts.append(m("calls", n=totals.calls))
        parts.append(m("tokens", n=totals.usage.total_tokens or 0, text=marks.tokens(totals, m.numbers)))
        if totals.errors:
            parts.append(_painted("errors", m("errors", n=totals.errors), line))
    if pulse.recent.calls:
        parts.append(f"{part('spark')} {part('rate')}/min")
    if any(one.budget for one in pulse.thresholds):
        parts.append(part("budget"))
    if pulse.alerts:
        parts.append(_painted("alerts", f"⚠ {number(pulse.alerts, m.numbers)}", line))
    if found.age is not None:
        parts.append(_painted("away", m("live.line.old", age=duration(found.age, m)), line))
    return _SEPARATOR.join(parts)


def _painted(name: str, text: str, line: Line) -> str:
    return f"\x1b[{_COLOURS[name]}m{text}\x1b[0m" if line.colour and name in _COLOURS else text
