"""Takes calls in, writes them to the spool within a twentieth of a second, and gathers them into batches to store.

A call is put into a queue, which is one operation of the interpreter. A thread moves what is in the queue into the
spool, so that a process which is killed loses only the last moments. The rows also stay in memory, as a batch that the
writer stores; while the database hangs, further batches are left in the spool alone, and memory stays bounded.

A burst that fills the queue is moved into the spool by the thread that makes it. A call is dropped only where the
spool does not take it and memory is full.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from openai_meter.core import faults
from openai_meter.core.background import IDLE, IdleThread
from openai_meter.core.call import Call
from openai_meter.core.native import Empty, RLock, SimpleQueue, acquire
from openai_meter.ledger.holding import Held, Holding, is_waiting
from openai_meter.ledger.rows import Row, decode_line, encode_line, to_row
from openai_meter.ledger.set_aside import SetAside, call_line
from openai_meter.ledger.spool import Segment, Spool
from openai_meter.ledger.stats import Counts

__all__ = ["BATCH", "LIMIT", "Batch", "Intake", "Lines", "read_batches"]

logger = logging.getLogger("openai_meter")

LIMIT = 50_000
"""Calls in memory from which on the caller's thread helps, and rows that the spool refuses are dropped."""
BATCH = 5_000
"""Calls of one transaction at most."""
_CHUNK = 500
"""Calls that are written to the spool at once."""
_AHEAD = 2
"""Full batches that wait in memory; further ones wait in the spool alone."""
_TICK = 0.02
"""Seconds between two checks of the queue."""
_HELP = 0.05
"""Seconds that a caller waits at most to move calls out of a full queue."""
_STUCK = 5.0
"""Seconds for which callers do not help, after a caller had to wait for the disk."""


class Batch:
    """Calls that are stored together, and the segment of the spool that holds them until then."""

    __slots__ = ("counted", "loose", "rows", "segment", "since", "since_monotonic")

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.loose: set[str] = set()
        """The ids of rows that the spool did not take."""
        self.segment: Segment | None = None
        self.counted = 0
        """How many are counted as spooled."""
        self.since = time.time()
        self.since_monotonic = time.monotonic()


class Lines(NamedTuple):
    """Some lines of a segment, as many as are stored together."""

    rows: dict[str, Row]
    waiting: dict[str, Row]
    """Rows that were written before their calls had a price."""
    damaged: list[bytes]
    """Lines that cannot be read."""


def read_batches(segment: Segment) -> Iterator[Lines]:
    """The lines of a segment, a batch at a time."""
    lines = Lines({}, {}, [])
    for line in segment.lines():
        try:
            row = decode_line(line)
        except Exception:  # an error in a line must not stop the lines after it
            lines.damaged.append(line)
            continue
        (lines.waiting if is_waiting(row) else lines.rows)[row[0]] = row
        if len(lines.rows) + len(lines.waiting) >= BATCH:
            yield lines
            lines = Lines({}, {}, [])
    yield lines


class Intake:
    """The queue of a ledger, its thread, and the batches that are not stored yet. Thread-safe.

    Args:
        spool: where the calls are written.
        counts: what is refused and dropped is counted here.
        durable: whether a call is on the disk before :meth:`put` returns.
        wake: is called, without starting a thread, when a first row comes in; with ``True`` when a batch is full.
        begin: starts the thread that stores batches.
    """

    def __init__(
        self,
        spool: Spool,
        counts: Counts,
        *,
        durable: bool,
        wake: Callable[[bool], None],
        begin: Callable[[], None],
    ) -> None:
        self.spool = spool
        self.set_aside = SetAside(spool.folder)
        self.lock = RLock()
        """Held around each use of the spool and of the batches."""
        self.ready: deque[Batch] = deque()
        """Full batches."""
        self.current: Batch | None = None
        self._taken: Batch | None = None
        """The batch that is being stored."""
        self.left_behind = False
        """Whether the spool has segments of this process that are in no batch."""
        self.holding = Holding(spool)
        self.loose = 0
        """Rows in memory that the spool did not take, those that the writer keeps included."""
        self._counts = counts
        self._durable = durable
        self._wake = wake
        self._begin = begin
        self._queue: SimpleQueue[Call | Held] = SimpleQueue()
        self._kick: SimpleQueue[None] = SimpleQueue()
        self._thread = IdleThread("openai_meter spool", self._turn, self._pending)
        self._idle_at = 0.0
        self._stuck_until = 0.0
        self._drops_logged = False

    # --- the caller's side --------------------------------------------------------------------------------------------

    def put(self, call: Call) -> None:
        """Takes a call. Never waits for a database; may be called in a finalizer."""
        # A finalizer may have interrupted the thread that runs this: then the queue takes the call.
        inside = self._is_inside()
        if self._durable and not inside:
            with self.lock:
                self._accept([call], sync=True)
            return
        self._enqueue(call, inside=inside)

    def hold(self, call: Call) -> None:
        """Takes a call that has no price yet, and comes again with :meth:`put`; until then the spool keeps it.

        Does nothing where calls are ``durable``: there the prices are read before the first call.
        """
        if not self._durable:
            self._enqueue(Held(call), inside=self._is_inside())

    def _enqueue(self, call: Call | Held, *, inside: bool) -> None:
        self._queue.put(call)
        if self._queue.qsize() > LIMIT:
            self._relieve(inside=inside)

    def _is_inside(self) -> bool:
        """Whether this thread holds the lock."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]  # noqa: SLF001 - as threading.Condition does

    def _relieve(self, *, inside: bool) -> None:
        """Moves some calls from a full queue into the spool, in the caller's thread; drops one if that cannot be."""
        if not inside:
            self._help(_CHUNK)
        if self._queue.qsize() > 2 * LIMIT:
            with suppress(Empty):
                if not isinstance(self._queue.get_nowait(), Held):  # that one comes again
                    self.drop(1, "the queue is full, and the disk does not answer")

    def _help(self, limit: int | None) -> int:
        """Moves calls from the queue into the spool, in the caller's thread; returns how many."""
        moved, before = 0, self._queue.qsize()
        if time.monotonic() < self._stuck_until:
            return 0
        if acquire(self.lock, _HELP):
            try:
                moved = self.drain(limit)
            finally:
                self.lock.release()
        elif self._queue.qsize() >= before:
            self._stuck_until = time.monotonic() + _STUCK
        return moved

    def keep_queued(self) -> None:
        """Moves the calls in the queue into the spool, in the caller's thread. Waits only as long as one disk write."""
        if self._pending() and self._help(None):
            self._begin()

    def start(self) -> None:
        """Starts the thread, if there are calls in the queue. Never waits; may be called in a finalizer."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is a thread that moves calls into the spool."""
        return self._thread.running

    def _pending(self) -> bool:
        return not self._queue.empty()

    def _turn(self) -> bool:
        with suppress(Empty):
            self._kick.get(timeout=0 if self._pending() and not self._idle_at else _TICK)
        if self.drain():
            self._idle_at = time.monotonic() + IDLE
            self._begin()
        elif time.monotonic() >= self._idle_at:
            self._idle_at = 0.0
            return False
        return True

    # --- into the spool -----------------------------------------------------------------------------------------------

    def drain(self, limit: int | None = None) -> int:
        """Moves calls from the queue into the spool and into batches; returns how many."""
        left = self._queue.qsize() if limit is None else limit
        moved = 0
        while left > 0:
            with self.lock:
                calls = self._next(min(left, _CHUNK))
                if not calls:
                    break
                self._accept(calls)
            left -= len(calls)
            moved += len(calls)
        return moved

    def _next(self, limit: int) -> list[Call | Held]:
        calls: list[Call | Held] = []
        with suppress(Empty):
            while len(calls) < limit:
                calls.append(self._queue.get_nowait())
        return calls

    def _accept(self, arrived: Sequence[Call | Held], *, sync: bool = False) -> None:
        calls = [call for call in arrived if not isinstance(call, Held)]
        if len(calls) < len(arrived) or self.holding.calls:
            priced = {call.id for call in calls}
            self.holding.calls -= priced
            self.holding.add(held.call for held in arrived if isinstance(held, Held) and held.call.id not in priced)
        self._spool_calls(calls, sync=sync)
        self._end_holding()

    def _spool_calls(self, calls: list[Call], *, sync: bool) -> None:
        made = [pair for call in calls if (pair := self._row(call)) is not None]
        if not made:
            return
        kept = self.spool.append([line for _, line in made], sync=sync)
        rows = [row for row, _ in made]
        if not kept:
            self.left_behind = True  # the segment was ended: its calls are stored twice, and count once
            rows = rows[: self._room(len(rows))]
        self._gather(rows, kept=kept)

    def _gather(self, rows: list[Row], *, kept: bool) -> None:
        if not rows:
            return
        first = self.current is None
        batch = self.current = self.current or Batch()
        for row in rows:
            batch.rows[row[0]] = row
        if not kept:
            added = {row[0] for row in rows} - batch.loose
            batch.loose |= added
            self.loose += len(added)
        if len(batch.rows) >= BATCH or self.spool.full:
            self._finish_batch()
            self._wake(True)
        elif first:
            self._wake(False)

    def _room(self, wanted: int) -> int:
        """How many rows memory takes that the spool did not take; the rest is dropped."""
        room = max(LIMIT - self.loose, 0)
        if wanted > room:
            self.drop(wanted - room, "the database is away, and the spool takes nothing")
        return room

    def _row(self, call: Call) -> tuple[Row, bytes] | None:
        try:
            row = to_row(call)
            return row, encode_line(row)
        except ValueError as error:
            self.refuse([call_line(call)], str(error))
        except Exception as error:
            self.refuse([call_line(call)], type(error).__name__)
            faults.caught(error, "reading a call for the ledger")
        return None

    def refuse(self, lines: list[bytes], why: str) -> None:
        """Sets calls aside that cannot be stored, and counts them."""
        with self.lock:
            self._counts.add("refused", len(lines))
            self.set_aside.add(lines, why)

    def damaged(self, lines: list[bytes]) -> None:
        """Sets lines of the spool aside that cannot be read, and counts them."""
        if lines:
            with self.lock:
                self._counts.add("damaged", len(lines))
                self.set_aside.add(lines, "their lines in the spool are damaged")

    def drop(self, n: int, why: str) -> None:
        """Counts calls that are lost, and logs the first of them."""
        self._counts.add("dropped", n)
        if not self._drops_logged:
            self._drops_logged = True
            logger.warning("%d calls are not in the ledger, and more may follow: %s", n, why)

    # --- batches ------------------------------------------------------------------------------------------------------

    def _finish_batch(self) -> None:
        batch, self.current = self.current, None
        if batch is not None:
            batch.segment = self.spool.seal()
            self.ready.append(batch)
            while len(self.ready) > _AHEAD and not self.ready[-1].loose:
                self.leave(self.ready.pop())

    def take(self) -> Batch | None:
        """The next batch to be stored, if there is one. :meth:`done` or :meth:`leave` has to follow."""
        with self.lock:
            if not self.ready:
                self._finish_batch()
            self._taken = self.ready.popleft() if self.ready else None
            return self._taken

    def done(self, batch: Batch) -> None:
        """Removes a batch that is in the database."""
        with self.lock:
            self._taken = None
            self._counts.add("replayed", batch.counted)
            self.loose -= len(batch.loose)
            if batch.segment is not None:
                self.spool.delete(batch.segment)
            self._drops_logged = False
            self._end_holding()

    def _end_holding(self) -> None:
        if not self.loose:  # all calls that came with their price are in a segment or in the database
            self.holding.end()

    def leave_held(self) -> None:
        """Leaves the calls that still wait for a price to be replayed."""
        with self.lock:
            self.left_behind |= self.holding.release()

    def leave(self, batch: Batch) -> dict[str, Row]:
        """Leaves a batch in the spool; returns the rows that are not in there."""
        with self.lock:
            self._taken = None if batch is self._taken else self._taken
            self._count_spooled(batch)
            if batch.segment is not None:
                self.spool.release(batch.segment)
                self.left_behind = True
            return {call_id: batch.rows[call_id] for call_id in batch.loose}

    def wait_in_spool(self) -> None:
        """While the database is away: leaves full batches in the spool, and counts the calls of the current one."""
        with self.lock:
            for batch in [*self.ready]:
                if not batch.loose:
                    self.ready.remove(batch)
                    self.leave(batch)
            if self.current is not None:
                self._count_spooled(self.current)

    def _count_spooled(self, batch: Batch) -> None:
        number = len(batch.rows) - len(batch.loose)
        self._counts.add("spooled", number - batch.counted)
        batch.counted = number

    def keep(self, rows: dict[str, Row]) -> bool:
        """Writes loose rows to the spool, all or none."""
        with self.lock:
            kept = self.spool.append([*map(encode_line, rows.values())], sync=self._durable)
            if kept:
                self.loose -= len(rows)
                self.spool.seal_and_release()
                self.left_behind = True
                self._counts.add("spooled", len(rows))
                self._end_holding()
        return kept

    @property
    def waiting(self) -> int:
        """Calls in memory, in the queue and in batches, and those that wait for a price.

        Waits a moment for a thread that moves calls from the queue into the spool: they are in neither meanwhile. A
        disk that does not answer does not hold the caller up for longer; then these calls are missing in the figure.
        """
        held = acquire(self.lock, _HELP)
        try:
            batches = [batch for batch in (*self.ready, self.current, self._taken) if batch is not None]
            return self._queue.qsize() + len(self.holding.calls) + sum(len(batch.rows) for batch in batches)
        finally:
            if held:
                self.lock.release()

    def oldest(self) -> Batch | None:
        """The oldest batch. Takes no lock."""
        try:
            return self.ready[0]
        except IndexError:
            return self.current

    # --- forks --------------------------------------------------------------------------------------------------------

    def leave_to_parent(self) -> None:
        """Drops, in a forked child, the calls of its parent."""
        self.spool.leave_to_parent()
