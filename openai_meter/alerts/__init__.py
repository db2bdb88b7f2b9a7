"""Limits on calls, cost, tokens and errors, and the alerts when they are passed.

::

    threshold   Threshold and ThresholdUsage, what can be limited, and how limits are read from settings
    alert       Alert, and its sentence
    limits      limits as people write them: cost=50/month
    windows     the windows of thresholds
    monitor     ThresholdMonitor: the running sums
    dispatch    AlertDispatcher: sends alerts to the log, a callback and webhooks
    webhook     posts alerts over HTTP

A threshold is checked each time a call is recorded, so an alert comes with the call that passes the limit.
"""

from openai_meter.alerts.alert import Alert
from openai_meter.alerts.limits import parsed_limits
from openai_meter.alerts.monitor import ThresholdMonitor, usage_of
from openai_meter.alerts.threshold import (
    DEFAULTS,
    METRICS,
    Threshold,
    ThresholdUsage,
    chosen_thresholds,
    read_thresholds,
)


def __getattr__(name: str) -> object:
    if name == "Burn":
        from openai_meter.core.deprecation import warn_renamed  # noqa: PLC0415 - new programs never need it

        warn_renamed("openai_meter.alerts.Burn", "openai_meter.alerts.ThresholdUsage")
        return ThresholdUsage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DEFAULTS",
    "METRICS",
    "Alert",
    "Threshold",
    "ThresholdMonitor",
    "ThresholdUsage",
    "chosen_thresholds",
    "parsed_limits",
    "read_thresholds",
    "usage_of",
]
