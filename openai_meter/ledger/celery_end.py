"""Keeps the calls of Celery's tasks and children, which end without Python's exit handlers.

A child that has done its last task leaves by ``os._exit``. Where the thread that forked it ends before it, as in a warm
shutdown with some brokers, the kernel kills it at once. So the calls of a task are in the spool before Celery reports
that the task is done.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from openai_meter.core import faults
from openai_meter.core.import_hooks import on_import

__all__ = ["follow_celery"]

_UID = "openai_meter ledger"


def follow_celery(keep: Callable[[], object], finish: Callable[[], object]) -> None:
    """Calls functions at the end of each task, and of each child, whether Celery is loaded now or later.

    Args:
        keep: is called after each task, in the thread or greenlet of the task, before its end is reported.
        finish: is called before a child ends. Neither may raise; both are to be functions of a module.
    """

    def hook(signals: ModuleType) -> None:
        try:
            _connect(signals, "task_postrun", keep)
            _connect(signals, "worker_process_shutdown", finish)
        except Exception as error:
            faults.caught(error, "following the tasks of Celery")

    on_import("celery.signals", hook)


def _connect(signals: ModuleType, name: str, do: Callable[[], object]) -> None:
    def receiver(**_: object) -> None:
        do()

    signal: Any = getattr(signals, name)
    signal.connect(receiver, weak=False, dispatch_uid=_UID)  # the same once more changes nothing
