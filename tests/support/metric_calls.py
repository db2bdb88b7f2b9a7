"""A finished call for tests of the exporters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contract import MODEL

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id


def call(**more: Any) -> Call:
    values: dict[str, Any] = {
        "id": new_call_id(), "started_at": datetime(2026, 3, 1, tzinfo=UTC), "duration": 0.5,
        "endpoint": "chat.completions", "provider": "openai", "model": MODEL, "requested_model": MODEL,
        "status": "ok", "usage": Usage(100, 20, 120), "usage_source": "api", "cost_pico": 250_000_000,
        "cost_status": "priced", "host": "127.0.0.1",
    }  # fmt: skip
    return Call(**values | more)
