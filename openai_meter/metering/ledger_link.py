"""Where the calls of a meter go: into its ledger, and to other sinks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Literal

from openai_meter.alerts.dispatch import flush_webhooks
from openai_meter.core import settings
from openai_meter.core.deprecation import renamed
from openai_meter.errors import ConfigurationError, LedgerUnavailableError
from openai_meter.metering.sinks import Feed

if TYPE_CHECKING:
    from openai_meter.ledger import Ledger
    from openai_meter.metering.sinks import Sink
    from openai_meter.pricing.loading import PriceLoader
    from openai_meter.reports.model_stats import ModelStats

__all__ = ["Kept", "opened"]

logger = logging.getLogger("openai_meter")


def opened(ledger: Ledger | str | None, current: Ledger | None) -> Ledger | None:
    """The ledger that a setting names, with its tables up to date if its database can be reached now.

    Args:
        ledger: the setting; ``None`` is ``OPENAI_METER_LEDGER`` where there is no ledger yet.
        current: the ledger that the meter has; it stays if its URL is named again.

    Raises:
        ConfigurationError: that is no ledger.
        LedgerError: the database refuses us, or has a newer schema.
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
        raise ConfigurationError(f"ledger={named!r} is no ledger; pass a URL such as 'sqlite:///usage.db'")
    try:
        named.prepare()
    except LedgerUnavailableError as error:  # no reason for a program not to start
        logger.warning("%s; calls wait for it in %s", error, named.spool)
    return named


class Kept:
    """The part of a :class:`Meter` that has to do with where its calls go: its ledger, and other sinks."""

    _feed: Feed | None = None
    _ledger: Ledger | None = None
    _price_loader: PriceLoader

    if TYPE_CHECKING:

        def settle(self) -> None:
            """What :class:`Meter` does."""

        def get_all_stats(self) -> dict[str, ModelStats]:
            """What :class:`Services` does."""
            raise NotImplementedError

    @property
    def ledger(self) -> Ledger | None:
        """Where the calls are kept for ever, if anywhere."""
        return self._ledger

    def keep(self, ledger: Ledger) -> None:
        """Keeps the calls from now on in a ledger: those of the meter itself, each once it has its price.

        A ledger that is ``durable`` is given no chance to lose a call whose price is not read yet: the price files are
        read now, which takes some tenths of a second.
        """
        if ledger is not self._ledger:
            if ledger.durable:
                self._price_loader.load()
            self._own_feed().change(self._ledger, ledger)
            self._ledger = ledger

    def add_sink(self, sink: Sink) -> None:
        """Gives a sink the calls from now on: those of the meter itself, each once it has its price. Thread-safe."""
        self._own_feed().change(None, sink)

    def remove_sink(self, sink: Sink) -> None:
        """Gives a sink no more calls, after those so far. Thread-safe."""
        if self._feed is not None:
            self._feed.change(sink, None)

    feed = renamed("Meter", "feed", "add_sink")
    leave = renamed("Meter", "leave", "remove_sink")

    def _own_feed(self) -> Feed:
        feed: Feed = vars(self).setdefault(
            "_feed", Feed(self._price_loader, self.settle)
        )  # of two threads, one makes it
        return feed

    def stats(self, scope: Literal["process", "fleet"] = "process") -> dict[str, ModelStats]:
        """The stats of every model: of this meter, or of all processes that have ever written to its ledger.

        The summary of all processes is ``meter.ledger.print_summary()``, and ``meter.ledger.report(...)`` any other.

        Args:
            scope: ``process`` or ``fleet``.

        Raises:
            ConfigurationError: there is no such scope, or the meter has no ledger.
            LedgerError: the ledger cannot be read.
        """
        if scope == "process":
            return self.get_all_stats()
        if scope != "fleet":
            raise ConfigurationError(f'scope={scope!r} is not known; use "process" or "fleet"')
        if self.ledger is None:
            raise ConfigurationError('scope="fleet" needs a ledger: install(ledger="sqlite:///usage.db")')
        self._flush_feed(10.0)
        return self.ledger.model_stats()

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all calls so far are in the ledger (or in its spool while the database is away), and elsewhere.

        Alerts that wait for webhooks are tried again at once, and waited for too; not for a webhook that does not take
        them now.

        Returns:
            Whether all calls are there, and all alerts delivered; ``True`` if they go nowhere.
        """
        end = time.monotonic() + timeout
        kept = self._flush_feed(timeout)
        return flush_webhooks(end, self.settle) and kept

    def _flush_feed(self, timeout: float) -> bool:
        return self._feed is None or self._feed.flush(timeout)
