"""The README and the pages of the documentation: their samples run, and print what the pages show."""

from __future__ import annotations

import re
from pathlib import Path

import api_reference
import pages
import pytest
from paths import PACKAGE, ROOT

import openai_meter

pytest.importorskip("fastapi", reason="needs fastapi: the pages are NOT tested")
pytest.importorskip("prometheus_client", reason="needs openai-meter[prometheus]: the pages are NOT tested")
pytest.importorskip("sqlalchemy", reason="needs openai-meter[ledger]: the pages are NOT tested")

EACH = pytest.mark.parametrize("path", pages.PAGES, ids=lambda path: path.name)
_LINK = re.compile(r"\[[^]]*\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the samples leave closing their clients to the collector
@EACH
def test_samples_of_a_page_print_what_the_page_shows(path: Path) -> None:
    """Each sample runs unchanged, and the text block after it is its output."""
    with pages.surroundings():
        for sample in pages.run(path):
            if sample.expected is not None:
                assert sample.printed == sample.expected.text.rstrip("\n"), sample.code.text
    assert openai_meter.get_meter().internal_errors == 0


@EACH
def test_commands_of_a_page_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ``openai-meter`` command of a page has these options, and takes these arguments."""
    monkeypatch.setenv("OPENAI_METER_LEDGER", "sqlite:///usage.db")
    for block in pages.blocks(path.read_text(encoding="utf-8")):
        if block.language in ("bash", "console"):
            for arguments in pages.commands(block):
                pages.check_command(arguments)


@EACH
def test_links_of_a_page_lead_to_files(path: Path) -> None:
    """A relative link or picture names an existing file."""
    for target in _LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


def test_index_names_every_page() -> None:
    """The index of the documentation links to each page once."""
    index = (PACKAGE / "docs" / "index.md").read_text(encoding="utf-8")
    linked = sorted(set(_LINK.findall(index)) & {path.name for path in pages.PAGES})
    assert linked == sorted(path.name for path in pages.PAGES if path.name not in ("index.md", "README.md"))


def test_readme_fits_on_a_few_screens() -> None:
    """The README has at most 220 lines."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 220


def test_api_reference_is_made_from_the_docstrings() -> None:
    """``python tests/support/api_reference.py`` writes it."""
    assert api_reference.PAGE.read_text(encoding="utf-8") == api_reference.reference()


def test_settings_page_is_made_from_the_table() -> None:
    """``python tests/support/api_reference.py`` writes it."""
    assert api_reference.SETTINGS_PAGE.read_text(encoding="utf-8") == api_reference.settings()
