"""Webhooks that tests post to: real HTTP and HTTPS servers on loopback that answer what they are told to."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from openai_meter.alerts import Alert, Threshold
from openai_meter.alerts.webhook.delivery import Timing
from openai_meter.core.call import new_call_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


class Request(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A webhook. Answers come from a list, one by one; then with 204. An answer is a status, or a status and headers.

    An answer that is a function is called with the handler, and has to write it itself.
    """

    def __init__(self, *answers: Any, context: ssl.SSLContext | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Request(self.path, headers, body))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if callable(answer):
                    answer(self)
                    return
                status, more = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients go away in the middle: that is what is tested

        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_port
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    @property
    def values(self) -> list[int]:
        """The values of the alerts, as they came."""
        return [request.json["data"]["value"] for request in self.requests]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Time:
    """A clock on which waiting takes no time, and dice that always show the same."""

    def __init__(self, dice: float = 0.5) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []
        self.timing = Timing(lambda: self.now, lambda: dice, self._wait)

    def _wait(self, _: object, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


def alert(value: int = 3, key: str | None = None, kind: str = "calls") -> Alert:
    """An alert on the number of calls."""
    per = None if key is None else "model"
    amount = Decimal(value) if kind == "cost" else value
    return Alert(new_call_id(), Threshold(kind, 2, per=per), amount, datetime.now(UTC), key)


def until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    """Waits for a condition."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def settled(target: Any) -> None:
    """Starts a target and waits until it has nothing to do."""
    target.start()
    until(lambda: not target.waiting)


@contextmanager
def dead_port() -> Iterator[int]:
    """A port that refuses connections, for as long as the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key. ``name`` is as openssl writes it: ``IP:127.0.0.1``."""
    if shutil.which("openssl") is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("no openssl here: TLS of webhooks is NOT tested")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={name}"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def secured(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
