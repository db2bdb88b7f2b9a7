"""The spool of a ledger: damaged lines, rows that no column holds, folders without locks, bursts, killed processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import Database, call, calls, program
from sqlalchemy import create_engine, text

from openai_meter import Usage
from openai_meter.ledger import Ledger, intake
from openai_meter.ledger import database as databases
from openai_meter.ledger import spool as spools
from openai_meter.ledger.rows import COLUMNS, decode_line, encode_line, to_row
from openai_meter.ledger.schema import calls as table
from openai_meter.ledger.spool import Spool

GOOD = encode_line(to_row(call(1)))
FIELDS = json.loads(GOOD)


def set_aside(database: Database) -> list[bytes]:
    """The lines that were set aside."""
    return [line for path in database.spool.glob("*.rejected") for line in path.read_bytes().split(b"\n")[:-1]]


# --- damaged lines ----------------------------------------------------------------------------------------------------

_ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(2**62, 2**70), st.floats(), st.text(max_size=5),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2),
    st.sampled_from(["1e999999999", "1/0", "NaN", '{"a": {"b": 1}}', "[1, 2]", "[" * 2_000, '{"x": {"usages": 3}}']),
)  # fmt: skip
_CHANGED_FIELDS = st.dictionaries(st.sampled_from(COLUMNS), _ODD_VALUES, min_size=1, max_size=3)
_CORRUPTIONS = st.one_of(
    _CHANGED_FIELDS.map(lambda changes: json.dumps(FIELDS | changes).encode() + b"\n"),
    st.sets(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=3).map(
        lambda gone: json.dumps({name: value for name, value in FIELDS.items() if name not in gone}).encode() + b"\n"
    ),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.tuples(st.integers(0, len(GOOD) - 2), st.integers(0, 255)).map(
        lambda at: GOOD[: at[0]] + bytes([at[1]]).replace(b"\n", b"") + GOOD[at[0] + 1 :]
    ),
    st.integers(0, len(GOOD)).map(lambda cut: GOOD[:cut].rstrip(b"\n") + b"\n"),
)


@given(_CORRUPTIONS)
def test_corrupt_line_is_read_or_refused(line: bytes) -> None:
    """Any line is either a row that fits the columns, or a ValueError."""
    with contextlib.suppress(ValueError):
        row = decode_line(line)
        for column, value in zip(table.columns, row, strict=True):
            assert column.nullable or value is not None
            assert value is None or isinstance(value, (str, bool, int, float))
            assert not isinstance(value, int) or abs(value) < 2**63
        assert decode_line(encode_line(row)) == row


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(_CORRUPTIONS, min_size=1, max_size=8))
def test_corrupt_lines_do_not_stop_the_others(tmp_path_factory: pytest.TempPathFactory, corrupt: list[bytes]) -> None:
    """Damaged lines are set aside unchanged; the lines around them, and later ones, are stored."""
    folder = tmp_path_factory.mktemp("corrupt")
    database = Database(f"sqlite:///{folder / 'usage.db'}", folder / "spool")
    good = [call(n, id=f"good-{n}") for n in range(len(corrupt) + 1)]
    mixed = [line for pair in zip(map(encode_line, map(to_row, good)), [*corrupt, b""], strict=True) for line in pair]
    database.spool.mkdir()
    (database.spool / "00000000000000000001-1-aa.jsonl").write_bytes(b"".join(mixed))
    ledger = database.ledger()
    later = call(50, id="later")
    ledger.add(later)
    assert ledger.flush(300)
    stats = ledger.stats
    ledger.close()
    assert {*database.ids()} >= {later.id, *(one.id for one in good)}
    assert (stats.away, stats.waiting, stats.dropped) == (False, 0, 0)
    assert len(set_aside(database)) == stats.damaged + stats.refused
    assert list(database.spool.glob("*.jsonl")) == []
    database.check_sums()


def test_set_aside_line_can_be_repaired_and_replayed(sqlite: Database) -> None:
    """A line that was set aside is unchanged in its file, which only its user can read."""
    sqlite.spool.mkdir()
    broken = GOOD.replace(b'"started_at":', b'"started_at":"')
    (sqlite.spool / "00000000000000000001-1-aa.jsonl").write_bytes(broken)
    ledger = sqlite.ledger()
    ledger.add(call(2))
    assert ledger.flush(300)
    (path,) = sqlite.spool.glob("*.rejected")
    assert path.read_bytes() == broken
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(GOOD)
    path.rename(path.with_suffix(".jsonl"))
    ledger.close()
    again = sqlite.ledger()
    again.add(call(3))
    assert again.flush(300)
    again.close()
    assert sqlite.count() == 3


# --- numbers that no column holds -------------------------------------------------------------------------------------

HUGE: list[dict[str, Any]] = [
    {"usage": Usage(2**62, 0, 2**62)},
    {"usage": Usage(1, 2**63 - 2, 2**63 - 1)},
    {"usage": Usage(1, 1, 2, cached_input_tokens=2**62)},
    {"usage": Usage(1, 1, 2, characters=-(2**62))},
    {"usage": Usage(seconds=1e300)},
    {"duration": 1e300},
    {"cost_pico": 2**63},
]


@pytest.mark.parametrize("huge", HUGE, ids=str)
def test_calls_with_huge_counts_are_set_aside_and_the_others_stored(database: Database, huge: dict[str, Any]) -> None:
    """Answers with absurd numbers stop neither the calls of the same batch nor later ones."""
    ledger = database.ledger()
    given = calls(12)
    for one in (*given[:6], call(1, **huge), call(1, **huge), *given[6:]):
        ledger.add(one)
    assert ledger.flush(300)
    stats = ledger.stats
    assert (stats.written, stats.refused, stats.away, stats.waiting) == (12, 2, False, 0)
    assert len(set_aside(database)) == 2
    assert ledger.totals().calls == 12
    ledger.close()
    database.check_sums()


# --- bursts and truth -------------------------------------------------------------------------------------------------


def test_burst_larger_than_the_queue_is_stored_completely(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more calls than the queue holds, added at once, are all in the ledger after a flush."""
    monkeypatch.setattr(intake, "LIMIT", 5_000)
    ledger = sqlite.ledger()
    one = call(1)
    for number in range(12_000):
        ledger.put(replace(one, id=f"{number:06}"))
    assert ledger.flush(600)
    assert (sqlite.count(), ledger.stats.dropped, ledger.stats.waiting) == (12_000, 0, 0)
    ledger.close()


def test_stats_have_the_time_since_when_calls_wait(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is locked, the age of the oldest waiting call is known; when it is stored, no call waits."""
    monkeypatch.setattr(databases, "_WAIT", 1)
    ledger = sqlite.ledger()
    ledger.prepare()
    assert (ledger.stats.waiting_since, ledger.stats.late()) == (None, False)
    before = datetime.now(UTC)
    engine = create_engine(sqlite.url)
    with engine.connect() as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        ledger.add(call(1))
        assert ledger.flush(300)
        since = ledger.stats.waiting_since
        assert since is not None
        assert before <= since <= datetime.now(UTC)
        assert (ledger.stats.late(0.0), ledger.stats.late(3600.0), ledger.stats.away) == (True, False, True)
        other.rollback()
    engine.dispose()
    ledger._writer._retry_at = 0.0
    assert ledger.flush(300)
    assert (ledger.stats.waiting_since, ledger.stats.away) == (None, False)
    assert ledger.stats.stored_at is not None
    assert ledger.stats.stored_at >= since
    ledger.close()


# --- processes that are killed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_killed_process_leaves_its_last_calls_in_the_spool(sqlite: Database, end: str) -> None:
    """Calls that are a tenth of a second old survive an end without any clean-up; the next process stores them."""
    source = f"""
    import os, signal, sys, time
    from ledgers import calls
    from openai_meter.ledger import Ledger
    ledger = Ledger(sys.argv[1], spool=sys.argv[2], flush_interval=3000)
    for one in calls(20):
        ledger.add(one)
    def lines():
        return sum(path.read_bytes().count(b"\\n") for path in ledger.spool.glob("*.jsonl"))
    while lines() < 20:
        time.sleep(0.01)
    {end}
    """
    process = program(source, sqlite.url, sqlite.spool, wait=False)
    assert process.communicate(timeout=300) == ("", "")
    assert len(list(sqlite.spool.glob("*.jsonl"))) == 1
    ledger = sqlite.ledger()
    ledger.add(call(30))
    assert ledger.flush(300)
    ledger.close()
    assert sqlite.count() == 21
    assert list(sqlite.spool.glob("*.jsonl")) == []


# --- folders ----------------------------------------------------------------------------------------------------------


class NoLocks:
    """A file system whose locks do not work, as some network folders."""

    LOCK_EX, LOCK_NB = 2, 4

    @staticmethod
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")


def test_folder_without_locks_leaves_no_files(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked, calls still go through the spool, and no file stays."""
    monkeypatch.setattr(spools, "fcntl", NoLocks)
    sqlite.spool.mkdir()
    for name in (".00000000000000000001-999999999-aa", ".00000000000000000002-999999998-bb"):
        (sqlite.spool / name).touch()
    (sqlite.spool / "00000000000000000003-999999999-cc.jsonl").write_bytes(encode_line(to_row(call(99, id="left"))))
    ledger = sqlite.ledger()
    for start in range(0, 30, 10):
        for one in calls(10, start):
            ledger.add(one)
        assert ledger.flush(300)
    ledger.close()
    assert sqlite.count() == 31
    assert list(sqlite.spool.iterdir()) == []


def test_segment_of_a_living_process_is_kept_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without locks, a segment belongs to its process for as long as that lives."""
    monkeypatch.setattr(spools, "fcntl", NoLocks)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        path = tmp_path / f"00000000000000000001-{other.pid}-{spools._machine()}abcdef.jsonl"
        path.write_bytes(GOOD)
        spool = Spool(tmp_path, 10**6)
        assert list(spool.take()) == []
        other.send_signal(signal.SIGKILL)
        other.wait()
    (segment,) = spool.take()
    assert list(segment.lines()) == [GOOD]
    spool.release(segment)


def test_removed_segment_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    """Lines are not written to a file that was deleted."""
    spool = Spool(tmp_path / "spool", 10**6)
    assert spool.append([b"a\n"])
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    assert spool.append([b"b\n"])
    (path,) = (tmp_path / "spool").iterdir()
    assert path.read_bytes() == b"b\n"
    spool.seal_and_release()


@pytest.mark.parametrize(
    "other",
    [
        "postgresql+psycopg://u@db:5432/app?options=-csearch_path%3Db",
        "postgresql+psycopg://u@db:5432/app",
        "postgresql+psycopg://v@db:5432/app?options=-csearch_path%3Da",
        "postgresql+psycopg://u@db:5433/app?options=-csearch_path%3Da",
        "postgresql+psycopg://u@db:5432/other?options=-csearch_path%3Da",
        "postgresql+psycopg://u@/app?host=db2&options=-csearch_path%3Da",
    ],
)
def test_spool_folder_depends_on_the_whole_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """Two schemas, users, servers or databases never share a spool; a password or a timeout makes no difference."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = "postgresql+psycopg://u@db:5432/app?options=-csearch_path%3Da"
    folder = databases.spool_folder(databases.make_url(one))
    assert folder != databases.spool_folder(databases.make_url(other))
    same = f"{one}&connect_timeout=5".replace("u@", "u:secret@")
    assert folder == databases.spool_folder(databases.make_url(same))


def test_spool_without_a_home_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home directory, the spool is in a folder that no other user has made or can read."""
    monkeypatch.setattr(databases.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/no/such/place")
    url = databases.make_url("postgresql+psycopg://u@db/app")
    first = databases.spool_folder(url)
    assert first == databases.spool_folder(url)
    assert first.parent.stat().st_mode & 0o777 == 0o700
    first.parent.chmod(0o755)  # now others can look into it
    assert databases.spool_folder(url).parent != first.parent
    first.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    first.parent.symlink_to(tmp_path / "elsewhere")
    assert databases.spool_folder(url).parent not in {first.parent, tmp_path / "elsewhere"}


# --- the file of SQLite -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_ledger_file_is_readable_for_its_user_only(sqlite: Database) -> None:
    """The file and its log are created with mode 0600, whatever the umask is."""
    before = os.umask(0)
    try:
        ledger = sqlite.ledger()
        ledger.add(call(1))
        assert ledger.flush(300)
        modes = {
            path.name: path.stat().st_mode & 0o777 for path in sqlite.spool.parent.glob("usage.db*") if path.is_file()
        }
        ledger.close()
    finally:
        os.umask(before)
    assert modes
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("how", ["delete", "delete all", "replace", "move away"])
def test_replaced_file_gets_all_later_calls(sqlite: Database, tmp_path: Path, how: str) -> None:
    """After the file was deleted or replaced, all further calls are in the new file, each once."""
    file = tmp_path / "usage.db"
    other = Database(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other-spool")
    stored = call(100, id="stored before")
    filled = other.ledger()
    filled.import_calls([stored])
    filled.close()
    ledger = sqlite.ledger()
    given = calls(40)
    for one in given[:20]:
        ledger.add(one)
    assert ledger.flush(300)
    if how == "replace":
        os.replace(tmp_path / "other.db", file)
    elif how == "move away":
        file.rename(tmp_path / "old.db")
    else:
        for path in tmp_path.glob("usage.db*" if how == "delete all" else "usage.db"):
            if path.is_file():
                path.unlink()
    for one in given[20:]:
        ledger.add(one)
    assert ledger.flush(300)
    expected = [one.id for one in given[20:]] + ["stored before"] * (how == "replace")
    assert [one.id for one in ledger.calls()] == [
        one.id
        for one in sorted([*given[20:], *[stored] * (how == "replace")], key=lambda one: (one.started_at, one.id))
    ]
    ledger.close()
    assert sqlite.ids() == sorted(expected)
    sqlite.check_sums()


def test_file_replaced_during_a_transaction_is_written_again(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that went into a file which was deleted meanwhile are stored again in the new one, each once."""
    from openai_meter.ledger import storage

    ledger = sqlite.ledger()
    ledger.prepare()
    store = storage.store
    deleted: list[Path] = []

    def stored_and_deleted(connection: Any, rows: Any) -> int:
        done = store(connection, rows)
        if not deleted:
            deleted.append(tmp_path / "usage.db")
            deleted[0].unlink()
        return done

    monkeypatch.setattr(storage, "store", stored_and_deleted)
    for one in calls(5):
        ledger.add(one)
    assert ledger.flush(300)
    ledger.close()
    assert deleted
    assert (sqlite.count(), ledger.stats.written) == (5, 5)
    sqlite.check_sums()


def test_waiting_age_is_that_of_the_oldest_segment(sqlite: Database) -> None:
    """Segments of other processes count too: their calls are not in the ledger either."""
    sqlite.spool.mkdir()
    then = datetime.now(UTC) - timedelta(hours=2)
    (sqlite.spool / f"{int(then.timestamp() * 1e9):020d}-1-aa.jsonl").write_bytes(GOOD)
    ledger: Ledger = sqlite.ledger()
    assert ledger.stats.late(3600.0)
    ledger.add(call(2))
    assert ledger.flush(300)
    assert not ledger.stats.late(0.0)
    ledger.close()
