"""Reads a ledger: reports, calls, forecasts and comparisons, over all processes that write to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from openai_meter.core import settings
from openai_meter.core.calendar_windows import zone_of
from openai_meter.core.money import usd
from openai_meter.core.totals import Totals, summed
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.ledger.comparisons import Comparison, compare
from openai_meter.ledger.filters import Filters, make_filters
from openai_meter.ledger.forecasts import HISTORY, Forecast, project
from openai_meter.ledger.periods import DAY_US, Moment, Span, parse_moment, span_of
from openai_meter.ledger.rows import micros
from openai_meter.reports.mixin import Reporting

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from openai_meter.core.call import Call
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.model_stats import ModelStats
    from openai_meter.reports.report import Report

__all__ = ["Reader"]

Zone = str | tzinfo | None
"""A timezone: its IANA name, ``local``, or ``None`` for UTC, the days of which are also those of OpenAI's bills."""

_ROLL_UP_PATIENCE = 5.0
"""Seconds that a report spends at most to bring the roll-ups up to date that it needs."""

Slice = str | tuple[Moment, Moment] | Mapping[str, Any]
"""A part of history; see :meth:`Reader.compare`."""


class Reader(Reporting):
    """The methods that read a ledger. They may be called in any thread; each sees one state of the ledger.

    ``since`` and ``until`` are dates, months (``2026-10``), weeks (``2026-W40``), times in ISO 8601, ``7d`` (the seven
    days up to and with today; as ``until``, what comes before those), ``12h``, ``4w``, ``today`` or ``yesterday``, or
    ``date`` and ``datetime`` objects. A date as ``until`` is included. Times without an offset are in ``timezone``.

    Filters are named like dimensions: ``agent="planner"``, ``user=("ann", None)`` (``None``: calls without a
    user), ``tag={"env": "prod"}``. A model includes its dated snapshots.
    """

    @property
    def engine(self) -> Engine:
        """The engine of SQLAlchemy."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Makes the tables, or brings them up to date."""
        raise NotImplementedError

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all that this process has added can be read."""
        raise NotImplementedError

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger, with all that this process has added."""
        self._settle()
        with self._snapshot() as connection:
            yield connection

    def _settle(self) -> None:
        self.prepare()
        self.flush()

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        from openai_meter.ledger.database import reachable  # noqa: PLC0415 - SQLAlchemy is loaded behind a ledger only

        engine = self.engine
        one_state = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        with reachable(engine.url), engine.connect().execution_options(**one_state) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        from openai_meter.ledger.database import reachable, writing  # noqa: PLC0415

        with reachable(self.engine.url), writing(self.engine) as connection:
            yield connection

    def roll_up(self, progress: Callable[[int], object] | None = None, *, seconds: float | None = None) -> int:
        """Brings the roll-ups by user, session and tag up to date, in steps of some thousand calls.

        Happens by itself, in the background of a process that writes, and for five seconds before a report that needs
        them. After the update of a large ledger it takes some minutes; reports are slower until then, and as exact.

        Args:
            progress: is called after each step with the number of calls so far.
            seconds: after how many seconds no further step is begun.

        Returns:
            How many calls were added to the roll-ups.

        Raises:
            LedgerError: the database cannot be written, and ``seconds`` is not given.
        """
        from openai_meter.ledger import roll_ups  # noqa: PLC0415

        with self._reading() as connection:
            if not roll_ups.are_behind(connection):
                return 0
        try:
            return roll_ups.roll_up(self._writing, progress, seconds=seconds)
        except LedgerError:  # the file may be read-only, or locked: reports read the calls then
            if seconds is None:
                raise
            return 0

    def report(
        self,
        by: str | Iterable[str] = "day",
        *,
        since: Moment = None,
        until: Moment = None,
        timezone: Zone = None,
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
            filters: which calls count.

        Raises:
            ConfigurationError: there is no such dimension, filter, moment or timezone; or the details that it needs
                were pruned.
            LedgerError: the database cannot be read.
        """
        return self._report(by, since, until, timezone, filters, with_reasons=True)

    def _report(
        self,
        by: str | Iterable[str],
        since: Moment,
        until: Moment,
        timezone: Zone,
        filters: Mapping[str, Any],
        *,
        with_reasons: bool,
    ) -> Report:
        from openai_meter.ledger import largest_rows, queries  # noqa: PLC0415 - SQLAlchemy is loaded behind a ledger
        from openai_meter.reports import report as values  # noqa: PLC0415 - reports stand below the ledger

        names = values.dimensions(by)
        queries.check_dimensions(names)
        zone, now = zone_of(timezone), datetime.now(UTC)
        span, kept = span_of(since, until, zone, now), make_filters(filters)
        if queries.needs_roll_ups((*names, *kept.names)):
            self.roll_up(seconds=_ROLL_UP_PATIENCE)
        with self._reading() as connection:
            sums = largest_rows.run_limited(connection, queries.Query(names, span, zone, kept))
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

        What is pruned is not among them. A call that is stored while they are read may be, or not.

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

    def reprice(
        self,
        prices: PriceBook | None = None,
        *,
        since: Moment = None,
        until: Moment = None,
        timezone: Zone = None,
        hosts: Mapping[str, str] | None = None,
    ) -> int:
        """Prices again the calls that have no full price, each at the price of its day.

        Calls that are priced stay as they are, and so do those that are pruned. Several processes may do it at once.

        Args:
            prices: the prices; those that come with openai_meter by default.
            since: as for :meth:`report`.
            until: as for :meth:`report`.
            timezone: as for :meth:`report`.
            hosts: which provider sells behind hosts of your own, as for ``install(hosts=...)``. By default
                those of ``OPENAI_METER_HOSTS``.

        Returns:
            How many have a full price now.

        Raises:
            ConfigurationError: there is no such moment or timezone.
            LedgerError: the database cannot be read or written.
        """
        from openai_meter.ledger import corrections  # noqa: PLC0415
        from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

        span = span_of(since, until, zone_of(timezone))
        self._settle()
        known = settings.get("hosts") if hosts is None else hosts
        return corrections.reprice(self._snapshot, self._writing, prices or PriceBook(), span, known)

    def prune(self, before: Moment, *, timezone: Zone = None) -> int:
        """Deletes the details of old calls; their sums per day stay, with model, agent, operation, user and more.

        Only whole days in UTC are pruned: the day that ``before`` falls into stays. Reports on pruned days have neither
        sessions nor tags (row ``(pruned)``), nor parts of a day. A spool that was not replayed before can bring a
        pruned call a second time.

        Args:
            before: until when; as for :meth:`report`, but a date is not included.
            timezone: as for :meth:`report`.

        Returns:
            How many calls were deleted.

        Raises:
            ConfigurationError: there is no such moment or timezone.
            LedgerError: the database cannot be written.
        """
        from openai_meter.ledger import corrections  # noqa: PLC0415

        at = parse_moment("before", before, zone_of(timezone), datetime.now(UTC))
        if at is None:
            raise ConfigurationError('before=None is not a time; use a date, or "90d"')
        self._settle()
        return corrections.prune(self._writing, micros(at) // DAY_US)

    def import_calls(self, calls: Iterable[Call]) -> int:
        """Stores calls that were made elsewhere, in the caller's thread; those that are there already stay as they are.

        Args:
            calls: what ``Call.from_dict`` gave, or another ledger's :meth:`calls`.

        Returns:
            How many are new.

        Raises:
            ConfigurationError: a call cannot be stored; those a thousand before it may be.
            LedgerError: the database cannot be written.
        """
        from openai_meter.ledger import corrections  # noqa: PLC0415

        self._settle()
        return corrections.import_rows(self._writing, calls)

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
        first, end = _around(period, today)
        start = min(first, today - timedelta(days=HISTORY))
        span = span_of(start, now, zone)
        with self._reading() as connection:
            sums = queries.run_query(connection, queries.Query(("day",), span, zone, filters))
        days = {date.fromisoformat(day): one for (day,), one in sums.items()}
        spent = summed(one for day, one in days.items() if day >= first)
        begin, midnight, tomorrow, over = (
            parse_moment("day", day, zone, now) or now for day in (first, today, today + timedelta(days=1), end)
        )
        left = (tomorrow - now) / (tomorrow - midnight)
        ahead = project({day: float(usd(one.cost)) for day, one in days.items()}, today, left, end)
        known = spent.totals().cost
        already = known or usd(0)
        return Forecast(
            period=period,
            since=begin,
            until=over,
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
        parts = [_slice(part, (since, until), zone, now) for part in (a, b)]
        with self._reading() as connection:
            by = "model", "provider", queries.TIER
            sums = [queries.run_query(connection, queries.Query(by, span, zone, filters)) for _, span, filters in parts]
        return compare(parts[0][0], sums[0], parts[1][0], sums[1], standard_cost(prices))


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


def _around(period: str, today: date) -> tuple[date, date]:
    """The first day of the period that a day is in, and the day after its last."""
    if period == "day":
        return today, today + timedelta(days=1)
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _slice(part: Slice, common: tuple[Moment, Moment], zone: tzinfo, now: datetime) -> tuple[str, Span, Filters]:
    """The name, the span and the filters of a part of history."""
    if isinstance(part, Mapping):
        rest = {name: value for name, value in part.items() if name not in {"since", "until"}}
        since, until = part.get("since", common[0]), part.get("until", common[1])
        name = ", ".join(f"{key}={value}" for key, value in part.items())
        return name, span_of(since, until, zone, now), make_filters(rest)
    if isinstance(part, tuple) and len(part) == 2:
        since, until = part
        return f"{since}..{until}", span_of(since, until, zone, now), Filters()
    if not isinstance(part, str) or not part:
        raise ConfigurationError(
            f'{part!r} is not a part of history; use for example "2026-10", "7d" or "tag:prompt=v2"'
        )
    key, equals, value = part.partition("=")
    if equals:
        tagged = key.startswith("tag:")
        filters = make_filters({"tag": {key.removeprefix("tag:"): value}} if tagged else {key: value})
        return part, span_of(*common, zone, now), filters
    start, dots, end = part.partition("..")
    if dots:
        return part, span_of(start or None, end or None, zone, now), Filters()
    if start[-1:] in "hdwHDW":
        return part, span_of(start, "now", zone, now), Filters()
    return part, span_of(start, start, zone, now), Filters()
