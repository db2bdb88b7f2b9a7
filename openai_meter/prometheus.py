"""The documented path of the Prometheus exporter; ``openai_meter/exporters/prometheus/`` has its code and its text."""

from openai_meter.exporters.prometheus import COUNTERS, LABELS, SERIES, Collector, exposition

__all__ = ["COUNTERS", "LABELS", "SERIES", "Collector", "exposition"]
