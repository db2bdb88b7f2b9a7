"""The ledger of a program: calls are added, and stored in the database in the background."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from functools import cache
from multiprocessing import process
from multiprocessing.util import Finalize, register_after_fork
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from openai_meter.core import faults, fork_safety
from openai_meter.core.call import Call
from openai_meter.core.public import public
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.billing.finance import Finance
from openai_meter.ledger.billing.methods import Billing
from openai_meter.ledger.celery_end import follow_celery
from openai_meter.ledger.database import checked_url, shown_url, spool_folder
from openai_meter.ledger.maintenance import Maintenance
from openai_meter.ledger.spool import Spool
from openai_meter.ledger.stats import Stats
from openai_meter.ledger.uvicorn_end import finish_with_uvicorn
from openai_meter.ledger.writer import Writer

if TYPE_CHECKING:
    from openai_meter.alerts import Threshold, ThresholdUsage
    from openai_meter.pricing import PriceBook

__all__ = ["Ledger"]

_SPOOL_LIMIT = 256_000_000
"""Bytes of the spool at most: about half a million calls."""
_EXIT_PATIENCE = 5.0
"""Seconds that the end of a process waits for the database at most."""


@public
class Ledger(Finance, Billing, Maintenance):
    """A permanent record of every call, in SQLite or PostgreSQL. Needs ``pip install "openai-meter[ledger]"``.

    ::

        openai_meter.install(ledger="sqlite:///usage.db")

    A call never waits for the database. While it is away (down, locked, full), calls wait in files (the spool) and are
    stored when it is back. What could not be kept is counted in :attr:`stats` and logged (``openai_meter``). A process
    that is killed loses at most what it added in the last twentieth of a second, and nothing of a finished Celery task.
    Any number of threads and processes may share a database, and a spool. Thread-safe, and safe to fork.

    Args:
        url: ``sqlite:///usage.db``, or ``postgresql+psycopg://user:password@host/database`` (this one needs
            ``openai-meter[postgres]``). Nothing is connected before it is needed.
        spool: the folder where calls wait while the database is away; by default ``usage.db.spool`` next to the file,
            and for PostgreSQL a folder in the user's ``~/.local/state/openai-meter``.
        flush_interval: seconds within which a call is stored.
        durable: whether :meth:`add` returns only when the call is on the disk (in the spool, until it is stored):
            then not even a power cut loses what was added. It costs each call the time that the disk takes.

    Raises:
        ConfigurationError: a setting cannot be used.
        MissingExtraError: the driver of the database is not installed.
    """

    def __init__(
        self, url: str, *, spool: str | Path | None = None, flush_interval: float = 1.0, durable: bool = False
    ) -> None:
        checked = checked_url(url)
        if isinstance(flush_interval, bool) or not isinstance(flush_interval, int | float) or not flush_interval > 0:
            raise ConfigurationError(f"flush_interval={flush_interval!r} is not a number of seconds above 0")
        if not isinstance(durable, bool):
            raise ConfigurationError(f"durable={durable!r} is neither True nor False")
        folder = spool_folder(checked) if spool is None else Path(spool).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"spool={str(folder)!r} is not a folder; name another one")
        self._writer = Writer(checked, Spool(folder, _SPOOL_LIMIT), min(float(flush_interval), 3600.0), durable=durable)
        self._before: list[weakref.WeakMethod[Callable[[], None]]] = []
        _ledgers.add(self)
        _finish_with_multiprocessing(self)
        _follow_servers()

    @property
    def url(self) -> str:
        """The URL, without secrets."""
        return shown_url(self._writer.url)

    @property
    def url_with_secrets(self) -> str:
        """The URL with its password, to connect to the database. Do not show it."""
        return self._writer.url.render_as_string(hide_password=False)

    @property
    def durable(self) -> bool:
        """Whether calls are on the disk before :meth:`add` returns."""
        return self._writer.durable

    @property
    def spool(self) -> Path:
        """The folder where calls wait while the database is away."""
        return self._writer.spool.folder

    @property
    def engine(self) -> Engine:
        """The engine of SQLAlchemy, for reading. Call :meth:`prepare` first: the tables may not be there."""
        return self._writer.storage.engine

    @property
    def stats(self) -> Stats:
        """The counts of the calls that this process added."""
        return self._writer.stats()

    def prepare(self) -> None:
        """Connects, and makes the tables or brings them up to date. Happens by itself before the first call is stored.

        Raises:
            LedgerUnavailableError: the database cannot be reached now.
            LedgerError: the tables are of a newer version of openai_meter or of something else, or the database
                refuses us.
        """
        self._writer.prepare()

    def threshold_usage(self, *limits: Threshold | str, timezone: str | None = None) -> tuple[ThresholdUsage, ...]:
        """How far limits are used up by the calls of all processes that write to this ledger.

        Args:
            limits: texts such as ``cost=50/month`` or ``calls=100/day/user``, or :class:`Threshold` objects. Without a
                period it is a day; ``total`` is all calls.
            timezone: whose days, weeks and months the texts mean; by default UTC.

        Returns:
            One value for each limit, in their order. Of a limit per agent, user or model it is the one that has used
            the most; if there is none yet, the limit is left out.

        Raises:
            ConfigurationError: a limit cannot be used.
            LedgerError: the database cannot be read.
        """
        from openai_meter.ledger.limits import limit_usage  # noqa: PLC0415 - most programs have no limit of a ledger

        return limit_usage(self, limits, timezone=timezone)

    def begin(self, timeout: float = 0.5) -> None:
        """Opens the database as :meth:`prepare` does, but never raises: what cannot be opened now is tried again.

        Args:
            timeout: seconds to wait for a server at most; then it goes on in the background.
        """
        try:
            self._writer.begin(timeout)
        except Exception as error:
            faults.caught(error, "opening the ledger")

    def add(self, call: Call) -> None:
        """Adds a call; one whose id is there already changes nothing. Never raises, and never waits.

        With ``durable`` it waits for the disk.
        """
        self.put(call)
        self._writer.start()

    def put(self, call: Call) -> None:
        """The same as :meth:`add` for a finalizer, which must start no thread: ``worker.start()`` has to follow."""
        try:
            _busy.add(self)
            self._writer.put(call)
        except Exception as error:
            faults.caught(error, "adding a call to the ledger")

    def hold(self, call: Call) -> None:
        """Keeps a call that has no price yet: if the process is killed before it is added, it is not lost.

        It is in the spool only, until :meth:`add` or :meth:`put` is given the same call with its price. Never raises.
        """
        try:
            _busy.add(self)
            self._writer.hold(call)
        except Exception as error:
            faults.caught(error, "holding a call for the ledger")

    def _price_by(self, book: Callable[[], PriceBook | None]) -> None:
        """Sets the prices for calls that a killed process left unpriced. The method is referred to weakly."""
        reference = weakref.WeakMethod(book)
        self._writer.find_prices = lambda: None if (find := reference()) is None else find()

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all calls that were added before are in the database, or in the spool while it is away.

        Returns:
            Whether they are; ``False`` if that took longer than ``timeout`` seconds.
        """
        return self._writer.flush(timeout)

    def close(self, timeout: float = _EXIT_PATIENCE) -> None:
        """Flushes, and closes the connections. What cannot be stored in time goes to the spool.

        Happens by itself at the end of the process. A ledger that is given another call opens again.
        """
        self._writer.finish(timeout)
        self._writer.close_unused()
        _busy.discard(self)

    def before_finish(self, do: Callable[[], None]) -> None:
        """Registers a method to call before the ledger is finished, to add the last calls. The reference is weak."""
        self._before.append(weakref.WeakMethod(do))

    def finish(self) -> None:
        """Flushes at the end of the process. Never raises; takes some seconds at most."""
        for reference in self._before:
            try:
                if (do := reference()) is not None:
                    do()
            except Exception as error:
                faults.caught(error, "adding the last calls to the ledger")
        try:
            self.close()
        except Exception as error:
            faults.caught(error, "finishing the ledger")

    def __repr__(self) -> str:
        return f"<Ledger {self.url}>"


_ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
_busy: set[Ledger] = set()
"""Ledgers with calls that were added: they must not be garbage-collected before they are closed."""


def _finish_all() -> None:
    for ledger in list(_ledgers):
        ledger.finish()


atexit.register(_finish_all)


def _keep_all() -> None:
    for ledger in list(_busy):
        try:
            ledger._writer.keep()  # noqa: SLF001 - its own module
        except Exception as error:
            faults.caught(error, "writing the calls of a task to the spool")


@cache
def _follow_servers() -> None:
    """Flushes at the end of children of Celery and of uvicorn, which do not run ``atexit``."""
    follow_celery(_keep_all, _finish_all)
    finish_with_uvicorn(_finish_all)


def _finish_with_multiprocessing(ledger: Ledger) -> None:
    """Makes processes of ``multiprocessing`` flush at their end: those do not run ``atexit``."""
    register_after_fork(ledger, _register_finalizer)
    if process.parent_process() is not None:
        _register_finalizer(ledger)


def _register_finalizer(ledger: Ledger) -> None:
    Finalize(None, ledger.finish, exitpriority=0)


def _before_fork() -> list[Writer]:
    """Stops all transactions; returns the writers that are held."""
    writers = [ledger._writer for ledger in list(_ledgers)]  # noqa: SLF001 - its own module
    return [writer for writer in writers if writer.before_fork()]


def _after_fork(held: list[Writer]) -> None:
    for writer in held:
        writer.after_fork()


def _in_child(_: object) -> None:
    for ledger in list(_ledgers):
        ledger._writer.start_over_in_child()  # noqa: SLF001 - its own module


fork_safety.on_fork(
    "ledger",
    order=fork_safety.Order.LEDGER,
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_in_child,
)
