"""Prices and bills as tables: what a model costs today, and how the cost of one call comes about."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from openai_meter.core import formatting
from openai_meter.core.formatting import exact_dollars, exact_places
from openai_meter.core.locale import Messages, language
from openai_meter.core.money import Amount, line_values
from openai_meter.pricing import Cost, CostLine, CurrentRate
from openai_meter.reports import words
from openai_meter.reports.text import fitting, shown

__all__ = ["bill_values", "print_bill", "print_rates", "quantity", "rate_values"]

_TOKEN_SLOTS = ("input", "cached_input", "cache_write", "output")
_HEADS = ("column.input", "column.cached", "prices.written", "column.output")


def rate_values(rates: Iterable[CurrentRate]) -> list[dict[str, Any]]:
    """Rates as plain JSON values: US dollars per million tokens (or per one of what the slot names), as strings."""
    return [
        {
            "model": rate.model,
            "tier": rate.tier,
            "bracket": rate.bracket,
            "usd": {slot: f"{price:f}" for slot, price in rate.prices.items()},
            "source": rate.source,
            "origin": rate.origin,
            "checked": rate.checked and rate.checked.isoformat(),
            "low_confidence": rate.low,
        }
        for rate in rates
    ]


def print_rates(rates: Iterable[CurrentRate], file: TextIO | None = None, *, lang: str | None = None) -> None:
    """Prints a table of rates in US dollars per million tokens; other units are named next to their price.

    Raises:
        ConfigurationError: there is no such language.
    """
    m = language(lang)
    console, table = _table(file, m("prices.title"))
    for head in ("dimension.model", "prices.tier"):
        table.add_column(_fitting(m(head), console), overflow="fold", min_width=7)
    for head in _HEADS:
        table.add_column(_fitting(m(head), console), justify="right", no_wrap=True)
    for head in ("prices.other", "prices.source"):
        table.add_column(_fitting(m(head), console), overflow="fold")
    rates = list(rates)
    prices = {slot: [rate.prices[slot] for rate in rates if slot in rate.prices] for slot in _TOKEN_SLOTS}
    places = {slot: max([2, *map(exact_places, found)]) for slot, found in prices.items()}
    for rate in rates:
        tier = m("prices.long", tier=rate.tier) if rate.bracket else rate.tier
        other = ", ".join(f"{slot} {_rate(one, m)}" for slot, one in rate.prices.items() if slot not in _TOKEN_SLOTS)
        parts = (rate.source, rate.checked, m("prices.low_confidence") if rate.low else None)
        source = " ".join(str(part) for part in parts if part)
        numbers = [_rate(rate.prices.get(slot), m, places[slot]) for slot in _TOKEN_SLOTS]
        table.add_row(
            *(Text(_fitting(_visible(cell), console)) for cell in (rate.model, tier, *numbers, other, source))
        )
    console.print(table)


def bill_values(cost: Cost, lines: Sequence[CostLine]) -> dict[str, Any]:
    """A bill as plain JSON values."""
    return {
        "cost": None if cost.usd is None else f"{cost.usd:f}",
        "status": cost.status,
        "reason": cost.reason,
        "source": cost.source,
        "approximate": cost.approximate,
        "estimated": cost.estimated,
        "lines": [
            {
                **line_values(line),
                "model": line.model,
                "tier": line.tier,
                "bracket": line.bracket,
                "factor": None if line.factor is None else str(line.factor),
                "source": line.source,
                "checked": line.checked and line.checked.isoformat(),
                "estimated": line.estimated,
            }
            for line in lines
        ],
    }


def print_bill(cost: Cost, lines: Sequence[CostLine], file: TextIO | None = None, *, lang: str | None = None) -> None:
    """Prints the bill of one call: a row for each line, and the sum.

    Raises:
        ConfigurationError: there is no such language.
    """
    m = language(lang)
    places = max(map(exact_places, [line.usd for line in lines] + ([] if cost.usd is None else [cost.usd])), default=2)
    money = partial(exact_dollars, style=m.numbers, places=places)
    total = m("bill.unknown") if cost.usd is None else money(cost.usd)
    console, table = _table(file, m("bill.title"))
    table.show_footer = True
    table.add_column(_fitting(m("bill.item"), console), m("table.total"), overflow="fold")
    for head, foot in (("bill.quantity", ""), ("bill.unit_price", ""), ("bill.amount", total)):
        table.add_column(_fitting(m(head), console), _fitting(foot, console), justify="right", no_wrap=True)
    for head in ("prices.tier", "prices.source"):
        table.add_column(_fitting(m(head), console), overflow="fold")
    for line in lines:
        count = "" if line.quantity is None else quantity(line.quantity, line.unit or "unit", m)
        price = f"x {_number(float(line.factor), m, 'g')}" if line.factor is not None else _price(line, m)
        tier = m("prices.long", tier=line.tier or "") if line.bracket else line.tier or ""
        source = " ".join(str(part) for part in (line.source, line.checked) if part)
        cells = (f"{_item(line.item, m)}{' ~' if line.estimated else ''}", count, price, money(line.usd), tier, source)
        table.add_row(*(Text(_fitting(_visible(cell), console)) for cell in cells))
    console.print(table)
    notes = [m(f"bill.status_{cost.status}")] if cost.status != "priced" else []
    notes += [words.reason(cost.reason, m)] if cost.reason else []
    notes += [m("bill.estimate")] if cost.estimated else []
    for note in notes:
        console.print(Text(_fitting(note, console), style="dim"))


def _number(value: float | Decimal, m: Messages, spec: str = ",") -> str:
    return formatting.number(value, m.numbers, spec)


def quantity(number: Amount, unit: str, m: Messages) -> str:
    """A quantity and its unit: ``1,024 tokens``, ``2.5 seconds``."""
    text = _number(number, m) if isinstance(number, int) else _number(float(number), m, ",.10g")
    key = f"unit.{unit}"
    return m(key, n=float(number), text=text) if key in m else f"{text} {unit}"


def _item(name: str, m: Messages) -> str:
    """The name of an item as people read it; JSON has the plain name."""
    key = f"page.item.{name}"
    return m(key) if key in m else name.replace("_", " ")


def _price(line: CostLine, m: Messages) -> str:
    if line.unit_usd is None:
        return ""
    if line.unit == "token":
        return m("page.per_million", price=exact_dollars(line.unit_usd * 1_000_000, m.numbers))
    return exact_dollars(line.unit_usd, m.numbers)


def _rate(price: Decimal | None, m: Messages, places: int = 0) -> str:
    """A price of a table whose title names the unit."""
    return "-" if price is None else _number(price.normalize(), m, f",.{max(places, exact_places(price))}f")


def _fitting(text: str, console: Console) -> str:
    return fitting(text, console.encoding)


def _visible(cell: str) -> str:
    """A cell without control characters: names of models and tiers come from outside."""
    return shown(cell, 1_000) if cell else ""


def _table(file: TextIO | None, title: str) -> tuple[Console, Table]:
    console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False, force_jupyter=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)
    style = Text(_fitting(title, console), style="bold")
    return console, Table(title=style, title_justify="left", box=box.SIMPLE, show_edge=False, pad_edge=False)
