"""A report with the rows of each model below the row that they sum up to, for tables that people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openai_meter.money import simplest
from openai_meter.reports.values import Report, Row
from openai_meter.store import Totals
from openai_meter.usage import Usage

__all__ = ["broken_down"]


def broken_down(report: Report, dimension: str = "model") -> Report:
    """The report with one dimension as rows below those of the others; to be shown, not to be added up.

    A report by that dimension alone is given back as it is.
    """
    place = report.dimensions.index(dimension)
    others = tuple(name for name in report.dimensions if name != dimension)
    if not others:
        return report
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in report.rows:
        groups.setdefault((*row.key[:place], *row.key[place + 1 :]), []).append(row)
    rows: list[Row] = []
    for key, parts in groups.items():
        rows.append(Row(key, _together([part.totals for part in parts])))
        rows += [Row((*key[:-1], f"  └─ {part.key[place]}"), part.totals) for part in parts]
    return replace(report, dimensions=others, rows=tuple(rows))


def _together(parts: Sequence[Totals]) -> Totals:
    known = [part.cost_pico for part in parts if part.cost_pico is not None]
    cost = simplest(sum(known))
    return Totals(
        calls=sum(part.calls for part in parts),
        errors=sum(part.errors for part in parts),
        unmeasured_calls=sum(part.unmeasured_calls for part in parts),
        estimated_calls=sum(part.estimated_calls for part in parts),
        usage=sum((part.usage for part in parts), start=Usage(0, 0, 0)),
        # As everywhere: what is free beside what is unknown makes no sum.
        cost_pico=None if len(known) < len(parts) and not cost else cost,
        estimated_cost_pico=simplest(sum(part.estimated_cost_pico for part in parts)),
        unpriced_calls=sum(part.unpriced_calls for part in parts),
        first_call_at=min((part.first_call_at for part in parts if part.first_call_at), default=None),
        last_call_at=max((part.last_call_at for part in parts if part.last_call_at), default=None),
    )
