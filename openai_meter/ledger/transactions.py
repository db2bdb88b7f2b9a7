"""The transactions in which a ledger is read and corrected, in any thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Transactions"]


class Transactions:
    """The base for reading and correcting a ledger: its database, and transactions in it. Thread-safe."""

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
