"""Filters of a query: which calls count.

SQL selects candidates; :meth:`Filters.match` decides. Databases compare text (capital letters, JSON) in ways of
their own, and only Python code can match the snapshots of a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from openai_meter.core import dimensions
from openai_meter.errors import ConfigurationError

__all__ = ["Filters", "make_filters"]

Values = frozenset[str | None]
"""The values that a dimension may have; ``None`` stands for calls without a value."""


class Filters(NamedTuple):
    """The values that a call must have: for each dimension and each tag, one of a set."""

    values: tuple[tuple[str, Values], ...] = ()
    tags: tuple[tuple[str, Values], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The dimensions that are filtered by."""
        return frozenset([name for name, _ in self.values] + ["tag"] * bool(self.tags))

    def of_calls(self, columns: Any) -> list[Any]:
        """Conditions on a table's columns: every row that matches is kept; some that do not match may be kept too."""
        from sqlalchemy import or_  # noqa: PLC0415 - an extra

        found = []
        for name, values in self.values:
            column = columns[name]
            either = [column == value for value in sorted(value for value in values if value is not None)]
            if name == "model":  # and its snapshots
                either += [column.startswith(f"{value}-", autoescape=True) for value in values if value is not None]
            if None in values:
                either += [column.is_(None), column == ""]
            found.append(or_(*either))
        for name, values in self.tags:
            if None not in values:  # as rows.py writes them
                pairs = [json.dumps({name: value}, ensure_ascii=False)[1:-1] for value in sorted(map(str, values))]
                found.append(or_(*(columns.tags.contains(pair, autoescape=True) for pair in pairs)))
        return found

    def match(self, values: Mapping[str, Any]) -> bool:
        """Whether a call counts, by the values of the dimensions that are filtered by; tags are pairs."""
        return all(_matches(name, values[name], wanted) for name, wanted in self.values) and (
            not self.tags or self._match_tags(dict(values["tag"] or ()))
        )

    def _match_tags(self, tags: Mapping[str, str]) -> bool:
        return all((tags.get(name) or None) in wanted for name, wanted in self.tags)


def _matches(name: str, value: str | None, wanted: Values) -> bool:
    if (value or None) in wanted:
        return True
    if name != "model" or not value:
        return False
    from openai_meter.reports.model_stats import undated  # noqa: PLC0415 - services stand below the ledger

    return undated(value) in wanted


def make_filters(given: Mapping[str, Any]) -> Filters:
    """The filters that keyword arguments name: ``agent="planner"``, ``user=("a", None)``, ``tag={"env": "prod"}``.

    Several values of one dimension are alternatives; all dimensions have to match. ``None`` in a sequence (or the name
    of its row, ``"(unattributed)"``) stands for calls without a value; ``None`` by itself filters nothing. A model
    includes its dated snapshots, as in ``get_model_stats``.

    Raises:
        ConfigurationError: there is no such dimension, or a value is not text.
    """
    values, tags = [], []
    for name, value in given.items():
        if name not in dimensions.DIMENSIONS:
            names = ", ".join(dimensions.DIMENSIONS)
            raise ConfigurationError(f"there is no filter {name!r}; filter by one of {names}")
        if value is None:
            continue
        if name == "tag":
            if not isinstance(value, Mapping):
                raise ConfigurationError(
                    f'tag={value!r} is not a mapping; pass a mapping of tags, such as tag={{"env": "prod"}}'
                )
            tags += [(str(tag), _values(f"tag {tag}", wanted)) for tag, wanted in value.items()]
        else:
            values.append((name, _values(name, value)))
    return Filters(tuple(values), tuple(tags))


def _values(name: str, value: str | Iterable[str | None] | None) -> Values:
    several = (value,) if value is None or isinstance(value, str) else value
    try:
        found = frozenset(None if one in _NO_VALUE or not one else one for one in several)
    except TypeError:
        found = frozenset()
    if not found or not all(one is None or isinstance(one, str) for one in found):
        raise ConfigurationError(f"{name}={value!r} is not a filter; pass a text, or several texts")
    return found


_NO_VALUE = frozenset({dimensions.UNATTRIBUTED, dimensions.UNKNOWN_MODEL, dimensions.NO_BLOCK})
