"""The screen of ``openai-meter top``: a page that is drawn anew each second; without a terminal, page after page."""

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

__all__ = ["SourceState", "Watcher", "show", "show_once"]

_PATIENCE = 30.0
"""Seconds between two tries at most, where a source is away."""
_QUIT = frozenset("qQ\x03\x04\x1b")
_OLD = 3.0
"""After this number of intervals without an answer the page shows how old its figures are."""


class SourceState(NamedTuple):
    """The last figures of the source, and its last error."""

    pulse: Pulse | None = None
    at: float = 0.0
    """When the pulse was taken, by the monotonic clock."""
    error: str | None = None
    """Why there have been no figures since."""
    again: float = 0.0
    """When the next try is, by the monotonic clock."""


class Watcher:
    """Reads a source in a thread of its own, so that keys work while the source is slow.

    A source that cannot be read is read again after one interval, two, four ... up to thirty seconds.
    """

    def __init__(self, feed: Feed, interval: float, keys: Keyboard) -> None:
        self.state = SourceState()
        self._feed = feed
        self._interval = interval
        self._keys = keys
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="openai-meter-top", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        misses = 0
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                pulse = self._feed.pulse()
                misses = 0
                wait = self._interval - (time.monotonic() - begun)
                self.state = SourceState(pulse, time.monotonic())
            except Exception as error:
                wait = min(self._interval * 2**misses, max(_PATIENCE, self._interval))
                misses = min(misses + 1, 20)
                message = str(error) if isinstance(error, AwayError) else f"{type(error).__name__}: {error}"
                self.state = self.state._replace(error=message, again=time.monotonic() + wait)
            self._keys.wake()
            self._ended.wait(max(wait, 0.01))

    def close(self) -> None:
        """Ends the thread. One that hangs is not waited for: it is a daemon."""
        self._ended.set()
        self._thread.join(0.5)
        if not self._thread.is_alive():
            self._feed.close()


def show_once(feed: Feed, m: Messages, *, as_json: bool) -> None:
    """Writes one page.

    Raises:
        AwayError: the source cannot be read.
    """
    try:
        _write(feed.pulse(), feed, m, as_json=as_json)
    finally:
        feed.close()


def show(feed: Feed, m: Messages, interval: float, *, as_json: bool) -> None:
    """Shows the source until the user or a signal ends it. Exit code: 0, or 128 and the number of the signal."""
    on_screen = sys.stdout.isatty() and not as_json
    with keyboard(keys=on_screen and sys.stdin.isatty()) as keys:
        watcher = Watcher(feed, interval, keys)
        try:
            if on_screen:
                _show(watcher, keys, feed.name, m, interval)
            else:
                _write_pages(watcher, keys, feed, m, as_json=as_json)
        except BrokenPipeError:  # the reader of standard output (head, less) has ended
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
            state = watcher.state
            size = console.size
            page = Page(m, source, size.width, size.height, console.encoding, interval, _trouble(state, m, interval))
            live.update(frame(state.pulse, page), refresh=True)
            if _QUIT & set(keys.wait(min(interval, 1.0))[:1]):
                return
            if keys.stopped:
                _suspend(live, keys)


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Live]:
    live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with contextlib.suppress(OSError), live:  # an error: the terminal is gone
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


def _trouble(state: SourceState, m: Messages, interval: float) -> str | None:
    """Why the figures are old. The important part is first, as the line may be cut."""
    now = time.monotonic()
    age = now - state.at
    if state.error is None and (state.pulse is None or age <= _OLD * interval + 1):
        return None
    parts = [m("live.old", seconds=duration(age, m))] if state.pulse is not None else []
    if state.error is not None:
        parts.append(m("live.again", seconds=duration(max(state.again - now, 0) + 0.5, m)))
        parts.append(state.error)
    return "; ".join(parts)


# --- elsewhere --------------------------------------------------------------------------------------------------------


def _write_pages(watcher: Watcher, keys: Keyboard, feed: Feed, m: Messages, *, as_json: bool) -> None:
    last = SourceState()
    while keys.signal is None:
        state = watcher.state
        if state.pulse is not None and state.pulse is not last.pulse:
            _write(state.pulse, feed, m, as_json=as_json)
        if state.error is not None and state.again != last.again:
            sys.stderr.write(f"openai-meter: {_trouble(state, m, 1.0)}\n")
        last = state
        keys.wait(60.0)


def _write(pulse: Pulse, feed: Feed, m: Messages, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(pulse.to_dict()) + "\n")
    else:
        console = Console(highlight=False, markup=False, emoji=False)
        console.print(frame(pulse, Page(m, feed.name, console.width, None, console.encoding)))
    sys.stdout.flush()
