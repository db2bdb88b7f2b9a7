"""The schemas of the API's answers, in JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from openai_meter.core.call import Status, UsageSource
from openai_meter.core.usage import COUNTS
from openai_meter.server.errors import CODES

__all__ = ["SCHEMAS"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
_MONEY: Schema = {"type": ["string", "null"], "description": "US dollars as a decimal number; null: unknown."}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}
_MILLISECONDS: Schema = {"type": "integer", "description": "Unix milliseconds."}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """An object with these properties, all required but the optional ones. Later versions may add others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


_COUNTS: dict[str, Schema] = {name: _NUMBER if name == "seconds" else _COUNT for name in COUNTS}
_TOTALS: dict[str, Schema] = {
    "calls": _COUNT,
    "errors": _COUNT,
    "unmeasured_calls": {**_COUNT, "description": "Calls whose tokens are unknown; no token count includes them."},
    "estimated_calls": _COUNT,
    "input_tokens": _COUNT,
    "output_tokens": _COUNT,
    "total_tokens": _COUNT,
    **_COUNTS,
    "cost": _MONEY,
    "estimated_cost": {**_MONEY, "description": "The part of the cost that rests on estimates."},
    "unpriced_calls": {**_COUNT, "description": "Calls whose cost is unknown, or known only in part."},
    "first_call_at": _TIME_OR_NULL,
    "last_call_at": _TIME_OR_NULL,
    "retries": {**_COUNT, "description": "How often a request was sent again."},
}
_NAME: dict[str, Schema] = {
    "name": {
        "type": ["string", "null"],
        "description": "null: calls without a value, or all other values together (`other`).",
    },
    "other": _FLAG,
}
_CALL: dict[str, Schema] = {
    "id": _TEXT,
    "started_at": _TIME,
    "duration": {**_NUMBER, "description": "Seconds."},
    "endpoint": _TEXT,
    "provider": _TEXT,
    "model": _TEXT_OR_NULL,
    "requested_model": _TEXT_OR_NULL,
    "status": {"enum": [*get_args(Status)]},
    "usage": {"type": "object"},
    "usage_source": {"enum": [*get_args(UsageSource)]},
    "cost": _MONEY,
    "cost_status": _TEXT,
    "cost_reason": _TEXT_OR_NULL,
    "price_source": _TEXT_OR_NULL,
    "agent": _TEXT_OR_NULL,
    "operation": _TEXT_OR_NULL,
    "user": _TEXT_OR_NULL,
    "session": _TEXT_OR_NULL,
    "tags": {"type": "object", "additionalProperties": _TEXT},
    "block": _TEXT_OR_NULL,
    "attempts": _WHOLE_OR_NULL,
    "organization": _TEXT_OR_NULL,
    "project": _TEXT_OR_NULL,
    "request_id": _TEXT_OR_NULL,
    "processing_ms": _WHOLE_OR_NULL,
    "remaining_requests": _WHOLE_OR_NULL,
    "remaining_tokens": _WHOLE_OR_NULL,
    "error_type": _TEXT_OR_NULL,
}
_LINE: dict[str, Schema] = {
    "item": _TEXT,
    "quantity": _TEXT_OR_NULL,
    "unit": _TEXT_OR_NULL,
    "unit_usd": _MONEY,
    "usd": _MONEY,
    "model": _TEXT_OR_NULL,
    "tier": _TEXT_OR_NULL,
    "source": _TEXT_OR_NULL,
    "estimated": _FLAG,
}
_ALERT: dict[str, Schema] = {
    "alert": {"const": True},
    "message": _TEXT,
    "id": _TEXT,
    "kind": _TEXT,
    "value": {"type": ["string", "number"], "description": "A decimal string where it is US dollars."},
    "limit": {"type": ["string", "number"]},
    "per": _TEXT_OR_NULL,
    "key": _TEXT_OR_NULL,
    "window": {
        "type": ["number", "string", "null"],
        "description": "Seconds; or minute, hour, day, week or month of the calendar; null: since the start.",
    },
    "at": _TIME,
    "at_least": _FLAG,
}
_LIMIT: dict[str, Schema] = {
    "name": {**_TEXT, "description": "What is limited: cost, calls, tokens, tokens_per_call, errors."},
    "per": _TEXT_OR_NULL,
    "key": {**_TEXT_OR_NULL, "description": "Of a limit per agent, user ...: who has used the most of it."},
    "window": _ALERT["window"],
    "timezone": {**_TEXT_OR_NULL, "description": "Of a window of the calendar."},
    "resets_at": {**_TIME_OR_NULL, "description": "Of a window of the calendar: when the next one begins."},
    "used": {"type": ["string", "number"], "description": "A decimal string where it is US dollars."},
    "limit": {"type": ["string", "number"]},
    "share": {**_NUMBER, "description": "The part of the limit that is used; 1 is all of it."},
    "passed": _FLAG,
    "at_least": {**_FLAG, "description": "Whether calls of unknown cost or size are not in it."},
    "budget": {**_TEXT, "description": "Of a budget only: its name."},
    "full_at": {**_TIME_OR_NULL, "description": "Of a budget only: when it will be reached, if it goes on so."},
}
_AMOUNT: Schema = {"type": ["string", "integer"], "description": "A decimal string where it is US dollars."}
_BUDGET: dict[str, Schema] = {
    "name": _TEXT,
    "key": {**_TEXT_OR_NULL, "description": "Of a budget per user, agent ...: for which."},
    "per": _TEXT_OR_NULL,
    "unit": {"enum": ["usd", "tokens", "calls"]},
    "every": _TEXT,
    "timezone": _TEXT,
    "when_spent": _TEXT,
    "limit": _AMOUNT,
    "spent": _AMOUNT,
    "held": {**_AMOUNT, "description": "The most that open calls can cost."},
    "left": _AMOUNT,
    "overdrawn": _AMOUNT,
    "uncertain": {**_AMOUNT, "description": "The part of what is spent whose true cost is not known."},
    "share": {**_NUMBER, "description": "The part of the limit that is spent; 1 is all of it."},
    "refused": _COUNT,
    "refused_amount": _AMOUNT,
    "starts_at": _TIME,
    "resets_at": _TIME_OR_NULL,
}
_MODEL_STATS: dict[str, Schema] = {
    "totalCalls": _COUNT,
    "totalPromptTokens": _COUNT,
    "totalCompletionTokens": _COUNT,
    "totalTokens": _COUNT,
    "estimatedCost": {"type": ["number", "null"], "description": "US dollars; null: unknown."},
    "lastCallTimestamp": {"type": ["integer", "null"], "description": "Unix milliseconds."},
    "errorCount": _COUNT,
    "unmeasuredCalls": _COUNT,
    "unpricedCalls": _COUNT,
}

_COMPARISON: dict[str, Schema] = {
    "since": {"type": "string", "format": "date"},
    "until": {"type": "string", "format": "date", "description": "The last day."},
    "made_at": _TIME,
    "billed": _MONEY,
    "metered": _MONEY,
    "difference": {**_MONEY, "description": "US dollars that the bill has more than the ledger."},
    "coverage": {"type": ["string", "null"], "description": "The part of the billed amount that the ledger has."},
    "token_coverage": {"type": ["string", "null"], "description": "The part of the billed tokens that it has."},
    "causes": {"type": "object", "description": "US dollars of the difference, by cause."},
    "open_days": {"type": "object", "description": "Days that have not ended: they are in no sum."},
    "by_cause": _list({"type": "object", "description": "A cause with its evidence, and sentences for both."}),
}
SCHEMAS: Mapping[str, Schema] = {
    "Error": _object(
        {
            "error": _object(
                {"code": {"enum": sorted({code for code, _ in CODES.values()})}, "message": _TEXT, "hint": _TEXT}
            )
        }
    ),
    "Totals": _object(_TOTALS),
    "Call": _object(_CALL),
    "Alert": _object(_ALERT),
    "ModelStats": _object(_MODEL_STATS, "unmeasuredCalls", "unpricedCalls"),
    "Stats": _object(
        {
            "success": {"const": True},
            "timestamp": _MILLISECONDS,
            "stats": {"type": "object", "additionalProperties": _ref("ModelStats")},
            "threshold": _maybe(_ref("Alert")),
            "recommendations": _list(_TEXT),
            "report": _TEXT,
            "scope": {"enum": ["process", "fleet"]},
            "since": _TIME,
            "totals": _ref("Totals"),
            "alerts": _list(_ref("Alert")),
        }
    ),
    "Reset": _object(
        {"success": {"const": True}, "message": _TEXT, "timestamp": _MILLISECONDS, "before": _ref("Totals")}
    ),
    "Forecast": _object(
        {"cost": _MONEY, "low": _MONEY, "high": _MONEY, "period": _TEXT, "days": _COUNT, "spent": _MONEY}
    ),
    "Row": _object(_NAME | _TOTALS, "other"),
    "Series": _object(
        {
            "step": {"enum": ["minute", "hour", "day"]},
            "starts": _list(_TIME),
            "groups": _list(
                _object(
                    _NAME
                    | {
                        "cost": {**_list({"type": ["number", "null"]}), "description": "US dollars of each step."},
                        "calls": _list(_COUNT),
                        "tokens": _list(_COUNT),
                    },
                    "other",
                )
            ),
        }
    ),
    "Overview": _object(
        {
            "at": _TIME,
            "scope": {"enum": ["process", "fleet"]},
            "ledger": {**_TEXT_OR_NULL, "description": "The URL of a ledger that is shown without a meter."},
            "since": _TIME_OR_NULL,
            "until": _TIME,
            "period": _TEXT,
            "group": _TEXT,
            "partial": {
                **_FLAG,
                "description": "Whether calls are missing because the meter keeps its recent calls only.",
            },
            "cards": _object(
                {
                    "today": _ref("Totals"),
                    "month": _ref("Totals"),
                    "period": _ref("Totals"),
                    "previous": _maybe(_ref("Totals")),
                }
            ),
            "forecast": _maybe(_ref("Forecast")),
            "series": _ref("Series"),
            "rows": _list(_ref("Row")),
            "latency": _list(
                _object(
                    {
                        "name": _TEXT_OR_NULL,
                        "calls": _COUNT,
                        "duration": _ref("Percentiles"),
                        "time_to_first_token": _maybe(_ref("Percentiles")),
                    }
                )
            ),
            "alerts": _list(_ref("Alert")),
            "recommendations": _list(_TEXT),
            "advice": _object({"since": _TIME_OR_NULL, "until": _TIME_OR_NULL, "lines": _list(_ref("AdviceLine"))}),
        }
    ),
    "Percentiles": _object({"p50": _NUMBER, "p95": _NUMBER}),
    "AdviceLine": _object(
        {
            "kind": _TEXT,
            "saving": _MONEY,
            "estimated": _FLAG,
            "calls": _COUNT,
            "models": _list(_TEXT),
            "agents": _list(_TEXT),
            "messages": _list(_TEXT),
        }
    ),
    "Calls": _object({"calls": _list(_ref("Call")), "next": _TEXT_OR_NULL}),
    "Bill": _object(
        {
            "id": _TEXT,
            "cost": _MONEY,
            "cost_status": _TEXT,
            "cost_reason": _TEXT_OR_NULL,
            "estimated": _FLAG,
            "price_source": _TEXT_OR_NULL,
            "lines": _list(_object(_LINE)),
            "explained": {
                **_FLAG,
                "description": "Whether the lines add up to the cost. They do not if prices have changed since.",
            },
            "call": _ref("Call"),
        }
    ),
    "Alerts": _object({"alerts": _list(_ref("Alert"))}),
    "Limits": _object({"limits": _list(_ref("Limit"))}),
    "Limit": _object(_LIMIT, "budget", "full_at"),
    "BillComparison": _object({"bill": _maybe(_ref("Comparison"))}),
    "Comparison": _object(_COMPARISON),
    "Budgets": _object({"budgets": _list(_ref("Budget"))}),
    "Budget": _object(_BUDGET),
    "Live": _object(
        {
            "at": _TIME,
            "window": _NUMBER,
            "scope": {"enum": ["process", "fleet"]},
            "totals": _ref("Totals"),
            "minute": {"type": "object", "description": "Per minute, over the window."},
            "groups": _list({"type": "object"}),
            "thresholds": _list(_ref("Limit")),
            "alerts": _COUNT,
        }
    ),
    "Report": {"type": "object", "description": "The same values as `Report.to_dict()`."},
    "Health": _object({"status": {"enum": ["ok", "degraded"]}, "version": _TEXT}),
}
"""The schemas by name; the table of routes refers to them."""
