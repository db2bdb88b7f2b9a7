"""A pulse as a page for the terminal: today, now, a row for each group, and the limits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from openai_meter.cli.limits import limit_name, limit_share, limit_use
from openai_meter.cli.live import marks
from openai_meter.core.formatting import aligned, column_places, fixed_dollars, number, percent, short
from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.metering.pulse import Group, Pulse
from openai_meter.reports.text import fitting, shown
from openai_meter.reports.words import cost, duration, heading, money

__all__ = ["Page", "frame"]

_LEAST_NAME = 20
_MOST_NAME = 44
_BETWEEN = 2
_NARROW_SPARK, _WIDE_SPARK = 10, 30
_BAR = 20
_LEAST_ROWS = 3
"""On a screen with room for fewer rows, the limits and the line of keys are left out."""
_NEAR = 0.8
"""From this part of a limit on it is shown as a warning."""


class Page(NamedTuple):
    """The screen of a pulse, and the texts around the pulse."""

    m: Messages
    source: str
    width: int = 80
    height: int | None = None
    """Lines; ``None``: as many as it takes."""
    encoding: str | None = None
    interval: float | None = None
    """Seconds between two pictures, if there are more than one."""
    trouble: str | None = None
    """A sentence on why the figures are not of now."""

    @property
    def plain(self) -> bool:
        """Whether bars can have ASCII characters only."""
        return fitting("█", self.encoding) != "█"

    def fit(self, text: str) -> str:
        """A text without characters that the terminal cannot show."""
        return fitting(text, self.encoding)


class _Column(NamedTuple):
    name: str
    rank: int
    """Which columns are left out first where there is little room: those of the highest rank."""
    cell: Callable[[Group, Page, Write], str]
    """Amounts are written by the function, which gives all of a column the same number of decimals."""
    amount: Callable[[Group], Decimal | None] | None = None
    """The amount of a cell, if the column has money."""
    right: bool = True
    style: str = ""
    width: int = 0


Write = Callable[[Decimal], str]


def _share(group: Group, page: Page, _: Write) -> str:
    part = "?" if group.share is None else percent(group.share, page.m.numbers)
    return f"{marks.bar(group.share or 0.0, 6, plain=page.plain)} {part:>4}"


def _trend(group: Group, page: Page, _: Write) -> str:
    return marks.spark(group.spark, _NARROW_SPARK, plain=page.plain)


_COLUMNS = (
    _Column(
        "rate", 0, lambda one, _, money: marks.cost_rate(one.minute, one.totals, money), lambda one: one.minute.cost
    ),
    _Column("tokens", 1, lambda one, page, _: marks.tokens_rate(one.minute, one.totals, page.m.numbers)),
    _Column("calls", 0, lambda one, page, _: number(one.totals.calls, page.m.numbers)),
    _Column("errors", 2, lambda one, page, _: number(one.totals.errors, page.m.numbers) if one.totals.errors else "-"),
    _Column("cost", 4, lambda one, _, money: cost(one.totals, money), lambda one: one.totals.cost),
    _Column("share", 5, _share, right=False, style="blue"),
    _Column("trend", 3, _trend, right=False, style="green"),
)
"""The columns after the name. To add one, add a row, and its head to the languages."""


def frame(pulse: Pulse | None, page: Page) -> Lines:
    """The page of a pulse; ``None``: there has been none yet. Never wider or higher than its place."""
    m = page.m
    trouble = [] if page.trouble is None else [_line(page, "! " + shown(page.trouble, 400), "bold yellow")]
    if pulse is None:
        return Lines(_title(None, page), *(trouble or [_line(page, m("live.waiting", name=page.source), "dim")]))
    head = [_title(pulse, page), *_head(pulse, page), *trouble]
    usages = _usages(pulse, page)
    foot = [_foot(pulse, page)] if page.interval is not None else []
    if not pulse.groups:
        idle = m("live.idle", window=duration(pulse.window, m))
        return Lines(*head, Text(), _line(page, idle, "dim"), *usages, *foot)
    room = None
    if page.height is not None:
        # Beside the rows there are a blank line, the head of the table, and a line that the cursor needs.
        room = page.height - len(head) - 3
        usages = usages if room - len(usages) - len(foot) >= _LEAST_ROWS else []
        foot = foot if room - len(usages) - len(foot) >= _LEAST_ROWS else []
        room = max(room - len(usages) - len(foot), 2)
    return Lines(*head, Text(), _table(pulse, page, room), *usages, *foot)


def _line(page: Page, text: str, style: str = "") -> Text:
    line = Text(page.fit(text), style, no_wrap=True, overflow="ellipsis", end="\n")
    line.truncate(page.width, overflow="ellipsis" if not page.plain else "crop")
    return line


def _title(pulse: Pulse | None, page: Page) -> Text:
    whose = "" if pulse is None else page.fit(f" ({page.m(f'live.of.{pulse.scope}')})")
    right = "" if pulse is None else f" {pulse.at.astimezone():%H:%M:%S}"
    name = _cut(page.fit(f"openai-meter  {shown(page.source)}"), page.width - cell_len(whose) - len(right), page)
    left = set_cell_size(name + whose, page.width - len(right))
    return Text(left + right, "bold", no_wrap=True)


def _head(pulse: Pulse, page: Page) -> list[Text]:
    m = page.m
    rows = [
        (m("live.today"), "?" if pulse.today is None else _sums(pulse.today, m)),
        (m(f"live.since.{pulse.scope}"), _sums(pulse.totals, m)),
        (m("live.now"), _now(pulse, page)),
    ]
    width = max(cell_len(name) for name, _ in rows)
    left = page.width - width - cell_len(rows[-1][1]) - 2 * _BETWEEN
    if left >= _NARROW_SPARK:
        trend = marks.spark(pulse.spark, min(left, _WIDE_SPARK), plain=page.plain)
        rows[-1] = (rows[-1][0], f"{rows[-1][1]}  {trend}")
    lines = []
    for place, (name, text) in enumerate(rows):
        line = _line(page, f"{name}{' ' * (width - cell_len(name))}  {text}")
        line.stylize("dim", 0, len(name))
        if place == 0:
            line.stylize("bold", len(name))
        lines.append(line)
    if pulse.alerts:
        lines.append(_line(page, f"! {m('live.alerts', n=pulse.alerts)}", "bold red"))
    return lines


def _sums(totals: Totals, m: Messages) -> str:
    parts = [cost(totals, money(m)), m("calls", n=totals.calls)]
    parts.append(m("tokens", n=totals.usage.total_tokens or 0, text=marks.tokens(totals, m.numbers)))
    if totals.errors:
        parts.append(m("errors", n=totals.errors))
    return "  ".join(parts)


def _now(pulse: Pulse, page: Page) -> str:
    m, minute = page.m, pulse.minute
    calls = "?" if minute.calls is None else short(minute.calls, m.numbers)
    parts = [
        marks.cost_rate(minute, pulse.recent, marks.rate_dollars(m.numbers)),
        f"{calls} {m('live.metric.calls')}",
        f"{marks.tokens_rate(minute, pulse.recent, m.numbers)} {m('live.metric.tokens')}",
    ]
    if minute.errors:
        parts.append(f"{short(minute.errors, m.numbers)} {m('live.metric.errors')}")
    return "  ".join(parts)


# --- the table --------------------------------------------------------------------------------------------------------


def _table(pulse: Pulse, page: Page, room: int | None) -> Lines:
    m = page.m
    groups = pulse.groups
    hidden: tuple[Group, ...] = ()
    if room is not None and len(groups) > room:
        groups, hidden = groups[: room - 1], groups[room - 1 :]
    names = [page.fit(marks.name_of(one, pulse.by, m)) for one in groups]
    head = page.fit(heading(pulse.by, m))
    columns, cells, width = _fitted(groups, page, max(map(cell_len, [head, *names])))
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, _BETWEEN, 0, 0), header_style="bold")
    table.add_column(Text(head), width=width, no_wrap=True)
    for column in columns:
        title = page.fit(m(f"live.column.{column.name}"))
        table.add_column(Text(_padded(title, column)), width=column.width, no_wrap=True)
    for place, (name, group) in enumerate(zip(names, groups, strict=True)):
        # A name is data, wherever it comes from: as Text it cannot be markup.
        style = "red" if group.totals.errors == group.totals.calls else "cyan"
        numbers = [Text(_padded(cells[column.name][place], column), _style(column, group)) for column in columns]
        table.add_row(Text(_cut(name, width, page), style), *numbers)
    folded = sum(one.others or 1 for one in hidden)
    return Lines(table, *([_line(page, m("live.more", n=folded), "dim")] if hidden else []))


def _padded(text: str, column: _Column) -> str:
    """A text at the right of its column: rich would strip the space that stands for a ``+``."""
    return " " * (column.width - cell_len(text)) + text if column.right else text


def _style(column: _Column, group: Group) -> str:
    return "red" if column.name == "errors" and group.totals.errors else column.style


def _cut(name: str, width: int, page: Page) -> str:
    if cell_len(name) <= width:
        return name
    dots = page.fit("…")
    return set_cell_size(name, max(width - len(dots), 1)).rstrip() + dots


def _fitted(groups: tuple[Group, ...], page: Page, longest: int) -> tuple[list[_Column], dict[str, list[str]], int]:
    """The columns that there is room for, as wide as they have to be, what stands in them, and the width of names."""

    def written(column: _Column) -> list[str]:
        if column.amount is None:
            return [page.fit(column.cell(one, page, money(page.m))) for one in groups]
        places = column_places(map(column.amount, groups))
        write = partial(fixed_dollars, style=page.m.numbers, places=places)
        return aligned([page.fit(column.cell(one, page, write)) for one in groups])

    def wide(column: _Column) -> _Column:
        title = cell_len(page.fit(page.m(f"live.column.{column.name}")))
        return column._replace(width=max(title, *map(cell_len, cells[column.name])))

    cells = {column.name: written(column) for column in _COLUMNS}
    columns = [wide(column) for column in _COLUMNS]

    def left() -> int:
        return page.width - sum(column.width + _BETWEEN for column in columns)

    wanted = min(longest, _MOST_NAME)
    while left() < min(wanted, _LEAST_NAME) and len(columns) > 1:
        least = max(columns, key=lambda column: column.rank)
        columns.remove(least)
    name = max(min(wanted, left()), 4)
    for place, column in enumerate(columns):
        if column.name == "trend":
            grown = min(column.width + max(left() - name, 0), _WIDE_SPARK)
            columns[place] = column._replace(width=grown)
            cells["trend"] = [marks.spark(one.spark, grown, plain=page.plain) for one in groups]
    return columns, cells, name


# --- limits -----------------------------------------------------------------------------------------------------------


def _usages(pulse: Pulse, page: Page) -> list[Text]:
    if not pulse.thresholds:
        return []
    rows = [(limit_name(one, page.m), limit_use(one, page.m), one) for one in pulse.thresholds]
    name = min(max(cell_len(page.fit(one)) for one, _, _ in rows), max(page.width - _BAR - 26, 10))
    lines = [Text()]
    for title, spent, usage in rows:
        start = f"{set_cell_size(page.fit(title), name)}  "
        gauge = marks.bar(usage.share, _BAR, plain=page.plain)
        line = Text(start + gauge + page.fit(f" {limit_share(usage, page.m):>5}  {spent}"), no_wrap=True)
        style = "red" if usage.passed else "yellow" if usage.share >= _NEAR else "green"
        line.stylize(style, len(start), len(start) + len(gauge) + 6)
        line.truncate(page.width)
        lines.append(line)
    return lines


def _foot(pulse: Pulse, page: Page) -> Text:
    m = page.m
    text = m("live.foot", window=duration(pulse.window, m), interval=f"{number(page.interval or 0, m.numbers, 'g')} s")
    if pulse.partial:
        text += " · " + m("live.forgotten", seconds=duration(pulse.covered, m))
    return _line(page, text, "dim")
