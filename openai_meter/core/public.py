"""Makes classes public: their module is ``openai_meter``, wherever their code is, and their pickles stay readable.

Tracebacks, ``repr`` and pickles then name the place that programs import it from, and a later move of the code
changes nothing for them. A pickle has the names of its fields, so that fields can be added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

__all__ = ["PACKAGE", "get_state", "public", "set_state"]

T = TypeVar("T")
PACKAGE = __name__.partition(".")[0]


def public(cls: type[T]) -> type[T]:
    """Makes the package the module of a class. The outermost decorator: ``dataclass`` reads the real module."""
    cls.__module__ = PACKAGE
    return cls


def get_state(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by their names, for ``__getstate__``."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def set_state(value: Any, state: Mapping[str, Any] | Sequence[Any], first: Sequence[str]) -> None:
    """Sets the fields of a frozen dataclass, for ``__setstate__``.

    Args:
        value: the new object.
        state: fields by their names; or in the order of ``first``, as earlier versions pickled them.
        first: the fields that the class had then.
    """
    given = dict(state) if isinstance(state, Mapping) else dict(zip(first, state, strict=False))
    for field in fields(value):
        if field.name in given:
            content = given[field.name]
        elif field.default_factory is not MISSING:
            content = field.default_factory()
        else:
            content = None if field.default is MISSING else field.default
        object.__setattr__(value, field.name, content)
