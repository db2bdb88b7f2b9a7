"""Ports for servers that have to be given one: those that choose their own with port 0 need no help."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_RANGE = range(20_000, 32_000)
"""Below the ports that systems give to clients and for port 0: none of those takes the port before its server does."""
_CHANCE = random.SystemRandom()  # of its own in each process, whatever seed the tests run with


def free_port() -> int:
    """A port of this machine on which nothing listens, and that the system gives to no other program by itself."""
    for _ in range(1_000):
        port = _CHANCE.choice(_RANGE)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port of {_RANGE} is free")
