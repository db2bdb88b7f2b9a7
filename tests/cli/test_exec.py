"""Programs under ``openai-meter run`` that replace themselves by ``os.exec*``: the summary is of both programs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from programs import ENVIRONMENT, RUN, execute

from openai_meter.cli import exec_handover
from openai_meter.cli.exec_handover import is_metered_python
from openai_meter.testing.fake_api.server import DemoServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="os.exec* of Windows starts a second process")

REPLACES = """
import os, sys
import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="demo")
client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
client.close()
way, more = sys.argv[2], sys.argv[3:]
if way == "again":
    os.execv(sys.executable, [sys.executable, __file__, sys.argv[1], *more])
if way == "search":
    os.execvp(os.path.basename(sys.executable), ["python", __file__, sys.argv[1], *more])
if way == "environment":
    os.execve(sys.executable, [sys.executable, "-c", "print('new')"], {"PATH": os.environ["PATH"]})
if way == "no openai":
    os.execl(sys.executable, sys.executable, "-c", "import sys; print('new'); sys.exit(3)")
if way == "isolated":
    os.execl(sys.executable, sys.executable, "-I", "-c", "print('new')")
if way == "other":
    os.execvp("echo", ["echo", "new"])
if way == "fails":
    for path in ("/nowhere/at/all", sys.argv[1]):
        try:
            os.execv(path, ["x"])
        except OSError as error:
            print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def server():
    with DemoServer() as server:
        yield server


@pytest.mark.parametrize(
    ("ways", "calls", "code", "output"),
    [
        (["again", "end"], 2, 0, b""),
        (["search", "again", "end"], 3, 0, b""),
        (["no openai"], 1, 3, b"new\n"),
        (["environment"], 1, 0, b"new\n"),
        (["isolated"], 1, 0, b"new\n"),
        (["other"], 1, 0, b"new\n"),
        (["fails"], 1, 0, b"FileNotFoundError\nFileNotFoundError\n"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_summary_has_the_calls_before_and_after_an_exec(ways, calls, code, output, server, tmp_path) -> None:
    """Each call counts once, exit code and output are the program's, and the folder of the run is deleted."""
    script, summary = tmp_path / "replaces.py", tmp_path / "summary.json"
    script.write_text(REPLACES, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = ENVIRONMENT | {"OPENAI_METER_HOSTS": "127.0.0.1=openai", "TMPDIR": str(tmp_path), "PATH": path}
    done = execute([*RUN, "--json", "-o", summary, script, server.base_url, *ways], env=environment)
    assert done == (code, output, b"")
    found = json.loads(summary.read_text(encoding="utf-8"))
    assert (found["totals"]["calls"], found["totals"]["unpriced_calls"], found["processes"]) == (calls, 0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"replaces.py", "summary.json"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["python", "program.py", "-I"], True),
        (["python", "-X", "dev", "-W", "error", "-m", "module", "-S"], True),
        (["python", "-c", "pass"], True),
        (["python", "-I", "program.py"], False),
        (["python", "-sE", "program.py"], False),
        (["python", "-S", "-c", "pass"], False),
    ],
)
def test_python_that_ignores_its_environment_does_not_continue_a_run(args, expected, monkeypatch) -> None:
    """With -I, -E or -S of the interpreter our code would not run; flags of the program have no effect."""
    monkeypatch.setenv("OPENAI_METER_RUN", "1:/tmp/run")
    assert is_metered_python(sys.executable, args, os.environ) is expected


def test_script_of_this_python_continues_a_run(tmp_path, monkeypatch) -> None:
    """The first line of a script names its interpreter; another interpreter may not have openai_meter."""
    monkeypatch.setenv("OPENAI_METER_RUN", "1:/tmp/run")
    script = tmp_path / "command"
    for first, expected in ((f"#!{sys.executable}", True), ("#!/nowhere/python3", False), ("#!/bin/sh", False)):
        script.write_text(f"{first}\npass\n", encoding="utf-8")
        assert is_metered_python(str(script), ["command"], os.environ) is expected
    assert not is_metered_python(sys.executable, ["python"], {"PATH": "/bin"})


def test_only_the_process_of_the_run_continues_it(tmp_path, monkeypatch) -> None:
    """A child finds the folder in its environment too, but another process id: it does not continue the run."""
    (tmp_path / "run.json").write_text('{"summary": ["table", ["model"], "en"]}', encoding="utf-8")
    monkeypatch.setenv("OPENAI_METER_RUN", f"{os.getpid() + 1}:{tmp_path}")
    assert exec_handover.continues_here() is None
    monkeypatch.setenv("OPENAI_METER_RUN", f"{os.getpid()}:{tmp_path}")
    assert exec_handover.continues_here() == (tmp_path, {"summary": ["table", ["model"], "en"]})
    assert exec_handover.continues_here() is None
