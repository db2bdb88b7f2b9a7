"""A report with the rows of each model below the row that they sum up to, for tables that people read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from openai_meter.core.money import simplest
from openai_meter.core.totals import Totals
from openai_meter.core.usage import Usage
from openai_meter.errors import ConfigurationError
from openai_meter.reports.data import ReportData, Row, arranged
from openai_meter.reports.model_stats import undated

__all__ = ["SORTS", "broken_down", "fold_snapshots", "sorted_rows", "top_rows", "with_models"]

R = TypeVar("R", bound=ReportData)

SORTS: Mapping[str, Callable[[Row], Any]] = {
    "name": lambda row: row.key,
    "cost": lambda row: (-(row.totals.cost_pico or 0), row.key),
    "tokens": lambda row: (-(row.totals.usage.total_tokens or 0), row.key),
    "input": lambda row: (-(row.totals.usage.input_tokens or 0), row.key),
    "output": lambda row: (-(row.totals.usage.output_tokens or 0), row.key),
    "calls": lambda row: (-row.totals.calls, row.key),
    "errors": lambda row: (-row.totals.errors, row.key),
}
"""What the rows of a report can be sorted by: numbers from the largest down. To add one, add a row."""

_NAMED = 3
"""The number of models that a row names. The others are counted: ``+2``."""


def sorted_rows(report: R, name: str) -> R:
    """The report with its rows in another order.

    Raises:
        ConfigurationError: there is no such order.
    """
    if name not in SORTS:
        raise ConfigurationError(f"sort={name!r} is not an order of rows; use one of {', '.join(SORTS)}")
    return replace(report, rows=tuple(sorted(report.rows, key=SORTS[name])))


def top_rows(report: R, number: int, others: Callable[[int], str]) -> R:
    """The report with its first rows, and one row for the sum of all others: its rows still sum up to its totals.

    Args:
        report: the report.
        number: how many rows stay, from 1 up.
        others: the name of the last row, by the number of rows in it.
    """
    rest = report.rows[number:]
    if len(rest) < 2:
        return report
    key = (others(len(rest)), *[""] * (len(report.dimensions) - 1))
    return replace(report, rows=(*report.rows[:number], Row(key, _together([row.totals for row in rest]))))


def fold_snapshots(report: R) -> R:
    """The report with the dated snapshots of a model in the row of the model; without models, it stays as it is."""
    if "model" not in report.dimensions:
        return report
    place = report.dimensions.index("model")
    groups: dict[tuple[str, ...], list[Totals]] = {}
    for row in report.rows:
        key = (*row.key[:place], undated(row.key[place]), *row.key[place + 1 :])
        groups.setdefault(key, []).append(row.totals)
    return replace(report, rows=arranged({key: _together(parts) for key, parts in groups.items()}, report.dimensions))


def broken_down(report: ReportData, dimension: str = "model") -> ReportData:
    """The report with one dimension as rows below those of the others; to be shown, not to be added up.

    A report by that dimension alone is returned unchanged.
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


def with_models(report: ReportData, name: Callable[[str], str] = str) -> ReportData:
    """A report by something and model as one by that something, which names the models of each row next to it.

    The models are a last column of names (``models``), what costs most first; to be shown, not to be added up.

    Args:
        report: by some dimensions, of which the last is ``model``.
        name: how the name of a model is shown.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in report.rows:
        groups.setdefault(row.key[:-1], []).append(row)
    rows = []
    for key, parts in groups.items():
        names = [name(part.key[-1]) for part in parts]
        more = [f"+{len(names) - _NAMED}"] if len(names) > _NAMED else []
        rows.append(Row((*key, ", ".join([*names[:_NAMED], *more])), _together([part.totals for part in parts])))
    return replace(report, dimensions=(*report.dimensions[:-1], "models"), rows=tuple(rows))


def _together(parts: Sequence[Totals]) -> Totals:
    known = [part.cost_pico for part in parts if part.cost_pico is not None]
    cost = simplest(sum(known))
    return Totals(
        calls=sum(part.calls for part in parts),
        errors=sum(part.errors for part in parts),
        unmeasured_calls=sum(part.unmeasured_calls for part in parts),
        estimated_calls=sum(part.estimated_calls for part in parts),
        retries=sum(part.retries for part in parts),
        usage=sum((part.usage for part in parts), start=Usage(0, 0, 0)),
        # As in all sums: a free call and a call of unknown cost give an unknown sum.
        cost_pico=None if len(known) < len(parts) and not cost else cost,
        estimated_cost_pico=simplest(sum(part.estimated_cost_pico for part in parts)),
        unpriced_calls=sum(part.unpriced_calls for part in parts),
        first_call_at=min((part.first_call_at for part in parts if part.first_call_at), default=None),
        last_call_at=max((part.last_call_at for part in parts if part.last_call_at), default=None),
    )
