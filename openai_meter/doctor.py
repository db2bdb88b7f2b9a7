"""See ``openai_meter.cli.doctor``."""

from openai_meter.cli.doctor import Diagnosis, Finding, Mode, Trial, examine

__all__ = ["Diagnosis", "Finding", "Mode", "Trial", "examine"]
