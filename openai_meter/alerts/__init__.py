"""Limits on calls, cost, tokens and errors, and the alerts when they are passed.

::

    values   Threshold, Alert and Burn, what can be limited, and how limits are read from settings
    watch    ThresholdMonitor: the running state

A threshold is checked each time a call is recorded, so an alert comes with the call that passes the limit. Nothing is
delivered from here: whoever shows :meth:`ThresholdMonitor.record` the calls takes the alerts to where they go.
"""

from openai_meter.alerts.monitor import ThresholdMonitor, burnt
from openai_meter.alerts.threshold import DEFAULTS, METRICS, Alert, Burn, Threshold, read_thresholds

__all__ = ["DEFAULTS", "METRICS", "Alert", "Burn", "Threshold", "ThresholdMonitor", "burnt", "read_thresholds"]
