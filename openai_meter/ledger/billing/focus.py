"""Exports a ledger as a FOCUS dataset: rows of the FinOps Open Cost and Usage Specification, versions 1.2 and 1.4.

https://focus.finops.org. A row is one day, model, tier, price line and set of tags. Columns of our own begin with
``x_`` and come last. To add a column, add a row to :data:`COLUMNS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from openai_meter.core.money import PICO, Amount
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.billing.charges import Charge, Group
from openai_meter.ledger.billing.decimals import to_decimal

__all__ = ["COLUMNS", "VERSIONS", "Column", "Line", "Written", "columns", "focus_rows"]

VERSIONS = ("1.2", "1.4")
"""The versions of the specification that can be written. 1.4 is written as its working draft of 2026 has it."""

Kind = Literal["text", "decimal", "time", "json", "whole", "truth"]
_MILLION = 1_000_000

_UNITS: Mapping[str, tuple[str, int]] = {
    "token": ("Tokens", _MILLION),
    "character": ("Characters", _MILLION),
    "second": ("Seconds", 1),
    "image": ("Images", 1),
    "call": ("Requests", 1),
    "request": ("Requests", 1),
}
"""The name of a unit in the format of FOCUS, and for how many of them the price list has a price."""
_PROVIDERS = {"openai": ("OpenAI", "OpenAI", "OpenAI API"), "azure": ("Microsoft", "Microsoft Azure", "Azure OpenAI")}
"""Who sells, whose infrastructure it is, and the name of the service."""


class Line(NamedTuple):
    """A row before it is written: a charge with its group."""

    group: Group
    charge: Charge
    is_first: bool
    """Whether it is the first row of its group: it has the counts that belong to all of its rows."""
    account: str | None
    """The billing account that the caller names."""


class Column(NamedTuple):
    """A column of the dataset."""

    name: str
    kind: Kind
    value: Callable[[Any], Any]
    """Its value, from what a row of its dataset is made of."""
    nullable: bool = True
    versions: tuple[str, ...] = VERSIONS


class Written(NamedTuple):
    """What an export has in it."""

    rows: int
    calls: int
    billed: Decimal
    """US dollars: the sum of ``BilledCost``."""
    unpriced_calls: int
    """Calls without a full price: the rows have what is known of their cost."""


def _dollars(amount: Amount | None) -> Decimal | None:
    return None if amount is None else to_decimal(amount, PICO)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _next_month(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _provider(line: Line, place: int) -> str:
    name = line.group.values["provider"]
    return _PROVIDERS[name][place] if name in _PROVIDERS else name


def _service(line: Line) -> str:
    name = line.group.values["provider"]
    return _PROVIDERS[name][2] if name in _PROVIDERS else f"{name} API"


def _is_usage(line: Line) -> bool:
    """Whether a row is a usage at a price; others are adjustments, which have no quantity."""
    return line.charge.kind in {"usage", "stated"}


def _unit(line: Line) -> tuple[str, int]:
    unit = line.charge.unit
    return _UNITS.get(unit) or (f"{unit.capitalize()}s", 1)


def _pricing_unit(line: Line) -> str | None:
    if line.charge.kind == "stated":
        return "Dollars"  # the host states a sum of money: each dollar of it costs one
    name, per = _unit(line)
    return (name if per == 1 else f"{per} {name}") if _is_usage(line) else None


def _pricing_quantity(line: Line) -> Decimal | None:
    if line.charge.kind == "stated":
        return _dollars(line.charge.amount)
    return to_decimal(line.charge.quantity, _unit(line)[1]) if _is_usage(line) else None


def _unit_price(line: Line, price: Amount | None) -> Decimal | None:
    if line.charge.kind == "stated":
        return Decimal(1)
    return None if price is None or not _is_usage(line) else _dollars(price * _unit(line)[1])


def _model(line: Line) -> str | None:
    return line.charge.model or line.group.values["model"]


def _meter(line: Line) -> str | None:
    if not _is_usage(line):
        return None
    words = line.charge.item.replace("_", " ").replace("@", " ")
    more = " tokens" if line.charge.unit == "token" and not words.endswith("tokens") else ""
    return f"{words}{more}".title()


def _sku(line: Line) -> str | None:
    return f"{_model(line) or 'unknown model'}/{line.charge.item}" if _is_usage(line) else None


def _sku_price(line: Line) -> str | None:
    sku = _sku(line)
    parts = [sku, line.charge.tier or "default", line.charge.bracket]
    return None if sku is None else "/".join(part for part in parts if part)


def _sku_details(line: Line) -> str | None:
    if not _is_usage(line):
        return None
    details = {"x_Model": _model(line), "x_Tier": line.charge.tier or "default", "x_Bracket": line.charge.bracket}
    return json.dumps({name: value for name, value in details.items() if value}, ensure_ascii=False)


def _description(line: Line) -> str:
    model, charge, calls = _model(line) or "unknown model", line.charge, line.group.calls
    tier = f", {charge.tier}" if charge.tier and charge.tier != "default" else ""
    bracket = ", long requests" if charge.bracket else ""
    if charge.kind == "unpriced":
        reason = line.group.values["cost_reason"] or "no price"
        return f"{model}: {calls} calls of unknown cost ({reason}); it is not 0"
    if charge.kind == "difference":
        return f"{model}: roundings of {calls} calls"
    return f"{model}: {charge.item.replace('_', ' ')}{tier}{bracket}"


def _adjusted(line: Line, value: Any) -> Any:
    return value if _is_usage(line) else None


def _on_first(line: Line, number: int | None) -> int | None:
    return number if line.is_first else 0


def _unpriced_calls(line: Line) -> int | None:
    unpriced = line.group.values["cost_status"] in {"unpriced", "partial"}
    return _on_first(line, line.group.calls if unpriced else 0)


def _account(line: Line) -> str:
    return line.account or line.group.values["organization"] or line.group.values["provider"]


_OLD, _NEW = ("1.2",), ("1.4",)

COLUMNS: tuple[Column, ...] = (
    Column("BilledCost", "decimal", lambda line: _dollars(line.charge.amount), nullable=False),
    Column("BillingAccountId", "text", _account, nullable=False),
    Column("BillingAccountName", "text", lambda _: None),
    Column("BillingCurrency", "text", lambda _: "USD", nullable=False),
    Column("BillingPeriodEnd", "time", lambda line: _midnight(_next_month(line.group.day)), nullable=False),
    Column("BillingPeriodStart", "time", lambda line: _midnight(line.group.day.replace(day=1)), nullable=False),
    Column("ChargeCategory", "text", lambda line: "Usage" if _is_usage(line) else "Adjustment", nullable=False),
    Column("ChargeClass", "text", lambda _: None),
    Column("ChargeDescription", "text", _description),
    Column("ChargeFrequency", "text", lambda _: "Usage-Based", nullable=False),
    Column("ChargePeriodEnd", "time", lambda line: _midnight(line.group.day) + timedelta(days=1), nullable=False),
    Column("ChargePeriodStart", "time", lambda line: _midnight(line.group.day), nullable=False),
    Column("ConsumedQuantity", "decimal", lambda line: _adjusted(line, to_decimal(line.charge.quantity))),
    Column("ConsumedUnit", "text", lambda line: _adjusted(line, _unit(line)[0])),
    Column("ContractedCost", "decimal", lambda line: _dollars(line.charge.amount), nullable=False),
    Column("ContractedUnitPrice", "decimal", lambda line: _unit_price(line, line.charge.price)),
    Column("EffectiveCost", "decimal", lambda line: _dollars(line.charge.amount), nullable=False),
    Column("HostProviderName", "text", lambda line: _provider(line, 1), nullable=False, versions=_NEW),
    Column("InvoiceDetailId", "text", lambda _: None, versions=_NEW),
    Column("InvoiceId", "text", lambda _: None),
    Column("InvoiceIssuerName", "text", lambda line: _provider(line, 0), nullable=False),
    Column("ListCost", "decimal", lambda line: _dollars(line.charge.list_amount), nullable=False),
    Column("ListUnitPrice", "decimal", lambda line: _unit_price(line, line.charge.list_price)),
    Column("PricingCategory", "text", lambda line: _adjusted(line, "Standard")),
    Column("PricingQuantity", "decimal", _pricing_quantity),
    Column("PricingUnit", "text", _pricing_unit),
    Column("ProviderName", "text", lambda line: _provider(line, 0), nullable=False, versions=_OLD),
    Column("PublisherName", "text", lambda line: _provider(line, 0), nullable=False, versions=_OLD),
    Column("ServiceCategory", "text", lambda _: "AI and Machine Learning", nullable=False),
    Column("ServiceName", "text", _service, nullable=False),
    Column("ServiceProviderName", "text", lambda line: _provider(line, 0), nullable=False, versions=_NEW),
    Column("ServiceSubcategory", "text", lambda _: "Generative AI", nullable=False),
    Column("SkuId", "text", _sku),
    Column("SkuMeter", "text", _meter),
    Column("SkuPriceDetails", "json", _sku_details),
    Column("SkuPriceId", "text", _sku_price),
    Column("SubAccountId", "text", lambda line: line.group.values["project"]),
    Column("SubAccountName", "text", lambda _: None),
    Column("Tags", "json", lambda line: line.group.values["tags"]),
    Column("x_Model", "text", _model),
    Column("x_ServiceTier", "text", lambda line: line.group.values["service_tier"]),
    Column("x_PriceLine", "text", lambda line: line.charge.item, nullable=False),
    Column("x_Endpoint", "text", lambda line: line.group.values["endpoint"], nullable=False),
    Column("x_CostStatus", "text", lambda line: line.group.values["cost_status"], nullable=False),
    Column("x_CostReason", "text", lambda line: line.group.values["cost_reason"]),
    Column(
        "x_CostEstimated",
        "truth",
        lambda line: line.charge.estimated or bool(line.group.values["cost_estimated"]),
        nullable=False,
    ),
    Column("x_PriceSource", "text", lambda line: line.charge.source or line.group.values["price_source"]),
    Column("x_CallCount", "whole", lambda line: _on_first(line, line.group.calls), nullable=False),
    Column("x_UnpricedCallCount", "whole", _unpriced_calls, nullable=False),
    Column("x_InputTokens", "whole", lambda line: _on_first(line, line.group.usage.input_tokens)),
    Column("x_OutputTokens", "whole", lambda line: _on_first(line, line.group.usage.output_tokens)),
)
"""All columns of the dataset, those of the specification in alphabetical order, then ours."""


def columns(version: str, dimensions: Iterable[str] = ()) -> tuple[Column, ...]:
    """The columns of a version; each further dimension has a column ``x_Agent``, ``x_User`` and so on.

    Raises:
        ConfigurationError: there is no such version.
    """
    if version not in VERSIONS:
        raise ConfigurationError(f"version={version!r} of FOCUS cannot be written; use one of {', '.join(VERSIONS)}")
    more = (Column(f"x_{name.title()}", "text", _dimension(name)) for name in dimensions)
    return (*(column for column in COLUMNS if version in column.versions), *more)


def _dimension(name: str) -> Callable[[Line], Any]:
    return lambda line: line.group.values[name] or None


def focus_rows(
    found: Iterable[tuple[Group, list[Charge]]], wanted: tuple[Column, ...], account: str | None = None
) -> Iterator[tuple[Line, tuple[Any, ...]]]:
    """The rows of charges: each with its values, in the order of the columns."""
    values = [column.value for column in wanted]
    for group, charges in found:
        for place, charge in enumerate(charges):
            line = Line(group, charge, place == 0, account)
            yield line, tuple(value(line) for value in values)
