"""Carries alerts from the thresholds to whoever wants to hear of them, beside the program: no call waits for that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from openai_meter.call import Call
from openai_meter.errors import ConfigurationError
from openai_meter.thresholds import Alert, Threshold, Thresholds
from openai_meter.worker import worker

__all__ = ["Alarms", "OnAlert", "checked_callback"]

logger = logging.getLogger("openai_meter")

OnAlert = Callable[[Alert], object]


def checked_callback(on_alert: object) -> OnAlert | None:
    """A callback from a setting.

    Raises:
        ConfigurationError: it cannot be called.
    """
    if on_alert is None or callable(on_alert):
        return on_alert
    raise ConfigurationError(f"on_alert={on_alert!r} cannot be called; pass a function that takes an Alert")


class Alarms:
    """The thresholds of a meter or a block, and who hears of their alerts: the log, and a callback.

    Args:
        thresholds: the limits.
        on_alert: is called with each :class:`Alert`, in a thread of the meter's own, one alert after the other.
    """

    def __init__(self, thresholds: Sequence[Threshold], on_alert: OnAlert | None = None) -> None:
        self.watch = Thresholds(thresholds)
        self.on_alert = on_alert

    def took(self, call: Call) -> None:
        """Hears of a call that was counted. Never raises, never waits; one thread at a time."""
        if alerts := self.watch.took(call):
            self._pass_on(alerts)

    def repriced(self, before: Call, after: Call) -> None:
        """Hears that a call has another price now."""
        if alerts := self.watch.repriced(before, after):
            self._pass_on(alerts)

    def _pass_on(self, alerts: Sequence[Alert]) -> None:
        # Where there are a thousand jobs before it, it is not told; it still stands in the reports.
        worker.submit(partial(self._tell, alerts))

    def _tell(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            logger.warning("%s", alert.message("en"))
            if self.on_alert is not None:
                try:
                    self.on_alert(alert)
                except Exception as error:
                    logger.warning("on_alert raised %s; the alert is in meter.alerts", type(error).__name__)
