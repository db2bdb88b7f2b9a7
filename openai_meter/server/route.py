"""One route of the HTTP API, as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from starlette.responses import Response

from openai_meter.server.handlers import ApiRequest
from openai_meter.server.params import Param

__all__ = ["Endpoint"]


class Endpoint(NamedTuple):
    """One route."""

    method: str
    path: str
    about: str
    """One sentence for the OpenAPI document."""
    answer: Callable[[ApiRequest], Response]
    params: tuple[Param, ...] = ()
    schema: str | None = None
    """The name of the answer's schema in ``schemas.py``; ``None`` if the answer is not JSON."""
    types: tuple[str, ...] = ("application/json",)
    """The content types of the answer."""
    errors: tuple[int, ...] = ()
    """Statuses of errors that only this route has; those of every route are added."""
