"""Limits on calls, cost, tokens and errors, and the alerts when they are passed.

::

    values   Threshold, Alert and ThresholdUsage, what can be limited, and how limits are read from settings
    watch    ThresholdMonitor: the running state

A threshold is checked each time a call is recorded, so an alert comes with the call that passes the limit. Nothing is
delivered from here: whoever shows :meth:`ThresholdMonitor.record` the calls takes the alerts to where they go.
"""

from openai_meter.alerts.monitor import ThresholdMonitor, threshold_usage
from openai_meter.alerts.threshold import DEFAULTS, METRICS, Alert, Threshold, ThresholdUsage, read_thresholds


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
    "read_thresholds",
    "threshold_usage",
]
