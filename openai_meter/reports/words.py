"""The text that all renderers share: numbers with their marks, names of rows, and the notes below.

The marks: ``?`` is unknown, ``~`` stands before what holds estimates, ``+`` after what is known where more is not.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import partial

from openai_meter.core import formatting
from openai_meter.core.formatting import ENGLISH, NumberStyle
from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals, Unpriced
from openai_meter.reports.data import ReportData
from openai_meter.reports.text import shown

__all__ = [
    "cost",
    "decimals",
    "dollars",
    "duration",
    "heading",
    "label",
    "money",
    "notes",
    "phrase",
    "reason",
    "tokens",
    "unpriced_notes",
]

_CONTEXT = Context(prec=1_000)
_SHOWN, _HOSTS = 8, 3
"""How many models without a price are named, and how many hosts whose remedy is given."""


def dollars(amount: Decimal, style: NumberStyle = ENGLISH) -> str:
    """US dollars for tables: two decimals from one dollar up, below that three significant digits."""
    return formatting.dollars(amount, style)


def decimals(places: int, style: NumberStyle = ENGLISH) -> Callable[[Decimal], str]:
    """Makes a function that writes US dollars with that many decimals, and with more where it would show a zero."""
    return formatting.decimals(places, style)


def money(m: Messages) -> Callable[[Decimal], str]:
    """The function :func:`dollars` for a language."""
    return partial(dollars, style=m.numbers)


def cost(totals: Totals, money: Callable[[Decimal], str]) -> str:
    """The cost of some calls, with its marks."""
    amount = totals.cost
    if amount is None:
        return "?"
    return f"{'~' if totals.estimated_cost_pico else ''}{money(amount)}{'+' if totals.unpriced_calls else ''}"


def tokens(number: int | None, totals: Totals, style: NumberStyle = ENGLISH) -> str:
    """A number of tokens, with its marks."""
    if not number and totals.unmeasured_calls:
        return "?"
    number = number or 0
    mark = "~" if totals.estimated_calls and number else ""
    return f"{mark}{formatting.number(number, style)}{'+' if totals.unmeasured_calls else ''}"


def phrase(number: int | None, totals: Totals, m: Messages) -> str:
    """``5,137 tokens``, with its marks."""
    return m("tokens", n=2 if totals.unmeasured_calls else number or 0, text=tokens(number, totals, m.numbers))


def label(value: str, m: Messages) -> str:
    """The name of a row in one dimension, fit to be shown; ``(unattributed)`` and the like are translated."""
    key = f"row.{value[1:-1].replace(' ', '_')}"
    return m(key) if value == f"({value[1:-1]})" and key in m else shown(value)


def heading(dimension: str, m: Messages, area: str = "dimension") -> str:
    """The name of a dimension, at the head of a column or (``area="by"``) in a sentence."""
    key = f"{area}.{dimension}"
    return m(key) if key in m else shown(dimension.removeprefix("tag:"))


def reason(text: str, m: Messages) -> str:
    """Why something has no price."""
    return m("separator").join(_reason(part, m) for part in text.split("; "))


def _reason(part: str, m: Messages) -> str:
    code, colon, what = part.partition(": ")
    key = f"reason.{code.replace(' ', '_')}"
    if key in m:
        item = f"page.item.{what.replace(' ', '_')}"
        # The record has English names of items.
        return m(key, what=m(item).lower() if item in m and m.code != "en" else shown(what))
    return f"{shown(code)}: {_reason(what, m)}" if colon else shown(part)


_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def duration(seconds: float, m: Messages) -> str:
    """A length of time in one or two units: ``15 minutes``, ``2 hours 5 minutes``, ``42 seconds``."""
    rest = max(int(seconds), 0)
    place = next((place for place, (_, length) in enumerate(_UNITS) if rest >= length), -1)
    unit, length = _UNITS[place]
    parts = [m(unit, n=rest // length)]
    if unit in {"days", "hours"}:
        smaller, part = _UNITS[place + 1]
        if more := rest % length // part:
            parts.append(m(smaller, n=more))
    return " ".join(parts)


def notes(report: ReportData, m: Messages, money: Callable[[Decimal], str], *, errors: bool) -> list[str]:
    """The notes below the numbers of a report, a sentence each; none where nothing is unknown or estimated.

    Args:
        report: the report.
        m: the language.
        money: how amounts are written.
        errors: whether the number of errors is a note.
    """
    totals = report.totals
    sentences = []
    if errors and totals.errors:
        sentences.append(m("note.errors", n=totals.errors))
    if totals.unmeasured_calls:
        sentences.append(m("note.unmeasured", n=totals.unmeasured_calls))
    if totals.estimated_calls:
        sentences.append(m("note.estimated", n=totals.estimated_calls))
    if totals.estimated_cost_pico and totals.cost is not None:
        measured = _CONTEXT.subtract(totals.cost, totals.estimated_cost)
        sentences.append(m("note.cost", measured=money(measured), estimated=money(totals.estimated_cost)))
    if totals.unpriced_calls and (totals.cost is not None or not report.unpriced):
        sentences.append(m("note.unpriced_calls", n=totals.unpriced_calls))
    sentences += unpriced_notes(report.unpriced, m)
    if report.overflow_calls:
        sentences.append(m("note.overflow_calls", n=report.overflow_calls))
    if report.pending:
        sentences.append(m("note.pending", n=report.pending))
    if report.internal_errors:
        sentences.append(m("note.internal_errors", n=report.internal_errors))
    return sentences


def unpriced_notes(unpriced: tuple[Unpriced, ...], m: Messages) -> list[str]:
    """Why calls have no full price, a sentence for each model, and what to do about unknown hosts."""
    sentences = [_unpriced(one, m) for one in unpriced[:_SHOWN]]
    sentences += [m("note.host", host=host) for host in _hosts(unpriced)]
    if len(unpriced) > _SHOWN:
        sentences.append(m("note.unpriced_more", n=len(unpriced) - _SHOWN))
    return sentences


def _unpriced(one: Unpriced, m: Messages) -> str:
    """Why calls of a model have no full price. Missing usage is not a missing price, and unknown tokens are not 0."""
    values = {"model": label(one.model, m), "calls": m("calls", n=one.calls)}
    if _NO_USAGE in one.reason.split("; "):
        return m("note.no_usage", **values)
    if one.tokens:
        values["calls"] += f", {m('tokens', n=one.tokens, text=formatting.number(one.tokens, m.numbers))}"
    return m("note.unpriced", **values, reason=reason(one.reason, m))


_NO_USAGE = "usage unknown"
_HOST = "provider: "


def _hosts(unpriced: tuple[Unpriced, ...]) -> list[str]:
    """The hosts whose calls have no price because it is not known who sells there: proxies and gateways among them."""
    reasons = [part for one in unpriced for part in one.reason.split("; ")]
    found = dict.fromkeys(part.removeprefix(_HOST) for part in reasons if part.startswith(_HOST))
    return [shown(host) for host in list(found)[:_HOSTS]]
