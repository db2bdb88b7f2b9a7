"""What OpenAI states about an organization: rows of usage and of costs, as values.

Amounts are exact pico-dollars, as everywhere; the API states dollars as numbers or as texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import pico
from openai_meter.core.usage import fields_of
from openai_meter.errors import BillingError
from openai_meter.pricing.types import TIERS

__all__ = ["Bill", "CostRow", "UsageRow", "cost_row", "day_of", "token_counts", "usage_row"]


class UsageRow(NamedTuple):
    """The usage of one day, project, key, model and tier."""

    day: date
    kind: str
    """The endpoint of the usage API: ``completions``, ``embeddings``, ``web_search_calls``, ..."""
    project: str | None
    key: str | None
    model: str | None
    tier: str
    """The tier of the price list; ``batch`` for batches."""
    requests: int | None
    """The number of requests; ``None`` where the endpoint has none (storage, sessions)."""
    counts: Mapping[str, Fraction]
    """What was used, by slot of the price list."""


class CostRow(NamedTuple):
    """The costs of one day, project, key and line item."""

    day: date
    project: str | None
    key: str | None
    line_item: str
    amount: Fraction
    """Pico-dollars."""
    quantity: Fraction | None
    unit: str | None


class Bill(NamedTuple):
    """Everything that was read of a span of days."""

    usage: tuple[UsageRow, ...]
    costs: tuple[CostRow, ...]
    notes: tuple[str, ...] = ()
    """The endpoints that could not be read and are not necessary."""
    has_usage: bool = True
    """Whether usage was read at all. From files it may be missing."""


def day_of(seconds: object) -> date:
    """The day in UTC of a time in seconds since 1970.

    Raises:
        BillingError: it is not such a time.
    """
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC).date()
    except (ValueError, OverflowError, OSError):
        raise BillingError(f"start_time is {seconds!r}, which is not a time in seconds since 1970") from None


_SLOTS: Mapping[str, Mapping[str, str]] = {
    "images": {"images": "image"},
    "audio_speeches": {"characters": "characters"},
    "audio_transcriptions": {"seconds": "second"},
    "vector_stores": {"usage_bytes": "storage"},
    "code_interpreter_sessions": {"num_sessions": "container"},
    "file_search_calls": {"num_requests": "file_search"},
    "web_search_calls": {"num_requests": "web_search"},
}
"""Counts of the usage API that are not tokens, by endpoint, and their slots."""


def usage_row(kind: str, start: object, result: object) -> UsageRow:
    """A row of a result of the usage API: an SDK object, or a mapping."""
    fields = fields_of(result)
    counts = (
        token_counts(fields)
        if kind not in _SLOTS
        else {slot: number for name, slot in _SLOTS[kind].items() if (number := _number(fields.get(name))) is not None}
    )
    requests = _number(fields.get("num_model_requests", fields.get("num_requests")))
    return UsageRow(
        day_of(start),
        kind,
        _text(fields.get("project_id")),
        _text(fields.get("api_key_id")),
        _text(fields.get("model")),
        "batch" if _is_true(fields.get("batch")) else _tier(_text(fields.get("service_tier"))),
        None if requests is None else int(requests),
        {slot: number for slot, number in counts.items() if number},
    )


def _is_true(value: object) -> bool:
    """Exports have texts where the API has a bool."""
    return value is True or str(value).lower() in {"true", "1"}


def _tier(name: str | None) -> str:
    return TIERS.get(name and name.lower()) or str(name)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> Fraction | None:
    if value is None or isinstance(value, bool) or value == "":
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return Fraction(number) if number.is_finite() and -40 < number.adjusted() < 40 else None


def token_counts(fields: Mapping[str, Any]) -> dict[str, Fraction]:
    """The tokens of a result by slot. The parts are disjoint, as the docstrings of the SDK describe them.

    ``input_tokens`` is the whole input. What is neither cached, written, audio nor image is text at the input price.
    Older answers have only ``input_cached_tokens``, and no parts by modality.
    """

    def of(name: str) -> Fraction:
        return _number(fields.get(f"{name}_tokens")) or Fraction(0)

    audio, image = of("input_audio"), of("input_image")
    cached_audio, cached_image = of("input_cached_audio"), of("input_cached_image")
    cached, written, long_lived = of("input_cached"), of("input_cache_write"), of("input_cache_write_12h")
    short_lived = of("input_cache_write_30m")
    written = max(written, long_lived + short_lived)
    rest = of("input") - cached - written - audio - image
    return {
        "input": max(rest, Fraction(0)),
        "cached_input": max(cached - cached_audio - cached_image, Fraction(0)),
        "cache_write": written - long_lived,
        "cache_write_12h": long_lived,
        "input_audio": audio,
        "cached_audio": cached_audio,
        "input_image": image,
        "cached_image": cached_image,
        "output": max(of("output") - of("output_audio") - of("output_image"), Fraction(0)),
        "output_audio": of("output_audio"),
        "output_image": of("output_image"),
    }


def cost_row(start: object, result: object) -> CostRow:
    """A row of a result of the costs API: an SDK object, or a mapping.

    Raises:
        BillingError: the amount is not in US dollars, or is not a number.
    """
    fields = fields_of(result)
    amount = fields_of(fields.get("amount")) or {
        "value": fields.get("amount_value", fields.get("amount")),
        "currency": fields.get("amount_currency", fields.get("currency")),
    }
    currency = amount.get("currency")
    if isinstance(currency, str) and currency and currency.lower() != "usd":
        raise BillingError(f"the costs are in {currency}; only bills in US dollars can be compared")
    value = amount.get("value")
    dollars = Fraction(0) if value is None or value == "" else _number(value)
    if dollars is None:
        raise BillingError(f"the amount of a cost is {value!r}, which is not a number")
    return CostRow(
        day_of(start),
        _text(fields.get("project_id")),
        _text(fields.get("api_key_id")),
        _text(fields.get("line_item")) or "",
        pico(Decimal(1)) * dollars,
        _number(fields.get("quantity")),
        _text(fields.get("quantity_unit")),
    )
