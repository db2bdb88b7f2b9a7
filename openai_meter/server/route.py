"""One route of the HTTP API, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import Response

from openai_meter.server.handlers import Inquiry
from openai_meter.server.params import Param

__all__ = ["Endpoint"]


class Endpoint(NamedTuple):
    """One route."""

    method: str
    path: str
    about: str
    answer: Callable[[Inquiry], Response]
    params: tuple[Param, ...] = ()
    schema: str | None = None
    """The name of its answer's schema in ``schemas.py``; ``None`` if it is no JSON."""
    types: tuple[str, ...] = ("application/json",)
    errors: tuple[int, ...] = ()
    """The statuses of its own errors; those that every route can have are added."""
