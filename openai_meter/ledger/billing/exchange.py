"""Exchange rates of the European Central Bank, from its file ``eurofxref-hist.csv``.

https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip. A line has a date and what one euro is in other
currencies; ``N/A`` or nothing where there is no rate. There are no lines for weekends and
holidays: the last earlier one counts.
"""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from openai_meter.core.money import exact
from openai_meter.errors import ConfigurationError

__all__ = ["DOLLAR", "Rate", "places_of", "rate_on"]

DOLLAR = "USD"
_EURO = "EUR"
_MISSING = frozenset({"", "N/A"})
_PLACES = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
                     "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}  # fmt: skip
"""The decimal places of a currency where they are not two (ISO 4217)."""


class Rate(NamedTuple):
    """How dollars are turned into another currency."""

    currency: str
    wanted: date
    """The day whose rate was asked for."""
    day: date
    """The day of the rate: ``wanted``, or the last earlier one with a rate."""
    euro_in_dollars: Decimal
    """What one euro was, in US dollars."""
    euro_in_currency: Decimal
    """What one euro was, in the other currency; 1 for euros."""
    file: str

    @property
    def per_dollar(self) -> Fraction:
        """What one US dollar is in the currency, exactly."""
        return Fraction(self.euro_in_currency) / Fraction(self.euro_in_dollars)


def places_of(currency: str) -> int:
    """The decimal places of amounts in a currency."""
    return _PLACES.get(currency, 2)


def rate_on(path: str | Path, currency: str, wanted: date) -> Rate:
    """The rate of a day, or the last earlier one, from a file in the layout of ``eurofxref-hist.csv``.

    Raises:
        ConfigurationError: the file cannot be read, lacks the currency, or begins later; the message names the line
            and the remedy.
    """
    best: Rate | None = None
    first: date | None = None
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            places = _places(header, currency, path)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                where = f"{path}, line {reader.line_num}"
                day = _day(cells[0], where)
                first = day if first is None else min(first, day)
                if day > wanted or (best is not None and day <= best.day):
                    continue
                values = [_value(cells, place, where) for place in places]
                if (dollars := values[0]) is not None and (other := values[1]) is not None:
                    best = Rate(currency, wanted, day, dollars, other, Path(path).name)
    except OSError as error:
        raise ConfigurationError(f"rates={str(path)!r} cannot be read ({error.strerror}); name another file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"rates={str(path)!r} is not a CSV file: {error}") from error
    if best is None:
        since = "it has no rates" if first is None else f"its rates begin on {first}"
        raise ConfigurationError(
            f"{path} has no rate of {currency} on {wanted} or before ({since}); get the newest file"
        )
    return best


def _places(header: list[str], currency: str, path: str | Path) -> tuple[int, int | None]:
    """The columns of the dollar and of the currency; ``None`` for euros."""
    if header[:1] != ["Date"] or DOLLAR not in header:
        raise ConfigurationError(
            f"{path}, line 1 is not the header of ECB rates (Date,USD,...); pass eurofxref-hist.csv of the ECB"
        )
    if currency != _EURO and currency not in header:
        known = ", ".join(sorted([_EURO, *filter(None, header[1:])]))
        raise ConfigurationError(f"{path} has no rates of {currency!r}; use one of {known}")
    return header.index(DOLLAR), None if currency == _EURO else header.index(currency)


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ConfigurationError(f"{where}: {text[:40]!r} is not a date such as 2026-11-30") from None


def _value(cells: list[str], place: int | None, where: str) -> Decimal | None:
    if place is None:
        return Decimal(1)
    text = cells[place].strip() if place < len(cells) else ""
    if text in _MISSING:
        return None
    rate = exact(text, f"{where}: the rate")
    if not rate:
        raise ConfigurationError(f"{where}: a rate is 0; pass eurofxref-hist.csv of the ECB")
    return rate
