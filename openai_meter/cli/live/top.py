"""``openai-meter top``: a page that is drawn anew each second, or plain pages where there is no terminal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.live import Live

from openai_meter.cli.live.feeds import AwayError, Feed
from openai_meter.cli.live.frames import Page, frame
from openai_meter.cli.live.keyboard import Keyboard, keyboard
from openai_meter.core.locale import Messages
from openai_meter.metering.pulse import Pulse
from openai_meter.reports.words import duration

__all__ = ["Seen", "Watcher", "once", "top"]

_PATIENCE = 30.0
"""Seconds between two tries at most, where a source is away."""
_QUIT = frozenset("qQ\x03\x04\x1b")
_OLD = 3.0
"""After so many intervals without an answer the age of the figures is said."""


class Seen(NamedTuple):
    """What is known of the source."""

    pulse: Pulse | None = None
    at: float = 0.0
    """When the pulse was taken, by the monotonic clock."""
    error: str | None = None
    """Why there is none since."""
    again: float = 0.0
    """When the next try is, by the monotonic clock."""


class Watcher:
    """Asks a source in a thread of its own, so that a slow one holds up no key.

    A source that is away is asked again after one interval, two, four ... up to thirty seconds.
    """

    def __init__(self, feed: Feed, interval: float, keys: Keyboard) -> None:
        self.seen = Seen()
        self._feed = feed
        self._interval = interval
        self._keys = keys
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="openai-meter-top", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        misses = 0
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                pulse = self._feed.pulse()
                misses = 0
                wait = self._interval - (time.monotonic() - begun)
                self.seen = Seen(pulse, time.monotonic())
            except Exception as error:
                wait = min(self._interval * 2**misses, max(_PATIENCE, self._interval))
                misses = min(misses + 1, 20)
                said = str(error) if isinstance(error, AwayError) else f"{type(error).__name__}: {error}"
                self.seen = self.seen._replace(error=said, again=time.monotonic() + wait)
            self._keys.wake()
            self._over.wait(max(wait, 0.01))

    def close(self) -> None:
        """Ends the thread; one that hangs is left to itself."""
        self._over.set()
        self._thread.join(0.5)
        if not self._thread.is_alive():
            self._feed.close()


def once(feed: Feed, m: Messages, *, as_json: bool) -> None:
    """Writes one page.

    Raises:
        AwayError: the source cannot be read.
    """
    try:
        _write(feed.pulse(), feed, m, as_json=as_json)
    finally:
        feed.close()


def top(feed: Feed, m: Messages, interval: float, *, as_json: bool) -> None:
    """Shows the source until the user or a signal ends it. Exit code: 0, or 128 and the number of the signal."""
    on_screen = sys.stdout.isatty() and not as_json
    with keyboard(keys=on_screen and sys.stdin.isatty()) as keys:
        watcher = Watcher(feed, interval, keys)
        try:
            if on_screen:
                _show(watcher, keys, feed.name, m, interval)
            else:
                _list(watcher, keys, feed, m, as_json=as_json)
        except BrokenPipeError:  # whoever read standard output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        finally:
            watcher.close()
        ended = keys.signal
    if ended not in {None, signal.SIGINT}:
        raise SystemExit(128 + int(ended or 0))


# --- on a terminal ----------------------------------------------------------------------------------------------------


def _show(watcher: Watcher, keys: Keyboard, source: str, m: Messages, interval: float) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    with _screen(console) as live:
        while keys.signal is None:
            seen = watcher.seen
            size = console.size
            page = Page(m, source, size.width, size.height, console.encoding, interval, _trouble(seen, m, interval))
            live.update(frame(seen.pulse, page), refresh=True)
            if _QUIT & set(keys.wait(min(interval, 1.0))[:1]):
                return
            if keys.stopped:
                _suspend(live, keys)


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Live]:
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with contextlib.suppress(OSError), live:  # an error: the terminal is gone, and there is nobody to draw for
        yield live


def _suspend(live: Live, keys: Keyboard) -> None:
    """Gives the terminal back to the shell until the program is continued."""
    import termios  # noqa: PLC0415 - there is no such signal on Windows
    import tty  # noqa: PLC0415

    place = sys.stdin.fileno()
    live.stop()
    ours = termios.tcgetattr(place)
    after = termios.tcgetattr(place)
    after[tty.LFLAG] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(place, termios.TCSADRAIN, after)
    os.kill(os.getpid(), signal.SIGSTOP)
    termios.tcsetattr(place, termios.TCSADRAIN, ours)
    keys.stopped = False
    live.start(refresh=True)


def _trouble(seen: Seen, m: Messages, interval: float) -> str | None:
    """Why the figures are not of now; what matters first, as the line may be cut."""
    now = time.monotonic()
    age = now - seen.at
    if seen.error is None and (seen.pulse is None or age <= _OLD * interval + 1):
        return None
    said = [m("live.old", seconds=duration(age, m))] if seen.pulse is not None else []
    if seen.error is not None:
        said.append(m("live.again", seconds=duration(max(seen.again - now, 0) + 0.5, m)))
        said.append(seen.error)
    return "; ".join(said)


# --- elsewhere --------------------------------------------------------------------------------------------------------


def _list(watcher: Watcher, keys: Keyboard, feed: Feed, m: Messages, *, as_json: bool) -> None:
    last = Seen()
    while keys.signal is None:
        seen = watcher.seen
        if seen.pulse is not None and seen.pulse is not last.pulse:
            _write(seen.pulse, feed, m, as_json=as_json)
        if seen.error is not None and seen.again != last.again:
            sys.stderr.write(f"openai-meter: {_trouble(seen, m, 1.0)}\n")
        last = seen
        keys.wait(60.0)


def _write(pulse: Pulse, feed: Feed, m: Messages, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(pulse.to_dict()) + "\n")
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        console.print(frame(pulse, Page(m, feed.name, console.width, None, console.encoding)))
    sys.stdout.flush()
