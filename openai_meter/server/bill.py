"""The last comparison of the ledger with OpenAI's bill, as it was kept by ``reconcile``. Nothing is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openai_meter.server.errors import json_response

if TYPE_CHECKING:
    from starlette.responses import Response

    from openai_meter.server.handlers import ApiRequest

__all__ = ["bill"]


def bill(request: ApiRequest) -> Response:
    """The last reconciliation of the ledger; ``null`` if there was none, or there is no ledger."""
    ledger = request.source.ledger
    found = None if ledger is None else ledger.last_reconciliation()
    return json_response({"bill": None if found is None else {**found, "by_cause": _sentences(found, request)}})


def _sentences(found: dict[str, Any], request: ApiRequest) -> list[dict[str, Any]]:
    """The causes, each with its name and its evidence as sentences in the language of the request."""
    from openai_meter.ledger.billing import sentences  # noqa: PLC0415 - an extra
    from openai_meter.ledger.billing.reconciliation import Cause  # noqa: PLC0415

    causes = [(values, Cause.from_dict(values)) for values in found["by_cause"]]
    return [
        {
            **values,
            "name": sentences.name(cause.kind, request.m),
            "about": sentences.about(cause, request.m),
        }
        for values, cause in causes
    ]
