"""The bill of a call as it is stored: what the lines of many calls have in common, without their quantities.

Most lines are a count of the usage at a price. Such a line is stored with the formula of its quantity, so that the
calls of one model at the prices of one day have the same text, which is stored once. A quantity that no formula gives
is stored as a number; the text is then that of one call. Reading computes the same lines again, exactly: prices that
have changed since do not matter.

The text is a JSON list of lines. A line is a list in the order of :class:`_Line`, without the empty values at its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core.money import Amount, CostLine, simplest
from openai_meter.core.usage import COUNTS, Usage

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["BillOfRow", "bill_of_call", "decode_bill", "encode_bill", "is_bill"]

_COUNTS: Mapping[str, str] = {
    "I": "input_tokens", "C": "cached_input_tokens", "W": "cache_write_tokens", "L": "cache_write_12h_tokens",
    "A": "input_audio_tokens", "D": "cached_audio_tokens", "G": "input_image_tokens", "E": "cached_image_tokens",
    "O": "output_tokens", "B": "output_audio_tokens", "H": "output_image_tokens", "N": "characters", "M": "images",
    "X": "web_searches", "F": "file_searches", "K": "container_sessions", "S": "seconds",
}  # fmt: skip
"""What the letters of a formula stand for. They are in stored rows: a letter keeps its meaning for ever."""
_FORMULAS: Mapping[str, tuple[str, ...]] = {
    "input": ("I-C-W", "I-C-W-A-G+D+E"),
    "cached_input": ("C", "C-D-E"),
    "cache_write": ("W-L", "W"),
    "cache_write_12h": ("L", "W"),
    "input_audio": ("A-D",),
    "cached_audio": ("D",),
    "input_image": ("G-E",),
    "cached_image": ("E",),
    "output": ("O", "O-B-H"),
    "output_audio": ("B",),
    "output_image": ("H", "O"),
    "characters": ("N",),
    "image": ("M",),
    "web_search": ("X",),
    "file_search": ("F",),
    "container": ("K",),
    "second": ("S",),
    "minute_estimate": ("S",),
}
"""The formulas that the quantity of an item may be: the first one that gives it is stored."""
_ALL, _TOKENS = "sum", "tokens"
"""What an adjustment is computed on: all lines before it, or those of them that are not fees by the call."""


_LONGEST = 20_000
"""Characters of a bill from outside: a longer one is not read."""


class _Line(NamedTuple):
    """One line, as plain JSON values."""

    item: str
    quantity: str | int | None = None
    """A formula, or a number; a fraction is a text such as ``1/3``."""
    unit: str | None = None
    price: str | int | None = None
    model: str | None = None
    tier: str | None = None
    bracket: str | None = None
    factor: str | int | None = None
    source: str | None = None
    checked: str | None = None
    estimated: int | None = None
    amount: str | int | None = None
    """Empty where it is the quantity at the price; else what the factor is applied to, or a number."""


class BillOfRow(NamedTuple):
    """The bill of a call that was read from a ledger: it is made when it is read."""

    text: str
    usage: Usage

    def lines_of(self, _: Call, /) -> tuple[CostLine, ...]:
        """The bill."""
        return decode_bill(self.text, self.usage)


def bill_of_call(call: Call) -> str | None:
    """The text of the bill of a call; ``None`` if it has no lines.

    A call that is like an earlier one has its text, if that gives the cost of the call: to make out a bill takes ten
    times as long.
    """
    usage = call.usage
    if call.price_facts or usage.inconsistent or any(_rare(usage)):
        return encode_bill(call.cost_lines, usage)
    key = (
        call.model, call.requested_model, call.provider, call.host, call.service_tier, call.endpoint,
        call.started_at.toordinal(), (usage.input_tokens or 0) == usage.cached_input_tokens + usage.cache_write_tokens,
        usage.cached_input_tokens == 0, usage.cache_write_tokens == 0, usage.cache_write_12h_tokens == 0,
        usage.cache_write_tokens == usage.cache_write_12h_tokens, not usage.output_tokens,
    )  # fmt: skip
    known = _known.get(key)
    if known is not None and known[0] is call.price_book and _total(known[1], usage) == call.cost_pico:
        return known[1]
    text = encode_bill(call.cost_lines, usage)
    if text is not None:
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = call.price_book, text
    return text


_rare = attrgetter(
    *(name for name in COUNTS if name not in {"cached_input_tokens", "cache_write_tokens", "cache_write_12h_tokens",
                                              "reasoning_tokens", "accepted_prediction_tokens",
                                              "rejected_prediction_tokens"})
)  # fmt: skip
"""The counts that a plain text call does not have."""
_MOST = 2_000
_known: dict[tuple[Any, ...], tuple[Any, str]] = {}
"""By what the lines of a plain text call depend on: the prices that they were made with, and the text."""


def _total(text: str, usage: Usage) -> Amount | None:
    """The sum of a bill for another usage; ``None`` where its lines are not all counts at prices."""
    total: Amount = 0
    for line in _parsed(text):
        if line.amount is not None or type(line.quantity) is not str or type(line.price) is not int:
            return simplest(sum((made.amount_pico for made in _lines(text, usage)), Fraction(0)))
        total += line.price * _computed(line.quantity, usage)
    return total


def encode_bill(lines: Sequence[CostLine], usage: Usage) -> str | None:
    """The text of a bill; ``None`` if it has no lines."""
    if not lines:
        return None
    written = []
    before: list[CostLine] = []
    for line in lines:
        quantity: str | int | None = _formula(line, usage)
        if quantity is None and line.quantity is not None:
            quantity = _number(line.quantity)
        amount: str | int | None = _basis(line, before)
        if amount is None:
            amount = _number(line.amount_pico)
        written.append(
            _Line(
                line.item, quantity, line.unit, _number(line.price_pico), line.model, line.tier, line.bracket,
                _number(line.factor), line.source, None if line.checked is None else line.checked.isoformat(),
                1 if line.estimated else None, amount or None,
            )
        )  # fmt: skip
        before.append(line)
    return json.dumps([*map(_trimmed, written)], separators=(",", ":"))


def decode_bill(text: str, usage: Usage) -> tuple[CostLine, ...]:
    """The lines of a stored bill."""
    return tuple(_lines(text, usage))


def _lines(text: str, usage: Usage) -> Iterator[CostLine]:
    before: list[CostLine] = []
    for line in _parsed(text):
        quantity, price, factor = _quantity(line.quantity, usage), _amount(line.price), _amount(line.factor)
        if line.amount is None:
            amount: Amount | None = None if quantity is None or price is None else simplest(price * quantity)
        elif line.amount in {_ALL, _TOKENS} and factor is not None:
            amount = _adjustment(factor, before, str(line.amount))
        else:
            amount = _amount(line.amount)
        made = CostLine(
            line.item, 0 if amount is None else amount, quantity, line.unit, price, line.model, line.tier,
            line.bracket, None if factor is None else Fraction(factor), line.source,
            None if line.checked is None else date.fromisoformat(line.checked), bool(line.estimated),
        )  # fmt: skip
        before.append(made)
        yield made


@lru_cache(256)
def _parsed(text: str) -> tuple[_Line, ...]:
    return tuple(_Line(*line) for line in json.loads(text))


def _trimmed(line: _Line) -> list[Any]:
    values = [*line]
    while values[-1] is None:
        values.pop()
    return values


# --- quantities and amounts -------------------------------------------------------------------------------------------


def _formula(line: CostLine, usage: Usage) -> str | None:
    if line.quantity is None:
        return None
    item = line.item.partition("@")[0]  # seconds of a size
    return next((one for one in _FORMULAS.get(item, ()) if _computed(one, usage) == line.quantity), None)


def _computed(formula: str, usage: Usage) -> Amount:
    """The value of a formula: counts that are added and subtracted."""
    total: Amount = 0
    sign = 1
    for letter in formula:
        if letter in "+-":
            sign = 1 if letter == "+" else -1
            continue
        value = getattr(usage, _COUNTS[letter]) or 0
        # As the bill counts them: a float stands for the decimal number that it is printed as.
        total += sign * (simplest(Fraction(Decimal(str(value)))) if letter == "S" else value)
    return total


def _quantity(written: str | int | None, usage: Usage) -> Amount | None:
    if isinstance(written, str) and written[:1].isalpha():
        return _computed(written, usage)
    return _amount(written)


def _basis(line: CostLine, before: Sequence[CostLine]) -> str | None:
    """How the amount of a line is computed: empty for the quantity at the price; ``None`` if by no rule."""
    if line.factor is None:
        exact = line.quantity is not None and line.price_pico is not None
        return "" if exact and simplest(line.price_pico * line.quantity) == line.amount_pico else None  # type: ignore[operator]
    return next((name for name in (_ALL, _TOKENS) if _adjustment(line.factor, before, name) == line.amount_pico), None)


def _adjustment(factor: Amount, before: Sequence[CostLine], basis: str) -> Amount:
    lines = before if basis == _ALL else [line for line in before if line.unit != "call"]
    return simplest(sum((line.amount_pico for line in lines), Fraction(0)) * (factor - 1))


def _number(amount: Amount | None) -> str | int | None:
    """An amount as a JSON value. A number beyond 64 bits is a text: not every JSON parser takes it."""
    if amount is None or (isinstance(amount, int) and abs(amount) < 2**53):
        return amount
    return f"{amount.numerator}/{amount.denominator}"


def _amount(written: str | int | None) -> Amount | None:
    if written is None or isinstance(written, int):
        return written
    return simplest(Fraction(written))


def is_bill(text: str) -> bool:
    """Whether a text from outside is a bill: reading it raises nothing, and fills no memory."""
    try:
        lines = json.loads(text)
        if not isinstance(lines, list) or len(text) > _LONGEST:
            return False
        read = _parsed(text)
        _ = [*_lines(text, Usage())]
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return False
    return all(isinstance(line.item, str) for line in read)
