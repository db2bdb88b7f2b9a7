"""Connections to the database of a ledger: SQLite (a file) and PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from openai_meter.errors import ConfigurationError, LedgerError, LedgerUnavailableError, MissingExtraError

__all__ = ["checked_url", "open_engine", "reachable", "said_by", "spool_folder", "writing"]

_WAIT = 2
"""Seconds that a statement waits for a lock; then the database counts as away, and calls go to the spool."""
_STATEMENT = 30
"""Seconds that a statement may take."""
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    # A network that is cut says nothing: these notice within some seconds.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
_WRITES = "openai_meter_writes"
_REFUSED = re.compile(r"does not exist|authentication failed|no password supplied|no pg_hba\.conf entry")
"""What a server says that will not change by itself."""


def checked_url(url: object) -> URL:
    """A setting as the URL of a database that a ledger can be kept in.

    Raises:
        ConfigurationError: it is none.
        MissingExtraError: the driver is not installed.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"ledger={url!r} is no URL; pass text such as 'sqlite:///usage.db'")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        hint = f"; for a file of SQLite, write 'sqlite:///{url}'" if "://" not in url else ""
        raise ConfigurationError(f"the ledger's URL cannot be read{hint}") from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _checked_file(parsed)
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        if find_spec("psycopg") is None:
            raise MissingExtraError('PostgreSQL needs a driver; install it with: pip install "openai-meter[postgres]"')
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"a ledger cannot be kept in {parsed.drivername!r}; "
        "use 'sqlite:///usage.db' or 'postgresql+psycopg://user:password@host/database'"
    )


def _checked_file(url: URL) -> URL:
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError("a ledger in memory would be gone with the process; name a file: 'sqlite:///usage.db'")
    path = Path(name).expanduser().absolute()  # the program may go to another folder
    if path.is_dir():
        raise ConfigurationError(f"the ledger {str(path)!r} is a folder; add the name of a file, such as usage.db")
    if not path.parent.is_dir():
        raise ConfigurationError(f"the folder of the ledger {str(path)!r} does not exist; make it first")
    return url.set(drivername="sqlite", database=str(path))


def spool_folder(url: URL, *, make: bool = True) -> Path:
    """Where calls wait for this database by default: beside a file, else in the user's folder for states.

    ``make``: whether that folder for states is made, where it is not there.
    """
    if url.get_backend_name() == "sqlite":
        return Path(f"{url.database}.spool")
    place = hashlib.sha256(f"{url.host}:{url.port}/{url.database}".encode()).hexdigest()[:16]
    state = os.environ.get("XDG_STATE_HOME")
    home = Path(state) if state else Path("~/.local/state").expanduser()
    base = home / "openai-meter"
    try:
        if make:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:  # a user without a home
        base = Path(tempfile.gettempdir()) / f"openai-meter-{os.getuid() if hasattr(os, 'getuid') else 'spool'}"
    return base / f"spool-{place}"


def open_engine(url: URL, *, durable: bool = False) -> Engine:
    """An engine for a checked URL. Connects only when it is used.

    Args:
        url: what :func:`checked_url` made.
        durable: whether what is committed survives a power cut; without it, it survives the death of the process.
    """
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _WAIT}, hide_parameters=True)
        synchronous = "FULL" if durable else "NORMAL"

        @event.listens_for(engine, "connect")
        def set_up(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None  # transactions begin where we say so, not where Python thinks
            try:
                if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                pass  # others are at work on the file: it is a matter of speed, and the next connection tries again
            connection.execute(f"PRAGMA synchronous = {synchronous}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A transaction that reads first and then wants to write fails where another one has written meanwhile.
            writes = connection.get_execution_options().get(_WRITES)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine
    settings = {name: value for name, value in _CONNECT.items() if name not in url.query}
    return create_engine(
        url,
        # Statements that are prepared on a connection are lost on those who put a pooler between.
        connect_args={**settings, "prepare_threshold": None},
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
    """Makes errors of the database ours, with a sentence that says what is wrong.

    Raises:
        LedgerUnavailableError: it cannot be reached, or has no room or time.
        LedgerError: it does not want us.
    """
    try:
        yield
    except DBAPIError as error:
        where = url.render_as_string(hide_password=True)
        why = said_by(error)
        if isinstance(error, OperationalError) and not _REFUSED.search(str(error.orig)):
            raise LedgerUnavailableError(f"the ledger {where} cannot be reached now: {why}") from None
        hint = "; name another file" if isinstance(error.orig, sqlite3.DatabaseError) else "; check its URL and rights"
        raise LedgerError(f"the ledger {where} cannot be used: {why}{hint}") from None


def said_by(error: DatabaseError | DBAPIError) -> str:
    """The first line of what a database said. It has no values in it: those are said in the lines after it."""
    return str(error.orig).strip().partition("\n")[0]
