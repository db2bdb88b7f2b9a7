"""Writes calls to the database beside the program: nobody who makes a call waits for it.

A call is put into a queue (one operation of the interpreter). A thread takes what has come in within an interval,
and stores it in one transaction. While the database is away, calls go to the spool; when it is back, the spool is
replayed first. What is stored twice counts once, so after an unclear failure everything is simply stored again.

The thread is started for work and ends when there is none, so a process that is idle can be forked without a second
thought. A fork waits for the transaction that is under way, a forked child begins with an empty queue, and at the end
of the process what the thread cannot store in time goes to the spool.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import URL, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from openai_meter.core import faults
from openai_meter.core.background import IDLE, IdleThread
from openai_meter.core.call import Call
from openai_meter.core.native import Empty, Event, RLock, SimpleQueue
from openai_meter.errors import LedgerError
from openai_meter.ledger.database import driver_message, open_engine, reachable, writing
from openai_meter.ledger.inserting import store
from openai_meter.ledger.migrations import migrate
from openai_meter.ledger.rows import Row, decode_line, encode_line, to_row
from openai_meter.ledger.spool import Segment, Spool
from openai_meter.ledger.stats import Counts, Stats

__all__ = ["Writer"]

logger = logging.getLogger("openai_meter")

LIMIT = 50_000
"""How many calls wait in memory at most."""
_BATCH = 5_000
"""Calls from which on a batch does not wait for its interval to end; at most twice as many are one transaction."""
_SOONEST, _LATEST = 0.2, 15.0
"""Seconds until a database that is away is tried again: at first, and at most."""
_SEARCH = 30.0
"""Seconds after which segments are looked for that another process has left."""
_FORK_PATIENCE = {"sqlite": 5.0}
"""Seconds that a fork waits for a transaction at most, by the kind of database. A child that is forked in the middle
of a transaction of SQLite could never open the file again: its library has one state of locks for each file."""
_SHORT_FORK_PATIENCE = 0.1
"""The same for databases on a network: the child leaves the connection to its parent, so nothing depends on it."""


class _Safe(NamedTuple):
    """A call that is in the spool already (``durable``)."""

    call: Call


class _Mark(NamedTuple):
    """Is set when everything before it in the queue is stored or spooled."""

    passed: Event


class Writer:
    """The queue and the thread of a ledger. Thread-safe; :meth:`put` may be called from anywhere.

    Args:
        url: a checked URL.
        spool: where calls wait while the database is away.
        flush_interval: seconds within which a call is stored.
        durable: whether a call is in the spool, on the disk, before :meth:`put` returns.
    """

    def __init__(self, url: URL, spool: Spool, flush_interval: float, *, durable: bool) -> None:
        self.url = url
        self.spool = spool
        self.durable = durable
        self._interval = flush_interval
        self.engine: Engine = open_engine(url, durable=durable)
        self._migrated = False
        self._start_over()

    def _start_over(self) -> None:
        self._queue: SimpleQueue[Call | _Safe | _Mark] = SimpleQueue()
        self._kick: SimpleQueue[None] = SimpleQueue()
        self._thread = IdleThread("openai_meter ledger", self._turn, self._pending, self.close_unused)
        self._doing = RLock()
        """Held round each batch: by the thread, or by whoever does its work at the end."""
        self._keeping = RLock()
        """Held round each use of the spool."""
        self._batch: dict[str, Row] = {}
        """What is being stored."""
        self._left: dict[str, Row] = {}
        """What neither the database nor the spool took; tried again, up to ``LIMIT``."""
        self._counts = Counts()
        self._away = False
        self._retry_at = self._search_at = 0.0
        self._delay = _SOONEST
        self._spooling = False

    # --- the side of the program --------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Puts a call into the queue. Never waits; ``durable`` waits for the disk. May be called in a finalizer."""
        if self._queue.qsize() >= LIMIT:
            self._counts.add("dropped", 1)
            return
        if self.durable:
            self._put_durably(call)
        else:
            self._queue.put(call)
        if not self._thread.running:
            self._thread.start()
        elif self._queue.qsize() == _BATCH:
            self._kick.put(None)

    def _put_durably(self, call: Call) -> None:
        if (row := self._row(call)) is None:
            return
        with self._keeping:
            kept = self.spool.append([encode_line(row)], sync=True)
            self._queue.put(_Safe(call) if kept else call)

    def start(self) -> None:
        """Starts the thread, if there is something to store. Never waits; may be called in a finalizer."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is a thread that stores what comes in."""
        return self._thread.running

    def flush(self, timeout: float) -> bool:
        """Waits until all calls that were added before are in the database, or in the spool.

        Returns:
            Whether they are; ``False`` if that took longer than ``timeout`` seconds.
        """
        mark = _Mark(Event())
        self._queue.put(mark)
        self._kick.put(None)
        self.start()
        while not self._thread.running and not mark.passed.is_set():  # no thread could be started
            self._work()
        return mark.passed.wait(timeout) and not self._left

    def finish(self, timeout: float) -> None:
        """Flushes at the end of the process or of the ledger; what cannot be stored in time goes to the spool."""
        if self.flush(timeout):
            return
        rows = {**self._left, **self._batch}  # the thread may hang with these: storing them twice counts once
        for item in self._gather():
            if isinstance(item, Call) and (row := self._row(item)) is not None:
                rows[row[0]] = row
        self._left = {}
        if rows and not self._keep(rows):
            self._drop(len(rows), "there is neither a database nor room in the spool")

    def close_connections(self) -> None:
        """Closes what is open and not in use; it opens again when it is needed."""
        self.engine.dispose()

    def stats(self) -> Stats:
        """What became of the calls of this process."""
        waiting = self._queue.qsize() + len(self._batch) + len(self._left)
        return self._counts.stats(waiting=waiting, away=self._away)

    # --- the side of the thread ---------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        if not self._wait():
            return False
        self._work()
        return True

    def _pending(self) -> bool:
        return not self._queue.empty()

    def close_unused(self) -> None:
        """Closes the connections when no transaction is under way."""
        with self._doing:
            self.close_connections()

    def _wait(self) -> bool:
        """Waits until an interval is over and something has come in; ``False`` if there is nothing to do any more.

        Calls do not wake the thread: that would cost them more than all the rest.
        """
        patience = max(self._retry_at - time.monotonic(), _SOONEST) if self._away or self._left else IDLE
        deadline = time.monotonic() + patience
        kicked = False
        while not kicked:
            left = deadline - time.monotonic()
            if left <= 0 and self._queue.empty():
                return self._away or bool(self._left)
            with suppress(Empty):
                self._kick.get(timeout=min(self._interval, left) if self._queue.empty() else self._interval)
                kicked = True
            if not self._queue.empty():
                break
        with suppress(Empty):
            while True:  # one that is left over would only end the next interval too soon
                self._kick.get_nowait()
        return True

    def _work(self) -> None:
        """Stores or spools what is in the queue now."""
        with self._doing:
            segment = None
            if self.durable:
                with self._keeping:
                    segment = self.spool.seal()
                    items = self._gather()
            else:
                items = self._gather(2 * _BATCH)
            try:
                self._store_items(items, segment)
            except Exception as error:
                faults.caught(error, "writing to the ledger")
            finally:
                for item in items:
                    if isinstance(item, _Mark):
                        item.passed.set()
        if len(items) == 2 * _BATCH:  # there is more, and somebody may be waiting for the last of it
            self._kick.put(None)

    def _gather(self, limit: int = 2 * LIMIT) -> list[Call | _Safe | _Mark]:
        items: list[Call | _Safe | _Mark] = []
        with suppress(Empty):
            while len(items) < limit:
                items.append(self._queue.get_nowait())
        return items

    def _store_items(self, items: list[Call | _Safe | _Mark], segment: Segment | None) -> None:
        rows, safe = self._left, set()
        for item in items:
            if isinstance(item, _Mark):
                continue
            call = item.call if isinstance(item, _Safe) else item
            if (row := self._row(call)) is not None:
                rows[row[0]] = row
                if isinstance(item, _Safe):
                    safe.add(row[0])
        self._batch, self._left = rows, {}
        stored = False
        try:
            stored = self._store(rows)
        finally:
            if segment is not None and stored:
                segment.delete()
            elif segment is not None:
                self._spooling = True
                self._counts.add("spooled", len(safe))
                segment.release()
            if not stored and (rest := {one: row for one, row in rows.items() if one not in safe}):
                self._keep_or_leave(rest)
            self._batch = {}

    def _row(self, call: Call) -> Row | None:
        try:
            return to_row(call)
        except ValueError as error:
            self._refuse(str(error))
        except Exception as error:
            self._refuse(type(error).__name__)
            faults.caught(error, "reading a call for the ledger")
        return None

    def _refuse(self, why: str) -> None:
        self._counts.add("refused", 1)
        logger.warning("a call cannot be kept in the ledger: %s", why)

    def _store(self, rows: Mapping[str, Row]) -> bool:
        """Stores rows, and what is in the spool before them; ``False`` if the database is away."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        try:
            if not self._migrated:
                self.prepare()
            if self._spooling or self._away or now >= self._search_at:
                self._search_at = now + _SEARCH
                self._replay()
            self._store_now(rows)
        except (DBAPIError, LedgerError, OSError) as error:
            self._is_away(error)
            return False
        if self._away:
            self._away = False
            logger.warning("the ledger is back, and what had waited for it is in it")
        self._retry_at, self._delay = 0.0, _SOONEST
        return True

    def prepare(self) -> None:
        """Connects, and brings the tables up to date.

        Raises:
            LedgerError: that cannot be done; of the kind :class:`LedgerUnavailableError` if it may be done later.
        """
        with self._doing, reachable(self.url):
            try:
                migrate(self.engine)
            finally:
                self.close_connections()  # it may be long until there is something to store
            self._migrated = True

    def _store_now(self, rows: Mapping[str, Row]) -> int:
        if not rows:
            return 0
        try:
            with writing(self.engine) as connection:
                done = store(connection, rows)
        except (DataError, IntegrityError) as error:
            if len(rows) == 1:
                self._refuse(driver_message(error))
                return 0
            return sum(self._store_now({one: row}) for one, row in rows.items())
        self._counts.add("written", done)
        return done

    def _replay(self) -> None:
        """Stores what is in the spool, oldest first."""
        self._spooling = False
        with self._keeping:
            self.spool.seal_and_release()
        for segment in self.spool.take():
            self._spooling = True
            done = False
            try:
                self._replay_segment(segment)
                done = True
            finally:
                segment.delete() if done else segment.release()
            self._spooling = False

    def _replay_segment(self, segment: Segment) -> None:
        rows: dict[str, Row] = {}
        seen = damaged = 0
        for line in segment.lines():
            try:
                row = decode_line(line)
            except ValueError:
                damaged += 1
                continue
            rows[row[0]] = row
            seen += 1
            if len(rows) >= _BATCH:
                self._store_now(rows)
                rows = {}
        self._store_now(rows)
        self._counts.add("replayed", seen)
        if damaged:
            self._counts.add("damaged", damaged)
            logger.warning("%d lines of the ledger's spool were damaged, and are lost", damaged)

    # --- when the database is away ------------------------------------------------------------------------------------

    def _is_away(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, _LATEST)
        if not self._away:
            self._away = True
            why = driver_message(error) if isinstance(error, DBAPIError) else str(error)
            logger.warning("the ledger is away (%s); calls wait for it in %s", why, self.spool.folder)
        self.engine.dispose()  # what has failed is not used again

    def _keep(self, rows: Mapping[str, Row]) -> bool:
        """Puts rows into the spool."""
        with self._keeping:
            kept = self.spool.append([*map(encode_line, rows.values())], sync=self.durable)
        if kept:
            self._spooling = True
            self._counts.add("spooled", len(rows))
        return kept

    def _keep_or_leave(self, rows: dict[str, Row]) -> None:
        """Puts rows into the spool, or keeps them in memory as long as there is room."""
        if self._keep(rows):
            return
        room = LIMIT - self._queue.qsize()
        if len(rows) > room:
            kept = [*rows.items()][: max(room, 0)]
            self._drop(len(rows) - len(kept), "the database is away, and the spool takes nothing")
            rows = dict(kept)
        self._left = rows

    def _drop(self, n: int, why: str) -> None:
        self._counts.add("dropped", n)
        logger.warning("%d calls are not in the ledger: %s", n, why)

    # --- forks --------------------------------------------------------------------------------------------------------

    def before_fork(self) -> bool:
        """Waits for a transaction that is under way, and closes what a child must not have open.

        Returns:
            Whether :meth:`after_fork` has to be called in the parent.
        """
        held = self._doing.acquire(timeout=_FORK_PATIENCE.get(self.url.get_backend_name(), _SHORT_FORK_PATIENCE))
        if held:
            with suppress(Exception):
                self.close_connections()
        return held

    def after_fork(self) -> None:
        """Goes on in the parent. For the thread that forked only."""
        self._doing.release()

    def start_over_in_child(self) -> None:
        """Makes the writer of a forked child empty and usable: what was queued belongs to its parent."""
        self.spool.leave_to_parent()
        self.engine.dispose(close=False)  # the parent's connections go on being used by the parent
        self._start_over()
