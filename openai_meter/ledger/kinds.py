"""Splits rows of calls into what differs from call to call, and kinds: what many calls have in common.

A kind is stored once, under a hash of its values, so that no process has to ask for its number. A value of
``SHARED_NAMES`` (tags, an agent, a bill) goes into a kind when this process stores it a second time. Until then it is
in the row of its call: a program that puts an id of its own into the tags of each call makes no kind for each call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from openai_meter.core.totals import NOT_PRICED
from openai_meter.ledger import schema
from openai_meter.ledger.rows import COLUMNS, Row

__all__ = ["kind_of", "split_row", "split_rows"]

_NAMES = [column.name for column in schema.call_rows.columns]
_OWN = _NAMES[: _NAMES.index(schema.SHARED_NAMES[0])]
"""The columns of a row before those that it may share."""
_own = itemgetter(*map(COLUMNS.index, _OWN))
_common = itemgetter(*map(COLUMNS.index, schema.KIND_NAMES))
_shared = itemgetter(*map(COLUMNS.index, schema.SHARED_NAMES))
_COST_STATUS = COLUMNS.index("cost_status")
_SEEN = 20_000

_seen: dict[str, bool] = {}
"""Shared values that were stored lately, and whether they have been stored more than once."""


def split_rows(rows: Iterable[Row]) -> tuple[list[Row], dict[int, Row]]:
    """The rows of ``call_rows`` for some calls, and their kinds by number."""
    kinds: dict[int, Row] = {}
    found = []
    for row in rows:
        own, kind = split_row(row)
        found.append(own)
        kinds[kind[0]] = kind
    return found, kinds


def split_row(row: Row) -> tuple[Row, Row]:
    """The row of ``call_rows`` for a call, and that of ``call_kinds``."""
    values = _shared(row)
    known = [value is not None and _is_known(value) for value in values]
    kind = kind_of((*_common(row), *(value if one else None for value, one in zip(values, known, strict=True))))
    rest = [None if one else value for value, one in zip(values, known, strict=True)]
    return (*_own(row), *rest, kind[0], row[_COST_STATUS] in NOT_PRICED), kind


def _is_known(value: str) -> bool:
    again = value in _seen
    if not again and len(_seen) >= _SEEN:
        _seen.clear()
    _seen[value] = again
    return again


@lru_cache(4_096)
def kind_of(values: tuple[Any, ...]) -> Row:
    """The row of ``call_kinds`` for some values: its number is a hash of them."""
    digest = hashlib.blake2b(json.dumps(values).encode("ascii"), digest_size=8).digest()
    return (int.from_bytes(digest, "big", signed=True), *values)
