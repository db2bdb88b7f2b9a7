"""The tables of a ledger: the calls, and their sums by period, the roll-ups.

``calls`` is a view with one row per call. It joins ``call_rows``, which has what differs from call to call, and
``call_kinds``, which has each combination of what many calls have in common once: a call takes half the space then.

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
    "KIND_NAMES", "LATER_ROLL_UPS", "MICRO", "MIGRATIONS", "REST", "SHARED_NAMES", "SUMS", "TOTAL_DIMENSIONS",
    "TOTAL_SUMS", "RollUp", "bills", "call_kinds", "call_rows", "calls", "daily_totals", "halves", "metadata",
    "migrations", "money", "roll_up_marks", "secrets",
]  # fmt: skip

REST = 3_600_000_000
"""The parts of a pico-dollar that ``cost_rest`` counts: thirds, minutes, hours and eight decimal places are whole."""

_HALF = 1_000_000

metadata = MetaData()

_WHOLE_COUNTS = tuple(name for name in COUNTS if name != "seconds")

_KIND_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("endpoint", Text, False),
    ("provider", Text, False),
    ("host", Text, True),
    ("model", Text, True),
    ("requested_model", Text, True),
    ("service_tier", Text, True),
    ("stream", Boolean, False),
    ("status", Text, False),
    ("error_type", Text, True),
    ("usage_source", Text, False),
    ("usage_unknown", Text, True),  # a JSON list, NULL if empty
    ("inconsistent", Boolean, False),
    ("cost_status", Text, False),
    ("cost_reason", Text, True),
    ("cost_estimated", Boolean, False),
    ("price_source", Text, True),
    ("usage_rule", Text, True),
    ("attempts", BigInteger, True),
    ("organization", Text, True),
    ("project", Text, True),
)
"""What many calls have in common: the name of a column, its type, and whether it may be NULL."""
_SHARED_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("agent", Text, True),
    ("operation", Text, True),
    ("block", Text, True),
    ("tags", Text, True),  # a JSON object with sorted keys, NULL if empty
    ("bill", Text, True),  # see stored_bills.py
)
"""What many calls have in common as a rule. A value that is new is in the row of its call, and not in its kind."""
_ROW_COLUMNS: tuple[tuple[str, Any, bool], ...] = (
    ("started_at", BigInteger, False),
    ("duration", Double, False),
    ("time_to_first_token", Double, True),
    ("response_id", Text, True),
    ("input_tokens", BigInteger, True),
    ("output_tokens", BigInteger, True),
    ("total_tokens", BigInteger, True),
    *((name, BigInteger, False) for name in _WHOLE_COUNTS),
    ("seconds", Double, False),
    ("cost_pico", BigInteger, True),
    ("cost_rest", BigInteger, True),
    ("cost_exact", Text, True),  # as a fraction of pico-dollars, where the two before it are not exact
    ("price_facts", Text, True),  # a JSON object, NULL if empty: see rows.py
    ("user", Text, True),
    ("session", Text, True),
    ("request_id", Text, True),
    ("processing_ms", BigInteger, True),
    ("remaining_requests", BigInteger, True),
    ("remaining_tokens", BigInteger, True),
    ("sections", Text, True),  # see core/sections.py: lengths and fingerprints by the ledger's own key
)
"""What differs from call to call, besides its id."""


def _columns(*groups: tuple[tuple[str, Any, bool], ...]) -> list[Column[Any]]:
    return [Column(name, kind, nullable=nullable) for group in groups for name, kind, nullable in group]


call_kinds = Table(
    "call_kinds",
    metadata,
    Column("kind", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),  # a hash
    *_columns(_KIND_COLUMNS, _SHARED_COLUMNS),
)
call_rows = Table(
    "call_rows",
    metadata,
    Column("id", Text, primary_key=True),
    *_columns(_ROW_COLUMNS, _SHARED_COLUMNS),
    Column("kind", BigInteger, nullable=False),
    Column("not_priced", Boolean, nullable=False),  # whether cost_status is unpriced or partial: for the index
)
calls = Table(
    "calls", MetaData(), Column("id", Text, primary_key=True), *_columns(_ROW_COLUMNS, _KIND_COLUMNS, _SHARED_COLUMNS)
)
"""A view: a row for each call, with what its kind has. To change calls, change the two tables (``call_kinds.py``)."""
KIND_NAMES = tuple(name for name, _, _ in _KIND_COLUMNS)
SHARED_NAMES = tuple(name for name, _, _ in _SHARED_COLUMNS)

Index("calls_started_at", call_rows.c.started_at)
_not_priced = call_rows.c.not_priced
Index("calls_not_priced", call_rows.c.started_at, sqlite_where=_not_priced, postgresql_where=_not_priced)

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

TOTAL_DIMENSIONS = (
    "model", "agent", "operation", "endpoint", "provider", "block", "service_tier", "organization", "project",
)  # fmt: skip
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

bills = Table(
    "bills",
    metadata,
    Column("kind", Text, primary_key=True),  # an endpoint of the organization's usage, "costs", or "reconciliation"
    Column("name", Text, primary_key=True),  # the day
    Column("made_at", BigInteger, nullable=False),
    Column("content", Text, nullable=False),  # JSON: see billing/store.py
)

secrets = Table(
    "ledger_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""``fingerprints``: the key of the fingerprints in ``sections``. It is made with the table, and never changed."""

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
