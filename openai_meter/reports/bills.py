"""Prices and bills as tables: what a model costs today, and how the cost of one call comes about."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from openai_meter.money import Amount
from openai_meter.prices import Cost, CostLine, CurrentRate

__all__ = ["bill_values", "print_bill", "print_rates", "rate_values"]

_TOKEN_SLOTS = ("input", "cached_input", "cache_write", "output")
_HEADERS = ("Input", "Cached", "Written", "Output")


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


def print_rates(rates: Iterable[CurrentRate], file: TextIO | None = None) -> None:
    """Prints a table of rates in US dollars per million tokens; other units are named beside their price."""
    console, table = _table(file, "Prices in US dollars per million tokens")
    for header in ("Model", "Tier"):
        table.add_column(header, overflow="fold", min_width=7)
    for header in _HEADERS:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Other", overflow="fold")
    table.add_column("Source", overflow="fold")
    for rate in rates:
        tier = f"{rate.tier}, long" if rate.bracket else rate.tier
        other = ", ".join(f"{slot} {_plain(one)}" for slot, one in rate.prices.items() if slot not in _TOKEN_SLOTS)
        source = f"{rate.source}{f' {rate.checked}' if rate.checked else ''}{' (low confidence)' if rate.low else ''}"
        numbers = [_plain(rate.prices.get(slot)) for slot in _TOKEN_SLOTS]
        table.add_row(*(Text(cell) for cell in (rate.model, tier, *numbers, other, source)))
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
                "item": line.item,
                "quantity": None if line.quantity is None else str(line.quantity),
                "unit": line.unit,
                "unit_usd": None if line.unit_usd is None else f"{line.unit_usd:f}",
                "usd": f"{line.usd:f}",
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


def print_bill(cost: Cost, lines: Sequence[CostLine], file: TextIO | None = None) -> None:
    """Prints the bill of one call: a row for each line, and the sum."""
    total = "unknown" if cost.usd is None else f"${cost.usd:f}"
    console, table = _table(file, "What the call cost")
    table.show_footer = True
    table.add_column("Item", "Total", overflow="fold")
    for header, footer in (("Quantity", ""), ("Unit price", ""), ("Amount", total)):
        table.add_column(header, footer, justify="right", no_wrap=True)
    table.add_column("Tier", overflow="fold")
    table.add_column("Source", overflow="fold")
    for line in lines:
        quantity = "" if line.quantity is None else plural(line.quantity, line.unit or "unit")
        price = f"x {float(line.factor):g}" if line.factor is not None else _price(line)
        tier = f"{line.tier or ''}{', long' if line.bracket else ''}"
        source = " ".join(str(part) for part in (line.source, line.checked) if part)
        cells = (f"{line.item}{' ~' if line.estimated else ''}", quantity, price, f"${line.usd:f}", tier, source)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for note in (
        cost.status if cost.status != "priced" else "",
        cost.reason or "",
        "~ is an estimate" * cost.estimated,
    ):
        if note:
            console.print(Text(note, style="dim"))


def plural(quantity: Amount, unit: str) -> str:
    """A quantity and its unit: ``1,024 tokens``, ``2.5 seconds``."""
    number = f"{quantity:,}" if isinstance(quantity, int) else f"{float(quantity):,.10g}"
    return f"{number} {unit}{'' if quantity == 1 else 's'}"


def _price(line: CostLine) -> str:
    if line.unit_usd is None:
        return ""
    if line.unit == "token":
        return f"${_plain(line.unit_usd * 1_000_000)} / 1M"
    return f"${_plain(line.unit_usd)}"


def _plain(number: Decimal | None) -> str:
    return "-" if number is None else f"{number.normalize():f}"


def _table(file: TextIO | None, title: str) -> tuple[Console, Table]:
    console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)
    style = Text(title, style="bold")
    return console, Table(title=style, title_justify="left", box=box.SIMPLE, show_edge=False, pad_edge=False)
