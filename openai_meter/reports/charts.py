"""Reports as bars: what each row cost, in characters, for terminals, mails and logs."""

from __future__ import annotations

from fractions import Fraction

from rich.cells import cell_len

from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.reports import words
from openai_meter.reports.data import ReportData
from openai_meter.reports.tables import NONE
from openai_meter.reports.text import fitting

__all__ = ["chart"]

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_NAMES = 40
_LEAST = 10


def chart(report: ReportData, m: Messages, width: int = 80, encoding: str | None = None) -> str:
    """A bar for each row, as long as its part of the largest cost; of tokens, where nothing has a price.

    Args:
        report: the report.
        m: the language.
        width: how wide a line may be.
        encoding: that of the place; blocks become ``#`` where it lacks them.
    """
    rows = [(" / ".join(words.label(value, m) for value in row.key), row.totals) for row in report.rows]
    by_cost = bool(report.totals.cost_pico)
    texts = [fitting(_text(totals, m, by_cost=by_cost), encoding) for _, totals in rows]
    names = [_cut(fitting(name, encoding)) for name, _ in rows]
    room = max([cell_len(name) for name in names], default=0)
    space = max(width - room - max(map(len, texts), default=0) - 4, _LEAST)
    amounts = [_amount(totals, by_cost=by_cost) for _, totals in rows]
    largest = max(amounts, default=Fraction(0))
    plain = fitting(_FULL, encoding) != _FULL
    lines = []
    for name, text, amount in zip(names, texts, amounts, strict=True):
        bar = _bar(amount / largest * space if largest else Fraction(0), plain=plain)
        lines.append(f"{name}{' ' * (room - cell_len(name))}  {bar}{' ' if bar else ''}{text}")
    total = f"{m('table.total')}: {_text(report.totals, m, by_cost=by_cost)}"
    return "\n".join([*lines, fitting(total, encoding)])


def _amount(totals: Totals, *, by_cost: bool) -> Fraction:
    return Fraction((totals.cost_pico if by_cost else totals.usage.total_tokens) or 0)


def _text(totals: Totals, m: Messages, *, by_cost: bool) -> str:
    if by_cost:
        if totals.calls and totals.cost == 0 and not totals.unpriced_calls:  # as in tables
            return NONE
        return words.cost(totals, words.money(m))
    return words.tokens(totals.usage.total_tokens, totals, m.numbers)


def _bar(length: Fraction, *, plain: bool) -> str:
    """A bar of this number of characters; at least a sliver for a value above 0."""
    if plain:
        return "#" * max(round(length), int(length > 0))
    whole, rest = divmod(max(round(length * 8), int(length > 0)), 8)
    return _FULL * whole + (_EIGHTHS[rest] if rest else "")


def _cut(name: str) -> str:
    return name if len(name) <= _NAMES else f"{name[: _NAMES - 3]}..."
