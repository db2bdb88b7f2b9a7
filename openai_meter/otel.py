"""See ``openai_meter.exporters.otel``."""

from openai_meter.exporters.otel import Telemetry, attach, attached, detach, switch

__all__ = ["Telemetry", "attach", "attached", "detach", "switch"]
