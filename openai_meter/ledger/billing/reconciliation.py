"""A bill and a ledger side by side: what is billed, what is metered, and why they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import simplest, usd
from openai_meter.core.public import public
from openai_meter.errors import ConfigurationError

__all__ = ["GROUPS", "Cause", "Line", "Reconciliation", "Sums", "dollars", "ratio", "sums_of"]

GROUPS = ("day", "project", "model", "line_item")
"""What the lines can be grouped by."""


def dollars(amount: Fraction) -> Decimal:
    """US dollars for pico-dollars, exact."""
    return usd(simplest(amount))


class Line(NamedTuple):
    """One line item of a project on one day."""

    day: date
    project: str | None
    line_item: str
    model: str | None
    slot: str
    """The kind: a slot of a price list (``input``, ``cached_input``, ...), a fee, ``storage``, ``other``."""
    billed: Fraction
    """Pico-dollars."""
    metered: Fraction | None
    """Pico-dollars of the calls that have a price; ``None`` where none has one."""
    billed_quantity: Fraction
    metered_quantity: Fraction
    causes: Mapping[str, Fraction]
    """The pico-dollars of the difference, by cause."""
    is_open: bool

    def to_dict(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return {
            "day": self.day.isoformat(),
            "project": self.project,
            "line_item": self.line_item,
            "model": self.model,
            "slot": self.slot,
            "billed": f"{dollars(self.billed):f}",
            "metered": None if self.metered is None else f"{dollars(self.metered):f}",
            "difference": f"{dollars(self.billed - (self.metered or 0)):f}",
            "billed_quantity": _plain(self.billed_quantity),
            "metered_quantity": _plain(self.metered_quantity),
            "causes": {cause: f"{dollars(amount):f}" for cause, amount in self.causes.items()},
            "open": self.is_open,
        }


def _plain(number: Fraction) -> int | float:
    return number.numerator if number.denominator == 1 else float(number)


@public
class Cause(NamedTuple):
    """A reason why the bill and the ledger differ, with its evidence."""

    kind: str
    """``another_project``, ``another_key``, ``another_program``, ``tier``, ``cache_write_ttl``, ``tool_fee``,
    ``storage``, ``price``, ``not_counted``, ``estimated``, ``time_zone``, ``not_billed``, ``unexplained``, or
    ``open_day``."""
    amount: Decimal
    """US dollars that the bill has more than the ledger; negative where it has less."""
    project: str | None
    model: str | None
    days: tuple[date, ...]
    evidence: Mapping[str, Any]
    """What shows it: numbers of requests, quantities, unit prices, keys, tiers."""
    proposal: str | None = None
    """A price row in the form of ``overlay.toml``, where a price of ours differs from the bill's."""

    def to_dict(self) -> dict[str, Any]:
        """The cause as plain JSON values."""
        return {
            "kind": self.kind,
            "amount": f"{self.amount:f}",
            "project": self.project,
            "model": self.model,
            "days": [day.isoformat() for day in self.days],
            "evidence": dict(self.evidence),
            "proposal": self.proposal,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cause:
        """The inverse of :meth:`to_dict`."""
        days = tuple(map(date.fromisoformat, values["days"]))
        amount = Decimal(values["amount"])
        kind, evidence, proposal = values["kind"], values["evidence"], values["proposal"]
        return cls(kind, amount, values["project"], values["model"], days, evidence, proposal)


class Sums(NamedTuple):
    """The sums of some lines, in pico-dollars."""

    billed: Fraction = Fraction(0)
    metered: Fraction = Fraction(0)
    covered: Fraction = Fraction(0)
    """What both have, line by line."""
    causes: Mapping[str, Fraction] = {}

    @property
    def difference(self) -> Fraction:
        """What the bill has more."""
        return self.billed - self.metered

    @property
    def coverage(self) -> Decimal | None:
        """The part of the billed amount that the ledger has too; ``None`` where nothing was billed."""
        return ratio(self.covered, self.billed)

    def to_dict(self) -> dict[str, Any]:
        """The sums as plain JSON values."""
        return {
            "billed": f"{dollars(self.billed):f}",
            "metered": f"{dollars(self.metered):f}",
            "difference": f"{dollars(self.difference):f}",
            "coverage": None if self.coverage is None else str(self.coverage),
            "causes": {cause: f"{dollars(amount):f}" for cause, amount in self.causes.items()},
        }


def ratio(part: Fraction, whole: Fraction) -> Decimal | None:
    """A part of a whole to six digits, rounded down: 1 is exactly 1."""
    if whole <= 0:
        return None
    return Decimal(part * 10**6 // whole) / 10**6 if part != whole else Decimal(1)


@public
@dataclass(frozen=True)
class Reconciliation:
    """The result of ``ledger.reconcile()``. All amounts are exact."""

    since: date
    until: date
    """The last day."""
    made_at: str
    """When it was made: ISO 8601, in UTC."""
    lines: tuple[Line, ...]
    causes: tuple[Cause, ...]
    """The largest amounts first."""
    open_days: tuple[date, ...]
    """Days that have not ended: they are in no sum, and in no coverage."""
    notes: tuple[str, ...] = ()
    """Endpoints of the API that could not be read."""
    token_coverage: Decimal | None = None
    """The part of the billed tokens that the ledger has too; ``None`` where no tokens were billed."""
    has_usage: bool = field(default=True, repr=False)

    @property
    def sums(self) -> Sums:
        """The sums of the days that have ended."""
        return sums_of(line for line in self.lines if not line.is_open)

    @property
    def open_sums(self) -> Sums:
        """The sums of the days that have not ended."""
        return sums_of(line for line in self.lines if line.is_open)

    @property
    def billed(self) -> Decimal:
        """US dollars of the bill, of days that have ended."""
        return dollars(self.sums.billed)

    @property
    def metered(self) -> Decimal:
        """US dollars of the ledger, of days that have ended."""
        return dollars(self.sums.metered)

    @property
    def difference(self) -> Decimal:
        """US dollars that the bill has more."""
        return dollars(self.sums.difference)

    @property
    def coverage(self) -> Decimal | None:
        """The part of the billed dollars that the ledger has too, line by line, from 0 to 1.

        What the ledger has more than a line of the bill does not count. ``None`` where nothing was billed.
        """
        return self.sums.coverage

    def by(self, *groups: str) -> dict[tuple[str | None, ...], Sums]:
        """The sums of groups of lines, those with the largest difference first. Open days are left out.

        Raises:
            ConfigurationError: a name is not one of day, project, model, line_item.
        """
        for name in groups:
            if name not in GROUPS:
                raise ConfigurationError(f"lines cannot be grouped by {name!r}; use {', '.join(GROUPS)}")
        found: dict[tuple[str | None, ...], list[Line]] = defaultdict(list)
        for line in self.lines:
            if not line.is_open:
                key = tuple(str(line.day) if name == "day" else getattr(line, name) for name in groups)
                found[key].append(line)
        sums = {key: sums_of(lines) for key, lines in found.items()}
        in_time = groups[:1] == ("day",)
        order = sorted(
            sums.items(),
            key=lambda pair: (
                pair[0][0] if in_time else "", -abs(pair[1].difference), -pair[1].billed, tuple(map(str, pair[0]))
            ),
        )  # fmt: skip
        return dict(order)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; amounts are texts, as floats would round them."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "made_at": self.made_at,
            **self.sums.to_dict(),
            "token_coverage": None if self.token_coverage is None else str(self.token_coverage),
            "open_days": {"days": [day.isoformat() for day in self.open_days], **self.open_sums.to_dict()},
            "by_cause": [cause.to_dict() for cause in self.causes],
            "lines": [line.to_dict() for line in self.lines],
            "not_read": list(self.notes),
        }


def sums_of(lines: Iterable[Line]) -> Sums:
    """The sums of lines."""
    billed = metered = covered = Fraction(0)
    causes: dict[str, Fraction] = defaultdict(Fraction)
    for line in lines:
        ours = line.metered or Fraction(0)
        billed += line.billed
        metered += ours
        covered += min(max(line.billed, Fraction(0)), ours)
        for cause, amount in line.causes.items():
            causes[cause] += amount
    return Sums(billed, metered, covered, dict(causes))
