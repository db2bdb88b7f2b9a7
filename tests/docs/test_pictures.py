"""The pictures of the README are those that the script makes today."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from openai_meter.docs import make_pictures

DOCS = Path(make_pictures.__file__).parent
MAKE = "make them anew: python -m openai_meter.docs.make_pictures"


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_terminal_picture_is_current(tmp_path, monkeypatch) -> None:
    """The table in the README is what the summary prints now; the environment of the test changes nothing."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    file = tmp_path / "terminal.svg"
    make_pictures.terminal(file)
    drawn = file.read_text(encoding="utf-8")
    assert drawn == (DOCS / "terminal.svg").read_text(encoding="utf-8"), MAKE
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")


def test_dashboard_picture_is_small() -> None:
    """The picture of the dashboard has the size of a screen and does not make the package heavy."""
    picture = (DOCS / "dashboard.png").read_bytes()
    assert size(picture) == (1280, 800)
    assert 20_000 < len(picture) < 250_000


@pytest.mark.e2e
def test_dashboard_picture_can_be_made(tmp_path) -> None:
    """The script draws the dashboard with the Chromium of the machine."""
    from browser import chromium, skip_or_fail

    if chromium() is None:
        skip_or_fail("no Chromium here")
    pytest.importorskip("playwright", reason="playwright is not installed: the picture is NOT made")
    pytest.importorskip("starlette", reason="needs openai-meter[server]: the picture is NOT made")
    file = tmp_path / "dashboard.png"
    make_pictures.dashboard(file)
    assert size(file.read_bytes()) == (1280, 800)
    assert file.stat().st_size > 20_000
