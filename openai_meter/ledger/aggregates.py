"""The columns of sums over each table, and the function that reads a row of sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, literal, or_

from openai_meter.core.call import ESTIMATED, FAILURES
from openai_meter.core.money import Amount
from openai_meter.core.totals import NOT_PRICED, NOTHING, Sum
from openai_meter.core.usage import COUNTS
from openai_meter.ledger import schema
from openai_meter.ledger.rows import from_micros

__all__ = ["PER_CALL", "SUMS_OF_CALLS", "read_sum", "sums_of"]

_OF_CALLS = schema.calls.c
_WHOLE = tuple(name for name in COUNTS if name != "seconds")


def _sums(
    counted: Mapping[str, ColumnElement[Any]], first: ColumnElement[Any], last: ColumnElement[Any]
) -> tuple[ColumnElement[Any], ...]:
    """The sums of one table, in the order in which :func:`read_sum` reads them."""
    plain = [func.sum(counted[name]) for name in _PLAIN]
    money = [func.sum(half) for name in ("cost_pico", "estimated_cost_pico") for half in _halves(counted, name)]
    return (*plain, *money, func.min(first), func.max(last))


def _halves(counted: Mapping[str, ColumnElement[Any]], name: str) -> tuple[Any, Any]:
    """The two parts of a sum of money; where a table has two columns for it, these."""
    micro = counted.get(name.replace("_pico", "_micro"))
    return schema.halves(counted[name]) if micro is None else (micro, counted[name])


_PLAIN = (
    "calls",
    "errors",
    "unmeasured_calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "unpriced_calls",
    "costless_calls",
    "cost_rest",
    "estimated_cost_rest",
    "seconds_us",
    "retries",
    "tokenless_calls",
    *_WHOLE,
)


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return case((condition, 1), else_=0)


_MEASURED = or_(
    _OF_CALLS.total_tokens.is_not(None),
    _OF_CALLS.seconds != 0,
    _OF_CALLS.characters != 0,
    _OF_CALLS.images != 0,
    _OF_CALLS.cost_status == "free",
)
_ESTIMATED_COST = and_(_OF_CALLS.cost_estimated, _OF_CALLS.cost_pico.is_not(None))
PER_CALL: Mapping[str, ColumnElement[Any]] = {
    **{name: _OF_CALLS[name] for name in ("input_tokens", "output_tokens", "total_tokens", "cost_pico", *_WHOLE)},
    "calls": literal(1),
    "errors": _one_if(_OF_CALLS.status.in_(sorted(FAILURES))),
    "unmeasured_calls": _one_if(~_MEASURED),
    "estimated_calls": _one_if(_OF_CALLS.usage_source.in_(sorted(ESTIMATED))),
    "unpriced_calls": _one_if(_OF_CALLS.cost_status.in_(sorted(NOT_PRICED))),
    "costless_calls": _one_if(_OF_CALLS.cost_pico.is_(None)),
    "cost_rest": _OF_CALLS.cost_rest,
    "estimated_cost_pico": case((_ESTIMATED_COST, _OF_CALLS.cost_pico), else_=0),
    "estimated_cost_rest": case((_ESTIMATED_COST, _OF_CALLS.cost_rest), else_=0),
    "tokenless_calls": _one_if(_OF_CALLS.total_tokens.is_(None)),
    "retries": func.coalesce(_OF_CALLS.attempts - 1, 0),
    "seconds_us": cast(func.round(_OF_CALLS.seconds * 1_000_000), BigInteger),
    "duration_us": cast(func.round(_OF_CALLS.duration * 1_000_000), BigInteger),
}
"""The amounts that a call adds to each of the sums, as in ``core.totals.Sum``."""

SUMS_OF_CALLS = _sums(PER_CALL, _OF_CALLS.started_at, _OF_CALLS.started_at)


def sums_of(columns: Any) -> tuple[ColumnElement[Any], ...]:
    """The sums of a roll-up."""
    return _sums({name: columns[name] for name in schema.TOTAL_SUMS}, columns.first_call_at, columns.last_call_at)


_HALF = 1_000_000


def read_sum(row: Any) -> Sum:
    """One row of sums. A sum over no rows is NULL; PostgreSQL returns large sums as decimal numbers."""
    numbers = [int(value or 0) for value in row]
    (
        calls, errors, unmeasured, estimated, tokens_in, tokens_out, total, unpriced, costless, rest, estimated_rest,
        seconds, retries, tokenless, *whole, high, low, high_estimated, low_estimated, first, last,
    ) = numbers  # fmt: skip
    if not calls:
        return NOTHING
    counts: list[float] = [*whole]
    counts.insert(_SECONDS, seconds / _HALF if seconds else 0)
    return Sum(
        calls,
        errors,
        unmeasured,
        estimated,
        tokens_in,
        tokens_out,
        total,
        tuple(counts),
        _money(high, low, rest),
        _money(high_estimated, low_estimated, estimated_rest),
        unpriced,
        costless,
        from_micros(first),
        from_micros(last),
        retries,
        tokenless,
    )


_SECONDS = COUNTS.index("seconds")


def _money(high: int, low: int, rest: int) -> Amount:
    return schema.money(high * _HALF + low, rest) or 0
