"""Waits to be ended by a signal. With an argument, it has a handler of its own for SIGTERM."""

import atexit
import os
import signal
import sys

atexit.register(print, "atexit")


def handler(number, frame):
    if callable(before):
        before(number, frame)
    print("handled", number, flush=True)
    sys.exit(5)


if sys.argv[1:]:
    before = signal.signal(signal.SIGTERM, handler)
print("lost in the buffer when a signal kills")
os.write(1, b"ready\n")
sys.stdin.read()
