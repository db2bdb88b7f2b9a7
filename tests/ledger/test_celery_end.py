"""Calls are in the spool when a task of Celery is done, and in the ledger when a child of Celery ends."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
pytest.importorskip("celery", reason="celery is not installed: this is NOT tested")

from celery import signals
from ledger_calls import call
from ledgers import Database

from openai_meter.ledger import Ledger, celery_end


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger whose threads do not start by themselves."""
    made = Ledger(f"sqlite:///{tmp_path / 'usage.db'}")
    monkeypatch.setattr(made._writer, "start", lambda: None)
    monkeypatch.setattr(made._writer.intake, "_begin", lambda: None)
    return made


def spooled(ledger: Ledger) -> int:
    return sum(path.read_bytes().count(b"\n") for path in ledger.spool.glob("*.jsonl"))


def test_end_of_a_task_finds_its_calls_in_the_spool(ledger: Ledger) -> None:
    """When Celery reports that a task is done, no call of the task is in memory only."""
    ledger.add(call())
    ledger.add(call())
    assert spooled(ledger) == 0
    signals.task_postrun.send(sender=None)
    assert spooled(ledger) == 2


def test_end_of_a_task_without_calls_touches_no_file(ledger: Ledger) -> None:
    """A task that called nothing costs no disk access."""
    signals.task_postrun.send(sender=None)
    assert not ledger.spool.exists()


def test_end_of_a_child_stores_its_calls(ledger: Ledger, tmp_path: Path) -> None:
    """Calls are in the database when a child of Celery ends by os._exit."""
    ledger.add(call())
    signals.worker_process_shutdown.send(sender=None)
    assert Database(f"sqlite:///{tmp_path / 'usage.db'}", ledger.spool).count() == 1


def test_failed_spool_leaves_the_task_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the ledger at the end of a task is logged, and not raised into Celery."""
    monkeypatch.setattr("openai_meter.core.faults.reraise", False)
    monkeypatch.setattr(ledger._writer.intake, "drain", lambda limit: 1 / 0)
    ledger.add(call())
    with caplog.at_level(logging.WARNING, "openai_meter"):
        signals.task_postrun.send(sender=None)
    assert "ZeroDivisionError" in caplog.text


def test_signals_of_another_shape_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without the signals that are looked for is a fault of the meter, and stops no import."""
    found: list[tuple[str, str]] = []
    note = lambda error, doing: found.append((type(error).__name__, doing))  # noqa: E731
    monkeypatch.setattr("openai_meter.core.faults.caught", note)
    monkeypatch.setattr("openai_meter.ledger.celery_end.on_import", lambda name, hook: hook(ModuleType(name)))
    celery_end.follow_celery(lambda: None, lambda: None)
    assert found == [("AttributeError", "following the tasks of Celery")]
