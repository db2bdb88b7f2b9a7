"""What finance needs of a ledger: a FOCUS dataset, and statements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openai_meter.core import dimensions as groups
from openai_meter.core.calendar_windows import Zone, zone_of
from openai_meter.core.money import Number, exact
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.filters import make_filters
from openai_meter.ledger.periods import Moment, span_of
from openai_meter.ledger.reader import Reader

if TYPE_CHECKING:
    from openai_meter.ledger.billing.bill import Bill
    from openai_meter.ledger.billing.exchange import Rate
    from openai_meter.ledger.billing.focus import Written
    from openai_meter.ledger.billing.statement import Basis, Statement, Statements
    from openai_meter.pricing import PriceBook

__all__ = ["Finance"]

_OWN_COLUMNS = frozenset({"model", "tag", "endpoint", "provider", "organization", "project"})
"""The dimensions that have a column in every FOCUS dataset."""


class Finance(Reader):
    """The methods for finance. They may be called in any thread; each sees one state of the ledger."""

    def export_focus(
        self,
        file: str | Path | BinaryIO,
        *,
        version: str = "1.2",
        form: str | None = None,
        since: Moment = None,
        until: Moment = None,
        by: str | Iterable[str] = (),
        account: str | None = None,
        prices: PriceBook | None = None,
        bill: Bill | None = None,
        progress: Callable[[int], object] | None = None,
        **filters: Any,
    ) -> Written:
        """Writes a FOCUS dataset: a row for each day in UTC, model, tier, price line and set of tags.

        The sum of ``BilledCost`` is the cost in the ledger. Calls without a price have a row with a cost of 0, the
        category ``Adjustment``, ``x_CostStatus`` ``unpriced`` and their number in ``x_UnpricedCallCount``; estimated
        costs have ``x_CostEstimated``.

        Args:
            file: the path of a ``.csv`` or ``.parquet`` file, which is written whole or not at all; or a file that is
                open for writing bytes.
            version: of the specification: ``1.2`` or ``1.4``.
            form: ``csv`` or ``parquet``; by default the suffix of the path, for an open file ``csv``.
            since: the start, in UTC; as for :meth:`Ledger.report`.
            until: the end.
            by: further dimensions that rows are kept apart by, each with a column: ``agent``, ``operation``, ``user``,
                ``session``, ``block``.
            account: ``BillingAccountId``; by default the organization of the calls, else the provider.
            prices: the price list that makes the lines; the one that comes with openai_meter by default.
            bill: what OpenAI states that it bills. With version 1.4, and a path, two further files are written next
                to the file: ``NAME.invoice-detail`` and ``NAME.billing-period``, with the same suffix.
            progress: is called after each day with the number of calls so far.
            filters: which calls count.

        Raises:
            ConfigurationError: a value cannot be used; or details in the span were pruned.
            LedgerError: the database cannot be read.
            MissingExtraError: Parquet needs ``pip install "openai-meter[parquet]"``.
        """
        from openai_meter.ledger.billing import charges, focus, focus_files  # noqa: PLC0415 - SQLAlchemy
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced
        from openai_meter.reports import saving  # noqa: PLC0415 - reports stand below the ledger

        extra = _further(by)
        wanted = focus.columns(version, extra)
        named = isinstance(file, str | Path)
        write = focus_files.check_form(form or (focus_files.form_of(file) if isinstance(file, str | Path) else "csv"))
        span, kept = span_of(since, until, UTC), make_filters(filters)
        tally = _Tally()
        with self._reading() as connection:
            found = charges.charges(connection, span, kept, prices or PriceBook(), dimensions=extra, progress=progress)
            rows = tally.count(focus.focus_rows(found, wanted, account))
            opened: Any = saving.opened(Path(file)) if named else nullcontext(file)  # type: ignore[arg-type]
            with opened as target:
                write(rows, wanted, target)
        if bill is not None:
            _write_supplements(file, form, bill, version, account)
        return tally.written()

    def statements(
        self,
        dimension: str,
        month: str | None = None,
        *,
        since: Moment = None,
        until: Moment = None,
        timezone: Zone = None,
        markup: Number = 1,
        split: str = "none",
        currency: str = "USD",
        rates: str | Path | None = None,
    ) -> Statements:
        """What to charge to each value of a dimension for a span of time.

        The charges sum up exactly to the whole: they are rounded to cents by largest remainder.

        Args:
            dimension: ``tag:customer``, ``user``, ``agent``, ``project`` and so on.
            month: ``2026-11``; instead of ``since`` and ``until``.
            since: the start, as for :meth:`Ledger.report`.
            until: the end.
            timezone: whose days and months; ``UTC`` by default.
            markup: what costs are multiplied with: ``"1.25"`` adds a quarter. It is a line of its own.
            split: how the cost of calls without a value is divided: ``none``: it is not charged; by ``cost``; by
                ``calls``; into ``equal`` parts.
            currency: the currency of the charges.
            rates: the file ``eurofxref-hist.csv`` of the European Central Bank; needed for a currency other than US
                dollars. The rate is that of the last day of the span, or the last earlier one.

        Raises:
            ConfigurationError: a value cannot be used, or the details of the span were pruned.
            LedgerError: the database cannot be read.
        """
        from openai_meter.ledger import queries  # noqa: PLC0415 - SQLAlchemy is loaded behind a ledger
        from openai_meter.ledger.billing import statement  # noqa: PLC0415

        _check_dimension(dimension)
        zone, now = zone_of(timezone), datetime.now(UTC)
        start, end = (since, until) if month is None else _month(month, since, until)
        span = span_of(start, end, zone, now)
        if span.since is None:
            raise ConfigurationError("a statement needs a month, such as 2026-11, or a start")
        basis = statement.Basis(
            dimension=dimension,
            since=span.since.astimezone(zone),
            until=(span.until or now).astimezone(zone),
            timezone=str(timezone or "UTC"),
            markup=_checked_markup(markup),
            split=_checked_split(split),
            currency=_checked_currency(currency, rates),
            rate=None,
            made_at=now,
        )
        if basis.currency != "USD":
            basis = basis._replace(rate=_rate(basis, rates, now))
        if queries.needs_roll_ups((dimension,)):
            self._catch_up()
        with self._reading() as connection:
            sums = queries.run_query(connection, queries.Query((dimension, "model"), span, zone))
        if any(queries.PRUNED in key for key in sums):
            raise ConfigurationError(
                f"the details by {dimension} were pruned for a part of the span; name a later start"
            )
        return statement.make_statements(basis, sums)

    def statement(self, what: str, month: str | None = None, **options: Any) -> Statement:
        """What to charge to one value, such as ``tag:customer=acme``: its statement among those of all values.

        Args:
            what: the dimension and the value.
            month: as for :meth:`statements`.
            options: as for :meth:`statements`.

        Raises:
            ConfigurationError: as for :meth:`statements`; or there are no calls with this value.
            LedgerError: the database cannot be read.
        """
        dimension, equals, value = what.partition("=")
        if not equals or not value:
            raise ConfigurationError(f"{what!r} names no value; write for example tag:customer=acme or user=ann")
        found = self.statements(dimension, month, **options)
        for one in found:
            if one.value == value:
                return one
        names = ", ".join(one.value for one in found[:_NAMES])
        known = f"there are {names}{', ...' if len(found) > _NAMES else ''}" if names else f"no call has a {dimension}"
        raise ConfigurationError(f"there are no calls with {what} in this span; {known}")


_NAMES = 10
"""The values that a message names."""
_LARGEST_MARKUP = 10


def _month(month: str, since: Moment, until: Moment) -> tuple[Moment, Moment]:
    if since is not None or until is not None:
        raise ConfigurationError("pass a month, or since and until, not both")
    if re.fullmatch(r"\d{4}-\d{2}", month) is None:
        raise ConfigurationError(f"month={month!r} is not a month; write 2026-11")
    return month, month


def _check_dimension(name: str) -> None:
    if name == "tag" or (name not in groups.DIMENSIONS and not (name.startswith("tag:") and name != "tag:")):
        known = ", ".join(["tag:NAME", *(one for one in groups.DIMENSIONS if one != "tag")])
        raise ConfigurationError(f"there are no statements for {name!r}; use one of {known}")


def _checked_markup(markup: Number) -> Decimal:
    factor = exact(markup, "markup")
    if factor > _LARGEST_MARKUP:
        raise ConfigurationError(
            f"markup={markup!r} multiplies costs by {factor}; 1.25 adds a quarter, and {_LARGEST_MARKUP} is the most"
        )
    return factor


def _checked_split(split: str) -> str:
    from openai_meter.ledger.billing.statement import SPLITS  # noqa: PLC0415

    if split not in SPLITS:
        raise ConfigurationError(f"split={split!r} is not a rule; use one of {', '.join(SPLITS)}")
    return split


def _checked_currency(currency: str, rates: str | Path | None) -> str:
    code = currency.upper()
    if re.fullmatch("[A-Z]{3}", code) is None:
        raise ConfigurationError(f"currency={currency!r} is not a currency; write its code, such as EUR")
    if code != "USD" and rates is None:
        raise ConfigurationError(
            f"currency={code!r} needs exchange rates; pass rates=, the file eurofxref-hist.csv of the ECB"
        )
    return code


def _rate(basis: Basis, rates: str | Path | None, now: datetime) -> Rate:
    from openai_meter.ledger.billing.exchange import rate_on  # noqa: PLC0415

    assert rates is not None
    return rate_on(rates, basis.currency, min(basis.last_day, now.astimezone(basis.until.tzinfo).date()))


def _write_supplements(file: object, form: str | None, bill: Bill, version: str, account: str | None) -> None:
    """Writes the datasets about invoices next to the file of costs."""
    from openai_meter.ledger.billing import focus_files, focus_invoice  # noqa: PLC0415
    from openai_meter.reports import saving  # noqa: PLC0415

    if version != "1.4" or not isinstance(file, str | Path):
        raise ConfigurationError("datasets about invoices need version 1.4 and a path; leave out the bill")
    write, now, path = focus_files.check_form(form or focus_files.form_of(file)), datetime.now(UTC), Path(file)
    details = focus_invoice.invoice_details(bill, account, now)
    periods = focus_invoice.billing_periods(bill, now)
    for name, rows, columns in (
        ("invoice-detail", details, focus_invoice.INVOICE_DETAIL),
        ("billing-period", periods, focus_invoice.BILLING_PERIOD),
    ):
        with saving.opened(path.with_name(f"{path.stem}.{name}{path.suffix}")) as target:
            write(rows, columns, target)


class _Tally:
    """Counts rows as they pass."""

    def __init__(self) -> None:
        self.rows = self.calls = self.unpriced = 0
        self.billed = Fraction(0)

    def count(self, lines: Iterator[tuple[Any, tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
        for line, row in lines:
            self.rows += 1
            self.billed += line.charge.amount
            if line.is_first:
                self.calls += line.group.calls
                self.unpriced += line.group.calls * (line.group.values["cost_status"] in {"unpriced", "partial"})
            yield row

    def written(self) -> Written:
        from openai_meter.core.money import PICO  # noqa: PLC0415
        from openai_meter.ledger.billing.decimals import to_decimal  # noqa: PLC0415
        from openai_meter.ledger.billing.focus import Written  # noqa: PLC0415

        return Written(self.rows, self.calls, to_decimal(self.billed, PICO), self.unpriced)


def _further(by: str | Iterable[str]) -> tuple[str, ...]:
    names = [name.strip() for name in by.split(",") if name.strip()] if isinstance(by, str) else list(by)
    for name in names:
        if name not in groups.DIMENSIONS or name in _OWN_COLUMNS:
            known = ", ".join(name for name in groups.DIMENSIONS if name not in _OWN_COLUMNS)
            raise ConfigurationError(f"by={name!r} is not a further dimension of a FOCUS file; use {known}")
    return tuple(dict.fromkeys(names))
