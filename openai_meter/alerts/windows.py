"""The windows of thresholds in parts whose sums are kept: parts of a rolling window, or whole windows of a calendar."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from openai_meter.alerts.threshold import Threshold

if TYPE_CHECKING:
    from openai_meter.core.calendar_windows import CalendarWindow

__all__ = ["Calendar", "Parts", "Rolling", "parts_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PARTS = 60
"""The number of parts of a rolling window: a call is removed up to one part before it leaves the window."""


class Rolling:
    """The parts of a rolling window, by their numbers."""

    __slots__ = ("_width",)

    def __init__(self, window: timedelta) -> None:
        self._width = window.total_seconds() / _PARTS

    def place(self, moment: float) -> int:
        """The part that a moment, in seconds since 1970, is in."""
        return int(moment // self._width)

    def oldest(self, place: int) -> int:
        """The first part that counts when the last one is ``place``."""
        return place - _PARTS + 1

    def resets_at(self, moment: float) -> None:
        """``None``: a rolling window has no start."""


class Calendar:
    """The windows of a calendar: each is one part, and its number is when it begins, in microseconds since 1970."""

    __slots__ = ("_current", "_window_of")

    def __init__(self, period: str, timezone: str | None) -> None:
        from openai_meter.core.calendar_windows import calendar_window, zone_of  # noqa: PLC0415 - few limits need it

        self._window_of = partial(calendar_window, period, zone_of(timezone))
        self._current = (math.inf, -math.inf, 0)

    def place(self, moment: float) -> int:
        """The window that a moment, in seconds since 1970, is in."""
        start, end, place = self._current
        if not start <= moment < end:
            window = self._window(moment)
            assert window.end is not None
            place = (window.start - _EPOCH) // timedelta(microseconds=1)
            self._current = (window.start.timestamp(), window.end.timestamp(), place)
        return place

    def oldest(self, place: int) -> int:
        """The window itself: those before it do not count."""
        return place

    def resets_at(self, moment: float) -> datetime | None:
        """When the window that a moment is in ends."""
        return self._window(moment).end

    def _window(self, moment: float) -> CalendarWindow:
        return self._window_of(datetime.fromtimestamp(moment, UTC))


Parts = Rolling | Calendar


def parts_of(threshold: Threshold) -> Parts | None:
    """The parts of the window of a threshold; ``None`` if all calls since the start count."""
    window = threshold.window
    if isinstance(window, str):
        return Calendar(window, threshold.timezone)
    return Rolling(window) if isinstance(window, timedelta) else None
