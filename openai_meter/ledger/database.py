"""Connections to the database of a ledger: SQLite (a file) and PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Condition
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Queue

from openai_meter.core.native import RLock
from openai_meter.core.secrets import is_secret, mask
from openai_meter.core.version import install_command
from openai_meter.errors import ConfigurationError, LedgerError, LedgerUnavailableError, MissingExtraError

__all__ = [
    "checked_url", "driver_message", "is_row_fault", "masked", "open_engine", "reachable", "shown_url", "spool_folder",
    "writing",
]  # fmt: skip

_WAIT = 2
"""Seconds that a statement waits for a lock; after that, calls go to the spool."""
_STATEMENT = 30
"""Seconds that a statement may take."""
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    # A broken network gives no error by itself: these settings find it within some seconds.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
_WRITES = "openai_meter_writes"
_REFUSED = re.compile(r"does not exist|authentication failed|no password supplied|no pg_hba\.conf entry")
"""Messages of a server about permanent errors."""


def checked_url(url: object) -> URL:
    """Checks the URL of a ledger.

    Raises:
        ConfigurationError: it is not such a URL.
        MissingExtraError: the driver is not installed.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"ledger={mask(repr(url))} is not a URL; pass text such as 'sqlite:///usage.db'")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        hint = f"; for a file of SQLite, write 'sqlite:///{mask(url)}'" if "://" not in url else ""
        raise ConfigurationError(f"the ledger's URL cannot be read{hint}") from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _checked_file(parsed)
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        if find_spec("psycopg") is None:
            raise MissingExtraError(f"PostgreSQL needs a driver; install it with: {install_command('postgres')}")
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"a ledger cannot be kept in {parsed.drivername!r}; "
        "use 'sqlite:///usage.db' or 'postgresql+psycopg://user:password@host/database'"
    )


def _checked_file(url: URL) -> URL:
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError("a ledger in memory would be lost with the process; name a file: 'sqlite:///usage.db'")
    path = Path(name).expanduser().absolute()  # the program may change its working directory
    if path.is_dir():
        raise ConfigurationError(f"the ledger {str(path)!r} is a folder; add the name of a file, such as usage.db")
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder of the ledger {str(path)!r} does not exist; make it first")
    return url.set(drivername="sqlite", database=str(path))


def shown_url(url: URL) -> str:
    """The URL for people to read: without a password, and without the secrets among its parameters."""
    query = {name: "***" if is_secret(name) else value for name, value in url.query.items()}
    return mask(url.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***"))


def masked(text: str, url: URL) -> str:
    """A text without the secrets of a URL: drivers quote parts of it in their messages."""
    values = [value for name, value in url.query.items() if is_secret(name)]
    known = [one for value in values for one in ([value] if isinstance(value, str) else value)]
    return mask(text, [*known, *([str(url.password)] if url.password else [])])


def spool_folder(url: URL, *, make: bool = True) -> Path:
    """The default spool folder of a database: next to a file, else in the user's state folder.

    ``make``: whether the state folder is created where it does not exist.
    """
    if url.get_backend_name() == "sqlite":
        return Path(f"{url.database}.spool")
    place = hashlib.sha256(_address(url).encode()).hexdigest()[:16]
    try:
        state = os.environ.get("XDG_STATE_HOME")
        base = (Path(state) if state else Path("~/.local/state").expanduser()) / "openai-meter"
        if make:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # a user without a home
        base = _private_temporary_folder(make=make)
    return base / f"spool-{place}"


_PLACES = ("host", "hostaddr", "port", "dbname", "user", "service", "options")
"""The parameters of libpq that select the tables. The search path stands in ``options``."""


def _address(url: URL) -> str:
    """Which tables a URL of PostgreSQL names: the server, the database, the user and the search path."""
    parts = [str(url.host), str(url.port), str(url.database), str(url.username)]
    for name in _PLACES:
        value = url.query.get(name)
        if value is None and name == "options":
            value = os.environ.get("PGOPTIONS")
        parts.append(f"{name}={value}")
    return "\n".join(parts)


def _private_temporary_folder(*, make: bool) -> Path:
    """A folder in the temporary directory that no other user can read or has made."""
    name = f"openai-meter-{os.getuid() if hasattr(os, 'getuid') else 'spool'}"
    folder = Path(tempfile.gettempdir()) / name
    if make and not _is_private(folder):
        return Path(tempfile.mkdtemp(prefix=f"{name}-"))
    return folder


def _is_private(folder: Path) -> bool:
    """Makes a folder where there is none; returns whether it belongs to this user and is closed to others."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = folder.lstat()
    owned = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return stat.S_ISDIR(found.st_mode) and owned and (os.name == "nt" or not found.st_mode & 0o077)


class _Queue(Queue):  # type: ignore[type-arg]
    """The queue of a pool, with a lock of our own.

    eventlet replaces the locks of queues that exist when it patches, and their conditions then use two locks at once.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self.mutex = RLock()
        self.not_empty, self.not_full = Condition(self.mutex), Condition(self.mutex)


class _Pool(QueuePool):
    """Closes connections that come back after the pool was disposed of: another thread may have read meanwhile."""

    _queue_class = _Queue
    disposed = False

    def dispose(self) -> None:
        """Closes the connections that are not in use."""
        self.disposed = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self.disposed:  # checked last: a check before would miss a dispose() between it and the return
            super().dispose()


def open_engine(url: URL, *, durable: bool = False) -> Engine:
    """An engine for a checked URL. Connects only when it is used.

    Args:
        url: what :func:`checked_url` made.
        durable: whether committed data survives a power cut; without it, it survives the end of the process.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _WAIT}, poolclass=_Pool, hide_parameters=True)
        synchronous = "FULL" if durable else "NORMAL"

        @event.listens_for(engine, "do_connect")
        def make_file(*_: object) -> None:
            # SQLite would make it readable for all users; its log and its index take the mode of the file.
            with suppress(OSError):
                os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

        @event.listens_for(engine, "connect")
        def set_up(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = (
                None  # transactions begin by explicit BEGIN only, not by rules of the sqlite3 module
            )
            try:
                if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                pass  # the file is in use: this setting is for speed only, and the next connection tries again
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and writes later fails if another one has written meanwhile.
            writes = connection.get_execution_options().get(_WRITES)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine
    settings = {name: value for name, value in _CONNECT.items() if name not in url.query}
    # Secrets among the parameters go to the driver only: the engine shows its URL.
    secrets = {name: value for name, value in url.query.items() if is_secret(name)}
    return create_engine(
        url.difference_update_query(secrets),
        # Prepared statements do not work behind a connection pooler.
        connect_args={**settings, **secrets, "prepare_threshold": None},
        poolclass=_Pool,
        pool_pre_ping=True,
        hide_parameters=True,
    )


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed at the end of the block, rolled back if it raises."""
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = '{_WAIT}s'; SET LOCAL statement_timeout = '{_STATEMENT}s'"
            )
        yield connection


@contextmanager
def reachable(url: URL) -> Iterator[None]:
    """Turns errors of the database into errors of this package, with the cause and a remedy.

    Raises:
        LedgerUnavailableError: it cannot be reached, or has no room or time.
        LedgerError: it refuses the connection, or is not a ledger.
    """
    try:
        yield
    except DBAPIError as error:
        where = shown_url(url)
        why = masked(driver_message(error), url)
        if isinstance(error, OperationalError) and not _REFUSED.search(str(error.orig)):
            raise LedgerUnavailableError(f"the ledger {where} cannot be reached now: {why}") from None
        hint = "; name another file" if isinstance(error.orig, sqlite3.DatabaseError) else "; check its URL and rights"
        raise LedgerError(f"the ledger {where} cannot be used: {why}{hint}") from None


def is_row_fault(error: Exception) -> bool:
    """Whether a row has caused the error, and not the database or the connection to it."""
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None)
        if isinstance(error, ProgrammingError | InterfaceError):  # a value that the driver cannot pass on
            return code is None and not error.connection_invalidated and "closed" not in str(error.orig)
        return str(code).startswith(_LIMIT_EXCEEDED)
    return not isinstance(error, SQLAlchemyError | LedgerError | OSError | MemoryError)


_LIMIT_EXCEEDED = "54"
"""The class of errors of PostgreSQL for rows that are too large."""


def driver_message(error: Exception) -> str:
    """The first line of a database's message. Only later lines have the values of the row; they are left out."""
    lines = str(getattr(error, "orig", None) or error).strip().partition("\n")
    return mask(lines[0]) or type(error).__name__
