"""The calls of a ledger as the lines of a bill: tokens and dollars per day, project, model, tier and slot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from openai_meter.core.call import Call
from openai_meter.core.money import Amount, CostLine
from openai_meter.ledger.billing.line_items import FEES
from openai_meter.pricing import PriceBook
from openai_meter.pricing.bill import AGGREGATES
from openai_meter.pricing.rates import split
from openai_meter.pricing.types import TIERS

__all__ = [
    "Amounts", "Cell", "CellPart", "Group", "Metered", "NearCall", "Rename", "Requests", "cell_parts", "group_of",
    "is_billed", "meter_calls", "regrouped",
]  # fmt: skip

EDGE = timedelta(minutes=15)
"""How near to midnight a call is that may be in the bill of the day before or after."""


class Cell(NamedTuple):
    """One line of a bill on one day. Fees of tools and storage have no model."""

    day: date
    project: str | None
    model: str | None
    tier: str
    bracket: str | None
    slot: str


Rename = Callable[[Cell], Cell]
"""Gives a cell another project or length."""


class Group(NamedTuple):
    """What requests are counted by."""

    day: date
    project: str | None
    model: str | None


@dataclass(slots=True)
class Amounts:
    """A quantity and what it costs, in pico-dollars."""

    quantity: Fraction = Fraction(0)
    amount: Fraction = Fraction(0)
    unpriced: Fraction = Fraction(0)
    """The part of the quantity that has no price in the ledger."""

    def add(self, quantity: Fraction, amount: Fraction, unpriced: Fraction = Fraction(0)) -> None:
        """Adds to all."""
        self.quantity += quantity
        self.amount += amount
        self.unpriced += unpriced


@dataclass(slots=True)
class Requests:
    """The calls of a group that a bill counts."""

    calls: int = 0
    unknown: int = 0
    """Calls whose tokens are unknown."""
    estimated: int = 0
    """Calls whose tokens are an estimate."""
    sums: int = 0
    """Records that stand for many requests: batches, runs, sessions."""

    def add(self, other: Requests) -> None:
        """Adds the counts of another one."""
        self.calls += other.calls
        self.unknown += other.unknown
        self.estimated += other.estimated
        self.sums += other.sums


class CellPart(NamedTuple):
    """What a call adds to a cell."""

    cell: Cell
    quantity: Fraction
    amount: Fraction
    unpriced: Fraction = Fraction(0)


class NearCall(NamedTuple):
    """A call near midnight."""

    group: Group
    started: datetime
    ended: datetime
    parts: tuple[CellPart, ...]


@dataclass
class Metered:
    """What a ledger has of a span of days."""

    cells: defaultdict[Cell, Amounts] = field(default_factory=lambda: defaultdict(Amounts))
    requests: defaultdict[Group, Requests] = field(default_factory=lambda: defaultdict(Requests))
    near: list[NearCall] = field(default_factory=list)
    shapes: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """How many calls there are of each endpoint of the usage API, and whether they were batches."""
    blocks: defaultdict[Group, Amount] = field(default_factory=lambda: defaultdict(int))
    """Input tokens that are charged for web searches: costs have them, and usage may not."""
    calls: int = 0

    @property
    def models(self) -> set[str]:
        """The names of the models."""
        return {cell.model for cell in self.cells if cell.model} | {
            group.model for group in self.requests if group.model
        }

    @property
    def projects(self) -> set[str | None]:
        """The projects; ``None`` where the API named none."""
        return {group.project for group in self.requests}

    def renamed(self, rename: Rename) -> Metered:
        """The same with other cells. The project of a group is renamed as that of a cell."""
        made = Metered(shapes=self.shapes, calls=self.calls)
        for cell, amounts in self.cells.items():
            made.cells[rename(cell)].add(amounts.quantity, amounts.amount, amounts.unpriced)
        for group, tokens in self.blocks.items():
            made.blocks[regrouped(group, rename)] += tokens
        for group, requests in self.requests.items():
            made.requests[regrouped(group, rename)].add(requests)
        made.near = [
            call._replace(
                group=regrouped(call.group, rename),
                parts=tuple(part._replace(cell=rename(part.cell)) for part in call.parts),
            )
            for call in self.near
        ]
        return made


def regrouped(group: Group, rename: Rename) -> Group:
    """The group of renamed cells."""
    return Group(*rename(Cell(*group, "default", None, "input"))[:3])


_KINDS = {
    "embeddings": "embeddings",
    "moderations": "moderations",
    "audio.speech": "audio_speeches",
    "audio.transcriptions": "audio_transcriptions",
    "audio.translations": "audio_transcriptions",
    "decisions": "decisions",
    "videos": "videos",
    "fine_tuning.jobs": "fine_tuning",
}
_BLOCK = "web_search_tokens"
_SLOTS = {"minute_estimate": "second", "minute": "second"}
"""Slots of our price lists that are not lines of their own in a bill."""


def usage_kind(endpoint: str) -> str:
    """The endpoint of the usage API that counts calls of an endpoint."""
    return "images" if endpoint.startswith("images.") else _KINDS.get(endpoint, "completions")


def is_billed(call: Call) -> bool:
    """Whether OpenAI bills a call: not those of other providers, and no errors."""
    return call.provider == "openai" and not (call.failed and not call.usage.known)


def group_of(call: Call) -> Group:
    """The group of a call, by the moment when it began."""
    return Group(call.started_at.astimezone(UTC).date(), call.project, call.model)


def meter_calls(calls: Iterable[Call], book: PriceBook) -> Metered:
    """Sums up the calls that OpenAI bills.

    Args:
        calls: the calls.
        book: prices for calls that were read without their bill.
    """
    metered = Metered()
    sums: dict[Cell, list[Amount]] = {}
    for call in filter(is_billed, calls):
        metered.calls += 1
        group = group_of(call)
        _count(metered, group, call)
        for cell, *amounts in _numbers(call, group, book):
            if cell.slot == _BLOCK:
                metered.blocks[group] += amounts[0]
                cell = cell._replace(slot="input")  # noqa: PLW2901 - a bill has them with the input
            total = sums.setdefault(cell, [0, 0, 0])
            for place, number in enumerate(amounts):
                total[place] += number
        _keep_near(metered, group, call, book)
    for cell, total in sums.items():
        metered.cells[cell] = Amounts(*map(Fraction, total))
    return metered


def _count(metered: Metered, group: Group, call: Call) -> None:
    requests = metered.requests[group]
    requests.calls += 1
    requests.sums += call.endpoint in AGGREGATES
    requests.estimated += call.estimated
    requests.unknown += call.usage_source == "none" and not call.usage.known and call.cost_status != "free"
    batch = call.endpoint == "batches" or TIERS.get(call.service_tier) == "batch"
    metered.shapes[usage_kind(call.endpoint), batch] += 1
    for number, kind in (
        (call.usage.web_searches, "web_search_calls"),
        (call.usage.file_searches, "file_search_calls"),
        (call.usage.container_sessions, "code_interpreter_sessions"),
    ):
        if number:
            metered.shapes[kind, False] += 1


def _keep_near(metered: Metered, group: Group, call: Call, book: PriceBook) -> None:
    """Keeps a call that may be billed on the day before or after."""
    started = call.started_at.astimezone(UTC)
    ended = started + timedelta(seconds=call.duration)
    midnight = started.replace(hour=0, minute=0, second=0, microsecond=0)
    if (started - midnight <= EDGE or ended >= midnight + timedelta(days=1) - EDGE) and call.endpoint not in AGGREGATES:
        metered.near.append(NearCall(group, started, ended, tuple(cell_parts(call, book))))


def cell_parts(call: Call, book: PriceBook) -> Iterator[CellPart]:
    """The cells of a call."""
    for cell, *amounts in _numbers(call, group_of(call), book):
        yield CellPart(cell._replace(slot="input") if cell.slot == _BLOCK else cell, *map(Fraction, amounts))


def _numbers(call: Call, group: Group, book: PriceBook) -> Iterator[tuple[Cell, Amount, Amount, Amount]]:
    """The cells of a call: quantity, amount, and the quantity without a price. Integers where they are whole.

    Sums of integers take a tenth of the time that sums of fractions take.
    """
    lines = () if call.cost_pico is None else call.cost_lines or book.lines(book.billable_of(call))
    shares = _shares(lines)
    total = sum(amount for _, amount in shares)
    target = next((line.model for line in lines if line.item not in FEES), None)
    if total != call.cost_pico and total and call.cost_pico is not None:
        # A call that was priced by other prices keeps the cost that the ledger has.
        factor = Fraction(call.cost_pico) / total
        shares = [(line, amount * factor) for line, amount in shares]
    done = set()
    for line, amount in shares:
        slot = _SLOTS.get(line.item, line.item.partition("@")[0])
        # The name of a price list may be another one than that of the model.
        model = None if slot in FEES else line.model if line.model != target else group.model
        done.add(slot)
        yield Cell(*group[:2], model, line.tier or "default", line.bracket, slot), line.quantity or 0, amount, 0
    if shares and call.cost_status != "partial":
        return
    tier = "batch" if call.endpoint == "batches" else TIERS.get(call.service_tier) or str(call.service_tier)
    counts = split(call.usage, False, False)[0] if call.usage.known and call.cost_status != "free" else {}
    left = {slot: number for slot, number in counts.items() if number and slot not in done}
    # A cost without a bill (imported, or stated) is shared in proportion to the tokens.
    stated = Fraction(call.cost_pico or 0) / sum(left.values()) if left and not shares else 0
    for slot, number in left.items():
        yield Cell(*group, tier, None, slot), number, number * stated, 0 if stated else number


def _shares(lines: Iterable[CostLine]) -> list[tuple[CostLine, Amount]]:
    """The lines that have a quantity, each with its part of the adjustments: a bill has no lines for these."""
    shares: list[tuple[CostLine, Amount]] = []
    for line in lines:
        if line.factor is None:
            shares.append((line, line.amount_pico))
            continue
        whole = line.item == "discount"
        shares = [
            (one, amount * line.factor if whole or (one.item not in FEES and one.model == line.model) else amount)
            for one, amount in shares
        ]
    return shares
