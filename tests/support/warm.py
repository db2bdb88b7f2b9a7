"""Runs programs of tests in forks of one interpreter that has imported openai and the meter already.

A new interpreter takes most of a second to import them. Where that start is not what a test is about, a fork of a warm
interpreter does the same in some milliseconds. A fork starts with nothing installed, no client made, one thread, and
the warning filters of ``-W error``; it ends as any interpreter does, with its exit handlers.

The warm interpreter runs this file as a program. It reads one request a line from a socket: the program, its arguments,
its environment, its folder, and, as file descriptors, its three standard streams.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

AVAILABLE = hasattr(os, "fork")


class Done(NamedTuple):
    """How a program has ended: as ``subprocess`` says it, a negative code is the signal that ended it."""

    code: int
    output: bytes
    errors: bytes


class Warm:
    """The warm interpreter of this process; starts with the first program."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        self._owner = 0

    def run(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str],
        folder: str | Path | None = None,
        stdin: bytes = b"",
        timeout: float = 300.0,
    ) -> Done:
        """Runs a program to its end, as ``python -W error -c program`` would.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds; it has been killed.
        """
        if self._process is None or self._owner != os.getpid():
            self._start()
        order = {
            "program": program, "arguments": arguments, "environment": dict(environment),
            "folder": str(folder or os.getcwd()),
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            streams[0].write(stdin)
            streams[0].seek(0)
            message = json.dumps(order).encode()
            head = len(message).to_bytes(8, "big")
            socket.send_fds(self._socket, [head], [stream.fileno() for stream in streams])
            self._socket.sendall(message)
            child = int(self._answers.readline())
            self._socket.settimeout(timeout)
            late = False
            try:
                status = self._answers.readline()
            except TimeoutError:
                late = True
                os.kill(child, signal.SIGKILL)
                self.stop()
                status = b"0"
            finally:
                self._socket.settimeout(None)
            output, errors = (_content(stream) for stream in streams[1:])
        if late:
            raise subprocess.TimeoutExpired([sys.executable, "-c", program], timeout, output, errors)
        return Done(os.waitstatus_to_exitcode(int(status)), output, errors)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._answers = self._socket.makefile("rb")
        self._owner = os.getpid()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-X", "faulthandler", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip

    def stop(self) -> None:
        """Ends the warm interpreter; the next program starts another."""
        if self._process is not None and self._owner == os.getpid():
            self._answers.close()
            self._socket.close()
            self._process.wait()
        self._process = None


def _content(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


WARM = Warm()
"""The one of this process."""


# --- the warm interpreter ---------------------------------------------------------------------------------------------


def _import_all() -> None:
    """Everything that programs of tests import, and what it imports late in its turn."""
    import gc
    import importlib

    import openai

    for name in (
        "contract", "genai_prices.data", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite",
        "openai_meter.api", "openai_meter.pricing.catalog", "openai_meter.reports.renderers",
        "openai_meter.reports.report",
    ):  # fmt: skip
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
    client = openai.OpenAI(api_key="none", base_url="http://localhost")
    for resource in ("chat", "responses", "completions", "embeddings"):
        getattr(client, resource)
    client.close()
    del client
    gc.collect()
    gc.freeze()


def _become(order: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    """Makes this fork the interpreter of a program; returns the names of its main module."""
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = ["-c", *order["arguments"]]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = ["", *paths, *(path for path in sys.path[1:] if path not in paths)]
    from openai_meter.core import faults

    faults.reraise = os.environ.get("OPENAI_METER_RERAISE_FAULTS", "") not in ("", "0")
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main.__dict__


def _serve(connection: socket.socket) -> tuple[dict[str, Any], Any] | None:
    """Forks for each request until the other end is closed; in a fork, returns the main module and its code."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, 8, 3)
        if not head:
            return None
        size = int.from_bytes(head, "big")
        message = b""
        while len(message) < size:
            message += connection.recv(size - len(message))
        child = os.fork()
        if not child:
            connection.close()
            order = json.loads(message)
            return _become(order, streams), compile(order["program"], "<string>", "exec")
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b"%d\n" % child)
            connection.sendall(b"%d\n" % os.waitpid(child, 0)[1])


if __name__ == "__main__":
    _import_all()
    _job = _serve(socket.socket(fileno=int(sys.argv[1])))
    if _job is not None:
        exec(_job[1], _job[0])
