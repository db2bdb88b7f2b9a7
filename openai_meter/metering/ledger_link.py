"""Passes the calls of a meter to its ledger, and to other sinks."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from openai_meter.alerts.dispatch import flush_webhooks
from openai_meter.core import settings
from openai_meter.core.background import worker
from openai_meter.core.deprecation import renamed
from openai_meter.core.sections import SectionSettings
from openai_meter.errors import ConfigurationError
from openai_meter.metering.plain_calls import PlainCall, call_of
from openai_meter.metering.readable import MeterCore
from openai_meter.metering.sinks import Sinks
from openai_meter.reports.model_stats import stats_by_model

if TYPE_CHECKING:
    from openai_meter.budgets import Budget
    from openai_meter.budgets.stores import BudgetStore
    from openai_meter.core.call import Call
    from openai_meter.ledger import Ledger
    from openai_meter.metering.sinks import Sink
    from openai_meter.pricing import PriceBook
    from openai_meter.reports.model_stats import ModelStats

__all__ = ["LedgerLink", "opened"]


def opened(ledger: Ledger | str | None, current: Ledger | None, *, required: bool = False) -> Ledger | None:
    """The ledger that a setting names, with its tables up to date if its database can be used now.

    Args:
        ledger: the setting; ``None`` is ``OPENAI_METER_LEDGER`` where there is no ledger yet.
        current: the ledger that the meter has; it stays if its URL is named again.
        required: whether a database that cannot be used now is an error. If not, calls wait for it in the spool.

    Raises:
        ConfigurationError: that is not a ledger.
        LedgerError: with ``required``: the database cannot be used now.
        MissingExtraError: a package is missing.
    """
    named = ledger
    if named is None:
        named = current or settings.get("ledger")
    if named is None or named is current:
        return current
    from openai_meter.ledger import Ledger  # noqa: PLC0415 - SQLAlchemy takes time to load

    if isinstance(named, str):
        named = Ledger(named)
        if current is not None and current.url == named.url:
            return current
    if not isinstance(named, Ledger):
        raise ConfigurationError(f"ledger={named!r} is not a ledger; pass a URL such as 'sqlite:///usage.db'")
    if required:
        named.prepare()
    else:
        named.begin()
    return named


class LedgerLink(MeterCore):
    """The part of a ``Meter`` that passes its calls on: to its ledger, and to other sinks."""

    _sinks: Sinks | None = None
    _ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger | None:
        """The ledger where the calls are kept for ever, if there is one."""
        return self._ledger

    def add_sink(self, sink: Sink) -> None:
        """Gives a sink the calls from now on: those of the meter itself, each once it has its price. Thread-safe."""
        self._own_sinks().replace(None, sink)

    def remove_sink(self, sink: Sink) -> None:
        """Gives a sink no more calls, after those so far. Thread-safe."""
        if self._sinks is not None:
            self._sinks.replace(sink, None)

    feed = renamed("Meter", "feed", "add_sink")
    leave = renamed("Meter", "leave", "remove_sink")

    def stats(
        self, scope: Literal["process", "fleet"] = "process", *, fold_snapshots: bool = False
    ) -> dict[str, ModelStats]:
        """The stats of every model: of this meter, or of all processes that have ever written to its ledger.

        The summary of all processes is ``meter.ledger.print_summary()``, and ``meter.ledger.report(...)`` any other.

        Args:
            scope: ``process`` or ``fleet``.
            fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.

        Raises:
            ConfigurationError: there is no such scope, or the meter has no ledger.
            LedgerError: the ledger cannot be read.
        """
        if scope == "process":
            return stats_by_model(self.by("model"), fold_snapshots=fold_snapshots)
        if scope != "fleet":
            raise ConfigurationError(f'scope={scope!r} is not known; use "process" or "fleet"')
        if self.ledger is None:
            raise ConfigurationError('scope="fleet" needs a ledger: install(ledger="sqlite:///usage.db")')
        self._flush_sinks(10.0)
        rows = {row.key[0]: row.totals for row in self.ledger.report("model").rows}
        return stats_by_model(rows, fold_snapshots=fold_snapshots)

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all calls so far are in the ledger (or in its spool while the database is away), and elsewhere.

        Alerts that wait for webhooks are tried again at once, and waited for too; not for a webhook that does not take
        them now.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether all calls are there, and all alerts delivered; ``True`` if they go nowhere.
        """
        end = time.monotonic() + timeout
        stored = self._flush_sinks(timeout)
        if self._budgets is not None:
            stored = all(desk.announce_now() for desk in self._budgets.desks) and stored
            worker.drain()
        return flush_webhooks(end, self.settle) and stored

    def _keep(self, ledger: Ledger) -> None:
        """Keeps the calls from now on in a ledger: those of the meter itself, each once it has its price.

        With a ``durable`` ledger the price files are read now, which takes some tenths of a second: so each call has
        its price, and is on the disk, when it ends.
        """
        if ledger is not self._ledger:
            if ledger.durable:
                self._price_loader.load()
            ledger._price_by(self._made_prices)  # noqa: SLF001 - not for programs
            self._own_sinks().replace(self._ledger, ledger)
            self._ledger = ledger
            SectionSettings.wanted = True
            if self._budgets is not None:
                self._set_budgets(None)

    def _set_budgets(self, budgets: tuple[Budget, ...] | None, store: BudgetStore | None = None) -> None:
        """The same. The database of the ledger is also the store of shared budgets, if no other one was given."""
        super()._set_budgets(budgets, store)
        guard = self._budgets
        if guard is None or guard.desks or not guard.watched or self._ledger is None:
            return
        from openai_meter.budgets.desk import Desk  # noqa: PLC0415 - for thresholds of a fleet only
        from openai_meter.budgets.stores import open_store  # noqa: PLC0415

        with suppress(ConfigurationError):  # a database that has no store of budgets
            guard.watch_desk = Desk(open_store(self._ledger.url_with_secrets))

    def _made_prices(self) -> PriceBook | None:
        return self._price_loader.made_book

    def _spent_before(self) -> Callable[[Any], int] | None:
        if self._ledger is None:
            return None
        from openai_meter.budgets.history import spent_in_ledger  # noqa: PLC0415 - for programs with budgets only

        return partial(spent_in_ledger, self._ledger)

    def _take(self, call: Call) -> None:
        """Adds a finished call, and passes it on to the sinks. Never waits."""
        self._store.add(call)
        if self._sinks is not None:
            self._sinks.record(call)

    def _take_plain(self, call: PlainCall) -> None:
        """Adds a plain call. Sinks take it at once: a ledger keeps it from then on, whatever ends the process."""
        if self._sinks is None:
            self._store.add_plain(call)
        else:
            self._take(call_of(call))

    def _reprice(self) -> int:
        repriced = super()._reprice()
        if self._sinks is not None:
            self._sinks.deliver_waiting()
        return repriced

    def _own_sinks(self) -> Sinks:
        # setdefault is atomic: of two threads, one makes it.
        sinks: Sinks = vars(self).setdefault("_sinks", Sinks(self._price_loader, self.settle))
        return sinks

    def _flush_sinks(self, timeout: float) -> bool:
        return self._sinks is None or self._sinks.flush(timeout)

    def _finish_sinks(self) -> None:
        if self._sinks is not None:
            self._sinks.finish()

    def _start_over_in_child(self) -> None:
        super()._start_over_in_child()
        if self._sinks is not None:
            self._sinks.start_over_in_child()
