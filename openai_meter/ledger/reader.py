"""Reads a ledger: reports, calls, forecasts and comparisons, over all processes that write to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from openai_meter.core.calendar_windows import Zone, calendar_window, day_start, zone_of
from openai_meter.core.money import usd
from openai_meter.core.totals import Totals, summed
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.ledger.comparisons import Comparison, compare
from openai_meter.ledger.filters import Filters, make_filters
from openai_meter.ledger.forecasts import HISTORY, Forecast, project
from openai_meter.ledger.periods import Moment, Span, span_of
from openai_meter.ledger.slices import Slice, parse_slice
from openai_meter.ledger.transactions import Transactions
from openai_meter.reports.mixin import Reporting

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from openai_meter.core.call import Call
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.model_stats import ModelStats
    from openai_meter.reports.report import Report

__all__ = ["Reader"]

_ROLL_UP_PATIENCE = 5.0
"""Seconds that a report spends at most to bring the roll-ups up to date that it needs."""


class Reader(Transactions, Reporting):
    """The methods that read a ledger. They may be called in any thread; each sees one state of the ledger.

    ``since`` and ``until`` are dates, months (``2026-10``), weeks (``2026-W40``), times in ISO 8601, ``7d`` (the seven
    days up to and with today; as ``until``, what comes before those), ``12h``, ``4w``, ``today`` or ``yesterday``, or
    ``date`` and ``datetime`` objects. A date as ``until`` is included. Times without an offset are in ``timezone``.

    Filters are named like dimensions: ``agent="planner"``, ``user=("ann", None)`` (``None``: calls without a
    user), ``tag={"env": "prod"}``. A model includes its dated snapshots.
    """

    @contextmanager
    def at_one_moment(self) -> Iterator[Reader]:
        """The ledger as it is now, for several reports that have to agree: all are read in one transaction.

        For the thread that has called it, until the end of the block.

        Raises:
            LedgerError: the database cannot be read.
        """
        with self._reading() as connection:
            yield _OneMoment(connection)

    def _catch_up(self) -> None:
        """Brings the roll-ups by user, session and tag up to date, if that is quick; else a report reads the calls."""
        from openai_meter.ledger import roll_ups  # noqa: PLC0415

        with self._reading() as connection:
            if not roll_ups.are_behind(connection):
                return
        with suppress(LedgerError):  # the file may be read-only, or locked
            roll_ups.roll_up(self._writing, seconds=_ROLL_UP_PATIENCE)

    def report(
        self,
        by: str | Iterable[str] = "day",
        *,
        since: Moment = None,
        until: Moment = None,
        timezone: Zone = None,
        max_rows: int = 10_000,
        **filters: Any,
    ) -> Report:
        """The report on a span of time, as a value: to be rendered, printed, saved, or sent as JSON.

        Args:
            by: ``hour``, ``day``, ``week`` or ``month``, and dimensions as for ``Meter.report``; several with commas
                or as a sequence. Periods come in the order of time, else what costs most comes first.
            since: the start; the first call by default.
            until: the end; now by default.
            timezone: whose hours, days, weeks and months; ``UTC`` by default. Whole days in UTC, without sessions and
                tags, are answered from the roll-ups, in milliseconds whatever the size of the ledger.
            max_rows: how many users or sessions have a row of their own, those that cost most; the others are together
                in one such as ``(other sessions)``. In a report by periods too it limits their rows.
            filters: which calls count.

        Raises:
            ConfigurationError: there is no such dimension, filter, moment or timezone; or the details that it needs
                were pruned.
            LedgerError: the database cannot be read.
        """
        return self._report(by, since, until, timezone, filters, with_reasons=True, max_rows=max_rows)

    def _report(
        self,
        by: str | Iterable[str],
        since: Moment,
        until: Moment,
        timezone: Zone,
        filters: Mapping[str, Any],
        *,
        with_reasons: bool,
        max_rows: int = 10_000,
    ) -> Report:
        from openai_meter.ledger import largest_rows, queries  # noqa: PLC0415 - SQLAlchemy is loaded behind a ledger
        from openai_meter.reports import report as values  # noqa: PLC0415 - reports stand below the ledger

        names = values.dimensions(by)
        queries.check_dimensions(names)
        zone, now = zone_of(timezone), datetime.now(UTC)
        span, kept = span_of(since, until, zone, now), make_filters(filters)
        if queries.needs_roll_ups((*names, *kept.names)):
            self._catch_up()
        with self._reading() as connection:
            sums = largest_rows.run_limited(connection, queries.Query(names, span, zone, kept), max_rows)
            whole = summed(sums.values()).totals()
            # The reasons stand with the calls only: they are read where they are shown.
            reasons = queries.unpriced(connection, span, kept) if with_reasons and whole.unpriced_calls else ()
        return values.Report(
            dimensions=names,
            rows=values.arranged({key: one.totals() for key, one in sums.items()}, names),
            totals=whole,
            since=span.since or whole.first_call_at or now,
            until=span.until or now,
            unpriced=reasons,
        )

    def totals(self, *, since: Moment = None, until: Moment = None, timezone: Zone = None, **filters: Any) -> Totals:
        """The exact sums over a span of time.

        Args:
            since: as for :meth:`report`.
            until: as for :meth:`report`.
            timezone: as for :meth:`report`.
            filters: as for :meth:`report`.

        Raises:
            ConfigurationError: as for :meth:`report`.
            LedgerError: the database cannot be read.
        """
        return self._report("provider", since, until, timezone, filters, with_reasons=False).totals

    def model_stats(
        self, *, since: Moment = None, until: Moment = None, timezone: Zone = None, **filters: Any
    ) -> dict[str, ModelStats]:
        """The stats of every model, by the name that the API answered with, over all processes together.

        Args:
            since: as for :meth:`report`.
            until: as for :meth:`report`.
            timezone: as for :meth:`report`.
            filters: as for :meth:`report`.

        Raises:
            ConfigurationError: as for :meth:`report`.
            LedgerError: the database cannot be read.
        """
        from openai_meter.reports.model_stats import stats_of  # noqa: PLC0415 - services stand below the ledger

        report = self._report("model", since, until, timezone, filters, with_reasons=False)
        return {row.key[0]: stats_of(row.totals) for row in report.rows}

    def calls(
        self, *, since: Moment = None, until: Moment = None, timezone: Zone = None, **filters: Any
    ) -> Iterator[Call]:
        """The calls themselves, in the order in which they began, read a thousand at a time.

        Pruned calls are not included. A call that is stored during the read may be included or not.

        Args:
            since: as for :meth:`report`.
            until: as for :meth:`report`.
            timezone: as for :meth:`report`.
            filters: as for :meth:`report`.

        Raises:
            ConfigurationError: there is no such filter, moment or timezone.
            LedgerError: the database cannot be read.
        """
        span, kept = span_of(since, until, zone_of(timezone)), make_filters(filters)
        return self._calls(span, kept)

    def _calls(self, span: Span, filters: Filters) -> Iterator[Call]:
        from openai_meter.ledger import corrections, schema  # noqa: PLC0415

        self._settle()
        for page in corrections.pages(self._snapshot, span, filters.of_calls(schema.calls.c)):
            for call in page:
                if filters.match(_Attributes(call)):
                    yield call

    def forecast(self, period: str = "month", *, timezone: Zone = None, **filters: Any) -> Forecast:
        """What the day, week or month will have cost at its end, with a range; ``forecasts.py`` describes the method.

        Args:
            period: ``day``, ``week`` or ``month``: the one that it is now.
            timezone: as for :meth:`report`.
            filters: as for :meth:`report`.

        Raises:
            ConfigurationError: there is no such period, filter or timezone.
            LedgerError: the database cannot be read.
        """
        if period not in {"day", "week", "month"}:
            raise ConfigurationError(f"period={period!r} cannot be forecast; use day, week or month")
        return self._forecast(period, zone_of(timezone), make_filters(filters), datetime.now(UTC))

    def _forecast(self, period: str, zone: tzinfo, filters: Filters, now: datetime) -> Forecast:
        from openai_meter.ledger import queries  # noqa: PLC0415

        today = now.astimezone(zone).date()
        window = calendar_window(period, zone, now)
        first, end = (at.astimezone(zone).date() for at in (window.start, window.end or now))
        start = min(first, today - timedelta(days=HISTORY))
        span = span_of(start, now, zone)
        with self._reading() as connection:
            sums = queries.run_query(connection, queries.Query(("day",), span, zone, filters))
        days = {date.fromisoformat(day): one for (day,), one in sums.items()}
        spent = summed(one for day, one in days.items() if day >= first)
        midnight, tomorrow = day_start(today, zone), day_start(today + timedelta(days=1), zone)
        left = (tomorrow - now) / (tomorrow - midnight)
        ahead = project({day: float(usd(one.cost)) for day, one in days.items()}, today, left, end)
        known = spent.totals().cost
        already = known or usd(0)
        return Forecast(
            period=period,
            since=window.start,
            until=window.end or now,
            made_at=now,
            spent=known,
            expected=None if ahead.expected is None else already + ahead.expected,
            low=None if ahead.low is None else already + ahead.low,
            high=None if ahead.high is None else already + ahead.high,
            days=ahead.days,
            unpriced_calls=sum(one.unpriced for one in days.values()),
        )

    def compare(
        self,
        a: Slice,
        b: Slice,
        *,
        since: Moment = None,
        until: Moment = None,
        timezone: Zone = None,
        prices: PriceBook | None = None,
    ) -> Comparison:
        """Two parts of history side by side: tokens and cost per call, and where the difference comes from.

        A part is a span of time (``"2026-10"``, ``"7d"``, ``"2026-10-01..2026-10-15"``, or a pair of moments), calls
        that have something in common (``"block=nightly"``, ``"agent=planner"``, ``"tag:prompt=v2"``), or a mapping of
        the keywords of :meth:`report` with both.

        Args:
            a: the first.
            b: the second; the difference is what it costs more than the first.
            since: for parts without a time: as for :meth:`report`.
            until: for parts without a time: as for :meth:`report`.
            timezone: as for :meth:`report`.
            prices: what the parts were priced by; those that come with openai_meter by default.

        Raises:
            ConfigurationError: a part cannot be understood; as for :meth:`report`.
            LedgerError: the database cannot be read.
        """
        from openai_meter.ledger import queries  # noqa: PLC0415
        from openai_meter.ledger.unit_prices import standard_cost  # noqa: PLC0415 - not before prices are needed

        zone, now = zone_of(timezone), datetime.now(UTC)
        parts = [parse_slice(part, (since, until), zone, now) for part in (a, b)]
        with self._reading() as connection:
            by = "model", "provider", queries.TIER
            sums = [queries.run_query(connection, queries.Query(by, span, zone, filters)) for _, span, filters in parts]
        return compare(parts[0][0], sums[0], parts[1][0], sums[1], standard_cost(prices))


class _OneMoment(Reader):
    """A ledger in a transaction that goes on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _settle(self) -> None:
        """Does nothing: calls that are added from now on belong to a later moment."""

    def _catch_up(self) -> None:
        """Does nothing: the transaction would not see the change."""

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        yield self._connection


class _Attributes(Mapping[str, Any]):
    """The values of a call by the names of dimensions, as filters need them."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __getitem__(self, name: str) -> Any:
        return tuple(self._call.tags.items()) if name == "tag" else getattr(self._call, name)

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError
