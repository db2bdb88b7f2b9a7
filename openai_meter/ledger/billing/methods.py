"""The methods of a ledger that compare it with OpenAI's bill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.ledger.periods import Moment, parse_moment
from openai_meter.ledger.reader import Reader

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.ledger.billing.bill import Bill
    from openai_meter.ledger.billing.reconciliation import Reconciliation
    from openai_meter.pricing import PriceBook

__all__ = ["Billing", "days_of"]


class Billing(Reader):
    """The methods that compare a ledger with a bill."""

    def reconcile(
        self,
        period: Moment | tuple[Moment, Moment],
        client: Any = None,
        *,
        bill: Bill | None = None,
        prices: PriceBook | None = None,
        progress: Callable[[str, int, int], None] | None = None,
        now: datetime | None = None,
    ) -> Reconciliation:
        """Compares the calls of some days with OpenAI's usage and costs of the organization, and finds the causes.

        ::

            found = ledger.reconcile("2026-11", client=OpenAI(admin_api_key=...))
            print(found.coverage)
            for cause in found.causes:
                print(cause.kind, cause.amount, cause.evidence)

        Days are those of UTC, as OpenAI bills by them. The requests of the client are free, and are not recorded.

        Args:
            period: a month (``2026-11``), a week, a date, ``7d``, or a pair of such moments.
            client: a client of the SDK with an admin key, which may read the organization's usage and costs.
            bill: what was read from files (``openai_meter.ledger.billing.exported``), in place of a client. Without
                both, what :meth:`import_bill` has kept.
            prices: the prices of calls that the ledger has without their bill, and those that the bill is compared
                with; those that come with openai_meter by default.
            progress: is called before each request with the name of the endpoint, its place, and how many there are.
            now: the time; days that have not ended then are put apart. By default the clock's.

        Raises:
            ConfigurationError: the period or the client cannot be used.
            BillingError: the usage or the costs cannot be read.
            LedgerError: the database cannot be read.
        """
        from openai_meter.ledger.billing import store  # noqa: PLC0415 - few programs need it
        from openai_meter.ledger.billing.organization import read_bill  # noqa: PLC0415
        from openai_meter.ledger.billing.reconcile import MARGIN, compare_bill  # noqa: PLC0415
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

        now = datetime.now(UTC) if now is None else now.astimezone(UTC)
        since, until = days_of(period, now)
        span = since - MARGIN, min(until + MARGIN, now.date() + timedelta(days=1))
        if bill is None and client is None:
            with self._reading() as connection:
                bill = store.kept_bill(connection, *span)
            if bill is None:
                raise ConfigurationError(
                    "reconcile() needs client=OpenAI(admin_api_key=...), or costs that were imported before"
                )
        if bill is None:
            bill = read_bill(client, *span, progress=progress)

        def calls(first: date, end: date) -> Iterator[Call]:
            return self.calls(since=_midnight(first), until=_midnight(end))

        found = compare_bill(calls, bill, since, until, book=prices or PriceBook(), now=now)
        with suppress(LedgerError), self._writing() as connection:  # a file may be read-only
            store.keep_reconciliation(connection, found)
        return found

    def last_reconciliation(self) -> dict[str, Any] | None:
        """The sums and the causes of the last :meth:`reconcile` of this ledger, as plain JSON values.

        ``None`` if there was none. The dashboard and the metric ``openai_meter_bill_coverage`` show it: they fetch
        nothing.

        Raises:
            LedgerError: the database cannot be read.
        """
        from openai_meter.ledger.billing import store  # noqa: PLC0415

        with self._reading() as connection:
            return store.kept_reconciliation(connection)

    def import_bill(self, bill: Bill) -> None:
        """Keeps usage and costs that were read from files, so that :meth:`reconcile` needs no client.

        Rows of the same days and endpoints are replaced: a file can be imported again.

        Args:
            bill: what ``openai_meter.ledger.billing.exported.read_files`` has read.

        Raises:
            LedgerError: the database cannot be written.
        """
        from openai_meter.ledger.billing import store  # noqa: PLC0415

        self.prepare()
        with self._writing() as connection:
            store.keep_bill(connection, bill)


def days_of(period: Moment | tuple[Moment, Moment], now: datetime) -> tuple[date, date]:
    """The first day of a period, and the day after its last one. Days that have not begun are left out.

    Raises:
        ConfigurationError: it is not a period, or has not begun.
    """
    if isinstance(period, str) and ".." in period:
        start, _, end = period.partition("..")
        period = start or None, end or None
    begin, last = period if isinstance(period, tuple) else (period, period)
    since = parse_moment("period", begin, UTC, now)
    # "7d" is the start of a span up to now; every other word is a span itself.
    until = parse_moment("period", last, UTC, now, end=True)
    if since is None:
        raise ConfigurationError("period has no start; use a month (2026-11), a date, or 2026-11-01..2026-11-15")
    if until is None or until <= since:
        until = now
    tomorrow = now.date() + timedelta(days=1)
    first, end_day = since.date(), until.date() + timedelta(days=until.time() != time())
    if first >= tomorrow:
        raise ConfigurationError(f"period={period!r} has not begun")
    return first, max(min(end_day, tomorrow), first + timedelta(days=1))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
