"""The folder of a run is removed at its end, or by a later run where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openai_meter.cli.run_folder import make_run_folder, remove_run_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows keeps the folders")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


SOURCE = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
from openai_meter.cli.run_folder import make_run_folder
folder = make_run_folder()
if sys.argv[2] == "fork" and os.fork():
    print(folder, flush=True)
    os._exit(0)
if sys.argv[2] == "wait":
    print(folder, flush=True)
sys.stdin.read()
"""


def run(temporary: Path, how: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that has made the folder of a run, and waits for the end of its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", SOURCE, str(temporary), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.read()
    process.stdout.close()
    process.wait()


def test_folder_of_a_killed_run_is_removed_by_the_next_one(temporary: Path) -> None:
    """A run that was killed leaves its folder until another run begins."""
    process, folder = run(temporary, "wait")
    (folder / "1-0.jsonl").write_text("{}\n")
    process.send_signal(signal.SIGKILL)
    process.wait()
    end(process)
    own = make_run_folder()
    assert [*temporary.iterdir()] == [own]
    remove_run_folder(own)
    assert not [*temporary.iterdir()]


def test_folder_of_a_living_run_stays(temporary: Path) -> None:
    """A run that goes on keeps its folder, whatever other runs do."""
    process, folder = run(temporary, "wait")
    remove_run_folder(make_run_folder())
    assert folder.is_dir()
    end(process)


def test_folder_stays_as_long_as_a_forked_child_holds_its_lock(temporary: Path) -> None:
    """Processes of another container are known by the lock alone: here, the process of the run has ended."""
    process, folder = run(temporary, "fork")
    process.wait()
    remove_run_folder(make_run_folder())
    assert folder.is_dir()
    end(process)
    remove_run_folder(make_run_folder())
    assert not folder.exists()


def test_foreign_files_and_folders_stay(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, files, folders of other users, and names without a process id are left alone."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    target = temporary / "target"
    target.mkdir()
    (temporary / f"openai-meter-run-{dead.pid}-link").symlink_to(target)
    (temporary / f"openai-meter-run-{dead.pid}-file").touch()
    (temporary / "openai-meter-run-abc").mkdir()
    kept = {*temporary.iterdir()}
    remove_run_folder(make_run_folder())
    assert {*temporary.iterdir()} == kept
    (temporary / f"openai-meter-run-{dead.pid}-others").mkdir()
    kept = {*temporary.iterdir()}
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    remove_run_folder(make_run_folder())
    assert {*temporary.iterdir()} == kept
