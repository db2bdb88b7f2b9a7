"""Closes what its arguments name, and exits with 3."""

import os
import signal
import sys

WAYS = {
    "stderr": sys.stderr.close,
    "stdout": sys.stdout.close,
    "2": lambda: os.close(2),
    "none": lambda: setattr(sys, "stderr", None),
    "pipe": lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
}

for way in sys.argv[1:]:
    if way == "raise":
        raise ValueError(way)
    WAYS[way]()
sys.exit(3)
