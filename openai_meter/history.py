"""Passes the calls of a meter on to its ledger, each once it has its price."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from openai_meter import faults
from openai_meter.alarms import flush_webhooks
from openai_meter.errors import ConfigurationError, LedgerAwayError
from openai_meter.tariff import WAITING, Tariff

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai_meter.call import Call
    from openai_meter.ledger import Ledger
    from openai_meter.services import ModelStats

__all__ = ["History", "Kept", "opened"]

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
        named = current or os.environ.get("OPENAI_METER_LEDGER") or None
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
    except LedgerAwayError as error:  # no reason for a program not to start
        logger.warning("%s; calls wait for it in %s", error, named.spool)
    return named


class History:
    """Takes the calls of a meter for its ledger. Thread-safe; never waits.

    A call that ended while the price files were being read has no price yet: it is passed on when it has.

    Args:
        ledger: where the calls go.
        tariff: prices what had to wait.
        settle: does what has to be done before the last call can be passed on.
    """

    def __init__(self, ledger: Ledger, tariff: Tariff, settle: Callable[[], None]) -> None:
        self.ledger = ledger
        self._tariff = tariff
        self._waiting: deque[Call] = deque()
        self._settle = settle
        ledger.before_finish(self.pass_on_all)

    def took(self, call: Call) -> None:
        """Takes a call. ``worker.start()`` has to follow, where a thread may be started."""
        if call.cost_reason is not WAITING:
            self.ledger.put(call)
            return
        self._waiting.append(call)
        if not self._tariff.reading:  # it came after all others had been priced
            self.pass_on()

    def pass_on(self) -> None:
        """Passes on what had to wait for prices; without one, if they cannot be read."""
        while self._waiting:
            try:
                call = self._waiting.popleft()
            except IndexError:  # somebody else was quicker
                return
            self.ledger.put(self._priced(call))

    def _priced(self, call: Call) -> Call:
        try:
            return call if self._tariff.reading or self._tariff.failed else self._tariff.again(call)
        except Exception as error:
            faults.caught(error, "pricing a call for the ledger")
            return call

    def pass_on_all(self) -> None:
        """Passes on everything; waits for the price files. Runs before the ledger is closed."""
        self._settle()
        self.pass_on()

    def start_over_in_child(self) -> None:
        """Forgets what belongs to the parent."""
        self._waiting.clear()


class Kept:
    """The part of a :class:`Meter` that has to do with its ledger."""

    _history: History | None = None
    _tariff: Tariff

    if TYPE_CHECKING:

        def settle(self) -> None:
            """What :class:`Meter` does."""

        def get_all_stats(self) -> dict[str, ModelStats]:
            """What :class:`Services` does."""
            raise NotImplementedError

    @property
    def ledger(self) -> Ledger | None:
        """Where the calls are kept for ever, if anywhere."""
        return None if self._history is None else self._history.ledger

    def keep(self, ledger: Ledger) -> None:
        """Keeps the calls from now on in a ledger: those of the meter itself, each once it has its price.

        A ledger that is ``durable`` is given no chance to lose a call whose price is not read yet: the price files are
        read now, which takes some tenths of a second.
        """
        if ledger is not self.ledger:
            if self._history is not None:
                self._history.pass_on_all()
            if ledger.durable:
                self._tariff.load()
            self._history = History(ledger, self._tariff, self.settle)

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
        self._flush_ledger(10.0)
        return self.ledger.model_stats()

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all calls so far are in the ledger, or in its spool while its database is away.

        Alerts that wait for webhooks are tried again at once, and waited for too; not for a webhook that does not take
        them now.

        Returns:
            Whether all calls are there, and all alerts delivered; ``True`` if there is no ledger and no webhook.
        """
        end = time.monotonic() + timeout
        kept = self._flush_ledger(timeout)
        return flush_webhooks(end, self.settle) and kept

    def _flush_ledger(self, timeout: float) -> bool:
        if self._history is None:
            return True
        self._history.pass_on_all()
        return self._history.ledger.flush(timeout)
