"""One finished call, as a value: everything that is shown, priced, summed or stored is made of these."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from openai_meter.frozen import maker
from openai_meter.usage import Usage

__all__ = ["Call", "CostStatus", "Status", "UsageSource", "make_call", "new_call_id"]

Status = Literal["ok", "incomplete", "failed", "cut", "error"]
"""How a call ended.

``ok``: a whole answer. ``incomplete``: the model stopped early (length, content filter). ``failed``: the API answered
that the work failed. ``cut``: the program left before the end (break, close, cancel, exit). ``error``: the call
raised; ``error_type`` names what.
"""
UsageSource = Literal["api", "tiktoken", "chars", "none"]
CostStatus = Literal["priced", "partial", "unpriced", "free"]

FAILURES = frozenset({"error", "failed"})
"""The statuses that count as errors."""


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call. Immutable, safe to share between threads; holds no prompt, no completion and no key."""

    id: str
    """A UUID of version 7: unique, and in the order of time."""
    started_at: datetime
    """When the call began, in UTC."""
    duration: float
    """Seconds from the request to the end of the answer (of a stream: until it was read)."""
    endpoint: str
    """The name of the endpoint: ``chat.completions``, ``responses``, ``embeddings``, ..."""
    provider: str
    """``openai``, ``azure``, or the host that answered."""
    model: str | None
    """The model as the API named it in its answer, else as it was requested; ``None`` if neither says."""
    requested_model: str | None
    status: Status
    usage: Usage
    usage_source: UsageSource
    """Who says what was used: the API, an estimate, or nobody (``none``: the tokens are unknown)."""

    response_id: str | None = None
    service_tier: str | None = None
    """The tier that served the call, as the API says."""
    stream: bool = False
    time_to_first_token: float | None = None
    """Seconds until the first event of a stream."""
    error_type: str | None = None
    """The class of the exception, or the API's own error code where it answered with one."""

    cost: Decimal | None = None
    """Exact US dollars, or ``None`` if unknown."""
    cost_status: CostStatus = "unpriced"
    price_source: str | None = None

    agent: str | None = None
    operation: str | None = None
    user: str | None = None
    session: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    block: str | None = None
    """The name of the innermost ``track()`` block that the call was made in."""

    @property
    def failed(self) -> bool:
        """Whether the call counts as an error."""
        return self.status in FAILURES

    def to_dict(self) -> dict[str, Any]:
        """The call as plain JSON values: times in ISO 8601, money as a decimal string."""
        data = {name: getattr(self, name) for name in _NAMES}
        data["started_at"] = self.started_at.isoformat()
        data["usage"] = self.usage.to_dict()
        data["cost"] = None if self.cost is None else str(self.cost)
        data["tags"] = dict(self.tags)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Call:
        """The inverse of :meth:`to_dict`; keys that this version does not know are passed over.

        Raises:
            ValueError: a required key is missing, or a value is not what it should be.
        """
        values = {name: data[name] for name in _NAMES if name in data}
        try:
            values["started_at"] = datetime.fromisoformat(values["started_at"])
            values["usage"] = Usage.from_dict(values["usage"])
            if values.get("cost") is not None:
                values["cost"] = Decimal(values["cost"])
            if values["status"] not in get_args(Status):
                raise ValueError(f"{values['status']!r} is no status of a call; statuses are {get_args(Status)}")
            return cls(**values)
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"this is no call written by openai_meter: {error!r}") from error


make_call = maker(Call)
"""``Call(...)``, faster."""
_NAMES = tuple(one.name for one in fields(Call))


def new_call_id(now: float | None = None) -> str:
    """A new UUID of version 7 (RFC 9562, section 5.7, method 3) as text, for a call that began at ``now``.

    The 12 bits after the milliseconds hold the fraction of the millisecond, so that ids made one after the other
    sort as they were made. The random part comes from the operating system: the host program's ``random`` state is
    not touched, and a forked child does not repeat its parent's ids.
    """
    milliseconds, fraction = divmod(int((time.time() if now is None else now) * 4_096_000), 4096)
    stamp = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    chance = os.urandom(8).hex()
    return f"{stamp[:8]}-{stamp[8:]}-7{fraction:03x}-{_VARIANT[chance[0]]}{chance[1:4]}-{chance[4:]}"


# The first hexadecimal digit of the random half, with its two upper bits set to the variant of RFC 9562.
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
