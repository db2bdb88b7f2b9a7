"""The charges of a ledger: one for each day, model, tier, price line and set of tags, which sum up exactly to its cost.

The database sums the calls of a day that share all that their price depends on, the stored bill included. The bill of
such a sum has its lines; calls without a stored bill are priced by the price book. If the lines sum up to the cost that
the ledger has, they are the charges. Else the calls are read one by one, each with its own bill (a price for each call,
long requests next to short ones). A call whose cost is not that of its bill (stated by a host, or imported) is charged
as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import Connection, func, select

from openai_meter.core.money import Amount, CostLine, simplest
from openai_meter.core.usage import COUNTS, Usage
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import queries, rows, schema
from openai_meter.ledger.aggregates import PER_CALL
from openai_meter.ledger.filters import Filters
from openai_meter.ledger.periods import DAY_US, Span
from openai_meter.ledger.plans import day_name
from openai_meter.ledger.stored_bills import decode_bill
from openai_meter.pricing.types import LONG_CONTEXT, Billable

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.pricing import PriceBook

__all__ = ["Charge", "Group", "charges"]

_OF_CALLS = schema.calls.c
_WHOLE = tuple(name for name in COUNTS if name != "seconds")
_SHOWN = (
    "endpoint", "provider", "model", "service_tier", "cost_status", "cost_reason", "cost_estimated", "price_source",
    "tags", "organization", "project",
)  # fmt: skip
"""The columns that all calls of a group have in common."""
_PRICED_BY = ("bill", "host", "requested_model", "price_facts", "inconsistent")
"""Further columns that a price depends on: the database keeps them apart."""
_MILLION = 1_000_000
_ATTO = Fraction(1, 1_000_000)
"""Pico-dollars of the last decimal place of an amount in a file."""
_ALONE = frozenset({"decisions"})
"""Endpoints whose tokens are not charged as those of a sum are."""
_SUMMED = "threads.runs"
"""The endpoint as which a sum is priced: the length of each request in it is not the length of the sum."""
_FEES = frozenset({"web_search"})
"""The lines that the factors of a model do not apply to."""

Kind = Literal["usage", "stated", "unpriced", "difference"]


class Group(NamedTuple):
    """Calls of one day that share what their price depends on."""

    day: date
    values: Mapping[str, Any]
    """What they have in common, by column."""
    calls: int
    usage: Usage
    amount: Amount | None
    """Pico-dollars; ``None``: no price is known."""


class Charge(NamedTuple):
    """A part of the cost of a group."""

    kind: Kind
    """``usage``: a quantity at a price. ``stated``: a cost without lines. ``unpriced``: calls whose cost is unknown.
    ``difference``: what the roundings of several calls leave."""
    item: str
    """The line of the bill: ``input``, ``cached_input``, ``web_search``, ..."""
    quantity: Amount
    unit: str
    list_price: Amount | None
    """Pico-dollars per unit, without the discount of the caller."""
    price: Amount | None
    """Pico-dollars per unit, with everything."""
    amount: Amount
    """Pico-dollars."""
    list_amount: Amount
    model: str | None = None
    tier: str | None = None
    bracket: str | None = None
    estimated: bool = False
    source: str | None = None


def charges(
    connection: Connection,
    span: Span,
    filters: Filters,
    book: PriceBook,
    *,
    dimensions: Iterable[str] = (),
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[Group, list[Charge]]]:
    """The charges of a span, day by day in UTC.

    Args:
        connection: one in a transaction that sees one state of the ledger.
        span: the calls that count.
        filters: which of them.
        book: the price list that makes the lines.
        dimensions: columns by which charges are kept apart, besides those of their price and tags.
        progress: is called after each day with the number of calls so far.

    Raises:
        ConfigurationError: the details of a day were pruned.
    """
    if pruned := queries.pruned_days(connection, span):
        later = day_name(max(pruned) + 1)
        raise ConfigurationError(f"the details of calls before {later} were pruned; use since={later!r}")
    done = 0
    for part in _days(connection, span):
        groups = _Day(connection, part, filters, dimensions)
        for group, found in groups.read(book):
            done += group.calls
            yield group, found
        if progress is not None:
            progress(done)


def _days(connection: Connection, span: Span) -> Iterator[Span]:
    """The days in UTC of a span that have calls, each as the part of it that is in the span."""
    within = queries.within(span)
    first, last = connection.execute(
        select(func.min(_OF_CALLS.started_at), func.max(_OF_CALLS.started_at)).where(*within)
    ).one()
    if first is None:
        return
    for number in range(first // DAY_US, last // DAY_US + 1):
        begin, end = (rows.from_micros(at * DAY_US) for at in (number, number + 1))
        yield Span(max(begin, span.since or begin), min(end, span.until or end))


class _Gathered:
    """The parts of one group, as they are added up."""

    def __init__(self) -> None:
        self.calls = 0
        self.usage: Usage | None = None
        self.amount: Amount | None = None
        self.charges: dict[Charge, list[Amount]] = {}

    def add(self, group: Group) -> None:
        self.calls += group.calls
        self.usage = group.usage if self.usage is None else self.usage + group.usage
        if group.amount is not None:
            self.amount = Fraction(self.amount or 0) + group.amount

    def charge(self, found: Iterable[Charge]) -> None:
        for charge in found:
            kind = charge._replace(quantity=0, amount=0, list_amount=0)
            sums = self.charges.setdefault(kind, [0, 0, 0])
            for place, more in enumerate((charge.quantity, charge.amount, charge.list_amount)):
                sums[place] += more


class _Day:
    """The groups of one day."""

    def __init__(self, connection: Connection, span: Span, filters: Filters, dimensions: Iterable[str]) -> None:
        assert span.since is not None
        self._day = span.since.astimezone(UTC).date()
        self._connection = connection
        self._filters = filters
        filtered = ("tags" if name == "tag" else name for name in sorted(filters.names))
        self._shown = tuple(dict.fromkeys((*_SHOWN, *dimensions, *filtered)))
        self._names = (*self._shown, *(name for name in _PRICED_BY if name not in self._shown))
        tokens_in, tokens_out = _OF_CALLS.input_tokens, _OF_CALLS.output_tokens
        self._keys = [
            *(_OF_CALLS[name].label(f"of_{name}") for name in self._names),
            tokens_in.is_(None).label("without_input"),
            tokens_out.is_(None).label("without_output"),
            (func.coalesce(tokens_in, 0) > LONG_CONTEXT).label("is_long"),
        ]
        self._where = [*queries.within(span), *filters.of_calls(_OF_CALLS)]

    def read(self, book: PriceBook) -> Iterator[tuple[Group, list[Charge]]]:
        """The groups of the day with their charges, in the order of their names."""
        groups: dict[tuple[Any, ...], _Gathered] = {}
        open_keys: set[tuple[Any, ...]] = set()
        for key, part in self._parts():
            gathered = groups.setdefault(key[: len(self._shown)], _Gathered())
            gathered.add(part)
            found = _of_sum(part, book)
            if found is None:
                open_keys.add(key)
            else:
                gathered.charge(found)
        if open_keys:
            self._read_one_by_one(open_keys, groups, book)
        for shown in sorted(groups, key=lambda key: [str(value or "") for value in key]):
            sums = groups[shown]
            values = dict(zip(self._shown, shown, strict=True))
            group = Group(self._day, values, sums.calls, sums.usage or Usage(), sums.amount)
            yield group, _complete(group, sums.charges)

    def _parts(self) -> Iterator[tuple[tuple[Any, ...], Group]]:
        """The sums that the database makes, each with its key."""
        high, low = schema.halves(_OF_CALLS.cost_pico)
        summed = [PER_CALL[name] for name in ("input_tokens", "output_tokens", "seconds_us", *_WHOLE)]
        sums = [func.sum(column) for column in (*summed, high, low, _OF_CALLS.cost_rest)]
        statement = select(*self._keys, func.count(), *sums).where(*self._where).group_by(*self._keys)
        size = len(self._keys)
        for row in self._connection.execution_options(yield_per=1_000).execute(statement):
            key = tuple(row[:size])
            values = dict(zip(self._names, key, strict=False))
            if self._filters.match(_Values(values)):
                yield key, _group(self._day, values, key[-3:], [None if n is None else int(n) for n in row[size:]])

    def _read_one_by_one(
        self, keys: Collection[tuple[Any, ...]], groups: Mapping[tuple[Any, ...], _Gathered], book: PriceBook
    ) -> None:
        """Adds the charges of each call of some sums."""
        size = len(self._keys)
        statement = select(*self._keys, *schema.calls.columns).where(*self._where)
        for row in self._connection.execution_options(yield_per=1_000).execute(statement):
            key = tuple(row[:size])
            if key in keys:
                call = rows.from_row(dict(zip(rows.COLUMNS, row[size:], strict=True)))
                groups[key[: len(self._shown)]].charge(_of_call(call, book))


def _complete(group: Group, totals: Mapping[Charge, list[Amount]]) -> list[Charge]:
    """The charges of a group; what they lack of its cost is a charge of its own."""
    found = [
        kind._replace(quantity=simplest(quantity), amount=simplest(amount), list_amount=simplest(list_amount))
        for kind, (quantity, amount, list_amount) in totals.items()
    ]
    found.sort(key=_place)
    left = Fraction(group.amount or 0) - sum((Fraction(charge.amount) for charge in found), Fraction(0))
    if abs(left) >= _ATTO:
        found.append(_lump("difference", "difference", simplest(left), group.values))
    return found


_FIRST_ITEMS = ("input", "cached_input", "cache_write", "cache_write_12h", "output")


def _place(charge: Charge) -> tuple[Any, ...]:
    """Where a charge comes in its group: tokens of text first, then by name."""
    item = charge.item
    rank = _FIRST_ITEMS.index(item) if item in _FIRST_ITEMS else len(_FIRST_ITEMS)
    return rank, item, charge.model or "", charge.tier or "", charge.bracket or "", charge.price or 0


class _Values(Mapping[str, Any]):
    """The values of a group by the names of dimensions, as filters need them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        if name != "tag":
            return self._values[name]
        text = self._values["tags"]
        return tuple(json.loads(text).items()) if text else None

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def _group(day: date, values: dict[str, Any], flags: tuple[Any, ...], numbers: list[int | None]) -> Group:
    calls, tokens_in, tokens_out, seconds, *rest = numbers
    counts = dict(zip(_WHOLE, rest, strict=False))
    high, low, parts = rest[len(_WHOLE) :]
    without_input, without_output, is_long = map(bool, flags)
    usage = Usage(
        None if without_input else tokens_in,
        None if without_output else tokens_out,
        None if without_input and without_output else (tokens_in or 0) + (tokens_out or 0),
        **{name: number for name, number in counts.items() if number},
        seconds=(seconds or 0) / _MILLION,
        inconsistent=bool(values["inconsistent"]),
    )
    amount = None if high is None else schema.money(high * _MILLION + (low or 0), parts)
    return Group(day, {**values, "is_long": is_long}, calls or 0, usage, amount)


# --- the charges of a sum ---------------------------------------------------------------------------------------------


def _of_sum(group: Group, book: PriceBook) -> list[Charge] | None:
    """The charges of a group, if the bill of its sum is the cost of its calls; else ``None``."""
    values = group.values
    if values["cost_status"] == "free" and not group.amount:
        return [_requests(group.calls, values)]
    if group.amount is None:
        return [_lump("unpriced", "unknown", 0, values, quantity=group.calls)]
    if values["bill"] is not None:
        return _checked(_folded(decode_bill(values["bill"], group.usage), values, group.calls), group.amount)
    facts = rows.decode_facts(values["price_facts"])
    endpoint = values["endpoint"]
    summable = not values["is_long"] and endpoint not in _ALONE and not endpoint.startswith("images.")
    billable = Billable(
        group.usage,
        values["model"],
        values["requested_model"],
        _SUMMED if summable else endpoint,
        values["provider"],
        values["host"],
        values["service_tier"],
        datetime(group.day.year, group.day.month, group.day.day, tzinfo=UTC) + timedelta(hours=12),
        batch=endpoint == "batches",
        window=facts.get("window"),
        details=facts,
    )
    return _checked(_folded(book.lines(billable), values, group.calls), group.amount)


def _checked(found: list[Charge] | None, amount: Amount) -> list[Charge] | None:
    return found if found is not None and _total(found) == amount else None


def _of_call(call: Call, book: PriceBook) -> list[Charge]:
    """The charges of one call."""
    values = {"model": call.model, "service_tier": call.service_tier, "price_source": call.price_source}
    amount = call.cost_pico
    if amount is None:
        return [_lump("unpriced", "unknown", 0, values, quantity=1)]
    if call.cost_status == "free" and not amount:
        return [_requests(1, values)]
    for lines in (call.cost_lines, book.lines_of(call)):
        found = _folded(lines, values, 1)
        if found and _total(found) == amount:
            return found
    return [_lump("stated", "stated cost", amount, values, quantity=1)]


def _total(found: Iterable[Charge]) -> Amount:
    return simplest(sum((Fraction(charge.amount) for charge in found), Fraction(0)))


def _folded(lines: Iterable[CostLine], values: Mapping[str, Any], calls: int) -> list[Charge] | None:
    """The lines of a bill as charges: a factor on lines becomes a part of their prices. ``None`` if that is not so."""
    plain: list[CostLine] = []
    factors: list[list[Fraction]] = []
    total = Fraction(0)
    for line in lines:
        total += line.amount_pico
        if line.factor is not None:
            for other, both in zip(plain, factors, strict=True):
                if line.item == "discount":
                    both[1] *= line.factor
                elif other.model == line.model and other.item not in _FEES:
                    both[0] *= line.factor
        elif line.quantity is None or line.price_pico is None:
            return (
                None
                if total != line.amount_pico
                else [_lump("stated", line.item, line.amount_pico, values, quantity=calls)]
            )
        else:
            plain.append(line)
            factors.append([Fraction(1), Fraction(1)])
    found = [_charge(line, *both) for line, both in zip(plain, factors, strict=True)]
    return found if _total(found) == total else None


def _charge(line: CostLine, factor: Fraction, discount: Fraction) -> Charge:
    assert line.quantity is not None
    assert line.price_pico is not None
    list_price = simplest(line.price_pico * factor)
    price = simplest(list_price * discount)
    return Charge(
        "usage", line.item, line.quantity, line.unit or "unit", list_price, price, simplest(line.quantity * price),
        simplest(line.quantity * list_price), line.model, line.tier, line.bracket, line.estimated, line.source,
    )  # fmt: skip


def _requests(number: int, values: Mapping[str, Any]) -> Charge:
    """Calls that cost nothing."""
    tier, source = values["service_tier"], values["price_source"]
    return Charge("usage", "requests", number, "request", 0, 0, 0, 0, values["model"], tier, source=source)


def _lump(kind: Kind, item: str, amount: Amount, values: Mapping[str, Any], quantity: Amount = 0) -> Charge:
    """A cost without a quantity at a price; ``quantity`` is a number of calls."""
    tier, source = values["service_tier"], values["price_source"]
    return Charge(kind, item, quantity, "request", None, None, amount, amount, values["model"], tier, source=source)
