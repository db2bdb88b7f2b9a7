"""Changes to stored calls: import, pricing of calls that had no price, and deletion of old details."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from operator import add
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, or_, select, update

from openai_meter.core.call import Call
from openai_meter.core.totals import NOT_PRICED
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import roll_ups, rows, schema
from openai_meter.ledger.inserting import add_kinds, add_to_totals, rolled, store
from openai_meter.ledger.kinds import split_row
from openai_meter.ledger.periods import DAY_US, Span
from openai_meter.ledger.queries import WITHOUT_PRICE, within

if TYPE_CHECKING:
    from openai_meter.pricing import Billable, PriceBook

__all__ = ["import_rows", "pages", "price_call", "prune", "reprice"]

_PAGE = 1_000
_OF_CALLS, _OF_ROWS = schema.calls.c, schema.call_rows.c
_COSTS = ("cost_pico", "cost_rest", "cost_exact", *schema.SHARED_NAMES, "kind", "not_priced")
"""The columns of ``call_rows`` that another price changes: much of it is in the kind of the call."""
_ROW_COLUMNS = [column.name for column in schema.call_rows.columns]

Transaction = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction, which is committed at its end."""


def import_rows(writing: Transaction, calls: Iterable[Call]) -> int:
    """Stores calls, a thousand at a time; returns how many were not there.

    Raises:
        ConfigurationError: a call cannot be stored.
    """
    rest = iter(calls)
    done = rolled_up = 0
    while some := list(islice(rest, _PAGE)):
        try:
            page = {call.id: rows.to_row(call) for call in some}
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise ConfigurationError(f"a call cannot be stored: {error}") from error
        with writing() as connection:
            done += store(connection, page)
        if done - rolled_up >= roll_ups.STEP:
            rolled_up = done
            roll_ups.roll_up(writing)
    return done


def pages(reading: Transaction, span: Span, where: list[Any]) -> Iterator[list[Call]]:
    """Calls in the order of the time when they began, a page at a time. No transaction is open while a page is used."""
    order = _OF_CALLS.started_at, _OF_CALLS.id
    beyond: list[Any] = []
    while True:
        statement = select(schema.calls).where(*within(span), *beyond, *where).order_by(*order).limit(_PAGE)
        with reading() as connection:
            read = connection.execute(statement).all()
        found = [rows.from_row(dict(zip(rows.COLUMNS, row, strict=True))) for row in read]
        if found:
            yield found
        if len(found) < _PAGE:
            return
        # The span starts where the last page ended, so that the index is used from there.
        span = span._replace(since=found[-1].started_at)
        beyond = [or_(_OF_CALLS.started_at > rows.micros(found[-1].started_at), _OF_CALLS.id > found[-1].id)]


def price_call(call: Call, book: PriceBook, billable: Billable | None = None) -> Call:
    """The same call, priced by a book at the prices of its day."""
    return call.charged(book.cost(billable or book.billable_of(call)), book)


def reprice(
    reading: Transaction, writing: Transaction, book: PriceBook, span: Span, hosts: Mapping[str, str] | None = None
) -> int:
    """Prices again the calls without a full price, and corrects the roll-ups; returns how many have one now.

    ``hosts``: the provider that sells behind a host, as for ``install(hosts=...)``. It is not stored: the rows of
    reports by provider stay as they are.
    """
    done = 0
    known = hosts or {}

    def priced(call: Call) -> Call:
        seller = known.get(call.host or "")
        if seller is None:
            return price_call(call, book)
        return replace(price_call(replace(call, provider=seller), book), provider=call.provider)

    for page in pages(reading, span, [WITHOUT_PRICE]):
        pairs = [(before, priced(before)) for before in page]
        changed = [(before, after) for before, after in pairs if _costs(before) != _costs(after)]
        if changed:
            with writing() as connection:
                done += _replace(connection, changed)
    return done


def _costs(call: Call) -> tuple[Any, ...]:
    return call.cost_pico, call.cost_status, call.cost_reason


def _replace(connection: Connection, changed: list[tuple[Call, Call]]) -> int:
    """Stores the prices of calls that are unchanged since they were read: another process may have priced them."""
    before, after = [], []
    done = 0
    roll_ups.lock(connection, alone=True)
    marks = roll_ups.read_marks(connection)
    same = _unchanged(connection, [old for old, _ in changed])
    roll_ups.add_late(connection, same, marks, -1)
    for old, new in changed:
        if old.id not in same:
            continue
        was, becomes = rows.to_row(old), rows.to_row(new)
        own, kind = split_row(becomes)
        add_kinds(connection, {kind[0]: kind})
        costs = {name: own[_ROW_COLUMNS.index(name)] for name in _COSTS}
        connection.execute(update(schema.call_rows).where(schema.call_rows.c.id == old.id).values(costs))
        before.append(was)
        after.append(becomes)
        done += new.cost_status not in NOT_PRICED
    roll_ups.add_late(connection, same, marks)
    less = rolled(before, -1)
    sums = {
        group: (*map(add, less[group][:_ENDS], more[:_ENDS]), *more[_ENDS:]) for group, more in rolled(after).items()
    }
    add_to_totals(connection, sums)
    return done


def _unchanged(connection: Connection, calls: list[Call]) -> set[str]:
    """The ids of the calls whose price is stored as it was read."""
    columns = _OF_CALLS.id, _OF_CALLS.cost_status, _OF_CALLS.cost_pico
    found = connection.execute(select(*columns).where(_OF_CALLS.id.in_([call.id for call in calls])))
    stored = {call_id: (status, pico) for call_id, status, pico in found}
    return {call.id for call in calls if stored.get(call.id) == (call.cost_status, rows.to_row(call)[_PICO])}


_PICO = rows.COLUMNS.index("cost_pico")
_ENDS = len(schema.SUMS)
"""The index after the last sum of a group; the times of its first and last call follow."""


def prune(writing: Transaction, before: int) -> int:
    """Deletes the calls that began before a day (its number since 1970), and leaves the roll-ups; returns how many."""
    done = 0
    roll_ups.roll_up(writing, until=before * DAY_US)
    roll_ups.forget(writing, before)
    while True:
        some = select(_OF_ROWS.id).where(_OF_ROWS.started_at < before * DAY_US).limit(10 * _PAGE)
        with writing() as connection:
            gone = connection.execute(delete(schema.call_rows).where(_OF_ROWS.id.in_(some))).rowcount
        done += gone
        if gone < 10 * _PAGE:
            break
    if done:
        with writing() as connection:
            roll_ups.lock(connection, alone=True)  # no other process stores a call of such a kind meanwhile
            used = select(_OF_ROWS.kind).distinct()
            connection.execute(delete(schema.call_kinds).where(schema.call_kinds.c.kind.not_in(used)))
    return done
