"""Reads price files: the rows of ``overlay.toml``, which precede the catalog, and files of users in the same form.

Everything is checked when a file is read: the error for a wrong row has its place, its field and the valid values.
The head of ``overlay.toml`` describes a row.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core.money import exact, pico
from openai_meter.errors import ConfigurationError
from openai_meter.pricing.types import LONG_CONTEXT, SLOTS, TIERS

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["BUNDLED", "Factor", "Fee", "Overlay", "Row", "load_overlay", "parse_overlay"]

BUNDLED = files("openai_meter.pricing").joinpath("overlay.toml")
"""Our own price file. Not a path: the package may be in an archive, or in a frozen program."""


class Row(NamedTuple):
    """The prices of one model in one tier between two days."""

    prices: Mapping[str, Fraction]
    long: Mapping[str, Fraction] | None
    threshold: int | None
    times: Fraction | None
    """Instead of prices: the factor on the prices of the default tier."""
    times_long: bool
    since: date | None
    until: date | None
    """The first day on which the row no longer holds."""
    origin: str
    checked: date | None
    low: bool

    def holds(self, day: date) -> bool:
        """Whether the row holds on a day (UTC)."""
        return (self.since is None or self.since <= day) and (self.until is None or day < self.until)


class Factor(NamedTuple):
    """What token prices are multiplied with: a window, a host, a deployment type, the lifetime of a cache."""

    kind: str
    times: Fraction
    released_from: date | None
    approximate: bool
    origin: str
    checked: date | None


class Fee(NamedTuple):
    """The price of one use of a hosted tool."""

    price: Fraction
    origin: str
    checked: date | None


@dataclass(frozen=True)
class Overlay:
    """A checked price file."""

    name: str
    """Where the prices come from, for :attr:`Cost.source`."""
    rows: Mapping[tuple[str, str], tuple[Row, ...]] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    factors: Mapping[tuple[str, str], Factor] = field(default_factory=dict)
    fees: Mapping[str, Fee] = field(default_factory=dict)

    def row(self, model: str, tier: str, day: date) -> Row | None:
        """The last row of a model and tier that holds on a day."""
        return next((row for row in reversed(self.rows.get((model, tier), ())) if row.holds(day)), None)


class _Table:
    """One table of a price file: returns its fields checked, and raises for fields that were not read."""

    def __init__(self, place: str, data: Mapping[str, Any]) -> None:
        self._place = place
        self._data = dict(data)

    def wrong(self, name: str, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._place}: field {name!r} {why}")

    def _take(self, name: str, kind: type, wanted: str, *, required: bool) -> Any:
        value = self._data.pop(name, None)
        if value is None:
            if required:
                raise self.wrong(name, "is missing")
            return None
        # For isinstance(), True is an integer and a datetime is a date. In a price file they are errors.
        exactly = kind in {int, bool, date}
        if type(value) is not kind if exactly else not isinstance(value, kind):
            raise self.wrong(name, f"is {value!r}; it has to be {wanted}")
        return value

    def text(self, name: str, *, required: bool = False, one_of: Iterable[str] = ()) -> str | None:
        value: str | None = self._take(name, str, "text", required=required)
        allowed = sorted(one_of)
        if value is not None and allowed and value not in allowed:
            raise self.wrong(name, f"is {value!r}; it has to be one of {', '.join(allowed)}")
        if value == "":
            raise self.wrong(name, "is empty")
        return value

    def names(self, name: str) -> list[str]:
        value = self._take(name, list, "a list of names", required=True)
        if not value or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(name, f"is {value!r}; it has to be a list of names")
        return list(value)

    def day(self, name: str, *, required: bool = False) -> date | None:
        value: date | None = self._take(name, date, "a date such as 2026-11-22", required=required)
        return value

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        value = self._take(name, bool, "true or false", required=False)
        return default if value is None else value

    def whole(self, name: str) -> int | None:
        value: int | None = self._take(name, int, "a whole number above 0", required=False)
        if value is not None and value <= 0:
            raise self.wrong(name, f"is {value!r}; it has to be above 0")
        return value

    def number(self, name: str) -> Decimal | None:
        value = self._data.pop(name, None)
        return None if value is None else exact(value, f"{self._place}: field {name!r}")

    def needed(self, name: str) -> Decimal:
        if (value := self.number(name)) is None:
            raise self.wrong(name, "is missing")
        return value

    def table(self, name: str) -> _Table | None:
        value = self._take(name, dict, "a table", required=False)
        return None if value is None else _Table(f"{self._place}, {name}", value)

    def left(self) -> tuple[str, ...]:
        return tuple(self._data)

    def end(self) -> None:
        for name in self._data:
            raise self.wrong(name, "is unknown")


def _slots(table: _Table, *, strict: bool) -> dict[str, Fraction]:
    prices = {}
    for name, (unit, per) in SLOTS.items():
        if (value := table.number(name)) is not None:
            price = pico(value, per)
            if strict and unit in {"token", "character"} and price.denominator != 1:
                raise table.wrong(name, f"is {value}, which is no whole number of pico-dollars per {unit}")
            prices[name] = price
    return prices


def _origin(table: _Table, *, strict: bool) -> tuple[str, date | None, bool]:
    origin = table.text("source", required=strict) or "the caller"
    checked = table.day("checked", required=strict)
    low = table.text("confidence", one_of=["low", "published"]) == "low"
    table.text("note")
    return origin, checked, low


def _read_price(table: _Table, found: _Found, *, strict: bool) -> None:
    models = table.names("models")
    tier = TIERS[table.text("tier", one_of=[tier for tier in TIERS if tier]) or "default"]
    times = table.number("times")
    times_long = bool(table.flag("times_long", default=False))
    since, until = table.day("from"), table.day("until")
    if since and until and until <= since:
        raise table.wrong("until", f"is {until}, which is not after 'from' ({since})")
    prices = _slots(table, strict=strict)
    for size, value in _sizes(table):
        prices[f"second@{size}"] = pico(value)
    long_table, threshold = table.table("long"), table.whole("long_from")
    long = None
    if long_table is not None:
        long = _slots(long_table, strict=strict)
        long_table.end()
    origin, checked, low = _origin(table, strict=strict)
    table.end()
    if (times is None) == (not prices):
        raise table.wrong("times", "or prices: a row has either one of them")
    if times is not None and tier == "default":
        raise table.wrong("tier", "is the default tier, of which 'times' is a multiple")
    if threshold is None and long:
        threshold = LONG_CONTEXT
    factor = None if times is None else Fraction(times)
    row = Row(prices, long, threshold, factor, times_long, since, until, origin, checked, low)
    for model in models:
        found.rows.setdefault((model, tier), []).append(row)


def _sizes(table: _Table) -> list[tuple[str, Decimal]]:
    sizes = table.table("video")
    if sizes is None:
        return []
    return [(size, value) for size in sizes.left() if (value := sizes.number(size)) is not None]


_FACTS: Mapping[str, Callable[[_Table, str], Any]] = {
    "released": lambda table, name: table.day(name),
    "reasoning": lambda table, name: table.flag(name),
    "free": lambda table, name: table.flag(name),
    "unsold": lambda table, name: table.flag(name),
    "search_each_call": lambda table, name: table.text(name),
    "search_tokens": lambda table, name: table.whole(name),
    "max_output_tokens": lambda table, name: table.whole(name),
    "image_tokens": lambda table, name: table.whole(name),
}


def _read_model(table: _Table, found: _Found, *, strict: bool) -> None:
    names = table.names("names")
    facts = {name: value for name, read in _FACTS.items() if (value := read(table, name)) is not None}
    _origin(table, strict=strict)
    table.end()
    for name in names:
        found.facts[name] = {**found.facts.get(name, {}), **facts}


def _read_factor(table: _Table, found: _Found, *, strict: bool) -> None:
    kind = table.text("kind", required=True, one_of=["window", "host", "azure", "cache_write"]) or ""
    names = table.names("names")
    times = table.needed("times")
    released_from, approximate = table.day("released_from"), bool(table.flag("approximate", default=False))
    origin, checked, _ = _origin(table, strict=strict)
    table.end()
    for name in names:
        found.factors[kind, name] = Factor(kind, Fraction(times), released_from, approximate, origin, checked)


def _read_fee(table: _Table, found: _Found, *, strict: bool) -> None:
    names = table.names("names")
    value = table.needed("usd")
    origin, checked, _ = _origin(table, strict=strict)
    table.end()
    for name in names:
        found.fees[name] = Fee(pico(value), origin, checked)


@dataclass
class _Found:
    rows: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    factors: dict[tuple[str, str], Factor] = field(default_factory=dict)
    fees: dict[str, Fee] = field(default_factory=dict)


_READERS: Mapping[str, Callable[..., None]] = {
    "price": _read_price,
    "model": _read_model,
    "factor": _read_factor,
    "fee": _read_fee,
}


def parse_overlay(text: str, name: str, *, strict: bool = False) -> Overlay:
    """Reads the text of a price file.

    Args:
        text: the file's content.
        name: what the file is called in messages and as the source of a cost.
        strict: whether every row must have its source and the date of its check, and every token price must be a whole
            number of pico-dollars, as those that we ship do.

    Raises:
        ConfigurationError: the text is no TOML, or a row is wrong; the message names the row and the field.
    """
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is no TOML: {error}") from None
    found = _Found()
    for kind, tables in data.items():
        if kind not in _READERS or not isinstance(tables, list):
            known = ", ".join(f"[[{one}]]" for one in _READERS)
            raise ConfigurationError(f"{name}: {kind!r} is unknown; a price file is made of {known}")
        for number, table in enumerate(tables, 1):
            place = f"{name}, [[{kind}]] number {number}"
            if not isinstance(table, dict):
                raise ConfigurationError(f"{place} is {table!r}; it has to be a table")
            _READERS[kind](_Table(f"{place}{_label(table)}", table), found, strict=strict)
    rows = {key: tuple(some) for key, some in found.rows.items()}
    return Overlay(name, rows, found.facts, found.factors, found.fees)


def _label(table: Mapping[str, Any]) -> str:
    names = table.get("models") or table.get("names")
    return f" ({', '.join(map(str, names[:3]))})" if isinstance(names, list) and names else ""


def load_overlay(path: str | Path | Traversable, name: str | None = None, *, strict: bool = False) -> Overlay:
    """Reads a price file; see :func:`parse_overlay`.

    Raises:
        ConfigurationError: the file cannot be read, or is wrong.
    """
    try:
        text = (Path(path) if isinstance(path, str) else path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"the price file {str(path)!r} cannot be read: {error}") from None
    return parse_overlay(text, name or str(path), strict=strict)
