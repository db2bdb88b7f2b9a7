"""The command ``reconcile``: a ledger next to OpenAI's bill, and where the difference comes from.

Exit codes: 0; 1 where the coverage is below ``--fail-under``, or the bill or the ledger cannot be read; 2 where an
argument cannot be used. The client is made here and used once. What it asks is free, and is not recorded.
"""

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from openai_meter.cli.ledger import open_ledger
from openai_meter.cli.output import fail, write_json
from openai_meter.core.formatting import column_places, fixed_dollars, percent, signed
from openai_meter.core.locale import Messages, language
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import typer
    from rich.text import Text

    from openai_meter.ledger import Ledger
    from openai_meter.ledger.billing.reconciliation import Reconciliation, Sums
    from openai_meter.pricing import PriceBook

__all__ = ["ADMIN_KEY", "Request", "add_commands", "reconcile"]

ADMIN_KEY = "OPENAI_ADMIN_KEY"
"""The variable with the admin key: the SDK reads the same one."""
_BY = ("project", "model")
_ROWS = 40
"""Rows of a table at most; the rest is one."""


class Request(NamedTuple):
    """What the command is asked for."""

    period: str
    by: tuple[str, ...] = _BY
    fail_under: Decimal | None = None
    usage: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    prices: str | None = None


def reconcile(url: str | None, request: Request, lang: str | None, *, as_json: bool) -> None:
    """Writes the comparison; ends the process with 1 if the coverage is too low."""
    from openai_meter.ledger.billing.exported import read_files  # noqa: PLC0415 - not for `run`
    from openai_meter.pricing import PriceBook  # noqa: PLC0415

    m = language(lang)
    with open_ledger(url, lang=lang) as ledger:
        book = None if request.prices is None else PriceBook(request.prices)
        if request.usage or request.costs:
            found = ledger.reconcile(request.period, bill=read_files((*request.usage, *request.costs)), prices=book)
        elif os.environ.get(ADMIN_KEY, "").strip():
            with _admin_client() as client, _progress(m) as progress:
                found = ledger.reconcile(request.period, client, prices=book, progress=progress)
        else:
            found = _of_kept_bill(ledger, request, book, m)
    if as_json:
        groups = [
            {**dict(zip(request.by, key, strict=True)), **sums.to_dict()} for key, sums in found.by(*request.by).items()
        ]
        write_json({**found.to_dict(), "by": groups})
    else:
        _Page(found, m).write(request.by)
    coverage = found.coverage
    if request.fail_under is not None and coverage is not None and coverage < request.fail_under:
        shares = {"share": _share(coverage, m), "limit": _share(request.fail_under, m)}
        fail(m("reconcile.below", **shares), 1)


def _of_kept_bill(ledger: "Ledger", request: Request, book: "PriceBook | None", m: Messages) -> "Reconciliation":
    """The comparison with what was imported before; ends the process if there is nothing."""
    from openai_meter.ledger.billing.methods import days_of  # noqa: PLC0415 - not for `run`

    days_of(request.period, datetime.now(UTC))  # a wrong period is the first thing to say
    try:
        return ledger.reconcile(request.period, prices=book)
    except ConfigurationError:
        fail(m("reconcile.missing_key"), 2)


@contextmanager
def _admin_client() -> "Iterator[Any]":
    """A client of the SDK with the admin key of the environment."""
    import openai  # noqa: PLC0415 - not for `run`

    try:
        client = openai.OpenAI(admin_api_key=os.environ[ADMIN_KEY].strip())
    except TypeError:  # an SDK that has no admin_api_key
        fail(f"openai {openai.__version__} has no admin API; install a newer one: pip install --upgrade openai", 1)
    with client:
        yield client


@contextmanager
def _progress(m: Messages) -> "Iterator[Callable[[str, int, int], None]]":
    """Shows on standard error what is being read, if that is a terminal."""
    shown = sys.stderr.isatty()

    def show(name: str, place: int, number: int) -> None:
        if shown:
            sys.stderr.write(f"\r\x1b[K{m('reconcile.reading', name=name, place=place, number=number)}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")


def _share(share: Decimal, m: Messages) -> str:
    """A coverage as a percentage, rounded down: what is not whole is never shown as 100%."""
    return percent(Decimal(int(share * 10_000)) / 10_000, m.numbers, 0 if share == 1 else 2)


class _Page:
    """What the command writes for people."""

    def __init__(self, found: "Reconciliation", m: Messages) -> None:
        from rich.console import Console  # noqa: PLC0415 - not for `run`

        self._found, self._m = found, m
        self._console = Console(highlight=False, markup=False, emoji=False)

    def _text(self, words: str, style: str = "") -> "Text":
        from rich.text import Text  # noqa: PLC0415

        from openai_meter.reports.text import fitting  # noqa: PLC0415

        return Text(fitting(words, self._console.encoding), style)

    def _table(self, *heads: str, left: int = 1) -> Any:
        from rich import box  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False, show_edge=False)
        for place, head in enumerate(heads):
            if place < left:
                table.add_column(self._text(head), overflow="fold")
            else:
                table.add_column(self._text(head), justify="right", no_wrap=True)
        return table

    def write(self, by: tuple[str, ...]) -> None:
        """Writes the sums, the causes, the lines, and price rows that the bill suggests."""
        m, found = self._m, self._found
        title = m("reconcile.title", since=found.since.isoformat(), until=found.until.isoformat())
        self._console.print(self._text(title, "bold"))
        for line in self._summary():
            self._console.print(self._text(line))
        if found.causes:
            self._console.print(self._text(f"\n{m('reconcile.where')}", "bold"))
            self._console.print(self._causes())
        self._console.print()
        self._console.print(self._lines(by))
        proposals = [cause.proposal for cause in found.causes if cause.proposal]
        if proposals:
            self._console.print(self._text(f"\n{m('reconcile.proposal', file='prices.toml')}\n", "dim"))
            self._console.print(self._text("\n".join(proposals)), soft_wrap=True)

    def _summary(self) -> "Iterator[str]":
        m, found = self._m, self._found
        shares = {
            "share": "" if found.coverage is None else _share(found.coverage, m),
            "tokens": "" if found.token_coverage is None else _share(found.token_coverage, m),
        }
        if found.coverage is None:
            yield m("reconcile.nothing_billed")
        else:
            yield m("reconcile.covered" if found.token_coverage is None else "reconcile.covered_tokens", **shares)
        if not found.causes and found.coverage == 1:
            yield m("reconcile.same")
        if found.open_days:
            sums = found.open_sums
            days = ", ".join(day.isoformat() for day in found.open_days)
            values = {"billed": self._money(sums.billed), "metered": self._money(sums.metered)}
            yield m("reconcile.open", days=days, **values)
        if found.notes:
            yield m("reconcile.not_read", names=", ".join(found.notes))

    def _money(self, amount: Any, places: int = 2) -> str:
        from openai_meter.ledger.billing.reconciliation import dollars  # noqa: PLC0415

        value = amount if isinstance(amount, Decimal) else dollars(amount)
        return fixed_dollars(value, self._m.numbers, places)

    def _causes(self) -> Any:
        from openai_meter.ledger.billing import sentences  # noqa: PLC0415

        m = self._m
        places = column_places(cause.amount for cause in self._found.causes)
        table = self._table(m("reconcile.cause"), m("reconcile.difference"), left=1)
        table.add_column("", overflow="fold", ratio=1)
        for cause in self._found.causes:
            amount = signed(cause.amount, partial(self._money, places=places))
            name, words = sentences.name(cause.kind, m), sentences.about(cause, m)
            table.add_row(self._text(name, "cyan"), self._text(amount), self._text(words))
        return table

    def _lines(self, by: tuple[str, ...]) -> Any:
        m = self._m
        heads = [m(f"reconcile.{name}") for name in (*by, "billed", "metered", "difference", "coverage")]
        table = self._table(*heads, left=len(by))
        groups = list(self._found.by(*by).items())
        shown, rest = groups[:_ROWS], groups[_ROWS:]
        total = self._found.sums
        from openai_meter.ledger.billing.reconciliation import dollars  # noqa: PLC0415

        amounts = [dollars(part) for _, sums in shown for part in (sums.billed, sums.metered)]
        places = column_places(amounts)
        for key, sums in shown:
            names = [self._name(name, value) for name, value in zip(by, key, strict=True)]
            table.add_row(*(self._text(name, "cyan") for name in names), *self._cells(sums, places))
        if rest:
            table.add_row(self._text(f"… {len(rest)}"), *[self._text("")] * (len(by) + 3))
        table.add_section()
        table.add_row(
            self._text(m("table.total"), "bold"), *[self._text("")] * (len(by) - 1), *self._cells(total, places)
        )
        return table

    def _name(self, name: str, value: str | None) -> str:
        from openai_meter.reports.text import shown  # noqa: PLC0415

        empty = {"project": "reconcile.no_project", "model": "reconcile.no_model"}
        return self._m(empty[name]) if value is None and name in empty else shown(str(value))

    def _cells(self, sums: "Sums", places: int) -> "list[Text]":
        from openai_meter.ledger.billing.reconciliation import dollars  # noqa: PLC0415

        money = partial(self._money, places=places)
        coverage = "-" if sums.coverage is None else _share(sums.coverage, self._m)
        difference = dollars(sums.difference)
        cells = [money(sums.billed), money(sums.metered), signed(difference, money) if difference else "-", coverage]
        return [self._text(cell) for cell in cells]


def _groups(text: str) -> tuple[str, ...]:
    """The names of ``--by``.

    Raises:
        ConfigurationError: a name is unknown.
    """
    from openai_meter.ledger.billing.reconciliation import GROUPS  # noqa: PLC0415

    names = tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not names or not set(names) <= set(GROUPS):
        raise ConfigurationError(f"{text!r}: use {', '.join(GROUPS)}")
    return names


def _part(text: str) -> Decimal:
    """The part of ``--fail-under``: ``0.98``, ``98%``.

    Raises:
        ConfigurationError: it is not a part.
    """
    from openai_meter.core.money import exact  # noqa: PLC0415

    part = exact(text.removesuffix("%"), "--fail-under") / (100 if text.endswith("%") else 1)
    if part > 1:
        raise ConfigurationError(f"--fail-under is {text}; it has to be from 0 to 1, such as 0.98")
    return part


def add_commands(app: "typer.Typer") -> None:
    """Adds the command to the command line."""
    import typer  # noqa: PLC0415 - not for `run`

    from openai_meter.cli.help import Command, example, texts  # noqa: PLC0415
    from openai_meter.cli.options import Options, usable  # noqa: PLC0415

    t, options = texts(), Options()
    period_argument = typer.Argument(metavar="PERIOD", show_default=False, help=t("reconcile.period"))
    usage_option = typer.Option("--usage", metavar="FILE", help=t("reconcile.usage"))
    costs_option = typer.Option("--costs", metavar="FILE", help=t("reconcile.costs"))
    part_option = typer.Option("--fail-under", metavar="PART", help=t("reconcile.fail_under"))

    @app.command(
        "reconcile",
        cls=Command,
        help=t("reconcile"),
        epilog=example(
            "openai-meter reconcile 2026-11 --by project,model",
            "openai-meter reconcile 2026-11 --fail-under 0.98 --json",
            "openai-meter reconcile 2026-11 --usage usage.csv --costs costs.csv",
        ),
    )
    def reconcile_period(
        ctx: typer.Context,
        period: Annotated[str, period_argument],
        *,
        ledger: Annotated[str | None, options.ledger] = None,
        by: Annotated[str, typer.Option("--by", metavar="NAME,...", help=t("reconcile.by"))] = ",".join(_BY),
        fail_under: Annotated[str | None, part_option] = None,
        usage: Annotated[list[str] | None, usage_option] = None,
        costs: Annotated[list[str] | None, costs_option] = None,
        prices: Annotated[str | None, typer.Option("--prices", metavar="FILE", help=t("reconcile.prices"))] = None,
        as_json: Annotated[bool, options.as_json] = False,
        lang: Annotated[str | None, options.lang] = None,
    ) -> None:
        request = Request(
            period,
            usable(lambda: _groups(by), "--by"),
            None if fail_under is None else usable(lambda: _part(fail_under), "--fail-under"),
            tuple(usage or ()),
            tuple(costs or ()),
            prices,
        )
        ctx.obj.append(partial(reconcile, ledger, request, lang, as_json=as_json))
