"""The database of a ledger: opens it, brings its tables up to date, and stores rows, in the file that stands there now.

A call that is stored twice counts once, so after an unclear failure everything is simply stored again. A row that the
database refuses is found by halving the batch; all others are stored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from weakref import finalize

from sqlalchemy import URL, Engine

from openai_meter.core.native import Lock
from openai_meter.errors import LedgerUnavailableError
from openai_meter.ledger.database import driver_message, is_row_fault, open_engine, reachable, writing
from openai_meter.ledger.inserting import store
from openai_meter.ledger.migrations import migrate
from openai_meter.ledger.roll_ups import are_behind, take_step
from openai_meter.ledger.rows import Row
from openai_meter.ledger.sqlite_file import SqliteFile

__all__ = ["Storage"]

logger = logging.getLogger("openai_meter")

_REOPENINGS = 3
"""How often a batch is stored again because its file was replaced meanwhile."""


class Storage:
    """An open database. Not thread-safe: the writer holds its lock around each use.

    Args:
        url: a checked URL.
        durable: whether a transaction is on the disk when it is committed.
    """

    def __init__(self, url: URL, *, durable: bool) -> None:
        self.url = url
        self.engine: Engine = open_engine(url, durable=durable)
        # A ledger that is garbage-collected without close() leaves no connection open: drivers warn of that.
        finalize(self, self.engine.dispose).atexit = False
        # Two threads that dispose of an engine at once would each replace its pool, and one pool would stay open.
        self._closing = Lock()
        self._file = SqliteFile(url.database if url.get_backend_name() == "sqlite" else None)
        self._migrated = False

    def open(self, *, check: bool = False) -> None:
        """Makes sure that the tables are there; ``check``: also where they were there a moment ago.

        Raises:
            LedgerError: that cannot be done; of the kind :class:`LedgerUnavailableError` if it may be done later.
        """
        if self._migrated and self._file.is_replaced():
            path = self._file.path
            logger.warning("the file of the ledger was replaced or deleted; calls go to %s as it is now", path)
            self._migrated = False
            self._file.remove_old_log()
            self.close()
        if self._migrated and not check:
            return
        try:
            with reachable(self.url):
                migrate(self.engine)
        except Exception:
            self.distrust()
            raise
        self._file.remember()
        self._migrated = True

    def close(self) -> None:
        """Closes connections that are not in use; they open again when they are needed."""
        self._file.forget_log()
        with self._closing:
            self.engine.dispose()

    def distrust(self) -> None:
        """Closes the connections after a failure, and checks the tables next time: it may be another database then."""
        self._migrated = False
        self.close()

    def leave_to_parent(self) -> None:
        """Drops, in a forked child, the connections of its parent, which the parent still uses."""
        self._closing = Lock()
        self.engine.dispose(close=False)
        self._file.forget_log()

    def store(self, rows: Mapping[str, Row]) -> tuple[int, dict[str, str]]:
        """Stores rows in the file that stands under the ledger's name, also if it is replaced meanwhile.

        Returns:
            How many were stored, and why the database refuses some, by their ids.

        Raises:
            LedgerError: the database cannot be used now; nothing is certain about the rows.
            SQLAlchemyError: the same.
        """
        for _ in range(_REOPENINGS):
            self.open()
            refused: dict[str, str] = {}
            written = self._store_in_parts(rows, refused)
            if not self._file.is_replaced():
                self._file.remember_log()
                return written, refused
        raise LedgerUnavailableError(f"the file {self._file.path} is replaced again and again")

    def roll_up(self) -> int:
        """Makes one step of the roll-ups, if enough calls wait for one; returns how many were added.

        Raises:
            SQLAlchemyError: the database cannot be used now.
        """
        with self.engine.connect() as connection:
            behind = are_behind(connection)
        if not behind:  # nearly always: then nothing is locked
            return 0
        with writing(self.engine) as connection:
            return take_step(connection)

    def _store_in_parts(self, rows: Mapping[str, Row], refused: dict[str, str]) -> int:
        """Stores rows in one transaction, or in several smaller ones where the database refuses a row."""
        if not rows:
            return 0
        try:
            with writing(self.engine) as connection:
                return store(connection, rows)
        except Exception as error:
            if not is_row_fault(error):
                raise
            if len(rows) == 1:
                refused[next(iter(rows))] = driver_message(error)
                return 0
        pairs = [*rows.items()]
        middle = len(pairs) // 2
        return self._store_in_parts(dict(pairs[:middle]), refused) + self._store_in_parts(dict(pairs[middle:]), refused)
