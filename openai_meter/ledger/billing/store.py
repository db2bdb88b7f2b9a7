"""Keeps bills and the last reconciliation in the ledger, in the table ``bills``: JSON, a row for each day and kind."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from openai_meter.errors import BillingError
from openai_meter.ledger import schema
from openai_meter.ledger.billing.bill import Bill, CostRow, UsageRow
from openai_meter.ledger.billing.reconciliation import Reconciliation

__all__ = ["keep_bill", "keep_reconciliation", "kept_bill", "kept_reconciliation"]

_TABLE = schema.bills
_RECONCILIATION = "reconciliation"
_COSTS = "costs"


def keep_reconciliation(connection: Connection, found: Reconciliation) -> None:
    """Keeps the sums and the causes of a reconciliation, without its lines, in the place of the last one."""
    values = found.to_dict()
    del values["lines"]
    for name in ("day", "project", "model"):
        values[f"by_{name}"] = [{name: key[0], **sums.to_dict()} for key, sums in found.by(name).items()]
    _replace(connection, _RECONCILIATION, [("last", values)])


def kept_reconciliation(connection: Connection) -> dict[str, Any] | None:
    """The last reconciliation as plain values; ``None`` if there is none."""
    found = connection.execute(select(_TABLE.c.content).where(_TABLE.c.kind == _RECONCILIATION)).scalar()
    return None if found is None else json.loads(found)


def keep_bill(connection: Connection, bill: Bill) -> None:
    """Keeps the rows of a bill, in the place of those of the same days and endpoints."""
    days: dict[str, dict[date, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in bill.usage:
        days[row.kind][row.day].append(_usage_values(row))
    for cost in bill.costs:
        days[_COSTS][cost.day].append(_cost_values(cost))
    for kind, by_day in days.items():
        _replace(connection, kind, [(day.isoformat(), rows) for day, rows in by_day.items()])


def kept_bill(connection: Connection, since: date, until: date) -> Bill | None:
    """The rows from a day until before another one; ``None`` if no costs of these days are kept."""
    within = _TABLE.c.name >= since.isoformat(), _TABLE.c.name < until.isoformat(), _TABLE.c.kind != _RECONCILIATION
    usage: list[UsageRow] = []
    costs: list[CostRow] = []
    columns = _TABLE.c.kind, _TABLE.c.name, _TABLE.c.content
    for kind, name, content in connection.execute(select(*columns).where(*within)):
        try:
            day, rows = date.fromisoformat(name), json.loads(content)
            if kind == _COSTS:
                costs += [_cost(day, values) for values in rows]
            else:
                usage += [_usage(day, kind, values) for values in rows]
        except (ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise BillingError(f"the kept bill of {name} ({kind}) is damaged: {error}; import it again") from error
    return Bill(tuple(usage), tuple(costs), (), bool(usage)) if costs else None


def _replace(connection: Connection, kind: str, rows: Iterable[tuple[str, Any]]) -> None:
    at = time.time_ns() // 1_000
    for name, content in rows:
        connection.execute(delete(_TABLE).where(_TABLE.c.kind == kind, _TABLE.c.name == name))
        connection.execute(insert(_TABLE).values(kind=kind, name=name, made_at=at, content=json.dumps(content)))


def _usage_values(row: UsageRow) -> list[Any]:
    counts = {slot: str(number) for slot, number in row.counts.items()}
    return [row.project, row.key, row.model, row.tier, row.requests, counts]


def _usage(day: date, kind: str, values: list[Any]) -> UsageRow:
    project, key, model, tier, requests, counts = values
    numbers = {slot: Fraction(number) for slot, number in counts.items()}
    return UsageRow(day, kind, project, key, model, tier, requests, numbers)


def _cost_values(row: CostRow) -> list[Any]:
    quantity = None if row.quantity is None else str(row.quantity)
    return [row.project, row.key, row.line_item, str(row.amount), quantity, row.unit]


def _cost(day: date, values: list[Any]) -> CostRow:
    project, key, line_item, amount, quantity, unit = values
    return CostRow(
        day, project, key, line_item, Fraction(amount), None if quantity is None else Fraction(quantity), unit
    )
