"""Keys and signals of a terminal program, and the terminal as it was before.

A signal only wakes the waiting main thread, which then reads which signal it was. So the same few lines restore the
terminal, whichever way the program ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Keyboard", "keyboard"]

_ENDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
_WAKES = ("SIGWINCH", "SIGCONT")
_STOP = "SIGTSTP"


class Keyboard:
    """Keys and signals. :meth:`wait` is for the main thread, :meth:`wake` for any."""

    def __init__(self, *, keys: bool) -> None:
        self._keys = keys
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.signal: int | None = None
        """The signal that is to end the program."""
        self.stopped = False
        """Whether the program is to be suspended (Ctrl-Z); the code that suspends it sets this back."""

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """Handles a signal."""
        if signal.Signals(number).name in _ENDS:
            self.signal = number
        elif signal.Signals(number).name == _STOP:
            self.stopped = True
        self.wake()

    def wake(self) -> None:
        """Ends the waiting."""
        with contextlib.suppress(OSError):  # the pipe is full: it will be woken anyway
            os.write(self._writer, b"\0")

    def wait(self, seconds: float) -> str:
        """Waits for keys, for :meth:`wake`, for a signal, or until the time is over; the keys that were pressed."""
        if self.signal is not None or self.stopped:
            return ""
        if sys.platform == "win32":  # no files to select from: signals and other threads are noticed a moment later
            time.sleep(min(seconds, 0.2))
            return ""
        watched: list[Any] = [self._reader, *([sys.stdin.fileno()] if self._keys else [])]
        ready = select.select(watched, [], [], max(seconds, 0.0))[0]
        if self._reader in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        if self._keys and sys.stdin.fileno() in ready:
            pressed = os.read(sys.stdin.fileno(), 1024)
            if not pressed:  # the terminal is gone
                self._keys = False
            return pressed.decode("ascii", "replace")
        return ""

    def close(self) -> None:
        """Closes the pipe."""
        os.close(self._reader)
        os.close(self._writer)


@contextlib.contextmanager
def keyboard(*, keys: bool) -> Iterator[Keyboard]:
    """Signals go to the keyboard inside, and outside to where they went before. For the main thread.

    Args:
        keys: whether keys are read from the terminal at standard input, one by one and without showing them.
    """
    board = Keyboard(keys=keys)
    before = {}
    try:
        for name in (*_ENDS, *_WAKES, _STOP):
            number = getattr(signal, name, None)
            # A signal that was ignored at the start of the program (nohup) stays ignored.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, board.on_signal)
        with _one_by_one() if keys else contextlib.nullcontext():
            yield board
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        board.close()


@contextlib.contextmanager
def _one_by_one() -> Iterator[None]:
    """Keys come at once and are not shown; Ctrl-C and Ctrl-Z stay what they are."""
    if sys.platform == "win32":
        yield
        return
    import termios  # noqa: PLC0415 - not on Windows
    import tty  # noqa: PLC0415

    place = sys.stdin.fileno()
    before = termios.tcgetattr(place)
    try:
        tty.setcbreak(place)
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(place, termios.TCSADRAIN, before)
