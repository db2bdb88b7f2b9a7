"""The calls without a full price, per model and reason; the number of both is bounded."""

from __future__ import annotations

from openai_meter.core.call import Call
from openai_meter.core.dimensions import OTHER_MODELS, UNKNOWN_MODEL
from openai_meter.core.totals import Unpriced

__all__ = ["note_unpriced"]

_REASONS = 200


def note_unpriced(reasons: dict[tuple[str, str], Unpriced], call: Call, times: int) -> None:
    """Adds a call without a full price to the reasons, or removes it."""
    key = (call.model or UNKNOWN_MODEL, call.cost_reason or "no price")
    if key not in reasons and len(reasons) >= _REASONS:
        key = (OTHER_MODELS, "no price")
    found = reasons.get(key, Unpriced(*key, 0, 0))
    left = found._replace(calls=found.calls + times, tokens=found.tokens + times * (call.usage.total_tokens or 0))
    if left.calls > 0:
        reasons[key] = left
    else:
        reasons.pop(key, None)
