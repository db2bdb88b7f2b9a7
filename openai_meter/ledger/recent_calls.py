"""The latest calls of a ledger, page by page, and one call by its id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from openai_meter.core.call import Call, wanted_status
from openai_meter.ledger import rows, schema
from openai_meter.ledger.filters import Filters

if TYPE_CHECKING:
    from openai_meter.ledger.reader import Reader

__all__ = ["find", "latest"]

_OF_CALLS = schema.calls.c
_PAGES = 20
"""How many pages are read for calls that match, before the caller gets the found ones and the position of the rest."""
_LEAST = 200


Place = tuple[int, str]
"""Where a page ends: when its last call began, in microseconds since 1970, and its id."""


def latest(
    ledger: Reader, limit: int, before: Place | None, filters: Filters, statuses: Iterable[str] = ()
) -> tuple[list[Call], Place | None]:
    """The calls before a position, the latest first.

    Args:
        ledger: where they are.
        limit: how many at most.
        before: where the page before this one ended; ``None`` for the first page.
        filters: which calls count.
        statuses: which statuses they may have; any, if there are none. ``"cut"``, the old name of ``"aborted"``, is
            accepted with a ``DeprecationWarning``.

    Returns:
        The calls, and where to go on; ``None`` if these are the last.

    Raises:
        LedgerError: the database cannot be read.
    """
    named = [wanted_status(status) for status in statuses]
    wanted = [_OF_CALLS.status.in_(named)] if named else []
    wanted += filters.of_calls(_OF_CALLS)
    size = max(limit, _LEAST) if filters.names else limit
    found: list[Call] = []
    for _ in range(_PAGES):
        read = _page(ledger, size, before, wanted)
        for call in read:
            before = (rows.micros(call.started_at), call.id)
            if not filters.names or filters.match(_values(call, filters)):
                found.append(call)
            if len(found) == limit:
                return found, before
        if len(read) < size:
            return found, None
    return found, before


def _page(ledger: Reader, limit: int, before: Place | None, wanted: list[Any]) -> list[Call]:
    where = list(wanted)
    if before is not None:
        at, call_id = before
        earlier = _OF_CALLS.started_at < at
        same = and_(_OF_CALLS.started_at == at, _OF_CALLS.id < call_id)
        # The first condition alone would do, and lets the index be entered at the right place.
        where += [_OF_CALLS.started_at <= at, or_(earlier, same)]
    order = _OF_CALLS.started_at.desc(), _OF_CALLS.id.desc()
    return _read(ledger, select(schema.calls).where(*where).order_by(*order).limit(limit))


def find(ledger: Reader, call_id: str) -> Call | None:
    """The call of an id, if it is there and was not pruned.

    Raises:
        LedgerError: the database cannot be read.
    """
    return next(iter(_read(ledger, select(schema.calls).where(_OF_CALLS.id == call_id))), None)


def _read(ledger: Reader, statement: Any) -> list[Call]:
    with ledger._reading() as connection:  # noqa: SLF001 - the reading half of the same package
        read = connection.execute(statement).all()
    return [rows.from_row(dict(zip(rows.COLUMNS, row, strict=True))) for row in read]


def _values(call: Call, filters: Filters) -> dict[str, Any]:
    return {name: tuple(call.tags.items()) if name == "tag" else getattr(call, name) for name in filters.names}
