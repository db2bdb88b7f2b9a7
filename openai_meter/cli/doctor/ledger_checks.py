"""Checks the ledger without a change to it (does it exist, is it writable, do calls wait for it), and the clock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_meter.cli.doctor.diagnosis import Finding
from openai_meter.core import settings
from openai_meter.errors import LedgerError, MeterError
from openai_meter.instrumentation.listening import registry

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

    from openai_meter.ledger import Ledger

__all__ = ["look_at_ledger"]

_VARIABLE = "OPENAI_METER_LEDGER"
_SKEW = 2.0
"""Seconds that two clocks may differ: calls are put in order, and into days, by them."""


def look_at_ledger(ledger: Ledger | str | None) -> Iterator[Finding]:
    """The ledger that is named, that of the installed meter, or that of the environment. Waits some seconds at most."""
    installed = None if registry.installed is None else registry.installed.ledger
    named = ledger or installed or settings.get("ledger")
    if not named:
        yield Finding("ledger", "none")
        yield Finding("clock", "alone")
        return
    try:
        if isinstance(named, str):
            from openai_meter.ledger.database import checked_url, spool_folder  # noqa: PLC0415

            url = checked_url(named)
            spool = spool_folder(url, make=False)
        else:
            url, spool = named.engine.url, named.spool
        yield from _spool(spool)
        yield from _file(url) if url.get_backend_name() == "sqlite" else _server(url)
    except ModuleNotFoundError:  # sqlalchemy
        yield Finding("ledger", "no_extra", "problem")
    except MeterError as error:
        yield Finding("ledger", "unusable", "problem", {"error": str(error)})


def _spool(folder: Path) -> Iterator[Finding]:
    try:
        sizes = [path.stat().st_size for path in folder.glob("*.jsonl") if not path.name.startswith(".")]
    except OSError:
        return
    if sizes:
        yield Finding("ledger", "waiting", "warning", {"n": len(sizes), "size": sum(sizes), "folder": str(folder)})


def _file(url: URL) -> Iterator[Finding]:
    path = Path(str(url.database))
    where = {"url": str(path)}
    if not path.exists():
        writable = os.access(path.parent, os.W_OK)
        yield Finding("ledger", "new" if writable else "folder_read_only", "ok" if writable else "problem", where)
    else:
        try:
            # Not with the ledger's own engine: opening it would create our tables in a foreign database.
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=2)) as connection:
                yield _judged(where, _known_version(connection, path))
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
                if not os.access(path, os.W_OK):
                    raise sqlite3.OperationalError("the file is read-only")
        except sqlite3.Error as error:
            yield Finding("ledger", "unusable", "problem", {"error": f"{path}: {error}"})
    yield Finding("clock", "same_machine")


def _known_version(connection: sqlite3.Connection, path: Path) -> int | None:
    from openai_meter.ledger import schema  # noqa: PLC0415

    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if schema.MIGRATIONS in there:
        (found,) = connection.execute(f"SELECT max(version) FROM {schema.MIGRATIONS}").fetchone()  # noqa: S608
        return int(found or 0)
    if there & {schema.calls.name, schema.daily_totals.name}:
        raise LedgerError(f"{path} has a table that openai_meter has not made; name another file")
    return None


def _judged(where: dict[str, Any], found: int | None) -> Finding:
    """What the version of a schema means."""
    from openai_meter.ledger.migrations import MIGRATIONS  # noqa: PLC0415

    newest = len(MIGRATIONS)
    if found is None:
        return Finding("ledger", "empty", values=where)
    values = {**where, "version": found, "newest": newest}
    if found > newest:
        return Finding("ledger", "newer", "problem", values)
    return Finding("ledger", "older" if found < newest else "ready", values=values)


def _server(url: URL) -> Iterator[Finding]:
    from openai_meter.ledger.database import open_engine, reachable, shown_url  # noqa: PLC0415

    engine = open_engine(url)
    where = {"url": shown_url(url)}
    try:
        with reachable(url), engine.connect() as connection:
            yield from _tables(connection, where)
            yield _skew(connection)
    finally:
        engine.dispose()


def _tables(connection: Connection, where: dict[str, Any]) -> Iterator[Finding]:
    from sqlalchemy import inspect  # noqa: PLC0415

    from openai_meter.ledger import schema  # noqa: PLC0415

    there = set(inspect(connection).get_table_names())
    if schema.MIGRATIONS in there:
        found = connection.exec_driver_sql(f"SELECT max(version) FROM {schema.MIGRATIONS}").scalar()  # noqa: S608
        yield _judged(where, int(found or 0))
        query = f"SELECT has_table_privilege('{schema.call_rows.name}', 'INSERT')"
    elif there & {schema.calls.name, schema.daily_totals.name}:
        raise LedgerError(f"{where['url']} has a table that openai_meter has not made; name another database")
    else:
        yield _judged(where, None)
        query = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    standby = connection.exec_driver_sql("SELECT current_setting('transaction_read_only') = 'on'").scalar()
    if standby or not connection.exec_driver_sql(query).scalar():
        yield Finding("ledger", "read_only", "problem", where)


def _skew(connection: Connection) -> Finding:
    before = time.time()
    theirs = float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar() or 0)
    ours = (before + time.time()) / 2
    values = {"seconds": round(ours - theirs, 1)}
    if abs(ours - theirs) > _SKEW:
        return Finding("clock", "skewed", "warning", values)
    return Finding("clock", "agrees", values=values)
