"""The server at work on a real port: its thread, its events, its command, and the dashboard beside a program."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from ports import free_port
from server_client import call, filled, kept

import openai_meter
from openai_meter import ConfigurationError
from openai_meter.server import events, start
from openai_meter.testing.fake_api.server import DemoServer

PATIENCE = 120.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
ENVIRONMENT.pop("OPENAI_METER_LEDGER", None)
ENVIRONMENT.pop("OPENAI_METER_TOKEN", None)


def get(url: str) -> Any:
    with urlopen(url, timeout=PATIENCE) as response:
        return json.load(response)


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def following(url: str, path: str = "/api/events") -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of a server, as they come: each its name and its data."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.headers["content-type"].startswith("text/event-stream")

    def read() -> Iterator[tuple[str, Any]]:
        name = ""
        for line in iter(response.readline, b""):
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value)

    try:
        yield read()
    finally:
        # Both hold the socket; it is closed when the last of them is.
        response.close()
        connection.close()


# --- the thread -------------------------------------------------------------------------------------------------------


def test_start_answers_and_stop_frees_the_port() -> None:
    """A server answers when it has started, and its port is free when it has stopped."""
    with start(filled(call()), port=0, max_age=0) as server:
        assert server.running
        assert get(f"{server.url}/api/stats")["totals"]["calls"] == 1
        port = urlsplit(server.url).port
    assert not server.running
    assert port is not None
    socket.create_server(("127.0.0.1", port)).close()
    server.stop()


def test_sockets_have_tcp_nodelay() -> None:
    """Data is sent at once: an answer in two parts would wait 40 ms for its second one."""
    with start(filled(), port=0) as server:
        assert server._listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_taken_port_is_an_error_before_the_start() -> None:
    """The error names the remedy, before anything is started."""
    threads = set(threading.enumerate())
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(ConfigurationError, match="is taken; use another"):
        start(filled(), port=taken.getsockname()[1])
    assert set(threading.enumerate()) <= threads  # one of an earlier test may have ended meanwhile


@pytest.mark.parametrize(
    "settings", [{"port": -1}, {"port": 65_536}, {"port": "80"}, {"port": True}, {"host": ""}, {"host": 1},
                 {"host": "127.0.0.1 ", "token": "long-enough-token"}],
)  # fmt: skip
def test_invalid_host_or_port_is_refused(settings) -> None:
    """The error is about the setting."""
    with pytest.raises(ConfigurationError):
        start(filled(), **settings)


def test_start_changes_neither_logging_nor_signals() -> None:
    """Starting a server changes no logger and no signal handler of the program."""
    import logging

    handlers, level = list(logging.getLogger().handlers), logging.getLogger("uvicorn").level
    signals = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with start(filled(), port=0):
        assert list(logging.getLogger().handlers) == handlers
        assert not logging.getLogger("uvicorn").handlers
        assert logging.getLogger("uvicorn").level == level
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == signals


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here: a forked child is NOT tested")
def test_forked_child_closes_the_port() -> None:
    """A child that is still running does not keep the port of a server that has stopped."""
    server = start(filled(), port=0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        server.stop()
        port = urlsplit(server.url).port
        assert port is not None
        socket.create_server(("127.0.0.1", port)).close()
    finally:
        os.write(writer, b"x")
        assert os.waitpid(child, 0)[1] == 0
        os.close(reader)
        os.close(writer)


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_have_each_change_and_resets() -> None:
    """A listener gets the figures at once, each change within about a second, and each reset."""
    meter = filled(call(agent="first"))
    with start(meter, port=0, max_age=0) as server, following(server.url, "/api/events?group=agent") as told:
        name, first = next(told)
        assert (name, first["totals"]["calls"], first["groups"][0]["name"]) == ("live", 1, "first")
        meter._take(call(agent="<img src=x>\nevent: evil\n\n"))
        name, second = next(told)
        assert (name, second["totals"]["calls"]) == ("live", 2)
        assert {one["name"] for one in second["groups"]} == {"first", "<img src=x>\nevent: evil\n\n"}
        urlopen(Request(f"{server.url}/api/stats/reset", method="POST"), timeout=PATIENCE).close()
        assert next(told)[0] == "reset"
        assert next(told)[1]["totals"]["calls"] == 0


def test_events_of_a_ledger_have_calls_of_other_processes(tmp_path) -> None:
    """A call that another process writes to the ledger is sent as an event."""
    ledger = kept(tmp_path, call())
    with start(ledger=ledger.url, port=0, max_age=0) as server, following(server.url) as told:
        assert next(told)[1]["recent"]["calls"] == 1
        ledger.import_calls([call()])
        assert next(told)[1]["recent"]["calls"] == 2


def test_event_streams_are_limited_and_closed_ones_freed(monkeypatch) -> None:
    """The number of listeners is limited; a listener that has left frees its place."""
    monkeypatch.setattr(events, "MAX_STREAMS", 2)
    meter = filled()
    with start(meter, port=0) as server:
        with following(server.url) as one, following(server.url) as other:
            next(one), next(other)
            connection = HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
            connection.request("GET", "/api/events")
            response = connection.getresponse()
            assert (response.status, json.load(response)["error"]["code"]) == (503, "not_available")
            connection.close()
        del one, other
        gc.collect()

        def free() -> bool:
            meter._take(call())  # what is sent to somebody who has left says so
            connection = HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
            connection.request("GET", "/api/events")
            status = connection.getresponse().status
            connection.close()
            return status == 200

        until(free)


def test_stop_ends_open_event_streams() -> None:
    """A server that stops ends its streams, and does not wait for their listeners."""
    server = start(filled(), port=0)
    with following(server.url) as told:
        next(told)
        began = time.monotonic()
        server.stop(PATIENCE)
        assert [*told] == []
        assert not server.running
        assert time.monotonic() - began < PATIENCE / 2


# --- the commands -----------------------------------------------------------------------------------------------------


@contextmanager
def running(*args: str, **more: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command of ours that prints where the dashboard is; its process, and the server's address."""
    command = [sys.executable, "-m", "openai_meter", *args]
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT | more.pop("env", {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "/dashboard" in line, line + process.stderr.read()
        yield process, next(word for word in line.split() if word.startswith("http")).partition("/dashboard")[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_shows_a_ledger_until_a_signal(number: int, tmp_path) -> None:
    """``serve`` shows a ledger until Ctrl-C or SIGTERM, and ends without an error, with or without listeners."""
    ledger = kept(tmp_path, call(), call())
    with running("serve", "--ledger", ledger.url, "--port", "0", "--lang", "fr") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert get(f"{url}/api/stats")["totals"]["calls"] == 2
        with following(url) as told:
            next(told)
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_serve_uses_the_ledger_of_the_environment(tmp_path) -> None:
    """Without ``--ledger`` it is that of ``OPENAI_METER_LEDGER``."""
    ledger = kept(tmp_path, call())
    with running("serve", "-p", "0", env={"OPENAI_METER_LEDGER": ledger.url}) as (_, url):
        assert get(f"{url}/api/stats")["scope"] == "fleet"


def test_serve_without_a_ledger_names_the_remedy() -> None:
    """Without any ledger it writes that, and how to get figures."""
    with running("serve", "-p", "0") as (process, url):
        assert process.stderr is not None
        assert "openai-meter run --serve" in process.stderr.readline()
        assert get(f"{url}/api/stats")["scope"] == "process"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--host", "0.0.0.0"), 2, "set a token"),
        (("--host", "0.0.0.0", "--token", "short"), 2, "secrets.token_urlsafe"),
        (("--ledger", "usage.db"), 2, "sqlite:///usage.db"),
        (("--port", "70000"), 2, "65535"),
        (("--lang", "xx"), 2, "xx"),
        (("--allow-host", "http://x"), 2, "not a list of host names"),
    ],
)
def test_serve_refuses_invalid_settings(args: tuple[str, ...], code: int, words: str) -> None:
    """A setting that is not valid ends the command with one sentence and code 2."""
    command = [sys.executable, "-m", "openai_meter", "serve", *args]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_on_a_taken_port_is_an_error() -> None:
    """A taken port ends the command with one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "openai_meter", "serve", "-p", str(taken.getsockname()[1])]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "is taken" in done.stderr


PROGRAM = """
import sys, urllib.request
from openai import OpenAI
import openai_meter

client = OpenAI(api_key="sk-secret-of-the-program", base_url=sys.argv[1])
with openai_meter.tag(agent="planner"):
    for _ in range(3):
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "a private prompt"}])
print("ready", flush=True)
input()
"""


def test_run_serve_shows_figures_without_prompt_or_key(tmp_path: Path) -> None:
    """``run --serve`` shows a program's figures while it runs: all routes, and neither prompt nor key in any."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with DemoServer() as api:
        options = ("run", "-q", "--serve", "0", str(program), api.base_url)
        more = {"stdin": subprocess.PIPE, "env": {"OPENAI_METER_HOSTS": "127.0.0.1=openai"}}
        with running(*options, **more) as (process, url):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            stats = get(f"{url}/api/stats")
            assert sum(one["totalCalls"] for one in stats["stats"].values()) == 3
            assert stats["totals"]["cost"] is not None
            overview = get(f"{url}/api/overview?group=agent")
            assert [(row["name"], row["calls"]) for row in overview["rows"]] == [("planner", 3)]
            calls = get(f"{url}/api/calls")["calls"]
            bill = get(f"{url}/api/explain/{calls[0]['id']}")
            assert bill["cost"] == calls[0]["cost"]
            for path in ("stats", "overview", "calls", f"explain/{calls[0]['id']}", "report", "live"):
                with urlopen(f"{url}/api/{path}", timeout=PATIENCE) as response:
                    text = response.read().decode()
                assert "private prompt" not in text
                assert "sk-secret" not in text
            output, errors = process.communicate("\n", timeout=PATIENCE)
            assert (process.returncode, output) == (0, "")
            assert "3 calls" in errors


def test_run_serve_on_a_taken_port_still_runs_the_program(tmp_path: Path) -> None:
    """On a taken port the dashboard is left out with a message, and the program runs."""
    program = tmp_path / "program.py"
    program.write_text("print('done')")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "openai_meter", "run", "-q", "--serve", port, str(program)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "is taken" in done.stderr


def test_run_serve_with_an_invalid_port_runs_nothing(tmp_path: Path) -> None:
    """A wrong value for ``--serve`` is a wrong argument, and nothing is run."""
    program = tmp_path / "program.py"
    program.write_text("print('done')")
    command = [sys.executable, "-m", "openai_meter", "run", "--serve", "http", str(program)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--serve" in done.stderr


def test_mounted_event_streams_end_with_the_outer_server(tmp_path: Path) -> None:
    """Mounted in another uvicorn server, streams end when it stops, and do not delay it."""
    program = tmp_path / "outer.py"
    program.write_text(
        "import sys, uvicorn, openai_meter.server as s\n"
        "from starlette.applications import Starlette\nfrom starlette.routing import Mount\n"
        "app = Starlette(routes=[Mount('/meter', s.create_app())])\n"
        "uvicorn.run(app, port=int(sys.argv[1]), log_level='warning')\n"
    )
    port = free_port()
    process = subprocess.Popen([sys.executable, str(program), str(port)], env=ENVIRONMENT)
    try:
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            assert process.poll() is None
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(up)
        assert get(f"{url}/meter/healthz")["version"] == openai_meter.__version__
        with following(url, "/meter/api/events") as told:
            next(told)
            process.send_signal(signal.SIGTERM)
            assert [*told] == []
            assert process.wait(PATIENCE) in {0, -signal.SIGTERM}
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
