"""Rules of the FOCUS specification for a Cost and Usage dataset, written out from its text.

Source: github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, ``specification/columns`` at the tag v1.2, and the
working draft of 1.4 (``specification/datasets``). The validator on PyPI (``focus-validator`` 1.0.0) ends at FOCUS 1.0.

:func:`violations` checks each row by the content constraints of its columns (presence, type, null, allowed values)
and by the requirements that refer to other columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

MANDATORY = {
    "1.2": """BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart
        ChargeCategory ChargeClass ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost
        InvoiceIssuerName ListCost PricingQuantity PricingUnit ProviderName PublisherName ServiceCategory
        ServiceName""",
    "1.4": """BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart
        ChargeCategory ChargeClass ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost
        HostProviderName InvoiceIssuerName ListCost PricingQuantity PricingUnit ServiceCategory ServiceName
        ServiceProviderName""",
}
"""The columns of the feature level Mandatory."""
ALSO = {
    "1.2": "ChargeFrequency InvoiceId ServiceSubcategory",  # Recommended
    "1.4": "ChargeFrequency InvoiceDetailId InvoiceId ServiceSubcategory",
}
CONDITIONAL = """ConsumedQuantity ConsumedUnit ContractedUnitPrice ListUnitPrice PricingCategory SkuId SkuMeter
    SkuPriceDetails SkuPriceId SubAccountId SubAccountName Tags"""
"""Those whose condition holds for OpenAI: usage is measured, there are unit prices, projects and tags."""
REMOVED = {"1.2": "", "1.4": "ProviderName PublisherName"}
NEW = {"1.2": "HostProviderName ServiceProviderName InvoiceDetailId", "1.4": ""}
"""Columns that are of later versions."""

NOT_NULL = frozenset(
    [
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeFrequency",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "HostProviderName",
        "InvoiceIssuerName",
        "ListCost",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "ServiceProviderName",
        "ServiceSubcategory",
    ]
)
DECIMALS = frozenset(
    [
        "BilledCost",
        "ConsumedQuantity",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ListCost",
        "ListUnitPrice",
        "PricingQuantity",
    ]
)
TIMES = frozenset(["BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"])
KEY_VALUES = frozenset({"SkuPriceDetails", "Tags"})
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing",
                           "Other (AI and Machine Learning)"},
}  # fmt: skip
"""The values that a column may have; those of services are cut to the category that an API of models is in."""
PRICED = ("ContractedUnitPrice", "ListUnitPrice", "PricingCategory", "PricingQuantity", "SkuId", "SkuPriceId")
"""Columns that a usage has to have."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?(E-?\d+)?")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_UNIT = re.compile(r"(\d+ )?[A-Z][A-Za-z]*s")
_ROUNDING = Decimal("1e-12")
"""What a product may differ from a cost: prices such as a third of a cent have no end of decimal places."""


def violations(header: Sequence[str], rows: Sequence[Mapping[str, str]], version: str) -> Iterator[str]:
    """What of a dataset is against the rules; ``rows`` are texts by column, with the empty text for NULL."""
    yield from _of_header(header, version)
    for number, row in enumerate(rows, 2):
        for problem in (*_of_values(row), *_of_usage(row), *_of_periods(row)):
            yield f"line {number}: {problem}"


def _of_header(header: Sequence[str], version: str) -> Iterator[str]:
    needed = f"{MANDATORY[version]} {ALSO[version]} {CONDITIONAL}".split()
    yield from (f"{name} is missing" for name in needed if name not in header)
    yield from (
        f"{name} is not in {version}" for name in f"{REMOVED[version]} {NEW[version]}".split() if name in header
    )
    if len(set(header)) < len(header):
        yield "a column occurs twice"
    own = [name for name in header if name not in needed]
    yield from (f"{name} is a column of its own without x_" for name in own if not name.startswith("x_"))
    if list(header[-len(own) :]) != own:
        yield "columns of the specification come after those of its own"
    yield from (f"{name} is not in Pascal case" for name in header if not re.fullmatch(r"(x_)?[A-Z][A-Za-z]+", name))
    yield from (f"{name} is longer than 50 characters" for name in header if len(name) > 50)


def _of_values(row: Mapping[str, str]) -> Iterator[str]:
    for name, text in row.items():
        if not text:
            if name in NOT_NULL:
                yield f"{name} is null"
            continue
        if text.isspace() or text in {"Not Applicable", "null", "None", "NULL"}:
            yield f"{name} is the placeholder {text!r}"
        if name in DECIMALS and not _NUMBER.fullmatch(text):
            yield f"{name} is {text!r}, which is not a number"
        if name in TIMES and not _TIME.fullmatch(text):
            yield f"{name} is {text!r}, which is not a time"
        if name in ALLOWED and text not in ALLOWED[name]:
            yield f"{name} is {text!r}, which is not allowed"
        if name.endswith("Unit") and not _UNIT.fullmatch(text):
            yield f"{name} is {text!r}, which is not a unit"
        if name in KEY_VALUES:
            values = json.loads(text)
            if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
                yield f"{name} is {text!r}, which is not of keys and values"
            elif name == "SkuPriceDetails" and not all(key.startswith("x_") for key in values):
                yield f"{name} has a key without x_"
    if not re.fullmatch(r"[A-Z]{3}", row["BillingCurrency"]):
        yield "BillingCurrency is not a code of ISO 4217"


def _of_usage(row: Mapping[str, str]) -> Iterator[str]:
    usage = row["ChargeCategory"] == "Usage"
    if usage:
        yield from (f"{name} of a usage is null" for name in (*PRICED, "ConsumedQuantity") if not row[name])
    elif row["ConsumedQuantity"]:
        yield "ConsumedQuantity is for usage only"
    for quantity, unit in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit")):
        if bool(row[quantity]) != bool(row[unit]):
            yield f"{unit} is null where {quantity} is not, or the other way round"
    if row["SkuPriceDetails"] and not row["SkuPriceId"]:
        yield "SkuPriceDetails without SkuPriceId"
    if row["SkuMeter"] and not row["SkuId"]:
        yield "SkuMeter without SkuId"
    for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        if row[price]:
            if Decimal(row[price]) < 0:
                yield f"{price} is below 0"
            product = Decimal(row[price]) * Decimal(row["PricingQuantity"])
            if abs(product - Decimal(row[cost])) > _ROUNDING:
                yield f"{price} times PricingQuantity is {product}, and {cost} is {row[cost]}"
        elif row[cost] != row["BilledCost"]:
            yield f"{cost} of a charge without a unit price is not BilledCost"


def _of_periods(row: Mapping[str, str]) -> Iterator[str]:
    billing, charge = (
        [datetime.fromisoformat(row[f"{kind}Period{end}"]) for end in ("Start", "End")]
        for kind in ("Billing", "Charge")
    )
    if not billing[0] <= charge[0] < charge[1] <= billing[1]:
        yield "the charge period is not in the billing period"


DETAIL = """BilledCost BillingAccountId BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory
    InvoiceDetailCreated InvoiceDetailDescription InvoiceDetailGrain InvoiceDetailId InvoiceDetailLastUpdated InvoiceId
    InvoiceIssueDate InvoiceIssueStatus InvoiceIssuerName PaymentDueDate PaymentTerms ReferenceInvoiceId"""
PERIOD = """BillingPeriodCreated BillingPeriodEnd BillingPeriodLastUpdated BillingPeriodStart BillingPeriodStatus
    InvoiceIssuerName"""
"""The mandatory columns of the datasets of 1.4."""
_NULLABLE = {"InvoiceDetailDescription", "InvoiceDetailGrain", "InvoiceIssueDate", "PaymentDueDate"}
_STATES = {"InvoiceIssueStatus": {"Open", "Issued", "Voided"}, "BillingPeriodStatus": {"Open", "Closed"}}
_GRAINS = {"ContractId", "RegionId", "ResourceId", "ResourceType", "ServiceName", "SkuId", "SkuMeter", "SkuPriceId",
           "SubAccountId"}  # fmt: skip


def violations_of_invoices(details: Sequence[Mapping[str, str]], periods: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """What of the datasets about invoices is against the rules of 1.4."""
    for rows, columns in ((details, DETAIL), (periods, PERIOD)):
        for row in rows:
            yield from (f"{name} is missing" for name in columns.split() if name not in row)
            yield from (f"{name} is null" for name, text in row.items() if not text and name not in _NULLABLE)
            yield from (
                f"{name} is {row[name]!r}" for name in _STATES if name in row and row[name] not in _STATES[name]
            )
            yield from (f"{name} is not a time" for name in TIMES if name in row and not _TIME.fullmatch(row[name]))
    known = {(row["BillingPeriodStart"], row["InvoiceIssuerName"]) for row in periods}
    for row in details:
        if (row["BillingPeriodStart"], row["InvoiceIssuerName"]) not in known:
            yield "a detail has no billing period"
        if row["ChargeCategory"] not in ALLOWED["ChargeCategory"]:
            yield f"ChargeCategory is {row['ChargeCategory']!r}"
        if not _NUMBER.fullmatch(row["BilledCost"]):
            yield f"BilledCost is {row['BilledCost']!r}"
        grain = json.loads(row["InvoiceDetailGrain"])
        yield from (f"{key} is not a property of a grain" for key in grain if key not in _GRAINS and key[:2] != "x_")
    if len({row["InvoiceDetailId"] for row in details}) < len(details):
        yield "an InvoiceDetailId occurs twice"
