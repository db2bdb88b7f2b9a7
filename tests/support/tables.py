"""Large tables of tests: a part of the rows runs always, all of them with ``--thorough``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def crossed(*columns: Iterable[Any], every: int) -> list[Any]:
    """All combinations of the columns' values; one in ``every`` runs always, the others are marked ``thorough``.

    Which ones run is spread so that each value of each column is among them where that is possible: with
    ``every=2``, the first value of a column of two meets the even rows of the other, and the second the odd ones.
    """
    sized = [list(column) for column in columns]
    rows = []
    for places in itertools.product(*(range(len(column)) for column in sized)):
        values = [column[place] for column, place in zip(sized, places, strict=True)]
        rows.append(pytest.param(*values, marks=() if sum(places) % every == 0 else pytest.mark.thorough))
    return rows
