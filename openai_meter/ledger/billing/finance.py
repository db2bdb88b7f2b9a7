"""What finance needs of a ledger: a FOCUS dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from openai_meter.core import dimensions as groups
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.filters import make_filters
from openai_meter.ledger.periods import Moment, span_of
from openai_meter.ledger.transactions import Transactions

if TYPE_CHECKING:
    from openai_meter.ledger.billing.focus import Written
    from openai_meter.pricing import PriceBook

__all__ = ["Finance"]

_OWN_COLUMNS = frozenset({"model", "tag", "endpoint", "provider", "organization", "project"})
"""The dimensions that have a column in every FOCUS dataset."""


class Finance(Transactions):
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
        return tally.written()


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
        from openai_meter.ledger.billing.focus import Written, to_decimal  # noqa: PLC0415

        return Written(self.rows, self.calls, to_decimal(self.billed, PICO), self.unpriced)


def _further(by: str | Iterable[str]) -> tuple[str, ...]:
    names = [name.strip() for name in by.split(",") if name.strip()] if isinstance(by, str) else list(by)
    for name in names:
        if name not in groups.DIMENSIONS or name in _OWN_COLUMNS:
            known = ", ".join(name for name in groups.DIMENSIONS if name not in _OWN_COLUMNS)
            raise ConfigurationError(f"by={name!r} is not a further dimension of a FOCUS file; use {known}")
    return tuple(dict.fromkeys(names))
