"""Stores batches of calls in the database, in the background.

A batch is one transaction (``storage.py``). While the database is away, calls wait in the spool; when it is back, the
spool is replayed first (``replay.py``). A row that the database refuses is set aside, and all others are stored.

The threads are started for work and end when there is none, so an idle process can be forked safely. A fork waits for
the transaction that is under way, and a forked child begins with an empty queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from openai_meter.core import faults
from openai_meter.core.background import IDLE, IdleThread
from openai_meter.core.call import Call
from openai_meter.core.native import Empty, Event, RLock, SimpleQueue, acquire
from openai_meter.errors import LedgerError
from openai_meter.ledger.database import driver_message, masked
from openai_meter.ledger.intake import Batch, Intake
from openai_meter.ledger.replay import replay
from openai_meter.ledger.roll_ups import STEP
from openai_meter.ledger.rows import Row, encode_line
from openai_meter.ledger.spool import Spool
from openai_meter.ledger.stats import Counts, Stats
from openai_meter.ledger.storage import Storage

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["Writer"]

logger = logging.getLogger("openai_meter")

_SOONEST, _LATEST = 0.2, 15.0
"""Seconds until a database that is away is tried again: at first, and at most."""
_SEARCH = 30.0
"""Seconds after which the spool is searched for segments that another process has left."""
_FORK_PATIENCE = {"sqlite": 5.0}
"""Seconds that a fork waits for a transaction at most, by the kind of database. A child that is forked in the middle
of a transaction of SQLite could never open the file again: its library has one state of locks for each file."""
_SHORT_FORK_PATIENCE = 0.1
"""The same for databases on a network: the child leaves the connection to its parent, so nothing depends on it."""
_CLOSE_PATIENCE = 2.0
"""Seconds that the end of a ledger waits for a transaction: a connection in use would not be closed."""
_BEHIND = 100 * STEP
"""Calls that are not in the roll-ups, from which on a step is made before the next batch."""


class Writer:
    """The thread of a ledger that stores calls. Thread-safe; :meth:`put` may be called from anywhere.

    Args:
        url: a checked URL.
        spool: where calls wait until they are in the database.
        flush_interval: seconds within which a call is stored.
        durable: whether a call is in the spool, on the disk, before :meth:`put` returns.
    """

    def __init__(self, url: URL, spool: Spool, flush_interval: float, *, durable: bool) -> None:
        self.url = url
        self.spool = spool
        self.durable = durable
        self._interval = flush_interval
        self.storage = Storage(url, durable=durable)
        self.find_prices: Callable[[], PriceBook | None] = lambda: None
        """The prices of calls whose process died before it had read its own; ``None`` is the published ones."""
        self._start_over()

    def _start_over(self) -> None:
        self._counts = Counts()
        self._kick: SimpleQueue[bool] = SimpleQueue()
        """``True`` is work to do now; ``False`` only ends the wait, so that its length is computed again."""
        self.intake = Intake(
            self.spool, self._counts, durable=self.durable, wake=self._kick.put, begin=self._start_thread
        )
        self._thread = IdleThread("openai_meter ledger", self._turn, self._pending, self.close_unused)
        self._doing = RLock()
        """Held around each round: by the thread, or by a flush that does its work."""
        self._marks: SimpleQueue[Event] = SimpleQueue()
        """Events of waiting flushes; each is set at the end of the next round that begins."""
        self._left: dict[str, Row] = {}
        """Rows that neither the database nor the spool took; tried again."""
        self._storing = 0
        """Rows of ``_left`` that are being stored once more."""
        self._away = False
        self._retry_at = self._search_at = 0.0
        self._delay = _SOONEST
        self._drops_reported = 0
        self._stored_at: float | None = None
        self._not_rolled_up = STEP - 1
        """Calls that were stored since the last look for a step of the roll-ups; the first batch looks for one."""

    # --- the side of the program --------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Takes a call. Never waits; ``durable`` waits for the disk. May be called in a finalizer."""
        self.intake.put(call)
        self.start()

    def hold(self, call: Call) -> None:
        """Keeps a call in the spool until it comes with its price. Never waits; may be called in a finalizer."""
        self.intake.hold(call)
        self.start()

    def keep(self) -> None:
        """Returns when the calls so far are in the spool, unless another thread or the disk takes too long."""
        self.intake.keep_queued()

    def start(self) -> None:
        """Starts the threads that there is work for. Never waits; may be called in a finalizer."""
        if self.durable:
            self._thread.start()
        else:
            self.intake.start()

    @property
    def running(self) -> bool:
        """Whether there is a thread that stores what comes in."""
        return self.intake.running or self._thread.running

    def _start_thread(self) -> None:
        self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Waits until all calls that were added before are in the database or, while it is away, in the spool.

        Returns:
            Whether they are; ``False`` if that took longer than ``timeout`` seconds, if calls are in memory only, or if
            calls were dropped since the last flush.
        """
        end = time.monotonic() + timeout
        if not acquire(self.intake.lock, timeout):
            return False
        try:
            self.intake.drain()
        finally:
            self.intake.lock.release()
        mark = Event()
        self._marks.put(mark)
        self._kick.put(True)
        self._thread.start()
        while not self._thread.running and not mark.is_set():  # no thread could be started
            self._work()
        done = mark.wait(max(end - time.monotonic(), 0.0))
        dropped = self._counts.get("dropped")
        lost, self._drops_reported = dropped - self._drops_reported, dropped
        return done and not self._left and not lost

    def finish(self, timeout: float) -> None:
        """Flushes at the end of the process or of the ledger; what cannot be stored in time stays in the spool."""
        if not self.flush(timeout):
            self._leave_all()
        self.intake.leave_held()

    def _leave_all(self) -> None:
        with self.intake.lock:
            while (batch := self.intake.take()) is not None:
                self._left |= self.intake.leave(batch)
        if self._left and not self.intake.keep(self._left):
            self.intake.drop(len(self._left), "there is neither a database nor room in the spool")
            self.intake.loose -= len(self._left)
        self._left = {}

    def stats(self) -> Stats:
        """The counts of the calls of this process."""
        waiting = self.intake.waiting + self._storing + len(self._left)
        oldest = self.intake.oldest()
        times = [self.spool.oldest(), None if oldest is None else oldest.since]
        since = min((at for at in times if at is not None), default=None)
        return self._counts.stats(waiting=waiting, away=self._away, waiting_since=since, stored_at=self._stored_at)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        if not self._wait():
            return False
        self._work()
        return True

    def _pending(self) -> bool:
        return self.intake.oldest() is not None or not self._marks.empty()

    def close_unused(self) -> None:
        """Closes the connections when no transaction is under way; waits for one a moment at most."""
        held = acquire(self._doing, _CLOSE_PATIENCE)
        try:
            self.storage.close()
        finally:
            if held:
                self._doing.release()

    def _wait(self) -> bool:
        """Waits until there is work; ``False`` if there is none any more."""
        patience = max(self._retry_at - time.monotonic(), _SOONEST) if self._away or self._left else IDLE
        end = time.monotonic() + patience
        while True:
            now = time.monotonic()
            batch = self.intake.oldest()
            due = end if batch is None or self._away else batch.since_monotonic + self._interval
            if now >= due:
                return batch is not None or self._away or bool(self._left)
            with suppress(Empty):
                if self._kick.get(timeout=due - now):
                    return True

    def _work(self) -> None:
        """One round: stores the waiting calls, or leaves them in the spool."""
        with self._doing:
            with suppress(Empty):
                while True:  # a remaining item would only start the next round too early
                    self._kick.get_nowait()
            marks = []
            with suppress(Empty):
                while True:
                    marks.append(self._marks.get_nowait())
            try:
                self._store_all()
            except Exception as error:
                faults.caught(error, "writing to the ledger")
            finally:
                for mark in marks:
                    mark.set()
            self._roll_up()

    def _roll_up(self) -> None:
        """Adds some calls to the roll-ups, if nothing else waits or if many calls are missing in them."""
        if self._away or self._not_rolled_up < (STEP if self.intake.oldest() is None else _BEHIND):
            return
        self._not_rolled_up = 0
        try:
            added = self.storage.roll_up()
        except OperationalError:  # the database is away or locked, which the next batch finds too
            return
        except Exception as error:
            faults.caught(error, "adding calls to the roll-ups")
            return
        if added:
            self._not_rolled_up = STEP
            self._kick.put(True)

    def _store_all(self) -> None:
        self.intake.drain()
        if not self._replayed():
            self._wait_in_spool()
            return
        while (batch := self.intake.take()) is not None:
            if not self._store_batch(batch):
                self._wait_in_spool()
                return
        if self._left:
            self._store_batch(Batch())
        if self.intake.left_behind:
            self._replayed()

    def _replayed(self) -> bool:
        """Replays the spool if it may have calls; ``False`` if the database is away."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        if not (self.intake.left_behind or self._away or now >= self._search_at):
            return True
        try:
            self.storage.open()
            replay(self.spool, self.intake, self._counts, self._store_surely, self.find_prices)
        except (SQLAlchemyError, LedgerError, OSError) as error:
            self._is_away(error)
            return False
        self._search_at = now + _SEARCH
        self._is_back()
        return True

    def _wait_in_spool(self) -> None:
        self.intake.wait_in_spool()
        if self._left and self.intake.keep(self._left):
            self._left = {}

    def _store_batch(self, batch: Batch) -> bool:
        """Stores a batch, and rows that are left in memory; if that fails, they wait in the spool or in memory."""
        self._storing = len(self._left)
        left, self._left = self._left, {}
        rows = {**left, **batch.rows}
        stored = False
        try:
            stored = self._store(rows)
        finally:
            self._storing = 0
            if stored:
                self.intake.loose -= len(left)
                self.intake.done(batch)
            else:
                self._left = {**left, **self.intake.leave(batch)}
        return stored

    def _store(self, rows: Mapping[str, Row]) -> bool:
        """Stores rows; ``False`` if the database is away."""
        try:
            self._store_surely(rows)
        except (SQLAlchemyError, LedgerError, OSError) as error:
            self._is_away(error)
            return False
        self._is_back()
        return True

    def _store_surely(self, rows: Mapping[str, Row]) -> int:
        """Stores rows, and sets those aside that the database refuses; returns how many were not there."""
        written, refused = self.storage.store(rows)
        self._counts.add("written", written)
        self._not_rolled_up += written
        for call_id, why in refused.items():
            self.intake.refuse([encode_line(rows[call_id])], why)
        return written

    # --- the database -------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Connects, and brings the tables up to date.

        Raises:
            LedgerError: that cannot be done; of the kind :class:`LedgerUnavailableError` if it may be done later.
        """
        with self._doing:
            self.storage.open(check=True)
            if not self._thread.running:
                self.storage.close()  # it may be long until there is something to store

    def begin(self, timeout: float) -> None:
        """Opens the database, if that takes no longer than ``timeout`` seconds; else it is opened in the background.

        Where it cannot be opened, that is logged, and calls wait in the spool.
        """
        if self.url.get_backend_name() != "sqlite":
            self.flush(timeout)
            return
        with self._doing:  # a file needs no thread, after which the program could not fork without a warning
            try:
                self.storage.open(check=True)
            except (SQLAlchemyError, LedgerError, OSError) as error:
                self._is_away(error)
            if not self._thread.running:
                self.storage.close()

    def _is_away(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._delay
        self._delay = min(self._delay * 2, _LATEST)
        if not self._away:
            self._away = True
            why = masked(driver_message(error) if isinstance(error, DBAPIError) else str(error), self.url)
            logger.warning("the ledger is away (%s); calls wait for it in %s", why, self.spool.folder)
        self.storage.distrust()

    def _is_back(self) -> None:
        self._stored_at = time.time()
        self._retry_at, self._delay = 0.0, _SOONEST
        if self._away:
            self._away = False
            logger.warning("the ledger is back, and the calls that waited for it are stored")

    # --- forks --------------------------------------------------------------------------------------------------------

    def before_fork(self) -> bool:
        """Waits for a transaction that is under way, and closes what a child must not have open.

        Returns:
            Whether :meth:`after_fork` has to be called in the parent.
        """
        patience = _FORK_PATIENCE.get(self.url.get_backend_name(), _SHORT_FORK_PATIENCE)
        if not self._doing.acquire(timeout=patience):
            return False
        if not self.intake.lock.acquire(timeout=_SHORT_FORK_PATIENCE):
            self._doing.release()
            return False
        with suppress(Exception):
            self.storage.close()
        return True

    def after_fork(self) -> None:
        """Goes on in the parent. For the thread that forked only."""
        self.intake.lock.release()
        self._doing.release()

    def start_over_in_child(self) -> None:
        """Makes the writer of a forked child empty and usable: what was queued belongs to its parent."""
        self.intake.leave_to_parent()
        self.storage.leave_to_parent()
        self._start_over()
