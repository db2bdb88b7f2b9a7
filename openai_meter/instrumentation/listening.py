"""Who listens to which client: the meter of the process, wrapped clients, blocks, captures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core import fork_safety
from openai_meter.core.native import RLock
from openai_meter.core.patching import Patches
from openai_meter.metering.attribution import surroundings
from openai_meter.metering.meter import Block, Meter, Readable

if TYPE_CHECKING:
    from openai_meter.instrumentation.sdk import Sdk

__all__ = ["MARK", "Listening", "Mark", "listeners", "listening"]

MARK = "_openai_meter"


class Mark(NamedTuple):
    """What a wrapped client, and every copy of it, carries in its ``__dict__``."""

    meter: Meter
    epoch: int


class Listening:
    """Who listens, and what is patched for them. One for the process."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.meter: Meter | None = None
        """The process-wide meter, made on demand."""
        self.installed: Meter | None = None
        """The meter that hears every client, or ``None``."""
        self.wrapping = False
        """Whether some client was wrapped since the last uninstall."""
        self.tracking = 0
        """How many ``track()`` blocks are being run."""
        self.captures: tuple[Readable, ...] = ()
        """Who hears every client for a while, beside the installed meter."""
        self.global_listeners: tuple[Readable, ...] = ()
        """All who hear every client: made by :meth:`settle`, so that a call has nothing to put together."""
        self.epoch = 0
        """Counts the uninstalls: a mark from an earlier epoch is void."""
        self.sdk: Sdk | None = None
        self.patches = Patches()
        self.waiting = False

        self.apply: Callable[[], None] = lambda: None
        """Brings the patches in line with who listens; set by whoever patches."""

    def settle(self) -> None:
        """Brings everything in line with who listens."""
        self.global_listeners = self.captures if self.installed is None else (self.installed, *self.captures)
        self.apply()

    def start_over_in_child(self) -> None:
        """Opens the lock in a forked child: who held it may be gone. Of the blocks, those of this thread go on."""
        self.lock = RLock()
        self.tracking = len(surroundings.get().blocks)


listening = Listening()
fork_safety.on_fork("listeners", after_in_child=lambda _: listening.start_over_in_child())


def listeners(client: Any, blocks: tuple[Block, ...]) -> tuple[Readable, ...]:
    """Who hears a request of this client: who hears all, the client's own meter, and the blocks around; each once."""
    global_listeners = listening.global_listeners
    mark = client.__dict__.get(MARK)
    if mark is None and not blocks:
        return global_listeners
    found: dict[Readable, None] = dict.fromkeys(global_listeners)
    if mark is not None and mark.epoch == listening.epoch:
        found[mark.meter] = None
    for block in blocks:
        found[block] = None
    return tuple(found)
