"""Reports in files: in the form that the name says, whole or not at all, with a sentence where it cannot be."""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sample_reports import CALL, GUIDE, metered

from openai_meter import ConfigurationError, Meter
from openai_meter.reports import saving
from openai_meter.reports.report import Report


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("report.json", "json"), ("report.csv", "csv"), ("report.md", "markdown"), ("report.markdown", "markdown"),
        ("report.txt", "table"), ("REPORT.JSON", "json"), ("my.report.csv", "csv"), ("rapport é.md", "markdown"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_form_of_a_saved_report_is_chosen_by_its_suffix(name: str, form: str, lang: str, tmp_path: Path) -> None:
    """Missing folders are made; the content is the rendered text, in UTF-8."""
    path = tmp_path / "some" / "folder" / name
    assert GUIDE.save(path, lang=lang) == path
    end = "\r\n" if form == "csv" else "\n"
    assert path.read_bytes() == (GUIDE.render(form, lang=lang) + end).encode()
    assert [one.name for one in path.parent.iterdir()] == [name]


def test_saved_report_is_read_back(tmp_path: Path) -> None:
    """The JSON file is the report: read back it is equal, and the CSV file has its rows."""
    meter = metered()
    path = meter.save_report(tmp_path / "report.json", by=("agent", "model"))
    back = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    assert replace(back, until=meter.started_at) == replace(meter.report("agent,model"), until=meter.started_at)
    with meter.save_report(tmp_path / "report.csv", by="agent").open(encoding="utf-8", newline="") as file:
        assert [row["agent"] for row in csv.DictReader(file)] == ["dear", "(unattributed)", "cheap"]


def test_named_form_takes_precedence_over_the_suffix(tmp_path: Path) -> None:
    """A form that is named counts more than the suffix, and a file needs none then."""
    assert metered().save_report(str(tmp_path / "report"), format="tree", lang="fr").read_text().startswith("=" * 70)
    assert GUIDE.save(tmp_path / "report.json", format="line", lang="en").read_text(encoding="utf-8")[0] == "💡"


def test_relative_path_is_resolved_and_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is meant from where the program is; the absolute one is returned."""
    monkeypatch.chdir(tmp_path)
    assert metered().save_report("out/report.md") == tmp_path / "out" / "report.md"


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.", ".json", "report.json.gz"])
def test_name_without_a_known_suffix_raises(name: str, tmp_path: Path) -> None:
    """The known ones are named, and nothing is written."""
    with pytest.raises(ConfigurationError, match=r"\.txt, \.md, \.markdown, \.json, \.csv"):
        GUIDE.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_path_of_a_folder_raises(tmp_path: Path) -> None:
    """A path that is a folder is refused with a sentence."""
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path, tmp_path / "folder.json"):
        with pytest.raises(ConfigurationError, match=r"is a folder; add the name of a file"):
            GUIDE.save(path)
    with pytest.raises(ConfigurationError, match="use one of table"):
        GUIDE.save(tmp_path / "report", format="pdf")
    with pytest.raises(ConfigurationError, match="use one of en, fr"):
        GUIDE.save(tmp_path / "report.md", lang="xx")


def test_unwritable_path_raises_with_the_remedy(tmp_path: Path) -> None:
    """The error is the system's own kind."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="choose another path") as caught:
        GUIDE.save(tmp_path / "file" / "report.json")
    assert caught.value.errno in {errno.ENOTDIR, errno.EEXIST}
    assert caught.value.filename == str(tmp_path / "file" / "report.json")


@pytest.mark.parametrize("step", ["write", "replace"])
def test_failed_save_leaves_the_old_file(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, no other file is left."""
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        real = Path.open

        def opened(self: Path, *args: object, **kwargs: object) -> object:
            file = real(self, *args, **kwargs)  # type: ignore[call-overload]
            file.write("half")
            file.close()
            return file  # writing to a closed file fails

        monkeypatch.setattr(Path, "open", opened)
    with pytest.raises((OSError, ValueError)):
        GUIDE.save(path)
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]


def test_readers_always_see_a_complete_report(tmp_path: Path) -> None:
    """While a report is written again and again, whoever reads it finds a whole one each time."""
    path, done = tmp_path / "report.json", threading.Event()
    meter = Meter()
    meter.save_report(path)

    def write() -> None:
        for n in range(100):
            meter._take(replace(CALL, model=f"model {n}"))
            meter.save_report(path)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    read = 0
    while not done.is_set() or not read:
        data = json.loads(path.read_text(encoding="utf-8"))
        assert len(data["rows"]) == data["totals"]["calls"]
        read += 1
    writer.join()
    assert len(json.loads(path.read_text(encoding="utf-8"))["rows"]) == 100


@pytest.mark.skipif(os.name == "nt", reason="permissions and links as POSIX has them")
def test_save_keeps_permissions_and_links(tmp_path: Path) -> None:
    """A new file has the usual permissions."""
    path = tmp_path / "report.csv"
    before = os.umask(0o022)
    try:
        GUIDE.save(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    GUIDE.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    path.write_text("old", encoding="utf-8")
    GUIDE.save(link)
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") != "old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """What is no ordinary file is written to, not replaced by one."""
    path = tmp_path / "pipe.md"
    os.mkfifo(path)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(path.read_text(encoding="utf-8")))
    reader.start()
    saving.write(path, "words\r\n")
    reader.join()
    assert texts == ["words\n"]
    assert stat.S_ISFIFO(path.stat().st_mode)
