"""Statements for people and programs: text, a page of HTML that can be printed, and CSV.

To add a form, add a row to :data:`FORMS`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from html import escape
from typing import Any

from openai_meter.core.formatting import aligned, exact_dollars, exact_places, number, printable
from openai_meter.core.formatting import amount as dollars
from openai_meter.core.locale import Messages
from openai_meter.ledger.billing.exchange import places_of
from openai_meter.ledger.billing.statement import Basis, Statement, StatementLine, Statements

__all__ = ["FORMS", "as_text", "render"]

Document = Statement | Statements


def render(document: Document, form: str, m: Messages) -> str:
    """A statement, or the overview of all, in a form of :data:`FORMS`."""
    return FORMS[form](document, m)


# --- sentences --------------------------------------------------------------------------------------------------------


def _money(amount: Decimal, currency: str, m: Messages) -> str:
    """An amount in the currency, with its code: a reader of a bill has to see which currency it is."""
    return f"{number(amount, m.numbers, f',.{places_of(currency)}f')} {currency}"


def _name(value: str) -> str:
    return printable(value, 200)


def _item(line: StatementLine, basis: Basis, m: Messages) -> str:
    if line.kind == "shared":
        return m("statement.shared", rule=m(f"statement.split.{basis.split}"))
    if line.kind == "markup":
        return m("statement.markup", factor=number(basis.markup.normalize(), m.numbers, "f"))
    return _name(line.name)


def _period(basis: Basis, m: Messages) -> str:
    return m("statement.period", first=basis.first_day, last=basis.last_day, timezone=basis.timezone)


def _open(basis: Basis, m: Messages) -> Iterator[str]:
    if basis.until > basis.made_at:
        yield m("statement.open", at=f"{basis.made_at:%Y-%m-%d %H:%M} UTC")


def _rate(basis: Basis, m: Messages) -> Iterator[str]:
    rate = basis.rate
    if rate is None:
        return
    values = {
        "dollars": number(rate.euro_in_dollars, m.numbers, "f"),
        "other": number(rate.euro_in_currency, m.numbers, "f"),
        "currency": rate.currency,
        "day": rate.day,
        "file": rate.file,
    }
    yield m("statement.rate_of_euro" if rate.currency == "EUR" else "statement.rate", **values)
    if rate.day != rate.wanted:
        yield m("statement.earlier_rate", wanted=rate.wanted, day=rate.day)


def _notes(statement: Statement, m: Messages) -> Iterator[str]:
    """What a reader has to know of the figures."""
    yield from _open(statement.basis, m)
    yield from _rate(statement.basis, m)
    if statement.unpriced_calls:
        yield m("statement.unpriced", n=statement.unpriced_calls)
    if statement.estimated_cost:
        yield m("statement.estimated", cost=exact_dollars(statement.estimated_cost, m.numbers))
    yield m("statement.rounding")


def _notes_of_all(found: Statements, m: Messages) -> Iterator[str]:
    yield from _open(found.basis, m)
    yield from _rate(found.basis, m)
    if found.unattributed.calls:
        values = {
            "calls": m("calls", n=found.unattributed.calls),
            "cost": exact_dollars(found.unattributed_cost, m.numbers),
            "rule": m(f"statement.split.{found.basis.split}"),
        }
        yield m("statement.all.charged" if found.is_shared else "statement.all.not_charged", **values)
    if unpriced := sum(statement.unpriced_calls for statement in found) + found.unattributed.unpriced:
        yield m("statement.unpriced", n=unpriced)
    yield m("statement.rounding")


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(statement: Statement, m: Messages) -> list[list[str]]:
    """The cells of a statement: a head, the lines, and the total."""
    basis = statement.basis
    places = _places(line.cost for line in statement.lines if line.kind != "markup")
    rows = [
        [m("statement.item"), m("column.calls"), m("column.input"), m("column.output"), m("statement.cost"),
         m("statement.amount", currency=basis.currency)]
    ]  # fmt: skip
    for line in statement.lines:
        counts = [number(count, m.numbers) for count in (line.calls, line.input_tokens, line.output_tokens)]
        rows.append([
            _item(line, basis, m),
            *(counts if line.kind == "model" else ["", "", ""]),
            "" if line.kind == "markup" else dollars(line.cost, m.numbers, places),
            number(line.amount, m.numbers, f",.{places_of(basis.currency)}f"),
        ])  # fmt: skip
    cost = dollars(statement.cost + statement.shared_cost, m.numbers, places)
    total = number(statement.total, m.numbers, f",.{places_of(basis.currency)}f")
    rows.append([m("statement.total"), number(statement.totals.calls, m.numbers), "", "", cost, total])
    return rows


def _table_of_all(found: Statements, m: Messages) -> list[list[str]]:
    """The cells of the overview; shared cost has a column where it is charged."""
    currency = found.basis.currency
    names = ["cost", "shared_cost"] if found.is_shared else ["cost"]
    places = _places(getattr(one, name) for one in found for name in names)

    def row(head: str, calls: int, costs: list[Decimal], total: Decimal) -> list[str]:
        money = [dollars(cost, m.numbers, places) for cost in costs]
        return [head, number(calls, m.numbers), *money, number(total, m.numbers, f",.{places_of(currency)}f")]

    heads = [m(f"statement.{name}") for name in names]
    rows = [[_heading(found.basis, m), m("column.calls"), *heads, m("statement.amount", currency=currency)]]
    rows += [
        row(_name(one.value), one.totals.calls, [getattr(one, name) for name in names], one.total) for one in found
    ]
    costs = [sum((getattr(one, name) for one in found), Decimal(0)) for name in names]
    rows.append(row(m("statement.total"), sum(one.totals.calls for one in found), costs, found.total))
    return rows


_MOST_PLACES = 12


def _places(costs: Iterable[Decimal]) -> int:
    """The decimal places of a column of costs in dollars: all that they have, down to the pico-dollar."""
    return min(max([2, *map(exact_places, costs)]), _MOST_PLACES)


def _heading(basis: Basis, m: Messages) -> str:
    """The name of the dimension as the head of a column."""
    key = f"dimension.{basis.dimension}"
    return m(key) if key in m else _name(basis.dimension.removeprefix("tag:"))


def _dimension(basis: Basis, m: Messages) -> str:
    """The name of the dimension in a sentence."""
    key = f"by.{basis.dimension}"
    return m(key) if key in m else _name(basis.dimension.removeprefix("tag:"))


def _parts(document: Document, m: Messages) -> tuple[str, list[list[str]], list[str]]:
    """The title, the table and the notes."""
    if isinstance(document, Statement):
        title = m("statement.title", dimension=_dimension(document.basis, m), value=_name(document.value))
        return title, _table(document, m), [*_notes(document, m)]
    title = m("statement.all.title", dimension=_dimension(document.basis, m))
    return title, _table_of_all(document, m), [*_notes_of_all(document, m)]


def as_text(document: Document, m: Messages) -> str:
    """Lines of plain text."""
    title, table, notes = _parts(document, m)
    columns = list(zip(*table, strict=True))
    width = max(map(len, columns[0]))
    cells = [[f"{name:<{width}}" for name in columns[0]], *(aligned(column) for column in columns[1:])]
    rows = ["  ".join(row).rstrip() for row in zip(*cells, strict=True)]
    rule = "-" * max(map(len, rows))
    lines = [title, _period(document.basis, m), "", rows[0], rule, *rows[1:-1], rule, rows[-1], "", *notes]
    return "\n".join(lines) + "\n"


def _as_html(document: Document, m: Messages) -> str:
    """A whole page, without scripts and without anything from elsewhere. It is made for A4 and Letter paper."""
    title, table, notes = _parts(document, m)
    head, *lines, foot = table

    def row(cells: list[str], tag: str = "td") -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    amount = _money(document.total, document.basis.currency, m)
    return "\n".join([
        "<!doctype html>",
        f'<html lang="{m.code}">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>",
        "<body><main>",
        f"<h1>{escape(title)}</h1>",
        f"<p class=period>{escape(_period(document.basis, m))}</p>",
        f"<p class=due>{escape(m('statement.due'))} <strong>{escape(amount)}</strong></p>",
        f"<table><thead>{row(head, 'th')}</thead>",
        f"<tbody>{''.join(map(row, lines))}</tbody>",
        f"<tfoot>{row(foot)}</tfoot></table>",
        f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>",
        f"<footer>{escape(m('statement.made', at=f'{document.basis.made_at:%Y-%m-%d %H:%M} UTC'))}</footer>",
        "</main></body></html>",
    ]) + "\n"  # fmt: skip


_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0; }
main { max-width: 48rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
.period { color: #555; margin: 0 0 1.5rem; }
.due { font-size: 1.15rem; margin: 0 0 1.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-bottom: 2px solid #1a1a1a; font-weight: 600; }
tfoot td { border-top: 2px solid #1a1a1a; border-bottom: 0; font-weight: 700; }
thead { display: table-header-group; } tr { break-inside: avoid; }
ul { color: #444; margin: 1.5rem 0; padding-left: 1.1rem; } footer { color: #666; font-size: .85rem; }
@page { margin: 18mm; }
@media print { main { margin: 0; padding: 0; max-width: none; } }
"""


def _as_csv(document: Document, m: Messages) -> str:
    """RFC 4180 with one row for each line of each statement: numbers as they are, names without formulas."""
    from openai_meter.reports.exports import cell  # noqa: PLC0415 - reports stand below the ledger

    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow((
        "for", "value", "since", "until", "kind", "item", "calls", "unpriced_calls", "input_tokens", "output_tokens",
        "cost_usd", "amount", "currency", "markup", "split", "rate_day",
    ))  # fmt: skip
    for one in [document] if isinstance(document, Statement) else document:
        basis = one.basis
        for line in one.lines:
            writer.writerow((
                cell(basis.dimension), cell(one.value), basis.first_day, basis.last_day, line.kind,
                cell(_item(line, basis, m)), line.calls, line.unpriced_calls, line.input_tokens, line.output_tokens,
                f"{line.cost:f}", f"{line.amount:f}", basis.currency, f"{basis.markup:f}", basis.split,
                "" if basis.rate is None else basis.rate.day,
            ))  # fmt: skip
    return file.getvalue()


def _as_json(document: Document, _: Messages) -> str:
    return json.dumps(document.to_dict(), indent=2) + "\n"


FORMS: Mapping[str, Callable[[Any, Messages], str]] = {
    "txt": as_text,
    "html": _as_html,
    "csv": _as_csv,
    "json": _as_json,
}
"""All forms, by the suffix of a file."""
