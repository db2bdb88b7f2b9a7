"""Starts the meter by environment variables alone, where ``openai-meter run`` cannot be put before a program.

In ``sitecustomize.py``, which Python runs at its start from wherever it is importable (a folder on ``PYTHONPATH``, or
``site-packages``)::

    import os
    if os.environ.get("OPENAI_METER"):
        import openai_meter.auto

Then ``OPENAI_METER=1 python program.py`` is metered, and so is every Python process that it starts. Nothing is loaded
or patched before the program imports openai. The variables:

- ``OPENAI_METER``: ``1`` starts the meter; ``0`` or nothing does not.
- ``OPENAI_METER_SUMMARY``: writes a summary to standard error at exit, if there were calls: a form of report
  (``table``, ``tree``, ``markdown``, ``line``, ``json``, ``csv``), or ``1`` for a table.
- ``OPENAI_METER_REPORT``: saves a report in this file at exit; its suffix is that of its form.
- ``OPENAI_METER_BY``: the dimensions that both group by, such as ``agent,model``.
- ``OPENAI_METER_LANG``, ``OPENAI_METER_LEDGER``, ``OPENAI_METER_THRESHOLDS`` and the others: see
  :data:`openai_meter.core.settings.SETTINGS`.

The same settings may be in the table ``[tool.openai_meter]`` of the ``pyproject.toml`` in the folder of the program
(``by = "agent,model"``); variables come first. What is wrong with the file is logged, and the file is not used.

A variable that cannot be used is reported in one line on standard error when openai is imported, and the program goes
on without the meter. In a notebook, use ``%load_ext openai_meter``.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import TYPE_CHECKING

from openai_meter.core import settings
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.cli.exit_summary import ExitSummary

__all__ = ["start"]

logger = logging.getLogger("openai_meter")


class _Start:
    """Starts the meter when openai is imported, and runs its ending when the program exits."""

    def __init__(self) -> None:
        self._ending: ExitSummary | None = None
        # After an exec this process is the run itself: its summary is written whether it imports openai or not.
        self._is_run = (settings.get("run") or "").partition(":")[0] == str(os.getpid())

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Is called as a finder of modules when openai is about to be imported; it finds nothing itself."""
        if name == "openai":
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.now()

    def now(self) -> None:
        """Starts the meter. Never raises."""
        try:
            self._ending = _start()
        except Exception as error:
            _complain(error)

    def finish(self) -> None:
        if self._is_run and self._ending is None:
            self.now()
        if self._ending is not None:
            self._ending.finish()


def start() -> bool:
    """Starts the meter when openai is imported, if ``OPENAI_METER`` is on; never raises.

    Runs by itself when this module is imported, once in a process.

    Returns:
        Whether it is on.
    """
    below_run = bool(settings.get("run"))  # of `openai-meter run`, which meters the processes below it
    try:
        if not (below_run or settings.get("enabled")):
            return False
    except ConfigurationError as error:
        _complain(error)
        return False
    starting = _Start()
    atexit.register(starting.finish)  # before any of the program's: handlers run in the reverse order
    if "openai" in sys.modules:
        starting.now()
    else:
        sys.meta_path.insert(0, starting)
    return True


def _start() -> ExitSummary | None:
    """Starts the meter, and arranges the summary at exit; ``None`` if ``openai-meter run`` has done so already."""
    from openai_meter.cli.children import folder_of_run  # noqa: PLC0415
    from openai_meter.cli.exit_summary import ExitSummary  # noqa: PLC0415 - every interpreter pays for what is imported here
    from openai_meter.cli.summary import SummaryOptions, report_file  # noqa: PLC0415 - every interpreter pays for what is imported here

    if ExitSummary.registered:
        return None
    _read_project()
    meter_settings = {"thresholds": settings.get("thresholds"), "threads": settings.get("threads")}
    if (continued := ExitSummary.continued(meter_settings)) is not None:
        continued.start(at_exit=False)
        return continued
    summary = settings.get("summary")
    options = SummaryOptions(format=summary if isinstance(summary, str) else None, by=settings.get("by"))
    report = report_file(settings.get("report"))
    ending = ExitSummary(
        options.summary(),
        None,
        report,
        when="calls" if summary else "never",
        settings=meter_settings,
        run=folder_of_run(),
    )
    ending.start(at_exit=False)
    if ending.fault:
        _complain(ending.fault)
    return ending


def _read_project() -> None:
    """Reads the settings of the ``pyproject.toml`` next to the program. What is wrong with it is only logged."""
    main = sys.modules.get("__main__")
    program = None if getattr(main, "__spec__", None) else getattr(main, "__file__", None)  # with -m there is a spec
    try:
        settings.read_project(settings.project_folder(program))
    except Exception as error:
        logger.warning("the settings of the program's pyproject.toml are not used: %s", error)


def _complain(error: Exception | str) -> None:
    """Writes one line to standard error."""
    try:
        from openai_meter.cli.exit_summary import write_to_stderr  # noqa: PLC0415
        from openai_meter.core.locale import language  # noqa: PLC0415

        try:
            m = language()
        except Exception:
            m = language("en")
        line = " ".join(str(error).split())
        write_to_stderr(f"openai-meter: {m('auto.not_started', error=line)}\n")
    except Exception:  # noqa: S110 - standard error itself cannot be written
        pass


start()
