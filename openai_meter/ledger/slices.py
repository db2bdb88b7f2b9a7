"""Parts of history that are compared, as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from openai_meter.errors import ConfigurationError
from openai_meter.ledger.filters import Filters, make_filters
from openai_meter.ledger.periods import Moment, Span, span_of

__all__ = ["Slice", "parse_slice"]

Slice = str | tuple[Moment, Moment] | Mapping[str, Any]
"""A part of history; see :meth:`Ledger.compare`."""


def parse_slice(part: Slice, common: tuple[Moment, Moment], zone: tzinfo, now: datetime) -> tuple[str, Span, Filters]:
    """The name, the span and the filters of a part of history."""
    if isinstance(part, Mapping):
        rest = {name: value for name, value in part.items() if name not in {"since", "until"}}
        since, until = part.get("since", common[0]), part.get("until", common[1])
        name = ", ".join(f"{key}={value}" for key, value in part.items())
        return name, span_of(since, until, zone, now), make_filters(rest)
    if isinstance(part, tuple) and len(part) == 2:
        since, until = part
        return f"{since}..{until}", span_of(since, until, zone, now), Filters()
    if not isinstance(part, str) or not part:
        raise ConfigurationError(
            f'{part!r} is not a part of history; use for example "2026-10", "7d" or "tag:prompt=v2"'
        )
    key, equals, value = part.partition("=")
    if equals:
        tagged = key.startswith("tag:")
        filters = make_filters({"tag": {key.removeprefix("tag:"): value}} if tagged else {key: value})
        return part, span_of(*common, zone, now), filters
    start, dots, end = part.partition("..")
    if dots:
        return part, span_of(start or None, end or None, zone, now), Filters()
    if start[-1:] in "hdwHDW":
        return part, span_of(start, "now", zone, now), Filters()
    return part, span_of(start, start, zone, now), Filters()
