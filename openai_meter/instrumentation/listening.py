"""The listeners of each client: the installed meter, wrapped clients, blocks, captures.

Nothing is patched here. Each change of the listeners ends with :meth:`ListenerRegistry.update`, which calls
:mod:`~openai_meter.instrumentation.patching`. A request calls :func:`listeners`, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from openai_meter.core import fork_safety
from openai_meter.core.native import RLock
from openai_meter.metering.attribution import surroundings
from openai_meter.metering.meter import Block, Meter, Readable

__all__ = ["MARK", "ClientMark", "ListenerRegistry", "listeners", "listeners_of", "registry"]

MARK = "_openai_meter"
"""The key in a wrapped client's ``__dict__`` that holds its :class:`ClientMark`."""


class ClientMark(NamedTuple):
    """The mark of a wrapped client, and of every copy of it, in its ``__dict__``."""

    meter: Meter
    epoch: int


class ListenerRegistry:
    """The listeners of this process. To change them, hold :attr:`lock`, and call :meth:`update` afterwards."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.meter: Meter | None = None
        """The process-wide meter, made on demand."""
        self.installed: Meter | None = None
        """The meter that listens to every client, or ``None``."""
        self.has_wrapped = False
        """Whether a client was wrapped since the last uninstall."""
        self.running_blocks = 0
        """The number of ``track()`` blocks that are being run."""
        self.captures: tuple[Readable, ...] = ()
        """Further listeners to every client, such as captures."""
        self.global_listeners: tuple[Readable, ...] = ()
        """All that listen to every client. Made by :meth:`update`, so that a request need not collect them."""
        self.epoch = 0
        """The number of uninstalls: the mark of a client that was wrapped in an earlier epoch is void."""
        self.apply_patches: Callable[[], None] = lambda: None
        """Patches openai as it is needed now; set by :mod:`~openai_meter.instrumentation.patching`."""

    @property
    def wants_requests(self) -> bool:
        """Whether anything listens to requests."""
        return bool(self.global_listeners or self.has_wrapped or self.running_blocks)

    @property
    def wants_http(self) -> bool:
        """Whether anything listens to requests that are not those of a client of openai."""
        return bool(self.global_listeners or self.running_blocks)

    @property
    def wants_connections(self) -> bool:
        """Whether anything listens to WebSocket connections from the moment they are opened."""
        return self.installed is not None or self.has_wrapped

    def update(self) -> None:
        """Updates the listeners and the patches after a change."""
        self.global_listeners = self.captures if self.installed is None else (self.installed, *self.captures)
        self.apply_patches()

    def start_over_in_child(self) -> None:
        """Replaces the lock in a forked child, where its owner may be gone. Only this thread's blocks go on."""
        self.lock = RLock()
        self.running_blocks = len(surroundings.get().blocks)


registry = ListenerRegistry()
fork_safety.on_fork("listeners", after_in_child=lambda _: registry.start_over_in_child())


def listeners(client: Any, blocks: tuple[Block, ...]) -> tuple[Readable, ...]:
    """The listeners of a request of this client, each once: global listeners, the client's own meter, the blocks."""
    global_listeners = registry.global_listeners
    mark = client.__dict__.get(MARK)
    if mark is None and not blocks:
        return global_listeners
    found: dict[Readable, None] = dict.fromkeys(global_listeners)
    if mark is not None and mark.epoch == registry.epoch:
        found[mark.meter] = None
    for block in blocks:
        found[block] = None
    return tuple(found)


def listeners_of(blocks: tuple[Block, ...]) -> tuple[Readable, ...]:
    """The listeners of a request of an HTTP library, each once: global listeners, the blocks."""
    global_listeners = registry.global_listeners
    return tuple(dict.fromkeys((*global_listeners, *blocks))) if blocks else global_listeners
