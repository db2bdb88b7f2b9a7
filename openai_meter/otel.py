"""The documented path of the OpenTelemetry exporter; ``openai_meter/exporters/otel/`` has its code and its text."""

from openai_meter.exporters.otel import Telemetry, attach, attached, detach, switch

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]
