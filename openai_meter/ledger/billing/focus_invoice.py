"""The datasets ``InvoiceDetail`` and ``BillingPeriod`` of FOCUS 1.4, from what OpenAI states that it bills.

They follow the working draft of 1.4: https://github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, folder
``specification/datasets``. OpenAI's API names no invoices and no terms of payment: the id of an invoice is provisional,
its status ``Open``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import PICO
from openai_meter.ledger.billing.bill import Bill
from openai_meter.ledger.billing.decimals import to_decimal
from openai_meter.ledger.billing.focus import Column

__all__ = ["BILLING_PERIOD", "INVOICE_DETAIL", "billing_periods", "invoice_details"]

_ISSUER = "OpenAI"
_TERMS = "Not stated by the costs API"
_SETTLED = timedelta(days=3)
"""How long after the end of a month its costs may still change."""


class _Period(NamedTuple):
    """A month that is billed."""

    first: date
    made_at: datetime

    @property
    def start(self) -> datetime:
        return datetime(self.first.year, self.first.month, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return (self.start + timedelta(days=32)).replace(day=1)

    @property
    def status(self) -> str:
        return "Closed" if self.end + _SETTLED <= self.made_at else "Open"


class _Detail(NamedTuple):
    """A line item of a month and a project."""

    period: _Period
    account: str
    project: str | None
    line_item: str
    amount: Fraction
    """Pico-dollars."""

    @property
    def invoice(self) -> str:
        return f"provisional-{self.period.first:%Y-%m}"

    @property
    def grain(self) -> str:
        values = {"SubAccountId": self.project, "x_LineItem": self.line_item}
        return json.dumps({name: value for name, value in values.items() if value}, ensure_ascii=False)


BILLING_PERIOD: tuple[Column, ...] = (
    Column("BillingPeriodCreated", "time", lambda period: period.start, nullable=False),
    Column("BillingPeriodEnd", "time", lambda period: period.end, nullable=False),
    Column("BillingPeriodLastUpdated", "time", lambda period: period.made_at, nullable=False),
    Column("BillingPeriodStart", "time", lambda period: period.start, nullable=False),
    Column("BillingPeriodStatus", "text", lambda period: period.status, nullable=False),
    Column("InvoiceIssuerName", "text", lambda _: _ISSUER, nullable=False),
)
INVOICE_DETAIL: tuple[Column, ...] = (
    Column("BilledCost", "decimal", lambda detail: to_decimal(detail.amount, PICO), nullable=False),
    Column("BillingAccountId", "text", lambda detail: detail.account, nullable=False),
    Column("BillingCurrency", "text", lambda _: "USD", nullable=False),
    Column("BillingPeriodEnd", "time", lambda detail: detail.period.end, nullable=False),
    Column("BillingPeriodStart", "time", lambda detail: detail.period.start, nullable=False),
    Column("ChargeCategory", "text", lambda detail: "Usage" if detail.amount >= 0 else "Credit", nullable=False),
    Column("InvoiceDetailCreated", "time", lambda detail: detail.period.made_at, nullable=False),
    Column("InvoiceDetailDescription", "text", lambda detail: detail.line_item),
    Column("InvoiceDetailGrain", "json", lambda detail: detail.grain),
    Column(
        "InvoiceDetailId",
        "text",
        lambda detail: "/".join(filter(None, (detail.invoice, detail.project, detail.line_item))),
        nullable=False,
    ),
    Column("InvoiceDetailLastUpdated", "time", lambda detail: detail.period.made_at, nullable=False),
    Column("InvoiceId", "text", lambda detail: detail.invoice, nullable=False),
    Column("InvoiceIssueDate", "time", lambda _: None),
    Column("InvoiceIssueStatus", "text", lambda _: "Open", nullable=False),
    Column("InvoiceIssuerName", "text", lambda _: _ISSUER, nullable=False),
    Column("PaymentDueDate", "time", lambda _: None),
    Column("PaymentTerms", "text", lambda _: _TERMS, nullable=False),
    Column("ReferenceInvoiceId", "text", lambda detail: detail.invoice, nullable=False),
)


def invoice_details(bill: Bill, account: str | None, made_at: datetime) -> Iterator[tuple[Any, ...]]:
    """The rows of ``InvoiceDetail``: one for each month, project and line item of the bill."""
    sums: dict[tuple[date, str, str], Fraction] = {}
    for row in bill.costs:
        key = row.day.replace(day=1), row.project or "", row.line_item
        sums[key] = sums.get(key, Fraction(0)) + row.amount
    for (first, project, line_item), amount in sorted(sums.items()):
        detail = _Detail(_Period(first, made_at), account or _ISSUER.lower(), project or None, line_item, amount)
        yield tuple(column.value(detail) for column in INVOICE_DETAIL)


def billing_periods(bill: Bill, made_at: datetime) -> Iterator[tuple[Any, ...]]:
    """The rows of ``BillingPeriod``: one for each month of the bill."""
    for first in sorted({row.day.replace(day=1) for row in bill.costs}):
        yield tuple(column.value(_Period(first, made_at)) for column in BILLING_PERIOD)
