"""The README: its Python blocks run, and its table is what they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paths import ROOT

import openai_meter
from openai_meter import MissingExtraError
from openai_meter.testing.fake_api.server import DemoServer

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DemoServer:
    monkeypatch.chdir(tmp_path)  # some examples write files
    with DemoServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "demo")
        monkeypatch.setenv("OPENAI_METER_HOSTS", "127.0.0.1=openai")
        yield server


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the examples leave closing their clients to the collector
@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_every_example_runs(code: str, api: DemoServer) -> None:
    """Each Python block of the README runs as it stands, and each call in it is counted."""
    names: dict[str, object] = {}
    try:
        exec(compile(code, "README.md", "exec"), names)
    except MissingExtraError as missing:
        pytest.skip(f"{missing}: this example is NOT tested")
    made = 0 if "fake_client" in code else code.count(".create(")  # what is fake never gets to the server
    assert len(api.requests) == made
    counted = names["run"] if "track(" in code else openai_meter.get_meter()
    assert counted.totals.calls == made


def test_the_first_table_is_what_is_printed(api: DemoServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The table on the first screen is the output of the code above it, to the last digit."""
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    table = next(text for language, text in BLOCKS if language == "text")
    assert shown == table.rstrip()
    assert openai_meter.get_meter().totals.calls == 1


def test_the_map_names_every_module() -> None:
    """Every module of the package stands on the map, and nothing else does."""
    drawn = set(
        re.findall(r"(\w+\.py|\w+/) ", next(text for language, text in BLOCKS if text.startswith("openai_meter/")))
    )
    package = Path(openai_meter.__file__).parent
    there = {path.name for path in package.glob("*.py")} | {
        f"{path.parent.name}/" for path in package.glob("*/__init__.py")
    }
    assert drawn == there - {"__main__.py"}
