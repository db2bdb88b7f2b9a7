"""``openai-meter proxy``: a program in any language runs behind it, and its calls are in the ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra [server] is not installed: the command proxy is NOT tested")
from openai_meter.ledger import Ledger
from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.loopback import LoopbackServer

CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}  # fmt: skip
CALLS = """
import json, os, sys, urllib.request
for number in range(3):
    body = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"content-type": "application/json", "x-openai-meter-user": f"u{number}"}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
    print(json.load(urllib.request.urlopen(request))["id"], *sys.argv[1:])
sys.exit(7)
"""


@pytest.fixture
def api() -> Iterator[LoopbackServer]:
    """The API behind the proxy."""
    with LoopbackServer(lambda _: json_answer(CHAT)) as made:
        yield made


def command(api: LoopbackServer, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The command, begun."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "COV"))},
        "NO_PROXY": "*", "OPENAI_METER_HOSTS": "127.0.0.1=openai", "LANG": "C.UTF-8", **variables,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "openai_meter", "proxy", "--port", "0", "--upstream", f"{api.url}/v1", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def test_program_behind_the_proxy_is_metered(api: LoopbackServer, tmp_path: Path) -> None:
    """Its options are its own, its exit code is that of the command, and the calls are in the ledger, attributed."""
    program = tmp_path / "calls.py"
    program.write_text(CALLS)
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    running = command(api, "--ledger", url, "--", sys.executable, str(program), "--port", "5")
    output, errors = running.communicate(timeout=120)
    assert (running.returncode, output) == (7, "chatcmpl-1 --port 5\n" * 3), errors
    assert "passed through the proxy: 3 calls" in errors
    ledger = Ledger(url)
    assert {call.user: (call.model, call.usage.total_tokens) for call in ledger.calls()} == {
        f"u{number}": ("gpt-5-mini", 11) for number in range(3)
    }
    ledger.close()


def test_budget_answers_in_place_of_the_api(api: LoopbackServer, tmp_path: Path) -> None:
    """What is beyond the budget is answered with 429 in the form of OpenAI's errors."""
    program = tmp_path / "calls.py"
    program.write_text(CALLS)
    running = command(api, "--budget", "2calls/day", "--", sys.executable, str(program))
    output, errors = running.communicate(timeout=120)
    assert output == "chatcmpl-1\n" * 2, errors
    assert "429" in errors
    assert len(api.requests) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals: they are NOT tested")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_are_passed_on_to_the_program(api: LoopbackServer, number: signal.Signals) -> None:
    """The program handles them; the command ends when the program does, with its code."""
    program = textwrap.dedent(f"""
        import signal, sys
        signal.signal({int(number)}, lambda *_: sys.exit(40))
        print("ready", flush=True)
        while True:
            signal.pause()
    """)
    running = command(api, "--", sys.executable, "-c", program)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 40, errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals: they are NOT tested")
def test_program_that_a_signal_ends_has_the_code_of_a_shell(api: LoopbackServer) -> None:
    """128 and the number of the signal."""
    running = command(api, "--", sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    running.communicate(timeout=120)
    assert running.returncode == 128 + signal.SIGKILL


def test_missing_program_exits_with_the_code_of_a_shell(api: LoopbackServer) -> None:
    """The message names the program."""
    running = command(api, "--", "there-is-no-such-program")
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 127
    assert "there-is-no-such-program cannot be run" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals: they are NOT tested")
def test_proxy_without_a_program_serves_until_it_is_stopped(api: LoopbackServer) -> None:
    """It writes where it listens, and ends with 0."""
    running = command(api)
    assert running.stderr is not None
    assert "requests to http://127.0.0.1:" in running.stderr.readline()
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors


def test_address_that_others_can_reach_needs_a_token(api: LoopbackServer) -> None:
    """Without a token nothing is started."""
    running = command(api, "--host", "0.0.0.0", "--", sys.executable, "-c", "print('started')")
    output, errors = running.communicate(timeout=120)
    assert (running.returncode, output) == (2, "")
    assert "set a token" in errors
