"""Worked cases of the price reference: usage as the API returns it, and the exact dollars that it costs."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openai_meter.core.usage import Usage
from openai_meter.pricing import Billable, Deployment, PriceBook
from openai_meter.usage.billing_details import answer_facts, completion_window, request_facts
from openai_meter.usage.responses import ResponseState, read_response

SHARED = os.environ.get("OPENAI_METER_SHARED")
if SHARED is not None and not Path(SHARED, "pricing_golden.jsonl").is_file():
    SHARED = None
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def cases() -> list[dict]:
    if SHARED is None:
        return []
    lines = Path(SHARED, "pricing_golden.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def billable_of(case: dict) -> tuple[PriceBook, Billable]:
    """What the meter would price for a case, read by the readers of the package."""
    context = case.get("context") or {}
    reading = ResponseState()
    svgs = context.get("svg_usage") or []
    svgs = svgs if isinstance(svgs, list) else [svgs]
    answer = {
        "model": case["model"],
        "usage": case.get("usage"),
        "output": [*(case.get("output_items") or ()), *({"svg_usage": one} for one in svgs)],
        "tool_usage": context.get("tool_usage"),
        "tools": context.get("tools"),
        "status": context.get("status"),
        "size": context.get("size") or (case.get("usage") or {}).get("size"),
    }
    read_response(reading, answer)
    usage = reading.total()
    if (count := context.get("input_characters")) is not None:
        context = {**context, "characters": count}
    if (text := context.get("input")) and case["endpoint"] == "audio.speech":
        usage = Usage(characters=len(text)) if usage is None else usage
    for name in ("characters", "seconds", "images"):
        said = (case.get("usage") or {}).get(name) or context.get(name)
        if said and not getattr(usage, name, 0):
            more = Usage(**{name: float(said) if name == "seconds" else int(said)})
            usage = more if usage is None else usage + more
    url = context.get("base_url") or "https://api.openai.com/v1"
    host = urlsplit(url).hostname or ""
    on_azure = context["azure"] if isinstance(context.get("azure"), dict) else context
    azure = next(
        (on_azure[key] for key in ("azure_deployment_type", "deployment_type", "type") if key in on_azure), None
    )
    if azure or host.endswith(".azure.com") or context.get("azure") or context.get("provider") == "azure":
        provider = "azure"
    else:
        provider = "openai" if host.endswith("openai.com") else host
    details = {**request_facts(context), **answer_facts(answer)}
    details.update(
        (key, context[key]) for key in ("container_memory", "cache_ttl", "web_search_tool") if key in context
    )
    if memory := context.get("memory_limit"):
        details["container_memory"] = memory
    models = {case["model"]: Deployment(on_azure.get("model") or case["model"], azure)} if azure else None
    at = datetime.fromisoformat(context["timestamp"]) if "timestamp" in context else NOW
    return PriceBook(models=models), Billable(
        usage=usage,
        model=case["model"],
        requested_model=context.get("requested_model"),
        endpoint=case["endpoint"],
        provider=provider,
        host=host,
        service_tier=case.get("service_tier"),
        at=at,
        batch=bool(context.get("batch")),
        window=completion_window(context),
        details=details,
    )


@pytest.mark.skipif(SHARED is None, reason="OPENAI_METER_SHARED names no directory with pricing_golden.jsonl")
@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_worked_case_has_its_exact_cost(case: dict) -> None:
    """Every worked case costs what its arithmetic says, to the last digit, and its lines sum up to it."""
    book, billable = billable_of(case)
    cost = book.cost(billable)
    expected = case["expected_usd"]
    assert cost.usd == (None if expected is None else Decimal(expected)), cost
    assert sum(line.amount_pico for line in book.lines(billable)) == (cost.amount_pico or 0)
