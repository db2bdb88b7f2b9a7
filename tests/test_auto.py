"""A program is metered by environment variables alone, through the line that the module documents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest

import openai_meter
from openai_meter import ConfigurationError, auto
from openai_meter.core import settings
from openai_meter.instrumentation.listening import registry
from openai_meter.testing.fake_api.server import DemoServer

PROGRAM = str(Path(__file__).parent / "data" / "programs" / "asks_openai.py")
LINE = textwrap.dedent(auto.__doc__.partition("::\n\n")[2].partition("\n\nThen")[0])


@pytest.fixture(scope="module")
def server():
    with DemoServer() as server:
        yield server


@pytest.fixture
def python(tmp_path):
    """Runs Python with a ``sitecustomize.py`` of the documented line: exit code, output, error output."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LINE, encoding="utf-8")

    def run(*arguments, package=True, **environment):
        roots = [str(tmp_path / "site"), *([str(Path(openai_meter.__file__).parents[1])] if package else [])]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=kept | {"PYTHONPATH": os.pathsep.join(roots), "OPENAI_METER_LANG": "en", "NO_PROXY": "*"} | environment,
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_documented_line_is_the_tested_one():
    """The line reads the environment before it imports anything of the meter."""
    assert LINE == 'import os\nif os.environ.get("OPENAI_METER"):\n    import openai_meter.auto'


def test_program_with_the_variable_is_metered(python, server):
    """With ``OPENAI_METER=1`` and a summary setting, the program runs as before, and the summary comes at its end."""
    code, output, errors = python(PROGRAM, server.base_url, OPENAI_METER="1", OPENAI_METER_SUMMARY="1")
    assert (code, output) == (0, "first True\n")
    assert "gpt-4o-mini" in errors
    assert "OpenAI usage" in errors


def test_summary_follows_exit_handlers_of_the_program(python, server, tmp_path):
    """Their calls count."""
    program = tmp_path / "farewell.py"
    program.write_text(
        "import atexit, sys\n"
        "def farewell():\n    ask('last')\n    print('bye', file=sys.stderr)\n"
        "atexit.register(farewell)\n" + Path(PROGRAM).read_text(encoding="utf-8").replace("client.close()", ""),
        encoding="utf-8",
    )
    code, output, errors = python(program, server.base_url, OPENAI_METER="on", OPENAI_METER_SUMMARY="json")
    assert (code, output) == (0, "first True\nlast True\n")
    assert errors.startswith("bye\n")
    assert json.loads(errors.removeprefix("bye\n"))["totals"]["calls"] == 2


@pytest.mark.parametrize("environment", [{}, {"OPENAI_METER": "0"}, {"OPENAI_METER": "off"}, {"OPENAI_METER": ""}])
def test_program_without_the_variable_is_not_metered(python, server, environment):
    """Without the variable, or with one that says no, nothing happens."""
    assert python(PROGRAM, server.base_url, OPENAI_METER_SUMMARY="1", **environment) == (0, "first True\n", "")


def test_metering_without_a_summary_setting_is_silent(python, server):
    """Who asks for no summary gets none."""
    assert python(PROGRAM, server.base_url, OPENAI_METER="1") == (0, "first True\n", "")


def test_program_without_openai_loads_only_the_switch(python):
    """Before openai is imported, only what reads the switch is loaded, and such a program ends in silence."""
    program = "import sys; print(sorted(name for name in sys.modules if name.startswith(('openai', 'wrapt', 'rich'))))"
    settings = {"OPENAI_METER": "1", "OPENAI_METER_SUMMARY": "table", "OPENAI_METER_LEDGER": "nonsense"}
    loaded = [
        "openai_meter",
        *(f"openai_meter.{name}" for name in ("auto", "core", "core.old_names", "core.settings", "errors")),
    ]
    assert python("-c", program, **settings) == (0, f"{loaded}\n", "")
    program = "import openai, sys; print([one for one in sys.meta_path if 'auto' in type(one).__module__])"
    assert python("-c", program, OPENAI_METER="1", OPENAI_METER_SUMMARY="table") == (0, "[]\n", "")


def test_program_starts_if_the_package_is_missing(tmp_path):
    """Python writes it on standard error."""
    (tmp_path / "sitecustomize.py").write_text(LINE, encoding="utf-8")
    (tmp_path / "openai_meter.py").write_text("raise ModuleNotFoundError('no openai_meter')", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OPENAI_METER": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "print('goes on')"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert "no openai_meter" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", "banana", "OPENAI_METER='banana' is neither 1 nor 0"),
        ("_SUMMARY", "poem", "not a form of report"),
        ("_LANG", "tlh", "is not a language"),
        ("_LEDGER", "nonsense", "ledger"),  # or that its packages are missing
        ("_HOSTS", "a=b", "'b'"),
        ("_STREAM_USAGE", "", None),
    ],
)
def test_wrong_setting_is_one_line_and_the_program_continues(python, server, name, value, said):
    """What is wrong with a setting is said in one line, and the program goes on to its end."""
    environment = {"OPENAI_METER": "1", "OPENAI_METER_SUMMARY": "line", f"OPENAI_METER{name}": value}
    code, output, errors = python("-W", "error", PROGRAM, server.base_url, **environment)
    assert (code, output) == (0, "first True\n")
    assert errors.count("\n") == 1
    if said is None:
        assert "Session" in errors
    else:
        assert errors.startswith("openai-meter: metering could not start (")
        assert said in errors


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BY", "moon", "moon"),
        ("REPORT", "usage.xyz", "usage.xyz"),
        ("THRESHOLDS", "cost", "cost=5"),
        ("THRESHOLDS", "cost=-1", "cost"),
        ("THRESHOLDS", "cost=much", "cost"),
        ("THREADS", "many", "OPENAI_METER_THREADS='many'"),
    ],
)
def test_each_variable_is_checked_before_the_start(name, value, said, monkeypatch):
    """Every variable is looked at before anything is started."""
    monkeypatch.setattr("openai_meter.cli.exit_summary.ExitSummary.registered", False)
    monkeypatch.setenv(f"OPENAI_METER_{name}", value)
    with pytest.raises(ConfigurationError, match=said):
        auto._start()
    assert registry.installed is None


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("", None),
        ("off", False),
        ("cost=2.50", {"cost": Decimal("2.50")}),
        (" calls = 7 , errors=OFF", {"calls": 7, "errors": None}),
        ("tokens=0", {"tokens": 0}),
    ],
)
def test_thresholds_can_be_written_as_text(said, limits, monkeypatch):
    """They mean the same as in ``install``."""
    monkeypatch.setenv("OPENAI_METER_THRESHOLDS", said)
    assert settings.get("thresholds") == limits


def test_all_settings_are_read_from_the_environment(python, server, tmp_path):
    """Language, grouping, report, ledger and thresholds come from the environment."""
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is missing: a ledger named by the environment is NOT tested")
    report, ledger = tmp_path / "usage.json", f"sqlite:///{tmp_path / 'usage.db'}"
    environment = {
        "OPENAI_METER": "1", "OPENAI_METER_SUMMARY": "table", "OPENAI_METER_REPORT": str(report),
        "OPENAI_METER_BY": "endpoint", "OPENAI_METER_LANG": "fr", "OPENAI_METER_LEDGER": ledger,
        "OPENAI_METER_THRESHOLDS": "tokens_per_call=1,cost=off", "OPENAI_METER_THREADS": "1",
        "OPENAI_METER_HOSTS": "127.0.0.1=openai",
    }  # fmt: skip
    code, output, errors = python(PROGRAM, server.base_url, **environment)
    assert (code, output) == (0, "first True\n"), errors
    assert "chat.completions" in errors
    assert "Appels" in errors
    saved = json.loads(report.read_text(encoding="utf-8"))
    assert saved["dimensions"] == ["endpoint"]
    assert saved["totals"]["cost"] is not None
    assert len(saved["alerts"]) == 1
    kept = openai_meter.Ledger(ledger)
    assert kept.totals().calls == 1
    kept.close()


def test_run_with_the_variable_counts_once(python, server):
    """Under ``openai-meter run`` there is one summary."""
    environment = {"OPENAI_METER": "1", "OPENAI_METER_SUMMARY": "json"}
    code, output, errors = python("-m", "openai_meter", "run", "--json", PROGRAM, server.base_url, **environment)
    assert (code, output) == (0, "first True\n")
    assert json.loads(errors)["totals"]["calls"] == 1


def test_python_dash_m_run_needs_no_variable(python, server):
    """``python -m openai_meter run`` needs no variable at all."""
    code, output, errors = python("-m", "openai_meter", "run", "-q", PROGRAM, server.base_url)
    assert (code, output) == (0, "first True\n")
    assert errors.startswith("openai-meter: 1 call")


def test_child_processes_are_metered(python, server, tmp_path):
    """A forked child has a summary of its own."""
    program = tmp_path / "parent.py"
    program.write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, {PROGRAM!r}, sys.argv[1], 'fork'], check=True)",
        encoding="utf-8",
    )
    code, _, errors = python(program, server.base_url, OPENAI_METER="1", OPENAI_METER_SUMMARY="table")
    assert code == 0
    assert errors.count("\ngpt-4o-mini") == 2
    assert "forked process" in errors


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM: that it does not lose the summary is NOT tested")
def test_sigterm_does_not_prevent_the_summary_of_auto(server, tmp_path):
    """SIGTERM does not keep the summary from being said."""
    (tmp_path / "sitecustomize.py").write_text(LINE, encoding="utf-8")
    roots = os.pathsep.join([str(tmp_path), str(Path(openai_meter.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": roots, "OPENAI_METER": "1", "OPENAI_METER_SUMMARY": "line"}
    process = subprocess.Popen(
        [sys.executable, PROGRAM, server.base_url, "wait"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "first True\n"
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGTERM
    assert "1 call" in errors
