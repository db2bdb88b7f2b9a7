"""What a process has not used of its slices, in a file that outlives it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from openai_meter.budgets import journal

pytestmark = pytest.mark.skipif(journal.fcntl is None, reason="no locks on files here: crashes cost whole slices")


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_marks_of_a_process_that_ended_are_read_by_others(tmp_path):
    """Every number of 64 bits is there, for as many keys as there were; a key that was forgotten is not."""
    program = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from openai_meter.budgets.journal import Journal
made = Journal("owner-1")
for n in range(1_000):
    mark = made.mark(f"key {n}")
    mark[0] = n * (1 << 52) - (1 << 60)
early = made.mark("key 3")
made.forget("key 5")
made.mark("key new")[0] = 77
early[0] = -3
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    (dead,) = journal.dead_owners()
    assert dead.owner == "owner-1"
    assert dead.unused("key 999") == 999 * (1 << 52) - (1 << 60)
    assert (dead.unused("key 3"), dead.unused("key 5"), dead.unused("key new"), dead.unused("none")) == (-3, 0, 77, 0)
    journal.remove("owner-1")
    assert list(journal.dead_owners()) == []


def test_folder_writable_by_others_is_not_used(tmp_path):
    """Without a folder of this user alone there are no marks, and nothing is read."""
    folder = tmp_path / f"openai_meter-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert journal.Journal("owner-2").mark("key") is None
    assert list(folder.iterdir()) == []
    assert list(journal.dead_owners()) == []


def test_file_without_a_store_is_removed_after_two_weeks(tmp_path):
    """Files of owners whose store is gone do not stay for ever."""
    folder = tmp_path / f"openai_meter-{os.getuid()}"
    folder.mkdir(mode=0o700)
    for name, age in (("old", 15 * 86_400), ("young", 60)):
        (folder / f"{name}.slices").write_bytes(bytes(64))
        os.utime(folder / f"{name}.slices", (os.path.getmtime(folder) - age,) * 2)
    assert [dead.owner for dead in journal.dead_owners()] == ["young"]
    assert [path.name for path in folder.iterdir()] == ["young.slices"]
