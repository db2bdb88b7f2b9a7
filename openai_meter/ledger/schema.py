"""The tables of a ledger: ``calls``, one row per call, and their sums by period, the roll-ups.

A column is named as the field of ``Call`` or ``Usage`` that it holds; both databases have the same columns.

- Times are integers: microseconds since 1970 in UTC. ``day`` is the date in UTC, ``2026-01-31``.
- Money is integers: ``cost_pico`` is the whole pico-dollars (1e-12 USD) of a cost, ``cost_rest`` what is below one, in
  parts of :data:`REST`. Sums of both, joined by :func:`money`, are exact sums. A sum within SQLite holds 9.2
  million dollars at most, as its integers have 64 bits: see :func:`halves`.
- What is unknown is NULL, in ``calls``; in the roll-ups it is counted in columns of its own.
- ``daily_totals`` has the sums of all calls that are stored: it is written with them. It has neither users, sessions
  nor tags, so it stays small however many there are.
- The other roll-ups are filled in the background (``roll_ups.py``); ``roll_up_marks`` says how far they are.

No column holds a prompt, an answer or a key. A schema change is one function appended to ``migrations.py``, and the
same change here; a test compares the two.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text

from openai_meter.core.money import Amount, simplest
from openai_meter.core.usage import COUNTS

__all__ = [
    "LATER_ROLL_UPS", "MICRO", "MIGRATIONS", "REST", "SUMS", "TOTAL_DIMENSIONS", "TOTAL_SUMS", "RollUp", "calls",
    "daily_totals", "halves", "metadata", "migrations", "money", "roll_up_marks",
]  # fmt: skip

REST = 3_600_000_000
"""The parts of a pico-dollar that ``cost_rest`` counts: thirds, minutes, hours and eight decimal places are whole."""

_HALF = 1_000_000

metadata = MetaData()

_WHOLE_COUNTS = tuple(name for name in COUNTS if name != "seconds")

calls = Table(
    "calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("duration", Double, nullable=False),
    Column("time_to_first_token", Double),
    Column("endpoint", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("host", Text),
    Column("model", Text),
    Column("requested_model", Text),
    Column("response_id", Text),
    Column("service_tier", Text),
    Column("stream", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("error_type", Text),
    Column("usage_source", Text, nullable=False),
    Column("usage_unknown", Text),  # a JSON list, NULL if empty
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("total_tokens", BigInteger),
    *(Column(name, BigInteger, nullable=False) for name in _WHOLE_COUNTS),
    Column("seconds", Double, nullable=False),
    Column("inconsistent", Boolean, nullable=False),
    Column("cost_pico", BigInteger),
    Column("cost_rest", BigInteger),
    Column("cost_exact", Text),  # as a fraction of pico-dollars, where the two before it are not exact
    Column("cost_status", Text, nullable=False),
    Column("cost_reason", Text),
    Column("cost_estimated", Boolean, nullable=False),
    Column("price_source", Text),
    Column("price_facts", Text),  # a JSON object, NULL if empty: see rows.py
    Column("agent", Text),
    Column("operation", Text),
    Column("user", Text),
    Column("session", Text),
    Column("block", Text),
    Column("tags", Text),  # a JSON object with sorted keys, NULL if empty
    Column("usage_rule", Text),
    Column("attempts", BigInteger),
)

Index("calls_started_at", calls.c.started_at)
_not_priced = calls.c.cost_status.in_(("unpriced", "partial"))
Index("calls_not_priced", calls.c.started_at, sqlite_where=_not_priced, postgresql_where=_not_priced)

SUMS = (
    "calls",
    "errors",
    "unmeasured_calls",
    "estimated_calls",
    "unpriced_calls",  # without a price, or with half of one
    "costless_calls",  # without any price: where all of a sum's calls are, and it has no cost, the cost is unknown
    "input_tokens",
    "output_tokens",
    "total_tokens",
    *_WHOLE_COUNTS,
    "seconds_us",  # in microseconds, as all sums are integers
    "duration_us",
    "cost_pico",
    "cost_rest",
    "estimated_cost_pico",
    "estimated_cost_rest",
    "retries",
    "tokenless_calls",  # without a number of tokens, be they unmeasured, free, or billed otherwise
)
"""The sums over calls that are kept: those of ``Totals``, as integers."""

TOTAL_DIMENSIONS = ("model", "agent", "operation", "endpoint", "provider", "block", "service_tier")
"""What a row of ``daily_totals`` stands for, besides the day."""

MICRO = 1_000_000
"""Pico-dollars of a micro-dollar: roll-ups hold money as micro-dollars and what is left below one."""

TOTAL_SUMS = tuple(
    part
    for name in SUMS
    for part in ((name.replace("_pico", "_micro"), name) if name in {"cost_pico", "estimated_cost_pico"} else (name,))
)
"""The columns of roll-ups that are sums. With two columns for money, a sum holds 9.2e12 dollars."""

daily_totals = Table(
    "daily_totals",
    metadata,
    Column("key", Text, primary_key=True),  # a hash of the day and the dimensions: their texts may be of any length
    Column("day", Text, nullable=False),
    *(Column(name, Text) for name in TOTAL_DIMENSIONS),
    *(Column(name, BigInteger, nullable=False) for name in TOTAL_SUMS),
    Column("first_call_at", BigInteger, nullable=False),
    Column("last_call_at", BigInteger, nullable=False),
)

Index("daily_totals_day", daily_totals.c.day)


class RollUp(NamedTuple):
    """A table of sums over the calls of a period that have the same dimensions; :mod:`roll_ups` fills it."""

    name: str
    period: str
    """The column of the period: in ``day`` and ``month`` the date of the first day, in ``half_hour`` microseconds."""
    dimensions: tuple[str, ...]
    """The columns of the dimensions; a call without a value has the empty text."""
    family: str
    """Whose mark in ``roll_up_marks`` says from when on it is complete."""

    @property
    def table(self) -> Table:
        """The table."""
        return metadata.tables[self.name]


LATER_ROLL_UPS = (
    RollUp("half_hourly_models", "half_hour", ("model", "endpoint", "provider", "service_tier"), "totals"),
    RollUp("half_hourly_agents", "half_hour", ("agent",), "totals"),
    RollUp("daily_users", "day", ("user", "model", "agent", "operation", "endpoint", "provider", "block"), "users"),
    RollUp("monthly_users", "month", ("user",), "users"),
    RollUp("daily_sessions", "day", ("session",), "sessions"),
    RollUp("monthly_sessions", "month", ("session",), "sessions"),
    RollUp("daily_tags", "day", ("tags", "model"), "tags"),
)
"""The roll-ups that are filled in the background, in this order. Adding a row here needs a migration too."""

for _roll_up in LATER_ROLL_UPS:
    Table(
        _roll_up.name,
        metadata,
        Column(_roll_up.period, BigInteger if _roll_up.period == "half_hour" else Text, nullable=False),
        *(Column(name, Text, nullable=False) for name in _roll_up.dimensions),
        *(Column(name, BigInteger, nullable=False) for name in TOTAL_SUMS),
        Column("first_call_at", BigInteger, nullable=False),
        Column("last_call_at", BigInteger, nullable=False),
    )

roll_up_marks = Table(
    "roll_up_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)
"""``until``: calls that began before it are in the later roll-ups. A family: since when its sums are complete."""

migrations = Table(
    "openai_meter_migrations",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
)
MIGRATIONS = migrations.name
"""The table of the migrations that have been applied: the schema's version is the largest of them."""


def money(pico: int | None, rest: int | None = 0) -> Amount | None:
    """The amount in pico-dollars that two columns, or the sums of two columns, hold; ``None`` if unknown."""
    if pico is None:
        return None
    return simplest(Fraction(int(rest), REST) + int(pico)) if rest else int(pico)


def halves(column: Any) -> tuple[Any, Any]:
    """Two expressions whose sums cannot overflow in SQLite, for a column of integers from 0 up.

    The sum of the column is that of the first times 1,000,000 and that of the second.
    """
    return column // _HALF, column % _HALF
