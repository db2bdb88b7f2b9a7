"""See ``openai_meter.exporters.prometheus``."""

from openai_meter.exporters.prometheus import COUNTERS, LABELS, SERIES, Collector, exposition

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]
