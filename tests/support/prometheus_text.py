"""The metrics that Prometheus would read from a source, as values."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="without the extra [prometheus], its metrics are NOT tested")

from prometheus_client.parser import text_string_to_metric_families as read_text

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id
from openai_meter.prometheus import exposition


def call(**more: Any) -> Call:
    """A finished call with usage and a price."""
    values: dict[str, Any] = {
        "id": new_call_id(), "started_at": datetime(2026, 3, 1, tzinfo=UTC), "duration": 0.5,
        "endpoint": "responses", "provider": "openai", "model": "gpt-5-mini", "requested_model": "gpt-5-mini",
        "status": "ok", "usage": Usage(100, 20, 120, cached_input_tokens=40, reasoning_tokens=5),
        "usage_source": "api", "cost_pico": 250_000_000, "cost_status": "priced",
    }  # fmt: skip
    return Call(**values | more)


def samples(body: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The value of every sample."""
    return {
        (sample.name.removeprefix("openai_meter_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
    }


def shown(source: Any, name: str, **more: Any) -> dict[tuple[str, ...], float]:
    """The values of one metric, by the values of its labels in the order of their names."""
    found = samples(exposition(source, **more)[0])
    return {tuple(value for _, value in labels): number for (one, labels), number in found.items() if one == name}


def tool(name: str) -> str:
    """The path of a program of Prometheus; without it the test is skipped, on CI it fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"no {name} here (Debian: prometheus): what it says is NOT tested"
        )
    return path
