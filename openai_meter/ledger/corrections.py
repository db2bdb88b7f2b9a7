"""What changes history: prices that were missing when a call was made, and details that are no longer kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from operator import add
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, or_, select, update

from openai_meter.core.call import Call
from openai_meter.core.totals import NOT_PRICED
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import rows, schema
from openai_meter.ledger.inserting import add_to_daily, rolled, store
from openai_meter.ledger.periods import DAY_US, Span
from openai_meter.ledger.queries import WITHOUT_PRICE, within

if TYPE_CHECKING:
    from openai_meter.pricing import Billable, PriceBook

__all__ = ["pages", "priced", "prune", "put", "reprice"]

_PAGE = 1_000
_OF_CALLS = schema.calls.c
_COSTS = (
    "cost_pico",
    "cost_rest",
    "cost_exact",
    "cost_status",
    "cost_reason",
    "cost_estimated",
    "price_source",
)

Transaction = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction, which is committed at its end."""


def put(writing: Transaction, calls: Iterable[Call]) -> int:
    """Stores calls, a thousand at a time; returns how many were not there.

    Raises:
        ConfigurationError: a call cannot be stored.
    """
    rest = iter(calls)
    done = 0
    while some := list(islice(rest, _PAGE)):
        try:
            page = {one.id: rows.to_row(one) for one in some}
        except ValueError as error:
            raise ConfigurationError(f"a call cannot be stored: {error}") from error
        with writing() as connection:
            done += store(connection, page)
    return done


def pages(reading: Transaction, span: Span, where: list[Any]) -> Iterator[list[Call]]:
    """Calls by the time when they began, some at a time: no transaction stays open while they are looked at."""
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
        # The span begins anew, so that the index is entered where the last page ended.
        span = span._replace(since=found[-1].started_at)
        beyond = [or_(_OF_CALLS.started_at > rows.micros(found[-1].started_at), _OF_CALLS.id > found[-1].id)]


def priced(call: Call, book: PriceBook, billable: Billable | None = None) -> Call:
    """The same call, priced by a book at the prices of its day."""
    return call.charged(book.cost(billable or book.billable_of(call)), book)


def reprice(reading: Transaction, writing: Transaction, book: PriceBook, span: Span) -> int:
    """Prices again what has no full price, in the calls and in the roll-ups; returns how many calls have one now."""
    done = 0
    for page in pages(reading, span, [WITHOUT_PRICE]):
        pairs = [(before, priced(before, book)) for before in page]
        changed = [(before, after) for before, after in pairs if _costs(before) != _costs(after)]
        if changed:
            with writing() as connection:
                done += _replace(connection, changed)
    return done


def _costs(call: Call) -> tuple[Any, ...]:
    return call.cost_pico, call.cost_status, call.cost_reason


def _replace(connection: Connection, changed: list[tuple[Call, Call]]) -> int:
    """Puts prices into the calls that are still as they were read: another process may price them as well."""
    before, after = [], []
    done = 0
    for old, new in sorted(changed, key=lambda pair: pair[0].id):  # in one order everywhere: nobody waits for ever
        was, becomes = rows.to_row(old), rows.to_row(new)
        statement = update(schema.calls).where(
            _OF_CALLS.id == old.id,
            _OF_CALLS.cost_status == old.cost_status,
            _OF_CALLS.cost_pico.is_not_distinct_from(was[_PICO]),
        )
        costs = {name: becomes[rows.COLUMNS.index(name)] for name in _COSTS}
        if connection.execute(statement.values(costs)).rowcount == 1:
            before.append(was)
            after.append(becomes)
            done += new.cost_status not in NOT_PRICED
    less = rolled(before, -1)
    sums = {
        group: (*map(add, less[group][:_ENDS], more[:_ENDS]), *more[_ENDS:]) for group, more in rolled(after).items()
    }
    add_to_daily(connection, sums)
    return done


_PICO = rows.COLUMNS.index("cost_pico")
_ENDS = len(schema.SUMS)
"""Where the sums of a group end, and the moments of its first and last call begin."""


def prune(writing: Transaction, before: int) -> int:
    """Deletes the calls that began before a day (its number since 1970), and leaves the roll-ups; returns how many."""
    done = 0
    while True:
        some = select(_OF_CALLS.id).where(_OF_CALLS.started_at < before * DAY_US).limit(10 * _PAGE)
        with writing() as connection:
            gone = connection.execute(delete(schema.calls).where(_OF_CALLS.id.in_(some))).rowcount
        done += gone
        if gone < 10 * _PAGE:
            return done
