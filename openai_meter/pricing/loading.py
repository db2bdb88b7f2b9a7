"""Prices calls as they end. No call waits for the price files.

Reading the files takes some tenths of a second, once. The first call starts it in the background. Calls that end before
it is done are priced afterwards. Reading totals waits for it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openai_meter.core import faults, fork_safety
from openai_meter.core.background import worker
from openai_meter.core.call import Call
from openai_meter.core.money import Cost
from openai_meter.core.native import Lock, RLock, Thread, is_patched
from openai_meter.core.usage import Usage
from openai_meter.usage.billing_details import NOT_CHARGED
from openai_meter.usage.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook
    from openai_meter.pricing.book import BookState
    from openai_meter.pricing.contexts import PriceContext

__all__ = ["UNREADABLE", "WAITING", "PriceLoader", "prepare"]

_PLAIN = frozenset({"chat.completions", "completions", "responses", "responses.compact", "embeddings"})
"""Endpoints whose calls are priced by their tokens alone, if they have no rare facts."""
_FREE = frozenset(row.name for row in ENDPOINTS if row.free)
WAITING = "prices are being read"
"""Why a call has no price yet, if it will have one in a moment; compared by identity."""
UNREADABLE = "the prices cannot be read"
"""Why a call has no price, where the price files are missing or damaged."""
_PATIENCE = 60.0
"""Seconds that a fork waits for the price files at most."""


_OF_THREADS = (
    "genai_prices.data_snapshot",
    "openai_meter.pricing.book",
    "openai_meter.pricing.quotes",
    "openai_meter.usage.estimation",
    "tiktoken",
)
"""What the threads import that read prices and vocabularies."""
_preparing = Lock()
_prepared = False


def prepare() -> None:
    """Imports what our threads must not import while the program goes on; to be called before a call goes out.

    The catalog's package imports httpx2. SDK 2.54 looks for that one among the loaded modules whenever it reads an
    answer, and breaks the program's call if it finds it half imported by another thread. So it is imported while no
    metered call is under way: by the first call, for which other threads wait. SDK 3 has imported it anyway.

    Under gevent the locks of imports are gevent's. A greenlet that imports what one of our threads is importing waits
    for such a lock, and gevent raises ``LoopExit`` if no other greenlet can run. So the threads find all of it loaded.
    """
    global _prepared  # noqa: PLW0603 - once in a process, as an import is
    if not _prepared:
        with _preparing:
            for name in ("httpx2", *(_OF_THREADS if is_patched() else ())):
                with suppress(ImportError):  # then reading the catalog raises, which is logged
                    import_module(name)
            _prepared = True


class PriceLoader:
    """The prices of one meter, and the reading of their files.

    Args:
        reprice: prices the waiting calls; called when the files have been read.
    """

    def __init__(self, reprice: Callable[[], object]) -> None:
        self._reprice = weakref.WeakMethod(reprice)  # the meter owns this object, not the other way round
        self._book: PriceBook | None = None
        self._ready = False
        self._waiting = False
        """Whether there may be recorded calls that wait for their price."""
        self._repricing = 0
        """The number of threads, or signal handlers within one, that are pricing the waiting calls."""
        self._failed = False
        # Held while files are read or modules imported for it. A fork waits for it.
        self._reading = RLock()
        # Held while prices are read and waiting calls are priced. Not by a fork: pricing waits for other locks.
        self._settling = RLock()
        self._loader: Thread | None = None
        _loaders.add(self)

    @property
    def book(self) -> PriceBook:
        """The price book; made on first use."""
        if self._book is None:
            with self._reading:
                if self._book is None:
                    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not before something is to be priced

                    self._book = PriceBook()
        return self._book

    @property
    def made_book(self) -> PriceBook | None:
        """The price book, if it has been made. Waits for nothing; ``None`` means the prices of openai_meter."""
        return self._book

    def use(self, **settings: Any) -> None:
        """Takes other prices from now on.

        Raises:
            ConfigurationError: a setting cannot be used; the prices stay as they were.
        """
        with self._reading:
            from openai_meter.pricing import PriceBook  # noqa: PLC0415

            self._book = PriceBook(**settings)
            self._ready = self._failed = False

    @property
    def reading(self) -> bool:
        """Whether the price files have still to be read."""
        return not self._ready and not self._failed

    @property
    def failed(self) -> bool:
        """Whether the price files could not be read."""
        return self._failed

    def load(self) -> None:
        """Reads the price files if that has not been done. Waits if another thread is reading them."""
        if not self._ready:
            with self._reading:
                if not self._ready:
                    self.book.warm()
                    self._ready, self._failed = True, False

    def settle(self, *, patient: bool = True) -> None:
        """Prices the waiting calls.

        Args:
            patient: whether to wait for another thread that is doing so.
        """
        if (self._waiting or self._repricing) and self._settling.acquire(blocking=patient):
            try:
                if self._waiting:
                    self._load_and_reprice()
            finally:
                self._settling.release()

    def _load_and_reprice(self) -> None:
        self._repricing += 1
        # Cleared before the calls are read: a call that is recorded meanwhile sets it again, and is not lost.
        self._waiting = False
        try:
            try:
                if not self._failed:
                    self.load()
            except Exception as error:
                self._failed = True
                faults.caught(error, "reading the prices")
            if (reprice := self._reprice()) is not None:
                reprice()
        except BaseException:  # also of a signal handler that raises in the middle
            self._waiting = True
            raise
        finally:
            self._repricing -= 1

    def price(
        self, usage: Usage | None, model: str | None, call: PriceContext, at: datetime
    ) -> tuple[Cost, PriceBook | None]:
        """The cost of a call that ends now, and the prices it came from; unpriced while the files are being read."""
        try:
            return self._price(usage, model, call, at)
        except Exception as error:
            faults.caught(error, "pricing a call")
            return Cost(None, "unpriced", "a fault inside openai_meter"), None

    def _price(
        self, usage: Usage | None, model: str | None, call: PriceContext, at: datetime
    ) -> tuple[Cost, PriceBook | None]:
        name, response = call.row.name, call.response
        facts = response.facts
        if name in _FREE:
            return Cost(0, "free"), None
        if usage is None and (reason := NOT_CHARGED.get(facts.get("status"))) is not None:
            return Cost(0, "free", reason), None
        if self._failed:
            return Cost(None, "unpriced", UNREADABLE), None
        if not self._ready:
            self._start_loading()
            return Cost(None, "unpriced", WAITING), None
        book = (self._book or self.book).view()
        if usage is not None and not facts and name in _PLAIN:
            # Looking the plan up here instead, without two frames, saves 2,240 of 151,700 instructions (1.5%).
            return book.cost_of(
                usage, model, call.provider, call.host, response.service_tier, at, call.requested_model
            ), book
        from openai_meter.pricing import Billable  # noqa: PLC0415

        return book.cost(Billable(
            usage, model, call.requested_model, name, call.provider, call.host, response.service_tier,
            at, window=facts.get("window"), details=facts,
        )), book  # fmt: skip

    def state(self) -> BookState | None:
        """The state of the prices now, if they have been read. Results are valid for this state only."""
        if self._ready and not self._failed:
            return self._book._state  # type: ignore[union-attr] # noqa: SLF001 - what is ready is there
        return None

    def again(self, call: Call) -> Call:
        """The same call, priced by the prices of now."""
        if self._failed:
            waits = call.cost_reason == WAITING
            return call.charged(Cost(None, "unpriced", UNREADABLE), None) if waits else call
        book = self.book.view()
        return call.charged(book.cost(book.billable_of(call)), book)

    def note_recorded(self, cost: Cost) -> None:
        """Notes that a call was recorded: one that had to wait may come after all others were priced."""
        if cost.reason is WAITING:
            self._waiting = True
            if not self.reading:  # the thread that reads them may have looked through the calls already
                worker.submit(self.settle)
                worker.start()

    def _start_loading(self) -> None:
        self._waiting = True
        if self._loader is None or not self._loader.is_alive():
            loader = Thread(self.settle, "openai_meter prices")
            with suppress(RuntimeError):  # no thread can be started: the next reader of totals does it
                loader.start()
                self._loader = loader

    def before_fork(self) -> bool:
        """Waits while files are being read. Returns whether :meth:`after_fork` has to be called."""
        return self._reading.acquire(timeout=_PATIENCE)

    def after_fork(self) -> None:
        """Goes on in the parent. For the thread that forked only."""
        self._reading.release()

    def start_over_in_child(self) -> None:
        """Makes the loader usable in a forked child."""
        self._reading = RLock()
        self._settling = RLock()
        self._loader = None
        self._waiting = False
        self._repricing = 0
        if self._book is not None:
            self._book.start_over_in_child()


_loaders: weakref.WeakSet[PriceLoader] = weakref.WeakSet()


def _before_fork() -> tuple[bool, list[PriceLoader]]:
    """Waits until the files are read; returns the locks that are held."""
    preparing = _preparing.acquire(timeout=_PATIENCE)
    return preparing, [loader for loader in list(_loaders) if loader.before_fork()]


def _after_fork(held: tuple[bool, list[PriceLoader]]) -> None:
    preparing, loaders = held
    for loader in loaders:
        loader.after_fork()
    if preparing:
        _preparing.release()


def _in_child(_: object) -> None:
    global _preparing  # noqa: PLW0603 - it may have been held by a thread that the child does not have
    _preparing = Lock()


fork_safety.on_fork(
    "prices",
    order=fork_safety.Order.PRICES,
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_in_child,
)
