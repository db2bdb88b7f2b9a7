"""The figures that ``statusline`` keeps for the next line, and its patience."""

from __future__ import annotations

import json
import resource
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from programs import ENVIRONMENT, PYTHON
from pulses import call, metered, take

from openai_meter.cli.live import line, line_cache
from openai_meter.cli.live.feeds import Source
from openai_meter.core.locale import language

Run = Callable[..., str]


@pytest.fixture
def ledger(tmp_path: Path):
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: a line of a ledger is NOT tested")
    from openai_meter.ledger import Ledger

    found = Ledger(f"sqlite:///{tmp_path}/usage.db")
    found.import_calls([replace(call(), started_at=datetime.now(UTC))])
    yield found
    found.close()


def test_second_line_of_an_unchanged_ledger_is_read_from_the_cache(ledger, command: Run, monkeypatch) -> None:
    """While the file of the ledger does not change, its figures are not read again."""
    url = str(ledger.engine.url)
    ledger.close()  # or its threads may write to the file between two lines
    first = command("statusline", "--ledger", url)
    monkeypatch.setattr(line, "feed_of", lambda *_: 1 / 0)
    assert command("statusline", "--ledger", url) == first


def test_line_after_a_new_call_includes_it(ledger, command: Run) -> None:
    """A call that is stored is in the next line."""
    url = str(ledger.engine.url)
    assert "1 call " in command("statusline", "--ledger", url)
    ledger.import_calls([replace(call(), started_at=datetime.now(UTC))])
    assert "2 calls " in command("statusline", "--ledger", url)


def test_line_with_a_warm_cache_uses_little_processor_time(ledger) -> None:
    """Under 150 ms, the start of the interpreter included, on an idle machine."""
    url = str(ledger.engine.url)
    ledger.close()  # or its threads may write to the file between two lines
    code = (
        "import sys; from openai_meter.cli.app import main;"
        f"sys.argv = ['openai-meter', 'statusline', '--ledger', {url!r}]; main();"
        "print([name for name in ('sqlalchemy', 'rich', 'typer', 'openai') if name in sys.modules])"
    )
    for expected in ("['sqlalchemy']", "[]"):
        done = subprocess.run([*PYTHON, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == expected
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PYTHON, "-c", code], env=ENVIRONMENT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


class _Slow:
    """A feed that works for some time before it answers."""

    name = "slow"

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def pulse(self):
        self._work()
        return take(metered(call()))

    def close(self) -> None:
        pass


def _busy() -> None:
    end = time.thread_time() + 0.5
    while time.thread_time() < end:
        pass


def test_source_that_uses_the_processor_is_waited_for(monkeypatch) -> None:
    """It is at work, however long a busy machine makes it take."""
    monkeypatch.setattr(line, "feed_of", lambda *_: _Slow(_busy))
    found, error = line._in_time(Source(url="http://x"), line.Line(language("en"), timeout=0.05))
    assert error is None
    assert found.pulse.today.calls == 1


def test_line_of_a_hanging_source_has_the_last_figures_and_their_age(command: Run, monkeypatch) -> None:
    """Where there is no answer in time, the line has the last figures and their age."""
    monkeypatch.setattr(line, "feed_of", lambda *_: _Slow(lambda: None))
    command("statusline", "--url", "http://127.0.0.1:9")
    release = threading.Event()
    monkeypatch.setattr(line, "feed_of", lambda *_: _Slow(release.wait))
    monkeypatch.setattr(line.os, "_exit", lambda code: None)
    monkeypatch.setattr(line_cache.time, "time", lambda now=time.time: now() + 90)
    try:
        out = command("statusline", "--url", "http://127.0.0.1:9", "--timeout", "0.1s")
        assert out.endswith(" · 1 minute ago\n")
        data = json.loads(command("statusline", "--url", "http://127.0.0.1:9", "--timeout", "0.1s", "--json"))
        assert data["totals"]["calls"] == 1
        assert 89 < data["age"] < 120
    finally:
        release.set()


def test_unwritable_cache_causes_no_error(monkeypatch, tmp_path: Path) -> None:
    """Without a folder for the cache, each line is read from its source."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache = line_cache.LineCache(Source(url="http://x"), "today")
    cache.write({})
    assert cache.read() is None
