"""Corrects a ledger: prices calls again, deletes old details, imports calls that were made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openai_meter.core import settings
from openai_meter.core.calendar_windows import Zone, zone_of
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.periods import DAY_US, Moment, parse_moment, span_of
from openai_meter.ledger.rows import micros
from openai_meter.ledger.transactions import Transactions

if TYPE_CHECKING:
    from openai_meter.core.call import Call
    from openai_meter.pricing import PriceBook

__all__ = ["Maintenance"]


class Maintenance(Transactions):
    """The methods that correct a ledger. They may be called in any thread, and by several processes at once."""

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
            since: as for :meth:`Ledger.report`.
            until: as for :meth:`Ledger.report`.
            timezone: as for :meth:`Ledger.report`.
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
            before: until when; as for :meth:`Ledger.report`, but a date is not included.
            timezone: as for :meth:`Ledger.report`.

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

    def roll_up(self, progress: Callable[[int], object] | None = None) -> int:
        """Brings the roll-ups by user, session and tag up to date, in steps of some thousand calls.

        Happens by itself, in the background of a process that writes, and for five seconds before a report that needs
        them. After the update of a large ledger it takes some minutes; reports are slower until then, and as exact.

        Args:
            progress: is called after each step with the number of calls so far.

        Returns:
            How many calls were added to the roll-ups.

        Raises:
            LedgerError: the database cannot be written.
        """
        from openai_meter.ledger import roll_ups  # noqa: PLC0415

        with self._reading() as connection:
            behind = roll_ups.are_behind(connection)
        return roll_ups.roll_up(self._writing, progress) if behind else 0

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
