"""The facts of a call, besides its usage, that a price or its upper bound depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from openai_meter.usage.endpoints import Endpoint
    from openai_meter.usage.responses import ResponseState

__all__ = ["PriceContext", "RequestFacts"]


class RequestFacts(Protocol):
    """What is known of a call when its request is sent."""

    @property
    def row(self) -> Endpoint:
        """The endpoint."""

    @property
    def provider(self) -> str:
        """``openai``, ``azure`` or a host."""

    @property
    def host(self) -> str:
        """The host that the request goes to."""

    @property
    def requested_model(self) -> str | None:
        """The model of the request."""


class PriceContext(RequestFacts, Protocol):
    """What is known of a call when it has ended."""

    @property
    def response(self) -> ResponseState:
        """The state that the answer was read into."""
