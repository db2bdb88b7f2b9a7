"""Calls without a price yet: they are in the spool, so that they are not lost if the process is killed meanwhile.

A call that ends while the price files are being read is given to the ledger when it has its price. Until then it is a
line in a segment of its own, with the cost reason ``WAITING``. That segment is deleted when all of its calls are in
other segments or in the database. If the process dies before that, the process that adopts the segment prices them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from openai_meter.core import faults
from openai_meter.core.call import Call
from openai_meter.core.money import Cost
from openai_meter.ledger.rows import COLUMNS, Row, encode_line, from_row, to_row
from openai_meter.ledger.spool import Spool
from openai_meter.pricing.loading import UNREADABLE, WAITING, prepare

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["Held", "Holding", "LatePrices", "is_waiting"]

_REASON = COLUMNS.index("cost_reason")


class Held(NamedTuple):
    """A call in the queue of a ledger that will be put again, with its price."""

    call: Call


class Holding:
    """The segment of the calls that wait for a price. Not thread-safe: the intake holds its lock around each use.

    Args:
        spool: the spool of the ledger.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool.another()
        self.calls: set[str] = set()
        """The ids of the calls that have not come with their price."""

    def add(self, calls: Iterable[Call]) -> None:
        """Writes calls to the segment. Calls that do not fit are in memory only until they have a price."""
        lines: dict[str, bytes] = {}
        for call in calls:
            with suppress(Exception):  # a call that has no row is set aside when it comes with its price
                lines[call.id] = encode_line(to_row(call))
        if lines and self._spool.append([*lines.values()]):
            self.calls |= lines.keys()

    def end(self) -> None:
        """Deletes the segment if no call waits any more. To be called when all others are safe elsewhere."""
        if not self.calls and (segment := self._spool.seal()) is not None:
            self._spool.delete(segment)

    def release(self) -> bool:
        """Leaves the calls that still wait to be replayed; returns whether there may be any."""
        begun = self._spool.begun
        self._spool.seal_and_release()
        self.calls.clear()
        return begun


def is_waiting(row: Row) -> bool:
    """Whether a row was written before its call had a price."""
    return bool(row[_REASON] == WAITING)


class LatePrices:
    """Prices rows that a process has left before it had read the prices, each at the price of its day.

    Args:
        book: the price book to use, once it is needed; ``None`` is the one that comes with openai_meter.
    """

    def __init__(self, book: Callable[[], PriceBook | None]) -> None:
        self._find = book
        self._book: PriceBook | None = None
        self._failed = False

    def price(self, rows: Mapping[str, Row]) -> dict[str, Row]:
        """The same rows with a price; without one, and with the reason, if the price files cannot be read."""
        if self._book is None and not self._failed:
            try:
                self._book = self._read()
            except Exception as error:
                self._failed = True
                faults.caught(error, "reading the prices")
        return {call_id: self._priced(row) for call_id, row in rows.items()}

    def _read(self) -> PriceBook:
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

        prepare()
        book = self._find() or PriceBook()
        book.warm()
        return book.view()

    def _priced(self, row: Row) -> Row:
        call, book = from_row(dict(zip(COLUMNS, row, strict=True))), self._book
        if book is None:
            return to_row(call.charged(Cost(None, "unpriced", UNREADABLE), None))
        return to_row(call.charged(book.cost(book.billable_of(call)), book))
