"""Recommendations for the dashboard: one line for all of a kind, and the period of their calls."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.reports.advice import Recommendation

__all__ = ["Advice"]


class Advice(NamedTuple):
    """Recommendations, and the period of the calls that they were made from."""

    recommendations: tuple[Recommendation, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def on(cls, recommendations: tuple[Recommendation, ...], calls: Iterable[Call]) -> Self:
        """The recommendations that were made from some calls."""
        times = [call.started_at for call in calls]
        return cls(recommendations, min(times, default=None), max(times, default=None))

    def messages(self, lang: str) -> list[str]:
        """The text of each recommendation."""
        return [recommendation.message(lang) for recommendation in self.recommendations]

    def to_dict(self, lang: str) -> dict[str, Any]:
        """The lines of the dashboard as JSON values, the largest saving first."""
        kinds: dict[str, list[Recommendation]] = {}
        for recommendation in self.recommendations:
            # The remedy of an error depends on the error; all others depend on the kind alone.
            key = recommendation.parts[0] if recommendation.kind == "errors" else recommendation.kind
            kinds.setdefault(key, []).append(recommendation)
        lines = [_line(key, recommendations, lang) for key, recommendations in kinds.items()]
        return {
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "lines": sorted(lines, key=lambda line: -Decimal(line["saving"] or 0)),
        }


def _line(key: str, recommendations: list[Recommendation], lang: str) -> dict[str, Any]:
    # Recommendations of one kind rest on different calls, so their savings add up. Those of several kinds do not.
    savings = [recommendation.saving for recommendation in recommendations if recommendation.saving is not None]
    return {
        "kind": key,
        "saving": f"{sum(savings, Decimal(0)):f}" if savings else None,
        "estimated": any(recommendation.estimated for recommendation in recommendations),
        "calls": sum(recommendation.calls for recommendation in recommendations),
        "models": [*dict.fromkeys(one.model for one in recommendations if one.model is not None)],
        "agents": [*dict.fromkeys(one.agent for one in recommendations if one.agent is not None)],
        "messages": [*dict.fromkeys(recommendation.message(lang) for recommendation in recommendations)],
    }
