r"""How numbers and amounts are written for people, and how a name from outside is shown. The only place for both.

Numbers are written in the style of a language: ``1,234.56`` and ``$1,234.56`` in English, ``1\u202f234,56`` and
``1\u202f234,56\xa0$`` in French. JSON, CSV and other forms that programs read do not use this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from typing import NamedTuple, TypeVar

__all__ = [
    "ENGLISH", "FRENCH", "NumberStyle", "aligned", "amount", "column_places", "decimals", "dollars", "exact_dollars",
    "exact_places", "fixed_dollars", "localized", "number", "percent", "plain_line", "printable", "short", "signed",
]  # fmt: skip

# A context of our own: the host program may have set the global one to round otherwise.
_CONTEXT = Context(prec=1_000)
_LARGE = Decimal(1_000)
"""From this amount up, a column has cents and nothing smaller."""
_Number = TypeVar("_Number", int, float, Decimal)


class NumberStyle(NamedTuple):
    """How numbers are written in a language."""

    group: str
    """Between groups of three digits."""
    point: str
    """Before the decimals."""
    money: str
    """An amount of US dollars, with ``{}`` for the number."""
    percent: str
    """A percentage, with ``{}`` for the number."""


ENGLISH = NumberStyle(",", ".", "${}", "{}%")
# A narrow no-break space between groups, and a no-break space before a sign, as the Imprimerie nationale writes them.
FRENCH = NumberStyle("\u202f", ",", "{}\xa0$", "{}\xa0%")


def localized(text: str, style: NumberStyle) -> str:
    """A number that Python has formatted (``1,234.5``), in the style of a language."""
    if style is ENGLISH:
        return text
    return text.translate({ord(","): style.group, ord("."): style.point})


def number(value: float | Decimal, style: NumberStyle, spec: str = ",") -> str:
    """A number with groups of digits; ``spec`` is that of ``format()``."""
    return localized(format(value, spec), style)


def percent(share: float | Decimal, style: NumberStyle, places: int = 0) -> str:
    """A share of 1 as a percentage."""
    return style.percent.format(number(share * 100, style, f",.{places}f"))


def short(value: float, style: NumberStyle) -> str:
    """A count in few characters, with three significant digits: ``0.4``, ``999``, ``1.2k``, ``35k``."""
    if value < 10:
        return localized(f"{value:.1f}".removesuffix(".0"), style)
    for limit, sign in ((1e3, ""), (1e6, "k"), (1e9, "M"), (1e12, "G")):
        if value < limit * 0.9995:
            part = value / limit * 1e3
            return localized(f"{part:.1f}{sign}" if sign and part < 9.95 else f"{part:.0f}{sign}", style)
    return localized(f"{value:.1e}", style)


def signed(value: _Number, write: Callable[[_Number], str]) -> str:
    """A difference: with ``+`` in front where it is above zero."""
    return f"+{write(value)}" if value > 0 else write(value)


def dollars(value: Decimal, style: NumberStyle) -> str:
    """US dollars for tables: two decimals from one dollar up, below that three digits that are not zero in front."""
    size = value.copy_abs()
    return amount(value, style, 2 if size >= 1 or not size else 2 - size.adjusted())


def decimals(places: int, style: NumberStyle) -> Callable[[Decimal], str]:
    """Makes a function that writes US dollars with that many decimals, and with more if they would all be zero."""

    def write(value: Decimal) -> str:
        text = amount(value, style, places)
        return text if not value or any(digit in "123456789" for digit in text) else dollars(value, style)

    return write


def amount(value: Decimal, style: NumberStyle, places: int) -> str:
    """US dollars with that many decimals."""
    text = f"{value.copy_abs().quantize(Decimal(1).scaleb(-places, _CONTEXT), context=_CONTEXT):,f}"
    return f"{'-' * (value < 0)}{style.money.format(localized(text, style))}"


def exact_dollars(value: Decimal, style: NumberStyle, places: int = 2) -> str:
    """US dollars with all their digits, and at least so many decimals: for limits, and for bills."""
    return amount(value, style, max(places, exact_places(value)))


def exact_places(value: Decimal) -> int:
    """How many decimals an amount has."""
    return max(-int(value.normalize(_CONTEXT).as_tuple().exponent), 0)


# --- columns of amounts -----------------------------------------------------------------------------------------------


def column_places(amounts: Iterable[Decimal | None]) -> int:
    """The number of decimals for all amounts of a column, so that they can be compared at a glance.

    They are three digits of the largest amount; cents where all are from ten cents up, or the largest is large; else at
    least four. Unknown amounts (``None``) do not count.
    """
    sizes = [value.copy_abs() for value in amounts if value]
    largest, smallest = max(sizes, default=Decimal(0)), min(sizes, default=Decimal(0))
    if not largest or smallest >= Decimal("0.1") or largest >= _LARGE:
        return 2
    return max(4, 2 - largest.adjusted())


def fixed_dollars(value: Decimal, style: NumberStyle, places: int) -> str:
    """An amount in a column: with so many decimals; ``<$0.0001`` if none of its digits is among them."""
    least = Decimal(1).scaleb(-places, _CONTEXT)
    return f"<{amount(least, style, places)}" if 0 < value < least / 2 else amount(value, style, places)


def aligned(cells: Sequence[str]) -> list[str]:
    """Amounts of a column in the same width: decimal points are below each other where some have a ``+`` behind."""
    if any(cell.endswith("+") for cell in cells):
        cells = [cell if cell.endswith("+") else f"{cell} " for cell in cells]
    width = max(map(len, cells), default=0)
    return [cell.rjust(width) for cell in cells]


# --- names, lines -----------------------------------------------------------------------------------------------------

_NAME = 200
# The first two join letters of some scripts, and emoji; French numbers have the others.
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"


def printable(text: object, limit: int = _NAME) -> str:
    """A name from outside (a model, a tier, an agent; with a higher limit, a sentence), fit for every output and log.

    It is visible, on one line, and not too long: a control character (line breaks, terminal sequences, changes of
    direction) becomes the replacement character, so that a name cannot begin a line of a log or control a terminal. A
    very long name is shortened and ends with an ellipsis. An empty name becomes a pair of quotation marks.
    """
    name = str(text)
    if len(name) > limit:
        name = name[: limit - 1] + "…"
    if not name.isprintable():
        name = "".join(one if one.isprintable() or one in _JOINERS else "\N{REPLACEMENT CHARACTER}" for one in name)
    return name if name.strip() else f'"{name}"'


def plain_line(
    first: str, tokens: int | None, cost: Decimal | None, more: Iterable[str] = (), *, estimated: bool = False
) -> str:
    """One English line for ``str()`` of a value: what it is, its tokens and cost, and more; ``~`` marks an estimate."""
    mark = "~" if estimated else ""
    known = "tokens unknown" if tokens is None else f"{mark}{tokens:,} token{'s' * (tokens != 1)}"
    paid = "cost unknown" if cost is None else f"{mark}{dollars(cost, ENGLISH)}"
    return ", ".join([first, known, paid, *more])
