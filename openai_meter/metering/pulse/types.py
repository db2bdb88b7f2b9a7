"""A pulse as a value: its groups, its rates, and how they become JSON and are read from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from openai_meter.alerts import METRICS, ThresholdUsage
from openai_meter.core.money import exact
from openai_meter.core.totals import Totals

__all__ = ["GROUPS", "Group", "Pulse", "Rates", "Scope", "Spark", "tokens_of"]

GROUPS = 50
"""How many groups are kept apart; those that cost least share one more."""

Scope = Literal["process", "fleet"]
"""``process``: what a meter counted. ``fleet``: what all processes wrote to a ledger."""
Spark = tuple[float | None, ...]
"""A number for each slice of the window, oldest first: US dollars, or tokens. ``None``: there were calls, and it is
unknown."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Amounts per minute, on the average of the window; ``None``: unknown. Immutable."""

    cost: Decimal | None
    """US dollars per minute, rounded to a pico-dollar."""
    tokens: float | None
    calls: float | None
    errors: float | None

    def to_dict(self) -> dict[str, Any]:
        """The rates as plain JSON values."""
        cost = None if self.cost is None else f"{self.cost:f}"
        return {"cost": cost, "tokens": self.tokens, "calls": self.calls, "errors": self.errors}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rates:
        """The inverse of :meth:`to_dict`."""
        return cls(_money(data["cost"]), *(_float(data[name]) for name in ("tokens", "calls", "errors")))


@dataclass(frozen=True, slots=True)
class Group:
    """The calls of one model, agent, ... within the window. Immutable."""

    name: str | None
    """``None``: calls without a value; or the group of all others."""
    totals: Totals
    minute: Rates
    share: float | None
    """The share of the window's cost; of its tokens, where nothing has a price; ``None``: unknown."""
    spark: Spark
    others: int = 0
    """How many groups are folded into this one; 0: it is one of its own."""

    def to_dict(self) -> dict[str, Any]:
        """The group as plain JSON values: its totals, its rates and its sparkline."""
        rates = self.minute.to_dict()
        return {
            "name": self.name,
            "other": self.others > 0,
            "others": self.others,
            **self.totals.to_dict(),
            "tokens": tokens_of(self.totals),
            **{f"{name}_per_minute": value for name, value in rates.items()},
            "share": self.share,
            "spark": list(self.spark),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Group:
        """The inverse of :meth:`to_dict`."""
        name = data["name"]
        return cls(
            None if name is None else str(name),
            Totals.from_dict(data),
            Rates.from_dict({name: data[f"{name}_per_minute"] for name in ("cost", "tokens", "calls", "errors")}),
            _float(data["share"]),
            tuple(map(_float, data["spark"])),
            int(data["others"]),
        )


@dataclass(frozen=True, slots=True)
class Pulse:
    """The live figures of one moment. Immutable, safe to share between threads."""

    at: datetime
    window: float
    """The seconds that are looked back on."""
    covered: float
    """The seconds of them that are known: less, where a meter remembers fewer calls than there were."""
    scope: Scope
    by: str
    """What the groups are by."""
    since: datetime
    """Since when :attr:`totals` count."""
    totals: Totals
    """Exact sums: of a meter since its start, of a ledger since the first of the month."""
    today: Totals | None
    """Exact sums since midnight; ``None``: a meter does not remember them."""
    recent: Totals
    """The sums over the window, or what is covered of it."""
    minute: Rates
    spark: Spark
    spark_of: Literal["cost", "tokens"]
    """The unit of all sparklines: tokens, where nothing in the window has a price."""
    groups: tuple[Group, ...]
    """The highest cost first; the group of all others is the last."""
    thresholds: tuple[ThresholdUsage, ...]
    alerts: int
    """How many limits are exceeded now."""

    @property
    def partial(self) -> bool:
        """Whether some calls within the window are no longer kept."""
        return self.covered < self.window

    def to_dict(self) -> dict[str, Any]:
        """The pulse as plain JSON values: money as decimal strings, times in ISO 8601; ``None`` is unknown."""
        return {
            "at": self.at.isoformat(),
            "window": self.window,
            "covered": self.covered,
            "partial": self.partial,
            "scope": self.scope,
            "by": self.by,
            "since": self.since.isoformat(),
            "totals": self.totals.to_dict(),
            "today": None if self.today is None else self.today.to_dict(),
            "recent": self.recent.to_dict(),
            "minute": self.minute.to_dict(),
            "spark": list(self.spark),
            "spark_of": self.spark_of,
            "groups": [one.to_dict() for one in self.groups],
            "thresholds": [one.to_dict() for one in self.thresholds],
            "alerts": self.alerts,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pulse:
        """The inverse of :meth:`to_dict`; unknown keys and thresholds are ignored.

        Raises:
            ValueError: a required key is missing, or a value is not what it should be.
        """
        try:
            if data["scope"] not in get_args(Scope) or data["spark_of"] not in {"cost", "tokens"}:
                raise ValueError(f"there is no scope {data['scope']!r}, or no spark of {data['spark_of']!r}")
            today = data["today"]
            return cls(
                datetime.fromisoformat(data["at"]),
                float(data["window"]),
                float(data["covered"]),
                data["scope"],
                str(data["by"]),
                datetime.fromisoformat(data["since"]),
                Totals.from_dict(data["totals"]),
                None if today is None else Totals.from_dict(today),
                Totals.from_dict(data["recent"]),
                Rates.from_dict(data["minute"]),
                tuple(map(_float, data["spark"])),
                data["spark_of"],
                tuple(map(Group.from_dict, data["groups"][: GROUPS + 1])),
                tuple(ThresholdUsage.from_dict(one) for one in data["thresholds"] if one["name"] in METRICS),
                int(data["alerts"]),
            )
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"this is not a pulse of openai_meter: {error!r}") from error


def tokens_of(totals: Totals) -> int | None:
    """All tokens; ``None`` where there are calls of unknown size and no others."""
    return None if totals.unmeasured_calls and not totals.usage.total_tokens else totals.usage.total_tokens


def _money(text: Any) -> Decimal | None:
    return None if text is None else exact(text, "cost")


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
