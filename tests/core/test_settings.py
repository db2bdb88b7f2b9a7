"""Settings come from an argument, the environment, or the file next to the program, in that order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from paths import PACKAGE

import openai_meter
from openai_meter.core import settings
from openai_meter.errors import ConfigurationError
from openai_meter.testing.fake_api.server import DemoServer

PROGRAM = """
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="k", max_retries=0)
client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])
print("end")
"""


@pytest.fixture(autouse=True)
def no_file(monkeypatch):
    """Each test starts without variables and without a file."""
    for row in settings.SETTINGS:
        monkeypatch.delenv(settings.variable(row.name), raising=False)
    monkeypatch.setattr(settings._Project, "values", {})
    monkeypatch.setattr(settings._Project, "path", "")


@pytest.fixture
def project(tmp_path):
    """Writes a pyproject.toml, and returns its folder."""

    def write(text: str) -> str:
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        return str(tmp_path)

    return write


@pytest.fixture(scope="module")
def server():
    with DemoServer() as server:
        yield server


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    root = str(Path(openai_meter.__file__).parents[1])
    return kept | {"PYTHONPATH": root, "NO_PROXY": "*", "OPENAI_METER_LANG": "en"} | more


def test_each_variable_in_the_sources_has_a_row():
    """No module reads or names a variable that the table does not have."""
    known = {settings.variable(row.name) for row in settings.SETTINGS}
    named = re.compile(r"\bOPENAI_METER(?:_[A-Z]+)*\b")
    found = {name for path in PACKAGE.rglob("*.py") for name in named.findall(path.read_text(encoding="utf-8"))}
    assert found - known == set()


def test_own_variables_are_read_in_the_table_only():
    """Only the table reads variables of ours; other modules read those of other programs."""
    reading = re.compile(r"""(?:environ|getenv)[^\n]*["']OPENAI_METER""")
    found = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "docs" not in path.parts and "examples" not in path.parts and reading.search(path.read_text("utf-8"))
    ]
    assert found == ["auto.py"]  # its documented line for sitecustomize.py


@pytest.mark.parametrize("row", settings.SETTINGS, ids=lambda row: row.name)
def test_each_row_has_a_sentence_and_a_default(row):
    """What documents show of a setting is one sentence; without a variable and a file it has its default."""
    assert row.meaning.endswith(".")
    assert ". " not in row.meaning
    assert settings.get(row.name) == row.default


def test_environment_comes_before_the_file(project, monkeypatch):
    """A variable wins over the file; one that is empty counts as not set."""
    folder = project('[tool.openai_meter]\nledger = "sqlite:///file.db"\nby = ["agent", "model"]\n')
    assert settings.read_project(folder) == os.path.join(folder, "pyproject.toml")
    assert (settings.get("ledger"), settings.get("by")) == ("sqlite:///file.db", "agent,model")
    monkeypatch.setenv("OPENAI_METER_LEDGER", "")
    assert settings.get("ledger") == "sqlite:///file.db"
    assert settings.source("ledger") == f"{folder}/pyproject.toml: ledger"
    monkeypatch.setenv("OPENAI_METER_LEDGER", "sqlite:///variable.db")
    assert settings.get("ledger") == "sqlite:///variable.db"
    assert settings.source("ledger") == "OPENAI_METER_LEDGER"


def test_settings_file_may_use_the_types_of_toml(project):
    """A file may use the types of TOML where a variable has a text."""
    settings.read_project(
        project(
            "[tool.openai_meter]\nthreads = true\nsummary = false\n"
            'hosts = { "llm.example.net" = "azure" }\nthresholds = { cost = 2.5, calls = false, tokens = 100 }\n'
        )
    )
    assert settings.get("threads") is True
    assert settings.get("summary") is False
    assert settings.get("hosts") == {"llm.example.net": "azure"}
    assert settings.get("thresholds") == {"cost": Decimal("2.5"), "calls": None, "tokens": 100}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.openai_meter]\nledgr = "x"\n', "no setting 'ledgr'"),
        ("[tool.openai_meter]\nthreads = 3\n", "threads=3 is neither 1 nor 0"),
        ("[tool.openai_meter]\nlang = ['fr']\n", "lang is ['fr']; it has to be a text"),
        ("[tool.openai_meter]\nhosts = 1\n", "hosts is 1; write it as"),
        ('[tool.openai_meter]\nthresholds = "cost"\n', "write it as cost=5"),
        ('[tool.openai_meter]\ntoken = "s3cret-s3cret"\n', "set the variable OPENAI_METER_TOKEN instead"),
        ("[tool]\nopenai_meter = 1\n", "it has to be a table"),
        ("[tool.openai_meter\n", "cannot be read"),
    ],
)
def test_wrong_settings_file_raises_with_path_and_fault(project, text, words):
    """The message never has a secret; nothing of the file is used."""
    folder = project(text)
    with pytest.raises(ConfigurationError) as error:
        settings.read_project(folder)
    assert words in str(error.value)
    assert "s3cret" not in str(error.value)
    assert settings.get("lang") is None


def test_settings_file_is_found_next_to_the_program(tmp_path, monkeypatch):
    """Next to a script, in a directory that is run, else in the current folder."""
    script = tmp_path / "deep" / "program.py"
    script.parent.mkdir()
    script.write_text("")
    monkeypatch.chdir(tmp_path)
    assert settings.project_folder(str(script)) == str(script.parent.resolve())
    assert settings.project_folder(str(script.parent)) == str(script.parent.resolve())
    assert settings.project_folder("uvicorn") == settings.project_folder(None) == str(tmp_path)


def test_run_reads_the_settings_file_next_to_the_program(project, server, tmp_path):
    """``openai-meter run`` takes form, grouping, language and report from the file; its own options take precedence."""
    folder = project(
        '[tool.openai_meter]\nsummary = "tree"\nby = "endpoint"\nreport = "usage.json"\nthresholds = { calls = 100 }\n'
    )
    script = Path(folder, "program.py")
    script.write_text(PROGRAM)
    run = [sys.executable, "-m", "openai_meter", "run"]
    done = subprocess.run(
        [*run, str(script), server.base_url], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert "chat.completions" in done.stderr
    assert (tmp_path / "usage.json").exists()
    done = subprocess.run(
        [*run, "--by", "model", str(script), server.base_url], cwd=tmp_path, env=environment(), capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "chat.completions" not in done.stderr


def test_run_with_a_wrong_settings_file_exits_before_the_program(project, server, tmp_path):
    """A file that cannot be used is an error of the person who starts the program, before it starts."""
    Path(project("[tool.openai_meter]\ncolour = 1\n"), "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "openai_meter", "run", "program.py", server.base_url], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "'colour'" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("text", ['[tool.openai_meter]\nby = "endpoint"\n', "[tool.openai_meter]\ncolour = 1\n"])
def test_auto_reads_the_settings_file_and_never_raises(project, server, tmp_path, text):
    """A program that is started with ``OPENAI_METER=1`` uses the file; one that cannot be used is logged only."""
    Path(project(text), "program.py").write_text("import logging, openai_meter.auto\nlogging.basicConfig()\n" + PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py", server.base_url], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=environment(OPENAI_METER="1", OPENAI_METER_SUMMARY="1"), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "end\n")
    assert ("chat.completions" in done.stderr) == ("endpoint" in text)
    assert ("'colour'" in done.stderr) == ("colour" in text)
    assert "Traceback" not in done.stderr
